//! Coverage adds up, names the worst first, and never calls covered what was not proven.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::needless_pass_by_value)] // a test that cannot go on fails

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_core::Digest;
use holdfast_core::api::{SigningIdentityPolicy, SigningIdentityPolicySpec};
use holdfast_core::coverage::{CompiledPolicy, Coverage, Found, Inventory, Memo, Roots, Workload, assess, compile};
use holdfast_core::engines::Verified;
use holdfast_core::gate::loosening::PolicyForm;
use holdfast_core::gate::{ScanTime, scan_of};
use holdfast_core::trust::root::TrustRoot;
use holdfast_core::verify::{Artifact, Evidence, Outcome, PreparedRoot, Reason};
use holdfast_testpki::{Key, Recipe, Sigstore};
use jiff::SignedDuration;
use proptest::prelude::*;
use serde_json::{Value, json};
use support::at;

const SUBJECT: &str = "https://ci.example/release";
const ISSUER: &str = "https://issuer.example";

fn policy(name: &str, spec: Value) -> CompiledPolicy {
    policy_with(name, spec, None)
}

/// A policy whose Secret holds this key.
fn policy_with(name: &str, spec: Value, secret: Option<&Key>) -> CompiledPolicy {
    let mut whole =
        json!({"trustRoots": ["corp"], "identities": [{"name": "ci", "issuer": ISSUER, "subject": SUBJECT}]});
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let declared: SigningIdentityPolicy = serde_json::from_value(
        json!({"apiVersion": "holdfast.dev/v1alpha1", "kind": "SigningIdentityPolicy", "metadata": {"name": name}, "spec": whole}),
    )
    .unwrap();
    compile(&declared, &|_| secret.map(|key| key.pem().into_bytes()).ok_or_else(|| "none".to_owned())).unwrap()
}

fn image(number: usize) -> String {
    format!("registry.corp.internal/app-{number}@{}", Digest::of(format!("{number}").as_bytes()))
}

struct World {
    sigstore: Sigstore,
    roots: Roots,
}

impl World {
    fn new() -> Self {
        let sigstore = Sigstore::new();
        let root = TrustRoot::from_json("corp", sigstore.trusted_root().to_string().as_bytes()).unwrap();
        let roots = BTreeMap::from([("corp".to_owned(), Arc::new(PreparedRoot::new(root).unwrap()))]);
        Self { sigstore, roots }
    }

    fn signed(&self, number: usize) -> Found {
        let content = format!("{number}");
        let bundle = self.sigstore.bundle(content.as_bytes(), &Recipe::image(SUBJECT, ISSUER)).to_string();
        let artifact = Artifact::of_digest(Digest::of(content.as_bytes()));
        Found::Image { artifact, evidence: vec![Evidence::bundle("b", bundle.into_bytes())], incomplete: None }
    }

    /// An image signed by the managed key; `bend` changes the bundle.
    fn keyed(&self, number: usize, bend: impl FnOnce(&mut Value)) -> Found {
        let content = format!("{number}");
        let mut bundle = self.sigstore.bundle(content.as_bytes(), &Recipe::key());
        bend(&mut bundle);
        let artifact = Artifact::of_digest(Digest::of(content.as_bytes()));
        let evidence = vec![Evidence::bundle("b", bundle.to_string().into_bytes())];
        Found::Image { artifact, evidence, incomplete: None }
    }

    fn assess(&self, inventory: &Inventory, policies: &[CompiledPolicy], found: &BTreeMap<String, Found>) -> Coverage {
        assess(inventory, policies, found, &self.roots, &mut Memo::default(), at("2026-07-01T00:00:00Z"))
    }
}

fn unsigned(number: usize) -> Found {
    let artifact = Artifact::of_digest(Digest::of(format!("{number}").as_bytes()));
    Found::Image { artifact, evidence: Vec::new(), incomplete: None }
}

fn workload(namespace: &str, name: &str) -> Workload {
    Workload { namespace: namespace.to_owned(), kind: "Deployment".to_owned(), name: name.to_owned() }
}

