//! What people read of a mirror, situation by situation; and that reading it again changes nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // a test that cannot go on fails

mod support;

use std::collections::BTreeMap;

use holdfast_core::Digest;
use holdfast_core::api::TrustRootMirror;
use holdfast_core::api::mirror::RotationApproval;
use holdfast_core::operate::mirror::distribution::{Distribution, Limits, Namespace};
use holdfast_core::operate::mirror::memory::{MemoryFault, Stored};
use holdfast_core::operate::mirror::status::{Accepted, Distributed, Failure, Import, Report};
use holdfast_core::operate::mirror::{Facts, MirrorReason, NotYet, ReadRoot, Record, Rehearsal, decide};
use holdfast_core::trust::freshness::{Freshness, Limit};
use holdfast_core::trust::held::{Held, HeldRoot};
use holdfast_core::trust::tuf::{RefusalKind, State};
use holdfast_testpki::Sigstore;
use holdfast_testpki::tuf::Repository;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use support::at;

const NAME: &str = "root";
const START: &str = "2026-06-01T00:00:00Z";

fn start() -> Timestamp {
    at(START)
}

/// A situation, from which a status is made.
#[derive(Clone)]
struct Situation {
    tuf: bool,
    suspended: bool,
    record: Option<Record>,
    offered: Option<ReadRoot>,
    import: Import,
    fault: Option<MemoryFault>,
    unguarded: Option<&'static str>,
    accepted: Option<Accepted<'static>>,
    distribution: Option<Distribution>,
    now: Timestamp,
}

fn root(number: u8) -> ReadRoot {
    let text = Sigstore::of(&format!("{number}.example"), start()).trusted_root().to_string();
    ReadRoot::from_text(NAME, &text).unwrap()
}

fn record(root: &ReadRoot) -> Record {
    let (agreed, spec) = ([], mirror(true, false).spec);
    let facts = Facts {
        name: NAME,
        spec: &spec,
        held: None,
        record: None,
        offered: Some(root),
        agreed: &agreed,
        last_agreed: None,
        declaration_counts: false,
        judged: &[],
        rehearsal: Rehearsal::Awaited,
        consumers_current: true,
    };
    decide(&facts, start()).record.unwrap()
}

fn mirror(tuf: bool, suspended: bool) -> TrustRootMirror {
    let map = json!({"namespace": "n", "name": "m"});
    let digest = Digest::of(b"pin").hex();
    let mut spec = json!({"suspend": suspended, "source": {"configMap": map}, "bootstrap": {"rootSHA256": digest, "configMap": map}});
    if !tuf {
        spec = json!({"suspend": suspended, "source": {"trustedRoot": {"configMap": map, "sha256": digest}}});
    }
    spec["distribution"] = json!({"configMaps": {"namespaceSelector": {}, "name": "trust"}});
    let mut mirror = TrustRootMirror::new(NAME, serde_json::from_value(spec).unwrap());
    mirror.metadata.generation = Some(3);
    mirror
}

fn held(root: &ReadRoot) -> Held {
    let mut repository = Repository::new(start());
    let bytes = root.text.clone().unwrap().into_bytes();
    repository.files.insert("trusted_root.json".to_owned(), bytes.clone());
    let files = repository.files();
    let state = State::bootstrap(&files["1.root.json"], None, start()).unwrap();
    let mut refresh =
        holdfast_core::trust::tuf::Refresh::begin(&state, start(), holdfast_core::trust::tuf::Grace::NONE).unwrap();
    while let Some(want) = refresh.want() {
        refresh.give(files.get(&want.name).map(Vec::as_slice)).unwrap();
    }
    Held { state: refresh.into_state(), trusted_root: Some(HeldRoot { bytes, accepted_as: None }) }
}

