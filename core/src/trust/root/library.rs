//! The model as the verification library wants to read it.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use sigstore_verify::{Verifier, trust_root::TrustedRoot};

use super::{Authority, Log, TrustRoot, Window};

impl TrustRoot {
    /// A verifier over this root's authorities and logs.
    ///
    /// Authorities are handed over with their [effective window](Authority::effective_window), so that a chain whose certificate has ended stops counting.
    pub(crate) fn verifier(&self) -> Result<Verifier, String> {
        verifier(&document(&self.certificate_authorities, &self.timestamp_authorities, &self.logs, &self.ct_logs))
    }
}

/// Why the library would refuse a root for this authority's sake.
pub(super) fn authority_error(authority: &Authority) -> Option<String> {
    verifier(&document(std::slice::from_ref(authority), &[], &[], &[])).err()
}

fn verifier(document: &Value) -> Result<Verifier, String> {
    let root = TrustedRoot::from_json(&document.to_string()).map_err(|e| e.to_string())?;
    Verifier::new(&root).map_err(|e| e.to_string())
}

fn document(cas: &[Authority], tsas: &[Authority], logs: &[Log], ct_logs: &[Log]) -> Value {
    json!({
        "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
        "certificateAuthorities": cas.iter().map(authority).collect::<Vec<_>>(),
        "timestampAuthorities": tsas.iter().map(authority).collect::<Vec<_>>(),
        "tlogs": logs.iter().map(log).collect::<Vec<_>>(),
        "ctlogs": ct_logs.iter().map(log).collect::<Vec<_>>(),
    })
}

fn authority(authority: &Authority) -> Value {
    let certificates: Vec<_> = authority.chain.iter().map(|c| json!({"rawBytes": STANDARD.encode(&c.der)})).collect();
    // An authority whose windows do not meet is never kept; the declared one stands in so that this stays total.
    let effective = authority.effective_window().unwrap_or(authority.window);
    with_window(json!({"uri": authority.uri, "certChain": {"certificates": certificates}}), effective)
}

fn log(log: &Log) -> Value {
    let key = with_window(
        json!({"rawBytes": STANDARD.encode(&log.key), "keyDetails": log.algorithm.to_string()}),
        log.window,
    );
    json!({
        "baseUrl": log.base_url,
        "hashAlgorithm": "SHA2_256",
        "publicKey": key,
        "logId": {"keyId": STANDARD.encode(log.log_id.as_bytes())},
    })
}

fn with_window(mut value: Value, window: Window) -> Value {
    // The library's windows always start; the model's only then.
    let start = window.start().unwrap_or(jiff::Timestamp::MIN);
    if let (Some(object), true) = (value.as_object_mut(), window != Window::ALWAYS) {
        object.insert("validFor".to_owned(), json!({"start": start, "end": window.end()}));
    }
    value
}
