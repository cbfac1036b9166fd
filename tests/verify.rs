//! `holdfast verify`: exit codes, what is said, and what bad input does.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test that cannot go on fails

mod support;

use std::path::Path;

use holdfast_testpki::layout::Layout;
use holdfast_testpki::tuf::Repository;
use holdfast_testpki::{Flaw, LogForm, Recipe, Sigstore};
use serde_json::{Value, json};
use support::{Answer, holdfast_in, holdfast_unread};

const ARTIFACT: &[u8] = b"an artefact";
const SUBJECT: &str = "https://ci.example/release";
const ISSUER: &str = "https://issuer.example";
const WHO: [&str; 4] = ["--certificate-identity", SUBJECT, "--certificate-oidc-issuer", ISSUER];
const NOW: [&str; 2] = ["--now", "2026-07-01T00:00:00Z"];

struct Place {
    dir: tempfile::TempDir,
    sigstore: Sigstore,
}

impl Place {
    fn new() -> Self {
        let place = Self { dir: tempfile::tempdir().unwrap(), sigstore: Sigstore::new() };
        place.write("artifact", ARTIFACT);
        place.write("root.json", place.sigstore.trusted_root().to_string().as_bytes());
        place.write("key.pub", place.sigstore.managed_key.pem().as_bytes());
        place
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path().join(name), bytes).unwrap();
    }

    fn bundle(&self, recipe: &Recipe) {
        self.write("bundle.json", self.sigstore.bundle(ARTIFACT, recipe).to_string().as_bytes());
    }

    fn verify(&self, args: &[&str]) -> Answer {
        holdfast_in(
            self.path(),
            &[&["verify", "artifact", "--bundle", "bundle.json", "--trusted-root", "root.json"], args, &NOW].concat(),
        )
    }
}

#[test]
fn the_exit_code_says_yes_no_or_unknown() {
    let place = Place::new();
    let blob = || Recipe::blob(SUBJECT, ISSUER);
    for (recipe, code, words) in [
        (blob(), 0, "Verified: signed by"),
        (blob().with(Flaw::Signature), 1, "SignatureInvalid"),
        (Recipe::blob("https://ci.example/other", ISSUER), 1, "IdentityMismatch"),
        (Recipe { at: "2026-08-01T00:00:00Z".parse().unwrap(), ..blob() }, 3, "ClockSuspect"),
    ] {
        place.bundle(&recipe);
        let answer = place.verify(&WHO);
        assert_eq!(answer.code, code, "{answer:?}");
        assert!(answer.out.contains(words) && answer.err.is_empty(), "{words}: {answer:?}");
    }
}

#[test]
fn the_exit_code_does_not_depend_on_who_reads_the_output() {
    let place = Place::new();
    place.bundle(&Recipe::blob("https://ci.example/other", ISSUER));
    let path = |name: &str| place.path().join(name).display().to_string();
    let (artifact, bundle, root) = (path("artifact"), path("bundle.json"), path("root.json"));
    let args = ["verify", &artifact, "--bundle", &bundle, "--trusted-root", &root];
    for more in [&[][..], &["-o", "json"]] {
        assert_eq!(holdfast_unread(&[&args[..], &WHO, &NOW, more].concat()), 1);
    }
}

#[test]
fn the_output_says_what_was_authenticated_and_what_it_is() {
    let place = Place::new();
    place.bundle(&Recipe {
        predicate: Some("https://slsa.dev/provenance/v1".to_owned()),
        ..Recipe::image(SUBJECT, ISSUER)
    });
    let answer = place.verify(&[&WHO[..], &["-o", "json"]].concat());
    let report: Value = serde_json::from_str(&answer.out).unwrap();
    assert_eq!((answer.code, &report["verdict"], &report["reason"]), (0, &"covered".into(), &"Verified".into()));
    let piece = &report["evidence"][0];
    assert_eq!(
        piece["content"]["predicateType"], "https://slsa.dev/provenance/v1",
        "given as it is, it is judged as what it is"
    );
    assert_eq!(piece["authenticated"]["identity"], SUBJECT);
    assert_eq!(piece["authenticated"]["logs"][0], "rekor.test");
    assert_eq!(piece["authenticated"]["signedAt"].as_array().unwrap().len(), 2);
    let other = place.verify(&[&WHO[..], &["--attestation", "https://spdx.dev/Document"]].concat());
    assert_eq!(other.code, 1, "{other:?}");
    assert!(other.out.contains("PredicateMissing"), "{}", other.out);
}

