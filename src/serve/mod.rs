//! What the operator serves: metrics and probes.

pub mod metrics;
pub mod process;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use metrics::Metrics;

/// What is not ready yet, by name; ready is who has nothing left.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<parking_lot::Mutex<Vec<Gate>>>);

#[derive(Debug)]
struct Gate {
    name: &'static str,
    open: Arc<AtomicBool>,
}

/// Says that one thing is ready, or no longer.
#[derive(Debug, Clone)]
pub struct Handle(Arc<AtomicBool>);

impl Readiness {
    /// Something that has to be ready.
    pub fn gate(&self, name: &'static str) -> Handle {
        let open = Arc::new(AtomicBool::new(false));
        self.0.lock().push(Gate { name, open: open.clone() });
        Handle(open)
    }

    /// What is not ready.
    pub fn waiting(&self) -> Vec<&'static str> {
        self.0.lock().iter().filter(|gate| !gate.open.load(Ordering::Relaxed)).map(|gate| gate.name).collect()
    }
}

impl Handle {
    /// It is ready, or is not.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Relaxed);
    }
}

#[derive(Clone)]
struct Served {
    metrics: Arc<Metrics>,
    readiness: Readiness,
}

/// Binds the address.
///
/// # Errors
/// What the system said.
pub async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Serves until `stop` is done.
///
/// # Errors
/// What the system said.
pub async fn run(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    readiness: Readiness,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/metrics", get(scrape))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(Served { metrics, readiness });
    axum::serve(listener, router).with_graceful_shutdown(stop).await
}

async fn scrape(State(served): State<Served>) -> impl IntoResponse {
    match served.metrics.encode(crate::clock::now()) {
        Ok(text) => (StatusCode::OK, [(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn ready(State(served): State<Served>) -> impl IntoResponse {
    let waiting = served.readiness.waiting();
    if waiting.is_empty() {
        (StatusCode::OK, "ok\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, format!("not ready yet: {}\n", waiting.join(", ")))
    }
}
