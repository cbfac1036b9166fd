//! What is printed of reports, whatever the form: the status, the details that were asked for, and how far they can be relied on.

use std::collections::BTreeMap;

use holdfast_core::api::report::{BundleCoverageReportStatus, NamespaceStatus, ReasonStatus, ScanStatus, TotalsStatus};
use holdfast_core::coverage::results::{Line, Read, Severity, severity};
use holdfast_core::verify::{Outcome, Owner, Reason};
use jiff::Timestamp;
use serde::Serialize;

use super::read::Gathered;
use crate::cli::output::Exit;

/// What is asked for; everything, where a list is empty.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Filter {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) namespaces: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) owners: Vec<Owner>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) reasons: Vec<Reason>,
}

impl Filter {
    pub(super) fn is_everything(&self) -> bool {
        self.namespaces.is_empty() && self.owners.is_empty() && self.reasons.is_empty()
    }

    fn takes(&self, line: &Line) -> bool {
        fn among<T: PartialEq>(all: &[T], one: &T) -> bool {
            all.is_empty() || all.contains(one)
        }
        among(&self.namespaces, &line.workload.namespace)
            && among(&self.owners, &line.reason.owner())
            && among(&self.reasons, &line.reason)
    }
}

/// Everything that is printed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct View {
    /// Of this form; another one gets another number.
    form: u8,
    pub(super) now: Timestamp,
    pub(super) filter: Filter,
    pub(super) reports: Vec<ReportView>,
}

/// One report.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReportView {
    pub(super) name: String,
    pub(super) totals: Option<TotalsStatus>,
    pub(super) scan: Option<ScanStatus>,
    pub(super) conditions: Vec<ConditionView>,
    pub(super) by_reason: Vec<ReasonStatus>,
    pub(super) by_namespace: Vec<NamespaceStatus>,
    pub(super) details: Details,
}

/// What a condition says.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ConditionView {
    #[serde(rename = "type")]
    pub(super) type_: String,
    pub(super) status: String,
    pub(super) reason: String,
    pub(super) message: String,
}

/// The details.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Details {
    /// As which kind they were there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<String>,
    /// Why there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<String>,
    /// In what they do not agree with the status.
    #[serde(skip_serializing_if = "Option::is_none")]
    disagreement: Option<String>,
    /// How many results did not fit into report objects.
    left_out: usize,
    /// How many are of no form that holdfast writes.
    unreadable: usize,
    /// What was asked for: what does not pass first.
    pub(super) lines: Vec<LineView>,
}

impl Details {
    /// What has to be known of them, in sentences.
    pub(super) fn notes(&self) -> Vec<String> {
        let results = |count: usize| if count == 1 { "1 result".to_owned() } else { format!("{count} results") };
        let mut notes: Vec<String> = self.missing.iter().map(|why| format!("no details: {why}")).collect();
        if self.left_out > 0 {
            notes.push(format!("{} did not fit into report objects; the totals count them", results(self.left_out)));
        }
        if self.unreadable > 0 {
            notes.push(format!(
                "{} of report objects cannot be read: somebody else changed them, or another release wrote them",
                results(self.unreadable)
            ));
        }
        notes.extend(self.disagreement.clone());
        notes
    }

    fn is_whole(&self) -> bool {
        self.notes().is_empty()
    }
}

/// One image of one workload under one policy.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LineView {
    pub(super) outcome: Outcome,
    pub(super) reason: Reason,
    pub(super) severity: Severity,
    pub(super) owner: Owner,
    pub(super) namespace: String,
    pub(super) kind: String,
    pub(super) workload: String,
    pub(super) image: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) runs: Option<String>,
    pub(super) policy: String,
    pub(super) message: String,
    pub(super) cure: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) signers: Option<String>,
    pub(super) not_admissible_as_declared: bool,
    pub(super) not_admission_controlled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) found_at: Option<Timestamp>,
}

impl View {
    /// What there is to print of what was read.
    pub(super) fn of(gathered: Vec<Gathered>, filter: Filter, now: Timestamp) -> Self {
        let reports = gathered.into_iter().map(|of| ReportView::of(of, &filter)).collect();
        Self { form: 1, now, filter, reports }
    }

    /// By what was asked for: nothing is covered that is not known to be.
    pub(super) fn exit(&self) -> Exit {
        let worst = self.reports.iter().map(|report| report.outcome(&self.filter));
        // No report is no answer.
        worst.max_by_key(|outcome| rank(*outcome)).unwrap_or(Outcome::Unknown).into()
    }
}

