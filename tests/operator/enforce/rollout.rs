//! Waves, and a pause between them; and namespaces that are never enforced.

use std::time::Duration;

use serde_json::json;

use super::estate::Estate;
use crate::chart_support::NAMESPACE;
use crate::lab::Lab;
use crate::registry_support::Registry;

#[test]
fn a_pause_lets_no_further_wave_begin_and_takes_none_back() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let estate = Estate::open(&lab, registry);
    let operator = lab.operator();
    lab.namespace("shop", &json!({"tier": "apps", "wave": "canary"}));
    lab.namespace("billing", &json!({"tier": "apps"}));
    let (web, invoices) = (estate.signed("web"), estate.unsigned("invoices"));
    let bad = estate.image("rogue", estate.unsigned("rogue"));
    estate.pod("web", &estate.image("web", web));
    let invoices_image = estate.image("invoices", invoices);
    estate.try_pod("billing", "invoices", &invoices_image).unwrap();
    let waves =
        json!([{"name": "canary", "namespaceSelector": {"matchLabels": {"wave": "canary"}}}, {"name": "everything"}]);
    let rollout =
        |paused: bool| json!({"enforcement": {"desired": "Enforce", "soak": "0s", "paused": paused, "waves": waves}});
    let is_denied = |namespace: &str| estate.would_admit(namespace, &bad).is_err();
    let wave = || estate.policy_status("apps").at("/enforcement/wave").as_str().unwrap_or_default().to_owned();
    estate.enforce(&rollout(true));
    lab.until("it says that it is paused", |_| {
        let status = estate.policy_status("apps");
        if status.at("/enforcement/blockedBy") == "Paused" { Ok(()) } else { Err(status.text()) }
    });
    estate.scan_now("paused");
    std::thread::sleep(Duration::from_secs(3));
    assert!(!is_denied("shop") && !is_denied("billing"), "nothing is promoted while it is paused");

    // The first wave is enforced, and the second one waits for an image that nobody signed.
    estate.enforce(&rollout(false));
    lab.until("the first wave is enforced", |_| {
        if is_denied("shop") { Ok(()) } else { Err(estate.policy_status("apps").text()) }
    });
    lab.until("the next one waits", |_| {
        let status = estate.policy_status("apps");
        if status.at("/enforcement/blockedBy") == "CoverageMet" && wave() == "everything" {
            Ok(())
        } else {
            Err(status.text())
        }
    });
    estate.enforce(&rollout(true));
    estate.sign("invoices", invoices, crate::coverage::shop::SUBJECT);
    estate.scan_now("signed");
    estate.until(2, 0, 0);
    std::thread::sleep(Duration::from_secs(4));
    assert!(!is_denied("billing"), "it is paused: {}", estate.policy_status("apps").text());
    assert!(is_denied("shop"), "what is enforced stays so");
    // Another process knows of the pause, too.
    operator.stop();
    let _operator = lab.operator();
    estate.scan_now("again");
    std::thread::sleep(Duration::from_secs(4));
    assert!(!is_denied("billing") && is_denied("shop"));

    estate.enforce(&rollout(false));
    estate.until_phase("Enforcing");
    lab.until("the second wave is enforced", |_| {
        if is_denied("billing") { Ok(()) } else { Err(estate.policy_status("apps").text()) }
    });
    assert!(estate.would_admit("billing", &invoices_image).is_ok());
    lab.namespace("billing", &json!({}));
    let _ = lab.try_call("DELETE", "/api/v1/namespaces/billing/pods?gracePeriodSeconds=0", None);
}

#[test]
fn the_name_of_an_engine_that_is_not_there_protects_nobody() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let estate = Estate::open(&lab, registry);
    let _operator = lab.operator();
    // Names that engines have where they are, one that is left out everywhere, and holdfast's own.
    let absent = ["kyverno", "cosign-system"];
    for name in absent.into_iter().chain(["kube-system", NAMESPACE]) {
        lab.namespace(name, &json!({"tier": "apps"}));
    }
    estate.pod("web", &estate.image("web", estate.signed("web")));
    estate.enforce(&json!({}));
    // Its own image is under no policy, so it would be denied: nothing is promoted that shuts holdfast out.
    lab.until("it waits for the image of holdfast", |_| {
        let status = estate.policy_status("apps");
        let is_it = status.at("/enforcement/blockedBy") == "AdmissibleAsDeclared" && status.text().contains(NAMESPACE);
        if is_it { Ok(()) } else { Err(status.text()) }
    });
    lab.namespace(NAMESPACE, &json!({}));
    estate.until_phase("Enforcing");
    let bad = estate.image("rogue", estate.unsigned("rogue"));
    for name in absent {
        lab.until(&format!("{name} is enforced like any other"), |_| match estate.would_admit(name, &bad) {
            Err(said) if said.contains("is not verified") => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }
    let tried = estate.would_admit("kube-system", &bad);
    assert!(tried.is_ok(), "{tried:?}");
    let told = estate.policy_status("apps").at("/enforcement/leftOut").to_string();
    assert!(told.contains("kube-system"), "{told}");
    for name in absent.into_iter().chain(["kube-system"]) {
        lab.namespace(name, &json!({}));
    }
}