#[test]
fn flags_demand_and_relax_what_they_say() {
    let place = Place::new();
    let image = || Recipe::image(SUBJECT, ISSUER);
    for (recipe, args, code) in [
        (Recipe { log: LogForm::None, ..image() }, &[][..], 1),
        (Recipe { log: LogForm::None, ..image() }, &["--insecure-ignore-tlog"], 0),
        (Recipe { log: LogForm::None, timestamp: false, ..image() }, &["--insecure-ignore-tlog"], 1),
        (Recipe { sct: false, ..image() }, &[], 1),
        (Recipe { sct: false, ..image() }, &["--insecure-ignore-sct"], 0),
        (Recipe { timestamp: false, ..image() }, &["--use-signed-timestamps"], 1),
        (image(), &["--use-signed-timestamps"], 0),
    ] {
        place.bundle(&recipe);
        let answer = place.verify(&[&WHO[..], args].concat());
        assert_eq!(answer.code, code, "{recipe:?} {args:?}: {answer:?}");
    }
    place.bundle(&Recipe::key());
    assert_eq!(place.verify(&["--key", "key.pub"]).code, 0);
    place.bundle(&Recipe { log: LogForm::None, ..Recipe::key() });
    assert_eq!(place.verify(&["--key", "key.pub"]).code, 1);
    assert_eq!(place.verify(&["--key", "key.pub", "--insecure-ignore-tlog"]).code, 0);
    let by_pattern = ["--certificate-identity-regexp", "https://ci\\.example/.*", "--certificate-oidc-issuer", ISSUER];
    place.bundle(&image());
    assert_eq!(place.verify(&by_pattern).code, 0);
    let inside = ["--certificate-identity-regexp", "ci\\.example", "--certificate-oidc-issuer", ISSUER];
    assert_eq!(place.verify(&inside).code, 1, "an expression has to match the whole subject");
}

#[test]
fn a_bundle_that_is_no_bundle_is_uncovered_and_one_clear_line() {
    let place = Place::new();
    for (bytes, words) in [
        (b"".as_slice(), "empty"),
        (b"{\"mediaType\":", "cut off"),
        (b"\xff", "UTF-8"),
        (b"[1, 2]", "cannot be read"),
        (b"{\"a\": 1, \"a\": 2}", "`a` twice"),
    ] {
        place.write("bundle.json", bytes);
        let answer = place.verify(&WHO);
        assert_eq!(answer.code, 1, "{words}: {answer:?}");
        assert!(answer.out.contains("Malformed") && answer.out.contains(words), "{words}: {}", answer.out);
    }
    place.write("bundle.json", "[".repeat(100_000).as_bytes());
    assert_eq!(place.verify(&WHO).code, 1);
}

