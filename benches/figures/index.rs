//! What the index of what runs takes, and what one event costs, whatever there is already.

use std::time::{Duration, Instant};

use holdfast::inventory::live::{Live, SlimPod};
use kube::runtime::watcher::Event;
use serde_json::json;

use super::resident_bytes;

/// Pods of one workload, as a rule of thumb.
const OF_A_WORKLOAD: usize = 20;
const EVENTS: usize = 2_000;

pub(super) fn index() {
    for distinct in [false, true] {
        for pods in [1_000, 10_000, 100_000] {
            let before = resident_bytes();
            let mut live = Live::new();
            live.pod(Event::Init);
            let mut took = Duration::ZERO;
            for at in 0..pods {
                let pod = pod(at, distinct);
                let start = Instant::now();
                live.pod(Event::InitApply(pod));
                took += start.elapsed();
            }
            live.pod(Event::InitDone);
            let held = resident_bytes().saturating_sub(before);
            let one = event(&mut live, pods, distinct);
            let start = Instant::now();
            let snapshot = live.snapshot(true, &|_| true);
            // What a smaller one takes is found in what the process has already.
            let bytes = if pods < 100_000 { String::new() } else { format!("{} bytes a pod, ", held / pods as u64) };
            let what = if distinct { "images all distinct" } else { "images shared" };
            println!(
                "index of {pods:>6} pods, {what}: {bytes}{:.1} µs a pod in a list, {one:.1?} an event, snapshot of {} images in {:.1?}",
                took.as_secs_f64() * 1e6 / pods as f64,
                snapshot.inventory.images().len(),
                start.elapsed(),
            );
            assert_eq!(live.pods(), pods);
        }
    }
}

/// One event of a pod that is there, of one that comes, and of one that goes.
fn event(live: &mut Live, pods: usize, distinct: bool) -> Duration {
    let events: Vec<[Event<SlimPod>; 3]> = (0..EVENTS)
        .map(|at| {
            let new = || pod(pods + at, distinct);
            [Event::Apply(pod(at * 7 % pods, distinct)), Event::Apply(new()), Event::Delete(new())]
        })
        .collect();
    let start = Instant::now();
    for event in events.into_iter().flatten() {
        live.pod(event);
    }
    start.elapsed() / u32::try_from(EVENTS * 3).unwrap()
}

fn pod(at: usize, distinct: bool) -> SlimPod {
    let workload = at / OF_A_WORKLOAD;
    let of = if distinct { at } else { workload };
    let container = |name: &str| {
        let image = format!("registry.corp.internal/team-{}/{name}@sha256:{of:064x}", of % 50);
        (json!({"name": name, "image": image}), json!({"name": name, "imageID": image}))
    };
    let ((main, main_status), (proxy, proxy_status)) = (container("main"), container("proxy"));
    serde_json::from_value(json!({
        "metadata": {
            "name": format!("workload-{workload}-5d4f8c7b9-{at:05x}"), "namespace": format!("team-{}", workload % 50),
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("workload-{workload}-5d4f8c7b9"), "uid": format!("{workload:036}"), "controller": true}],
        },
        "spec": {"serviceAccountName": "default", "containers": [main, proxy]},
        "status": {"containerStatuses": [main_status, proxy_status]},
    }))
    .unwrap()
}
