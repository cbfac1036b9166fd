//! What the real cosign signs with a private Fulcio, Rekor and timestamp authority, judged by holdfast and by cosign itself, case by case.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // a test that cannot go on fails

#[path = "support/sigstore.rs"]
mod private;
mod support;

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use holdfast::registry::blobs::Blobs;
use holdfast::registry::client::{Credentials, Settings};
use holdfast::registry::remote::{Remote, Stage, unobserved};
use holdfast_core::Digest;
use holdfast_core::trust::root::TrustRoot;
use holdfast_core::verify::{
    Accept, Artifact, Evidence, EvidenceRequirements, Limits, Matcher, Policy, PreparedRoot, Reason, Signer, judge,
};
use private::Sigstore;
use private::registry::{self, Registry};
use serde_json::{Value, json};
use support::holdfast_in;
use tempfile::TempDir;

const PERSON: &str = "dev@corp.example";
const WORKFLOW: &str = "https://github.com/acme/app/.github/workflows/release.yaml@refs/heads/main";
const REPOSITORY: &str = "apps/web";
const CUSTOM: &str = "https://cosign.sigstore.dev/attestation/v1";
const SIGNATURE: &str = "https://sigstore.dev/cosign/sign/v1";

/// An instance and a registry, and where images are copied to.
struct Lab {
    sigstore: Sigstore,
    registry: Registry,
    dir: TempDir,
    /// What was otherwise than it has to be, case by case.
    wrong: Mutex<Vec<String>>,
}

/// An image in the registry.
#[derive(Clone)]
struct Image {
    repository: String,
    digest: Digest,
}

/// How an image is to be judged.
#[derive(Clone)]
struct Ask<'a> {
    root: PathBuf,
    identity: &'a str,
    issuer: String,
    /// Flags that cosign and holdfast both know.
    relax: &'a [&'a str],
    /// A predicate type by cosign's short name.
    statement: Option<&'a str>,
    /// cosign's form before bundles.
    legacy: bool,
}

impl Lab {
    fn new(sigstore: Option<Sigstore>, registry: Option<Registry>) -> Option<Self> {
        Some(Self {
            sigstore: sigstore?,
            registry: registry?,
            dir: tempfile::tempdir().unwrap(),
            wrong: Mutex::default(),
        })
    }

    fn push(&self, text: &str) -> Image {
        self.push_to(REPOSITORY, text)
    }

    fn push_to(&self, repository: &str, text: &str) -> Image {
        let digest = self.registry.push_image(repository, text, text.as_bytes());
        Image { repository: repository.to_owned(), digest }
    }

    fn name(&self, image: &Image) -> String {
        self.registry.image(&image.repository, image.digest)
    }

    fn sign(&self, image: &Image, identity: &str) {
        self.sigstore.sign_with(&self.name(image), identity, &self.registry.cosign_flags());
    }

