//! What people read of a report.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::reason::ReportReason;
use super::{Facts, Finished, Running};
use crate::api::common::Condition;
use crate::api::condition::ConditionType;
use crate::api::report::{
    BundleCoverageReportStatus, HistoryStatus, NamespaceStatus, ReasonStatus, ScanStatus, TotalsStatus, WorstStatus,
};
use crate::coverage::{Coverage, ImageResult, Totals};
use crate::operate::said::{self, Change, Said, second, short};
use crate::text::shortened;
use crate::verify::{Outcome, Reason};

const MAX_REASONS: usize = 64;
const MAX_NAMESPACES: usize = 64;
const MAX_WORST: usize = 32;
const MAX_WORKLOADS: usize = 16;
/// Bytes of a workload's name: whoever makes a pod may say that it is owned by something of any kind, as long as they like.
const MAX_WORKLOAD: usize = 400;
const MAX_HISTORY: usize = 90;
/// How far the clocks of two nodes that led in turn may lie apart.
const ANOTHER_CLOCK: SignedDuration = SignedDuration::from_mins(1);
/// How long a scan is under way before status says so: most are over sooner, and every write is one somebody reads.
const WORTH_TELLING: SignedDuration = SignedDuration::from_secs(5);

/// The status of a report at `now`.
///
/// While everything is looked at, what the last scan found stands; what is only new is told once it was looked at.
pub fn status(facts: &Facts<'_>, now: Timestamp) -> BundleCoverageReportStatus {
    let old = facts.report.status.clone().unwrap_or_default();
    let found = match facts.scan.last {
        Some(last) if facts.invalid.is_empty() && !is_under_way(facts) => found(facts, &old, last, now),
        _ => old.clone(),
    };
    let generation = facts.report.metadata.generation;
    let said = said(facts, &found, &old.conditions, now);
    let conditions = said.into_iter().map(|said| said.condition(&old.conditions, generation, now)).collect();
    BundleCoverageReportStatus { observed_generation: generation, conditions, ..found }
}

/// What is worth an event.
pub fn changes(old: Option<&BundleCoverageReportStatus>, new: &BundleCoverageReportStatus) -> Vec<Change> {
    let conditions = old.map(|old| old.conditions.as_slice()).unwrap_or_default();
    said::changes(conditions, &new.conditions, Vec::new())
}

fn is_under_way(facts: &Facts<'_>) -> bool {
    facts.scan.running.is_some_and(|running| running.everything)
}

/// What the last scan found, with what is known since.
fn found(
    facts: &Facts<'_>,
    old: &BundleCoverageReportStatus,
    last: Finished,
    now: Timestamp,
) -> BundleCoverageReportStatus {
    let coverage = facts.coverage;
    let complete = incomplete(facts).is_none();
    let scan = ScanStatus {
        started_at: second(last.started).to_string(),
        finished_at: Some(second(last.finished).to_string()),
        complete,
        complete_at: if complete {
            Some(second(last.finished).to_string())
        } else {
            old.scan.as_ref().and_then(|scan| scan.complete_at.clone())
        },
        images: count(last.images),
        workloads: count(last.workloads),
        pods: count(last.pods),
    };
    let reasons = coverage.by_reason.iter().take(MAX_REASONS).map(|(reason, images)| ReasonStatus {
        reason: reason.to_string(),
        images: count(*images),
        owner: reason.owner().to_string(),
    });
    let namespaces = coverage.by_namespace.iter().take(MAX_NAMESPACES).map(|of| NamespaceStatus {
        namespace: of.namespace.clone(),
        covered: count(of.totals.covered),
        uncovered: count(of.totals.uncovered),
        unknown: count(of.totals.unknown),
    });
    BundleCoverageReportStatus {
        observed_generation: None,
        totals: Some(totals(coverage)),
        by_reason: reasons.collect(),
        by_namespace: namespaces.collect(),
        worst: worst(coverage, old, now),
        history: history(coverage, old, last.finished),
        scan: Some(scan),
        conditions: Vec::new(),
    }
}

