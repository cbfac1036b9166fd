//! Who could get round what is enforced, on an API server with its own roles and those of the tests.

use holdfast::controller::failure::Failed;
use holdfast::controller::subjects::Lookout;
use holdfast_core::gate::subjects::{Power, Subject, Subjects};
use serde_json::{Value, json};

use crate::chart_support::NAMESPACE;
use crate::lab::Lab;
use crate::proxy::Fate;

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const API_VERSION: &str = "rbac.authorization.k8s.io/v1";

struct Given<'a>(&'a Lab);

impl Drop for Given<'_> {
    fn drop(&mut self) {
        for kind in ["clusterrolebindings", "clusterroles"] {
            let _ = self.0.try_call("DELETE", &format!("{RBAC}/{kind}?labelSelector=of=subjects"), None);
        }
        let _ = self.0.try_call(
            "DELETE",
            &format!("{RBAC}/namespaces/{NAMESPACE}/rolebindings?labelSelector=of=subjects"),
            None,
        );
    }
}

fn role(lab: &Lab, name: &str, rule: &Value) {
    let metadata = json!({"name": name, "labels": {"of": "subjects"}});
    lab.apply(&json!({"apiVersion": API_VERSION, "kind": "ClusterRole", "metadata": metadata, "rules": [rule]}));
}

fn bind(lab: &Lab, namespace: Option<&str>, name: &str, role: &str, group: &str) {
    let mut metadata = json!({"name": name, "labels": {"of": "subjects"}});
    if let Some(namespace) = namespace {
        metadata["namespace"] = json!(namespace);
    }
    lab.apply(&json!({
        "apiVersion": API_VERSION, "kind": if namespace.is_some() { "RoleBinding" } else { "ClusterRoleBinding" }, "metadata": metadata,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group}],
    }));
}

fn of<'s>(subjects: &'s Subjects, name: &str) -> Option<&'s Subject> {
    subjects.all.iter().find(|subject| subject.name == name)
}

#[test]
fn who_could_get_round_it_is_named_whatever_page_they_are_on() {
    let Some(lab) = Lab::enter() else { return };
    let _given = Given(&lab);
    for number in 0..260 {
        role(&lab, &format!("subjects-{number}"), &json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}));
    }
    let rewrite = json!({"apiGroups": ["admissionregistration.k8s.io"], "resources": ["*"], "verbs": ["*"]});
    role(&lab, "zz-rewrites", &rewrite);
    bind(&lab, None, "zz-rewrites", "zz-rewrites", "platform-admins");
    // What `edit` gives in holdfast's namespace is to be holdfast; in another one, nothing.
    bind(&lab, Some(NAMESPACE), "edits", "edit", "neighbours");

    // What another test gave a program.
    let _ = lab.try_call("DELETE", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/bot-approves", None);
    let lookout = Lookout::new(lab.as_holdfast(), NAMESPACE, "holdfast");
    lab.proxy().reset();
    let found = lab.wait(lookout.look()).unwrap();
    let said = found.report();
    assert!(
        said.contains(
            &"Group `platform-admins` (ClusterRoleBinding `zz-rewrites`): rewrites admission policies".to_owned()
        ),
        "{said:#?}"
    );
    let neighbours = of(&found, "neighbours").unwrap();
    assert!(neighbours.can.contains(&Power::ActAsHoldfast), "{neighbours}");
    let approving: Vec<&str> = found.approving().map(|subject| subject.name.as_str()).collect();
    assert_eq!(approving, ["bob", "dora", "system:masters"]);
    // Kubernetes' own come with the API server; holdfast itself is none of them.
    let aggregation = of(&found, "clusterrole-aggregation-controller").unwrap();
    assert!(aggregation.is_system && aggregation.can.contains(&Power::EscalateRights), "{aggregation}");
    let masters = of(&found, "system:masters").unwrap();
    assert!(masters.always && masters.can.len() == Power::ALL.len());
    assert!(of(&found, "holdfast").is_none());
    let of_others: Vec<&Subject> = found.bypassing().filter(|subject| !subject.is_system).collect();
    assert_eq!(of_others.len(), 2 + usize::from(of(&found, "cleaners").is_some_and(Subject::bypasses)), "{said:#?}");
    let (listed, beyond) = found.status();
    assert_eq!(listed.len() + usize::try_from(beyond).unwrap(), found.bypassing().count());

    // In pages, and not again for a while; unless it is asked now.
    let listed = |path: &str| {
        let path = format!("{RBAC}/{path}");
        lab.proxy().asked().into_iter().filter(|asked| asked.path == path && asked.query.contains("limit=250")).count()
    };
    assert!(listed("clusterroles") >= 2, "{:?}", lab.proxy().asked());
    let before = lab.proxy().asked().len();
    lab.wait(lookout.look()).unwrap();
    assert_eq!(lab.proxy().asked().len(), before, "it is remembered");
    lab.delete(&format!("{RBAC}/clusterrolebindings/zz-rewrites"));
    assert!(of(&lab.wait(lookout.look()).unwrap(), "platform-admins").is_some());
    assert!(of(&lab.wait(lookout.look_now()).unwrap(), "platform-admins").is_none());
}

