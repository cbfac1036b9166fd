//! Sources that are bent, in bad faith or by accident. Whatever comes, what is in force stays in force.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use holdfast_core::Digest;
use jiff::SignedDuration;
use serde_json::json;

use super::server::{Answer, Server, gzip, packed};
use super::{declare, fails, quiet, version};
use crate::courier::{Courier, ask_now, now};
use crate::lab::{Lab, Operator};

/// A mirror over HTTP whose second version is in force.
fn second(lab: &Lab, name: &str) -> (Server, Courier, [BTreeMap<String, Vec<u8>>; 2]) {
    let (server, mut courier) = (Server::plain(), Courier::new(name));
    let first = courier.repository.files();
    courier.refresh();
    let second = courier.repository.files();
    server.offer("/", &second);
    declare(lab, &courier, name, &json!({"http": {"url": format!("http://{}/", server.host)}}));
    version(lab, name, 2);
    (server, courier, [first, second])
}

/// Good metadata ends it.
fn recovers(lab: &Lab, server: &Server, courier: &mut Courier, name: &str, to: u64) {
    courier.refresh();
    server.offer("/", &courier.repository.files());
    ask_now(lab, name);
    version(lab, name, to);
}

#[test]
fn older_mixed_and_frozen_metadata_is_refused() {
    let Some(lab) = Lab::enter() else { return };
    let operator = lab.operator();
    let (server, mut courier, [first, second]) = second(&lab, "bent");
    server.offer("/", &first);
    ask_now(&lab, "bent");
    fails(&lab, &operator, "bent", "Rollback", "");
    recovers(&lab, &server, &mut courier, "bent", 3);

    // The snapshot of one version under the timestamp of another; of the same length, since signatures differ in theirs.
    courier.refresh();
    let old = &second["2.snapshot.json"];
    let mut signed = (0..1000).map(|_| courier.repository.files());
    let mut mixed = signed.find(|files| files["4.snapshot.json"].len() == old.len()).unwrap();
    mixed.insert("4.snapshot.json".to_owned(), old.clone());
    server.offer("/", &mixed);
    ask_now(&lab, "bent");
    fails(&lab, &operator, "bent", "Mismatch", "");
    recovers(&lab, &server, &mut courier, "bent", 5);

    // One version with two contents.
    server.offer("/", &courier.repository.files());
    ask_now(&lab, "bent");
    fails(&lab, &operator, "bent", "Equivocation", "");
    recovers(&lab, &server, &mut courier, "bent", 6);
}

#[test]
fn a_mirror_that_stands_still_is_told_by_its_expiry() {
    let Some(lab) = Lab::enter() else { return };
    let operator = lab.operator();
    let (server, mut courier) = (Server::plain(), Courier::new("frozen"));
    let until = (now() + SignedDuration::from_secs(6)).strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    courier.repository.timestamp["expires"] = json!(until);
    server.offer("/", &courier.repository.files());
    declare(&lab, &courier, "frozen", &json!({"http": {"url": format!("http://{}/", server.host)}}));
    version(&lab, "frozen", 1);
    // Without anybody asking: the instant is known.
    let stale = lab.reason("frozen", "Fresh", "Stale");
    assert_eq!((stale.is("Ready"), stale.reason("Ready")), ("False", "Stale"), "{}", stale.text());
    ask_now(&lab, "frozen");
    let expired = fails(&lab, &operator, "frozen", "Expired", "");
    assert!(expired.message("Ready").contains(&until), "{}", expired.text());
    recovers(&lab, &server, &mut courier, "frozen", 2);
}

#[test]
fn an_answer_without_an_end_or_of_another_kind_is_not_read() {
    let Some(lab) = Lab::enter() else { return };
    let operator = lab.operator();
    let (server, mut courier, _) = second(&lab, "odd");
    server.answer("/timestamp.json", Answer::Endless);
    ask_now(&lab, "odd");
    let endless = fails(&lab, &operator, "odd", "SourceUnacceptable", "");
    assert!(endless.message("Ready").contains("that are read of it"), "{}", endless.text());
    recovers(&lab, &server, &mut courier, "odd", 3);
    // A page that says that one has to log in.
    server.answer("/timestamp.json", Answer::Whole("text/html", b"<html>please log in</html>".to_vec()));
    ask_now(&lab, "odd");
    fails(&lab, &operator, "odd", "Malformed", "");
    recovers(&lab, &server, &mut courier, "odd", 4);
}

