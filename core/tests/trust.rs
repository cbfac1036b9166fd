//! Diff, budget, freshness and clock, on the roots that real publishers made.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test that cannot go on fails

mod support;

use holdfast_core::api::mirror::KeysSource;
use holdfast_core::trust::budget::{Budget, Cause};
use holdfast_core::trust::clock::{ClockFloor, Observed, Sanity, TOLERANCE};
use holdfast_core::trust::diff::{Happening, Kind, RootDiff};
use holdfast_core::trust::keys;
use holdfast_core::trust::root::TrustRoot;
use holdfast_core::trust::tuf::RoleSummary;
use holdfast_core::verify::PreparedRoot;
use holdfast_testpki::{Key, Sigstore};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};
use sigstore_verify::trust_root::{
    SIGSTORE_GITHUB_TRUSTED_ROOT, SIGSTORE_PRODUCTION_TRUSTED_ROOT, SIGSTORE_STAGING_TRUSTED_ROOT,
};
use support::at;

fn root(document: &Value) -> TrustRoot {
    TrustRoot::from_json("root", document.to_string().as_bytes()).unwrap()
}

fn public() -> Value {
    serde_json::from_str(SIGSTORE_PRODUCTION_TRUSTED_ROOT).unwrap()
}

#[test]
fn a_root_does_not_differ_from_itself_however_it_is_ordered() {
    for text in [SIGSTORE_PRODUCTION_TRUSTED_ROOT, SIGSTORE_STAGING_TRUSTED_ROOT, SIGSTORE_GITHUB_TRUSTED_ROOT] {
        let document: Value = serde_json::from_str(text).unwrap();
        let mut turned = document.clone();
        for list in ["tlogs", "ctlogs", "certificateAuthorities", "timestampAuthorities"] {
            if let Some(list) = turned.get_mut(list).and_then(Value::as_array_mut) {
                list.reverse();
            }
        }
        assert!(RootDiff::between(&root(&document), &root(&turned)).is_empty());
    }
}

#[test]
fn every_change_is_named_with_what_it_means() {
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut document = public();
        change(&mut document);
        RootDiff::between(&root(&public()), &root(&document))
    };
    let removed = changed(&|d| {
        d["tlogs"].as_array_mut().unwrap().remove(0);
    });
    assert_eq!(
        (&removed.changes[0].happening, removed.changes[0].entry.kind),
        (&Happening::Removed, Kind::TransparencyLog)
    );
    assert!(removed.changes[0].meaning.contains("no longer verify") && !removed.admits_more() && removed.is_rotation());
    let ended = changed(&|d| d["tlogs"][0]["publicKey"]["validFor"]["end"] = json!("2026-01-01T00:00:00Z"));
    assert!(
        matches!(ended.changes[0].happening, Happening::Ended { at: end } if end == at("2026-01-01T00:00:00Z")),
        "{ended:?}"
    );
    assert!(!ended.admits_more());
    let reopened = RootDiff::between(
        &root(&{
            let mut d = public();
            d["tlogs"][0]["publicKey"]["validFor"]["end"] = json!("2026-01-01T00:00:00Z");
            d
        }),
        &root(&public()),
    );
    assert!(
        matches!(reopened.changes[0].happening, Happening::WindowChanged { .. }) && reopened.admits_more(),
        "{reopened:?}"
    );
    let earlier = changed(&|d| d["tlogs"][0]["publicKey"]["validFor"]["start"] = json!("2020-01-01T00:00:00Z"));
    assert!(earlier.admits_more());
    let moved = changed(&|d| d["tlogs"][0]["baseUrl"] = json!("https://elsewhere.example"));
    assert!(matches!(moved.changes[0].happening, Happening::Moved { .. }) && !moved.is_rotation());
    let replaced = changed(&|d| {
        let key = Key::ed25519();
        d["tlogs"][0]["publicKey"]["rawBytes"] = json!(holdfast_testpki::base64(&key.spki()));
        d["tlogs"][0]["logId"]["keyId"] = json!(holdfast_testpki::base64(&[7; 32]));
    });
    let added = replaced.changes.iter().find(|change| matches!(change.happening, Happening::Added { .. })).unwrap();
    assert!(added.meaning.contains("so far used ECDSA P-256"), "{}", added.meaning);
    assert!(replaced.admits_more() && replaced.changes.len() == 2);
}

