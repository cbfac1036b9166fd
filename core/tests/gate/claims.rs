//! What a promotion takes out of another policy's denial: who agreed to it, where, and for how long.

use crate::estate::{Estate, HOUR, MINUTE, declared, names};
use holdfast_core::gate::loosening::{Beside, LooseningKind, promotion};
use holdfast_core::gate::{Decision, Seen, Trigger};
use jiff::SignedDuration;
use serde_json::json;

/// A policy whose waves take in what another one keeps out in `there`.
fn claiming(there: &[&str]) -> Estate {
    let mut estate = Estate::new();
    estate.beside = Some((declared(|spec| spec["images"] = json!(["p.example/**"])), names(there)));
    estate.soak();
    estate
}

fn asks(decision: &Decision) -> bool {
    decision.held.iter().any(|held| held.kind == LooseningKind::PromotionClaims)
}

/// Everything is in force, as somebody agreed.
fn agreed(there: &[&str]) -> Estate {
    let mut estate = claiming(there);
    for _ in 0..200 {
        estate.approve_what_is_held();
        estate.hour();
        estate.observe_in_force();
    }
    assert_eq!(estate.enforced.as_ref().unwrap().names().len(), 4);
    estate
}

#[test]
fn who_agreed_to_one_wave_agreed_to_no_other() {
    let mut estate = claiming(&["canary-a", "shop"]);
    estate.run_until(Trigger::Held, 40);
    estate.approve_what_is_held();
    estate.run_until(Trigger::SoakFull, 2);
    estate.observe_in_force();
    for _ in 0..80 {
        let decision = estate.hour();
        assert!(!decision.namespaces.contains("shop"), "nobody agreed to what it takes in `shop`");
    }
    let held = estate.peek().held;
    assert!(held.iter().all(|held| held.detail.contains("`shop`")), "{held:?}");
    estate.approve_what_is_held();
    assert!(estate.hour().namespaces.contains("shop"));
}

/// A namespace is made that both policies are about from its start.
fn made(estate: &mut Estate) -> Decision {
    made_as(estate, "new")
}

fn made_as(estate: &mut Estate, name: &str) -> Decision {
    estate.hour();
    let created = estate.now + SignedDuration::from_secs(1);
    estate.namespace(name, &[("tier", "apps")], created);
    estate.observed.namespaces.get_mut(name).unwrap().seen = Seen::Never;
    estate.beside_now.insert(name.to_owned());
    estate.now = created + MINUTE;
    let decision = estate.step();
    estate.observed.namespaces.get_mut(name).unwrap().seen = Seen::Before;
    estate.beside.as_mut().unwrap().1.append(&mut estate.beside_now);
    decision
}

#[test]
fn a_namespace_that_is_made_like_those_agreed_to_asks_nobody_and_any_other_does() {
    let mut estate = agreed(&["shop"]);
    assert!(made(&mut estate).namespaces.contains("new"));
    let mut estate = agreed(&[]);
    let decision = made(&mut estate);
    assert!(!decision.namespaces.contains("new") && asks(&decision), "nobody ever agreed to that");
    // It soaks now, and what is agreed to meanwhile holds for the next.
    estate.approve_what_is_held();
    assert!(!estate.hour().namespaces.contains("new"));
    assert!(made_as(&mut estate, "next").namespaces.contains("next"));
}

#[test]
fn one_that_is_made_again_where_something_is_denied_asks() {
    let mut estate = agreed(&["shop"]);
    estate.beside.as_mut().unwrap().1.insert("new".to_owned());
    let decision = made(&mut estate);
    assert!(!decision.namespaces.contains("new") && asks(&decision), "nobody agreed to that in `new`");
}

