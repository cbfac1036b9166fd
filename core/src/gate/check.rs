//! The checks in front of enforcement: what each means, whose it is, and what cures it.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::would_deny::bounded;
use crate::verify::{Owner, Reason};

macro_rules! checks {
    ($($name:ident => $owner:ident, $meaning:literal, $cure:literal;)+) => {
        /// A check; a closed set. Its texts are the one source of what status, `explain` and the documentation say.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Check {
            $(#[doc = $meaning] $name,)+
        }

        impl Check {
            /// Every check, in the order of status and documentation.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The name as written in status and on the command line.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }

            /// Who can make it pass.
            pub const fn owner(self) -> Owner {
                match self { $(Self::$name => Owner::$owner,)+ }
            }

            /// What holds when it passes, in a sentence without an end.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)+ }
            }

            /// What to do when it fails.
            pub const fn cure(self) -> &'static str {
                match self { $(Self::$name => $cure,)+ }
            }
        }
    };
}

checks! {
    TrustRootReady => Trust, "every trust root the policy accepts is in force, and its memory is what it was",
        "import the trust root (`holdfast mirror import`), or open a break-glass with `restoreMemory` where its memory was lost";
    TrustRootFresh => Trust, "every trust root the policy accepts is within its limits of age",
        "bring newer metadata with the next courier";
    NoPendingRotation => Trust, "no trust root the policy accepts has a candidate that waits for approval",
        "read the candidate's changes and its impact on running images, then approve its digest or take it back";
    ScanComplete => Platform, "the last scan looked at everything, and judged by the policy as it is now",
        "mend what the scan names; the next scan looks again";
    ScanFresh => Platform, "the last scan is at most two intervals old",
        "see that holdfast runs and that scans finish within their interval";
    CoverageMet => Pipeline, "as many images are covered as `minimumCoverage` asks for and none is unknown, in every namespace that is or would be enforced",
        "sign what is not covered in its pipeline; the coverage names each image, its reason and its owner";
    EveryIdentitySeen => Pipeline, "of every identity that is not optional a verified bundle was seen",
        "let the pipeline sign one image, or declare the identity `optional`";
    EngineReady => Platform, "every declared engine is there, acts on this version of the policy, and its canaries are right",
        "mend what the engine names; `holdfast plan` shows what it would be given";
    AdmissibleAsDeclared => Workload, "what runs is declared in a form that engines can admit, and some policy in force is about it",
        "declare images by digest (`name@sha256:…`), and name other images in a policy or in `exemptImages`";
    NoWideningLoss => Platform, "no declared engine would admit what the policy declares bad",
        "do what the loss names, or take the engine out of the policy";
    ClockSane => Platform, "the clock is not behind a time that has certainly passed",
        "set the clock; where the floor itself is wrong, open a break-glass with `lowerClockFloor`";
    NoBreakGlass => Security, "no break-glass loosens this policy or trust that it accepts",
        "wait for its end, or delete it to close it early";
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How many characters are kept of what was found: an image may be named in it, which somebody else wrote.
const LONGEST: usize = 1024;

/// A check as it was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckResult {
    /// Which.
    pub check: Check,
    /// Whether it passed.
    pub passed: bool,
    /// Since when it does, or does not.
    pub since: Timestamp,
    /// A sentence: numbers, whose it is, what is next.
    pub message: String,
}

impl CheckResult {
    /// The result of a check, with the instant since when it is so carried over from the results before.
    pub(super) fn new(check: Check, found: Result<String, Fault>, before: &[Self], now: Timestamp) -> Self {
        let (passed, message) = match found {
            Ok(message) => (true, bounded(&message, LONGEST)),
            Err(Fault { text, because }) => {
                let text = bounded(&text, LONGEST);
                let owner = because.map_or_else(|| check.owner(), Reason::owner);
                let cure = because.map_or_else(|| check.cure(), Reason::cure);
                (false, format!("{text}. {} has to act: {cure}", capital(owner)))
            }
        };
        let same = before.iter().find(|result| result.check == check && result.passed == passed);
        Self { check, passed, since: same.map_or(now, |result| result.since), message }
    }
}

/// Why a check failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// A sentence without an end.
    pub text: String,
    /// Where it is another's than the check says: by whose reason images are not covered.
    pub because: Option<Reason>,
}

impl From<String> for Fault {
    fn from(text: String) -> Self {
        Self { text, because: None }
    }
}

fn capital(owner: Owner) -> String {
    let name = owner.to_string();
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
