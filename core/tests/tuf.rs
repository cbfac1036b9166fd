//! Import with memory: what is genuine is taken, what is older, bent, mixed or incomplete is refused by name, and what was seen is never forgotten.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::needless_pass_by_value)] // a test that cannot go on fails

mod support;

use std::collections::BTreeMap;

use holdfast_core::Digest;
use holdfast_core::trust::clock::Observed;
use holdfast_core::trust::freshness::{Freshness, Settings};
use holdfast_core::trust::tuf::{
    ClockLowering, Grace, Note, OnEquivocation, Refresh, Refusal, State, TargetSearch, TrustMemory,
};
use holdfast_testpki::Key;
use holdfast_testpki::tuf::{Delegated, Repository, RoleKeys, key_id, key_object};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::json;
use support::at;

type Files = BTreeMap<String, Vec<u8>>;

const START: &str = "2026-06-01T00:00:00Z";

fn start() -> Timestamp {
    at(START)
}

fn day(days: i64) -> Timestamp {
    start() + SignedDuration::from_hours(24 * days)
}

fn repository() -> Repository {
    let mut repository = Repository::new(start());
    repository.files.insert("trusted_root.json".to_owned(), b"{}".to_vec());
    repository
}

fn bootstrap(repository: &Repository) -> State {
    State::bootstrap(&repository.files()["1.root.json"], None, start()).unwrap()
}

/// Refreshes `state` from `files`; gives what is then held, and how it ended.
fn refresh_with(
    state: &State,
    files: &Files,
    now: Timestamp,
    grace: Grace,
    on: OnEquivocation,
) -> (State, Result<Vec<Note>, Refusal>) {
    let mut refresh = match Refresh::begin(state, now, grace) {
        Ok(refresh) => refresh.on_equivocation(on),
        Err(refusal) => return (state.clone(), Err(refusal)),
    };
    while let Some(want) = refresh.want() {
        if let Err(refusal) = refresh.give(files.get(&want.name).map(Vec::as_slice)) {
            return (refresh.into_state(), Err(refusal));
        }
    }
    let notes = refresh.notes().to_vec();
    (refresh.into_state(), Ok(notes))
}

fn refresh(state: &State, files: &Files, now: Timestamp) -> (State, Result<Vec<Note>, Refusal>) {
    refresh_with(state, files, now, Grace::NONE, OnEquivocation::Refuse)
}

fn taken(state: &State, files: &Files, now: Timestamp) -> State {
    let (state, result) = refresh(state, files, now);
    result.unwrap();
    state
}

fn refused(state: &State, files: &Files, now: Timestamp) -> Refusal {
    refresh(state, files, now).1.unwrap_err()
}

fn version(state: &State, role: &str) -> u64 {
    state.memory().floors.get(role).map_or(0, |floor| floor.version)
}

fn target(state: &State, files: &Files, name: &str, now: Timestamp) -> (State, Result<Vec<u8>, Refusal>) {
    let mut refresh = Refresh::begin(state, now, Grace::NONE).unwrap();
    while let Some(want) = refresh.want() {
        refresh.give(files.get(&want.name).map(Vec::as_slice)).unwrap();
    }
    let result = (|| {
        let mut search = TargetSearch::begin(&mut refresh, name)?;
        while let Some((want, is_metadata)) = search.want() {
            let name = if is_metadata { want.name } else { format!("targets/{}", want.name) };
            search.give(files.get(&name).map(Vec::as_slice))?;
        }
        Ok(search.found().unwrap().bytes().to_vec())
    })();
    (refresh.into_state(), result)
}

#[test]
fn a_genuine_repository_is_taken_and_remembered() {
    let mut repository = repository();
    repository.rotate(day(1), |keys| {
        keys.insert("root".to_owned(), RoleKeys::new(3, 2));
    });
    let files = repository.files();
    let state = taken(&bootstrap(&repository), &files, day(2));
    assert_eq!(["root", "timestamp", "snapshot", "targets"].map(|role| version(&state, role)), [2, 1, 1, 1]);
    for (role, floor) in &state.memory().floors {
        assert_eq!(floor.digest, Digest::of(state.bytes(role).unwrap()), "the original bytes of {role} are kept");
    }
    let again = taken(&state, &files, day(3));
    assert_eq!(again.memory().floors, state.memory().floors, "seeing the same again confirms nothing");
}

