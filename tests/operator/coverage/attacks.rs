//! What those who may make pods, push to a repository or stand in the network can do: hide nobody else's images, hold up no report, and take no more than a
//! share.

use std::time::{Duration, Instant};

use serde_json::json;

use super::shop::Shop;
use crate::lab::Lab;
use crate::proxy::Fate;
use crate::registry_support::Registry;

#[test]
fn however_long_a_pods_owner_is_named_the_report_is_written() {
    let Some(lab) = Lab::enter() else { return };
    let Some(registry) = Registry::plain(true) else { return };
    let shop = Shop::open(&lab, registry);
    shop.pod("good", &shop.image("good", shop.signed("good")));
    let _operator = lab.operator();
    shop.report(&json!({}));
    shop.until(1, 0, 0);
    let image = shop.image("bare", shop.unsigned("bare"));
    for at in 0..3 {
        lab.apply(&json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": format!("long-{at}"), "namespace": "shop", "ownerReferences": [{
                "apiVersion": "x.example/v1", "kind": format!("K{at}\u{1b}[2J{}", "k".repeat(800_000)), "name": "n", "uid": "1", "controller": true,
            }]},
            "spec": {"containers": [{"name": "main", "image": image}]},
        }));
    }
    let status = shop.until(1, 1, 0);
    assert!(status.text().len() < 20_000, "{}", status.text().len());
}

#[test]
fn whoever_brings_new_images_without_end_hides_nobody_elses() {
    let Some(lab) = Lab::enter() else { return };
    let Some(registry) = Registry::plain(true) else { return };
    let shop = Shop::open(&lab, registry);
    shop.pod("good", &shop.image("good", shop.signed("good")));
    let bare = shop.image("bare", shop.unsigned("bare"));
    let _operator = lab.operator();
    shop.report(&json!({}));
    shop.until(1, 0, 0);
    shop.until_reason("Ready", "Scanned");
    // A registry far away: a look at an image takes a second or two, and before it ends the next one has come.
    shop.network.on(usize::MAX, Fate::Hold, |asked| asked.path.contains("/apps/none"));
    let fresh = |made: u32| shop.image("none", holdfast_core::Digest::of(&made.to_le_bytes()));
    shop.pod("churn", &fresh(0));
    let (mut made, mut came, mut seen) = (0_u32, Instant::now(), None);
    while came.elapsed() < Duration::from_secs(60) && seen.is_none() {
        made += 1;
        if made == 20 {
            shop.pod("bare", &bare);
            came = Instant::now();
        }
        let main = json!([{"name": "main", "image": fresh(made)}]);
        lab.patch("/api/v1/namespaces/shop/pods/churn", &json!({"spec": {"containers": main}}));
        std::thread::sleep(Duration::from_millis(150));
        if made % 8 == 0 {
            shop.network.release();
        }
        if shop.status().at("/totals/uncovered") == &json!(1) {
            seen = Some(came.elapsed());
        }
    }
    println!("{made} images came; the uncovered one was told after {seen:?}");
    shop.network.reset();
    assert!(seen.is_some_and(|after| after < Duration::from_secs(20)), "{seen:?}: {}", shop.status().text());
}

#[test]
fn a_watch_that_is_not_answered_is_no_quiet_cluster() {
    let Some(lab) = Lab::enter() else { return };
    let Some(registry) = Registry::plain(true) else { return };
    let shop = Shop::open(&lab, registry);
    shop.pod("good", &shop.image("good", shop.signed("good")));
    let bare = shop.image("bare", shop.unsigned("bare"));
    let _operator = lab.operator();
    shop.report(&json!({}));
    shop.until(1, 0, 0);
    shop.until_reason("Complete", "EverythingSeen");
    lab.proxy().on(usize::MAX, Fate::Hold, |asked| asked.path.starts_with("/api/v1/pods"));
    lab.proxy().cut();
    shop.pod("bare", &bare);
    lab.within(Duration::from_secs(75), "it is told that pods are not seen", |_| {
        let status = shop.status();
        if status.reason("Complete") == "InventoryIncomplete" { Ok(()) } else { Err(status.text()) }
    });
    // And it does not become true again by itself.
    std::thread::sleep(Duration::from_secs(45));
    let status = shop.status();
    assert_eq!(status.reason("Complete"), "InventoryIncomplete", "{}", status.text());
    lab.proxy().reset();
    lab.within(Duration::from_secs(60), "the pod is seen", |_| {
        let status = shop.status();
        if status.at("/totals/uncovered") == &json!(1) { Ok(()) } else { Err(status.text()) }
    });
}

