//! What the decision about a mirror never does, whatever is observed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::struct_excessive_bools)] // a test that cannot go on fails

mod support;

use std::sync::LazyLock;

use holdfast_core::Digest;
use holdfast_core::api::TrustRootMirrorSpec;
use holdfast_core::operate::mirror::{Decision, Facts, Impact, ReadRoot, Record, Rehearsal, decide};
use holdfast_core::trust::diff::RootDiff;
use holdfast_core::trust::root::{TrustRoot, Window};
use holdfast_testpki::Sigstore;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};
use support::at;

const NAME: &str = "root";
/// How many images may stop verifying by what comes into force by itself.
const MOST: usize = 2;

/// Roots with other keys, and one of them in other bytes.
static ROOTS: LazyLock<Vec<ReadRoot>> = LazyLock::new(|| {
    let made: Vec<Value> = (0..3)
        .map(|number| Sigstore::of(&format!("{number}.example"), at("2026-01-01T00:00:00Z")).trusted_root())
        .collect();
    let mut texts: Vec<String> = made.iter().map(ToString::to_string).collect();
    texts.push(serde_json::to_string_pretty(&made[0]).unwrap());
    let mut ended = made[1].clone();
    ended["tlogs"][0]["publicKey"]["validFor"]["end"] = json!("2026-05-01T00:00:00Z");
    texts.push(ended.to_string());
    texts.iter().map(|text| ReadRoot::from_text(NAME, text).unwrap()).collect()
});

fn spec(automatic: bool, tuf: bool) -> TrustRootMirrorSpec {
    let digest = Digest::of(b"pin").hex();
    let map = json!({"namespace": "n", "name": "m"});
    let approval = if automatic { "Automatic" } else { "Required" };
    let mut spec = json!({"rotation": {"approval": approval, "maxNewlyFailing": MOST, "removalGrace": "2h"}});
    if tuf {
        spec["source"] = json!({"configMap": map});
        spec["bootstrap"] = json!({"rootSHA256": digest, "configMap": map});
    } else {
        spec["source"] = json!({"trustedRoot": {"configMap": map, "sha256": digest}});
    }
    serde_json::from_value(spec).unwrap()
}

/// Whether what runs was judged by what is offered.
#[derive(Debug, Clone, Copy)]
enum Rehearsed {
    NotNeeded,
    Awaited,
    /// By which root, how many images would stop verifying, and how many could not be judged.
    By(usize, usize, usize),
}

impl Rehearsed {
    fn allows(self, offered: Digest) -> bool {
        match self {
            Self::NotNeeded => true,
            Self::Awaited => false,
            Self::By(root, failing, unjudged) => ROOTS[root].root.digest == offered && failing + unjudged <= MOST,
        }
    }
}

fn rehearsed() -> impl Strategy<Value = Rehearsed> {
    let by = (0..5_usize, 0..4_usize, 0..3_usize).prop_map(|(root, failing, out)| Rehearsed::By(root, failing, out));
    prop_oneof![Just(Rehearsed::NotNeeded), Just(Rehearsed::Awaited), by.clone(), by]
}

/// What one pass observes.
#[derive(Debug, Clone)]
struct Seen {
    offered: Option<usize>,
    approved: Option<usize>,
    automatic: bool,
    tuf: bool,
    counts: bool,
    current: bool,
    rehearsed: Rehearsed,
    /// The record is gone, or says nothing that can be read: what the controller makes of a fault is that nothing is offered.
    fault: bool,
    minutes: i32,
    /// By the API server's clock.
    last_agreed: Option<Timestamp>,
}

fn seen() -> impl Strategy<Value = Seen> {
    let root = || proptest::option::weighted(0.8, 0..5_usize);
    (root(), root(), any::<[bool; 4]>(), proptest::bool::weighted(0.1), -30..240_i32, rehearsed()).prop_map(
        |(offered, approved, [automatic, tuf, counts, current], fault, minutes, rehearsed)| Seen {
            offered,
            approved,
            automatic,
            tuf,
            counts,
            current,
            rehearsed,
            fault,
            minutes,
            last_agreed: None,
        },
    )
}