    fn ask<'a>(&self, identity: &'a str) -> Ask<'a> {
        let workflow = identity.starts_with("https://");
        let issuer = if workflow { self.sigstore.workflow_issuer() } else { self.sigstore.issuer() };
        let root = self.sigstore.trusted_root_path();
        Ask { root, identity, issuer, relax: &[], statement: None, legacy: false }
    }

    /// A trusted root with something changed.
    fn root(&self, name: &str, change: impl Fn(&mut Value)) -> PathBuf {
        let mut root = serde_json::from_str(&self.sigstore.trusted_root()).unwrap();
        change(&mut root);
        let path = self.dir.path().join(name);
        std::fs::write(&path, root.to_string()).unwrap();
        path
    }

    /// Whether cosign says yes, and what it says else.
    fn cosign(&self, image: &Image, ask: &Ask) -> (bool, String) {
        let root = ask.root.display().to_string();
        let mut arguments = vec![if ask.statement.is_some() { "verify-attestation" } else { "verify" }];
        if let Some(kind) = ask.statement {
            arguments.extend(["--type", kind]);
        }
        arguments.extend(["--trusted-root", &root, "--use-signed-timestamps", "--certificate-identity", ask.identity]);
        arguments.extend(["--certificate-oidc-issuer", &ask.issuer]);
        arguments.extend(ask.relax);
        if ask.legacy {
            arguments.push("--new-bundle-format=false");
        }
        let (flags, name) = (self.registry.cosign_flags(), self.name(image));
        arguments.extend(flags.iter().map(String::as_str));
        arguments.push(&name);
        let said = self.sigstore.cosign(&arguments);
        (said.ok, said.err)
    }

    /// Copies the image with what belongs to it, and judges the copy.
    fn holdfast(&self, image: &Image, ask: &Ask) -> Value {
        let to = self.dir.path().join(image.digest.hex());
        let _ = std::fs::remove_dir_all(&to);
        self.registry.copy(&image.repository, image.digest, &to);
        judged(&to, image.digest, ask)
    }

    /// What holdfast says of what it finds in the registry itself, as a scan does.
    fn scanned(&self, image: &Image, ask: &Ask) -> (Reason, String) {
        let kept = Blobs::in_memory(1 << 24);
        let remote = Remote::new(self.registry.settings(), 4, unobserved()).unwrap();
        let stage = if ask.legacy { Stage::Legacy } else { Stage::Bundles };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let looked = runtime.block_on(remote.look(&image.repository, image.digest, &kept, stage, &[])).unwrap();
        assert_eq!(looked.incomplete, None);
        let evidence: Vec<Evidence> = looked.pieces.iter().map(|piece| looked.take(&kept, piece).unwrap()).collect();
        let root = TrustRoot::from_json("private", &std::fs::read(&ask.root).unwrap()).unwrap();
        let policy = Policy {
            signers: vec![Signer::Certificate {
                name: ask.identity.to_owned(),
                subject: Matcher::Exact(ask.identity.to_owned()),
                issuer: Matcher::Exact(ask.issuer.clone()),
            }],
            evidence: EvidenceRequirements {
                transparency_log: !ask.relax.contains(&"--insecure-ignore-tlog"),
                signed_timestamp: true,
                sct: !ask.relax.contains(&"--insecure-ignore-sct"),
            },
            accept: match ask.statement {
                None => Accept::Signature { attestations: Vec::new() },
                Some("custom") => Accept::Statements(vec![CUSTOM.to_owned()]),
                Some(other) => Accept::Statements(vec![format!("https://types.example/{other}")]),
            },
            limits: Limits::default(),
        };
        let artifact = Artifact { digest: image.digest, bytes: Some(looked.manifest.to_vec()) };
        let verdict = judge(&artifact, &evidence, &policy, &[&PreparedRoot::new(root).unwrap()], now());
        (verdict.reason, verdict.message)
    }

    /// What both have to say of an image: holdfast by its reason, cosign by yes or no.
    fn both(&self, case: &str, image: &Image, ask: &Ask, reason: &str) -> Value {
        let verdict = self.alone(case, image, ask, reason);
        let (ok, why) = self.cosign(image, ask);
        if ok != (verdict["reason"] == "Verified") {
            self.wrong(format!("{case}: holdfast says {}, and cosign {ok}: {why}", verdict["reason"]));
        }
        verdict
    }

    /// What holdfast has to say of an image that cosign takes.
    fn stricter(&self, case: &str, image: &Image, ask: &Ask, reason: &str) {
        self.alone(case, image, ask, reason);
        let (ok, why) = self.cosign(image, ask);
        if !ok {
            self.wrong(format!("{case}: cosign takes it no longer: {why}"));
        }
    }

    /// What holdfast has to say of an image, copied into a layout or asked for in its registry.
    fn alone(&self, case: &str, image: &Image, ask: &Ask, reason: &str) -> Value {
        let verdict = self.holdfast(image, ask);
        let (asked, why) = self.scanned(image, ask);
        if verdict["reason"] != asked.as_str() {
            self.wrong(format!(
                "{case}: {} of a copy, and {} of the registry: {why}",
                verdict["reason"],
                asked.as_str()
            ));
        }
        if verdict["reason"] != reason {
            self.wrong(format!("{case}: {}, not {reason}: {}", verdict["reason"], verdict["message"]));
        }
        verdict
    }

    fn wrong(&self, what: String) {
        self.wrong.lock().unwrap().push(what);
    }

    /// Every case was as it has to be.
    fn end(&self) {
        let wrong = self.wrong.lock().unwrap();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

/// What holdfast says of an image in a layout.
fn judged(layout: &Path, digest: Digest, ask: &Ask) -> Value {
    let (image, root) = (format!("oci:{}@{digest}", layout.display()), ask.root.display().to_string());
    let mut arguments = vec!["verify", &image, "--trusted-root", &root, "--use-signed-timestamps", "-o", "json"];
    arguments.extend(["--certificate-identity", ask.identity, "--certificate-oidc-issuer", &ask.issuer]);
    arguments.extend(ask.relax);
    if let Some(kind) = ask.statement {
        arguments.extend(["--attestation", kind]);
    }
    let answer = holdfast_in(layout, &arguments);
    let verdict: Value = serde_json::from_str(&answer.out).unwrap_or_else(|e| panic!("{e}: {answer:?}"));
    assert_eq!(answer.code == 0, verdict["reason"] == "Verified", "{answer:?}");
    verdict
}

/// Who was authenticated, and by which provider.
fn signer(verdict: &Value) -> (&str, &str) {
    let known = &verdict["evidence"][0]["authenticated"];
    (known["identity"].as_str().unwrap_or_default(), known["issuer"].as_str().unwrap_or_default())
}

#[test]
fn what_cosign_signs_is_verified_in_every_kind_of_registry() {
    let (plain, without, closed) = (Registry::plain(true), Registry::plain(false), Registry::with_auth_and_tls());
    let tokens = Registry::with_tokens();
    for (kind, registry) in [("referrers", plain), ("fallback tag", without), ("password", closed), ("tokens", tokens)]
    {
        let Some(lab) = Lab::new(Sigstore::up(), registry) else { return };
        let (by_person, by_workflow, by_nobody) = (lab.push("person"), lab.push("workflow"), lab.push("nobody"));
        std::thread::scope(|scope| {
            scope.spawn(|| lab.sign(&by_person, PERSON));
            lab.sign(&by_workflow, WORKFLOW);
        });
        for (image, identity) in [(&by_person, PERSON), (&by_workflow, WORKFLOW)] {
            let ask = lab.ask(identity);
            let verdict = lab.both(kind, image, &ask, "Verified");
            assert_eq!(signer(&verdict), (identity, ask.issuer.as_str()), "{kind}: {verdict:#}");
        }
        lab.both(kind, &by_person, &lab.ask(WORKFLOW), "IdentityMismatch");
        lab.both(kind, &by_workflow, &lab.ask(PERSON), "IdentityMismatch");
        lab.both(kind, &by_nobody, &lab.ask(PERSON), "MissingBundle");
        lab.end();
    }
}

/// A lab with an open registry, and one image that PERSON signed.
fn signed() -> Option<(Lab, Image)> {
    let lab = Lab::new(Sigstore::up(), Registry::plain(true))?;
    let image = lab.push("signed");
    lab.sign(&image, PERSON);
    Some((lab, image))
}

/// Every part of the trusted root is decisive, and so is who signed.
#[test]
fn without_a_part_of_the_trust_neither_says_yes() {
    // Begun before, and so valid when the image is signed.
    let Some(other) = Sigstore::up() else { return };
    let Some(lab) = Lab::new(Sigstore::up(), Registry::plain(true)) else { return };
    let before = now();
    std::thread::sleep(Duration::from_millis(1500));
    let image = lab.push("signed");
    lab.sign(&image, PERSON);

    let ask = lab.ask(PERSON);
    let trusting = |root: PathBuf| Ask { root, ..ask.clone() };
    lab.both("as it is", &image, &ask, "Verified");
    lab.both("another provider", &image, &Ask { issuer: other.issuer(), ..ask.clone() }, "IdentityMismatch");
    lab.both("a part of the identity", &image, &Ask { identity: "dev@corp", ..ask.clone() }, "IdentityMismatch");
    lab.both("another instance's root", &image, &trusting(other.trusted_root_path()), "UnknownLog");

    let foreign: Value = serde_json::from_str(&other.trusted_root()).unwrap();
    for (part, reason) in [
        ("certificateAuthorities", "UntrustedAuthority"),
        ("timestampAuthorities", "UnknownTimestampAuthority"),
        ("tlogs", "UnknownLog"),
        ("ctlogs", "UnknownLog"),
    ] {
        let swapped = lab.root(part, |root| root[part] = foreign[part].clone());
        lab.both(&format!("{part} of another instance"), &image, &trusting(swapped), reason);
        let gone = lab.root(part, |root| root[part] = json!([]));
        lab.both(&format!("no {part}"), &image, &trusting(gone), reason);
        let ended = trusting(lab.root(part, |root| *window(root, part) = json!(before.to_string())));
        let case = format!("{part} that ended before");
        // cosign does not ask when a log whose entries have no time of their own counted.
        if part == "tlogs" {
            lab.stricter(&case, &image, &ended, "OutsideValidity");
        } else {
            lab.both(&case, &image, &ended, "OutsideValidity");
        }
    }
    lab.end();
}

/// Real tools sign at the real time.
#[allow(clippy::disallowed_methods)]
fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// The end of what a part of a trusted root is good for.
fn window<'a>(root: &'a mut Value, part: &str) -> &'a mut Value {
    let of = &mut root[part][0];
    let of = if of.get("publicKey").is_some() { &mut of["publicKey"] } else { of };
    &mut of["validFor"]["end"]
}