#[test]
fn what_cannot_be_read_or_makes_no_sense_is_usage() {
    let place = Place::new();
    place.bundle(&Recipe::blob(SUBJECT, ISSUER));
    place.write("bad.json", b"{}");
    place.write("empty.pub", b"");
    let hex = "0".repeat(63);
    for (args, words) in [
        (vec!["verify", "absent", "--bundle", "bundle.json", "--trusted-root", "root.json"], "cannot read absent"),
        (vec!["verify", ".", "--bundle", "bundle.json", "--trusted-root", "root.json"], "a directory, not a file"),
        (vec!["verify", "artifact", "--bundle", "absent", "--trusted-root", "root.json"], "cannot read absent"),
        (vec!["verify", "artifact", "--trusted-root", "root.json"], "--bundle"),
        (
            vec!["verify", "artifact", "--bundle", "bundle.json", "--trusted-root", "bad.json"],
            "bad.json: the document says it is ``",
        ),
        (vec!["verify", &hex, "--bundle", "bundle.json"], "cannot read"),
        (vec!["verify", "sha256:abc", "--bundle", "bundle.json"], "64 lower-case hex digits"),
        (vec!["verify", "oci:nowhere:1"], "image layout"),
    ] {
        let answer = holdfast_in(place.path(), &[&args[..], &WHO, &NOW].concat());
        assert_eq!(answer.code, 2, "{args:?}: {answer:?}");
        assert!(answer.err.contains(words), "{words}: {}", answer.err);
        assert_eq!(answer.err.trim_end().lines().count(), 1, "{}", answer.err);
    }
    for (args, words) in [
        (&["--certificate-identity", SUBJECT][..], "--certificate-oidc-issuer"),
        (&["--certificate-identity", "", "--certificate-oidc-issuer", ISSUER], "is empty"),
        (&["--certificate-identity-regexp", "(", "--certificate-oidc-issuer", ISSUER], "not a regular expression"),
        (&["--certificate-identity-regexp", "\\pL+", "--certificate-oidc-issuer", ISSUER], "read differently"),
        (&["--key", "empty.pub"], "empty.pub"),
        (&[], "who has to have signed?"),
    ] {
        let answer = place.verify(args);
        assert_eq!(answer.code, 2, "{args:?}: {answer:?}");
        assert!(answer.err.contains(words), "{words}: {}", answer.err);
    }
}

/// A policy names its trust roots and its images; nothing else counts under it, and nothing is said of anything else.
#[test]
fn a_policy_is_judged_by_with_all_it_says() {
    const IMAGE: &str = "registry.corp.internal/web:1";
    let place = Place::new();
    let mut layout = Layout::new();
    let image = layout.image("good", IMAGE);
    layout.attach(&image, &place.sigstore.bundle(&image.manifest, &Recipe::image(SUBJECT, ISSUER)));
    layout.write(&place.path().join("images")).unwrap();
    let policy = |more: Value| {
        let mut spec = json!({"images": ["registry.corp.internal/**"], "trustRoots": ["corp"], "identities": [{"name": "ci", "issuer": ISSUER, "subject": SUBJECT}]});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let policy = json!({"apiVersion": "holdfast.dev/v1alpha1", "kind": "SigningIdentityPolicy", "metadata": {"name": "apps"}, "spec": spec});
        place.write("policy.json", policy.to_string().as_bytes());
    };
    let verify = |image: &str, roots: &[&str]| {
        let args = ["verify", &format!("oci:images{image}"), "--policy", "policy.json"];
        holdfast_in(place.path(), &[&args[..], roots, &NOW].concat())
    };
    let tagged = format!(":{IMAGE}");
    let digest = format!("@{}", image.digest);
    let other = json!({"images": ["registry.corp.internal/other"]});
    let exempt =
        json!({"exemptImages": [{"image": format!("registry.corp.internal/web@{}", image.digest), "reason": "ours"}]});
    let given = ["--trusted-root", "corp=root.json"];
    for (what, more, image, roots, code, words) in [
        ("all is as it should be", json!({}), &tagged, &given[..], 0, "Verified"),
        (
            "no root is given",
            json!({}),
            &tagged,
            &[],
            3,
            "the trust root `corp` that the policy accepts is not at hand",
        ),
        ("a root without a name", json!({}), &tagged, &["--trusted-root", "root.json"], 2, "write NAME=root.json"),
        ("a root of another name", json!({"trustRoots": ["private"]}), &tagged, &given, 2, "`corp` is none of them"),
        (
            "a root twice",
            json!({}),
            &tagged,
            &["--trusted-root", "corp=root.json", "--trusted-root", "corp=root.json"],
            2,
            "given twice",
        ),
        ("another image", other.clone(), &tagged, &given, 2, "is not about registry.corp.internal/web"),
        ("an image without a name", other, &digest, &given, 0, "was not asked"),
        ("an exempt image", exempt, &tagged, &given, 0, "exempts this very image"),
    ] {
        policy(more);
        let answer = verify(image, roots);
        assert_eq!(answer.code, code, "{what}: {answer:?}");
        assert!(format!("{}{}", answer.out, answer.err).contains(words), "{what}: {answer:?}");
    }
    // A state directory is known by the last part of its path.
    let mut repository = Repository::new("2026-06-25T00:00:00Z".parse().unwrap());
    repository.files.insert("trusted_root.json".to_owned(), place.sigstore.trusted_root().to_string().into_bytes());
    repository.write(&place.path().join("repository")).unwrap();
    let at = ["--now", "2026-06-26T00:00:00Z"];
    for state in ["corp", "private"] {
        for args in [["init", "--bootstrap", "repository/1.root.json"], ["import", "--from", "repository"]] {
            let answer = holdfast_in(place.path(), &[&["mirror"], &args[..], &["--state", state], &at].concat());
            assert_eq!(answer.code, 0, "{answer:?}");
        }
    }
    policy(json!({}));
    assert_eq!(verify(&tagged, &["--state", "corp"]).code, 0);
    assert_eq!(verify(&tagged, &["--state", "private"]).code, 2, "the same root by another name is another trust");
}

