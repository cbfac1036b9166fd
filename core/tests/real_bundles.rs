//! Bundles made by real signers, as they ship with a dependency: each gets the verdict it deserves.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test that cannot go on fails

mod support;

use holdfast_core::Digest;
use holdfast_core::trust::root::{ManagedKey, Window};
use holdfast_core::verify::{
    Artifact, Evidence, EvidenceRequirements, Policy, PreparedRoot, Reason, Signer, Verdict, judge,
};
use serde_json::Value;
use sigstore_verify::trust_root::{
    SIGSTORE_GITHUB_TRUSTED_ROOT, SIGSTORE_PRODUCTION_TRUSTED_ROOT, SIGSTORE_STAGING_TRUSTED_ROOT,
};
use support::{anyone, at, dependency, prepared};

const DEFAULT: EvidenceRequirements = EvidenceRequirements::DEFAULT;
const TIMESTAMP_ONLY: EvidenceRequirements =
    EvidenceRequirements { transparency_log: false, signed_timestamp: true, sct: false };

fn read(path: &str) -> Vec<u8> {
    std::fs::read(dependency("sigstore-verify").join("test_data").join(path)).unwrap()
}

/// The digest the bundle itself claims to be about: enough to see whether all else holds.
fn claimed_digest(bundle: &[u8]) -> Digest {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let bundle: Value = serde_json::from_slice(bundle).unwrap();
    if let Some(digest) = bundle.pointer("/messageSignature/messageDigest/digest") {
        return Digest::from_bytes(STANDARD.decode(digest.as_str().unwrap()).unwrap().try_into().unwrap());
    }
    let payload = STANDARD.decode(bundle["dsseEnvelope"]["payload"].as_str().unwrap()).unwrap();
    let statement: Value = serde_json::from_slice(&payload).unwrap();
    let subjects = statement["subject"].as_array().unwrap();
    let subject = subjects.iter().find_map(|s| s["digest"]["sha256"].as_str());
    Digest::from_hex(subject.unwrap_or(&"0".repeat(64))).unwrap()
}

fn judged(path: &str, artifact: &Artifact, policy: &Policy, roots: &[&PreparedRoot]) -> Verdict {
    judge(artifact, &[Evidence::bundle(path, read(path))], policy, roots, at("2026-11-24T00:00:00Z"))
}

fn roots() -> [PreparedRoot; 3] {
    [
        prepared("public", SIGSTORE_PRODUCTION_TRUSTED_ROOT),
        prepared("staging", SIGSTORE_STAGING_TRUSTED_ROOT),
        prepared("github", SIGSTORE_GITHUB_TRUSTED_ROOT),
    ]
}

#[test]
fn genuine_bundles_of_every_form_verify() {
    let roots = roots();
    let roots: Vec<&PreparedRoot> = roots.iter().collect();
    for (path, evidence, root) in [
        ("bundles/cosign-v3-blob.sigstore.json", DEFAULT, "public"),
        ("bundles/conda-attestation.sigstore.json", DEFAULT, "public"),
        ("bundles/bundle_v3_github.whl.sigstore", DEFAULT, "public"),
        ("bundles/conda-attestation-rekor2.sigstore.json", DEFAULT, "staging"),
        ("upstream/sigstore-python/staging-rekor-v2.txt.sigstore.json", DEFAULT, "staging"),
        ("upstream/sigstore-python/a.dsse.staging-rekor-v2.txt.sigstore.json", DEFAULT, "staging"),
        ("sct-multi-intermediate/staging_bundle.sigstore.json", DEFAULT, "staging"),
        ("bundles/github-private-attestation.sigstore.json", TIMESTAMP_ONLY, "github"),
    ] {
        let artifact = Artifact::of_digest(claimed_digest(&read(path)));
        let verdict = judged(path, &artifact, &anyone(evidence), &roots);
        assert_eq!(verdict.reason, Reason::Verified, "{path}: {verdict:#?}");
        assert_eq!(verdict.evidence[0].trust_root.as_deref(), Some(root), "{path}");
        assert!(!verdict.evidence[0].authenticated.as_ref().unwrap().signed_at.is_empty(), "{path}");
    }
}

