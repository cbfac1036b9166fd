//! An operator that is killed between any two writes of a promotion, and one that goes on after it; and two that lead in turn.

use std::time::Duration;

use serde_json::{Value, json};

use super::estate::Estate;
use crate::chart_support::NAMESPACE;
use crate::lab::{Lab, config_map_path};
use crate::proxy::{Asked, Fate};
use crate::registry_support::Registry;

/// The writes of a promotion, in their order; each is held before it reaches the API server, or after it did.
const STEPS: [(&str, &str, Fate); 10] = [
    ("the journal", "holdfast-policy-", Fate::Hold),
    ("the journal", "holdfast-policy-", Fate::HoldAnswer),
    ("what is enforced", "/configmaps", Fate::Hold),
    ("the finalizer", "/signingidentitypolicies/", Fate::HoldAnswer),
    ("a rule", "/validatingadmissionpolicies", Fate::Hold),
    ("a rule", "/validatingadmissionpolicies", Fate::HoldAnswer),
    ("a binding", "/validatingadmissionpolicybindings", Fate::Hold),
    ("a binding", "/validatingadmissionpolicybindings", Fate::HoldAnswer),
    ("what nothing refers to", "DELETE", Fate::Hold),
    ("the status", "/status", Fate::HoldAnswer),
];

fn records(lab: &Lab, policy: &str) -> Vec<Value> {
    let journal =
        lab.get(&config_map_path(NAMESPACE, &format!("holdfast-policy-{policy}"))).expect("there is a journal");
    let document: Value = serde_json::from_str(journal["data"]["document.json"].as_str().unwrap()).unwrap();
    document["gate"]["history"].as_array().unwrap().clone()
}

fn phase(estate: &Estate<'_>, policy: &str, phase: &str) {
    estate.lab.until(&format!("{policy} is in the phase {phase}"), |_| {
        let status = estate.policy_status(policy);
        if status.at("/enforcement/phase") == phase { Ok(()) } else { Err(status.text()) }
    });
}

#[test]
fn a_promotion_that_is_cut_off_anywhere_comes_to_its_end_once() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let estate = Estate::open(&lab, registry);
    lab.delete("/apis/holdfast.dev/v1alpha1/signingidentitypolicies/apps");
    let (web, rogue) = (estate.signed("web"), estate.unsigned("rogue"));
    let (good, bad) = (estate.image("web", web), estate.image("rogue", rogue));
    for (at, (step, part, fate)) in STEPS.into_iter().enumerate() {
        let (policy, namespace) = (format!("cut-{at}"), format!("cut-{at}"));
        let place = format!("{at}: {step}, {fate:?}");
        lab.namespace(&namespace, &json!({"cut": policy}));
        lab.until("there is a pod", |_| estate.try_pod(&namespace, "web", &good).map(drop));
        let spec = |desired: &str| {
            json!({
                "otherImages": "Deny", "namespaceSelector": {"matchLabels": {"cut": policy}},
                "enforcement": {"desired": desired, "soak": "0s"},
            })
        };
        estate.policy(&policy, &spec("Audit"));
        let mut operator = lab.operator_with(&["--leader-elect=false"]);
        lab.until("every check holds", |_| {
            let status = estate.policy_status(&policy);
            let checks = status.at("/enforcement/checks").as_array().cloned().unwrap_or_default();
            let hold = checks.len() > 10 && checks.iter().all(|check| check["passed"] == true);
            if hold { Ok(()) } else { Err(status.text()) }
        });
        estate.until_nothing_is_written();
        let means = move |asked: &Asked| asked.is_write() && format!("{} {}", asked.method, asked.path).contains(part);
        lab.proxy().on_nth(0, fate, means);
        estate.policy(&policy, &spec("Enforce"));
        lab.until(&format!("{place}: the write is on its way"), |lab| {
            if lab.proxy().met() >= 1 { Ok(()) } else { Err(operator.said()) }
        });
        std::thread::sleep(Duration::from_millis(100));
        operator.signal("-KILL");
        operator.ended(Duration::from_secs(5));
        let was_denied = estate.would_admit(&namespace, &bad).is_err();
        let operator = lab.operator_with(&["--leader-elect=false"]);
        // What was on its way arrives late, or never.
        lab.proxy().release();
        if was_denied {
            assert!(estate.would_admit(&namespace, &bad).is_err(), "{place}: it was denied before");
        }
        phase(&estate, &policy, "Enforcing");
        estate.denied(&namespace, &bad, "is not verified");
        assert!(estate.try_pod(&namespace, "good", &good).is_ok(), "{place}");
        let records = records(&lab, &policy);
        let promoted = records.iter().filter(|record| record["event"] == "promoted").count();
        assert_eq!(promoted, 1, "{place}: {records:?}");
        assert!(!records.iter().any(|record| record["event"] == "recovered"), "{place}: nothing was lost: {records:?}");
        operator.stop();
        lab.proxy().reset();
    }
}

#[test]
fn who_led_before_writes_over_nothing() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let estate = Estate::open(&lab, registry);
    let old = lab.operator();
    let web = estate.enforced();
    estate.until_nothing_is_written();
    // The one that leads is frozen in the middle of a change; the other one takes over and goes on.
    lab.proxy().on_nth(0, Fate::Hold, |asked| asked.is_write() && asked.path.contains("verifiedimages"));
    let api = estate.signed("api");
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "api", "namespace": "shop"},
        "spec": {
            "replicas": 0, "selector": {"matchLabels": {"app": "api"}},
            "template": {"metadata": {"labels": {"app": "api"}}, "spec": {"containers": [{"name": "main", "image": estate.image("api", api)}]}},
        },
    });
    lab.apply(&deployment);
    lab.until("the write is on its way", |lab| if lab.proxy().met() >= 1 { Ok(()) } else { Err(old.said()) });
    old.signal("-STOP");
    let new = lab.start_operator(&[], &[]);
    lab.until("the other one goes on", |_| estate.try_pod("shop", "api", &estate.image("api", api)).map(drop));
    let before = lab.get("/apis/holdfast.dev/v1alpha1/verifiedimages/holdfast-verified-00-ff.apps").unwrap();
    // What was held arrives now: the list is another one by then, and it is refused.
    lab.proxy().release();
    old.signal("-CONT");
    std::thread::sleep(Duration::from_secs(4));
    let after = lab.get("/apis/holdfast.dev/v1alpha1/verifiedimages/holdfast-verified-00-ff.apps").unwrap();
    assert_eq!(before["spec"], after["spec"]);
    assert!(estate.try_pod("shop", "web-again", &estate.image("web", web)).is_ok());
    estate.denied("shop", &estate.image("rogue", estate.unsigned("rogue")), "is not verified");
    drop(new);
}
