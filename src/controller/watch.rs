//! Watches, and what each thing that changes asks to be looked at again.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use holdfast_core::api::{
    BundleCoverageReport, SigningIdentityPolicy, TrustApproval, TrustBreakGlass, TrustRootMirror,
};
use holdfast_core::engines::object::TRUST_ROOT;
use holdfast_core::operate::mirror::distribution;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use super::context::Caches;
use super::queue::Queue;
use super::store::{self, Remembers};
use crate::serve::{Handle, Readiness};

/// Asks for passes.
#[derive(Clone)]
pub(crate) struct Triggers {
    mirrors: Queue<TrustRootMirror>,
    reports: Queue<BundleCoverageReport>,
    break_glasses: Queue<TrustBreakGlass>,
    remembered: Arc<Remembered>,
    noticed: Arc<Noticed>,
}

type Noticed = dyn Fn(&str, Notice) + Send + Sync;
/// Told of what is remembered of a policy, and whether it is there; of everything, where nobody knows what was missed.
type Remembered = dyn Fn(Option<&str>, Option<&ObjectMeta>, bool) + Send + Sync;

/// What was noticed of an object, besides that it has to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notice {
    /// A mirror's source may have changed: read it now.
    Source,
    /// A mirror is gone.
    MirrorGone,
    /// All mirrors were listed anew: of one that went while nobody watched, nothing else tells.
    MirrorsListed,
    /// A report is gone.
    ReportGone,
    /// All reports were listed anew.
    ReportsListed,
    /// Something changed that policies hang on.
    Policies,
    /// A break-glass is gone.
    BreakGlassGone,
}

impl Triggers {
    /// `noticed` is told what a pass has to know.
    pub(crate) fn new(
        mirrors: Queue<TrustRootMirror>,
        reports: Queue<BundleCoverageReport>,
        break_glasses: Queue<TrustBreakGlass>,
        remembered: impl Fn(Option<&str>, Option<&ObjectMeta>, bool) + Send + Sync + 'static,
        noticed: impl Fn(&str, Notice) + Send + Sync + 'static,
    ) -> Self {
        Self { mirrors, reports, break_glasses, remembered: Arc::new(remembered), noticed: Arc::new(noticed) }
    }

    /// Asks for a pass over everything.
    pub(crate) fn all(&self) {
        self.mirrors.all();
        self.reports.all();
        self.break_glasses.all();
        self.policies();
    }

    /// Somebody approved, or took that back.
    fn approval(&self, approval: &TrustApproval) {
        let of = &approval.spec.r#for;
        match of.kind.as_str() {
            "TrustBreakGlass" => self.break_glasses.one(&of.name),
            _ => self.mirrors.one(&of.name),
        }
    }

    /// A break-glass, or what is said of it, is another: whoever it is about asks what is in force.
    fn break_glass(&self, glass: &DeserializeGuard<TrustBreakGlass>) {
        self.break_glasses.one(&glass.name_any());
        match glass.0.as_ref().ok().map(|glass| glass.spec.loosen.trust_root()) {
            Some(Some(mirror)) => self.mirrors.one(mirror),
            // One of which that is not known may be about any.
            Some(None) | None => self.mirrors.all(),
        }
    }

    /// Something changed that policies hang on.
    fn policies(&self) {
        (self.noticed)("", Notice::Policies);
    }

    /// The source of one mirror changed.
    pub(crate) fn source(&self, name: &str) {
        (self.noticed)(name, Notice::Source);
        self.mirrors.one(name);
    }
}

/// A watch, until it ends.
type Task = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// The stores, still empty, and what fills them.
pub(crate) struct Watches {
    client: Client,
    mirrors: reflector::store::Writer<DeserializeGuard<TrustRootMirror>>,
    approvals: reflector::store::Writer<DeserializeGuard<TrustApproval>>,
    break_glasses: reflector::store::Writer<DeserializeGuard<TrustBreakGlass>>,
    policies: reflector::store::Writer<DeserializeGuard<SigningIdentityPolicy>>,
    reports: reflector::store::Writer<DeserializeGuard<BundleCoverageReport>>,
    namespaces: reflector::store::Writer<PartialObjectMeta<Namespace>>,
    distributed: Vec<(String, reflector::store::Writer<ConfigMap>)>,
}

