//! The operator: watches, leadership, passes, and an orderly end.

mod agreements;
mod break_glass;
mod candidates;
pub mod client;
mod context;
mod coverage;
pub mod engines;
pub mod failure;
mod guards;
mod lease;
pub mod look;
mod malformed;
mod mirror;
mod pass;
mod policy;
mod queue;
pub(crate) mod reading;
mod rest;
mod secrets;
pub mod settings;
mod sight;
mod slim;
mod status;
mod store;
pub mod subjects;
mod trusts;
mod vouched;
mod watch;

use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::select_all;
use holdfast_core::api::{BundleCoverageReport, GROUP, TrustBreakGlass, TrustRootMirror, VERSION};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::DeserializeGuard;
use kube::{Client, ResourceExt};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch::Receiver;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::candidates::Candidates;
use self::client::ClientError;
use self::context::{Caches, Context};
use self::engines::Engines;
use self::guards::Guards;
use self::lease::{Leadership, LeaseSettings};
use self::mirror::Volumes;
use self::queue::{Queue, Queued};
use self::settings::Settings;
use self::store::Store;
use self::subjects::Lookout;
use self::trusts::Trusts;
use self::vouched::Vouched;
use self::watch::{Notice, Triggers, Watches};
use crate::registry::blobs::BlobsError;
use crate::serve::metrics::Metrics;
use crate::serve::{self, Readiness};

/// The field manager of everything that is written.
pub const MANAGER: &str = "holdfast.dev/controller";
/// How long passes under way may take to end, before the lease is given up anyhow.
const TO_END: Duration = Duration::from_secs(3);
/// How often it is asked whether the kinds are there, while they are not.
const ASK_FOR_KINDS: Duration = Duration::from_secs(1);

/// Why an operator ended.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// No client.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The address for metrics and probes cannot be used.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// What the system said.
        error: std::io::Error,
    },
    /// The system gives no signals.
    #[error("no signals can be waited for: {0}")]
    Signals(std::io::Error),
    /// Leadership was lost: another replica goes on, and this one begins anew.
    #[error("leadership was lost, so this process ends and begins anew")]
    LeadershipLost,
    /// What was fetched cannot be kept where it was said.
    #[error("{0}")]
    Evidence(#[from] BlobsError),
    /// A task ended that should not.
    #[error("{0} ended")]
    Ended(&'static str),
}

/// Operates until it is told to stop.
///
/// # Errors
/// [`OperatorError`].
pub async fn run(settings: Settings) -> Result<(), OperatorError> {
    let stop = CancellationToken::new();
    let signals = on_signal(stop.clone())?;
    let metrics = Arc::new(Metrics::default());
    let config = client::config(&settings).await?;
    let namespace = settings.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    let client = client::client(config, metrics.clone())?;
    let readiness = Readiness::default();
    let kinds = readiness.gate("the kinds of holdfast");
    let listening = |error| OperatorError::Listen { address: settings.listen, error };
    let listener = serve::bind(settings.listen).await.map_err(listening)?;
    let address = listener.local_addr().map_err(listening)?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), namespace, identity = settings.identity, %address, "holdfast begins");
    let served = tokio::spawn(serve::run(listener, metrics.clone(), readiness.clone(), stop.clone().cancelled_owned()));

    tokio::select! {
        () = stop.cancelled() => return Ok(()),
        () = until_kinds_are_there(&client) => kinds.set(true),
    }
    let leadership = if settings.leader_elect { Leadership::default() } else { Leadership::uncontended() };
    let operator = Operator { client, namespace, settings, metrics, leadership, readiness, stop: stop.clone() };
    let ended = operator.operate().await;
    stop.cancel();
    signals.abort();
    let _ = tokio::time::timeout(Duration::from_secs(1), served).await;
    tracing::info!("holdfast ends");
    ended
}

/// What waits to be looked at, of every kind.
struct AllQueued {
    mirrors: Queued<TrustRootMirror>,
    reports: Queued<BundleCoverageReport>,
    break_glasses: Queued<TrustBreakGlass>,
}

