//! `BundleCoverageReport`: what a scan found, as people, auditors and the gate read it.

mod reason;
mod schedule;
mod status;

pub use reason::ReportReason;
pub use schedule::{Due, due};
pub use status::{changes, status};

use jiff::Timestamp;

use crate::api::BundleCoverageReport;
use crate::coverage::Coverage;

/// What a pass knows of a report.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// As it is declared, with the status it has.
    pub report: &'a BundleCoverageReport,
    /// What of it cannot be used; nothing is scanned then.
    pub invalid: &'a [String],
    /// How many policies there are.
    pub policies: usize,
    /// Policies that cannot be used: what they are about is not known.
    pub unusable: &'a [String],
    /// Why what runs was not, or may not have been, seen to the end.
    pub wanting: Option<&'a str>,
    /// What is known of every image now.
    pub coverage: &'a Coverage,
    /// How far scans have come.
    pub scan: &'a ScanFacts,
    /// Why details are not where the report wants them.
    pub unpublished: Option<&'a str>,
}

/// How far scans have come, in this process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScanFacts {
    /// The one that is under way.
    pub running: Option<Running>,
    /// The last one over everything that ended.
    pub last: Option<Finished>,
    /// What asked for it: the generation of the report, and its annotation.
    pub asked: Option<Asked>,
}

/// A scan under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Running {
    /// Since when.
    pub started: Timestamp,
    /// Whether everything is looked at, or only what is new.
    pub everything: bool,
    /// Images that were looked at.
    pub looked: usize,
    /// Of how many.
    pub of: usize,
}

/// A scan that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finished {
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Timestamp,
    /// Distinct images there were, in scope of a policy or not.
    pub images: usize,
    /// Workloads.
    pub workloads: usize,
    /// Pods.
    pub pods: usize,
    /// Whether not all that runs was seen, or may not have been, when it began: it counted too little.
    pub wanting: bool,
    /// Whether it is so of every one so far: whoever looks has not listed everything yet.
    pub is_early: bool,
}

/// What asks for a scan before the next one is due.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// The generation of the report.
    pub generation: Option<i64>,
    /// Its annotation `holdfast.dev/reconcile-at`.
    pub annotation: Option<String>,
}

impl Asked {
    /// By a report as it is now.
    pub fn by(report: &BundleCoverageReport) -> Self {
        Self {
            generation: report.metadata.generation,
            annotation: super::reconcile_at(&report.metadata).map(str::to_owned),
        }
    }
}