/// A file with several policies is read where one of them is named, and nothing is guessed.
#[test]
fn one_policy_of_several_in_a_file_is_named() {
    let place = Place::new();
    place.bundle(&Recipe::blob(SUBJECT, ISSUER));
    let policy = |name: &str, subject: &str| {
        json!({"apiVersion": "holdfast.dev/v1alpha1", "kind": "SigningIdentityPolicy", "metadata": {"name": name}, "spec": {
            "images": ["registry.corp.internal/**"], "trustRoots": ["corp"], "identities": [{"name": "ci", "issuer": ISSUER, "subject": subject}],
        }})
        .to_string()
    };
    let both = format!("{}\n---\n{}\n", policy("apps", SUBJECT), policy("tools", "https://ci.example/tools"));
    place.write("both.yaml", both.as_bytes());
    place.write("odd#name.yaml", policy("apps", SUBJECT).as_bytes());
    place.write("empty.yaml", b"");
    let judged = |given: &str| {
        let args =
            ["verify", "artifact", "--bundle", "bundle.json", "--trusted-root", "corp=root.json", "--policy", given];
        holdfast_in(place.path(), &[&args[..], &NOW].concat())
    };
    for (given, code, words) in [
        ("both.yaml#apps", 0, "Verified"),
        ("both.yaml#tools", 1, "IdentityMismatch"),
        ("odd#name.yaml", 0, "Verified"),
        ("odd#name.yaml#apps", 0, "Verified"),
        ("both.yaml", 2, "it has several policies, `apps`, `tools`: name one of them, as FILE#NAME"),
        ("both.yaml#web", 2, "it has no policy `web`; it has `apps`, `tools`"),
        ("empty.yaml", 2, "no SigningIdentityPolicy is declared in it"),
        ("absent.yaml#apps", 2, "cannot read absent.yaml:"),
    ] {
        let answer = judged(given);
        assert_eq!(answer.code, code, "{given}: {answer:?}");
        assert!(format!("{}{}", answer.out, answer.err).contains(words), "{given}: {answer:?}");
    }
}

#[test]
fn what_cannot_be_judged_for_want_of_an_argument_is_an_error_of_usage() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a"), "a").unwrap();
    std::fs::write(dir.path().join("b.json"), "{}").unwrap();
    let who = ["--certificate-identity", "x", "--certificate-oidc-issuer", "y"];
    let judged =
        |rest: &[&str]| holdfast_in(dir.path(), &[&["verify", "a", "--bundle", "b.json"], &who[..], rest].concat());
    let without_root = judged(&[]);
    assert_eq!(without_root.code, 2, "{without_root:?}");
    assert!(without_root.err.contains("--trusted-root"), "{without_root:?}");
    let unknown_type = judged(&["--attestation", "slsa-provenance"]);
    assert_eq!(unknown_type.code, 2, "{unknown_type:?}");
    assert!(unknown_type.err.contains("slsaprovenance1"), "{unknown_type:?}");
}
