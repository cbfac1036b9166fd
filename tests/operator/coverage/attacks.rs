//! What those who may make pods, push to a repository or stand in the network can do: hide nobody else's images, hold up no report, and take no more than a
//! share.

use serde_json::json;

use super::shop::Shop;
use crate::lab::Lab;
use crate::registry_support::Registry;

/// As deep as the API server takes it, and deeper than readers go.
fn deep() -> serde_json::Value {
    (0..200).fold(json!({}), |inner, _| json!({"f:spec": inner}))
}

fn managed() -> serde_json::Value {
    json!([{"manager": "me", "operation": "Update", "apiVersion": "v1", "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": deep()}])
}

#[test]
fn a_pod_whose_fields_are_managed_in_a_deep_tree_is_seen() {
    let Some(lab) = Lab::enter() else { return };
    let Some(registry) = Registry::plain(true) else { return };
    let shop = Shop::open(&lab, registry);
    shop.pod("good", &shop.image("good", shop.signed("good")));
    let pod = |name: &str, image: String| {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "shop", "managedFields": managed()},
            "spec": {"containers": [{"name": "main", "image": image}]}});
        // The answer cannot be read here, either.
        let _ = lab.try_call("POST", "/api/v1/namespaces/shop/pods", Some(&pod));
    };
    pod("before", shop.image("bare", shop.unsigned("bare")));
    let operator = lab.operator();
    shop.report(&json!({}));
    shop.until(1, 1, 0);
    pod("later", shop.image("other", shop.unsigned("other")));
    let status = shop.until(1, 2, 0);
    assert_eq!(status.reason("Complete"), "EverythingSeen", "{}", status.text());
    assert!(!operator.says("a watch failed"), "{}", operator.said());
}

#[test]
fn what_cannot_be_read_is_not_left_out_of_a_complete_scan() {
    let Some(lab) = Lab::enter() else { return };
    let Some(registry) = Registry::plain(true) else { return };
    let shop = Shop::open(&lab, registry);
    shop.pod("good", &shop.image("good", shop.signed("good")));
    let revision = json!({
        "apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": {"name": "deep", "namespace": "shop"}, "revision": 1, "data": deep(),
    });
    let _operator = lab.operator();
    shop.report(&json!({}));
    shop.until_reason("Complete", "EverythingSeen");
    let _ = lab.try_call("POST", "/apis/apps/v1/namespaces/shop/controllerrevisions", Some(&revision));
    let status = shop.until_reason("Complete", "InventoryIncomplete");
    assert!(status.message("Complete").contains("ControllerRevision"), "{}", status.text());
    lab.call("DELETE", "/apis/apps/v1/namespaces/shop/controllerrevisions/deep", None);
    shop.until_reason("Complete", "EverythingSeen");
}
