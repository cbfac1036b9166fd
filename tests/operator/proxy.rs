//! Stands between the operator and the real API server, and does what a network, a load balancer or a tired API server does: holds a request, refuses it,
//! cuts a watch. Everything that is asked is written down.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use kube::config::Kubeconfig;
use tokio::sync::watch;

/// What was asked.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) status: Option<u16>,
}

impl Asked {
    /// Whether it changes something: the lease and dry runs do not count.
    pub(crate) fn is_write(&self) -> bool {
        self.method != "GET" && !self.path.contains("/leases") && !self.query.contains("dryRun")
    }
}

/// What becomes of a request.
#[derive(Debug, Clone)]
pub(crate) enum Fate {
    /// It waits until it is let go, and then goes on.
    Hold,
    /// It goes on, and its answer waits until it is let go.
    HoldAnswer,
    /// It is refused, with the seconds to wait where there are some.
    Refuse(u16, Option<u32>),
    /// Of a watch: it begins, and says that what it goes on from is forgotten.
    Expire,
    /// The connection breaks.
    Break,
}

type Means = Arc<dyn Fn(&Asked) -> bool + Send + Sync>;

struct Rule {
    means: Means,
    fate: Fate,
    /// How many such requests pass by first.
    skip: usize,
    /// How many requests it is for.
    left: usize,
    met: usize,
}

struct Inner {
    server: String,
    client: reqwest::Client,
    rules: Mutex<Vec<Rule>>,
    asked: Mutex<Vec<Asked>>,
    /// Raised to let go of what is held, and to cut what streams.
    generation: watch::Sender<u64>,
    cut: watch::Sender<u64>,
}

/// The proxy.
#[derive(Clone)]
pub(crate) struct Proxy {
    inner: Arc<Inner>,
    address: String,
}

impl Proxy {
    pub(crate) async fn start(kubeconfig: &Path) -> Self {
        let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
        let cluster = kubeconfig.clusters[0].cluster.clone().unwrap();
        let ca = std::fs::read(cluster.certificate_authority.unwrap()).unwrap();
        let client = reqwest::Client::builder()
            .tls_certs_only(reqwest::Certificate::from_pem_bundle(&ca).unwrap())
            .no_proxy()
            .pool_max_idle_per_host(0)
            .build()
            .unwrap();
        Self::before(cluster.server.unwrap(), client).await
    }

