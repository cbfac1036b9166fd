//! What is measured of scans: coverage, registries, and what is remembered.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use holdfast_core::api::report::BundleCoverageReportStatus;
use holdfast_core::coverage::{Coverage, Memo, Totals};
use holdfast_core::verify::{Outcome, Reason};
use jiff::Timestamp;
use parking_lot::{Mutex, RwLock};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Unit;

use super::gauge::{as_seconds, gauges, number};
use crate::inventory::live::Live;
use crate::registry::blobs::Blobs;

/// Namespaces of one report that are shown, at most: the worst.
const MAX_NAMESPACES: usize = 64;

/// Of one report.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct OfReport {
    pub(super) report: String,
}

/// A request to a registry.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct Asked {
    pub(super) host: String,
    pub(super) outcome: &'static str,
}

/// What is known of a report.
#[derive(Debug, Clone, Default)]
struct Facts {
    totals: Totals,
    by_reason: Vec<(Reason, usize)>,
    by_namespace: Vec<(String, Totals)>,
    conditions: Vec<(String, bool)>,
    complete_at: Option<Timestamp>,
    waiting: usize,
}

/// What scans work with.
struct Kept {
    live: Arc<RwLock<Live>>,
    memo: Arc<Mutex<Memo>>,
    blobs: Arc<Blobs>,
}

/// Written anew at each scrape, so that seconds are of that instant.
#[derive(Clone, Default)]
pub(super) struct Reports {
    by_name: Arc<Mutex<BTreeMap<String, Facts>>>,
    kept: Arc<Mutex<Option<Kept>>>,
    pub(super) now: Arc<Mutex<Timestamp>>,
}

impl fmt::Debug for Reports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reports")
    }
}

impl Reports {
    pub(super) fn take(&self, name: &str, status: &BundleCoverageReportStatus, coverage: &Coverage, waiting: usize) {
        let worst = coverage.by_namespace.iter().take(MAX_NAMESPACES);
        let facts = Facts {
            totals: coverage.totals,
            by_reason: coverage.by_reason.clone(),
            by_namespace: worst.map(|of| (of.namespace.clone(), of.totals)).collect(),
            conditions: status.conditions.iter().map(|of| (of.type_.clone(), of.status == "True")).collect(),
            complete_at: status.scan.as_ref().and_then(|scan| scan.complete_at.as_ref()?.parse().ok()),
            waiting,
        };
        self.by_name.lock().insert(name.to_owned(), facts);
    }

    pub(super) fn forget(&self, name: &str) {
        self.by_name.lock().remove(name);
    }

    pub(super) fn observe(&self, live: &Arc<RwLock<Live>>, memo: &Arc<Mutex<Memo>>, blobs: &Arc<Blobs>) {
        *self.kept.lock() = Some(Kept { live: live.clone(), memo: memo.clone(), blobs: blobs.clone() });
    }
}

/// From a tenth of a millisecond, as most judgements take, to what an overloaded machine needs.
pub(super) fn verification_buckets() -> Histogram {
    Histogram::new([0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.25, 1.0])
}

pub(super) fn scan_buckets() -> Histogram {
    Histogram::new([0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0])
}

fn outcomes(totals: &Totals) -> [(&'static str, usize); 4] {
    [
        ("covered", totals.covered),
        ("uncovered", totals.uncovered),
        ("unknown", totals.unknown),
        ("out_of_scope", totals.out_of_scope),
    ]
}

fn count(value: usize) -> f64 {
    number(u64::try_from(value).unwrap_or(u64::MAX))
}

const fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Covered => "covered",
        Outcome::Uncovered => "uncovered",
        Outcome::Unknown => "unknown",
    }
}

impl Collector for Reports {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let now = *self.now.lock();
        let reports = self.by_name.lock();
        let images = reports.iter().flat_map(|(name, facts)| {
            outcomes(&facts.totals)
                .map(|(outcome, images)| ([("report", name.as_str()), ("outcome", outcome)], count(images)))
        });
        gauges(&mut encoder, "holdfast_coverage_images", "Images, by what policies say of them", None, images)?;
        let reasons = reports.iter().flat_map(|(name, facts)| {
            facts.by_reason.iter().map(|(reason, images)| {
                let labels =
                    [("report", name.as_str()), ("reason", reason.as_str()), ("outcome", word(reason.outcome()))];
                (labels, count(*images))
            })
        });
        gauges(&mut encoder, "holdfast_coverage_reason_images", "Images in scope, by reason", None, reasons)?;
        let namespaces = reports.iter().flat_map(|(name, facts)| {
            facts.by_namespace.iter().flat_map(move |(namespace, totals)| {
                outcomes(totals).into_iter().take(3).map(move |(outcome, images)| {
                    let labels = [("report", name.as_str()), ("namespace", namespace.as_str()), ("outcome", outcome)];
                    (labels, count(images))
                })
            })
        });
        let help = "Images in scope, by namespace: the worst";
        gauges(&mut encoder, "holdfast_coverage_namespace_images", help, None, namespaces)?;
        let conditions = reports.iter().flat_map(|(name, facts)| {
            facts.conditions.iter().map(move |(condition, holds)| {
                ([("report", name.as_str()), ("condition", condition.as_str())], if *holds { 1.0 } else { 0.0 })
            })
        });
        let help = "Conditions of a BundleCoverageReport: 1 while true";
        gauges(&mut encoder, "holdfast_coverage_condition", help, None, conditions)?;
        let ages = reports.iter().filter_map(|(name, facts)| {
            Some(([("report", name.as_str())], as_seconds(now) - as_seconds(facts.complete_at?)))
        });
        let help = "How long since a scan ended that left nothing out";
        gauges(&mut encoder, "holdfast_scan_age", help, Some(&Unit::Seconds), ages)?;
        let waiting = reports.iter().map(|(name, facts)| ([("report", name.as_str())], count(facts.waiting)));
        gauges(&mut encoder, "holdfast_scan_waiting_images", "Images that wait to be looked at", None, waiting)?;
        drop(reports);
        self.kept(&mut encoder)
    }
}

impl Reports {
    fn kept(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let kept = self.kept.lock();
        let Some(Kept { live, memo, blobs }) = kept.as_ref() else { return Ok(()) };
        let (pods, images, forms) = {
            let live = live.read();
            (live.pods(), live.images(), live.shapes())
        };
        let (findings, (remembered, judged)) = {
            let memo = memo.lock();
            (memo.len(), memo.asked())
        };
        let items =
            [("pods", pods), ("images", images), ("forms", forms), ("findings", findings), ("blobs", blobs.len())];
        let items = items.into_iter().map(|(what, items)| ([("what", what)], count(items)));
        gauges(encoder, "holdfast_kept_items", "What is held, by what it is", None, items)?;
        let bytes = std::iter::once(([("what", "blobs")], number(blobs.bytes())));
        gauges(encoder, "holdfast_kept", "Bytes that are held, by what they are", Some(&Unit::Bytes), bytes)?;
        let reads = [
            ("findings", "hit", remembered),
            ("findings", "miss", judged),
            ("blobs", "hit", blobs.hits()),
            ("blobs", "miss", blobs.misses()),
        ];
        let help = "What was asked for of what is held, by whether it was there";
        let mut family = encoder.encode_descriptor("holdfast_kept_reads", help, None, MetricType::Counter)?;
        for (what, result, reads) in reads {
            ConstCounter::<u64>::new(reads).encode(family.encode_family(&[("what", what), ("result", result)])?)?;
        }
        Ok(())
    }
}
