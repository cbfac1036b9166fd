//! Watches, and what each thing that changes asks to be looked at again.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use holdfast_core::api::{TrustApproval, TrustBreakGlass, TrustRootMirror};
use holdfast_core::engines::object::TRUST_ROOT;
use holdfast_core::operate::mirror::distribution;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

use super::context::Caches;
use super::store;
use crate::serve::{Handle, Readiness};

/// A mirror that is to be looked at.
pub(crate) type Asked = ObjectRef<DeserializeGuard<TrustRootMirror>>;

/// Asks for passes.
#[derive(Clone)]
pub(crate) struct Triggers {
    queue: UnboundedSender<Asked>,
    mirrors: Store<DeserializeGuard<TrustRootMirror>>,
    noticed: Arc<Noticed>,
}

type Noticed = dyn Fn(&str, Notice) + Send + Sync;

/// What was noticed of a mirror, besides that it has to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notice {
    /// Its source may have changed: read it now.
    Source,
    /// It is gone.
    Gone,
}

impl Triggers {
    /// `noticed` is told what a pass has to know.
    pub(crate) fn new(
        queue: UnboundedSender<Asked>,
        mirrors: Store<DeserializeGuard<TrustRootMirror>>,
        noticed: impl Fn(&str, Notice) + Send + Sync + 'static,
    ) -> Self {
        Self { queue, mirrors, noticed: Arc::new(noticed) }
    }

    /// Asks for a pass over one mirror.
    pub(crate) fn one(&self, name: &str) {
        // Nobody takes it any more once the operator stops.
        let _ = self.queue.send(ObjectRef::new(name));
    }

    /// Asks for a pass over every mirror.
    pub(crate) fn all(&self) {
        for mirror in self.mirrors.state() {
            self.one(&mirror.name_any());
        }
    }

    /// The source of one mirror changed.
    pub(crate) fn source(&self, name: &str) {
        (self.noticed)(name, Notice::Source);
        self.one(name);
    }

    fn gone(&self, name: &str) {
        (self.noticed)(name, Notice::Gone);
    }

    /// The mirrors for which `reads` holds.
    fn reading(&self, reads: impl Fn(&TrustRootMirror) -> bool) -> Vec<String> {
        let mirrors = self.mirrors.state();
        let reading = mirrors.iter().filter(|mirror| mirror.0.as_ref().is_ok_and(&reads));
        reading.map(|mirror| mirror.name_any()).collect()
    }
}

/// The stores, still empty, and what fills them.
pub(crate) struct Watches {
    client: Client,
    mirrors: reflector::store::Writer<DeserializeGuard<TrustRootMirror>>,
    approvals: reflector::store::Writer<DeserializeGuard<TrustApproval>>,
    break_glasses: reflector::store::Writer<DeserializeGuard<TrustBreakGlass>>,
    namespaces: reflector::store::Writer<PartialObjectMeta<Namespace>>,
    distributed: Vec<(String, reflector::store::Writer<ConfigMap>)>,
}

impl Watches {
    /// Empty stores and what will fill them.
    pub(crate) fn new(client: Client, distribution_names: &[String]) -> (Self, Caches) {
        let (mirrors, mirrors_to) = reflector::store();
        let (approvals, approvals_to) = reflector::store();
        let (break_glasses, break_glasses_to) = reflector::store();
        let (namespaces, namespaces_to) = reflector::store();
        let names: BTreeSet<&String> = distribution_names.iter().collect();
        let (distributed, distributed_to) = names
            .into_iter()
            .map(|name| {
                let (store, writer) = reflector::store();
                (store, (name.clone(), writer))
            })
            .unzip();
        let caches = Caches { mirrors, approvals, break_glasses, namespaces, distributed };
        let watches = Self {
            client,
            mirrors: mirrors_to,
            approvals: approvals_to,
            break_glasses: break_glasses_to,
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
        let mut start = |task: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| {
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
                Event::Apply(mirror) | Event::InitApply(mirror) => t.one(&mirror.name_any()),
                Event::Delete(mirror) => t.gone(&mirror.name_any()),
                Event::Init | Event::InitDone => {}
            },
        )));
        let t = triggers.clone();
        start(Box::pin(cached(
            Api::all(client.clone()),
            watcher::Config::default(),
            self.approvals,
            ready.gate("approvals"),
            keep,
            move |event| {
                if let Event::Apply(DeserializeGuard(Ok(approval))) = event {
                    t.one(&approval.spec.r#for.name);
                }
            },
        )));
        let t = triggers.clone();
        start(Box::pin(cached(
            Api::all(client.clone()),
            watcher::Config::default(),
            self.break_glasses,
            ready.gate("break-glasses"),
            keep,
            move |event| {
                if matches!(event, Event::Apply(_) | Event::Delete(_)) {
                    t.all();
                }
            },
        )));
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
                    t.reading(|mirror| mirror.spec.distribution.config_maps.is_some())
                        .iter()
                        .for_each(|name| t.one(name));
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
                        Some(mirror) => t.one(mirror),
                        // One that is not holdfast's may stand in the way of any mirror.
                        None => t.all(),
                    },
                    Event::InitDone => t.all(),
                    Event::Init | Event::InitApply(_) => {}
                },
            )));
        }
        let namespaces: BTreeSet<&str> = sources.iter().map(String::as_str).chain([own]).collect();
        for namespace in namespaces {
            let t = triggers.clone();
            let of = namespace.to_owned();
            let api: Api<PartialObjectMeta<ConfigMap>> = Api::namespaced(client.clone(), namespace);
            start(Box::pin(seen(api, ready.gate("source ConfigMaps"), move |event| {
                let (Event::Apply(object) | Event::Delete(object)) = event else { return };
                match store::remembers(&object.metadata) {
                    Some(mirror) => t.one(mirror),
                    None => t
                        .reading(|mirror| reads(mirror, &of, &object.name_any()))
                        .iter()
                        .for_each(|name| t.source(name)),
                }
            })));
        }
        tasks
    }
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
struct Growing(u32);

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
