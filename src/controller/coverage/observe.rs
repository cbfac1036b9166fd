//! What is there: what runs, the policies and the trust it is judged by, and what was seen in registries so far.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use holdfast_core::api::BundleCoverageReport;
use holdfast_core::api::SigningIdentityPolicy;
use holdfast_core::api::common::NamespaceSelector;
use holdfast_core::coverage::{CompiledPolicy, Coverage, DeclaredRegistries, Workload, assess_by};
use holdfast_core::operate::report::{Asked, Facts, Finished, ScanFacts};
use jiff::Timestamp;
use kube::{Resource, ResourceExt};
use parking_lot::Mutex;

use super::super::context::Context;
use super::super::failure::Failed;
use super::policies::policies;
use super::registries::{Registries, registries};
use crate::clock;
use crate::inventory::live::Snapshot;
use crate::scan::{Judge, Ledger, Sighting, Want};

/// Everything a pass knows.
pub(super) struct Observed {
    /// What of the report cannot be used.
    pub(super) invalid: Vec<String>,
    /// Policies that cannot be used.
    pub(super) unusable: Vec<String>,
    /// How many policies there are.
    pub(super) policies: usize,
    /// Why what runs was not seen to the end.
    pub(super) wanting: Option<String>,
    /// What runs.
    pub(super) snapshot: Arc<Snapshot>,
    /// What policies say; not of a report that cannot be used.
    pub(super) judge: Option<Arc<Judge>>,
    /// What may be asked.
    pub(super) registries: Option<Arc<Registries>>,
    /// What was seen so far.
    pub(super) ledger: Arc<Mutex<Ledger>>,
    /// What is to be looked for.
    pub(super) wants: Vec<Want>,
    /// Of that, what has to be looked at before a scan over everything is due.
    pub(super) unseen: Vec<Want>,
    /// How long until what could not be looked at is tried again.
    pub(super) retry_in: Option<Duration>,
    /// What is known of every image.
    pub(super) coverage: Arc<Coverage>,
    /// How far scans have come.
    pub(super) scan: ScanFacts,
    /// Why details are not where the report wants them.
    pub(super) unpublished: Option<String>,
}

impl Observed {
    /// What is decided on.
    pub(super) fn facts<'a>(&'a self, report: &'a BundleCoverageReport) -> Facts<'a> {
        Facts {
            report,
            invalid: &self.invalid,
            policies: self.policies,
            unusable: &self.unusable,
            wanting: self.wanting.as_deref(),
            coverage: &self.coverage,
            scan: &self.scan,
            unpublished: self.unpublished.as_deref(),
        }
    }
}

/// Whether the trust of some mirror was not looked at yet, or the forms of policies: what needs them would seem unknown, or be judged by what is not in force.
pub(super) fn waits_for_trust(context: &Context) -> bool {
    if context.forms.now().is_none() && context.trusts.is_worth_waiting() {
        return true;
    }
    let mirrors = context.caches.mirrors.state();
    let readable = mirrors.iter().filter(|mirror| mirror.0.is_ok());
    readable.into_iter().any(|mirror| !context.trusts.has_seen(&mirror.name_any()) && context.trusts.is_worth_waiting())
}

/// Looks.
///
/// # Errors
/// [`Failed`], where one could not look.
pub(super) async fn observe(context: &Arc<Context>, report: &BundleCoverageReport) -> Result<Observed, Failed> {
    let name = report.name_any();
    let reader = context.reader();
    let of_policies = match context.forms.now() {
        Some(in_force) => (*in_force).clone(),
        None => policies(&reader, context.caches.policies.state()).await?,
    };
    let (before, scan, retry_in, ledger) = {
        let mut known = context.scanning.known.lock();
        let known = known.entry(name.clone()).or_default().of(report.metadata.uid.as_ref());
        (known.registries.clone(), known.facts(), known.retry_in(), known.ledger.clone())
    };
    let mut invalid = Vec::new();
    let declared = DeclaredRegistries::new(&report.spec.registries)
        .map_err(|problems| invalid.extend(problems.iter().map(ToString::to_string)))
        .ok();
    let is_due = is_due(report, &scan, retry_in, clock::now());
    let registries = match (declared, before) {
        (None, _) => None,
        (Some(_), Some(before)) if !is_due => Some(before),
        (Some(declared), before) => {
            let all =
                Arc::new(registries(&reader, &context.metrics.registry(), report, declared, before.as_deref()).await?);
            let mut known = context.scanning.known.lock();
            known.entry(name.clone()).or_default().of(report.metadata.uid.as_ref()).registries = Some(all.clone());
            Some(all)
        }
    };
    let (wanting, snapshot) =
        running(context, report.spec.include_templates, &report.spec.namespace_selector, &of_policies.usable);
    let snapshot = Arc::new(snapshot);
    let (count, unusable) = (of_policies.usable.len() + of_policies.unusable.len(), of_policies.unusable);
    let judge = registries.as_ref().map(|registries| {
        Arc::new(Judge {
            policies: of_policies.usable,
            roots: context.trusts.at(clock::now()),
            registries: registries.declared.clone(),
            memo: context.scanning.memo.clone(),
            blobs: context.scanning.blobs.clone(),
            heavy: context.scanning.heavy.clone(),
            timed: context.metrics.verifications(),
        })
    });
    let mut observed = Observed {
        invalid,
        unusable,
        policies: count,
        wanting,
        snapshot,
        judge,
        registries,
        ledger,
        wants: Vec::new(),
        unseen: Vec::new(),
        retry_in: retry_in.filter(|_| scan.running.is_none()),
        coverage: Arc::default(),
        scan,
        unpublished: None,
    };
    if let Some(judge) = observed.judge.clone() {
        let (snapshot, ledger, again) =
            (observed.snapshot.clone(), observed.ledger.clone(), retry_in == Some(Duration::ZERO));
        // Judging takes a processor: whoever else is served by this thread does not wait for it.
        let assessed = tokio::task::spawn_blocking(move || assess(&judge, &snapshot, &ledger, again)).await;
        let assessed = assessed.map_err(|error| Failed::stuck("assess", &name, &error))?;
        let Assessed { coverage, wants, unseen, signed_at } = assessed;
        context.vouched.take(signed_at);
        observed.coverage = Arc::new(coverage);
        (observed.wants, observed.unseen) = (wants, unseen);
    }
    Ok(observed)
}

