//! Enforced namespaces that are gone.

use crate::estate::{Estate, names};
use holdfast_core::gate::Decision;
use holdfast_core::gate::history::Event;
use holdfast_core::trust::clock::Sanity;
use jiff::SignedDuration;

fn without(estate: &mut Estate, gone: &[&str]) {
    for name in gone {
        estate.observed.namespaces.remove(*name).unwrap();
    }
    estate.step();
}

fn jump(estate: &mut Estate, hours: i64) -> Decision {
    estate.now += SignedDuration::from_hours(hours);
    estate.rescan();
    estate.step()
}

/// An hour after the other.
fn later(estate: &mut Estate, hours: i64) -> Decision {
    (1..hours).for_each(|_| drop(jump(estate, 1)));
    jump(estate, hours.min(1))
}

#[test]
fn the_name_of_a_namespace_that_is_gone_is_kept_for_a_week() {
    let mut estate = Estate::enforcing();
    let was = estate.observed.namespaces["shop"].clone();
    without(&mut estate, &["shop", "billing"]);
    assert_eq!(later(&mut estate, 24 * 7 - 1).namespaces.len(), 4);
    // One that is there again begins anew, whatever its labels say now.
    let mut relabelled = was.clone();
    relabelled.labels.clear();
    estate.observed.namespaces.insert("shop".to_owned(), relabelled);
    assert!(later(&mut estate, 0).namespaces.contains("shop"));
    let decision = later(&mut estate, 2);
    assert_eq!(decision.namespaces, names(&["canary-a", "canary-b", "shop"]));
    let forgot = Event::Forgotten { namespaces: names(&["billing"]) };
    assert!(estate.history.records().iter().any(|record| record.event == forgot), "the history says so");
    assert!(later(&mut estate, 24 * 8).namespaces.contains("shop"));
}

#[test]
fn a_clock_that_jumps_forgets_nothing() {
    for back in [false, true] {
        let mut estate = Estate::enforcing();
        without(&mut estate, &["billing"]);
        for _ in 0..40 {
            assert!(jump(&mut estate, 24 * 8).namespaces.contains("billing"));
            if back {
                jump(&mut estate, -24 * 8);
            }
        }
        // Nor does one that is known to be behind.
        let behind = Sanity::Behind { floor: estate.now + SignedDuration::from_hours(24 * 365), now: estate.now };
        estate.observed.clock = Some(behind);
        assert!(later(&mut estate, 24 * 14).namespaces.contains("billing"));
    }
}

#[test]
fn the_last_name_stays_and_so_does_what_nobody_looked_for() {
    let all = ["canary-a", "canary-b", "billing", "shop"];
    let mut estate = Estate::enforcing();
    without(&mut estate, &all);
    assert_eq!(later(&mut estate, 24 * 30).namespaces.len(), 1, "the policy stays enforced");
    let mut estate = Estate::enforcing();
    estate.observed.sees_all_namespaces = false;
    without(&mut estate, &all);
    assert_eq!(later(&mut estate, 24 * 30).namespaces.len(), 4);
}

#[test]
fn of_many_names_those_that_are_gone_for_longest_are_forgotten_first() {
    let mut estate = Estate::enforcing();
    estate.hour();
    let made: Vec<String> = (0..1200).map(|at| format!("preview-{at:04}")).collect();
    for half in made.chunks(600) {
        let created = estate.now + SignedDuration::from_secs(1);
        estate.now = created;
        for name in half {
            estate.namespace(name, &[("tier", "apps")], created);
            estate.observed.namespaces.get_mut(name).unwrap().seen = holdfast_core::gate::Seen::Never;
        }
        assert!(estate.step().namespaces.contains(&half[0]));
        estate.now += SignedDuration::from_mins(29);
        without(&mut estate, &half.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let kept = estate.enforced.as_ref().unwrap().names();
    assert_eq!(kept.len(), 1200 + 4, "none is surely gone, beyond those that may stay");
    let kept = later(&mut estate, 2).namespaces;
    assert_eq!(kept.len(), 1000 + 4);
    assert!(!kept.contains("preview-0000") && kept.contains("preview-0600") && kept.contains("shop"));
}