#[test]
fn a_pin_is_a_digest_and_a_root_has_to_sign_itself() {
    let root = repository().files()["1.root.json"].clone();
    assert!(matches!(State::bootstrap(&root, Some(Digest::of(b"another")), start()), Err(Refusal::PinMismatch { .. })));
    assert!(State::bootstrap(&root, Some(Digest::of(&root)), day(5000)).is_ok(), "an expired bootstrap root is normal");
    let text = String::from_utf8(root).unwrap().replace("\"threshold\": 2", "\"threshold\": 3");
    assert!(matches!(State::bootstrap(text.as_bytes(), None, start()), Err(Refusal::Threshold { .. })));
}

/// The public repository's first roots have their keys in hex. They are not read, and not called forged for that.
#[test]
fn a_root_whose_keys_cannot_be_read_is_not_called_forged() {
    let repository = repository();
    let in_hex = |keys: usize| {
        let mut signed = repository.root(1, "2027-06-01T00:00:00Z");
        let ids = signed["roles"]["root"]["keyids"].as_array().unwrap().clone();
        for id in ids.iter().take(keys) {
            signed["keys"][id.as_str().unwrap()]["keyval"]["public"] = json!("04".repeat(65));
        }
        let root = serde_json::to_vec(&repository.signed_root(&signed, &[])).unwrap();
        State::bootstrap(&root, None, start()).map(drop)
    };
    assert_eq!(in_hex(0), Ok(()));
    assert_eq!(in_hex(1), Ok(()), "two of three keys are enough");
    // One text is one key, whatever it is said to be.
    let refusal = in_hex(2).unwrap_err();
    assert_eq!(refusal, Refusal::UnreadKeys { role: "root".into(), need: 2, got: 1, unread: 1 });
    assert!(refusal.to_string().contains("version 5 or later"), "{refusal}");
}

#[test]
fn older_versions_are_refused_and_nothing_is_forgotten() {
    let mut repository = repository();
    let old = repository.files();
    repository.publish(day(1));
    let state = taken(&bootstrap(&repository), &repository.files(), day(2));
    let (after, result) = refresh(&state, &old, day(2));
    assert!(
        matches!(result, Err(Refusal::Rollback { ref role, had: 2, got: 1 }) if role.0 == "timestamp"),
        "{result:?}"
    );
    assert_eq!(after, state);
}

#[test]
fn a_newer_timestamp_cannot_bring_an_older_snapshot_or_older_targets() {
    let mut repository = repository();
    repository.publish(day(1));
    let state = taken(&bootstrap(&repository), &repository.files(), day(1));
    let mut older_snapshot = repository.clone();
    older_snapshot.timestamp["version"] = json!(3);
    older_snapshot.snapshot["version"] = json!(1);
    assert!(
        matches!(refused(&state, &older_snapshot.files(), day(1)), Refusal::Rollback { role, .. } if role.0 == "snapshot")
    );
    let mut older_targets = repository.clone();
    older_targets.publish(day(1));
    older_targets.targets["version"] = json!(1);
    assert!(
        matches!(refused(&state, &older_targets.files(), day(1)), Refusal::Rollback { role, .. } if role.0 == "targets")
    );
}

#[test]
fn one_version_has_one_content() {
    let mut repository = repository();
    let state = taken(&bootstrap(&repository), &repository.files(), day(1));
    repository.timestamp["expires"] = json!("2026-06-07T00:00:00Z");
    assert!(matches!(refused(&state, &repository.files(), day(1)), Refusal::Equivocation { version: 1, .. }));
    let (after, result) = refresh_with(&state, &repository.files(), day(1), Grace::NONE, OnEquivocation::KeepHeld);
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(after.memory().floors, state.memory().floors);
}

