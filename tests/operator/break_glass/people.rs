//! Who may ask, and whose approvals count.

use std::time::Duration;

use serde_json::json;

use super::{GLASSES, accept_stale, approve, ask, events, from_now, glass, path, questions, status, until};
use crate::attacks::may;
use crate::courier::Courier;
use crate::lab::{Lab, mirror_path};
use crate::proxy::Asked;

#[test]
fn two_people_open_it_and_it_ends_by_itself() {
    let Some(lab) = Lab::enter() else { return };
    let operator = lab.operator();
    let courier = Courier::new("opened");
    courier.deliver(&lab);
    lab.apply(&courier.mirror("opened"));
    lab.reason("opened", "Ready", "AsDeclared");
    lab.guards_are_settled();
    let end = from_now(20);
    let digest = ask(&lab, "alice", "inc-open", end, &accept_stale("opened"));
    let waits = until(&lab, "inc-open", "Pending", "AwaitingApprovals");
    let message = waits.message("Active");
    assert!(message.contains("0 of 2") && message.contains(&digest.to_string()), "{message}");
    assert_eq!((waits.is("Ready"), waits.is("Reconciling"), waits.is("Stalled")), ("False", "absent", "absent"));
    approve(&lab, "bob", "inc-open", digest).unwrap();
    let one = lab.until("one approval is told of", |lab| {
        let status = status(lab, "inc-open");
        if status.at("/approvedBy") == &json!(["bob"]) { Ok(status) } else { Err(status.text()) }
    });
    assert!(one.message("Active").contains("other than alice and bob"), "{}", one.text());
    approve(&lab, "dora", "inc-open", digest).unwrap();
    let open = until(&lab, "inc-open", "Active", "InForce");
    assert_eq!(open.at("/approvedBy"), &json!(["bob", "dora"]));
    assert!(open.message("Active").contains(&end.to_string()), "{}", open.text());
    assert_eq!((open.is("Ready"), open.at("/revertedAt").is_null()), ("True", true));
    assert_eq!(open.object["status"]["observedGeneration"], open.object["metadata"]["generation"]);
    let labels = ["name=\"inc-open\"", "kind=\"acceptStale\""];
    operator.until_metric("holdfast_break_glass_active", &labels, |active| active == Some(1.0));
    assert_eq!(
        operator.metric("holdfast_break_glass_end_timestamp_seconds", &labels).map(|end| end.to_string()),
        Some(end.as_second().to_string())
    );
    let line = lab.kubectl(&["get", "tbg", "inc-open"]);
    for part in ["Active", &end.to_string(), r#"["bob","dora"]"#, "alice"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    // What is settled is not written again.
    let passes = || operator.metric("controller_runtime_reconcile_total", &["controller=\"trustbreakglass\""]);
    let before = passes();
    for number in 0..3 {
        lab.patch(&path("inc-open"), &json!({"metadata": {"annotations": {"touched": number.to_string()}}}));
        std::thread::sleep(Duration::from_millis(200));
    }
    lab.until("a pass was made", |_| if passes() > before { Ok(()) } else { Err(format!("{before:?}")) });
    assert!(crate::courier::now() < end, "it is still open");
    // One that was decided on what somebody else changed meanwhile is refused, and counts for nothing.
    let written = |asked: &Asked| asked.path.ends_with("inc-open/status") && asked.status == Some(200);
    let writes: Vec<Asked> = lab.proxy().writes().into_iter().filter(written).collect();
    assert_eq!(writes.len(), 3, "it waits, one approved, it is open: {writes:?}");

    let over = until(&lab, "inc-open", "Expired", "Ended");
    assert!(crate::courier::now() >= end);
    assert_eq!(over.at("/activeSince"), open.at("/activeSince"));
    assert_eq!(over.at("/approvedBy"), &json!(["bob", "dora"]));
    assert_eq!((over.is("Ready"), over.is("Active"), over.at("/revertedAt").is_string()), ("True", "False", true));
    operator.until_metric("holdfast_break_glass_active", &labels, |active| active.is_none());
    lab.until("its events are there", |lab| {
        let events = events(lab, "inc-open");
        let all = ["AwaitingApprovals", "Opened", "Ended"].iter().all(|reason| events.iter().any(|one| one == reason));
        if all { Ok(()) } else { Err(format!("{events:?}")) }
    });
    // Nobody deletes it, and nobody asks the guards for it any more.
    std::thread::sleep(Duration::from_millis(500));
    lab.proxy().reset();
    for number in 0..3 {
        let now = json!({"metadata": {"annotations": {"holdfast.dev/reconcile-at": format!("over-{number}")}}});
        lab.patch(&mirror_path("opened"), &now);
        lab.patch(&path("inc-open"), &json!({"metadata": {"annotations": {"touched": format!("over-{number}")}}}));
        std::thread::sleep(Duration::from_millis(300));
    }
    lab.until("the mirror was looked at", |lab| {
        let status = lab.status("opened");
        if status.at("/lastHandledReconcileAt") == &json!("over-2") { Ok(()) } else { Err(status.text()) }
    });
    assert_eq!(questions(&lab), 0);
}

#[test]
fn who_asks_does_not_approve_and_nobody_counts_twice() {
    let Some(lab) = Lab::enter() else { return };
    let _operator = lab.operator();
    let digest = ask(&lab, "bob", "inc-own", from_now(3600), &accept_stale("any"));
    approve(&lab, "bob", "inc-own", digest).unwrap();
    let own = lab.until("it says that who asks does not approve", |lab| {
        let status = status(lab, "inc-own");
        if status.message("Active").contains("bob asked for it") { Ok(status) } else { Err(status.text()) }
    });
    assert_eq!(own.at("/approvedBy"), &json!([]));
    for _ in 0..2 {
        approve(&lab, "dora", "inc-own", digest).unwrap();
    }
    let twice = lab.until("dora counts once", |lab| {
        let status = status(lab, "inc-own");
        if status.at("/approvedBy") == &json!(["dora"]) { Ok(status) } else { Err(status.text()) }
    });
    assert!(twice.message("Active").contains("1 of 2"), "{}", twice.text());
    // An account that nobody listed may hold the verb: it does not approve.
    let bot = "system:serviceaccount:ci:bot";
    lab.apply(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "bot-approves"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "holdfast-approver"},
        "subjects": [{"kind": "User", "name": bot, "apiGroup": "rbac.authorization.k8s.io"}],
    }));
    lab.until("the account is refused by the guard", |lab| match approve(lab, bot, "inc-own", digest) {
        Err(error) if error.contains("a service account does not approve") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(until(&lab, "inc-own", "Pending", "AwaitingApprovals").at("/approvedBy"), &json!(["dora"]));
    // In somebody else's name nobody asks.
    may(&lab, "alice", "holdfast-admin");
    let other = glass("inc-other", "dora", from_now(3600), &accept_stale("any"));
    lab.until("alice asks in her own name alone", |lab| match lab.call_as("alice", "POST", GLASSES, &other) {
        Err(error) if error.contains("`requestedBy` is not you") => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

#[test]
fn deleting_it_closes_it() {
    let Some(lab) = Lab::enter() else { return };
    let operator = lab.operator();
    let digest = ask(&lab, "alice", "inc-closed", from_now(3600), &accept_stale("any"));
    for user in ["bob", "dora"] {
        approve(&lab, user, "inc-closed", digest).unwrap();
    }
    until(&lab, "inc-closed", "Active", "InForce");
    // One that a finalizer keeps is closed, too.
    lab.patch(&path("inc-closed"), &json!({"metadata": {"finalizers": ["example.com/keeps"]}}));
    lab.call_as("alice", "DELETE", &path("inc-closed"), &json!({})).unwrap();
    let closed = until(&lab, "inc-closed", "Closed", "ClosedEarly");
    assert_eq!((closed.is("Active"), closed.at("/revertedAt").is_string()), ("False", true));
    lab.patch(&path("inc-closed"), &json!({"metadata": {"finalizers": null}}));
    lab.until("it is gone", |lab| if lab.get(&path("inc-closed")).is_none() { Ok(()) } else { Err(String::new()) });

    let digest = ask(&lab, "alice", "inc-gone", from_now(3600), &accept_stale("any"));
    for user in ["bob", "dora"] {
        approve(&lab, user, "inc-gone", digest).unwrap();
    }
    until(&lab, "inc-gone", "Active", "InForce");
    lab.call_as("alice", "DELETE", &path("inc-gone"), &json!({})).unwrap();
    lab.until("it is told that it was closed", |lab| {
        let events = events(lab, "inc-gone");
        if events.iter().any(|reason| reason == "ClosedEarly") { Ok(()) } else { Err(format!("{events:?}")) }
    });
    operator.until_metric("holdfast_break_glass_active", &["name=\"inc-gone\""], |active| active.is_none());
    // Its approvals are of another object than one that is made again: with another end they say nothing of it.
    ask(&lab, "alice", "inc-gone", from_now(7200), &accept_stale("any"));
    let again = until(&lab, "inc-gone", "Pending", "AwaitingApprovals");
    assert!(again.message("Active").contains("not its digest"), "{}", again.text());
}
