//! The gate: every check, every transition, and what it never does: enforce early, or loosen by itself.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::needless_pass_by_value
)] // a test that cannot go on fails

#[path = "support/gate_estate.rs"]
mod estate;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use estate::{Estate, HOUR, MINUTE, NAMESPACES, declared, names};
use holdfast_core::Digest;
use holdfast_core::coverage::{Inventory, Memo, Workload, assess, compile};
use holdfast_core::engines::{EngineKind, Loss, LossKind};
use holdfast_core::gate::loosening::{self, Beside, LooseningKind, PolicyForm, deletion_digest, release_digest};
use holdfast_core::gate::rollout::TRANSITIONS;
use holdfast_core::gate::would_deny::Ledger;
use holdfast_core::gate::{
    AlarmKind, Canaries, Check, Decision, Enforced, Event, History, Intent, OtherImage, Phase, ScanTime, Soak, Trigger,
    in_force, picture, scan_of, subject_digest,
};
use holdfast_core::trust::clock::Sanity;
use holdfast_core::trust::freshness::{Freshness, Limit};
use holdfast_core::verify::Reason;
use jiff::SignedDuration;
use serde_json::{Value, json};
use support::at;

type Fault = Box<dyn Fn(&mut Estate)>;

fn failing(decision: &Decision) -> Vec<Check> {
    decision.progress.checks.iter().filter(|check| !check.passed).map(|check| check.check).collect()
}

fn alarms(decision: &Decision) -> Vec<AlarmKind> {
    decision.alarms.iter().map(|alarm| alarm.kind).collect()
}

#[test]
fn the_page_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/design/gate.md");
    let page = picture::page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == page,
        "docs/design/gate.md is stale: run `UPDATE_DOCS=1 cargo test -p holdfast-core --test gate`"
    );
}

