//! Admission policies that guard what holdfast relies on: who may write what, and who may approve.
//!
//! An admission policy cannot match admission policies and their bindings: those are guarded by RBAC, and put back when they are changed. Whoever may
//! impersonate a person may approve as that person; that too is for RBAC, as is who holds `*` as a verb, since that is the verb `approve`, too.
//!
//! What fails closed must not be able to stop a cluster: a guard is about holdfast's own kinds, or bound to holdfast's own namespace, or about labels of
//! namespaces alone; what nodes and Kubernetes' own controllers do there is named and let through.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::expressions::{Target, all_images, spec, text, texts};
use super::objects::{
    BINDING_KIND, NAMESPACE_NAME, NO_MIRROR_POD, POLICY_KIND, Validation, object, resource_rules, rule, validations,
};
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

/// What makes pods of workloads: each controller in its own name, or all in one where they are started so.
const MAKE_PODS: [&str; 6] = [
    "system:kube-controller-manager",
    "system:serviceaccount:kube-system:daemon-set-controller",
    "system:serviceaccount:kube-system:job-controller",
    "system:serviceaccount:kube-system:replicaset-controller",
    "system:serviceaccount:kube-system:replication-controller",
    "system:serviceaccount:kube-system:statefulset-controller",
];
/// What makes workloads of other workloads.
const MAKE_WORKLOADS: [&str; 3] = [
    "system:kube-controller-manager",
    "system:serviceaccount:kube-system:cronjob-controller",
    "system:serviceaccount:kube-system:deployment-controller",
];

/// Renders the guards, each a policy with its binding, sorted.
pub fn guards(settings: &GuardSettings) -> Vec<Object> {
    let mut guards = vec![
        parameters(),
        memory(settings),
        break_glass(),
        approval(settings),
        rotation(),
        tokens(settings),
        token_secrets(settings),
        pods(settings),
        workloads(settings),
        entry(settings),
    ];
    if !settings.enforced.is_empty() && !settings.scope_labels.is_empty() {
        guards.push(scope(settings));
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
    validations: Vec<Validation>,
}

impl Guard {
    fn into_objects(self, holdfast: &str) -> [Object; 2] {
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

/// A Secret of this type is filled with a token that does not end, without anybody asking for one. Does not stop: reading a Secret that was there before.
fn token_secrets(settings: &GuardSettings) -> Guard {
    let names_it = |object: &str| {
        format!(
            "({object}.type == 'kubernetes.io/service-account-token' && has({object}.metadata.annotations) && \
             'kubernetes.io/service-account.name' in {object}.metadata.annotations && \
             {object}.metadata.annotations['kubernetes.io/service-account.name'] == {})",
            text(&settings.service_account)
        )
    };
    Guard {
        name: "token-secrets",
        rules: vec![rule(&[""], &["v1"], &["CREATE", "UPDATE"], &["secrets"], "Namespaced")],
        namespace: Some(settings.namespace.clone()),
        conditions: vec![(
            "asks-for-a-token-of-holdfast",
            format!("{} && (request.operation == 'CREATE' || !{})", names_it("object"), names_it("oldObject")),
        )],
        validations: vec![says(
            "false",
            "this Secret would hold a token of holdfast's service account that does not end: holdfast needs none",
        )],
    }
}

fn runs_as_holdfast(settings: &GuardSettings, spec: &str) -> String {
    format!(
        "(has({spec}.serviceAccountName) ? {spec}.serviceAccountName : 'default') == {}",
        text(&settings.service_account)
    )
}

/// Whoever makes a pod with holdfast's service account is holdfast to the API server. A pod comes from a workload, which [`workloads`] guards.
///
/// Does not stop: pods of other accounts in this namespace that mount its Secrets; a container runtime, or a node, that runs something else; whoever may
/// act as one of Kubernetes' own controllers. A pod whose image is not the release's any more goes on running.
fn pods(settings: &GuardSettings) -> Guard {
    let mut validations = vec![says(
        format!(
            "request.operation == 'CREATE' && request.userInfo.username in {} || {}",
            texts(MAKE_PODS),
            may_approve_all()
        ),
        "this pod would act as holdfast: it comes from a workload, or RBAC has to give you the verb `approve` on signingidentitypolicies",
    )];
    if !settings.release.is_empty() {
        let ends: Vec<String> = settings.release.iter().map(|digest| format!("@{digest}")).collect();
        validations.push(says(
            format!(
                "({}).all(i, {}.exists(d, i.endsWith(d)))",
                all_images(Target::Pods, "object.spec"),
                texts(ends.iter().map(String::as_str))
            ),
            "this pod would act as holdfast, and an image of it is not of holdfast's release: name it by a digest that the chart's values list",
        ));
    }
    Guard {
        name: "pods",
        rules: resource_rules(Target::Pods),
        namespace: Some(settings.namespace.clone()),
        conditions: vec![
            (NO_MIRROR_POD.0, NO_MIRROR_POD.1.to_owned()),
            ("runs-as-holdfast", runs_as_holdfast(settings, "object.spec")),
            // Labels, finalizers and owners are nobody's entry; what is on its way out has to be let go.
            ("says-what-runs", "request.operation == 'CREATE' || object.spec != oldObject.spec".to_owned()),
        ],
        validations,
    }
}

/// What [`pods`] come from. Does not stop: scaling to none, and deletion: admission then goes on as it is, and alarms are not raised by holdfast.
fn workloads(settings: &GuardSettings) -> Guard {
    let [new, old] = ["object", "oldObject"].map(|object| spec(Target::Templates, object));
    Guard {
        name: "workloads",
        rules: resource_rules(Target::Templates),
        namespace: Some(settings.namespace.clone()),
        conditions: vec![
            ("runs-as-holdfast", runs_as_holdfast(settings, &new)),
            ("says-what-runs", format!("request.operation == 'CREATE' || {new} != {old}")),
        ],
        validations: vec![says(
            format!("request.userInfo.username in {} || {}", texts(MAKE_WORKLOADS), may_approve_all()),
            "pods of this workload would act as holdfast: RBAC has to give you the verb `approve` on signingidentitypolicies",
        )],
    }
}

/// Who gets into a container of holdfast has its token, its memory and its keys. About every pod of the namespace: which of them are holdfast's is said by
/// labels, which may be changed.
///
/// Does not stop: `nodes/proxy` and whoever else reaches a kubelet or a container runtime.
fn entry(settings: &GuardSettings) -> Guard {
    Guard {
        name: "entry",
        rules: vec![
            rule(
                &[""],
                &["v1"],
                &["CONNECT"],
                &["pods/attach", "pods/exec", "pods/portforward", "pods/proxy"],
                "Namespaced",
            ),
            rule(&[""], &["v1"], &["UPDATE"], &["pods/ephemeralcontainers"], "Namespaced"),
        ],
        namespace: Some(settings.namespace.clone()),
        conditions: Vec::new(),
        validations: vec![says(
            may_approve_all(),
            "whoever gets into a pod of this namespace may act as holdfast: RBAC has to give you the verb `approve` on signingidentitypolicies",
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
            format!("{same} || variables.isHoldfast || {}", may_approve_all()),
            "something is enforced in this namespace, and this label is one by which it is chosen: RBAC has to give you the verb `approve` on signingidentitypolicies",
        )],
    }
}
