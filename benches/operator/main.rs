//! What the operator takes and how fast it is, on a real API server, as the chart's service account: `cargo bench --bench operator`.
//!
//! `-- --settled SECONDS` watches it at rest for another time than five minutes.
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
#[path = "../../tests/operator/courier.rs"]
mod courier;
#[path = "../../tests/operator/lab.rs"]
mod lab;
#[path = "../../tests/operator/proxy.rs"]
mod proxy;

use std::time::{Duration, Instant};

use serde_json::json;

use courier::{Courier, approve, distributed};
use lab::{Lab, mirror_path};

const MIRRORS: usize = 20;
const NAMESPACES: usize = 50;

fn main() {
    let settled = std::env::args()
        .skip_while(|word| word != "--settled")
        .nth(1)
        .and_then(|text| text.parse().ok())
        .unwrap_or(300);
    let Some(lab) = Lab::enter() else { return };
    start_to_ready(&lab);
    source_to_status(&lab);
    approval_to_namespaces(&lab);
    at_rest(&lab, Duration::from_secs(settled));
}

fn show(what: &str, value: &str, aim: &str) {
    println!("{what:<66} {value:>12}   aim {aim}");
}

fn percentile(times: &mut [Duration], part: f64) -> Duration {
    times.sort_unstable();
    times[((times.len() - 1) as f64 * part).round() as usize]
}

fn start_to_ready(lab: &Lab) {
    let mut times: Vec<Duration> = (0..5)
        .map(|_| {
            let operator = lab.start_operator(&[], &[]);
            operator.ready();
            let took = operator.started.elapsed();
            operator.stop();
            took
        })
        .collect();
    show("start to ready, worst of 5", &format!("{:.2?}", percentile(&mut times, 1.0)), "2 s");
}

fn source_to_status(lab: &Lab) {
    let operator = lab.operator();
    let mut courier = Courier::new("figures");
    courier.deliver(lab);
    lab.apply(&courier.mirror("figures"));
    lab.reason("figures", "Ready", "AsDeclared");
    let mut times: Vec<Duration> = (2..22)
        .map(|version| {
            courier.refresh();
            let start = Instant::now();
            courier.deliver(lab);
            lab.until("the status follows", |lab| {
                let status = lab.status("figures");
                if status.at("/roles/timestamp/version") == &json!(version) { Ok(()) } else { Err(status.text()) }
            });
            start.elapsed()
        })
        .collect();
    let (half, worst) = (percentile(&mut times, 0.5), percentile(&mut times, 1.0));
    show("changed source to status, median and worst of 20", &format!("{half:.0?} / {worst:.0?}"), "1 s");
    operator.stop();
    lab.delete(&mirror_path("figures"));
}

fn approval_to_namespaces(lab: &Lab) {
    let operator = lab.operator();
    let mut courier = Courier::new("wide");
    courier.deliver(lab);
    for number in 0..NAMESPACES {
        lab.namespace(&format!("wide-{number}"), &json!({"trust": "wide"}));
    }
    lab.apply(&distributed(courier.mirror("wide"), "wide", "0s"));
    lab.reason("wide", "Distributed", "Distributed");
    let mut times: Vec<Duration> = (0..3)
        .map(|_| {
            let digest = courier.rotate();
            courier.deliver(lab);
            lab.reason("wide", "RotationPending", "AwaitingApproval");
            let start = Instant::now();
            approve(lab, "bob", "wide", digest).unwrap();
            lab.until("it is in force everywhere", |lab| {
                let status = lab.status("wide");
                let everywhere = status
                    .at("/consumers")
                    .as_array()
                    .is_some_and(|all| all.len() == NAMESPACES && all.iter().all(|one| one["state"] == "Current"));
                if status.at("/adopted/digest") == &json!(digest) && everywhere { Ok(()) } else { Err(status.text()) }
            });
            let took = start.elapsed();
            lab.until("what went is gone", |lab| {
                let status = lab.status("wide");
                if status.reason("Distributed") == "Distributed" { Ok(()) } else { Err(status.text()) }
            });
            took
        })
        .collect();
    show(
        &format!("approval to adopted and distributed to {NAMESPACES} namespaces, worst of 3"),
        &format!("{:.2?}", percentile(&mut times, 1.0)),
        "2 s",
    );
    operator.stop();
    lab.delete(&mirror_path("wide"));
    for number in 0..NAMESPACES {
        lab.delete(&format!("/api/v1/namespaces/wide-{number}"));
    }
}

fn at_rest(lab: &Lab, how_long: Duration) {
    let operator = lab.operator();
    for number in 0..MIRRORS {
        let name = format!("rest-{number}");
        let courier = Courier::new(&name);
        courier.deliver(lab);
        lab.apply(&courier.mirror(&name));
    }
    for number in 0..MIRRORS {
        lab.reason(&format!("rest-{number}"), "Ready", "AsDeclared");
    }
    std::thread::sleep(Duration::from_secs(5));
    lab.proxy().reset();
    let cpu = || operator.metric("process_cpu_seconds_total", &[]).unwrap();
    let (before, start) = (cpu(), Instant::now());
    std::thread::sleep(how_long);
    let share = (cpu() - before) / start.elapsed().as_secs_f64() * 100.0;
    let what = format!("settled, {MIRRORS} mirrors read each minute, {} s:", how_long.as_secs());
    show(&format!("{what} writes, the lease apart"), &lab.proxy().writes().len().to_string(), "0");
    show(&format!("{what} of a core"), &format!("{share:.2} %"), "1 %");
    let resident = operator.metric("process_resident_memory_bytes", &[]).unwrap() / (1024.0 * 1024.0);
    show(&format!("{what} resident"), &format!("{resident:.1} MiB"), "40 MiB");
    operator.stop();
}
