//! The result of judging.

use jiff::Timestamp;
use serde::Serialize;

use super::{Outcome, Owner, Reason};
use crate::Digest;

/// What was found out about one artefact under one policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// The artefact.
    pub digest: Digest,
    /// The cause.
    pub reason: Reason,
    /// A sentence for a person: what happened, to what, and what to do next.
    pub message: String,
    /// Every piece of evidence that was judged, with its own result; none is left out because another one passed.
    pub evidence: Vec<EvidenceVerdict>,
}

impl Verdict {
    /// What the verdict says about the artefact.
    pub const fn outcome(&self) -> Outcome {
        self.reason.outcome()
    }

    /// Who can mend it.
    pub const fn owner(&self) -> Owner {
        self.reason.owner()
    }

    /// A verdict that was reached without evidence: nothing was found, or one could not look.
    pub fn without_evidence(digest: Digest, reason: Reason, message: impl Into<String>) -> Self {
        Self { digest, reason, message: message.into(), evidence: Vec::new() }
    }
}

/// What was found out about one piece of evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EvidenceVerdict {
    /// Where it was found.
    pub source: String,
    /// Its form, as `bundle` or `cosign simple signing`.
    pub form: String,
    /// What it is, as far as its signature was verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// The cause.
    pub reason: Reason,
    /// A sentence for a person.
    pub message: String,
    /// The trust root it was verified under, or the one that came closest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust_root: Option<String>,
    /// The signer of the policy that it satisfies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
    /// What was authenticated, and nothing else. Present once the whole cryptography held, also where the identity is not one the policy names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authenticated: Option<Authenticated>,
}

/// What a verified piece of evidence says about its artefact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Content {
    /// A signature over the artefact.
    Signature,
    /// An in-toto statement about the artefact.
    #[serde(rename_all = "camelCase")]
    Statement {
        /// Its predicate type.
        predicate_type: String,
    },
}

/// Facts that a signature covers. Fields that no signature covers are never here.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Authenticated {
    /// The certificate's one subject alternative name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// The identity provider named in the certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// The name and digest of the key that signed, where no certificate did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Digest>,
    /// Every authenticated time of signing, with its source.
    pub signed_at: Vec<SigningTime>,
    /// The transparency logs whose proof of inclusion was verified.
    pub logs: Vec<String>,
    /// The timestamp authorities whose timestamp was verified.
    pub timestamp_authorities: Vec<String>,
    /// Whether the certificate's SCT was verified.
    pub sct: bool,
}

/// One authenticated time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SigningTime {
    /// The instant.
    pub at: Timestamp,
    /// Who says so.
    pub source: TimeSource,
}

/// Who vouches for a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum TimeSource {
    /// A transparency log's signed entry timestamp.
    TransparencyLog(String),
    /// An RFC 3161 timestamp authority.
    TimestampAuthority(String),
}
