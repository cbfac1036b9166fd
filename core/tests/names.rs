//! Whatever policies and trust roots are called, each object of every engine is of one of them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // a test that cannot go on fails

#[path = "support/estate.rs"]
mod estate;

use std::collections::{BTreeMap, BTreeSet};

use estate::{ISSUER, KEY, Owned, SUBJECT, another_root};
use holdfast_core::engines::all::Capabilities;
use holdfast_core::engines::native::{GuardSettings, guards};
use holdfast_core::engines::object::{POLICY, TRUST_ROOT};
use holdfast_core::engines::policy_controller::PolicyControllerCapability;
use holdfast_core::engines::{Object, Version};
use proptest::prelude::*;
use serde_json::{Value, json};

const SLSA: &str = "https://slsa.dev/provenance/v1";
const MODULE: &str = "registry://registry.corp.internal/kubewarden/verify-image-signatures:v0.3.0";

fn spec(at: usize, roots: &[&str]) -> Value {
    let web = json!({ "name": "web", "issuer": ISSUER, "subject": SUBJECT });
    let other = json!({ "name": "tools", "issuer": ISSUER, "subject": format!("{SUBJECT}2") });
    let key = json!({ "name": "vendor", "key": { "pem": KEY } });
    let timestamps = |attestations: &[&str]| json!({ "attestations": attestations, "transparencyLog": false, "signedTimestamp": true, "sct": false });
    let exempt = format!("registry.corp.internal/base/pause@sha256:{}", "0".repeat(64));
    let engines = json!({
        "native": {}, "kyverno": {}, "policyController": {}, "kubewarden": { "module": MODULE }, "openShift": {}, "flux": {},
    });
    let shared = json!({ "trustRoots": roots, "engines": engines, "otherImages": "Deny" });
    let mut own = match at % 4 {
        0 => json!({ "require": timestamps(&[SLSA, "https://spdx.dev/Document"]), "identities": [web, other] }),
        1 => {
            json!({ "require": timestamps(&[]), "identities": [web], "images": ["docker.io/**"], "exemptImages": [{ "image": exempt, "reason": "node" }] })
        }
        2 => json!({ "require": { "transparencyLog": false, "sct": true }, "identities": [key], "trustRoots": [] }),
        _ => {
            json!({ "identities": [web, key], "engines": { "native": {}, "flux": {}, "kyverno": { "kind": "ClusterPolicy" } } })
        }
    };
    let own = own.as_object_mut().unwrap();
    for (field, value) in shared.as_object().unwrap() {
        own.entry(field).or_insert_with(|| value.clone());
    }
    json!(own)
}

/// Everything that is rendered for policies and trust roots of these names, and for the cluster.
fn rendered(policies: &BTreeSet<String>, roots: &BTreeSet<String>) -> Vec<Object> {
    let mut owned = Owned::new();
    owned.roots = roots.iter().map(|name| another_root(name)).collect();
    let roots: Vec<&str> = roots.iter().map(String::as_str).collect();
    for (at, name) in policies.iter().enumerate() {
        let enforced: &[&str] = if at % 2 == 0 { &["shop", "billing"] } else { &[] };
        owned = owned.policy(name, enforced, &spec(at / 2, &roots));
    }
    let mut capabilities = Capabilities::assumed(&BTreeMap::new());
    capabilities.policy_controller =
        PolicyControllerCapability::assumed(Version::new(0, 15, 1)).with_settings(&BTreeMap::new());
    capabilities.policy_controller.disable_tuf = Some(true);
    let estate = owned.estate();
    let renderings = capabilities.render(&estate);
    assert_eq!(renderings.len(), 6);
    let mut objects: Vec<Object> = renderings.into_values().flat_map(|rendering| rendering.objects).collect();
    let set = |name: &str| BTreeSet::from([name.to_owned()]);
    objects.extend(guards(&GuardSettings {
        namespace: "holdfast-system".to_owned(),
        service_account: "holdfast".to_owned(),
        approving_service_accounts: BTreeSet::new(),
        enforced: set("shop"),
        scope_labels: set("tier"),
        release: BTreeSet::new(),
    }));
    objects
}

/// Group, kind, namespace and name: what the API server tells objects apart by.
fn key(object: &Object) -> [String; 4] {
    let group = object.api_version().split_once('/').map_or("", |(group, _)| group);
    [group, object.kind(), object.namespace().unwrap_or_default(), object.name()].map(str::to_owned)
}

