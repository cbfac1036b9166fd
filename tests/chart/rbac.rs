//! What holdfast's account may do, and no more.

use std::collections::BTreeSet;

use holdfast_core::engines::presence::{kyverno, policy_controller};
use serde_json::{Value, json};

use crate::CASES;
use crate::chart_support::{NAMESPACE, helm, named, of_kind, rendered};

const WRITES: [&str; 6] = ["create", "update", "patch", "delete", "deletecollection", "approve"];

fn rules(role: &Value) -> Vec<Value> {
    role["rules"].as_array().unwrap().clone()
}

fn has(rule: &Value, field: &str, what: &str) -> bool {
    rule[field].as_array().into_iter().flatten().any(|value| value == what)
}

fn writes(rule: &Value) -> bool {
    WRITES.iter().any(|verb| has(rule, "verbs", verb))
}

#[test]
fn no_role_has_a_wildcard() {
    let Some(helm) = helm() else { return };
    for case in CASES {
        let objects = rendered(&helm, case);
        for role in of_kind(&objects, "ClusterRole").into_iter().chain(of_kind(&objects, "Role")) {
            for rule in rules(role) {
                for field in ["verbs", "resources", "apiGroups"] {
                    assert!(!has(&rule, field, "*"), "{case}: {} {rule}", role["metadata"]["name"]);
                }
                for verb in ["impersonate", "escalate", "bind"] {
                    assert!(!has(&rule, "verbs", verb), "{case}: {rule}");
                }
            }
        }
    }
}

#[test]
fn writes_beyond_the_namespace_are_by_name_and_secrets_are_not_read_there() {
    let Some(helm) = helm() else { return };
    for case in CASES {
        let objects = rendered(&helm, case);
        let fullname = if case == "bare" { "trust" } else { "holdfast" };
        for rule in rules(named(&objects, "ClusterRole", &format!("{fullname}-controller"))) {
            assert!(!has(&rule, "resources", "secrets"), "{case}: {rule}");
            let status = rule["resources"].as_array().unwrap().iter().all(|r| r.as_str().unwrap().ends_with("/status"));
            let named = rule["resourceNames"].as_array().is_some_and(|names| !names.is_empty());
            // Kinds that nothing but reports is written in, and that no engine admits by.
            let reports =
                rule["apiGroups"] == json!(["openreports.io"]) || rule["apiGroups"] == json!(["wgpolicyk8s.io"]);
            assert!(
                !writes(&rule) || status || named || reports || WIDE.contains(&wide(&rule).as_str()),
                "{case}: {rule}"
            );
            assert!(!reports || case != "bare", "reports are switched off");
        }
        for role in of_kind(&objects, "Role") {
            let own = role["metadata"]["namespace"] == NAMESPACE;
            for rule in rules(role) {
                assert!(own || !has(&rule, "resources", "secrets"), "{case}: {rule}");
                assert!(!has(&rule, "verbs", "delete") && !has(&rule, "verbs", "deletecollection"), "{case}: {rule}");
            }
        }
    }
}

/// What is written in the whole cluster without a name: what enforces, and nothing that runs. Pods are made in dry runs alone, which a guard sees to.
const WIDE: [&str; 8] = [
    r#"["admissionregistration.k8s.io"] ["validatingadmissionpolicies","validatingadmissionpolicybindings"] ["patch"]"#,
    r#"[""] ["pods"] ["create"]"#,
    r#"["admissionregistration.k8s.io"] ["validatingadmissionpolicies","validatingadmissionpolicybindings"] ["get","list","watch","create","update","delete"]"#,
    r#"["holdfast.dev"] ["signingidentitypolicies"] ["patch"]"#,
    r#"["holdfast.dev"] ["verifiedimages"] ["get","list","watch","create","update","delete"]"#,
    r#"["kyverno.io"] ["clusterpolicies"] ["list","create","patch","delete"]"#,
    r#"["policies.kyverno.io"] ["imagevalidatingpolicies"] ["list","create","patch","delete"]"#,
    r#"["policy.sigstore.dev"] ["clusterimagepolicies","trustroots"] ["list","create","patch","delete"]"#,
];

