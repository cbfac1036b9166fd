use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const OWN: &str = "holdfast-system";
const RBAC: &str = "rbac.authorization.k8s.io";

fn survey() -> Survey {
    Survey::new(Holdfast { namespace: OWN.to_owned(), service_account: "holdfast".to_owned() })
}

fn rule(verbs: &[&str], group: &str, resources: &[&str], names: &[&str]) -> Value {
    json!({"verbs": verbs, "apiGroups": [group], "resources": resources, "resourceNames": names})
}

fn role(namespace: Option<&str>, name: &str, rules: &[Value]) -> Role {
    serde_json::from_value(json!({"metadata": {"name": name, "namespace": namespace}, "rules": rules})).unwrap()
}

fn binding(namespace: Option<&str>, kind: &str, name: &str, subjects: &[Value]) -> Binding {
    let given = json!({"apiGroup": RBAC, "kind": kind, "name": name});
    serde_json::from_value(json!({
        "metadata": {"name": format!("{name}-bound"), "namespace": namespace}, "roleRef": given, "subjects": subjects,
    }))
    .unwrap()
}

fn user(name: &str) -> Value {
    json!({"apiGroup": RBAC, "kind": "User", "name": name})
}

fn group(name: &str) -> Value {
    json!({"apiGroup": RBAC, "kind": "Group", "name": name})
}

fn account(namespace: &str, name: &str) -> Value {
    json!({"kind": "ServiceAccount", "name": name, "namespace": namespace})
}

/// What alice may do, who is bound to a ClusterRole of these rules: everywhere, or in a namespace.
fn alice(namespace: Option<&str>, rules: &[Value]) -> Vec<Power> {
    let mut survey = survey();
    survey.cluster_role(&role(None, "r", rules));
    survey.binding(&binding(namespace, "ClusterRole", "r", &[user("alice")]));
    can(&survey.finish(), "alice")
}

fn can(subjects: &Subjects, name: &str) -> Vec<Power> {
    let found = subjects.all.iter().filter(|subject| subject.name == name);
    found.flat_map(|subject| subject.can.iter().copied()).collect()
}

const VAP: &str = "admissionregistration.k8s.io";
const OF_VAP: [&str; 1] = ["validatingadmissionpolicies"];

