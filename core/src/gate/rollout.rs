//! Phases, what moves from one to the next, and the waves.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::api::SigningIdentityPolicySpec;
use crate::api::common::NamespaceSelector;
use crate::api::policy::{Enforcement, Wave};

/// The name of the one wave of a policy that declares none.
pub const EVERYTHING: &str = "everything";

/// How far a policy has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Phase {
    /// It only reports.
    Audit,
    /// A wave waits until every check has held for its soak. Waves before it are enforced.
    Soaking,
    /// A wave was promoted and is not yet observed in force.
    Promoting,
    /// Every wave is in force.
    Enforcing,
}

impl Phase {
    /// Every phase.
    pub const ALL: &[Self] = &[Self::Audit, Self::Soaking, Self::Promoting, Self::Enforcing];

    /// The name as written in status.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Audit => "Audit",
            Self::Soaking => "Soaking",
            Self::Promoting => "Promoting",
            Self::Enforcing => "Enforcing",
        }
    }

    /// What it means, in a sentence without an end.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Audit => "the policy reports what it would deny, and denies nothing",
            Self::Soaking => "a wave waits until every check has held for its soak; the waves before it stay enforced",
            Self::Promoting => "a wave was promoted and written, and is not yet observed in force everywhere",
            Self::Enforcing => "every wave is in force; checks that fail alarm, and take nothing back",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

macro_rules! triggers {
    ($($name:ident => $words:literal;)+) => {
        /// What a step found that decides the next phase; a closed set.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub enum Trigger {
            $(#[doc = $words] $name,)+
        }

        impl Trigger {
            /// Every trigger.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// In words, as on an arrow of the picture.
            pub const fn words(self) -> &'static str {
                match self { $(Self::$name => $words,)+ }
            }
        }
    };
}

triggers! {
    Nothing => "nothing new";
    EnforceDesired => "Enforce is desired";
    AuditDesired => "Audit is desired, nothing is enforced";
    CheckFailed => "a check fails";
    ScanEarned => "a new scan finds every check passed";
    Paused => "paused";
    NoNamespace => "the wave selects no namespace";
    Held => "the promotion or a change waits for an approval";
    SoakFull => "the soak is full, every check passes";
    ObservedMore => "observed in force, another wave follows";
    ObservedLast => "observed in force, no wave is left";
    NothingPending => "no wave is left";
    WavePending => "a wave is declared that is not in force";
    Released => "the last namespace was let go, as approved";
}

/// One arrow of the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    /// From which phase.
    pub from: Phase,
    /// On what.
    pub on: Trigger,
    /// To which phase.
    pub to: Phase,
    /// What happens besides.
    pub effect: &'static str,
}

const fn arrow(from: Phase, on: Trigger, to: Phase, effect: &'static str) -> Transition {
    Transition { from, on, to, effect }
}