impl Situation {
    fn plain() -> Self {
        let root = root(1);
        Self {
            tuf: true,
            suspended: false,
            record: Some(record(&root)),
            offered: Some(root),
            import: Import::Unchanged("root 1 verified".to_owned()),
            fault: None,
            unguarded: None,
            accepted: None,
            distribution: None,
            now: start() + SignedDuration::from_hours(1),
        }
    }

    fn failed(reason: MirrorReason) -> Self {
        let import = Import::Failed(Failure { reason, message: "it is so".to_owned() });
        Self { import, ..Self::plain() }
    }

    fn status(
        &self,
        before: Option<holdfast_core::api::mirror::TrustRootMirrorStatus>,
        now: Timestamp,
    ) -> holdfast_core::api::mirror::TrustRootMirrorStatus {
        let mut mirror = mirror(self.tuf, self.suspended);
        mirror.status = before;
        let held = self.offered.as_ref().filter(|_| self.tuf).map(held_once);
        let facts = Facts {
            name: NAME,
            spec: &mirror.spec,
            held: held.as_ref(),
            record: self.record.as_ref(),
            offered: self.offered.as_ref().filter(|_| self.fault.is_none() && !self.suspended),
            agreed: &[],
            last_agreed: None,
            declaration_counts: false,
            judged: &[],
            rehearsal: Rehearsal::Awaited,
            consumers_current: true,
        };
        let decision = decide(&facts, now);
        let stored = Stored { uid: "u".to_owned(), revision: 4 };
        Report {
            mirror: &mirror,
            state: held.as_ref().map(|held| &held.state),
            decision: &decision,
            import: &self.import,
            fault: self.fault.as_ref(),
            stored: (self.tuf.then_some(&stored), self.record.as_ref().map(|_| &stored)),
            unguarded: self.unguarded,
            approved_in_vain: &[],
            approved_too_early: false,
            accepted: self.accepted,
            distributed: self.distribution.as_ref().map_or(Distributed::Left, Distributed::As),
        }
        .status(now)
    }
}

/// The same repository for the same root: keys are made anew each time.
fn held_once(root: &ReadRoot) -> Held {
    thread_local! { static MADE: std::cell::RefCell<BTreeMap<String, Held>> = const { std::cell::RefCell::new(BTreeMap::new()) }; }
    let key = root.root.digest.hex();
    MADE.with(|made| made.borrow_mut().entry(key).or_insert_with(|| held(root)).clone())
}

#[test]
fn a_rotation_that_asks_nobody_waits_while_the_repository_is_past_its_limit() {
    let (kept, next) = (record(&root(1)), root(2));
    let (held, mut spec) = (held_once(&next), mirror(true, false).spec);
    spec.rotation.approval = RotationApproval::Automatic;
    let at = |counts, now| {
        let facts = Facts {
            name: NAME,
            spec: &spec,
            held: Some(&held),
            record: Some(&kept),
            offered: Some(&next),
            agreed: &[],
            last_agreed: None,
            declaration_counts: counts,
            judged: &[],
            rehearsal: Rehearsal::NotNeeded,
            consumers_current: true,
        };
        decide(&facts, now).candidate.map(|candidate| candidate.not_yet)
    };
    let (soon, years) = (start() + SignedDuration::from_hours(1), start() + SignedDuration::from_hours(24 * 3650));
    assert_eq!(at(true, soon), None, "it is adopted");
    assert_eq!(at(true, years), Some(Some(NotYet::PastItsLimit)));
    assert_eq!(at(false, soon), Some(Some(NotYet::NotCounted)));
}

fn distribution(record: &Record, taken: bool) -> Distribution {
    let declared = mirror(true, false).spec.distribution.config_maps.unwrap();
    let namespaces = [Namespace { name: "apps".to_owned(), labels: BTreeMap::new(), terminating: false }];
    let names = ["trust".to_owned()];
    let limits = Limits { names: &names, own_namespace: "holdfast-system" };
    let trust = record.distributed(NAME).unwrap();
    let mut distribution = Distribution::of(NAME, &declared, &trust, &namespaces, &[], limits).unwrap();
    let said = (!taken).then(|| "it is immutable (422)".to_owned());
    distribution.written(&BTreeMap::from([("apps".to_owned(), said)]));
    distribution
}