#[test]
fn each_way_to_a_power_is_found_and_what_is_none_is_not() {
    use Power::{
        ActAsHoldfast as Act, Approve, BypassAdmission as Bypass, EscalateRights as Escalate,
        ImpersonateApprovers as Impersonate, RewriteAdmissionPolicies as Rewrite, RewriteParameters as Parameters,
    };
    let crds = ["customresourcedefinitions"];
    for (rule, want) in [
        (rule(&["update"], VAP, &OF_VAP, &[]), vec![Rewrite]),
        (rule(&["deletecollection"], VAP, &["validatingadmissionpolicybindings"], &[]), vec![Rewrite]),
        (rule(&["*"], "*", &["validatingadmissionpolicies"], &[]), vec![Rewrite]),
        (rule(&["delete"], VAP, &["*"], &[]), vec![Rewrite]),
        (rule(&["delete"], VAP, &OF_VAP, &["holdfast-form-enforce"]), vec![Rewrite]),
        (rule(&["delete"], VAP, &OF_VAP, &["others"]), vec![]),
        // No name is a wildcard.
        (rule(&["delete"], VAP, &OF_VAP, &["*"]), vec![]),
        (rule(&["get", "list", "watch"], VAP, &OF_VAP, &[]), vec![]),
        (rule(&["patch"], VAP, &["validatingadmissionpolicies/status"], &[]), vec![]),
        (rule(&["*"], VAP, &["validatingwebhookconfigurations"], &[]), vec![]),
        (rule(&["create"], VAP, &["mutatingwebhookconfigurations"], &[]), vec![Rewrite]),
        (rule(&["update"], VAP, &["mutatingadmissionpolicies"], &["others"]), vec![Rewrite]),
        (rule(&["patch"], VAP, &["mutatingadmissionpolicybindings"], &[]), vec![Rewrite]),
        (rule(&["get", "delete", "deletecollection"], VAP, &["mutatingwebhookconfigurations"], &[]), vec![]),
        (rule(&["update"], VAP, &["mutatingadmissionpolicies/status"], &[]), vec![]),
        (rule(&["*"], "apps", &OF_VAP, &[]), vec![]),
        (rule(&["delete"], "apiextensions.k8s.io", &crds, &[]), vec![Rewrite]),
        (rule(&["create", "get"], "apiextensions.k8s.io", &crds, &[]), vec![]),
        (rule(&["patch"], "apiextensions.k8s.io", &crds, &["verifiedimages.holdfast.dev"]), vec![Rewrite]),
        (rule(&["patch"], "apiextensions.k8s.io", &crds, &["clusterpolicies.kyverno.io"]), vec![]),
        (rule(&["get"], "", &["nodes/proxy"], &[]), vec![Bypass]),
        (rule(&["create"], "", &["*/proxy"], &[]), vec![Bypass]),
        (rule(&["*"], "", &["nodes"], &[]), vec![]),
        (rule(&["approve"], "holdfast.dev", &["trustrootmirrors"], &["corp"]), vec![Approve]),
        (rule(&["*"], "holdfast.dev", &["trustbreakglasses"], &[]), vec![Approve]),
        (rule(&["create", "delete"], "holdfast.dev", &["trustbreakglasses"], &[]), vec![]),
        (rule(&["create"], "holdfast.dev", &["verifiedimages"], &[]), vec![Parameters]),
        (rule(&["patch"], "holdfast.dev", &["signingidentitypolicies/status"], &[]), vec![Parameters]),
        (rule(&["patch"], "holdfast.dev", &["signingidentitypolicies"], &[]), vec![]),
        (rule(&["update"], "*", &["*/status"], &[]), vec![Parameters]),
        (rule(&["impersonate"], "", &["groups"], &[]), vec![Impersonate]),
        (rule(&["impersonate"], "authentication.k8s.io", &["uids"], &[]), vec![Impersonate]),
        (rule(&["impersonate"], "", &["users"], &[]), vec![Act, Impersonate]),
        (rule(&["impersonate:user-info"], "authentication.k8s.io", &["users"], &[]), vec![Act, Impersonate]),
        (rule(&["impersonate"], "", &["users"], &["nobody-in-particular"]), vec![]),
        (rule(&["impersonate"], "", &["groups"], &["system:masters"]), vec![Impersonate]),
        (rule(&["impersonate"], "", &["users"], &["system:serviceaccount:holdfast-system:holdfast"]), vec![Act]),
        (rule(&["impersonate"], "", &["serviceaccounts"], &["holdfast"]), vec![Act]),
        (rule(&["approve"], "certificates.k8s.io", &["signers"], &["kubernetes.io/*"]), vec![Impersonate]),
        (rule(&["approve"], "certificates.k8s.io", &["signers"], &["kubernetes.io/kubelet-serving"]), vec![]),
        (rule(&["escalate"], RBAC, &["clusterroles"], &["some"]), vec![Escalate]),
        (rule(&["bind"], RBAC, &["*"], &[]), vec![Escalate]),
        (rule(&["bind"], RBAC, &["clusterroles"], &["view"]), vec![]),
        (rule(&["create", "update", "patch", "delete"], RBAC, &["clusterrolebindings", "roles"], &[]), vec![]),
        (rule(&["create"], "", &["pods"], &[]), vec![Act, Escalate]),
        (rule(&["get"], "", &["secrets"], &["some"]), vec![]),
        (rule(&["get"], "", &["secrets"], &["holdfast-signing"]), vec![Act]),
        (rule(&["get"], "", &["pods", "pods/log"], &[]), vec![]),
        (rule(&["get"], "", &["pods/exec"], &[]), vec![Act, Escalate]),
        (rule(&["create"], "", &["serviceaccounts/token"], &["holdfast"]), vec![Act]),
        (rule(&["create"], "", &["serviceaccounts/token"], &["other"]), vec![]),
        (rule(&["*"], "*", &["*"], &[]), Power::ALL.to_vec()),
        (rule(&[], "*", &["*"], &[]), vec![]),
    ] {
        assert_eq!(alice(None, std::slice::from_ref(&rule)), want, "{rule}");
    }
}

