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
    ($($(#[$doc:meta])+ $name:ident => $outcome:ident, $owner:ident, $meaning:literal, $cure:literal;)+) => {
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

            /// What its owner can do.
            pub const fn cure(self) -> &'static str {
                match self { $(Self::$name => $cure,)+ }
            }
        }
    };
}

reasons! {
    /// All checks hold.
    Verified => Covered, None, "all that the policy requires was verified",
        "nothing";
    /// Nothing signed is stored for the digest.
    MissingBundle => Uncovered, Pipeline, "nothing signed is stored for this digest",
        "sign the image in its pipeline with `cosign sign`, and carry the bundle in with the image";
    /// Evidence is known elsewhere and absent here.
    ReferrersLost => Uncovered, Mirroring, "evidence is known elsewhere and did not arrive in this registry",
        "carry the referrers in with the image: copy with `oras cp -r` or `cosign save`, not with a tool that copies the image alone";
    /// The signature does not match the artefact.
    SignatureInvalid => Uncovered, Security, "the signature does not verify over the artefact",
        "do not run the image before you know how its bytes or its bundle came to differ; then build and sign it anew";
    /// The evidence is for another digest.
    DigestMismatch => Uncovered, Security, "the evidence is for another digest",
        "find out who attached the evidence of another image to this one; then sign this very digest";
    /// The log's inclusion proof, checkpoint or promise is wrong.
    InclusionProofMismatch => Uncovered, Security, "the log's proof of inclusion does not hold",
        "do not run the image before you know who altered the bundle; then sign it anew";
    /// The log entry is of another signature.
    EntryMismatch => Uncovered, Security, "the log entry belongs to another signature",
        "do not run the image before you know who joined a log entry to another signature; then sign it anew";
    /// The certificate's SCT is wrong.
    SctInvalid => Uncovered, Security, "the certificate's proof of certificate transparency does not hold",
        "do not run the image before you know where the certificate comes from; then sign it anew";
    /// The timestamp is wrong.
    TimestampInvalid => Uncovered, Security, "the signed timestamp does not hold",
        "do not run the image before you know who altered the timestamp; then sign it anew";
    /// Signed by another identity.
    IdentityMismatch => Uncovered, Security, "signed, by an identity the policy does not name",
        "find out who signed it; if that pipeline may sign, name it in the policy's `identities`, else build the image where it belongs";
    /// Signed by another key.
    KeyMismatch => Uncovered, Security, "signed, by a key the policy does not name",
        "find out whose key signed it; if it may sign, name it in the policy's `identities`, else sign with the key the policy names";
    /// Signed, without the statement that is required.
    PredicateMissing => Uncovered, Pipeline, "signed, without a statement the policy requires",
        "let the pipeline attest what the policy's `require.attestations` lists, with `cosign attest --type`";
    /// The certificate's issuer is in none of the accepted roots.
    UntrustedAuthority => Uncovered, Trust, "the certificate was issued by an authority that is in no accepted trust root",
        "import a trust root that holds the authority, or approve the rotation that brings it; if nobody knows it, the image was signed elsewhere";
    /// The log is in none of the accepted roots.
    UnknownLog => Uncovered, Trust, "the entry fits no log of an accepted trust root",
        "import a trust root that holds the log, or approve the rotation that brings it";
    /// The timestamp authority is in none of the accepted roots.
    UnknownTimestampAuthority => Uncovered, Trust, "the timestamp fits no authority of an accepted trust root",
        "import a trust root that holds the authority, or approve the rotation that brings it";
    /// A key or certificate was not valid when it signed.
    OutsideValidity => Uncovered, Trust, "a key or certificate was not valid when it was used: at an authenticated signing time or, where there is none, at the instant judged at",
        "compare the signing time with the windows that `holdfast mirror show` lists; sign anew, or import a root whose windows cover it";
    /// The required log entry is absent.
    LogEntryMissing => Uncovered, Pipeline, "the log entry the policy requires is absent",
        "let the pipeline write to the transparency log, or require none in the policy (`require.transparencyLog: false`)";
    /// The required timestamp is absent.
    TimestampMissing => Uncovered, Pipeline, "the signed timestamp the policy requires is absent",
        "let the pipeline ask a timestamp authority, or require none in the policy (`require.signedTimestamp: false`)";
    /// The required SCT is absent.
    SctMissing => Uncovered, Pipeline, "the proof of certificate transparency the policy requires is absent",
        "let the certificate authority write to a CT log, or require none in the policy (`require.sct: false`)";
    /// No trust root within its limit is at hand that could say.
    StaleTrustRoot => Unknown, Trust, "a trust root that decides is past its limit or not at hand",
        "let the courier bring a newer repository and import it, or give the trust root the policy accepts";
    /// It is new, and no scan has come to it.
    NotScanned => Unknown, Platform, "it is new, and no scan has looked for its evidence yet",
        "wait a moment: what is new is looked for at once, or when the scan under way has ended; see `kubectl get bcr` if it stays so";
    /// The registry did not answer.
    RegistryUnavailable => Unknown, Platform, "the registry did not answer, or the files of a layout cannot be read",
        "see that the registry answers, or give the layout that holds the image; the next scan looks again";
    /// The registry, or the disk a layout is on, refused to be read.
    Unauthorized => Unknown, Platform, "the registry refused the credentials, or the files of a layout may not be read",
        "give the declared registry a pull secret that may read the repository and its referrers; give this user leave to read the layout";
    /// A list is not complete.
    ListingTruncated => Unknown, Platform, "a list is not complete: of the evidence, or of the namespaces policies select",
        "see why the registry lists more evidence than is read, or cannot list it to the end, and remove what does not belong there; where a namespace has no manifest, add it to what is planned";
    /// The registry is not among the declared ones.
    RegistryNotDeclared => Unknown, Platform, "the registry is not declared, so it was not asked",
        "declare the registry in the BundleCoverageReport, or do not run images from it";
    /// A signed time lies ahead of this clock.
    ClockSuspect => Unknown, Platform, "a signed time lies ahead of this machine's clock",
        "set the node's clock right; if it is right, find out which authority's clock runs ahead";
    /// A tag without a digest.
    DigestUnresolved => Unknown, Workload, "the reference names a tag and no digest",
        "name the image by digest in the workload, as `repository@sha256:…`";
    /// A form that cannot be judged.
    UnsupportedFormat => Uncovered, Pipeline, "the evidence is of a form that cannot be judged",
        "sign with cosign 2 or later, as a bundle v0.1 to v0.3 or in the legacy form";
    /// Not what it claims to be.
    Malformed => Uncovered, Pipeline, "the evidence is damaged or exceeds a limit",
        "sign the image anew; if the pipeline made this, its tool is broken or someone altered what it made";
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
