//! A trust root from its first import to its rotation.

use std::time::Duration;

use serde_json::json;

use crate::chart_support::NAMESPACE;
use crate::courier::{Courier, approve, ask_now, distributed};
use crate::lab::{Lab, NAME, config_map_path, mirror_path};
use crate::proxy::Fate;

#[test]
fn what_a_courier_brings_is_verified_remembered_and_in_force() {
    let Some(lab) = Lab::enter() else { return };
    let operator = lab.operator();
    let courier = Courier::new("first");
    courier.deliver(&lab);
    lab.apply(&courier.mirror("first"));
    let status = lab.reason("first", "Ready", "AsDeclared");
    assert_eq!(status.at("/adopted/digest"), &json!(courier.root()));
    assert_eq!(status.at("/roles/root/version"), &json!(1));
    assert_eq!(status.at("/roles/timestamp/version"), &json!(1));
    assert_eq!(status.at("/lastImport/result"), &json!("Accepted"));
    assert_eq!(status.object["status"]["observedGeneration"], status.object["metadata"]["generation"]);
    for (condition, is) in [
        ("Verified", "True"),
        ("Fresh", "True"),
        ("RotationPending", "False"),
        ("MemoryIntact", "True"),
        ("ClockSane", "True"),
        ("Distributed", "True"),
        ("ExpiringSoon", "False"),
    ] {
        assert_eq!(status.is(condition), is, "{}", status.text());
    }
    assert_eq!((status.is("Reconciling"), status.is("Stalled")), ("absent", "absent"));
    drop(operator);
}

#[test]
fn a_rotation_waits_for_the_approval_of_its_very_digest() {
    let Some(lab) = Lab::enter() else { return };
    let _operator = lab.operator();
    let mut courier = Courier::new("rotation");
    courier.deliver(&lab);
    lab.apply(&courier.mirror("rotation"));
    let first = courier.root();
    lab.reason("rotation", "Ready", "AsDeclared");
    let second = courier.rotate();
    courier.deliver(&lab);
    let waits = lab.reason("rotation", "RotationPending", "AwaitingApproval");
    assert_eq!(waits.at("/adopted/digest"), &json!(first), "what was in force stays");
    assert_eq!(waits.at("/candidate/digest"), &json!(second));
    let changes = waits.at("/candidate/changes").as_array().unwrap();
    assert!(
        changes.iter().any(|change| change["kind"] == "Added")
            && changes.iter().any(|change| change["kind"] == "Removed")
    );
    assert!(waits.message("RotationPending").contains(&second.to_string()), "it says what to approve");
    assert_eq!(waits.is("Ready"), "True", "nothing is broken while a rotation waits");

    // Somebody without the verb, somebody in another's name, and another digest.
    assert!(approve(&lab, "carol", "rotation", second).is_err());
    approve(&lab, "bob", "rotation", first).unwrap();
    let other = holdfast_core::Digest::of(b"another");
    approve(&lab, "bob", "rotation", other).unwrap();
    let vain = lab.until("it says that another digest was approved", |lab| {
        let status = lab.status("rotation");
        if status.message("RotationPending").contains(&other.to_string()) { Ok(status) } else { Err(status.text()) }
    });
    assert_eq!(vain.at("/adopted/digest"), &json!(first));

    approve(&lab, "bob", "rotation", second).unwrap();
    let adopted = lab.reason("rotation", "RotationPending", "NothingPending");
    assert_eq!(adopted.at("/adopted/digest"), &json!(second));
    assert_eq!(adopted.at("/adopted/approvedBy"), &json!("bob"));
    assert!(adopted.at("/candidate").is_null());
    for reason in ["Adopted", "AwaitingApproval"] {
        lab.until(&format!("the event {reason} is there"), |lab| {
            let events = lab.events("rotation");
            if events.iter().any(|event| event["reason"] == reason) { Ok(()) } else { Err(json!(events).to_string()) }
        });
    }
}

