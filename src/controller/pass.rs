//! One pass over an object of holdfast's, and what becomes of one that failed.

use std::time::Duration;

use kube::ResourceExt;
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;
use tokio::time::Instant;

use super::context::Context;
use super::failure::Failed;
use super::malformed::{self, Told};
use crate::serve::metrics::Ended;

/// The first wait after a failure, and the longest.
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LAST_RETRY: Duration = Duration::from_secs(60);

/// How long to wait after so many failures in a row.
pub(crate) fn retry_after(failures: u32) -> Duration {
    FIRST_RETRY.saturating_mul(1 << failures.min(10)).min(LAST_RETRY)
}

/// One pass over an object, where this replica leads: `over` what can be read, and a word on what cannot. `failures` counts those in a row, told whether this one
/// came to its end.
///
/// # Errors
/// [`Failed`], where a step could not be carried out; the next pass begins anew.
pub(crate) async fn one<'k, K: Told, Over>(
    context: &Context,
    controller: &'static str,
    object: &'k DeserializeGuard<K>,
    over: impl FnOnce(&'k K) -> Over,
    failures: impl FnOnce(bool) -> u32,
) -> Result<Action, Failed>
where
    Over: Future<Output = Result<Action, Failed>>,
{
    if !context.leadership.holds() {
        return Ok(Action::await_change());
    }
    let started = Instant::now();
    context.metrics.begins(controller);
    let done = match &object.0 {
        Ok(object) => Box::pin(over(object)).await,
        Err(invalid) => malformed::tell::<K>(context, invalid).await.map(|()| Action::await_change()),
    };
    let ended = if done.is_ok() { Ended::RequeueAfter } else { Ended::Error };
    context.metrics.ends(controller, ended, started.elapsed());
    let failures = failures(done.is_ok());
    conclude(context, controller, &object.name_any(), done, failures)
}

/// Says what became of a pass, the last of so many failures in a row.
fn conclude(
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
