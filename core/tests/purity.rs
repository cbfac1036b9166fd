//! The core decides and does nothing else: no client, no clock, no async runtime, no I/O, in its dependencies and in its source.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that cannot go on fails

use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn no_dependency_reaches_out() {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--edges", "normal", "--prefix", "none", "--format", "{p}", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .output()
        .expect("cargo runs");
    let tree = String::from_utf8(output.stdout).unwrap();
    let names: Vec<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(names.contains(&"sigstore-verify"), "the tree was read: {tree}");
    for forbidden in [
        "kube-client",
        "kube-runtime",
        "tokio",
        "async-std",
        "smol",
        "mio",
        "socket2",
        "hyper",
        "reqwest",
        "ureq",
        "rustls",
        "native-tls",
        "openssl",
        "ring",
        "axum",
        "oci-client",
        "tough",
        "curl",
        "h2",
    ] {
        assert!(!names.contains(&forbidden), "holdfast-core depends on {forbidden}");
    }
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            sources(&entry, found);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            found.push(entry);
        }
    }
}

#[test]
fn no_source_asks_for_the_time_or_touches_the_world() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    assert!(files.len() > 20);
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        for line in code {
            for forbidden in [
                "std::fs",
                "std::net",
                "std::env",
                "std::process",
                "std::thread",
                "SystemTime",
                "Instant::now",
                "Timestamp::now",
                "Zoned::now",
                "async fn",
                ".await",
                "println!",
                "unsafe ",
            ] {
                assert!(!line.contains(forbidden), "{}: `{}`", file.display(), line.trim());
            }
        }
    }
}

/// The arrow points down: gate, engines, coverage, verify, trust, api.
#[test]
fn no_layer_reaches_up() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let layers = ["api", "trust", "verify", "coverage", "engines", "gate"];
    for (at, layer) in layers.iter().enumerate() {
        let mut files = Vec::new();
        sources(&source.join(layer), &mut files);
        for file in files {
            let text = std::fs::read_to_string(&file).unwrap();
            for above in layers.iter().skip(at + 1) {
                let reaches = text
                    .lines()
                    .filter(|line| !line.trim_start().starts_with("//"))
                    .any(|line| line.contains(&format!("crate::{above}")));
                assert!(!reaches, "{} uses crate::{above}", file.display());
            }
        }
    }
}