#[test]
fn an_approval_in_the_spec_counts_where_its_writer_may_approve() {
    let Some(lab) = Lab::enter() else { return };
    let operator = lab.operator();
    let mut courier = Courier::new("spec");
    courier.deliver(&lab);
    lab.apply(&courier.mirror("spec"));
    lab.reason("spec", "Ready", "AsDeclared");
    let first = courier.root();
    let second = courier.rotate();
    courier.deliver(&lab);
    lab.reason("spec", "RotationPending", "AwaitingApproval");
    let change = json!({"spec": {"rotation": {"approvedDigest": second}}});
    let user = |name: &str| json!({"kind": "User", "name": name, "apiGroup": "rbac.authorization.k8s.io"});
    lab.apply(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "editors"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "holdfast-edit"},
        "subjects": [user("bob"), user("carol")],
    }));
    lab.until("carol may edit and may not approve", |lab| {
        match lab.call_as("carol", "PATCH", &mirror_path("spec"), &change) {
            Err(error) if error.contains("approve") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    // What nobody could judge, since something else is in the way of asking the guards, is judged once they can be asked.
    lab.proxy().on(100_000, Fate::Refuse(503, None), |asked| asked.path.ends_with("/holdfast-probe"));
    lab.call_as("bob", "PATCH", &mirror_path("spec"), &change).unwrap();
    lab.until("the guards were asked", |lab| if lab.proxy().met() > 0 { Ok(()) } else { Err(operator.said()) });
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(lab.status("spec").at("/adopted/digest"), &json!(first));
    lab.proxy().reset();
    let adopted = lab.reason("spec", "RotationPending", "NothingPending");
    assert_eq!(adopted.at("/adopted/digest"), &json!(second));
    assert_eq!(adopted.at("/adopted/approvedBy"), &json!("rotation.approvedDigest"));
}

#[test]
fn an_older_repository_is_refused_and_a_restart_remembers() {
    let Some(lab) = Lab::enter() else { return };
    let operator = lab.operator();
    let mut courier = Courier::new("rollback");
    let old = courier.object();
    courier.refresh();
    courier.deliver(&lab);
    lab.apply(&courier.mirror("rollback"));
    lab.reason("rollback", "Ready", "AsDeclared");
    operator.stop();

    lab.call("PUT", &config_map_path(NAMESPACE, &courier.config_map), Some(&old));
    let operator = lab.operator();
    let refused = lab.reason("rollback", "Verified", "Rollback");
    assert_eq!(refused.at("/roles/timestamp/version"), &json!(2));
    assert_eq!(refused.at("/adopted/digest"), &json!(courier.root()));
    assert_eq!((refused.is("Ready"), refused.reason("Ready")), ("False", "Rollback"));
    let rollbacks = &["trust_root=\"rollback\"", "result=\"Rollback\""];
    operator.until_metric("holdfast_trust_root_imports_total", rollbacks, |count| count >= Some(1.0));

    // Deleted and made again, it is not new.
    lab.delete(&mirror_path("rollback"));
    lab.apply(&courier.mirror("rollback"));
    let again = lab.reason("rollback", "Verified", "Rollback");
    assert_eq!(again.at("/roles/timestamp/version"), &json!(2));
    // Under another name, either.
    lab.apply(&courier.mirror("renamed"));
    lab.reason("renamed", "Verified", "Rollback");
}

#[test]
fn trust_reaches_the_selected_namespaces_and_what_goes_goes_last() {
    let Some(lab) = Lab::enter() else { return };
    let operator = lab.operator();
    let mut courier = Courier::new("spread");
    courier.deliver(&lab);
    lab.namespace("spread-a", &json!({"trust": "spread"}));
    lab.namespace("spread-b", &json!({"trust": "spread"}));
    lab.namespace("spread-c", &json!({}));
    lab.apply(&distributed(courier.mirror("spread"), "spread", "3s"));
    let status = lab.reason("spread", "Distributed", "Distributed");
    assert_eq!(status.at("/consumers").as_array().unwrap().len(), 2, "{}", status.text());
    let text = |lab: &Lab, namespace: &str| {
        let object = lab.get(&config_map_path(namespace, NAME))?;
        Some(object["data"]["trusted_root.json"].as_str().unwrap().to_owned())
    };
    let first = text(&lab, "spread-a").unwrap();
    assert!(text(&lab, "spread-c").is_none());

    // Somebody changes it: it is put back, and said.
    lab.patch(&config_map_path("spread-b", NAME), &json!({"data": {"trusted_root.json": "{}"}}));
    lab.until("the edit is put back", |lab| {
        if text(lab, "spread-b").as_ref() == Some(&first) {
            Ok(())
        } else {
            Err(text(lab, "spread-b").unwrap_or_default())
        }
    });
    assert!(lab.until("the edit is told of", |lab| {
        if lab.events("spread").iter().any(|event| event["reason"] == "PutBack") {
            Ok(true)
        } else {
            Err(String::new())
        }
    }));
    operator.until_metric("holdfast_foreign_edits_total", &["kind=\"ConfigMap\""], |edits| edits >= Some(1.0));
    // Somebody deletes it: it is made again.
    lab.delete(&config_map_path("spread-a", NAME));
    lab.until("what was deleted is back", |lab| {
        text(lab, "spread-a").filter(|text| *text == first).map(|_| ()).ok_or_else(String::new)
    });

    // A rotation: both while it lasts, then what came.
    let second = courier.rotate();
    courier.deliver(&lab);
    lab.reason("spread", "RotationPending", "AwaitingApproval");
    approve(&lab, "bob", "spread", second).unwrap();
    let adopting = lab.reason("spread", "Distributed", "Adopting");
    assert_eq!(adopting.at("/adopting/0/replaced").as_str().map(|digest| digest.starts_with("sha256:")), Some(true));
    let count =
        |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap()["tlogs"].as_array().unwrap().len();
    let both = text(&lab, "spread-a").unwrap();
    assert_eq!(count(&both), count(&first) * 2, "what goes is there beside what comes");
    lab.reason("spread", "Distributed", "Distributed");
    let last = text(&lab, "spread-a").unwrap();
    assert_eq!(count(&last), count(&first));
    assert_ne!(last, first);

    // A namespace that is no longer selected, and one that comes.
    lab.namespace("spread-b", &json!({"trust": "other"}));
    lab.namespace("spread-c", &json!({"trust": "spread"}));
    lab.until("the trust follows the labels", |lab| {
        if text(lab, "spread-b").is_none() && text(lab, "spread-c").is_some() {
            Ok(())
        } else {
            Err(lab.status("spread").text())
        }
    });
}

#[test]
fn what_cannot_be_distributed_is_said_and_nothing_foreign_is_taken() {
    let Some(lab) = Lab::enter() else { return };
    let _operator = lab.operator();
    let courier = Courier::new("taken");
    courier.deliver(&lab);
    lab.namespace("taken-a", &json!({"trust": "taken"}));
    let foreign = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME, "namespace": "taken-a"}, "data": {"trusted_root.json": "mine"}});
    lab.apply(&foreign);
    lab.patch("/api/v1/namespaces/kube-public", &json!({"metadata": {"labels": {"trust": "taken"}}}));
    lab.apply(&distributed(courier.mirror("taken"), "taken", "0s"));
    let status = lab.reason("taken", "Distributed", "NotDistributable");
    assert_eq!(status.at("/consumers/0/state"), &json!("Refused"));
    assert_eq!(lab.get(&config_map_path("taken-a", NAME)).unwrap()["data"]["trusted_root.json"], "mine");
    assert!(lab.get(&config_map_path("kube-public", NAME)).is_none());
    lab.patch("/api/v1/namespaces/kube-public", &json!({"metadata": {"labels": {"trust": null}}}));
    lab.delete(&config_map_path("taken-a", NAME));
    lab.reason("taken", "Distributed", "Distributed");

    // A second mirror under the same name, in the same namespace.
    lab.apply(&distributed(courier.mirror("taken-too"), "taken", "0s"));
    lab.reason("taken-too", "Distributed", "NotDistributable");
    let mut elsewhere = distributed(courier.mirror("taken-three"), "taken", "0s");
    elsewhere["spec"]["distribution"]["configMaps"]["name"] = json!("another-name");
    lab.apply(&elsewhere);
    let refused = lab.reason("taken-three", "Distributed", "NameNotAllowed");
    assert_eq!(refused.is("Stalled"), "True");
}

