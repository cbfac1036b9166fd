//! The chart on a real API server: it takes every object, compiles the guards, and refuses by them what they say.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // a test that cannot go on fails

#[path = "support/chart.rs"]
mod chart_support;
#[path = "support/cluster.rs"]
mod cluster_support;

use chart_support::{NAMESPACE, helm, template, values};
use cluster_support::{Answer, Cluster};
use serde_json::{Value, json};

const HOLDFAST: &str = "system:serviceaccount:holdfast-system:holdfast";
const ROBOT: &str = "system:serviceaccount:ci:robot";

#[test]
fn the_chart_is_taken_and_its_guards_refuse_what_they_say() {
    let Some(helm) = helm() else { return };
    let Some(cluster) = Cluster::up() else { return };
    let rendered =
        template(&helm, &["--values", &values("minimal"), "--set", "distributionNames={sigstore-trusted-root}"])
            .unwrap();
    everything_is_taken(&cluster, &rendered);
    guards_compile(&cluster);
    people(&cluster);
    trust_roots(&cluster);
    approvals(&cluster);
    acting_as_holdfast(&cluster);
    holdfast_itself(&cluster);
    manifests(&cluster);
    a_release_that_is_pinned(&cluster, &helm);
}

/// Also where the namespace is held to the restricted standard.
fn everything_is_taken(cluster: &Cluster, rendered: &str) {
    cluster.admin(&["create", "namespace", NAMESPACE], "");
    let restricted = "pod-security.kubernetes.io/enforce=restricted";
    cluster.admin(&["label", "namespace", NAMESPACE, restricted, "pod-security.kubernetes.io/warn=restricted"], "");
    let applied = cluster.kubectl(None, &["apply", "--server-side", "-f", "-"], rendered);
    assert!(applied.ok && applied.err.is_empty(), "{}", applied.err);
    cluster.until("its pods are made", |cluster| {
        cluster.admin(&["get", "pods", "-n", NAMESPACE, "-o", "name"], "").lines().count() == 2
    });
}

fn guards_compile(cluster: &Cluster) {
    let policies = |cluster: &Cluster| -> Vec<Value> {
        let text = cluster.admin(&["get", "validatingadmissionpolicies", "-o", "json"], "");
        serde_json::from_str::<Value>(&text).unwrap()["items"].as_array().unwrap().clone()
    };
    cluster.until("the guards are compiled", |cluster| {
        policies(cluster)
            .iter()
            .all(|policy| policy["status"]["observedGeneration"] == policy["metadata"]["generation"])
    });
    let all = policies(cluster);
    assert!(all.len() >= 10);
    for policy in all {
        let warnings = &policy["status"]["typeChecking"]["expressionWarnings"];
        assert!(warnings.is_null(), "{}: {warnings}", policy["metadata"]["name"]);
    }
}

/// Alice edits, bob approves, too; carol may make approvals and has no verb.
fn people(cluster: &Cluster) {
    let bind = |name: &str, role: &str, user: &str| {
        let (role, user) = (format!("--clusterrole={role}"), format!("--user={user}"));
        cluster.admin(&["create", "clusterrolebinding", name, &role, &user], "");
    };
    let makes = ["create", "clusterrole", "makes-approvals", "--verb=create", "--resource=trustapprovals.holdfast.dev"];
    cluster.admin(&makes, "");
    bind("alice-edits", "edit", "alice");
    bind("bob-edits", "edit", "bob");
    bind("bob-approves", "holdfast-approver", "bob");
    bind("carol-makes", "makes-approvals", "carol");
    bind("robot-approves", "holdfast-approver", ROBOT);
    // `edit` is gathered from the chart's roles by a controller.
    cluster.until("alice may edit", |cluster| {
        cluster.kubectl(Some("alice"), &["auth", "can-i", "patch", "trustrootmirrors.holdfast.dev"], "").ok
    });
}