#[test]
#[allow(clippy::too_many_lines)] // one row a fault
fn every_check_fails_alone_for_its_own_fault_and_says_whose_it_is() {
    let fault = |change: fn(&mut Estate)| -> Fault { Box::new(change) };
    let rows: Vec<(Check, &str, Fault)> = vec![
        (
            Check::TrustRootReady,
            "`corp` is in force: no import yet",
            fault(|e| e.root().unready = Some("no import yet".to_owned())),
        ),
        (Check::TrustRootReady, "memory of the trust root `corp`", fault(|e| e.root().memory_intact = false)),
        (
            Check::TrustRootFresh,
            "past its limit since 2026-06-01T00:00:00Z: no timestamp was accepted yet",
            fault(|e| {
                e.root().freshness =
                    Some(Freshness::Stale { since: at("2026-06-01T00:00:00Z"), limit: Limit::NothingAccepted });
            }),
        ),
        (
            Check::NoPendingRotation,
            "has the candidate sha256:",
            fault(|e| e.root().pending = Some(Digest::of(b"candidate"))),
        ),
        (
            Check::ScanComplete,
            "not complete: the registry did not answer",
            fault(|e| e.scan().incomplete = Some("the registry did not answer".to_owned())),
        ),
        (Check::ScanComplete, "another version of this policy", fault(|e| e.scan().subject = Digest::of(b"old"))),
        (Check::ScanFresh, "more than 2h ago", fault(|e| e.now += HOUR * 2 + MINUTE)),
        (Check::ScanFresh, "ahead of the clock", fault(|e| e.now -= HOUR + MINUTE)),
        (
            Check::CoverageMet,
            "1 of 2 images covered (1 uncovered, 0 unknown), and 100 per cent are asked for; the worst owner is canary-a with 1. Pipeline has to act",
            fault(|e| e.cover("canary-a", Reason::MissingBundle)),
        ),
        (Check::CoverageMet, "(0 uncovered, 1 unknown)", fault(|e| e.cover("canary-a", Reason::RegistryUnavailable))),
        (
            Check::EveryIdentitySeen,
            "of 1 of 1 identities no verified bundle was seen: `web`",
            fault(|e| e.scan().identities_seen.clear()),
        ),
        (Check::EngineReady, "native is not there", fault(|e| e.engine().present = false)),
        (Check::EngineReady, "does not act on this version", fault(|e| e.engine().ready = false)),
        (
            Check::EngineReady,
            "denied the canary that is signed",
            fault(|e| e.engine().canaries = Canaries::SignedDenied),
        ),
        (
            Check::EngineReady,
            "admitted the canary that is not signed",
            fault(|e| e.engine().canaries = Canaries::UnsignedAdmitted),
        ),
        (Check::EngineReady, "answered no canary", fault(|e| e.engine().canaries = Canaries::Unknown)),
        (
            Check::EngineReady,
            "a foreign edit",
            fault(|e| e.engine().faults.push("a foreign edit of its binding".to_owned())),
        ),
        (Check::EngineReady, "nothing is known of native", fault(|e| e.observed.engines.clear())),
        (
            Check::AdmissibleAsDeclared,
            "1 image would be denied for the form",
            fault(|e| e.scan().images[1].inadmissible = Some("by tag")),
        ),
        (
            Check::AdmissibleAsDeclared,
            "no policy in force is about it, as `nginx:1`; the worst owner is canary-a with 1",
            fault(|e| {
                let users = BTreeMap::from([("canary-a".to_owned(), names(&["Deployment/x"]))]);
                e.scan().others.push(OtherImage { image: "nginx:1".to_owned(), users });
            }),
        ),
        (
            Check::NoWideningLoss,
            "TrustRootAbsent (Wider",
            fault(|e| {
                e.engine().losses.push(Loss {
                    policy: None,
                    engine: EngineKind::Native,
                    kind: LossKind::TrustRootAbsent,
                    field: "trustRoots".to_owned(),
                    versions: "any",
                    detail: "absent".to_owned(),
                });
            }),
        ),
        (
            Check::ClockSane,
            "2026-12-01T00:00:00Z has certainly passed",
            fault(|e| {
                e.observed.clock = Some(Sanity::Behind { floor: at("2026-12-01T00:00:00Z"), now: e.now });
            }),
        ),
        (
            Check::ClockSane,
            "has certainly passed",
            fault(|e| {
                let now = e.now;
                e.root().clock = Sanity::Behind { floor: at("2026-12-01T00:00:00Z"), now };
            }),
        ),
        (Check::ClockSane, "the clock was not judged", fault(|e| e.observed.clock = None)),
        (
            Check::NoBreakGlass,
            "`inc` is open until",
            fault(|e| e.open("inc", json!({"returnToAudit": {"policy": "apps", "namespaces": ["canary-a"]}}), HOUR)),
        ),
    ];
    let named: BTreeSet<Check> = rows.iter().map(|(check, ..)| *check).collect();
    assert_eq!(named.len(), Check::ALL.len(), "every check has a row");
    for (check, words, change) in rows {
        let mut estate = Estate::new();
        let good = estate.step();
        assert_eq!(failing(&good), [], "{:?}", good.progress.checks);
        assert!(good.progress.checks.iter().all(|check| check.since == at("2026-07-01T00:00:00Z")));
        change(&mut estate);
        let decision = estate.step();
        assert_eq!(failing(&decision), [check], "{words}: {:?}", decision.progress.checks);
        let result = decision.progress.checks.iter().find(|result| result.check == check).unwrap();
        assert!(result.message.contains(words), "{check}: {}", result.message);
        assert!(result.message.contains(check.cure()), "{check}: {}", result.message);
        assert_eq!(result.since, estate.now, "it fails from now on");
        assert_eq!(decision.blocked_by.as_deref(), Some(check.as_str()));
        let passing = decision.progress.checks.iter().find(|result| result.check != check).unwrap();
        assert_eq!(passing.since, at("2026-07-01T00:00:00Z"), "it still holds since the first step");
    }
}

#[test]
fn what_does_not_concern_the_policy_fails_nothing() {
    let mut estate = Estate::new();
    estate.open("other", json!({"returnToAudit": {"policy": "else", "namespaces": ["canary-a"]}}), HOUR);
    estate.open("root", json!({"acceptStale": {"trustRoot": "vendor"}}), HOUR);
    estate.cover("elsewhere", Reason::MissingBundle);
    assert_eq!(failing(&estate.step()), []);
    estate.open("corp", json!({"acceptStale": {"trustRoot": "corp"}}), HOUR);
    estate.root().freshness =
        Some(Freshness::Stale { since: at("2026-06-01T00:00:00Z"), limit: Limit::NothingAccepted });
    assert_eq!(
        failing(&estate.step()),
        [Check::NoBreakGlass],
        "stale trust is accepted, and promotion is blocked all the same"
    );
}

