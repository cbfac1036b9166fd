//! What becomes of a pass that failed.

use std::time::Duration;

use kube::runtime::controller::Action;

use super::context::Context;
use super::failure::Failed;

/// The first wait after a failure, and the longest.
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LAST_RETRY: Duration = Duration::from_secs(60);

/// How long to wait after so many failures in a row.
pub(crate) fn retry_after(failures: u32) -> Duration {
    FIRST_RETRY.saturating_mul(1 << failures.min(10)).min(LAST_RETRY)
}

/// Says what became of a pass, the last of so many failures in a row.
///
/// # Errors
/// [`Failed`], where it was no ordinary one.
pub(crate) fn conclude(
    context: &Context,
    controller: &'static str,
    name: &str,
    done: Result<Action, Failed>,
    failures: u32,
) -> Result<Action, Failed> {
    match done {
        Ok(action) => Ok(action),
        // Somebody wrote meanwhile, or this replica is about to end: both are ordinary, and the first is decided anew at once.
        Err(failed @ (Failed::NotLeading | Failed::Api { .. }))
            if failed.is_conflict() || matches!(failed, Failed::NotLeading) =>
        {
            tracing::debug!(controller, name, %failed, "the pass is begun again");
            Ok(Action::requeue(retry_after(failures.saturating_sub(1)) / 4))
        }
        Err(failed) => {
            context.metrics.fails(controller, failed.category());
            tracing::warn!(controller, name, error = %failed, failures, "the pass failed; it is tried again");
            Err(failed)
        }
    }
}
