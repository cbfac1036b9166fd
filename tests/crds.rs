//! The committed definitions are those of the code.
#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use std::path::Path;

#[test]
fn the_committed_definitions_are_current() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds");
    let files = holdfast::cli::crds::files().unwrap();
    for (name, text) in &files {
        let committed = std::fs::read_to_string(dir.join(name)).unwrap_or_default();
        assert!(committed == *text, "crds/{name} is stale: run `cargo run -- crds --dir crds`");
    }
    assert_eq!(std::fs::read_dir(dir).unwrap().count(), files.len(), "crds/ has a file of no kind");
}

/// What a YAML writer may get wrong: text that reads back as something else.
#[test]
fn what_is_written_reads_back_the_same() {
    for (crd, (name, text)) in holdfast_core::api::crds().iter().zip(holdfast::cli::crds::files().unwrap()) {
        let read: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(read, serde_json::to_value(crd).unwrap(), "{name}");
        assert!(!text.contains("&id") && !text.contains("!!"), "{name} uses anchors or tags");
    }
}
