//! What a candidate for trust would change for the images of a report: they are judged by it as well, from the evidence that is at hand.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use holdfast_core::Digest;
use holdfast_core::api::BundleCoverageReport;
use holdfast_core::operate::mirror::Impact;
use jiff::Timestamp;
use kube::ResourceExt;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::super::candidates::{Judgement, in_force};
use super::super::context::Context;
use super::super::failure::Failed;
use super::super::mirror::is_relied_on;
use super::observe::{Observed, assess};
use super::sight::looks_at_everything;
use crate::scan::Judge;

/// How often images that come and go are judged anew by what waits.
const EVERY: Duration = Duration::from_secs(30);

/// When images were last judged by a candidate: which, by what was judged before, and after which scan.
#[derive(Clone)]
pub(super) struct JudgedBy {
    candidate: Digest,
    beside: Digest,
    scanned: Option<Timestamp>,
    at: Instant,
}

/// Judges by what waits, where that was not done yet or something may have changed. How long until it is to be done again.
///
/// # Errors
/// [`Failed`], where judging did not come to its end.
pub(super) async fn impact(
    context: &Arc<Context>,
    report: &BundleCoverageReport,
    observed: &Observed,
) -> Result<Option<Duration>, Failed> {
    let name = report.name_any();
    let (Some(judge), Some(last)) = (&observed.judge, &observed.scan.last) else {
        context.candidates.forget_report(&name);
        return Ok(None);
    };
    let waiting: Vec<_> =
        context.candidates.waiting().into_iter().filter(|(mirror, _)| is_relied_on(context, mirror)).collect();
    let beside = in_force(&judge.policies, &judge.roots);
    for (mirror, root) in &waiting {
        let candidate = root.root().digest;
        let is_known = {
            let known = context.scanning.known.lock();
            let before = known.get(&name).and_then(|known| known.judged_by.get(mirror));
            before.is_some_and(|before| {
                let same = before.candidate == candidate && before.beside == beside;
                same && before.scanned == Some(last.finished) && before.at.elapsed() < EVERY
            })
        };
        if is_known {
            continue;
        }
        let mut roots = judge.roots.clone();
        roots.insert(mirror.clone(), root.clone());
        let by_candidate = Judge { roots, ..judge.as_ref().clone() };
        let (in_force, snapshot, ledger) = (judge.clone(), observed.snapshot.clone(), observed.ledger.clone());
        let judged = tokio::task::spawn_blocking(move || {
            // By the same that was seen: what a scan finds in between would count for one of the two alone.
            let seen = Mutex::new(ledger.lock().clone());
            [in_force.as_ref(), &by_candidate].map(|judge| assess(judge, &snapshot, &seen, false).coverage)
        });
        let judged = judged.await.map_err(|error| Failed::stuck("judge by the candidate of", mirror, &error))?;
        let [before, after] = &judged;
        if !context.scanning.is_there(context, report) {
            return Ok(None);
        }
        let accepts =
            |policy: &str| judge.policies.iter().any(|judged| judged.name == policy && judged.accepts(mirror));
        let judgement = Judgement {
            report: report.metadata.uid.clone(),
            beside,
            everything: saw_everything(report, observed),
            impact: Impact::between(before, after, accepts),
        };
        if context.candidates.judged(mirror, candidate, &name, judgement) {
            context.mirrors.one(mirror);
        }
        let mut known = context.scanning.known.lock();
        let known = known.entry(name.clone()).or_default().of(report.metadata.uid.as_ref());
        let judged = JudgedBy { candidate, beside, scanned: Some(last.finished), at: Instant::now() };
        known.judged_by.insert(mirror.clone(), judged);
    }
    forget(context, report, &waiting.iter().map(|(mirror, _)| mirror.as_str()).collect::<Vec<_>>());
    Ok((!waiting.is_empty()).then_some(EVERY))
}

/// Whether all that runs was seen, and judged by all policies.
fn saw_everything(report: &BundleCoverageReport, observed: &Observed) -> bool {
    let scanned = observed.scan.last.as_ref().is_some_and(|last| !last.wanting);
    looks_at_everything(report) && scanned && observed.wanting.is_none() && observed.unusable.is_empty()
}

fn forget(context: &Context, report: &BundleCoverageReport, waiting: &[&str]) {
    let mut known = context.scanning.known.lock();
    let Some(known) = known.get_mut(&report.name_any()) else { return };
    let judged: &mut BTreeMap<String, JudgedBy> = &mut known.judged_by;
    judged.retain(|mirror, _| waiting.contains(&mirror.as_str()));
}