impl Watches {
    /// Empty stores and what will fill them.
    pub(crate) fn new(client: Client, distribution_names: &[String]) -> (Self, Caches) {
        let (mirrors, mirrors_to) = reflector::store();
        let (approvals, approvals_to) = reflector::store();
        let (break_glasses, break_glasses_to) = reflector::store();
        let (policies, policies_to) = reflector::store();
        let (reports, reports_to) = reflector::store();
        let (namespaces, namespaces_to) = reflector::store();
        let names: BTreeSet<&String> = distribution_names.iter().collect();
        let (distributed, distributed_to) = names
            .into_iter()
            .map(|name| {
                let (store, writer) = reflector::store();
                (store, (name.clone(), writer))
            })
            .unzip();
        let caches = Caches { mirrors, approvals, break_glasses, policies, reports, namespaces, distributed };
        let watches = Self {
            client,
            mirrors: mirrors_to,
            approvals: approvals_to,
            break_glasses: break_glasses_to,
            policies: policies_to,
            reports: reports_to,
            namespaces: namespaces_to,
            distributed: distributed_to,
        };
        (watches, caches)
    }

    /// Starts every watch; they end with `stop`.
    pub(crate) fn start(
        self,
        own: &str,
        sources: &[String],
        triggers: &Triggers,
        ready: &Readiness,
        stop: &CancellationToken,
    ) -> Vec<tokio::task::JoinHandle<()>> {
        let client = &self.client;
        let mut tasks = Vec::new();
        let mut start = |task: Task| {
            let stop = stop.clone();
            tasks.push(tokio::spawn(async move {
                tokio::select! { () = stop.cancelled() => {} () = task => {} }
            }));
        };
        let t = triggers.clone();
        start(Box::pin(cached(
            Api::all(client.clone()),
            watcher::Config::default(),
            self.mirrors,
            ready.gate("mirrors"),
            keep,
            move |event| match event {
                Event::Apply(mirror) => t.mirrors.one(&mirror.name_any()),
                Event::Delete(mirror) => (t.noticed)(&mirror.name_any(), Notice::MirrorGone),
                // What is listed is in the store only now.
                Event::InitDone => {
                    (t.noticed)("", Notice::MirrorsListed);
                    t.mirrors.all();
                }
                Event::Init | Event::InitApply(_) => {}
            },
        )));
        for task in of_people(client, (self.approvals, self.break_glasses), triggers, ready) {
            start(task);
        }
        for task in of_scans(client, (self.policies, self.reports), triggers, ready) {
            start(task);
        }
        let t = triggers.clone();
        let namespaces: Api<PartialObjectMeta<Namespace>> = Api::all(client.clone());
        start(Box::pin(cached(
            namespaces,
            watcher::Config::default(),
            self.namespaces,
            ready.gate("namespaces"),
            |namespace| namespace.metadata.managed_fields = None,
            move |event| {
                if matches!(event, Event::Apply(_) | Event::Delete(_)) {
                    t.mirrors
                        .of(|mirror| mirror.spec.distribution.config_maps.is_some())
                        .iter()
                        .for_each(|name| t.mirrors.one(name));
                    // Policies and reports choose namespaces by their labels.
                    t.reports.all();
                    t.policies();
                }
            },
        )));
        for (name, writer) in self.distributed {
            let t = triggers.clone();
            // Named, so that RBAC can be: nothing else is asked for.
            let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
            start(Box::pin(cached(
                Api::all(client.clone()),
                config,
                writer,
                ready.gate("distributed trust"),
                digest_alone,
                move |event| match event {
                    Event::Apply(object) | Event::Delete(object) => match object.labels().get(TRUST_ROOT) {
                        Some(mirror) => t.mirrors.one(mirror),
                        // One that is not holdfast's may stand in the way of any mirror.
                        None => t.mirrors.all(),
                    },
                    Event::InitDone => t.mirrors.all(),
                    Event::Init | Event::InitApply(_) => {}
                },
            )));
        }
        for task in of_sources(client, own, sources, triggers, ready) {
            start(task);
        }
        tasks
    }
}