#[test]
fn a_frozen_repository_expires_and_only_the_timestamp_has_a_grace() {
    let repository = repository();
    let (state, files) = (bootstrap(&repository), repository.files());
    assert!(matches!(refused(&state, &files, day(7)), Refusal::Expired { role, .. } if role.0 == "timestamp"));
    let grace = Grace::new(SignedDuration::from_hours(72)).unwrap();
    assert!(refresh_with(&state, &files, day(9), grace, OnEquivocation::Refuse).1.is_ok());
    assert!(
        refresh_with(&state, &files, day(10), grace, OnEquivocation::Refuse).1.is_err(),
        "the grace ends at its very end"
    );
    assert!(Grace::new(SignedDuration::from_hours(337)).is_err());
    for role in ["snapshot", "targets"] {
        let mut short = repository.clone();
        if role == "snapshot" {
            short.snapshot["expires"] = json!("2026-06-02T00:00:00Z");
        } else {
            short.targets["expires"] = json!("2026-06-02T00:00:00Z");
        }
        let (_, result) = refresh_with(&state, &short.files(), day(2), grace, OnEquivocation::Refuse);
        assert!(matches!(result, Err(Refusal::Expired { role: ref got, .. }) if got.0 == role), "{role}: {result:?}");
    }
    let mut long = repository.clone();
    long.timestamp["expires"] = json!("2030-01-01T00:00:00Z");
    let (_, result) = refresh_with(&state, &long.files(), day(366), grace, OnEquivocation::Refuse);
    assert!(matches!(result, Err(Refusal::Expired { role, .. }) if role.0 == "root"));
}

#[test]
fn every_new_root_is_signed_by_the_old_and_the_new_keys() {
    let repository = repository();
    let state = bootstrap(&repository);
    let mut stranger = repository.clone();
    stranger.keys.insert("root".to_owned(), RoleKeys::new(3, 2));
    let forged = stranger.root(2, "2027-01-01T00:00:00Z");
    let mut files = repository.files();
    files.insert("2.root.json".to_owned(), serde_json::to_vec(&stranger.signed_root(&forged, &[])).unwrap());
    assert!(matches!(refused(&state, &files, day(1)), Refusal::Threshold { need: 2, .. }));
    let skipped = repository.root(3, "2027-01-01T00:00:00Z");
    files.insert("2.root.json".to_owned(), serde_json::to_vec(&repository.signed_root(&skipped, &[])).unwrap());
    assert!(matches!(refused(&state, &files, day(1)), Refusal::Mismatch { .. }));
}

#[test]
fn one_key_under_two_ids_counts_once() {
    let mut repository = repository();
    let key = Key::p256();
    let mut twin = key_object(&key);
    twin["x-note"] = json!("the same key again");
    repository.keys.insert("timestamp".to_owned(), RoleKeys { keys: vec![key.clone()], threshold: 1 });
    let mut signed = repository.root(1, "2027-06-01T00:00:00Z");
    signed["keys"]["f".repeat(64)] = twin;
    signed["roles"]["timestamp"] = json!({"keyids": [key_id(&key), "f".repeat(64)], "threshold": 2});
    repository.roots[0] = repository.signed_root(&signed, &[]);
    let mut files = repository.files();
    let timestamp: serde_json::Value = serde_json::from_slice(&files["timestamp.json"]).unwrap();
    let mut both = timestamp.clone();
    let mut second = timestamp["signatures"][0].clone();
    second["keyid"] = json!("f".repeat(64));
    both["signatures"].as_array_mut().unwrap().push(second);
    files.insert("timestamp.json".to_owned(), serde_json::to_vec(&both).unwrap());
    assert_eq!(
        refused(&bootstrap(&repository), &files, day(1)),
        Refusal::Threshold { role: "timestamp".into(), need: 2, got: 1 }
    );

    signed["roles"]["timestamp"]["threshold"] = json!(1);
    repository.roots[0] = repository.signed_root(&signed, &[]);
    let (_, notes) = refresh(&bootstrap(&repository), &repository.files(), day(1));
    let notes = notes.unwrap();
    assert!(
        notes
            .iter()
            .any(|note| matches!(note, Note::DuplicateKey { role, ids } if role == "timestamp" && ids.len() == 2)),
        "{notes:?}"
    );
    assert!(
        notes.iter().any(|note| matches!(note, Note::KeyIdNotHash { role, .. } if role == "timestamp")),
        "{notes:?}"
    );
}

