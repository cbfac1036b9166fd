//! How long pods take to be created, and how many there are a second, beside an API server without policies.

use std::time::{Duration, Instant};

use kube::Client;
use serde_json::Value;

use crate::cluster::{Cluster, call};
use crate::estate::{FREE, SHOP, Size, World, clear, enforce};
use crate::{percentile, show};

/// What is measured; the last word is the aim.
const SIZES: [Size; 5] = [
    Size { digests: 1_000, policies: 1, matching: 1 },
    Size { digests: 100_000, policies: 1, matching: 1 },
    AIM,
    Size { digests: 100_000, policies: 50, matching: 5 },
    Size { digests: 100_000, policies: 200, matching: 2 },
];
/// Measured where they are asked for.
const MORE: [Size; 5] = [
    Size { digests: 10_000, policies: 1, matching: 1 },
    Size { digests: 1_000, policies: 50, matching: 2 },
    Size { digests: 100_000, policies: 10, matching: 2 },
    Size { digests: 100_000, policies: 50, matching: 1 },
    Size { digests: 100_000, policies: 200, matching: 5 },
];
pub(crate) const AIM: Size = Size { digests: 100_000, policies: 50, matching: 2 };

/// Rounds of each kind, in turn, and the clients and pods of a round.
const ROUNDS: usize = 4;
const LOADS: [(usize, usize); 3] = [(1, 150), (8, 400), (32, 600)];

pub(crate) fn create(bare: &Cluster, native: &Cluster, sizes: Option<&str>) {
    clear(bare);
    println!(
        "{:>8} {:>8} {:>8} {:>7}   p50, p95, p99 in ms, pods a second",
        "digests", "policies", "matching", "clients"
    );
    let all = SIZES.map(|size| (size, false)).into_iter().chain(MORE.map(|size| (size, true)));
    let is_asked_for = |size: Size, more: bool| match sizes {
        None => !more,
        Some("all") => true,
        Some("more") => more,
        Some(these) => these.split(',').any(|one| one == format!("{}/{}", size.policies, size.matching)),
    };
    for (size, _) in all.filter(|(size, more)| is_asked_for(*size, *more)) {
        let world = World::new(size);
        enforce(native, &world, &world.objects());
        for load in LOADS {
            compare(bare, native, &world, load);
        }
    }
}

/// Rounds without policies, in the namespace they are about, and in one that they are not about, in turn.
fn compare(bare: &Cluster, native: &Cluster, world: &World, load: (usize, usize)) {
    let good = world.good();
    let mut measured = [Round::default(), Round::default(), Round::default()];
    for _ in 0..ROUNDS {
        for (into, (cluster, namespace)) in measured.iter_mut().zip([(bare, SHOP), (native, SHOP), (native, FREE)]) {
            into.add(round(cluster, namespace, &good, load));
        }
        for (cluster, namespace) in [(bare, SHOP), (native, SHOP), (native, FREE)] {
            cluster.call("DELETE", &format!("/api/v1/namespaces/{namespace}/pods?gracePeriodSeconds=0"), None);
        }
    }
    let [bare, judged, beside] = measured.map(Round::told);
    let Size { digests, policies, matching } = world.size;
    println!(
        "{digests:>8} {policies:>8} {matching:>8} {:>7}   bare {}   judged {}   beside {}",
        load.0, bare.text, judged.text, beside.text
    );
    let ratio = judged.half.as_secs_f64() / bare.half.as_secs_f64();
    let beside = beside.half.as_secs_f64() / bare.half.as_secs_f64();
    let aim = if world.size == AIM && load.0 == 1 { "5 x" } else { "-" };
    show("  p50 beside bare, and in a namespace that is not judged", &format!("{ratio:.1} x, {beside:.1} x"), aim);
}

#[derive(Default)]
struct Round {
    times: Vec<Duration>,
    took: Duration,
}

struct Told {
    half: Duration,
    text: String,
}

impl Round {
    fn add(&mut self, other: Self) {
        self.times.extend(other.times);
        self.took += other.took;
    }

    fn told(mut self) -> Told {
        let rate = self.times.len() as f64 / self.took.as_secs_f64();
        let half = percentile(&mut self.times, 0.5);
        let all = [0.5, 0.95, 0.99].map(|part| percentile(&mut self.times, part).as_secs_f64() * 1000.0);
        Told { half, text: format!("{:.1} {:.1} {:.1} {rate:.0}/s", all[0], all[1], all[2]) }
    }
}

/// So many pods by so many clients, each one after another.
fn round(cluster: &Cluster, namespace: &str, pod: &Value, (clients, pods): (usize, usize)) -> Round {
    let clients: Vec<Client> = (0..clients).map(|_| cluster.another()).collect();
    let (path, body) = (format!("/api/v1/namespaces/{namespace}/pods"), serde_json::to_vec(pod).unwrap());
    cluster.runtime.block_on(async {
        let post = async |client: &Client| {
            let start = Instant::now();
            call(client, "POST", &path, "application/json", body.clone()).await.unwrap();
            start.elapsed()
        };
        // A connection is made before it is measured.
        for client in &clients {
            post(client).await;
        }
        let each = pods / clients.len();
        let start = Instant::now();
        let tasks = clients.iter().map(|client| async {
            let mut times = Vec::with_capacity(each);
            for _ in 0..each {
                times.push(post(client).await);
            }
            times
        });
        let times = futures_util::future::join_all(tasks).await.concat();
        Round { times, took: start.elapsed() }
    })
}

/// The median of one client, for comparisons of forms.
pub(crate) fn median(cluster: &Cluster, pod: &Value) -> Duration {
    let mut all = Vec::new();
    for _ in 0..3 {
        all.extend(round(cluster, SHOP, pod, (1, 120)).times);
        cluster.call("DELETE", &format!("/api/v1/namespaces/{SHOP}/pods?gracePeriodSeconds=0"), None);
    }
    percentile(&mut all, 0.5)
}