/// Whether what registries are asked with is read anew: where everything, or what could not be looked at, is looked at again. A pass is made for each thing that
/// comes or goes, and Secrets are not asked for as often.
fn is_due(report: &BundleCoverageReport, scan: &ScanFacts, retry_in: Option<Duration>, now: Timestamp) -> bool {
    let since = |last: &Finished| now.duration_since(last.finished);
    let is_recent = |last: &Finished| !since(last).is_negative() && since(last) < report.spec.interval.signed();
    scan.asked.as_ref() != Some(&Asked::by(report))
        || retry_in == Some(Duration::ZERO)
        || !scan.last.as_ref().is_some_and(is_recent)
}

/// What runs, and what is declared to come; and why not all of it was seen, if so.
pub(super) fn running(
    context: &Context,
    templates: bool,
    selector: &NamespaceSelector,
    policies: &[CompiledPolicy],
) -> (Option<String>, Snapshot) {
    let namespaces: BTreeMap<String, BTreeMap<String, String>> =
        context.caches.namespaces.state().iter().map(|of| (of.name_any(), of.labels().clone())).collect();
    // Of one that is not known yet, only its name is: what may be meant is looked at.
    let selects = |namespace: &str| match namespaces.get(namespace) {
        Some(labels) => selector.matches(labels),
        None => selector.matches_name(namespace) != Some(false),
    };
    let live = context.scanning.live.read();
    let mut snapshot = live.snapshot(templates, &selects);
    let wanting = live.wanting(templates);
    drop(live);
    for (namespace, labels) in &namespaces {
        snapshot.inventory.add_namespace(namespace, labels.clone());
    }
    for policy in policies.iter().filter(|policy| !policy.intake.is_empty()) {
        let Some(namespace) = namespaces.iter().find(|(_, labels)| policy.selects(labels)).map(|(name, _)| name) else {
            continue;
        };
        let by = Workload {
            namespace: namespace.clone(),
            kind: SigningIdentityPolicy::kind(&()).into_owned(),
            name: policy.name.clone(),
        };
        for image in &policy.intake {
            snapshot.inventory.add(&by, "intake", image);
        }
    }
    (wanting, snapshot)
}

pub(super) struct Assessed {
    pub(super) coverage: Coverage,
    wants: Vec<Want>,
    unseen: Vec<Want>,
    /// The newest time of signing that each trust root vouches for.
    signed_at: BTreeMap<String, Timestamp>,
}

/// Judges all that was seen by what is in force now.
pub(super) fn assess(judge: &Judge, snapshot: &Snapshot, ledger: &Mutex<Ledger>, again: bool) -> Assessed {
    let wants = judge.wants(&snapshot.inventory);
    let seen: Vec<(Arc<Sighting>, Vec<usize>)> = {
        let ledger = ledger.lock();
        wants.iter().filter_map(|want| Some((ledger.get(&want.target)?, want.policies.clone()))).collect()
    };
    let signed_at = judge.catch_up(&seen);
    let unseen = {
        let ledger = ledger.lock();
        let has_to_be_seen = |want: &&Want| match ledger.get(&want.target) {
            None => true,
            Some(seen) => needs_a_look(judge, &seen, want, again),
        };
        wants.iter().filter(has_to_be_seen).cloned().collect()
    };
    let ledger = ledger.lock();
    let coverage =
        assess_by(&snapshot.inventory, &judge.policies, &mut |image, policy| judge.judged(&ledger, image, policy));
    Assessed { coverage, wants, unseen, signed_at }
}

/// Whether what was seen of an image is not enough any more; `again` where what could not be looked at is due again.
fn needs_a_look(judge: &Judge, seen: &Sighting, want: &Want, again: bool) -> bool {
    let is_whole = seen.failure.is_none() && seen.incomplete.is_none();
    if !is_whole || !judge.is_at_hand(seen, &want.policies) {
        return again;
    }
    // By other trust or policies, what older tools left may count.
    !seen.legacy && !judge.passes(seen, &want.policies, &[])
}