/// What people agreed to.
fn of_people(
    client: &Client,
    (approvals, break_glasses): (
        reflector::store::Writer<DeserializeGuard<TrustApproval>>,
        reflector::store::Writer<DeserializeGuard<TrustBreakGlass>>,
    ),
    triggers: &Triggers,
    ready: &Readiness,
) -> [Task; 2] {
    let t = triggers.clone();
    let of_approvals: Task = Box::pin(cached(
        Api::all(client.clone()),
        watcher::Config::default(),
        approvals,
        ready.gate("approvals"),
        keep,
        move |event| {
            if let Event::Apply(DeserializeGuard(Ok(approval))) | Event::Delete(DeserializeGuard(Ok(approval))) = event
            {
                t.approval(approval);
                t.policies();
            }
        },
    ));
    let t = triggers.clone();
    let of_break_glasses: Task = Box::pin(cached(
        Api::all(client.clone()),
        watcher::Config::default(),
        break_glasses,
        ready.gate("break-glasses"),
        keep,
        move |event| match event {
            Event::Apply(glass) => {
                t.break_glass(glass);
                t.policies();
            }
            Event::Delete(glass) => {
                (t.noticed)(&glass.name_any(), Notice::BreakGlassGone);
                t.break_glass(glass);
                t.policies();
            }
            // What was closed while nobody watched is not told of.
            Event::InitDone => {
                t.break_glasses.all();
                t.mirrors.all();
                t.policies();
            }
            Event::Init | Event::InitApply(_) => {}
        },
    ));
    [of_approvals, of_break_glasses]
}

/// What is judged by, and what is asked for.
fn of_scans(
    client: &Client,
    (policies, reports): (
        reflector::store::Writer<DeserializeGuard<SigningIdentityPolicy>>,
        reflector::store::Writer<DeserializeGuard<BundleCoverageReport>>,
    ),
    triggers: &Triggers,
    ready: &Readiness,
) -> [Task; 2] {
    let t = triggers.clone();
    let of_policies: Task = Box::pin(cached(
        Api::all(client.clone()),
        watcher::Config::default(),
        policies,
        ready.gate("policies"),
        keep,
        move |event| {
            if matches!(event, Event::Apply(_) | Event::Delete(_)) {
                t.policies();
                t.reports.all();
            }
        },
    ));
    let t = triggers.clone();
    let of_reports: Task = Box::pin(cached(
        Api::all(client.clone()),
        watcher::Config::default(),
        reports,
        ready.gate("reports"),
        keep,
        move |event| match event {
            Event::Apply(report) => t.reports.one(&report.name_any()),
            Event::Delete(report) => (t.noticed)(&report.name_any(), Notice::ReportGone),
            Event::InitDone => {
                (t.noticed)("", Notice::ReportsListed);
                t.reports.all();
            }
            Event::Init | Event::InitApply(_) => {}
        },
    ));
    [of_policies, of_reports]
}

/// ConfigMaps that mirrors read.
fn of_sources(client: &Client, own: &str, sources: &[String], triggers: &Triggers, ready: &Readiness) -> Vec<Task> {
    let namespaces: BTreeSet<&str> = sources.iter().map(String::as_str).chain([own]).collect();
    let tasks = namespaces.into_iter().map(|namespace| {
        let t = triggers.clone();
        let of = namespace.to_owned();
        let api: Api<PartialObjectMeta<ConfigMap>> = Api::namespaced(client.clone(), namespace);
        let task: Task = Box::pin(seen(api, ready.gate("source ConfigMaps"), move |event| {
            if matches!(event, Event::InitDone) {
                (t.remembered)(None, None, true);
            }
            let (Event::Apply(object) | Event::Delete(object)) = event else { return };
            let is_there = matches!(event, Event::Apply(_));
            match store::remembers(&object.metadata) {
                Some(Remembers::Mirror(mirror)) => t.mirrors.one(mirror),
                Some(Remembers::Policy(Some(policy))) => (t.remembered)(Some(policy), Some(&object.metadata), is_there),
                Some(Remembers::Policy(None)) => {}
                None => {
                    t.mirrors
                        .of(|mirror| reads(mirror, &of, &object.name_any()))
                        .iter()
                        .for_each(|name| t.source(name));
                }
            }
        }));
        task
    });
    tasks.collect()
}

