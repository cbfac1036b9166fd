//! What people try who may write something, and may not decide what is trusted.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use holdfast_core::Digest;
use holdfast_testpki::Sigstore;
use serde_json::{Value, json};

use crate::break_glass::{self, ask, from_now};
use crate::chart_support::NAMESPACE;
use crate::courier::{Courier, approve, ask_now, distributed};
use crate::lab::{HOLDFAST, Lab, NAME, config_map_path, mirror_path};
use crate::proxy::Fate;

const APPROVALS: &str = "/apis/holdfast.dev/v1alpha1/trustapprovals";

fn binding_path(guard: &str) -> String {
    format!("/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/holdfast-guard-{guard}")
}

/// Takes a guard's binding away, does something, and puts it back as it was.
pub(crate) fn without_guard<T>(lab: &Lab, guard: &str, act: impl FnOnce() -> T) -> T {
    struct PutsBack<'a>(&'a Lab, Value);
    impl Drop for PutsBack<'_> {
        fn drop(&mut self) {
            let _ = self.0.try_apply(&self.1);
        }
    }
    let path = binding_path(guard);
    let found = lab.get(&path).unwrap();
    lab.delete(&path);
    let again = json!({
        "apiVersion": found["apiVersion"], "kind": found["kind"], "metadata": {"name": found["metadata"]["name"]},
        "spec": found["spec"],
    });
    let _again = PutsBack(lab, again);
    act()
}

pub(crate) fn may(lab: &Lab, user: &str, role: &str) {
    lab.apply(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": format!("{user}-{role}")},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}],
    }));
}

fn waits(lab: &Lab, mirror: &str, in_force: Digest) {
    let status = lab.status(mirror);
    assert_eq!(status.at("/adopted/digest"), &json!(in_force), "{}", status.text());
}

#[test]
fn an_approval_from_a_gap_in_the_guards_never_counts() {
    let Some(lab) = Lab::enter() else { return };
    let operator = lab.operator();
    lab.apply(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "makes-approvals"},
        "rules": [{"apiGroups": ["holdfast.dev"], "resources": ["trustapprovals"], "verbs": ["create"]}],
    }));
    may(&lab, "mallory", "makes-approvals");
    let mut courier = Courier::new("gap");
    courier.deliver(&lab);
    lab.apply(&courier.mirror("gap"));
    let first = courier.root();
    lab.reason("gap", "Ready", "AsDeclared");
    let second = courier.rotate();
    courier.deliver(&lab);
    lab.reason("gap", "RotationPending", "AwaitingApproval");
    let forged = json!({
        "apiVersion": "holdfast.dev/v1alpha1", "kind": "TrustApproval", "metadata": {"generateName": "forged-"},
        "spec": {"approver": "bob", "for": {"kind": "TrustRootMirror", "name": "gap", "digest": second}},
    });
    let refused = lab.call_as("mallory", "POST", APPROVALS, &forged).unwrap_err();
    assert!(refused.contains("holdfast-guard-approval") || refused.contains("forbidden"), "{refused}");
    // The operator has just looked at the guards when one goes.
    lab.patch(&mirror_path("gap"), &json!({"metadata": {"annotations": {"holdfast.dev/reconcile-at": "just-before"}}}));
    without_guard(&lab, "approval", || {
        lab.until("the guard is out of force", |lab| lab.call_as("mallory", "POST", APPROVALS, &forged));
        lab.reason("gap", "RotationPending", "GuardsAbsent");
        waits(&lab, "gap", first);
    });
    lab.patch(&mirror_path("gap"), &json!({"metadata": {"annotations": {"holdfast.dev/reconcile-at": "after"}}}));
    lab.until("the guards are back", |lab| {
        let _ = lab.patch(&mirror_path("gap"), &json!({"metadata": {"annotations": {"holdfast.dev/reconcile-at": format!("{:?}", std::time::Instant::now())}}}));
        std::thread::sleep(Duration::from_millis(500));
        let status = lab.status("gap");
        if status.reason("RotationPending") == "AwaitingApproval" { Ok(()) } else { Err(status.text()) }
    });
    waits(&lab, "gap", first);
    // A guard that was put back takes a moment to be in force everywhere.
    std::thread::sleep(Duration::from_secs(7));
    waits(&lab, "gap", first);
    approve(&lab, "dora", "gap", second).unwrap();
    let adopted = lab.reason("gap", "RotationPending", "NothingPending");
    assert_eq!(adopted.at("/adopted/approvedBy"), &json!("dora"));
    drop(operator);
}

