//! Admission policies and their bindings, with every field the API server would fill in, so that what is read back is what was written.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::canary;
use super::cost::Costs;
use super::expressions::{Target, Variable};
use super::length::{EXPRESSION_LENGTH, POLICY_LENGTH};
use super::scope::Tier;
use crate::api::{GROUP, VERSION};
use crate::engines::names::{MAX_NAME, name};
use crate::engines::object::{For, Type, fields};
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
    pub(super) excepted: Vec<String>,
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

    /// Whether the API server takes so much text.
    pub(super) fn fits(&self) -> bool {
        let variables = self.variables.iter().map(|variable| &variable.expression);
        let validations = self.validations.iter();
        let validations = validations.flat_map(|of| std::iter::once(&of.expression).chain(&of.message_expression));
        let mut all = self.excepted.iter().chain(variables).chain(validations);
        let length = all.try_fold(0, |length, expression| {
            (expression.chars().count() < EXPRESSION_LENGTH).then_some(length + expression.len())
        });
        length.is_some_and(|length| length <= POLICY_LENGTH)
    }

    pub(super) fn into_policy(self) -> Object {
        let (name, why, target) = (self.name(), self.why, self.tier.target());
        let named =
            |name: String, expression: String| fields([("name", name.into()), ("expression", expression.into())]);
        let canary = (self.tier == Tier::Enforce).then(|| canary::condition(&name));
        let canary = canary.map(|(name, expression)| (name.to_owned(), expression));
        let conditions =
            conditions(target, self.excepted).chain(canary).map(|(name, expression)| named(name, expression));
        let variables = self.variables.into_iter().map(|variable| named(variable.name, variable.expression));
        let mut spec = vec![
            ("failurePolicy", self.tier.failure_policy().into()),
            (
                "matchConstraints",
                json!({
                    "matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {},
                    "resourceRules": resource_rules(target),
                }),
            ),
            ("matchConditions", conditions.collect()),
            ("variables", variables.collect()),
            ("validations", validations(self.validations)),
        ];
        if self.sharded {
            spec.push(("paramKind", json!({"apiVersion": format!("{GROUP}/{VERSION}"), "kind": SHARD_KIND})));
        }
        object(POLICY_KIND, &name, why, fields(spec))
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
}

/// When a rule over a target is judged, but for what is excepted.
fn conditions(target: Target, excepted: Vec<String>) -> impl Iterator<Item = (String, String)> {
    // The annotation alone can be forged; only a node may create the mirror of a static pod, and it runs already.
    let no_mirror_pod = (target == Target::Pods).then(|| (NO_MIRROR_POD.0, NO_MIRROR_POD.1.to_owned()));
    let stays = "!(request.operation == 'UPDATE' && has(oldObject.metadata.deletionTimestamp))".to_owned();
    let always = no_mirror_pod.into_iter().chain([("not-on-its-way-out", stays)]);
    let excepted = excepted.into_iter().enumerate().map(|(at, excepted)| match at {
        0 => ("no-break-glass".to_owned(), excepted),
        _ => (format!("no-break-glass-{at}"), excepted),
    });
    always.map(|(name, expression)| (name.to_owned(), expression)).chain(excepted)
}

pub(super) fn validations(validations: Vec<Validation>) -> Value {
    let validation = |validation: Validation| {
        let always = [
            ("expression", validation.expression.into()),
            ("message", validation.message.into()),
            ("reason", "Forbidden".into()),
        ];
        fields(always.into_iter().chain(validation.message_expression.map(|said| ("messageExpression", said.into()))))
    };
    validations.into_iter().map(validation).collect()
}

pub(super) fn object(kind: &str, name: &str, why: For<'_>, spec: Value) -> Object {
    Object::new(EngineKind::Native, Type { api_version: ADMISSION, kind }, None, name, why, fields([("spec", spec)]))
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