#[test]
fn in_a_namespace_only_what_is_in_it_counts() {
    use Power::{ActAsHoldfast as Act, EscalateRights as Escalate};
    let all = rule(&["*"], "*", &["*"], &[]);
    let pods = rule(&["create"], "", &["pods"], &[]);
    let named = rule(&["get"], "", &["secrets"], &["registry"]);
    let token = rule(&["create"], "", &["serviceaccounts/token"], &["other"]);
    let be = rule(&["impersonate"], "", &["serviceaccounts"], &[]);
    let (own, system, other) = (Some(OWN), Some("kube-system"), Some("shop"));
    for (namespace, rule, want) in [
        (own, &all, vec![Act, Escalate]),
        (system, &all, vec![Escalate]),
        (other, &all, vec![]),
        (own, &pods, vec![Act]),
        (system, &pods, vec![Escalate]),
        (other, &pods, vec![]),
        (own, &named, vec![Act]),
        (system, &named, vec![]),
        (own, &token, vec![]),
        (own, &be, vec![Act]),
        (other, &be, vec![]),
    ] {
        assert_eq!(alice(namespace, std::slice::from_ref(rule)), want, "{namespace:?} {rule}");
    }
}

#[test]
fn a_role_counts_in_its_own_namespace_and_by_its_own_kind() {
    let mut survey = survey();
    let exec = rule(&["create"], "", &["pods/exec"], &[]);
    survey.role(&role(Some(OWN), "exec", std::slice::from_ref(&exec)));
    survey.role(&role(Some("shop"), "exec", std::slice::from_ref(&exec)));
    survey.cluster_role(&role(None, "rewrite", &[rule(&["patch"], VAP, &OF_VAP, &[])]));
    survey.binding(&binding(Some(OWN), "Role", "exec", &[user("own")]));
    survey.binding(&binding(Some("shop"), "Role", "exec", &[user("shop")]));
    survey.binding(&binding(None, "Role", "exec", &[user("no-such-thing")]));
    survey.binding(&binding(Some(OWN), "ClusterRole", "exec", &[user("another-kind")]));
    survey.binding(&binding(Some(OWN), "ClusterRole", "rewrite", &[user("not-in-a-namespace")]));
    survey.binding(&binding(None, "ClusterRole", "gone", &[user("of-nothing")]));
    survey.binding(&binding(None, "ClusterRole", "rewrite", &[json!({"kind": "Robot", "name": "x"})]));
    let names: Vec<String> = survey.finish().all.into_iter().map(|subject| subject.name).collect();
    assert_eq!(names, ["own", MASTERS]);
}

#[test]
fn holdfast_is_not_a_way_round_itself_by_either_name() {
    let mut survey = survey();
    survey.cluster_role(&role(None, "all", &[rule(&["*"], "*", &["*"], &[])]));
    let itself = [account(OWN, "holdfast"), user("system:serviceaccount:holdfast-system:holdfast")];
    survey.binding(&binding(None, "ClusterRole", "all", &itself));
    survey.binding(&binding(None, "ClusterRole", "all", &[account("shop", "holdfast")]));
    let named: Vec<String> = survey.finish().all.iter().map(Subject::who).collect();
    assert_eq!(named, ["ServiceAccount `shop/holdfast`", "Group `system:masters`"]);
}