fn situations() -> Vec<(&'static str, Situation, [&'static str; 4])> {
    let plain = Situation::plain();
    let kept = plain.record.clone().unwrap();
    let good = Situation { distribution: Some(distribution(&kept, true)), ..plain.clone() };
    let refused = |kind| MirrorReason::Refused(kind);
    let lost = MemoryFault::Lost { what: "the memory", seen_by: "the status", revision: 4 };
    let failed = |reason| Situation { distribution: good.distribution.clone(), ..Situation::failed(reason) };
    // Ready, its reason, and whether it is reconciling or stalled.
    vec![
        ("all is well", good.clone(), ["True", "AsDeclared", "-", "-"]),
        (
            "suspended",
            Situation { suspended: true, import: Import::NotTried, ..good.clone() },
            ["True", "Suspended", "-", "-"],
        ),
        (
            "nothing was read",
            Situation { record: None, offered: None, import: Import::NotTried, ..plain.clone() },
            ["False", "NothingAdopted", "R", "-"],
        ),
        ("the source is away", failed(MirrorReason::SourceUnavailable), ["False", "SourceUnavailable", "R", "-"]),
        ("the source is none", failed(MirrorReason::SourceUnusable), ["False", "SourceUnusable", "-", "S"]),
        ("another pin", failed(refused(RefusalKind::PinMismatch)), ["False", "PinMismatch", "-", "S"]),
        ("an older repository", failed(refused(RefusalKind::Rollback)), ["False", "Rollback", "-", "-"]),
        ("a planted memory", failed(MirrorReason::MemoryUnproven), ["False", "MemoryUnproven", "-", "-"]),
        (
            "a fault",
            Situation { fault: Some(lost), import: Import::NotTried, ..good.clone() },
            ["False", "MemoryLost", "-", "S"],
        ),
        ("a rotation waits", Situation { offered: Some(root(2)), ..good.clone() }, ["True", "AsDeclared", "-", "-"]),
        (
            "it waits without guards",
            Situation { offered: Some(root(2)), unguarded: Some("there are none"), ..good.clone() },
            ["True", "AsDeclared", "-", "-"],
        ),
        (
            "not taken",
            Situation { distribution: Some(distribution(&kept, false)), ..plain.clone() },
            ["False", "NotDistributable", "-", "-"],
        ),
        ("no TUF", Situation { tuf: false, ..good.clone() }, ["True", "AsDeclared", "-", "-"]),
        (
            "stale",
            Situation { now: start() + SignedDuration::from_hours(24 * 9000), ..good },
            ["False", "Stale", "-", "-"],
        ),
    ]
}

#[test]
fn every_situation_has_its_conditions() {
    for (what, situation, [ready, reason, reconciling, stalled]) in situations() {
        let status = situation.status(None, situation.now);
        let of = |name: &str| status.conditions.iter().find(|condition| condition.type_ == name);
        let condition = of("Ready").unwrap();
        assert_eq!(condition.status, ready, "{what}: {condition:?}");
        assert_eq!(condition.reason, reason, "{what}: {condition:?}");
        assert_eq!(
            (of("Reconciling").is_some(), of("Stalled").is_some()),
            (reconciling == "R", stalled == "S"),
            "{what}"
        );
        assert!(!(of("Reconciling").is_some() && of("Stalled").is_some()), "{what}");
        assert_eq!(status.observed_generation, Some(3), "{what}");
        assert!(status.conditions.iter().all(|condition| !condition.message.is_empty()), "{what}");
    }
}

