//! Mirrors that pass on what is signed and withhold what it speaks of: what is held must not look current.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // a test that cannot go on fails

mod support;

use std::path::{Path, PathBuf};

use holdfast_testpki::tuf::Repository;
use holdfast_testpki::{Recipe, Sigstore};
use serde_json::{Value, json};
use support::{Answer, holdfast, holdfast_in};

const SUBJECT: &str = "https://ci.example/release";
const ISSUER: &str = "https://issuer.example";
/// The newer repository is offered.
const OFFERED: &str = "2026-06-06T00:00:00Z";
/// The first timestamp has expired; the newer one has not.
const LATER: &str = "2026-06-11T00:00:00Z";

/// What a mirror does to what it passes on.
type Withhold<'a> = &'a dyn Fn(&Path);

/// A state that holds the trusted root of `compromised`, which upstream then replaces.
struct Place {
    dir: tempfile::TempDir,
    replaced: Repository,
    compromised: Sigstore,
}

impl Place {
    fn new() -> Self {
        let compromised = Sigstore::new();
        let mut repository = Repository::new("2026-06-01T00:00:00Z".parse().unwrap());
        repository.files.insert("trusted_root.json".to_owned(), compromised.trusted_root().to_string().into_bytes());
        let dir = tempfile::tempdir().unwrap();
        repository.write(&dir.path().join("repository")).unwrap();
        repository.publish("2026-06-05T00:00:00Z".parse().unwrap());
        let new = Sigstore::new().trusted_root().to_string().into_bytes();
        repository.files.insert("trusted_root.json".to_owned(), new);
        let place = Self { dir, replaced: repository, compromised };
        let bootstrap = place.text("repository/1.root.json");
        assert_eq!(place.run("init", &["--bootstrap", &bootstrap, "--now", "2026-06-02T00:00:00Z"]).code, 0);
        let from = place.text("repository");
        assert_eq!(place.run("import", &["--from", &from, "--now", "2026-06-02T00:00:00Z"]).code, 0);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn run(&self, verb: &str, args: &[&str]) -> Answer {
        holdfast(&[&["mirror", verb, "--state", &self.text("corp")], args].concat())
    }

    /// Offers the newer repository after `withhold` was done to it.
    fn offer(&self, verb: &str, withhold: Withhold<'_>) -> Answer {
        let (whole, mirror) = (self.path("whole"), self.path("mirror"));
        // Signatures differ each time they are made; the offers do not.
        if !whole.exists() {
            self.replaced.write(&whole).unwrap();
        }
        copy(&whole, &mirror);
        withhold(&mirror);
        self.run(verb, &["--from", &self.text("mirror"), "--now", OFFERED])
    }

    fn shown(&self, now: &str) -> Value {
        serde_json::from_str(&self.run("show", &["--now", now, "-o", "json"]).out).unwrap()
    }

    /// What is said of a signature by the compromised instance.
    fn verify(&self, now: &str) -> Answer {
        let at = "2026-06-06T12:00:00Z".parse().unwrap();
        let bundle = self.compromised.bundle(b"evil", &Recipe { at, ..Recipe::image(SUBJECT, ISSUER) });
        std::fs::write(self.path("evil"), b"evil").unwrap();
        std::fs::write(self.path("evil.json"), bundle.to_string()).unwrap();
        let who = ["--certificate-identity", SUBJECT, "--certificate-oidc-issuer", ISSUER];
        let args = ["verify", "evil", "--bundle", "evil.json", "--state", "corp", "--now", now];
        holdfast_in(self.dir.path(), &[&args[..], &who].concat())
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// A clock behind a signing time that was verified takes no import, until the floor is lowered; looking raises nothing.
#[test]
fn a_clock_behind_a_verified_signature_takes_no_import() {
    let place = Place::new();
    let memory = || std::fs::read(place.path("corp/memory.json")).unwrap();
    let at = "2026-06-03T00:00:00Z".parse().unwrap();
    let bundle = place.compromised.bundle(b"x", &Recipe { at, ..Recipe::image(SUBJECT, ISSUER) });
    std::fs::write(place.path("x"), b"x").unwrap();
    std::fs::write(place.path("x.json"), bundle.to_string()).unwrap();
    // Signed an hour before the clock, and so before the floor.
    let earlier = Recipe { at: "2026-06-02T11:00:00Z".parse().unwrap(), ..Recipe::image(SUBJECT, ISSUER) };
    std::fs::write(place.path("earlier.json"), place.compromised.bundle(b"x", &earlier).to_string()).unwrap();
    let verify_at = |now: &str| {
        let args = ["verify", "x", "--bundle", "earlier.json", "--state", "corp", "--now", now];
        let who = ["--certificate-identity-regexp", ".*", "--certificate-oidc-issuer", ISSUER];
        holdfast_in(place.dir.path(), &[&args[..], &who].concat())
    };
    assert_eq!(verify_at("2026-06-02T12:00:00Z").code, 0);
    let verify = |more: &[&str]| {
        let args = ["verify", "x", "--bundle", "x.json", "--state", "corp", "--now", OFFERED];
        let who = ["--certificate-identity-regexp", ".*", "--certificate-oidc-issuer", ISSUER];
        holdfast_in(place.dir.path(), &[&args[..], &who, more].concat())
    };
    let before = memory();
    assert_eq!(verify(&[]).code, 0);
    assert_eq!(memory(), before, "looking raises nothing");
    let raised = verify(&["--raise-clock-floor"]);
    assert_eq!(raised.code, 0, "{raised:?}");
    let import = |more: &[&str]| {
        let from = place.text("repository");
        place.run("import", &[&["--from", &from, "--now", "2026-06-02T12:00:00Z"], more].concat())
    };
    let behind = import(&[]);
    assert!(behind.code == 1 && behind.err.contains("refused, ClockBehind"), "{behind:?}");
    assert!(behind.err.contains("2026-06-03T00:00:02Z") && behind.err.contains("--lower-clock-floor"), "{behind:?}");
    // Nor is anything fresh by that clock, or covered.
    let shown = place.shown("2026-06-02T12:00:00Z");
    assert_eq!(shown["freshness"]["limit"]["kind"], "ClockBehind");
    let unknown = verify_at("2026-06-02T12:00:00Z");
    assert!(unknown.code == 3 && unknown.out.contains("has certainly passed"), "{unknown:?}");
    let lowered = import(&["--lower-clock-floor"]);
    assert_eq!(lowered.code, 0, "{lowered:?}");
    let again = import(&[]);
    assert_eq!(again.code, 0, "what was lowered stays so: {again:?}");
    let memory: Value = serde_json::from_slice(&memory()).unwrap();
    assert_eq!(memory["tuf"]["clockLowerings"], json!([{"had": "2026-06-03T00:00:02Z", "to": "2026-06-02T12:00:00Z"}]));
}

/// What is withheld, how it is met, the withholding itself, the exit code, and the limit that is named.
type Withheld<'a> = (&'a str, &'a str, &'a dyn Fn(&Path), i32, &'a str);

/// Newer metadata is kept, so that it cannot be taken back; the older root is no fresher for it.
#[test]
fn a_replaced_root_is_stale_whatever_of_its_successor_is_withheld() {
    let remove = |name: &'static str| move |mirror: &Path| std::fs::remove_file(mirror.join(name)).unwrap();
    let no_target = |mirror: &Path| std::fs::remove_dir_all(mirror.join("targets")).unwrap();
    let cases: [Withheld<'_>; 4] = [
        ("the target", "import", &no_target, 1, "OtherListed"),
        ("the targets", "import", &remove("2.targets.json"), 1, "Incomplete"),
        ("the snapshot", "import", &remove("2.snapshot.json"), 1, "Incomplete"),
        ("nothing, and nobody imports", "refresh", &|_| {}, 0, "OtherListed"),
    ];
    for (what, verb, withhold, code, kind) in cases {
        let place = Place::new();
        assert_eq!(place.shown(OFFERED)["freshness"]["state"], "fresh");
        let answer = place.offer(verb, withhold);
        assert_eq!(answer.code, code, "{what}: {answer:?}");
        let shown = place.shown(LATER);
        assert_eq!(
            (&shown["freshness"]["state"], &shown["freshness"]["limit"]["kind"]),
            (&json!("stale"), &json!(kind)),
            "{what}: {shown:#}"
        );
        let verified = place.verify(LATER);
        assert_eq!(verified.code, 3, "{what}: {verified:?}");
        assert!(verified.out.contains("StaleTrustRoot"), "{what}: {}", verified.out);
        let whole = place.offer("import", &|_| {});
        assert_eq!(whole.code, 0, "{what}: {whole:?}");
        assert_eq!(place.shown(LATER)["freshness"]["state"], "fresh", "{what}");
        assert_eq!(place.verify(LATER).code, 1, "{what}: the successor knows nothing of it");
    }
}

#[test]
fn a_root_whose_successor_is_refused_is_stale() {
    let mut place = Place::new();
    place.replaced.files.insert("trusted_root.json".to_owned(), b"{}".to_vec());
    let answer = place.offer("import", &|_| {});
    assert_eq!(answer.code, 1, "{answer:?}");
    assert!(answer.err.contains("trusted_root.json"), "{}", answer.err);
    let shown = place.run("show", &["--now", LATER]);
    assert!(shown.out.starts_with("stale: targets v2 lists another trusted_root.json than is held"), "{}", shown.out);
    assert_eq!(place.verify(LATER).code, 3);
}

/// A plan imports as the operator would: what it cannot take to its end leaves the held root stale; a rotation that waits for approval does not.
#[test]
fn a_plan_tells_a_withheld_root_from_one_that_awaits_approval() {
    let place = Place::new();
    let root = std::fs::read_to_string(place.path("repository/1.root.json")).unwrap();
    let pin = holdfast_core::Digest::of(root.as_bytes()).hex();
    let manifests = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "bootstrap", "namespace": "holdfast-system"}, "data": {"root.json": root}},
        {"apiVersion": "holdfast.dev/v1alpha1", "kind": "TrustRootMirror", "metadata": {"name": "corp"}, "spec": {
            "source": {"volume": {"path": "/mirror"}},
            "bootstrap": {"rootSHA256": pin, "configMap": {"namespace": "holdfast-system", "name": "bootstrap"}},
        }},
    ]});
    std::fs::write(place.path("trust.json"), manifests.to_string()).unwrap();
    place.replaced.write(&place.path("mirror")).unwrap();
    let plan = || {
        let args =
            ["plan", "trust.json", "--state", "corp", "--volume", "/mirror=mirror", "-o", "json", "--now", LATER];
        let answer = holdfast_in(place.dir.path(), &args);
        let mut plan: Value = serde_json::from_str(&answer.out).unwrap_or_else(|e| panic!("{e}: {answer:?}"));
        plan["trust"][0].take()
    };
    let waiting = plan();
    assert_eq!(waiting["freshness"]["state"], "fresh", "{waiting:#}");
    assert!(waiting["candidate"].is_object(), "{waiting:#}");
    std::fs::remove_dir_all(place.path("mirror/targets")).unwrap();
    let withheld = plan();
    assert_eq!(withheld["freshness"]["limit"]["kind"], "OtherListed", "{withheld:#}");
    assert!(withheld["refused"].is_string() && withheld["candidate"].is_null(), "{withheld:#}");
}

