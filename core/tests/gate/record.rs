//! What is kept of a rollout, and what is made of a record that is lost or was changed.

use crate::alarms;
use crate::estate::{Estate, HOUR, NAMESPACES, names};
use crate::support::at;
use holdfast_core::Digest;
use holdfast_core::gate::loosening::release_digest;
use holdfast_core::gate::{AlarmKind, Enforced, Event, History, Intent, Phase, in_force};
use serde_json::{Value, json};

#[test]
fn a_lost_record_never_reads_as_audit() {
    let mut estate = Estate::enforcing();
    estate.enforced = None;
    let decision = estate.step();
    assert_eq!(
        (decision.namespaces.len(), decision.progress.phase),
        (4, Phase::Enforcing),
        "made anew from the history"
    );
    assert!(alarms(&decision).contains(&AlarmKind::RecordLost) && decision.form.is_some());

    let mut estate = Estate::enforcing();
    estate.enforced = None;
    estate.declare(|spec| spec["require"] = json!({"sct": false}));
    let decision = estate.step();
    assert_eq!((&decision.intents[..], decision.form.is_none()), (&[Intent::LeaveAsIs][..], true));
    assert_eq!(
        (decision.progress.phase, decision.namespaces.len(), decision.enforced.is_none()),
        (Phase::Enforcing, 4, true)
    );
    assert!(decision.is_degraded());
    estate.approve(estate.form().digest());
    assert!(estate.peek().form.is_none(), "an approval of another time and place recovers nothing");
    estate.approve_recovery();
    assert_eq!(estate.step().form.map(|form| form.spec).as_ref(), Some(&estate.spec));

    let mut estate = Estate::enforcing();
    (estate.enforced, estate.progress, estate.history) = (None, None, History::default());
    assert_eq!(estate.step().intents, [Intent::LeaveAsIs], "the engines alone tell");
}

/// Whoever changes the record, or takes it away with the history, finds what was enforced enforced.
#[test]
fn a_record_that_was_changed_is_held_against_what_else_is_known() {
    let loosened = |enforced: &mut Enforced| enforced.spec.require.sct = false;
    let mut estate = Estate::enforcing();
    let current = in_force(&estate.input(), estate.now).unwrap();
    assert_eq!((&current.form.spec, current.namespaces.len()), (&estate.spec, 4));
    loosened(estate.enforced.as_mut().unwrap());
    let decision = estate.step();
    assert!(
        decision.form.is_some_and(|form| form.spec.require.sct),
        "the declared form is the one in force: the history has its digest"
    );
    assert_eq!(estate.enforced.as_ref().unwrap().spec, estate.spec, "and is kept again");

    let mut estate = Estate::enforcing();
    loosened(estate.enforced.as_mut().unwrap());
    estate.declare(|spec| spec["require"] = json!({"sct": false}));
    let decision = estate.step();
    assert_eq!((&decision.form, decision.namespaces.len()), (&None, 4), "declared and kept alike, and never in force");
    assert_eq!(decision.enforced, estate.enforced, "what there is stays to be looked at");
    assert!(in_force(&estate.input(), estate.now).is_none());

    let mut estate = Estate::enforcing();
    let billing = estate.enforced.as_mut().unwrap().namespaces.remove("billing");
    let decision = estate.step();
    assert!(billing.is_some() && decision.namespaces.contains("billing"));
    assert_eq!(alarms(&decision), [AlarmKind::RecordLost]);
    assert!(alarms(&estate.hour()).contains(&AlarmKind::RecordLost), "said for three days, and kept in the history");
    estate.now += HOUR * 72;
    assert!(!alarms(&estate.hour()).contains(&AlarmKind::RecordLost));

    // Without a history, what the last step wrote down counts.
    let mut estate = Estate::enforcing();
    estate.history = History::default();
    estate.enforced.as_mut().unwrap().namespaces.remove("billing");
    assert!(estate.step().namespaces.contains("billing"));
    let mut estate = Estate::enforcing();
    (estate.enforced, estate.history) = (None, History::default());
    estate.engine().in_force.clear();
    let decision = estate.step();
    assert_eq!((decision.form.is_some(), decision.namespaces.len()), (true, 4), "and of the form");
    assert!(estate.history.records()[0].number == 0 && estate.history.verify(None).is_ok());
    let mut estate = Estate::enforcing();
    (estate.enforced, estate.history) = (None, History::default());
    estate.declare(|spec| spec["require"] = json!({"sct": false}));
    let decision = estate.step();
    assert_eq!((decision.form.is_none(), decision.namespaces.len()), (true, 4));

    // A history whose front was cut off does not hold; nothing else says that something was enforced.
    let mut estate = Estate::enforcing();
    let cut: Vec<Value> =
        estate.history.records().iter().skip(1).map(|record| serde_json::to_value(record).unwrap()).collect();
    estate.history = serde_json::from_value(Value::from(cut)).unwrap();
    (estate.enforced, estate.progress) = (None, None);
    estate.engine().in_force.clear();
    assert!(estate.history.verify(None).is_err());
    let decision = estate.step();
    assert_eq!(decision.intents, [Intent::LeaveAsIs]);

    // Nothing was ever promoted: a history that is lost costs the soak and nothing else.
    let mut estate = Estate::new();
    estate.soak();
    estate.history = History::default();
    let decision = estate.step();
    assert_eq!((decision.progress.phase, decision.form.is_some()), (Phase::Soaking, true));
    assert!(alarms(&decision).contains(&AlarmKind::HistoryBroken));

    // A policy that was let go keeps an empty record in another form.
    let mut estate = Estate::enforcing();
    let digest = release_digest("apps", estate.form().digest(), &NAMESPACES.into_iter().collect());
    for name in NAMESPACES {
        estate.label(name, "tier", "none");
    }
    estate.approve(digest);
    assert_eq!(estate.step().namespaces.len(), 0);
    estate.declare(|spec| spec["require"] = json!({"sct": false}));
    estate.hour();
    assert!(estate.hour().form.is_some());
}