#[test]
fn the_status_of_the_same_situation_is_the_same_also_a_while_later() {
    for (what, situation, _) in situations() {
        let first = situation.status(None, situation.now);
        for seconds in [0, 1, 59, 600] {
            let now = situation.now + SignedDuration::from_secs(seconds);
            assert_eq!(situation.status(Some(first.clone()), now), first, "{what}, {seconds} s later");
        }
        // As the API server gives it back.
        let text = serde_json::to_string(&first).unwrap();
        assert_eq!(situation.status(serde_json::from_str(&text).unwrap(), situation.now), first, "{what}");
    }
}

#[test]
fn what_is_accepted_once_is_not_told_of_again() {
    let accepted = Situation { import: Import::Accepted("root 1 verified".to_owned()), ..Situation::plain() };
    let first = accepted.status(None, accepted.now);
    let unchanged = Situation { import: Import::Unchanged("root 1 verified".to_owned()), ..accepted.clone() };
    assert_eq!(unchanged.status(Some(first.clone()), accepted.now + SignedDuration::from_secs(60)), first);
}

#[test]
fn trust_that_a_break_glass_accepts_stays_past_its_limit_and_says_who_accepts_it() {
    let until = start() + SignedDuration::from_hours(2000);
    let accepted = Some(Accepted { by: "inc-4711", until });
    let situation = Situation { accepted, ..Situation::plain() };
    let of = |status: &holdfast_core::api::mirror::TrustRootMirrorStatus| {
        let fresh = status.conditions.iter().find(|condition| condition.type_ == "Fresh").unwrap();
        (fresh.status.clone(), fresh.reason.clone(), fresh.message.clone())
    };
    let (fresh, _, message) = of(&situation.status(None, situation.now));
    assert!(fresh == "True" && !message.contains("inc-4711"), "{message}");
    let stale = situation.status(None, start() + SignedDuration::from_hours(1999));
    let (fresh, reason, message) = of(&stale);
    assert_eq!((fresh.as_str(), reason.as_str()), ("False", "Stale"));
    assert!(message.contains("`inc-4711`") && message.contains(&until.to_string()), "{message}");
    let before = Some(stale.clone());
    assert_eq!(situation.status(before, start() + SignedDuration::from_mins(119_941)), stale, "it settles");
}

#[test]
fn a_clock_that_is_behind_is_not_accepted() {
    let at = start();
    let stale = |limit| Freshness::Stale { since: at, limit };
    assert!(stale(Limit::MaxAge { version: 1, accepted: at }).may_be_accepted());
    assert!(stale(Limit::Expired { role: "timestamp".to_owned(), version: 1, at }).may_be_accepted());
    assert!(!stale(Limit::ClockBehind { floor: at, now: at }).may_be_accepted(), "an end would not come in time");
    assert!(!Freshness::Fresh { until: at }.may_be_accepted());
}

#[test]
fn a_fault_takes_nothing_away_from_what_was_seen() {
    let (_, faulty, _) = situations().into_iter().find(|(what, ..)| *what == "a fault").unwrap();
    let plain = Situation::plain();
    let before = plain.status(None, plain.now);
    let lost = Situation { record: None, ..faulty };
    let during = lost.status(Some(before.clone()), plain.now);
    assert_eq!((&during.memory, &during.adopted), (&before.memory, &before.adopted));
}

#[test]
fn words_from_outside_neither_move_the_cursor_nor_run_on() {
    let message = format!("it is \u{1b}[2J\u{7}so\r\n{}", "é".repeat(5000));
    let import = Import::Failed(Failure { reason: MirrorReason::SourceUnavailable, message });
    let situation = Situation { import, ..Situation::plain() };
    let status = situation.status(None, situation.now);
    for condition in &status.conditions {
        assert!(condition.message.len() <= 1100, "{}", condition.message.len());
        assert!(!condition.message.chars().any(char::is_control), "{:?}", condition.message);
    }
    assert!(!status.last_import.unwrap().message.chars().any(char::is_control));
}
