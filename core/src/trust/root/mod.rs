//! The model of a trusted root: who may issue certificates, log, timestamp and sign, and when.
//!
//! A root comes from a `trusted_root.json` ([`TrustRoot::from_json`]) or from single keys and certificates an operator was given
//! ([`TrustRoot::from_parts`]). Every validity window is kept as declared; nothing is thrown away in silence: what cannot be used is dropped *and*
//! listed in [`TrustRoot::notes`].

mod certificate;
mod document;
mod library;
mod parse;
mod raw;
mod window;

use std::fmt;

use serde::Serialize;

pub use certificate::{Certificate, KeyAlgorithm};
pub use parse::{MAX_BYTES, MAX_ENTRIES, RootError};
pub use window::{Window, WindowError};

use super::diff::Kind;
use crate::Digest;

/// Trust an operator accepts: authorities, logs and keys, each with the window in which it counts.
///
/// Source: sigstore protobuf-specs, `sigstore_trustroot.proto`, message `TrustedRoot`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TrustRoot {
    /// The name policies refer to it by.
    pub name: String,
    /// The digest of the bytes it was read from; of its canonical form where it was assembled from parts.
    pub digest: Digest,
    /// Who may issue signing certificates (Fulcio).
    pub certificate_authorities: Vec<Authority>,
    /// Who may issue RFC 3161 timestamps.
    pub timestamp_authorities: Vec<Authority>,
    /// Transparency logs of signatures (Rekor).
    pub logs: Vec<Log>,
    /// Certificate transparency logs.
    pub ct_logs: Vec<Log>,
    /// Public keys that sign by themselves, without certificates.
    pub keys: Vec<ManagedKey>,
    /// What was set right or left out while reading.
    pub notes: Vec<RootNote>,
}

/// A certificate or timestamp authority: one chain and the window in which what it signs counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Authority {
    /// Where the authority is reached by signers; never dialled by holdfast. May be empty.
    pub uri: String,
    /// From the issuing certificate (or the timestamp signer) up to the root certificate.
    pub chain: Vec<Certificate>,
    /// The declared window (`validFor`).
    pub window: Window,
}

/// A transparency log or a certificate transparency log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Log {
    /// Where the log is reached by signers; never dialled by holdfast. May be empty.
    pub base_url: String,
    /// The identifier entries name the log by: SHA-256 of the key for RFC 6962 and Rekor v1 logs, the note key id for Rekor v2.
    pub log_id: LogId,
    /// The public key, DER-encoded SubjectPublicKeyInfo.
    #[serde(skip)]
    pub key: Vec<u8>,
    /// SHA-256 of [`Self::key`].
    pub key_digest: Digest,
    /// The algorithm of the key.
    pub algorithm: KeyAlgorithm,
    /// The declared window of the key (`publicKey.validFor`).
    pub window: Window,
}

/// A public key that signs without a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ManagedKey {
    /// The name a person knows the key by.
    pub name: String,
    /// The public key, DER-encoded SubjectPublicKeyInfo.
    #[serde(skip)]
    pub key: Vec<u8>,
    /// SHA-256 of [`Self::key`].
    pub key_digest: Digest,
    /// The algorithm of the key.
    pub algorithm: KeyAlgorithm,
    /// The window in which signatures by it count.
    pub window: Window,
}

/// The 32-byte identifier of a log, shown in hex.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId(pub(crate) [u8; 32]);

impl LogId {
    /// The identifier's bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for LogId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Something in a trusted root that was set right or left out; the root is usable without it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "camelCase", tag = "note")]
pub enum RootNote {
    /// An entry was left out: nothing it signed will verify.
    #[error("{entry} was left out: {why}")]
    Dropped {
        /// What it would have been.
        kind: Kind,
        /// Which entry, as `tlogs[1] (rekor.corp.internal)` or `certificateAuthorities[0] (O=corp)`.
        entry: String,
        /// Why it cannot be used.
        why: String,
    },
    /// A log's identifier was absent or encoded twice and was worked out from its key.
    #[error("{entry}: the log id was {was}; {id} is used")]
    LogIdSetRight {
        /// Which entry.
        entry: String,
        /// `absent` or `hex inside base64`.
        was: String,
        /// The identifier now used.
        id: LogId,
    },
    /// A certificate of the chain ends before the declared window does (or starts after it): the narrower one counts.
    #[error(
        "{entry}: a certificate of its chain is valid only {effective}, narrower than the declared {declared}; the narrower window counts"
    )]
    WindowNarrowed {
        /// Which entry.
        entry: String,
        /// As declared.
        declared: Window,
        /// As used.
        effective: Window,
    },
    /// Two entries are the same; one is kept.
    #[error("{entry} repeats {first}; one of them is kept")]
    Duplicate {
        /// The later entry.
        entry: String,
        /// The entry kept.
        first: String,
    },
}

impl TrustRoot {
    /// The entries that were left out while reading: what is missed may be one of them.
    pub fn left_out(&self) -> impl Iterator<Item = &RootNote> {
        self.notes.iter().filter(|note| matches!(note, RootNote::Dropped { .. }))
    }

    /// Where something of `kind` was left out: what, as the end of a sentence about what is missed.
    pub(crate) fn perhaps_left_out(&self, kind: Kind) -> String {
        let left_out = self.left_out().filter(|note| matches!(note, RootNote::Dropped { kind: of, .. } if *of == kind));
        let left_out: Vec<String> = left_out.map(ToString::to_string).collect();
        match left_out.as_slice() {
            [] => String::new(),
            [first, others @ ..] => {
                let more = if others.is_empty() { String::new() } else { format!(" (and {} more)", others.len()) };
                format!("; the trust root has an entry that cannot be read: {first}{more}")
            }
        }
    }
}

impl Authority {
    /// The window in which what the authority signs counts: the declared one, no wider than every certificate of its chain.
    ///
    /// `None` where the two do not overlap. Trust anchors are not checked for expiry by path validation (RFC 5280, section 6.1.1 (d)), so a chain whose
    /// certificate has ended would otherwise go on counting.
    pub fn effective_window(&self) -> Option<Window> {
        self.chain.iter().try_fold(self.window, |window, certificate| window.intersection(certificate.validity))
    }

    /// The digest over the chain's certificates, which names the authority whatever its window or address.
    pub fn chain_digest(&self) -> Digest {
        let all: Vec<u8> = self.chain.iter().flat_map(|c| *c.digest.as_bytes()).collect();
        Digest::of(&all)
    }

    /// A name for people: the subject of the first certificate.
    pub fn name(&self) -> &str {
        self.chain.first().map_or("", |c| c.subject.as_str())
    }
}

impl Log {
    /// A name for people: the host of the log's address, or the start of its identifier.
    pub fn name(&self) -> String {
        match host(&self.base_url) {
            "" => format!("log {}", self.log_id.to_string().get(..12).unwrap_or_default()),
            host => host.to_owned(),
        }
    }
}

/// An address as people name it: without its scheme.
fn host(address: &str) -> &str {
    address.split_once("://").map_or(address, |(_, rest)| rest).trim_end_matches('/')
}
