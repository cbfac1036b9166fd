//! What was found, as report objects of the kinds that are there.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use super::shop::Shop;
use crate::lab::Lab;
use crate::registry_support::Registry;

const OPEN: &str = "/apis/openreports.io/v1alpha1";
const REPS: &str = "/apis/openreports.io/v1alpha1/reports";
const CREPS: &str = "/apis/openreports.io/v1alpha1/clusterreports";
const POLR: &str = "/apis/wgpolicyk8s.io/v1alpha2/policyreports";
const CPOLR: &str = "/apis/wgpolicyk8s.io/v1alpha2/clusterpolicyreports";
const BCR: &str = "/apis/holdfast.dev/v1alpha1/bundlecoveragereports/cluster";

/// The definitions of one group, by which they begin to be served.
fn definitions(module: &str) -> Option<Vec<Value>> {
    let base = std::env::var_os("HOLDFAST_ENGINE_SCHEMAS").map(PathBuf::from).or_else(|| {
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        Some(cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?.join("holdfast/schemas"))
    })?;
    let Ok(files) = std::fs::read_dir(base.join(module)) else {
        eprintln!("SKIPPED: no definitions of {module}; run hack/engine-schemas");
        return None;
    };
    let files = files.map(|file| file.unwrap().path()).filter(|file| file.extension().is_some_and(|of| of == "yaml"));
    Some(files.map(|file| serde_saphyr::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()).collect())
}

pub(crate) fn serve(lab: &Lab, module: &str) -> Option<()> {
    for definition in definitions(module)? {
        lab.apply(&definition);
    }
    Some(())
}

pub(crate) fn unserve(lab: &Lab) {
    for of in ["reports", "clusterreports"] {
        let path = format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{of}.openreports.io");
        let _ = lab.try_call("DELETE", &path, None);
        let path = format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/policy{of}.wgpolicyk8s.io");
        let _ = lab.try_call("DELETE", &path.replace("policyclusterreports", "clusterpolicyreports"), None);
    }
}

struct Served<'a>(&'a Lab);

impl Drop for Served<'_> {
    fn drop(&mut self) {
        unserve(self.0);
    }
}

fn items(lab: &Lab, path: &str) -> Vec<Value> {
    let all = lab.try_call("GET", path, None).unwrap_or(Value::Null);
    all["items"].as_array().cloned().unwrap_or_default()
}

/// Waits for so many of one kind and so many of another; asks for a pass now and then, as changes of what runs do.
fn until(shop: &Shop<'_>, what: &str, wanted: &[(&str, usize)]) {
    let turn = std::cell::Cell::new(0_u32);
    shop.lab.until(what, |lab| {
        turn.set(turn.get() + 1);
        if turn.get().is_multiple_of(40) {
            shop.scan_now(&format!("{what} {}", turn.get()));
        }
        let seen: Vec<(&str, usize)> = wanted.iter().map(|(path, _)| (*path, items(lab, path).len())).collect();
        if seen == wanted { Ok(()) } else { Err(format!("{seen:?} {}", shop.status().text())) }
    });
}

/// An estate with one image that passes and one that does not.
struct Published<'a> {
    shop: Shop<'a>,
    _served: Served<'a>,
}

impl<'a> Published<'a> {
    fn open(lab: &'a Lab) -> Option<Self> {
        let registry = Registry::plain(true)?;
        definitions("openreports-v0.2.1")?;
        definitions("wgpolicyk8s-v1.19.1")?;
        unserve(lab);
        let shop = Shop::open(lab, registry);
        let (good, bare) = (shop.signed("good"), shop.unsigned("bare"));
        shop.pod("good", &shop.image("good", good));
        shop.pod("bare", &shop.image("bare", bare));
        Some(Self { shop, _served: Served(lab) })
    }

    fn publish(&self, per_namespace: bool) {
        self.shop.report(&json!({"publish": {"openReports": true, "perNamespace": per_namespace}}));
    }

    /// The report about a pod.
    fn of(&self, pod: &str) -> Value {
        let all = items(self.shop.lab, REPS);
        all.into_iter().find(|report| report["scope"]["name"] == pod).unwrap()
    }
}

