//! The closed set of loosenings, and what allows each.

use std::fmt;

use serde::{Serialize, Serializer};

/// What allows a loosening.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum AllowedBy {
    /// One TrustApproval for the digest; a break-glass does as well.
    Approval,
    /// A break-glass alone, which two people approve.
    BreakGlass,
    /// Nothing: the object has to be mended.
    Nobody,
}

impl AllowedBy {
    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Approval => "one TrustApproval for the digest, or a break-glass",
            Self::BreakGlass => "a break-glass, which two people approve",
            Self::Nobody => "nothing; the object has to be mended",
        }
    }
}

macro_rules! loosenings {
    ($($name:ident => $allowed:ident, $of:literal, $meaning:literal;)+) => {
        /// One way of being looser; a closed set.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum LooseningKind {
            $(#[doc = $meaning] $name,)+
        }

        impl LooseningKind {
            /// Every kind, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The name as written in status and on the command line.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }

            /// What allows it.
            pub const fn allowed_by(self) -> AllowedBy {
                match self { $(Self::$name => AllowedBy::$allowed,)+ }
            }

            /// The kind of object it is a change of.
            pub const fn of(self) -> &'static str {
                match self { $(Self::$name => $of,)+ }
            }

            /// What admits more, in a sentence without an end.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)+ }
            }
        }
    };
}

loosenings! {
    PolicyDeleted => BreakGlass, "SigningIdentityPolicy", "what the policy denied passes unless another one denies it";
    ReturnToAudit => BreakGlass, "SigningIdentityPolicy", "the policy only reports where it denied";
    ImagesNarrowed => Approval, "SigningIdentityPolicy", "images the policy was about are no longer judged by it";
    ImagesClaimed => Approval, "SigningIdentityPolicy", "images that were denied because no policy is about them pass once an identity of this policy signed them";
    OtherImagesAllowed => Approval, "SigningIdentityPolicy", "images that no policy is about pass";
    ImageExempted => Approval, "SigningIdentityPolicy", "an image passes without a signature";
    NamespacesNarrowed => Approval, "SigningIdentityPolicy", "namespaces the policy selected are no longer meant";
    NamespaceLeft => Approval, "Namespace", "a namespace that is enforced no longer carries the labels that select it";
    TrustRootAdded => Approval, "SigningIdentityPolicy", "what another trust root vouches for counts as well";
    TrustRootsDropped => Approval, "SigningIdentityPolicy", "without any trust root nothing says any more when a key's signature is too old to count";
    IdentityWidened => Approval, "SigningIdentityPolicy", "somebody may sign who could not before";
    AttestationDropped => Approval, "SigningIdentityPolicy", "a statement that had to be there need not be";
    EvidenceDropped => Approval, "SigningIdentityPolicy", "evidence that each signature had to carry need not be there";
    EngineDropped => Approval, "SigningIdentityPolicy", "an engine that denied no longer does";
    EngineAdded => Approval, "SigningIdentityPolicy", "an engine begins to deny at once where the policy is enforced, and nothing was proven of it there";
    EngineChanged => Approval, "SigningIdentityPolicy", "an engine gets objects of another kind, which may express less";
    WaveDropped => Approval, "SigningIdentityPolicy", "a wave that is in force is gone, is narrower or has another place, so that namespaces it would take in are not enforced";
    CannotBeEnforced => Nobody, "SigningIdentityPolicy", "an engine could not be given the form for enforcement, so it would stop denying";
    Unusable => Nobody, "SigningIdentityPolicy", "the policy as it is declared cannot be used, so nothing would be denied by it";
    PromotionClaims => Approval, "SigningIdentityPolicy", "the promotion itself takes images out of another policy's denial of what no policy is about";
    MirrorDeleted => BreakGlass, "TrustRootMirror", "nothing watches the age of the trust any more, and the next object of the name may bring another one";
    SourceChanged => Approval, "TrustRootMirror", "trust is read from another place";
    PinChanged => Approval, "TrustRootMirror", "trust begins at another root";
    AuthorityAdded => Approval, "TrustRootMirror", "another authority, log or key vouches, or one does for longer";
    RotationUnapproved => Approval, "TrustRootMirror", "new key material comes into force without a person's approval";
    MoreMayFail => Approval, "TrustRootMirror", "an automatic rotation may break more running images before a person is asked";
    RemovalDelayed => Approval, "TrustRootMirror", "what was removed from the trust goes on counting for longer";
    StaleAccepted => Approval, "TrustRootMirror", "trust counts as fresh for longer";
    StaleOpen => Approval, "TrustRootMirror", "engines that read the local repository no longer close when the trust is stale";
    LocalValidityRaised => Approval, "TrustRootMirror", "engines go on with a local repository that is no longer signed anew for longer";
    BreakGlassChanged => Approval, "TrustBreakGlass", "a break-glass loosens something else or for longer than was approved";
    CapRaised => Approval, "TrustBreakGlass", "break-glasses may last longer, or fewer or other approvers suffice";
}

impl fmt::Display for LooseningKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for LooseningKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
