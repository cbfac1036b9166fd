//! What was found, as the report objects that dashboards read.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::shop::Shop;
use crate::lab::Lab;
use crate::registry_support::Registry;

const OURS: &str = "labelSelector=holdfast.dev/report=cluster";

fn schemas(beginning: &str) -> Option<Vec<Value>> {
    let dir = std::env::var_os("HOLDFAST_ENGINE_SCHEMAS").map(PathBuf::from).or_else(|| {
        eprintln!(
            "skipped: there are no kinds of reports (set HOLDFAST_ENGINE_SCHEMAS to what hack/engine-schemas prints)"
        );
        None
    })?;
    let dirs = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let of = dirs.filter(|dir| dir.file_name().unwrap().to_string_lossy().starts_with(beginning));
    let files = of.flat_map(|dir| std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()));
    let texts = files.filter(|file| file.extension().is_some_and(|ext| ext == "yaml"));
    Some(texts.map(|file| serde_saphyr::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()).collect())
}

fn install(lab: &Lab, definitions: &[Value]) {
    for definition in definitions {
        lab.apply(definition);
    }
}

fn remove(lab: &Lab, definitions: &[Value]) {
    for definition in definitions {
        let path = crate::lab::path_of(definition);
        let _ = lab.try_call("DELETE", &path, None);
        lab.until("the definition is gone", |lab| if lab.get(&path).is_none() { Ok(()) } else { Err(String::new()) });
    }
}

fn reports(lab: &Lab, group: &str, plural: &str) -> Vec<Value> {
    let path = format!("/apis/{group}/namespaces/shop/{plural}?{OURS}");
    lab.try_call("GET", &path, None).map(|list| list["items"].as_array().unwrap().clone()).unwrap_or_default()
}

#[track_caller]
fn until_reports(lab: &Lab, group: &str, plural: &str, count: usize) -> Vec<Value> {
    lab.within(std::time::Duration::from_secs(90), &format!("there are {count} {plural}"), |lab| {
        let found = reports(lab, group, plural);
        if found.len() == count { Ok(found) } else { Err(serde_json::to_string_pretty(&found).unwrap()) }
    })
}

#[test]
fn reports_come_with_their_kinds_are_put_back_and_go_with_what_they_are_of() {
    let Some(lab) = Lab::enter() else { return };
    let (Some(open), Some(policy)) = (schemas("openreports"), schemas("wgpolicyk8s")) else { return };
    let Some(registry) = Registry::plain(true) else { return };
    remove(&lab, &open);
    remove(&lab, &policy);
    let shop = Shop::open(&lab, registry);
    for name in ["good", "bare"] {
        let digest = if name == "good" { shop.signed(name) } else { shop.unsigned(name) };
        shop.pod(name, &shop.image(name, digest));
    }
    let operator = lab.operator();
    shop.report(&json!({"publish": {"openReports": true}}));
    let status = shop.until_reason("Ready", "NotPublished");
    assert!(status.message("Ready").contains("openreports.io"), "{}", status.text());
    assert_eq!(status.reason("Complete"), "EverythingSeen", "what was found is told all the same");

    // Installed later: the older kind first, which is all there is.
    install(&lab, &policy);
    shop.scan_now("the older kind is there");
    until_reports(&lab, "wgpolicyk8s.io/v1alpha2", "policyreports", 2);
    shop.until_reason("Ready", "Scanned");
    install(&lab, &open);
    // A definition takes a moment until it is served.
    std::thread::sleep(std::time::Duration::from_secs(2));
    shop.scan_now("the newer kind is there");
    let found = until_reports(&lab, "openreports.io/v1alpha1", "reports", 2);
    until_reports(&lab, "wgpolicyk8s.io/v1alpha2", "policyreports", 0);
    let bare = found.iter().find(|report| report["scope"]["name"] == "bare").unwrap();
    assert_eq!((&bare["summary"]["fail"], &bare["summary"]["pass"]), (&json!(1), &json!(0)), "{bare}");
    assert_eq!(bare["results"][0]["properties"]["reason"], "MissingBundle", "{bare}");
    assert_eq!(bare["metadata"]["ownerReferences"][0]["kind"], "Pod");

    // Somebody makes it look better.
    let path =
        format!("/apis/openreports.io/v1alpha1/namespaces/shop/reports/{}", bare["metadata"]["name"].as_str().unwrap());
    lab.patch(&path, &json!({"results": [], "summary": {"fail": 0, "pass": 1}}));
    shop.scan_now("it was changed");
    lab.until("it is put back", |lab| {
        let report = lab.get(&path).unwrap();
        if report["summary"]["fail"] == 1 { Ok(()) } else { Err(report.to_string()) }
    });
    assert_eq!(operator.metric("holdfast_foreign_edits_total", &["kind=\"Report\""]), Some(1.0));

    // Nothing is written again where nothing changed.
    let version = lab.get(&path).unwrap()["metadata"]["resourceVersion"].clone();
    let scans = || operator.metric("holdfast_scan_duration_seconds_count", &[]);
    let before = scans();
    shop.scan_now("nothing changed");
    lab.until("a scan ends", |_| if scans() > before { Ok(()) } else { Err(String::new()) });
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert_eq!(lab.get(&path).unwrap()["metadata"]["resourceVersion"], version);

    // With its workload it goes, and with the report all do.
    lab.call("DELETE", "/api/v1/namespaces/shop/pods/bare?gracePeriodSeconds=0", None);
    until_reports(&lab, "openreports.io/v1alpha1", "reports", 1);
    shop.report(&json!({"publish": {"openReports": false}}));
    until_reports(&lab, "openreports.io/v1alpha1", "reports", 0);
    shop.report(&json!({"publish": {"openReports": true}}));
    until_reports(&lab, "openreports.io/v1alpha1", "reports", 1);
    lab.delete("/apis/holdfast.dev/v1alpha1/bundlecoveragereports/cluster");
    until_reports(&lab, "openreports.io/v1alpha1", "reports", 0);
    remove(&lab, &open);
    remove(&lab, &policy);
}
