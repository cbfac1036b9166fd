//! `holdfast plan` on an estate of real size: several roots, policies that overlap, and images in the spellings people use.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test that cannot go on fails

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::{holdfast_in, without_digests};

fn estate() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/estate")
}

const PLAN: [&str; 19] = [
    "plan",
    "clusters/prod",
    "--images",
    "oci:images",
    "--state",
    "state/sigstore-public",
    "--state",
    "state/github",
    "--state",
    "state/corp",
    "--volume",
    "/mirror=mirror",
    "--tuf-root",
    "sigstore-public=local/sigstore-public.root.json",
    "--tuf-root",
    "github=local/github.root.json",
    "--tuf-root",
    "corp=local/corp.root.json",
    "--now=2026-06-15T12:00:00Z",
];

fn planned() -> Value {
    let answer = holdfast_in(&estate(), &[&PLAN[..], &["-o", "json", "--exit-code"]].concat());
    assert_eq!(answer.code, 1, "{answer:?}");
    serde_json::from_str(&answer.out).unwrap()
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).unwrap()
}

#[test]
fn the_estate_reads_as_it_should() {
    let answer = holdfast_in(&estate(), &PLAN);
    assert_eq!(answer.code, 0, "{answer:?}");
    insta::assert_snapshot!(without_digests(&answer.out));
    let again = holdfast_in(&estate(), &PLAN);
    assert_eq!(again.out, answer.out, "a plan is deterministic");
}

#[test]
fn the_estate_has_the_size_it_claims() {
    let plan = planned();
    assert_eq!(list(&plan, "/trust").len(), 3);
    assert_eq!(list(&plan, "/policies").len(), 12);
    assert_eq!(plan["workloads"], 300);
    assert_eq!(list(&plan, "/problems").len(), 0);
    let totals = &plan["coverage"]["totals"];
    let count = |name: &str| totals[name].as_u64().unwrap();
    let in_scope = count("covered") + count("uncovered") + count("unknown");
    assert!((80..90).contains(&(100 * count("covered") / in_scope)), "{totals}");
    let reasons: BTreeSet<&str> =
        list(&plan, "/coverage/byReason").iter().map(|entry| entry[0].as_str().unwrap()).collect();
    assert!(reasons.len() >= 16, "{reasons:?}");
}

/// One root waits with a rotation that helps one image and harms another, one runs out within days, one is fresh.
#[test]
fn every_root_of_the_estate_has_a_story_of_its_own() {
    let plan = planned();
    let root = |name: &str| list(&plan, "/trust").iter().find(|root| root["name"] == name).unwrap();
    let impact = &root("sigstore-public")["candidate"]["impact"];
    let repositories = |pointer: &str| -> Vec<String> {
        let images = list(impact, pointer).iter().map(|image| image.as_str().unwrap());
        images.map(|image| image.split('@').next().unwrap().to_owned()).collect()
    };
    assert_eq!(repositories("/newlyFailing"), ["registry.corp.internal/mirror/policy-tester"]);
    assert_eq!(repositories("/newlyPassing"), ["registry.corp.internal/mirror/loki"]);
    assert_eq!(root("github")["expiryBudget"]["ends"][0]["until"], "2026-06-24T00:00:00Z");
    for root in list(&plan, "/trust") {
        assert!(root["refused"].is_null(), "{root}");
    }
    assert!(root("corp")["candidate"].is_null());
}

/// However an image is spelled, the policy of its repository is asked.
#[test]
fn no_spelling_slips_past_a_policy() {
    let plan = planned();
    let policies_of = |workload: &str| -> Vec<String> {
        let uses = |image: &&Value| list(image, "/workloads").iter().any(|of_image| of_image == workload);
        let image = list(&plan, "/coverage/images").iter().find(uses).unwrap();
        list(image, "/policies").iter().map(|policy| policy["policy"].as_str().unwrap().to_owned()).collect()
    };
    for (workload, policy) in [
        ("web/Deployment/portal-blue", "web"),
        ("web/Deployment/portal-green", "web"),
        ("web/StatefulSet/session-cache", "upstream"),
        ("cards/Deployment/authoriser-old", "retail"),
        ("lending/Job/rates-import", "retail"),
        ("onboarding/Deployment/forms-preview", "retail"),
        ("payments/Deployment/pool", "upstream"),
        ("models/Pod/training", "data"),
        ("security/Job/feeds-once", "scanner"),
    ] {
        assert!(policies_of(workload).iter().any(|name| name == policy), "{workload}: {:?}", policies_of(workload));
    }
    let others = list(&plan, "/coverage/deniedAsOther").iter().map(|image| image.as_str().unwrap());
    assert!(others.into_iter().any(|image| image.starts_with("registry.corp.internal.evil.example/")));
}
