//! The guards of what holdfast remembers, and of the labels by which namespaces are chosen.

use holdfast_core::engines::Object;
use holdfast_core::engines::native::{GuardSettings, guards};
use serde_json::{Value, json};

use crate::guards::{HOLDFAST, denied, guarded, ours, settings};
use crate::lengths::is_taken;
use crate::vap::ApiServer;

const NAMESPACES: &str = "system:serviceaccount:kube-system:namespace-controller";

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

/// Memory is read by its name, so a name is enough to be guarded.
#[test]
fn holdfast_alone_writes_what_is_called_as_its_memory_is() {
    let server = guarded();
    let map = |name: &str, labels: Value| json!({"metadata": {"name": name, "namespace": "holdfast-system", "labels": labels}});
    let denies = |name: &str, user: &str| {
        let (bare, other) = (map(name, json!({})), map(name, json!({"x": "y"})));
        let writes = |operation, new, old| !denied(&server, &ours(operation, "configmaps", new, old, user)).is_empty();
        let all = [
            writes("CREATE", bare.clone(), Value::Null),
            writes("UPDATE", other, bare.clone()),
            writes("DELETE", Value::Null, bare),
        ];
        assert!(all.iter().all(|denied| *denied == all[0]), "{name} {user}: {all:?}");
        all[0]
    };
    for name in [
        "holdfast-policy-apps",
        "holdfast-enforced-apps",
        "holdfast-verified",
        "holdfast-verified-unseen",
        "holdfast-trust-memory-corp-0123456789abcdef",
        "holdfast-trust-record-corp",
    ] {
        assert!(denies(name, "alice") && denies(name, "dave"), "{name}");
        assert!(denies(name, NAMESPACES), "{name}");
        assert!(!denies(name, HOLDFAST), "{name}");
    }
    // Of the chart, of Kubernetes, of people, and trust that is given to workloads.
    for name in [
        "holdfast-config",
        "kube-root-ca.crt",
        "bootstrap",
        "holdfast-trust",
        "trusted-root",
        "my-holdfast-policy-apps",
    ] {
        assert!(!denies(name, "alice"), "{name}");
    }
    let secret = map("holdfast-policy-apps", json!({}));
    assert_eq!(denied(&server, &ours("CREATE", "secrets", secret, Value::Null, "alice")), "", "none is read by name");
    let mut elsewhere = map("holdfast-policy-apps", json!({}));
    elsewhere["metadata"]["namespace"] = json!("other");
    assert_eq!(denied(&server, &ours("CREATE", "configmaps", elsewhere, Value::Null, "alice")), "");
}

/// A guard over no namespaces or no labels would guard nothing.
#[test]
fn labels_are_guarded_where_they_decide_what_is_enforced() {
    for (is_enforced, is_labelled) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut settings = settings();
        settings.enforced.retain(|_| is_enforced);
        settings.scope_labels.retain(|_| is_labelled);
        let guarded = guards(&settings).iter().any(|object| object.name() == "holdfast-guard-scope");
        assert_eq!(guarded, is_enforced && is_labelled, "{is_enforced} {is_labelled}");
    }
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

/// The API server takes labels from whole namespaces that are put at these, too; who finalizes changes none.
#[test]
fn scope_labels_stay_whichever_way_a_namespace_is_written() {
    let server = guarded();
    let place = |labels: Value, finalizers: Value| json!({"metadata": {"name": "billing", "labels": labels}, "spec": {"finalizers": finalizers}});
    let there = place(json!({"tier": "apps"}), json!(["kubernetes"]));
    for resource in ["namespaces", "namespaces/status", "namespaces/finalize"] {
        for user in ["alice", NAMESPACES] {
            let puts = |new| denied(&server, &ours("UPDATE", resource, new, there.clone(), user));
            assert_ne!(puts(place(json!({"tier": "none"}), json!(["kubernetes"]))), "", "{resource} {user}");
            assert_ne!(puts(place(json!({}), json!([]))), "", "{resource} {user}");
            assert_eq!(puts(place(json!({"tier": "apps"}), json!([]))), "", "{resource} {user}");
        }
    }
}

#[test]
fn scope_labels_of_many_namespaces_stay() {
    let name = |number: usize| format!("{}-{number:05}", "n".repeat(57));
    for (enforced, guards_all) in [(1, false), (1_700, false), (5_000, false), (10_000, false), (20_000, true)] {
        let label = |number: usize| format!("{}.example/{}-{number:03}", "l".repeat(240), "k".repeat(50));
        let settings = GuardSettings {
            enforced: (0..enforced).map(name).collect(),
            scope_labels: (0..300).map(label).collect(),
            ..settings()
        };
        let objects: Vec<Object> =
            guards(&settings).into_iter().filter(|object| object.name() == "holdfast-guard-scope").collect();
        objects.iter().for_each(is_taken);
        // An API server leaves out what is empty, and what is read back would not be what was written.
        let spec = &objects[0].body()["spec"];
        assert!(spec.as_object().unwrap().values().all(|part| part != &json!([])), "{spec}");
        let server = ApiServer::new(objects.iter().map(Object::body));
        let relabels = |name: &str, key: String| {
            let place = |labels: Value| json!({"metadata": {"name": name, "labels": labels}});
            denied(&server, &ours("UPDATE", "namespaces", place(json!({key: "x"})), place(json!({})), "alice"))
        };
        for number in [0, 1, 954, 955, 956, 1_699, 4_999, 9_999].into_iter().filter(|number| *number < enforced) {
            for of in [0, 299] {
                assert_ne!(relabels(&name(number), label(of)), "", "{number} of {enforced}");
            }
            assert_eq!(relabels(&name(number), "x".to_owned()), "", "{number} of {enforced}");
        }
        assert_eq!(!relabels("free", label(0)).is_empty(), guards_all, "{enforced}");
        assert_eq!(relabels("free", "x".to_owned()), "", "{enforced}");
    }
}