#[test]
fn a_declared_root_is_not_exchanged_while_nobody_asks_who_may() {
    let Some(lab) = Lab::enter() else { return };
    let _operator = lab.operator();
    may(&lab, "carol", "holdfast-edit");
    let root = |name: &str| {
        let text = Sigstore::new().trusted_root().to_string();
        let digest = Digest::of(text.as_bytes());
        lab.apply(&json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": NAMESPACE},
            "data": {"trusted_root.json": text},
        }));
        (json!({"trustedRoot": {"configMap": {"namespace": NAMESPACE, "name": name}, "sha256": digest.hex()}}), digest)
    };
    let (good, in_force) = root("bare-good");
    let (evil, other) = root("bare-evil");
    lab.apply(&json!({
        "apiVersion": "holdfast.dev/v1alpha1", "kind": "TrustRootMirror", "metadata": {"name": "bare"},
        // That is about what a repository offers, and lets nobody declare anything.
        "spec": {"source": good, "rotation": {"approval": "Automatic"}},
    }));
    lab.reason("bare", "Ready", "AsDeclared");
    let change = json!({"spec": {"source": evil}});
    let refused = lab.call_as("carol", "PATCH", &mirror_path("bare"), &change).unwrap_err();
    assert!(
        refused.contains("`source` is where key material comes from") || refused.contains("forbidden"),
        "{refused}"
    );
    without_guard(&lab, "rotation", || {
        lab.until("the guard is out of force", |lab| lab.call_as("carol", "PATCH", &mirror_path("bare"), &change));
        lab.reason("bare", "RotationPending", "GuardsAbsent");
        waits(&lab, "bare", in_force);
    });
    // Back in force, what was written meanwhile still counts for nothing, also where the object now says that it was written later; somebody agrees, or
    // nobody does.
    std::thread::sleep(Duration::from_secs(7));
    lab.call_as("carol", "PATCH", &mirror_path("bare"), &json!({"spec": {"interval": "2m"}})).unwrap();
    lab.reason("bare", "RotationPending", "AwaitingApproval");
    waits(&lab, "bare", in_force);
    approve(&lab, "bob", "bare", other).unwrap();
    let adopted = lab.reason("bare", "RotationPending", "NothingPending");
    assert_eq!(adopted.at("/adopted/digest"), &json!(other));
    // Under the guards, whoever may approve exchanges it by declaring another.
    let (third, another) = root("bare-third");
    lab.patch(&mirror_path("bare"), &json!({"spec": {"source": third}}));
    lab.until("what is declared is in force", |lab| {
        let status = lab.status("bare");
        if status.at("/adopted/digest") == &json!(another) { Ok(()) } else { Err(status.text()) }
    });
}

