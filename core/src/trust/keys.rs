//! Bring-your-own keys: a trust root from single authorities, logs and keys in PEM.

use jiff::Timestamp;
use sigstore_verify::types::DerPublicKey;

use super::root::{Authority, Certificate, KeyAlgorithm, Log, ManagedKey, RootError, TrustRoot, Window};
use crate::api::mirror::{AuthorityKey, KeysSource, LogKey};
use crate::digest::Hasher;

/// Why declared keys are no trust root.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// One entry cannot be used.
    #[error("{entry}: {detail}")]
    Entry {
        /// Which, as `transparencyLogs[0]`.
        entry: String,
        /// What is wrong with it.
        detail: String,
    },
    /// All of them together cannot.
    #[error(transparent)]
    Root(#[from] RootError),
}

/// The trust root that declared keys make.
///
/// # Errors
/// [`KeysError`], naming the entry: what a person wrote is never dropped in silence.
pub fn trust_root(name: &str, keys: &KeysSource) -> Result<TrustRoot, KeysError> {
    let cas = entries("certificateAuthorities", &keys.certificate_authorities, authority)?;
    let tsas = entries("timestampAuthorities", &keys.timestamp_authorities, authority)?;
    let logs = entries("transparencyLogs", &keys.transparency_logs, log)?;
    let ct_logs = entries("ctLogs", &keys.ct_logs, log)?;
    let keys = entries("publicKeys", &keys.public_keys, |key| {
        ManagedKey::from_bytes(&key.name, key.public_key.as_bytes(), window(key.from.as_deref(), key.until.as_deref())?)
    })?;
    let root = TrustRoot::from_parts(name, cas, tsas, logs, ct_logs, keys)?;
    match root.notes.first() {
        Some(note) => Err(KeysError::Entry { entry: name.to_owned(), detail: note.to_string() }),
        None => Ok(root),
    }
}

fn entries<T, U>(field: &str, declared: &[T], read: impl Fn(&T) -> Result<U, String>) -> Result<Vec<U>, KeysError> {
    declared
        .iter()
        .enumerate()
        .map(|(index, entry)| {
            read(entry).map_err(|detail| KeysError::Entry { entry: format!("{field}[{index}]"), detail })
        })
        .collect()
}

fn window(from: Option<&str>, until: Option<&str>) -> Result<Window, String> {
    let instant = |text: Option<&str>| {
        text.map(|text| {
            text.parse::<Timestamp>().map_err(|_| format!("`{text}` is not a time as 2026-11-24T06:00:00Z"))
        })
        .transpose()
    };
    Window::new(instant(from)?, instant(until)?).map_err(|e| e.to_string())
}

fn authority(key: &AuthorityKey) -> Result<Authority, String> {
    let chain = x509_cert::Certificate::load_pem_chain(key.certificate_chain.as_bytes())
        .map_err(|e| format!("its chain is not PEM certificates: {e}"))?
        .iter()
        .map(|certificate| der::Encode::to_der(certificate).map_err(|e| e.to_string()).and_then(Certificate::from_der))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Authority { uri: String::new(), chain, window: window(key.from.as_deref(), key.until.as_deref())? })
}

fn log(key: &LogKey) -> Result<Log, String> {
    let spki = DerPublicKey::from_pem(&key.public_key)
        .map_err(|e| format!("its key is not a PEM public key: {e}"))?
        .as_bytes()
        .to_vec();
    let log_id = match (&key.origin, KeyAlgorithm::of_spki(&spki)) {
        (Some(origin), KeyAlgorithm::Ed25519) => Some(note_key_id(origin, &spki)?),
        (None, KeyAlgorithm::Ed25519) => {
            return Err("an Ed25519 log (Rekor v2) needs `origin`, from which its identifier is made".to_owned());
        }
        _ => None,
    };
    Log::from_key(
        key.base_url.as_deref().unwrap_or_default(),
        spki,
        log_id,
        window(key.from.as_deref(), key.until.as_deref())?,
    )
}

/// The identifier of a Rekor v2 log (C2SP signed-note, "Ed25519 signatures"): SHA-256 over the origin, a newline, the byte 1 and the raw key.
fn note_key_id(origin: &str, spki: &[u8]) -> Result<[u8; 32], String> {
    let raw = spki.len().checked_sub(32).and_then(|at| spki.get(at..)).ok_or("its key is too short for Ed25519")?;
    let mut hasher = Hasher::default();
    hasher.update(origin.as_bytes());
    hasher.update(b"\n\x01");
    hasher.update(raw);
    Ok(*hasher.finish().as_bytes())
}
