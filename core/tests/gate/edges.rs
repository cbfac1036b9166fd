//! Where two conditions meet, and where a bound lies: each alone must not do what both do.

use std::collections::BTreeSet;

use crate::estate::{Estate, HOUR, MINUTE, NAMESPACES, declared, names};
use crate::support::at;
use crate::{alarms, failing};
use holdfast_core::Digest;
use holdfast_core::gate::loosening::{self, LooseningKind};
use holdfast_core::gate::{
    AlarmKind, Check, Decision, Event, History, Intent, Named, Phase, ScanTime, Soak, Trigger, subject_digest,
};
use holdfast_core::trust::freshness::{Freshness, Limit};
use holdfast_core::verify::Reason;
use jiff::SignedDuration;
use serde_json::json;

const SECOND: SignedDuration = SignedDuration::from_secs(1);

fn message(decision: &Decision, check: Check) -> String {
    let found = decision.progress.checks.iter().find(|result| result.check == check).unwrap();
    format!("{} {}", found.passed, found.message)
}

fn events(estate: &Estate, of: impl Fn(&Event) -> bool) -> Vec<Event> {
    estate.history.records().iter().map(|record| record.event.clone()).filter(of).collect()
}

#[test]
fn a_check_says_how_much_trust_it_is_about() {
    let mut estate = Estate::new();
    for (roots, want) in [
        (json!([]), "true no trust root is accepted: keys alone decide"),
        (json!(["corp"]), "true the trust root `corp` in force, with memory"),
        (json!(["corp", "more"]), "true all 2 trust roots in force, with memory"),
    ] {
        let corp = estate.root().clone();
        estate.observed.trust_roots.insert("more".to_owned(), corp);
        estate.declare(|spec| spec["trustRoots"] = roots);
        assert_eq!(message(&estate.peek(), Check::TrustRootReady), want);
    }
}

#[test]
fn stale_trust_is_accepted_for_the_root_that_is_named() {
    for (named, fails) in [("corp", false), ("other", true)] {
        let mut estate = Estate::new();
        estate.root().freshness = Some(Freshness::Stale { since: estate.now, limit: Limit::NothingAccepted });
        estate.open("inc", json!({"acceptStale": {"trustRoot": named}}), HOUR);
        assert_eq!(failing(&estate.peek()).contains(&Check::TrustRootFresh), fails, "{named}");
    }
}

#[test]
fn a_scan_is_fresh_up_to_two_intervals_and_no_more_than_one_ahead() {
    for (age, fails) in [(HOUR * 2, false), (HOUR * 2 + SECOND, true), (-HOUR, false), (-HOUR - SECOND, true)] {
        let mut estate = Estate::new();
        estate.now += age;
        assert_eq!(failing(&estate.peek()).contains(&Check::ScanFresh), fails, "{age:#}");
    }
}

#[test]
fn a_break_glass_for_a_mirror_is_open_for_those_who_accept_its_trust() {
    for (name, concerns) in [("corp", true), ("other", false)] {
        let mut estate = Estate::new();
        let change = json!({"kind": "TrustRootMirror", "name": name, "digest": Digest::of(b"x")});
        estate.open("inc", json!({ "allowChange": change }), HOUR);
        assert_eq!(failing(&estate.peek()).contains(&Check::NoBreakGlass), concerns, "{name}");
    }
}

/// Opens a break-glass for what is held, and gives what is excepted while it is open.
fn excepted(estate: &mut Estate) -> Vec<BTreeSet<String>> {
    let digest = estate.peek().held[0].digest;
    let change = json!({"kind": "SigningIdentityPolicy", "name": "apps", "digest": digest});
    estate.open("edit", json!({ "allowChange": change }), HOUR);
    let intents = estate.step().intents;
    intents
        .into_iter()
        .filter_map(|i| if let Intent::Except { namespaces, .. } = i { Some(namespaces) } else { None })
        .collect()
}

#[test]
fn what_is_lent_excepts_the_namespaces_it_leaves_out_and_no_others() {
    let mut audit = Estate::enforcing();
    audit.declare(|spec| spec["enforcement"]["desired"] = json!("Audit"));
    assert_eq!(excepted(&mut audit), [names(&NAMESPACES)]);
    let mut narrower = Estate::enforcing();
    narrower.declare(|spec| spec["namespaceSelector"]["matchLabels"]["canary"] = json!("true"));
    assert_eq!(excepted(&mut narrower), [names(&["billing", "shop"])]);
    let mut weaker = Estate::enforcing();
    weaker.declare(|spec| spec["require"] = json!({"sct": false}));
    assert_eq!(excepted(&mut weaker), [] as [BTreeSet<String>; 0]);
}