#[test]
fn a_managed_key_verifies_its_own_bundle_alone() {
    let root = prepared("public", SIGSTORE_PRODUCTION_TRUSTED_ROOT);
    let artifact = Artifact::of_bytes(read("managed-key/artifact.txt"));
    let with = |key: &[u8]| {
        let key = ManagedKey::from_bytes("release", key, Window::ALWAYS).unwrap();
        let signers = vec![Signer::Key { name: "release".to_owned(), key: Box::new(key) }];
        let policy = Policy { signers, ..anyone(DEFAULT) };
        judged("managed-key/bundle.sigstore.json", &artifact, &policy, &[&root])
    };
    let verdict = with(&read("managed-key/key.pub"));
    assert_eq!(verdict.reason, Reason::Verified, "{verdict:#?}");
    let other = another_key();
    assert_eq!(with(&other).reason, Reason::KeyMismatch);
}

/// Another P-256 key: that of the public log.
fn another_key() -> Vec<u8> {
    let root = holdfast_core::trust::root::TrustRoot::from_json("public", SIGSTORE_PRODUCTION_TRUSTED_ROOT.as_bytes())
        .unwrap();
    root.logs[0].key.clone()
}

#[test]
fn what_is_wrong_with_a_bundle_is_named() {
    let roots = roots();
    let roots: Vec<&PreparedRoot> = roots.iter().collect();
    for (path, want) in [
        ("bundles/bundle_cve_2022_36056.txt.sigstore", Reason::EntryMismatch),
        ("bundles/bundle_no_checkpoint.txt.sigstore", Reason::InclusionProofMismatch),
        ("bundles/bundle_no_log_entry.txt.sigstore", Reason::LogEntryMissing),
        ("bundles/bundle_no_cert_v1.txt.sigstore", Reason::Malformed),
        ("bundles/bundle_invalid_version.txt.sigstore", Reason::UnsupportedFormat),
        ("bundles/bundle_v3_no_signed_time.txt.sigstore.json", Reason::TimestampMissing),
        ("bundles/dsse-2sigs.sigstore.json", Reason::Malformed),
        ("bundles/github-private-attestation.sigstore.json", Reason::LogEntryMissing),
    ] {
        let artifact = Artifact::of_digest(Digest::of(path.as_bytes()));
        let artifact = match serde_json::from_slice::<Value>(&read(path)) {
            Ok(_) if path != "bundles/bundle_no_cert_v1.txt.sigstore" => {
                Artifact::of_digest(claimed_digest(&read(path)))
            }
            _ => artifact,
        };
        let verdict = judged(path, &artifact, &anyone(DEFAULT), &roots);
        assert_eq!(verdict.reason, want, "{path}: {verdict:#?}");
    }
}

#[test]
fn another_artefact_is_never_covered() {
    let roots = roots();
    let roots: Vec<&PreparedRoot> = roots.iter().collect();
    let other = Artifact::of_bytes(b"something else".to_vec());
    for path in [
        "bundles/cosign-v3-blob.sigstore.json",
        "bundles/conda-attestation.sigstore.json",
        "bundles/conda-attestation-rekor2.sigstore.json",
        "upstream/sigstore-python/staging-rekor-v2.txt.sigstore.json",
    ] {
        assert_eq!(judged(path, &other, &anyone(DEFAULT), &roots).reason, Reason::DigestMismatch, "{path}");
    }
}

#[test]
fn a_fresh_signature_judged_by_a_clock_that_is_behind_is_unknown_not_bad() {
    let path = "bundles/cosign-v3-blob.sigstore.json";
    let artifact = Artifact::of_digest(claimed_digest(&read(path)));
    let root = prepared("public", SIGSTORE_PRODUCTION_TRUSTED_ROOT);
    let verdict =
        judge(&artifact, &[Evidence::bundle(path, read(path))], &anyone(DEFAULT), &[&root], at("2023-01-01T00:00:00Z"));
    assert_eq!(verdict.reason, Reason::ClockSuspect);
}
