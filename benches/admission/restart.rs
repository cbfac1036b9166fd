//! What is let in while the API server starts again, and for how long what is verified is denied.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cluster::{Cluster, call};
use crate::create::AIM;
use crate::estate::{SHOP, Size, World, bad, enforce};
use crate::forms::inline;
use crate::{show, spread};

/// How long what is verified has to be let in, until it counts as over.
const CALM: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) fn restart(
    cluster: &mut Cluster,
    restarts: usize,
    policies: usize,
    kinds: usize,
    inlined: bool,
    flags: &[String],
) {
    for number in 0..kinds {
        let plural = format!("things{number}");
        cluster.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", Some(&json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": format!("{plural}.group{}.example", number % 20)},
            "spec": {
                "group": format!("group{}.example", number % 20), "scope": "Cluster", "names": {"plural": plural, "kind": format!("Thing{number}")},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object", "properties": wide()}}}],
            },
        })));
    }
    let world = World::new(Size { policies, matching: AIM.matching.min(policies), ..AIM });
    let objects = if inlined { inline(&world) } else { world.objects() };
    enforce(cluster, &world, &objects);
    let mut command_line = cluster.command_line();
    command_line.extend(flags.iter().cloned());
    let (mut ready, mut denied, mut from_ready, mut admitted) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for number in 0..restarts {
        let how = if number % 2 == 0 { "-TERM" } else { "-KILL" };
        let seen = once(cluster, &world, how, &command_line);
        println!(
            "  {how}: answers after {:.1?}, ready after {:.1?}, what is verified is let in {:.2?} after the first answer; said meanwhile: {}",
            seen.answers,
            seen.ready,
            seen.denied(),
            seen.said()
        );
        if seen.denied() > Duration::from_secs(5) {
            why(&cluster.log());
        }
        ready.push(seen.ready);
        denied.push(seen.denied());
        from_ready.push(seen.verified.saturating_sub(seen.ready));
        admitted += seen.admitted;
    }
    show(&format!("unverified pods let in over {restarts} restarts"), &admitted.to_string(), "0");
    show("start to ready: least, median, nine of ten, most", &spread(&mut ready), "-");
    show("verified pods denied after the first answer", &spread(&mut denied), "-");
    show("verified pods denied after it is ready", &spread(&mut from_ready), "-");
}

/// What the API server says of when it knew which kinds there are.
fn why(log: &str) {
    let words =
        ["refreshing policies", "informer started for", "Starting DiscoveryController", "encountered error syncing"];
    for line in log.lines().filter(|line| words.iter().any(|word| line.contains(word))).take(6) {
        println!("    {}", line.chars().take(160).collect::<String>());
    }
}

fn wide() -> Value {
    let property = |n: usize| {
        (
            format!("field{n}"),
            json!({"type": "string", "description": "What this field is, said at some length. ".repeat(8)}),
        )
    };
    json!({"spec": {"type": "object", "properties": (0..100).map(property).collect::<serde_json::Map<_, _>>()}})
}

/// Since the API server was started again.
#[derive(Default)]
struct Seen {
    answers: Duration,
    ready: Duration,
    verified: Duration,
    /// Unverified pods that were let in, at any time.
    admitted: usize,
    /// How often what was said of verified pods, and until when.
    said: BTreeMap<&'static str, (usize, Duration)>,
}

impl Seen {
    fn denied(&self) -> Duration {
        self.verified.saturating_sub(self.answers)
    }

    fn said(&self) -> String {
        let one = |(what, (count, until)): (&&str, &(usize, Duration))| format!("{what} ({count}, until {until:.1?})");
        self.said.iter().map(one).collect::<Vec<_>>().join(", ")
    }
}

fn once(cluster: &mut Cluster, world: &World, how: &str, command_line: &[String]) -> Seen {
    let (stop, log) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let clients: Vec<_> = (0..4).map(|_| cluster.another()).collect();
    let handle = cluster.runtime.handle().clone();
    let (good, bad) = (serde_json::to_vec(&world.good()).unwrap(), serde_json::to_vec(&bad()).unwrap());
    let pods = format!("/api/v1/namespaces/{SHOP}/pods?dryRun=All");
    let attempts = [("good", &good), ("bad", &bad), ("bad", &bad), ("ready", &good)];
    std::thread::scope(|scope| {
        for (client, (what, body)) in clients.iter().zip(attempts) {
            let (stop, log, pods, handle) = (&stop, &log, &pods, &handle);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let asked = async {
                        let patience = Duration::from_secs(40);
                        let answer = match what {
                            "ready" => call(client, "GET", "/readyz", "application/json", Vec::new()),
                            _ => call(client, "POST", pods, "application/json", body.clone()),
                        };
                        tokio::time::timeout(patience, answer).await.unwrap_or_else(|_| Err("timeout".to_owned()))
                    };
                    let answer = handle.block_on(asked).map(|_| ());
                    log.lock().unwrap().push((what, Instant::now(), answer));
                    std::thread::sleep(Duration::from_millis(5));
                }
            });
        }
        std::thread::sleep(Duration::from_millis(500));
        cluster.stop_api_server(how);
        let start = Instant::now();
        cluster.start_api_server(command_line);
        let mut seen = Seen::default();
        while start.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(50));
            seen = look(&log.lock().unwrap(), start);
            if seen.verified > Duration::ZERO && start.elapsed() > seen.verified + CALM && seen.ready > Duration::ZERO {
                break;
            }
        }
        stop.store(true, Ordering::Relaxed);
        seen
    })
}

fn look(log: &[(&'static str, Instant, Result<(), String>)], start: Instant) -> Seen {
    let mut seen = Seen::default();
    for (what, at, answer) in log {
        let since = at.saturating_duration_since(start);
        match (*what, answer) {
            ("bad", Ok(())) => seen.admitted += 1,
            (_, _) if since.is_zero() => {}
            ("ready", Ok(())) if seen.ready.is_zero() => seen.ready = since,
            ("good", answer) => {
                let why = answer.as_ref().err().map(|why| reason(why));
                if seen.answers.is_zero() && why != Some("no answer") {
                    seen.answers = since;
                }
                match why {
                    None if seen.verified.is_zero() => seen.verified = since,
                    None => {}
                    Some(why) => {
                        seen.verified = Duration::ZERO;
                        let said = seen.said.entry(why).or_default();
                        *said = (said.0 + 1, since);
                    }
                }
            }
            _ => {}
        }
    }
    seen
}

fn reason(why: &str) -> &'static str {
    let reasons = [
        ("failed to find resource referenced by paramKind", "kind unknown"),
        ("not yet synced", "parameters not read"),
        ("no params found", "parameter missing"),
        ("not yet ready to handle request", "admission not ready"),
        ("not verified for the policy", "judged unverified"),
        ("Forbidden", "forbidden otherwise"),
        ("forbidden", "forbidden otherwise"),
        ("timeout", "timeout"),
        ("not found", "not found"),
        ("ApiError", "another answer"),
    ];
    reasons.iter().find(|(text, _)| why.contains(text)).map_or("no answer", |(_, reason)| reason)
}
