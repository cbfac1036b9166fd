//! What a loosening says of what it found, and the last step before something counts as one.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // a test that cannot go on fails

#[path = "support/gate_estate.rs"]
mod estate;

use std::collections::BTreeMap;

use estate::{active, declared};
use holdfast_core::Digest;
use holdfast_core::api::{SigningIdentityPolicySpec, TrustRootMirrorSpec};
use holdfast_core::gate::break_glass::Caps;
use holdfast_core::gate::compiled::compiled;
use holdfast_core::gate::loosening::{
    Effective, Loosening, LooseningKind, Permit, PolicyForm, SecretKey, Standing, caps, gate_weakened, mirror, policy,
};
use holdfast_core::trust::root::{ManagedKey, Window};
use holdfast_testpki::Key;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// Every way in which the second form is looser than the first.
fn looser(before: &SigningIdentityPolicySpec, after: &SigningIdentityPolicySpec) -> Vec<Loosening> {
    let keys = BTreeMap::new();
    let form = |spec| PolicyForm { name: "apps", spec, keys: &keys };
    policy(form(before), form(after), &Standing::default())
}

fn kinds(found: &[Loosening]) -> Vec<LooseningKind> {
    found.iter().map(|loosening| loosening.kind).collect()
}

#[test]
fn an_identity_that_is_added_is_named_with_who_vouches_for_it() {
    let key = Key::p256().pem();
    for (identity, want) in [
        (json!({"name": "n", "issuer": "https://i", "subject": "s"}), "`n` (s, vouched for by https://i)"),
        (json!({"name": "n", "issuer": "https://i", "subjectRegExp": "s.*"}), "`n` (/s.*/, vouched for by https://i)"),
        (json!({"name": "n", "key": {"pem": key}}), "`n` (a key)"),
    ] {
        let more = declared(|spec| spec["identities"].as_array_mut().unwrap().push(identity));
        let found = looser(&declared(|_| ()), &more);
        assert!(found[0].detail.contains(want), "{want}: {}", found[0].detail);
    }
}

#[test]
fn a_selector_of_another_label_selects_other_namespaces() {
    let other = declared(|spec| spec["namespaceSelector"] = json!({"matchLabels": {"team": "apps"}}));
    assert_eq!(kinds(&looser(&declared(|_| ()), &other)), [LooseningKind::NamespacesNarrowed]);
}

#[test]
fn an_identity_that_becomes_optional_weakens_the_gate_and_one_that_was_does_not() {
    let of = |web: bool, tools: bool| {
        let identity = |name: &str, optional: bool| json!({"name": name, "issuer": "https://i", "subject": name, "optional": optional});
        declared(|spec| spec["identities"] = json!([identity("web", web), identity("tools", tools)]))
    };
    let weakened = |before, after| gate_weakened(&before, &after).len();
    assert_eq!(weakened(of(false, false), of(true, false)), 1);
    assert_eq!(weakened(of(true, false), of(true, false)), 0);
    assert_eq!(weakened(of(false, true), of(false, true)), 0);
}

#[test]
fn caps_that_stay_as_they_are_are_not_raised() {
    let one = Caps { longest: SignedDuration::from_hours(1), approvers: 3, ..Caps::default() };
    assert!(caps("holdfast", &one, &one).is_empty());
}

#[test]
fn a_key_more_in_a_mirror_is_an_authority_more_and_one_less_is_not_looser() {
    let (one, two) = (Key::p256().pem(), Key::p256().pem());
    let of = |keys: &[&str]| -> TrustRootMirrorSpec {
        let keys: Vec<Value> =
            keys.iter().enumerate().map(|(at, key)| json!({"name": format!("k{at}"), "publicKey": key})).collect();
        serde_json::from_value(json!({"source": {"keys": {"publicKeys": keys}}})).unwrap()
    };
    assert_eq!(kinds(&mirror("corp", &of(&[&one]), &of(&[&one, &two]))), [LooseningKind::AuthorityAdded]);
    assert_eq!(kinds(&mirror("corp", &of(&[&one, &two]), &of(&[&one]))), []);
}

/// What several break-glasses lend together ends with the first of them, in whatever order they stand.
#[test]
fn what_is_lent_by_several_ends_with_the_first() {
    let now: Timestamp = "2026-11-24T06:00:00Z".parse().unwrap();
    let loosenings: Vec<Loosening> = [json!({"sct": false}), json!({"transparencyLog": false})]
        .into_iter()
        .map(|require| looser(&declared(|_| ()), &declared(|spec| spec["require"] = require)).remove(0))
        .collect();
    for hours in [[1, 2], [2, 1], [2, 2]] {
        let glasses: Vec<_> = loosenings
            .iter()
            .zip(hours)
            .enumerate()
            .map(|(at, (loosening, hours))| {
                let change = json!({"kind": "SigningIdentityPolicy", "name": "apps", "digest": loosening.digest});
                active(&format!("inc-{at}"), json!({ "allowChange": change }), now + SignedDuration::from_hours(hours))
            })
            .collect();
        let held = Permit { approvals: &[], break_glasses: &glasses }.judge(loosenings.clone(), now);
        let first = usize::from(hours == [2, 1]);
        let want = Effective::Lent { break_glass: format!("inc-{first}"), until: glasses[first].until };
        assert_eq!(held.effective, want, "{hours:?}");
    }
}

#[test]
fn a_key_of_a_secret_is_kept_as_it_is_written() {
    let pem = Key::p256().pem();
    let key = ManagedKey::from_bytes("vendor", pem.as_bytes(), Window::ALWAYS).unwrap();
    let kept = SecretKey::from(&key);
    let again = ManagedKey::from_bytes("vendor", kept.pem().as_bytes(), Window::ALWAYS).unwrap();
    assert_eq!(again.key, key.key);
}

/// Whoever approves computes the digest elsewhere: its text is JSON without spaces, with sorted keys.
#[test]
fn a_digest_is_that_of_the_json_without_spaces_with_sorted_keys() {
    let value = json!({"b": [1, "x", null], "a": {"d": true, "c": {}}});
    let text = format!(r#"{{"kind":"K","name":"n","spec":{}}}"#, r#"{"a":{"c":{},"d":true},"b":[1,"x",null]}"#);
    assert_eq!(holdfast_core::gate::loosening::approval_digest("K", "n", &value), Digest::of(text.as_bytes()));
}

/// Not with those that the Secret holds by now.
#[test]
fn a_form_is_made_ready_with_the_keys_it_came_with() {
    let spec =
        declared(|spec| spec["identities"] = json!([{"name": "vendor", "key": {"secretRef": {"name": "vendor"}}}]));
    let key = ManagedKey::from_bytes("vendor", Key::p256().pem().as_bytes(), Window::ALWAYS).unwrap();
    for (keys, ready) in
        [(BTreeMap::from([("vendor".to_owned(), SecretKey::from(&key))]), true), (BTreeMap::new(), false)]
    {
        assert_eq!(compiled(PolicyForm { name: "apps", spec: &spec, keys: &keys }).is_ok(), ready);
    }
}
