//! Admission policies and their bindings, with every field the API server would fill in, so that what is read back is what was written.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::cost::Costs;
use super::expressions::{Target, Variable};
use super::scope::Tier;
use crate::api::{GROUP, VERSION};
use crate::engines::names::{MAX_NAME, name};
use crate::engines::object::{For, Type};
use crate::engines::{EngineKind, Object};

pub(super) const ADMISSION: &str = "admissionregistration.k8s.io/v1";
pub(super) const POLICY_KIND: &str = "ValidatingAdmissionPolicy";
pub(super) const BINDING_KIND: &str = "ValidatingAdmissionPolicyBinding";
pub(super) const SHARD_KIND: &str = "VerifiedImages";
/// Set by the API server on every namespace, and not to be changed.
pub(super) const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// That a pod is not what a node shows of a static pod of its own: it runs already, whatever is said of it.
pub(super) const NO_MIRROR_POD: (&str, &str) = (
    "not-the-mirror-pod-of-a-node",
    "!(request.operation == 'CREATE' && has(object.metadata.annotations) && 'kubernetes.io/config.mirror' in object.metadata.annotations \
     && has(request.userInfo.groups) && 'system:nodes' in request.userInfo.groups)",
);

/// One thing that has to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Validation {
    /// What.
    pub(super) expression: String,
    /// What is said where it does not.
    pub(super) message: String,
    /// The same with the image, where that fits.
    pub(super) message_expression: Option<String>,
}

/// An admission policy over pods or templates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule<'a> {
    pub(super) tier: Tier,
    /// What follows `holdfast-`.
    pub(super) part: String,
    pub(super) why: For<'a>,
    pub(super) sharded: bool,
    /// When it is judged at all, besides what holds for every rule.
    pub(super) excepted: Option<String>,
    pub(super) variables: Vec<Variable>,
    pub(super) validations: Vec<Validation>,
}

impl Rule<'_> {
    pub(super) fn name(&self) -> String {
        name(&self.part, MAX_NAME)
    }

    pub(super) fn costs(&self) -> Costs {
        Costs::new(self.variables.iter().map(|variable| variable.cost).collect())
    }

    pub(super) fn policy(&self) -> Object {
        let variables: Vec<Value> =
            self.variables.iter().map(|v| json!({"name": v.name, "expression": v.expression})).collect();
        let mut spec = json!({
            "failurePolicy": self.tier.failure_policy(),
            "matchConstraints": {
                "matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {},
                "resourceRules": resource_rules(self.tier.target()),
            },
        });
        if let Some(spec) = spec.as_object_mut() {
            spec.insert("matchConditions".to_owned(), Value::Array(self.conditions()));
            spec.insert("variables".to_owned(), Value::Array(variables));
            spec.insert("validations".to_owned(), Value::Array(validations(&self.validations)));
            if self.sharded {
                let kind = json!({"apiVersion": format!("{GROUP}/{VERSION}"), "kind": SHARD_KIND});
                spec.insert("paramKind".to_owned(), kind);
            }
        }
        object(POLICY_KIND, &self.name(), self.why, spec)
    }

    /// A binding in namespaces by name, to a shard where the rule looks one up.
    pub(super) fn binding(&self, suffix: &str, namespaces: &BTreeSet<&str>, shard: Option<&str>) -> Object {
        let mut spec = json!({
            "policyName": self.name(),
            "validationActions": self.tier.actions(),
            "matchResources": {
                "matchPolicy": "Equivalent", "objectSelector": {},
                "namespaceSelector": {
                    "matchExpressions": [{"key": NAMESPACE_NAME, "operator": "In", "values": namespaces}],
                },
            },
        });
        if let (Some(shard), Some(spec)) = (shard, spec.as_object_mut()) {
            spec.insert("paramRef".to_owned(), json!({"name": shard, "parameterNotFoundAction": "Deny"}));
        }
        object(BINDING_KIND, &name(&format!("{}{suffix}", self.part), MAX_NAME), self.why, spec)
    }

    fn conditions(&self) -> Vec<Value> {
        let mut conditions = Vec::new();
        let mut condition =
            |name: &str, expression: String| conditions.push(json!({"name": name, "expression": expression}));
        if self.tier.target() == Target::Pods {
            // The annotation alone can be forged; only a node may create the mirror of a static pod, and it runs already.
            condition(NO_MIRROR_POD.0, NO_MIRROR_POD.1.to_owned());
        }
        condition(
            "not-on-its-way-out",
            "!(request.operation == 'UPDATE' && has(oldObject.metadata.deletionTimestamp))".to_owned(),
        );
        if let Some(excepted) = &self.excepted {
            condition("no-break-glass", excepted.clone());
        }
        conditions
    }
}

pub(super) fn validations(validations: &[Validation]) -> Vec<Value> {
    validations
        .iter()
        .map(|validation| {
            let mut value =
                json!({"expression": validation.expression, "message": validation.message, "reason": "Forbidden"});
            if let (Some(expression), Some(value)) = (&validation.message_expression, value.as_object_mut()) {
                value.insert("messageExpression".to_owned(), json!(expression));
            }
            value
        })
        .collect()
}

pub(super) fn object(kind: &str, name: &str, why: For<'_>, spec: Value) -> Object {
    let rest = Value::Object(Map::from_iter([("spec".to_owned(), spec)]));
    Object::new(EngineKind::Native, Type { api_version: ADMISSION, kind }, None, name, why, rest)
}

pub(super) fn rule(groups: &[&str], versions: &[&str], operations: &[&str], resources: &[&str], scope: &str) -> Value {
    json!({"apiGroups": groups, "apiVersions": versions, "operations": operations, "resources": resources, "scope": scope})
}

/// `pods/resize` changes resources alone: the API server takes everything else from the old pod. The other subresources carry no pod, or only its status.
pub(super) fn resource_rules(target: Target) -> Vec<Value> {
    let on = |group: &str, resources: &[&str]| rule(&[group], &["v1"], &["CREATE", "UPDATE"], resources, "Namespaced");
    match target {
        Target::Pods => vec![on("", &["pods", "pods/ephemeralcontainers"])],
        Target::Templates => vec![
            on("", &["podtemplates", "replicationcontrollers"]),
            on("apps", &["daemonsets", "deployments", "replicasets", "statefulsets"]),
            on("batch", &["cronjobs", "jobs"]),
        ],
    }
}