#[track_caller]
fn refused(answer: &Answer, guard: &str, says: &str) {
    let by = format!("'holdfast-guard-{guard}'");
    assert!(!answer.ok, "not refused by {guard}: {}", answer.out);
    assert!(
        answer.err.contains(&by) && answer.err.contains(says),
        "not refused by {guard} with {says}: {}",
        answer.err
    );
}

fn trust_roots(cluster: &Cluster) {
    let digits = |digit: &str| digit.repeat(64);
    let mirror = json!({
        "apiVersion": "holdfast.dev/v1alpha1", "kind": "TrustRootMirror", "metadata": {"name": "public"},
        "spec": {
            "source": {"oci": {"ref": "registry.corp.internal/trust:1", "pullSecretRef": {"name": "a"}}},
            "bootstrap": {"rootSHA256": digits("1"), "configMap": {"namespace": NAMESPACE, "name": "root", "key": "root.json"}},
            "freshness": {"grace": "1h", "maxAge": "240h", "onStale": "FailClosed"},
        },
    });
    let probe = json!({"spec": {"rotation": {"approval": "Automatic"}}});
    let patch = |user: &str, change: &Value| {
        let change = change.to_string();
        let patch = ["patch", "trustrootmirror", "public", "--type=merge", "--dry-run=server", "-p", &change];
        cluster.kubectl(Some(user), &patch, "")
    };
    let made = cluster.kubectl(Some("alice"), &["create", "-f", "-"], &mirror.to_string());
    assert!(made.ok, "{}", made.err);
    cluster.until("the guard of trust roots is in force", |_| !patch("alice", &probe).ok);
    for (change, says) in [
        (probe.clone(), "`rotation.approvedDigest`"),
        (json!({"rotation": {"approvedDigest": format!("sha256:{}", digits("1"))}}), "`rotation.approvedDigest`"),
        (json!({"rotation": {"maxNewlyFailing": 1}}), "`rotation.approvedDigest`"),
        (json!({"rotation": {"removalGrace": "73h"}}), "`removalGrace`"),
        (json!({"bootstrap": {"rootSHA256": digits("2")}}), "`bootstrap.rootSHA256`"),
        (json!({"source": {"oci": {"ref": "registry.corp.internal/trust:2"}}}), "`source`"),
        (json!({"source": {"oci": {"caBundleRef": {"name": "ca", "key": "ca.crt"}}}}), "`source`"),
        (json!({"source": {"oci": {"tokenUrl": "https://tokens.corp.internal/"}}}), "`source`"),
        (json!({"source": {"oci": {"redirectHosts": ["storage.corp.internal"]}}}), "`source`"),
        (json!({"source": {"oci": {"plainHttp": true}}}), "`source`"),
        (json!({"source": {"oci": null, "volume": {"path": "/m"}}}), "`source`"),
        (json!({"distribution": {"configMaps": {"namespaceSelector": {}, "name": "a"}}}), "`distribution.configMaps`"),
        (
            json!({"bootstrap": null, "source": {"oci": null, "keys": {"publicKeys": [{"name": "a", "publicKey": "PEM"}]}}}),
            "`bootstrap.rootSHA256`",
        ),
        (json!({"freshness": {"grace": "61m"}}), "`freshness.grace`"),
        (json!({"freshness": {"maxAge": "241h"}}), "`freshness.grace`"),
        (json!({"freshness": {"maxAge": null}}), "`freshness.grace`"),
        (json!({"freshness": {"onStale": "Alert"}}), "`freshness.grace`"),
    ] {
        let change = if change.get("spec").is_some() { change } else { json!({"spec": change}) };
        let answer = patch("alice", &change);
        refused(&answer, "rotation", says);
        let answer = patch("bob", &change);
        assert!(answer.ok, "{change}: {}", answer.err);
    }
    for change in [
        json!({"interval": "20m"}),
        json!({"suspend": true}),
        json!({"source": {"oci": {"pullSecretRef": {"name": "b"}}}}),
        json!({"freshness": {"maxAge": "24h", "grace": "0s"}}),
        json!({"rotation": {"removalGrace": "1h"}}),
    ] {
        let answer = patch("alice", &json!({"spec": change}));
        assert!(answer.ok, "{change}: {}", answer.err);
    }
    let mut distributed = mirror.clone();
    distributed["metadata"]["name"] = json!("other");
    distributed["spec"]["distribution"] = json!({"configMaps": {"namespaceSelector": {}, "name": "a"}});
    let create = ["create", "--dry-run=server", "-f", "-"];
    refused(
        &cluster.kubectl(Some("alice"), &create, &distributed.to_string()),
        "rotation",
        "`distribution.configMaps`",
    );
    let answer = cluster.kubectl(Some("bob"), &create, &distributed.to_string());
    assert!(answer.ok, "{}", answer.err);
    let status =
        ["patch", "trustrootmirror", "public", "--subresource=status", "--type=merge", "-p", "{\"status\":{}}"];
    refused(&cluster.kubectl(None, &status, ""), "parameters", "written by holdfast alone");
    let answer = cluster.kubectl(Some("bob"), &["delete", "trustrootmirror", "public", "--dry-run=server"], "");
    assert!(answer.ok, "{}", answer.err);
}