#[test]
fn delegated_keys_are_counted_by_key_as_well() {
    let mut repository = repository();
    repository.delegate("team", &["team/*"], start());
    repository.files.insert("team/keys.json".to_owned(), b"keys".to_vec());
    let key = repository.delegated["team"].keys.keys[0].clone();
    let mut twin = key_object(&key);
    twin["x-note"] = json!("again");
    let delegations = &mut repository.targets["delegations"];
    delegations["keys"]["f".repeat(64)] = twin;
    delegations["roles"][0]["keyids"] = json!([key_id(&key), "f".repeat(64)]);
    delegations["roles"][0]["threshold"] = json!(2);
    let Delegated { signed, .. } = repository.delegated["team"].clone();
    let mut with_targets = signed;
    with_targets["targets"] = json!({"team/keys.json": {"length": 4, "hashes": {"sha256": Digest::of(b"keys").hex()}}});
    let mut file = holdfast_testpki::tuf::sign(&with_targets, &[&key]);
    let mut second = file["signatures"][0].clone();
    second["keyid"] = json!("f".repeat(64));
    file["signatures"].as_array_mut().unwrap().push(second);
    let bytes = serde_json::to_vec(&file).unwrap();
    repository.snapshot["meta"] = json!({"targets.json": {"version": 1}, "team.json": {"version": 1}});
    let mut files = repository.files();
    files.insert("1.team.json".to_owned(), bytes);
    let state = bootstrap(&repository);
    let (_, result) = target(&state, &files, "team/keys.json", day(1));
    assert_eq!(result.unwrap_err(), Refusal::Threshold { role: "team".into(), need: 2, got: 1 });
}

#[test]
fn a_timestamp_without_length_and_hashes_is_accepted() {
    let mut repository = repository();
    repository.timestamp["meta"] = json!({"snapshot.json": {"version": 1}});
    taken(&bootstrap(&repository), &repository.files(), day(1));
}

#[test]
fn files_that_do_not_belong_together_are_refused() {
    let mut repository = repository();
    let old = repository.files();
    repository.publish(day(1));
    let state = bootstrap(&repository);
    let swap = |name: &str, from: &str| {
        let mut files = repository.files();
        files.insert(name.to_owned(), old[from].clone());
        refused(&state, &files, day(1))
    };
    assert!(matches!(swap("2.snapshot.json", "1.snapshot.json"), Refusal::Mismatch { .. }));
    assert!(matches!(swap("2.targets.json", "1.targets.json"), Refusal::Mismatch { .. }));
    for name in ["timestamp.json", "2.snapshot.json", "2.targets.json"] {
        let mut files = repository.files();
        files.remove(name);
        assert_eq!(refused(&state, &files, day(1)), Refusal::MissingFile { file: name.to_owned() });
    }
    let mut taken_away = repository.clone();
    let state = taken(&state, &repository.files(), day(1));
    taken_away.publish(day(1));
    taken_away.snapshot["meta"] = json!({"other.json": {"version": 9}});
    assert!(
        matches!(refused(&state, &taken_away.files(), day(1)), Refusal::Removed { file } if file == "targets.json")
    );
}

