//! What a scan found, written as report objects: whole, only where it differs, and what goes goes last.
//!
//! Which kinds the cluster serves is asked at each look, because definitions come and go; where none is there nothing fails, and it is said. One namespace that
//! takes no reports does not stand in the way of others.

mod cluster;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use holdfast_core::Digest;
use holdfast_core::api::BundleCoverageReport;
use holdfast_core::api::common::REPORT;
use holdfast_core::coverage::results::{ReportKind, ReportObject, There, Write, settle};
use holdfast_core::digest::Hasher;
use kube::{Resource, ResourceExt};
use parking_lot::Mutex;
use tokio::time::Instant;

use self::cluster::{Served, list, put, remove, served};
use super::super::MANAGER;
use super::super::context::Context;
use super::super::failure::Failed;

/// How many objects are written at once.
const AT_ONCE: usize = 8;
/// When what somebody else wrote meanwhile is looked at again, and what the API server does not take is tried again.
const SOON: Duration = Duration::from_secs(1);
const LATER: Duration = Duration::from_secs(60);
/// When it is looked again whether somebody made reports of one that publishes none.
const RARELY: Duration = Duration::from_secs(3600);
/// How many times as long as a look takes nothing is looked at, where nothing else is wanted: of many reports the list alone is work for the API server.
const REST: u32 = 20;

/// What this process knows of the reports of one BundleCoverageReport.
#[derive(Debug, Default)]
pub(crate) struct Published {
    settled: Option<Settled>,
}

#[derive(Debug)]
struct Settled {
    kind: Option<ReportKind>,
    wanted: Digest,
    until: Instant,
    outcome: Outcome,
}

/// What became of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// As which kind; none where nothing is to be published, or nothing can be.
    pub(crate) kind: Option<ReportKind>,
    /// How many were written just now.
    pub(crate) written: usize,
    /// How many of these somebody else had changed.
    pub(crate) put_back: usize,
    /// How many were taken away just now.
    pub(crate) removed: usize,
    /// Why details are not where they are wanted, in a sentence with what to do.
    pub(crate) unpublished: Option<String>,
    /// When to look again at the latest.
    pub(crate) again: Option<Duration>,
}

/// Brings the reports of `report` to what `render` makes of what was found, in the kind that the cluster serves; takes them away where none are wanted.
///
/// # Errors
/// [`Failed`], where the API server was not asked to the end: what was written holds, and nothing was taken away.
pub(crate) async fn publish(
    context: &Context,
    report: &BundleCoverageReport,
    render: impl Fn(ReportKind) -> Vec<ReportObject> + Send + Sync,
    known: &mut Published,
) -> Result<Outcome, Failed> {
    let wants = report.spec.publish.open_reports;
    let draw = |kind: Option<ReportKind>| kind.filter(|_| wants).map(&render).unwrap_or_default();
    if let Some(settled) = known.settled.as_ref().filter(|settled| settled.until > Instant::now()) {
        let wanted = draw(settled.kind);
        if settled.wanted == fingerprint(report, &wanted) {
            // Whatever asked for this pass is looked at when the rest is over.
            let again = Some(settled.until.saturating_duration_since(Instant::now()));
            return Ok(Outcome { written: 0, put_back: 0, removed: 0, again, ..settled.outcome.clone() });
        }
    }
    known.settled = None;
    let started = Instant::now();
    let served = served(context).await?;
    let kind = ReportKind::ALL.into_iter().find(|kind| served.has(*kind, report.spec.publish.per_namespace));
    let wanted = draw(kind);
    let mut outcome = Outcome { kind: kind.filter(|_| wants), ..Outcome::default() };
    if wants && kind.is_none() {
        outcome.again = Some(LATER);
        outcome.unpublished = Some(unserved(report.spec.publish.per_namespace));
    } else if let Some(there) = there(context, report, &served, &mut outcome).await? {
        bring(context, report, &wanted, &there, &mut outcome).await?;
    }
    let took = started.elapsed();
    let rest = match outcome.again {
        // Whether a kind is there now is cheap to ask.
        _ if wants && kind.is_none() => took * REST,
        None if !wants && outcome.removed == 0 => RARELY,
        again => again.unwrap_or(took * REST),
    };
    let settled =
        Settled { kind, wanted: fingerprint(report, &wanted), until: Instant::now() + rest, outcome: outcome.clone() };
    known.settled = Some(settled);
    Ok(outcome)
}