fn approval(name: &str, approver: &str, kind: &str) -> String {
    let digest = format!("sha256:{}", "1".repeat(64));
    json!({
        "apiVersion": "holdfast.dev/v1alpha1", "kind": "TrustApproval", "metadata": {"name": name},
        "spec": {"approver": approver, "for": {"kind": kind, "name": "public", "digest": digest}},
    })
    .to_string()
}

fn approvals(cluster: &Cluster) {
    let create =
        |user: &str, object: &str| cluster.kubectl(Some(user), &["create", "--dry-run=server", "-f", "-"], object);
    for kind in ["TrustRootMirror", "SigningIdentityPolicy", "TrustBreakGlass"] {
        let answer = create("bob", &approval("a", "bob", kind));
        assert!(answer.ok, "{kind}: {}", answer.err);
        refused(&create("carol", &approval("a", "carol", kind)), "approval", "verb `approve`");
        refused(&create("carol", &approval("a", "bob", kind)), "approval", "not you");
        refused(&create("bob", &approval("a", "carol", kind)), "approval", "not you");
    }
    refused(&create(ROBOT, &approval("a", ROBOT, "TrustRootMirror")), "approval", "service account");
    let glass = |by: &str, until: &str| {
        json!({
            "apiVersion": "holdfast.dev/v1alpha1", "kind": "TrustBreakGlass", "metadata": {"name": "inc"},
            "spec": {"reason": "INC-1", "requestedBy": by, "until": until, "loosen": {"acceptStale": {"trustRoot": "public"}}},
        })
        .to_string()
    };
    let admin = |object: &str| cluster.kubectl(None, &["create", "--dry-run=server", "-f", "-"], object);
    refused(&admin(&glass("alice", "2000-01-01T00:00:00Z")), "break-glass", "not you");
    refused(&admin(&glass("admin", "2000-01-01T00:00:00Z")), "break-glass", "in the past");
    refused(&admin(&glass("admin", "9999-01-01T00:00:00Z")), "break-glass", "72 hours");
}

/// A pod with holdfast's account, restricted.
fn pod(image: &str) -> String {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "namespace": NAMESPACE},
        "spec": {
            "serviceAccountName": "holdfast",
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "c", "image": image,
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            }],
        },
    })
    .to_string()
}

fn acting_as_holdfast(cluster: &Cluster) {
    let create = ["create", "--dry-run=server", "-f", "-"];
    refused(&cluster.kubectl(Some("alice"), &create, &pod("evil")), "pods", "act as holdfast");
    let image = ["set", "image", "-n", NAMESPACE, "deployment/holdfast", "holdfast=evil", "--dry-run=server"];
    refused(&cluster.kubectl(Some("alice"), &image, ""), "workloads", "act as holdfast");
    let scale = ["scale", "-n", NAMESPACE, "deployment/holdfast", "--replicas=1", "--dry-run=server"];
    assert!(cluster.kubectl(Some("alice"), &scale, "").ok);
    let token = ["create", "token", "-n", NAMESPACE, "holdfast"];
    refused(&cluster.kubectl(None, &token, ""), "tokens", "only a node");
    let pods = cluster.admin(&["get", "pods", "-n", NAMESPACE, "-o", "name"], "");
    let exec = ["exec", "-n", NAMESPACE, pods.lines().next().unwrap(), "--", "sh"];
    refused(&cluster.kubectl(Some("alice"), &exec, ""), "entry", "gets into");
}

