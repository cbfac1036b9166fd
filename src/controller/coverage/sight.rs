//! What scans saw, for the gate: what runs in every namespace, judged by whatever policies are in force.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use holdfast_core::Digest;
use holdfast_core::api::BundleCoverageReport;
use holdfast_core::api::common::NamespaceSelector;
use holdfast_core::coverage::{CompiledPolicy, Coverage, PolicyVerdict, Roots, assess_by};
use holdfast_core::engines::native::retain::evidence_digest;
use holdfast_core::gate::{ScanTime, Unscanned};
use holdfast_core::operate::policy::{Evidence, ScanSeen};
use holdfast_core::verify::Reason;
use kube::ResourceExt;
use parking_lot::Mutex;

use super::super::context::Context;
use super::observe;
use super::registries::Registries;
use crate::inventory::live::Snapshot;
use crate::scan::{Judge, Ledger};

/// What scans saw.
pub(crate) struct Sight {
    /// What runs.
    pub(crate) snapshot: Snapshot,
    /// The last scan, or why there is none.
    pub(crate) scan: Result<ScanSeen, Unscanned>,
    seen: Option<(Arc<Registries>, Arc<Mutex<Ledger>>)>,
}

/// The report that counts: the oldest that looks at every namespace. One that somebody adds takes nothing over.
pub(crate) fn that_counts(context: &Context) -> Option<BundleCoverageReport> {
    let reports = context.caches.reports.state();
    let whole = reports.iter().filter_map(|report| report.0.as_ref().ok()).filter(|report| looks_at_everything(report));
    let made = |report: &BundleCoverageReport| report.metadata.creation_timestamp.as_ref().map(|time| time.0);
    whole.min_by_key(|report| (made(report), report.name_any())).cloned()
}

/// Looks at what scans saw last.
pub(crate) fn sight(context: &Context, policies: &[CompiledPolicy]) -> Sight {
    let Some(report) = that_counts(context) else {
        let snapshot = observe::running(context, true, &NamespaceSelector::default(), policies).1;
        let why = "no BundleCoverageReport looks at every namespace and at templates; declare one without `namespaceSelector`";
        return Sight { snapshot, scan: Err(Unscanned::Never(why.to_owned())), seen: None };
    };
    let (wanting, snapshot) = observe::running(context, true, &report.spec.namespace_selector, policies);
    let known = context.scanning.known.lock();
    let known = known.get(&report.name_any());
    let registries = known.and_then(|known| known.registries.clone());
    let seen = registries.zip(known.map(|known| known.ledger.clone()));
    let last = known.and_then(|known| known.facts().last);
    let scan = last.map(|last| ScanSeen {
        time: ScanTime { started: last.started, finished: last.finished, interval: report.spec.interval.signed() },
        is_early: last.is_early,
        incomplete: wanting.or_else(|| last.wanting.then(|| "not all that runs was seen when it began".to_owned())),
    });
    let not_yet =
        || format!("BundleCoverageReport `{}` has not finished a scan since holdfast started", report.name_any());
    let scan = scan.ok_or_else(|| Unscanned::NotYet(not_yet()));
    Sight { snapshot, scan, seen }
}

pub(super) fn looks_at_everything(report: &BundleCoverageReport) -> bool {
    report.spec.include_templates && report.spec.namespace_selector == NamespaceSelector::default()
}

impl Sight {
    /// What policies say of what runs, and the evidence there is for each image.
    pub(crate) fn assess(
        &self,
        context: &Context,
        policies: Vec<CompiledPolicy>,
        roots: Roots,
    ) -> (Coverage, Evidence) {
        let inventory = &self.snapshot.inventory;
        let Some((registries, ledger)) = &self.seen else {
            let judged = |_: &_, policy: &CompiledPolicy| {
                (PolicyVerdict::of(policy, Reason::NotScanned, "it was not looked for yet"), None)
            };
            return (assess_by(inventory, &policies, &mut { judged }), Evidence::new());
        };
        let judge = Judge {
            policies,
            roots,
            registries: registries.declared.clone(),
            memo: context.scanning.memo.clone(),
            blobs: context.scanning.blobs.clone(),
            heavy: context.scanning.heavy.clone(),
            timed: context.metrics.verifications(),
        };
        let wants = judge.wants(inventory);
        let seen: Vec<_> = {
            let ledger = ledger.lock();
            wants.iter().filter_map(|want| Some((ledger.get(&want.target)?, want.policies.clone()))).collect()
        };
        judge.catch_up(&seen);
        let mut pieces: BTreeMap<Digest, Option<BTreeSet<Digest>>> = BTreeMap::new();
        for (sighting, _) in &seen {
            let of = pieces.entry(sighting.digest).or_insert_with(|| Some(BTreeSet::new()));
            let is_whole = sighting.failure.is_none() && sighting.incomplete.is_none();
            match of {
                Some(known) if is_whole => known.extend(sighting.pieces.iter().map(|piece| piece.digest)),
                _ => *of = None,
            }
        }
        let evidence =
            pieces.into_iter().filter_map(|(image, pieces)| Some((image, evidence_digest(pieces?)))).collect();
        let ledger = ledger.lock();
        let coverage = assess_by(inventory, &judge.policies, &mut |image, policy| judge.judged(&ledger, image, policy));
        (coverage, evidence)
    }
}
