//! Canaries: what they try is denied while the rule is in force, whatever anybody declares.

use std::collections::BTreeMap;

use holdfast_core::api::SigningIdentityPolicy;
use holdfast_core::coverage::compile;
use holdfast_core::engines::native::canary::{Canary, canary, pod};
use serde_json::{Value, json};

use crate::vap::ApiServer;
use crate::world::{Case, World, case_in, digest, world};

fn canaries(world: &World) -> Vec<Canary> {
    let patterns = |policy: &str| {
        let of = world.policies.iter().find(|(declared, ..)| declared.metadata.name.as_deref() == Some(policy));
        of.map(|(declared, ..)| declared.spec.images.as_slice())
    };
    world
        .render()
        .objects
        .iter()
        .filter_map(|object| canary(object, patterns, &BTreeMap::new(), std::iter::empty()))
        .collect()
}

/// Whether the binding that a canary is for denies its image, or reports it.
fn is_seen(server: &ApiServer, canary: &Canary) -> bool {
    let mut request = case_in(&canary.namespaces[0]).request();
    request.object = pod(&canary.namespaces[0], &canary.rule, &canary.bad);
    request.object["metadata"]["creationTimestamp"] = json!("2026-11-25T12:00:00Z");
    let answer = server.review(&request);
    let said = if canary.denies { answer.denied } else { answer.audited };
    said.iter().any(|(binding, _)| *binding == canary.binding)
}

fn problems(spec: &Value) -> Vec<String> {
    let mut whole = json!({
        "images": ["registry.corp.internal/**"], "trustRoots": ["corp"],
        "identities": [{"name": "ci", "issuer": "https://issuer.example", "subject": "https://ci.example/release"}],
    });
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let declared: SigningIdentityPolicy = serde_json::from_value(
        json!({"apiVersion": "holdfast.dev/v1alpha1", "kind": "SigningIdentityPolicy", "metadata": {"name": "zz"}, "spec": whole}),
    )
    .unwrap();
    let refused = compile(&declared, &|_| Err(String::new())).err().unwrap_or_default();
    refused.into_iter().map(|problem| problem.to_string()).collect()
}

#[test]
fn every_canary_of_a_rule_in_force_is_denied_or_reported() {
    let world = world();
    let (server, canaries) = (world.server(), canaries(&world));
    assert!(canaries.len() > 8);
    for canary in &canaries {
        assert!(is_seen(&server, canary), "{canary:?}");
    }
}

#[test]
fn nobody_claims_or_exempts_what_canaries_try() {
    for pattern in [
        "holdfast-canary.invalid/**",
        "holdfast-canary.invalid/canary",
        "holdfast-canary.invalid/*",
        "HOLDFAST-canary.Invalid.:0443/**/canary",
    ] {
        let said = problems(&json!({"images": ["registry.corp.internal/**", pattern]}));
        assert!(said.len() == 1 && said[0].contains("nobody's"), "{pattern}: {said:?}");
    }
    for canary in
        canaries(&world()).iter().filter(|canary| canary.bad.contains("@sha256:") && !canary.bad.ends_with('@'))
    {
        let said = problems(&json!({"exemptImages": [{"image": canary.bad, "reason": "mine"}]}));
        assert!(said.len() == 1 && said[0].contains("nobody's"), "{canary:?}: {said:?}");
    }
    let pause = format!("registry.corp.internal/base/pause@{}", digest("exempt"));
    assert!(problems(&json!({"exemptImages": [{"image": pause, "reason": "node image"}]})).is_empty());
    let near = ["holdfast-canary.invalid.example/**", "registry.corp.internal/holdfast-canary/**"];
    assert!(problems(&json!({"images": near})).is_empty());
}

/// Patterns have a host, so none is about every image: what is of no host that is declared is always another image.
#[test]
fn policies_about_everything_there_is_claim_no_canary() {
    let mut world = world();
    let hosts = ["registry.corp.internal", "docker.io", "x.invalid", "canary.invalid", "holdfast-canary.invalid:5000"];
    let images = hosts.map(|host| format!("{host}/**"));
    world.policy("everything", &json!({"images": images}), &["billing", "shop", "lab"]);
    let server = world.server();
    for canary in canaries(&world) {
        assert!(is_seen(&server, &canary), "{canary:?}");
    }
    let case = Case { images: vec!["holdfast-canary.invalid:5000/x:1".to_owned()], ..case_in("billing") };
    let denied = server.review(&case.request()).denied;
    assert!(!denied.iter().any(|(binding, _)| binding.starts_with("holdfast-others-")), "{denied:?}");
}
