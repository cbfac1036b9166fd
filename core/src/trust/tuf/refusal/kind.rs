//! The names of refusals, and what each of them means.

use std::fmt;

use super::Refusal;

macro_rules! kinds {
    ($($name:ident => $meaning:literal, $cure:literal;)+) => {
        /// What sort of [`Refusal`] it is; a closed set.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs)] // each is described by `meaning`
        pub enum RefusalKind {
            $($name,)+
        }

        impl RefusalKind {
            /// Every kind, in the order of the reference.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The name as it stands in messages, status and metrics.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }

            /// One sentence for a person.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)+ }
            }

            /// What to do about it.
            pub const fn cure(self) -> &'static str {
                match self { $(Self::$name => $cure,)+ }
            }
        }

        impl Refusal {
            /// What sort of refusal it is.
            pub const fn kind(&self) -> RefusalKind {
                match self { $(Self::$name { .. } => RefusalKind::$name,)+ }
            }
        }
    };
}

kinds! {
    Rollback => "an older version of a role was offered than was already accepted",
        "bring a current copy of the repository; if the keys of the role were really replaced, a newer root has to say so";
    Expired => "a role of the repository is past its end",
        "bring a newer copy of the repository; for the courier's way past the timestamp's end alone, declare a grace";
    Threshold => "a role has valid signatures of fewer keys than it needs",
        "bring the repository anew from its publisher; where its keys were replaced, with every root since the one that is held";
    UnreadKeys => "a role has valid signatures of fewer keys than it needs, and some of its keys are in a form that is not read",
        "start from a later root, whose keys are PEM; of the public Sigstore repository, version 5 or later";
    Equivocation => "one version of a role has two contents",
        "ask the publisher, and import nothing until it is explained";
    Mismatch => "a file is not what the signed metadata says of it",
        "copy the repository anew: the copy is damaged, or mixed from two versions";
    Removed => "the snapshot no longer lists a role that was accepted before",
        "bring a whole copy of the repository; if the publisher took the role away, ask why";
    MissingFile => "a file that the repository needs is not there",
        "bring a whole copy of the repository";
    TooLarge => "a file has more bytes than are read of its kind",
        "see what was put in its place, and copy the repository anew";
    Malformed => "a file cannot be read as what it should be",
        "bring it anew from its publisher";
    PinMismatch => "the bootstrap root is not the one that is pinned",
        "compare the digest with the one the publisher states, and pin that one or give the root that has it";
    TooManyRoots => "the chain of roots is longer than is followed in one import",
        "see who generates them; a genuine repository has a few";
    UnsafeTargetName => "the name of a target could lead out of its directory",
        "ask for a name with plain segments, without a leading `/`, `.` or `..`";
    UnknownTarget => "no trusted role of the repository lists the target",
        "correct its name, or ask the publisher which repository lists it";
    TooManyDelegations => "a target was not found among as many delegated roles as are visited",
        "correct its name; a genuine repository delegates to fewer roles";
    ClockBehind => "the clock is behind a time that something was signed at",
        "set the clock; if it is right and the authority's ran ahead, lower the floor (`--lower-clock-floor`)";
    MemoryDamaged => "what is held is not what the memory says was accepted",
        "restore the state from a backup; starting afresh would forget which versions were already seen";
}

impl fmt::Display for RefusalKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