impl Seen {
    fn decide(&self, record: Option<&Record>, now: Timestamp) -> Decision {
        let spec = spec(self.automatic, self.tuf);
        let agreed: Vec<(Digest, String)> =
            self.approved.iter().map(|of| (ROOTS[*of].root.digest, "bob".to_owned())).collect();
        let impact = match self.rehearsed {
            Rehearsed::By(_, failing, unjudged) => {
                let images = |count| vec![String::new(); count];
                Impact {
                    checked: 9,
                    unjudged: images(unjudged),
                    newly_failing: images(failing),
                    newly_passing: Vec::new(),
                }
            }
            Rehearsed::NotNeeded | Rehearsed::Awaited => Impact::default(),
        };
        let rehearsal = match self.rehearsed {
            Rehearsed::NotNeeded => Rehearsal::NotNeeded,
            Rehearsed::Awaited => Rehearsal::Awaited,
            Rehearsed::By(root, ..) => Rehearsal::Of(ROOTS[root].root.digest, &impact),
        };
        let facts = Facts {
            name: NAME,
            spec: &spec,
            held: None,
            record,
            offered: self.offered.filter(|_| !self.fault).map(|of| &ROOTS[of]),
            agreed: &agreed,
            last_agreed: self.last_agreed,
            declaration_counts: self.counts,
            judged: &[],
            rehearsal,
            consumers_current: self.current && !self.fault,
        };
        decide(&facts, now)
    }
}

fn in_force(record: Option<&Record>) -> Option<ReadRoot> {
    record.map(|record| record.read(NAME).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn nothing_comes_into_force_that_nobody_agreed_to(passes in proptest::collection::vec(seen(), 1..24)) {
        let mut now = at("2026-06-01T00:00:00Z");
        let mut record: Option<Record> = None;
        for pass in passes {
            now += SignedDuration::from_mins(i64::from(pass.minutes));
            let before = in_force(record.as_ref());
            let decision = pass.decide(record.as_ref(), now);
            let after = in_force(decision.record.as_ref());
            prop_assert_eq!(&after, &decision.adopted);
            if let (Some(before), Some(after)) = (&before, &after) && before.root.digest != after.root.digest {
                let agreed = pass.approved.is_some_and(|of| ROOTS[of].root.digest == after.root.digest);
                let by_itself = pass.automatic && pass.rehearsed.allows(after.root.digest);
                let declared = pass.counts && (by_itself || !pass.tuf);
                let same_keys = !RootDiff::between(&before.root, &after.root).is_rotation();
                prop_assert!(agreed || declared || same_keys, "{pass:?}");
            }
            prop_assert!(before.is_none() || after.is_some(), "trust in force is never given up");
            if pass.fault {
                prop_assert_eq!(&before, &after);
                let of = |record: Option<&Record>| record.map(|record| record.distributed(NAME).unwrap());
                // What has been replaced for long enough goes; nothing comes.
                if let (Some(old), Some(new)) = (of(record.as_ref()), of(decision.record.as_ref())) {
                    prop_assert!(!RootDiff::between(&old, &new).admits_more());
                }
            }
            if let (Some(candidate), Some(offered)) = (&decision.candidate, pass.offered) {
                prop_assert_eq!(candidate.root.digest, ROOTS[offered].root.digest);
            }
            record = decision.record;
        }
    }

    #[test]
    fn a_decision_is_made_once(passes in proptest::collection::vec(seen(), 1..12)) {
        let mut now = at("2026-06-01T00:00:00Z");
        let mut record: Option<Record> = None;
        for pass in passes {
            now += SignedDuration::from_mins(i64::from(pass.minutes));
            let first = pass.decide(record.as_ref(), now);
            let second = pass.decide(first.record.as_ref(), now);
            prop_assert_eq!(&first.record, &second.record);
            prop_assert_eq!(&first.adopted, &second.adopted);
            prop_assert_eq!(&first.candidate, &second.candidate);
            record = first.record;
        }
    }

    #[test]
    fn what_is_remembered_is_read_back_as_it_was(passes in proptest::collection::vec(seen(), 1..12)) {
        let mut record: Option<Record> = None;
        for pass in passes {
            record = pass.decide(record.as_ref(), at("2026-06-01T00:00:00Z")).record;
            let Some(record) = &record else { continue };
            let text = serde_json::to_string(record).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Record>(&text).unwrap(), record);
            prop_assert!(record.leaving.len() <= 4 && record.replaced.len() <= 32);
        }
    }

    #[test]
    fn a_union_vouches_for_nothing_that_neither_root_does(
        one in proptest::collection::vec(proptest::option::of(window()), 5),
        other in proptest::collection::vec(proptest::option::of(window()), 5),
        probes in proptest::collection::vec(instant(), 8),
    ) {
        let (one, other) = (bent(&one), bent(&other));
        let union = one.united(&other);
        let vouches = |root: &TrustRoot, at: Timestamp| -> Vec<Digest> {
            let logs = root.logs.iter().chain(&root.ct_logs).filter(|log| log.window.contains(at)).map(|log| log.key_digest);
            let authorities = root.certificate_authorities.iter().chain(&root.timestamp_authorities);
            logs.chain(authorities.filter(|a| a.window.contains(at)).map(holdfast_core::trust::root::Authority::chain_digest)).collect()
        };
        for at in probes {
            let (ours, theirs) = (vouches(&one, at), vouches(&other, at));
            for entry in vouches(&union, at) {
                prop_assert!(ours.contains(&entry) || theirs.contains(&entry), "{entry} at {at}");
            }
            // And for all of what is in force.
            let union = vouches(&union, at);
            prop_assert!(ours.iter().all(|entry| union.contains(entry)));
        }
    }
}