#[test]
fn whoever_may_be_somebody_or_bind_a_role_has_what_that_gives() {
    let mut survey = survey();
    let be = |kind: &str, name: &str| rule(&["impersonate"], "", &[kind], &[name]);
    survey.cluster_role(&role(
        None,
        "approver",
        &[rule(&["approve"], "holdfast.dev", &["signingidentitypolicies"], &[])],
    ));
    for (name, rule) in [
        ("is-bob", be("users", "bob")),
        ("is-is-bob", be("users", "helper")),
        ("is-robot", be("serviceaccounts", "robot")),
        ("is-carol", be("users", "carol")),
        ("binds-approver", rule(&["bind"], RBAC, &["clusterroles"], &["approver"])),
        ("binds-view", rule(&["bind"], RBAC, &["clusterroles"], &["view"])),
    ] {
        survey.cluster_role(&role(None, name, &[rule]));
    }
    survey.binding(&binding(None, "ClusterRole", "approver", &[user("bob"), account("ci", "robot")]));
    survey.binding(&binding(None, "ClusterRole", "is-bob", &[user("helper")]));
    survey.binding(&binding(None, "ClusterRole", "is-is-bob", &[user("helpers-helper")]));
    survey.binding(&binding(None, "ClusterRole", "is-robot", &[user("robots-keeper")]));
    survey.binding(&binding(None, "ClusterRole", "is-carol", &[user("carols-friend")]));
    survey.binding(&binding(None, "ClusterRole", "binds-approver", &[group("binders")]));
    survey.binding(&binding(None, "ClusterRole", "binds-view", &[group("viewers")]));
    let found = survey.finish();
    for name in ["helper", "helpers-helper", "robots-keeper"] {
        assert_eq!(can(&found, name), [Power::ImpersonateApprovers], "{name}");
    }
    assert_eq!(can(&found, "binders"), [Power::EscalateRights]);
    assert!(can(&found, "carols-friend").is_empty() && can(&found, "viewers").is_empty());
    let approving: Vec<&str> = found.approving().map(|subject| subject.name.as_str()).collect();
    assert_eq!(approving, ["robot", "bob", MASTERS]);
    assert!(!found.bypassing().any(|subject| subject.name == "bob"), "to approve is not to get round");
}

#[test]
fn a_service_account_is_in_the_groups_of_all_of_them() {
    let mut survey = survey();
    survey.cluster_role(&role(None, "rewrite", &[rule(&["patch"], VAP, &OF_VAP, &[])]));
    survey.cluster_role(&role(None, "be", &[rule(&["impersonate"], "", &["serviceaccounts"], &["ci"])]));
    survey.binding(&binding(None, "ClusterRole", "rewrite", &[group("system:serviceaccounts:build")]));
    survey.binding(&binding(None, "ClusterRole", "be", &[user("alice")]));
    assert_eq!(can(&survey.finish(), "alice"), [Power::ImpersonateApprovers]);
}

#[test]
fn kubernetes_own_are_marked_and_come_last_and_what_stands_for_everybody_is_not_its_own() {
    let mut survey = survey();
    survey.cluster_role(&role(None, "all", &[rule(&["*"], "*", &["*"], &[])]));
    survey.cluster_role(&role(None, "pods", &[rule(&["create"], "", &["pods"], &[])]));
    let system = [user("system:kube-controller-manager"), account("kube-system", "generic-garbage-collector")];
    let people = [
        group("system:authenticated"),
        group("system:serviceaccounts:ci"),
        user("system:anonymous"),
        account("kube-system", "helm"),
    ];
    survey.binding(&binding(None, "ClusterRole", "all", &system));
    survey.binding(&binding(None, "ClusterRole", "all", &people));
    survey.binding(&binding(None, "ClusterRole", "pods", &[group("developers")]));
    let found = survey.finish();
    let lines: Vec<(String, bool)> = found.all.iter().map(|subject| (subject.who(), subject.is_system)).collect();
    let lines: Vec<(&str, bool)> = lines.iter().map(|(who, is)| (who.as_str(), *is)).collect();
    assert_eq!(
        lines,
        [
            ("Group `system:authenticated`", false),
            ("Group `system:serviceaccounts:ci`", false),
            ("ServiceAccount `kube-system/helm`", false),
            ("User `system:anonymous`", false),
            ("Group `developers`", false),
            ("Group `system:masters`", true),
            ("ServiceAccount `kube-system/generic-garbage-collector`", true),
            ("User `system:kube-controller-manager`", true),
        ]
    );
}

#[test]
fn a_tired_person_can_read_it() {
    let mut survey = survey();
    let rules = [rule(&["patch"], VAP, &OF_VAP, &[]), rule(&["impersonate"], "", &["groups"], &[])];
    survey.cluster_role(&role(None, "x", &rules));
    survey.cluster_role(&role(None, "y", &rules));
    survey.binding(&binding(None, "ClusterRole", "x", &[group("platform-admins"), group("platform-admins")]));
    survey.binding(&binding(None, "ClusterRole", "y", &[user("bob\u{1b}[2J")]));
    survey.binding(&binding(None, "ClusterRole", "x", &[user("bob\u{1b}[2J")]));
    assert_eq!(
        survey.finish().report(),
        [
            "Group `platform-admins` (ClusterRoleBinding `x-bound`): rewrites admission policies, impersonates approvers",
            "User `bob [2J` (ClusterRoleBinding `x-bound` and 1 more): rewrites admission policies, impersonates approvers",
            "Group `system:masters` (always): may do everything",
        ]
    );
}