#[test]
fn totals_reasons_and_namespaces_add_up_and_the_worst_comes_first() {
    let world = World::new();
    let mut inventory = Inventory::default();
    for (number, namespaces) in [(0, &["shop"][..]), (1, &["shop", "billing"]), (2, &["billing"])] {
        for namespace in namespaces {
            inventory.add(&workload(namespace, &format!("app-{number}")), "main", &image(number));
        }
    }
    inventory.add(&workload("shop", "other"), "main", "docker.io/library/nginx:1");
    let found = BTreeMap::from([(image(0), world.signed(0)), (image(1), unsigned(1)), (image(2), unsigned(2))]);
    let coverage =
        world.assess(&inventory, &[policy("apps", json!({"images": ["registry.corp.internal/**"]}))], &found);
    let totals = coverage.totals;
    assert_eq!((totals.covered, totals.uncovered, totals.unknown, totals.out_of_scope), (1, 2, 0, 1));
    assert_eq!(coverage.by_reason, [(Reason::MissingBundle, 2), (Reason::Verified, 1)]);
    assert_eq!(coverage.by_namespace[0].namespace, "billing");
    assert_eq!(coverage.images[0].image, image(1), "it concerns two workloads");
    assert_eq!(coverage.images[0].workloads.len(), 2);
    assert_eq!(coverage.denied_as_other, ["docker.io/library/nginx:1"]);
    let verified: Vec<Digest> = Verified::of_coverage(&coverage).of("apps").collect();
    assert_eq!(verified, [Digest::of(b"0")], "what engines are told is what is covered");
}

#[test]
fn every_policy_that_matches_has_to_hold() {
    let world = World::new();
    let mut inventory = Inventory::default();
    inventory.add(&workload("billing", "app"), "main", &image(0));
    let found = BTreeMap::from([(image(0), world.signed(0))]);
    let apps = || policy("apps", json!({"images": ["registry.corp.internal/**"]}));
    let strict = policy(
        "strict",
        json!({"images": ["registry.corp.internal/app-0"], "require": {"attestations": ["https://slsa.dev/provenance/v1"]}}),
    );
    assert_eq!(world.assess(&inventory, &[apps()], &found).totals.covered, 1);
    let coverage = world.assess(&inventory, &[apps(), strict], &found);
    assert_eq!(coverage.images[0].reason, Reason::PredicateMissing);
    assert_eq!(coverage.images[0].policies.len(), 2);
    let elsewhere = policy(
        "elsewhere",
        json!({
            "images": ["registry.corp.internal/**"], "require": {"attestations": ["x"]},
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "shop"}},
        }),
    );
    assert_eq!(world.assess(&inventory, &[apps(), elsewhere], &found).totals.covered, 1);
}

#[test]
fn a_trust_root_that_is_not_at_hand_never_covers() {
    let world = World::new();
    let mut inventory = Inventory::default();
    inventory.add(&workload("shop", "app"), "main", &image(0));
    let found = BTreeMap::from([(image(0), world.signed(0))]);
    let policies = [policy("apps", json!({"images": ["registry.corp.internal/**"], "trustRoots": ["absent"]}))];
    let coverage = world.assess(&inventory, &policies, &found);
    assert_eq!((coverage.totals.covered, coverage.images[0].outcome), (0, Outcome::Unknown));
}

/// What passes by a key alone could have been refused by the root that is absent: its log entry is not checked without one.
#[test]
fn a_trust_root_that_is_not_at_hand_never_covers_a_keys_signature() {
    let mut world = World::new();
    let mut inventory = Inventory::default();
    inventory.add(&workload("shop", "app"), "main", &image(0));
    let spec = json!({
        "images": ["registry.corp.internal/**"], "require": {"transparencyLog": false, "sct": false},
        "identities": [{"name": "release", "key": {"pem": world.sigstore.managed_key.pem()}}],
    });
    let policies = [policy("apps", spec)];
    let forged =
        world.keyed(0, |bundle| bundle["verificationMaterial"]["tlogEntries"][0]["integratedTime"] = json!("1"));
    let forged = BTreeMap::from([(image(0), forged)]);
    let genuine = BTreeMap::from([(image(0), world.keyed(0, |_| {}))]);
    assert_eq!(world.assess(&inventory, &policies, &forged).images[0].outcome, Outcome::Uncovered);
    assert_eq!(world.assess(&inventory, &policies, &genuine).totals.covered, 1);
    world.roots.clear();
    for found in [forged, genuine] {
        assert_eq!(world.assess(&inventory, &policies, &found).images[0].reason, Reason::StaleTrustRoot);
    }
}