struct Operator {
    client: Client,
    namespace: String,
    settings: Settings,
    metrics: Arc<Metrics>,
    leadership: Leadership,
    readiness: Readiness,
    stop: CancellationToken,
}

impl Operator {
    async fn operate(self) -> Result<(), OperatorError> {
        let (watches, caches) = Watches::new(self.client.clone(), &self.settings.distribution_names);
        let counted = caches.clone();
        self.metrics.count_malformed(Box::new(move || counted.malformed()));
        let shown = caches.clone();
        self.metrics.show_break_glasses(Box::new(move || shown.open_break_glasses()));
        let (mirrors, mirrors_queued) = Queue::new(caches.mirrors.clone());
        let (reports, reports_queued) = Queue::new(caches.reports.clone());
        let (break_glasses, break_glasses_queued) = Queue::new(caches.break_glasses.clone());
        let queued =
            AllQueued { mirrors: mirrors_queued, reports: reports_queued, break_glasses: break_glasses_queued };
        let context = Arc::new(self.context(caches, mirrors.clone(), reports.clone())?);
        let triggers = Self::triggers(&context, mirrors, reports, break_glasses);
        let mut watching =
            watches.start(&self.namespace, &self.settings.source_namespaces, &triggers, &self.readiness, &self.stop);
        let volumes = {
            let triggers = triggers.clone();
            Volumes::new(move |mirror| triggers.source(mirror))
        };
        // Passes end before the lease is given up: a successor then finds nothing under way.
        let passes_stop = self.stop.child_token();
        let (native, seen) = policy::watch(&context, &self.readiness, &self.stop);
        watching.extend(native);
        let mut passes = tokio::spawn(passes(context.clone(), queued, volumes, seen, passes_stop.clone()));
        let lease_stop = CancellationToken::new();
        let mut lease = self.leases(&lease_stop);
        let leading = tokio::spawn(announce(context.clone(), triggers));

        watching.extend(sight::start(&context, &self.stop));

        let ended = first_end(&self.stop, &mut lease, &mut passes, &mut watching).await;
        passes_stop.cancel();
        if !passes.is_finished() && tokio::time::timeout(TO_END, passes).await.is_err() {
            tracing::warn!("passes under way were not waited for any longer");
        }
        lease_stop.cancel();
        if ended.is_ok() {
            let _ = tokio::time::timeout(TO_END, lease).await;
        }
        leading.abort();
        watching.iter().for_each(JoinHandle::abort);
        ended
    }

    fn context(
        &self,
        caches: Caches,
        mirrors: Queue<TrustRootMirror>,
        reports: Queue<BundleCoverageReport>,
    ) -> Result<Context, OperatorError> {
        let store = Store::new(self.client.clone(), &self.namespace);
        Ok(Context {
            client: self.client.clone(),
            settings: self.settings.clone(),
            namespace: self.namespace.clone(),
            caches,
            guards: Guards::new(self.client.clone(), &self.namespace, &self.settings, self.metrics.clone()),
            leadership: self.leadership.clone(),
            metrics: self.metrics.clone(),
            known: parking_lot::Mutex::default(),
            break_glasses: break_glass::Known::default(),
            recorder: context::recorder(self.client.clone(), &self.settings.identity),
            told: parking_lot::Mutex::default(),
            trusts: Trusts::default(),
            candidates: Candidates::default(),
            vouched: Vouched::default(),
            mirrors,
            engines: Engines::new(self.client.clone()),
            subjects: Lookout::new(self.client.clone(), &self.namespace, &self.settings.service_account),
            scanning: coverage::Scanning::new(&self.settings, reports, &self.metrics)?,
            forms: coverage::FormsInForce::default(),
            policies: policy::Policies::new(self.client.clone(), &store),
            store,
        })
    }

