//! What is remembered, and what happens to whoever takes it away.

use serde_json::{Value, json};

use crate::chart_support::NAMESPACE;
use crate::courier::{Courier, approve, ask_now, distributed};
use crate::lab::{HOLDFAST, Lab, NAME, config_map_path, mirror_path};

fn memory(courier: &Courier, mirror: &str) -> String {
    config_map_path(NAMESPACE, &format!("holdfast-trust-memory-{mirror}-{}", &courier.pin()[..16]))
}

fn record(mirror: &str) -> String {
    config_map_path(NAMESPACE, &format!("holdfast-trust-record-{mirror}"))
}

/// A mirror with trust in force, distributed, and something newer in its source.
fn settled<'a>(lab: &'a Lab, name: &str) -> (crate::lab::Operator<'a>, Courier) {
    let operator = lab.operator();
    let mut courier = Courier::new(name);
    courier.refresh();
    courier.deliver(lab);
    lab.namespace(&format!("{name}-a"), &json!({"trust": name}));
    lab.apply(&distributed(courier.mirror(name), name, "0s"));
    lab.reason(name, "Distributed", "Distributed");
    (operator, courier)
}

/// Puts an object in another's place, as holdfast itself: what a thief of its token could do.
fn write_as_holdfast(lab: &Lab, path: &str, object: &Value) {
    let mut object = object.clone();
    let metadata = object["metadata"].as_object_mut().unwrap();
    for field in ["resourceVersion", "uid", "creationTimestamp", "managedFields"] {
        metadata.remove(field);
    }
    let (list, _) = path.rsplit_once('/').unwrap();
    match lab.get(path) {
        Some(_) => lab.call_as(HOLDFAST, "PUT", path, &object),
        None => lab.call_as(HOLDFAST, "POST", list, &object),
    }
    .unwrap();
}

/// Imports are blocked, and nothing of what is in force or distributed changes, whatever the source offers.
fn holds(lab: &Lab, mut courier: Courier, name: &str, reason: &str) {
    let before = (
        lab.status(name).at("/adopted").clone(),
        lab.get(&config_map_path(&format!("{name}-a"), NAME)).unwrap()["data"].clone(),
    );
    let faulty = lab.reason(name, "MemoryIntact", reason);
    assert_eq!((faulty.is("Ready"), faulty.is("Stalled")), ("False", "True"), "{}", faulty.text());
    assert!(
        faulty.message("MemoryIntact").contains("restoreMemory"),
        "it says what to do: {}",
        faulty.message("MemoryIntact")
    );
    courier.rotate();
    courier.deliver(lab);
    ask_now(lab, name);
    let still = lab.reason(name, "MemoryIntact", reason);
    assert_eq!(still.at("/adopted"), &before.0);
    assert!(still.at("/candidate").is_null());
    assert_eq!(lab.get(&config_map_path(&format!("{name}-a"), NAME)).unwrap()["data"], before.1);
}

#[test]
fn nobody_but_holdfast_takes_a_memory_away() {
    let Some(lab) = Lab::enter() else { return };
    let (_operator, courier) = settled(&lab, "guarded");
    for path in [memory(&courier, "guarded"), record("guarded")] {
        let denied = lab.try_call("DELETE", &path, None).unwrap_err();
        assert!(denied.contains("written by holdfast alone"), "{denied}");
    }
    assert_eq!(lab.status("guarded").is("MemoryIntact"), "True");
}

#[test]
fn a_memory_that_is_gone_blocks_imports_and_nothing_else() {
    let Some(lab) = Lab::enter() else { return };
    let (operator, courier) = settled(&lab, "gone");
    lab.clean(&memory(&courier, "gone")).unwrap();
    lab.reason("gone", "MemoryIntact", "MemoryLost");
    operator.until_metric("holdfast_trust_root_memory_intact", &["trust_root=\"gone\""], |intact| intact == Some(0.0));
    // Also by an operator that never saw it.
    operator.stop();
    let _operator = lab.operator();
    holds(&lab, courier, "gone", "MemoryLost");
}

#[test]
fn an_old_copy_of_a_memory_is_noticed() {
    let Some(lab) = Lab::enter() else { return };
    let (_operator, mut courier) = settled(&lab, "older");
    let old = lab.get(&memory(&courier, "older")).unwrap();
    courier.refresh();
    courier.deliver(&lab);
    lab.until("it is at the third timestamp", |lab| {
        let status = lab.status("older");
        if status.at("/roles/timestamp/version") == &json!(3) { Ok(()) } else { Err(status.text()) }
    });
    write_as_holdfast(&lab, &memory(&courier, "older"), &old);
    holds(&lab, courier, "older", "MemoryRolledBack");
}

#[test]
fn a_memory_that_was_made_again_is_noticed() {
    let Some(lab) = Lab::enter() else { return };
    let (_operator, courier) = settled(&lab, "remade");
    let copy = lab.get(&memory(&courier, "remade")).unwrap();
    lab.clean(&memory(&courier, "remade")).unwrap();
    write_as_holdfast(&lab, &memory(&courier, "remade"), &copy);
    holds(&lab, courier, "remade", "MemoryReplaced");
}

