//! Repositories that lie: delegations, bounds, names and numbers at their edges.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // a test that cannot go on fails

mod support;

use std::collections::BTreeMap;

use holdfast_core::trust::tuf::{Grace, Refresh, Refusal, State, TargetSearch};
use holdfast_testpki::tuf::{Delegated, Repository, RoleKeys, key_id, key_object, sign};
use holdfast_testpki::{Key, asn1, pem};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use support::at;

type Files = BTreeMap<String, Vec<u8>>;

const TARGET: &str = "trusted_root.json";

fn start() -> Timestamp {
    at("2026-06-01T00:00:00Z")
}

fn day(days: i64) -> Timestamp {
    start() + SignedDuration::from_hours(24 * days)
}

fn repository() -> Repository {
    let mut repository = Repository::new(start());
    repository.files.insert(TARGET.to_owned(), b"{}".to_vec());
    repository
}

fn bootstrap(repository: &Repository) -> State {
    State::bootstrap(&repository.files()["1.root.json"], None, start()).unwrap()
}

fn refresh(state: &State, files: &Files, now: Timestamp) -> (Refresh, Result<(), Refusal>) {
    let mut refresh = Refresh::begin(state, now, Grace::NONE).unwrap();
    while let Some(want) = refresh.want() {
        if let Err(refusal) = refresh.give(files.get(&want.name).map(Vec::as_slice)) {
            return (refresh, Err(refusal));
        }
    }
    (refresh, Ok(()))
}

fn search(repository: &Repository, name: &str) -> Result<(String, Vec<u8>), Refusal> {
    search_in(repository, &repository.files(), name)
}

fn search_in(repository: &Repository, files: &Files, name: &str) -> Result<(String, Vec<u8>), Refusal> {
    let (mut refresh, result) = refresh(&bootstrap(repository), files, day(1));
    result?;
    let mut search = TargetSearch::begin(&mut refresh, name)?;
    let mut asked = 0;
    while let Some((want, is_metadata)) = search.want() {
        asked += 1;
        assert!(asked < 100, "the search does not end");
        let name = if is_metadata { want.name } else { format!("targets/{}", want.name) };
        search.give(files.get(&name).map(Vec::as_slice))?;
    }
    let found = search.found().unwrap();
    Ok((found.role().to_owned(), found.bytes().to_vec()))
}

/// A role that lists `content` as the wanted target, delegated to by whoever the test says.
fn role(content: Option<&[u8]>, keys: &RoleKeys) -> Delegated {
    let targets = content.map_or_else(
        || json!({"nothing": {"length": 1, "hashes": {"sha256": "00"}}}),
        |content| json!({TARGET: {"length": content.len(), "hashes": {"sha256": hex(content)}}}),
    );
    let signed = json!({"_type": "targets", "spec_version": "1.0.31", "version": 1, "expires": "2027-01-01T00:00:00Z", "targets": targets});
    Delegated { keys: keys.clone(), signed }
}

fn hex(content: &[u8]) -> String {
    holdfast_core::Digest::of(content).hex()
}

fn delegations(roles: &[(&str, &RoleKeys, bool)]) -> Value {
    let keys: serde_json::Map<String, Value> =
        roles.iter().flat_map(|(_, keys, _)| &keys.keys).map(|key| (key_id(key), key_object(key))).collect();
    let roles: Vec<Value> = roles
        .iter()
        .map(|(name, keys, terminating)| {
            let ids: Vec<String> = keys.keys.iter().map(key_id).collect();
            json!({"name": name, "keyids": ids, "threshold": keys.threshold, "terminating": terminating, "paths": ["*"]})
        })
        .collect();
    json!({"keys": keys, "roles": roles})
}

/// A repository whose top-level targets list nothing and delegate everything.
fn delegating(roles: &[(&str, &RoleKeys, bool)]) -> Repository {
    let mut repository = Repository::new(start());
    repository.targets["targets"] = json!({"nothing": {"length": 1, "hashes": {"sha256": "00"}}});
    repository.targets["delegations"] = delegations(roles);
    repository
}