#[test]
fn what_could_not_be_looked_through_is_not_nobody() {
    let Some(lab) = Lab::enter() else { return };
    let lookout = Lookout::new(lab.as_holdfast(), NAMESPACE, "holdfast");
    lab.proxy().on(1, Fate::Refuse(403, None), |asked| asked.path.ends_with("/rolebindings"));
    let failed = lab.wait(lookout.look()).unwrap_err();
    assert!(matches!(failed, Failed::Api { .. }) && failed.to_string().contains("rolebindings"), "{failed}");
    // A failure is not remembered.
    assert!(of(&lab.wait(lookout.look()).unwrap(), "system:masters").is_some());
}

/// Requests, each with the power that whoever may make it has.
fn requests() -> Vec<(Power, Value)> {
    let vap = "admissionregistration.k8s.io";
    let of = |verb: &str, group: &str, resource: &str, sub: &str, name: &str, namespace: &str| json!({"verb": verb, "group": group, "resource": resource, "subresource": sub, "name": name, "namespace": namespace});
    let (guard, roles) = ("holdfast-guard-parameters", "rbac.authorization.k8s.io");
    vec![
        (Power::RewriteAdmissionPolicies, of("update", vap, "validatingadmissionpolicies", "", guard, "")),
        (Power::RewriteAdmissionPolicies, of("delete", vap, "validatingadmissionpolicybindings", "", guard, "")),
        (Power::RewriteAdmissionPolicies, of("create", vap, "mutatingwebhookconfigurations", "", "", "")),
        (Power::RewriteAdmissionPolicies, of("patch", vap, "mutatingadmissionpolicies", "", "any", "")),
        (
            Power::RewriteAdmissionPolicies,
            of("patch", "apiextensions.k8s.io", "customresourcedefinitions", "", "verifiedimages.holdfast.dev", ""),
        ),
        (Power::BypassAdmission, of("get", "", "nodes", "proxy", "node-1", "")),
        (Power::Approve, of("approve", "holdfast.dev", "trustrootmirrors", "", "corp", "")),
        (Power::RewriteParameters, of("create", "holdfast.dev", "verifiedimages", "", "", "")),
        (Power::RewriteParameters, of("patch", "holdfast.dev", "signingidentitypolicies", "status", "apps", "")),
        (Power::ImpersonateApprovers, of("impersonate", "", "users", "", "bob", "")),
        (Power::ImpersonateApprovers, of("impersonate", "", "groups", "", "system:masters", "")),
        (Power::EscalateRights, of("escalate", roles, "clusterroles", "", "any", "")),
        (Power::EscalateRights, of("bind", roles, "clusterroles", "", "cluster-admin", "")),
        (Power::ActAsHoldfast, of("create", "", "pods", "", "", NAMESPACE)),
        (Power::ActAsHoldfast, of("create", "", "pods", "exec", "holdfast-0", NAMESPACE)),
        (Power::ActAsHoldfast, of("get", "", "secrets", "", "any", NAMESPACE)),
        (Power::ActAsHoldfast, of("create", "", "serviceaccounts", "token", "holdfast", NAMESPACE)),
        (Power::ActAsHoldfast, of("impersonate", "", "serviceaccounts", "", "holdfast", NAMESPACE)),
    ]
}

