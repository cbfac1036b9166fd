//! What would admit more is held, until a break-glass or an approval covers it.

use std::collections::{BTreeMap, BTreeSet};

use crate::alarms;
use crate::estate::{Estate, HOUR, MINUTE, NAMESPACES, declared, names};
use holdfast_core::gate::loosening::{self, LooseningKind, PolicyForm, deletion_digest, release_digest};
use holdfast_core::gate::{AlarmKind, Event, Intent, Phase, Trigger, in_force};
use holdfast_core::verify::Reason;
use serde_json::json;

#[test]
fn scope_is_sticky_and_a_relabelled_namespace_goes_only_as_approved() {
    let mut estate = Estate::enforcing();
    estate.label("billing", "tier", "none");
    let decision = estate.step();
    assert!(decision.namespaces.contains("billing"));
    assert_eq!(decision.held.iter().map(|l| l.kind).collect::<Vec<_>>(), [LooseningKind::NamespaceLeft]);
    assert_eq!(alarms(&decision), [AlarmKind::LooseningHeld]);
    estate.step();
    let held = estate.history.records().iter().filter(|r| matches!(r.event, Event::Held { .. })).count();
    assert_eq!(held, 1, "said once");
    let digest = release_digest("apps", estate.form().digest(), &BTreeSet::from(["billing"]));
    assert_eq!(decision.held[0].digest, digest);
    estate.approve(digest);
    let decision = estate.step();
    assert_eq!(decision.intents, [Intent::Release { namespaces: names(&["billing"]) }]);
    assert!(!decision.namespaces.contains("billing") && decision.held.is_empty());
    assert!(!estate.step().namespaces.contains("billing"), "it stays so");
    estate.observed.namespaces.remove("shop");
    assert!(estate.step().namespaces.contains("shop"), "a namespace that is gone would be enforced again");
}

#[test]
fn a_looser_edit_is_held_a_tighter_one_is_not() {
    let mut estate = Estate::enforcing();
    let before = estate.step().form.unwrap();
    estate.declare(|spec| spec["images"] = json!(["r.example/apps/web"]));
    let decision = estate.step();
    assert_eq!(decision.form.as_ref(), Some(&before));
    assert!(matches!(decision.intents[..], [Intent::Hold { .. }]));
    assert!(!decision.is_degraded(), "what is enforced is as it was");
    estate.approve_what_is_held();
    let decision = estate.step();
    assert_eq!(decision.form.as_ref().map(|form| &form.spec), Some(&estate.spec));
    estate.approvals.clear();
    assert!(estate.step().held.is_empty(), "an approved form is the enforced one");
    estate.declare(|spec| spec["require"] = json!({"signedTimestamp": true}));
    estate.rescan();
    assert_eq!(
        estate.step().form.map(|form| form.spec).as_ref(),
        Some(&estate.spec),
        "tighter comes into force at once"
    );
    estate.declare(|spec| spec["enforcement"]["desired"] = json!("Audit"));
    estate.approve_what_is_held();
    let decision = estate.step();
    assert_eq!((decision.held[0].kind, decision.progress.phase), (LooseningKind::ReturnToAudit, Phase::Enforcing));
}

#[test]
fn a_rollout_does_not_go_on_while_a_change_is_held() {
    let mut estate = Estate::promoted();
    estate.observe_in_force();
    estate.declare(|spec| spec["enforcement"]["desired"] = json!("Audit"));
    for _ in 0..100 {
        let decision = estate.hour();
        assert_eq!(decision.namespaces, names(&["canary-a", "canary-b"]));
    }
    assert_eq!(estate.step().trigger, Trigger::Held);
}

