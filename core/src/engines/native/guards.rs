//! Admission policies that guard what holdfast relies on: who may write what, and who may approve.
//!
//! An admission policy cannot match admission policies and their bindings: those are guarded by RBAC, and put back when they are changed. Whoever may
//! impersonate a person may approve as that person; that too is for RBAC.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::expressions::{text, texts};
use super::objects::{BINDING_KIND, NAMESPACE_NAME, POLICY_KIND, Validation, object, rule, validations};
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
}

/// Renders the guards, each a policy with its binding, sorted.
pub fn guards(settings: &GuardSettings) -> Vec<Object> {
    let mut guards =
        vec![parameters(), memory(settings), break_glass(), approval(settings), rotation(), tokens(settings)];
    if !settings.enforced.is_empty() && !settings.scope_labels.is_empty() {
        guards.push(scope(settings));
    }
    let holdfast = format!("system:serviceaccount:{}:{}", settings.namespace, settings.service_account);
    let mut objects: Vec<Object> = guards.iter().flat_map(|guard| guard.objects(&holdfast)).collect();
    objects.sort_by(|a, b| a.key().cmp(&b.key()));
    objects
}

struct Guard {
    name: &'static str,
    rules: Vec<Value>,
    /// The one namespace it is about, if any.
    namespace: Option<String>,
    conditions: Vec<(&'static str, String)>,
    validations: Vec<Validation>,
}

impl Guard {
    fn objects(&self, holdfast: &str) -> [Object; 2] {
        let part = format!("guard-{}", self.name);
        let namespaces = self.namespace.as_ref().map_or_else(
            || json!({}),
            |namespace| json!({"matchExpressions": [{"key": NAMESPACE_NAME, "operator": "In", "values": [namespace]}]}),
        );
        let conditions: Vec<Value> =
            self.conditions.iter().map(|(name, expression)| json!({"name": name, "expression": expression})).collect();
        let policy = json!({
            "failurePolicy": "Fail",
            "matchConstraints": {
                "matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {}, "resourceRules": self.rules,
            },
            "matchConditions": conditions,
            "variables": [{"name": "isHoldfast", "expression": format!("request.userInfo.username == {}", text(holdfast))}],
            "validations": validations(&self.validations),
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

fn parameters() -> Guard {
    Guard {
        name: "parameters",
        rules: vec![
            ours(&["CREATE", "UPDATE", "DELETE"], &["verifiedimages"]),
            ours(
                &["UPDATE"],
                &[
                    "bundlecoveragereports/status",
                    "signingidentitypolicies/status",
                    "trustbreakglasses/status",
                    "trustrootmirrors/status",
                ],
            ),
        ],
        namespace: None,
        conditions: Vec::new(),
        validations: vec![says(
            "variables.isHoldfast",
            "verified digests and status are written by holdfast alone: they decide what is admitted and when it is enforced",
        )],
    }
}

fn memory(settings: &GuardSettings) -> Guard {
    let labelled = |object: &str| {
        format!("{object} != null && has({object}.metadata.labels) && {} in {object}.metadata.labels", text(MEMORY))
    };
    Guard {
        name: "memory",
        rules: vec![rule(&[""], &["v1"], &["CREATE", "UPDATE", "DELETE"], &["configmaps", "secrets"], "Namespaced")],
        namespace: Some(settings.namespace.clone()),
        conditions: vec![("holds-memory", format!("({}) || ({})", labelled("object"), labelled("oldObject")))],
        validations: vec![says(
            "variables.isHoldfast",
            "what holdfast remembers is written by holdfast alone: without it, old and withdrawn trust could come back",
        )],
    }
}

fn break_glass() -> Guard {
    Guard {
        name: "break-glass",
        rules: vec![ours(&["CREATE"], &["trustbreakglasses"])],
        namespace: None,
        conditions: Vec::new(),
        validations: vec![
            says(
                "object.spec.requestedBy == request.userInfo.username",
                "`requestedBy` is not you: a break-glass is asked for in one's own name",
            ),
            says(
                "timestamp(object.spec.until) > timestamp(object.metadata.creationTimestamp)",
                "`until` is in the past: give an end that is still to come",
            ),
            says(
                "timestamp(object.spec.until) <= timestamp(object.metadata.creationTimestamp) + duration('72h')",
                "`until` is more than 72 hours ahead: give an earlier end, and a new break-glass when it is not enough",
            ),
        ],
    }
}

fn approval(settings: &GuardSettings) -> Guard {
    let listed = texts(settings.approving_service_accounts.iter().map(String::as_str));
    let plural = "object.spec['for'].kind == 'TrustRootMirror' ? 'trustrootmirrors' : object.spec['for'].kind == 'SigningIdentityPolicy' ? 'signingidentitypolicies' : 'trustbreakglasses'";
    Guard {
        name: "approval",
        rules: vec![ours(&["CREATE", "UPDATE"], &["trustapprovals"])],
        namespace: None,
        conditions: vec![(
            "not-holdfast-at-its-own",
            "request.operation == 'CREATE' || object.spec != oldObject.spec".to_owned(),
        )],
        validations: vec![
            says("request.operation == 'CREATE'", "an approval is never changed: make a new one"),
            says(
                "object.spec.approver == request.userInfo.username",
                "`approver` is not you: one approves in one's own name",
            ),
            says(
                format!(
                    "!request.userInfo.username.startsWith('system:serviceaccount:') || request.userInfo.username in {listed}"
                ),
                "a service account does not approve, unless the chart's values list it",
            ),
            says(
                may_approve(&format!("({plural})"), "object.spec['for'].name"),
                "you may not approve this: RBAC has to give you the verb `approve` on the object",
            ),
        ],
    }
}

fn rotation() -> Guard {
    let of = |object: &str, field: &str, absent: &str| {
        format!(
            "(has({object}.spec.rotation) && has({object}.spec.rotation.{field}) ? {object}.spec.rotation.{field} : {absent})"
        )
    };
    let created = "request.operation == 'CREATE'";
    let approved = format!(
        "{new} == '' || ({created} ? false : {new} == {old})",
        new = of("object", "approvedDigest", "''"),
        old = of("oldObject", "approvedDigest", "''")
    );
    let automatic = format!(
        "{} != 'Automatic' || ({created} ? false : {} == 'Automatic')",
        of("object", "approval", "'Required'"),
        of("oldObject", "approval", "'Required'")
    );
    let failing = format!(
        "{new} <= ({created} ? 0 : {old})",
        new = of("object", "maxNewlyFailing", "0"),
        old = of("oldObject", "maxNewlyFailing", "0")
    );
    Guard {
        name: "rotation",
        rules: vec![ours(&["CREATE", "UPDATE"], &["trustrootmirrors"])],
        namespace: None,
        conditions: vec![("approves-or-weakens", format!("!(({approved}) && ({automatic}) && ({failing}))"))],
        validations: vec![says(
            may_approve("'trustrootmirrors'", "object.metadata.name"),
            "`rotation.approvedDigest`, `approval: Automatic` and a higher `maxNewlyFailing` let new key material in: RBAC has to give you the verb `approve` on this TrustRootMirror",
        )],
    }
}

fn tokens(settings: &GuardSettings) -> Guard {
    Guard {
        name: "tokens",
        rules: vec![rule(&[""], &["v1"], &["CREATE"], &["serviceaccounts/token"], "Namespaced")],
        namespace: Some(settings.namespace.clone()),
        conditions: vec![("of-holdfast", format!("request.name == {}", text(&settings.service_account)))],
        validations: vec![says(
            "has(request.userInfo.groups) && 'system:nodes' in request.userInfo.groups",
            "only a node gets a token of holdfast's service account, for the pod it runs",
        )],
    }
}

fn scope(settings: &GuardSettings) -> Guard {
    let labels = texts(settings.scope_labels.iter().map(String::as_str));
    let value = |object: &str| {
        format!("(has({object}.metadata.labels) && l in {object}.metadata.labels ? {object}.metadata.labels[l] : '')")
    };
    let has = |object: &str| format!("(has({object}.metadata.labels) && l in {object}.metadata.labels)");
    let same = format!(
        "{labels}.all(l, {} == {} && {} == {})",
        has("object"),
        has("oldObject"),
        value("object"),
        value("oldObject")
    );
    Guard {
        name: "scope",
        rules: vec![rule(&[""], &["v1"], &["UPDATE"], &["namespaces"], "Cluster")],
        namespace: None,
        conditions: vec![(
            "enforced",
            format!("request.name in {}", texts(settings.enforced.iter().map(String::as_str))),
        )],
        validations: vec![says(
            format!(
                "{same} || variables.isHoldfast || authorizer.group({}).resource('signingidentitypolicies').check('approve').allowed()",
                text(GROUP)
            ),
            "something is enforced in this namespace, and this label is one by which it is chosen: RBAC has to give you the verb `approve` on signingidentitypolicies",
        )],
    }
}
