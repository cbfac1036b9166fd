//! The table of transitions, walked.

use std::collections::BTreeSet;

use crate::estate::{Estate, HOUR, NAMESPACES, declared, names};
use crate::{alarms, failing};
use holdfast_core::gate::loosening::LooseningKind;
use holdfast_core::gate::rollout::TRANSITIONS;
use holdfast_core::gate::{AlarmKind, Check, Intent, Phase, Trigger};
use holdfast_core::trust::clock::Sanity;
use holdfast_core::trust::freshness::{Freshness, Limit};
use holdfast_core::verify::Reason;
use serde_json::json;

/// From the first look to the last wave, with everything that may hold it.
#[test]
fn a_policy_goes_from_audit_to_enforcing_wave_by_wave() {
    let mut estate = Estate::new();
    estate.declare(|spec| spec["enforcement"]["desired"] = json!("Audit"));
    assert_eq!(estate.step().progress.phase, Phase::Audit);
    estate.cover("billing", Reason::MissingBundle);
    assert!(failing(&estate.step()).contains(&Check::CoverageMet), "in audit, every selected namespace counts");
    estate.cover("billing", Reason::Verified);
    estate.declare(|spec| spec["enforcement"]["desired"] = json!("Enforce"));
    let decision = estate.step();
    assert_eq!(
        (decision.progress.phase, decision.wave.as_deref(), decision.enforced.is_none()),
        (Phase::Soaking, Some("canary"), true)
    );
    estate.step();
    let mut hours = 0;
    let promoted = loop {
        let decision = estate.hour();
        hours += 1;
        if decision.trigger == Trigger::SoakFull {
            break decision;
        }
        assert!(decision.namespaces.is_empty() && hours < 30);
    };
    assert_eq!(hours, 24, "the canary's own soak");
    assert_eq!(promoted.progress.phase, Phase::Promoting);
    let canaries = names(&["canary-a", "canary-b"]);
    assert_eq!(promoted.intents, [Intent::Promote { wave: "canary".to_owned(), namespaces: canaries.clone() }]);
    assert_eq!(promoted.namespaces, canaries);
    for _ in 0..3 {
        let decision = estate.hour();
        assert_eq!(decision.progress.phase, Phase::Promoting, "written is not observed");
        assert_eq!(alarms(&decision), [AlarmKind::NotObserved]);
    }
    estate.observe_in_force();
    let decision = estate.hour();
    assert_eq!((decision.progress.phase, decision.wave.as_deref()), (Phase::Soaking, Some("everything")));
    estate.run_until(Trigger::SoakFull, 80);
    estate.observe_in_force();
    let decision = estate.hour();
    assert_eq!(
        (decision.trigger, decision.progress.phase, decision.wave),
        (Trigger::ObservedLast, Phase::Enforcing, None)
    );
    assert_eq!(decision.namespaces, names(&["canary-a", "canary-b", "billing", "shop"]));
    let events: Vec<String> = estate
        .history
        .records()
        .iter()
        .map(|r| serde_json::to_value(&r.event).unwrap()["event"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(events, ["soakStarted", "promoted", "observed", "soakStarted", "promoted", "observed"]);
    assert!(estate.history.verify(None).is_ok());
}

#[test]
fn a_wave_that_selects_nothing_holds_and_says_so() {
    let mut estate = Estate::new();
    estate
        .declare(|spec| spec["enforcement"]["waves"][0]["namespaceSelector"]["matchLabels"]["canary"] = json!("ture"));
    estate.rescan();
    estate.step();
    for _ in 0..100 {
        let decision = estate.hour();
        assert_eq!(decision.trigger, Trigger::NoNamespace);
        assert_eq!(alarms(&decision), [AlarmKind::WaveEmpty]);
        assert!(decision.namespaces.is_empty());
    }
}

#[test]
fn a_check_that_fails_after_promotion_alarms_and_takes_nothing_back() {
    let mut estate = Estate::enforcing();
    let before = estate.step();
    assert_eq!((before.progress.phase, before.is_degraded()), (Phase::Enforcing, false), "{:?}", before.alarms);
    estate.root().freshness = Some(Freshness::Stale { since: estate.now, limit: Limit::NothingAccepted });
    estate.engine().ready = false;
    estate.observed.clock = Some(Sanity::Behind { floor: estate.now + HOUR, now: estate.now });
    estate.observed.scan = None;
    let decision = estate.step();
    assert_eq!((decision.progress.phase, decision.trigger), (Phase::Enforcing, Trigger::CheckFailed));
    assert!(decision.is_degraded());
    assert_eq!((&decision.namespaces, &decision.form), (&before.namespaces, &before.form));
    assert!(decision.intents.is_empty());
    assert!(alarms(&decision).iter().all(|kind| *kind == AlarmKind::CheckFailing));
    estate.engine().in_force.clear();
    assert!(alarms(&estate.step()).contains(&AlarmKind::NotInForce));
}

#[test]
fn what_keeps_the_next_wave_waiting_is_no_alarm() {
    let mut estate = Estate::new();
    estate.step();
    estate.run_until(Trigger::SoakFull, 30);
    estate.observe_in_force();
    estate.cover("billing", Reason::MissingBundle);
    let decision = estate.hour();
    assert_eq!((decision.progress.phase, decision.wave.as_deref()), (Phase::Soaking, Some("everything")));
    let decision = estate.hour();
    assert_eq!(decision.blocked_by.as_deref(), Some("CoverageMet"));
    assert_eq!((alarms(&decision), decision.is_degraded()), (Vec::new(), false), "billing is not enforced");
    estate.cover("canary-a", Reason::MissingBundle);
    let decision = estate.hour();
    assert_eq!((alarms(&decision), decision.is_degraded()), (vec![AlarmKind::CheckFailing], true));
}

#[test]
fn a_promotion_that_claims_what_another_policy_denies_waits() {
    let mut estate = Estate::new();
    let platform = declared(|spec| spec["images"] = json!(["p.example/**"]));
    estate.beside = Some((platform, names(&["canary-a"])));
    estate.soak();
    for _ in 0..24 {
        estate.hour();
    }
    let decision = estate.hour();
    assert_eq!((decision.trigger, decision.held[0].kind), (Trigger::Held, LooseningKind::PromotionClaims));
    assert!(alarms(&decision).contains(&AlarmKind::PromotionHeld));
    estate.approve(estate.form().digest());
    let wanted = decision.held[0].digest;
    assert_eq!(estate.hour().trigger, Trigger::Held, "the form alone says nothing of what is taken from whom");
    estate.approve(wanted);
    assert_eq!(estate.hour().trigger, Trigger::SoakFull);
}

#[test]
fn the_table_is_what_happens() {
    for transition in TRANSITIONS {
        assert_eq!(TRANSITIONS.iter().filter(|t| (t.from, t.on) == (transition.from, transition.on)).count(), 1);
        let steps_back =
            transition.to == Phase::Audit && matches!(transition.from, Phase::Promoting | Phase::Enforcing);
        assert!(!steps_back || transition.on == Trigger::Released, "{transition:?}");
    }
    for phase in Phase::ALL {
        assert!(TRANSITIONS.iter().any(|t| t.from == *phase) && TRANSITIONS.iter().any(|t| t.to == *phase));
    }
}

/// Every row of the table is walked, and the table says where it leads.
#[test]
fn every_transition_is_walked() {
    let mut went = BTreeSet::new();
    let mut walk = |estate: Estate| went.extend(estate.went);
    let release = |estate: &mut Estate| {
        for name in NAMESPACES {
            estate.label(name, "tier", "none");
        }
        let digest = estate.step().held[0].digest;
        estate.approve(digest);
        assert_eq!(estate.step().trigger, Trigger::Released);
    };

    let mut estate = Estate::new();
    estate.declare(|spec| spec["enforcement"]["desired"] = json!("Audit"));
    estate.step();
    estate.declare(|spec| spec["enforcement"]["desired"] = json!("Enforce"));
    estate.soak();
    estate.step();
    estate.hour();
    estate.cover("canary-a", Reason::MissingBundle);
    estate.step();
    estate.cover("canary-a", Reason::Verified);
    estate.paused = true;
    estate.step();
    estate.paused = false;
    estate.beside = Some((declared(|spec| spec["images"] = json!(["p.example/**"])), names(&["canary-a"])));
    for _ in 0..26 {
        estate.hour();
    }
    estate.declare(|spec| spec["enforcement"]["desired"] = json!("Audit"));
    assert_eq!(estate.step().trigger, Trigger::AuditDesired);
    walk(estate);

    let mut estate = Estate::enforcing();
    estate.engine().ready = false;
    estate.step();
    estate.engine().ready = true;
    estate.step();
    release(&mut estate);
    walk(estate);

    let mut estate = Estate::promoted();
    estate.step();
    estate.engine().ready = false;
    estate.step();
    release(&mut estate);
    walk(estate);

    let mut estate = Estate::promoted();
    estate.observe_in_force();
    estate.hour();
    release(&mut estate);
    walk(estate);

    let mut estate = Estate::promoted();
    estate.observe_in_force();
    estate.hour();
    let waves = estate.spec.enforcement.waves.clone();
    estate.declare(|spec| spec["enforcement"]["waves"] = json!([waves[0]]));
    assert_eq!(estate.step().trigger, Trigger::NothingPending);
    let none = json!({"matchLabels": {"canary": "no"}});
    estate
        .declare(|spec| spec["enforcement"]["waves"] = json!([waves[0], {"name": "more", "namespaceSelector": none}]));
    assert_eq!(estate.step().trigger, Trigger::WavePending);
    assert_eq!(estate.step().trigger, Trigger::NoNamespace);
    walk(estate);

    let table: BTreeSet<(Phase, Trigger)> = TRANSITIONS.iter().map(|arrow| (arrow.from, arrow.on)).collect();
    assert_eq!(went, table);
}

#[test]
fn every_released_namespace_leads_back_to_audit() {
    let mut estate = Estate::enforcing();
    for name in NAMESPACES {
        estate.label(name, "tier", "none");
    }
    let decision = estate.step();
    estate.approve(decision.held[0].digest);
    let decision = estate.step();
    assert_eq!(
        (decision.trigger, decision.progress.phase, decision.namespaces.len()),
        (Trigger::Released, Phase::Audit, 0)
    );
    assert!(decision.enforced.is_some(), "the record stays, so that its absence is a loss");
    assert_eq!(estate.step().progress.phase, Phase::Soaking, "Enforce is still desired");
}

#[test]
fn a_phase_says_since_when_it_lasts() {
    let mut estate = Estate::new();
    estate.soak();
    let since = estate.step().progress.since;
    let decision = estate.hour();
    assert_eq!((decision.progress.phase, decision.progress.since), (Phase::Soaking, since));
    estate.run_until(Trigger::SoakFull, 30);
    let progress = estate.progress.as_ref().unwrap();
    assert_eq!((progress.phase, progress.since), (Phase::Promoting, estate.now));
}

#[test]
fn a_wave_that_was_promoted_is_named_until_it_is_observed() {
    let mut estate = Estate::promoted();
    let decision = estate.step();
    assert_eq!((decision.trigger, decision.wave.as_deref()), (Trigger::Nothing, Some("canary")));
    estate.cover("canary-a", Reason::MissingBundle);
    assert_eq!(estate.step().trigger, Trigger::CheckFailed);
}