    /// Before any other server.
    pub(crate) async fn before(server: String, client: reqwest::Client) -> Self {
        let inner = Arc::new(Inner {
            server,
            client,
            rules: Mutex::default(),
            asked: Mutex::default(),
            generation: watch::Sender::new(0),
            cut: watch::Sender::new(0),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(pass).with_state(inner.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { inner, address }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Forgets every rule and everything that was asked; lets go of what is held.
    pub(crate) fn reset(&self) {
        self.inner.rules.lock().unwrap().clear();
        self.inner.asked.lock().unwrap().clear();
        self.release();
    }

    /// From now on, the next `count` requests that are meant have this fate.
    pub(crate) fn on(&self, count: usize, fate: Fate, means: impl Fn(&Asked) -> bool + Send + Sync + 'static) {
        self.inner.rules.lock().unwrap().push(Rule { means: Arc::new(means), fate, skip: 0, left: count, met: 0 });
    }

    /// From now on, the request that is meant after `nth` such has this fate.
    pub(crate) fn on_nth(&self, nth: usize, fate: Fate, means: impl Fn(&Asked) -> bool + Send + Sync + 'static) {
        self.inner.rules.lock().unwrap().push(Rule { means: Arc::new(means), fate, skip: nth, left: 1, met: 0 });
    }

    /// How many requests met a rule.
    pub(crate) fn met(&self) -> usize {
        self.inner.rules.lock().unwrap().iter().map(|rule| rule.met).sum()
    }

    /// Lets go of what is held.
    pub(crate) fn release(&self) {
        self.inner.generation.send_modify(|generation| *generation += 1);
    }

    /// Cuts every answer that is still streaming.
    pub(crate) fn cut(&self) {
        self.inner.cut.send_modify(|cut| *cut += 1);
    }

    /// Everything that was asked.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.inner.asked.lock().unwrap().clone()
    }

    /// What was written.
    pub(crate) fn writes(&self) -> Vec<Asked> {
        self.asked().into_iter().filter(Asked::is_write).collect()
    }
}

async fn pass(State(inner): State<Arc<Inner>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let asked = Asked {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        status: None,
    };
    let mut released = inner.generation.subscribe();
    let fate = {
        let mut rules = inner.rules.lock().unwrap();
        let rule = rules.iter_mut().find(|rule| rule.left > 0 && (rule.means)(&asked));
        rule.and_then(|rule| {
            if rule.skip > 0 {
                rule.skip -= 1;
                return None;
            }
            rule.left -= 1;
            rule.met += 1;
            Some(rule.fate.clone())
        })
    };
    let index = {
        let mut all = inner.asked.lock().unwrap();
        all.push(asked.clone());
        all.len() - 1
    };
    let body = axum::body::to_bytes(body, 16 * 1024 * 1024).await.unwrap_or_default();
    match &fate {
        Some(Fate::Hold) => {
            released.borrow_and_update();
            let _ = released.changed().await;
        }
        Some(Fate::Refuse(status, after)) => return refuse(*status, *after),
        Some(Fate::Expire) => return expired(),
        Some(Fate::Break) => return broken(),
        Some(Fate::HoldAnswer) | None => {}
    }
    let answer = forward(&inner, &asked, &parts.method, &parts.headers, body).await;
    if let Some(known) = inner.asked.lock().unwrap().get_mut(index) {
        known.status = Some(answer.status().as_u16());
    }
    if matches!(fate, Some(Fate::HoldAnswer)) {
        released.borrow_and_update();
        let _ = released.changed().await;
    }
    answer
}

async fn forward(inner: &Inner, asked: &Asked, method: &Method, headers: &HeaderMap, body: bytes::Bytes) -> Response {
    let url = if asked.query.is_empty() {
        format!("{}{}", inner.server, asked.path)
    } else {
        format!("{}{}?{}", inner.server, asked.path, asked.query)
    };
    let mut request = inner.client.request(method.clone(), url).body(body);
    for (name, value) in headers {
        if !matches!(name.as_str(), "host" | "content-length" | "connection") {
            request = request.header(name, value);
        }
    }
    let answer = match request.send().await {
        Ok(answer) => answer,
        Err(error) => return (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    };
    let mut response = Response::builder().status(answer.status());
    for (name, value) in answer.headers() {
        if !matches!(name.as_str(), "content-length" | "transfer-encoding" | "connection") {
            response = response.header(name, value);
        }
    }
    let mut cut = inner.cut.subscribe();
    let end = async move {
        let _ = cut.changed().await;
    };
    response.body(Body::from_stream(answer.bytes_stream().take_until(Box::pin(end)))).unwrap()
}

fn expired() -> Response {
    let status = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "expired by a test", "reason": "Expired", "code": 410,
    });
    let event = serde_json::json!({"type": "ERROR", "object": status}).to_string() + "\n";
    ([("content-type", "application/json")], event).into_response()
}

fn refuse(status: u16, after: Option<u32>) -> Response {
    let reason = match status {
        429 => "TooManyRequests",
        410 => "Expired",
        503 => "ServiceUnavailable",
        _ => "InternalError",
    };
    let body = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "refused by a test", "reason": reason, "code": status,
    });
    let mut response =
        (StatusCode::from_u16(status).unwrap(), [("content-type", "application/json")], body.to_string())
            .into_response();
    if let Some(after) = after {
        response.headers_mut().insert("retry-after", after.to_string().parse().unwrap());
    }
    response
}

fn broken() -> Response {
    let broken = futures_util::stream::once(async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        Err::<bytes::Bytes, _>(std::io::Error::other("broken by a test"))
    });
    Response::builder().status(200).body(Body::from_stream(broken)).unwrap()
}