/// The account the chart binds: it is refused what the guards are tried with, keeps its memory, and reads no more than it is given.
fn holdfast_itself(cluster: &Cluster) {
    let apply = |object: &str, more: &[&str]| {
        let arguments = [&["apply", "--server-side", "-f", "-"], more].concat();
        cluster.kubectl(Some(HOLDFAST), &arguments, object)
    };
    let probe =
        apply(&approval("holdfast-probe", "nobody", "TrustRootMirror"), &["--dry-run=server", "--validate=false"]);
    refused(&probe, "approval", "not you");
    let mirror = json!({
        "apiVersion": "holdfast.dev/v1alpha1", "kind": "TrustRootMirror", "metadata": {"name": "holdfast-probe"},
        "spec": {"source": {"keys": {"publicKeys": [{"name": "a", "publicKey": "PEM"}]}}, "rotation": {"approval": "Automatic"}},
    });
    let probe = apply(&mirror.to_string(), &["--dry-run=server", "--validate=false"]);
    refused(&probe, "rotation", "verb `approve`");
    let other = apply(&approval("other", HOLDFAST, "TrustRootMirror"), &["--dry-run=server", "--validate=false"]);
    assert!(!other.ok && !other.err.contains("holdfast-guard"), "by RBAC, before any guard: {}", other.err);

    let memory = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "holdfast-memory-public", "namespace": NAMESPACE, "labels": {"holdfast.dev/memory": "public"}},
    })
    .to_string();
    let made = cluster.kubectl(Some(HOLDFAST), &["create", "--validate=false", "-f", "-"], &memory);
    assert!(made.ok, "{}", made.err);
    let delete = ["delete", "configmap", "-n", NAMESPACE, "holdfast-memory-public"];
    let answer = cluster.kubectl(Some(HOLDFAST), &delete, "");
    assert!(!answer.ok && answer.err.contains("cannot delete"), "{}", answer.err);
    refused(&cluster.kubectl(None, &delete, ""), "memory", "written by holdfast alone");
    for name in ["holdfast-policy-apps", "holdfast-enforced-apps", "holdfast-verified", "holdfast-trust-record-public"]
    {
        let plant = ["create", "configmap", "-n", NAMESPACE, name];
        refused(&cluster.kubectl(None, &plant, ""), "memory", "written by holdfast alone");
    }

    let distributed = |name: &str| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}}).to_string()
    };
    let answer = apply(&distributed("sigstore-trusted-root"), &["--validate=false"]);
    assert!(answer.ok, "{}", answer.err);
    assert!(!apply(&distributed("other"), &["--validate=false"]).ok);
    for (verb, what) in [
        ("delete", "pods"),
        ("get", "secrets"),
        ("list", "secrets"),
        ("get", "serviceaccounts"),
        ("delete", "trustrootmirrors.holdfast.dev"),
        ("approve", "trustrootmirrors.holdfast.dev"),
        ("create", "trustbreakglasses.holdfast.dev"),
        ("delete", "trustbreakglasses.holdfast.dev"),
        ("patch", "trustbreakglasses.holdfast.dev"),
        // Policies are replaced as a whole, and pods are made in dry runs alone; see below.
        ("patch", "validatingadmissionpolicies.admissionregistration.k8s.io"),
        ("update", "validatingwebhookconfigurations.admissionregistration.k8s.io"),
        ("get", "validatingwebhookconfigurations.admissionregistration.k8s.io"),
        ("get", "customresourcedefinitions.apiextensions.k8s.io"),
        ("patch", "customresourcedefinitions.apiextensions.k8s.io"),
        ("patch", "deployments.apps"),
        ("create", "clusterroles.rbac.authorization.k8s.io"),
        ("bind", "clusterroles.rbac.authorization.k8s.io"),
        ("escalate", "clusterroles.rbac.authorization.k8s.io"),
        ("create", "clusterrolebindings.rbac.authorization.k8s.io"),
    ] {
        let answer = cluster.kubectl(Some(HOLDFAST), &["auth", "can-i", verb, what], "");
        assert_eq!(answer.out.trim(), "no", "{verb} {what}");
    }
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "made-by-holdfast", "namespace": "default"},
        "spec": {"automountServiceAccountToken": false, "containers": [{"name": "a", "image": "registry.corp.internal/a"}]},
    })
    .to_string();
    let create = ["create", "--validate=false", "-f", "-"];
    refused(&cluster.kubectl(Some(HOLDFAST), &create, &pod), "canaries", "in dry runs alone");
    let tried = cluster.kubectl(Some(HOLDFAST), &[&create[..], &["--dry-run=server"]].concat(), &pod);
    assert!(!tried.err.contains("holdfast-guard"), "{}", tried.err);
    let others = cluster.kubectl(None, &create, &pod);
    assert!(!others.err.contains("holdfast-guard"), "{}", others.err);
}