fn serve(repository: &Repository, content: &[u8]) -> Files {
    let mut files = repository.files();
    files.insert(format!("targets/{}.{TARGET}", hex(content)), content.to_vec());
    files
}

#[test]
fn delegations_in_a_circle_end() {
    let (a, b) = (RoleKeys::new(1, 1), RoleKeys::new(1, 1));
    let mut repository = delegating(&[("a", &a, false)]);
    for (name, keys, to, to_keys) in [("a", &a, "b", &b), ("b", &b, "a", &a)] {
        let mut delegated = role(None, keys);
        delegated.signed["delegations"] = delegations(&[(to, to_keys, false), (name, keys, false)]);
        repository.delegated.insert(name.to_owned(), delegated);
    }
    assert!(matches!(search(&repository, TARGET), Err(Refusal::UnknownTarget { .. })));
}

#[test]
fn a_terminating_delegation_hides_what_comes_after_it() {
    let (first, second) = (RoleKeys::new(1, 1), RoleKeys::new(1, 1));
    for (terminating, found) in [(true, false), (false, true)] {
        let mut repository = delegating(&[("first", &first, terminating), ("second", &second, false)]);
        repository.delegated.insert("first".to_owned(), role(None, &first));
        repository.delegated.insert("second".to_owned(), role(Some(b"evil"), &second));
        let got = search_in(&repository, &serve(&repository, b"evil"), TARGET);
        assert_eq!(got.is_ok(), found, "{got:?}");
        // A terminating role that the snapshot does not list ends the search as well: its absence opens nothing.
        let mut absent = repository.clone();
        absent.delegated.remove("first");
        let got = search_in(&absent, &serve(&absent, b"evil"), TARGET);
        assert_eq!(got.is_ok(), found, "{got:?}");
    }
}

/// The keys that count for a role are those its delegator names, not those another delegator names for it.
#[test]
fn a_role_is_signed_by_the_keys_its_own_delegator_names() {
    let (a, b, evil) = (RoleKeys::new(1, 1), RoleKeys::new(1, 1), RoleKeys::new(1, 1));
    let mut repository = delegating(&[("a", &a, false), ("b", &b, false)]);
    let mut of_a = role(None, &a);
    // `a` delegates to `b` with a key of its own choice, and that is visited first.
    of_a.signed["delegations"] = delegations(&[("b", &evil, false)]);
    repository.delegated.insert("a".to_owned(), of_a);
    repository.delegated.insert("b".to_owned(), role(Some(b"{}"), &b));
    assert!(matches!(search_in(&repository, &serve(&repository, b"{}"), TARGET), Err(Refusal::Threshold { .. })));
    // Signed by the top-level targets' key it is not good either.
    let own = repository.keys["targets"].clone();
    let mut repository = delegating(&[("b", &b, false)]);
    repository.delegated.insert("b".to_owned(), role(Some(b"{}"), &own));
    assert!(search_in(&repository, &serve(&repository, b"{}"), TARGET).is_err());
}

#[test]
fn a_delegation_never_stands_in_for_a_top_level_role() {
    let evil = RoleKeys::new(1, 1);
    for name in ["root", "timestamp", "snapshot", "targets"] {
        let repository = delegating(&[(name, &evil, false)]);
        assert!(matches!(search(&repository, TARGET), Err(Refusal::UnknownTarget { .. })), "{name}");
    }
}

#[test]
fn more_roles_than_are_visited_are_refused() {
    let keys = RoleKeys::new(1, 1);
    let names: Vec<String> = (0..40).map(|n| format!("r{n}")).collect();
    let roles: Vec<(&str, &RoleKeys, bool)> = names.iter().map(|name| (name.as_str(), &keys, false)).collect();
    let mut repository = delegating(&roles);
    for name in &names {
        repository.delegated.insert(name.clone(), role(None, &keys));
    }
    assert!(matches!(search(&repository, TARGET), Err(Refusal::TooManyDelegations { .. })));
}