#[test]
fn what_was_agreed_to_for_those_that_are_made_stays_so_until_something_is_loosened() {
    let mut estate = agreed(&["shop"]);
    estate.declare(|spec| spec["require"] = json!({"signedTimestamp": true}));
    assert!(estate.hour().form.unwrap().spec.require.signed_timestamp, "it is stricter");
    assert!(made_as(&mut estate, "one").namespaces.contains("one"));
    estate.declare(|spec| spec["require"] = json!({}));
    estate.hour();
    estate.approve_what_is_held();
    assert!(!estate.hour().form.unwrap().spec.require.signed_timestamp, "it is looser");
    assert!(asks(&made_as(&mut estate, "three")));
    // It soaks now, and what it asks for is told, and can be agreed to for the next.
    assert!(asks(&estate.hour()) && !estate.hour().namespaces.contains("three"));
    estate.approve_what_is_held();
    estate.hour();
    assert!(made_as(&mut estate, "four").namespaces.contains("four"));
}

#[test]
fn who_agreed_to_what_one_policy_denies_agreed_to_nothing_of_another() {
    let declared_other = declared(|spec| spec["images"] = json!(["p.example/**"]));
    let (there, mut estate) = (names(&["shop"]), Estate::new());
    let of = |estate: &Estate, others: &[&str]| {
        let beside: Vec<Beside<'_>> = others.iter().map(|name| Beside::new(name, &declared_other, &there)).collect();
        promotion(estate.form(), &there, &beside).first().map(|claim| claim.digest)
    };
    estate.soak();
    let (one, both) = (of(&estate, &["a"]), of(&estate, &["a", "z"]));
    assert!(one.is_some() && both.is_some() && one != both);
}

#[test]
fn a_form_that_is_lent_promotes_no_other_one_unasked() {
    // What is enforced takes something, and what is lent takes nothing.
    let mut estate = agreed(&[]);
    estate.declare(|spec| {
        spec["images"] = json!(["p.example/apps"]);
        spec["require"] = json!({"sct": false});
    });
    let wanted = estate.peek().held[0].digest;
    let target = json!({"kind": "SigningIdentityPolicy", "name": "apps", "digest": wanted});
    estate.open("lends", json!({"allowChange": target}), HOUR * 24);
    estate.rescan();
    assert!(!estate.step().form.unwrap().spec.require.sct, "it is lent");
    assert!(!made(&mut estate).namespaces.contains("new"));
}

#[test]
fn what_was_let_go_and_comes_back_is_agreed_to_again() {
    let mut estate = agreed(&["shop"]);
    estate.declare(|spec| spec["namespaceSelector"]["matchLabels"]["canary"] = json!("true"));
    estate.approve_what_is_held();
    assert!(!estate.hour().namespaces.contains("shop"));
    estate.declare(|spec| spec["namespaceSelector"] = json!({"matchLabels": {"tier": "apps"}}));
    for _ in 0..100 {
        assert!(!estate.hour().namespaces.contains("shop"), "what was agreed to before did what it was given for");
    }
    assert!(asks(&estate.peek()));
    estate.now += HOUR;
    estate.approve_what_is_held();
    estate.rescan();
    assert!(estate.step().namespaces.contains("shop"));
}

#[test]
fn the_same_change_may_be_agreed_to_once_more() {
    let mut estate = Estate::enforcing();
    for round in 0..3 {
        estate.declare(|spec| spec["require"] = json!({"sct": false}));
        estate.rescan();
        assert!(estate.step().form.unwrap().spec.require.sct, "{round}: it waits each time");
        estate.approve_what_is_held();
        assert!(!estate.step().form.unwrap().spec.require.sct, "{round}: it was agreed to");
        estate.declare(|spec| spec["require"] = json!({"sct": true}));
        estate.hour();
    }
}

