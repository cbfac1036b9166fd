use serde_json::{Value, json};

use super::webhooks::{Configuration, Request};
use super::*;
use crate::engines::kyverno::ServedVersion;

/// A schema with these fields, each by a pointer into `spec`.
fn schema(pointers: &[&str]) -> Value {
    let mut top = json!({"type": "object", "description": "a long text"});
    for pointer in pointers {
        let mut at = &mut top;
        for part in pointer.trim_start_matches('/').split('/') {
            at = &mut at[part];
            if at.is_null() && part == "properties" {
                *at = json!({});
            } else if at.is_null() {
                *at = json!({"description": "another", "x-kubernetes-validations": [{"rule": "true"}]});
            }
        }
    }
    top
}

fn definition(name: &str, group: &str, kind: &str, version: &str, pointers: &[&str]) -> Definition {
    let mut open_api = json!({"properties": {"spec": {}}});
    open_api["properties"]["spec"] = schema(pointers);
    serde_json::from_value(json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": name, "managedFields": [{"fieldsV1": {"f:spec": {}}}]},
        "spec": {
            "group": group, "scope": "Cluster", "names": {"kind": kind, "plural": "x"},
            "versions": [{"name": version, "served": true, "storage": true, "schema": {"openAPIV3Schema": open_api}}],
        },
        "status": {"conditions": []},
    }))
    .unwrap()
}

fn deployment(place: (&str, &str), container: &str, image: &str, label: &str) -> Controller {
    serde_json::from_value(json!({
        "metadata": {"namespace": place.0, "name": place.1, "labels": {"app.kubernetes.io/version": label}},
        "spec": {"template": {"spec": {"containers": [
            {"name": "sidecar", "image": "registry.corp.internal/proxy:1.2.3"},
            {"name": container, "image": image, "args": ["--v=2", "--disable-tuf"]},
        ]}}},
        "status": {"availableReplicas": 1},
    }))
    .unwrap()
}

fn configuration(name: &str, failure_policy: &str, rules: &Value) -> Configuration {
    serde_json::from_value(json!({"webhooks": [{"name": name, "failurePolicy": failure_policy, "rules": rules}]}))
        .unwrap()
}

const KYVERNO_FIELDS: [&str; 15] = [
    "/properties/validationActions",
    "/properties/failurePolicy",
    "/properties/webhookConfiguration/properties/timeoutSeconds",
    "/properties/evaluation",
    "/properties/autogen",
    "/properties/matchConstraints/properties/namespaceSelector",
    "/properties/matchImageReferences/items/properties/expression",
    "/properties/validationConfigurations/properties/verifyDigest",
    "/properties/attestors/items/properties/cosign/properties/keyless",
    "/properties/attestors/items/properties/cosign/properties/key",
    "/properties/attestors/items/properties/cosign/properties/tuf",
    "/properties/attestors/items/properties/cosign/properties/ctlog",
    "/properties/attestations/items/properties/intoto",
    "/properties/validations/items/properties/expression",
    "/properties/attestors/items/properties/cosign/properties/trustedRoot",
];

fn a_kyverno(image: &str, label: &str) -> kyverno::Seen {
    let of = "policies.kyverno.io";
    kyverno::Seen {
        definitions: vec![definition(
            kyverno::IMAGE_VALIDATING_POLICIES,
            of,
            "ImageValidatingPolicy",
            "v1",
            &KYVERNO_FIELDS,
        )],
        controller: Some(deployment(("kyverno", kyverno::CONTROLLER), "kyverno", image, label)),
        webhooks: Some(Configuration::default()),
    }
}

#[test]
fn kyverno_that_is_not_there_is_no_fault() {
    let (capability, presence) = kyverno::found(&kyverno::Seen::default());
    assert_eq!((capability.installed, presence), (None, Presence::default()));
}

#[test]
fn kyverno_is_known_by_its_image_and_its_schemas() {
    let (capability, presence) =
        kyverno::found(&a_kyverno("registry.corp.internal:5000/kyverno/kyverno:v1.19.1@sha256:00", "3.7.1"));
    let installed = capability.installed.unwrap();
    assert_eq!(presence.faults, Vec::<String>::new());
    assert_eq!((presence.present, presence.version), (true, Some(Version::new(1, 19, 1))));
    assert_eq!((installed.image_validating_policy, installed.inline_root), (Some(ServedVersion::V1), true));
    assert!(!installed.cluster_policy);
}

