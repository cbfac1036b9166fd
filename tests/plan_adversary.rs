//! Estates that hide what they run, or who may sign for it: a plan says so, or says that it does not know.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test that cannot go on fails

mod support;

use holdfast_testpki::layout::Layout;
use serde_json::{Value, json};
use support::estate::{Estate, first, pod};

const GOOD: &str = "registry.corp.internal/web:1";
const EVIL: &str = "registry.corp.internal/evil:1";

/// An estate that runs a signed image, and the layout that holds it and an unsigned one.
fn estate() -> (Estate, Layout) {
    let estate = Estate::new(json!({}));
    let mut layout = Layout::new();
    estate.signed(&mut layout, "good", GOOD);
    layout.image("evil", EVIL);
    estate.pod("pod.json", &[GOOD]);
    (estate, layout)
}

/// `kubectl apply --recursive` takes whatever ends in `.json`, `.yaml` or `.yml`.
#[test]
fn a_manifest_is_read_whatever_its_file_is_named() {
    for file in [
        "index.json",
        "web.targets.json",
        "memory.json",
        "trusted_root.json",
        "web.sigstore.json",
        ".web.json",
        ".hidden/web.yaml",
        ".github/deep/web.yml",
    ] {
        let (estate, layout) = estate();
        assert_eq!(estate.plan(&layout).0, 0);
        estate.pod(file, &[EVIL]);
        assert_eq!(first(&estate.plan(&layout)), (1, "MissingBundle"), "{file}");
    }
}

/// Files of other tools lie beside manifests; they are told by what they say.
#[test]
fn what_is_no_manifest_is_passed_by_for_what_it_says() {
    let (estate, layout) = estate();
    let bundle = estate.sigstore.bundle(b"x", &holdfast_testpki::Recipe::key()).to_string();
    for (file, content) in [
        ("1.root.json", r#"{"signed": {}, "signatures": []}"#),
        ("anything.json", r#"{"schemaVersion": 2, "manifests": []}"#),
        ("root.json", &estate.sigstore.trusted_root().to_string()),
        ("b.json", &bundle),
        (".github/workflows/ci.yaml", "on: push\njobs: {}\n"),
        (".git/refs/heads/x.yaml", "{{"),
        ("state/.lock", ""),
    ] {
        estate.write(file, content);
        let (code, plan) = estate.plan(&layout);
        assert_eq!((code, &plan["unread"]), (0, &Value::Null), "{file}: {plan:#}");
    }
    for stand_in in [
        r#"{"signed": {}, "kind": "Pod"}"#,
        r#"{"mediaType": "application/vnd.oci.image.index.v1+json", "kind": "Pod"}"#,
    ] {
        estate.write("1.root.json", stand_in);
        let args = ["plan", "git", "--exit-code"];
        assert_eq!(support::holdfast_in(estate.dir.path(), &args).code, 2, "{stand_in}");
    }
}

#[test]
fn what_is_not_read_is_said_and_no_yes() {
    let (estate, layout) = estate();
    let outside = estate.dir.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("evil.json"), pod("evil", &[EVIL]).to_string()).unwrap();
    for (link, target) in [("evil.json", "../outside/evil.json"), ("evil", "../outside"), ("gone.yaml", "../nowhere")] {
        std::os::unix::fs::symlink(target, estate.path(link)).unwrap();
        let (code, plan) = estate.plan(&layout);
        assert_eq!(code, 3, "{link}");
        assert!(plan["unread"][0].as_str().unwrap().contains("is a link"), "{link}: {plan:#}");
        std::fs::remove_file(estate.path(link)).unwrap();
    }
    estate.write(".hidden/template.yaml", "{{ if }}\n");
    assert_eq!(estate.plan(&layout).0, 3);
}
