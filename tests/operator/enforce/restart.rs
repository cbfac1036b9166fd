//! What holds while holdfast is down, and when it is back.

use std::time::Duration;

use serde_json::json;

use super::estate::Estate;
use super::interrupted::records;
use crate::chart_support::NAMESPACE;
use crate::lab::{HOLDFAST, Lab, config_map_path};
use crate::proxy::Fate;
use crate::registry_support::Registry;

#[test]
fn what_is_enforced_holds_without_holdfast_and_is_taken_up_again() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let estate = Estate::open(&lab, registry);
    let operator = lab.operator();
    let web = estate.enforced();
    let (good, bad) = (estate.image("web", web), estate.image("rogue", estate.unsigned("rogue")));
    estate.until_nothing_is_written();
    operator.stop();
    estate.denied("shop", &bad, "is not verified");
    assert!(estate.try_pod("shop", "without", &good).is_ok());

    // The registry is away when it is back: unknown denies nothing that was verified.
    estate.network.on(10_000, crate::proxy::Fate::Refuse(503, None), |_| true);
    lab.proxy().reset();
    let operator = lab.operator();
    std::thread::sleep(Duration::from_secs(5));
    let writes: Vec<String> = lab
        .proxy()
        .writes()
        .iter()
        .filter(|asked| asked.path.contains("verifiedimages") || asked.path.contains("admissionregistration"))
        .map(|asked| format!("{} {}", asked.method, asked.path))
        .collect();
    assert_eq!(writes, Vec::<String>::new(), "nothing that is enforced is written anew");
    assert!(estate.try_pod("shop", "with", &good).is_ok());
    estate.denied("shop", &bad, "is not verified");
    let status = estate.until_phase("Enforcing");
    assert_eq!(status.is("Enforcing"), "True", "{}", status.text());
    drop(operator);
}

#[test]
fn losing_what_says_what_is_enforced_never_reads_as_audit() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let estate = Estate::open(&lab, registry);
    let operator = lab.operator();
    estate.enforced();
    let bad = estate.image("rogue", estate.unsigned("rogue"));
    let paths = ["holdfast-enforced-apps", "holdfast-policy-apps"].map(|name| config_map_path(NAMESPACE, name));
    for lost in [&paths[..1], &paths[1..], &paths[..]] {
        for path in lost {
            let _ = lab.clean(path);
        }
        std::thread::sleep(Duration::from_secs(3));
        estate.denied("shop", &bad, "is not verified");
        let status = estate.policy_status("apps");
        assert_ne!(status.at("/enforcement/phase"), "Audit", "{}", status.text());
        assert_eq!(status.is("Degraded"), "True", "somebody is told: {}", status.text());
    }
    drop(operator);
    let _operator = lab.operator();
    std::thread::sleep(Duration::from_secs(3));
    estate.denied("shop", &bad, "is not verified");
}

#[test]
fn a_soak_that_somebody_made_up_is_none() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let estate = Estate::open(&lab, registry);
    let operator = lab.operator();
    estate.pod("web", &estate.image("web", estate.signed("web")));
    estate.enforce(&json!({"enforcement": {"desired": "Enforce", "soak": "72h"}}));
    lab.until("the soak is under way", |lab| {
        let journal = lab.get(&config_map_path(NAMESPACE, "holdfast-policy-apps")).ok_or("nothing")?;
        let text = journal["data"]["document.json"].as_str().ok_or("no document")?.to_owned();
        if text.contains("\"soak\":{") { Ok(()) } else { Err(text) }
    });
    operator.stop();
    // As whoever got hold of holdfast's right to write there, but not of the chain.
    let path = config_map_path(NAMESPACE, "holdfast-policy-apps");
    let mut journal = lab.get(&path).unwrap();
    let mut document: serde_json::Value =
        serde_json::from_str(journal["data"]["document.json"].as_str().unwrap()).unwrap();
    let soak = &mut document["gate"]["progress"]["soak"];
    soak["credit"] = json!("PT259200S");
    soak["started"] = json!("2020-01-01T00:00:00Z");
    journal["data"]["document.json"] = json!(document.to_string());
    journal["metadata"]["managedFields"] = json!(null);
    let said = lab.try_call("PUT", &path, Some(&journal)).expect_err("the guard");
    assert!(said.contains("written by holdfast alone"), "{said}");
    lab.call_as(HOLDFAST, "PUT", &path, &journal).unwrap();
    let _operator = lab.operator();
    std::thread::sleep(Duration::from_secs(4));
    let status = estate.policy_status("apps");
    assert_eq!(status.at("/enforcement/phase"), "Soaking", "{}", status.text());
    estate.scan_now("again");
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(estate.policy_status("apps").at("/enforcement/phase"), "Soaking");
    assert!(
        estate.try_pod("shop", "rogue", &estate.image("rogue", estate.unsigned("rogue"))).is_ok(),
        "nothing is denied"
    );
}

/// Nobody looked yet when it is back: that is no check that fails.
#[test]
fn a_soak_goes_on_when_holdfast_is_back() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let estate = Estate::open(&lab, registry);
    let mut operator = lab.operator_with(&["--leader-elect=false"]);
    estate.pod("web", &estate.image("web", estate.signed("web")));
    estate.enforce(&json!({"enforcement": {"desired": "Enforce", "soak": "72h"}}));
    let soaks = |what: &str| {
        let events: Vec<String> =
            records(&lab, "apps").iter().map(|record| record["event"].as_str().unwrap().to_owned()).collect();
        let count = |event: &str| events.iter().filter(|of| *of == event).count();
        assert_eq!((count("soakStarted"), count("soakEnded")), (1, 0), "{what}: {events:?}");
    };
    let holds = |what: &str| {
        lab.until(&format!("every check holds, {what}"), |_| {
            let status = estate.policy_status("apps");
            let checks = status.at("/enforcement/checks").as_array().cloned().unwrap_or_default();
            let hold = checks.len() > 10 && checks.iter().all(|check| check["passed"] == true);
            if hold && status.at("/enforcement/phase") == "Soaking" { Ok(()) } else { Err(status.text()) }
        });
    };
    holds("at first");
    for round in 0..3 {
        estate.until_nothing_is_written();
        operator.signal("-KILL");
        operator.ended(Duration::from_secs(5));
        // Of a large cluster, it takes a while until all that runs is listed.
        if round > 0 {
            lab.proxy().on(usize::MAX, Fate::Hold, |asked| asked.method == "GET" && asked.path == "/api/v1/pods");
        }
        operator = lab.operator_with(&["--leader-elect=false"]);
        std::thread::sleep(Duration::from_secs(if round > 0 { 6 } else { 2 }));
        lab.proxy().reset();
        estate.scan_now(&format!("round-{round}"));
        holds("again");
        soaks(&format!("round {round}"));
    }
    drop(operator);
}
