//! What a verdict is judged against.

use serde::Serialize;

use super::pattern::IdentityPattern;
use crate::trust::root::ManagedKey;

/// The predicate type of cosign's signature statement: a DSSE statement of this type over the image's digest *is* a signature.
pub const SIGNATURE_PREDICATE: &str = "https://sigstore.dev/cosign/sign/v1";

/// What has to hold for an artefact to be covered.
///
/// Requirements come from the policy or the flags alone, never from what a trust root happens to lack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Any one of them has to have signed. An empty list covers nothing.
    pub signers: Vec<Signer>,
    /// The evidence each counted signature or statement has to carry.
    pub evidence: EvidenceRequirements,
    /// What counts.
    pub accept: Accept,
    /// Limits on what is read.
    pub limits: Limits,
}

/// Which content of a verified bundle counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accept {
    /// An image's signature (a message signature, cosign simple signing, or a statement of [`SIGNATURE_PREDICATE`]), and a verified statement of each
    /// of these predicate types.
    Signature {
        /// Predicate types that are required besides.
        attestations: Vec<String>,
    },
    /// A verified statement of each of these predicate types; no signature is asked for. Never empty.
    Statements(Vec<String>),
    /// Whatever it is: a signature or a statement of any type. For a bundle a person hands over together with the artefact.
    Either,
}

/// Who may sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signer {
    /// The holder of a certificate with this subject, issued on the word of this identity provider.
    Certificate {
        /// The name the policy knows it by.
        name: String,
        /// The certificate's one subject alternative name.
        subject: Matcher,
        /// The identity provider named in the certificate.
        issuer: Matcher,
    },
    /// The holder of a key.
    Key {
        /// The name the policy knows it by.
        name: String,
        /// The key.
        key: Box<ManagedKey>,
    },
}

impl Signer {
    /// The name the policy knows the signer by.
    pub fn name(&self) -> &str {
        match self {
            Self::Certificate { name, .. } | Self::Key { name, .. } => name,
        }
    }
}

/// How a name in a certificate is matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Matcher {
    /// Equal, byte for byte.
    Exact(String),
    /// Matched by an expression that is anchored at both ends.
    Pattern(IdentityPattern),
}

impl Matcher {
    /// Whether `name` is one this names.
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(want) => want == name,
            Self::Pattern(pattern) => pattern.matches(name),
        }
    }
}

/// Evidence that has to be present *and authenticated*.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EvidenceRequirements {
    /// An entry in a transparency log of an accepted root, with its proof of inclusion.
    pub transparency_log: bool,
    /// An RFC 3161 timestamp by an authority of an accepted root.
    pub signed_timestamp: bool,
    /// A signed certificate timestamp by a CT log of an accepted root (certificates only; keys have none).
    pub sct: bool,
}

impl EvidenceRequirements {
    /// What cosign's users know as the default: a log entry and an SCT.
    pub const DEFAULT: Self = Self { transparency_log: true, signed_timestamp: false, sct: true };
}

/// Limits in front of every parser of evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Verification material (everything of a bundle but the DSSE payload), in bytes.
    pub material_bytes: usize,
    /// The DSSE payload, decoded, in bytes.
    pub payload_bytes: usize,
    /// Log entries in one bundle.
    pub log_entries: usize,
    /// Timestamps in one bundle.
    pub timestamps: usize,
    /// Certificates in one bundle.
    pub certificates: usize,
    /// Pieces of evidence judged for one artefact; more are [`super::Reason::ListingTruncated`] unless one before them passed.
    pub evidence: usize,
}

impl Limits {
    /// A whole bundle or envelope, in bytes: the payload in base64, and the rest.
    pub const fn bundle_bytes(&self) -> usize {
        self.payload_bytes.saturating_mul(4).div_ceil(3).saturating_add(self.material_bytes)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            material_bytes: 256 * 1024,
            payload_bytes: 16 * 1024 * 1024,
            log_entries: 4,
            timestamps: 4,
            certificates: 10,
            evidence: 256,
        }
    }
}
