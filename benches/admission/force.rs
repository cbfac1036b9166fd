//! How long it takes from the answer to a write until it is in force.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cluster::{Cluster, path_of};
use crate::create::AIM;
use crate::estate::{SHOP, World, ask, bad, enforce, image, pod};
use crate::{percentile, show, spread};

pub(crate) fn force(cluster: &Cluster, tries: usize) {
    let mut world = World::new(AIM);
    let mut current = world.objects();
    enforce(cluster, &world, &current);

    let mut shards = Vec::new();
    for number in 0..tries {
        let what = format!("new {number}");
        let pod = pod(&[image(0, &what)]);
        assert!(ask(cluster, SHOP, &pod).is_err(), "it is not verified yet");
        world.verify(&what);
        shards.push(write(cluster, &mut current, world.objects(), || ask(cluster, SHOP, &pod).is_ok()));
    }
    tell("a digest added to a shard", &mut shards);

    let mut bindings = Vec::new();
    for number in 0..tries {
        let name = format!("late-{number}");
        cluster.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}));
        assert!(ask(cluster, &name, &bad()).is_ok(), "nothing is enforced yet");
        world.more.push(name.clone());
        bindings.push(write(cluster, &mut current, world.objects(), || ask(cluster, &name, &bad()).is_err()));
    }
    tell("a namespace added to bindings", &mut bindings);

    let (mut looser, mut tighter) = (Vec::new(), Vec::new());
    let exempt = json!([{"image": image(0, "never verified"), "reason": "a try"}]);
    for _ in 0..tries {
        world.exempt(&exempt);
        looser.push(write(cluster, &mut current, world.objects(), || ask(cluster, SHOP, &bad()).is_ok()));
        world.exempt(&json!([]));
        tighter.push(write(cluster, &mut current, world.objects(), || ask(cluster, SHOP, &bad()).is_err()));
    }
    tell("an exemption added to a policy", &mut looser);
    tell("an exemption taken from a policy", &mut tighter);
}

fn tell(what: &str, times: &mut [(Duration, Duration)]) {
    let (mut writes, mut force): (Vec<Duration>, Vec<Duration>) = times.iter().copied().unzip();
    let what = format!("{what}, to in force: least, median, nine of ten, most of {}", times.len());
    show(&what, &spread(&mut force), "-");
    println!("  writing it took {:.1?} (median)", percentile(&mut writes, 0.5));
}

/// Writes what differs, and gives how long that took and how long it then was until it is seen.
fn write(
    cluster: &Cluster,
    current: &mut Vec<Value>,
    wanted: Vec<Value>,
    seen: impl Fn() -> bool,
) -> (Duration, Duration) {
    let changed: Vec<&Value> = wanted.iter().filter(|object| !current.contains(object)).collect();
    assert!(!changed.is_empty());
    let start = Instant::now();
    for object in changed {
        cluster.apply(object);
    }
    let (written, start) = (start.elapsed(), Instant::now());
    while !seen() {
        assert!(start.elapsed() < Duration::from_secs(30), "never in force");
    }
    let took = start.elapsed();
    for gone in current.iter().filter(|object| !wanted.iter().any(|wanted| path_of(wanted) == path_of(object))) {
        cluster.call("DELETE", &path_of(gone), None);
    }
    *current = wanted;
    (written, took)
}