/// What one break-glass lends of the form, and another one of the scope, is lent by each for itself.
#[test]
fn a_break_glass_lends_what_it_names_and_nothing_beside() {
    let mut scope = Estate::enforcing();
    scope.label("billing", "tier", "none");
    assert_eq!(excepted(&mut scope), [names(&["billing"])]);

    let mut estate = Estate::enforcing();
    estate.declare(|spec| spec["require"] = json!({"sct": false}));
    estate.label("billing", "tier", "none");
    let held = estate.peek().held;
    let of = |kind: LooseningKind| held.iter().position(|held| held.kind == kind).unwrap();
    let by = |decision: &Decision| -> Vec<String> {
        let intents = decision.intents.iter();
        intents
            .filter_map(
                |intent| if let Intent::Except { break_glass, .. } = intent { Some(break_glass.clone()) } else { None },
            )
            .collect()
    };
    for (which, lent) in [(LooseningKind::EvidenceDropped, vec![]), (LooseningKind::NamespaceLeft, vec!["inc-scope"])] {
        let change = json!({"kind": "SigningIdentityPolicy", "name": "apps", "digest": held[of(which)].digest});
        let name = if which == LooseningKind::NamespaceLeft { "inc-scope" } else { "inc-form" };
        estate.open(name, json!({ "allowChange": change }), HOUR);
        let decision = estate.step();
        assert!(!decision.form.as_ref().unwrap().spec.require.sct);
        assert_eq!(by(&decision), lent, "{which}");
    }
}

#[test]
fn a_change_that_is_held_is_written_down_at_once_and_once_and_who_approved_it_is_too() {
    let mut estate = Estate::enforcing();
    let is_held = |event: &Event| matches!(event, Event::Held { .. });
    estate.declare(|spec| spec["require"] = json!({"sct": false}));
    for _ in 0..3 {
        estate.step();
        let held = events(&estate, is_held);
        let [Event::Held { kinds, .. }] = &held[..] else { panic!("{held:?}") };
        assert_eq!(kinds, &["EvidenceDropped"]);
    }
    estate.approve_what_is_held();
    estate.step();
    let changed = events(&estate, |event| matches!(event, Event::FormChanged { .. }));
    assert!(matches!(&changed[..], [Event::FormChanged { by, .. }] if by == &["bob"]), "{changed:?}");
}

#[test]
fn an_approved_change_lets_go_what_it_leaves_out_and_nothing_else() {
    let mut narrower = Estate::enforcing();
    narrower.declare(|spec| spec["namespaceSelector"]["matchLabels"]["canary"] = json!("true"));
    narrower.approve_what_is_held();
    let decision = narrower.step();
    assert!(decision.intents.contains(&Intent::Release { namespaces: names(&["billing", "shop"]) }), "{decision:?}");
    assert_eq!(decision.namespaces, names(&["canary-a", "canary-b"]));

    // What was relabelled meanwhile waits for an approval of its own.
    let mut weaker = Estate::enforcing();
    weaker.declare(|spec| spec["require"] = json!({"sct": false}));
    weaker.approve_what_is_held();
    weaker.label("billing", "tier", "none");
    let decision = weaker.step();
    assert!(!decision.form.unwrap().spec.require.sct && decision.namespaces.contains("billing"));

    let mut fewer = Estate::enforcing();
    let first = fewer.spec.enforcement.waves[0].clone();
    fewer.declare(|spec| spec["enforcement"]["waves"] = json!([first]));
    fewer.approve_what_is_held();
    let waves = fewer.step().enforced.unwrap().waves;
    assert_eq!(waves.keys().collect::<Vec<_>>(), ["canary"]);
}