/// Takes away the reports of every BundleCoverageReport that is not among the `declared` ones: it is gone, perhaps since before anybody watched. Only to be asked
/// once all that are declared were seen.
///
/// # Errors
/// [`Failed`], where some may be left.
pub(crate) async fn withdraw_others(context: &Context, declared: &BTreeSet<String>) -> Result<(), Failed> {
    let mut outcome = Outcome::default();
    for (kind, namespaced) in served(context).await?.all() {
        let found = match list(context, kind, namespaced, REPORT).await {
            Ok(found) => found,
            Err(failed) if failed.not_taken().is_some() => continue,
            Err(failed) => return Err(failed),
        };
        let going: Vec<&There> =
            found.iter().filter(|(of, _)| !declared.contains(of)).map(|(_, there)| there).collect();
        clear(context, going, &mut outcome).await?;
    }
    if outcome.removed > 0 {
        tracing::info!(reports = outcome.removed, "reports of what is no longer declared were taken away");
    }
    Ok(())
}

fn unserved(per_namespace: bool) -> String {
    let [first, second] = ReportKind::ALL.map(|kind| format!("{}.{}", kind.plural(per_namespace), kind.group()));
    format!(
        "neither {first} nor {second} is served, so details are written nowhere: install the definitions of OpenReports, or set `publish.openReports: false`"
    )
}

fn fingerprint(report: &BundleCoverageReport, wanted: &[ReportObject]) -> Digest {
    let mut hasher = Hasher::default();
    hasher.update(&[u8::from(report.spec.publish.open_reports), u8::from(report.spec.publish.per_namespace)]);
    for object in wanted {
        hasher.update(object.name.as_bytes());
        hasher.update(object.about().as_bytes());
        hasher.update(object.intent.as_bytes());
    }
    hasher.finish()
}

/// What is there of this report's, of every kind that is served; nothing where the kind that is wanted may not be listed.
async fn there(
    context: &Context,
    report: &BundleCoverageReport,
    served: &Served,
    outcome: &mut Outcome,
) -> Result<Option<Vec<There>>, Failed> {
    let selector = format!("{REPORT}={}", report.name_any());
    let mut all = Vec::new();
    for (kind, namespaced) in served.all() {
        match list(context, kind, namespaced, &selector).await {
            Ok(found) => all.extend(found.into_iter().map(|(_, there)| there)),
            Err(failed) => {
                let Some(said) = failed.not_taken() else { return Err(failed) };
                if outcome.kind == Some(kind) && namespaced == report.spec.publish.per_namespace {
                    outcome.again = Some(LATER);
                    outcome.unpublished = Some(format!(
                        "the API server does not let holdfast list {}.{}: {said}; give the right (the chart's `reports.enabled`), or set `publish.openReports: false`",
                        kind.plural(namespaced),
                        kind.group()
                    ));
                    return Ok(None);
                }
                tracing::debug!(error = %failed, "reports of another kind are not looked for");
            }
        }
    }
    Ok(Some(all))
}

/// Where something was not taken, by the namespace it is about: the first thing that was said.
type Refusals = BTreeMap<String, String>;