#[test]
fn status_is_bounded_and_says_how_many_are_left() {
    let mut survey = survey();
    survey.cluster_role(&role(None, "all", &[rule(&["*"], "*", &["*"], &[])]));
    let many: Vec<Value> = (0..5000).map(|n| user(&format!("{n:04}{}", "x".repeat(600)))).collect();
    survey.binding(&binding(None, "ClusterRole", "all", &many));
    let found = survey.finish();
    let (listed, beyond) = found.status();
    assert_eq!((listed.len(), beyond), (MAX_LISTED, 5000 + 1 - 32));
    assert!(listed.iter().all(|one| one.subject.chars().count() <= 512 && one.powers.len() == Power::ALL.len()));
    assert!(found.all.len() <= 4097 && found.report().last().is_some_and(|line| line.ends_with("are not kept")));
}

/// Rules out of the words that matter, so that many of them give something.
fn rules() -> impl Strategy<Value = Vec<Value>> {
    let of = |words: &'static [&'static str]| proptest::sample::subsequence(words, 0..=2);
    let one = (
        of(&["*", "get", "create", "patch", "delete", "approve", "impersonate", "bind", "escalate"]),
        of(&["*", "", VAP, "holdfast.dev", RBAC, "apiextensions.k8s.io"]),
        of(&[
            "*",
            "pods",
            "secrets",
            "users",
            "serviceaccounts",
            "clusterroles",
            "nodes/proxy",
            "validatingadmissionpolicies",
            "verifiedimages",
            "signingidentitypolicies",
            "serviceaccounts/token",
        ]),
        of(&["holdfast", "holdfast-guard-parameters", "bob", "role-0", "role-1", "alice"]),
    );
    let one = one.prop_map(|(verbs, groups, resources, names)| {
        json!({"verbs": verbs, "apiGroups": groups, "resources": resources, "resourceNames": names})
    });
    proptest::collection::vec(one, 0..4)
}

/// Where it is bound, which role, and to whom.
type Given = (Option<&'static str>, usize, &'static str);

fn given() -> impl Strategy<Value = Vec<Given>> {
    let place = proptest::sample::select(vec![None, Some(OWN), Some("kube-system"), Some("shop")]);
    let whom = proptest::sample::select(vec!["alice", "bob", "carol", "system:authenticated"]);
    proptest::collection::vec((place, 0..4_usize, whom), 0..6)
}

fn surveyed(roles: &[Vec<Value>], given: &[Given]) -> Subjects {
    let mut survey = survey();
    for (number, rules) in roles.iter().enumerate() {
        survey.cluster_role(&role(None, &format!("role-{number}"), rules));
    }
    for (namespace, number, whom) in given {
        survey.binding(&binding(*namespace, "ClusterRole", &format!("role-{number}"), &[user(whom)]));
    }
    survey.finish()
}

fn powers(subjects: &Subjects) -> BTreeMap<String, BTreeSet<Power>> {
    subjects.all.iter().map(|subject| (subject.who(), subject.can.clone())).collect()
}

proptest! {
    #[test]
    fn granting_more_never_removes_a_subject_or_a_power(
        mut roles in proptest::collection::vec(rules(), 4),
        more_rules in rules(),
        at in 0..4_usize,
        before in given(),
        more in given(),
    ) {
        let had = powers(&surveyed(&roles, &before));
        roles[at].extend(more_rules);
        let all: Vec<Given> = before.into_iter().chain(more).collect();
        let has = powers(&surveyed(&roles, &all));
        for (who, could) in had {
            prop_assert!(has.get(&who).is_some_and(|can| can.is_superset(&could)), "{who}: {could:?} then {has:?}");
        }
    }

    #[test]
    fn the_order_of_what_is_read_does_not_matter(roles in proptest::collection::vec(rules(), 4), given in given()) {
        let backwards: Vec<Given> = given.iter().rev().copied().collect();
        prop_assert_eq!(surveyed(&roles, &given), surveyed(&roles, &backwards));
    }
}
