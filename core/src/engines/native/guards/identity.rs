//! Who may act as holdfast: with its tokens, in its pods, or as a workload that makes them.

use super::{Guard, GuardSettings, may_approve_all, says};
use crate::engines::native::expressions::{Target, all_images, spec, text, texts};
use crate::engines::native::objects::{NO_MIRROR_POD, resource_rules, rule};

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

pub(super) fn tokens(settings: &GuardSettings) -> Guard {
    Guard {
        name: "tokens",
        rules: vec![rule(&[""], &["v1"], &["CREATE"], &["serviceaccounts/token"], "Namespaced")],
        namespace: Some(settings.namespace.clone()),
        conditions: vec![("of-holdfast", format!("request.name == {}", text(&settings.service_account)))],
        variables: Vec::new(),
        validations: vec![says(
            "has(request.userInfo.groups) && 'system:nodes' in request.userInfo.groups",
            "only a node gets a token of holdfast's service account, for the pod it runs",
        )],
    }
}

/// A Secret of this type is filled with a token that does not end, without anybody asking for one. Does not stop: reading a Secret that was there before.
pub(super) fn token_secrets(settings: &GuardSettings) -> Guard {
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
        variables: Vec::new(),
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
pub(super) fn pods(settings: &GuardSettings) -> Guard {
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
        variables: Vec::new(),
        validations,
    }
}

/// What [`pods`] come from. Does not stop: scaling to none, and deletion: admission then goes on as it is, and alarms are not raised by holdfast.
pub(super) fn workloads(settings: &GuardSettings) -> Guard {
    let [new, old] = ["object", "oldObject"].map(|object| spec(Target::Templates, object));
    Guard {
        name: "workloads",
        rules: resource_rules(Target::Templates),
        namespace: Some(settings.namespace.clone()),
        conditions: vec![
            ("runs-as-holdfast", runs_as_holdfast(settings, &new)),
            ("says-what-runs", format!("request.operation == 'CREATE' || {new} != {old}")),
        ],
        variables: Vec::new(),
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
pub(super) fn entry(settings: &GuardSettings) -> Guard {
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
        variables: Vec::new(),
        validations: vec![says(
            may_approve_all(),
            "whoever gets into a pod of this namespace may act as holdfast: RBAC has to give you the verb `approve` on signingidentitypolicies",
        )],
    }
}

/// Holdfast tries its rules with pods that are only ever made in a dry run; RBAC cannot tell those from others.
pub(super) fn canaries(settings: &GuardSettings) -> Guard {
    let holdfast = format!("system:serviceaccount:{}:{}", settings.namespace, settings.service_account);
    Guard {
        name: "canaries",
        rules: vec![rule(&[""], &["v1"], &["CREATE"], &["pods"], "Namespaced")],
        namespace: None,
        conditions: vec![("by-holdfast", format!("request.userInfo.username == {}", text(&holdfast)))],
        variables: Vec::new(),
        validations: vec![says(
            "has(request.dryRun) && request.dryRun",
            "holdfast makes pods in dry runs alone, to see whether its rules are in force",
        )],
    }
}
