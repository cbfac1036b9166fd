//! What the gate remembers: what is enforced, in an object of its own, and how far it has come, which may be lost.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::check::CheckResult;
use super::loosening::{PolicyForm, SecretKey};
use super::rollout::Phase;
use super::soak::Soak;
use super::would_deny::Ledger;
use crate::Digest;
use crate::api::SigningIdentityPolicySpec;

/// What is enforced of a policy. Kept in an object that only holdfast writes; its loss never reads as Audit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Enforced {
    /// The policy in the form that is in force.
    pub spec: SigningIdentityPolicySpec,
    /// The keys its Secret references named, by the name of the identity.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub keys: BTreeMap<String, SecretKey>,
    /// The namespaces, by name. A name stays when its labels no longer say so, and for a while when the namespace is gone.
    pub namespaces: BTreeMap<String, Standing>,
    /// The waves that were promoted, by name.
    pub waves: BTreeMap<String, WaveStanding>,
    /// When an hour was last counted for the namespaces that are gone, where some are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted: Option<Timestamp>,
}

/// How far a namespace has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// The wave it came with.
    pub wave: String,
    /// When it was first to be written. From here on it is never taken back by itself.
    pub written: Timestamp,
    /// When every engine was first observed to deny there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<Timestamp>,
    /// For how many hours the namespace itself is gone, where it is.
    #[serde(default, rename = "goneForHours", skip_serializing_if = "Option::is_none")]
    pub gone: Option<u32>,
}

impl Standing {
    /// That of a namespace that is promoted now.
    #[must_use]
    pub fn new(wave: &str, now: Timestamp) -> Self {
        Self { wave: wave.to_owned(), written: now, observed: None, gone: None }
    }
}

/// How far a wave has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WaveStanding {
    /// When it was promoted.
    pub promoted: Timestamp,
    /// When all its namespaces were observed in force; only then the next wave begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<Timestamp>,
}

impl Enforced {
    /// The names of the namespaces.
    pub fn names(&self) -> BTreeSet<String> {
        self.namespaces.keys().cloned().collect()
    }

    /// Nothing enforced yet, of a policy in this form.
    pub(super) fn nothing(form: PolicyForm<'_>) -> Self {
        Self {
            spec: form.spec.clone(),
            keys: form.keys.clone(),
            namespaces: BTreeMap::new(),
            waves: BTreeMap::new(),
            counted: None,
        }
    }

    /// The form that is in force.
    pub fn form<'a>(&'a self, name: &'a str) -> PolicyForm<'a> {
        PolicyForm { name, spec: &self.spec, keys: &self.keys }
    }

    /// Whether a wave was promoted and not yet observed in force.
    pub fn is_promoting(&self) -> bool {
        self.waves.values().any(|wave| wave.observed.is_none())
    }
}

/// How far a policy has come on its way to be enforced. Its loss costs the soak and nothing else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// The phase.
    pub phase: Phase,
    /// Since when.
    pub since: Timestamp,
    /// When the step was made, by the latest that the clock ever said.
    pub at: Timestamp,
    /// The namespaces that were enforced then: a witness where the object that says so is lost, and the history with it.
    #[serde(default)]
    pub enforced: BTreeSet<String>,
    /// The digest of the form that was enforced then; none where nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub form: Option<Digest>,
    /// Every check, as it was found last.
    pub checks: Vec<CheckResult>,
    /// The soak of the wave under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soak: Option<Soak>,
    /// The soaks of namespaces that came into scope after their wave, each for itself.
    #[serde(default)]
    pub late: BTreeMap<String, Soak>,
    /// What would have been denied.
    #[serde(default)]
    pub would_deny: Ledger,
    /// The break-glasses that were in force.
    #[serde(default)]
    pub break_glasses: BTreeSet<String>,
    /// What was last said to be held, so that the history says it once, and an approval of it counts; and what a break-glass lent.
    #[serde(default)]
    pub held: BTreeSet<Digest>,
    /// The newest record of the history when this was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<Digest>,
}
