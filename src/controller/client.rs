//! The client of the API server: one per process, with every request counted.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use kube::client::{Body, ClientBuilder};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tower::{BoxError, Layer, Service};

use super::settings::Settings;
use crate::serve::metrics::Metrics;

/// How long the API server may take to begin an answer; a watch begins at once, whatever comes later. One that never begins would otherwise look like a cluster
/// in which nothing happens. Longer than a request waits for its turn there.
const BEGINS: Duration = Duration::from_secs(25);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The kubeconfig cannot be used.
    #[error("the kubeconfig cannot be used: {0}")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    /// Neither a kubeconfig nor a pod's service account.
    #[error("there is neither a kubeconfig nor a pod's service account to reach an API server with: {0}")]
    Neither(#[from] kube::config::InferConfigError),
    /// The client cannot be made.
    #[error("no client can be made: {0}")]
    Client(#[from] kube::Error),
}

/// How the API server is reached, and holdfast's own namespace where nothing says otherwise.
///
/// # Errors
/// [`ClientError`].
pub(crate) async fn config(settings: &Settings) -> Result<Config, ClientError> {
    let mut config = found(settings.kubeconfig.as_deref(), settings.context.as_deref()).await?;
    // A pass is tried again as a whole, from a fresh look; and the lease may not wait behind retries.
    config.default_retry = false;
    Ok(config)
}

async fn found(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<Config, ClientError> {
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
    Ok(match kubeconfig {
        Some(path) => Config::from_custom_kubeconfig(Kubeconfig::read_from(path)?, &options).await?,
        None if context.is_some() => Config::from_kubeconfig(&options).await?,
        None => Config::infer().await?,
    })
}

/// A client for a command that a person gives.
///
/// # Errors
/// [`ClientError`].
pub(crate) async fn plain(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<Client, ClientError> {
    // The first caller wins and installs the same provider; losing that race is success.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    Ok(Client::try_from(found(kubeconfig, context).await?)?)
}

/// A client that counts what it asks.
///
/// # Errors
/// [`ClientError`].
pub(crate) fn client(config: Config, metrics: Arc<Metrics>) -> Result<Client, ClientError> {
    // The first caller wins and installs the same provider; losing that race is success.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let host = config.cluster_url.authority().map(ToString::to_string).unwrap_or_default();
    Ok(ClientBuilder::try_from(config)?.with_layer(&Counting { metrics, host: host.into() }).build())
}

#[derive(Clone)]
struct Counting {
    metrics: Arc<Metrics>,
    host: Arc<str>,
}

impl<S> Layer<S> for Counting {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted { inner, counting: self.clone() }
    }
}

#[derive(Clone)]
struct Counted<S> {
    inner: S,
    counting: Counting,
}

impl<S, B> Service<Request<Body>> for Counted<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let method = request.method().to_string();
        let counting = self.counting.clone();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = match tokio::time::timeout(BEGINS, answer).await {
                Ok(answer) => answer.map_err(Into::into),
                Err(_) => Err(format!("the API server did not answer within {} seconds", BEGINS.as_secs()).into()),
            };
            let code =
                answer.as_ref().map_or_else(|_| "<error>".to_owned(), |answer| answer.status().as_str().to_owned());
            counting.metrics.requested(&method, &counting.host, &code);
            answer
        })
    }
}