#[test]
fn a_source_that_drips_holds_up_nobody() {
    let Some(lab) = Lab::enter() else { return };
    let mut operator = lab.operator();
    let (server, mut courier, _) = second(&lab, "slow");
    server.answer("/timestamp.json", Answer::Drip);
    let asked = server.asked("/timestamp.json");
    lab.patch(
        &crate::lab::mirror_path("slow"),
        &json!({"metadata": {"annotations": {"holdfast.dev/reconcile-at": "drip"}}}),
    );
    lab.until("it drips", |_| if server.asked("/timestamp.json") > asked { Ok(()) } else { Err(String::new()) });
    // Another mirror is looked at meanwhile.
    let mut other = Courier::new("other");
    other.deliver(&lab);
    lab.apply(&other.mirror("other"));
    version(&lab, "other", 1);
    other.refresh();
    other.deliver(&lab);
    let took = version(&lab, "other", 2);
    assert!(took < Duration::from_secs(3), "{took:?}");
    quiet(&lab, &operator);
    assert_eq!(lab.status("slow").at("/roles/timestamp/version"), &json!(2));
    // And it ends when it is told to.
    operator.signal("-TERM");
    let (code, took) = operator.ended(Duration::from_secs(10));
    assert!(code == Some(0) && took < Duration::from_secs(5), "{code:?} after {took:?}");
    let _operator = lab.operator();
    recovers(&lab, &server, &mut courier, "slow", 3);
}

/// A mirror of an artifact that is in force.
fn artifact(lab: &Lab, server: &Server, name: &str) -> Courier {
    let courier = Courier::new(name);
    server.push("trust/root", "current", &[packed(&courier.repository.files())]);
    declare(
        lab,
        &courier,
        name,
        &json!({"oci": {"ref": format!("{}/trust/root:current", server.host), "plainHttp": true}}),
    );
    version(lab, name, 1);
    courier
}

fn pushed(lab: &Lab, operator: &Operator<'_>, server: &Server, name: &str, layer: Vec<u8>, says: &str) {
    server.push("trust/root", "current", &[layer]);
    ask_now(lab, name);
    let status = fails(lab, operator, name, "SourceUnacceptable", "");
    assert!(status.message("Ready").contains(says), "{}", status.text());
}

#[test]
fn archives_that_are_bent_are_not_unpacked() {
    let Some(lab) = Lab::enter() else { return };
    let operator = lab.operator();
    let server = Server::plain();
    let mut courier = artifact(&lab, &server, "archived");

    // Two hundred mebibytes of nothing.
    let mut bomb = tar::Builder::new(gzip());
    for number in 0..20 {
        let mut header = tar::Header::new_gnu();
        header.set_size(10 * 1024 * 1024);
        let nothing = std::io::Read::take(std::io::repeat(0), 10 * 1024 * 1024);
        bomb.append_data(&mut header, format!("{number}.root.json"), nothing).unwrap();
    }
    let bomb = bomb.into_inner().unwrap().finish().unwrap();
    assert!(bomb.len() < 1024 * 1024, "{}", bomb.len());
    pushed(&lab, &operator, &server, "archived", bomb, "of what is unpacked");
    let resident = resident(&operator);
    assert!(resident < 256 * 1024, "{resident} KiB");

    let mut links = tar::Builder::new(gzip());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    links.append_link(&mut header, "timestamp.json", "/var/run/secrets/kubernetes.io/serviceaccount/token").unwrap();
    pushed(&lab, &operator, &server, "archived", links.into_inner().unwrap().finish().unwrap(), "timestamp.json");

    let whole = packed(&courier.repository.files());
    pushed(&lab, &operator, &server, "archived", whole[..whole.len() / 2].to_vec(), "cut off");
    pushed(&lab, &operator, &server, "archived", b"no archive".to_vec(), "");

    // A layer whose bytes are others than its digest, and one without an end.
    courier.refresh();
    let next = packed(&courier.repository.files());
    let blob = format!("/v2/trust/root/blobs/{}", Digest::of(&next));
    server.push("trust/root", "current", std::slice::from_ref(&next));
    let mut other = next.clone();
    *other.last_mut().unwrap() ^= 1;
    for (answer, says) in
        [(Answer::Whole("application/octet-stream", other), "its digest is"), (Answer::Endless, "that are read of it")]
    {
        server.answer(&blob, answer);
        ask_now(&lab, "archived");
        lab.until("it is said", |lab| {
            let status = lab.status("archived");
            if status.message("Ready").contains(says) { Ok(()) } else { Err(status.text()) }
        });
        fails(&lab, &operator, "archived", "SourceUnacceptable", "");
    }
    server.push("trust/root", "current", &[next]);
    ask_now(&lab, "archived");
    version(&lab, "archived", 2);
}

#[test]
fn a_registry_that_drips_ends_with_the_operator() {
    let Some(lab) = Lab::enter() else { return };
    let mut operator = lab.operator();
    let server = Server::plain();
    let _courier = artifact(&lab, &server, "tardy");
    server.answer("/v2/trust/root/manifests/current", Answer::Drip);
    let asked = server.asked("/manifests/");
    lab.patch(
        &crate::lab::mirror_path("tardy"),
        &json!({"metadata": {"annotations": {"holdfast.dev/reconcile-at": "drip"}}}),
    );
    lab.until("it drips", |_| if server.asked("/manifests/") > asked { Ok(()) } else { Err(String::new()) });
    let start = Instant::now();
    operator.signal("-TERM");
    let (code, _) = operator.ended(Duration::from_secs(10));
    assert!(code == Some(0) && start.elapsed() < Duration::from_secs(5), "{code:?} after {:?}", start.elapsed());
}

/// What the operator holds in memory, in KiB.
fn resident(operator: &Operator<'_>) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", operator.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}
