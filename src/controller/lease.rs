//! Leader election on a `coordination.k8s.io/v1` Lease.
//!
//! Every write carries the resource version that was read, so of two replicas that find the lease free the API server lets one through. Expiry is judged by
//! how long *this* replica has seen the lease unchanged, on its own monotonic clock: clocks that disagree between nodes cannot elect two leaders.
//!
//! A leader that was frozen may believe in its leadership for as long as it takes to look at the clock. So leadership has an end of its own
//! ([`Leadership::holds`]), which is looked at before every write, and every write carries the version it was decided on.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client, ResourceExt};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock;

/// What a replica has to know of the lease.
#[derive(Debug, Clone)]
pub(crate) struct LeaseSettings {
    /// Its namespace.
    pub(crate) namespace: String,
    /// Its name.
    pub(crate) name: String,
    /// What tells this replica from others.
    pub(crate) identity: String,
    /// How long a leader that no longer renews is waited for.
    pub(crate) duration: Duration,
}

impl LeaseSettings {
    /// How long a leader goes on without a renewal: less than others wait for it.
    fn renew_deadline(&self) -> Duration {
        self.duration * 2 / 3
    }

    fn retry_period(&self) -> Duration {
        self.duration / 8
    }
}

/// Whether this replica leads, and until when if nothing renews that.
#[derive(Debug, Clone)]
pub(crate) struct Leadership {
    until: Arc<Mutex<Option<Instant>>>,
    leading: watch::Sender<bool>,
}

impl Default for Leadership {
    fn default() -> Self {
        Self { until: Arc::default(), leading: watch::Sender::new(false) }
    }
}

impl Leadership {
    /// Leadership that nobody contends, for a single replica.
    pub(crate) fn uncontended() -> Self {
        let leadership = Self::default();
        leadership.extend(None);
        leadership
    }

    /// Whether this replica may write at this instant.
    pub(crate) fn holds(&self) -> bool {
        *self.leading.borrow() && self.until.lock().is_none_or(|until| Instant::now() < until)
    }

    /// Says when leadership begins and ends.
    pub(crate) fn watch(&self) -> watch::Receiver<bool> {
        self.leading.subscribe()
    }

    fn extend(&self, until: Option<Instant>) {
        *self.until.lock() = until;
        self.leading.send_if_modified(|leading| !std::mem::replace(leading, true));
    }

    fn end(&self) {
        self.leading.send_if_modified(|leading| std::mem::replace(leading, false));
    }
}

/// What another replica last wrote, and when this one first saw it.
type Seen = Option<(Option<String>, Instant)>;

/// Holds or awaits the lease until `stop`, then gives it up. Ends early once leadership was lost: whoever lost it may have writes under way, and the process
/// should end.
pub(crate) async fn run(client: Client, settings: LeaseSettings, leadership: Leadership, stop: CancellationToken) {
    let api: Api<Lease> = Api::namespaced(client, &settings.namespace);
    let mut seen: Seen = None;
    let mut leads_until: Option<Instant> = None;
    loop {
        let asked = Instant::now();
        let attempt = tokio::time::timeout(settings.renew_deadline() / 2, hold(&api, &settings, &mut seen));
        let result = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            result = attempt => result,
        };
        match result {
            // From when it was asked: the answer may have been long on its way.
            Ok(Ok(true)) => leads_until = Some(asked + settings.renew_deadline()),
            Ok(Ok(false)) if leads_until.is_some() => {
                tracing::error!(lease = settings.name, "another replica took the lease");
                break;
            }
            Ok(Ok(false)) => {}
            Ok(Err(error)) => tracing::warn!(lease = settings.name, %error, "the lease cannot be renewed or read"),
            Err(_) => tracing::warn!(lease = settings.name, "the API server does not answer about the lease"),
        }
        match leads_until {
            Some(until) if Instant::now() < until => leadership.extend(leads_until),
            Some(_) => {
                tracing::error!(lease = settings.name, "the lease was not renewed in time");
                break;
            }
            None => {}
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(settings.retry_period()) => {}
        }
    }
    leadership.end();
    if stop.is_cancelled() && leads_until.is_some() {
        // A successor need not then wait for the lease to run out; where this fails, it does.
        let _ = tokio::time::timeout(Duration::from_secs(2), release(&api, &settings)).await;
    }
}

async fn hold(api: &Api<Lease>, settings: &LeaseSettings, seen: &mut Seen) -> kube::Result<bool> {
    let now = MicroTime(clock::now());
    let Some(mut lease) = api.get_opt(&settings.name).await? else {
        let fresh = Lease {
            metadata: ObjectMeta { name: Some(settings.name.clone()), ..ObjectMeta::default() },
            spec: Some(spec(settings, &now, &now, 0)),
        };
        return won(api.create(&PostParams::default(), &fresh).await);
    };
    let held = lease.spec.take().unwrap_or_default();
    let holder = held.holder_identity.clone().unwrap_or_default();
    let version = lease.resource_version();
    if seen.as_ref().is_none_or(|(known, _)| *known != version) {
        *seen = Some((version, Instant::now()));
    }
    let ours = holder == settings.identity;
    let unchanged_for = seen.as_ref().map_or(Duration::ZERO, |(_, since)| since.elapsed());
    let theirs = Duration::from_secs(held.lease_duration_seconds.unwrap_or(0).max(0).unsigned_abs().into());
    if !ours && !holder.is_empty() && unchanged_for < theirs {
        return Ok(false);
    }
    let transitions = held.lease_transitions.unwrap_or(0).saturating_add(i32::from(!ours));
    let acquired = held.acquire_time.filter(|_| ours).unwrap_or_else(|| now.clone());
    lease.spec = Some(spec(settings, &acquired, &now, transitions));
    won(api.replace(&settings.name, &PostParams::default(), &lease).await)
}

async fn release(api: &Api<Lease>, settings: &LeaseSettings) -> kube::Result<()> {
    let mut lease = api.get(&settings.name).await?;
    if let Some(spec) = &mut lease.spec
        && spec.holder_identity.as_ref() == Some(&settings.identity)
    {
        spec.holder_identity = None;
        api.replace(&settings.name, &PostParams::default(), &lease).await?;
    }
    Ok(())
}

fn won(result: kube::Result<Lease>) -> kube::Result<bool> {
    match result {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => Ok(false),
        Err(error) => Err(error),
    }
}

fn spec(settings: &LeaseSettings, acquired: &MicroTime, now: &MicroTime, transitions: i32) -> LeaseSpec {
    LeaseSpec {
        holder_identity: Some(settings.identity.clone()),
        lease_duration_seconds: Some(i32::try_from(settings.duration.as_secs()).unwrap_or(i32::MAX)),
        acquire_time: Some(acquired.clone()),
        renew_time: Some(now.clone()),
        lease_transitions: Some(transitions),
        ..LeaseSpec::default()
    }
}