fn keep<K>(_: &mut K) {}

/// Of a text that may be long, what tells whether it is the right one.
fn digest_alone(object: &mut ConfigMap) {
    object.metadata.managed_fields = None;
    object.binary_data = None;
    let text = object.data.take().and_then(|mut data| data.remove(distribution::KEY));
    object.data = text
        .map(|text| [(distribution::KEY.to_owned(), holdfast_core::Digest::of(text.as_bytes()).to_string())].into());
}

/// Whether a mirror reads this ConfigMap.
fn reads(mirror: &TrustRootMirror, namespace: &str, name: &str) -> bool {
    let (spec, source) = (&mirror.spec, &mirror.spec.source);
    let of_source = [
        source.config_map.as_ref(),
        source.trusted_root.as_ref().map(|bare| &bare.config_map),
        spec.bootstrap.as_ref().map(|bootstrap| &bootstrap.config_map),
    ];
    let bundles = [
        source.oci.as_ref().and_then(|oci| oci.ca_bundle_ref.as_ref()),
        source.http.as_ref().and_then(|http| http.ca_bundle_ref.as_ref()),
    ];
    of_source.into_iter().flatten().any(|reference| reference.namespace == namespace && reference.name == name)
        || bundles.into_iter().flatten().any(|bundle| bundle.name == name)
}

/// From a fifth of a second up to five seconds: an API server that is back is not waited for.
#[derive(Debug, Clone, Default)]
pub(super) struct Growing(u32);

impl Iterator for Growing {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let wait = Duration::from_millis(200).saturating_mul(1 << self.0.min(5)).min(Duration::from_secs(5));
        self.0 = self.0.saturating_add(1);
        Some(super::jitter(wait))
    }
}

impl Backoff for Growing {
    fn reset(&mut self) {
        self.0 = 0;
    }
}

/// Fills a store, and tells of each event after it is in the store.
async fn cached<K>(
    api: Api<K>,
    config: watcher::Config,
    writer: reflector::store::Writer<K>,
    ready: Handle,
    prune: fn(&mut K),
    tell: impl Fn(&Event<K>) + Send,
) where
    K: Resource<DynamicType: Eq + Hash + Clone + Default> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let stream = watcher(api, config).modify(prune).backoff(Growing::default()).reflect(writer);
    follow::<K>(stream, &ready, tell).await;
}

/// Tells of each event, and keeps nothing.
async fn seen(
    api: Api<PartialObjectMeta<ConfigMap>>,
    ready: Handle,
    tell: impl Fn(&Event<PartialObjectMeta<ConfigMap>>) + Send,
) {
    let stream = watcher(api, watcher::Config::default()).backoff(Growing::default());
    follow(stream, &ready, tell).await;
}

async fn follow<K: Resource>(
    stream: impl futures_util::Stream<Item = watcher::Result<Event<K>>>,
    ready: &Handle,
    tell: impl Fn(&Event<K>),
) where
    K::DynamicType: Default,
{
    let kind = K::kind(&K::DynamicType::default()).into_owned();
    let mut stream = std::pin::pin!(stream);
    while let Some(event) = stream.next().await {
        match event {
            Ok(event) => {
                tell(&event);
                if matches!(event, Event::InitDone) {
                    ready.set(true);
                }
            }
            Err(error) => {
                // What was seen stays known; a watch that cannot begin, as where the kind is gone, shows in readiness.
                ready.set(!matches!(error, watcher::Error::InitialListFailed(_)));
                tracing::warn!(kind, %error, "a watch failed; it is begun again");
            }
        }
    }
}
