//! Watches of what runs, and of what would: they feed the index, which asks for a pass where something new came.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use kube::api::WatchParams;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::context::Context;
use super::watch::Growing;
use crate::inventory::live::{Kind, SlimPod, SlimTemplate};

/// Pods that have ended bring in nothing any more; they leave the watch as if they were deleted.
const NOT_ENDED: &str = "status.phase!=Succeeded,status.phase!=Failed";
/// Objects a page, where a list comes in pages.
const PAGE: u32 = 250;
/// How long nothing is heard of a watch that failed until it counts as going on: one that fails again says so sooner.
const QUIET: Duration = Duration::from_secs(30);
/// How often it is looked whether something new came: however much comes and goes, passes are no more frequent.
const TICK: Duration = Duration::from_secs(1);

/// Starts the watches; they end with `stop`.
pub(crate) fn start(context: &Arc<Context>, stop: &CancellationToken) -> Vec<JoinHandle<()>> {
    let mut tasks = Vec::new();
    let mut start = |task: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| {
        let stop = stop.clone();
        tasks.push(tokio::spawn(async move {
            tokio::select! { () = stop.cancelled() => {} () = task => {} }
        }));
    };
    let of = context.clone();
    start(Box::pin(async move {
        let config = listing(&of.client).await.fields(NOT_ENDED);
        let stream = watcher(Api::<SlimPod>::all(of.client.clone()), config)
            .modify(|pod| kube::ResourceExt::managed_fields_mut(pod).clear())
            .backoff(Growing::default());
        follow(&of, None, stream, |event| of.scanning.live.write().pod(event)).await;
    }));
    for kind in Kind::ALL {
        let of = context.clone();
        start(Box::pin(async move {
            let config = listing(&of.client).await;
            let api = Api::<SlimTemplate>::all_with(of.client.clone(), &kind.resource());
            let stream = watcher(api, config)
                .modify(|template| kube::ResourceExt::managed_fields_mut(template).clear())
                .backoff(Growing::default());
            follow(&of, Some(kind), stream, |event| of.scanning.live.write().template(kind, event)).await;
        }));
    }
    let of = context.clone();
    start(Box::pin(async move {
        let mut seen = 0;
        loop {
            tokio::time::sleep(TICK).await;
            let version = of.scanning.live.read().version();
            if version != seen {
                seen = version;
                of.scanning.queue.all();
            }
        }
    }));
    tasks
}

/// How to list: streamed where the server can, which takes the least memory on both sides; in pages elsewhere. The client does not fall back by itself, so
/// it is asked once, for a pod that cannot be there.
async fn listing(client: &Client) -> watcher::Config {
    let probe = WatchParams::default().initial_events().timeout(1).fields("metadata.name=holdfast-probe");
    let config = watcher::Config::default();
    match Api::<SlimPod>::all(client.clone()).watch(&probe, "0").await {
        Ok(_) => config.streaming_lists(),
        Err(_) => config.any_semantic().page_size(PAGE),
    }
}

/// Feeds the index; what a watch that failed showed stays, and is in doubt until it goes on.
async fn follow<K>(
    context: &Context,
    kind: Option<Kind>,
    stream: impl Stream<Item = watcher::Result<Event<K>>>,
    take: impl Fn(Event<K>),
) {
    let mut stream = std::pin::pin!(stream);
    let mut in_doubt = false;
    loop {
        let next = if in_doubt {
            let Ok(next) = tokio::time::timeout(QUIET, stream.next()).await else {
                in_doubt = false;
                context.scanning.live.write().failed(kind, None);
                continue;
            };
            next
        } else {
            stream.next().await
        };
        match next {
            None => return,
            Some(Ok(event)) => {
                // A list that begins anew is in doubt until it has ended.
                if std::mem::take(&mut in_doubt) && !matches!(event, Event::Init) {
                    context.scanning.live.write().failed(kind, None);
                } else if matches!(event, Event::Init) {
                    in_doubt = false;
                }
                take(event);
            }
            Some(Err(error)) => {
                in_doubt = true;
                let of = kind.map_or("Pod", |kind| kind.kind);
                tracing::warn!(kind = of, %error, "a watch failed; it is begun again");
                context.scanning.live.write().failed(kind, Some(said(&error)));
            }
        }
    }
}

/// What the API server said.
fn said(error: &watcher::Error) -> String {
    let cause = match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => error,
        other => return other.to_string(),
    };
    match cause {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}