    fn triggers(
        context: &Arc<Context>,
        mirrors: Queue<TrustRootMirror>,
        reports: Queue<BundleCoverageReport>,
        break_glasses: Queue<TrustBreakGlass>,
    ) -> Triggers {
        let known = Arc::downgrade(context);
        let remembers = known.clone();
        let remembered = move |policy: Option<&str>, object: Option<&ObjectMeta>, is_there: bool| {
            let Some(context) = remembers.upgrade() else { return };
            let is_news = if let (Some(policy), Some(object)) = (policy, object) {
                context.policies.memory.seen(policy, object, is_there)
            } else {
                // What was missed while nobody watched is not known.
                context.policies.memory.doubt_all();
                true
            };
            if is_news {
                context.policies.wake.ask();
            }
        };
        Triggers::new(mirrors, reports, break_glasses, remembered, move |name, notice| {
            let Some(context) = known.upgrade() else { return };
            match notice {
                Notice::Source => context.known.lock().entry(name.to_owned()).or_default().source_changed(),
                Notice::MirrorGone => mirror::gone(&context, name),
                Notice::MirrorsListed => mirror::forget_missing(&context),
                Notice::ReportGone => coverage::gone(&context, name),
                Notice::ReportsListed => coverage::forget_missing(&context),
                Notice::BreakGlassGone => break_glass::gone(&context, name),
                Notice::Policies => context.policies.wake.ask(),
            }
        })
    }

    /// Holds or awaits the lease; without one, only the end is awaited.
    fn leases(&self, stop: &CancellationToken) -> JoinHandle<()> {
        let stop = stop.clone();
        if !self.settings.leader_elect {
            return tokio::spawn(async move { stop.cancelled().await });
        }
        let settings = LeaseSettings {
            namespace: self.namespace.clone(),
            name: self.settings.lease_name.clone(),
            identity: self.settings.identity.clone(),
            duration: Duration::from_secs(self.settings.lease_duration.as_secs().into()),
        };
        tokio::spawn(lease::run(self.client.clone(), settings, self.leadership.clone(), stop))
    }
}

/// Waits until the operator is told to stop, or a part of it ends that should not: one that went on without it would lead, look healthy and do nothing.
async fn first_end(
    stop: &CancellationToken,
    lease: &mut JoinHandle<()>,
    passes: &mut JoinHandle<()>,
    watching: &mut [JoinHandle<()>],
) -> Result<(), OperatorError> {
    tokio::select! {
        biased;
        () = stop.cancelled() => Ok(()),
        _ = lease => Err(OperatorError::LeadershipLost),
        _ = passes => Err(OperatorError::Ended("the task that makes passes")),
        _ = select_all(watching) => Err(OperatorError::Ended("a watch")),
    }
}

/// Passes over every kind, once everything was seen: what was not seen yet is not absent, and by an empty list of namespaces, trust would be taken away from
/// all of them.
async fn passes(
    context: Arc<Context>,
    queued: AllQueued,
    volumes: Volumes,
    mut native: Receiver<bool>,
    stop: CancellationToken,
) {
    let seen =
        async { context.caches.wait_until_ready().await.is_err() || native.wait_for(|seen| *seen).await.is_err() };
    if tokio::select! { () = stop.cancelled() => true, failed = seen => failed } {
        return;
    }
    context.metrics.concurrency(policy::CONTROLLER, 1);
    let mut policies = policy::start(context.clone(), stop.clone());
    context.metrics.concurrency(mirror::CONTROLLER, mirror::CONCURRENCY);
    context.metrics.concurrency(coverage::CONTROLLER, coverage::CONCURRENCY);
    context.metrics.concurrency(break_glass::CONTROLLER, break_glass::CONCURRENCY);
    let mirrors = queue::passes(
        context.clone(),
        context.caches.mirrors.clone(),
        queued.mirrors,
        mirror::CONCURRENCY,
        move |object: Arc<DeserializeGuard<TrustRootMirror>>, context: Arc<Context>| {
            let volume = object.0.as_ref().ok().and_then(|mirror| mirror.spec.source.volume.as_ref());
            volumes.watch(&object.name_any(), volume.map(|volume| Path::new(&volume.path)));
            Box::pin(mirror::reconcile(object, context))
        },
        mirror::on_error,
        stop.clone(),
    );
    let reports = queue::passes(
        context.clone(),
        context.caches.reports.clone(),
        queued.reports,
        coverage::CONCURRENCY,
        |object: Arc<DeserializeGuard<BundleCoverageReport>>, context: Arc<Context>| {
            Box::pin(coverage::reconcile(object, context))
        },
        coverage::on_error,
        stop.clone(),
    );
    let break_glasses = queue::passes(
        context.clone(),
        context.caches.break_glasses.clone(),
        queued.break_glasses,
        break_glass::CONCURRENCY,
        |object: Arc<DeserializeGuard<TrustBreakGlass>>, context: Arc<Context>| {
            Box::pin(break_glass::reconcile(object, context))
        },
        break_glass::on_error,
        stop.clone(),
    );
    let mut others =
        std::pin::pin!(async { tokio::join!(mirrors, reports, break_glasses, coverage::tidy(context, stop)) });
    // A part that fails ends all: the operator must not go on without it.
    tokio::select! {
        _ = &mut others => drop(policies.await),
        ended = &mut policies => if ended.is_ok() { others.await; },
    }
}

