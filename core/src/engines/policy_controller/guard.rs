//! What stands beside the policies and closes what the engine cannot see.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::globs::LOCALHOST;
use super::image_policy::cluster_image_policy;
use crate::engines::object::{For, Type};
use crate::engines::{EngineKind, Object, Stage, names};

const ADMISSION: &str = "admissionregistration.k8s.io/v1";

/// The API server's own admission policy that denies image volumes: up to 0.15.1 the engine looks at containers only.
pub(super) fn no_image_volumes(namespaces: &BTreeSet<&str>) -> [Object; 2] {
    let name = names::of("policy-controller", "image-volumes", names::MAX_NAME);
    let object = |kind: &str, rest: Value| {
        let of = Type { api_version: ADMISSION, kind };
        Object::new(EngineKind::PolicyController, of, None, &name, For::Cluster, rest)
    };
    let policy = json!({ "spec": {
        "failurePolicy": "Fail",
        "matchConstraints": { "resourceRules": [
            { "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"] },
        ]},
        "validations": [{
            "expression": "!has(object.spec.volumes) || object.spec.volumes.all(volume, !has(volume.image))",
            "message": "an image volume is not verified by policy-controller, so it is denied in this namespace",
        }],
    }});
    let binding = json!({ "spec": {
        "policyName": name,
        "validationActions": ["Deny", "Audit"],
        "matchResources": { "namespaceSelector": { "matchExpressions": [
            { "key": "kubernetes.io/metadata.name", "operator": "In", "values": namespaces },
        ]}},
    }});
    [object("ValidatingAdmissionPolicy", policy), object("ValidatingAdmissionPolicyBinding", binding)]
}

/// Denies what texts beginning with `localhost/` are taken for, where a policy's globs would match it: the kubelet reads a registry there, the engine a
/// repository of Docker Hub.
pub(super) fn no_localhost() -> Object {
    let name = names::of("policy-controller", "localhost", names::MAX_NAME);
    let fail = json!({
        "name": "no-port",
        "static": { "action": "fail", "message": "`localhost/` is read as Docker Hub's here; give the registry's port" },
    });
    cluster_image_policy(&name, For::Cluster, Stage::Enforce, &[LOCALHOST.to_owned()], vec![fail])
}