#[test]
fn coverage_counts_what_is_or_would_be_enforced_and_rounds_against_the_policy() {
    let mut estate = Estate::new();
    estate.soak();
    estate.cover("billing", Reason::MissingBundle);
    assert_eq!(failing(&estate.step()), [], "billing comes with the next wave");
    estate.cover("canary-a", Reason::MissingBundle);
    estate.declare(|spec| spec["enforcement"]["minimumCoverage"] = json!(50));
    estate.rescan();
    assert_eq!(failing(&estate.step()), [], "1 of 2 is 50 per cent");
    estate.declare(|spec| spec["enforcement"]["minimumCoverage"] = json!(51));
    assert_eq!(failing(&estate.step()), [Check::CoverageMet]);
}

#[test]
fn credit_is_earned_by_new_scans_at_most_two_intervals_each() {
    let now = at("2026-07-01T00:00:00Z");
    let scan = |minutes: i64| ScanTime {
        started: now,
        finished: now + MINUTE * i32::try_from(minutes).unwrap(),
        interval: HOUR,
    };
    let mut soak = Soak {
        wave: "w".to_owned(),
        namespaces: BTreeSet::new(),
        subject: Digest::of(b""),
        started: now,
        measured: now,
        credit: SignedDuration::ZERO,
        record: Digest::of(b""),
    };
    for (minutes, new, credit) in [
        (0, false, 0),
        (60, true, 60),
        (60, false, 60),
        (30, false, 60),
        (125, true, 125),
        (1000, true, 245),
        (900, false, 245),
        (1001, true, 246),
    ] {
        assert_eq!(
            (soak.earn(scan(minutes), SignedDuration::from_hours(480)), soak.credit),
            (new, SignedDuration::from_mins(credit)),
            "{minutes}"
        );
        assert!(soak.is_plausible());
    }
    let mut rare = Soak { measured: now, credit: SignedDuration::ZERO, ..soak.clone() };
    let monthly = |month: i64| {
        let finished = now + SignedDuration::from_hours(720 * month);
        ScanTime { started: finished, finished, interval: SignedDuration::from_hours(720) }
    };
    let needed = SignedDuration::from_hours(336);
    let scans = (1..10).find(|month| rare.earn(monthly(*month), needed) && rare.credit >= needed);
    assert_eq!(scans, Some(4), "however rarely scans are made, four have to agree");
    assert!(!soak.lies_ahead(HOUR, now + MINUTE * 941) && soak.lies_ahead(HOUR, now + MINUTE * 940));
    soak.credit = SignedDuration::from_hours(1000);
    assert!(!soak.is_plausible(), "more than time went by");
}

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
fn nothing_but_a_full_soak_promotes() {
    let faults: Vec<(&str, Fault, Option<u32>)> = vec![
        (
            "a check that fails once",
            Box::new(|e: &mut Estate| {
                e.cover("canary-a", Reason::MissingBundle);
                e.step();
                e.cover("canary-a", Reason::Verified);
            }),
            Some(24),
        ),
        ("lost progress", Box::new(|e: &mut Estate| e.progress = None), Some(24)),
        (
            "a policy that changed",
            Box::new(|e: &mut Estate| {
                e.declare(|spec| spec["require"] = json!({"signedTimestamp": true}));
                e.rescan();
            }),
            Some(24),
        ),
        (
            "an operator that slept for days",
            Box::new(|e: &mut Estate| {
                e.now += HOUR * 50;
                e.step();
                e.rescan();
            }),
            Some(24),
        ),
        (
            "a clock far ahead and back",
            Box::new(|e: &mut Estate| {
                e.now += HOUR * 50;
                e.step();
                e.now -= HOUR * 50;
                e.step();
                e.rescan();
            }),
            Some(24),
        ),
        (
            "a forged start",
            Box::new(|e: &mut Estate| {
                let soak = e.soaking();
                soak.started -= HOUR * 100;
                soak.credit = HOUR * 100;
            }),
            Some(24),
        ),
        ("forged credit", Box::new(|e: &mut Estate| e.soaking().credit = HOUR * 100), Some(24)),
        (
            "forged namespaces",
            Box::new(|e: &mut Estate| {
                let name = "shop".to_owned();
                e.soaking().namespaces.insert(name);
            }),
            Some(24),
        ),
        ("a soak of a history that was set back", Box::new(|e: &mut Estate| e.history = History::default()), Some(24)),
        (
            "an old scan read again and again",
            Box::new(|e: &mut Estate| {
                for _ in 0..200 {
                    e.now += MINUTE / 4;
                    e.step();
                }
            }),
            Some(14),
        ),
    ];
    for (what, fault, want) in faults {
        let mut estate = Estate::new();
        estate.soak();
        for _ in 0..10 {
            estate.hour();
        }
        fault(&mut estate);
        estate.step();
        let hours = estate.run_until(Trigger::SoakFull, 100);
        // A scan that ends a new soak's first hour earns it; what came before does not count.
        let want = want.unwrap();
        assert!((want - 1..=want + 1).contains(&hours), "{what}: {hours} hours");
    }
}

