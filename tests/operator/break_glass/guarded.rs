//! What the guards refuse, and what becomes of break-glasses when they are not there.

use std::time::Duration;

use serde_json::json;

use super::{GLASSES, accept_stale, approve, ask, digest_of, events, from_now, glass, path, status, until};
use crate::attacks::{may, without_guard};
use crate::lab::Lab;

#[test]
fn an_end_in_the_past_or_after_the_cap_is_refused() {
    let Some(lab) = Lab::enter() else { return };
    let _operator = lab.operator();
    may(&lab, "alice", "holdfast-admin");
    let late = glass("inc-late", "alice", from_now(72 * 3600 + 60), &accept_stale("any"));
    let past = glass("inc-past", "alice", from_now(-60), &accept_stale("any"));
    for (glass, why) in [(&late, "more than 72 hours ahead"), (&past, "in the past")] {
        lab.until(why, |lab| match lab.call_as("alice", "POST", GLASSES, glass) {
            Err(error) if error.contains(why) => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }
    // Where the guard is away, the operator says so, whoever approves.
    without_guard(&lab, "break-glass", || {
        for glass in [&late, &past] {
            lab.until("the guard is out of force", |lab| lab.call_as("alice", "POST", GLASSES, glass));
        }
    });
    for glass in [&late, &past] {
        for user in ["bob", "dora"] {
            approve(&lab, user, glass["metadata"]["name"].as_str().unwrap(), digest_of(glass)).unwrap();
        }
    }
    let refused = until(&lab, "inc-late", "Refused", "EndTooLate");
    assert_eq!((refused.is("Ready"), refused.is("Stalled")), ("False", "True"));
    assert!(refused.message("Active").contains("shorter"), "{}", refused.text());
    let over = until(&lab, "inc-past", "Expired", "Ended");
    assert!(over.at("/activeSince").is_null() && over.at("/revertedAt").is_null(), "{}", over.text());
}

#[test]
fn without_guards_nothing_counts_and_what_was_open_is_asked_for_anew() {
    let Some(lab) = Lab::enter() else { return };
    let _operator = lab.operator();
    let digest = ask(&lab, "alice", "inc-guarded", from_now(3600), &accept_stale("any"));
    for user in ["bob", "dora"] {
        approve(&lab, user, "inc-guarded", digest).unwrap();
    }
    let open = until(&lab, "inc-guarded", "Active", "InForce");
    without_guard(&lab, "approval", || {
        // Nothing tells the operator: it looks.
        let gone = until(&lab, "inc-guarded", "Pending", "Unguarded");
        assert!(gone.message("Active").contains("holdfast-guard-approval"), "{}", gone.text());
        assert_eq!((gone.is("Active"), gone.is("Ready"), gone.at("/revertedAt").is_string()), ("False", "False", true));
        assert_eq!(gone.at("/activeSince"), open.at("/activeSince"));
        assert_eq!(gone.at("/approvedBy"), &json!([]));
    });
    lab.until("it is told", |lab| {
        let events = events(lab, "inc-guarded");
        if events.iter().any(|reason| reason == "Unguarded") { Ok(()) } else { Err(format!("{events:?}")) }
    });
    // Back in force, they say nothing of what was made before.
    lab.patch(&path("inc-guarded"), &json!({"metadata": {"annotations": {"look": "again"}}}));
    let before = until(&lab, "inc-guarded", "Refused", "MadeUnguarded");
    assert!(before.message("Active").contains("make a new one"), "{}", before.text());
    lab.guards_are_settled();
    for user in ["bob", "dora"] {
        approve(&lab, user, "inc-guarded", digest).unwrap();
    }
    std::thread::sleep(Duration::from_secs(1));
    let still = status(&lab, "inc-guarded");
    assert_eq!((still.at("/phase"), still.reason("Active")), (&json!("Refused"), "MadeUnguarded"), "{}", still.text());
    // A new one, with approvals that were made since.
    let digest = ask(&lab, "alice", "inc-anew", from_now(3600), &accept_stale("any"));
    for user in ["bob", "dora"] {
        approve(&lab, user, "inc-anew", digest).unwrap();
    }
    until(&lab, "inc-anew", "Active", "InForce");
}

#[test]
fn approvals_from_before_the_guards_do_not_open_a_new_one() {
    let Some(lab) = Lab::enter() else { return };
    let _operator = lab.operator();
    // The same form as one that comes later has the same digest, and the approvals of it are older than the guards.
    let until_then = from_now(3600);
    let digest = ask(&lab, "alice", "inc-early", until_then, &accept_stale("any"));
    for user in ["bob", "dora"] {
        approve(&lab, user, "inc-early", digest).unwrap();
    }
    until(&lab, "inc-early", "Active", "InForce");
    without_guard(&lab, "approval", || lab.delete(&path("inc-early")));
    ask(&lab, "alice", "inc-early", until_then, &accept_stale("any"));
    let waits = until(&lab, "inc-early", "Pending", "AwaitingApprovals");
    assert!(
        waits.message("Active").contains("0 of 2") && waits.message("Active").contains("approve again"),
        "{}",
        waits.text()
    );
    for user in ["bob", "dora"] {
        approve(&lab, user, "inc-early", digest).unwrap();
    }
    until(&lab, "inc-early", "Active", "InForce");
}