fn totals(coverage: &Coverage) -> TotalsStatus {
    let totals = &coverage.totals;
    let declared_by_tag = coverage.images.iter().filter(|image| image.by_tag).count();
    let of_nodes = |image: &&ImageResult| image.workloads.iter().any(|workload| !workload.is_admission_controlled());
    TotalsStatus {
        covered: count(totals.covered),
        uncovered: count(totals.uncovered),
        unknown: count(totals.unknown),
        out_of_scope: count(totals.out_of_scope),
        not_admissible_as_declared: count(declared_by_tag),
        not_admission_controlled: count(coverage.images.iter().filter(of_nodes).count()),
        ratio: ratio(totals),
    }
}

/// In per cent, rounded down: nothing but all of it reads as 100 %.
fn ratio(totals: &Totals) -> String {
    match totals.in_scope() {
        0 => "-".to_owned(),
        all => {
            let thousandths = totals.covered.saturating_mul(1000) / all;
            format!("{}.{}%", thousandths / 10, thousandths % 10)
        }
    }
}

/// What does not pass, by how many workloads it concerns; since when is known for what was told before.
fn worst(coverage: &Coverage, old: &BundleCoverageReportStatus, now: Timestamp) -> Vec<WorstStatus> {
    let open = coverage.images.iter().filter(|image| image.outcome != Outcome::Covered).take(MAX_WORST);
    open.map(|image| {
        let (name, reason) = (short(&image.named()), image.reason.to_string());
        let before = old.worst.iter().find(|worst| worst.image == name && worst.reason == reason);
        WorstStatus {
            since: before.and_then(|worst| worst.since.clone()).or_else(|| Some(second(now).to_string())),
            workloads: image
                .workloads
                .iter()
                .take(MAX_WORKLOADS)
                .map(|workload| shortened(&workload.to_string(), MAX_WORKLOAD))
                .collect(),
            image: name,
            reason,
        }
    })
    .collect()
}

/// One line a day on which a scan ended: how it was at the last look.
fn history(coverage: &Coverage, old: &BundleCoverageReportStatus, finished: Timestamp) -> Vec<HistoryStatus> {
    let day = finished.to_zoned(TimeZone::UTC).date().to_string();
    let mut history = old.history.clone();
    history.retain(|line| line.day < day);
    let (covered, images) = (count(coverage.totals.covered), count(coverage.totals.in_scope()));
    history.push(HistoryStatus { day, covered, images });
    history.split_off(history.len().saturating_sub(MAX_HISTORY))
}

/// Why the last scan says nothing of some images.
fn incomplete(facts: &Facts<'_>) -> Option<(ReportReason, String)> {
    if let Some(wanting) = facts.wanting {
        return Some((ReportReason::InventoryIncomplete, wanting.to_owned()));
    }
    if let Some(first) = facts.unusable.first() {
        let more = match facts.unusable.len() {
            1 => String::new(),
            many => format!(" (and {} more)", many - 1),
        };
        return Some((ReportReason::PolicyUnusable, format!("{first}{more}")));
    }
    let mut unseen: BTreeMap<Reason, (usize, &ImageResult)> = BTreeMap::new();
    for image in facts.coverage.images.iter().filter(|image| could_not_look(image.reason)) {
        unseen.entry(image.reason).or_insert((0, image)).0 += 1;
    }
    let causes: Vec<String> = unseen
        .iter()
        .map(|(reason, (images, example))| {
            let images = if *images == 1 { "1 image".to_owned() } else { format!("{images} images") };
            format!("{images}: {reason} (owner {}), as {}: {}", reason.owner(), example.named(), example.message)
        })
        .collect();
    (!causes.is_empty()).then(|| (ReportReason::CouldNotLook, format!("could not look at {}", causes.join("; "))))
}

/// What leaves an image unseen, rather than judged.
const fn could_not_look(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::NotScanned
            | Reason::RegistryUnavailable
            | Reason::Unauthorized
            | Reason::ListingTruncated
            | Reason::RegistryNotDeclared
    )
}

