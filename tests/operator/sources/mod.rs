//! Every kind of source: what a courier renews is taken up, what fails is said, and what is bent changes nothing.

mod config_map;
mod given;
mod hostile;
mod network;
mod registry;
mod server;
mod volume;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::chart_support::NAMESPACE;
use crate::courier::Courier;
use crate::lab::{Lab, Operator, Status, config_map_path};

/// Waits until a version of the timestamp is in force, and says how long that took.
#[track_caller]
fn version(lab: &Lab, mirror: &str, version: u64) -> Duration {
    let start = Instant::now();
    lab.until(&format!("timestamp {version} of {mirror} is accepted"), |lab| {
        let status = lab.status(mirror);
        let is_there =
            status.at("/roles/timestamp/version") == &json!(version) && status.reason("Ready") == "AsDeclared";
        if is_there { Ok(()) } else { Err(status.text()) }
    });
    start.elapsed()
}

/// What fails is said, whose it is is said, somebody is warned, what was in force stays, and nothing spins.
#[track_caller]
fn fails(lab: &Lab, operator: &Operator<'_>, mirror: &str, reason: &str, stands: &str) -> Status {
    let in_force = lab.status(mirror).at("/adopted/digest").clone();
    let status = lab.reason(mirror, "Verified", reason);
    assert_eq!((status.is("Ready"), status.reason("Ready")), ("False", reason), "{}", status.text());
    let progress = [("Reconciling", status.is("Reconciling")), ("Stalled", status.is("Stalled"))];
    let there: Vec<&str> = progress.iter().filter(|(_, is)| *is == "True").map(|(name, _)| *name).collect();
    assert_eq!(there.join(" "), stands, "{}", status.text());
    assert_eq!(status.at("/adopted/digest"), &in_force, "what was in force stays");
    assert_eq!(status.at("/lastImport/result"), reason);
    warned(lab, mirror, reason);
    quiet(lab, operator);
    lab.status(mirror)
}

/// Somebody is told of it.
#[track_caller]
fn warned(lab: &Lab, mirror: &str, reason: &str) {
    lab.until(&format!("a warning {reason} about {mirror}"), |lab| {
        let events = lab.events(mirror);
        let is_there = events.iter().any(|event| event["type"] == "Warning" && event["reason"] == reason);
        if is_there { Ok(()) } else { Err(json!(events).to_string()) }
    });
}

/// In two seconds, the operator makes a few passes and no more, and is well.
#[track_caller]
fn quiet(lab: &Lab, operator: &Operator<'_>) {
    let before = operator.passes();
    std::thread::sleep(Duration::from_secs(2));
    let passes = operator.passes() - before;
    assert!(passes <= 6.0, "{passes} passes in two seconds\n{}", operator.said());
    assert_eq!(operator.ask("/readyz").0, 200);
    assert!(!operator.says("panicked"), "{}", operator.said());
    let _ = lab;
}

/// Declares a mirror that is read from a source, with its bootstrap root.
fn declare(lab: &Lab, courier: &Courier, name: &str, source: &Value) {
    courier.deliver_bootstrap(lab);
    lab.apply(&courier.mirror_from(name, source));
}

/// A ConfigMap of texts in holdfast's own namespace.
fn text(lab: &Lab, name: &str, key: &str, value: &str) {
    lab.apply(&json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": NAMESPACE}, "data": {key: value},
    }));
}

fn forget(lab: &Lab, name: &str) {
    lab.delete(&config_map_path(NAMESPACE, name));
}
