//! Who asks for a pass over all policies, and who makes it.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::context::Context;
use super::super::failure::Failed;
use super::super::{jitter, pass};
use super::CONTROLLER;
use crate::serve::metrics::Ended;

/// How long what is asked for is gathered, from the first that asks.
const GATHER: Duration = Duration::from_millis(20);

/// From how many passes in a row on it is no longer ordinary that somebody else wrote meanwhile.
const STUBBORN: u32 = 5;

/// Asks for a pass.
#[derive(Clone, Default)]
pub(crate) struct Wake(Arc<Notify>);

impl Wake {
    /// Something changed that a pass looks at.
    pub(crate) fn ask(&self) {
        self.0.notify_one();
    }
}

/// Makes passes as they are asked for and as they are due, until `stop`: on a thread of its own. Judging takes a processor, and whoever else is served does not
/// wait for it; and what a pass takes of memory, the next one takes again, while each thread that ever made one would keep as much for itself.
pub(crate) fn start(context: Arc<Context>, stop: CancellationToken) -> JoinHandle<()> {
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || runtime.block_on(passes(context, stop)))
}

async fn passes(context: Arc<Context>, stop: CancellationToken) {
    let (mut wait, mut failures) = (Duration::ZERO, 0_u32);
    let mut leading = context.leadership.watch();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = context.policies.wake.0.notified() => tokio::time::sleep(GATHER).await,
            () = tokio::time::sleep(wait) => {}
            _ = leading.changed() => context.policies.doubt(),
        }
        if !context.leadership.holds() {
            wait = super::LONGEST;
            continue;
        }
        let done = tokio::select! {
            () = stop.cancelled() => return,
            done = one(&context) => done,
        };
        failures = if done.is_ok() { 0 } else { failures.saturating_add(1) };
        wait = match done {
            Ok(wait) => wait,
            Err(failed) => after(&context, &failed, failures),
        };
    }
}

async fn one(context: &Context) -> Result<Duration, Failed> {
    let started = Instant::now();
    context.metrics.begins(CONTROLLER);
    let done = super::over(context).await;
    let ended = if done.is_ok() { Ended::RequeueAfter } else { Ended::Error };
    context.metrics.ends(CONTROLLER, ended, started.elapsed());
    done
}

/// How long to wait after a pass that failed. Somebody who wrote meanwhile is ordinary: what was decided is decided anew at once.
fn after(context: &Context, failed: &Failed, failures: u32) -> Duration {
    let is_ordinary = failed.is_conflict() && failures < STUBBORN;
    if is_ordinary || matches!(failed, Failed::NotLeading) {
        tracing::debug!(controller = CONTROLLER, %failed, "the pass is begun again");
        return pass::retry_after(failures.saturating_sub(1)) / 4;
    }
    context.metrics.fails(CONTROLLER, failed.category());
    tracing::warn!(controller = CONTROLLER, error = %failed, failures, "the pass failed; it is tried again");
    jitter(pass::retry_after(failures.saturating_sub(1)))
}
