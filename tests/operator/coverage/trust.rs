//! What scans judge by changes: trust, policies, and keys.

use holdfast_testpki::{Recipe, Sigstore};
use serde_json::json;

use super::shop::{ISSUER, SUBJECT, Shop, of_reason};
use crate::lab::{Lab, mirror_path};
use crate::registry_support::Registry;

#[test]
fn another_trust_judges_what_is_kept_and_asks_no_registry() {
    let Some(lab) = Lab::enter() else { return };
    let Some(registry) = Registry::plain(true) else { return };
    let shop = Shop::open(&lab, registry);
    let other = Sigstore::of("other.example", "2026-01-01T00:00:00Z".parse().unwrap());
    for name in ["one", "two", "three"] {
        let digest = shop.signed(name);
        shop.sign_by(&other, name, digest, &Recipe::image(SUBJECT, ISSUER));
        shop.pod(name, &shop.image(name, digest));
    }
    let operator = lab.operator();
    shop.report(&json!({}));
    shop.until(3, 0, 0);
    let asked = operator.metric("holdfast_registry_requests_total", &[]).unwrap();
    let judged = operator.metric("holdfast_verification_seconds_count", &[]).unwrap();
    shop.trust("next", &other);
    lab.until("the next trust is in force", |lab| match lab.get(&mirror_path("next")) {
        Some(mirror) if mirror["status"]["adopted"]["digest"].is_string() => Ok(()),
        _ => Err(String::new()),
    });
    shop.policy("apps", &json!({"trustRoots": ["next"]}));
    lab.until("all is judged anew", |_| {
        let now = operator.metric("holdfast_verification_seconds_count", &[]).unwrap();
        if now >= judged + 3.0 { Ok(()) } else { Err(now.to_string()) }
    });
    shop.until(3, 0, 0);
    assert_eq!(operator.metric("holdfast_registry_requests_total", &[]), Some(asked));

    // Trust that goes takes its verdicts along: nothing is known then, and nothing is covered.
    lab.delete(&mirror_path("next"));
    let status = shop.until(0, 0, 3);
    assert_eq!(of_reason(&status, "StaleTrustRoot"), 3);
}

#[test]
fn a_policy_that_cannot_be_used_leaves_the_scan_incomplete() {
    let Some(lab) = Lab::enter() else { return };
    let Some(registry) = Registry::plain(true) else { return };
    let shop = Shop::open(&lab, registry);
    shop.pod("good", &shop.image("good", shop.signed("good")));
    let _operator = lab.operator();
    shop.report(&json!({}));
    shop.until(1, 0, 0);
    let identities = json!([{"name": "vendor", "key": {"secretRef": {"name": "vendor"}}}]);
    shop.policy("vendors", &json!({"identities": identities}));
    let status = shop.until_reason("Complete", "PolicyUnusable");
    assert!(status.message("Complete").contains("vendor"), "{}", status.text());
    assert_eq!(status.reason("Ready"), "PolicyUnusable");
    // The key comes, and says no.
    lab.apply(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "vendor", "namespace": crate::chart_support::NAMESPACE},
        "stringData": {"cosign.pub": shop.sigstore.managed_key.pem()},
    }));
    lab.patch(
        "/apis/holdfast.dev/v1alpha1/signingidentitypolicies/vendors",
        &json!({"metadata": {"annotations": {"a": "b"}}}),
    );
    let status = shop.until(0, 1, 0);
    assert_eq!(of_reason(&status, "KeyMismatch"), 1);
    lab.delete(&format!("/api/v1/namespaces/{}/secrets/vendor", crate::chart_support::NAMESPACE));
}
