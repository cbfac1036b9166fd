//! From audit to denial.

use serde_json::json;

use super::estate::Estate;
use crate::lab::Lab;
use crate::registry_support::Registry;

#[test]
fn a_policy_is_enforced_once_every_check_holds() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let estate = Estate::open(&lab, registry);
    let _operator = lab.operator();
    let (web, rogue) = (estate.signed("web"), estate.unsigned("rogue"));
    estate.pod("web", &estate.image("web", web));
    estate.pod("rogue", &estate.image("rogue", rogue));
    estate.enforce(&json!({}));
    let status = estate.until_phase("Soaking");
    lab.until("the gate names what is missing", |_| {
        let status = estate.policy_status("apps");
        if status.at("/enforcement/blockedBy") == "CoverageMet" { Ok(()) } else { Err(status.text()) }
    });
    assert!(status.at("/enforcement/checks").as_array().is_some_and(|checks| checks.len() >= 12));

    estate.sign("rogue", rogue, crate::coverage::shop::SUBJECT);
    estate.scan_now("signed");
    estate.until_phase("Enforcing");
    estate.denied("shop", &estate.image("other", estate.unsigned("other")), "is not verified for the policy `apps`");
    assert!(estate.try_pod("shop", "again", &estate.image("web", web)).is_ok());
}
