//! What `holdfast why` and `holdfast report` say of a cluster: the same as its status.

use serde_json::{Value, json};

use super::shop::{SUBJECT, Shop};
use crate::lab::Lab;
use crate::registry_support::Registry;

#[test]
fn why_looks_again_and_says_what_the_report_says() {
    let Some(lab) = Lab::enter() else { return };
    let Some(registry) = Registry::plain(true) else { return };
    let shop = Shop::open(&lab, registry);
    let (good, other) = (shop.signed("good"), shop.unsigned("other"));
    shop.sign("other", other, "https://ci.example/somebody");
    shop.pod("good", &shop.image("good", good));
    shop.pod("other", &shop.image("other", other));
    shop.pod_that_runs("by-tag", &format!("{}/apps/good:1", shop.host()), Some(&shop.image("good", good)));
    let (code, _, said) = lab.holdfast(&["why", "apps/good"]);
    assert!(code == 2 && said.contains("no BundleCoverageReport"), "{said}");
    let operator = lab.operator();
    shop.report(&json!({}));
    shop.until(2, 1, 0);

    let (code, text, said) = lab.holdfast(&["why", &shop.image("good", good)]);
    assert_eq!(code, 0, "{said}{text}");
    assert!(text.contains("covered  under policy `apps`") && text.contains(SUBJECT), "{text}");
    let (code, text, _) = lab.holdfast(&["why", "apps/other"]);
    assert!(code == 1 && text.contains("IdentityMismatch") && text.contains("used by shop/Pod/other"), "{text}");
    let (code, text, _) = lab.holdfast(&["why", &format!("{}/apps/good:1", shop.host()), "-o", "json"]);
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &answer["images"][0]["digest"]), (0, &json!(good)), "{text}");
    assert_eq!(answer["images"][0]["notAdmissibleAsDeclared"], true);
    let (code, text, _) = lab.holdfast(&["why", &format!("elsewhere.example/x@{good}")]);
    assert!(code == 3 && text.contains("out of scope"), "{text}");

    let (code, text, said) = lab.holdfast(&["report", "-o", "json", "--exit-code"]);
    let report: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{said}{text}"));
    assert!(code == 1 && report.to_string().contains("66.6%"), "{text}");
    // A trust that is gone is known to both.
    lab.delete(&crate::lab::mirror_path("corp"));
    shop.until(0, 0, 3);
    let (code, text, _) = lab.holdfast(&["why", "apps/good"]);
    assert!(code == 3 && text.contains("StaleTrustRoot"), "{text}");
    drop(operator);
}
