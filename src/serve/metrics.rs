//! The metrics: controller-runtime's names where they exist, so that stock dashboards and rules work, and `holdfast_…` for what holdfast is about.
//!
//! Labels are bounded: kinds, reasons and results from closed sets, trust roots by their object's name, ends by what ends; never an image, a digest or a text
//! of an error.

mod break_glass;
mod coverage;
mod gauge;
mod policy;
mod trust;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use holdfast_core::api::report::BundleCoverageReportStatus;
use holdfast_core::coverage::{Coverage, Memo};
use holdfast_core::operate::mirror::MirrorReason;
use holdfast_core::operate::policy::Decided;
use holdfast_core::trust::tuf::RefusalKind;
use jiff::Timestamp;
use parking_lot::{Mutex, RwLock};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use self::break_glass::BreakGlasses;
pub use self::break_glass::OpenBreakGlass;
use self::coverage::{Asked, OfReport, Reports, scan_buckets, verification_buckets};
use self::gauge::OfProcess;
pub use self::trust::TrustRootFacts;
use self::trust::TrustRoots;
use crate::inventory::live::Live;
use crate::registry::blobs::Blobs;
use crate::registry::remote::Observe;

/// The media type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Of one controller.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct OfController {
    controller: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Reconciled {
    controller: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Failing {
    controller: &'static str,
    category: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Request {
    code: String,
    method: String,
    host: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Imported {
    trust_root: String,
    result: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfLease {
    name: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfKind {
    kind: &'static str,
}

/// How a pass ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It is looked at again when something changes, or when it is due.
    RequeueAfter,
    /// It is tried again.
    Error,
}

/// Everything that is measured.
pub struct Metrics {
    registry: Registry,
    reconciled: Family<Reconciled, Counter>,
    errors: Family<OfController, Counter>,
    failures: Family<Failing, Counter>,
    seconds: Family<OfController, Histogram, fn() -> Histogram>,
    workers: Family<OfController, Gauge>,
    max_workers: Family<OfController, Gauge>,
    requests: Family<Request, Counter>,
    leading: Family<OfLease, Gauge>,
    imports: Family<Imported, Counter>,
    foreign_edits: Family<OfKind, Counter>,
    guards: Gauge<i64, AtomicI64>,
    malformed: Family<OfKind, Gauge>,
    trust: TrustRoots,
    reports: Reports,
    policies: policy::Policies,
    break_glasses: BreakGlasses,
    registry_requests: Family<Asked, Counter>,
    verification_seconds: Histogram,
    scan_seconds: Family<OfReport, Histogram, fn() -> Histogram>,
    /// Counts what is malformed, at each scrape.
    count: Mutex<Option<Count>>,
}

/// How many objects of each kind cannot be read.
pub type Count = Box<dyn Fn() -> Vec<(&'static str, usize)> + Send>;

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

fn reconcile_buckets() -> Histogram {
    Histogram::new([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0])
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let metrics = Self {
            registry: Registry::default(),
            reconciled: Family::default(),
            errors: Family::default(),
            failures: Family::default(),
            seconds: Family::new_with_constructor(reconcile_buckets),
            workers: Family::default(),
            max_workers: Family::default(),
            requests: Family::default(),
            leading: Family::default(),
            imports: Family::default(),
            foreign_edits: Family::default(),
            guards: Gauge::default(),
            malformed: Family::default(),
            trust: TrustRoots::default(),
            reports: Reports::default(),
            policies: policy::Policies::default(),
            break_glasses: BreakGlasses::default(),
            registry_requests: Family::default(),
            verification_seconds: verification_buckets(),
            scan_seconds: Family::new_with_constructor(scan_buckets),
            count: Mutex::default(),
        };
        let r = &mut registry;
        r.register("controller_runtime_reconcile", "Passes, by how they ended", metrics.reconciled.clone());
        r.register("controller_runtime_reconcile_errors", "Passes that failed", metrics.errors.clone());
        r.register("holdfast_reconcile_failures", "Passes that failed, by what failed", metrics.failures.clone());
        r.register("controller_runtime_reconcile_time_seconds", "How long a pass takes", metrics.seconds.clone());
        r.register("controller_runtime_active_workers", "Passes under way", metrics.workers.clone());
        r.register(
            "controller_runtime_max_concurrent_reconciles",
            "Passes at once, at most",
            metrics.max_workers.clone(),
        );
        r.register("rest_client_requests", "Requests to the API server, by answer", metrics.requests.clone());
        r.register("leader_election_master_status", "Whether this replica leads: 1 or 0", metrics.leading.clone());
        r.register("holdfast_trust_root_imports", "Looks at a source, by what became of them", metrics.imports.clone());
        r.register(
            "holdfast_foreign_edits",
            "Objects of holdfast's that somebody else changed and that were put back",
            metrics.foreign_edits.clone(),
        );
        r.register("holdfast_guards_intact", "Whether the admission policies behind approvals were there as installed and answered, when they were last asked: 1 or 0", metrics.guards.clone());
        r.register(
            "holdfast_malformed_objects",
            "Objects that cannot be read as their kind",
            metrics.malformed.clone(),
        );
        r.register(
            "holdfast_registry_requests",
            "Requests to registries, by what became of them",
            metrics.registry_requests.clone(),
        );
        r.register(
            "holdfast_verification_seconds",
            "How long it takes to judge an image by a policy, where that was not remembered",
            metrics.verification_seconds.clone(),
        );
        r.register(
            "holdfast_scan_duration_seconds",
            "How long a scan over everything takes",
            metrics.scan_seconds.clone(),
        );
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        r.register("holdfast_build", "What was built", Info::new(version));
        r.register_collector(Box::new(metrics.trust.clone()));
        r.register_collector(Box::new(metrics.reports.clone()));
        r.register_collector(Box::new(metrics.policies.clone()));
        r.register_collector(Box::new(metrics.break_glasses.clone()));
        r.register_collector(Box::new(OfProcess { start: crate::clock::now() }));
        Self { registry, ..metrics }
    }
}

impl Metrics {
    /// As it is scraped. What is told in seconds until something is told as of `now`.
    ///
    /// # Errors
    /// [`fmt::Error`]; none is known to occur.
    pub fn encode(&self, now: Timestamp) -> Result<String, fmt::Error> {
        *self.trust.now.lock() = now;
        *self.reports.now.lock() = now;
        *self.break_glasses.now.lock() = now;
        for (kind, objects) in self.count.lock().iter().flat_map(|count| count()) {
            self.malformed.get_or_create(&OfKind { kind }).set(i64::try_from(objects).unwrap_or(i64::MAX));
        }
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// A pass of `controller` begins.
    pub fn begins(&self, controller: &'static str) {
        self.workers.get_or_create(&OfController { controller }).inc();
    }

    /// A pass of `controller` ended.
    pub fn ends(&self, controller: &'static str, ended: Ended, took: Duration) {
        self.workers.get_or_create(&OfController { controller }).dec();
        self.seconds.get_or_create(&OfController { controller }).observe(took.as_secs_f64());
        let result = match ended {
            Ended::RequeueAfter => "requeue_after",
            Ended::Error => "error",
        };
        self.reconciled.get_or_create(&Reconciled { controller, result }).inc();
    }

    /// A pass of `controller` failed, for this category of reason.
    pub fn fails(&self, controller: &'static str, category: &'static str) {
        self.errors.get_or_create(&OfController { controller }).inc();
        self.failures.get_or_create(&Failing { controller, category }).inc();
    }

    /// How many passes of `controller` run at once, at most.
    pub fn concurrency(&self, controller: &'static str, most: u16) {
        // There from the start, so that a rate can be taken of it.
        drop(self.errors.get_or_create(&OfController { controller }));
        self.max_workers.get_or_create(&OfController { controller }).set(most.into());
    }

    /// The API server answered a request, or did not (`<error>`).
    pub fn requested(&self, method: &str, host: &str, code: &str) {
        let request = Request { code: code.to_owned(), method: method.to_owned(), host: host.to_owned() };
        self.requests.get_or_create(&request).inc();
    }

    /// Whether this replica leads.
    pub fn leads(&self, lease: &str, leads: bool) {
        self.leading.get_or_create(&OfLease { name: lease.to_owned() }).set(leads.into());
    }

    /// A source was looked at.
    pub fn imported(&self, trust_root: &str, result: &str) {
        self.imports.get_or_create(&Imported { trust_root: trust_root.to_owned(), result: result.to_owned() }).inc();
    }

    /// Something of holdfast's was changed by somebody else, and put back.
    pub fn put_back(&self, kind: &'static str) {
        self.foreign_edits.get_or_create(&OfKind { kind }).inc();
    }

    /// Whether the guards were there and answered.
    pub fn guarded(&self, intact: bool) {
        self.guards.set(intact.into());
    }

    /// How it is found out how many objects of each kind cannot be read.
    pub fn count_malformed(&self, count: Count) {
        *self.count.lock() = Some(count);
    }

    /// How it is found out which break-glasses are open, at each scrape.
    pub fn show_break_glasses(&self, find: Box<dyn Fn() -> Vec<OpenBreakGlass> + Send>) {
        *self.break_glasses.find.lock() = Some(find);
    }

    /// Who counts requests to registries.
    pub fn registry(&self) -> Observe {
        let requests = self.registry_requests.clone();
        Arc::new(move |host, outcome| {
            requests.get_or_create(&Asked { host: host.to_owned(), outcome: outcome.as_str() }).inc();
        })
    }

    /// Who takes down how long judgements take.
    pub fn verifications(&self) -> Arc<dyn Fn(Duration) + Send + Sync> {
        let seconds = self.verification_seconds.clone();
        Arc::new(move |took| seconds.observe(took.as_secs_f64()))
    }

    /// What is looked at, at each scrape.
    pub fn observe_scans(&self, live: &Arc<RwLock<Live>>, memo: &Arc<Mutex<Memo>>, blobs: &Arc<Blobs>) {
        self.reports.observe(live, memo, blobs);
    }

    /// A scan over everything ended.
    pub fn scanned(&self, report: &str, took: Duration) {
        self.scan_seconds.get_or_create(&OfReport { report: report.to_owned() }).observe(took.as_secs_f64());
    }

    /// What is known of a report; so many images wait to be looked at.
    pub fn report(&self, name: &str, status: &BundleCoverageReportStatus, coverage: &Coverage, waiting: usize) {
        self.reports.take(name, status, coverage, waiting);
    }

    /// A report is gone.
    pub fn forget_report(&self, name: &str) {
        self.reports.forget(name);
        self.scan_seconds.remove(&OfReport { report: name.to_owned() });
    }

    /// What was decided of every policy; `verified` counts the digests that are verified for one.
    pub fn policies(&self, decided: &Decided<'_>, verified: &dyn Fn(&str) -> usize) {
        self.policies.take(decided, verified);
    }

    /// What is known of a trust root.
    pub fn trust_root(&self, name: &str, facts: TrustRootFacts) {
        self.trust.roots.lock().insert(name.to_owned(), facts);
    }

    /// A trust root is gone.
    pub fn forget(&self, name: &str) {
        self.trust.roots.lock().remove(name);
        let results =
            MirrorReason::ALL.iter().copied().chain(RefusalKind::ALL.iter().map(|kind| MirrorReason::Refused(*kind)));
        for result in results.map(MirrorReason::as_str).chain(["Accepted", "Unchanged"]) {
            self.imports.remove(&Imported { trust_root: name.to_owned(), result: result.to_owned() });
        }
    }
}