#[test]
fn damage_is_named_with_its_file_and_place() {
    let repository = repository();
    let state = bootstrap(&repository);
    for bytes in [
        b"".to_vec(),
        b"{".to_vec(),
        b"[]".to_vec(),
        b"\xff".to_vec(),
        br#"{"signed": {"version": 1, "version": 2}, "signatures": []}"#.to_vec(),
        format!("{}{}", "[".repeat(200), "]".repeat(200)).into_bytes(),
        br#"{"signed": {"_type": "timestamp", "spec_version": "2.0", "version": 1, "expires": "2030-01-01T00:00:00Z", "meta": {}}, "signatures": []}"#.to_vec(),
    ] {
        let mut files = repository.files();
        files.insert("timestamp.json".to_owned(), bytes);
        let refusal = refused(&state, &files, day(1));
        assert!(matches!(&refusal, Refusal::Malformed { file, .. } if file == "timestamp.json"), "{refusal}");
    }
    let mut files = repository.files();
    let mut padded = files["timestamp.json"].clone();
    padded.extend(vec![b' '; 20_000]);
    let mut refresh = Refresh::begin(&state, day(1), Grace::NONE).unwrap();
    refresh.give(None).unwrap();
    assert!(matches!(refresh.give(Some(&padded)), Err(Refusal::TooLarge { .. })));
    files.insert("timestamp.json".to_owned(), files["1.snapshot.json"].clone());
    assert!(matches!(refused(&state, &files, day(1)), Refusal::Malformed { .. }), "another role's file");
}

#[test]
fn new_keys_let_the_floors_fall_that_the_old_ones_may_have_driven_up() {
    let mut repository = repository();
    let before = repository.clone();
    repository.timestamp["version"] = json!(1_000_000);
    repository.snapshot["version"] = json!(1_000_000);
    repository.targets["version"] = json!(1_000_000);
    let state = taken(&bootstrap(&repository), &repository.files(), day(1));
    let mut recovered = before;
    recovered.rotate(day(2), |keys| {
        keys.insert("timestamp".to_owned(), RoleKeys::new(1, 1));
        keys.insert("snapshot".to_owned(), RoleKeys::new(1, 1));
    });
    let after = taken(&state, &recovered.files(), day(2));
    assert_eq!(["timestamp", "snapshot", "targets"].map(|role| version(&after, role)), [1, 1, 1]);
    let roles: Vec<&str> = after.memory().recoveries.iter().map(|recovery| recovery.role.as_str()).collect();
    assert_eq!(roles, ["timestamp", "snapshot", "targets"]);
    assert!(after.memory().recoveries.iter().all(|recovery| recovery.root_version == 2 && recovery.had == 1_000_000));
}

#[test]
fn a_root_that_keeps_the_keys_lets_nothing_fall() {
    let mut repository = repository();
    repository.publish(day(1));
    let state = taken(&bootstrap(&repository), &repository.files(), day(1));
    let mut older = repository.clone();
    older.rotate(day(2), |_| {});
    for role in [&mut older.timestamp, &mut older.snapshot, &mut older.targets] {
        role["version"] = json!(1);
    }
    let (after, result) = refresh(&state, &older.files(), day(2));
    assert!(matches!(result, Err(Refusal::Rollback { .. })));
    assert_eq!(version(&after, "root"), 2, "the root was accepted and is remembered");
    assert_eq!(version(&after, "timestamp"), 2);
}

#[test]
fn a_state_that_is_not_what_was_accepted_is_a_fault() {
    let repository = repository();
    let state = taken(&bootstrap(&repository), &repository.files(), day(1));
    let (memory, held) = (state.memory().clone(), state.held().clone());
    assert_eq!(State::restore(memory.clone(), held.clone()), Ok(state));
    let mut without = held.clone();
    without.remove("snapshot");
    let mut other = held.clone();
    other.insert("root".to_owned(), b"{}".to_vec());
    for held in [without, other, BTreeMap::new()] {
        assert!(matches!(State::restore(memory.clone(), held), Err(Refusal::MemoryDamaged { .. })));
    }
    let later = TrustMemory { schema: 2, ..memory };
    assert!(matches!(State::restore(later, held), Err(Refusal::MemoryDamaged { .. })));
}