fn may(lab: &Lab, user: &str, attributes: &Value) -> bool {
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
        "spec": {"user": user, "resourceAttributes": attributes},
    });
    let answer = lab.call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", Some(&review));
    answer["status"]["allowed"] == json!(true)
}

/// Rules in every form that RBAC knows.
fn shapes() -> Vec<Value> {
    let mut shapes = Vec::new();
    for (groups, resources) in [
        (vec!["*"], vec!["*"]),
        (vec!["admissionregistration.k8s.io"], vec!["*"]),
        (vec!["admissionregistration.k8s.io"], vec!["validatingadmissionpolicies"]),
        (vec!["admissionregistration.k8s.io"], vec!["mutatingwebhookconfigurations", "mutatingadmissionpolicies"]),
        (vec!["admissionregistration.k8s.io", "apiextensions.k8s.io"], vec!["customresourcedefinitions"]),
        (vec![""], vec!["*"]),
        (vec![""], vec!["nodes", "pods"]),
        (vec![""], vec!["*/proxy", "*/exec", "*/token"]),
        (vec![""], vec!["secrets", "serviceaccounts/token"]),
        (vec![""], vec!["users", "groups"]),
        (vec!["", "authentication.k8s.io"], vec!["serviceaccounts"]),
        (vec!["holdfast.dev"], vec!["*/status"]),
        (vec!["holdfast.dev"], vec!["trustrootmirrors", "verifiedimages"]),
        (vec!["rbac.authorization.k8s.io"], vec!["clusterroles"]),
    ] {
        for verbs in
            [vec!["*"], vec!["get", "list"], vec!["create", "patch"], vec!["impersonate", "bind"], vec!["approve"]]
        {
            for names in
                [vec![], vec!["holdfast"], vec!["*"], vec!["holdfast-guard-parameters", "cluster-admin", "bob"]]
            {
                shapes
                    .push(json!({"apiGroups": groups, "resources": resources, "verbs": verbs, "resourceNames": names}));
            }
        }
    }
    shapes
}

/// Whom the API server lets make such a request has the power; and who is not listed may make none.
#[test]
fn nobody_is_missed_whom_the_api_server_lets() {
    let Some(lab) = Lab::enter() else { return };
    let _given = Given(&lab);
    let shapes = shapes();
    for (number, rule) in shapes.iter().enumerate() {
        let name = format!("shape-{number:03}");
        role(&lab, &name, rule);
        let subjects = json!([{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}]);
        lab.apply(&json!({
            "apiVersion": API_VERSION, "kind": "ClusterRoleBinding", "metadata": {"name": name, "labels": {"of": "subjects"}},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}, "subjects": subjects,
        }));
    }
    let last = json!({"apiGroups": ["example.com"], "resources": ["things"], "verbs": ["get"]});
    role(&lab, "shape-last", &last);
    bind(&lab, None, "shape-last", "shape-last", "system:authenticated");
    let attributes = json!({"verb": "get", "group": "example.com", "resource": "things"});
    lab.until("the rights are known", |lab| {
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "spec": {"user": "x", "groups": ["system:authenticated"], "resourceAttributes": attributes},
        });
        let answer = lab.call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", Some(&review));
        if answer["status"]["allowed"] == json!(true) { Ok(()) } else { Err(answer.to_string()) }
    });
    let found = lab.wait(Lookout::new(lab.as_holdfast(), NAMESPACE, "holdfast").look()).unwrap();
    let mut held = 0;
    for (number, rule) in shapes.iter().enumerate() {
        let name = format!("shape-{number:03}");
        let can = of(&found, &name).map(|subject| subject.can.clone()).unwrap_or_default();
        for (power, request) in requests() {
            if may(&lab, &name, &request) {
                held += 1;
                assert!(can.contains(&power), "{rule} lets {request}, and {name} is said to have {can:?}");
            }
        }
    }
    assert!(held > 100, "{held}");
}

/// Every request that is made about roles.
pub(crate) fn everybody(lab: &Lab) {
    lab.wait(Lookout::new(lab.as_holdfast(), NAMESPACE, "holdfast").look()).unwrap();
}
