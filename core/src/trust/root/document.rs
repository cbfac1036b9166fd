//! The model written back as a `trusted_root.json`, for engines that read one.
//!
//! Written from the model, not copied from the source: what engines get is what holdfast verifies under, with windows cut to the certificates' own and
//! identifiers set right. Source: sigstore protobuf-specs, `sigstore_trustroot.proto`, in the JSON mapping of protocol buffers.

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Authority, KeyAlgorithm, Log, TrustRoot, Window};

/// The media type every engine reads.
const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.trustedroot+json;version=0.1";

impl TrustRoot {
    /// The root as a `trusted_root.json` on one line. Keys that sign without a certificate have no place in it, and logs whose kind of key has no name there
    /// are left out: engines then accept less than holdfast does.
    pub fn document(&self) -> String {
        json!({
            "mediaType": MEDIA_TYPE,
            "certificateAuthorities": self.certificate_authorities.iter().filter_map(authority).collect::<Vec<_>>(),
            "timestampAuthorities": self.timestamp_authorities.iter().filter_map(authority).collect::<Vec<_>>(),
            "tlogs": self.logs.iter().filter_map(log).collect::<Vec<_>>(),
            "ctlogs": self.ct_logs.iter().filter_map(log).collect::<Vec<_>>(),
        })
        .to_string()
    }
}

fn authority(authority: &Authority) -> Option<Value> {
    let certificates: Vec<_> = authority.chain.iter().map(|c| json!({"rawBytes": STANDARD.encode(&c.der)})).collect();
    let window = authority.effective_window()?;
    let mut entry = json!({"uri": authority.uri, "certChain": {"certificates": certificates}});
    insert(&mut entry, "validFor", valid_for(window));
    Some(entry)
}

fn log(log: &Log) -> Option<Value> {
    let mut key = json!({"rawBytes": STANDARD.encode(&log.key), "keyDetails": key_details(log)?});
    insert(&mut key, "validFor", valid_for(log.window));
    Some(json!({
        "baseUrl": log.base_url,
        "hashAlgorithm": "SHA2_256",
        "publicKey": key,
        "logId": {"keyId": STANDARD.encode(log.log_id.as_bytes())},
    }))
}

/// `sigstore_common.proto`, enum `PublicKeyDetails`; nothing where it has no name for the key.
fn key_details(log: &Log) -> Option<&'static str> {
    match log.algorithm {
        KeyAlgorithm::EcdsaP256 => Some("PKIX_ECDSA_P256_SHA_256"),
        KeyAlgorithm::EcdsaP384 => Some("PKIX_ECDSA_P384_SHA_384"),
        KeyAlgorithm::EcdsaP521 => Some("PKIX_ECDSA_P521_SHA_512"),
        KeyAlgorithm::Ed25519 => Some("PKIX_ED25519"),
        // The length of the encoding tells the length of the modulus.
        KeyAlgorithm::Rsa => match log.key.len() {
            290..=300 => Some("PKIX_RSA_PKCS1V15_2048_SHA256"),
            418..=428 => Some("PKIX_RSA_PKCS1V15_3072_SHA256"),
            546..=556 => Some("PKIX_RSA_PKCS1V15_4096_SHA256"),
            _ => None,
        },
        KeyAlgorithm::Unknown => None,
    }
}

/// Engines refuse a window without a start; what has none is given the oldest one they read.
fn valid_for(window: Window) -> Option<Value> {
    if window == Window::ALWAYS {
        return None;
    }
    let mut object = Map::from_iter([("start".to_owned(), json!(window.start().unwrap_or(Timestamp::UNIX_EPOCH)))]);
    if let Some(end) = window.end() {
        object.insert("end".to_owned(), json!(end));
    }
    Some(Value::Object(object))
}

fn insert(value: &mut Value, field: &str, what: Option<Value>) {
    if let (Some(object), Some(what)) = (value.as_object_mut(), what) {
        object.insert(field.to_owned(), what);
    }
}