#[test]
fn who_agrees_late_does_not_agree_to_its_return() {
    let mut estate = Estate::enforcing();
    let change = |estate: &mut Estate, sct: bool| {
        estate.declare(|spec| spec["require"] = json!({ "sct": sct }));
        estate.hour();
    };
    change(&mut estate, false);
    let digest = estate.peek().held[0].digest;
    estate.approve(digest);
    assert!(!estate.step().form.unwrap().spec.require.sct);
    // Another one agrees a moment later, and once more just before the change is declared again.
    let records = |estate: &Estate| estate.history.records().len();
    estate.now += SignedDuration::from_secs(1);
    estate.approve(digest);
    estate.step();
    let written = records(&estate);
    estate.step();
    assert_eq!(records(&estate), written, "it is written down once");
    change(&mut estate, true);
    estate.now += SignedDuration::from_secs(1);
    estate.approve(digest);
    for _ in 0..3 {
        change(&mut estate, false);
        assert!(estate.peek().form.unwrap().spec.require.sct, "nobody agreed to it since it waits");
    }
    estate.approve(digest);
    assert!(!estate.step().form.unwrap().spec.require.sct);
}

/// The guards were away while it was made, or it was not seen until the change waited again.
#[test]
fn who_agreed_while_nobody_could_see_it_does_not_agree_to_its_return() {
    let mut estate = Estate::enforcing();
    let change = |estate: &mut Estate, sct: bool| {
        estate.declare(|spec| spec["require"] = json!({ "sct": sct }));
        estate.hour();
    };
    change(&mut estate, false);
    let digest = estate.peek().held[0].digest;
    estate.approve(digest);
    assert!(!estate.step().form.unwrap().spec.require.sct);
    estate.now += MINUTE;
    estate.approve(digest);
    let unseen = estate.approvals.pop().unwrap();
    change(&mut estate, true);
    change(&mut estate, false);
    estate.approvals.push(unseen);
    for _ in 0..3 {
        assert!(estate.hour().form.unwrap().spec.require.sct, "nobody agreed to it since it waits");
    }
    estate.approve(digest);
    assert!(!estate.step().form.unwrap().spec.require.sct);
}

#[test]
fn what_was_agreed_to_for_those_that_are_made_ends_with_all_that_is_enforced() {
    let mut estate = agreed(&["shop"]);
    assert!(!estate.history.in_force().of_newborn.is_empty());
    // Its form stays as it is.
    for name in estate.enforced.as_ref().unwrap().names() {
        estate.label(&name, "tier", "none");
    }
    estate.approve_what_is_held();
    assert!(estate.hour().namespaces.is_empty());
    assert!(estate.history.in_force().of_newborn.is_empty(), "whoever is enforced under that name next is another one");
}

#[test]
fn a_wave_that_takes_in_what_waits_in_a_later_one_reaches_further() {
    let mut estate = claiming(&["shop"]);
    estate.run_until(Trigger::SoakFull, 40);
    estate.observe_in_force();
    assert_eq!(estate.history.in_force().further, None);
    estate.declare(|spec| spec["enforcement"]["waves"] = json!([{"name": "canary"}]));
    estate.step();
    assert_eq!(estate.history.in_force().further, Some(estate.now));
    // The wave itself, as it was, does not.
    let mut estate = claiming(&["shop"]);
    estate.run_until(Trigger::SoakFull, 40);
    estate.observe_in_force();
    estate.declare(|spec| spec["require"] = json!({"signedTimestamp": true}));
    estate.step();
    assert_eq!(estate.history.in_force().further, None);
}

#[test]
fn whatever_makes_a_policy_be_about_more_is_written_down_as_such() {
    let nginx = format!("docker.io/library/nginx@{}", holdfast_core::Digest::of(b"nginx"));
    for (field, value, wanted) in [
        ("images", json!(["r.example/apps/**", "r.example/more/**"]), true),
        ("exemptImages", json!([{"image": nginx, "reason": "node image"}]), true),
        ("namespaceSelector", json!({}), true),
        ("enforcement", json!({"desired": "Enforce", "waves": [{"name": "canary"}]}), true),
        ("require", json!({"signedTimestamp": true}), false),
    ] {
        let mut estate = Estate::promoted();
        estate.observe_in_force();
        estate.declare(|spec| spec[field] = value);
        estate.approve_what_is_held();
        estate.step();
        assert_eq!(estate.history.in_force().further.is_some(), wanted, "{field}");
    }
}
