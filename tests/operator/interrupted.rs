//! An operator that is killed between any two steps of import, remember, adopt, distribute and report, and one that goes on after it.

use std::time::Duration;

use serde_json::json;

use crate::chart_support::NAMESPACE;
use crate::courier::{Courier, approve, distributed};
use crate::lab::{Lab, NAME, config_map_path};
use crate::proxy::{Asked, Fate};

type Means = fn(&Asked) -> bool;

/// The writes of a pass, in their order.
const STEPS: [(&str, Means); 4] = [
    ("remember", |asked| {
        asked.is_write() && (asked.path.ends_with("/configmaps") || asked.path.contains("holdfast-trust-memory"))
    }),
    ("adopt", |asked| asked.is_write() && asked.path.contains("holdfast-trust-record")),
    ("distribute", |asked| asked.is_write() && asked.path.ends_with(NAME)),
    ("report", |asked| asked.is_write() && asked.path.ends_with("/status")),
];

fn revision(lab: &Lab, name: &str) -> u64 {
    let object = lab.get(&config_map_path(NAMESPACE, name)).unwrap_or_else(|| panic!("there is no {name}"));
    object["data"]["revision"].as_str().unwrap().parse().unwrap()
}

/// Kills the operator at the `nth` write that is meant: before it reaches the API server, or after it did and before the answer is back.
fn kill_at(lab: &Lab, means: Means, nth: usize, fate: Fate, provoke: impl FnOnce(&Lab)) {
    let mut operator = lab.operator_with(&["--leader-elect=false"]);
    lab.proxy().on_nth(nth, fate, means);
    provoke(lab);
    lab.until("the write is on its way", |lab| if lab.proxy().met() == 1 { Ok(()) } else { Err(operator.said()) });
    std::thread::sleep(Duration::from_millis(100));
    operator.signal("-KILL");
    operator.ended(Duration::from_secs(5));
}

#[test]
fn a_first_import_that_is_cut_off_anywhere_comes_to_its_end_once() {
    let Some(lab) = Lab::enter() else { return };
    for (at, (step, means)) in STEPS.into_iter().enumerate() {
        for (how, fate) in [("before", Fate::Hold), ("after", Fate::HoldAnswer)] {
            let name = format!("cut-{at}-{how}");
            let courier = Courier::new(&name);
            courier.deliver(&lab);
            lab.namespace(&name, &json!({"trust": name}));
            // Memory and record are made here: the first ConfigMap that is made is the one, the second the other.
            let (means, nth) = if step == "adopt" { (STEPS[0].1, 1) } else { (means, 0) };
            kill_at(&lab, means, nth, fate, |lab| {
                lab.apply(&distributed(courier.mirror(&name), &name, "0s"));
            });
            let operator = lab.operator_with(&["--leader-elect=false"]);
            // What was on its way arrives late, or never.
            lab.proxy().release();
            let status = lab.reason(&name, "Distributed", "Distributed");
            let place = format!("{step}, {how} it was done: {}", status.text());
            assert_eq!(status.is("Ready"), "True", "{place}");
            assert_eq!(status.at("/adopted/digest"), &json!(courier.root()), "{place}");
            assert_eq!(revision(&lab, &format!("holdfast-trust-memory-{name}-{}", &courier.pin()[..16])), 1, "{place}");
            assert_eq!(revision(&lab, &format!("holdfast-trust-record-{name}")), 1, "{place}");
            assert!(lab.get(&config_map_path(&name, NAME)).is_some(), "{place}");
            operator.stop();
            lab.delete(&crate::lab::mirror_path(&name));
            lab.proxy().reset();
        }
    }
}

#[test]
fn a_rotation_that_is_cut_off_anywhere_comes_to_its_end_once() {
    let Some(lab) = Lab::enter() else { return };
    for (at, (step, means)) in STEPS.into_iter().enumerate() {
        for (how, fate) in [("before", Fate::Hold), ("after", Fate::HoldAnswer)] {
            let name = format!("turn-{at}-{how}");
            let mut courier = Courier::new(&name);
            courier.deliver(&lab);
            lab.namespace(&name, &json!({"trust": name}));
            let operator = lab.operator_with(&["--leader-elect=false"]);
            lab.apply(&distributed(courier.mirror(&name), &name, "1h"));
            lab.reason(&name, "Distributed", "Distributed");
            let second = if step == "remember" { None } else { Some(courier.rotate()) };
            if second.is_some() {
                courier.deliver(&lab);
                lab.reason(&name, "RotationPending", "AwaitingApproval");
            }
            operator.stop();
            kill_at(&lab, means, 0, fate, |lab| {
                if let Some(second) = second {
                    approve(lab, "bob", &name, second).unwrap();
                } else {
                    courier.refresh();
                    courier.deliver(lab);
                }
            });
            let operator = lab.operator_with(&["--leader-elect=false"]);
            lab.proxy().release();
            let memory = format!("holdfast-trust-memory-{name}-{}", &courier.pin()[..16]);
            let record = format!("holdfast-trust-record-{name}");
            let place = format!("{step}, {how} it was done");
            match second {
                Some(second) => {
                    let status = lab.reason(&name, "Distributed", "Adopting");
                    assert_eq!(status.at("/adopted/digest"), &json!(second), "{place}: {}", status.text());
                    assert_eq!(status.at("/adopting").as_array().map(Vec::len), Some(1), "{place}: {}", status.text());
                    assert_eq!(revision(&lab, &record), 2, "{place}");
                }
                None => {
                    lab.until("it is remembered", |lab| {
                        let status = lab.status(&name);
                        if status.at("/roles/timestamp/version") == &json!(2) { Ok(()) } else { Err(status.text()) }
                    });
                }
            }
            assert_eq!(revision(&lab, &memory), 2, "{place}");
            assert_eq!(lab.status(&name).is("MemoryIntact"), "True", "{place}");
            operator.stop();
            lab.delete(&crate::lab::mirror_path(&name));
            lab.proxy().reset();
        }
    }
}
