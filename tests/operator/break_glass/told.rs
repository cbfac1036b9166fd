//! Break-glasses that are none of their kind.

use serde_json::{Value, json};

use super::{accept_stale, events, from_now, glass};
use crate::attacks::without_guard;
use crate::lab::Lab;

fn crd() -> Value {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("crds/trustbreakglasses.yaml");
    serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn what_is_none_of_its_kind_is_told_once_and_never_counts() {
    let Some(lab) = Lab::enter() else { return };
    // As if they had been written while validation was off.
    let mut open = crd();
    open["spec"]["versions"][0]["schema"]["openAPIV3Schema"] =
        json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    lab.apply(&open);
    let odd = |name: &str, loosen: Value| glass(name, "alice", from_now(3600), &loosen);
    let both = json!({"acceptStale": {"trustRoot": "any"}, "restoreMemory": {"trustRoot": "any"}});
    let odd = [odd("odd-unread", json!({"acceptStale": "everything"})), odd("odd-both", both)];
    without_guard(&lab, "break-glass", || {
        for object in &odd {
            lab.until("anything is taken", |lab| lab.try_apply(object));
        }
    });
    lab.apply(&crd());
    let operator = lab.operator();
    for name in ["odd-unread", "odd-both"] {
        lab.until(&format!("it is told what is wrong with {name}"), |lab| {
            let events = events(lab, name);
            if events == ["BreakGlassInvalid"] { Ok(()) } else { Err(format!("{events:?}")) }
        });
    }
    operator.until_metric("holdfast_malformed_objects", &["kind=\"TrustBreakGlass\""], |odd| odd == Some(1.0));
    assert_eq!(operator.metric("holdfast_break_glass_active", &[]), None);
    // What is well formed is served beside them.
    let digest = super::ask(&lab, "alice", "even", from_now(3600), &accept_stale("any"));
    for user in ["bob", "dora"] {
        super::approve(&lab, user, "even", digest).unwrap();
    }
}