fn path(report: &Value) -> String {
    format!("{OPEN}/namespaces/shop/reports/{}", report["metadata"]["name"].as_str().unwrap())
}

#[test]
fn details_are_where_the_cluster_has_a_kind_for_them() {
    let Some(lab) = Lab::enter() else { return };
    let Some(published) = Published::open(&lab) else { return };
    let shop = &published.shop;
    let _operator = lab.operator();
    // Neither is there: it is said, and nothing fails.
    published.publish(true);
    shop.until(1, 1, 0);
    let status = shop.until_reason("Ready", "NotPublished");
    assert_eq!(status.is("Complete"), "True", "{}", status.text());
    assert!(status.message("Ready").contains("install the definitions"), "{}", status.text());

    // The older kind comes, then the newer one: what was written as the older one goes.
    serve(&lab, "wgpolicyk8s-v1.19.1").unwrap();
    until(shop, "policy reports", &[(POLR, 2)]);
    shop.until_reason("Ready", "Scanned");
    serve(&lab, "openreports-v0.2.1").unwrap();
    until(shop, "open reports", &[(REPS, 2), (POLR, 0), (CREPS, 0)]);
    let (good, bare) = (published.of("good"), published.of("bare"));
    assert_eq!(good["summary"]["pass"], 1);
    assert_eq!((&bare["summary"]["fail"], &bare["results"][0]["rule"]), (&json!(1), &json!("MissingBundle")));
    let pod = lab.get("/api/v1/namespaces/shop/pods/bare").unwrap();
    assert_eq!(bare["metadata"]["ownerReferences"][0]["uid"], pod["metadata"]["uid"]);
    assert_eq!(bare["scope"]["uid"], pod["metadata"]["uid"]);

    // Read with the command line.
    let text = command(&lab, &["report"]);
    assert!(
        text.contains("1 of 2 images") && text.contains("FOR PIPELINE") && text.contains("shop/Pod/bare"),
        "{text}"
    );
    assert!(!text.contains("note:"), "{text}");
    assert_eq!(command(&lab, &["report", "-o", "csv"]).lines().count(), 3);

    // One for each namespace, of the cluster.
    published.publish(false);
    until(shop, "cluster reports", &[(CREPS, 1), (REPS, 0)]);
    assert_eq!(items(&lab, CREPS)[0]["metadata"]["name"], "holdfast.shop.cluster");
    assert!(command(&lab, &["report"]).contains("shop/Pod/bare"));
    // None, and then some again, and then the report goes.
    shop.report(&json!({"publish": {"openReports": false}}));
    until(shop, "nothing is published", &[(CREPS, 0)]);
    published.publish(true);
    until(shop, "it is published again", &[(REPS, 2)]);
    lab.delete(BCR);
    until_gone(&lab);
}

#[test]
fn what_is_settled_is_not_written_and_what_others_change_is_put_back() {
    let Some(lab) = Lab::enter() else { return };
    let Some(published) = Published::open(&lab) else { return };
    let shop = &published.shop;
    serve(&lab, "openreports-v0.2.1").unwrap();
    let operator = lab.operator();
    published.publish(true);
    until(shop, "open reports", &[(REPS, 2)]);
    operator.stop();

    // It is looked at, and nothing of it is written, by the next process either.
    lab.proxy().reset();
    let operator = lab.operator();
    // By their count: two scans may end in the same second.
    let scans = || operator.metric("holdfast_scan_duration_seconds_count", &[]).unwrap_or(0.0);
    let before = scans();
    shop.scan_now("settled");
    lab.until("it was scanned again", |_| if scans() > before { Ok(()) } else { Err(shop.status().text()) });
    std::thread::sleep(std::time::Duration::from_millis(500));
    let asked = lab.proxy().asked();
    let of_reports: Vec<_> = asked.iter().filter(|one| one.path.contains("openreports.io")).collect();
    assert!(of_reports.iter().any(|one| one.path.ends_with("/reports")), "it did look: {asked:?}");
    assert!(of_reports.iter().all(|one| one.method == "GET"), "{of_reports:?}");

    // An edit is put back, and so is what was deleted; a label that is taken away hides nothing.
    let bare = path(&published.of("bare"));
    let edit = json!({"results": [{"policy": "apps", "result": "pass"}], "summary": {"pass": 1, "fail": 0}});
    lab.patch(&bare, &edit);
    lab.delete(&path(&published.of("good")));
    shop.scan_now("edited");
    let is_as_it_was = |what: &str| {
        lab.until(what, |lab| {
            let report = lab.get(&bare).unwrap();
            let whole = report["summary"]["fail"] == 1
                && report["results"][0]["rule"] == "MissingBundle"
                && report["metadata"]["labels"]["holdfast.dev/report"] == "cluster";
            if whole { Ok(()) } else { Err(report.to_string()) }
        });
    };
    is_as_it_was("the edit is put back");
    until(shop, "both are there", &[(REPS, 2)]);
    lab.until("the edit is counted", |_| {
        let counted = operator.metric("holdfast_foreign_edits_total", &["kind=\"Report\""]);
        if counted.is_some_and(|edits| edits >= 1.0) { Ok(()) } else { Err(format!("{counted:?}")) }
    });
    lab.patch(&bare, &json!({"metadata": {"labels": {"holdfast.dev/report": null}}, "summary": {"fail": 0}}));
    shop.scan_now("hidden");
    is_as_it_was("it is found again");
}

