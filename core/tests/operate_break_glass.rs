//! What the status of a break-glass says, and that nothing is written twice.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test that cannot go on fails

mod support;

use std::collections::BTreeSet;

use holdfast_core::Digest;
use holdfast_core::api::break_glass::{BreakGlassPhase, LoosenKind, TrustBreakGlassStatus};
use holdfast_core::api::{TrustApproval, TrustBreakGlass};
use holdfast_core::gate::break_glass::Caps;
use holdfast_core::gate::loosening::approval_digest;
use holdfast_core::operate::break_glass::{Facts, Guards, changes, closed_early, decide, faults, open, status};
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};
use support::at;

const CREATED: &str = "2026-11-23T06:00:00Z";
const UNTIL: &str = "2026-11-25T06:00:00Z";
const NOW: &str = "2026-11-24T06:00:00Z";
const LATER: &str = "2026-11-24T07:00:00Z";
const BOT: &str = "system:serviceaccount:ci:bot";

fn glass(change: &Value) -> TrustBreakGlass {
    let mut object = json!({
        "apiVersion": "holdfast.dev/v1alpha1", "kind": "TrustBreakGlass",
        "metadata": {"name": "inc", "generation": 1, "creationTimestamp": CREATED},
        "spec": {
            "reason": "the courier is late", "requestedBy": "alice", "until": UNTIL,
            "loosen": {"acceptStale": {"trustRoot": "corp"}},
        },
    });
    for part in ["metadata", "spec"] {
        for (key, value) in change[part].as_object().into_iter().flatten() {
            object[part][key] = value.clone();
        }
    }
    serde_json::from_value(object).unwrap()
}

fn digest() -> Digest {
    approval_digest("TrustBreakGlass", "inc", &glass(&json!({})).spec)
}

fn approval(by: &str, digest: Digest) -> TrustApproval {
    approved_at(by, digest, &json!(CREATED))
}

fn approved_at(by: &str, digest: Digest, created: &Value) -> TrustApproval {
    serde_json::from_value(json!({
        "apiVersion": "holdfast.dev/v1alpha1", "kind": "TrustApproval",
        "metadata": {"name": format!("by-{by}"), "creationTimestamp": created},
        "spec": {"approver": by, "for": {"kind": "TrustBreakGlass", "name": "inc", "digest": digest}},
    }))
    .unwrap()
}

/// What a pass knows.
struct World {
    glass: TrustBreakGlass,
    guards: Guards<'static>,
    approvals: Vec<TrustApproval>,
    early: Vec<TrustApproval>,
    caps: Caps,
}

impl World {
    fn new(by: &[&str]) -> Self {
        Self {
            glass: glass(&json!({})),
            guards: Guards::InForce,
            approvals: by.iter().map(|by| approval(by, digest())).collect(),
            early: Vec::new(),
            caps: Caps::default(),
        }
    }

    fn with(by: &[&str], change: &Value) -> Self {
        Self { glass: glass(change), ..Self::new(by) }
    }

    fn behind(by: &[&str], guards: Guards<'static>) -> Self {
        Self { guards, ..Self::new(by) }
    }

    fn pass(&self, now: Timestamp) -> TrustBreakGlassStatus {
        let invalid = faults(&self.glass);
        let facts = Facts {
            glass: &self.glass,
            invalid: invalid.as_deref(),
            caps: &self.caps,
            guards: self.guards,
            approvals: &self.approvals,
            early: &self.early,
        };
        status(&self.glass, &decide(&facts, now), now)
    }

    /// A pass, and the status it wrote.
    fn written(&mut self, now: &str) -> TrustBreakGlassStatus {
        let told = self.pass(at(now));
        self.glass.status = Some(told.clone());
        told
    }

    fn ends(&self, now: &str) -> Option<Timestamp> {
        let invalid = faults(&self.glass);
        let facts = Facts {
            glass: &self.glass,
            invalid: invalid.as_deref(),
            caps: &self.caps,
            guards: Guards::NotAsked,
            approvals: &[],
            early: &[],
        };
        open(&facts, at(now))
    }
}

fn of<'a>(status: &'a TrustBreakGlassStatus, name: &str) -> (&'a str, &'a str, &'a str) {
    let found = status.conditions.iter().find(|condition| condition.type_ == name);
    found.map_or(("-", "-", ""), |found| (found.status.as_str(), found.reason.as_str(), found.message.as_str()))
}

