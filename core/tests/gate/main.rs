//! The gate: every check, every transition, and what it never does: enforce early, or loosen by itself.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::needless_pass_by_value
)] // a test that cannot go on fails

mod checks;
mod claims;
mod edges;
#[path = "../support/gate_estate.rs"]
mod estate;
mod gone;
mod holds;
mod newcomers;
mod record;
mod soak;
#[path = "../support/mod.rs"]
mod support;
mod transitions;

use std::path::Path;

use holdfast_core::gate::{AlarmKind, Check, Decision, picture};

fn failing(decision: &Decision) -> Vec<Check> {
    decision.progress.checks.iter().filter(|check| !check.passed).map(|check| check.check).collect()
}

fn alarms(decision: &Decision) -> Vec<AlarmKind> {
    decision.alarms.iter().map(|alarm| alarm.kind).collect()
}

#[test]
fn the_page_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/design/gate.md");
    let page = picture::page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == page,
        "docs/design/gate.md is stale: run `UPDATE_DOCS=1 cargo test -p holdfast-core --test gate`"
    );
}