#[test]
fn a_suspended_mirror_is_left_as_it_is() {
    let Some(lab) = Lab::enter() else { return };
    let _operator = lab.operator();
    let mut courier = Courier::new("rest");
    courier.deliver(&lab);
    lab.apply(&courier.mirror("rest"));
    lab.reason("rest", "Ready", "AsDeclared");
    lab.patch(&mirror_path("rest"), &json!({"spec": {"suspend": true}}));
    lab.reason("rest", "Ready", "Suspended");
    courier.refresh();
    courier.deliver(&lab);
    ask_now(&lab, "rest");
    assert_eq!(lab.status("rest").at("/roles/timestamp/version"), &json!(1));
    lab.patch(&mirror_path("rest"), &json!({"spec": {"suspend": false}}));
    lab.until("it goes on", |lab| {
        let status = lab.status("rest");
        if status.at("/roles/timestamp/version") == &json!(2) { Ok(()) } else { Err(status.text()) }
    });
}

#[test]
fn nothing_is_written_when_nothing_changes() {
    let Some(lab) = Lab::enter() else { return };
    let operator = lab.operator();
    let courier = Courier::new("still");
    courier.deliver(&lab);
    lab.namespace("still-a", &json!({"trust": "still"}));
    lab.apply(&distributed(courier.mirror("still"), "still", "0s"));
    lab.reason("still", "Distributed", "Distributed");
    // What the last writes bring about has come to its end once two passes after it found nothing.
    std::thread::sleep(std::time::Duration::from_millis(500));
    lab.proxy().reset();
    let before = lab.status("still").version();
    for _ in 0..3 {
        lab.patch(
            &config_map_path(NAMESPACE, &courier.config_map),
            &json!({"metadata": {"annotations": {"touched": format!("{:?}", std::time::Instant::now())}}}),
        );
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    lab.namespace("still-a", &json!({"trust": "still", "other": "label"}));
    std::thread::sleep(std::time::Duration::from_millis(500));
    let writes = lab.proxy().writes();
    assert!(writes.is_empty(), "{writes:?}\n{}", operator.said());
    assert_eq!(lab.status("still").version(), before);
    assert!(
        operator.metric("controller_runtime_reconcile_total", &["controller=\"trustrootmirror\""]).unwrap() >= 3.0,
        "it did look"
    );
}
