//! What a person is told when something does not go: the cause, in words of theirs, once, on one line.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test that cannot go on fails

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use holdfast_testpki::layout::Layout;
use holdfast_testpki::tuf::Repository;
use holdfast_testpki::{LogForm, Recipe, Sigstore};
use serde_json::{Value, json};
use support::{Answer, holdfast_in, real_data};

const NOW: &str = "2026-07-01T00:00:00Z";

struct Place {
    dir: tempfile::TempDir,
    sigstore: Sigstore,
}

impl Place {
    fn new() -> Self {
        let place = Self { dir: tempfile::tempdir().unwrap(), sigstore: Sigstore::new() };
        place.write("artifact", b"an artefact");
        place.write("key.pub", place.sigstore.managed_key.pem().as_bytes());
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    /// A state that holds the trusted root, and the repository it came from.
    fn imported(&self) {
        let mut repository = Repository::new("2026-06-25T00:00:00Z".parse().unwrap());
        repository.files.insert("trusted_root.json".to_owned(), self.sigstore.trusted_root().to_string().into_bytes());
        repository.write(&self.path("repository")).unwrap();
        for args in [["init", "--bootstrap", "repository/1.root.json"], ["import", "--from", "repository"]] {
            let answer = self.mirror(&args);
            assert_eq!(answer.code, 0, "{answer:?}");
        }
    }

    fn mirror(&self, args: &[&str]) -> Answer {
        let more = ["--state", "state", "--now", "2026-06-26T00:00:00Z"];
        self.run(&[&["mirror"], args, &more].concat())
    }

    fn run(&self, args: &[&str]) -> Answer {
        holdfast_in(self.dir.path(), args)
    }
}

/// One line, and nothing in it that a terminal would obey.
fn is_one_line(answer: &Answer) -> bool {
    !answer.err.trim_end_matches('\n').contains(char::is_control)
}

#[test]
fn a_file_that_is_longer_than_any_bundle_is_no_bundle() {
    let place = Place::new();
    fs::File::create(place.path("huge.json")).unwrap().set_len(34_000_000).unwrap();
    let judged = |bundle: &str| {
        place.run(&["verify", "artifact", "--bundle", bundle, "--key", "key.pub", "--insecure-ignore-tlog"])
    };
    let huge = judged("huge.json");
    assert_eq!(huge.code, 1, "{huge:?}");
    assert!(huge.out.contains("Malformed: the bundle has more than"), "{huge:?}");
    assert_eq!(judged("absent.json").code, 2, "what cannot be opened is not judged");
}

#[test]
fn a_timestamp_that_cannot_be_checked_asks_for_a_trust_root() {
    let place = Place::new();
    let recipe = Recipe { log: LogForm::None, timestamp: true, ..Recipe::key() };
    place.write("bundle.json", place.sigstore.bundle(b"an artefact", &recipe).to_string().as_bytes());
    place.write("root.json", place.sigstore.trusted_root().to_string().as_bytes());
    let args = ["verify", "artifact", "--bundle", "bundle.json", "--key", "key.pub", "--insecure-ignore-tlog"];
    let without = place.run(&args);
    assert_eq!(without.code, 1);
    for part in ["UnknownTimestampAuthority", "--trusted-root FILE"] {
        assert!(without.out.contains(part), "{part}: {without:?}");
    }
    assert_eq!(place.run(&[&args[..], &["--trusted-root", "root.json", "--now", NOW]].concat()).code, 0);
}

#[test]
fn an_entry_of_a_root_that_cannot_be_read_is_told_wherever_the_root_is_shown() {
    let place = Place::new();
    let mut root = place.sigstore.trusted_root();
    place.write("good.json", root.to_string().as_bytes());
    root["tlogs"][0]["publicKey"]["rawBytes"] = json!("AAAA");
    place.write("bent.json", root.to_string().as_bytes());
    let words = "tlogs[0] (rekor.test) was left out";
    let diff = place.run(&["mirror", "diff", "good.json", "bent.json"]);
    assert!(diff.out.contains("- removed transparency log rekor.test") && diff.out.contains(words), "{diff:?}");
    let diff = place.run(&["mirror", "diff", "good.json", "bent.json", "-o", "json"]);
    let diff: Value = serde_json::from_str(&diff.out).unwrap();
    assert_eq!(
        (&diff["leftOut"][0]["note"], &diff["leftOut"][0]["kind"]),
        (&json!("dropped"), &json!("transparencyLog"))
    );
    place.write(
        "mirror.json",
        json!({"apiVersion": "holdfast.dev/v1alpha1", "kind": "TrustRootMirror", "metadata": {"name": "corp"}, "spec": {
            "source": {"trustedRoot": {"configMap": {"namespace": "holdfast-system", "name": "root"},
                "sha256": holdfast_core::Digest::of(root.to_string().as_bytes()).hex()}},
        }})
        .to_string()
        .as_bytes(),
    );
    place.write(
        "root.yaml",
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "holdfast-system", "name": "root"},
            "data": {"trusted_root.json": root.to_string()}})
        .to_string()
        .as_bytes(),
    );
    let plan = place.run(&["plan", "mirror.json", "root.yaml", "--now", NOW]);
    assert!(plan.out.contains(words), "{plan:?}");
    assert!(plan.out.contains("1 manifest,") || plan.out.contains("2 manifests,"), "{plan:?}");
}

