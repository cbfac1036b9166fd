//! Namespaces that come into scope after their wave: which are enforced from their start, and which soak.

use crate::estate::{Estate, HOUR, MINUTE};
use holdfast_core::gate::{Decision, Seen};
use holdfast_core::verify::Reason;
use jiff::SignedDuration;
use serde_json::json;

const SECOND: SignedDuration = SignedDuration::from_secs(1);
const NEW: &str = "new";

/// Everything is in force; a namespace was made since the last step, and is decided so long after.
fn made(seen: Seen, age: SignedDuration, reason: Reason) -> Estate {
    let mut estate = Estate::enforcing();
    estate.hour();
    let created = estate.now + SECOND;
    estate.namespace(NEW, &[("tier", "apps")], created);
    estate.observed.namespaces.get_mut(NEW).unwrap().seen = seen;
    estate.cover(NEW, reason);
    estate.now = created + age;
    estate
}

fn is_enforced(decision: &Decision) -> bool {
    decision.namespaces.contains(NEW)
}

#[test]
fn a_namespace_is_enforced_from_its_start_where_it_was_in_scope_from_the_first() {
    let (good, bad) = (Reason::Verified, Reason::MissingBundle);
    for (what, seen, age, reason, wanted) in [
        ("first seen at once", Seen::Never, SECOND, good, true),
        ("somebody was quicker than holdfast", Seen::Never, SECOND, bad, true),
        ("first seen within a minute", Seen::Never, MINUTE, bad, true),
        ("decided late, and something runs there", Seen::Never, MINUTE + SECOND, bad, false),
        ("decided late, and all that runs there passes", Seen::Never, MINUTE + SECOND, good, true),
        ("seen before, out of scope", Seen::Before, SECOND, bad, false),
        ("seen before, out of scope, where all passes", Seen::Before, SECOND, good, false),
        ("made while nobody looked, and something runs there", Seen::Unknown, SECOND, bad, false),
        (
            "made while nobody looked, and what runs there is unknown",
            Seen::Unknown,
            SECOND,
            Reason::RegistryUnavailable,
            false,
        ),
        ("made while nobody looked, and all that runs there passes", Seen::Unknown, HOUR, good, true),
    ] {
        assert_eq!(is_enforced(&made(seen, age, reason).step()), wanted, "{what}");
    }
}

#[test]
fn what_was_there_when_its_wave_came_into_force_soaks() {
    for (after, wanted) in [(SignedDuration::ZERO, false), (SECOND, true)] {
        let mut estate = made(Seen::Never, SECOND, Reason::Verified);
        let in_force = estate.enforced.as_ref().unwrap().waves["everything"].observed.unwrap();
        estate.observed.namespaces.get_mut(NEW).unwrap().created = Some(in_force + after);
        estate.now = in_force + MINUTE;
        assert_eq!(is_enforced(&estate.step()), wanted, "{after:#}");
    }
}

#[test]
fn a_namespace_that_was_made_while_nobody_looked_is_not_taken_for_good_unseen() {
    let mut partial = made(Seen::Unknown, SECOND, Reason::Verified);
    partial.scan().incomplete = Some("the registry did not answer".to_owned());
    assert!(!is_enforced(&partial.step()));
    let mut never = made(Seen::Unknown, SECOND, Reason::Verified);
    never.observed.scan = None;
    assert!(!is_enforced(&never.step()));
}

#[test]
fn what_no_label_can_keep_out_is_enforced_whatever_runs_there() {
    let everything = |estate: &mut Estate| {
        estate.declare(|spec| {
            spec["namespaceSelector"] = json!({});
            spec["enforcement"]["waves"] = json!([{"name": "everything"}]);
        });
        estate.observed.namespaces.remove("elsewhere");
    };
    let mut always = Estate::new();
    everything(&mut always);
    always.rescan();
    always.soak();
    always.run_until(holdfast_core::gate::Trigger::SoakFull, 100);
    always.observe_in_force();
    always.hour();
    let created = always.now + SECOND;
    always.namespace(NEW, &[], created);
    always.cover(NEW, Reason::MissingBundle);
    always.now = created + HOUR;
    assert!(is_enforced(&always.step()));

    // A selector that was widened since took it in only now.
    let mut widened = made(Seen::Unknown, HOUR, Reason::MissingBundle);
    widened.declare(|spec| spec["namespaceSelector"] = json!({}));
    assert!(!is_enforced(&widened.step()));
}

#[test]
fn a_namespace_that_was_seen_out_of_scope_soaks_like_any_other() {
    let mut estate = made(Seen::Before, SECOND, Reason::MissingBundle);
    for _ in 0..100 {
        assert!(!is_enforced(&estate.hour()), "what runs there does not pass");
    }
    estate.cover(NEW, Reason::Verified);
    for _ in 0..72 {
        assert!(!is_enforced(&estate.hour()));
    }
    assert!(is_enforced(&estate.hour()));
}
