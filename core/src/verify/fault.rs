//! A typed refusal, and how the verification library's errors become one.

use sigstore_verify::{CertificateError, Error, TimestampError, TransparencyLogError, bundle::Error as BundleError};

use super::Reason;

/// Why one piece of evidence does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) reason: Reason,
    pub(super) message: String,
}

impl Fault {
    pub(super) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    /// How near to a pass the evidence came; of several faults the nearest is the one worth telling.
    pub(super) const fn nearness(&self) -> u8 {
        nearness(self.reason)
    }
}

/// The order in which checks are passed: the further a fault lies along it, the more has already held.
pub(super) const fn nearness(reason: Reason) -> u8 {
    match reason {
        Reason::Verified => 11,
        Reason::StaleTrustRoot => 10,
        Reason::ClockSuspect => 9,
        Reason::PredicateMissing => 8,
        Reason::IdentityMismatch | Reason::KeyMismatch => 7,
        Reason::SignatureInvalid
        | Reason::DigestMismatch
        | Reason::InclusionProofMismatch
        | Reason::EntryMismatch
        | Reason::SctInvalid
        | Reason::TimestampInvalid
        | Reason::OutsideValidity => 6,
        Reason::LogEntryMissing | Reason::TimestampMissing | Reason::SctMissing => 5,
        // A root that knows the certificate's authority is the one to mend, not one that knows nothing of it.
        Reason::UnknownTimestampAuthority => 4,
        Reason::UnknownLog => 3,
        Reason::UntrustedAuthority => 2,
        Reason::UnsupportedFormat | Reason::Malformed => 1,
        Reason::MissingBundle
        | Reason::ReferrersLost
        | Reason::RegistryUnavailable
        | Reason::Unauthorized
        | Reason::ListingTruncated
        | Reason::RegistryNotDeclared
        | Reason::DigestUnresolved => 0,
    }
}

/// The library's error as a typed reason.
///
/// The library reports the first check that failed, and some of its variants carry two faults in a text; those are told apart where a decision depends
/// on it, before (presence, known log) or after (known authority) it is asked.
pub(super) fn from_library(error: &Error) -> Fault {
    let reason = match error {
        Error::IdentityMismatch { .. } | Error::IssuerMismatch { .. } => Reason::IdentityMismatch,
        Error::SignatureInvalid(_) => Reason::SignatureInvalid,
        // The signature itself was verified over the artefact before; it is the entry that is of another one.
        Error::ArtifactMismatch(text) if text.contains("hashedrekord entry") => Reason::EntryMismatch,
        Error::ArtifactMismatch(_) => Reason::DigestMismatch,
        Error::UnsupportedArtifact(_) | Error::UnsupportedBundle(_) => Reason::UnsupportedFormat,
        Error::Certificate(error) => match error {
            CertificateError::ChainInvalid(text)
                if text.contains("CertExpired") || text.contains("CertNotValidYet") =>
            {
                Reason::OutsideValidity
            }
            CertificateError::ChainInvalid(_) => Reason::UntrustedAuthority,
            CertificateError::NoValidAuthority { .. }
            | CertificateError::NotYetValid { .. }
            | CertificateError::Expired { .. } => Reason::OutsideValidity,
            CertificateError::Sct(_) => Reason::SctInvalid,
            _ => Reason::Malformed,
        },
        Error::TransparencyLog(error) => match error {
            TransparencyLogError::UnknownLog { .. } => Reason::UnknownLog,
            TransparencyLogError::InclusionPromise(text) if text.contains("No log key valid at") => {
                Reason::OutsideValidity
            }
            TransparencyLogError::InclusionProof(_)
            | TransparencyLogError::Checkpoint(_)
            | TransparencyLogError::InclusionPromise(_) => Reason::InclusionProofMismatch,
            TransparencyLogError::EntryMismatch(_) => Reason::EntryMismatch,
            TransparencyLogError::IntegratedTime(text) if text.contains("in the future") => Reason::ClockSuspect,
            TransparencyLogError::IntegratedTime(_) => Reason::OutsideValidity,
            _ => Reason::Malformed,
        },
        Error::Timestamp(error) => match error {
            TimestampError::OutsideAuthorityValidity { .. } => Reason::OutsideValidity,
            TimestampError::NoVerifiedTimestamp(_) => Reason::TimestampMissing,
            _ => Reason::TimestampInvalid,
        },
        Error::Bundle(error) => match error {
            BundleError::MissingInclusionPromise(_)
            | BundleError::MissingInclusionProof(_)
            | BundleError::MissingSigningTimeEvidence => Reason::LogEntryMissing,
            BundleError::MissingTimestamp => Reason::TimestampMissing,
            BundleError::MissingCheckpoint
            | BundleError::CheckpointRootMismatch
            | BundleError::LogIndexOutOfRange { .. } => Reason::InclusionProofMismatch,
            BundleError::UnsupportedMediaType(_) | BundleError::UnsupportedVerificationMaterial => {
                Reason::UnsupportedFormat
            }
            _ => Reason::Malformed,
        },
        Error::InvalidTrustRoot(text) if text.contains("no CT log keys") => Reason::UnknownLog,
        _ => Reason::Malformed,
    };
    Fault::new(reason, words(reason, error))
}

/// The library's text, in words where it has none for a person.
fn words(reason: Reason, error: &Error) -> String {
    match reason {
        Reason::DigestMismatch => "the evidence is signed for another digest than this".to_owned(),
        Reason::SignatureInvalid => {
            "the signature does not verify with the key that is said to have made it".to_owned()
        }
        // The library says the same thing up to three times, from the outside in; the innermost is the fact.
        Reason::InclusionProofMismatch => {
            let text = error.to_string();
            text.rsplit("failed: ").next().unwrap_or(&text).to_owned()
        }
        _ => error.to_string(),
    }
}
