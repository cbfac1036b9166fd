//! Coverage adds up, names the worst first, and never calls covered what was not proven.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::needless_pass_by_value)] // a test that cannot go on fails

mod support;

use std::collections::BTreeMap;

use holdfast_core::Digest;
use holdfast_core::api::SigningIdentityPolicy;
use holdfast_core::coverage::{CompiledPolicy, Coverage, Found, Inventory, Memo, Workload, assess, compile};
use holdfast_core::trust::root::TrustRoot;
use holdfast_core::verify::{Artifact, Evidence, Outcome, PreparedRoot, Reason};
use holdfast_testpki::{Recipe, Sigstore};
use proptest::prelude::*;
use serde_json::{Value, json};
use support::at;

const SUBJECT: &str = "https://ci.example/release";
const ISSUER: &str = "https://issuer.example";

fn policy(name: &str, spec: Value) -> CompiledPolicy {
    let mut whole =
        json!({"trustRoots": ["corp"], "identities": [{"name": "ci", "issuer": ISSUER, "subject": SUBJECT}]});
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let declared: SigningIdentityPolicy = serde_json::from_value(
        json!({"apiVersion": "holdfast.dev/v1alpha1", "kind": "SigningIdentityPolicy", "metadata": {"name": name}, "spec": whole}),
    )
    .unwrap();
    compile(&declared, &|_| Err("none".to_owned())).unwrap()
}

fn image(number: usize) -> String {
    format!("registry.corp.internal/app-{number}@{}", Digest::of(format!("{number}").as_bytes()))
}

struct World {
    sigstore: Sigstore,
    roots: BTreeMap<String, PreparedRoot>,
}

impl World {
    fn new() -> Self {
        let sigstore = Sigstore::new();
        let root = TrustRoot::from_json("corp", sigstore.trusted_root().to_string().as_bytes()).unwrap();
        let roots = BTreeMap::from([("corp".to_owned(), PreparedRoot::new(root).unwrap())]);
        Self { sigstore, roots }
    }

    fn signed(&self, number: usize) -> Found {
        let content = format!("{number}");
        let bundle = self.sigstore.bundle(content.as_bytes(), &Recipe::image(SUBJECT, ISSUER)).to_string();
        let artifact = Artifact::of_digest(Digest::of(content.as_bytes()));
        Found::Image { artifact, evidence: vec![Evidence::bundle("b", bundle.into_bytes())], incomplete: None }
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