#[test]
fn an_agreement_brings_nothing_back_that_was_replaced_since() {
    let Some(lab) = Lab::enter() else { return };
    let _operator = lab.operator();
    let by_approval: Agrees = |lab, _, mirror, digest| _ = approve(lab, "bob", mirror, digest).unwrap();
    let by_break_glass: Agrees = |lab, name, mirror, digest| {
        let loosen = json!({"adoptWithoutApproval": {"trustRoot": mirror, "digest": digest}});
        let asked = ask(lab, "alice", name, from_now(600), &loosen);
        for who in ["bob", "dora"] {
            break_glass::approve(lab, who, name, asked).unwrap();
        }
    };
    for (mirror, agrees) in [("back", by_approval), ("back-open", by_break_glass)] {
        let mut courier = Courier::new(mirror);
        courier.deliver(&lab);
        lab.apply(&courier.mirror(mirror));
        lab.reason(mirror, "Ready", "AsDeclared");
        let withdrawn = courier.rotate();
        let bytes = courier.repository.files["trusted_root.json"].clone();
        agrees(&lab, &format!("{mirror}-first"), mirror, withdrawn);
        courier.deliver(&lab);
        in_force(&lab, mirror, withdrawn);
        let last = courier.rotate();
        approve(&lab, "bob", mirror, last).unwrap();
        courier.deliver(&lab);
        in_force(&lab, mirror, last);
        courier.repository.files.insert("trusted_root.json".to_owned(), bytes);
        courier.refresh();
        courier.deliver(&lab);
        let status = lab.reason(mirror, "RotationPending", "AwaitingApproval");
        assert_eq!(status.at("/candidate/digest"), &json!(withdrawn));
        waits(&lab, mirror, last);
        std::thread::sleep(Duration::from_secs(1));
        agrees(&lab, &format!("{mirror}-again"), mirror, withdrawn);
        in_force(&lab, mirror, withdrawn);
    }
}

type Agrees = fn(&Lab, &str, &str, Digest);

