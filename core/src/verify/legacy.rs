//! cosign's legacy form (`sha256-<hex>.sig`, `.att`): a bundle in other clothes.
//!
//! Sources: cosign `specs/SIGNATURE_SPEC.md` (layout, annotations), containers/image "simple signing" (payload).

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};
use sigstore_verify::types::{Bundle, DerCertificate};

use super::{Limits, Reason, fault::Fault};
use crate::Digest;
use crate::json::{self, Object};

const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
const BUNDLE: &str = "dev.sigstore.cosign/bundle";
const TIMESTAMP: &str = "dev.sigstore.cosign/rfc3161timestamp";

/// What cosign and its forerunner write as `critical.type`.
const PAYLOAD_TYPES: [&str; 2] = ["cosign container image signature", "atomic container signature"];

/// The deepest nesting of what the legacy form holds.
const MAX_DEPTH: usize = 16;

/// The largest simple-signing payload, in bytes; real ones have some 250.
const MAX_PAYLOAD: usize = 64 * 1024;

#[derive(Deserialize)]
struct SimpleSigning {
    critical: Object<Critical>,
}

#[derive(Deserialize)]
struct Critical {
    #[serde(rename = "type")]
    kind: String,
    image: Object<Image>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Image {
    docker_manifest_digest: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RekorBundle {
    signed_entry_timestamp: String,
    payload: Object<RekorPayload>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RekorPayload {
    body: String,
    integrated_time: i64,
    log_index: i64,
    #[serde(rename = "logID")]
    log_id: String,
}

#[derive(Deserialize)]
struct Timestamp {
    #[serde(rename = "SignedRFC3161Timestamp")]
    token: String,
}

fn malformed(message: impl Into<String>) -> Fault {
    Fault::new(Reason::Malformed, message)
}

/// A `.sig` layer as a bundle whose message is the payload, once the payload names the artefact.
pub(super) fn signature(
    payload: &[u8],
    annotations: &BTreeMap<String, String>,
    digest: Digest,
    limits: &Limits,
) -> Result<Bundle, Fault> {
    if payload.len() > MAX_PAYLOAD {
        return Err(malformed(format!(
            "the signed payload has {} bytes, more than the {MAX_PAYLOAD} that are read",
            payload.len()
        )));
    }
    let SimpleSigning { critical: Object(critical) } =
        json::read(payload, json::Limits { max_len: MAX_PAYLOAD, max_depth: MAX_DEPTH })
            .map_err(|e| malformed(format!("the signed payload is not JSON that is read: {e}")))?;
    if !PAYLOAD_TYPES.contains(&critical.kind.as_str()) {
        return Err(Fault::new(
            Reason::UnsupportedFormat,
            format!(
                "the signed payload is of type `{}`, not an image signature",
                critical.kind.chars().take(100).collect::<String>()
            ),
        ));
    }
    let named = &critical.image.0.docker_manifest_digest;
    if *named != digest.to_string() {
        return Err(Fault::new(
            Reason::DigestMismatch,
            format!("the signature is for {}, not for {digest}", named.chars().take(80).collect::<String>()),
        ));
    }
    let signature =
        annotations.get(SIGNATURE).ok_or_else(|| malformed(format!("the layer has no annotation {SIGNATURE}")))?;
    let content = json!({
        "messageDigest": {"algorithm": "SHA2_256", "digest": STANDARD.encode(Digest::of(payload).as_bytes())},
        "signature": signature.trim(),
    });
    bundle("messageSignature", &content, annotations, limits)
}

/// An `.att` layer as a bundle with its envelope.
pub(super) fn attestation(
    envelope: &[u8],
    annotations: &BTreeMap<String, String>,
    limits: &Limits,
) -> Result<Bundle, Fault> {
    let most = limits.bundle_bytes();
    crate::json::check(envelope, crate::json::Limits { max_len: most, max_depth: 8 })
        .map_err(|e| malformed(format!("the envelope is not JSON that is read: {e}")))?;
    let envelope: Value =
        serde_json::from_slice(envelope).map_err(|e| malformed(format!("the envelope cannot be read: {e}")))?;
    bundle("dsseEnvelope", &envelope, annotations, limits)
}

fn bundle(
    content_name: &str,
    content: &Value,
    annotations: &BTreeMap<String, String>,
    limits: &Limits,
) -> Result<Bundle, Fault> {
    let size: usize = annotations.iter().map(|(key, value)| key.len() + value.len()).sum();
    if size > limits.material_bytes {
        return Err(malformed(format!(
            "the layer's annotations have {size} bytes, more than the {} that are read",
            limits.material_bytes
        )));
    }
    let signed_by = match annotations.get(CERTIFICATE).filter(|pem| !pem.trim().is_empty()) {
        Some(pem) => {
            let leaf = DerCertificate::from_pem(pem)
                .map_err(|e| malformed(format!("the annotation {CERTIFICATE} is not a PEM certificate: {e}")))?;
            ("x509CertificateChain", json!({"certificates": [{"rawBytes": STANDARD.encode(leaf.as_bytes())}]}))
        }
        None => ("publicKey", json!({"hint": ""})),
    };
    let entry = annotations
        .get(BUNDLE)
        .filter(|text| !text.trim().is_empty())
        .map(|text| log_entry(text, limits))
        .transpose()?;
    // Version 0.1 demands a promise; without a log entry there is none.
    let version = if entry.is_some() { "0.1" } else { "0.2" };
    let timestamp = annotations.get(TIMESTAMP).filter(|text| !text.trim().is_empty()).map(|text| {
        json::read::<Timestamp>(text.as_bytes(), annotation(limits))
            .map_err(|e| malformed(format!("the annotation {TIMESTAMP} cannot be read: {e}")))
    });
    let timestamps: Vec<Value> =
        timestamp.transpose()?.map(|t| json!({"signedTimestamp": t.token})).into_iter().collect();
    let document = json!({
        "mediaType": format!("application/vnd.dev.sigstore.bundle+json;version={version}"),
        "verificationMaterial": {
            signed_by.0: signed_by.1,
            "tlogEntries": entry.into_iter().collect::<Vec<_>>(),
            "timestampVerificationData": {"rfc3161Timestamps": timestamps},
        },
        content_name: content,
    });
    Bundle::from_json(&document.to_string()).map_err(|e| malformed(format!("the legacy form cannot be read: {e}")))
}

/// An annotation is JSON in its own right; its size is bounded with all of them together.
const fn annotation(limits: &Limits) -> json::Limits {
    json::Limits { max_len: limits.material_bytes, max_depth: MAX_DEPTH }
}

fn log_entry(text: &str, limits: &Limits) -> Result<Value, Fault> {
    let bad = |detail: String| malformed(format!("the annotation {BUNDLE} cannot be read: {detail}"));
    let rekor: RekorBundle = json::read(text.as_bytes(), annotation(limits)).map_err(|e| bad(e.to_string()))?;
    let Object(payload) = rekor.payload;
    let body = STANDARD.decode(&payload.body).map_err(|e| bad(format!("its body is not base64: {e}")))?;
    json::check(&body, annotation(limits)).map_err(|e| bad(format!("its body is not JSON that is read: {e}")))?;
    let body: Value = serde_json::from_slice(&body).map_err(|e| bad(format!("its body is not JSON: {e}")))?;
    let part = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (kind, version) = (part("kind"), part("apiVersion"));
    if !matches!((kind.as_str(), version.as_str()), ("hashedrekord" | "dsse", "0.0.1") | ("intoto", "0.0.2")) {
        return Err(Fault::new(
            Reason::UnsupportedFormat,
            format!("log entries of kind `{kind} {version}` are not known"),
        ));
    }
    let log_id = hex::decode(&payload.log_id).map_err(|e| bad(format!("its log id is not hex: {e}")))?;
    Ok(json!({
        "logIndex": payload.log_index.to_string(),
        "logId": {"keyId": STANDARD.encode(log_id)},
        "kindVersion": {"kind": kind, "version": version},
        "integratedTime": payload.integrated_time.to_string(),
        "inclusionPromise": {"signedEntryTimestamp": rekor.signed_entry_timestamp},
        "canonicalizedBody": payload.body,
    }))
}
