//! A trust root as policy-controller reads it: a TrustRoot object, or an entry straight in `config-sigstore-keys`.
//!
//! A TrustRoot object (`sigstoreKeys`) loses validity windows and log ids, and one Ed25519 log in it keeps it from ever becoming ready; so it holds
//! certificate and timestamp authorities only, and of those only the ones whose window is that of their certificates. A direct entry is the JSON of a
//! trusted root: windows and log ids count as written.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use der::Decode;
use der::oid::ObjectIdentifier;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::engines::object::{For, Type, fields};
use crate::engines::{EngineKind, Object, names};
use crate::pem::pem;
use crate::trust::root::{Authority, KeyAlgorithm, Log, TrustRoot, Window};

/// The one media type the engine's verifier accepts.
const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.trustedroot+json;version=0.1";
/// The ConfigMap trust is compiled into.
const KEYS: &str = "config-sigstore-keys";
/// Addresses are required and never dialled; this one cannot be.
pub(super) const NO_ADDRESS: &str = "https://fulcio.invalid";
const ORGANIZATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.10");
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// What of a trust root is not given to the engine, in words.
pub(super) type LeftOut = Vec<String>;

/// The name an object is known by to authorities.
pub(super) fn object_name(root: &str) -> String {
    names::name(root, names::MAX_NAME)
}

/// The key a direct entry is known by to authorities. The `_` cannot be part of an object's name, so no TrustRoot ever writes that key.
pub(super) fn direct_name(root: &str) -> String {
    format!("{}_direct", names::name(root, names::MAX_NAME - 7))
}

/// Whether some authority counts for only a part of the time its certificates are valid, which a TrustRoot object cannot say.
pub(super) fn needs_windows(root: &TrustRoot) -> bool {
    root.certificate_authorities.iter().chain(&root.timestamp_authorities).any(is_cut)
}

/// Whether the log can vouch for a time itself: a promise of inclusion has one, and Rekor v2 gives none. The id of a Rekor v2 log also hashes its name.
pub(super) fn gives_times(log: &Log) -> bool {
    log.algorithm != KeyAlgorithm::Ed25519 || log.log_id.as_bytes() == log.key_digest.as_bytes()
}

/// Why a log is not given to the engine. The engine does not hold the entries of a Rekor v2 log to the end of its window.
fn unusable(log: &Log) -> Option<&'static str> {
    if log.window.end().is_some() {
        return Some("its window has an end, and the engine does not hold entries to it");
    }
    if key_details(log.algorithm).is_none() {
        return Some("the engine cannot read a key of this algorithm");
    }
    (log.base_url.is_empty()).then_some("it has no address, which its checkpoints are compared with")
}

/// The logs a direct entry holds.
pub(super) fn logs(root: &TrustRoot) -> impl Iterator<Item = &Log> {
    root.logs.iter().filter(|log| unusable(log).is_none())
}

/// The certificate transparency logs a direct entry holds: those the engine does hold to their windows.
pub(super) fn ct_logs(root: &TrustRoot) -> impl Iterator<Item = &Log> {
    root.ct_logs.iter().filter(|log| key_details(log.algorithm).is_some())
}

/// The authorities a TrustRoot object holds, the newest last: of timestamp authorities, the legacy verifier takes the last.
pub(super) fn whole(authorities: &[Authority]) -> Vec<&Authority> {
    let mut whole: Vec<&Authority> = authorities.iter().filter(|authority| !is_cut(authority)).collect();
    whole.sort_by_key(|authority| {
        (authority.effective_window().and_then(|window| window.start()), authority.chain_digest())
    });
    whole
}

fn is_cut(authority: &Authority) -> bool {
    let certified = authority.chain.iter().try_fold(Window::ALWAYS, |window, c| window.intersection(c.validity));
    authority.effective_window() != certified
}

/// The TrustRoot object, and what it leaves out. `with_logs` where the engine stores log ids so that it finds them again.
pub(super) fn object(root: &TrustRoot, with_logs: bool) -> (Object, LeftOut) {
    let cut = |authority: &&Authority| is_cut(authority);
    let left_out = root
        .certificate_authorities
        .iter()
        .chain(&root.timestamp_authorities)
        .filter(cut)
        .map(|authority| format!("`{}` of `{}` counts {}", authority.name(), root.name, authority.window))
        .collect();
    let mut keys = json!({
        "certificateAuthorities": whole(&root.certificate_authorities).into_iter().map(authority).collect::<Vec<_>>(),
        "timestampAuthorities": whole(&root.timestamp_authorities).into_iter().map(authority).collect::<Vec<_>>(),
    });
    if let (true, Some(keys)) = (with_logs, keys.as_object_mut()) {
        keys.insert("tLogs".to_owned(), object_logs(&root.logs).map(log).collect());
        keys.insert("ctLogs".to_owned(), object_logs(&root.ct_logs).map(log).collect());
    }
    let of = Type { api_version: "policy.sigstore.dev/v1alpha1", kind: "TrustRoot" };
    let spec = fields([("spec", fields([("sigstoreKeys", keys)]))]);
    (
        Object::new(EngineKind::PolicyController, of, None, &object_name(&root.name), For::TrustRoot(&root.name), spec),
        left_out,
    )
}