#[test]
fn a_clock_behind_a_signing_time_blocks_until_the_floor_is_lowered() {
    let repository = repository();
    let files = repository.files();
    let mut state = bootstrap(&repository);
    assert_eq!(state.observe_time(day(9), day(5)), Observed::TooFarAhead);
    assert_eq!(state.observe_time(day(5), day(5)), Observed::Taken);
    assert!(matches!(refused(&state, &files, day(4)), Refusal::ClockBehind { floor, .. } if floor == day(5)));
    assert!(refresh(&state, &files, day(5) - SignedDuration::from_mins(4)).1.is_ok());
    state.lower_clock(day(4));
    assert!(refresh(&state, &files, day(4)).1.is_ok());
    state.lower_clock(day(6));
    assert_eq!(
        state.memory().clock_lowerings,
        [ClockLowering { had: day(5), to: day(4) }],
        "nothing was lowered again"
    );
}

#[test]
fn a_memory_without_a_clock_floor_is_read() {
    let mut document = serde_json::to_value(bootstrap(&repository()).memory()).unwrap();
    document["lastAccepted"] = json!("2026-06-02T00:00:00Z");
    let memory: TrustMemory = serde_json::from_value(document).unwrap();
    assert_eq!((memory.clock_floor.floor(), memory.last_import), (None, Some(day(1))));
}

/// A wall clock that ran ahead once, in a refused run or an accepted one, is no floor: it would block the cluster until the time it showed.
#[test]
fn a_fast_wall_clock_raises_no_floor() {
    let mut repository = repository();
    let (bootstrapped, first) = (bootstrap(&repository), repository.files());
    let (ahead, result) = refresh(&bootstrapped, &first, day(2000));
    assert!(matches!(result, Err(Refusal::Expired { .. })));
    assert_eq!(ahead.memory().clock_floor.floor(), None);
    let accepted = taken(&ahead, &first, day(6));
    assert_eq!(accepted.memory().clock_floor.floor(), None);
    let (again, notes) = refresh(&accepted, &first, day(2));
    assert!(notes.unwrap().contains(&Note::ClockWentBack { now: day(2), last: day(6) }));
    repository.publish(day(2));
    let files = repository.files();
    let newer = taken(&again, &files, day(2));
    assert_eq!(refresh(&newer, &files, day(2)).1, Ok(Vec::new()), "the clock of the last import is this one");
}

#[test]
fn targets_are_found_through_delegations_and_verified() {
    let mut repository = repository();
    repository.delegate("team", &["team/*"], start());
    repository.files.insert("team/keys.json".to_owned(), b"keys".to_vec());
    let (state, files) = (bootstrap(&repository), repository.files());
    let (after, found) = target(&state, &files, "team/keys.json", day(1));
    assert_eq!(found.unwrap(), b"keys");
    assert_eq!(version(&after, "team"), 1, "a delegated role has a floor, too");
    assert_eq!(target(&state, &files, "trusted_root.json", day(1)).1.unwrap(), b"{}");
    for (name, want) in [
        ("team/none", "UnknownTarget"),
        ("none", "UnknownTarget"),
        ("../x", "UnsafeTargetName"),
        ("/etc/passwd", "UnsafeTargetName"),
        ("a//b", "UnsafeTargetName"),
        ("", "UnsafeTargetName"),
    ] {
        assert_eq!(target(&state, &files, name, day(1)).1.unwrap_err().kind().as_str(), want, "{name}");
    }
    let path = files.keys().find(|name| name.ends_with(".keys.json")).unwrap().clone();
    for bytes in [b"kexs".to_vec(), b"keys ".to_vec()] {
        let mut bent = files.clone();
        bent.insert(path.clone(), bytes);
        assert!(matches!(target(&state, &bent, "team/keys.json", day(1)).1, Err(Refusal::Mismatch { .. })));
    }
    let mut repository = repository;
    repository.delegated.get_mut("team").unwrap().signed["expires"] = json!("2026-06-01T12:00:00Z");
    let files = repository.files();
    assert!(matches!(target(&state, &files, "team/keys.json", day(1)).1, Err(Refusal::Expired { .. })));
    assert!(
        target(&state, &files, "trusted_root.json", day(1)).1.is_ok(),
        "an expired delegation takes only its own targets"
    );
}