/// The names of the public repository's first roots are those of genuine ones.
#[test]
fn the_first_public_roots_are_refused_for_what_they_are() {
    let Some(real) = real_data() else { return };
    let place = Place::new();
    for version in 1..=4 {
        let root = real.join(format!("sigstore-tuf-2025-08-25/{version}.root.json")).display().to_string();
        let answer = place.run(&["mirror", "init", "--state", "state", "--bootstrap", &root]);
        assert_eq!(answer.code, 1, "{answer:?}");
        assert!(answer.err.contains("refused, UnreadKeys") && answer.err.contains("version 5 or later"), "{answer:?}");
        assert!(!answer.err.contains("forged"), "{answer:?}");
    }
}

#[test]
fn a_damaged_state_says_once_what_to_do() {
    let place = Place::new();
    place.imported();
    let memory = fs::read_to_string(place.path("state/memory.json")).unwrap();
    place.write("state/memory.json", memory.replacen("\"version\": 1", "\"version\": 0", 1).as_bytes());
    let answer = place.run(&["mirror", "show", "--state", "state"]);
    assert_eq!(answer.code, 2);
    assert_eq!(answer.err.matches("Restore it from a backup").count(), 1, "{answer:?}");
}

#[test]
fn what_stands_in_the_place_of_a_target_is_named_once() {
    let place = Place::new();
    place.imported();
    let digest = holdfast_core::Digest::of(place.sigstore.trusted_root().to_string().as_bytes()).hex();
    let targets = place.path("repository/targets");
    let _ = fs::remove_dir_all(&targets);
    for name in ["trusted_root.json".to_owned(), format!("{digest}.trusted_root.json")] {
        fs::create_dir_all(targets.join(name)).unwrap();
    }
    let answer = place.mirror(&["target", "trusted_root.json", "--from", "repository", "--out", "out"]);
    assert_eq!(answer.code, 1, "{answer:?}");
    assert!(answer.err.contains("it is a directory, not a file"), "{answer:?}");
    assert_eq!(answer.err.matches("repository/targets").count(), 1, "{answer:?}");
}

#[test]
fn names_from_outside_are_shown_and_not_obeyed() {
    let place = Place::new();
    place.imported();
    for name in ["a\nb", "a\x1b[31mb"] {
        let answer = place.mirror(&["target", name, "--from", "repository", "--out", "out"]);
        assert_eq!(answer.code, 1, "{answer:?}");
        assert!(is_one_line(&answer), "{answer:?}");
        let answer = place.run(&["verify", name, "--bundle", "b", "--key", "key.pub"]);
        assert!(answer.code == 2 && is_one_line(&answer), "{answer:?}");
    }
}

#[test]
fn times_and_durations_are_asked_for_in_words() {
    let place = Place::new();
    for (args, words) in [
        (["--grace", "3d"], "write hours, minutes and seconds, as `72h`"),
        (["--now", "yesterday"], "RFC 3339 has it, as 2026-11-24T06:00:00Z"),
    ] {
        let answer = place.run(&[&["mirror", "show", "--state", "state"], &args[..]].concat());
        assert_eq!(answer.code, 2);
        assert!(answer.err.contains(words) && !answer.err.contains("jiff"), "{answer:?}");
    }
}

#[test]
fn yaml_that_is_not_read_is_told_why() {
    let place = Place::new();
    let deep = |levels| format!("kind: A\na: {}{}", "[".repeat(levels), "]".repeat(levels));
    for (yaml, words) in [
        ("kind: A\nspec: &a\n  b: *a\n", "an alias in it stands for what it is part of"),
        (&deep(200), "nested deeper than is read"),
        (&deep(50_000), "nested deeper than is read"),
    ] {
        place.write("m.yaml", yaml.as_bytes());
        let answer = place.run(&["plan", "m.yaml"]);
        assert_eq!(answer.code, 2, "{answer:?}");
        assert!(answer.err.contains(words) && !answer.err.contains("split it"), "{answer:?}");
    }
}

#[test]
fn a_tag_that_is_not_there_brings_the_likest_first() {
    let place = Place::new();
    let mut layout = Layout::new();
    for number in 0..12 {
        layout.image(&format!("{number}"), &format!("shop/api-{number}:1.0"));
    }
    layout.image("web", "shop/web:1.0");
    layout.write(&place.path("images")).unwrap();
    let answer = place.run(&["verify", "oci:images:shop/wbe:1.0", "--key", "key.pub"]);
    assert_eq!(answer.code, 2, "{answer:?}");
    assert!(answer.err.contains("it has shop/web:1.0, ") && answer.err.contains(", and 3 more"), "{answer:?}");
}

/// Both commands are given a directory that is not there.
#[test]
fn a_volume_that_is_not_there_is_an_error_of_usage() {
    let place = Place::new();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/first-look");
    let manifests = example.join("clusters/prod").display().to_string();
    let plan = place.run(&["plan", &manifests, "--volume", "/mirror=nosuch", "--now", "2026-06-15T12:00:00Z"]);
    place.imported();
    let import = place.mirror(&["import", "--from", "nosuch"]);
    assert_eq!((plan.code, import.code), (2, 2), "{plan:?} {import:?}");
}
