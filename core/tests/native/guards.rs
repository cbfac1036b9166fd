//! The guards: who may write what, and who may approve.

use std::collections::BTreeSet;

use holdfast_core::engines::Object;
use holdfast_core::engines::native::{GuardSettings, guards};
use serde_json::{Value, json};

use crate::vap::{ApiServer, Request};

pub(crate) fn settings() -> GuardSettings {
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    GuardSettings {
        namespace: "holdfast-system".to_owned(),
        service_account: "holdfast".to_owned(),
        approving_service_accounts: set(&["system:serviceaccount:gitops:flux"]),
        enforced: set(&["billing", "shop"]),
        scope_labels: set(&["tier", "policy.sigstore.dev/include"]),
    }
}

const HOLDFAST: &str = "system:serviceaccount:holdfast-system:holdfast";

/// A request about one of our kinds.
fn ours(operation: &'static str, resource: &str, object: Value, old: Value, user: &str) -> Request {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let core = matches!(resource, "configmaps" | "secrets" | "serviceaccounts" | "namespaces");
    let named = if object.is_null() { &old } else { &object };
    Request {
        operation,
        group: if core { String::new() } else { "holdfast.dev".to_owned() },
        version: if core { "v1".to_owned() } else { "v1alpha1".to_owned() },
        resource: resource.to_owned(),
        subresource: subresource.to_owned(),
        kind: String::new(),
        namespace: named["metadata"]["namespace"].as_str().map(str::to_owned),
        name: named["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
        object,
        old,
        user: user.to_owned(),
        groups: Vec::new(),
    }
}

fn guarded() -> ApiServer {
    let objects = guards(&settings());
    let mut server = ApiServer::new(objects.iter().map(Object::body));
    let grant =
        |user: &str, resource: &str, name: &str| [user, "approve", "holdfast.dev", resource, name].map(str::to_owned);
    server.grants = BTreeSet::from([
        grant("bob", "trustbreakglasses", ""),
        grant("system:serviceaccount:gitops:flux", "signingidentitypolicies", "apps"),
        grant("system:serviceaccount:ci:robot", "signingidentitypolicies", "apps"),
        grant("carol", "trustrootmirrors", "public"),
        grant("dave", "signingidentitypolicies", ""),
    ]);
    server
}

fn denied(server: &ApiServer, request: &Request) -> String {
    let denied = server.review(request).denied;
    denied.into_iter().map(|(_, message)| message).collect::<Vec<_>>().join("\n")
}

#[test]
fn holdfast_alone_writes_parameters_and_status() {
    let server = guarded();
    let denied = |request| denied(&server, &request);
    let shard = json!({"metadata": {"name": "holdfast-verified-00-ff"}, "spec": {"data": {}}});
    for operation in ["CREATE", "UPDATE", "DELETE"] {
        let object = |there: bool| if there { shard.clone() } else { Value::Null };
        let request = |user| {
            ours(operation, "verifiedimages", object(operation != "DELETE"), object(operation != "CREATE"), user)
        };
        assert!(denied(request("alice")).contains("written by holdfast alone"), "{operation}");
        assert_eq!(denied(request(HOLDFAST)), "", "{operation}");
    }
    let policy = json!({"metadata": {"name": "apps"}, "status": {}});
    assert_ne!(denied(ours("UPDATE", "signingidentitypolicies/status", policy.clone(), policy.clone(), "alice")), "");
    assert_eq!(denied(ours("UPDATE", "signingidentitypolicies", policy.clone(), policy, "alice")), "");
}

#[test]
fn holdfast_alone_writes_its_memory() {
    let server = guarded();
    let denied = |request| denied(&server, &request);
    let map =
        |labels: Value, namespace: &str| json!({"metadata": {"name": "m", "namespace": namespace, "labels": labels}});
    let (ours_labelled, plain) =
        (map(json!({"holdfast.dev/memory": "x"}), "holdfast-system"), map(json!({}), "holdfast-system"));
    assert_ne!(denied(ours("CREATE", "configmaps", ours_labelled.clone(), Value::Null, "alice")), "");
    assert_ne!(
        denied(ours("UPDATE", "configmaps", plain.clone(), ours_labelled.clone(), "alice")),
        "",
        "taking the label off"
    );
    assert_ne!(denied(ours("DELETE", "secrets", Value::Null, ours_labelled.clone(), "alice")), "");
    assert_eq!(denied(ours("DELETE", "secrets", Value::Null, ours_labelled, HOLDFAST)), "");
    assert_eq!(denied(ours("CREATE", "configmaps", plain, Value::Null, "alice")), "");
    assert_eq!(
        denied(ours("CREATE", "configmaps", map(json!({"holdfast.dev/memory": "x"}), "other"), Value::Null, "alice")),
        ""
    );
}

#[test]
fn a_break_glass_is_asked_for_in_ones_own_name_and_ends_within_three_days() {
    let server = guarded();
    let denied = |request| denied(&server, &request);
    let glass = |by: &str, until: &str| json!({"metadata": {"name": "inc", "creationTimestamp": "2026-11-25T00:00:00Z"}, "spec": {"requestedBy": by, "until": until}});
    let asked =
        |by: &str, until: &str| denied(ours("CREATE", "trustbreakglasses", glass(by, until), Value::Null, "alice"));
    assert_eq!(asked("alice", "2026-11-28T00:00:00Z"), "");
    assert!(asked("bob", "2026-11-26T00:00:00Z").contains("not you"));
    assert!(asked("alice", "2026-11-28T00:00:01Z").contains("72 hours"));
    assert!(asked("alice", "2026-11-25T00:00:00Z").contains("past"));
    assert!(asked("alice", "2026-11-28T02:00:00+02:00").is_empty());
}

#[test]
fn approvals_are_given_by_people_who_may() {
    let server = guarded();
    let denied = |request| denied(&server, &request);
    let approval = |kind: &str, name: &str, approver: &str| json!({"metadata": {"name": "a"}, "spec": {"approver": approver, "for": {"kind": kind, "name": name}}});
    let approves = |kind: &str, name: &str, approver: &str, user: &str| {
        denied(ours("CREATE", "trustapprovals", approval(kind, name, approver), Value::Null, user))
    };
    assert_eq!(approves("TrustBreakGlass", "inc", "bob", "bob"), "");
    assert!(approves("TrustBreakGlass", "inc", "bob", "alice").contains("not you"));
    assert!(approves("TrustBreakGlass", "inc", "alice", "alice").contains("verb `approve`"));
    assert!(approves("SigningIdentityPolicy", "apps", "bob", "bob").contains("verb `approve`"));
    let (flux, robot) = ("system:serviceaccount:gitops:flux", "system:serviceaccount:ci:robot");
    assert_eq!(approves("SigningIdentityPolicy", "apps", flux, flux), "");
    assert!(approves("SigningIdentityPolicy", "other", flux, flux).contains("verb `approve`"));
    assert!(approves("SigningIdentityPolicy", "apps", robot, robot).contains("service account"));
    let made = approval("TrustBreakGlass", "inc", "bob");
    let changed = approval("TrustBreakGlass", "other", "bob");
    assert_ne!(denied(ours("UPDATE", "trustapprovals", changed, made.clone(), "bob")), "");
    assert_eq!(denied(ours("UPDATE", "trustapprovals", made.clone(), made, HOLDFAST)), "", "a finalizer");
}

#[test]
fn weakening_a_rotation_takes_the_verb() {
    let server = guarded();
    let denied = |request| denied(&server, &request);
    let mirror = |rotation: Value| json!({"metadata": {"name": "public"}, "spec": {"rotation": rotation}});
    let turns =
        |new: Value, old: Value, user: &str| denied(ours("UPDATE", "trustrootmirrors", mirror(new), mirror(old), user));
    let strict = || json!({"approval": "Required"});
    for weaker in [
        json!({"approval": "Automatic"}),
        json!({"approvedDigest": "sha256:1"}),
        json!({"approval": "Required", "maxNewlyFailing": 1}),
    ] {
        assert!(turns(weaker.clone(), strict(), "alice").contains("verb `approve`"), "{weaker}");
        assert_eq!(turns(weaker.clone(), strict(), "carol"), "", "{weaker}");
        assert_eq!(turns(weaker.clone(), weaker.clone(), "alice"), "", "{weaker} was there");
        assert_eq!(turns(strict(), weaker.clone(), "alice"), "", "{weaker} taken back");
        assert_ne!(denied(ours("CREATE", "trustrootmirrors", mirror(weaker), Value::Null, "alice")), "");
    }
    assert_eq!(
        denied(ours(
            "CREATE",
            "trustrootmirrors",
            json!({"metadata": {"name": "x"}, "spec": {}}),
            Value::Null,
            "alice"
        )),
        ""
    );
}

#[test]
fn tokens_go_to_nodes_alone() {
    let server = guarded();
    let denied = |request| denied(&server, &request);
    let token = json!({"metadata": {"name": "holdfast", "namespace": "holdfast-system"}});
    let mut of_node = ours("CREATE", "serviceaccounts/token", token.clone(), Value::Null, "system:node:n1");
    of_node.groups = vec!["system:nodes".to_owned()];
    assert_eq!(denied(of_node), "");
    assert_ne!(denied(ours("CREATE", "serviceaccounts/token", token, Value::Null, "alice")), "");
}

#[test]
fn scope_labels_of_enforced_namespaces_stay() {
    let server = guarded();
    let denied = |request| denied(&server, &request);
    let place = |name: &str, labels: Value| json!({"metadata": {"name": name, "labels": labels}});
    let relabels = |name: &str, new: Value, user: &str| {
        denied(ours("UPDATE", "namespaces", place(name, new), place(name, json!({"tier": "apps", "x": "1"})), user))
    };
    assert_ne!(relabels("billing", json!({"x": "1"}), "alice"), "");
    assert_ne!(relabels("billing", json!({"tier": "none", "x": "1"}), "alice"), "");
    assert_ne!(relabels("billing", json!({"tier": "apps", "policy.sigstore.dev/include": ""}), "alice"), "");
    assert_eq!(relabels("billing", json!({"tier": "apps", "x": "2"}), "alice"), "");
    assert_eq!(relabels("free", json!({}), "alice"), "");
    assert_eq!(relabels("billing", json!({}), "dave"), "");
    assert_eq!(relabels("billing", json!({}), HOLDFAST), "");
}
