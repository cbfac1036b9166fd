//! Objects that somebody changes or takes away.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::estate::Estate;
use crate::lab::Lab;
use crate::registry_support::Registry;

const ADMISSION: &str = "/apis/admissionregistration.k8s.io/v1";
const SHARD: &str = "/apis/holdfast.dev/v1alpha1/verifiedimages/holdfast-verified-00-ff.apps";

/// What tells one form of an object from another.
fn spec(lab: &Lab, path: &str) -> Option<Value> {
    lab.get(path).map(|object| object["spec"].clone())
}

type Change<'c> = (&'c str, &'c dyn Fn(&Lab));

#[test]
fn a_binding_that_is_deleted_or_weakened_is_put_back() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let estate = Estate::open(&lab, registry);
    let operator = lab.operator();
    estate.enforced();
    let bad = estate.image("rogue", estate.unsigned("rogue"));
    let binding = format!("{ADMISSION}/validatingadmissionpolicybindings/holdfast-enforce-apps-00-ff");
    let policy = format!("{ADMISSION}/validatingadmissionpolicies/holdfast-enforce-apps");
    let (of_binding, of_policy) = (spec(&lab, &binding), spec(&lab, &policy));
    assert!(of_binding.is_some() && of_policy.is_some());
    let changes: [Change<'_>; 7] = [
        ("the binding is deleted", &|lab| lab.delete(&binding)),
        ("the binding only reports", &|lab| {
            _ = lab.patch(&binding, &json!({"spec": {"validationActions": ["Audit"]}}));
        }),
        ("the binding is about another namespace", &|lab| {
            let selector = json!({"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["other"]}]});
            lab.patch(&binding, &json!({"spec": {"matchResources": {"namespaceSelector": selector}}}));
        }),
        ("its label is taken away", &|lab| {
            lab.patch(&binding, &json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": null}}, "spec": {"validationActions": ["Audit"]}}));
        }),
        ("it is said to be another engine's", &|lab| {
            let change = json!({"metadata": {"annotations": {"holdfast.dev/engine": "kyverno"}}, "spec": {"validations": [{"expression": "true"}]}});
            lab.patch(&policy, &change);
        }),
        ("the policy is deleted", &|lab| lab.delete(&policy)),
        ("the policy lets through what fails", &|lab| {
            _ = lab
                .patch(&policy, &json!({"spec": {"failurePolicy": "Ignore", "validations": [{"expression": "true"}]}}));
        }),
    ];
    for (what, change) in changes {
        let before = operator.metric("holdfast_foreign_edits_total", &[]).unwrap_or_default();
        change(&lab);
        let since = Instant::now();
        lab.within(Duration::from_secs(10), what, |lab| {
            if spec(lab, &binding) == of_binding && spec(lab, &policy) == of_policy {
                Ok(())
            } else {
                Err("not yet".to_owned())
            }
        });
        lab.within(Duration::from_secs(10), "it is denied again", |_| match estate.try_pod("shop", "open", &bad) {
            Err(said) if said.contains("is not verified") => Ok(()),
            Err(said) => Err(said),
            Ok(_) => {
                let _ = lab.try_call("DELETE", "/api/v1/namespaces/shop/pods/open?gracePeriodSeconds=0", None);
                Err("it was admitted".to_owned())
            }
        });
        println!("{what}: closed again after {:?}", since.elapsed());
        lab.until("it is told", |_| {
            let after = operator.metric("holdfast_foreign_edits_total", &[]).unwrap_or_default();
            if after > before { Ok(()) } else { Err(format!("{what}: {after} edits")) }
        });
    }
    let events = lab.call("GET", "/apis/events.k8s.io/v1/namespaces/default/events", None);
    let told = events["items"].as_array().unwrap().iter().any(|event| event["reason"] == "PutBack");
    assert!(told, "an event says so");
    estate.until_phase("Enforcing");
}

#[test]
fn a_list_that_is_lost_or_forged_closes_and_is_put_back() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let estate = Estate::open(&lab, registry);
    let _operator = lab.operator();
    let web = estate.enforced();
    let (good, rogue) = (estate.image("web", web), estate.unsigned("rogue"));
    let data = spec(&lab, SHARD).unwrap();
    // The guard lets nobody else write it.
    let forged = json!({"spec": {"data": {format!("{}.apps", &rogue.hex()[..2]): rogue.hex()}}});
    let said = lab.try_patch(SHARD, &forged).expect_err("the guard");
    assert!(said.contains("written by holdfast alone"), "{said}");
    let nothing: serde_json::Map<String, Value> =
        data["data"].as_object().unwrap().keys().map(|key| (key.clone(), Value::Null)).collect();
    let emptied = json!({"spec": {"data": nothing}});
    for (what, change) in [("deleted", None), ("emptied", Some(emptied)), ("edited", Some(forged.clone()))] {
        match &change {
            None => lab.without_guard("parameters", |lab| lab.delete(SHARD)),
            Some(change) => lab.without_guard("parameters", |lab| _ = lab.patch(SHARD, change)),
        }
        lab.within(Duration::from_secs(10), what, |lab| {
            if spec(lab, SHARD).as_ref() == Some(&data) { Ok(()) } else { Err("not yet".to_owned()) }
        });
        lab.within(Duration::from_secs(35), "what is verified is admitted again", |_| {
            estate.try_pod("shop", &format!("good-{what}"), &good)
        });
        estate.denied("shop", &estate.image("rogue", rogue), "is not verified");
    }
}