/// Parts that ended since still cover what was signed before: that is what signed times are for.
#[test]
fn what_was_signed_in_time_outlives_the_authorities() {
    let Some((lab, image)) = signed() else { return };
    std::thread::sleep(Duration::from_secs(1));
    let end = now();
    let ended = lab.root("ended", |root| {
        for part in ["certificateAuthorities", "timestampAuthorities", "tlogs", "ctlogs"] {
            *window(root, part) = json!(end.to_string());
        }
    });
    std::thread::sleep(Duration::from_secs(1));
    let ask = Ask { root: ended, ..lab.ask(PERSON) };
    lab.both("ended since", &image, &ask, "Verified");
    let late = lab.push("late");
    lab.sign(&late, PERSON);
    lab.both("signed after the end", &late, &ask, "OutsideValidity");
    lab.end();
}

/// What is done to a bundle.
type Bend<'a> = &'a dyn Fn(&mut Value);

/// The bundle of an image that has one.
fn bundle(lab: &Lab, image: &Image) -> Value {
    let (bytes, predicate_type) = lab.registry.bundles(&image.repository, image.digest).pop().unwrap();
    assert_eq!(predicate_type, SIGNATURE);
    serde_json::from_slice(&bytes).unwrap()
}

fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// What signs one image does not sign another, and what is bent does not hold.
#[test]
fn a_bundle_that_is_moved_or_bent_covers_nothing() {
    let Some((lab, earlier)) = signed() else { return };
    let other = bundle(&lab, &earlier);
    let image = lab.push("good");
    lab.sign(&image, PERSON);
    let (good, ask) = (bundle(&lab, &image), lab.ask(PERSON));
    let material = "verificationMaterial";

    let moved = lab.push("moved");
    lab.registry.attach(REPOSITORY, moved.digest, good.to_string().as_bytes(), SIGNATURE);
    lab.both("moved to another image", &moved, &ask, "DigestMismatch");
    let renamed = lab.push("renamed");
    let statement = STANDARD.decode(good["dsseEnvelope"]["payload"].as_str().unwrap()).unwrap();
    let statement = String::from_utf8(statement).unwrap().replace(&image.digest.hex(), &renamed.digest.hex());
    let mut of_another = good.clone();
    of_another["dsseEnvelope"]["payload"] = json!(base64(statement.as_bytes()));
    lab.registry.attach(REPOSITORY, renamed.digest, of_another.to_string().as_bytes(), SIGNATURE);
    lab.both("moved, and says so", &renamed, &ask, "SignatureInvalid");

    let cases: [(&str, &str, Bend); 9] = [
        ("nothing", "Verified", &|_| ()),
        ("signature", "TimestampInvalid", &|bundle| {
            bundle["dsseEnvelope"]["signatures"] = other["dsseEnvelope"]["signatures"].clone();
        }),
        ("entry", "EntryMismatch", &|bundle| bundle[material]["tlogEntries"] = other[material]["tlogEntries"].clone()),
        ("proof", "InclusionProofMismatch", &|bundle| {
            bundle[material]["tlogEntries"][0]["inclusionProof"]["hashes"] = json!([base64(&[7; 32])]);
        }),
        ("checkpoint", "InclusionProofMismatch", &|bundle| {
            let proof = &other[material]["tlogEntries"][0]["inclusionProof"]["checkpoint"];
            bundle[material]["tlogEntries"][0]["inclusionProof"]["checkpoint"] = proof.clone();
        }),
        ("timestamp", "TimestampInvalid", &|bundle| {
            bundle[material]["timestampVerificationData"] = other[material]["timestampVerificationData"].clone();
        }),
        ("certificate", "SignatureInvalid", &|bundle| {
            bundle[material]["certificate"] = other[material]["certificate"].clone();
        }),
        ("absent-timestamp", "TimestampMissing", &|bundle| bundle[material]["timestampVerificationData"] = json!({})),
        ("absent-entry", "LogEntryMissing", &|bundle| bundle[material]["tlogEntries"] = json!([])),
    ];
    for (case, reason, bend) in cases {
        let same = lab.push_to(&format!("bent/{case}"), "good");
        assert_eq!(same.digest, image.digest);
        let mut bent = good.clone();
        bend(&mut bent);
        lab.registry.attach(&same.repository, same.digest, bent.to_string().as_bytes(), SIGNATURE);
        lab.both(&format!("bent: {case}"), &same, &ask, reason);
    }
    lab.end();
}

