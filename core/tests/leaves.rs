//! Which fields of a bundle are authenticated, frozen: every leaf of genuine bundles is changed in turn.
//!
//! A change to an authenticated field is refused. A change to one of the few that nothing signs alters neither verdict nor output.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test that cannot go on fails

mod support;

use base64::{Engine, engine::general_purpose::STANDARD};
use holdfast_core::Digest;
use holdfast_core::verify::{Artifact, Evidence, EvidenceRequirements, Outcome, PreparedRoot, Verdict, judge};
use serde_json::{Value, json};
use sigstore_verify::trust_root::{SIGSTORE_PRODUCTION_TRUSTED_ROOT, SIGSTORE_STAGING_TRUSTED_ROOT};
use support::{anyone, at, dependency, prepared};

/// Read in any of its known versions, and shown in none.
const MEDIA_TYPE: &str = "/mediaType";
/// A checkpoint is signed but for the name that stands before its signature, which no key covers (C2SP signed-note); the key decides, not the name.
const CHECKPOINT: &str = "/verificationMaterial/tlogEntries/0/inclusionProof/checkpoint/envelope";

/// Every leaf's path.
fn leaves(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            object.iter().for_each(|(name, value)| leaves(value, &format!("{path}/{name}"), found));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, value)| leaves(value, &format!("{path}/{at}"), found));
        }
        _ => found.push(path.to_owned()),
    }
}

/// Other values for a leaf: one bit flipped at several places, another number, another text.
fn changes(leaf: &Value) -> Vec<Value> {
    match leaf {
        Value::String(text) => {
            if let Ok(number) = text.parse::<i64>() {
                return vec![json!((number + 1).to_string()), json!((number - 1).max(0).to_string())];
            }
            let mut changed = Vec::new();
            if let Ok(bytes) = STANDARD.decode(text) {
                for place in [0, bytes.len() / 3, bytes.len() / 2, bytes.len().saturating_sub(1)] {
                    let mut bytes = bytes.clone();
                    if let Some(byte) = bytes.get_mut(place) {
                        *byte ^= 1;
                        changed.push(json!(STANDARD.encode(bytes)));
                    }
                }
            } else {
                let middle = text.len() / 2;
                let flipped: String = text
                    .char_indices()
                    .map(|(at, c)| if at == middle { if c == 'x' { 'y' } else { 'x' } } else { c })
                    .collect();
                changed.push(json!(flipped));
                changed.push(json!(format!("{text}x")));
            }
            // The one leaf whose other values are a few known words.
            if text.starts_with("application/vnd.dev.sigstore.bundle") {
                let versions = ["0.1", "0.2", "0.3"];
                changed
                    .extend(versions.map(|v| json!(format!("application/vnd.dev.sigstore.bundle+json;version={v}"))));
                changed.retain(|other| other != leaf);
            }
            changed
        }
        Value::Number(number) => vec![json!(number.as_i64().unwrap_or_default() + 1)],
        _ => vec![json!("x")],
    }
}

/// What a person or program is shown, but for the source's name.
fn shown(verdict: &Verdict) -> String {
    serde_json::to_string(verdict).unwrap()
}

/// The leaves of one bundle whose change still passes.
fn unsigned(path: &str, root: &PreparedRoot) -> Vec<String> {
    let bytes = std::fs::read(dependency("sigstore-verify").join("test_data").join(path)).unwrap();
    let bundle: Value = serde_json::from_slice(&bytes).unwrap();
    let digest = if let Some(digest) = bundle.pointer("/messageSignature/messageDigest/digest") {
        Digest::from_bytes(STANDARD.decode(digest.as_str().unwrap()).unwrap().try_into().unwrap())
    } else {
        let payload = STANDARD.decode(bundle["dsseEnvelope"]["payload"].as_str().unwrap()).unwrap();
        let statement: Value = serde_json::from_slice(&payload).unwrap();
        Digest::from_hex(statement["subject"][0]["digest"]["sha256"].as_str().unwrap()).unwrap()
    };
    let artifact = Artifact::of_digest(digest);
    let judged = |bundle: &Value| {
        let evidence = Evidence::bundle("bundle", bundle.to_string().into_bytes());
        judge(&artifact, &[evidence], &anyone(EvidenceRequirements::DEFAULT), &[root], at("2026-11-24T00:00:00Z"))
    };
    let genuine = judged(&bundle);
    assert_eq!(genuine.outcome(), Outcome::Covered, "{path}: {genuine:#?}");
    let mut paths = Vec::new();
    leaves(&bundle, "", &mut paths);
    let mut accepted = Vec::new();
    for leaf in paths {
        for value in changes(bundle.pointer(&leaf).unwrap()) {
            let mut bent = bundle.clone();
            *bent.pointer_mut(&leaf).unwrap() = value;
            let verdict = judged(&bent);
            if verdict.outcome() == Outcome::Covered {
                assert_eq!(shown(&verdict), shown(&genuine), "{path}{leaf}: an unsigned field changed what is shown");
                if !accepted.contains(&leaf) {
                    accepted.push(leaf.clone());
                }
            }
        }
    }
    accepted
}

#[test]
fn of_a_rekor_v1_bundle_the_media_type_and_the_name_beside_the_checkpoints_signature_are_free() {
    let root = prepared("public", SIGSTORE_PRODUCTION_TRUSTED_ROOT);
    for path in ["bundles/conda-attestation.sigstore.json", "bundles/cosign-v3-blob.sigstore.json"] {
        assert_eq!(unsigned(path, &root), [MEDIA_TYPE, CHECKPOINT], "{path}");
    }
}

#[test]
fn of_a_rekor_v2_bundle_the_media_type_the_log_id_and_the_copies_of_the_checkpoint_are_free() {
    let root = prepared("staging", SIGSTORE_STAGING_TRUSTED_ROOT);
    let entry = "/verificationMaterial/tlogEntries/0";
    let want = [
        MEDIA_TYPE.to_owned(),
        CHECKPOINT.to_owned(),
        format!("{entry}/inclusionProof/logIndex"),
        format!("{entry}/inclusionProof/rootHash"),
        format!("{entry}/inclusionProof/treeSize"),
        format!("{entry}/logId/keyId"),
        "/verificationMaterial/timestampVerificationData/rfc3161Timestamps/0/signedTimestamp".to_owned(),
    ];
    let mut free = unsigned("upstream/sigstore-python/staging-rekor-v2.txt.sigstore.json", &root);
    free.sort_by_key(|leaf| want.iter().position(|known| known == leaf));
    assert_eq!(free, want);
}