fn check(policies: &BTreeSet<String>, roots: &BTreeSet<String>) {
    let objects = rendered(policies, roots);
    let mut seen: BTreeMap<[String; 4], &Object> = BTreeMap::new();
    let mut files: BTreeSet<String> = BTreeSet::new();
    let mut owners: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for object in &objects {
        if let Some(other) = seen.insert(key(object), object) {
            panic!("{:?} of {} and of {}", key(object), object.body()["metadata"], other.body()["metadata"]);
        }
        let file = object.file_name();
        assert!(file.len() < 230 && files.insert(file.clone()), "{file}");
        let name = object.name();
        assert!(name.len() <= 253, "{name}");
        let is_name = |part: &str| {
            let inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            !part.is_empty() && part.chars().all(inside) && !part.starts_with('-') && !part.ends_with('-')
        };
        assert!(name.split('.').all(is_name), "{name} is the name of an object");
        let labels = &object.body()["metadata"]["labels"];
        for label in [POLICY, TRUST_ROOT] {
            if let Some(owner) = labels[label].as_str() {
                owners.entry(object.kind()).or_default().insert(owner);
            }
        }
        // Entries in maps have names of their own.
        if object.is_part() && object.name() == "config-sigstore-keys" {
            assert!(object.body()["data"].as_object().unwrap().len() <= roots.len());
        }
    }
    // Nothing is left out because it is called as something else is.
    let with_keys = |(at, _): &(usize, &String)| matches!((at / 2) % 4, 2 | 3);
    let keyed: BTreeSet<&str> = policies.iter().enumerate().filter(with_keys).map(|(_, name)| name.as_str()).collect();
    let secrets = &owners.get("Secret").cloned().unwrap_or_default();
    assert!(keyed.is_subset(secrets), "{keyed:?} {secrets:?}");
    if policies.len() > 6 {
        assert!(roots.iter().all(|root| secrets.contains(root.as_str())), "{roots:?} {secrets:?}");
    }
    for object in objects.iter().filter(|object| object.kind() == "ConfigMap" && object.name().contains("verify")) {
        let data = object.body()["data"].as_object().unwrap();
        let own = object.body()["metadata"]["labels"][POLICY].as_str().unwrap();
        let at = policies.iter().position(|name| name == own).unwrap();
        let expected = match (at / 2) % 4 {
            0 | 1 => roots.len(),
            2 => 2,
            _ => roots.len() + 2,
        };
        assert_eq!(data.len(), expected, "{own}: {:?}", data.keys());
    }
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// The names that some object of these would take from a policy that is called so.
fn taken(objects: &[Object]) -> Vec<String> {
    let mut names = BTreeSet::new();
    for object in objects {
        let name = object.name();
        names.extend(
            name.match_indices(['-', '.']).map(|(at, _)| name[at + 1..].trim_start_matches(['-', '.']).to_owned()),
        );
    }
    names.into_iter().filter(|name| !name.is_empty()).collect()
}

#[test]
fn a_policy_called_as_an_object_of_another_gets_its_own() {
    let base = set(&["apps", "shop", "trusted-root", "vendor", "a", "b", "c", "tools", "x"]);
    let roots = set(&["corp", "keys"]);
    check(&base, &roots);
    for name in taken(&rendered(&base, &roots)) {
        let mut policies = base.clone();
        policies.insert(name);
        check(&policies, &roots);
    }
}

#[test]
fn long_names_stay_apart_from_what_they_are_cut_to() {
    let long = |end: char| format!("{}{end}", "a".repeat(250));
    let base: BTreeSet<String> = ['x', 'y', 'z', 'w'].map(long).into();
    let roots = set(&["corp"]);
    check(&base, &roots);
    for name in taken(&rendered(&base, &roots)).into_iter().filter(|name| name.len() > 100) {
        let mut policies = base.clone();
        policies.insert(name);
        check(&policies, &roots);
    }
}

fn word() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "a",
        "0",
        "00",
        "ff",
        "00-ff",
        "apps",
        "audit",
        "audit-apps",
        "direct",
        "enforce",
        "exempt",
        "form",
        "form-open",
        "guard",
        "guard-tokens",
        "holdfast",
        "image-volumes",
        "joined",
        "keys",
        "localhost",
        "open",
        "other-images",
        "others",
        "policy-controller",
        "statement",
        "trusted-root",
        "verified",
        "verified-00-ff",
        "verify",
        "warn",
        "warn-apps",
    ]);
    prop_oneof![
        8 => words.prop_map(str::to_owned),
        2 => "[0-9a-f]{8,32}",
        1 => "[a-z0-9]{60,120}",
    ]
}

fn declared_name() -> impl Strategy<Value = String> {
    (word(), prop::collection::vec((prop::sample::select(vec!["-", ".", "--"]), word()), 0..3))
        .prop_map(|(first, rest)| rest.into_iter().fold(first, |name, (separator, word)| name + separator + &word))
        .prop_map(|mut name| {
            name.truncate(253);
            name.trim_matches(['-', '.']).to_owned()
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn no_name_is_another_objects(
        policies in prop::collection::btree_set(declared_name(), 2..10),
        roots in prop::collection::btree_set(declared_name(), 1..4),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 6),
    ) {
        check(&policies, &roots);
        let taken = taken(&rendered(&policies, &roots));
        let mut crafted = policies.clone();
        crafted.extend(picks.iter().map(|pick| taken[pick.index(taken.len())].clone()));
        check(&crafted, &roots);
    }
}
