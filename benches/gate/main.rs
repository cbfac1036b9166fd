//! How soon what is decided is in force, on a real API server with a registry on loopback: `cargo bench --bench gate`.
//!
//! `-- --templates N` for how many templates are applied one after the other, `--at-once N` for how many together, `--policies N` and `--digests N` for how many
//! of them there are when memory is looked at.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::unused_self,
    clippy::needless_pass_by_value,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss
)] // a measure that cannot go on fails

#[path = "../../tests/support/chart.rs"]
mod chart_support;
mod coverage {
    pub(crate) use crate::shop;
}
#[path = "../../tests/operator/enforce/estate.rs"]
mod estate;
#[path = "../../tests/operator/lab.rs"]
mod lab;
#[path = "../../tests/operator/proxy.rs"]
mod proxy;
#[path = "../../tests/operator/coverage/shop.rs"]
mod shop;
#[path = "../../tests/support/sigstore.rs"]
mod sigstore_support;
use sigstore_support::registry as registry_support;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use estate::Estate;
use lab::{Lab, Operator};
use registry_support::Registry;

fn main() {
    let number = |flag: &str, default: usize| {
        std::env::args().skip_while(|word| word != flag).nth(1).and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (templates, at_once) = (number("--templates", 40), number("--at-once", 50));
    let (policies, digests) = (number("--policies", 200), number("--digests", 100_000));
    let Some(lab) = Lab::enter() else { return };
    let Some(registry) = Registry::plain(true) else { return };
    let estate = Estate::open(&lab, registry);
    let operator = lab.operator();
    estate.enforced();
    estate.until_nothing_is_written();
    one_by_one(&estate, templates);
    together(&estate, at_once);
    estate.until_nothing_is_written();
    operator.stop();
    estate.ran_once(digests);
    let operator = lab.operator();
    many(&estate, &operator, policies, digests);
    withdrawn(&estate);
}

fn show(what: &str, value: &str, aim: &str) {
    println!("{what:<74} {value:>12}   aim {aim}");
}

fn seconds(of: Duration) -> String {
    format!("{:.2} s", of.as_secs_f64())
}

fn deployment(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "replicas": 0, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "main", "image": image}]}},
        },
    })
}

fn until_admitted(estate: &Estate<'_>, image: &str) {
    while estate.would_admit("shop", image).is_err() {
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A template is applied, and its pod is admitted.
fn one_by_one(estate: &Estate<'_>, count: usize) {
    let mut times: Vec<Duration> = (0..count)
        .map(|at| {
            let name = format!("one-{at}");
            let image = estate.image(&name, estate.signed(&name));
            // Whoever deploys does so now and then.
            std::thread::sleep(Duration::from_millis(700 + 37 * (at as u64 % 20)));
            let start = Instant::now();
            estate.lab.apply(&deployment(&name, &image));
            until_admitted(estate, &image);
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    let part = |part: f64| times[((times.len() - 1) as f64 * part).round() as usize];
    show("template applied, its pod admitted: half", &seconds(part(0.5)), "-");
    show("nineteen of twenty", &seconds(part(0.95)), "2 s");
}

fn together(estate: &Estate<'_>, count: usize) {
    let names: Vec<String> = (0..count).map(|at| format!("many-{at}")).collect();
    let images: Vec<String> = names.iter().map(|name| estate.image(name, estate.signed(name))).collect();
    let start = Instant::now();
    for (name, image) in names.iter().zip(&images) {
        estate.lab.apply(&deployment(name, image));
    }
    for image in &images {
        until_admitted(estate, image);
    }
    show(&format!("{count} templates at once, all admitted"), &seconds(start.elapsed()), "10 s");
}

/// A policy that is stricter: what it takes out is denied.
fn withdrawn(estate: &Estate<'_>) {
    let image = estate.image("one-0", estate.registry.push_image("apps/one-0", "1", b"one-0"));
    until_admitted(estate, &image);
    let start = Instant::now();
    estate.enforce(&json!({"require": {"attestations": ["https://slsa.dev/provenance/v1"]}}));
    while estate.would_admit("shop", &image).is_ok() {
        std::thread::sleep(Duration::from_millis(10));
        assert!(start.elapsed() < Duration::from_secs(30), "it is never denied");
    }
    show(
        "beside all of them, a stricter policy, and what no longer passes is denied",
        &seconds(start.elapsed()),
        "2 s",
    );
}

fn many(estate: &Estate<'_>, operator: &Operator<'_>, count: usize, digests: usize) {
    for at in 0..count {
        let images = json!([format!("{}/team-{at}/**", estate.host())]);
        estate.policy(
            &format!("team-{at}"),
            &json!({"images": images, "namespaceSelector": {"matchLabels": {"team": format!("t{at}")}}}),
        );
    }
    estate.lab.within(Duration::from_secs(300), "every policy has a status", |lab| {
        let all = lab.call("GET", "/apis/holdfast.dev/v1alpha1/signingidentitypolicies", None);
        let told = all["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|policy| policy["status"]["enforcement"].is_object())
            .count();
        if told > count { Ok(()) } else { Err(told.to_string()) }
    });
    std::thread::sleep(Duration::from_secs(20));
    let listed = operator.metric("holdfast_policy_verified_digests", &["policy=\"apps\""]);
    assert!(listed.is_some_and(|listed| listed >= digests as f64), "{listed:?} are verified");
    let status = std::fs::read_to_string(format!("/proc/{}/status", operator.pid())).unwrap();
    let of = |field: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim().trim_end_matches(" kB").trim().parse::<f64>().unwrap() / 1024.0
    };
    let what = format!("the operator with {count} policies and {digests} digests, resident");
    show(&what, &format!("{:.0} MiB", of("VmRSS:")), "128 MiB");
    show("  at most", &format!("{:.0} MiB", of("VmHWM:")), "-");
    let passes = |operator: &Operator<'_>| {
        let labels = ["controller=\"signingidentitypolicy\""];
        let sum = operator.metric("controller_runtime_reconcile_time_seconds_sum", &labels).unwrap_or_default();
        let passes = operator.metric("controller_runtime_reconcile_time_seconds_count", &labels).unwrap_or(1.0);
        (sum, passes)
    };
    let (before, count_before) = passes(operator);
    std::thread::sleep(Duration::from_secs(130));
    let (after, count_after) = passes(operator);
    show(
        "  a pass over all of them",
        &format!("{:.2} s", (after - before) / (count_after - count_before).max(1.0)),
        "-",
    );
}
