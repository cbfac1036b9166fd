//! The condition types that status may show: a closed set, each with what it means and what to do.

use std::fmt;

macro_rules! conditions {
    ($($name:ident => $healthy:literal, $meaning:literal, $cure:literal;)+) => {
        /// The type of a condition. `Reconciling` and `Stalled` are there only while they are true (kstatus).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ConditionType {
            $(#[doc = $meaning] $name,)+
        }

        impl ConditionType {
            /// Every condition.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The name as written in status.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }

            /// The status it has while all is well: true or false.
            pub const fn healthy(self) -> bool {
                match self { $(Self::$name => $healthy,)+ }
            }

            /// What it means while it is true, in a sentence without an end.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)+ }
            }

            /// What to do while it is not as it should be.
            pub const fn cure(self) -> &'static str {
                match self { $(Self::$name => $cure,)+ }
            }
        }
    };
}

conditions! {
    Ready => true, "the object does what it declares",
        "read the condition's message: it names what is missing and whose it is";
    Reconciling => false, "work is under way that is not done yet",
        "wait; the message says how far it is";
    Stalled => false, "the object cannot be acted on until someone changes it",
        "read the message; it names the field or the object to change";
    Verified => true, "what was last read from the source verified from the pin, with memory",
        "read the message: it names the role and the fault; nothing of what was refused is in force";
    Fresh => true, "the trust in force is within `freshness.maxAge`, and its metadata has not expired",
        "let the courier bring a newer repository and import it; until then nothing is promoted";
    RotationPending => false, "a verified candidate with other key material waits for approval",
        "read `status.candidate`, then approve its digest with a TrustApproval or `rotation.approvedDigest`";
    MemoryIntact => true, "what was ever accepted of this trust root is remembered",
        "find out who deleted or replaced the memory; a break-glass `restoreMemory` makes it anew from what is held";
    ClockSane => true, "the clock is not behind the newest authenticated time",
        "set the clock right; a break-glass `lowerClockFloor` helps where an authority's clock ran ahead";
    ExpiringSoon => false, "something the trust in force relies on ends within `freshness.warnBefore`",
        "read `status.expiryBudget`: it names what ends, and when; let the courier bring a newer repository, or plan the rotation";
    Distributed => true, "every consumer has the trust in force",
        "read `status.consumers`: it names who has not";
    Rendered => true, "the policy is rendered for each of its engines, for enforcement too",
        "read the losses in `status.engines`: one of them would widen, and says what cures it";
    Enforcing => true, "the policy denies in all of its namespaces",
        "read `status.enforcement.checks`: it names what holds the promotion back, and whose it is";
    Degraded => false, "the policy is enforced, and a check that led there no longer holds",
        "read the failing check; enforcement stays as it is until the check holds again";
    LooseningHeld => false, "a change would admit more than what is enforced, and is not in force",
        "take the change back, or have its digest approved; the message names it";
    Complete => true, "the last scan looked at every image",
        "read the message: it names what could not be looked at, and whose it is";
    Active => true, "the break-glass loosens what it names",
        "it needs two approvals by two people, neither of them the requester, and ends by itself";
}

impl fmt::Display for ConditionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
