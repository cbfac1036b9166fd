//! What goes wrong: whatever could not be looked at is unknown, never covered, and the status names it and whose it is.

use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use super::shop::{Shop, of_reason};
use crate::lab::Lab;
use crate::proxy::Fate;
use crate::registry_support::Registry;

#[test]
fn a_registry_that_is_gone_leaves_everything_unknown_until_it_is_back() {
    let Some(lab) = Lab::enter() else { return };
    let Some(registry) = Registry::plain(true) else { return };
    let shop = Shop::open(&lab, registry);
    shop.pod("good", &shop.image("good", shop.signed("good")));
    let _operator = lab.operator();
    shop.report(&json!({}));
    shop.until(1, 0, 0);
    shop.network.on(usize::MAX, Fate::Refuse(503, None), |_| true);
    shop.scan_now("while it is gone");
    let status = shop.until(0, 0, 1);
    assert_eq!((of_reason(&status, "RegistryUnavailable"), status.reason("Complete")), (1, "CouldNotLook"));
    assert!(status.message("Complete").contains("owner platform"), "{}", status.text());
    assert!(status.message("Complete").contains(shop.host()), "{}", status.text());
    shop.network.reset();
    // It is asked again by itself, long before the next scan is due.
    lab.within(Duration::from_secs(60), "it is looked at again", |_| {
        let status = shop.status();
        if status.at("/totals/covered") == &json!(1) { Ok(()) } else { Err(status.text()) }
    });
}

#[test]
fn nobody_is_dialled_whom_nobody_declared_whatever_a_pod_says() {
    let Some(lab) = Lab::enter() else { return };
    let Some(registry) = Registry::plain(true) else { return };
    let trap = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = trap.local_addr().unwrap();
    let sprung = std::sync::Arc::new(AtomicBool::new(false));
    let springs = sprung.clone();
    std::thread::spawn(move || {
        while trap.accept().is_ok() {
            springs.store(true, Ordering::Relaxed);
        }
    });
    let shop = Shop::open(&lab, registry);
    let digest = shop.signed("good");
    let host = shop.host().to_owned();
    let images = [
        format!("{address}/apps/good@{digest}"),
        format!("localhost:{}/apps/good@{digest}", address.port()),
        format!("{host}.evil.example/apps/good@{digest}"),
        format!("169.254.169.254/latest/meta-data@{digest}"),
        format!("{host}/../{address}/x@{digest}"),
        format!("{host}@{address}/apps/good@{digest}"),
        format!("{host}/apps/good@{digest}@{digest}"),
        format!("{host}/apps/{}@{digest}", "a".repeat(900)),
        "x".repeat(4000),
    ];
    for (at, image) in images.iter().enumerate() {
        // Whatever the API server takes.
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": format!("odd-{at}"), "namespace": "shop"},
            "spec": {"containers": [{"name": "main", "image": image}]},
        });
        let _ = lab.try_apply(&pod);
    }
    shop.policy("apps", &json!({"images": [format!("{address}/**"), format!("{host}/**"), "169.254.169.254/**", format!("localhost:{}/**", address.port())]}));
    let _operator = lab.operator();
    shop.report(&json!({}));
    let status = shop.until_reason("Complete", "CouldNotLook");
    assert_eq!(status.at("/totals/covered"), 0, "{}", status.text());
    assert!(of_reason(&status, "RegistryNotDeclared") >= 3, "{}", status.text());
    std::thread::sleep(Duration::from_secs(1));
    assert!(!sprung.load(Ordering::Relaxed), "somebody was dialled");
}

#[test]
fn a_list_that_fails_is_no_empty_cluster() {
    let Some(lab) = Lab::enter() else { return };
    let Some(registry) = Registry::plain(true) else { return };
    let shop = Shop::open(&lab, registry);
    shop.pod("good", &shop.image("good", shop.signed("good")));
    lab.proxy().on(usize::MAX, Fate::Refuse(403, None), |asked| asked.path.starts_with("/api/v1/pods"));
    let _operator = lab.operator();
    shop.report(&json!({}));
    let status = shop.until_reason("Complete", "InventoryIncomplete");
    assert_ne!(status.is("Ready"), "True");
    assert!(status.message("Complete").contains("Pod"), "{}", status.text());
    lab.proxy().reset();
    shop.until(1, 0, 0);
    shop.until_reason("Complete", "EverythingSeen");
}

#[test]
fn a_report_that_cannot_be_used_says_so_and_asks_nobody() {
    let Some(lab) = Lab::enter() else { return };
    let Some(registry) = Registry::plain(true) else { return };
    let shop = Shop::open(&lab, registry);
    let _operator = lab.operator();
    shop.report(&json!({"registries": [{"prefix": "169.254.169.254/x"}]}));
    let status = shop.until_reason("Stalled", "ReportInvalid");
    assert!(status.message("Stalled").contains("registries[0].prefix"), "{}", status.text());
    assert_eq!(status.reason("Ready"), "ReportInvalid");
    shop.report(&json!({}));
    shop.until_reason("Ready", "Scanned");
    assert_eq!(shop.status().is("Stalled"), "absent");
}

#[test]
fn pods_that_come_and_go_by_the_hundred_hold_up_no_scan() {
    let Some(lab) = Lab::enter() else { return };
    let Some(registry) = Registry::plain(true) else { return };
    let shop = Shop::open(&lab, registry);
    let images: Vec<String> = (0..20).map(|at| shop.image(&format!("a{at}"), shop.signed(&format!("a{at}")))).collect();
    let operator = lab.operator();
    shop.report(&json!({}));
    shop.until_reason("Ready", "Scanned");
    let began = std::time::Instant::now();
    let mut made = 0;
    while began.elapsed() < Duration::from_secs(8) {
        for (at, image) in images.iter().enumerate() {
            shop.pod(&format!("p{made}-{at}"), image);
        }
        made += 1;
        if made % 3 == 0 {
            lab.call("DELETE", "/api/v1/namespaces/shop/pods?gracePeriodSeconds=0", None);
        }
    }
    lab.call("DELETE", "/api/v1/namespaces/shop/pods?gracePeriodSeconds=0", None);
    for (at, image) in images.iter().enumerate() {
        shop.pod(&format!("last-{at}"), image);
    }
    let status = shop.until(20, 0, 0);
    assert_eq!(status.reason("Complete"), "EverythingSeen", "{}", status.text());
    let writes = lab.proxy().writes().iter().filter(|asked| asked.path.contains("bundlecoveragereports")).count();
    println!("{} pods came and went; the status was written {writes} times", made * 20);
    assert!(writes < 20, "{writes}");
    // A namespace that goes while it is looked at takes its images along.
    shop.scan_now("and go");
    lab.call("DELETE", "/api/v1/namespaces/shop/pods?gracePeriodSeconds=0", None);
    shop.until(0, 0, 0);
    drop(operator);
}
