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
        | Reason::NotScanned
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

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use sigstore_verify::types::MediaType;

    use super::*;

    const AT: Timestamp = Timestamp::UNIX_EPOCH;

    fn chain(text: &str) -> Error {
        CertificateError::ChainInvalid(text.to_owned()).into()
    }

    fn inclusion(text: &str) -> Error {
        TransparencyLogError::InclusionProof(text.to_owned()).into()
    }

    /// Many of these no bundle brings about today, since what they say is looked at before the library is asked. Should a later library say one
    /// earlier, it is told as what it is and not as damage.
    #[test]
    fn every_error_of_the_library_has_its_reason() {
        let text = || "text".to_owned();
        let v0_1 = MediaType::Bundle0_1;
        for (error, reason) in [
            (Error::IdentityMismatch { expected: "a".into(), actual: None }, Reason::IdentityMismatch),
            (Error::IssuerMismatch { expected: text(), actual: None }, Reason::IdentityMismatch),
            (Error::SignatureInvalid(text()), Reason::SignatureInvalid),
            (Error::ArtifactMismatch("hashedrekord entry hash differs".to_owned()), Reason::EntryMismatch),
            (Error::ArtifactMismatch(text()), Reason::DigestMismatch),
            (Error::UnsupportedArtifact(text()), Reason::UnsupportedFormat),
            (Error::UnsupportedBundle(text()), Reason::UnsupportedFormat),
            (Error::InvalidBundle(text()), Reason::Malformed),
            (Error::InvalidTrustRoot("no CT log keys in trusted root".to_owned()), Reason::UnknownLog),
            (Error::InvalidTrustRoot(text()), Reason::Malformed),
            (chain("CertExpired { .. }"), Reason::OutsideValidity),
            (chain("CertNotValidYet { .. }"), Reason::OutsideValidity),
            (chain("UnknownIssuer"), Reason::UntrustedAuthority),
            (CertificateError::NoValidAuthority { time: AT }.into(), Reason::OutsideValidity),
            (CertificateError::NotYetValid { time: AT, not_before: AT }.into(), Reason::OutsideValidity),
            (CertificateError::Expired { time: AT, not_after: AT }.into(), Reason::OutsideValidity),
            (CertificateError::Sct(text()).into(), Reason::SctInvalid),
            (CertificateError::Malformed(text()).into(), Reason::Malformed),
            (TransparencyLogError::UnknownLog { log_id: text() }.into(), Reason::UnknownLog),
            (
                TransparencyLogError::InclusionPromise("No log key valid at integrated time".to_owned()).into(),
                Reason::OutsideValidity,
            ),
            (TransparencyLogError::InclusionPromise(text()).into(), Reason::InclusionProofMismatch),
            (inclusion("text"), Reason::InclusionProofMismatch),
            (TransparencyLogError::Checkpoint(text()).into(), Reason::InclusionProofMismatch),
            (TransparencyLogError::EntryMismatch(text()).into(), Reason::EntryMismatch),
            (
                TransparencyLogError::IntegratedTime("integrated time 1 is in the future".to_owned()).into(),
                Reason::ClockSuspect,
            ),
            (TransparencyLogError::IntegratedTime(text()).into(), Reason::OutsideValidity),
            (TransparencyLogError::MalformedEntry(text()).into(), Reason::Malformed),
            (TimestampError::OutsideAuthorityValidity { time: AT }.into(), Reason::OutsideValidity),
            (TimestampError::NoVerifiedTimestamp(text()).into(), Reason::TimestampMissing),
            (TimestampError::Invalid(text()).into(), Reason::TimestampInvalid),
            (BundleError::MissingInclusionPromise(v0_1).into(), Reason::LogEntryMissing),
            (BundleError::MissingInclusionProof(v0_1).into(), Reason::LogEntryMissing),
            (BundleError::MissingSigningTimeEvidence.into(), Reason::LogEntryMissing),
            (BundleError::MissingTimestamp.into(), Reason::TimestampMissing),
            (BundleError::MissingCheckpoint.into(), Reason::InclusionProofMismatch),
            (BundleError::CheckpointRootMismatch.into(), Reason::InclusionProofMismatch),
            (BundleError::LogIndexOutOfRange { log_index: 2, tree_size: 1 }.into(), Reason::InclusionProofMismatch),
            (BundleError::UnsupportedMediaType(v0_1).into(), Reason::UnsupportedFormat),
            (BundleError::UnsupportedVerificationMaterial.into(), Reason::UnsupportedFormat),
            (BundleError::CertificateChainNotAllowed(v0_1).into(), Reason::Malformed),
        ] {
            assert_eq!(from_library(&error).reason, reason, "{error:?}");
            assert_ne!(reason, Reason::Verified);
        }
    }

    #[test]
    fn what_the_library_says_in_its_own_words_is_said_in_ours() {
        for (error, words) in [
            (Error::ArtifactMismatch("text".to_owned()), "the evidence is signed for another digest than this"),
            (
                Error::SignatureInvalid("text".to_owned()),
                "the signature does not verify with the key that is said to have made it",
            ),
            (inclusion("inclusion proof verification failed: Merkle: failed: roots differ"), "roots differ"),
            (inclusion("roots differ"), "invalid inclusion proof: roots differ"),
            (chain("UnknownIssuer"), "certificate chain is invalid: UnknownIssuer"),
        ] {
            assert_eq!(from_library(&error).message, words, "{error:?}");
        }
    }
}
