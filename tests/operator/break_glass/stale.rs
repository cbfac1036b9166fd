//! Trust past its limit, while two people let it count.

use std::time::Duration;

use serde_json::json;

use super::{accept_stale, approve, ask, from_now, path, until};
use crate::courier::Courier;
use crate::coverage::shop::{Shop, of_reason};
use crate::lab::Lab;
use crate::registry_support::Registry;

/// An estate whose policy accepts trust that was past its limit a second after it was brought.
fn stale<'a>(lab: &'a Lab, registry: Registry, name: &str) -> Shop<'a> {
    let shop = Shop::open(lab, registry);
    let mut courier = Courier::new(name);
    let root = shop.sigstore.trusted_root().to_string().into_bytes();
    courier.repository.files.insert("trusted_root.json".to_owned(), root);
    courier.refresh();
    courier.deliver(lab);
    let mut mirror = courier.mirror(name);
    mirror["spec"]["freshness"] = json!({"maxAge": "1s"});
    lab.apply(&mirror);
    shop.policy("apps", &json!({"trustRoots": [name]}));
    shop.pod("good", &shop.image("good", shop.signed("good")));
    shop
}

#[test]
fn stale_trust_counts_while_it_is_accepted_and_ends_by_itself() {
    let Some(lab) = Lab::enter() else { return };
    let Some(registry) = Registry::plain(true) else { return };
    let shop = stale(&lab, registry, "late");
    let operator = lab.operator();
    shop.report(&json!({}));
    lab.reason("late", "Fresh", "Stale");
    let status = shop.until(0, 0, 1);
    assert_eq!(of_reason(&status, "StaleTrustRoot"), 1);
    lab.guards_are_settled();
    let end = from_now(20);
    let digest = ask(&lab, "alice", "inc-late-courier", end, &accept_stale("late"));
    approve(&lab, "bob", "inc-late-courier", digest).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    shop.until(0, 0, 1);
    approve(&lab, "dora", "inc-late-courier", digest).unwrap();
    until(&lab, "inc-late-courier", "Active", "InForce");
    shop.until(1, 0, 0);
    // It stays what it is, and says who lets it count.
    let accepted = lab.until("the mirror says who accepts it", |lab| {
        let status = lab.status("late");
        if status.message("Fresh").contains("inc-late-courier") { Ok(status) } else { Err(status.text()) }
    });
    assert_eq!((accepted.is("Fresh"), accepted.reason("Fresh")), ("False", "Stale"), "{}", accepted.text());
    assert!(accepted.message("Fresh").contains(&end.to_string()), "{}", accepted.text());
    let (code, text, _) = lab.holdfast(&["why", "apps/good"]);
    assert!(code == 0 && text.contains("inc-late-courier") && text.contains(&end.to_string()), "{text}");

    until(&lab, "inc-late-courier", "Expired", "Ended");
    let status = shop.until(0, 0, 1);
    assert_eq!(of_reason(&status, "StaleTrustRoot"), 1);
    assert!(crate::courier::now() >= end);
    lab.until("the mirror says so no longer", |lab| {
        let status = lab.status("late");
        if status.message("Fresh").contains("inc-late-courier") { Err(status.text()) } else { Ok(()) }
    });
    let (code, text, _) = lab.holdfast(&["why", "apps/good"]);
    assert!(code == 3 && text.contains("StaleTrustRoot"), "{text}");
    drop(operator);
}

#[test]
fn what_ends_or_is_closed_while_nobody_looks_does_not_count_afterwards() {
    let Some(lab) = Lab::enter() else { return };
    let Some(registry) = Registry::plain(true) else { return };
    let shop = stale(&lab, registry, "away");
    let operator = lab.operator();
    shop.report(&json!({}));
    lab.reason("away", "Fresh", "Stale");
    lab.guards_are_settled();
    let end = from_now(15);
    let digest = ask(&lab, "alice", "inc-away", end, &accept_stale("away"));
    for user in ["bob", "dora"] {
        approve(&lab, user, "inc-away", digest).unwrap();
    }
    shop.until(1, 0, 0);
    until(&lab, "inc-away", "Active", "InForce");
    operator.stop();
    std::thread::sleep(Duration::try_from(end.duration_since(crate::courier::now())).unwrap_or_default());
    // Its status says that it is in force, and nobody is there to say otherwise.
    assert_eq!(super::status(&lab, "inc-away").at("/phase"), &json!("Active"));
    let (code, text, _) = lab.holdfast(&["why", "apps/good"]);
    assert!(code == 3 && text.contains("StaleTrustRoot"), "{text}");
    let operator = lab.operator();
    until(&lab, "inc-away", "Expired", "Ended");
    shop.until(0, 0, 1);

    // Another one is closed early: what it let count does not any more.
    let digest = ask(&lab, "alice", "inc-again", from_now(3600), &accept_stale("away"));
    for user in ["bob", "dora"] {
        approve(&lab, user, "inc-again", digest).unwrap();
    }
    shop.until(1, 0, 0);
    lab.delete(&path("inc-again"));
    shop.until(0, 0, 1);
    drop(operator);
}
