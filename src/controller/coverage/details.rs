//! The details of a report, published beside passes' own business: what they cannot do is told in status, and keeps no status from being told.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use holdfast_core::api::BundleCoverageReport;
use holdfast_core::coverage::results::{ReportKind, reports};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use tokio_util::sync::CancellationToken;

use super::super::context::Context;
use super::super::failure::Failed;
use super::super::jitter;
use super::observe::Observed;
use super::publish::{self, publish, withdraw_others};

/// How long a look at what is new is waited for: published before, it would be unknown for a moment.
const SOON_KNOWN: SignedDuration = SignedDuration::from_secs(5);
/// When it is tried again to take away what is no longer declared.
const RETRY: Duration = Duration::from_secs(15);

/// What became of the details.
#[derive(Default)]
pub(super) struct Done {
    /// Why they are not where they are wanted.
    pub(super) unpublished: Option<String>,
    /// When to look again.
    pub(super) again: Option<Duration>,
    /// What kept the API server from being asked to the end.
    pub(super) failed: Option<Failed>,
}

/// Publishes what the last scan found, with what is known since. While everything is looked at anew, what was published stands.
pub(super) async fn details(
    context: &Arc<Context>,
    report: &BundleCoverageReport,
    observed: &Observed,
    now: Timestamp,
) -> Done {
    let (name, uid) = (report.name_any(), report.metadata.uid.as_ref());
    let running = observed.scan.running;
    let is_under_way =
        running.is_some_and(|running| running.everything || now.duration_since(running.started) < SOON_KNOWN);
    let Some(last) = observed.scan.last else { return Done::default() };
    let is_known = observed.invalid.is_empty() && !is_under_way;
    let mut known = {
        let mut all = context.scanning.known.lock();
        let known = all.entry(name.clone()).or_default().of(uid);
        if !is_known && report.spec.publish.open_reports {
            return Done { unpublished: known.unpublished.clone(), ..Done::default() };
        }
        // After each scan it is looked anew whether what was written is still there as it was.
        let is_of_this_scan = known.published_after == Some(last.finished);
        known.published_after = Some(last.finished);
        if is_of_this_scan { std::mem::take(&mut known.published) } else { publish::Published::default() }
    };
    let render = |kind: ReportKind| {
        // It takes a processor: whoever else is served by this thread goes to another.
        tokio::task::block_in_place(|| {
            reports(report, &observed.coverage, &observed.snapshot.objects, kind, last.finished)
        })
    };
    let done = publish(context, report, render, &mut known).await;
    let mut all = context.scanning.known.lock();
    let kept = all.entry(name).or_default().of(uid);
    kept.published = known;
    match done {
        Ok(outcome) => {
            kept.unpublished.clone_from(&outcome.unpublished);
            Done { unpublished: outcome.unpublished, again: outcome.again, failed: None }
        }
        Err(failed) => Done { unpublished: kept.unpublished.clone(), failed: Some(failed), ..Done::default() },
    }
}

/// Takes away what was published for reports that are no longer declared: once this replica leads, and whenever one goes.
pub(crate) async fn tidy(context: Arc<Context>, stop: CancellationToken) {
    let mut leading = context.leadership.watch();
    loop {
        let mut again = None;
        if *leading.borrow_and_update() {
            let declared: BTreeSet<String> =
                context.caches.reports.state().iter().map(|report| report.name_any()).collect();
            match withdraw_others(&context, &declared).await {
                Ok(()) | Err(Failed::NotLeading) => {}
                Err(failed) => {
                    tracing::warn!(error = %failed, "reports of what is no longer declared may be left");
                    again = Some(jitter(RETRY));
                }
            }
        }
        let retry = async {
            match again {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = context.scanning.gone.notified() => {}
            () = retry => {}
            changed = leading.changed() => if changed.is_err() { return },
        }
    }
}
