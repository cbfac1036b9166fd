//! What people read: the status where it changed, events on change, metrics.

use std::time::Duration;

use holdfast_core::api::BundleCoverageReport;
use holdfast_core::operate::report::{ReportReason, changes, status};
use jiff::Timestamp;
use kube::{Resource, ResourceExt};
use tokio::time::Instant;

use super::super::context::Context;
use super::super::failure::Failed;
use super::super::{malformed, status as statuses};
use super::known::Known;
use super::observe::Observed;

/// How often a status is written at most, while images come and go.
const AT_MOST: Duration = Duration::from_secs(10);
/// How long looks at what is new are waited for before it is told that it was not looked at yet; from the first that is waited for, for there may always be
/// another one.
const SOON_KNOWN: Duration = Duration::from_secs(5);

/// Reports; how long until what was put off is told.
///
/// # Errors
/// [`Failed`], where the status cannot be written.
pub(super) async fn report(
    context: &Context,
    report: &BundleCoverageReport,
    observed: &Observed,
    now: Timestamp,
) -> Result<Option<Duration>, Failed> {
    let name = report.name_any();
    let facts = observed.facts(report);
    let told = status(&facts, now);
    let waiting = observed.scan.running.map_or(0, |running| running.of.saturating_sub(running.looked));
    context.metrics.report(&name, &told, &observed.coverage, waiting);
    if report.status.as_ref() == Some(&told) {
        settled(context, &name, |known| known.waits = None);
        return Ok(None);
    }
    let is_new_only = observed.scan.running.is_some_and(|running| !running.everything);
    if is_new_only && let Some(left) = waits(context, &name) {
        return Ok(Some(left));
    }
    if let Some(left) = put_off(context, report, &told) {
        return Ok(Some(left));
    }
    let is_invalid = !observed.invalid.is_empty();
    if is_invalid && malformed::is_told::<BundleCoverageReport>(context, &report.metadata) {
        return Ok(None);
    }
    match statuses::write(context, report, &told, &told.conditions).await {
        Err(failed) if failed.category() == "refused" && is_invalid => {
            let message = observed.invalid.first().map(String::as_str).unwrap_or_default();
            malformed::untold::<BundleCoverageReport>(context, &report.metadata, message, &failed).await;
            return Ok(None);
        }
        written => written?,
    }
    settled(context, &name, |known| {
        known.written = Some(Instant::now());
        known.waits = None;
    });
    for change in changes(report.status.as_ref(), &told) {
        // That a first scan is under way is nothing to be warned of.
        let warns = change.warns && change.reason != ReportReason::Scanning.as_str();
        context.event(&report.object_ref(&()), warns, &change.reason, &change.note).await;
    }
    Ok(None)
}

fn settled(context: &Context, name: &str, settle: impl FnOnce(&mut Known)) {
    if let Some(known) = context.scanning.known.lock().get_mut(name) {
        settle(known);
    }
}

/// How much longer looks at what is new are waited for, where they still are.
fn waits(context: &Context, name: &str) -> Option<Duration> {
    let mut known = context.scanning.known.lock();
    let since = known.get_mut(name)?.waits.get_or_insert_with(Instant::now);
    SOON_KNOWN.checked_sub(since.elapsed()).filter(|left| !left.is_zero())
}

/// Where images come and go without end, numbers are told now and then; what a condition says, and the end of a scan, are told at once.
fn put_off(
    context: &Context,
    report: &BundleCoverageReport,
    told: &holdfast_core::api::report::BundleCoverageReportStatus,
) -> Option<Duration> {
    let before = report.status.as_ref()?;
    let said = |conditions: &[holdfast_core::api::common::Condition]| -> Vec<(String, String, String)> {
        conditions.iter().map(|of| (of.type_.clone(), of.status.clone(), of.reason.clone())).collect()
    };
    let is_news = before.scan != told.scan
        || before.observed_generation != told.observed_generation
        || said(&before.conditions) != said(&told.conditions);
    let written = context.scanning.known.lock().get(&report.name_any())?.written?;
    let left = AT_MOST.checked_sub(written.elapsed()).filter(|left| !left.is_zero())?;
    (!is_news).then_some(left)
}
