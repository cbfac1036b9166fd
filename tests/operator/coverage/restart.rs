//! An operator that ends in mid-scan, and one that begins anew with what was kept.

use std::time::Duration;

use serde_json::json;

use super::shop::Shop;
use crate::lab::Lab;
use crate::proxy::{Asked, Fate};
use crate::registry_support::Registry;

fn is_blob(asked: &Asked) -> bool {
    asked.path.contains("/blobs/") || asked.path.contains("/manifests/sha256:")
}

#[test]
fn a_restart_asks_for_listings_and_fetches_nothing_that_is_kept() {
    let Some(lab) = Lab::enter() else { return };
    let Some(registry) = Registry::plain(true) else { return };
    let shop = Shop::open(&lab, registry);
    for at in 0..5 {
        let name = format!("a{at}");
        shop.pod(&name, &shop.image(&name, shop.signed(&name)));
    }
    let kept = tempfile::tempdir().unwrap();
    let dir = kept.path().to_str().unwrap();
    let operator = lab.operator_with(&["--evidence-dir", dir]);
    shop.report(&json!({}));
    shop.until(5, 0, 0);
    drop(operator);
    // Somebody meddles with what is kept: what has other bytes than its name says is as good as gone.
    let one = std::fs::read_dir(kept.path().join("sha256")).unwrap().next().unwrap().unwrap().path();
    std::fs::write(&one, b"{}").unwrap();
    shop.network.reset();
    let before = shop.status().at("/scan/finishedAt").clone();
    std::thread::sleep(Duration::from_secs(1));
    let _operator = lab.operator_with(&["--evidence-dir", dir]);
    lab.until("a scan of the new process ends", |_| {
        let status = shop.status();
        if status.at("/scan/finishedAt") == &before { Err(status.text()) } else { Ok(()) }
    });
    shop.until(5, 0, 0);
    let asked = shop.network.asked();
    let fetched = asked.iter().filter(|asked| is_blob(asked)).count();
    println!("after a restart five images took {} requests, of which {fetched} fetched something", asked.len());
    assert!(fetched <= 1, "{asked:?}");
}

#[test]
fn one_that_is_killed_in_mid_scan_leaves_what_was_told_and_begins_anew() {
    let Some(lab) = Lab::enter() else { return };
    let Some(registry) = Registry::plain(true) else { return };
    let shop = Shop::open(&lab, registry);
    for at in 0..3 {
        let name = format!("a{at}");
        shop.pod(&name, &shop.image(&name, shop.signed(&name)));
    }
    let mut operator = lab.operator();
    shop.report(&json!({}));
    let told = shop.until(3, 0, 0).at("/totals").clone();
    // One image is held on its way; meanwhile the scan is not over, and what the last one found stands.
    shop.network.on(1, Fate::HoldAnswer, |asked| asked.path.contains("/referrers/"));
    shop.scan_now("held");
    lab.until("the registry is asked", |_| if shop.network.met() == 1 { Ok(()) } else { Err(String::new()) });
    operator.signal("-KILL");
    operator.ended(Duration::from_secs(5));
    drop(operator);
    assert_eq!(shop.status().at("/totals"), &told);
    shop.network.reset();
    let bare = shop.unsigned("bare");
    shop.pod("bare", &shop.image("bare", bare));
    let _operator = lab.operator();
    shop.until(3, 1, 0);
}

#[test]
fn a_scan_that_lasts_says_how_far_it_is() {
    let Some(lab) = Lab::enter() else { return };
    let Some(registry) = Registry::plain(true) else { return };
    let shop = Shop::open(&lab, registry);
    for at in 0..3 {
        let name = format!("a{at}");
        shop.pod(&name, &shop.image(&name, shop.signed(&name)));
    }
    shop.network.on(1, Fate::HoldAnswer, |asked| asked.path.contains("/referrers/"));
    let _operator = lab.operator();
    shop.report(&json!({}));
    let status = lab.until("it says how far it is", |_| {
        let status = shop.status();
        if status.message("Reconciling").contains("2 of 3") { Ok(status) } else { Err(status.text()) }
    });
    assert_eq!(status.reason("Ready"), "Scanning");
    assert!(status.at("/totals").is_null(), "nothing is told of what was not looked at yet: {}", status.text());
    shop.network.release();
    let status = shop.until(3, 0, 0);
    assert_eq!(status.is("Reconciling"), "absent");
}
