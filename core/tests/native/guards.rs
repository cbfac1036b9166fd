//! The guards: who may write what, and who may approve.

use std::collections::BTreeSet;

use holdfast_core::Digest;
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
        release: BTreeSet::from([Digest::of(b"release"), Digest::of(b"next")]),
    }
}

pub(crate) const HOLDFAST: &str = "system:serviceaccount:holdfast-system:holdfast";

/// A request about one of our kinds.
pub(crate) fn ours(operation: &'static str, resource: &str, object: Value, old: Value, user: &str) -> Request {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let core =
        matches!(resource, "configmaps" | "secrets" | "serviceaccounts" | "namespaces" | "pods" | "podtemplates");
    let group = match resource {
        _ if core => "",
        "deployments" | "replicasets" => "apps",
        "cronjobs" | "jobs" => "batch",
        _ => "holdfast.dev",
    };
    let named = if object.is_null() { &old } else { &object };
    Request {
        operation,
        group: group.to_owned(),
        version: if group == "holdfast.dev" { "v1alpha1".to_owned() } else { "v1".to_owned() },
        resource: resource.to_owned(),
        subresource: subresource.to_owned(),
        kind: match resource {
            "cronjobs" => "CronJob".to_owned(),
            "podtemplates" => "PodTemplate".to_owned(),
            _ => String::new(),
        },
        namespace: named["metadata"]["namespace"].as_str().map(str::to_owned),
        name: named["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
        object,
        old,
        user: user.to_owned(),
        groups: Vec::new(),
    }
}

pub(crate) fn guarded() -> ApiServer {
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

pub(crate) fn denied(server: &ApiServer, request: &Request) -> String {
    let denied = server.review(request).denied;
    denied.into_iter().map(|(_, message)| message).collect::<Vec<_>>().join("\n")
}

#[test]
fn holdfast_alone_writes_parameters_and_status() {
    let server = guarded();
    let denied = |request| denied(&server, &request);
    let shard = json!({"metadata": {"name": "holdfast-verified-00-ff.apps"}, "spec": {"data": {}}});
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
    let mirror = |rotation: Value| json!({"metadata": {"name": "public"}, "spec": {"source": {"volume": {"path": "/m"}}, "rotation": rotation}});
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

/// A mirror with everything a guard looks at.
fn strict_mirror() -> Value {
    json!({"metadata": {"name": "public"}, "spec": {
        "source": {"oci": {"ref": "registry.corp.internal/trust:1", "caBundleRef": {"name": "corp", "key": "ca.crt"}, "pullSecretRef": {"name": "pull"}}},
        "bootstrap": {"rootSHA256": "aa", "configMap": {"namespace": "holdfast-system", "name": "root"}},
        "interval": "10m",
        "freshness": {"grace": "1h", "maxAge": "240h", "onStale": "FailClosed", "warnBefore": "336h"},
        "rotation": {"approval": "Required", "maxNewlyFailing": 0, "removalGrace": "72h"},
    }})
}

/// The mirror with one field replaced, or taken out.
fn with(mirror: &Value, path: &str, value: Value) -> Value {
    let mut changed = mirror.clone();
    let (parent, field) = path.rsplit_once('/').unwrap();
    let parent = changed["spec"].pointer_mut(parent).unwrap().as_object_mut().unwrap();
    if value.is_null() {
        parent.remove(field)
    } else {
        parent.insert(field.to_owned(), value)
    };
    changed
}

#[test]
fn another_pin_source_or_age_takes_the_verb() {
    let server = guarded();
    let turns = |old: &Value, new: &Value, user: &str| {
        denied(&server, &ours("UPDATE", "trustrootmirrors", new.clone(), old.clone(), user))
    };
    let strict = strict_mirror();
    let plain = json!({"metadata": {"name": "public"}, "spec": {"source": {"keys": {"publicKeys": [{"name": "a", "publicKey": "PEM"}]}}}});
    let weakenings = [
        (&strict, "/bootstrap/rootSHA256", json!("bb"), "rootSHA256"),
        (&strict, "/bootstrap", Value::Null, "rootSHA256"),
        (&plain, "/bootstrap", json!({"rootSHA256": "aa"}), "rootSHA256"),
        (&strict, "/source/oci/ref", json!("registry.corp.internal/trust:2"), "`source`"),
        (&strict, "/source/oci/caBundleRef", Value::Null, "`source`"),
        (&strict, "/source/oci/caBundleRef/key", json!("other.crt"), "`source`"),
        (&strict, "/source", json!({"volume": {"path": "/m"}}), "`source`"),
        (&strict, "/source", json!({"oci": {"ref": "registry.corp.internal/trust:1"}}), "`source`"),
        (&plain, "/source/keys/publicKeys", json!([{"name": "a", "publicKey": "PEN"}]), "`source`"),
        (&plain, "/source", json!({"oci": {"ref": "registry.corp.internal/trust:1"}}), "`source`"),
        (&strict, "/rotation/removalGrace", json!("72h1s"), "removalGrace"),
        (&strict, "/rotation/removalGrace", json!("4321m"), "removalGrace"),
        (&plain, "/rotation", json!({"removalGrace": "73h"}), "removalGrace"),
        (&strict, "/freshness/grace", json!("61m"), "freshness"),
        (&plain, "/freshness", json!({"grace": "1s"}), "freshness"),
        (&strict, "/freshness/maxAge", json!("241h"), "freshness"),
        (&strict, "/freshness/maxAge", Value::Null, "freshness"),
        (&strict, "/freshness", Value::Null, "freshness"),
        (&strict, "/freshness/onStale", json!("Alert"), "freshness"),
        (&strict, "/freshness/onStale", Value::Null, "freshness"),
    ];
    for (old, path, value, says) in weakenings {
        let new = with(old, path, value.clone());
        let said = turns(old, &new, "alice");
        assert!(said.contains(says) && said.contains("verb `approve`"), "{path} {value}: {said}");
        assert_eq!(said.lines().count(), 1, "{path} {value}: {said}");
        assert_eq!(turns(old, &new, "carol"), "", "{path} {value}");
        assert!(turns(old, &new, "bob").contains("verb `approve`"), "{path} {value}: the verb on other objects");
        assert_eq!(turns(&new, &new, "alice"), "", "{path} {value}: it was there");
        assert_eq!(
            denied(&server, &ours("CREATE", "trustrootmirrors", new, Value::Null, "alice")),
            "",
            "{path} {value}"
        );
    }
}

#[test]
fn what_weakens_no_trust_root_takes_no_verb() {
    let server = guarded();
    let strict = strict_mirror();
    let loose = with(&strict, "/freshness", json!({}));
    for (old, path, value) in [
        (&strict, "/source/oci/pullSecretRef", json!({"name": "other"})),
        (&strict, "/source/oci/pullSecretRef", Value::Null),
        (&strict, "/bootstrap/configMap/name", json!("elsewhere")),
        (&strict, "/interval", json!("1h")),
        (&strict, "/suspend", json!(true)),
        (&strict, "/distribution", json!({"tufRepository": {}})),
        (&strict, "/rotation/removalGrace", json!("4320m")),
        (&strict, "/rotation/removalGrace", json!("1h")),
        (&strict, "/freshness/grace", json!("0s")),
        (&strict, "/freshness/maxAge", json!("1h")),
        (&strict, "/freshness/warnBefore", json!("1h")),
        (&loose, "/freshness/maxAge", json!("8760h")),
        (&loose, "/freshness/onStale", json!("FailClosed")),
    ] {
        let new = with(old, path, value.clone());
        let request = ours("UPDATE", "trustrootmirrors", new, old.clone(), "alice");
        assert_eq!(denied(&server, &request), "", "{path} {value}");
    }
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

const REPLICA_SETS: &str = "system:serviceaccount:kube-system:replicaset-controller";
const DEPLOYMENTS: &str = "system:serviceaccount:kube-system:deployment-controller";

fn image(of: &str) -> String {
    format!("registry.corp.internal/holdfast@{}", Digest::of(of.as_bytes()))
}

/// A pod of this account, with these images.
fn pod(account: Option<&str>, images: &[String]) -> Value {
    let containers: Vec<Value> = images.iter().map(|image| json!({"name": "c", "image": image})).collect();
    let mut spec = json!({"containers": containers});
    if let Some(account) = account {
        spec["serviceAccountName"] = json!(account);
    }
    spec
}

fn of_namespace(namespace: &str, spec: impl Into<Value>) -> Value {
    let spec: Value = spec.into();
    json!({"metadata": {"name": "x", "namespace": namespace}, "spec": spec})
}

#[test]
fn pods_act_as_holdfast_only_where_a_workload_makes_them() {
    let server = guarded();
    let denied = |request| denied(&server, &request);
    let creates = |user: &str, namespace: &str, account: Option<&str>| {
        denied(ours("CREATE", "pods", of_namespace(namespace, pod(account, &[image("release")])), Value::Null, user))
    };
    for user in [REPLICA_SETS, "system:kube-controller-manager", "dave"] {
        assert_eq!(creates(user, "holdfast-system", Some("holdfast")), "", "{user}");
    }
    for user in ["alice", "bob", HOLDFAST, DEPLOYMENTS, "system:serviceaccount:ci:replicaset-controller"] {
        assert!(creates(user, "holdfast-system", Some("holdfast")).contains("act as holdfast"), "{user}");
    }
    // Another account, none, or another namespace's account of that name.
    assert_eq!(creates("alice", "holdfast-system", Some("other")), "");
    assert_eq!(creates("alice", "holdfast-system", None), "");
    assert_eq!(creates("alice", "shop", Some("holdfast")), "");
}

#[test]
fn pods_that_act_as_holdfast_carry_its_release() {
    let server = guarded();
    let denied = |request| denied(&server, &request);
    let runs = |user: &str, images: &[String]| {
        denied(ours(
            "CREATE",
            "pods",
            of_namespace("holdfast-system", pod(Some("holdfast"), images)),
            Value::Null,
            user,
        ))
    };
    assert_eq!(runs(REPLICA_SETS, &[image("release")]), "");
    assert_eq!(runs(REPLICA_SETS, &[image("release"), image("next")]), "");
    for images in [
        vec![image("other")],
        vec![image("release"), image("other")],
        vec!["registry.corp.internal/holdfast:v1".to_owned()],
        vec![image("release") + "x"],
        vec![Digest::of(b"release").to_string()],
    ] {
        assert!(runs(REPLICA_SETS, &images).contains("not of holdfast's release"), "{images:?}");
        assert!(runs("dave", &images).contains("not of holdfast's release"), "{images:?}");
    }
    let with = |change: &dyn Fn(&mut Value)| {
        let mut spec = pod(Some("holdfast"), &[image("release")]);
        change(&mut spec);
        denied(ours("CREATE", "pods", of_namespace("holdfast-system", spec), Value::Null, REPLICA_SETS))
    };
    assert_ne!(with(&|spec| spec["initContainers"] = json!([{"name": "i", "image": image("other")}])), "");
    assert_ne!(with(&|spec| spec["volumes"] = json!([{"name": "v", "image": {"reference": image("other")}}])), "");
    assert_eq!(with(&|spec| spec["volumes"] = json!([{"name": "v", "emptyDir": {}}])), "");
    // Without a release there is nothing to hold images to; who makes the pod is judged all the same.
    let loose = GuardSettings { release: BTreeSet::new(), ..settings() };
    let server = ApiServer::new(guards(&loose).iter().map(Object::body));
    let request = |user| {
        ours(
            "CREATE",
            "pods",
            of_namespace("holdfast-system", pod(Some("holdfast"), &[image("other")])),
            Value::Null,
            user,
        )
    };
    assert!(server.review(&request(REPLICA_SETS)).denied.is_empty());
    assert_eq!(server.review(&request("alice")).denied.len(), 1);
}

#[test]
fn a_pod_of_holdfast_is_not_given_another_image_and_is_let_go() {
    let server = guarded();
    let denied = |request| denied(&server, &request);
    let updates = |user: &str, new: Value, old: Value| denied(ours("UPDATE", "pods", new, old, user));
    let now = || of_namespace("holdfast-system", pod(Some("holdfast"), &[image("release")]));
    let next = || of_namespace("holdfast-system", pod(Some("holdfast"), &[image("next")]));
    let other = || of_namespace("holdfast-system", pod(Some("holdfast"), &[image("other")]));
    for user in ["alice", REPLICA_SETS, HOLDFAST] {
        assert_ne!(updates(user, next(), now()), "", "{user}");
    }
    assert_eq!(updates("dave", next(), now()), "");
    assert_ne!(updates("dave", other(), now()), "");
    let mut labelled = other();
    labelled["metadata"]["labels"] = json!({"x": "y"});
    labelled["metadata"]["deletionTimestamp"] = json!("2026-11-25T00:00:00Z");
    assert_eq!(updates("system:serviceaccount:kube-system:generic-garbage-collector", labelled, other()), "");
}

#[test]
fn the_mirror_of_a_static_pod_is_a_nodes_business() {
    let settings = GuardSettings { service_account: "default".to_owned(), ..settings() };
    let server = ApiServer::new(guards(&settings).iter().map(Object::body));
    let mut mirror = of_namespace("holdfast-system", pod(None, &["static:1".to_owned()]));
    mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
    let mut request = ours("CREATE", "pods", mirror, Value::Null, "system:node:n1");
    assert!(!server.review(&request).denied.is_empty(), "the annotation alone can be forged");
    request.groups = vec!["system:nodes".to_owned()];
    assert!(server.review(&request).denied.is_empty());
    // An account that is not named is `default`.
    let unnamed =
        ours("CREATE", "pods", of_namespace("holdfast-system", pod(None, &[image("release")])), Value::Null, "alice");
    assert!(!server.review(&unnamed).denied.is_empty());
}

#[test]
fn workloads_that_act_as_holdfast_are_for_those_who_may_approve() {
    let server = guarded();
    let denied = |request| denied(&server, &request);
    let template = |of: &str| json!({"metadata": {}, "spec": pod(Some("holdfast"), &[image(of)])});
    let workload = |resource: &str, of: &str| match resource {
        "cronjobs" => of_namespace("holdfast-system", json!({"jobTemplate": {"spec": {"template": template(of)}}})),
        "podtemplates" => {
            json!({"metadata": {"name": "x", "namespace": "holdfast-system"}, "template": template(of)})
        }
        _ => of_namespace("holdfast-system", json!({"replicas": 1, "template": template(of)})),
    };
    for resource in ["deployments", "replicasets", "jobs", "cronjobs", "podtemplates"] {
        let creates = |user: &str| denied(ours("CREATE", resource, workload(resource, "release"), Value::Null, user));
        assert!(creates("alice").contains("act as holdfast"), "{resource}");
        assert_ne!(creates(REPLICA_SETS), "", "{resource}");
        assert_eq!(creates(DEPLOYMENTS), "", "{resource}");
        assert_eq!(creates("dave"), "", "{resource}");
        let changes = |user: &str| {
            denied(ours("UPDATE", resource, workload(resource, "next"), workload(resource, "release"), user))
        };
        assert_ne!(changes("alice"), "", "{resource}");
        assert_eq!(changes("dave"), "", "{resource}");
    }
    // Scaling, and what the API server's own do with what is there.
    let mut scaled = workload("deployments", "release");
    scaled["spec"]["replicas"] = json!(3);
    assert_eq!(denied(ours("UPDATE", "deployments", scaled, workload("deployments", "release"), "alice")), "");
    let mut elsewhere = workload("deployments", "release");
    elsewhere["metadata"]["namespace"] = json!("shop");
    assert_eq!(denied(ours("CREATE", "deployments", elsewhere, Value::Null, "alice")), "");
}

#[test]
fn nobody_gets_into_the_pods_of_holdfasts_namespace() {
    let server = guarded();
    let denied = |request| denied(&server, &request);
    let enters = |subresource: &str, namespace: &str, user: &str| {
        let options = json!({"kind": "PodExecOptions", "command": ["sh"]});
        let mut request = ours("CONNECT", &format!("pods/{subresource}"), options, Value::Null, user);
        request.namespace = Some(namespace.to_owned());
        request.name = "holdfast-1".to_owned();
        denied(request)
    };
    for subresource in ["exec", "attach", "portforward", "proxy"] {
        for user in ["alice", "bob", HOLDFAST] {
            assert!(enters(subresource, "holdfast-system", user).contains("gets into"), "{subresource} {user}");
        }
        assert_eq!(enters(subresource, "holdfast-system", "dave"), "", "{subresource}");
        assert_eq!(enters(subresource, "shop", "alice"), "", "{subresource}");
    }
    let mut with = pod(Some("holdfast"), &[image("release")]);
    with["ephemeralContainers"] = json!([{"name": "debug", "image": "busybox"}]);
    let adds = |account: &str, user: &str, with: &Value| {
        let mut with = with.clone();
        with["serviceAccountName"] = json!(account);
        let old = of_namespace("holdfast-system", pod(Some(account), &[image("release")]));
        denied(ours("UPDATE", "pods/ephemeralcontainers", of_namespace("holdfast-system", with), old, user))
    };
    assert!(adds("holdfast", "alice", &with).contains("gets into"));
    assert!(adds("other", "alice", &with).contains("gets into"));
    assert_eq!(adds("other", "dave", &with), "");
    assert!(adds("holdfast", "dave", &with).contains("not of holdfast's release"), "it would have its token");
}

#[test]
fn no_secret_is_filled_with_a_token_of_holdfast() {
    let server = guarded();
    let denied = |request| denied(&server, &request);
    let secret = |kind: &str, account: &str| json!({"metadata": {"name": "t", "namespace": "holdfast-system", "annotations": {"kubernetes.io/service-account.name": account}}, "type": kind});
    let token = "kubernetes.io/service-account-token";
    let creates = |secret: Value, user: &str| denied(ours("CREATE", "secrets", secret, Value::Null, user));
    for user in ["alice", "dave", HOLDFAST] {
        assert!(creates(secret(token, "holdfast"), user).contains("does not end"), "{user}");
    }
    assert_eq!(creates(secret(token, "other"), "alice"), "");
    assert_eq!(creates(secret("Opaque", "holdfast"), "alice"), "");
    assert_eq!(creates(json!({"metadata": {"name": "t", "namespace": "holdfast-system"}, "type": token}), "alice"), "");
    let renames = |new: Value, old: Value| denied(ours("UPDATE", "secrets", new, old, "alice"));
    assert_ne!(renames(secret(token, "holdfast"), secret(token, "other")), "");
    assert_eq!(renames(secret(token, "holdfast"), secret(token, "holdfast")), "", "it is there already");
}

/// A guard that fails closed over what a cluster needs to live would stop it.
#[test]
fn no_guard_is_about_what_a_cluster_lives_on() {
    for object in guards(&settings()).iter().filter(|object| object.kind() == "ValidatingAdmissionPolicyBinding") {
        let name = object.name();
        let policy = guards(&settings())
            .into_iter()
            .find(|policy| policy.kind() == "ValidatingAdmissionPolicy" && policy.name() == name)
            .unwrap();
        let only_ours = policy.body()["spec"]["matchConstraints"]["resourceRules"]
            .as_array()
            .unwrap()
            .iter()
            .all(|rule| rule["apiGroups"] == json!(["holdfast.dev"]));
        let selector = &object.body()["spec"]["matchResources"]["namespaceSelector"];
        let own_namespace = selector["matchExpressions"][0]["values"] == json!(["holdfast-system"]);
        let enforced_namespaces = name == "holdfast-guard-scope";
        // About pods anywhere, but of holdfast's making alone, which makes none.
        let conditions = &policy.body()["spec"]["matchConditions"];
        let by_holdfast = name == "holdfast-guard-canaries"
            && conditions[0]["expression"]
                == "request.userInfo.username == 'system:serviceaccount:holdfast-system:holdfast'";
        assert!(only_ours || own_namespace || enforced_namespaces || by_holdfast, "{name}");
    }
}
