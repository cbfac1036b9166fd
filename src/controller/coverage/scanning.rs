//! Scans, beside passes: begun where a pass finds that one is due, ended by themselves.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use holdfast_core::api::BundleCoverageReport;
use holdfast_core::coverage::Memo;
use holdfast_core::operate::report::{Asked, Due, Finished};
use jiff::Timestamp;
use kube::Resource;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, Semaphore};

use super::super::context::Context;
use super::super::queue::Queue;
use super::super::settings::Settings;
use super::known::{Known, UnderWay};
use super::observe::Observed;
use super::registries::PodSecrets;
use crate::clock;
use crate::inventory::live::Live;
use crate::registry::blobs::{Blobs, BlobsError};
use crate::scan::{Progress, Scan, Target, Want};
use crate::serve::metrics::Metrics;

/// How often a scan under way has its progress told.
const TELL: Duration = Duration::from_secs(5);
const MIB: u64 = 1024 * 1024;

/// What runs, and what was found out about it.
pub(crate) struct Scanning {
    /// What runs.
    pub(crate) live: Arc<RwLock<Live>>,
    /// Who asks for passes.
    pub(crate) queue: Queue<BundleCoverageReport>,
    pub(super) memo: Arc<Mutex<Memo>>,
    pub(super) blobs: Arc<Blobs>,
    processors: Arc<Semaphore>,
    /// Whose turn it is with an image that has much evidence: to look, and to judge.
    heavy_looks: Arc<Semaphore>,
    pub(super) heavy: Arc<Mutex<()>>,
    /// A report went.
    pub(super) gone: Notify,
    pub(super) known: Mutex<HashMap<String, Known>>,
    metrics: Arc<Metrics>,
}

impl Scanning {
    /// Nothing known yet.
    ///
    /// # Errors
    /// [`BlobsError`], where evidence cannot be kept in the directory that was given.
    pub(crate) fn new(
        settings: &Settings,
        queue: Queue<BundleCoverageReport>,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, BlobsError> {
        let most = u64::from(settings.evidence_mebibytes).saturating_mul(MIB);
        let blobs = Arc::new(match &settings.evidence_dir {
            Some(dir) => Blobs::on_disk(dir, most)?,
            None => Blobs::in_memory(most),
        });
        let live = Arc::new(RwLock::new(Live::new()));
        let memo = Arc::new(Mutex::new(Memo::default()));
        metrics.observe_scans(&live, &memo, &blobs);
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            live,
            queue,
            memo,
            blobs,
            processors: Arc::new(Semaphore::new(processors)),
            heavy_looks: Arc::new(Semaphore::new(1)),
            heavy: Arc::default(),
            gone: Notify::new(),
            known: Mutex::default(),
            metrics: metrics.clone(),
        })
    }

    /// A report is gone.
    pub(crate) fn forget(&self, name: &str) {
        self.known.lock().remove(name);
        self.metrics.forget_report(name);
        self.gone.notify_one();
    }

    /// A pass ended; how many failed in a row.
    pub(super) fn ended(&self, name: &str, uid: Option<&String>, well: bool) -> u32 {
        let mut known = self.known.lock();
        let known = known.entry(name.to_owned()).or_default().of(uid);
        known.failed = if well { 0 } else { known.failed.saturating_add(1) };
        known.failed
    }

    /// How many passes failed in a row.
    pub(super) fn failures(&self, name: &str) -> u32 {
        self.known.lock().get(name).map_or(1, |known| known.failed)
    }

    /// Whether a report is still declared, and is the same object.
    pub(super) fn is_there(&self, context: &Context, report: &BundleCoverageReport) -> bool {
        let there = context.caches.reports.get(&ObjectRef::new(report.metadata.name.as_deref().unwrap_or_default()));
        let is_there = there.is_some_and(|there| there.meta().uid == report.metadata.uid);
        if !is_there {
            self.forget(&report.name_any());
        }
        is_there
    }
}

/// Begins what is due: everything, or what is new and what could not be looked at before.
pub(super) fn apply(
    context: &Arc<Context>,
    report: &BundleCoverageReport,
    mut observed: Observed,
    due: Due,
    now: Timestamp,
) -> Observed {
    let everything = due == Due::Everything;
    let wants = if everything { std::mem::take(&mut observed.wants) } else { std::mem::take(&mut observed.unseen) };
    let is_free = observed.scan.running.is_none() || everything;
    if !observed.invalid.is_empty() || !is_free || (wants.is_empty() && !everything) {
        return observed;
    }
    begin(context, report, &observed, wants, everything, now);
    let known = context.scanning.known.lock();
    if let Some(known) = known.get(&report.name_any()) {
        observed.scan = known.facts();
    }
    drop(known);
    observed
}

