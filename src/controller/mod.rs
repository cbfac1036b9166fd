//! The operator: watches, leadership, passes, and an orderly end.

pub mod client;
mod context;
mod failure;
mod guards;
mod lease;
mod mirror;
pub mod settings;
mod store;
mod watch;

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::select_all;
use holdfast_core::api::{GROUP, VERSION};
use kube::Client;
use kube::runtime::controller::{self, Config as ControllerConfig};
use kube::runtime::reflector::Store as Cache;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::client::ClientError;
use self::context::{Caches, Context};
use self::guards::Guards;
use self::lease::{Leadership, LeaseSettings};
use self::mirror::{CONCURRENCY, CONTROLLER, Volumes};
use self::settings::Settings;
use self::store::Store;
use self::watch::{Notice, Triggers, Watches};
use crate::serve::metrics::Metrics;
use crate::serve::{self, Readiness};

/// The field manager of everything that is written.
pub const MANAGER: &str = "holdfast.dev/controller";
/// How long passes under way may take to end, before the lease is given up anyhow.
const TO_END: Duration = Duration::from_secs(3);
/// How long what is asked for is gathered before it is handed on. Counted from the first that asks: whoever goes on asking puts nothing off.
const GATHER: Duration = Duration::from_millis(20);
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
        let (queue, queued) = mpsc::unbounded_channel();
        let (watches, caches) = Watches::new(self.client.clone(), &self.settings.distribution_names);
        let counted = caches.clone();
        self.metrics.count_malformed(Box::new(move || counted.malformed()));
        let context = Arc::new(self.context(caches));
        let triggers = self.triggers(&context, queue);
        let mut watching =
            watches.start(&self.namespace, &self.settings.source_namespaces, &triggers, &self.readiness, &self.stop);
        let volumes = {
            let triggers = triggers.clone();
            Volumes::new(move |mirror| triggers.source(mirror))
        };
        // Passes end before the lease is given up: a successor then finds nothing under way.
        let passes_stop = self.stop.child_token();
        let mut passes = tokio::spawn(passes(context.clone(), queued, volumes, passes_stop.clone()));
        let lease_stop = CancellationToken::new();
        let mut lease = self.leases(&lease_stop);
        let leading = tokio::spawn(announce(
            self.leadership.clone(),
            triggers,
            self.metrics.clone(),
            self.settings.lease_name.clone(),
        ));

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

    fn context(&self, caches: Caches) -> Context {
        Context {
            client: self.client.clone(),
            settings: self.settings.clone(),
            namespace: self.namespace.clone(),
            caches,
            store: Store::new(self.client.clone(), &self.namespace),
            guards: Guards::new(self.client.clone(), &self.namespace, &self.settings, self.metrics.clone()),
            leadership: self.leadership.clone(),
            metrics: self.metrics.clone(),
            known: parking_lot::Mutex::default(),
            recorder: context::recorder(self.client.clone(), &self.settings.identity),
        }
    }

    fn triggers(&self, context: &Arc<Context>, queue: mpsc::UnboundedSender<watch::Asked>) -> Triggers {
        let (known, metrics) = (Arc::downgrade(context), self.metrics.clone());
        Triggers::new(queue, context.caches.mirrors.clone(), move |mirror, notice| {
            let Some(context) = known.upgrade() else { return };
            let mut known = context.known.lock();
            match notice {
                Notice::Source => known.entry(mirror.to_owned()).or_default().source_changed(),
                Notice::Gone => {
                    known.entry(mirror.to_owned()).or_default().gone();
                    metrics.forget(mirror);
                }
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
        _ = passes => Err(OperatorError::Ended("the task that passes over mirrors")),
        _ = select_all(watching) => Err(OperatorError::Ended("a watch")),
    }
}

/// Passes over mirrors, as they are asked for and as they are due.
async fn passes(
    context: Arc<Context>,
    queued: mpsc::UnboundedReceiver<watch::Asked>,
    volumes: Volumes,
    stop: CancellationToken,
) {
    let store: Cache<_> = context.caches.mirrors.clone();
    // What was not seen yet is not absent: by an empty list of namespaces, trust would be taken away from all of them.
    if tokio::select! { () = stop.cancelled() => true, ready = context.caches.wait_until_ready() => ready.is_err() } {
        return;
    }
    context.metrics.concurrency(CONTROLLER, CONCURRENCY);
    let queue = futures_util::stream::unfold(queued, gather).flat_map(futures_util::stream::iter);
    let queue = queue.map(Ok::<_, std::convert::Infallible>).take_until(stop.cancelled_owned());
    let config = ControllerConfig::default().concurrency(CONCURRENCY);
    let reconcile = move |object: Arc<kube::core::DeserializeGuard<holdfast_core::api::TrustRootMirror>>,
                          context: Arc<Context>| {
        let volume = object.0.as_ref().ok().and_then(|mirror| mirror.spec.source.volume.as_ref());
        volumes.watch(&kube::ResourceExt::name_any(&*object), volume.map(|volume| Path::new(&volume.path)));
        Box::pin(mirror::reconcile(object, context))
    };
    let passes = controller::applier(reconcile, mirror::on_error, context, store, Box::pin(queue), config);
    // How each ended is logged and counted where it ended.
    passes.for_each(|_| std::future::ready(())).await;
}

/// What was asked for within a moment, each once. The runtime's own debounce waits for silence, and whoever may write a ConfigMap can see to it that there is
/// none.
async fn gather(
    mut queued: mpsc::UnboundedReceiver<watch::Asked>,
) -> Option<(HashSet<watch::Asked>, mpsc::UnboundedReceiver<watch::Asked>)> {
    let mut asked = HashSet::from([queued.recv().await?]);
    tokio::time::sleep(GATHER).await;
    while let Ok(more) = queued.try_recv() {
        asked.insert(more);
    }
    Some((asked, queued))
}

/// Says that leadership began, and asks for a first pass over everything.
async fn announce(leadership: Leadership, triggers: Triggers, metrics: Arc<Metrics>, lease: String) {
    let mut leading = leadership.watch();
    loop {
        let leads = *leading.borrow_and_update();
        metrics.leads(&lease, leads);
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
