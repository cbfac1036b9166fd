//! Reading a `trusted_root.json` as producers really write it.

use base64::{Engine, engine::general_purpose::STANDARD};
use sigstore_verify::crypto::{SigningScheme, VerificationKey};

use super::{
    Authority, Certificate, KeyAlgorithm, Log, LogId, ManagedKey, RootNote, TrustRoot, Window, WindowError, host,
    library,
    raw::{RawAuthority, RawLog, RawRoot, RawWindow},
};
use crate::Digest;
use crate::json::{self, JsonError, Object};
use crate::trust::diff::Kind;

/// The largest `trusted_root.json` read, in bytes. The public one has 7 KB, the largest known 32 KB.
pub const MAX_BYTES: usize = 1024 * 1024;
/// The most authorities, logs and keys one root may list.
pub const MAX_ENTRIES: usize = 256;
/// The deepest nesting of a `trusted_root.json`; what the format has needs seven levels.
const MAX_DEPTH: usize = 16;
/// The most certificates in one chain.
const MAX_CHAIN: usize = 16;

const MEDIA_TYPES: [&str; 3] = [
    "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
    "application/vnd.dev.sigstore.trustedroot+json;version=0.2",
    "application/vnd.dev.sigstore.trustedroot.v0.2+json",
];

/// Why a trusted root cannot be used at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RootError {
    /// More bytes than are read.
    #[error(
        "the trusted root has {size} bytes, more than the {MAX_BYTES} that are read: give a trusted_root.json, not a bundle or an archive"
    )]
    TooLarge {
        /// How many bytes were offered.
        size: usize,
    },
    /// Not the JSON of a trusted root.
    #[error("the trusted root cannot be read: {detail}. Give the trusted_root.json as its publisher made it")]
    Malformed {
        /// What the parser met, with line and column.
        detail: String,
    },
    /// Another kind of document.
    #[error("the document says it is `{got}`, not a trusted root (`{}`): was another file given?", MEDIA_TYPES[0])]
    MediaType {
        /// The media type found.
        got: String,
    },
    /// A window that says nothing, or ends before it starts.
    #[error(
        "{entry}: its validity window cannot be used: {detail}. An unclear window is refused, never guessed; ask the publisher for a corrected root"
    )]
    Window {
        /// Which entry.
        entry: String,
        /// What is wrong with it.
        detail: String,
    },
    /// Two different keys under one log id.
    #[error(
        "{entry} has the log id of {first} and another key or window: which of the two signed cannot be told. Ask the publisher for a corrected root"
    )]
    AmbiguousLogId {
        /// The later entry.
        entry: String,
        /// The earlier entry.
        first: String,
    },
    /// More entries than a root may list.
    #[error("the trusted root lists {count} {what}, more than the {max} that are read")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How many.
        count: usize,
        /// How many are read.
        max: usize,
    },
    /// Nothing in it can be used.
    #[error("the trusted root lists no authority, log or key that can be used{}", list(.dropped))]
    Empty {
        /// What was left out, and why.
        dropped: Vec<String>,
    },
}

fn list(dropped: &[String]) -> String {
    if dropped.is_empty() { String::new() } else { format!(": {}", dropped.join("; ")) }
}

impl From<(String, WindowError)> for RootError {
    fn from((entry, error): (String, WindowError)) -> Self {
        Self::Window { entry, detail: error.to_string() }
    }
}

