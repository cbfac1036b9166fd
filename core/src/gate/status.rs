//! A decision as status says it.

use super::decide::Decision;
use crate::api::policy::{CheckStatus, EnforcementStatus};

/// How many namespaces a status names.
const NAMED: usize = 64;

impl Decision {
    /// The status of a policy's enforcement.
    pub fn status(&self) -> EnforcementStatus {
        EnforcementStatus {
            phase: self.progress.phase.to_string(),
            wave: self.wave.clone(),
            enforced_in: u32::try_from(self.namespaces.len()).unwrap_or(u32::MAX),
            namespaces: self.namespaces.iter().take(NAMED).cloned().collect(),
            since: Some(self.progress.since.to_string()),
            blocked_by: self.blocked_by.clone(),
            checks: self
                .progress
                .checks
                .iter()
                .map(|check| CheckStatus {
                    name: check.check.to_string(),
                    passed: check.passed,
                    since: Some(check.since.to_string()),
                    message: check.message.clone(),
                })
                .collect(),
            would_have_denied: u64::try_from(self.progress.would_deny.count()).unwrap_or(u64::MAX),
        }
    }
}