/// A memory that does not say what the root was accepted as is read by what the metadata beside it lists, and left as it is.
#[test]
fn a_memory_of_the_earlier_form_is_read() {
    let place = Place::new();
    let memory = place.path("corp/memory.json");
    let as_earlier = || {
        let mut document: Value = serde_json::from_slice(&std::fs::read(&memory).unwrap()).unwrap();
        let accepted = document.as_object_mut().unwrap().remove("acceptedAs").unwrap();
        std::fs::write(&memory, document.to_string()).unwrap();
        accepted
    };
    let accepted = as_earlier();
    assert_eq!((&accepted["target"], &accepted["role"]), (&json!("trusted_root.json"), &json!("targets")));
    assert_eq!(place.shown(OFFERED)["freshness"]["state"], "fresh");
    let written = std::fs::read(&memory).unwrap();
    let again = place.run("import", &["--from", &place.text("repository"), "--now", "2026-06-02T00:00:00Z"]);
    assert_eq!(again.code, 0, "{again:?}");
    assert_eq!(std::fs::read(&memory).unwrap(), written, "nothing was accepted, so nothing is written");
    place.offer("refresh", &|_| {});
    as_earlier();
    assert_eq!(place.shown(LATER)["freshness"]["limit"]["kind"], "OtherListed");
    let mut document: Value = serde_json::from_slice(&std::fs::read(&memory).unwrap()).unwrap();
    document["acceptedAs"] =
        json!({"target": "trusted_root.json", "role": "targets", "digest": format!("sha256:{}", "0".repeat(64))});
    std::fs::write(&memory, document.to_string()).unwrap();
    let bent = place.run("show", &["--now", LATER]);
    assert!(bent.code == 2 && bent.err.contains("Restore it from a backup"), "{bent:?}");
}