#[test]
fn what_a_break_glass_lends_comes_back_at_its_very_end() {
    let mut estate = Estate::enforcing();
    let before = estate.step();
    let end = estate.now + HOUR;
    estate.open("inc", json!({"returnToAudit": {"policy": "apps", "namespaces": ["billing", "elsewhere"]}}), HOUR);
    let decision = estate.step();
    assert_eq!(
        decision.intents,
        [Intent::Except { break_glass: "inc".to_owned(), namespaces: names(&["billing"]), until: end }]
    );
    assert_eq!(decision.namespaces, before.namespaces, "it is an exception, not a release");
    assert!(decision.is_degraded() && alarms(&decision).contains(&AlarmKind::BreakGlassOpen));
    estate.now = end - MINUTE;
    estate.rescan();
    assert_eq!(estate.step().intents.len(), 1);
    estate.now = end;
    assert_eq!(estate.step().intents, [], "also when nobody took it out of the observation");
    let events: Vec<_> = estate
        .history
        .records()
        .iter()
        .filter(|r| matches!(r.event, Event::BreakGlassOpened { .. } | Event::BreakGlassEnded { .. }))
        .collect();
    assert_eq!(events.len(), 2);

    estate.observed.break_glasses.clear();
    let looser = estate.spec.clone();
    estate.declare(|spec| spec["require"] = json!({"sct": false}));
    let digest = estate.peek().held[0].digest;
    estate.open(
        "edit",
        json!({"allowChange": {"kind": "SigningIdentityPolicy", "name": "apps", "digest": digest}}),
        HOUR,
    );
    let decision = estate.step();
    assert!(!decision.form.unwrap().spec.require.sct);
    assert_eq!(decision.enforced.unwrap().spec, looser, "the enforced form is remembered");
    estate.now += HOUR;
    estate.rescan();
    assert!(estate.step().form.unwrap().spec.require.sct, "and comes back");
}

#[test]
fn a_deletion_needs_a_break_glass_for_that_deletion() {
    let mut estate = Estate::enforcing();
    estate.deleting = true;
    let decision = estate.step();
    assert_eq!(decision.held[0].kind, LooseningKind::PolicyDeleted);
    assert!(!decision.intents.contains(&Intent::Remove));
    assert_eq!(decision.namespaces.len(), 4);
    let digest = deletion_digest("SigningIdentityPolicy", "apps", estate.form().digest());
    estate.approve(digest);
    assert!(!estate.step().intents.contains(&Intent::Remove), "an approval is not enough");
    estate.open(
        "inc",
        json!({"allowChange": {"kind": "SigningIdentityPolicy", "name": "apps", "digest": digest}}),
        HOUR,
    );
    assert!(estate.step().intents.contains(&Intent::Remove));
    let mut audit = Estate::new();
    audit.deleting = true;
    assert!(audit.step().intents.contains(&Intent::Remove), "nothing is enforced, so nothing holds it");
}

/// A selector that leaves nothing out yet; what is agreed to of it names no namespace.
fn narrowed() -> Estate {
    let mut estate = Estate::enforcing();
    for name in NAMESPACES {
        estate.label(name, "team", "blue");
    }
    estate.declare(|spec| spec["namespaceSelector"]["matchLabels"]["team"] = json!("blue"));
    estate
}

#[test]
fn a_narrower_selector_lets_only_those_go_that_were_named_when_it_was_approved() {
    let mut named = narrowed();
    named.approve_what_is_held();
    assert_eq!(named.step().namespaces, names(&NAMESPACES), "what it still selects stays");

    let mut relabelled = narrowed();
    relabelled.approve_what_is_held();
    relabelled.label("billing", "team", "red");
    let decision = relabelled.step();
    assert!(decision.namespaces.contains("billing"), "nobody was told that it would go");
    assert!(decision.held[0].detail.contains("leaves out `billing`"), "{:?}", decision.held);
    relabelled.approve_what_is_held();
    assert!(!relabelled.step().namespaces.contains("billing"), "now somebody read it");
}

#[test]
fn a_narrower_selector_that_is_lent_excepts_only_those_that_were_named() {
    let mut estate = narrowed();
    let change = json!({"kind": "SigningIdentityPolicy", "name": "apps", "digest": estate.peek().held[0].digest});
    estate.open("inc", json!({ "allowChange": change }), HOUR);
    assert!(estate.step().held.is_empty());
    estate.label("billing", "team", "red");
    let decision = estate.step();
    assert!(!decision.intents.iter().any(|intent| matches!(intent, Intent::Except { .. })), "{decision:?}");
}