#[test]
fn the_local_clock_counts_from_the_first_acceptance() {
    let mut repository = repository();
    repository.timestamp["expires"] = json!("2027-01-01T00:00:00Z");
    let files = repository.files();
    let first = taken(&bootstrap(&repository), &files, day(1));
    let polled = taken(&first, &files, day(9));
    let settings = Settings { grace: Grace::NONE, max_age: Some(SignedDuration::from_hours(24 * 10)) };
    let judge = |now| Freshness::judge(&polled, None, settings, now);
    assert!(matches!(judge(day(10)), Freshness::Fresh { until } if until == day(11)));
    assert!(matches!(judge(day(11)), Freshness::Stale { .. }), "polling the same file confirms nothing");
}

/// One step of an adversary or of an honest publisher.
#[derive(Debug, Clone)]
enum Step {
    Publish,
    Replay(usize),
    RotateRoot,
    RotateTimestamp,
    RotateSnapshot,
    Forge,
    Torn(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => Just(Step::Publish),
        3 => (0..6usize).prop_map(Step::Replay),
        1 => Just(Step::RotateRoot),
        1 => Just(Step::RotateTimestamp),
        1 => Just(Step::RotateSnapshot),
        1 => Just(Step::Forge),
        1 => (0..4usize).prop_map(Step::Torn),
    ];
    prop::collection::vec(step, 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// A floor never falls but where an accepted root changed the keys behind it; and the root's never falls at all.
    #[test]
    fn a_floor_never_falls_without_new_keys(steps in steps()) {
        let mut repository = repository();
        let mut published = vec![repository.files()];
        let mut state = bootstrap(&repository);
        for (number, step) in steps.iter().enumerate() {
            let now = day(1) + SignedDuration::from_hours(i64::try_from(number).unwrap());
            let new_keys = |role: &str, repository: &mut Repository| {
                let role = role.to_owned();
                repository.rotate(now, |keys| { keys.insert(role, RoleKeys::new(1, 1)); });
            };
            let files = match step {
                Step::Publish => { repository.publish(now); repository.files() }
                Step::RotateRoot => { repository.rotate(now, |keys| { keys.insert("root".to_owned(), RoleKeys::new(3, 2)); }); repository.files() }
                Step::RotateTimestamp => { new_keys("timestamp", &mut repository); repository.files() }
                Step::RotateSnapshot => { new_keys("snapshot", &mut repository); repository.files() }
                Step::Replay(at) => published[at % published.len()].clone(),
                Step::Forge => {
                    let mut forged = repository.clone();
                    forged.keys.insert("timestamp".to_owned(), RoleKeys::new(1, 1));
                    forged.timestamp["version"] = json!(999);
                    forged.files()
                }
                Step::Torn(at) => {
                    let mut files = repository.files();
                    let name = files.keys().nth(at % files.len()).unwrap().clone();
                    let half = files[&name].len() / 2;
                    files.get_mut(&name).unwrap().truncate(half);
                    files
                }
            };
            published.push(files.clone());
            let (after, _) = refresh(&state, &files, now);
            let had = state.memory();
            let has = after.memory();
            for (role, floor) in &had.floors {
                let now_at = has.floors.get(role).map_or(0, |floor| floor.version);
                if now_at < floor.version {
                    prop_assert_ne!(role, "root");
                    let allowed = has.recoveries.iter().skip(had.recoveries.len()).any(|r| r.role == *role && r.root_version > version(&state, "root"));
                    prop_assert!(allowed, "{} fell from {} to {} by {:?}", role, floor.version, now_at, step);
                }
                if let Some(same) = has.floors.get(role).filter(|now| now.version == floor.version) {
                    let recovered = has.recoveries.len() > had.recoveries.len();
                    prop_assert!(same.digest == floor.digest || recovered, "{} version {} changed its content", role, floor.version);
                }
            }
            prop_assert!(State::restore(has.clone(), after.held().clone()).is_ok());
            state = after;
        }
    }
}