/// What cosign signs without a log entry or an SCT covers where neither is asked for.
#[test]
fn what_is_signed_without_log_or_transparency_covers_where_it_is_not_asked() {
    let Some(lab) = Lab::new(Sigstore::up(), Registry::plain(true)) else { return };
    let Some(quiet) = Lab::new(Sigstore::without_sct(), Registry::plain(true)) else { return };
    let mut services: Value = serde_json::from_str(&lab.sigstore.file("signing-config.json")).unwrap();
    for part in ["rekorTlogUrls", "rekorTlogConfig"] {
        services.as_object_mut().unwrap().remove(part);
    }
    let without_log = lab.dir.path().join("no-log.json");
    std::fs::write(&without_log, services.to_string()).unwrap();
    let (unlogged, unpromised) = (lab.push("unlogged"), quiet.push("unpromised"));
    lab.sigstore.sign_with(&lab.name(&unlogged), PERSON, &[format!("--signing-config={}", without_log.display())]);
    let ask = lab.ask(PERSON);
    lab.both("no log entry", &unlogged, &ask, "LogEntryMissing");
    lab.both(
        "no log entry, not asked",
        &unlogged,
        &Ask { relax: &["--insecure-ignore-tlog"], ..ask.clone() },
        "Verified",
    );

    lab.end();

    quiet.sign(&unpromised, PERSON);
    let ask = quiet.ask(PERSON);
    quiet.both("no SCT", &unpromised, &ask, "SctMissing");
    quiet.both("no SCT, not asked", &unpromised, &Ask { relax: &["--insecure-ignore-sct"], ..ask.clone() }, "Verified");
    quiet.end();
}