#[test]
fn what_kyverno_lacks_is_said() {
    let by_digest = "registry.corp.internal/kyverno/kyverno@sha256:00";
    // A chart's version is not Kyverno's.
    let (capability, presence) = kyverno::found(&a_kyverno(by_digest, "3.7.1"));
    assert!(capability.installed.is_none() && !presence.present && presence.version.is_none());
    assert!(presence.faults[0].contains("does not say which Kyverno"), "{:?}", presence.faults);
    let (_, presence) = kyverno::found(&a_kyverno(by_digest, "v1.19.1"));
    assert!(presence.present, "{:?}", presence.faults);

    let (capability, presence) = kyverno::found(&a_kyverno("kyverno:v1.18.2", ""));
    assert!(capability.installed.is_none() && !presence.present);
    assert!(presence.faults[0].contains("Upgrade the controller"), "{:?}", presence.faults);

    let whole = a_kyverno("kyverno:v1.19.1", "");
    for (seen, fault) in [
        (kyverno::Seen { controller: None, ..whole.clone() }, "kyverno-admission-controller` is not there"),
        (kyverno::Seen { webhooks: None, ..whole.clone() }, "asks Kyverno nothing"),
        (kyverno::Seen { definitions: Vec::new(), ..whole.clone() }, "install Kyverno's definitions"),
    ] {
        let (_, presence) = kyverno::found(&seen);
        assert!(!presence.present && presence.faults.len() == 1, "{:?}", presence.faults);
        assert!(presence.faults[0].contains(fault), "{:?}", presence.faults);
    }
    let asleep: Controller = serde_json::from_value(json!({
        "metadata": {"namespace": "kyverno", "name": "k"}, "spec": {"template": {"spec": {"containers": [{"image": "k:1.19.1"}]}}},
    }))
    .unwrap();
    let (_, presence) = kyverno::found(&kyverno::Seen { controller: Some(asleep), ..whole });
    assert!(presence.present, "it may wake up");
    assert_eq!(presence.faults, ["no replica of Deployment `kyverno/k` is available"]);
}

#[test]
fn the_webhook_of_a_policy_is_found_by_its_name() {
    let rules = json!([{"operations": ["CREATE", "UPDATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods", "pods/ephemeralcontainers"]}]);
    let name = "ivpol.validate.kyverno.svc-fail-finegrained-holdfast-apps";
    let webhooks = Webhooks::from(&configuration(name, "Fail", &rules));
    let webhook = kyverno::webhook_of(&webhooks, "holdfast-apps").unwrap();
    assert!(webhook.fails_closed && webhook.asked.len() == Request::ALL.len());
    assert!(kyverno::webhook_of(&webhooks, "apps").is_none());
    assert_eq!(webhooks.iter().count(), 1);
}

#[test]
fn rules_are_matched_as_the_api_server_does() {
    use Request::{Creation, EphemeralContainer, Update};
    let rule = |operations: &[&str], group: &str, resources: &[&str]| json!([{"operations": operations, "apiGroups": [group], "apiVersions": ["*"], "resources": resources}]);
    for (rules, want) in [
        (rule(&["CREATE"], "", &["pods"]), vec![Creation]),
        (rule(&["*"], "*", &["*"]), vec![Creation, Update]),
        (rule(&["*"], "*", &["*/*"]), vec![Creation, Update, EphemeralContainer]),
        (rule(&["UPDATE"], "", &["pods/*"]), vec![Update, EphemeralContainer]),
        (rule(&["UPDATE"], "", &["*/ephemeralcontainers"]), vec![EphemeralContainer]),
        (rule(&["CREATE", "UPDATE"], "apps", &["deployments", "pods"]), vec![]),
        (rule(&["DELETE"], "", &["pods"]), vec![]),
        (
            json!([{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["v1"], "resources": ["*"], "scope": "Cluster"}]),
            vec![],
        ),
        (json!([{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["v2"], "resources": ["*"]}]), vec![]),
        (Value::Null, vec![]),
    ] {
        let webhooks = Webhooks::from(&configuration("w", "Ignore", &rules));
        let webhook = webhooks.get("w").unwrap();
        let asked: Vec<Request> = webhook.asked.iter().copied().collect();
        assert_eq!((asked, webhook.fails_closed), (want, false), "{rules}");
    }
}