impl TrustRoot {
    /// Reads a `trusted_root.json`.
    ///
    /// Producers differ (an empty `baseUrl`, an absent or doubly encoded log id, a key of an unknown algorithm): what can be set right is, what cannot be
    /// used is left out, and both are noted. A window without a start, or one that ends before it starts, refuses the whole root: it is never guessed.
    ///
    /// # Errors
    /// [`RootError`], when the document is not a trusted root or nothing in it can be used.
    pub fn from_json(name: &str, bytes: &[u8]) -> Result<Self, RootError> {
        let raw: RawRoot = json::read(bytes, json::Limits { max_len: MAX_BYTES, max_depth: MAX_DEPTH }).map_err(
            |error| match error {
                JsonError::TooLarge { len, .. } => RootError::TooLarge { size: len },
                other => RootError::Malformed { detail: other.to_string() },
            },
        )?;
        if !MEDIA_TYPES.contains(&raw.media_type.as_str()) {
            return Err(RootError::MediaType { got: raw.media_type.chars().take(100).collect() });
        }
        let count =
            raw.tlogs.len() + raw.ctlogs.len() + raw.certificate_authorities.len() + raw.timestamp_authorities.len();
        if count > MAX_ENTRIES {
            return Err(RootError::TooMany { what: "authorities and logs", count, max: MAX_ENTRIES });
        }
        let mut notes = Vec::new();
        let root = Self {
            name: name.to_owned(),
            digest: Digest::of(bytes),
            certificate_authorities: authorities(CAS, raw.certificate_authorities, &mut notes)?,
            timestamp_authorities: authorities(TSAS, raw.timestamp_authorities, &mut notes)?,
            logs: logs(("tlogs", Kind::TransparencyLog), raw.tlogs, &mut notes)?,
            ct_logs: logs(("ctlogs", Kind::CtLog), raw.ctlogs, &mut notes)?,
            keys: Vec::new(),
            notes: Vec::new(),
        };
        root.checked(notes)
    }

    /// A root assembled from single authorities, logs and keys ("bring your own").
    ///
    /// # Errors
    /// [`RootError::Empty`] when nothing of it can be used, [`RootError::AmbiguousLogId`] when two logs share an identifier.
    pub fn from_parts(
        name: &str,
        certificate_authorities: Vec<Authority>,
        timestamp_authorities: Vec<Authority>,
        logs: Vec<Log>,
        ct_logs: Vec<Log>,
        keys: Vec<ManagedKey>,
    ) -> Result<Self, RootError> {
        let count =
            certificate_authorities.len() + timestamp_authorities.len() + logs.len() + ct_logs.len() + keys.len();
        if count > MAX_ENTRIES {
            return Err(RootError::TooMany { what: "authorities, logs and keys", count, max: MAX_ENTRIES });
        }
        let mut notes = Vec::new();
        let mut root = Self {
            name: name.to_owned(),
            digest: Digest::of(&[]),
            certificate_authorities: usable_authorities(CAS, numbered(CAS, certificate_authorities), &mut notes),
            timestamp_authorities: usable_authorities(TSAS, numbered(TSAS, timestamp_authorities), &mut notes),
            logs: distinct("logs", logs, &mut notes)?,
            ct_logs: distinct("ctLogs", ct_logs, &mut notes)?,
            keys,
            notes: Vec::new(),
        };
        root.digest = Digest::of(&serde_json::to_vec(&root).unwrap_or_default());
        root.checked(notes)
    }

    fn checked(mut self, notes: Vec<RootNote>) -> Result<Self, RootError> {
        let empty = self.certificate_authorities.is_empty()
            && self.timestamp_authorities.is_empty()
            && self.logs.is_empty()
            && self.ct_logs.is_empty()
            && self.keys.is_empty();
        if empty {
            return Err(RootError::Empty { dropped: notes.iter().map(ToString::to_string).collect() });
        }
        self.notes = notes;
        Ok(self)
    }
}

impl Log {
    /// A log from its public key; the identifier is SHA-256 of the key unless one is given.
    ///
    /// # Errors
    /// A sentence saying why the key cannot be used.
    pub fn from_key(base_url: &str, key: Vec<u8>, log_id: Option<[u8; 32]>, window: Window) -> Result<Self, String> {
        usable_key(Kind::CtLog, &key)?;
        let key_digest = Digest::of(&key);
        Ok(Self {
            base_url: base_url.to_owned(),
            log_id: LogId(log_id.unwrap_or(*key_digest.as_bytes())),
            algorithm: KeyAlgorithm::of_spki(&key),
            key,
            key_digest,
            window,
        })
    }
}

impl ManagedKey {
    /// A key from its PEM (`-----BEGIN PUBLIC KEY-----`) or DER form.
    ///
    /// # Errors
    /// A sentence saying why the key cannot be used.
    pub fn from_bytes(name: &str, bytes: &[u8], window: Window) -> Result<Self, String> {
        if bytes.len() > Certificate::MAX_BYTES {
            return Err(format!(
                "a public key of {} bytes is larger than the {} allowed",
                bytes.len(),
                Certificate::MAX_BYTES
            ));
        }
        let der = match std::str::from_utf8(bytes) {
            Ok(text) if text.contains("-----BEGIN") => sigstore_verify::types::DerPublicKey::from_pem(text)
                .map_err(|e| format!("not a PEM public key: {e}"))?
                .as_bytes()
                .to_vec(),
            _ => bytes.to_vec(),
        };
        sigstore_verify::crypto::KeyAlgorithm::from_spki(&sigstore_verify::types::DerPublicKey::new(der.clone()))
            .map_err(|e| format!("not a public key that can be used: {e}"))?;
        let key_digest = Digest::of(&der);
        Ok(Self { name: name.to_owned(), algorithm: KeyAlgorithm::of_spki(&der), key: der, key_digest, window })
    }
}

