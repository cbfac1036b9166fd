//! What somebody has to look at now.

use std::fmt;

use serde::{Serialize, Serializer};

macro_rules! alarms {
    ($($name:ident => $meaning:literal, $cure:literal;)+) => {
        /// An alarm; a closed set.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum AlarmKind {
            $(#[doc = $meaning] $name,)+
        }

        impl AlarmKind {
            /// Every alarm.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The name as written in status, events and metrics.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }

            /// What it means, in a sentence without an end.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)+ }
            }

            /// What to do about it.
            pub const fn cure(self) -> &'static str {
                match self { $(Self::$name => $cure,)+ }
            }
        }
    };
}

alarms! {
    CheckFailing => "a check fails while the policy is enforced; enforcement holds", "do what the check says";
    LooseningHeld => "a change that admits more waits, and the last enforced form stays in force",
        "approve the digest the loosening names, or take the change back";
    PromotionHeld => "a promotion would take images out of another policy's denial, and waits",
        "approve the digest the loosening names, or narrow `images`";
    NotObserved => "a promotion was written and is not observed in force after a quarter of an hour",
        "see what the engine says of its objects";
    NotInForce => "an engine no longer denies where the policy is enforced",
        "see who changed the engine's objects; holdfast writes them anew";
    RecordLost => "the object that says what is enforced is lost; what engines hold is left as it is",
        "restore the object, or approve the digest of the policy as it is declared";
    HistoryBroken => "the history was changed or set back; soaks start again", "see who can write it";
    SoakDisagrees => "what is said of a soak does not agree with the history; it starts again",
        "see who can write the status";
    BreakGlassOpen => "a break-glass loosens this policy or trust it accepts", "close it as soon as it is not needed";
    WaveEmpty => "the wave under way selects no namespace", "correct its selector, or take the wave out";
}

impl fmt::Display for AlarmKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for AlarmKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// One alarm.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Alarm {
    /// Which.
    pub kind: AlarmKind,
    /// A sentence: what exactly, and what is next.
    pub message: String,
}
