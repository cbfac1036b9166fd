//! What a scan takes: 10,000 pods over 1,000 signed images on a real API server, beside a loop of `cosign verify`: `cargo bench --bench coverage`.
//!
//! `-- --pods N --images N` for another size, `--cosign N` for how many images cosign is given.
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
#[path = "../../tests/operator/lab.rs"]
mod lab;
#[path = "../../tests/operator/proxy.rs"]
mod proxy;
#[path = "../../tests/operator/coverage/shop.rs"]
mod shop;
#[path = "../../tests/support/sigstore.rs"]
mod sigstore_support;
use sigstore_support::registry as registry_support;

use std::process::Command;
use std::time::{Duration, Instant};

use holdfast_testpki::{Recipe, Sigstore};
use serde_json::{Value, json};

use lab::{Lab, Operator};
use registry_support::Registry;
use shop::{ISSUER, SUBJECT, Shop};

/// Workloads that the pods are of.
const WORKLOADS: usize = 500;

fn main() {
    let number = |flag: &str, default: usize| {
        std::env::args().skip_while(|word| word != flag).nth(1).and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (pods, images, by_cosign) = (number("--pods", 10_000), number("--images", 1_000), number("--cosign", 200));
    let Some(lab) = Lab::enter() else { return };
    let Some(registry) = Registry::plain(true) else { return };
    let shop = Shop::open(&lab, registry);
    let other = Sigstore::of("other.example", "2026-01-01T00:00:00Z".parse().unwrap());
    shop.trust("next", &other);
    let host = shop.registry.host().to_owned();
    let of_registry = json!({"images": [format!("{host}/**")]});
    shop.policy("apps", &of_registry);
    let names: Vec<String> = (0..images).map(|at| image(&shop, &other, at)).collect();
    fill(&lab, &names, pods);

    let kept = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let operator = lab.start_operator(&[], &["--evidence-dir", kept.path().to_str().unwrap()]);
    let declared = json!({"registries": [{"prefix": host, "plainHttp": true, "maxInFlight": 16}]});
    shop.report(&declared);
    first_list(&operator, pods);
    let first = scan(&shop, &operator, 1.0, images);
    show(&format!("first scan of {images} signed images"), &format!("{first:.1} s"), "30 s");
    show("most memory until then", &memory(&operator, "VmHWM"), "96 MiB");
    let verified = operator.metric("holdfast_verification_seconds_sum", &[]).unwrap();
    println!(
        "  of which verification took {verified:.1} s of processor time, and {} requests were made",
        requests(&operator)
    );

    shop.scan_now("again");
    let again = scan(&shop, &operator, 2.0, images);
    show("second scan, with nothing new", &format!("{again:.1} s"), "5 s");
    let asked = requests(&operator);
    let judged = operator.metric("holdfast_verification_seconds_count", &[]).unwrap();
    let start = Instant::now();
    shop.policy("apps", &json!({"images": [format!("{host}/**")], "trustRoots": ["next"]}));
    lab.within(Duration::from_secs(120), "all is judged by the other trust", |_| {
        let now = operator.metric("holdfast_verification_seconds_count", &[]).unwrap();
        if now >= judged + images as f64 { Ok(()) } else { Err(now.to_string()) }
    });
    let took = start.elapsed();
    show(&format!("other trust, until all {images} images are judged by it"), &format!("{took:.1?}"), "2 s");
    show("  registry requests that took", &format!("{}", requests(&operator) - asked), "0");

    std::thread::sleep(Duration::from_secs(20));
    lab.proxy().reset();
    let cpu = || operator.metric("process_cpu_seconds_total", &[]).unwrap();
    let (before, start) = (cpu(), Instant::now());
    std::thread::sleep(Duration::from_secs(60));
    let share = (cpu() - before) / start.elapsed().as_secs_f64() * 100.0;
    show("settled for 60 s: writes, the lease apart", &lab.proxy().writes().len().to_string(), "0");
    show("settled: of a core", &format!("{share:.2} %"), "1 %");
    show("settled: memory", &memory(&operator, "VmRSS"), "64 MiB");
    if by_cosign > 0 {
        beside_cosign(&shop, &names[..by_cosign.min(names.len())], first / images as f64);
    }
    operator.stop();
}

fn show(what: &str, value: &str, aim: &str) {
    println!("{what:<58} {value:>12}   aim {aim}");
}

/// Pushes an image that both trusts know a signature of.
fn image(shop: &Shop<'_>, other: &Sigstore, at: usize) -> String {
    let name = format!("a{at}");
    let digest = shop.signed(&name);
    shop.sign_by(other, &name, digest, &Recipe::image(SUBJECT, ISSUER));
    shop.registry.image(&format!("apps/{name}"), digest)
}

/// Pods as ordinary ones are, each of a workload that no controller acts on.
fn fill(lab: &Lab, images: &[String], pods: usize) {
    let owners: Vec<Value> = (0..WORKLOADS)
        .map(|at| {
            let name = format!("workload-{at}");
            let made = lab.apply(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "shop"}}));
            json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": made["metadata"]["uid"], "controller": true})
        })
        .collect();
    std::thread::scope(|scope| {
        for part in 0..8 {
            let owners = &owners;
            scope.spawn(move || {
                for at in (part..pods).step_by(8) {
                    let of = at % WORKLOADS;
                    lab.call("POST", "/api/v1/namespaces/shop/pods", Some(&pod(at, &owners[of], images, of)));
                }
            });
        }
    });
}