/// What there is, when, and what is said of it: the phase, three conditions, the reason, whose approvals count, and parts of the message.
type Row<'a> = (&'a str, World, &'a str, BreakGlassPhase, &'a str, &'a str, &'a [&'a str], Vec<&'a str>);

#[test]
fn every_break_glass_says_what_it_is_and_what_is_next() {
    use BreakGlassPhase::{Active, Closed, Expired, Pending, Refused};
    let two = ["bob", "dora"];
    let digest = digest().to_string();
    let absent = Guards::Absent("ValidatingAdmissionPolicyBinding `holdfast-guard-approval` is not there");
    let listed = World {
        caps: Caps { service_accounts: BTreeSet::from([BOT.to_owned()]), ..Caps::default() },
        ..World::new(&["bob", BOT])
    };
    let early = World { early: vec![approval("dora", self::digest())], ..World::new(&["bob"]) };
    let mut other = World::new(&["bob"]);
    other.approvals.push(approval("dora", Digest::of(b"another form")));
    let with_doras = |created: Value| {
        let mut world = World::new(&["bob"]);
        world.approvals.push(approved_at("dora", self::digest(), &created));
        world
    };
    let deleted = json!({"metadata": {"deletionTimestamp": "2026-11-24T05:00:00Z", "finalizers": ["x/y"]}});
    let late = json!({"spec": {"until": "2026-11-26T06:00:01Z"}});
    let both =
        json!({"spec": {"loosen": {"acceptStale": {"trustRoot": "corp"}, "restoreMemory": {"trustRoot": "corp"}}}});
    // What there is; the phase; Ready, Active and Stalled; the reason; whose approvals count; parts of the message.
    #[rustfmt::skip]
    let table: Vec<Row<'_>> = vec![
        ("two others approved", World::new(&two), NOW, Active, "TT-", "InForce", &two, vec!["until 2026-11-25T06:00:00Z", "bob and dora", "`corp`", "delete it"]),
        ("nobody approved", World::new(&[]), NOW, Pending, "FF-", "AwaitingApprovals", &[], vec!["0 of 2 approvals are there", "other than alice", &digest]),
        ("one approved", World::new(&["bob"]), NOW, Pending, "FF-", "AwaitingApprovals", &["bob"], vec!["1 of 2 approvals is there (by bob)", "other than alice and bob", &digest]),
        ("one approved twice", World::new(&["bob", "bob"]), NOW, Pending, "FF-", "AwaitingApprovals", &["bob"], vec!["1 of 2"]),
        ("who asked approved", World::new(&["bob", "alice"]), NOW, Pending, "FF-", "AwaitingApprovals", &["bob"], vec!["1 of 2", "alice asked for it"]),
        ("a service account approved", World::new(&["bob", BOT]), NOW, Pending, "FF-", "AwaitingApprovals", &["bob"], vec!["1 of 2", "none of the service accounts"]),
        ("a listed one did", listed, NOW, Active, "TT-", "InForce", &["bob", BOT], vec!["until"]),
        ("another form was approved", other, NOW, Pending, "FF-", "AwaitingApprovals", &["bob"], vec!["dora approved sha256:", "not its digest"]),
        ("approved before it was there", with_doras(json!("2026-11-23T05:59:59Z")), NOW, Pending, "FF-", "AwaitingApprovals", &["bob"], vec!["dora approved before this break-glass was made", "approve again"]),
        ("approved, and nothing says when", with_doras(json!(null)), NOW, Pending, "FF-", "AwaitingApprovals", &["bob"], vec!["dora approved before this break-glass"]),
        ("approved within its second", with_doras(json!(CREATED)), NOW, Active, "TT-", "InForce", &two, vec!["until"]),
        ("approved before the guards", early, NOW, Pending, "FF-", "AwaitingApprovals", &["bob"], vec!["dora approved before the guards", "approve again"]),
        ("the guards are gone", World::behind(&two, absent), NOW, Pending, "FF-", "Unguarded", &[], vec!["holdfast-guard-approval", "loosens nothing"]),
        ("made before the guards", World::behind(&two, Guards::Newer), NOW, Refused, "FFT", "MadeUnguarded", &[], vec!["alice", "make a new one"]),
        ("at its end", World::new(&two), UNTIL, Expired, "TF-", "Ended", &[], vec!["it ended at 2026-11-25T06:00:00Z", "never found in force"]),
        ("after its end, unguarded", World::behind(&two, absent), "2027-01-01T00:00:00Z", Expired, "TF-", "Ended", &[], vec!["ended"]),
        ("deleted, and kept", World::with(&two, &deleted), NOW, Closed, "TF-", "ClosedEarly", &[], vec!["deleted at 2026-11-24T05:00:00Z"]),
        ("longer than the cap", World::with(&two, &late), NOW, Refused, "FFT", "EndTooLate", &[], vec!["2026-11-26T06:00:00Z", "shorter"]),
        ("two things at once", World::with(&two, &both), NOW, Refused, "FFT", "BreakGlassInvalid", &[], vec!["exactly one"]),
        ("no time", World::with(&two, &json!({"spec": {"until": "tomorrow"}})), NOW, Refused, "FFT", "BreakGlassInvalid", &[], vec!["until"]),
    ];
    for (what, world, now, phase, conditions, reason, by, parts) in table {
        let told = world.pass(at(now));
        assert_eq!(told.phase, Some(phase), "{what}");
        let short = |name: &str| of(&told, name).0.chars().next().unwrap();
        let all: String = ["Ready", "Active", "Stalled"].map(short).iter().collect();
        assert_eq!(all, conditions, "{what}: {told:?}");
        assert_eq!((of(&told, "Active").1, of(&told, "Ready").1), (reason, reason), "{what}");
        assert_eq!(told.approved_by, by, "{what}");
        assert_eq!(told.observed_generation, Some(1), "{what}");
        assert_eq!(told.active_since.is_some(), phase == Active, "{what}");
        assert_eq!(told.reverted_at, None, "{what}");
        for part in parts {
            assert!(of(&told, "Active").2.contains(part), "{what}: {part}: {}", of(&told, "Active").2);
        }
        let questions = world.ends(now).is_some();
        assert_eq!(
            questions,
            !matches!(reason, "Ended" | "ClosedEarly" | "EndTooLate" | "BreakGlassInvalid"),
            "{what}"
        );
    }
}