#[test]
fn lengths_and_hashes_are_held_to_the_byte() {
    for (what, stated) in [
        ("a byte less", json!({"length": 1, "hashes": {"sha256": hex(b"{}")}})),
        ("a byte more", json!({"length": 3, "hashes": {"sha256": hex(b"{}")}})),
        ("no hash", json!({"length": 2, "hashes": {}})),
        ("a hash nobody knows", json!({"length": 2, "hashes": {"md5": "99914b932bd37a50b983c5e7c90ae93b"}})),
        ("one of two is wrong", json!({"length": 2, "hashes": {"sha256": hex(b"{}"), "sha512": "00"}})),
        ("a length beyond all", json!({"length": u64::MAX, "hashes": {"sha256": hex(b"{}")}})),
    ] {
        let mut repository = Repository::new(start());
        repository.targets["targets"] = json!({TARGET: stated});
        let mut files = serve(&repository, b"{}");
        files.insert(format!("targets/{TARGET}"), b"{}".to_vec());
        files.insert(format!("targets/00.{TARGET}"), b"{}".to_vec());
        assert!(search_in(&repository, &files, TARGET).is_err(), "{what}");
    }
}

#[test]
fn target_names_do_not_lead_out() {
    let repository = repository();
    for name in ["../1.root.json", "/etc/passwd", "a/../../b", "a//b", "./a", "a/.", "", "a\\..\\b", "a\0b", ".."] {
        assert!(matches!(search(&repository, name), Err(Refusal::UnsafeTargetName { .. })), "{name:?}");
    }
}

/// What expires at an instant is expired at that instant (specification, 5.3.10: "lower than").
#[test]
fn expiry_is_to_the_second() {
    let repository = repository();
    let files = repository.files();
    let end = day(7);
    let second = SignedDuration::from_secs(1);
    assert!(refresh(&bootstrap(&repository), &files, end - second).1.is_ok());
    for now in [end, end + second] {
        assert!(matches!(refresh(&bootstrap(&repository), &files, now).1, Err(Refusal::Expired { .. })));
    }
}

#[test]
fn versions_at_the_edge_are_taken_or_refused_and_never_wrap() {
    for version in [u64::MAX, u64::MAX - 1, i64::MAX.cast_unsigned()] {
        let mut repository = repository();
        repository.timestamp["version"] = json!(version);
        let (refresh, result) = refresh(&bootstrap(&repository), &repository.files(), day(1));
        if result.is_ok() {
            let state = refresh.into_state();
            let mut older = repository.clone();
            older.timestamp["version"] = json!(1);
            let got = self::refresh(&state, &older.files(), day(1)).1;
            assert!(matches!(got, Err(Refusal::Rollback { .. })), "{got:?}");
        }
    }
    for version in [json!(0), json!(-1), json!(1.5), json!("2"), json!(null), json!(1e30)] {
        let mut repository = repository();
        repository.timestamp["version"] = version.clone();
        let got = refresh(&bootstrap(&repository), &repository.files(), day(1)).1;
        assert!(got.is_err() || version == json!(0), "{version}");
    }
}

/// A root can skip nothing: neither numbers, nor the old keys.
#[test]
fn a_root_that_skips_a_version_or_is_another_kind_is_refused() {
    let mut repository = repository();
    repository.rotate(day(1), |_| {});
    let files = repository.files();
    for version in [1, 3, 255] {
        let signed = repository.root(version, "2027-01-01T00:00:00Z");
        let mut bent = files.clone();
        bent.insert("2.root.json".to_owned(), repository.signed_root(&signed, &[]).to_string().into_bytes());
        assert!(refresh(&bootstrap(&repository), &bent, day(2)).1.is_err(), "{version}");
    }
    for stand_in in ["timestamp.json", "1.snapshot.json", "1.targets.json"] {
        let mut bent = files.clone();
        bent.insert("2.root.json".to_owned(), files[stand_in].clone());
        assert!(refresh(&bootstrap(&repository), &bent, day(2)).1.is_err(), "{stand_in}");
    }
    // One key for several roles does not let one role's file serve as another's.
    let mut shared = repository.clone();
    let key = shared.keys["timestamp"].clone();
    shared.rotate(day(1), |keys| {
        for role in ["snapshot", "targets"] {
            keys.insert(role.to_owned(), key.clone());
        }
    });
    let files = shared.files();
    for (want, given) in [
        ("1.snapshot.json", "1.targets.json"),
        ("1.targets.json", "1.snapshot.json"),
        ("timestamp.json", "1.targets.json"),
    ] {
        let mut bent = files.clone();
        bent.insert(want.to_owned(), files[given].clone());
        assert!(refresh(&bootstrap(&shared), &bent, day(2)).1.is_err(), "{given} as {want}");
    }
}