async fn bring(
    context: &Context,
    report: &BundleCoverageReport,
    wanted: &[ReportObject],
    there: &[There],
    outcome: &mut Outcome,
) -> Result<(), Failed> {
    let settling = settle(wanted, there, MANAGER);
    let is_leaving = |namespace: &str| leaving(context, namespace);
    let writes = settling.writes.into_iter().filter(|write| !is_leaving(write.object.about()));
    let mut unsettled: BTreeSet<String> = BTreeSet::new();
    let refused = write_all(context, report, writes.collect(), outcome, &mut unsettled).await?;
    unsettled.extend(refused.keys().cloned());
    // What is about a namespace stays until everything new about it was written, and what is in one that goes, goes with it.
    let goes = |there: &&&There| !unsettled.contains(there.about()) && !is_leaving(there.about());
    let removals: Vec<&There> = settling.removals.iter().filter(goes).copied().collect();
    clear(context, removals, outcome).await?;
    if let Some((namespace, said)) = refused.first_key_value() {
        let more = match refused.len() - 1 {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        outcome.again = Some(outcome.again.map_or(LATER, |again| again.min(LATER)));
        outcome.unpublished =
            Some(format!("the API server does not take the reports about namespace `{namespace}`{more}: {said}"));
    }
    if outcome.written + outcome.removed > 0 {
        tracing::info!(
            report = report.name_any(),
            written = outcome.written,
            removed = outcome.removed,
            put_back = outcome.put_back,
            "what was found is published"
        );
    }
    Ok(())
}

/// Whether a namespace is on its way out: it takes nothing new.
fn leaving(context: &Context, namespace: &str) -> bool {
    let there = context.caches.namespaces.get(&kube::runtime::reflector::ObjectRef::new(namespace));
    there.is_some_and(|there| there.metadata.deletion_timestamp.is_some())
}

async fn write_all(
    context: &Context,
    report: &BundleCoverageReport,
    writes: Vec<Write<'_>>,
    outcome: &mut Outcome,
    unsettled: &mut BTreeSet<String>,
) -> Result<Refusals, Failed> {
    let refused: Mutex<Refusals> = Mutex::default();
    let mut put_back = None;
    {
        let closed: Closed<'_> = Mutex::default();
        let calls: Vec<_> = writes.iter().map(|write| write_one(context, write, &closed)).collect();
        let mut calls = stream::iter(calls).buffer_unordered(AT_ONCE);
        while let Some((write, done)) = calls.next().await {
            let about = write.object.about();
            match done {
                None => {}
                Some(Ok(kind)) => {
                    outcome.written += 1;
                    if write.puts_back {
                        outcome.put_back += 1;
                        context.metrics.put_back(kind);
                        put_back.get_or_insert((kind, write.object));
                    }
                }
                Some(Err(failed)) if failed.is_conflict() => {
                    unsettled.insert(about.to_owned());
                    outcome.again = Some(SOON);
                }
                Some(Err(failed)) => {
                    let Some(said) = failed.not_taken() else { return Err(failed) };
                    let mut refused = refused.lock();
                    if !refused.contains_key(about) {
                        tracing::warn!(namespace = about, error = %failed, "the API server does not take a report");
                        refused.insert(about.to_owned(), said);
                    }
                }
            }
        }
    }
    if let Some((kind, object)) = put_back {
        let at = object.namespace.as_ref().map_or_else(|| object.name.clone(), |of| format!("{of}/{}", object.name));
        let note = match outcome.put_back {
            1 => format!("{kind} {at} was changed by somebody else and put back"),
            many => format!("{many} reports were changed by somebody else and put back, {kind} {at} for one"),
        };
        tracing::warn!(report = report.name_any(), "{note}");
        context.event(&report.object_ref(&()), true, "PutBack", &note).await;
    }
    Ok(refused.into_inner())
}

/// Namespaces that forbid it, or the cluster.
type Closed<'a> = Mutex<BTreeSet<Option<&'a str>>>;

async fn write_one<'a>(
    context: &Context,
    write: &'a Write<'a>,
    closed: &Closed<'a>,
) -> (&'a Write<'a>, Option<Result<&'static str, Failed>>) {
    let place = write.object.namespace.as_deref();
    if closed.lock().contains(&place) {
        return (write, None);
    }
    let done = put(context, write).await;
    // A place that forbids one forbids them all.
    if done.as_ref().is_err_and(|failed| failed.category() == "forbidden") {
        closed.lock().insert(place);
    }
    (write, Some(done))
}

async fn clear(context: &Context, removals: Vec<&There>, outcome: &mut Outcome) -> Result<(), Failed> {
    let calls: Vec<_> = removals.into_iter().map(|there| remove(context, there)).collect();
    let mut calls = stream::iter(calls).buffer_unordered(AT_ONCE);
    while let Some(done) = calls.next().await {
        match done {
            Ok(()) => outcome.removed += 1,
            Err(failed) if failed.is_conflict() => outcome.again = Some(SOON),
            Err(failed) if failed.not_taken().is_some() => {
                tracing::warn!(error = %failed, "a report that is no longer wanted stays");
                outcome.again = Some(outcome.again.map_or(LATER, |again| again.min(LATER)));
            }
            Err(failed) => return Err(failed),
        }
    }
    Ok(())
}