/// Everything the operator does with reports: each kind in turn, and each taken away for the next. Nothing, where there is nothing to serve.
pub(crate) fn every_kind(lab: &Lab) -> Option<()> {
    let published = Published::open(lab)?;
    let shop = &published.shop;
    serve(lab, "wgpolicyk8s-v1.19.1")?;
    published.publish(true);
    until(shop, "policy reports", &[(POLR, 2)]);
    published.publish(false);
    until(shop, "cluster policy reports", &[(CPOLR, 1), (POLR, 0)]);
    serve(lab, "openreports-v0.2.1")?;
    until(shop, "cluster reports", &[(CREPS, 1), (CPOLR, 0)]);
    published.publish(true);
    until(shop, "reports", &[(REPS, 2), (CREPS, 0)]);
    lab.delete(BCR);
    until_gone(lab);
    lab.delete("/api/v1/namespaces/shop/pods/good?gracePeriodSeconds=0");
    lab.delete("/api/v1/namespaces/shop/pods/bare?gracePeriodSeconds=0");
    Some(())
}

fn until_gone(lab: &Lab) {
    lab.until("what was published goes with the report", |lab| {
        let left = items(lab, REPS).len();
        if left == 0 { Ok(()) } else { Err(left.to_string()) }
    });
}

#[test]
fn a_namespace_that_takes_nothing_is_not_in_the_way() {
    let Some(lab) = Lab::enter() else { return };
    let Some(registry) = Registry::plain(true) else { return };
    unserve(&lab);
    let _served = Served(&lab);
    if serve(&lab, "openreports-v0.2.1").is_none() {
        return;
    }
    let shop = Shop::open(&lab, registry);
    let bare = shop.unsigned("bare");
    lab.namespace("full", &json!({"tier": "apps"}));
    lab.apply(&json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none", "namespace": "full"},
        "spec": {"hard": {"count/reports.openreports.io": "0"}},
    }));
    lab.patch("/api/v1/namespaces/full/resourcequotas/none/status", &json!({"status": {"hard": {"count/reports.openreports.io": "0"}, "used": {"count/reports.openreports.io": "0"}}}));
    for namespace in ["full", "shop"] {
        lab.apply(&json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bare", "namespace": namespace},
            "spec": {"containers": [{"name": "main", "image": shop.image("bare", bare)}]},
        }));
    }
    let _operator = lab.operator();
    shop.report(&json!({"publish": {"openReports": true, "perNamespace": true}}));
    shop.until(0, 1, 0);
    until(&shop, "the other namespace has its report", &[(REPS, 1)]);
    let status = shop.until_reason("Ready", "NotPublished");
    assert!(status.message("Ready").contains("`full`"), "{}", status.text());
    lab.delete("/api/v1/namespaces/full/pods/bare?gracePeriodSeconds=0");
    lab.delete("/api/v1/namespaces/full/resourcequotas/none");
}

fn command(lab: &Lab, args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_holdfast"))
        .args(args)
        .arg("--kubeconfig")
        .arg(lab.kubeconfig())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