fn said(facts: &Facts<'_>, found: &BundleCoverageReportStatus, old: &[Condition], now: Timestamp) -> Vec<Said> {
    use ConditionType::{Complete, Fresh, Ready, Stalled};
    if let Some(first) = facts.invalid.first() {
        let said = |of, holds| Said::new(of, holds, ReportReason::ReportInvalid, first);
        return vec![said(Ready, false), said(Stalled, true), said(Complete, false), said(Fresh, false)];
    }
    let Some(last) = facts.scan.last.filter(|_| !is_under_way(facts)) else {
        return under_way(facts, found, old, now);
    };
    let complete = incomplete(facts).map_or_else(
        || {
            let message = format!("{} in {}", images(last.images), pods(last));
            Said::new(Complete, true, ReportReason::EverythingSeen, message)
        },
        |(reason, message)| Said::new(Complete, false, reason, message),
    );
    let fresh = fresh(facts, found, now);
    let failing = [&complete, &fresh].into_iter().find(|said| said.status != "True");
    let ready = match (failing, facts.unpublished) {
        (Some(failing), _) => Said { of: Ready, ..failing.clone() },
        (None, Some(why)) => Said::new(Ready, false, ReportReason::NotPublished, why),
        (None, None) => Said::new(Ready, true, ReportReason::Scanned, summary(facts)),
    };
    vec![ready, complete, fresh]
}

/// While everything is looked at: what was said stands, and how far it is.
fn under_way(facts: &Facts<'_>, found: &BundleCoverageReportStatus, old: &[Condition], now: Timestamp) -> Vec<Said> {
    use ConditionType::{Complete, Fresh, Ready, Reconciling};
    let running = facts.scan.running.filter(|running| running.everything);
    let message = running.map_or_else(|| "a scan begins".to_owned(), progress);
    let reconciling = Said::new(Reconciling, true, ReportReason::Scanning, &message);
    if found.scan.is_none() {
        let said = |of| Said::new(of, false, ReportReason::Scanning, &message);
        return vec![said(Ready), reconciling, said(Complete), said(Fresh)];
    }
    let stands = |of: ConditionType| {
        let before = old.iter().find(|condition| condition.type_ == of.as_str());
        before.map_or_else(|| Said::new(of, false, ReportReason::Scanning, &message), |before| Said::again(of, before))
    };
    let slow = running.is_some_and(|running| now.duration_since(running.started) >= WORTH_TELLING);
    let progress = slow.then_some(reconciling);
    let fresh = fresh(facts, found, now);
    // However long a scan takes: what is too old does not stand.
    let ready = if fresh.status == "True" { stands(Ready) } else { Said { of: Ready, ..fresh.clone() } };
    std::iter::once(ready).chain(progress).chain([stands(Complete), fresh]).collect()
}

fn progress(running: Running) -> String {
    format!("looked at {} of {}", running.looked, images(running.of))
}

fn fresh(facts: &Facts<'_>, found: &BundleCoverageReportStatus, now: Timestamp) -> Said {
    let interval = facts.report.spec.interval;
    let at: Option<Timestamp> = found.scan.as_ref().and_then(|scan| scan.complete_at.as_ref()?.parse().ok());
    let within = interval.signed().checked_mul(2).unwrap_or(SignedDuration::MAX);
    // By a clock that was wrong, or by another hand, it may lie ahead: it would be recent for as long as that.
    let is_ahead = at.is_some_and(|at| at.duration_since(now) > ANOTHER_CLOCK);
    let is_recent = at.is_some_and(|at| now.duration_since(at) <= within) && !is_ahead;
    let (reason, message) = match at {
        Some(at) if is_ahead => (
            ReportReason::Overdue,
            format!(
                "the last complete scan is told to have ended at {at}, which lies ahead: when one was is not known"
            ),
        ),
        Some(at) if is_recent => (ReportReason::Recent, format!("the last complete scan ended at {at}")),
        Some(at) => (
            ReportReason::Overdue,
            format!("the last complete scan ended at {at}, which is longer ago than twice the interval of {interval}"),
        ),
        None => (ReportReason::Overdue, "no scan was complete yet".to_owned()),
    };
    Said::new(ConditionType::Fresh, is_recent, reason, message)
}

fn summary(facts: &Facts<'_>) -> String {
    let totals = &facts.coverage.totals;
    if facts.policies == 0 {
        return "no SigningIdentityPolicy is declared, so no image is in scope".to_owned();
    }
    format!("{} of {} in scope are covered", totals.covered, images(totals.in_scope()))
}

fn images(images: usize) -> String {
    if images == 1 { "1 image".to_owned() } else { format!("{images} images") }
}

fn pods(last: Finished) -> String {
    let s = |count: usize| if count == 1 { "" } else { "s" };
    format!("{} workload{} with {} pod{}", last.workloads, s(last.workloads), last.pods, s(last.pods))
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
