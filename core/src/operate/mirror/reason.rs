//! The reasons a mirror's conditions give: a closed set, each with what it means and what to do.

use std::fmt;

use crate::trust::tuf::RefusalKind;
use crate::verify::Owner;

macro_rules! reasons {
    ($($name:ident => $meaning:literal, $cure:literal;)+) => {
        /// Why a condition of a TrustRootMirror is as it is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum MirrorReason {
            $(#[doc = $meaning] $name,)+
            /// An import was refused.
            Refused(RefusalKind),
        }

        impl MirrorReason {
            /// Every reason but the kinds of refusal.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The name as written in status, events and metrics.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ Self::Refused(kind) => kind.as_str() }
            }

            /// What it means, in a sentence without an end.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)+ Self::Refused(kind) => kind.meaning() }
            }

            /// What to do about it.
            pub const fn cure(self) -> &'static str {
                match self { $(Self::$name => $cure,)+ Self::Refused(kind) => kind.cure() }
            }
        }
    };
}

reasons! {
    AsDeclared => "all is as the mirror declares", "nothing";
    Suspended => "`spec.suspend` is set: nothing is imported, adopted or distributed", "take `suspend` out when the reason for it is gone";
    NothingAdopted => "no trust is in force yet", "read the condition Verified: it says why nothing could be imported";
    Stale => "the trust in force is past its limit", "let the courier bring a newer repository";
    InGrace => "the timestamp has expired, and the declared grace covers it", "let the courier bring a newer repository before the grace ends";
    WithoutTuf => "the trust was given without TUF: nothing says how old it is", "nothing, or use a TUF source";
    Imported => "what was read from the source verified", "nothing";
    NotRead => "the source was not read yet", "wait for the first pass";
    SourceUnavailable => "the source does not answer", "read the message: it names the address and what happened";
    SourceUnusable => "what is declared as the source is none, or may not be read", "correct `spec.source`, or give what it names";
    SourceUnacceptable => "the source offers something that is not read: too large, a link that leads away, a redirect", "see what was put in its place, and copy the repository anew";
    RootUnreadable => "the repository verified, and the trusted root in it cannot be used", "ask the publisher; what was in force stays in force";
    SpecInvalid => "the mirror declares something that cannot be used", "correct the field that the message names";
    AwaitingApproval => "a verified candidate with other key material waits for approval", "read `status.candidate`, then approve its digest with a TrustApproval or `rotation.approvedDigest`";
    GuardsAbsent => "a candidate waits, and no approval is honoured: the admission policies that tie approvers to their names are absent, changed or do not answer the probe", "install the chart's admission policies as they are";
    NothingPending => "nothing waits for approval", "nothing";
    MemoryIntact => "what was ever accepted is remembered", "nothing";
    MemoryLost => "what was remembered is gone; imports are blocked, and what is in force stays in force", "find out who deleted it; restore the object, or open a break-glass `restoreMemory`";
    MemoryReplaced => "what was remembered was deleted and made again; imports are blocked, and what is in force stays in force", "find out who replaced it; a break-glass `restoreMemory` takes it as it is";
    MemoryRolledBack => "what is remembered is older than it was; imports are blocked, and what is in force stays in force", "find out who set it back; a break-glass `restoreMemory` takes it as it is";
    MemoryDamaged => "what is remembered cannot be read; imports are blocked, and what is in force stays in force", "find out who changed it; restore the object, or open a break-glass `restoreMemory`";
    MemoryUnproven => "a memory of this pin is there that nobody saw being written, and the source's roots do not lead to it", "bring a whole and current copy of the repository; where the memory is nobody's, find out who planted it and take it away";
    MemoryTooLarge => "what would have to be remembered does not fit into an object of the cluster; nothing of the import is in force", "ask the publisher why its metadata is so large";
    ClockSane => "nothing speaks against the clock", "nothing";
    ClockBehind => "the clock is behind a time that something was signed at", "set the clock; where an authority's ran ahead, open a break-glass `lowerClockFloor`";
    EndsSoon => "something the trust relies on ends within `freshness.warnBefore`", "let the courier bring a newer repository, or plan the rotation";
    Ended => "something the trust relied on has ended", "read the message: it says what no longer works";
    FarFromEnd => "nothing the trust relies on ends within `freshness.warnBefore`", "nothing";
    NotAsked => "the mirror declares no distribution", "nothing";
    Distributed => "every selected namespace has the trust in force", "nothing";
    Adopting => "every selected namespace has the trust in force and, until `removalGrace` has passed, what it replaced", "nothing: what was replaced goes by itself";
    Distributing => "some selected namespaces do not have the trust in force yet", "read `status.consumers`: it names them";
    NotDistributable => "some selected namespaces cannot be given the trust", "read the message: it names them and why";
    NameNotAllowed => "the name is not one of those that holdfast may distribute under", "use a name that the chart's values list, or add it there";
}

impl MirrorReason {
    /// Who can mend it.
    pub const fn owner(self) -> Owner {
        match self {
            Self::AsDeclared
            | Self::Imported
            | Self::NothingPending
            | Self::MemoryIntact
            | Self::ClockSane
            | Self::FarFromEnd
            | Self::NotAsked
            | Self::Distributed
            | Self::Adopting => Owner::None,
            Self::AwaitingApproval
            | Self::GuardsAbsent
            | Self::MemoryLost
            | Self::MemoryReplaced
            | Self::MemoryRolledBack
            | Self::MemoryDamaged => Owner::Security,
            Self::Stale
            | Self::InGrace
            | Self::WithoutTuf
            | Self::RootUnreadable
            | Self::EndsSoon
            | Self::Ended
            | Self::Refused(_) => Owner::Trust,
            _ => Owner::Platform,
        }
    }
}

impl fmt::Display for MirrorReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