/// A statement is no signature, a signature no statement, and a statement of one type none of another.
#[test]
fn a_statement_is_taken_for_what_it_is() {
    let Some((lab, both)) = signed() else { return };
    let only = lab.push("stated");
    let predicate = json!({"reviewed": true});
    for image in [&both, &only] {
        lab.sigstore.attest(&lab.name(image), "custom", &predicate, WORKFLOW, &[]);
    }
    let signature = lab.ask(PERSON);
    let statement = |kind| Ask { statement: Some(kind), ..lab.ask(WORKFLOW) };
    lab.both("a signature beside a statement", &both, &signature, "Verified");
    let verdict = lab.both("a statement beside a signature", &both, &statement("custom"), "Verified");
    assert!(
        verdict["evidence"].as_array().unwrap().iter().any(|piece| {
            piece["content"]["predicateType"] == CUSTOM && piece["authenticated"]["identity"] == WORKFLOW
        }),
        "{verdict:#}"
    );
    // cosign takes a statement of any type for a signature.
    lab.stricter("a statement is no signature", &only, &lab.ask(WORKFLOW), "PredicateMissing");
    lab.both("a signature is no statement", &both, &Ask { statement: Some("custom"), ..signature }, "IdentityMismatch");
    lab.both("of another type", &both, &statement("slsaprovenance1"), "PredicateMissing");
    lab.end();
}

