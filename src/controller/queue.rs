//! Who asks for passes, and who makes them.

use std::collections::HashSet;
use std::fmt::Debug;
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use kube::core::DeserializeGuard;
use kube::runtime::controller::{self, Action, Config};
use kube::runtime::reflector::{Lookup, ObjectRef, Store};
use kube::{Resource, ResourceExt};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;

use super::context::Context;
use super::failure::Failed;

/// How long what is asked for is gathered before it is handed on. Counted from the first that asks: whoever goes on asking puts nothing off.
const GATHER: Duration = Duration::from_millis(20);

/// An object that is to be looked at.
pub(crate) type Asked<K> = ObjectRef<DeserializeGuard<K>>;
/// Who waits for what is asked.
pub(crate) type Queued<K> = UnboundedReceiver<Asked<K>>;

/// Asks for passes over objects of a kind.
pub(crate) struct Queue<K>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    sender: UnboundedSender<Asked<K>>,
    objects: Store<DeserializeGuard<K>>,
}

impl<K: Resource<DynamicType = ()> + Clone + 'static> Clone for Queue<K> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), objects: self.objects.clone() }
    }
}

impl<K: Resource<DynamicType = ()> + Clone + 'static> Queue<K> {
    /// A queue for the objects in this cache.
    pub(crate) fn new(objects: Store<DeserializeGuard<K>>) -> (Self, Queued<K>) {
        let (sender, queued) = unbounded_channel();
        (Self { sender, objects }, queued)
    }

    /// Asks for a pass over one.
    pub(crate) fn one(&self, name: &str) {
        // Nobody takes it any more once the operator stops.
        let _ = self.sender.send(ObjectRef::new(name));
    }

    /// Asks for a pass over every one.
    pub(crate) fn all(&self) {
        for object in self.objects.state() {
            self.one(&object.name_any());
        }
    }

    /// Those of which `is` holds.
    pub(crate) fn of(&self, is: impl Fn(&K) -> bool) -> Vec<String> {
        let objects = self.objects.state();
        let those = objects.iter().filter(|object| object.0.as_ref().is_ok_and(&is));
        those.map(|object| object.name_any()).collect()
    }
}

/// Makes passes as they are asked for and as they are due, until `stop`.
pub(crate) async fn passes<K, F, R>(
    context: Arc<Context>,
    objects: Store<DeserializeGuard<K>>,
    queued: Queued<K>,
    at_once: u16,
    reconcile: R,
    on_error: impl Fn(Arc<DeserializeGuard<K>>, &Failed, Arc<Context>) -> Action,
    stop: CancellationToken,
) where
    K: Resource<DynamicType = ()> + Lookup<DynamicType = ()> + Clone + Debug + Send + Sync + 'static,
    R: FnMut(Arc<DeserializeGuard<K>>, Arc<Context>) -> F,
    F: Future<Output = Result<Action, Failed>> + Unpin,
    Asked<K>: Hash + Eq,
{
    let queue = futures_util::stream::unfold(queued, gather).flat_map(futures_util::stream::iter);
    let queue = queue.map(Ok::<_, std::convert::Infallible>).take_until(stop.cancelled_owned());
    let config = Config::default().concurrency(at_once);
    let passes = controller::applier(reconcile, on_error, context, objects, Box::pin(queue), config);
    // How each ended is logged and counted where it ended.
    passes.for_each(|_| std::future::ready(())).await;
}

/// What was asked for within a moment, each once. The runtime's own debounce waits for silence, and whoever may write a ConfigMap can see to it that there is
/// none.
async fn gather<T: Hash + Eq>(mut queued: UnboundedReceiver<T>) -> Option<(HashSet<T>, UnboundedReceiver<T>)> {
    let mut asked = HashSet::from([queued.recv().await?]);
    tokio::time::sleep(GATHER).await;
    while let Ok(more) = queued.try_recv() {
        asked.insert(more);
    }
    Some((asked, queued))
}