/// Says that leadership began, and asks for a first pass over everything.
async fn announce(context: Arc<Context>, triggers: Triggers) {
    let lease = &context.settings.lease_name;
    let mut leading = context.leadership.watch();
    loop {
        let leads = *leading.borrow_and_update();
        context.metrics.leads(lease, leads);
        if leads {
            tracing::info!(lease, "this replica leads");
            triggers.all();
        }
        if leading.changed().await.is_err() {
            return;
        }
    }
}

/// Waits until the API server serves holdfast's kinds. Discovery needs no right; a list would.
async fn until_kinds_are_there(client: &Client) {
    let mut said = false;
    loop {
        let asked = tokio::time::timeout(
            Duration::from_secs(5),
            client.list_api_group_resources(&format!("{GROUP}/{VERSION}")),
        )
        .await;
        match asked {
            Ok(Ok(found))
                if holdfast_core::api::crds()
                    .iter()
                    .all(|kind| found.resources.iter().any(|there| there.name == kind.spec.names.plural)) =>
            {
                return;
            }
            Ok(Ok(_) | Err(kube::Error::Api(_))) if !said => {
                tracing::warn!(
                    "the kinds of holdfast are not all there: install them with the chart, or with `holdfast crds`"
                );
                said = true;
            }
            Ok(Err(error)) if !said => {
                tracing::warn!(%error, "the API server cannot be asked for the kinds of holdfast");
                said = true;
            }
            _ => {}
        }
        tokio::time::sleep(ASK_FOR_KINDS).await;
    }
}

fn on_signal(stop: CancellationToken) -> Result<JoinHandle<()>, OperatorError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(OperatorError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(OperatorError::Signals)?;
    Ok(tokio::spawn(async move {
        let name = tokio::select! { _ = terminate.recv() => "SIGTERM", _ = interrupt.recv() => "SIGINT" };
        tracing::info!(signal = name, "told to stop");
        stop.cancel();
    }))
}

/// A wait, and up to a tenth more: what was begun together does not stay together.
fn jitter(wait: Duration) -> Duration {
    let roll = RandomState::new().hash_one(wait) % 1000;
    wait + wait.mul_f64(f64::from(u32::try_from(roll).unwrap_or(0)) / 10_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goes_on() -> JoinHandle<()> {
        tokio::spawn(std::future::pending())
    }

    fn fails() -> JoinHandle<()> {
        tokio::spawn(async { panic!("a fault in a pass") })
    }

    #[tokio::test]
    async fn a_part_that_fails_ends_the_operator() {
        let stop = CancellationToken::new();
        let ended = first_end(&stop, &mut goes_on(), &mut fails(), &mut [goes_on()]).await;
        assert!(matches!(ended, Err(OperatorError::Ended(_))));
        let ended = first_end(&stop, &mut goes_on(), &mut goes_on(), &mut [goes_on(), fails()]).await;
        assert!(matches!(ended, Err(OperatorError::Ended(_))));
        let ended = first_end(&stop, &mut fails(), &mut goes_on(), &mut [goes_on()]).await;
        assert!(matches!(ended, Err(OperatorError::LeadershipLost)));
        // Told to stop, everything ends, and that is no fault.
        stop.cancel();
        assert!(first_end(&stop, &mut fails(), &mut fails(), &mut [fails()]).await.is_ok());
    }
}
