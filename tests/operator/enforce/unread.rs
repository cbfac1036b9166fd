//! A policy that is enforced, and then is none that can be read, or is not there any more.

use serde_json::{Value, json};

use super::estate::Estate;
use crate::lab::Lab;
use crate::registry_support::Registry;

const APPS: &str = "/apis/holdfast.dev/v1alpha1/signingidentitypolicies/apps";

fn crd() -> Value {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("crds/signingidentitypolicies.yaml");
    serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn told(lab: &Lab, reason: &str) -> String {
    lab.until(&format!("an event says {reason}"), |lab| {
        let all = lab.call("GET", "/apis/events.k8s.io/v1/namespaces/default/events", None);
        let events = all["items"].as_array().cloned().unwrap_or_default();
        let is_it = |event: &&Value| event["reason"] == reason && event["regarding"]["name"] == "apps";
        let found = events.iter().find(is_it).and_then(|event| event["note"].as_str().map(str::to_owned));
        found.ok_or_else(|| events.iter().map(|event| event["reason"].to_string()).collect())
    })
}

#[test]
fn what_is_enforced_stays_where_its_policy_cannot_be_read_or_is_gone() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let estate = Estate::open(&lab, registry);
    let operator = lab.operator();
    let web = estate.image("web", estate.enforced());
    let bad = estate.image("rogue", estate.unsigned("rogue"));
    let holds = || {
        estate.denied("shop", &bad, "is not verified");
        assert!(estate.would_admit("shop", &web).is_ok());
    };
    // As if an older version of the definition had let it be written.
    let mut open = crd();
    open["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"] =
        json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    lab.apply(&open);
    let declared = lab.get(APPS).unwrap()["spec"].clone();
    lab.until("anything is taken", |lab| lab.try_patch(APPS, &json!({"spec": {"trustRoots": "corp"}})));
    let said = told(&lab, "PolicyInvalid");
    assert!(said.contains("trustRoots") || said.contains("string \"corp\""), "{said}");
    operator.until_metric("holdfast_malformed_objects", &["kind=\"SigningIdentityPolicy\""], |odd| odd == Some(1.0));
    estate.scan_now("unread");
    std::thread::sleep(std::time::Duration::from_secs(3));
    holds();
    lab.patch(APPS, &json!({"spec": {"trustRoots": declared["trustRoots"]}}));
    lab.apply(&crd());
    lab.until("it is read again", |_| {
        let status = estate.policy_status("apps");
        if status.is("Enforcing") == "True" && status.is("Stalled") != "True" { Ok(()) } else { Err(status.text()) }
    });
    holds();

    // Somebody takes its finalizer away, and the policy.
    operator.stop();
    lab.patch(APPS, &json!({"metadata": {"finalizers": null}}));
    lab.delete(APPS);
    let operator = lab.operator();
    let said = told(&lab, "EnforcedAndGone");
    assert!(said.contains("stays in force"), "{said}");
    std::thread::sleep(std::time::Duration::from_secs(2));
    holds();
    // It comes back as it was.
    estate.enforce(&json!({}));
    estate.until_phase("Enforcing");
    holds();
    drop(operator);
}
