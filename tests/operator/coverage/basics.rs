//! What a report says, and when.

use serde_json::json;

use super::shop::{Shop, of_reason};
use crate::lab::Lab;
use crate::registry_support::Registry;

#[test]
fn what_runs_is_looked_up_judged_and_told_by_reason() {
    let Some(lab) = Lab::enter() else { return };
    for referrers in [true, false] {
        let Some(registry) = Registry::plain(referrers) else { return };
        let shop = Shop::open(&lab, registry);
        let operator = lab.operator();
        let (good, bare, other) = (shop.signed("good"), shop.unsigned("bare"), shop.unsigned("other"));
        shop.sign("other", other, "https://ci.example/somebody-else");
        for (name, digest) in [("good", good), ("bare", bare), ("other", other)] {
            shop.pod(name, &shop.image(name, digest));
        }
        shop.pod("elsewhere", "registry.example/x:1");
        shop.report(&json!({}));
        let status = shop.until(1, 2, 0);
        assert_eq!(status.at("/totals/outOfScope"), 1, "{}", status.text());
        assert_eq!(status.at("/totals/ratio"), "33.3%");
        assert_eq!((of_reason(&status, "MissingBundle"), of_reason(&status, "IdentityMismatch")), (1, 1));
        assert_eq!(status.reason("Complete"), "EverythingSeen");
        assert_eq!(status.at("/scan/pods"), 4);
        assert_eq!(status.at("/worst/0/workloads/0"), "shop/Pod/bare", "{}", status.text());

        // The team signs, and the number moves at the next look.
        shop.sign("bare", bare, super::shop::SUBJECT);
        shop.scan_now("signed");
        let status = shop.until(2, 1, 0);
        assert_eq!(status.at("/history/0/covered"), 2);
        // What comes new is looked at by itself.
        let late = shop.signed("late");
        shop.pod("late", &shop.image("late", late));
        shop.until(3, 1, 0);
        drop(operator);
        lab.clear();
    }
}

#[test]
fn what_is_declared_and_what_runs_both_have_to_pass() {
    let Some(lab) = Lab::enter() else { return };
    let Some(registry) = Registry::plain(true) else { return };
    let shop = Shop::open(&lab, registry);
    let (good, bad) = (shop.signed("app"), shop.registry.push_image("apps/app", "2", b"another"));
    let host = shop.host().to_owned();
    let id = |digest| format!("{host}/apps/app@{digest}");
    // Multi-platform: the index is signed, a node runs one of its platforms.
    let platform = shop.registry.push_image("apps/app", "amd64", b"platform");
    let index = shop.registry.push_index("apps/app", "all", &[platform]);
    shop.sign("app", index, super::shop::SUBJECT);
    let tag = format!("{host}/apps/app:1");
    for (pod, image, runs) in [
        ("as-declared", shop.image("app", good), Some(id(good))),
        ("by-tag-good", tag.clone(), Some(id(good))),
        ("by-tag-bad", tag.clone(), Some(id(bad))),
        ("by-tag-unseen", format!("{host}/apps/app:2"), None),
        ("by-tag-of-docker", format!("{host}/apps/app:3"), Some(format!("docker-pullable://{}", id(good)))),
        ("by-tag-imported", format!("{host}/apps/app:4"), Some(format!("docker://{good}"))),
        ("platform", shop.image("app", index), Some(id(platform))),
        ("swapped", shop.image("app", good), Some(id(bad))),
    ] {
        shop.pod_that_runs(pod, &image, runs.as_deref());
    }
    let _operator = lab.operator();
    shop.report(&json!({}));
    let status = shop.until(4, 2, 2);
    assert_eq!(status.at("/totals/notAdmissibleAsDeclared"), 5, "{}", status.text());
    assert_eq!((of_reason(&status, "MissingBundle"), of_reason(&status, "DigestUnresolved")), (2, 2));
    let worst = status.at("/worst").to_string();
    assert!(worst.contains(&format!("(runs {bad})")), "{worst}");
}

#[test]
fn workloads_are_those_that_people_know_and_templates_count() {
    let Some(lab) = Lab::enter() else { return };
    let Some(registry) = Registry::plain(true) else { return };
    let shop = Shop::open(&lab, registry);
    let (web, night, old) = (shop.signed("web"), shop.unsigned("night"), shop.unsigned("old"));
    let containers = |image: &str| json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": image}]}});
    lab.apply(&json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "template": containers(&shop.image("web", web))},
    }));
    let mut job = containers(&shop.image("night", night));
    job["spec"]["restartPolicy"] = json!("Never");
    lab.apply(&json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "night", "namespace": "shop"},
        "spec": {"schedule": "0 3 * * *", "jobTemplate": {"spec": {"template": job}}},
    }));
    let _operator = lab.operator();
    shop.report(&json!({}));
    let status = shop.until(1, 1, 0);
    assert_eq!(status.at("/worst/0/workloads"), &json!(["shop/CronJob/night"]));
    // A rollback to what an old ReplicaSet holds is one command away.
    lab.patch(
        "/apis/apps/v1/namespaces/shop/deployments/web",
        &json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": shop.image("old", old)}]}}}}),
    );
    shop.until(1, 2, 0);
    shop.report(&json!({"includeTemplates": false}));
    let status = shop.until(0, 0, 0);
    assert_eq!(status.at("/totals/ratio"), "-", "{}", status.text());
}

#[test]
fn every_container_of_a_pod_counts_and_a_settled_report_is_not_written() {
    let Some(lab) = Lab::enter() else { return };
    let Some(registry) = Registry::plain(true) else { return };
    let shop = Shop::open(&lab, registry);
    let image = shop.image("good", shop.signed("good"));
    let many: Vec<_> = (0..50).map(|at| json!({"name": format!("c{at}"), "image": image})).collect();
    let init = json!([{"name": "init", "image": shop.image("init", shop.unsigned("init"))}]);
    let volume = json!([{"name": "models", "image": {"reference": shop.image("models", shop.unsigned("models"))}}]);
    shop.pod_of("many", &json!({"containers": many, "initContainers": init, "volumes": volume}));
    let operator = lab.operator();
    shop.report(&json!({}));
    shop.until(1, 2, 0);
    shop.until_reason("Ready", "Scanned");
    // A policy's status is written every ten seconds at most, so what was last found may still be told.
    std::thread::sleep(std::time::Duration::from_secs(12));
    let (writes, asked) = (lab.proxy().writes().len(), operator.metric("holdfast_registry_requests_total", &[]));
    std::thread::sleep(std::time::Duration::from_secs(12));
    let leases = |asked: &crate::proxy::Asked| asked.path.contains("/leases/");
    let since: Vec<_> = lab.proxy().writes().into_iter().skip(writes).filter(|asked| !leases(asked)).collect();
    assert!(since.is_empty(), "{since:?}");
    assert_eq!(operator.metric("holdfast_registry_requests_total", &[]), asked, "nobody is asked between scans");
    // A look with nothing new is one request an image with bundles; where there are none, every place they may be in is asked, and whether the image is there.
    let before = asked.unwrap();
    shop.scan_now("again");
    lab.until("a second scan ends", |_| {
        let ended = operator.metric("holdfast_scan_duration_seconds_count", &[]) == Some(2.0);
        if ended { Ok(()) } else { Err(String::new()) }
    });
    let cost = operator.metric("holdfast_registry_requests_total", &[]).unwrap() - before;
    println!("a second look at three images took {cost} requests");
    assert!(cost <= 1.0 + 2.0 * 6.0, "{cost}");
    assert_eq!(operator.metric("holdfast_verification_seconds_count", &[]), Some(3.0), "and no verification");
}