#[test]
fn a_pause_earns_two_intervals_at_most_and_promotes_nothing() {
    let mut estate = Estate::new();
    estate.soak();
    for _ in 0..10 {
        estate.hour();
    }
    estate.paused = true;
    for _ in 0..100 {
        let decision = estate.hour();
        assert_eq!((decision.trigger, decision.blocked_by.as_deref()), (Trigger::Paused, Some("Paused")));
    }
    estate.paused = false;
    assert_eq!(estate.run_until(Trigger::SoakFull, 100), 13, "two of the paused hours count");
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
fn a_newer_namespace_is_enforced_from_its_start_and_an_older_one_soaks_for_itself() {
    let mut estate = Estate::enforcing();
    estate.namespace("fresh", &[("tier", "apps")], estate.now + MINUTE);
    estate.namespace("old", &[("tier", "apps")], at("2026-01-01T00:00:00Z"));
    estate.now += MINUTE * 2;
    let decision = estate.step();
    assert_eq!(decision.intents, [Intent::Promote { wave: "everything".to_owned(), namespaces: names(&["fresh"]) }]);
    assert_eq!(decision.progress.phase, Phase::Enforcing);
    assert_eq!(decision.progress.late.keys().collect::<Vec<_>>(), ["old"]);
    estate.observe_in_force();
    // Made since the wave came into force, and seen out of scope first: something may run in it.
    estate.namespace("taken", &[("tier", "none")], estate.now + MINUTE);
    estate.hour();
    estate.label("taken", "tier", "apps");
    assert!(!estate.step().namespaces.contains("taken"));
    estate.observed.namespaces.remove("taken");
    let mut hours = 1;
    while !estate.hour().namespaces.contains("old") {
        hours += 1;
        assert!(hours < 100);
    }
    assert!((71..=72).contains(&hours), "{hours}");
    estate.namespace("bad", &[("tier", "apps")], at("2026-01-01T00:00:00Z"));
    estate.cover("bad", Reason::MissingBundle);
    for _ in 0..100 {
        let decision = estate.hour();
        assert!(!decision.namespaces.contains("bad") && decision.progress.late.is_empty());
        assert_eq!(failing(&decision), [], "it does not fail what is enforced");
    }
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
    let mut estate = Estate::new();
    estate.soak();
    estate.run_until(Trigger::SoakFull, 30);
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

#[test]
fn a_lost_record_never_reads_as_audit() {
    let mut estate = Estate::enforcing();
    estate.enforced = None;
    let decision = estate.step();
    assert_eq!(
        (decision.namespaces.len(), decision.progress.phase),
        (4, Phase::Enforcing),
        "made anew from the history"
    );
    assert!(alarms(&decision).contains(&AlarmKind::RecordLost) && decision.form.is_some());

    let mut estate = Estate::enforcing();
    estate.enforced = None;
    estate.declare(|spec| spec["require"] = json!({"sct": false}));
    let decision = estate.step();
    assert_eq!((&decision.intents[..], decision.form.is_none()), (&[Intent::LeaveAsIs][..], true));
    assert_eq!(
        (decision.progress.phase, decision.namespaces.len(), decision.enforced.is_none()),
        (Phase::Enforcing, 4, true)
    );
    assert!(decision.is_degraded());
    estate.approve(estate.form().digest());
    assert!(estate.peek().form.is_none(), "an approval of another time and place recovers nothing");
    estate.approve_recovery();
    assert_eq!(estate.step().form.map(|form| form.spec).as_ref(), Some(&estate.spec));

    let mut estate = Estate::enforcing();
    (estate.enforced, estate.progress, estate.history) = (None, None, History::default());
    assert_eq!(estate.step().intents, [Intent::LeaveAsIs], "the engines alone tell");
}

/// Whoever changes the record, or takes it away with the history, finds what was enforced enforced.
#[test]
fn a_record_that_was_changed_is_held_against_what_else_is_known() {
    let loosened = |enforced: &mut Enforced| enforced.spec.require.sct = false;
    let mut estate = Estate::enforcing();
    let current = in_force(&estate.input(), estate.now).unwrap();
    assert_eq!((&current.form.spec, current.namespaces.len()), (&estate.spec, 4));
    loosened(estate.enforced.as_mut().unwrap());
    let decision = estate.step();
    assert!(
        decision.form.is_some_and(|form| form.spec.require.sct),
        "the declared form is the one in force: the history has its digest"
    );
    assert_eq!(estate.enforced.as_ref().unwrap().spec, estate.spec, "and is kept again");

    let mut estate = Estate::enforcing();
    loosened(estate.enforced.as_mut().unwrap());
    estate.declare(|spec| spec["require"] = json!({"sct": false}));
    let decision = estate.step();
    assert_eq!((&decision.form, decision.namespaces.len()), (&None, 4), "declared and kept alike, and never in force");
    assert_eq!(decision.enforced, estate.enforced, "what there is stays to be looked at");
    assert!(in_force(&estate.input(), estate.now).is_none());

    let mut estate = Estate::enforcing();
    let billing = estate.enforced.as_mut().unwrap().namespaces.remove("billing");
    let decision = estate.step();
    assert!(billing.is_some() && decision.namespaces.contains("billing"));
    assert_eq!(alarms(&decision), [AlarmKind::RecordLost]);
    assert!(alarms(&estate.hour()).contains(&AlarmKind::RecordLost), "said for three days, and kept in the history");
    estate.now += HOUR * 72;
    assert!(!alarms(&estate.hour()).contains(&AlarmKind::RecordLost));

    // Without a history, what the last step wrote down counts.
    let mut estate = Estate::enforcing();
    estate.history = History::default();
    estate.enforced.as_mut().unwrap().namespaces.remove("billing");
    assert!(estate.step().namespaces.contains("billing"));
    let mut estate = Estate::enforcing();
    (estate.enforced, estate.history) = (None, History::default());
    estate.engine().in_force.clear();
    let decision = estate.step();
    assert_eq!((decision.form.is_some(), decision.namespaces.len()), (true, 4), "and of the form");
    assert!(estate.history.records()[0].number == 0 && estate.history.verify(None).is_ok());
    let mut estate = Estate::enforcing();
    (estate.enforced, estate.history) = (None, History::default());
    estate.declare(|spec| spec["require"] = json!({"sct": false}));
    let decision = estate.step();
    assert_eq!((decision.form.is_none(), decision.namespaces.len()), (true, 4));

    // A history whose front was cut off does not hold; nothing else says that something was enforced.
    let mut estate = Estate::enforcing();
    let cut: Vec<Value> =
        estate.history.records().iter().skip(1).map(|record| serde_json::to_value(record).unwrap()).collect();
    estate.history = serde_json::from_value(Value::from(cut)).unwrap();
    (estate.enforced, estate.progress) = (None, None);
    estate.engine().in_force.clear();
    assert!(estate.history.verify(None).is_err());
    let decision = estate.step();
    assert_eq!(decision.intents, [Intent::LeaveAsIs]);

    // Nothing was ever promoted: a history that is lost costs the soak and nothing else.
    let mut estate = Estate::new();
    estate.soak();
    estate.history = History::default();
    let decision = estate.step();
    assert_eq!((decision.progress.phase, decision.form.is_some()), (Phase::Soaking, true));
    assert!(alarms(&decision).contains(&AlarmKind::HistoryBroken));

    // A policy that was let go keeps an empty record in another form.
    let mut estate = Estate::enforcing();
    let digest = release_digest("apps", estate.form().digest(), &NAMESPACES.into_iter().collect());
    for name in NAMESPACES {
        estate.label(name, "tier", "none");
    }
    estate.approve(digest);
    assert_eq!(estate.step().namespaces.len(), 0);
    estate.declare(|spec| spec["require"] = json!({"sct": false}));
    estate.hour();
    assert!(estate.hour().form.is_some());
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

    let mut estate = Estate::new();
    estate.soak();
    estate.run_until(Trigger::SoakFull, 30);
    estate.step();
    estate.engine().ready = false;
    estate.step();
    release(&mut estate);
    walk(estate);

    let mut estate = Estate::new();
    estate.soak();
    estate.run_until(Trigger::SoakFull, 30);
    estate.observe_in_force();
    estate.hour();
    release(&mut estate);
    walk(estate);

    let mut estate = Estate::new();
    estate.soak();
    estate.run_until(Trigger::SoakFull, 30);
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
fn the_history_is_chained_bounded_and_sums_up_what_it_drops() {
    let now = at("2026-07-01T00:00:00Z");
    let mut history = History::default();
    let promoted =
        |n: &str| Event::Promoted { wave: "w".to_owned(), namespaces: names(&[n]), form: Digest::of(n.as_bytes()) };
    for n in ["a", "b", "c"] {
        history.append(now, promoted(n), 8);
    }
    history.append(now, Event::Observed { wave: "w".to_owned() }, 8);
    history.append(now, Event::Released { namespaces: names(&["a"]), by: vec!["bob".to_owned()] }, 8);
    for n in 0..40 {
        history.append(now, Event::BreakGlassEnded { name: n.to_string() }, 8);
        assert!(history.records().len() <= 9);
        let in_force = history.in_force();
        assert_eq!(in_force.enforced.keys().collect::<Vec<_>>(), ["b", "c"]);
        assert_eq!((in_force.form, in_force.waves), (Some(Digest::of(b"c")), names(&["w"])));
        assert!(history.verify(history.head()).is_ok());
    }
    let text = serde_json::to_string(&history).unwrap();
    assert_eq!(serde_json::from_str::<History>(&text).unwrap(), history);
    let head = history.head();
    for (old, new) in [("\"39\"", "\"49\""), ("\"number\":57", "\"number\":58"), ("2026-07-01", "2026-07-02")] {
        let forged = text.replacen(old, new, 1);
        assert_ne!(forged, text);
        assert!(serde_json::from_str::<History>(&forged).unwrap().verify(None).is_err());
    }
    let mut records: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    records.pop();
    let cut: History = serde_json::from_value(json!(records)).unwrap();
    assert!(cut.verify(None).is_ok() && cut.verify(head).is_err(), "what is cut off is missed by its head");
    records.remove(2);
    assert!(serde_json::from_value::<History>(json!(records)).unwrap().verify(None).is_err());
}

#[test]
fn what_would_have_been_denied_is_kept_over_the_window() {
    let mut estate = Estate::new();
    estate.cover("canary-a", Reason::MissingBundle);
    let all = |_: &str| true;
    let mut ledger = Ledger::default();
    ledger.observe(estate.scan(), &all, HOUR * 3);
    assert_eq!((ledger.count(), ledger.denials[0].workload.as_str()), (1, "canary-a/Deployment/app"));
    assert!(ledger.denials[0].why.starts_with("MissingBundle"));
    estate.cover("canary-a", Reason::Verified);
    for hours in 1..=4 {
        estate.now += HOUR;
        estate.rescan();
        ledger.observe(estate.scan(), &all, HOUR * 3);
        assert_eq!(ledger.count(), usize::from(hours <= 3), "{hours}");
    }
    estate.cover("canary-a", Reason::MissingBundle);
    assert_eq!(estate.step().status().would_have_denied, 1);
    let mut many = estate.scan().clone();
    many.images = (0..1000)
        .map(|n| {
            let mut image = many.images[0].clone();
            image.image = format!("r.example/{n}");
            image.reason = Reason::MissingBundle;
            image
        })
        .collect();
    many.time.finished += HOUR;
    ledger.observe(&many, &all, HOUR);
    assert_eq!((ledger.count(), ledger.denials.len()), (1000, 256));
}

/// From manifests' inventory to what the checks look at.
#[test]
fn a_scan_is_a_policys_part_of_a_coverage() {
    let digest = |n: &str| Digest::of(n.as_bytes());
    let web = format!("r.example/apps/web@{}", digest("web"));
    let mut inventory = Inventory::default();
    let workload = |namespace: &str, name: &str| Workload {
        namespace: namespace.to_owned(),
        kind: "Deployment".to_owned(),
        name: name.to_owned(),
    };
    for (namespace, image) in [
        ("shop", web.as_str()),
        ("billing", &web),
        ("elsewhere", &web),
        ("shop", "r.example/apps/tagged:1"),
        ("shop", "r.example/apps/bent@sha256:zzz"),
        ("shop", "platform.example/agent@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ("billing", "platform.example/agent@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ("elsewhere", "nginx"),
    ] {
        inventory.add(&workload(namespace, "app"), "main", image);
    }
    for (namespace, tier) in [("shop", "apps"), ("billing", "apps"), ("elsewhere", "none")] {
        inventory.add_namespace(namespace, BTreeMap::from([("tier".to_owned(), tier.to_owned())]));
    }
    let spec = declared(|_| ());
    let platform = declared(|spec| spec["images"] = json!(["platform.example/**"]));
    let whole = json!({"apiVersion": "holdfast.dev/v1alpha1", "kind": "SigningIdentityPolicy", "metadata": {"name": "apps"}, "spec": spec});
    let compiled = compile(&serde_json::from_value(whole).unwrap(), &|_| Err(String::new())).unwrap();
    let keys = BTreeMap::new();
    let form = PolicyForm { name: "apps", spec: &spec, keys: &keys };
    let now = at("2026-07-01T00:00:00Z");
    let time = ScanTime { started: now, finished: now, interval: HOUR };
    let policies = [compiled.clone()];
    let coverage = assess(&inventory, &policies, &BTreeMap::new(), &BTreeMap::new(), &mut Memo::default(), now);
    let there = names(&["shop"]);
    let beside = [Beside { name: "platform", spec: &platform, namespaces: &there }];
    let scan = scan_of(form, &compiled, &coverage, &inventory, &beside, time, None);
    assert_eq!((scan.subject, &scan.incomplete), (subject_digest(form), &None));
    let of = |image: &str| scan.images.iter().find(|i| i.image == image).unwrap();
    assert_eq!(of(&web).users.keys().collect::<Vec<_>>(), ["billing", "shop"], "elsewhere is not selected");
    assert_eq!(of(&web).inadmissible, None);
    assert!(of("r.example/apps/tagged:1").inadmissible.unwrap().contains("by tag"));
    assert!(of("r.example/apps/bent@sha256:zzz").inadmissible.unwrap().contains("no image reference"));
    assert_eq!(scan.others.len(), 1);
    assert_eq!(scan.others[0].users.keys().collect::<Vec<_>>(), ["billing"], "in shop, another policy is about it");
    assert!(scan.identities_seen.is_empty());
    assert_eq!(scan.tally(&|_| true).unknown, 3);
    assert_eq!(scan.tally(&|namespace| namespace == "billing").total(), 1);
    inventory.add(&workload("nobody-knows", "app"), "main", &web);
    let coverage = assess(&inventory, &policies, &BTreeMap::new(), &BTreeMap::new(), &mut Memo::default(), now);
    let scan = scan_of(form, &compiled, &coverage, &inventory, &beside, time, None);
    assert!(
        scan.incomplete.unwrap().contains("`nobody-knows`"),
        "labels that are not known select nothing for certain"
    );
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
fn what_was_recovered_is_in_the_history() {
    let mut estate = Estate::enforcing();
    (estate.enforced, estate.history) = (None, History::default());
    estate.engine().in_force.clear();
    estate.step();
    estate.approve_recovery();
    assert_eq!(estate.step().namespaces.len(), 4);
    estate.hour();
    estate.enforced = None;
    assert_eq!(estate.step().namespaces.len(), 4, "lost again, and the history says where");
}

#[test]
fn a_record_is_not_believed_beside_a_history_that_was_changed() {
    let mut estate = Estate::enforcing();
    estate.enforced.as_mut().unwrap().spec.require.sct = false;
    estate.declare(|spec| spec["require"] = json!({"sct": false}));
    let mut history = serde_json::to_value(&estate.history).unwrap();
    history[0]["at"] = json!("2026-07-01T00:00:01Z");
    estate.history = serde_json::from_value(history).unwrap();
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
    let mut estate = Estate::new();
    estate.soak();
    estate.run_until(Trigger::SoakFull, 30);
    let decision = estate.step();
    assert_eq!((decision.trigger, decision.wave.as_deref()), (Trigger::Nothing, Some("canary")));
    estate.cover("canary-a", Reason::MissingBundle);
    assert_eq!(estate.step().trigger, Trigger::CheckFailed);
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
