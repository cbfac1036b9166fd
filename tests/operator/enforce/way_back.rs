//! The narrow, timed way back.

use std::time::Duration;

use serde_json::json;

use super::estate::Estate;
use crate::break_glass::{approve, ask, from_now};
use crate::lab::Lab;
use crate::registry_support::Registry;

#[test]
fn named_namespaces_go_back_to_audit_and_come_back_without_holdfast() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let estate = Estate::open(&lab, registry);
    lab.namespace("billing", &json!({"tier": "apps"}));
    let operator = lab.operator();
    estate.enforced();
    let bad = estate.image("rogue", estate.unsigned("rogue"));
    estate.denied("billing", &bad, "is not verified");

    let loosen = json!({"returnToAudit": {"policy": "apps", "namespaces": ["billing"]}});
    let digest = ask(&lab, "alice", "inc", from_now(35), &loosen);
    approve(&lab, "bob", "inc", digest).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    estate.denied("billing", &bad, "is not verified");
    approve(&lab, "dora", "inc", digest).unwrap();
    lab.until("billing is let through", |_| estate.try_pod("billing", "urgent", &bad));
    estate.denied("shop", &bad, "is not verified");
    let status = estate.until_phase("Enforcing");
    assert!(status.text().contains("inc"), "status names it: {}", status.text());
    let said = lab.until("nobody says that it denies everywhere", |_| {
        let status = estate.policy_status("apps");
        let is_said = (status.is("Enforcing"), status.reason("Enforcing")) == ("False", "Excepted");
        if is_said { Ok(status.message("Enforcing").to_owned()) } else { Err(status.text()) }
    });
    assert!(said.contains("`inc`") && said.contains("`billing`") && !said.contains("`shop`"), "{said}");
    operator.stop();
    // Its end is in the rule itself.
    lab.within(Duration::from_secs(40), "it is denied again with nobody there", |_| {
        match estate.try_pod("billing", "late", &bad) {
            Err(said) if said.contains("is not verified") => Ok(()),
            Err(said) => Err(said),
            Ok(_) => {
                let _ = lab.try_call("DELETE", "/api/v1/namespaces/billing/pods/late?gracePeriodSeconds=0", None);
                Err("it is admitted".to_owned())
            }
        }
    });
    let _operator = lab.operator();
    lab.until("the rule is as it was", |lab| {
        let rule = lab
            .get("/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/holdfast-enforce-apps")
            .ok_or("it is gone")?;
        if rule["spec"]["matchConditions"].to_string().contains("no-break-glass") {
            Err("not yet".to_owned())
        } else {
            Ok(())
        }
    });
    lab.namespace("billing", &json!({}));
    let _ = lab.try_call("DELETE", "/api/v1/namespaces/billing/pods?gracePeriodSeconds=0", None);
}