fn wide(rule: &Value) -> String {
    format!("{} {} {}", rule["apiGroups"], rule["resources"], rule["verbs"])
}

/// Every rule, so that one more is a change of this test.
#[test]
fn the_rules_are_these() {
    let Some(helm) = helm() else { return };
    let objects = rendered(&helm, "everything");
    let all = |kind: &str, name: &str| -> BTreeSet<String> {
        let rule = |rule: &Value| {
            let names = &rule["resourceNames"];
            let names = if names.as_array().is_some_and(|names| names.len() > 2) { &json!("…") } else { names };
            format!("{} {} {names} {}", rule["apiGroups"], rule["resources"], rule["verbs"])
        };
        rules(named(&objects, kind, name)).iter().map(rule).collect()
    };
    let those = |rules: &[&str]| rules.iter().map(|rule| (*rule).to_owned()).collect::<BTreeSet<String>>();
    assert_eq!(
        all("ClusterRole", "holdfast-controller"),
        those(&[
            r#"[""] ["configmaps"] ["corp-trusted-root","sigstore-trusted-root"] ["list","watch","create","patch","delete"]"#,
            r#"[""] ["namespaces"] null ["list","watch"]"#,
            r#"["admissionregistration.k8s.io"] ["validatingadmissionpolicies","validatingadmissionpolicybindings"] null ["get","list","watch","create","update","delete"]"#,
            r#"["admissionregistration.k8s.io"] ["validatingadmissionpolicies","validatingadmissionpolicybindings"] null ["patch"]"#,
            r#"[""] ["pods"] null ["create"]"#,
            r#"["holdfast.dev"] ["signingidentitypolicies"] null ["patch"]"#,
            r#"["holdfast.dev"] ["verifiedimages"] null ["get","list","watch","create","update","delete"]"#,
            r#"["kyverno.io"] ["clusterpolicies"] null ["list","create","patch","delete"]"#,
            r#"["policies.kyverno.io"] ["imagevalidatingpolicies"] null ["list","create","patch","delete"]"#,
            r#"["policy.sigstore.dev"] ["clusterimagepolicies","trustroots"] null ["list","create","patch","delete"]"#,
            r#"[""] ["pods","replicationcontrollers"] null ["list","watch"]"#,
            r#"["rbac.authorization.k8s.io"] ["clusterroles","roles","clusterrolebindings","rolebindings"] null ["list"]"#,
            r#"["apiextensions.k8s.io"] ["customresourcedefinitions"] "…" ["get"]"#,
            r#"["apps"] ["deployments"] "…" ["get"]"#,
            r#"["admissionregistration.k8s.io"] ["validatingwebhookconfigurations"] ["kyverno-resource-validating-webhook-cfg","policy.sigstore.dev"] ["get"]"#,
            r#"["apps"] ["controllerrevisions","daemonsets","deployments","replicasets","statefulsets"] null ["list","watch"]"#,
            r#"["batch"] ["cronjobs","jobs"] null ["list","watch"]"#,
            r#"["holdfast.dev"] ["trustapprovals","trustbreakglasses","signingidentitypolicies","bundlecoveragereports"] null ["list","watch"]"#,
            r#"["holdfast.dev"] ["bundlecoveragereports/status","signingidentitypolicies/status"] null ["patch"]"#,
            r#"["holdfast.dev"] ["trustbreakglasses/status"] null ["patch"]"#,
            r#"["openreports.io"] ["reports","clusterreports"] null ["list","create","patch","delete"]"#,
            r#"["wgpolicyk8s.io"] ["policyreports","clusterpolicyreports"] null ["list","create","patch","delete"]"#,
            r#"["holdfast.dev"] ["trustapprovals","trustrootmirrors"] ["holdfast-probe"] ["create","patch"]"#,
            r#"["holdfast.dev"] ["trustrootmirrors"] null ["list","watch"]"#,
            r#"["holdfast.dev"] ["trustrootmirrors/status"] null ["patch"]"#,
        ])
    );
    assert_eq!(
        all("Role", "holdfast-controller"),
        those(&[
            r#"[""] ["configmaps"] null ["get","list","watch","create","update"]"#,
            r#"[""] ["secrets"] null ["get"]"#,
            r#"["coordination.k8s.io"] ["leases"] ["trust"] ["get","update"]"#,
            r#"["coordination.k8s.io"] ["leases"] null ["create"]"#,
        ])
    );
    assert_eq!(all("Role", "holdfast-events"), those(&[r#"["events.k8s.io"] ["events"] null ["create","patch"]"#]));
    assert_eq!(named(&objects, "Role", "holdfast-events")["metadata"]["namespace"], "default");
    assert_eq!(all("Role", "holdfast-source"), those(&[r#"[""] ["configmaps"] null ["get","list","watch"]"#]));
    let sources: Vec<&Value> = of_kind(&objects, "Role")
        .into_iter()
        .filter(|role| role["metadata"]["name"] == "holdfast-source")
        .map(|role| &role["metadata"]["namespace"])
        .collect();
    assert_eq!(sources, ["courier", "trust-sources"], "its own namespace is read anyhow");
}

/// The operator looks for engines by the names they have in the code.
#[test]
fn the_engines_are_read_by_name() {
    let Some(helm) = helm() else { return };
    for case in CASES {
        let objects = rendered(&helm, case);
        let role = of_kind(&objects, "ClusterRole")
            .into_iter()
            .find(|role| role["metadata"]["name"].as_str().unwrap().ends_with("-controller"))
            .unwrap();
        let rules = rules(role);
        let named = |resource: &str| -> BTreeSet<String> {
            let reads =
                rules.iter().find(|rule| has(rule, "resources", resource) && has(rule, "verbs", "get")).unwrap();
            reads["resourceNames"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
        };
        let those = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<String>>();
        let [policies, roots] = policy_controller::DEFINITIONS;
        assert_eq!(
            named("customresourcedefinitions"),
            those(&[policies, roots, kyverno::IMAGE_VALIDATING_POLICIES, kyverno::CLUSTER_POLICIES])
        );
        let [chart, manifests] = policy_controller::CONTROLLERS;
        assert_eq!(named("deployments"), those(&[kyverno::CONTROLLER, chart, manifests]));
        assert_eq!(named("validatingwebhookconfigurations"), those(&[kyverno::WEBHOOKS, policy_controller::WEBHOOKS]));
    }
}

#[test]
fn nothing_is_distributed_unless_it_is_named() {
    let Some(helm) = helm() else { return };
    let objects = rendered(&helm, "minimal");
    let rules = rules(named(&objects, "ClusterRole", "holdfast-controller"));
    assert!(!rules.iter().any(|rule| has(rule, "resources", "configmaps")));
}

/// The verb is in one role that nobody is bound to, and in none that others are gathered from.
#[test]
fn approving_is_given_to_nobody() {
    let Some(helm) = helm() else { return };
    for case in CASES {
        let objects = rendered(&helm, case);
        let roles = of_kind(&objects, "ClusterRole");
        let approving: Vec<&&Value> =
            roles.iter().filter(|role| rules(role).iter().any(|rule| has(rule, "verbs", "approve"))).collect();
        assert_eq!(approving.len(), 1, "{case}");
        let name = approving[0]["metadata"]["name"].as_str().unwrap();
        assert!(name.ends_with("-approver"), "{case}: {name}");
        let labels = approving[0]["metadata"]["labels"].as_object().unwrap();
        assert!(!labels.keys().any(|label| label.contains("aggregate")), "{case}");
        for binding in of_kind(&objects, "ClusterRoleBinding").into_iter().chain(of_kind(&objects, "RoleBinding")) {
            assert!(!binding["roleRef"]["name"].as_str().unwrap().ends_with("-approver"), "{case}");
            let account = match case {
                "everything" => "trust-operator",
                "bare" => "shared",
                _ => "holdfast",
            };
            assert_eq!(
                binding["subjects"],
                json!([{"kind": "ServiceAccount", "name": account, "namespace": NAMESPACE}]),
                "{case}"
            );
        }
    }
}