/// A list of the document, and what its entries are.
type List = (&'static str, Kind);

const CAS: List = ("certificateAuthorities", Kind::CertificateAuthority);
const TSAS: List = ("timestampAuthorities", Kind::TimestampAuthority);

fn numbered<T>((field, _): List, read: Vec<T>) -> Vec<(String, T)> {
    read.into_iter().enumerate().map(|(index, entry)| (format!("{field}[{index}]"), entry)).collect()
}

/// An entry with the address it gives, where it gives one: what it holds could not be read.
fn addressed(entry: &str, address: &str) -> String {
    match host(address) {
        "" => entry.to_owned(),
        host => format!("{entry} ({})", host.chars().take(100).collect::<String>()),
    }
}

fn window(entry: &str, raw: Option<Object<RawWindow>>) -> Result<Window, RootError> {
    let Some(Object(raw)) = raw else { return Ok(Window::ALWAYS) };
    if raw.start.is_none() {
        return Err(RootError::Window { entry: entry.to_owned(), detail: "it has no start".to_owned() });
    }
    Window::new(raw.start, raw.end).map_err(|e| (entry.to_owned(), e).into())
}

fn decode(what: &str, text: &str) -> Result<Vec<u8>, String> {
    STANDARD.decode(text).map_err(|e| format!("{what} is not base64: {e}"))
}

fn authorities(
    list: List,
    raw: Vec<Object<RawAuthority>>,
    notes: &mut Vec<RootNote>,
) -> Result<Vec<Authority>, RootError> {
    let mut read = Vec::new();
    for (entry, Object(raw)) in numbered(list, raw) {
        let window = window(&entry, raw.valid_for)?;
        if raw.cert_chain.0.certificates.len() > MAX_CHAIN {
            return Err(RootError::TooMany {
                what: "certificates in one chain",
                count: raw.cert_chain.0.certificates.len(),
                max: MAX_CHAIN,
            });
        }
        let chain: Result<Vec<_>, String> = raw
            .cert_chain
            .0
            .certificates
            .into_iter()
            .map(|c| decode("a certificate", &c.0.raw_bytes).and_then(Certificate::from_der))
            .collect();
        match chain {
            Ok(chain) => read.push((entry, Authority { uri: raw.uri, chain, window })),
            Err(why) => notes.push(RootNote::Dropped { kind: list.1, entry: addressed(&entry, &raw.uri), why }),
        }
    }
    Ok(usable_authorities(list, read, notes))
}

/// Keeps the authorities that verification can use; the others are noted.
fn usable_authorities((_, kind): List, read: Vec<(String, Authority)>, notes: &mut Vec<RootNote>) -> Vec<Authority> {
    let mut kept: Vec<(String, Authority)> = Vec::new();
    for (entry, authority) in read {
        let labelled = format!("{entry} ({})", authority.name());
        let why = if authority.chain.is_empty() {
            Some("its certificate chain is empty".to_owned())
        } else if authority.effective_window().is_none() {
            Some(format!(
                "no instant lies both in its declared window ({}) and in the validity of all its certificates",
                authority.window
            ))
        } else {
            library::authority_error(&authority)
        };
        if let Some(why) = why {
            notes.push(RootNote::Dropped { kind, entry: labelled, why });
            continue;
        }
        if let Some((first, _)) =
            kept.iter().find(|(_, other)| other.chain == authority.chain && other.window == authority.window)
        {
            notes.push(RootNote::Duplicate { entry: labelled, first: first.clone() });
            continue;
        }
        if let Some(effective) = authority.effective_window().filter(|w| *w != authority.window) {
            // Every authority's certificates have a start and an end; only a cut inside the declared window is news.
            let cut = authority.window.end().is_some_and(|end| effective.end() < Some(end))
                || (authority.window.start().is_some() && effective.start() > authority.window.start());
            if cut {
                notes.push(RootNote::WindowNarrowed { entry: labelled.clone(), declared: authority.window, effective });
            }
        }
        kept.push((labelled, authority));
    }
    kept.into_iter().map(|(_, authority)| authority).collect()
}

fn logs(list: List, raw: Vec<Object<RawLog>>, notes: &mut Vec<RootNote>) -> Result<Vec<Log>, RootError> {
    let (field, kind) = list;
    let mut read = Vec::new();
    for (entry, Object(raw)) in numbered(list, raw) {
        let window = window(&entry, raw.public_key.0.valid_for)?;
        let labelled = addressed(&entry, &raw.base_url);
        let log = decode("the public key", &raw.public_key.0.raw_bytes).and_then(|key| {
            if !matches!(raw.hash_algorithm.as_str(), "" | "SHA2_256") {
                return Err(format!("its hash algorithm `{}` is not known", raw.hash_algorithm));
            }
            usable_key(kind, &key)?;
            let key_digest = Digest::of(&key);
            let algorithm = KeyAlgorithm::of_spki(&key);
            let given = raw.log_id.map(|Object(id)| id.key_id).unwrap_or_default();
            let (log_id, set_right) = log_id(&given, key_digest, algorithm, kind)?;
            if let Some(was) = set_right {
                notes.push(RootNote::LogIdSetRight { entry: entry.clone(), was: was.to_owned(), id: log_id });
            }
            Ok(Log { base_url: raw.base_url, log_id, key, key_digest, algorithm, window })
        });
        match log {
            Ok(log) => read.push(log),
            Err(why) => notes.push(RootNote::Dropped { kind, entry: labelled, why }),
        }
    }
    distinct(field, read, notes)
}

/// A log's identifier as given, or as far as it can be worked out.
///
/// An absent one is SHA-256 of the key (RFC 6962, Rekor v1). For an Ed25519 key it may be a Rekor v2 log's note key id, which also hashes the origin
/// and so cannot be worked out from the key: such an entry is not guessed.
fn log_id(
    given: &str,
    key_digest: Digest,
    algorithm: KeyAlgorithm,
    kind: Kind,
) -> Result<(LogId, Option<&'static str>), String> {
    if given.is_empty() {
        if kind == Kind::TransparencyLog && algorithm == KeyAlgorithm::Ed25519 {
            return Err(
                "it has no log id, and that of a Rekor v2 log cannot be worked out from its key alone".to_owned()
            );
        }
        return Ok((LogId(*key_digest.as_bytes()), Some("absent")));
    }
    let bytes = decode("the log id", given)?;
    if let Ok(id) = <[u8; 32]>::try_from(bytes.as_slice()) {
        return Ok((LogId(id), None));
    }
    let mut id = [0; 32];
    if bytes.len() == 64 && hex::decode_to_slice(&bytes, &mut id).is_ok() {
        return Ok((LogId(id), Some("hex inside base64")));
    }
    Err(format!("its log id has {} bytes, not 32", bytes.len()))
}

/// Whether verification can use the key: the same test [`sigstore_verify::Verifier::new`] makes, which else refuses the whole root for one key.
fn usable_key(kind: Kind, spki: &[u8]) -> Result<(), String> {
    let key = sigstore_verify::types::DerPublicKey::new(spki.to_vec());
    let usable = VerificationKey::from_spki(&key).or_else(|error| match kind {
        Kind::CtLog => VerificationKey::from_der(&key, SigningScheme::RsaPkcs1Sha256),
        _ => Err(error),
    });
    usable.map(drop).map_err(|e| format!("its key cannot be used: {e}"))
}

fn distinct(field: &str, read: Vec<Log>, notes: &mut Vec<RootNote>) -> Result<Vec<Log>, RootError> {
    let mut kept: Vec<Log> = Vec::new();
    for log in read {
        let label = |log: &Log| format!("{field} ({})", log.name());
        match kept.iter().find(|other| other.log_id == log.log_id) {
            None => kept.push(log),
            Some(first) if first.key == log.key && first.window == log.window => {
                notes.push(RootNote::Duplicate { entry: label(&log), first: label(first) });
            }
            Some(first) => return Err(RootError::AmbiguousLogId { entry: label(&log), first: label(first) }),
        }
    }
    Ok(kept)
}