#[test]
fn since_when_is_found_once_and_its_end_once() {
    let mut world = World::new(&["bob"]);
    assert_eq!(world.written(CREATED).active_since, None);
    world.approvals.push(approval("dora", digest()));
    assert_eq!(world.written(NOW).active_since.as_deref(), Some(NOW));
    let kept = world.written(LATER);
    assert_eq!((kept.active_since.as_deref(), kept.reverted_at.as_deref()), (Some(NOW), None));
    // A guard goes: it is taken back, and says so.
    world.guards = Guards::Absent("gone");
    let back = world.written(LATER);
    assert_eq!((back.phase, back.reverted_at.as_deref()), (Some(BreakGlassPhase::Pending), Some(LATER)));
    assert_eq!(back.active_since.as_deref(), Some(NOW));
    world.guards = Guards::InForce;
    let again = world.written("2026-11-24T08:00:00Z");
    assert_eq!((again.active_since.as_deref(), again.reverted_at), (Some(NOW), None));
    let over = world.written("2026-11-25T06:00:01Z");
    assert_eq!(over.reverted_at.as_deref(), Some("2026-11-25T06:00:01Z"));
    assert_eq!(over.approved_by, ["bob", "dora"], "who approved stays known");
    assert!(of(&over, "Active").2.contains("in force since 2026-11-24T06:00:00Z"));
    assert_eq!(world.written("2026-12-24T06:00:00Z"), over, "nothing changes any more");
}

#[test]
fn what_has_ended_stays_so_when_the_clock_goes_back() {
    let mut world = World::new(&["bob", "dora"]);
    world.written(UNTIL);
    assert_eq!(world.pass(at(NOW)).phase, Some(BreakGlassPhase::Expired));
    assert_eq!(world.ends(NOW), None);
}

#[test]
fn one_that_was_closed_is_not_opened_again_by_whoever_asked() {
    let mut world = World::new(&["bob", "dora"]);
    assert_eq!(world.pass(at(NOW)).phase, Some(BreakGlassPhase::Active));
    world.glass = glass(&json!({"metadata": {"creationTimestamp": NOW}}));
    assert_eq!(
        world.pass(at(LATER)).phase,
        Some(BreakGlassPhase::Pending),
        "the same name, the same words, another one"
    );
    world.approvals = ["bob", "dora"].map(|by| approved_at(by, digest(), &json!(LATER))).into();
    assert_eq!(world.pass(at(LATER)).phase, Some(BreakGlassPhase::Active));
}