/// The same EC key with its point compressed.
fn compressed(key: &Key) -> Value {
    let raw = key.raw();
    let point = [&[2 + (raw[64] & 1)], &raw[1..33]].concat();
    let algorithm = asn1::seq(&[&asn1::oid("1.2.840.10045.2.1"), &asn1::oid("1.2.840.10045.3.1.7")]);
    let public = pem("PUBLIC KEY", &asn1::seq(&[&algorithm, &asn1::bits(&point)]));
    json!({"keytype": "ecdsa", "scheme": "ecdsa-sha2-nistp256", "keyval": {"public": public}})
}

#[test]
fn one_key_in_two_encodings_does_not_meet_a_threshold_of_two() {
    let repository = repository();
    let key = repository.keys["root"].keys[0].clone();
    let mut root = repository.root(1, "2027-06-01T00:00:00Z");
    let mut spaced = key_object(&key);
    spaced["keyval"]["public"] = json!(format!("\n{}\n\n", key.pem()));
    for (what, twin) in [("compressed", compressed(&key)), ("white space", spaced)] {
        root["keys"]["twin"] = twin;
        root["roles"]["root"] = json!({"keyids": [key_id(&key), "twin"], "threshold": 2});
        let mut signed = sign(&root, &[&key]);
        let mut second = signed["signatures"][0].clone();
        second["keyid"] = json!("twin");
        signed["signatures"].as_array_mut().unwrap().push(second);
        let got = State::bootstrap(signed.to_string().as_bytes(), None, start());
        assert!(matches!(got, Err(Refusal::Threshold { need: 2, got: 1, .. })), "{what}: {got:?}");
    }
}

/// Whoever can write the memory's file alone cannot lower a floor in it: the held bytes say what was accepted.
#[test]
fn a_memory_that_says_something_else_of_what_is_held_is_damage() {
    let repository = repository();
    let (refreshed, result) = refresh(&bootstrap(&repository), &repository.files(), day(1));
    result.unwrap();
    let state = refreshed.into_state();
    assert_eq!(State::restore(state.memory().clone(), state.held().clone()).unwrap(), state);
    for role in ["root", "timestamp", "snapshot", "targets"] {
        let bent = |change: &dyn Fn(&mut holdfast_core::trust::tuf::Floor)| {
            let mut memory = state.memory().clone();
            change(memory.floors.get_mut(role).unwrap());
            matches!(State::restore(memory, state.held().clone()), Err(Refusal::MemoryDamaged { .. }))
        };
        assert!(bent(&|floor| floor.version = 0), "{role}");
        assert!(bent(&|floor| floor.version += 1), "{role}");
        assert!(bent(&|floor| floor.expires = at("2099-01-01T00:00:00Z")), "{role}");
    }
    for version in [None, Some(0), Some(2)] {
        let mut memory = state.memory().clone();
        match version {
            Some(version) => memory.pins.insert("targets.json".to_owned(), version),
            None => memory.pins.remove("targets.json"),
        };
        let got = State::restore(memory, state.held().clone());
        assert!(matches!(got, Err(Refusal::MemoryDamaged { .. })), "{got:?}");
    }
    // A role's file does not serve as another's, though the memory names it.
    let (mut memory, mut held) = (state.memory().clone(), state.held().clone());
    held.insert("timestamp".to_owned(), held["targets"].clone());
    memory.floors.insert("timestamp".to_owned(), memory.floors["targets"].clone());
    assert!(matches!(State::restore(memory, held), Err(Refusal::MemoryDamaged { .. })));
}