#[test]
fn names_that_a_registry_refuses_leave_no_other_image_unseen() {
    let Some(lab) = Lab::enter() else { return };
    let Some(registry) = Registry::plain(true) else { return };
    let shop = Shop::open(&lab, registry);
    let good = shop.image("good", shop.signed("good"));
    let bare = shop.image("bare", shop.unsigned("bare"));
    shop.network.on(usize::MAX, Fate::Refuse(400, None), |asked| asked.path.contains("/apps/aaa"));
    for at in 0..40 {
        let name = format!("aaa{at:02}");
        shop.pod(&name, &shop.image(&name, holdfast_core::Digest::of(name.as_bytes())));
    }
    shop.pod("good", &good);
    shop.pod("bare", &bare);
    let _operator = lab.operator();
    shop.report(&json!({}));
    shop.until(1, 1, 40);
}

#[test]
fn evidence_without_end_takes_no_more_memory_than_the_chart_gives() {
    let Some(lab) = Lab::enter() else { return };
    let Some(registry) = Registry::plain(true) else { return };
    let shop = Shop::open(&lab, registry);
    let big = format!(
        "{{\"mediaType\":\"application/vnd.dev.sigstore.bundle.v0.3+json\",\"x\":\"{}\"}}",
        "x".repeat(15 << 20)
    );
    for at in 0..16 {
        let image = shop.registry.push_image("apps/big", &format!("t{at}"), format!("image {at}").as_bytes());
        for one in 0..4 {
            shop.registry.attach("apps/big", image, big.as_bytes(), &format!("https://x.example/{one}"));
        }
        shop.pod(&format!("big-{at}"), &shop.image("big", image));
    }
    let operator = lab.operator();
    shop.report(&json!({}));
    let ended = lab.within(Duration::from_secs(120), "a scan ends", |_| {
        let status = shop.status();
        if status.reason("Ready") == "Scanned" || status.reason("Complete") == "CouldNotLook" {
            Ok(status)
        } else {
            Err(status.text())
        }
    });
    let held = std::fs::read_to_string(format!("/proc/{}/status", operator.pid())).unwrap();
    let peak = held
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .trim()
        .parse::<u64>()
        .unwrap();
    println!("peak of {} MiB; {}", peak / 1024, ended.text());
    let values = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/charts/holdfast/values.yaml")).unwrap();
    let given = values.lines().find_map(|line| line.trim().strip_prefix("limits: {memory: ")?.strip_suffix("Mi}"));
    let given: u64 = given.unwrap().parse().unwrap();
    assert!(peak < given * 1024, "{} MiB of {given}", peak / 1024);
}

#[test]
fn what_was_counted_before_everything_was_listed_is_counted_again() {
    let Some(lab) = Lab::enter() else { return };
    let Some(registry) = Registry::plain(true) else { return };
    let shop = Shop::open(&lab, registry);
    shop.pod("good", &shop.image("good", shop.signed("good")));
    lab.proxy().on(usize::MAX, Fate::Hold, |asked| asked.path.starts_with("/api/v1/pods"));
    let _operator = lab.operator();
    shop.report(&json!({}));
    shop.until_reason("Complete", "InventoryIncomplete");
    lab.proxy().reset();
    shop.until(1, 0, 0);
    let status = shop.until_reason("Complete", "EverythingSeen");
    assert_eq!(status.at("/scan/pods"), 1, "{}", status.text());
    assert_eq!(status.at("/scan/images"), 1, "{}", status.text());
}

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