/// What kustomize users build on, and what they begin with.
fn manifests(cluster: &Cluster) {
    let config = chart_support::root().join("config");
    for part in ["default", "samples"] {
        let built = cluster.admin(&["kustomize", config.join(part).to_str().unwrap()], "");
        // Approvals and a break-glass are made in one's own name, and not long before.
        let built =
            built.replace("approver: bob", "approver: admin").replace("requestedBy: alice", "requestedBy: admin");
        let soon = (jiff::Timestamp::UNIX_EPOCH + in_an_hour(cluster)).to_string();
        let built = built.replace("2026-11-25T06:00:00Z", &soon);
        let apply = ["apply", "--server-side", "--dry-run=server", "--force-conflicts", "-f", "-"];
        let answer = cluster.kubectl(None, &apply, &built);
        assert!(answer.ok && answer.err.is_empty(), "{part}: {}", answer.err);
    }
}

/// In an hour, by the API server's clock.
fn in_an_hour(cluster: &Cluster) -> jiff::SignedDuration {
    let get = ["get", "namespace", NAMESPACE, "-o", "jsonpath={.metadata.creationTimestamp}"];
    let made: jiff::Timestamp = cluster.admin(&get, "").parse().unwrap();
    made.duration_since(jiff::Timestamp::UNIX_EPOCH) + jiff::SignedDuration::from_hours(1)
}

/// With lists of digests and of accounts, which the guards hold as texts.
fn a_release_that_is_pinned(cluster: &Cluster, helm: &std::path::Path) {
    let digest = format!("sha256:{}", "1".repeat(64));
    let pinned = template(
        helm,
        &[
            "--values",
            &values("pinned"),
            "--set",
            &format!("approvingServiceAccounts={{{ROBOT}}},distributionNames={{sigstore-trusted-root}}"),
        ],
    )
    .unwrap();
    let applied = cluster.kubectl(None, &["apply", "--server-side", "-f", "-"], &pinned);
    assert!(applied.ok && applied.err.is_empty(), "{}", applied.err);
    guards_compile(cluster);
    let create = ["create", "--dry-run=server", "-f", "-"];
    cluster.until("a service account that is listed approves", |cluster| {
        cluster.kubectl(Some(ROBOT), &create, &approval("a", ROBOT, "TrustRootMirror")).ok
    });
    // The administrator holds every verb.
    let pod = |image: &str| cluster.kubectl(None, &create, &pod(image));
    cluster.until("the guard holds images", |_| !pod("registry.corp.internal/other:1").ok);
    refused(&pod("registry.corp.internal/other:1"), "pods", "not of holdfast's release");
    let answer = pod(&format!("registry.corp.internal/holdfast@{digest}"));
    assert!(answer.ok, "{}", answer.err);
}