/// An index is signed by itself, and so may be what is in it.
#[test]
fn an_index_and_its_images_are_each_signed() {
    let Some(lab) = Lab::new(Sigstore::up(), Registry::plain(true)) else { return };
    let images = ["amd64", "arm64"].map(|name| lab.push(name));
    let index = |tag: &str, images: &[&Image]| {
        let digests: Vec<Digest> = images.iter().map(|image| image.digest).collect();
        Image { repository: REPOSITORY.to_owned(), digest: lab.registry.push_index(REPOSITORY, tag, &digests) }
    };
    let ask = lab.ask(PERSON);
    let alone = index("alone", &[&images[0], &images[1]]);
    lab.sign(&alone, PERSON);
    lab.both("the index", &alone, &ask, "Verified");
    lab.both("an image of it", &images[0], &ask, "MissingBundle");
    let all = index("all", &[&images[1], &images[0]]);
    lab.sigstore.sign_with(&lab.name(&all), PERSON, &["--recursive".to_owned()]);
    lab.both("the index with its images", &all, &ask, "Verified");
    for image in &images {
        lab.both("an image that was signed with it", image, &ask, "Verified");
    }
    lab.end();
}

/// cosign's form before bundles, with a timestamp instead of a log entry: its log is of the first kind.
#[test]
fn the_form_before_bundles_is_verified() {
    let Some(lab) = Lab::new(Sigstore::up(), Registry::with_auth_and_tls()) else { return };
    let (image, other) = (lab.push("legacy"), lab.push("other"));
    let sign = |image: &Image, identity: &str| {
        let token = lab.sigstore.token(identity);
        let (name, mut arguments) = (
            lab.name(image),
            vec!["sign", "-y", "--new-bundle-format=false", "--use-signing-config=false", "--tlog-upload=false"],
        );
        let (fulcio, tsa) = (lab.sigstore.url("fulcio_url"), lab.sigstore.url("tsa_url"));
        arguments.extend(["--fulcio-url", &fulcio, "--timestamp-server-url", &tsa, "--identity-token", &token]);
        let flags = lab.registry.cosign_flags();
        arguments.extend(flags.iter().map(String::as_str));
        arguments.push(&name);
        let (root, ctlog) = (lab.sigstore.path("fulcio.pem"), lab.sigstore.path("ctlog.pub"));
        let said = lab.sigstore.cosign_in(
            lab.dir.path(),
            &arguments,
            &[("SIGSTORE_ROOT_FILE", &root), ("SIGSTORE_CT_LOG_PUBLIC_KEY_FILE", &ctlog)],
        );
        assert!(said.ok, "{}", said.err);
    };
    sign(&image, PERSON);
    let tag = |image: &Image| format!("{}.sig", image.digest.to_string().replace(':', "-"));
    let manifest = lab.registry.manifest(REPOSITORY, &tag(&image)).unwrap();
    lab.registry.push_manifest(REPOSITORY, Some(&tag(&other)), registry::MANIFEST, &manifest);
    let strict = Ask { legacy: true, ..lab.ask(PERSON) };
    let ask = Ask { relax: &["--insecure-ignore-tlog"], ..strict.clone() };
    let verdict = lab.both("signed", &image, &ask, "Verified");
    assert_eq!(signer(&verdict), (PERSON, ask.issuer.as_str()), "{verdict:#}");
    lab.both("without a log entry", &image, &strict, "LogEntryMissing");
    lab.both("by somebody else", &image, &Ask { identity: "ops@corp.example", ..ask.clone() }, "IdentityMismatch");
    lab.both("moved to another image", &other, &ask, "DigestMismatch");
    lab.end();
}

