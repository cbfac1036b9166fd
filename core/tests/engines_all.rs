//! All engines together: each that is asked for, in the version it was run on, and left alone where it refuses what it denies.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test that cannot go on fails

#[path = "support/estate.rs"]
mod estate;

use std::collections::{BTreeMap, BTreeSet};

use estate::Owned;
use holdfast_core::engines::all::Capabilities;
use holdfast_core::engines::openshift::OpenShiftCapability;
use holdfast_core::engines::policy_controller::PolicyControllerCapability;
use holdfast_core::engines::{EngineKind, Rendering, Version};
use serde_json::{Value, json};

fn capabilities() -> Capabilities {
    let mut capabilities = Capabilities::assumed(&BTreeMap::new());
    capabilities.policy_controller =
        PolicyControllerCapability::assumed(Version::new(0, 15, 1)).with_settings(&BTreeMap::new());
    capabilities.policy_controller.disable_tuf = Some(true);
    let registries = BTreeSet::from(["registry.corp.internal".to_owned()]);
    capabilities.open_shift = OpenShiftCapability { present: true, allowed_registries: Some(registries) };
    capabilities
}

fn rendered(policies: &[(&str, &[&str], Value)]) -> BTreeMap<EngineKind, Rendering> {
    let owned = policies.iter().fold(Owned::new(), |owned, (name, enforced, spec)| owned.policy(name, enforced, spec));
    capabilities().render(&owned.estate())
}

#[test]
fn the_versions_that_were_run_are_assumed() {
    let assumed = Capabilities::assumed(&BTreeMap::new());
    assert_eq!(assumed.native.version, Some(Version::new(1, 36, 3)));
    assert_eq!(assumed.policy_controller.version, Some(Version::new(0, 15, 1)));
    assert!(assumed.kyverno.installed.is_some());
}

#[test]
fn an_engine_is_asked_for_by_name() {
    let asked = rendered(&[("apps", &["shop"], json!({ "engines": { "native": {} } }))]);
    assert_eq!(asked.into_keys().collect::<Vec<_>>(), [EngineKind::Native]);
}

/// policy-controller judges every labelled namespace by every policy: one that is enforced in more namespaces than another is refused.
#[test]
fn an_engine_that_denies_is_left_alone_where_it_refuses_a_policy() {
    let spec = |images: &str| {
        json!({
            "images": [images], "engines": { "policyController": {} },
            "require": { "transparencyLog": false, "signedTimestamp": true, "sct": false },
        })
    };
    let apps = || ("apps", &["shop", "billing"][..], spec("registry.corp.internal/apps/**"));
    let alone = rendered(&[apps()]).remove(&EngineKind::PolicyController).unwrap();
    assert!(!alone.objects.is_empty() && !alone.left_alone, "{alone:#?}");
    let tools = ("tools", &["shop"][..], spec("registry.corp.internal/tools/**"));
    let both = rendered(&[apps(), tools]).remove(&EngineKind::PolicyController).unwrap();
    assert!(both.objects.is_empty() && both.left_alone && both.refused.len() == 1, "{both:#?}");
}

/// What was never given to an engine to deny is not taken from it either.
#[test]
fn an_engine_that_holdfast_does_not_have_deny_gets_what_can_be_rendered() {
    let spec = |images: &str, other_images: &str| {
        json!({
            "images": [images], "trustRoots": ["rekor1"], "otherImages": other_images, "engines": { "openShift": {} },
            "identities": [{ "name": "ci", "issuer": "https://idp.corp.internal", "subject": "ci@example.com" }],
            "require": { "transparencyLog": true, "signedTimestamp": false, "sct": false },
        })
    };
    let good = ("good", &["shop", "billing"][..], spec("registry.corp.internal/apps/**", "Allow"));
    let refused = ("refused", &["shop", "billing"][..], spec("registry.corp.internal/*/web", "Allow"));
    let rendering = rendered(&[good, refused]).remove(&EngineKind::OpenShift).unwrap();
    assert_eq!(
        (rendering.objects.len(), rendering.refused.len(), rendering.left_alone),
        (1, 1, false),
        "{rendering:#?}"
    );
}
