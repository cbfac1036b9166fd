//! `holdfast explain`: one source of words for people, status and the reference.
#![allow(clippy::unwrap_used)] // a test that cannot go on fails

mod support;

use std::path::Path;

use support::holdfast_in;

fn explain(args: &[&str]) -> support::Answer {
    holdfast_in(Path::new("."), &[&["explain"], args].concat())
}

#[test]
fn the_committed_reference_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference.md");
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    let current = holdfast::cli::explain::reference();
    assert!(
        committed == current,
        "docs/reference.md is stale: run `cargo run -- explain --reference > docs/reference.md`"
    );
    assert_eq!(explain(&["--reference"]).out, current);
}

#[test]
fn a_word_is_explained_in_a_few_lines() {
    let answer = explain(&["missingbundle"]);
    assert_eq!(answer.code, 0);
    for part in ["MissingBundle", "means", "owner   pipeline", "do "] {
        assert!(answer.out.contains(part), "{part}: {}", answer.out);
    }
    let both = explain(&["Verified"]).out;
    assert!(both.contains("reason (covered)") && both.contains("condition (well while true)"), "{both}");
    assert_eq!(both.matches("owner").count(), 1, "nobody has to mend a reason that holds: {both}");
}

/// What an import prints after "refused," is a word like any other.
#[test]
fn refusals_are_explained() {
    for word in ["Rollback", "Expired", "Threshold", "Equivocation", "MemoryDamaged"] {
        let answer = explain(&[word]);
        assert_eq!(answer.code, 0, "{answer:?}");
        assert!(answer.out.contains("refusal (what was held stays in force)"), "{answer:?}");
    }
    let both = explain(&["Malformed"]).out;
    assert!(both.contains("reason (uncovered)") && both.contains("refusal ("), "{both}");
    assert!(explain(&["OutsideValidity"]).out.contains("at an authenticated signing time"));
}

#[test]
fn an_unknown_word_is_an_error_that_names_the_nearest() {
    let answer = explain(&["MisingBundle"]);
    assert_eq!((answer.code, answer.out.as_str()), (2, ""));
    assert!(answer.err.contains("did you mean `MissingBundle`?"), "{}", answer.err);
}