#[test]
fn an_event_tells_of_what_changed() {
    let mut world = World::new(&["bob"]);
    let mut told = Vec::new();
    let mut pass = |world: &mut World, now: &str| {
        let next = world.pass(at(now));
        if let Some(change) = changes(&world.glass, &next) {
            told.push((change.reason.clone(), change.warns));
            assert!(!change.note.is_empty() && change.note.len() <= 1010);
        }
        world.glass.status = Some(next);
    };
    pass(&mut world, CREATED);
    pass(&mut world, CREATED);
    world.approvals.push(approval("dora", digest()));
    pass(&mut world, NOW);
    pass(&mut world, LATER);
    world.guards = Guards::Absent("gone");
    pass(&mut world, LATER);
    world.guards = Guards::InForce;
    pass(&mut world, LATER);
    pass(&mut world, UNTIL);
    pass(&mut world, UNTIL);
    let is = |reason: &str, warns: bool| (reason.to_owned(), warns);
    let all = [
        is("AwaitingApprovals", false),
        is("Opened", true),
        is("Unguarded", true),
        is("Opened", true),
        is("Ended", false),
    ];
    assert_eq!(told, all);
    let closed = closed_early(&world.glass.spec.loosen, at(UNTIL));
    assert!(closed.reason == "ClosedEarly" && closed.note.contains("`corp`") && !closed.warns);
}

#[test]
fn what_is_loosened_is_one_thing() {
    let target = json!({"trustRoot": "corp"});
    for (field, value, kind, root) in [
        ("acceptStale", target.clone(), LoosenKind::AcceptStale, Some("corp")),
        ("restoreMemory", target.clone(), LoosenKind::RestoreMemory, Some("corp")),
        ("lowerClockFloor", target, LoosenKind::LowerClockFloor, Some("corp")),
        (
            "adoptWithoutApproval",
            json!({"trustRoot": "corp", "digest": digest()}),
            LoosenKind::AdoptWithoutApproval,
            Some("corp"),
        ),
        ("returnToAudit", json!({"policy": "apps", "namespaces": ["billing"]}), LoosenKind::ReturnToAudit, None),
        (
            "allowChange",
            json!({"kind": "SigningIdentityPolicy", "name": "apps", "digest": digest()}),
            LoosenKind::AllowChange,
            None,
        ),
    ] {
        let mut world = World::with(&[], &json!({"spec": {"loosen": {field: value}}}));
        let loosen = &world.glass.spec.loosen;
        assert_eq!((loosen.kind(), loosen.trust_root(), kind.as_str()), (Some(kind), root, field));
        let digest = approval_digest("TrustBreakGlass", "inc", &world.glass.spec);
        world.approvals = ["bob", "dora"].map(|by| approval(by, digest)).into();
        let told = world.pass(at(NOW));
        assert_eq!(told.phase, Some(BreakGlassPhase::Active), "{field}");
        assert!(!of(&told, "Active").2.contains("nothing is loosened"), "{field}");
    }
}

fn guards() -> impl Strategy<Value = Guards<'static>> {
    prop_oneof![Just(Guards::InForce), Just(Guards::Newer), Just(Guards::Absent("gone"))]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However guards, approvals and the clock go: a status that was written is written once, and in force is only what two others approved, behind guards,
    /// before its end.
    #[test]
    fn it_settles_and_never_loosens_without_reason(
        steps in proptest::collection::vec((guards(), proptest::collection::btree_set(0usize..4, 0..4), 0i64..80), 1..12)
    ) {
        let people = ["alice", "bob", "dora", BOT];
        let mut world = World::new(&[]);
        let mut ended = false;
        for (guards, by, hours) in steps {
            world.guards = guards;
            world.approvals = by.iter().map(|at| approval(people[*at], digest())).collect();
            let now = at(CREATED) + jiff::SignedDuration::from_hours(hours);
            let told = world.pass(now);
            if told.phase == Some(BreakGlassPhase::Active) {
                prop_assert!(guards == Guards::InForce && by.contains(&1) && by.contains(&2));
                prop_assert!(now < at(UNTIL) && !ended);
            }
            ended |= told.phase == Some(BreakGlassPhase::Expired);
            world.glass.status = Some(told.clone());
            prop_assert_eq!(world.pass(now + jiff::SignedDuration::from_secs(1)), told);
            prop_assert_eq!(changes(&world.glass, &world.pass(now)), None);
        }
    }
}