fn instant() -> impl Strategy<Value = Timestamp> {
    (0..40_i64).prop_map(|days| at("2026-01-01T00:00:00Z") + SignedDuration::from_hours(24 * days))
}

fn window() -> impl Strategy<Value = Window> {
    let end = || proptest::option::of(instant());
    (end(), end()).prop_map(|(a, b)| match (a, b) {
        (Some(a), Some(b)) => Window::new(Some(a.min(b)), Some(a.max(b))).unwrap(),
        (a, b) => Window::new(a, b).unwrap(),
    })
}

/// A root with other windows, and without the entries that have none.
fn bent(windows: &[Option<Window>]) -> TrustRoot {
    let mut root = ROOTS[0].root.clone();
    let mut windows = windows.iter().cycle();
    let mut keep = |window: &mut Window| windows.next().unwrap().map(|new| *window = new).is_some();
    root.logs.retain_mut(|log| keep(&mut log.window));
    root.ct_logs.retain_mut(|log| keep(&mut log.window));
    root.certificate_authorities.retain_mut(|authority| keep(&mut authority.window));
    root.timestamp_authorities.retain_mut(|authority| keep(&mut authority.window));
    root
}

fn pass(offered: usize) -> Seen {
    let (tuf, current) = (true, true);
    Seen {
        offered: Some(offered),
        approved: None,
        automatic: false,
        rehearsed: Rehearsed::NotNeeded,
        tuf,
        counts: true,
        current,
        fault: false,
        minutes: 0,
        last_agreed: None,
    }
}

#[test]
fn a_declaration_counts_for_nothing_while_nobody_asks_who_wrote_it() {
    let now = at("2026-06-01T00:00:00Z");
    let record = pass(0).decide(None, now).record.unwrap();
    for (automatic, tuf) in [(false, false), (true, true), (true, false)] {
        let unasked = Seen { automatic, tuf, counts: false, ..pass(1) }.decide(Some(&record), now);
        assert_eq!(unasked.candidate.map(|candidate| candidate.root.digest), Some(ROOTS[1].root.digest));
        assert_eq!(unasked.adopted, Some(ROOTS[0].clone()));
        let asked = Seen { automatic, tuf, ..pass(1) }.decide(Some(&record), now);
        assert_eq!(asked.adopted, Some(ROOTS[1].clone()));
    }
}

#[test]
fn an_agreement_is_older_than_what_replaced_it() {
    let now = at("2026-06-01T00:00:00Z");
    let later = at("2026-06-02T00:00:00Z");
    let first = pass(0).decide(None, now).record.unwrap();
    let second = Seen { approved: Some(1), ..pass(1) }.decide(Some(&first), later).record.unwrap();
    assert!(!second.honours(ROOTS[0].root.digest, now) && !second.honours(ROOTS[0].root.digest, later));
    assert!(second.honours(ROOTS[0].root.digest, at("2026-06-02T00:00:01Z")));
    assert!(second.honours(ROOTS[2].root.digest, now), "what was never in force may be agreed to beforehand");
}

#[test]
fn an_agreement_is_older_than_what_replaced_it_also_where_the_clock_is_behind() {
    let (now, agreed) = (at("2026-06-01T00:00:00Z"), at("2026-06-01T00:07:00Z"));
    let first = pass(0).decide(None, now).record.unwrap();
    let second = Seen { approved: Some(1), last_agreed: Some(agreed), ..pass(1) }.decide(Some(&first), now);
    let second = second.record.unwrap();
    assert!(!second.honours(ROOTS[0].root.digest, agreed));
    assert!(second.honours(ROOTS[0].root.digest, agreed + SignedDuration::from_secs(1)));
}

#[test]
fn an_agreement_is_spent_also_where_the_same_keys_came_in_other_bytes() {
    let day = |day: i64| at("2026-06-01T00:00:00Z") + SignedDuration::from_hours(24 * day);
    let first = pass(1).decide(None, day(0)).record.unwrap();
    let approved = Seen { approved: Some(0), ..pass(0) }.decide(Some(&first), day(1)).record.unwrap();
    let other_bytes = pass(3).decide(Some(&approved), day(2)).record.unwrap();
    assert_eq!(other_bytes.read(NAME).unwrap(), ROOTS[3]);
    let other_keys = Seen { approved: Some(2), ..pass(2) }.decide(Some(&other_bytes), day(3)).record.unwrap();
    assert!(!other_keys.honours(ROOTS[0].root.digest, day(0)), "it was approved before, and has been replaced");
    assert!(!other_keys.honours(ROOTS[3].root.digest, day(0)));
}