#[test]
fn the_history_is_chained_bounded_and_sums_up_what_it_drops() {
    let now = at("2026-07-01T00:00:00Z");
    let mut history = History::default();
    let promoted =
        |n: &str| Event::Promoted { wave: "w".to_owned(), namespaces: names(&[n]), form: Digest::of(n.as_bytes()) };
    for n in ["a", "b", "c"] {
        history.append(now, promoted(n), 8);
    }
    history.append(now, Event::Observed { wave: "w".to_owned() }, 8);
    history.append(now, Event::Released { namespaces: names(&["a"]), by: vec!["bob".to_owned()] }, 8);
    for n in 0..40 {
        history.append(now, Event::BreakGlassEnded { name: n.to_string() }, 8);
        assert!(history.records().len() <= 9);
        let in_force = history.in_force();
        assert_eq!(in_force.enforced.keys().collect::<Vec<_>>(), ["b", "c"]);
        assert_eq!((in_force.form, in_force.waves), (Some(Digest::of(b"c")), names(&["w"])));
        assert!(history.verify(history.head()).is_ok());
    }
    let text = serde_json::to_string(&history).unwrap();
    assert_eq!(serde_json::from_str::<History>(&text).unwrap(), history);
    let head = history.head();
    for (old, new) in [("\"39\"", "\"49\""), ("\"number\":57", "\"number\":58"), ("2026-07-01", "2026-07-02")] {
        let forged = text.replacen(old, new, 1);
        assert_ne!(forged, text);
        assert!(serde_json::from_str::<History>(&forged).unwrap().verify(None).is_err());
    }
    let mut records: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    records.pop();
    let cut: History = serde_json::from_value(json!(records)).unwrap();
    assert!(cut.verify(None).is_ok() && cut.verify(head).is_err(), "what is cut off is missed by its head");
    records.remove(2);
    assert!(serde_json::from_value::<History>(json!(records)).unwrap().verify(None).is_err());
}

#[test]
fn what_was_recovered_is_in_the_history() {
    let mut estate = Estate::enforcing();
    (estate.enforced, estate.history) = (None, History::default());
    estate.engine().in_force.clear();
    estate.step();
    estate.approve_recovery();
    assert_eq!(estate.step().namespaces.len(), 4);
    estate.hour();
    estate.enforced = None;
    assert_eq!(estate.step().namespaces.len(), 4, "lost again, and the history says where");
}

#[test]
fn a_record_is_not_believed_beside_a_history_that_was_changed() {
    let mut estate = Estate::enforcing();
    estate.enforced.as_mut().unwrap().spec.require.sct = false;
    estate.declare(|spec| spec["require"] = json!({"sct": false}));
    let mut history = serde_json::to_value(&estate.history).unwrap();
    history[0]["at"] = json!("2026-07-01T00:00:01Z");
    estate.history = serde_json::from_value(history).unwrap();
    assert!(estate.step().form.is_none_or(|form| form.spec.require.sct));
}

/// An empty record in a looser form, beside a history that says where it is enforced.
#[test]
fn a_record_that_was_emptied_lends_its_form_to_nothing() {
    let mut estate = Estate::enforcing();
    let kept = estate.enforced.as_mut().unwrap();
    kept.namespaces.clear();
    kept.spec.require.sct = false;
    estate.declare(|spec| spec["require"] = json!({"sct": false}));
    let decision = estate.step();
    assert!(decision.form.is_none_or(|form| form.spec.require.sct));
    assert_eq!(decision.namespaces.len(), 4);
}

#[test]
fn what_is_made_anew_is_of_the_waves_it_was_promoted_with() {
    let mut estate = Estate::enforcing();
    let waves = |enforced: &Enforced| -> Vec<(String, String)> {
        enforced.namespaces.iter().map(|(name, standing)| (name.clone(), standing.wave.clone())).collect()
    };
    let before = waves(estate.enforced.as_ref().unwrap());
    estate.enforced = None;
    estate.step();
    assert_eq!(waves(estate.enforced.as_ref().unwrap()), before);
}

/// A record that is whole is written into a history that is lost, or that was changed and still says the same.
#[test]
fn a_history_that_does_not_hold_begins_anew_with_what_is_in_force() {
    let changed = |history: &History| {
        let mut records = serde_json::to_value(history).unwrap();
        records[0]["at"] = json!("2026-07-01T00:00:01Z");
        serde_json::from_value(records).unwrap()
    };
    for lost in [true, false] {
        let mut estate = Estate::enforcing();
        estate.history = if lost { History::default() } else { changed(&estate.history) };
        assert_eq!(estate.step().namespaces.len(), 4);
        assert!(matches!(estate.history.records()[0].event, Event::Recovered { .. }), "lost: {lost}");
        assert!(estate.history.verify(None).is_ok());
    }
}

#[test]
fn an_approval_of_something_else_recovers_nothing() {
    for (kind, name, recovers) in [
        ("TrustRootMirror", "apps", false),
        ("SigningIdentityPolicy", "other", false),
        ("SigningIdentityPolicy", "apps", true),
    ] {
        let mut estate = Estate::enforcing();
        estate.enforced = None;
        estate.declare(|spec| spec["require"] = json!({"sct": false}));
        estate.approve_recovery();
        (estate.approvals[0].kind, estate.approvals[0].name) = (kind.to_owned(), name.to_owned());
        assert_eq!(estate.peek().form.is_some(), recovers, "{kind} {name}");
    }
}