#[test]
fn others_deny_where_they_are_enforced_beside_this_policy() {
    let gains = |beside: &dyn Fn(&mut serde_json::Value), namespaces: &[&str]| {
        let mut estate = Estate::new();
        estate.declare(|spec| spec["otherImages"] = json!("Allow"));
        estate.soak();
        estate.run_until(Trigger::SoakFull, 30);
        estate.observe_in_force();
        let mut platform = declared(|spec| spec["images"] = json!(["p.example/**"]));
        let mut spec = serde_json::to_value(&platform).unwrap();
        beside(&mut spec);
        platform = serde_json::from_value(spec).unwrap();
        estate.beside = Some((platform, names(namespaces)));
        estate.declare(|spec| spec["images"] = json!(["r.example/apps/**", "r.example/tools/**"]));
        estate.peek().held.iter().any(|held| held.kind == LooseningKind::ImagesClaimed)
    };
    assert!(gains(&|_| (), &["canary-a"]));
    assert!(!gains(&|_| (), &["billing"]), "elsewhere");
    assert!(!gains(&|spec| spec["otherImages"] = json!("Allow"), &["canary-a"]), "it lets others pass");
}

#[test]
fn an_object_is_named_by_its_kind_and_its_name() {
    let mut estate = Estate::enforcing();
    estate.declare(|spec| spec["require"] = json!({"sct": false}));
    assert_eq!(estate.peek().held[0].object.to_string(), "SigningIdentityPolicy `apps`");
}

#[test]
fn a_soak_that_ends_is_written_down_with_its_reason() {
    let mut estate = Estate::new();
    estate.soak();
    estate.hour();
    estate.cover("canary-a", Reason::MissingBundle);
    estate.step();
    let ended = events(&estate, |event| matches!(event, Event::SoakEnded { .. }));
    assert!(matches!(&ended[..], [Event::SoakEnded { why, .. }] if why.contains("CoverageMet")), "{ended:?}");
}

#[test]
fn what_a_soak_proves_hangs_on_the_waves_and_not_on_how_long_it_lasts() {
    let estate = Estate::new();
    let subject = |change: &dyn Fn(&mut serde_json::Value)| {
        let spec = declared(|spec| change(spec));
        subject_digest(loosening::PolicyForm { spec: &spec, ..estate.form() })
    };
    let before = subject(&|_| ());
    assert_ne!(before, subject(&|spec| spec["enforcement"]["waves"][0]["name"] = json!("first")));
    assert_eq!(before, subject(&|spec| spec["enforcement"]["soak"] = json!("1h")));
}

#[test]
fn a_promotion_has_a_quarter_of_an_hour_to_be_seen() {
    for (after, alarmed) in [(MINUTE, false), (MINUTE * 15, false), (MINUTE * 15 + SECOND, true)] {
        let mut estate = Estate::promoted();
        estate.now += after;
        assert_eq!(alarms(&estate.peek()).contains(&AlarmKind::NotObserved), alarmed, "{after:#}");
    }
}

#[test]
fn a_namespace_that_is_gone_or_excepted_is_not_missed() {
    let missed = |change: &dyn Fn(&mut Estate)| {
        let mut estate = Estate::enforcing();
        estate.engine().in_force.remove("billing");
        change(&mut estate);
        alarms(&estate.peek()).contains(&AlarmKind::NotInForce)
    };
    let glass = |policy: &str| json!({"returnToAudit": {"policy": policy, "namespaces": ["billing"]}});
    assert!(missed(&|_| ()));
    assert!(!missed(&|estate| drop(estate.observed.namespaces.remove("billing"))));
    assert!(!missed(&|estate| estate.open("inc", glass("apps"), HOUR)));
    assert!(missed(&|estate| estate.open("inc", glass("other"), HOUR)));
}

#[test]
fn a_wave_is_seen_in_force_once_what_is_left_of_it_is() {
    let mut estate = Estate::promoted();
    estate.observed.namespaces.remove("canary-b");
    estate.engine().in_force = names(&["canary-a"]);
    estate.step();
    assert!(estate.enforced.as_ref().unwrap().waves["canary"].observed.is_some());
}

#[test]
fn a_break_glass_is_written_down_when_it_opens() {
    let mut estate = Estate::enforcing();
    estate.open("inc", json!({"acceptStale": {"trustRoot": "corp"}}), HOUR);
    for _ in 0..2 {
        estate.step();
        assert_eq!(events(&estate, |event| matches!(event, Event::BreakGlassOpened { .. })).len(), 1);
    }
}