/// Every transition there is. What is not here does not happen: nothing leads from Promoting or Enforcing to Audit but a release somebody approved.
pub const TRANSITIONS: &[Transition] = &[
    arrow(Phase::Audit, Trigger::Nothing, Phase::Audit, "checks are shown"),
    arrow(
        Phase::Audit,
        Trigger::EnforceDesired,
        Phase::Soaking,
        "the soak starts with credit 0 once every check passes",
    ),
    arrow(Phase::Soaking, Trigger::AuditDesired, Phase::Audit, "the soak is dropped"),
    arrow(Phase::Soaking, Trigger::Nothing, Phase::Soaking, "no credit"),
    arrow(Phase::Soaking, Trigger::CheckFailed, Phase::Soaking, "credit falls to 0"),
    arrow(
        Phase::Soaking,
        Trigger::ScanEarned,
        Phase::Soaking,
        "credit grows by the time since the last scan, at most two intervals and a quarter of the soak",
    ),
    arrow(Phase::Soaking, Trigger::Paused, Phase::Soaking, "no credit, no promotion"),
    arrow(Phase::Soaking, Trigger::NoNamespace, Phase::Soaking, "no promotion: nothing would be tried first"),
    arrow(Phase::Soaking, Trigger::Held, Phase::Soaking, "no promotion until somebody approves"),
    arrow(Phase::Soaking, Trigger::SoakFull, Phase::Promoting, "its namespaces are enforced by name"),
    arrow(Phase::Soaking, Trigger::NothingPending, Phase::Enforcing, "nothing is left to promote"),
    arrow(Phase::Soaking, Trigger::Released, Phase::Audit, "nothing is enforced any more"),
    arrow(Phase::Promoting, Trigger::Nothing, Phase::Promoting, "written; an alarm when it is not observed in time"),
    arrow(Phase::Promoting, Trigger::CheckFailed, Phase::Promoting, "alarm, Degraded; what is written stays"),
    arrow(Phase::Promoting, Trigger::ObservedMore, Phase::Soaking, "the next wave starts its own soak"),
    arrow(Phase::Promoting, Trigger::ObservedLast, Phase::Enforcing, "the rollout is complete"),
    arrow(Phase::Promoting, Trigger::Released, Phase::Audit, "nothing is enforced any more"),
    arrow(Phase::Enforcing, Trigger::Nothing, Phase::Enforcing, "namespaces labelled into scope soak for themselves"),
    arrow(Phase::Enforcing, Trigger::CheckFailed, Phase::Enforcing, "alarm, Degraded; nothing is taken back"),
    arrow(Phase::Enforcing, Trigger::WavePending, Phase::Soaking, "its soak starts with credit 0"),
    arrow(Phase::Enforcing, Trigger::Released, Phase::Audit, "nothing is enforced any more"),
];

/// The transition from a phase on a trigger.
pub fn transition(from: Phase, on: Trigger) -> Option<&'static Transition> {
    TRANSITIONS.iter().find(|transition| transition.from == from && transition.on == on)
}

/// The waves of a rollout, in order: the declared ones, or one for everything.
pub fn waves_of(enforcement: &Enforcement) -> Vec<Wave> {
    if enforcement.waves.is_empty() {
        let everything = NamespaceSelector::default();
        return vec![Wave { name: EVERYTHING.to_owned(), namespace_selector: everything, soak: None }];
    }
    enforcement.waves.clone()
}

/// How long every check has to hold before a wave.
pub fn soak_of(enforcement: &Enforcement, wave: &Wave) -> SignedDuration {
    wave.soak.unwrap_or(enforcement.soak).signed()
}

/// A namespace as it was observed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Its labels; `kubernetes.io/metadata.name` among them.
    pub labels: BTreeMap<String, String>,
    /// When it was made, by the API server's clock.
    pub created: Option<Timestamp>,
    /// Whether it was there before.
    pub seen: Seen,
}

/// How long after it was made a namespace has to be decided at the latest, to be known by its first sight.
pub(super) const YOUNG: SignedDuration = SignedDuration::from_secs(60);

impl Namespace {
    /// Whether it had just been made then.
    pub(crate) fn was_new_at(&self, at: Timestamp) -> bool {
        self.created.is_some_and(|created| at >= created && at.duration_since(created) <= YOUNG)
    }
}

/// Whether a namespace was there when namespaces were last looked at, and what was decided of them was written down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Seen {
    /// It was: that it is in scope now and was not then is a change.
    Before,
    /// It was not: it was made since.
    Never,
    /// Nobody knows: whoever looks has just begun to, or reads files.
    #[default]
    Unknown,
}

/// The namespaces that a wave of a policy selects, of those that are known and not left out.
pub fn selected<'n>(
    spec: &SigningIdentityPolicySpec,
    wave: &Wave,
    namespaces: &'n BTreeMap<String, Namespace>,
    left_out: &BTreeSet<String>,
) -> BTreeSet<&'n str> {
    namespaces
        .iter()
        .filter(|(name, namespace)| {
            !left_out.contains(*name)
                && spec.namespace_selector.matches(&namespace.labels)
                && wave.namespace_selector.matches(&namespace.labels)
        })
        .map(|(name, _)| name.as_str())
        .collect()
}
