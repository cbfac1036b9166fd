//! What an object that is there denies, and whether it is ours: what was rendered, and what somebody else may have written.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::needless_pass_by_value)] // a test that cannot go on fails

#[path = "support/estate.rs"]
mod estate;

use std::collections::BTreeSet;

use estate::Owned;
use holdfast_core::engines::denial::{EVERYWHERE, denial};
use holdfast_core::engines::object::{INTENT, MANAGED_BY, PART, is_rendered};
use holdfast_core::engines::policy_controller::{PolicyController, PolicyControllerCapability};
use holdfast_core::engines::{Engine, EngineKind, Version};
use serde_json::{Value, json};

/// An object of ours for a policy.
fn ours(engine: EngineKind, kind: &str, spec: Value) -> Value {
    json!({
        "kind": kind,
        "metadata": {
            "labels": { MANAGED_BY: "holdfast", "holdfast.dev/policy": "apps" },
            "annotations": { INTENT: "sha256:00", "holdfast.dev/engine": engine.as_str() },
        },
        "spec": spec,
    })
}

fn namespaces(object: &Value) -> Option<BTreeSet<String>> {
    denial(object).map(|denial| denial.namespaces)
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn what_policy_controller_is_told_to_enforce_denies_wherever_it_judges() {
    let mut capability = PolicyControllerCapability::assumed(Version::new(0, 15, 1)).with_settings(&[].into());
    capability.disable_tuf = Some(true);
    for enforced in [&["shop"][..], &[]] {
        let owned = Owned::new().policy("apps", enforced, &json!({ "trustRoots": ["public"] }));
        let rendering = PolicyController::render(&owned.estate(), &capability);
        let said: Vec<_> = rendering.objects.iter().filter_map(|object| denial(object.body())).collect();
        assert_eq!(said.len(), usize::from(!enforced.is_empty()), "{enforced:?}");
        for denial in said {
            assert_eq!((denial.policy.as_str(), denial.engine), ("apps", EngineKind::PolicyController));
            assert_eq!(denial.namespaces, set(&[EVERYWHERE]));
        }
    }
    // Its default is to enforce.
    let of = |spec: Value| namespaces(&ours(EngineKind::PolicyController, "ClusterImagePolicy", spec));
    assert_eq!(of(json!({})), Some(set(&[EVERYWHERE])));
    assert_eq!(of(json!({ "mode": "warn" })), None);
}

#[test]
fn a_denial_is_in_the_namespaces_that_are_chosen_by_name() {
    let of = |requirements: Value| {
        let selector = json!({ "namespaceSelector": { "matchExpressions": requirements } });
        let spec = json!({ "validationActions": ["Deny"], "matchConstraints": selector });
        namespaces(&ours(EngineKind::Kyverno, "ImageValidatingPolicy", spec))
    };
    let requirement =
        |key: &str, operator: &str, values: &[&str]| json!({ "key": key, "operator": operator, "values": values });
    let name = "kubernetes.io/metadata.name";
    assert_eq!(of(json!([requirement(name, "In", &["shop", "billing"])])), Some(set(&["billing", "shop"])));
    // Names that are left out, and values of another label, are not where it denies.
    for other in [requirement(name, "NotIn", &["shop"]), requirement("tier", "In", &["apps"])] {
        assert_eq!(of(json!([other])), Some(set(&[EVERYWHERE])), "{other}");
        assert_eq!(of(json!([other, requirement(name, "In", &["lab"])])), Some(set(&["lab"])), "{other}");
    }
    let reports = json!({ "validationActions": ["Audit"] });
    assert_eq!(namespaces(&ours(EngineKind::Kyverno, "ImageValidatingPolicy", reports)), None);
}

/// What is taken for ours may be deleted.
#[test]
fn an_object_is_ours_where_it_says_so_and_holds_an_intent() {
    let with = |labels: Value, annotations: Value| {
        is_rendered(&json!({ "metadata": { "labels": labels, "annotations": annotations } }))
    };
    let (managed, part) = (json!({ MANAGED_BY: "holdfast" }), |intent: &str| json!({ PART: "true", INTENT: intent }));
    assert!(with(managed.clone(), json!({ INTENT: "sha256:00" })));
    assert!(with(json!({}), part("sha256:00")));
    assert!(!with(managed.clone(), json!({})), "somebody else's may have the label, too");
    assert!(!with(managed, json!({ INTENT: "" })));
    assert!(!with(json!({}), part("")));
    assert!(!with(json!({ MANAGED_BY: "helm" }), json!({ INTENT: "sha256:00" })));
    assert!(!with(json!({}), json!({ INTENT: "sha256:00" })));
}