#[test]
fn a_wave_without_namespaces_and_a_pause_start_no_soak() {
    let mut empty = Estate::new();
    empty.declare(|spec| spec["enforcement"]["waves"][0]["namespaceSelector"]["matchLabels"]["canary"] = json!("no"));
    empty.rescan();
    empty.soak();
    let decision = empty.hour();
    assert_eq!((decision.progress.soak, decision.blocked_by.as_deref()), (None, Some("WaveEmpty")));
    let mut paused = Estate::new();
    paused.paused = true;
    paused.soak();
    assert_eq!(paused.hour().progress.soak, None);
}

#[test]
fn soak_is_earned_to_the_second_and_never_negative() {
    let now = at("2026-07-01T00:00:00Z");
    let soak = Soak {
        wave: "w".to_owned(),
        namespaces: BTreeSet::new(),
        subject: Digest::of(b""),
        started: now,
        measured: now,
        credit: SignedDuration::ZERO,
        record: Digest::of(b""),
    };
    let mut quarter = soak.clone();
    let later = now + HOUR * 10;
    quarter.earn(ScanTime { started: later, finished: later, interval: HOUR * 10 }, HOUR);
    assert_eq!(quarter.credit, SignedDuration::from_mins(15));
    assert!(!Soak { credit: -SECOND, measured: later, ..soak }.is_plausible());
}

#[test]
fn only_what_is_not_enforced_yet_would_be_denied_by_the_next_wave() {
    for (namespace, count) in [("canary-a", 0), ("elsewhere", 0), ("billing", 1)] {
        let mut estate = Estate::promoted();
        estate.observe_in_force();
        estate.hour();
        estate.now += HOUR;
        estate.rescan();
        estate.cover(namespace, Reason::MissingBundle);
        assert_eq!(estate.peek().status().would_have_denied, count, "{namespace}");
    }
}

#[test]
fn a_record_that_is_lost_says_since_when_it_is_enforced() {
    let mut estate = Estate::enforcing();
    let since = estate.hour().progress.since;
    estate.now += HOUR;
    estate.enforced = None;
    estate.declare(|spec| spec["require"] = json!({"sct": false}));
    let decision = estate.step();
    assert!(decision.form.is_none() && since < estate.now);
    assert_eq!((decision.progress.phase, decision.progress.since), (Phase::Enforcing, since));
}

#[test]
fn a_namespace_made_at_the_very_last_step_may_have_been_seen() {
    let mut estate = Estate::enforcing();
    estate.hour();
    estate.namespace("tie", &[("tier", "apps")], estate.progress.as_ref().unwrap().at);
    estate.now += MINUTE;
    assert!(!estate.step().namespaces.contains("tie"));
}

/// A wave whose namespaces are all enforced already is done where it comes next, and not before the one in front of it was seen in force.
#[test]
fn a_wave_with_nothing_of_its_own_is_done_in_its_turn() {
    let waves = json!([
        {"name": "canary", "namespaceSelector": {"matchLabels": {"canary": "true"}}},
        {"name": "again", "namespaceSelector": {"matchLabels": {"canary": "true"}}},
        {"name": "everything"},
    ]);
    let mut estate = Estate::new();
    estate.declare(|spec| spec["enforcement"]["waves"] = waves);
    estate.rescan();
    estate.soak();
    estate.run_until(Trigger::SoakFull, 100);
    let done = |estate: &Estate| estate.enforced.as_ref().unwrap().waves.contains_key("again");
    estate.step();
    assert!(!done(&estate), "the first wave was not seen in force yet");
    estate.observe_in_force();
    estate.hour();
    estate.hour();
    assert!(done(&estate));
}

#[test]
fn a_promotion_ends_the_soak_it_came_of() {
    let now = at("2026-07-01T00:00:00Z");
    let started = |wave: &str| Event::SoakStarted {
        wave: wave.to_owned(),
        namespaces: Named::from(&names(&["a", "b"])),
        subject: Digest::of(b""),
        began: now,
    };
    let promoted = |wave: &str, namespace: &str| Event::Promoted {
        wave: wave.to_owned(),
        namespaces: names(&[namespace]),
        form: Digest::of(b""),
    };
    for (then, goes_on) in
        [(promoted("w", "a"), false), (promoted("other", "a"), true), (promoted("w", "elsewhere"), true)]
    {
        let mut history = History::default();
        history.append(now, started("w"), 100);
        history.append(now, then.clone(), 100);
        assert_eq!(history.soak_start("w", &names(&["a", "b"])).is_some(), goes_on, "{then:?}");
    }
}
