//! A decision as status says it.

use super::decide::Decision;
use super::rollout::Phase;
use super::would_deny::{Denial, UNSEEN};
use crate::api::policy::{CheckStatus, EnforcementStatus};
use crate::text::shortened;

/// What is shown of what would have been denied.
const MAX_EXAMPLES: usize = 16;
const MAX_EXAMPLE: usize = 1000;

fn example(denial: &Denial) -> String {
    shortened(&format!("{}: {}: {}", denial.workload, denial.image, denial.why), MAX_EXAMPLE)
}

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
            would_have_denied_examples: self
                .progress
                .would_deny
                .denials
                .iter()
                .take(MAX_EXAMPLES)
                .map(example)
                .collect(),
            cannot_see: (self.progress.phase == Phase::Soaking).then(|| UNSEEN.to_owned()),
            left_out: Vec::new(),
        }
    }
}