#[test]
fn a_verdict_is_not_remembered_past_the_key_it_was_reached_with() {
    let world = World::new();
    let mut inventory = Inventory::default();
    inventory.add(&workload("shop", "app"), "main", &image(0));
    let found = BTreeMap::from([(image(0), world.keyed(0, |_| {}))]);
    let spec = json!({
        "images": ["registry.corp.internal/**"], "require": {"transparencyLog": true, "sct": false},
        "identities": [{"name": "release", "key": {"secretRef": {"name": "release"}}}],
    });
    let mut memo = Memo::default();
    let mut covered = |key: &Key| {
        let policies = [policy_with("apps", spec.clone(), Some(key))];
        assess(&inventory, &policies, &found, &world.roots, &mut memo, at("2026-07-01T00:00:00Z")).totals.covered
    };
    assert_eq!(covered(&world.sigstore.managed_key), 1);
    assert_eq!(covered(&Key::p256()), 0, "signed with the key that was replaced");
    assert_eq!(covered(&world.sigstore.managed_key), 1);
}

/// A policy that selects by label may mean a namespace of which only the name is known: neither answer is taken for granted.
#[test]
fn a_namespace_whose_labels_are_not_known_is_neither_in_scope_nor_out_of_it() {
    let world = World::new();
    let found = BTreeMap::from([(image(0), world.signed(0)), (image(1), unsigned(1))]);
    let by_label = json!({"matchLabels": {"tier": "apps"}});
    let by_name = |name: &str| json!({"matchLabels": {"kubernetes.io/metadata.name": name}});
    let either = json!({"matchLabels": {"tier": "apps", "kubernetes.io/metadata.name": "billing"}});
    let absent = json!({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["system"]}]});
    let apps = |selector: &Value| {
        policy(
            "apps",
            json!({"images": ["registry.corp.internal/**"], "namespaceSelector": selector, "otherImages": "Allow"}),
        )
    };
    let assessed = |policies: &[CompiledPolicy], images: &[&str], labels: Option<&str>| {
        let mut inventory = Inventory::default();
        for image in images {
            inventory.add(&workload("shop", "app"), "main", image);
        }
        if let Some(tier) = labels {
            inventory.add_namespace("shop", BTreeMap::from([("tier".to_owned(), tier.to_owned())]));
        }
        world.assess(&inventory, policies, &found)
    };
    let (good, bad) = (image(0), image(1));
    for (selector, expected) in [
        (&json!({}), Some(Reason::MissingBundle)),
        (&by_name("shop"), Some(Reason::MissingBundle)),
        (&by_name("billing"), None),
        (&by_label, Some(Reason::ListingTruncated)),
        (&absent, Some(Reason::ListingTruncated)),
        (&either, None),
    ] {
        let coverage = assessed(&[apps(selector)], &[&bad], None);
        assert_eq!(coverage.images.first().map(|image| image.reason), expected, "{selector}");
        assert_eq!(coverage.totals.out_of_scope, usize::from(expected.is_none()), "{selector}");
    }
    assert_eq!(assessed(&[apps(&by_label)], &[&good], None).totals.covered, 1, "it passes either way");
    assert_eq!(assessed(&[apps(&by_label)], &[&bad], Some("apps")).images[0].reason, Reason::MissingBundle);
    assert_eq!(assessed(&[apps(&by_label)], &[&bad], Some("system")).totals.out_of_scope, 1);
    // The same holds of what no policy is about.
    let denying = |selector: &Value| {
        policy("others", json!({"images": ["docker.io/library/none"], "namespaceSelector": selector}))
    };
    let both = |coverage: &Coverage| (coverage.denied_as_other.len(), coverage.perhaps_denied_as_other.len());
    assert_eq!(both(&assessed(&[denying(&json!({}))], &[&bad], None)), (1, 0));
    assert_eq!(both(&assessed(&[denying(&by_label)], &[&bad], None)), (0, 1));
    assert_eq!(
        both(&assessed(&[denying(&json!({})), apps(&by_label)], &[&good], None)),
        (0, 1),
        "if the other is not about it"
    );
    assert_eq!(both(&assessed(&[denying(&by_label), apps(&json!({}))], &[&good], None)), (0, 0));
    assert_eq!(both(&assessed(&[denying(&by_label)], &[&bad], Some("system"))), (0, 0));
}

