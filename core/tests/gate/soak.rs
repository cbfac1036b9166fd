//! How soak is earned, and that nothing else promotes.

use std::collections::BTreeSet;

use crate::estate::{Estate, HOUR, MINUTE, names};
use crate::failing;
use crate::support::at;
use holdfast_core::Digest;
use holdfast_core::gate::{Canaries, History, Intent, Phase, ScanTime, Soak, Trigger, Unscanned};
use holdfast_core::verify::Reason;
use jiff::SignedDuration;
use serde_json::json;

type Fault = Box<dyn Fn(&mut Estate)>;

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
fn what_was_not_looked_at_yet_since_holdfast_began_earns_nothing_and_ends_nothing() {
    let soaking = || {
        let mut estate = Estate::new();
        estate.soak();
        (0..5).for_each(|_| _ = estate.hour());
        estate
    };
    let not_yet: Fault = Box::new(|estate| {
        estate.observed.scan = None;
        estate.observed.unscanned = Some(Unscanned::NotYet("not since the start".to_owned()));
    });
    let looks_around: Fault = Box::new(|estate| {
        estate.observed.looks_around = true;
        estate.engine().canaries = Canaries::Unknown;
        estate.observed.trust_roots.clear();
    });
    let never: Fault = Box::new(|estate| {
        estate.observed.scan = None;
        estate.observed.unscanned = Some(Unscanned::Never("no report".to_owned()));
    });
    let unknown: Fault = Box::new(|estate| estate.engine().canaries = Canaries::Unknown);
    let uncovered: Fault = Box::new(|estate| {
        estate.observed.looks_around = true;
        estate.cover("canary-a", Reason::MissingBundle);
    });
    let stale: Fault = Box::new(|estate| {
        estate.observed.scan = None;
        estate.observed.unscanned = Some(Unscanned::NotYet("not since the start".to_owned()));
        estate.root().memory_intact = false;
    });
    let edited: Fault = Box::new(|estate| {
        estate.observed.looks_around = true;
        estate.engine().canaries = Canaries::Unknown;
        estate.engine().faults.push("somebody changed its objects".to_owned());
    });
    let partial: Fault = Box::new(|estate| {
        estate.scan().is_early = true;
        estate.scan().incomplete = Some("not all that runs was seen when it began".to_owned());
        estate.scan().images.clear();
    });
    let partly_uncovered: Fault = Box::new(|estate| {
        estate.scan().is_early = true;
        estate.scan().incomplete = Some("not all that runs was seen when it began".to_owned());
        estate.cover("canary-a", Reason::MissingBundle);
    });
    let later: Fault = Box::new(|estate| estate.scan().incomplete = Some("a watch is not answered".to_owned()));
    for (what, fault, stays) in [
        ("a scan that began before all was listed", &partial, true),
        ("a scan that began before all was listed, and what it saw is not covered", &partly_uncovered, false),
        ("a scan that is not complete, long after the start", &later, false),
        ("no canary yet, and somebody changed what denies", &edited, false),
        ("no scan yet", &not_yet, true),
        ("no canary and no trust root yet", &looks_around, true),
        ("no scan at all", &never, false),
        ("no canary, long after the start", &unknown, false),
        ("not covered, at the start", &uncovered, false),
        ("no scan yet, and the memory of the trust root is lost", &stale, false),
    ] {
        let mut estate = soaking();
        let before = estate.soaking().clone();
        assert!(before.credit >= HOUR * 4);
        fault(&mut estate);
        for _ in 0..3 {
            estate.now += MINUTE;
            assert!(estate.step().namespaces.is_empty(), "{what}");
        }
        let after = estate.progress.as_ref().unwrap().soak.clone();
        assert_eq!(after.map(|soak| soak.credit), stays.then_some(before.credit), "{what}");
    }
    // Nor does it promote what is full, because it was or because less is asked for now.
    let full = || {
        let mut estate = Estate::new();
        estate.declare(|spec| _ = spec["enforcement"]["waves"][0].as_object_mut().unwrap().remove("soak"));
        estate.rescan();
        estate.soak();
        (0..5).for_each(|_| _ = estate.hour());
        estate.declare(|spec| spec["enforcement"]["soak"] = json!("1h"));
        estate
    };
    for (fault, what) in [
        (&not_yet, "no scan yet"),
        (&partial, "a scan that is not complete"),
        (&looks_around, "no canary and no trust root yet"),
    ] {
        let mut estate = full();
        fault(&mut estate);
        estate.now += MINUTE;
        assert!(estate.step().namespaces.is_empty(), "{what}");
    }
    assert_eq!(full().hour().trigger, Trigger::SoakFull);
    // It goes on, with what a scan earns at most.
    let mut estate = soaking();
    let before = estate.soaking().credit;
    not_yet(&mut estate);
    estate.now += HOUR * 20;
    estate.step();
    estate.hour();
    assert_eq!(estate.soaking().credit, before + HOUR * 2);
}

#[test]
fn what_is_new_earns_nothing_and_ends_nothing_until_a_scan_comes_to_it() {
    let soaking = || {
        let mut estate = Estate::new();
        estate.soak();
        (0..5).for_each(|_| _ = estate.hour());
        estate.now += MINUTE * 30;
        estate
    };
    for (beside, minimum, stays) in [
        (Reason::Verified, 100, true),
        (Reason::MissingBundle, 100, false),
        (Reason::MissingBundle, 50, true),
        (Reason::RegistryUnavailable, 50, false),
    ] {
        let mut estate = soaking();
        let before = estate.soaking().credit;
        estate.declare(|spec| spec["enforcement"]["minimumCoverage"] = json!(minimum));
        estate.cover("canary-a", Reason::NotScanned);
        estate.cover("canary-b", beside);
        assert!(estate.step().namespaces.is_empty());
        let after = estate.progress.as_ref().unwrap().soak.clone();
        assert_eq!(after.map(|soak| soak.credit), stays.then_some(before), "{beside} {minimum}");
    }
    // Of the time before it was judged, nobody knows what it did in it.
    let mut estate = soaking();
    let before = estate.soaking().credit;
    estate.cover("canary-a", Reason::NotScanned);
    estate.step();
    estate.cover("canary-a", Reason::Verified);
    estate.now += MINUTE * 30;
    estate.rescan();
    estate.step();
    assert_eq!(estate.soaking().credit, before + MINUTE * 30);
    // It lets nothing in that is full, and an image that turns out to be unsigned ends it.
    estate.cover("canary-a", Reason::NotScanned);
    estate.declare(|spec| spec["enforcement"]["soak"] = json!("1h"));
    assert!(estate.step().namespaces.is_empty());
    estate.cover("canary-a", Reason::MissingBundle);
    estate.step();
    assert_eq!(estate.progress.as_ref().unwrap().soak, None);
}

#[test]
fn while_not_all_is_listed_yet_nothing_is_earned_afterwards_either() {
    let mut estate = Estate::new();
    estate.soak();
    (0..5).for_each(|_| _ = estate.hour());
    let before = estate.soaking().credit;
    estate.scan().is_early = true;
    estate.scan().incomplete = Some("not all that runs was seen when it began".to_owned());
    estate.now += MINUTE * 90;
    assert!(estate.step().namespaces.is_empty());
    assert_eq!(estate.soaking().credit, before);
    estate.now += MINUTE * 30;
    estate.rescan();
    estate.step();
    assert_eq!(estate.soaking().credit, before + MINUTE * 30);
}
