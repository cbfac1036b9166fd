//! What every pass shares.

use std::collections::HashMap;
use std::sync::Arc;

use holdfast_core::Digest;
use holdfast_core::api::{
    BundleCoverageReport, SigningIdentityPolicy, TrustApproval, TrustBreakGlass, TrustRootMirror,
};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ObjectReference};
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::runtime::reflector::store::WriterDropped;
use kube::runtime::reflector::{ObjectRef, Store as Cache};
use kube::{Client, Resource};
use parking_lot::Mutex;

use super::break_glass;
use super::candidates::Candidates;
use super::coverage::{FormsInForce, Scanning};
use super::engines::Engines;
use super::failure::Failed;
use super::guards::Guards;
use super::lease::Leadership;
use super::malformed;
use super::mirror::Known;
use super::policy::Policies;
use super::queue::Queue;
use super::secrets::Reader;
use super::settings::Settings;
use super::store::Store;
use super::subjects::Lookout;
use super::trusts::Trusts;
use super::vouched::Vouched;
use crate::serve::metrics::{Metrics, OpenBreakGlass};

/// What is watched, as it was last seen.
#[derive(Clone)]
pub(crate) struct Caches {
    /// The mirrors.
    pub(crate) mirrors: Cache<DeserializeGuard<TrustRootMirror>>,
    /// The approvals.
    pub(crate) approvals: Cache<DeserializeGuard<TrustApproval>>,
    /// The break-glasses.
    pub(crate) break_glasses: Cache<DeserializeGuard<TrustBreakGlass>>,
    /// The policies.
    pub(crate) policies: Cache<DeserializeGuard<SigningIdentityPolicy>>,
    /// The reports.
    pub(crate) reports: Cache<DeserializeGuard<BundleCoverageReport>>,
    /// The namespaces; metadata alone.
    pub(crate) namespaces: Cache<PartialObjectMeta<Namespace>>,
    /// The ConfigMaps that trust is distributed as; of their texts the digests alone.
    pub(crate) distributed: Vec<Cache<ConfigMap>>,
}

impl Caches {
    /// Waits until all that is watched was seen once.
    pub(crate) async fn wait_until_ready(&self) -> Result<(), WriterDropped> {
        self.mirrors.wait_until_ready().await?;
        self.approvals.wait_until_ready().await?;
        self.break_glasses.wait_until_ready().await?;
        self.policies.wait_until_ready().await?;
        self.reports.wait_until_ready().await?;
        self.namespaces.wait_until_ready().await?;
        for distributed in &self.distributed {
            distributed.wait_until_ready().await?;
        }
        Ok(())
    }

    /// The break-glasses that loosen something, or may yet.
    pub(crate) fn open_break_glasses(&self) -> Vec<OpenBreakGlass> {
        let all = self.break_glasses.state();
        let readable = all.iter().filter_map(|glass| glass.0.as_ref().ok());
        readable.filter_map(OpenBreakGlass::of).collect()
    }

    /// How many objects of each kind cannot be read.
    pub(crate) fn malformed(&self) -> Vec<(&'static str, usize)> {
        fn count<K: Clone + Resource<DynamicType = ()> + 'static>(of: &Cache<DeserializeGuard<K>>) -> usize {
            of.state().iter().filter(|object| object.0.is_err()).count()
        }
        vec![
            ("TrustRootMirror", count(&self.mirrors)),
            ("TrustApproval", count(&self.approvals)),
            ("TrustBreakGlass", count(&self.break_glasses)),
            ("SigningIdentityPolicy", count(&self.policies)),
            ("BundleCoverageReport", count(&self.reports)),
        ]
    }
}

/// What every pass shares.
pub(crate) struct Context {
    /// The API server.
    pub(crate) client: Client,
    /// What the operator was told.
    pub(crate) settings: Settings,
    /// Holdfast's own namespace.
    pub(crate) namespace: String,
    /// What is watched.
    pub(crate) caches: Caches,
    /// What is remembered.
    pub(crate) store: Store,
    /// What stands behind approvals.
    pub(crate) guards: Guards,
    /// Whether this replica may write.
    pub(crate) leadership: Leadership,
    /// What is measured.
    pub(crate) metrics: Arc<Metrics>,
    /// What this process knows of each mirror.
    pub(crate) known: Mutex<HashMap<String, Known>>,
    /// What this process knows of each break-glass.
    pub(crate) break_glasses: break_glass::Known,
    /// Writes events.
    pub(crate) recorder: Recorder,
    /// Of which generation of which object it was said that it cannot be read.
    pub(crate) told: Mutex<HashMap<(&'static str, String), malformed::Form>>,
    /// The trust in force.
    pub(crate) trusts: Trusts,
    /// The trust that waits for approval.
    pub(crate) candidates: Candidates,
    /// What scans say has passed.
    pub(crate) vouched: Vouched,
    /// Who asks for passes over mirrors.
    pub(crate) mirrors: Queue<TrustRootMirror>,
    /// Which engines are there.
    pub(crate) engines: Engines,
    /// Who could get round what is enforced.
    pub(crate) subjects: Lookout,
    /// What runs, and what was found out about it.
    pub(crate) scanning: Scanning,
    /// The forms of policies that are in force.
    pub(crate) forms: FormsInForce,
    /// What is known of policies.
    pub(crate) policies: Policies,
}

impl Context {
    /// Refuses to go on where this replica no longer leads.
    ///
    /// # Errors
    /// [`Failed::NotLeading`].
    pub(crate) fn may_write(&self) -> Result<(), Failed> {
        if self.leadership.holds() { Ok(()) } else { Err(Failed::NotLeading) }
    }

    /// Whether a mirror is still declared, and is the same object.
    pub(crate) fn is_there(&self, mirror: &TrustRootMirror) -> bool {
        let there = self.caches.mirrors.get(&ObjectRef::new(mirror.metadata.name.as_deref().unwrap_or_default()));
        there.is_some_and(|there| there.meta().uid == mirror.metadata.uid)
    }

    /// Who reads Secrets and CA bundles.
    pub(crate) fn reader(&self) -> Reader {
        Reader { client: self.client.clone(), own: self.namespace.clone() }
    }

    /// Writes an event. One that is lost fails nothing.
    pub(crate) async fn event(&self, about: &ObjectReference, warns: bool, reason: &str, note: &str) {
        // The recorder folds events that differ in nothing but the note into the first one, whose note stays: another note is another action.
        let said = Digest::of(note.as_bytes()).hex();
        let event = Event {
            type_: if warns { EventType::Warning } else { EventType::Normal },
            reason: reason.to_owned(),
            note: Some(note.to_owned()),
            action: format!("Reconcile-{}", said.get(..8).unwrap_or_default()),
            secondary: None,
        };
        let published = tokio::time::timeout(std::time::Duration::from_secs(5), self.recorder.publish(&event, about));
        match published.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, reason, "an event was not written"),
            Err(_) => tracing::warn!(reason, "an event was not written in time"),
        }
    }
}

/// A recorder in the name of this replica.
pub(crate) fn recorder(client: Client, identity: &str) -> Recorder {
    let reporter = Reporter { controller: super::MANAGER.to_owned(), instance: Some(identity.to_owned()) };
    Recorder::new(client, reporter)
}