fn a_policy_controller(rules: &Value) -> policy_controller::Seen {
    let of = policy_controller::GROUP;
    policy_controller::Seen {
        definitions: vec![
            definition(
                policy_controller::DEFINITIONS[0],
                of,
                "ClusterImagePolicy",
                "v1beta1",
                &["/properties/authorities/items/properties/signatureFormat"],
            ),
            definition(
                policy_controller::DEFINITIONS[1],
                of,
                "TrustRoot",
                "v1alpha1",
                &["/properties/repository/properties/trustedRootTarget"],
            ),
        ],
        controller: Some(deployment(
            ("cosign-system", "webhook"),
            "webhook",
            "ghcr.io/sigstore/policy-controller/policy-controller:v0.15.1",
            "",
        )),
        webhooks: Some(configuration(policy_controller::WEBHOOKS, "Fail", rules)),
    }
}

#[test]
fn policy_controller_is_there_once_its_webhook_has_rules() {
    let rules = json!([{"operations": ["CREATE", "UPDATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods/ephemeralcontainers", "pods"]}]);
    let whole = a_policy_controller(&rules);
    let (capability, presence) = policy_controller::found(&whole);
    assert_eq!(presence.faults, Vec::<String>::new());
    assert_eq!((presence.present, presence.version), (true, Some(Version::new(0, 15, 1))));
    assert!(capability.present && capability.signature_format && capability.trusted_root_target);
    assert_eq!(capability.disable_tuf, Some(true));

    let (capability, presence) = policy_controller::found(&a_policy_controller(&json!([])));
    assert!(capability.present && !presence.present);
    assert!(
        presence.faults[0].contains("no rule for the creation of pods and updates of pods"),
        "{:?}",
        presence.faults
    );
    for (seen, fault) in [
        (policy_controller::Seen { webhooks: None, ..whole.clone() }, "`policy.sigstore.dev` is not there"),
        (policy_controller::Seen { webhooks: Some(Configuration::default()), ..whole.clone() }, "has no webhook"),
        (policy_controller::Seen { controller: None, ..whole.clone() }, "neither Deployment"),
        (
            policy_controller::Seen { definitions: Vec::new(), ..whole.clone() },
            "install policy-controller's definitions",
        ),
    ] {
        let (_, presence) = policy_controller::found(&seen);
        assert!(!presence.present && presence.faults.len() == 1, "{:?}", presence.faults);
        assert!(presence.faults[0].contains(fault), "{:?}", presence.faults);
    }
    let open = policy_controller::Seen {
        webhooks: Some(configuration(policy_controller::WEBHOOKS, "Ignore", &rules)),
        ..whole
    };
    let (_, presence) = policy_controller::found(&open);
    assert!(presence.present && presence.faults[0].contains("is admitted"), "{:?}", presence.faults);
    for narrowed in [
        json!({"matchConditions": [{"name": "never", "expression": "false"}]}),
        json!({"objectSelector": {"matchLabels": {"a": "b"}}}),
    ] {
        let mut entry = json!({"name": policy_controller::WEBHOOKS, "failurePolicy": "Fail", "rules": rules.clone()});
        entry.as_object_mut().unwrap().extend(narrowed.as_object().unwrap().clone());
        let webhooks = serde_json::from_value(json!({"webhooks": [entry]})).unwrap();
        let (_, presence) =
            policy_controller::found(&policy_controller::Seen { webhooks, ..a_policy_controller(&rules) });
        assert!(presence.faults.len() == 1 && presence.faults[0].contains("not every pod"), "{:?}", presence.faults);
    }
    assert_eq!(policy_controller::found(&policy_controller::Seen::default()).1, Presence::default());
}

#[test]
fn the_api_server_is_there_by_its_version_and_its_kinds() {
    let whole = native::Seen { version: Some(Version::new(1, 36, 3)), policies: true, parameters: true };
    let (capability, presence) = native::found(whole);
    assert!(presence.present && presence.faults.is_empty() && capability.has_admission_policies());
    for (seen, fault) in [
        (native::Seen { version: None, ..whole }, "does not say which version"),
        (native::Seen { version: Some(Version::new(1, 29, 0)), ..whole }, "came with 1.30"),
        (native::Seen { policies: false, ..whole }, "switched off"),
        (native::Seen { parameters: false, ..whole }, "VerifiedImages is not there"),
    ] {
        let (capability, presence) = native::found(seen);
        assert!(!presence.present && presence.faults.len() == 1, "{:?}", presence.faults);
        assert!(presence.faults[0].contains(fault), "{:?}", presence.faults);
        assert!(!capability.has_admission_policies() || !seen.parameters);
    }
}
