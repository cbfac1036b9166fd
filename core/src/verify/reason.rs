//! Why an image passes or does not, and whose it is to mend.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a verdict says about an image. *Unknown is never covered.*
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// All that the policy requires was verified.
    Covered,
    /// Proven not to pass.
    Uncovered,
    /// Could not be judged.
    Unknown,
}

/// Who can mend what a reason names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Owner {
    /// Nobody needs to.
    None,
    /// The team whose pipeline builds and signs the image.
    Pipeline,
    /// Whoever carries images into the registry.
    Mirroring,
    /// The security team: something is forged, damaged or signed by someone else.
    Security,
    /// Whoever operates the trust roots.
    Trust,
    /// Whoever operates registries and nodes.
    Platform,
    /// The team that declares the workload.
    Workload,
}

macro_rules! reasons {
    ($($(#[$doc:meta])+ $name:ident => $outcome:ident, $owner:ident, $meaning:literal;)+) => {
        /// The typed cause of a verdict; a closed set.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Reason {
            $($(#[$doc])+ $name,)+
        }

        impl Reason {
            /// Every reason, in the order of the table in the documentation.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// What the reason says about the image.
            pub const fn outcome(self) -> Outcome {
                match self { $(Self::$name => Outcome::$outcome,)+ }
            }

            /// Who can mend it.
            pub const fn owner(self) -> Owner {
                match self { $(Self::$name => Owner::$owner,)+ }
            }

            /// The name as written in reports, metrics and JSON.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }

            /// One sentence for a person.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)+ }
            }
        }
    };
}

reasons! {
    /// All checks hold.
    Verified => Covered, None, "all that the policy requires was verified";
    /// Nothing signed is stored for the digest.
    MissingBundle => Uncovered, Pipeline, "nothing signed is stored for this digest";
    /// Evidence is known elsewhere and absent here.
    ReferrersLost => Uncovered, Mirroring, "evidence is known elsewhere and did not arrive in this registry";
    /// The signature does not match the artefact.
    SignatureInvalid => Uncovered, Security, "the signature does not verify over the artefact";
    /// The evidence is for another digest.
    DigestMismatch => Uncovered, Security, "the evidence is for another digest";
    /// The log's inclusion proof, checkpoint or promise is wrong.
    InclusionProofMismatch => Uncovered, Security, "the log's proof of inclusion does not hold";
    /// The log entry is of another signature.
    EntryMismatch => Uncovered, Security, "the log entry belongs to another signature";
    /// The certificate's SCT is wrong.
    SctInvalid => Uncovered, Security, "the certificate's proof of certificate transparency does not hold";
    /// The timestamp is wrong.
    TimestampInvalid => Uncovered, Security, "the signed timestamp does not hold";
    /// Signed by another identity.
    IdentityMismatch => Uncovered, Security, "signed, by an identity the policy does not name";
    /// Signed by another key.
    KeyMismatch => Uncovered, Security, "signed, by a key the policy does not name";
    /// Signed, without the statement that is required.
    PredicateMissing => Uncovered, Pipeline, "signed, without a statement the policy requires";
    /// The certificate's issuer is in none of the accepted roots.
    UntrustedAuthority => Uncovered, Trust, "the certificate was issued by an authority that is in no accepted trust root";
    /// The log is in none of the accepted roots.
    UnknownLog => Uncovered, Trust, "the entry is of a log that is in no accepted trust root";
    /// The timestamp authority is in none of the accepted roots.
    UnknownTimestampAuthority => Uncovered, Trust, "the timestamp is of an authority that is in no accepted trust root";
    /// A key or certificate was not valid when it signed.
    OutsideValidity => Uncovered, Trust, "a key or certificate was not valid at the signing time";
    /// The required log entry is absent.
    LogEntryMissing => Uncovered, Pipeline, "the log entry the policy requires is absent";
    /// The required timestamp is absent.
    TimestampMissing => Uncovered, Pipeline, "the signed timestamp the policy requires is absent";
    /// The required SCT is absent.
    SctMissing => Uncovered, Pipeline, "the proof of certificate transparency the policy requires is absent";
    /// Verified, under a root that is past its limit.
    StaleTrustRoot => Unknown, Trust, "verified, under a trust root that is past its limit";
    /// The registry did not answer.
    RegistryUnavailable => Unknown, Platform, "the registry did not answer";
    /// The registry refused the credentials.
    Unauthorized => Unknown, Platform, "the registry refused the credentials";
    /// The list of evidence is not complete.
    ListingTruncated => Unknown, Platform, "the list of evidence is not complete";
    /// The registry is not among the declared ones.
    RegistryNotDeclared => Unknown, Platform, "the registry is not declared, so it was not asked";
    /// A signed time lies ahead of this clock.
    ClockSuspect => Unknown, Platform, "a signed time lies ahead of this machine's clock";
    /// A tag without a digest.
    DigestUnresolved => Unknown, Workload, "the reference names a tag and no digest";
    /// A form that cannot be judged.
    UnsupportedFormat => Uncovered, Pipeline, "the evidence is of a form that cannot be judged";
    /// Not what it claims to be.
    Malformed => Uncovered, Pipeline, "the evidence is damaged or exceeds a limit";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Covered => "covered",
            Self::Uncovered => "uncovered",
            Self::Unknown => "unknown",
        })
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "nobody",
            Self::Pipeline => "pipeline",
            Self::Mirroring => "mirroring",
            Self::Security => "security",
            Self::Trust => "trust",
            Self::Platform => "platform",
            Self::Workload => "workload",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_verified_covers() {
        let covering: Vec<_> = Reason::ALL.iter().filter(|r| r.outcome() == Outcome::Covered).collect();
        assert_eq!(covering, [&Reason::Verified]);
    }

    #[test]
    fn every_reason_that_is_not_a_pass_has_an_owner() {
        for reason in Reason::ALL.iter().filter(|r| **r != Reason::Verified) {
            assert_ne!(reason.owner(), Owner::None, "{reason}");
        }
    }
}
