//! What verified digests take of the API server's and of etcd's memory.

use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::create::AIM;
use crate::estate::{Size, World, enforce, settled};
use crate::show;

/// How often a digest is added, for what that leaves behind.
const CHANGES: usize = 100;

/// The API server starts again before each look: what it takes depends on what it once had to do.
pub(crate) fn memory(cluster: &mut Cluster) {
    let small = World::new(Size { digests: 1_000, ..AIM });
    enforce(cluster, &small, &small.objects());
    again(cluster, &small);
    let before = Held::of(cluster, 20);
    println!("with {} policies and 1000 digests: {}", AIM.policies, before.text());
    let mut world = World::new(AIM);
    let objects = world.objects();
    let written = enforce(cluster, &world, &objects);
    again(cluster, &world);
    let after = Held::of(cluster, 20);
    println!("with {} policies and {} digests: {}; written in {written:.1?}", AIM.policies, AIM.digests, after.text());
    let more = |of: fn(&Held) -> f64| format!("{:.1} MiB", of(&after) - of(&before));
    show("100,000 digests: API server, least resident", &more(|held| held.resident), "100 MiB");
    show("100,000 digests: API server, alive after a collection", &more(|held| held.alive), "-");
    show("100,000 digests: etcd, in use", &more(|held| held.etcd), "10 MiB");

    for number in 0..CHANGES {
        world.verify(&format!("later {number}"));
        for (new, old) in world.objects().iter().zip(&objects).filter(|(new, _)| is_shard(new)) {
            if new["metadata"]["annotations"] != old["metadata"]["annotations"] || new["spec"] != old["spec"] {
                cluster.apply(new);
                break;
            }
        }
    }
    let (alive, resident) = (cluster.alive(), cluster.memory(1));
    println!("after {CHANGES} more digests, one after another: {alive:.0} MiB alive, {resident:.0} MiB resident");
    std::thread::sleep(std::time::Duration::from_secs(20));
    let later = Held::of(cluster, 15);
    println!("  and a little later: {}", later.text());
}

fn again(cluster: &mut Cluster, world: &World) {
    let command_line = cluster.command_line();
    cluster.stop_api_server("-KILL");
    cluster.start_api_server(&command_line);
    settled(cluster, world);
}

fn is_shard(object: &Value) -> bool {
    object["kind"] == json!("VerifiedImages")
}

/// What there is, in MiB.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    pub(crate) alive: f64,
    pub(crate) resident: f64,
    pub(crate) etcd: f64,
}

impl Held {
    /// The garbage is collected first; the runtime gives memory back to the system little by little.
    pub(crate) fn of(cluster: &Cluster, seconds: u64) -> Self {
        let etcd = cluster.etcd();
        let alive = cluster.alive();
        Self { alive, resident: cluster.memory(seconds), etcd }
    }

    pub(crate) fn text(self) -> String {
        let Self { alive, resident, etcd } = self;
        format!("{alive:.0} MiB alive, {resident:.0} MiB resident, {etcd:.1} MiB in etcd")
    }
}