#[test]
fn an_agreement_is_not_honoured_again_once_what_it_brought_is_forgotten() {
    let now = at("2026-06-01T00:00:00Z");
    let mut record = pass(0).decide(None, now).record.unwrap();
    let minute = |minute: i64| now + SignedDuration::from_mins(minute);
    record = Seen { approved: Some(1), ..pass(1) }.decide(Some(&record), minute(1)).record.unwrap();
    for other in 0..40_u8 {
        let at = minute(2 + i64::from(other));
        let (root, text) = (record.root.clone(), serde_json::to_string(&record).unwrap());
        let mut bytes: Value = serde_json::from_str(&root.unwrap()).unwrap();
        bytes["tlogs"][0]["baseUrl"] = json!(format!("https://{other}.example"));
        let offered = ReadRoot::from_text(NAME, &bytes.to_string()).unwrap();
        let agreed = [(offered.root.digest, "bob".to_owned())];
        let spec = spec(false, true);
        let facts = Facts {
            name: NAME,
            spec: &spec,
            held: None,
            record: Some(&serde_json::from_str(&text).unwrap()),
            offered: Some(&offered),
            agreed: &agreed,
            last_agreed: None,
            declaration_counts: false,
            judged: &[],
            rehearsal: Rehearsal::Awaited,
            consumers_current: true,
        };
        record = decide(&facts, at).record.unwrap();
    }
    assert!(record.replaced.len() <= 32);
    assert!(!record.honours(ROOTS[0].root.digest, now), "it was replaced, and nobody knows any more");
    assert!(!record.honours(ROOTS[1].root.digest, minute(1)));
    assert!(record.honours(ROOTS[1].root.digest, minute(60)));
}

#[test]
fn nobody_keeps_what_was_replaced_for_ever() {
    let now = at("2026-06-01T00:00:00Z");
    let first = pass(0).decide(None, now).record.unwrap();
    let second = Seen { approved: Some(1), ..pass(1) }.decide(Some(&first), now).record.unwrap();
    assert_eq!(second.leaving.len(), 1);
    let after = |hours: i64, current: bool| {
        let at = now + SignedDuration::from_hours(hours);
        Seen { current, ..pass(1) }.decide(Some(&second), at).record.unwrap().leaving.len()
    };
    assert_eq!((after(1, true), after(2, true)), (1, 0));
    assert_eq!((after(2, false), after(3, false)), (1, 0), "an hour beyond its end, and no longer");
}

#[test]
fn what_goes_and_cannot_be_read_keeps_nothing_from_coming() {
    let now = at("2026-06-01T00:00:00Z");
    let first = pass(0).decide(None, now).record.unwrap();
    let mut second = Seen { approved: Some(1), ..pass(1) }.decide(Some(&first), now).record.unwrap();
    second.leaving[0].root = Some("{".to_owned());
    assert_eq!(second.distributed(NAME).unwrap(), ROOTS[1].root);
}

#[test]
fn two_windows_with_a_gap_are_not_joined_over_it() {
    let window = |from: &str, to: &str| Window::new(from.parse().ok(), to.parse().ok()).unwrap();
    let (mut old, mut new) = (ROOTS[0].root.clone(), ROOTS[0].root.clone());
    old.logs[0].window = window("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z");
    new.logs[0].window = window("2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z");
    assert_eq!(new.united(&old).logs[0].window, new.logs[0].window);
    old.logs[0].window = window("2026-01-01T00:00:00Z", "2026-03-15T00:00:00Z");
    assert_eq!(new.united(&old).logs[0].window, window("2026-01-01T00:00:00Z", "2026-04-01T00:00:00Z"));
}

#[test]
fn what_comes_into_force_by_itself_waits_for_what_it_would_change() {
    let now = at("2026-06-01T00:00:00Z");
    let record = pass(0).decide(None, now).record.unwrap();
    let adopts = |rehearsed| {
        let decision = Seen { automatic: true, rehearsed, ..pass(1) }.decide(Some(&record), now);
        decision.adopted.unwrap().root.digest == ROOTS[1].root.digest
    };
    assert!(adopts(Rehearsed::NotNeeded) && adopts(Rehearsed::By(1, MOST, 0)) && adopts(Rehearsed::By(1, 1, 1)));
    assert!(!adopts(Rehearsed::Awaited), "nobody knows what it would break");
    assert!(
        !adopts(Rehearsed::By(1, MOST + 1, 0)) && !adopts(Rehearsed::By(1, MOST, 1)),
        "too many may stop verifying"
    );
    assert!(!adopts(Rehearsed::By(2, 0, 0)), "they were judged by something else");
}
