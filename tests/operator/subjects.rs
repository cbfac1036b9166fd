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

/// Every request that is made about roles.
pub(crate) fn everybody(lab: &Lab) {
    lab.wait(Lookout::new(lab.as_holdfast(), NAMESPACE, "holdfast").look()).unwrap();
}