fn pod(at: usize, owner: &Value, images: &[String], of: usize) -> Value {
    let env: Vec<Value> = (0..12)
        .map(|n| json!({"name": format!("SETTING_{n}"), "value": format!("a value of ordinary length, number {n}")}))
        .collect();
    let container = |name: &str, image: &str| {
        json!({
            "name": name, "image": image, "env": env, "ports": [{"containerPort": 8080}],
            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
            "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}}, "livenessProbe": {"httpGet": {"path": "/live", "port": 8080}},
        })
    };
    let (one, two) = (of * 2 % images.len(), (of * 2 + 1) % images.len());
    json!({
        "metadata": {
            "name": format!("workload-{of}-{at:05}"), "ownerReferences": [owner],
            "labels": {"app": format!("workload-{of}"), "pod-template-hash": "5d4f8c7b9"},
        },
        "spec": {"automountServiceAccountToken": false, "containers": [container("main", &images[one]), container("proxy", &images[two])]},
    })
}

fn first_list(operator: &Operator<'_>, pods: usize) {
    loop {
        if operator.metric("holdfast_kept_items", &["what=\"pods\""]) == Some(pods as f64) {
            break;
        }
        assert!(operator.started.elapsed() < Duration::from_secs(120), "the pods are never all listed");
        std::thread::sleep(Duration::from_millis(20));
    }
    show(&format!("start to an index of {pods} pods"), &format!("{:.1?}", operator.started.elapsed()), "10 s");
}

/// How long the scan of this number took, once it has ended and all are covered.
fn scan(shop: &Shop<'_>, operator: &Operator<'_>, number: f64, images: usize) -> f64 {
    let sum = || operator.metric("holdfast_scan_duration_seconds_sum", &[]).unwrap_or(0.0);
    let before = sum();
    shop.lab.within(Duration::from_secs(300), "the scan ends", |_| {
        let ended = operator.metric("holdfast_scan_duration_seconds_count", &[]) == Some(number);
        if ended { Ok(()) } else { Err(shop.status().text()) }
    });
    shop.lab.within(Duration::from_secs(60), "all are covered", |_| {
        let status = shop.status();
        if status.at("/totals/covered") == &json!(images) { Ok(()) } else { Err(status.at("/totals").to_string()) }
    });
    sum() - before
}

fn requests(operator: &Operator<'_>) -> f64 {
    operator.metric("holdfast_registry_requests_total", &[]).unwrap_or(0.0)
}

fn memory(operator: &Operator<'_>, what: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{}/status", operator.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with(what)).unwrap();
    let kib: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    format!("{:.1} MiB", kib / 1024.0)
}

/// The same images, one after another, as a script would.
fn beside_cosign(shop: &Shop<'_>, images: &[String], ours: f64) {
    let Some(assets) = registry_support::assets() else { return };
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("trusted_root.json");
    std::fs::write(&root, shop.sigstore.trusted_root().to_string()).unwrap();
    let start = Instant::now();
    for image in images {
        let said = Command::new(assets.join("cosign"))
            .args([
                "verify",
                "--new-bundle-format",
                "--trusted-root",
                root.to_str().unwrap(),
                "--certificate-identity",
                SUBJECT,
            ])
            .args(["--certificate-oidc-issuer", ISSUER, "--allow-insecure-registry", image])
            .env("HOME", home.path())
            .output()
            .unwrap();
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    }
    let each = start.elapsed().as_secs_f64() / images.len() as f64;
    let what = format!("beside `cosign verify` of {} of them ({:.0} ms each)", images.len(), each * 1000.0);
    show(&what, &format!("{:.0} x", each / ours), "10 x");
}