#[test]
fn an_exempt_image_is_exempt_by_its_very_digest() {
    let world = World::new();
    let mut inventory = Inventory::default();
    inventory.add(&workload("shop", "a"), "main", &image(0));
    inventory.add(&workload("shop", "b"), "main", &image(1));
    let exempt = json!([{"image": image(0), "reason": "node image"}]);
    let policies = [policy("apps", json!({"images": ["registry.corp.internal/**"], "exemptImages": exempt}))];
    let coverage = world.assess(&inventory, &policies, &BTreeMap::from([(image(1), unsigned(1))]));
    assert_eq!((coverage.totals.out_of_scope, coverage.totals.uncovered), (1, 1));
    assert!(coverage.denied_as_other.is_empty());
}

/// Identities that overlap were all seen, and only by what is covered.
#[test]
fn every_signer_that_evidence_satisfies_is_named() {
    let world = World::new();
    let mut inventory = Inventory::default();
    inventory.add(&workload("shop", "a"), "main", &image(0));
    inventory.add(&workload("shop", "b"), "main", &image(1));
    let identities = json!([
        {"name": "any", "issuer": ISSUER, "subjectRegExp": "https://ci\\.example/.*"},
        {"name": "release", "issuer": ISSUER, "subject": SUBJECT},
        {"name": "other", "issuer": ISSUER, "subject": "https://ci.example/other"},
    ]);
    let policies = [policy("apps", json!({"images": ["registry.corp.internal/**"], "identities": identities.clone()}))];
    let found = BTreeMap::from([(image(0), world.signed(0)), (image(1), unsigned(1))]);
    let coverage = world.assess(&inventory, &policies, &found);
    let signers =
        |image: String| coverage.images.iter().find(|i| i.image == image).unwrap().policies[0].signers.clone();
    assert_eq!(signers(image(0)), ["any", "release"]);
    assert_eq!(signers(image(1)), [""; 0]);
    // To the gate, an identity was seen where an image is covered by it.
    let spec: SigningIdentityPolicySpec =
        serde_json::from_value(json!({"images": ["registry.corp.internal/**"], "identities": identities})).unwrap();
    let (keys, now) = (BTreeMap::new(), at("2026-07-01T00:00:00Z"));
    let form = PolicyForm { name: "apps", spec: &spec, keys: &keys };
    let time = ScanTime { started: now, finished: now, interval: SignedDuration::from_hours(1) };
    let scan = scan_of(form, &policies[0], &coverage, &inventory, &[], time, None);
    assert_eq!(scan.identities_seen.into_iter().collect::<Vec<_>>(), ["any", "release"]);
}

/// What may become of one image.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Signed,
    Unsigned,
    Faulty(usize),
    NotLookedFor,
    Incomplete,
    SignedAndIncomplete,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        Just(Fate::Signed),
        Just(Fate::Unsigned),
        (0..Reason::ALL.len()).prop_map(Fate::Faulty),
        Just(Fate::NotLookedFor),
        Just(Fate::Incomplete),
        Just(Fate::SignedAndIncomplete),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// *Unknown is never covered*: whatever goes wrong with whatever images, exactly those are covered whose signature was verified.
    #[test]
    fn only_what_was_verified_is_covered(fates in prop::collection::vec(fate(), 1..8)) {
        let world = World::new();
        let mut inventory = Inventory::default();
        let mut found = BTreeMap::new();
        let mut signed = 0;
        for (number, fate) in fates.iter().enumerate() {
            inventory.add(&workload("shop", &format!("app-{number}")), "main", &image(number));
            let lost = Some((Reason::ReferrersLost, "lost".to_owned()));
            let of_image = match (*fate, world.signed(number), unsigned(number)) {
                (Fate::Signed, image, _) => { signed += 1; image }
                (Fate::SignedAndIncomplete, Found::Image { artifact, evidence, .. }, _) => { signed += 1; Found::Image { artifact, evidence, incomplete: lost } }
                (Fate::Unsigned, _, image) => image,
                (Fate::Incomplete, _, Found::Image { artifact, evidence, .. }) => Found::Image { artifact, evidence, incomplete: lost },
                (Fate::Faulty(at), ..) => Found::Not { reason: Reason::ALL[at], message: "a fault".to_owned() },
                _ => continue,
            };
            found.insert(image(number), of_image);
        }
        let coverage = world.assess(&inventory, &[policy("apps", json!({"images": ["registry.corp.internal/**"]}))], &found);
        prop_assert_eq!(coverage.totals.covered, signed);
        prop_assert_eq!(coverage.totals.in_scope(), fates.len());
        prop_assert_eq!(coverage.by_reason.iter().map(|(_, count)| count).sum::<usize>(), fates.len());
    }
}