/// The memory of a repository, bent to be that of another pin.
fn planted(lab: &Lab, from: &str, pin: &str, name: &str) -> Value {
    let of = format!("/api/v1/namespaces/{NAMESPACE}/configmaps?labelSelector=holdfast.dev/memory=repository");
    let all = lab.call("GET", &of, None);
    let mut object = all["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|o| o["metadata"]["labels"]["holdfast.dev/trust-root"] == from)
        .unwrap()
        .clone();
    let mut document: Value = serde_json::from_str(object["data"]["memory.json"].as_str().unwrap()).unwrap();
    document["tuf"]["pin"] = json!(format!("sha256:{pin}"));
    object["data"]["memory.json"] = json!(document.to_string());
    let mut labels = object["metadata"]["labels"].clone();
    labels["holdfast.dev/pin"] = json!(&pin[..63]);
    labels["holdfast.dev/trust-root"] = json!(name);
    object["metadata"] = json!({"name": format!("holdfast-trust-memory-{name}-{}", &pin[..16]), "labels": labels});
    object
}

#[test]
fn a_memory_that_somebody_planted_is_not_believed() {
    let Some(lab) = Lab::enter() else { return };
    let operator = lab.operator();
    let mut evil = Courier::new("evil");
    evil.rotate();
    evil.deliver(&lab);
    lab.apply(&evil.mirror("evil"));
    lab.reason("evil", "Ready", "AsDeclared");
    let good = Courier::new("good");
    good.deliver(&lab);
    // Under another's name, and under its own.
    for (at, victim) in [("elsewhere", "victim"), ("victim-too", "victim-too")] {
        let object = planted(&lab, "evil", &good.pin(), at);
        // As if the guard had been away for a moment.
        lab.call_as(HOLDFAST, "POST", &format!("/api/v1/namespaces/{NAMESPACE}/configmaps"), &object).unwrap();
        lab.apply(&good.mirror(victim));
        let status = lab.reason(victim, "Verified", "MemoryUnproven");
        assert!(status.at("/adopted").is_null(), "{}", status.text());
        assert!(status.at("/roles/root").is_null(), "{}", status.text());
        // Nor by way of a pause.
        lab.patch(&mirror_path(victim), &json!({"spec": {"suspend": true}}));
        std::thread::sleep(Duration::from_millis(500));
        lab.patch(&mirror_path(victim), &json!({"spec": {"suspend": false}}));
        std::thread::sleep(Duration::from_millis(500));
        let status = lab.reason(victim, "Verified", "MemoryUnproven");
        assert!(status.at("/adopted").is_null(), "{}", status.text());
        let path = config_map_path(NAMESPACE, object["metadata"]["name"].as_str().unwrap());
        lab.until("it is taken away", |lab| lab.clean(&path));
        lab.patch(&mirror_path(victim), &json!({"metadata": {"annotations": {"holdfast.dev/reconcile-at": "clean"}}}));
        let status = lab.reason(victim, "Ready", "AsDeclared");
        assert_eq!(status.at("/adopted/digest"), &json!(good.root()), "{}\n{}", status.text(), operator.said());
    }
}

#[test]
fn one_namespace_holds_up_no_other() {
    let Some(lab) = Lab::enter() else { return };
    let _operator = lab.operator();
    let mut courier = Courier::new("stuck");
    courier.deliver(&lab);
    for namespace in ["stuck-a", "stuck-b", "stuck-c"] {
        lab.namespace(namespace, &json!({"trust": "stuck"}));
    }
    // What the tenants of two namespaces put there: something that cannot be changed, and something that says to be another mirror's.
    let labels = |of: &str| json!({"app.kubernetes.io/managed-by": "holdfast", "holdfast.dev/trust-root": of});
    lab.apply(&json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME, "namespace": "stuck-b", "labels": labels("stuck")},
        "immutable": true, "data": {"trusted_root.json": "{}"},
    }));
    lab.apply(&json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME, "namespace": "stuck-c", "labels": labels("nobody")},
        "data": {"trusted_root.json": "{}"},
    }));
    lab.apply(&distributed(courier.mirror("stuck"), "stuck", "1s"));
    let count = |text: &str| serde_json::from_str::<Value>(text).unwrap()["tlogs"].as_array().unwrap().len();
    let status = lab.reason("stuck", "Distributed", "NotDistributable");
    let one = count(lab.get(&config_map_path("stuck-a", NAME)).unwrap()["data"]["trusted_root.json"].as_str().unwrap());
    assert!(status.message("Distributed").starts_with("2 of 3"), "{}", status.text());
    assert!(status.message("Distributed").contains("immutable"), "{}", status.text());
    lab.patch("/api/v1/namespaces/stuck-b", &json!({"metadata": {"labels": {"trust": null}}}));
    let second = courier.rotate();
    courier.deliver(&lab);
    lab.reason("stuck", "RotationPending", "AwaitingApproval");
    approve(&lab, "bob", "stuck", second).unwrap();
    lab.reason("stuck", "RotationPending", "NothingPending");
    // The one in `stuck-c` is for whoever made it to take away; withdrawn trust does not stay everywhere for it.
    lab.until("what was replaced is gone", |lab| {
        let status = lab.status("stuck");
        let text = lab.get(&config_map_path("stuck-a", NAME)).unwrap()["data"]["trusted_root.json"].clone();
        if status.at("/adopting").is_null() && count(text.as_str().unwrap()) == one {
            Ok(())
        } else {
            Err(status.text())
        }
    });
}

