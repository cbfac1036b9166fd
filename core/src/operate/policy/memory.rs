//! What is remembered of a policy.

use serde::{Deserialize, Serialize};

use crate::gate::{Decision, Enforced, History, Progress};

/// The gate of one policy, as it stood.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Remembered {
    /// What is enforced of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enforced: Option<Enforced>,
    /// How far it has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// What happened.
    #[serde(default)]
    pub history: History,
}

impl Remembered {
    /// Whether anything that is remembered says that the policy denies somewhere.
    pub fn is_enforced(&self) -> bool {
        self.enforced.as_ref().is_some_and(|enforced| !enforced.namespaces.is_empty())
            || !self.history.in_force().enforced.is_empty()
            || self.progress.as_ref().is_some_and(|progress| !progress.enforced.is_empty())
    }
}

impl Remembered {
    /// The same without what only people read: what is enforced, the history and soaks are kept.
    #[must_use]
    pub fn bare(mut self) -> Self {
        if let Some(progress) = &mut self.progress {
            let ledger = &mut progress.would_deny;
            ledger.beyond = ledger.count();
            ledger.denials.clear();
            progress.checks.iter_mut().for_each(|check| check.message.clear());
        }
        self
    }
}

impl From<&Decision> for Remembered {
    fn from(decision: &Decision) -> Self {
        Self {
            enforced: decision.enforced.clone(),
            progress: Some(decision.progress.clone()),
            history: decision.history.clone(),
        }
    }
}