fn begin(
    context: &Arc<Context>,
    report: &BundleCoverageReport,
    observed: &Observed,
    wants: Vec<Want>,
    everything: bool,
    now: Timestamp,
) {
    let (Some(judge), Some(registries)) = (&observed.judge, &observed.registries) else { return };
    let name = report.name_any();
    let progress = Arc::new(Progress::of(wants.len()));
    let scan = Arc::new(Scan {
        remotes: registries.remotes.clone(),
        at_once: registries.at_once.clone(),
        judge: judge.clone(),
        ledger: observed.ledger.clone(),
        blobs: context.scanning.blobs.clone(),
        credentials: Arc::new(PodSecrets {
            reader: context.reader(),
            registries: registries.clone(),
            snapshot: observed.snapshot.clone(),
            allowed: report.spec.registries.iter().map(|registry| registry.use_pod_pull_secrets).collect(),
            read: Mutex::default(),
        }),
        processors: context.scanning.processors.clone(),
        heavy: context.scanning.heavy_looks.clone(),
    });
    tracing::info!(report = name, images = wants.len(), everything, "a scan begins");
    let ends = Ends {
        context: context.clone(),
        name: name.clone(),
        uid: report.metadata.uid.clone(),
        interval: Duration::from_secs(report.spec.interval.as_secs().into()),
        counts: (
            observed.snapshot.inventory.images().len(),
            observed.snapshot.inventory.workloads().len(),
            observed.snapshot.pods,
        ),
        started: now,
        everything,
        wanting: observed.wanting.is_some(),
        progress: progress.clone(),
    };
    let told = progress.clone();
    // The lock is held until the scan is written down: it may end at once.
    let mut known = context.scanning.known.lock();
    let known = known.entry(name).or_default().of(report.metadata.uid.as_ref());
    let task = tokio::spawn(async move {
        let (queue, of) = (ends.context.scanning.queue.clone(), ends.name.clone());
        let telling = async move {
            loop {
                tokio::time::sleep(TELL).await;
                queue.one(&of);
            }
        };
        let targets: Vec<Target> = wants.iter().map(|want| want.target.clone()).collect();
        tokio::select! { () = telling => {} () = scan.clone().run(wants, told) => {} }
        ends.end(&scan, &targets);
    });
    known.running = Some(UnderWay { started: now, everything, progress, task: task.abort_handle() });
    if everything {
        known.asked = Some(Asked::by(report));
    }
}

/// What is to be done once a scan has ended.
struct Ends {
    context: Arc<Context>,
    name: String,
    uid: Option<String>,
    interval: Duration,
    counts: (usize, usize, usize),
    started: Timestamp,
    everything: bool,
    wanting: bool,
    progress: Arc<Progress>,
}

impl Ends {
    fn end(self, scan: &Scan, targets: &[Target]) {
        let now = clock::now();
        let scanning = &self.context.scanning;
        // Held to the end: no other scan begins, and none that took this one's place is taken for it.
        let mut all = scanning.known.lock();
        let Some(known) = all.get_mut(&self.name).map(|known| known.of(self.uid.as_ref())) else { return };
        if !known.is_running(&self.progress) {
            return;
        }
        let leaves = {
            let mut ledger = scan.ledger.lock();
            if self.everything {
                ledger.keep_only(&targets.iter().collect::<HashSet<_>>());
            }
            ledger.unseen()
        };
        known.ended(leaves > 0, self.interval);
        if self.everything {
            let (images, workloads, pods) = self.counts;
            let (started, wanting) = (self.started, self.wanting);
            let is_early = wanting && known.last.is_none_or(|last| last.is_early);
            known.last = Some(Finished { started, finished: now, images, workloads, pods, wanting, is_early });
        }
        drop(all);
        if self.everything {
            scanning.memo.lock().sweep();
            let took = Duration::try_from(now.duration_since(self.started)).unwrap_or_default();
            scanning.metrics.scanned(&self.name, took);
        }
        tracing::info!(
            report = self.name,
            images = targets.len(),
            left = leaves,
            everything = self.everything,
            "a scan ended"
        );
        scanning.queue.one(&self.name);
    }
}
