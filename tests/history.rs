//! `holdfast history --verify`: an exported history, checked without a cluster.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test that cannot go on fails

mod support;

use std::collections::BTreeSet;

use holdfast_core::Digest;
use holdfast_core::gate::{Event, History, Named};
use serde_json::{Value, json};
use support::{Answer, holdfast_in};

fn exported() -> Value {
    let at = "2026-11-24T06:00:00Z".parse().unwrap();
    let form = Digest::of(b"form");
    let namespaces = BTreeSet::from(["shop".to_owned()]);
    let (wave, by) = ("canary".to_owned(), vec!["bob".to_owned()]);
    let events = [
        Event::SoakStarted { wave: wave.clone(), namespaces: Named::from(&namespaces), subject: form, began: at },
        Event::Promoted { wave: wave.clone(), namespaces: namespaces.clone(), form },
        Event::Observed { wave },
        Event::Held { wants: form, kinds: vec!["IdentityWidened".to_owned()] },
        Event::FormChanged { form, by: by.clone(), further: false },
        Event::ApprovalSpent { of: form, made: None },
        Event::BreakGlassOpened { name: "inc-4711".to_owned(), until: at },
        Event::BreakGlassEnded { name: "inc-4711\u{1b}[2J".to_owned() },
        Event::Released { namespaces, by },
    ];
    let mut history = History::default();
    for event in events {
        history.append(at, event, 512);
    }
    json!({"policies": [{"policy": "apps", "phase": "Audit", "head": history.head(), "records": history}]})
}

fn verify(file: &str, more: &[&str]) -> Answer {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("history.json"), file).unwrap();
    holdfast_in(dir.path(), &[&["history", "--verify", "history.json"], more].concat())
}

#[test]
fn a_history_is_read_by_a_person_who_was_not_there() {
    let answer = verify(&exported().to_string(), &[]);
    assert_eq!(answer.code, 0, "{answer:?}");
    insta::assert_snapshot!(support::without_digests(&answer.out));
    let one = verify(&exported().to_string(), &["apps", "--last", "2"]);
    assert!(one.code == 0 && one.out.contains("7 older records") && !one.out.contains("canary"), "{one:?}");
}

#[test]
fn what_was_changed_cut_off_or_set_back_is_told() {
    let whole = exported();
    let mut changed = whole.clone();
    changed["policies"][0]["records"][1]["namespaces"] = json!(["shop", "billing"]);
    let mut gap = whole.clone();
    gap["policies"][0]["records"].as_array_mut().unwrap().remove(3);
    let mut begun_late = whole.clone();
    begun_late["policies"][0]["records"].as_array_mut().unwrap().remove(0);
    let mut set_back = whole.clone();
    set_back["policies"][0]["records"].as_array_mut().unwrap().pop();
    for (what, file) in
        [("changed", changed), ("does not follow", gap), ("does not follow", begun_late), ("set back", set_back)]
    {
        let answer = verify(&file.to_string(), &[]);
        assert!(
            answer.code == 1 && answer.out.contains("they do not hold") && answer.out.contains(what),
            "{what}: {answer:?}"
        );
        // What the file itself says of that counts for nothing.
        let mut praised = file;
        praised["policies"][0]["standing"] = json!({"chain": "holds"});
        assert_eq!(verify(&praised.to_string(), &[]).code, 1);
    }
}

#[test]
fn what_is_no_history_is_refused() {
    for file in ["", "{}", "[]", r#"{"policies": []}"#, r#"{"policies": [{"policy": "apps"}]}"#] {
        let answer = verify(file, &[]);
        assert!(answer.code == 2 && !answer.err.is_empty(), "{file}: {answer:?}");
    }
    let answer = verify(&exported().to_string(), &["other"]);
    assert!(answer.code == 2 && answer.err.contains("holds no history of `other`"), "{answer:?}");
}

#[test]
fn lines_for_a_spreadsheet_are_no_formulas_and_move_no_cursor() {
    let answer = verify(&exported().to_string(), &["-o", "csv"]);
    assert_eq!(answer.code, 0, "{answer:?}");
    assert_eq!(answer.out.lines().count(), 10);
    assert!(!answer.out.contains('\u{1b}') && answer.out.contains("breakGlassEnded"), "{}", answer.out);
}
