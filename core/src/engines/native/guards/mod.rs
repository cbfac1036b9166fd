//! Admission policies that guard what holdfast relies on: who may write what, and who may approve.
//!
//! An admission policy cannot match admission policies and their bindings: those are guarded by RBAC, and put back when they are changed. Whoever may
//! impersonate a person may approve as that person; that too is for RBAC, as is who holds `*` as a verb, since that is the verb `approve`, too.
//!
//! What fails closed must not be able to stop a cluster: a guard is about holdfast's own kinds, or bound to holdfast's own namespace, or about labels of
//! namespaces alone; what nodes and Kubernetes' own controllers do there is named and let through.

mod approvals;
mod identity;
mod scope;
mod state;
mod trust;

use std::collections::BTreeSet;

use serde_json::{Value, json};

pub use self::state::REMEMBERED;
use super::expressions::text;
use super::objects::{BINDING_KIND, NAMESPACE_NAME, POLICY_KIND, Validation, object, rule, validations};
use crate::Digest;
use crate::api::{GROUP, VERSION};
use crate::engines::Object;
use crate::engines::names::{MAX_NAME, name};
use crate::engines::object::For;

/// The label of ConfigMaps and Secrets that hold what holdfast remembers.
pub const MEMORY: &str = "holdfast.dev/memory";

/// What the guards depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardSettings {
    /// Where holdfast runs.
    pub namespace: String,
    /// Its service account there.
    pub service_account: String,
    /// Service accounts that may approve all the same, as `system:serviceaccount:<namespace>:<name>`.
    pub approving_service_accounts: BTreeSet<String>,
    /// Namespaces in which something is enforced.
    pub enforced: BTreeSet<String>,
    /// Labels of namespaces by which policies and engines choose them.
    pub scope_labels: BTreeSet<String>,
    /// The images of holdfast's release, and of the one before or after it while that is changed; nothing is said of its images where there are none.
    pub release: BTreeSet<Digest>,
}

/// Renders the guards, each a policy with its binding, sorted.
pub fn guards(settings: &GuardSettings) -> Vec<Object> {
    let mut guards = vec![
        state::parameters(),
        state::memory(settings),
        approvals::break_glass(),
        approvals::approval(settings),
        trust::rotation(),
        identity::tokens(settings),
        identity::token_secrets(settings),
        identity::pods(settings),
        identity::workloads(settings),
        identity::entry(settings),
        identity::canaries(settings),
    ];
    if !settings.enforced.is_empty() && !settings.scope_labels.is_empty() {
        guards.push(scope::scope(settings));
    }
    let holdfast = format!("system:serviceaccount:{}:{}", settings.namespace, settings.service_account);
    let mut objects: Vec<Object> = guards.into_iter().flat_map(|guard| guard.into_objects(&holdfast)).collect();
    objects.sort_by(|a, b| a.key().cmp(&b.key()));
    objects
}

struct Guard {
    name: &'static str,
    rules: Vec<Value>,
    /// The one namespace it is about, if any.
    namespace: Option<String>,
    conditions: Vec<(&'static str, String)>,
    /// Besides `isHoldfast`.
    variables: Vec<(String, String)>,
    validations: Vec<Validation>,
}

impl Guard {
    fn into_objects(self, holdfast: &str) -> [Object; 2] {
        let part = format!("guard-{}", self.name);
        let namespaces = self.namespace.as_ref().map_or_else(
            || json!({}),
            |namespace| json!({"matchExpressions": [{"key": NAMESPACE_NAME, "operator": "In", "values": [namespace]}]}),
        );
        let named = |name: &str, expression: &str| json!({"name": name, "expression": expression});
        let conditions: Vec<Value> = self.conditions.iter().map(|(name, expression)| named(name, expression)).collect();
        let is_holdfast = named("isHoldfast", &format!("request.userInfo.username == {}", text(holdfast)));
        let more = self.variables.iter().map(|(name, expression)| named(name, expression));
        let variables: Vec<Value> = std::iter::once(is_holdfast).chain(more).collect();
        let policy = json!({
            "failurePolicy": "Fail",
            "matchConstraints": {
                "matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {}, "resourceRules": self.rules,
            },
            "matchConditions": conditions,
            "variables": variables,
            "validations": validations(self.validations),
        });
        let policy_name = name(&part, MAX_NAME);
        let binding = json!({
            "policyName": policy_name,
            "validationActions": ["Deny", "Audit"],
            "matchResources": {"matchPolicy": "Equivalent", "objectSelector": {}, "namespaceSelector": namespaces},
        });
        [
            object(POLICY_KIND, &policy_name, For::Cluster, policy),
            object(BINDING_KIND, &policy_name, For::Cluster, binding),
        ]
    }
}

fn says(expression: impl Into<String>, message: impl Into<String>) -> Validation {
    Validation { expression: expression.into(), message: message.into(), message_expression: None }
}

fn ours(operations: &[&str], resources: &[&str]) -> Value {
    rule(&[GROUP], &[VERSION], operations, resources, "*")
}

/// That the requester holds the virtual verb `approve` on an object. RBAC gives it; no request ever has it.
fn may_approve(resource: &str, name: &str) -> String {
    format!("authorizer.group({}).resource({resource}).name({name}).check('approve').allowed()", text(GROUP))
}

/// That the requester may approve every policy, so may decide what is enforced anyhow: who installs holdfast holds this.
fn may_approve_all() -> String {
    format!("authorizer.group({}).resource('signingidentitypolicies').check('approve').allowed()", text(GROUP))
}