#[test]
fn a_memory_that_was_edited_is_noticed() {
    let Some(lab) = Lab::enter() else { return };
    let (_operator, courier) = settled(&lab, "edited");
    let mut copy = lab.get(&memory(&courier, "edited")).unwrap();
    let document = copy["data"]["memory.json"].as_str().unwrap().replace("\"version\": 2", "\"version\": 1");
    copy["data"]["memory.json"] = json!(document);
    copy["data"]["revision"] = json!("9");
    write_as_holdfast(&lab, &memory(&courier, "edited"), &copy);
    holds(&lab, courier, "edited", "MemoryDamaged");
}

#[test]
fn a_record_that_is_gone_is_no_first_import() {
    let Some(lab) = Lab::enter() else { return };
    let (operator, courier) = settled(&lab, "unrecorded");
    operator.stop();
    lab.clean(&record("unrecorded")).unwrap();
    let _operator = lab.operator();
    holds(&lab, courier, "unrecorded", "MemoryLost");
}

#[test]
fn a_status_that_was_wiped_is_written_anew_and_costs_no_memory() {
    let Some(lab) = Lab::enter() else { return };
    let (operator, mut courier) = settled(&lab, "wiped");
    let old = courier.object();
    operator.stop();
    let mut object = lab.get(&mirror_path("wiped")).unwrap();
    object["status"] = json!({});
    lab.call_as(HOLDFAST, "PATCH", &format!("{}/status", mirror_path("wiped")), &json!({"status": null})).unwrap();
    courier.refresh();
    courier.deliver(&lab);
    let _operator = lab.operator();
    let status = lab.reason("wiped", "Ready", "AsDeclared");
    assert_eq!(status.at("/roles/timestamp/version"), &json!(3));
    lab.call("PUT", &config_map_path(NAMESPACE, &courier.config_map), Some(&old));
    lab.reason("wiped", "Verified", "Rollback");
}

#[test]
fn two_people_may_have_a_memory_made_anew() {
    let Some(lab) = Lab::enter() else { return };
    let (_operator, mut courier) = settled(&lab, "restored");
    lab.clean(&memory(&courier, "restored")).unwrap();
    lab.reason("restored", "MemoryIntact", "MemoryLost");
    let glass = json!({
        "apiVersion": "holdfast.dev/v1alpha1", "kind": "TrustBreakGlass", "metadata": {"name": "restored"},
        "spec": {
            "reason": "a disk was lost", "requestedBy": "erik",
            "until": (crate::courier::now() + jiff::SignedDuration::from_hours(1)).strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            "loosen": {"restoreMemory": {"trustRoot": "restored"}},
        },
    });
    lab.apply(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "erik"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "holdfast-admin"},
        "subjects": [{"kind": "User", "name": "erik", "apiGroup": "rbac.authorization.k8s.io"}],
    }));
    let made = lab.until("erik may ask", |lab| {
        lab.call_as("erik", "POST", "/apis/holdfast.dev/v1alpha1/trustbreakglasses", &glass)
    });
    let spec: holdfast_core::api::TrustBreakGlassSpec = serde_json::from_value(made["spec"].clone()).unwrap();
    let digest = holdfast_core::gate::loosening::approval_digest("TrustBreakGlass", "restored", &spec);
    let approval = |by: &str| {
        json!({
            "apiVersion": "holdfast.dev/v1alpha1", "kind": "TrustApproval", "metadata": {"generateName": "restored-"},
            "spec": {"approver": by, "for": {"kind": "TrustBreakGlass", "name": "restored", "digest": digest}},
        })
    };
    lab.call_as("bob", "POST", "/apis/holdfast.dev/v1alpha1/trustapprovals", &approval("bob")).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert_eq!(lab.status("restored").reason("MemoryIntact"), "MemoryLost", "one is not enough");
    lab.call_as("dora", "POST", "/apis/holdfast.dev/v1alpha1/trustapprovals", &approval("dora")).unwrap();
    ask_now(&lab, "restored");
    lab.reason("restored", "MemoryIntact", "MemoryIntact");
    assert_eq!(lab.status("restored").at("/adopted/digest"), &json!(courier.root()), "what is in force stays");
    let second = courier.rotate();
    courier.deliver(&lab);
    lab.reason("restored", "RotationPending", "AwaitingApproval");
    approve(&lab, "bob", "restored", second).unwrap();
    lab.reason("restored", "RotationPending", "NothingPending");
}

#[test]
fn a_new_pin_is_a_candidate_like_any_other() {
    let Some(lab) = Lab::enter() else { return };
    let (_operator, courier) = settled(&lab, "pinned");
    let other = Courier::new("other-pin");
    other.deliver(&lab);
    lab.apply(&distributed(other.mirror("pinned"), "pinned", "0s"));
    let waits = lab.reason("pinned", "RotationPending", "AwaitingApproval");
    assert_eq!(waits.at("/adopted/digest"), &json!(courier.root()));
    assert_eq!(waits.at("/candidate/digest"), &json!(other.root()));
    // And back: the first memory is still known.
    lab.apply(&distributed(courier.mirror("pinned"), "pinned", "0s"));
    let back = lab.reason("pinned", "RotationPending", "NothingPending");
    assert_eq!(back.at("/roles/timestamp/version"), &json!(2));
    assert_eq!(back.is("MemoryIntact"), "True");
}
