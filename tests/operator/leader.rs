//! Several replicas, of which one writes; and what becomes of the others' writes.

use std::time::Duration;

use serde_json::json;

use crate::chart_support::NAMESPACE;
use crate::courier::{Courier, approve, distributed};
use crate::lab::{Lab, NAME, config_map_path};

fn lease(lab: &Lab) -> Option<serde_json::Value> {
    lab.get(&format!("/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/holdfast-controller"))
}

fn holder(lab: &Lab) -> String {
    lease(lab).and_then(|lease| Some(lease["spec"]["holderIdentity"].as_str()?.to_owned())).unwrap_or_default()
}

#[test]
fn one_leads_and_hands_over_when_told_to_stop() {
    let Some(lab) = Lab::enter() else { return };
    let first = lab.operator();
    lab.until("the first one leads", |lab| if holder(lab).is_empty() { Err(String::new()) } else { Ok(()) });
    let second = lab.operator();
    let was = holder(&lab);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(holder(&lab), was, "one leads");
    let leads =
        |of: &crate::lab::Operator<'_>| of.metric("leader_election_master_status", &["name=\"holdfast-controller\""]);
    assert_eq!((leads(&first), leads(&second)), (Some(1.0), Some(0.0)));
    assert_eq!(second.ask("/readyz").0, 200, "who stands by is ready");

    let took = first.stop();
    assert!(took < Duration::from_secs(5), "{took:?}");
    // Released, so that nobody waits for it to run out.
    lab.within(Duration::from_secs(2), "the second one leads", |lab| {
        let now = holder(lab);
        if now != was && !now.is_empty() { Ok(()) } else { Err(now) }
    });
    let courier = Courier::new("handed");
    courier.deliver(&lab);
    lab.apply(&courier.mirror("handed"));
    lab.reason("handed", "Ready", "AsDeclared");
    let took = second.stop();
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(holder(&lab), "");
}

/// A leader that is frozen in mid-pass, with a write on its way, and wakes when another one has gone on.
fn frozen(step: &'static str, path: impl Fn(&str) -> bool + Send + Sync + Copy + 'static, distributes: bool) {
    let Some(lab) = Lab::enter() else { return };
    let mut stale = lab.operator();
    let mut courier = Courier::new("frozen");
    courier.deliver(&lab);
    lab.namespace("frozen-a", &json!({"trust": "frozen"}));
    lab.proxy().on(1, crate::proxy::Fate::Hold, move |asked| asked.is_write() && path(&asked.path));
    lab.apply(&distributed(courier.mirror("frozen"), "frozen", "0s"));
    lab.until("the write is on its way", |lab| if lab.proxy().met() == 1 { Ok(()) } else { Err(stale.said()) });
    stale.signal("-STOP");

    let successor = lab.operator();
    lab.reason("frozen", "Distributed", "Distributed");
    // The successor goes on, so that what the stale one was about to write is old.
    let second = courier.rotate();
    courier.deliver(&lab);
    lab.reason("frozen", "RotationPending", "AwaitingApproval");
    approve(&lab, "bob", "frozen", second).unwrap();
    lab.until("the successor adopted", |lab| {
        let status = lab.status("frozen");
        let done = status.at("/adopted/digest") == &json!(second)
            && status.reason("Distributed") == "Distributed"
            && status.at("/adopting").is_null();
        if done { Ok(()) } else { Err(status.text()) }
    });
    let before = (lab.status("frozen").version(), lab.get(&config_map_path("frozen-a", NAME)));
    let asked = lab.proxy().asked().len();

    lab.proxy().release();
    stale.signal("-CONT");
    let (code, _) = stale.ended(Duration::from_secs(10));
    assert_eq!(code, Some(3), "who lost its leadership ends");
    let held = lab.proxy().asked().into_iter().find(|asked| asked.is_write() && path(&asked.path)).unwrap();
    assert_eq!(held.status, Some(409), "{step}: the stale write is refused: {held:?}");
    let late: Vec<_> = lab
        .proxy()
        .asked()
        .into_iter()
        .skip(asked)
        .filter(|asked| asked.is_write() && asked.status == Some(200))
        .collect();
    assert!(late.is_empty(), "{step}: {late:?}");
    assert_eq!((lab.status("frozen").version(), lab.get(&config_map_path("frozen-a", NAME))), before, "{step}");
    assert!(!distributes || before.1.is_some());
    drop(successor);
}

#[test]
fn a_stale_leader_cannot_remember() {
    frozen("memory", |path| path.ends_with("/configmaps"), false);
}

#[test]
fn a_stale_leader_cannot_distribute() {
    frozen("distribution", |path| path.ends_with(NAME), true);
}

#[test]
fn a_stale_leader_cannot_report() {
    frozen("status", |path| path.ends_with("/status"), true);
}

#[test]
fn two_replicas_that_start_together_elect_one() {
    let Some(lab) = Lab::enter() else { return };
    let replicas = [lab.start_operator(&[], &[]), lab.start_operator(&[], &[]), lab.start_operator(&[], &[])];
    for replica in &replicas {
        replica.ready();
    }
    std::thread::sleep(Duration::from_secs(1));
    let leading =
        replicas.iter().filter(|replica| replica.metric("leader_election_master_status", &[]) == Some(1.0)).count();
    assert_eq!(leading, 1);
}
