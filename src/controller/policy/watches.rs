//! Watches of the native engine's objects: what somebody changes or takes away is put back.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::StreamExt;
use kube::api::DynamicObject;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, ResourceExt};
use parking_lot::Mutex;
use tokio::sync::watch::{Receiver, channel};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::super::context::Context;
use super::super::watch::Growing;
use super::live::{Kind, selector};
use crate::serve::Readiness;

/// Starts the watches; they end with `stop`. The receiver turns once all that is there was seen.
pub(crate) fn watch(
    context: &Arc<Context>,
    ready: &Readiness,
    stop: &CancellationToken,
) -> (Vec<JoinHandle<()>>, Receiver<bool>) {
    let (all, seen) = channel(false);
    let waits_for = Arc::new(Mutex::new(BTreeSet::from(Kind::ALL)));
    let tasks = Kind::ALL.into_iter().map(|kind| {
        let (context, stop, ready) = (context.clone(), stop.clone(), ready.gate(kind.name()));
        let (all, waits_for) = (all.clone(), waits_for.clone());
        tokio::spawn(async move {
            let api: Api<DynamicObject> = Api::all_with(context.client.clone(), &kind.resource());
            let config = watcher::Config::default().labels(&selector()).page_size(kind.page());
            let mut stream = std::pin::pin!(watcher(api, config).backoff(Growing::default()));
            let mut listed = BTreeSet::new();
            loop {
                let event = tokio::select! { () = stop.cancelled() => return, event = stream.next() => event };
                match event {
                    None => return,
                    Some(Ok(event)) => {
                        let is_listed = matches!(event, Event::InitDone);
                        take(&context, kind, event, &mut listed);
                        if is_listed {
                            ready.set(true);
                            waits_for.lock().remove(&kind);
                            all.send_replace(waits_for.lock().is_empty());
                        }
                    }
                    Some(Err(error)) => {
                        ready.set(!matches!(error, watcher::Error::InitialListFailed(_)));
                        tracing::warn!(kind = kind.name(), %error, "a watch failed; it is begun again");
                    }
                }
            }
        })
    });
    (tasks.collect(), seen)
}

fn take(context: &Context, kind: Kind, event: Event<DynamicObject>, listed: &mut BTreeSet<String>) {
    let live = &context.policies.live;
    let is_news = match event {
        Event::Init => {
            listed.clear();
            false
        }
        Event::InitApply(object) => {
            listed.insert(object.name_any());
            live.note(kind, object)
        }
        Event::InitDone => {
            live.keep_only(kind, listed);
            true
        }
        Event::Apply(object) => live.note(kind, object),
        Event::Delete(object) => live.gone(kind, &object),
    };
    if is_news {
        context.policies.wake.ask();
    }
}