/// A form that would end a denial though it is not looser.
#[test]
fn a_form_nothing_can_be_made_of_is_held() {
    let mut estate = Estate::enforcing();
    estate.engine().refuses = Some("it is too old".to_owned());
    assert!(estate.step().held.is_empty(), "what is in force is left to whoever renders");
    estate.declare(|spec| spec["require"] = json!({"attestations": ["https://slsa.dev/provenance/v1"]}));
    estate.approve_what_is_held();
    let decision = estate.step();
    assert_eq!(decision.held.iter().map(|held| held.kind).collect::<Vec<_>>(), [LooseningKind::CannotBeEnforced]);
    assert!(decision.held[0].detail.contains("native") && decision.held[0].to_string().contains("no approval helps"));
    assert!(decision.form.is_some_and(|form| form.spec.require.attestations.is_empty()));
    estate.engine().refuses = None;
    assert!(estate.step().held.is_empty());

    let mut estate = Estate::enforcing();
    estate.unusable = Some("the pattern cannot be read".to_owned());
    let digest = estate.form().digest();
    estate.open(
        "inc",
        json!({"allowChange": {"kind": "SigningIdentityPolicy", "name": "apps", "digest": digest}}),
        HOUR,
    );
    let decision = estate.step();
    assert_eq!(decision.held.iter().map(|held| held.kind).collect::<Vec<_>>(), [LooseningKind::Unusable]);
    assert_eq!(decision.blocked_by.as_deref(), Some("NoBreakGlass"));
    assert_eq!(decision.namespaces.len(), 4);
}

/// A looser form was approved and came into force, and was tightened since; the approval is still there.
fn approved_and_tightened_since() -> Estate {
    let mut estate = Estate::enforcing();
    estate.declare(|spec| spec["require"] = json!({"sct": false}));
    estate.approve_what_is_held();
    assert!(estate.step().form.is_some_and(|form| !form.spec.require.sct));
    estate.declare(|spec| spec["require"] = json!({"sct": true}));
    estate.hour();
    estate
}

#[test]
fn an_approval_is_spent_once_another_form_is_in_force() {
    let mut estate = approved_and_tightened_since();
    estate.declare(|spec| spec["require"] = json!({"sct": false}));
    estate.rescan();
    let decision = estate.step();
    assert!(decision.form.unwrap().spec.require.sct, "what was approved once was tightened since");
    assert!(in_force(&estate.input(), estate.now).unwrap().form.spec.require.sct);
}

#[test]
fn an_old_approval_recovers_no_form_that_is_not_in_force() {
    let mut estate = approved_and_tightened_since();
    estate.enforced = None;
    estate.declare(|spec| spec["require"] = json!({"sct": false}));
    assert!(estate.step().form.is_none_or(|form| form.spec.require.sct));
}

#[test]
fn every_engine_that_denies_is_missed_when_it_is_dropped() {
    let (old, new) = (declared(|spec| spec["engines"] = json!({"native": {}, "openShift": {}})), declared(|_| ()));
    let keys = BTreeMap::new();
    let form = |spec| PolicyForm { name: "apps", spec, keys: &keys };
    let found = loosening::policy(form(&old), form(&new), &loosening::Standing::default());
    assert!(found.iter().any(|loosening| loosening.kind == LooseningKind::EngineDropped), "{found:?}");
}

#[test]
fn what_holds_is_said_in_a_word_and_other_namespaces_have_no_say() {
    let mut estate = Estate::enforcing();
    estate.cover("elsewhere", Reason::MissingBundle);
    estate.declare(|spec| spec["require"] = json!({"sct": false}));
    let decision = estate.step();
    assert_eq!(decision.blocked_by.as_deref(), Some("LooseningHeld"));
    assert_eq!(decision.progress.would_deny.count(), 0, "the policy is not about that namespace");
}