impl ReportView {
    fn of(gathered: Gathered, filter: &Filter) -> Self {
        let Gathered { name, status, kind, missing, details } = gathered;
        let BundleCoverageReportStatus { scan, totals, by_reason, by_namespace, conditions, .. } = status;
        let disagreement = kind.is_some().then(|| disagreement(&details, totals.as_ref())).flatten();
        let Read { lines, left_out, unreadable } = details;
        let mut lines: Vec<LineView> = lines.into_iter().filter(|line| filter.takes(line)).map(LineView::of).collect();
        lines.sort_by(|a, b| a.order().cmp(&b.order()));
        let conditions = conditions.into_iter().map(|of| ConditionView {
            type_: of.type_,
            status: of.status,
            reason: of.reason,
            message: of.message,
        });
        Self {
            name,
            totals,
            scan,
            conditions: conditions.collect(),
            by_reason,
            by_namespace,
            details: Details { kind, missing, disagreement, left_out, unreadable, lines },
        }
    }

    /// What a condition says.
    pub(super) fn condition(&self, name: &str) -> Option<&ConditionView> {
        self.conditions.iter().find(|condition| condition.type_ == name)
    }

    fn is_true(&self, name: &str) -> bool {
        self.condition(name).is_some_and(|condition| condition.status == "True")
    }

    fn outcome(&self, filter: &Filter) -> Outcome {
        let (uncovered, unknown) = if filter.is_everything() {
            let Some(totals) = &self.totals else { return Outcome::Unknown };
            (totals.uncovered > 0, totals.unknown > 0)
        } else {
            let any = |outcome| self.details.lines.iter().any(|line| line.outcome == outcome);
            (any(Outcome::Uncovered), any(Outcome::Unknown) || !self.details.is_whole())
        };
        if uncovered {
            Outcome::Uncovered
        } else if unknown || !self.is_true("Complete") || !self.is_true("Fresh") {
            Outcome::Unknown
        } else {
            Outcome::Covered
        }
    }
}

impl LineView {
    fn of(line: Line) -> Self {
        let not_admission_controlled = !line.workload.is_admission_controlled();
        Self {
            outcome: line.reason.outcome(),
            reason: line.reason,
            severity: severity(line.reason),
            owner: line.reason.owner(),
            namespace: line.workload.namespace,
            kind: line.workload.kind,
            workload: line.workload.name,
            image: line.image,
            digest: line.digest,
            runs: line.runs,
            policy: line.policy,
            message: line.message,
            cure: line.reason.cure(),
            signers: line.signers,
            not_admissible_as_declared: line.not_admissible_as_declared,
            not_admission_controlled,
            found_at: line.found_at.and_then(|seconds| Timestamp::from_second(seconds).ok()),
        }
    }

    /// Kind and name of the workload.
    pub(super) fn of_workload(&self) -> String {
        format!("{}/{}", self.kind, self.workload)
    }

    fn order(&self) -> impl Ord + '_ {
        let passes = self.outcome == Outcome::Covered;
        (
            passes,
            self.owner,
            &self.namespace,
            (&self.kind, &self.workload),
            self.reason,
            (&self.image, &self.runs),
            &self.policy,
        )
    }
}

const fn rank(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Covered => 0,
        Outcome::Unknown => 1,
        Outcome::Uncovered => 2,
    }
}

/// Whether details that are complete count other images than the status does.
fn disagreement(details: &Read, totals: Option<&TotalsStatus>) -> Option<String> {
    let totals = totals.filter(|_| details.left_out == 0 && details.unreadable == 0)?;
    let mut worst: BTreeMap<(&str, Option<&str>), Outcome> = BTreeMap::new();
    for line in &details.lines {
        let outcome = line.reason.outcome();
        let known = worst.entry((&line.image, line.runs.as_deref())).or_insert(outcome);
        if rank(outcome) > rank(*known) {
            *known = outcome;
        }
    }
    let count = |outcome| u64::try_from(worst.values().filter(|of| **of == outcome).count()).unwrap_or(u64::MAX);
    let [covered, uncovered, unknown] = [Outcome::Covered, Outcome::Uncovered, Outcome::Unknown].map(count);
    if (covered, uncovered, unknown) == (totals.covered, totals.uncovered, totals.unknown) {
        return None;
    }
    Some(format!(
        "the details count {covered} covered, {uncovered} uncovered and {unknown} unknown images, which is not what the status counts: they are being written, or somebody else changed them"
    ))
}