#[test]
fn the_budget_is_what_is_relied_on_and_the_earliest_first() {
    let now = at("2026-08-22T00:00:00Z");
    let role = |role: &str, expires: &str| RoleSummary {
        role: role.to_owned(),
        version: 1,
        expires: at(expires),
        keys: None,
        threshold: None,
    };
    let roles = [role("root", "2026-11-20T00:00:00Z"), role("timestamp", "2026-08-28T00:00:00Z")];
    let budget = Budget::of(&roles, Some(&root(&public())), now);
    assert_eq!(budget.first().unwrap().what, "TUF timestamp v1");
    assert!(budget.ends.windows(2).all(|pair| pair[0].until <= pair[1].until));
    assert!(budget.ends.iter().all(|end| end.until >= now), "what ended and was succeeded is no alarm: {budget:?}");
    let mut all_ended = public();
    for log in all_ended["tlogs"].as_array_mut().unwrap() {
        log["publicKey"]["validFor"]["end"] = json!("2026-01-01T00:00:00Z");
    }
    let budget = Budget::of(&[], Some(&root(&all_ended)), now);
    assert!(
        matches!(budget.first().unwrap().cause, Cause::Window { kind: Kind::TransparencyLog }),
        "no log is left: {budget:?}"
    );
}

#[test]
fn the_clock_floor_is_what_was_authenticated_and_little_more() {
    let now = at("2026-06-01T00:00:00Z");
    let mut floor = ClockFloor::default();
    assert_eq!(floor.observe(now + SignedDuration::from_hours(1), now), Observed::TooFarAhead);
    assert_eq!(floor.floor(), None, "one authority with a fast clock must not block a cluster");
    assert_eq!(floor.observe(now, now), Observed::Taken);
    assert_eq!(floor.judge(now - SignedDuration::from_mins(4)), Sanity::Sane);
    assert!(matches!(floor.judge(now - SignedDuration::from_mins(6)), Sanity::Behind { .. }));
    floor.lower(now - SignedDuration::from_hours(1));
    assert_eq!(floor.judge(now - SignedDuration::from_mins(6)), Sanity::Sane);
}

proptest! {
    /// The floor never falls by itself, and is never more than five minutes ahead of a clock that was seen.
    #[test]
    fn the_clock_floor_never_falls(observations in prop::collection::vec((0i64..1_000_000, 0i64..1_000_000), 0..40)) {
        let mut floor = ClockFloor::default();
        let mut latest = Timestamp::UNIX_EPOCH;
        for (seen, now) in observations {
            let (seen, now) = (Timestamp::from_second(seen).unwrap(), Timestamp::from_second(now).unwrap());
            let before = floor.floor();
            floor.observe(seen, now);
            latest = latest.max(now);
            prop_assert!(floor.floor() >= before);
            prop_assert!(floor.floor().is_none_or(|floor| floor <= latest + TOLERANCE));
        }
    }
}

#[test]
fn keys_of_ones_own_make_a_root_that_verifies() {
    let sigstore = Sigstore::new();
    let document = sigstore.trusted_root();
    let decode = |value: &Value| {
        use base64::{Engine, engine::general_purpose::STANDARD};
        STANDARD.decode(value.as_str().unwrap()).unwrap()
    };
    let chain = |authority: &Value| -> String {
        authority["certChain"]["certificates"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| holdfast_testpki::pem("CERTIFICATE", &decode(&c["rawBytes"])))
            .collect()
    };
    let log = |log: &Value| holdfast_testpki::pem("PUBLIC KEY", &decode(&log["publicKey"]["rawBytes"]));
    let declared = json!({
        "certificateAuthorities": [{"certificateChain": chain(&document["certificateAuthorities"][0])}],
        "timestampAuthorities": [{"certificateChain": chain(&document["timestampAuthorities"][0])}],
        "transparencyLogs": [{"publicKey": log(&document["tlogs"][0])}, {"publicKey": log(&document["tlogs"][2]), "origin": "log2026-1.rekor.test"}],
        "ctLogs": [{"publicKey": log(&document["ctlogs"][0]), "from": "2025-01-01T00:00:00Z"}],
    });
    let read =
        |declared: &Value| keys::trust_root("own", &serde_json::from_value::<KeysSource>(declared.clone()).unwrap());
    let own = read(&declared).unwrap();
    let given = root(&document);
    assert_eq!(
        [own.logs[0].log_id, own.logs[1].log_id],
        [given.logs[0].log_id, given.logs[2].log_id],
        "identifiers are worked out"
    );
    assert!(PreparedRoot::new(own).is_ok());
    for (pointer, value, words) in [
        ("/transparencyLogs/1/origin", Value::Null, "needs `origin`"),
        ("/transparencyLogs/0/publicKey", json!("no key"), "transparencyLogs[0]"),
        ("/certificateAuthorities/0/certificateChain", json!("no chain"), "certificateAuthorities[0]"),
        ("/ctLogs/0/from", json!("yesterday"), "is not a time as"),
    ] {
        let mut bent = declared.clone();
        *bent.pointer_mut(pointer).unwrap() = value;
        let error = read(&bent).unwrap_err().to_string();
        assert!(error.contains(words), "{words}: {error}");
    }
}