#[test]
fn somebody_who_never_rests_puts_nothing_off() {
    let Some(lab) = Lab::enter() else { return };
    let _operator = lab.operator();
    let mut courier = Courier::new("noise");
    courier.deliver(&lab);
    lab.namespace("noise", &json!({}));
    lab.apply(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME, "namespace": "noise"}}));
    lab.apply(&courier.mirror("noise"));
    lab.reason("noise", "Ready", "AsDeclared");
    let stop = AtomicBool::new(false);
    let lab = &lab;
    std::thread::scope(|scope| {
        for number in 0..6 {
            let stop = &stop;
            scope.spawn(move || {
                let mut count = 0;
                while !stop.load(Ordering::Relaxed) {
                    count += 1;
                    lab.patch(
                        &config_map_path("noise", NAME),
                        &json!({"data": {format!("k{number}"): count.to_string()}}),
                    );
                }
            });
        }
        std::thread::sleep(Duration::from_millis(500));
        courier.refresh();
        courier.deliver(lab);
        let start = std::time::Instant::now();
        let read = loop {
            let read = lab.status("noise").at("/roles/timestamp/version") == &json!(2);
            if read || start.elapsed() > Duration::from_secs(10) {
                break read;
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        stop.store(true, Ordering::Relaxed);
        assert!(read, "the courier's copy is read while somebody makes noise");
    });
    lab.delete(&config_map_path("noise", NAME));
}

#[test]
fn an_object_that_cannot_be_read_costs_none_of_its_witnesses() {
    let Some(lab) = Lab::enter() else { return };
    let _operator = lab.operator();
    let courier = Courier::new("bent");
    courier.deliver(&lab);
    lab.apply(&courier.mirror("bent"));
    let before = lab.reason("bent", "Ready", "AsDeclared");
    lab.patch(&mirror_path("bent"), &json!({"spec": {"rotation": {"removalGrace": "999999h"}}}));
    let bent = lab.reason("bent", "Stalled", "SpecInvalid");
    assert_eq!(bent.at("/memory"), before.at("/memory"), "{}", bent.text());
    assert_eq!(bent.at("/adopted"), before.at("/adopted"), "{}", bent.text());
    lab.patch(&mirror_path("bent"), &json!({"spec": {"rotation": {"removalGrace": "72h"}}}));
    let again = lab.reason("bent", "Ready", "AsDeclared");
    assert_eq!(again.is("Stalled"), "absent");
}

#[test]
fn what_two_people_let_be_restored_stays_so_when_the_break_glass_is_gone() {
    let Some(lab) = Lab::enter() else { return };
    let _operator = lab.operator();
    may(&lab, "alice", "holdfast-admin");
    let courier = Courier::new("restore");
    courier.deliver(&lab);
    lab.apply(&courier.mirror("restore"));
    let whole = lab.reason("restore", "Ready", "AsDeclared");
    let name = format!("holdfast-trust-memory-restore-{}", &courier.pin()[..16]);
    let path = config_map_path(NAMESPACE, &name);
    let glass = |number: usize| {
        let name = format!("inc-{number}");
        let until = crate::courier::now() + jiff::SignedDuration::from_hours(1);
        let until = jiff::Timestamp::from_second(until.as_second()).unwrap().to_string();
        let spec = json!({"reason": "INC-1", "requestedBy": "alice", "until": until, "loosen": {"restoreMemory": {"trustRoot": "restore"}}});
        let object = json!({"apiVersion": "holdfast.dev/v1alpha1", "kind": "TrustBreakGlass", "metadata": {"name": name}, "spec": spec});
        let glasses = "/apis/holdfast.dev/v1alpha1/trustbreakglasses";
        lab.until("alice may ask", |lab| lab.call_as("alice", "POST", glasses, &object));
        let typed: holdfast_core::api::break_glass::TrustBreakGlassSpec = serde_json::from_value(spec).unwrap();
        let digest = holdfast_core::gate::loosening::approval_digest("TrustBreakGlass", &name, &typed);
        for user in ["bob", "dora"] {
            let approval = json!({
                "apiVersion": "holdfast.dev/v1alpha1", "kind": "TrustApproval", "metadata": {"generateName": "approval-"},
                "spec": {"approver": user, "for": {"kind": "TrustBreakGlass", "name": name, "digest": digest}},
            });
            lab.call_as(user, "POST", APPROVALS, &approval).unwrap();
        }
        lab.patch(&mirror_path("restore"), &json!({"metadata": {"annotations": {"holdfast.dev/reconcile-at": name}}}));
        lab.reason("restore", "MemoryIntact", "MemoryIntact");
        lab.delete(&format!("{glasses}/{name}"));
        lab.patch(
            &mirror_path("restore"),
            &json!({"metadata": {"annotations": {"holdfast.dev/reconcile-at": format!("{name}-gone")}}}),
        );
        std::thread::sleep(Duration::from_secs(2));
        let status = lab.reason("restore", "MemoryIntact", "MemoryIntact");
        assert_eq!(status.at("/adopted/digest"), whole.at("/adopted/digest"));
        assert_eq!(status.is("Ready"), "True", "{}", status.text());
    };
    lab.clean(&path).unwrap();
    lab.reason("restore", "MemoryIntact", "MemoryLost");
    glass(1);
    // Somebody writes over it.
    let mut object = lab.get(&path).unwrap();
    object["data"]["memory.json"] = json!("{}");
    lab.call_as(HOLDFAST, "PUT", &path, &object).unwrap();
    lab.reason("restore", "MemoryIntact", "MemoryDamaged");
    glass(2);
}

/// While one rotation is written down, three more that were approved wait for their turn. What is said of them meanwhile counts.
#[test]
fn what_is_declared_while_another_has_its_turn_counts() {
    let Some(lab) = Lab::enter() else { return };
    let names = ["first", "waits", "suspended", "deleted"];
    let mut couriers = names.map(Courier::new);
    for (name, courier) in names.iter().zip(&couriers) {
        courier.deliver(&lab);
        lab.apply(&courier.mirror(name));
    }
    let _operator = lab.operator();
    let before = couriers.each_ref().map(Courier::root);
    let after = couriers.each_mut().map(Courier::rotate);
    for ((name, courier), before) in names.iter().zip(&couriers).zip(before) {
        in_force(&lab, name, before);
        courier.deliver(&lab);
        lab.reason(name, "RotationPending", "AwaitingApproval");
    }
    lab.proxy().on(1, Fate::Hold, |asked| asked.is_write() && asked.path.contains("holdfast-trust-record-first"));
    for (name, after) in names.iter().zip(after) {
        approve(&lab, "bob", name, after).unwrap();
        lab.until("the first one has its turn", |lab| if lab.proxy().met() == 1 { Ok(()) } else { Err(String::new()) });
    }
    std::thread::sleep(Duration::from_secs(1));
    waits(&lab, "waits", before[1]);
    lab.patch(&mirror_path("suspended"), &json!({"spec": {"suspend": true}}));
    lab.delete(&mirror_path("deleted"));
    std::thread::sleep(Duration::from_millis(500));
    lab.proxy().release();
    in_force(&lab, "first", after[0]);
    in_force(&lab, "waits", after[1]);
    ask_now(&lab, "suspended");
    waits(&lab, "suspended", before[2]);
    let record = lab.get(&config_map_path(NAMESPACE, "holdfast-trust-record-deleted")).unwrap();
    assert_eq!(record["data"]["revision"], "1", "{record}");
}

fn in_force(lab: &Lab, mirror: &str, digest: Digest) {
    lab.until("it is in force", |lab| {
        let status = lab.status(mirror);
        if status.at("/adopted/digest") == &json!(digest) { Ok(()) } else { Err(status.text()) }
    });
}

/// A namespace whose ConfigMaps nobody can write keeps nothing of what other namespaces are not to have any more.
#[test]
fn what_is_no_longer_selected_goes_whatever_becomes_of_another_namespace() {
    let Some(lab) = Lab::enter() else { return };
    let _operator = lab.operator();
    let courier = Courier::new("leaves");
    courier.deliver(&lab);
    for namespace in ["leaves-a", "leaves-b"] {
        lab.namespace(namespace, &json!({"trust": "leaves"}));
    }
    let of_b = |asked: &crate::proxy::Asked| asked.is_write() && asked.path.contains("/namespaces/leaves-b/");
    lab.proxy().on(usize::MAX, Fate::Refuse(500, None), of_b);
    lab.apply(&distributed(courier.mirror("leaves"), "leaves", "1h"));
    let there = |lab: &Lab| lab.get(&config_map_path("leaves-a", NAME));
    lab.until("one of them has it", |lab| there(lab).ok_or_else(String::new));
    lab.patch("/api/v1/namespaces/leaves-a", &json!({"metadata": {"labels": {"trust": null}}}));
    lab.until("it is taken away", |lab| there(lab).map_or(Ok(()), |left| Err(left.to_string())));
}