/// A key that is kept counts as a certificate does, without Fulcio.
#[test]
fn what_a_key_signs_is_verified_by_that_key() {
    let Some(lab) = Lab::new(Sigstore::up(), Registry::plain(true)) else { return };
    let image = lab.push("by key");
    let secret = [("COSIGN_PASSWORD", "")];
    for name in ["right", "wrong"] {
        let made = lab.sigstore.cosign_in(lab.dir.path(), &["generate-key-pair", "--output-key-prefix", name], &secret);
        assert!(made.ok, "{}", made.err);
    }
    let (name, config, root) =
        (lab.name(&image), lab.sigstore.path("signing-config.json"), lab.sigstore.path("trusted-root.json"));
    let sign = ["sign", "-y", "--key", "right.key", "--signing-config", &config, "--trusted-root", &root, &name];
    let said = lab.sigstore.cosign_in(lab.dir.path(), &sign, &secret);
    assert!(said.ok, "{}", said.err);
    let layout = lab.dir.path().join("layout");
    lab.registry.copy(&image.repository, image.digest, &layout);
    let of = format!("oci:{}@{}", layout.display(), image.digest);
    for (key, code, reason) in [("right.pub", 0, "Verified"), ("wrong.pub", 1, "KeyMismatch")] {
        let answer = holdfast_in(lab.dir.path(), &["verify", &of, "--trusted-root", &root, "--key", key, "-o", "json"]);
        let verdict: Value = serde_json::from_str(&answer.out).unwrap();
        assert_eq!((answer.code, verdict["reason"].as_str().unwrap()), (code, reason), "{verdict:#}");
        let said = lab.sigstore.cosign_in(
            lab.dir.path(),
            &["verify", "--key", key, "--trusted-root", &root, "--use-signed-timestamps", &name],
            &[],
        );
        assert_eq!(said.ok, code == 0, "{key}: {}", said.err);
    }
}

