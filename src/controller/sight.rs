//! Watches of what runs, and of what would: they feed the index, which asks for a pass where something new came.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use kube::api::WatchParams;
use kube::runtime::utils::Backoff;
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
/// However much comes and goes, passes are no more frequent.
const TICK: Duration = Duration::from_secs(1);
/// How soon it is seen that something new came, where nothing did for a while: somebody may wait for its pods.
const SOON: Duration = Duration::from_millis(100);

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
        let watch = || watcher(Api::<SlimPod>::all(of.client.clone()), config.clone());
        follow(&of, None, watch, |event| of.scanning.live.write().pod(event)).await;
    }));
    for kind in Kind::ALL {
        let of = context.clone();
        start(Box::pin(async move {
            let config = listing(&of.client).await;
            let api = Api::<SlimTemplate>::all_with(of.client.clone(), &kind.resource());
            let watch = || watcher(api.clone(), config.clone());
            follow(&of, Some(kind), watch, |event| of.scanning.live.write().template(kind, event)).await;
        }));
    }
    let of = context.clone();
    start(Box::pin(async move {
        let mut seen = 0;
        loop {
            tokio::time::sleep(SOON).await;
            let version = of.scanning.live.read().version();
            if version != seen {
                seen = version;
                of.scanning.queue.all();
                tokio::time::sleep(TICK.saturating_sub(SOON)).await;
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

/// Feeds the index. What a watch that failed showed stays, and is in doubt until everything was listed anew: the watch would go on behind an object that could
/// not be read, as if it were not there, and whether it goes on at all shows only where something happens.
async fn follow<K, S>(context: &Context, kind: Option<Kind>, watch: impl Fn() -> S, take: impl Fn(Event<K>))
where
    S: Stream<Item = watcher::Result<Event<K>>>,
{
    let mut waits = Growing::default();
    loop {
        let mut stream = std::pin::pin!(watch());
        while let Some(next) = stream.next().await {
            match next {
                Ok(event) => {
                    if matches!(event, Event::InitDone) {
                        waits.reset();
                    }
                    take(event);
                }
                Err(error) => {
                    let of = kind.map_or("Pod", |kind| kind.kind);
                    tracing::warn!(kind = of, %error, "a watch failed; it is begun again");
                    context.scanning.live.write().failed(kind, Some(said(&error)));
                    break;
                }
            }
        }
        tokio::time::sleep(waits.next().unwrap_or(TICK)).await;
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
