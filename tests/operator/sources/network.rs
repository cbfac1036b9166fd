//! Mirrors behind an address.

use std::time::Duration;

use serde_json::json;

use super::server::{Server, packed};
use super::{declare, fails, text, version};
use crate::courier::{Courier, ask_now};
use crate::lab::Lab;

#[test]
fn a_mirror_over_http_is_renewed_and_waited_for() {
    let Some(lab) = Lab::enter() else { return };
    let operator = lab.operator();
    let mut server = Server::plain();
    let mut courier = Courier::new("http");
    server.offer("/tuf/", &courier.repository.files());
    declare(&lab, &courier, "http", &json!({"http": {"url": format!("http://{}/tuf/", server.host)}}));
    version(&lab, "http", 1);
    courier.refresh();
    server.offer("/tuf/", &courier.repository.files());
    ask_now(&lab, "http");
    version(&lab, "http", 2);

    // Nobody is there: it is asked again and again, less and less often.
    server.down();
    ask_now(&lab, "http");
    let down = fails(&lab, &operator, "http", "SourceUnavailable", "Reconciling");
    assert!(down.message("Ready").contains("check the address, the network and the mirror"), "{}", down.text());
    let written = lab.status("http").version();
    let before = operator.passes();
    std::thread::sleep(Duration::from_secs(3));
    let tried = operator.passes() - before;
    assert!((1.0..=4.0).contains(&tried), "{tried} passes in three seconds");
    assert_eq!(lab.status("http").version(), written, "what says the same is not written again");
    courier.refresh();
    server.offer("/tuf/", &courier.repository.files());
    server.up();
    let took = version(&lab, "http", 3);
    assert!(took < Duration::from_secs(15), "{took:?}");
}

#[test]
fn a_mirror_over_tls_is_read_with_its_authority_alone() {
    let Some(lab) = Lab::enter() else { return };
    let operator = lab.operator();
    let server = Server::secure(None);
    let mut courier = Courier::new("https");
    server.offer("/", &courier.repository.files());
    let source = |ca: Option<&str>| {
        let mut http = json!({"url": format!("https://{}/", server.host)});
        if let Some(ca) = ca {
            http["caBundleRef"] = json!({"name": ca, "key": "ca.crt"});
        }
        json!({"http": http})
    };
    // The authorities of the world do not vouch for it.
    declare(&lab, &courier, "https", &source(None));
    let unknown = fails(&lab, &operator, "https", "SourceUnavailable", "Reconciling");
    assert!(unknown.message("Ready").contains("caBundleRef"), "{}", unknown.text());
    lab.apply(&courier.mirror_from("https", &source(Some("corp-ca"))));
    let missing = fails(&lab, &operator, "https", "SourceUnusable", "Stalled");
    assert!(missing.message("Ready").contains("corp-ca is not there"), "{}", missing.text());
    // Another authority, then no certificate at all: each is noticed when it is written.
    text(&lab, "corp-ca", "ca.crt", &Server::secure(None).ca.clone().unwrap());
    fails(&lab, &operator, "https", "SourceUnavailable", "Reconciling");
    text(&lab, "corp-ca", "ca.crt", "no certificate");
    let none = fails(&lab, &operator, "https", "SourceUnusable", "Stalled");
    assert!(none.message("Ready").contains("no PEM certificate"), "{}", none.text());
    text(&lab, "corp-ca", "ca.crt", server.ca.as_deref().unwrap());
    version(&lab, "https", 1);
    courier.refresh();
    server.offer("/", &courier.repository.files());
    ask_now(&lab, "https");
    version(&lab, "https", 2);
}

#[test]
fn where_the_system_vouches_for_nobody_what_is_declared_is_read_all_the_same() {
    let Some(lab) = Lab::enter() else { return };
    // As in the image, which holds nothing but the program.
    let operator = lab.start_operator(&[("SSL_CERT_FILE", "/dev/null"), ("SSL_CERT_DIR", "/nonexistent")], &[]);
    operator.ready();
    let (plain, secure) = (Server::plain(), Server::secure(None));
    let courier = Courier::new("bare-image");
    let files = courier.repository.files();
    plain.offer("/", &files);
    plain.push("trust/root", "current", &[packed(&files)]);
    secure.offer("/", &files);
    text(&lab, "corp-ca", "ca.crt", secure.ca.as_deref().unwrap());
    declare(&lab, &courier, "over-http", &json!({"http": {"url": format!("http://{}/", plain.host)}}));
    let artifact = json!({"oci": {"ref": format!("{}/trust/root:current", plain.host), "plainHttp": true}});
    declare(&lab, &courier, "over-oci", &artifact);
    let bundle = json!({"name": "corp-ca", "key": "ca.crt"});
    let secured = json!({"http": {"url": format!("https://{}/", secure.host), "caBundleRef": bundle}});
    declare(&lab, &courier, "over-tls", &secured);
    for name in ["over-http", "over-oci", "over-tls"] {
        version(&lab, name, 1);
    }
    declare(&lab, &courier, "unvouched", &json!({"http": {"url": format!("https://{}/", secure.host)}}));
    let refused = fails(&lab, &operator, "unvouched", "SourceUnavailable", "Reconciling");
    assert!(refused.message("Ready").contains("caBundleRef"), "{}", refused.text());
}