/// What `cosign save` carries is planned with as what a registry held.
#[test]
fn a_plan_over_what_cosign_saved_says_who_is_covered() {
    let Some((lab, image)) = signed() else { return };
    let (unsigned, foreign) = (lab.push("unsigned"), lab.push("foreign"));
    lab.sign(&foreign, WORKFLOW);
    let mut images = Vec::new();
    for (n, image) in [&image, &unsigned, &foreign].into_iter().enumerate() {
        let to = lab.dir.path().join(format!("saved{n}"));
        let said = lab.sigstore.cosign(&["save", "--dir", &to.display().to_string(), &lab.name(image)]);
        assert!(said.ok, "{}", said.err);
        images.extend(["--images".to_owned(), format!("oci:{}", to.display())]);
    }
    let root = lab.sigstore.trusted_root();
    let manifests = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "root", "namespace": "holdfast-system"}, "data": {"trusted_root.json": root}},
        {"apiVersion": "holdfast.dev/v1alpha1", "kind": "TrustRootMirror", "metadata": {"name": "private"}, "spec": {"source": {"trustedRoot": {
            "configMap": {"namespace": "holdfast-system", "name": "root"}, "sha256": Digest::of(root.as_bytes()).hex(),
        }}}},
        {"apiVersion": "holdfast.dev/v1alpha1", "kind": "SigningIdentityPolicy", "metadata": {"name": "apps"}, "spec": {
            "images": [format!("{}/**", lab.registry.host())], "trustRoots": ["private"], "otherImages": "Allow",
            "identities": [{"name": "dev", "issuer": lab.sigstore.issuer(), "subject": PERSON}],
        }},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "shop"}, "spec": {"containers": [
            {"name": "signed", "image": lab.name(&image)}, {"name": "unsigned", "image": lab.name(&unsigned)}, {"name": "foreign", "image": lab.name(&foreign)},
        ]}},
    ]});
    std::fs::write(lab.dir.path().join("manifests.json"), manifests.to_string()).unwrap();
    let mut arguments = vec!["plan", "manifests.json", "-o", "json", "--exit-code"];
    arguments.extend(images.iter().map(String::as_str));
    let answer = holdfast_in(lab.dir.path(), &arguments);
    let plan: Value = serde_json::from_str(&answer.out).unwrap_or_else(|e| panic!("{e}: {answer:?}"));
    let judged = plan["coverage"]["images"].as_array().unwrap();
    let reason = |image: &Image| {
        judged.iter().find(|entry| entry.to_string().contains(&image.digest.hex())).map(|entry| entry["reason"].clone())
    };
    for (image, expected) in [(&image, "Verified"), (&unsigned, "MissingBundle"), (&foreign, "IdentityMismatch")] {
        assert_eq!(reason(image), Some(json!(expected)), "{:#}", plan["coverage"]);
    }
    assert_eq!(answer.code, 1, "{answer:?}");
}

/// What a real registry does not let in, or sends elsewhere, knows nothing of the image; and says nothing of it.
#[test]
fn a_registry_that_lets_nobody_in_leaves_an_image_unknown() {
    let (Some(closed), Some(tokens)) = (Registry::with_auth_and_tls(), Registry::with_tokens()) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let reason = |digest, settings: Settings| {
        let remote = Remote::new(settings, 4, unobserved()).unwrap();
        let kept = Blobs::in_memory(1 << 24);
        let looked = runtime.block_on(remote.look(REPOSITORY, digest, &kept, Stage::Bundles, &[]));
        looked.map(|looked| looked.pieces.len()).map_err(|failure| (failure.reason().as_str(), failure.to_string()))
    };
    for (kind, registry) in [("password", &closed), ("tokens", &tokens)] {
        let digest = registry.push_image(REPOSITORY, "one", b"one");
        let right = registry.settings();
        assert_eq!(reason(digest, right.clone()), Ok(0), "{kind}");
        let wrong = Some(Credentials::new("puller".to_owned(), "wrong".to_owned()).unwrap());
        for (case, settings, expected) in [
            ("another password", Settings { credentials: wrong, ..right.clone() }, "Unauthorized"),
            ("no password", Settings { credentials: None, ..right.clone() }, "Unauthorized"),
            ("another authority", Settings { ca_bundle: None, ..right.clone() }, "RegistryUnavailable"),
        ] {
            let said = reason(digest, settings).unwrap_err();
            assert_eq!(said.0, expected, "{kind}, {case}: {}", said.1);
        }
    }
    let digest = tokens.push_image(REPOSITORY, "one", b"one");
    let (why, text) = reason(digest, Settings { token_url: None, ..tokens.settings() }).unwrap_err();
    assert_eq!(why, "Unauthorized", "{text}");
    assert!(text.contains("tokenUrl") && text.contains(tokens.token_url().unwrap()), "{text}");
}
