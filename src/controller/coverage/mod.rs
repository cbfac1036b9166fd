//! `BundleCoverageReport` on the API server: observe, validate, decide, apply, report. Scans run beside passes, and ask for one when something is known.

mod details;
mod impact;
mod known;
mod observe;
mod policies;
mod publish;
mod registries;
mod report;
mod scanning;
mod sight;

use std::sync::Arc;
use std::time::Duration;

use holdfast_core::api::BundleCoverageReport;
use holdfast_core::operate::report::{Due, due};
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};

use super::context::Context;
use super::failure::Failed;
use super::{jitter, malformed, mirror, pass};
use crate::clock;

pub(crate) use details::tidy;
pub(crate) use policies::{FormsInForce, Policies, compiled, policies};
pub(crate) use registries::{Registries, registries};
pub(crate) use scanning::Scanning;
pub(crate) use sight::{Sight, sight, that_counts};

/// The name of the controller in metrics and logs.
pub(crate) const CONTROLLER: &str = "bundlecoveragereport";
/// How many reports are looked at at once.
pub(crate) const CONCURRENCY: u16 = 2;
/// The longest wait without a look: the clock may have been set meanwhile.
const LONGEST: Duration = Duration::from_secs(3600);
/// How long the trust of a mirror that was not looked at yet is waited for before images are judged without it.
const FOR_TRUST: Duration = Duration::from_secs(1);

/// A report is gone, and what it judged with it.
pub(crate) fn gone(context: &Context, name: &str) {
    malformed::forget::<BundleCoverageReport>(context, name);
    context.scanning.forget(name);
    context.candidates.forget_report(name);
    // Another report may count from here on, and what this one feared speaks against nothing any more.
    mirror::ask_waiting(context);
}

/// Reports that are known and are not there any more are gone.
pub(crate) fn forget_missing(context: &Context) {
    let is_there = |name: &String| context.caches.reports.get(&ObjectRef::new(name)).is_some();
    let missing: Vec<String> = context.scanning.known.lock().keys().filter(|name| !is_there(name)).cloned().collect();
    for name in &missing {
        gone(context, name);
    }
}

/// One pass over one report.
///
/// # Errors
/// [`Failed`], where a step could not be carried out; the next pass begins anew.
pub(crate) async fn reconcile(
    object: Arc<DeserializeGuard<BundleCoverageReport>>,
    context: Arc<Context>,
) -> Result<Action, Failed> {
    let failures = |done: bool| context.scanning.ended(&object.name_any(), object.meta().uid.as_ref(), done);
    pass::one(&context, CONTROLLER, &object, |report| over(&context, report), failures).await
}

/// When a pass that failed is tried again.
#[allow(clippy::needless_pass_by_value)] // the runtime's signature
pub(crate) fn on_error(
    object: Arc<DeserializeGuard<BundleCoverageReport>>,
    _: &Failed,
    context: Arc<Context>,
) -> Action {
    let failures = context.scanning.failures(&object.name_any());
    Action::requeue(jitter(pass::retry_after(failures.saturating_sub(1))))
}

async fn over(context: &Arc<Context>, report: &BundleCoverageReport) -> Result<Action, Failed> {
    if observe::waits_for_trust(context) {
        return Ok(Action::requeue(FOR_TRUST));
    }
    let observed = observe::observe(context, report).await?;
    let now = clock::now();
    let due = due(&observed.facts(report), now);
    if !context.scanning.is_there(context, report) {
        return Ok(Action::await_change());
    }
    let mut observed = scanning::apply(context, report, observed, due, now);
    let published = details::details(context, report, &observed, now).await;
    if !context.scanning.is_there(context, report) {
        return Ok(Action::await_change());
    }
    context.policies.wake.ask();
    observed.unpublished = published.unpublished;
    let told = report::report(context, report, &observed, now).await?;
    let judged = impact::impact(context, report, &observed).await?;

    if let Some(failed) = published.failed {
        return Err(failed);
    }
    let until = match due {
        Due::Until(at) => Duration::try_from(at.duration_since(now)).ok(),
        Due::Everything | Due::Wait => None,
    };
    // Instants are of the wall clock and timers are not: a moment later, the instant has passed by both.
    let lent = context.trusts.ends(now).and_then(|at| Duration::try_from(at.duration_since(now)).ok());
    let lent = lent.map(|lent| lent + Duration::from_millis(50));
    let waits = [until.map(jitter), lent, observed.retry_in, told, published.again, judged];
    let wait = waits.into_iter().flatten().min().unwrap_or(LONGEST);
    Ok(Action::requeue(wait.min(LONGEST)))
}