/// The logs a TrustRoot object may hold: ECDSA, with an address, and without a window that would be lost.
pub(super) fn object_logs(logs: &[Log]) -> impl Iterator<Item = &Log> {
    logs.iter().filter(|log| {
        let ecdsa =
            matches!(log.algorithm, KeyAlgorithm::EcdsaP256 | KeyAlgorithm::EcdsaP384 | KeyAlgorithm::EcdsaP521);
        ecdsa && !log.base_url.is_empty() && log.window.end().is_none()
    })
}

fn log(log: &Log) -> Value {
    let key = pem("PUBLIC KEY", &log.key);
    json!({ "baseURL": log.base_url, "hashAlgorithm": "sha-256", "publicKey": STANDARD.encode(key) })
}

fn authority(authority: &Authority) -> Value {
    let chain: String = authority.chain.iter().map(|certificate| pem("CERTIFICATE", &certificate.der)).collect();
    json!({ "subject": subject(authority), "uri": address(authority), "certChain": STANDARD.encode(chain) })
}

/// The authority's own address, or one that leads nowhere.
pub(super) fn address(authority: &Authority) -> &str {
    let is_address = authority.uri.starts_with("https://") || authority.uri.starts_with("http://");
    if is_address { &authority.uri } else { NO_ADDRESS }
}

/// Organisation and common name of the root certificate: both are required, and neither is compared with anything.
fn subject(authority: &Authority) -> Value {
    let parsed = authority.chain.last().and_then(|root| x509_cert::Certificate::from_der(&root.der).ok());
    let find = |wanted: ObjectIdentifier| {
        parsed
            .iter()
            .flat_map(|certificate| certificate.tbs_certificate.subject.0.iter())
            .flat_map(|names| names.0.iter())
            .filter(|attribute| attribute.oid == wanted)
            .find_map(|attribute| std::str::from_utf8(attribute.value.value()).ok())
            .filter(|text| !text.is_empty())
    };
    let (organization, name) = (find(ORGANIZATION), find(COMMON_NAME));
    let (organization, name) = (organization.or(name), name.or(organization));
    json!({ "organization": organization.unwrap_or("unnamed"), "commonName": name.unwrap_or("unnamed") })
}

/// The direct entries, as a part of the engine's ConfigMap: only these keys are holdfast's.
pub(super) fn direct_entries(namespace: &str, roots: &[&TrustRoot]) -> Object {
    let data: serde_json::Map<String, Value> =
        roots.iter().map(|root| (direct_name(&root.name), json!(document(root).to_string()))).collect();
    let of = Type { api_version: "v1", kind: "ConfigMap" };
    Object::part(EngineKind::PolicyController, of, Some(namespace), KEYS, fields([("data", Value::Object(data))]))
}

/// What a direct entry leaves out.
pub(super) fn left_out_of_direct(root: &TrustRoot) -> LeftOut {
    let of = |log: &Log, why: &str| format!("{} of `{}`: {why}", log.name(), root.name);
    let logs = root.logs.iter().filter_map(|log| unusable(log).map(|why| of(log, why)));
    let ct_logs = root
        .ct_logs
        .iter()
        .filter(|log| key_details(log.algorithm).is_none())
        .map(|log| of(log, "the engine cannot read a key of this algorithm"));
    logs.chain(ct_logs).collect()
}

/// The trusted root as the engine's strict reader takes it: known fields only, since one unknown field stops the webhook.
pub(super) fn document(root: &TrustRoot) -> Value {
    let authorities = |all: &[Authority]| {
        all.iter()
            .filter_map(|authority| Some((authority, authority.effective_window()?)))
            .map(|(authority, window)| {
                let certificates: Vec<Value> =
                    authority.chain.iter().map(|c| json!({ "rawBytes": STANDARD.encode(&c.der) })).collect();
                json!({
                    "subject": subject(authority),
                    "uri": address(authority),
                    "certChain": { "certificates": certificates },
                    "validFor": valid_for(window),
                })
            })
            .collect::<Vec<_>>()
    };
    let entry = |log: &Log| {
        json!({
            "baseUrl": log.base_url,
            "hashAlgorithm": "SHA2_256",
            "publicKey": {
                "rawBytes": STANDARD.encode(&log.key),
                "keyDetails": key_details(log.algorithm),
                "validFor": valid_for(log.window),
            },
            "logId": { "keyId": STANDARD.encode(log.log_id.as_bytes()) },
        })
    };
    json!({
        "mediaType": MEDIA_TYPE,
        "tlogs": logs(root).map(entry).collect::<Vec<_>>(),
        "certificateAuthorities": authorities(&root.certificate_authorities),
        "ctlogs": ct_logs(root).map(entry).collect::<Vec<_>>(),
        "timestampAuthorities": authorities(&root.timestamp_authorities),
    })
}

/// A window with a start always: the engine refuses a whole trust root for one log without.
fn valid_for(window: Window) -> Value {
    let start = window.start().unwrap_or(Timestamp::UNIX_EPOCH);
    match window.end() {
        Some(end) => json!({ "start": start, "end": end }),
        None => json!({ "start": start }),
    }
}

const fn key_details(algorithm: KeyAlgorithm) -> Option<&'static str> {
    match algorithm {
        KeyAlgorithm::EcdsaP256 => Some("PKIX_ECDSA_P256_SHA_256"),
        KeyAlgorithm::EcdsaP384 => Some("PKIX_ECDSA_P384_SHA_384"),
        KeyAlgorithm::EcdsaP521 => Some("PKIX_ECDSA_P521_SHA_512"),
        KeyAlgorithm::Ed25519 => Some("PKIX_ED25519"),
        KeyAlgorithm::Rsa | KeyAlgorithm::Unknown => None,
    }
}
