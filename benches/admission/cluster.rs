//! An API server with its etcd, nothing else running beside them, and clients of it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::Value;
use tokio::runtime::Runtime;

/// A cluster of its own; it ends with this.
pub(crate) struct Cluster {
    pub(crate) runtime: Runtime,
    pub(crate) client: Client,
    dir: PathBuf,
    /// The API server, where it was started again.
    again: Option<Child>,
    all: Child,
}

impl Cluster {
    /// Nothing where there are no programs of one.
    pub(crate) fn start(name: &str) -> Option<Self> {
        let assets = std::env::var_os("HOLDFAST_KUBE_ASSETS").or_else(|| std::env::var_os("KUBEBUILDER_ASSETS"));
        let Some(assets) = assets else {
            eprintln!("skipped: set HOLDFAST_KUBE_ASSETS to what hack/kube-assets prints");
            return None;
        };
        let dir = std::env::temp_dir().join(format!("holdfast-admission-{name}-{}", std::process::id()));
        let mut cluster = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("hack/cluster"))
            .args(["run", "--dir"])
            .arg(&dir)
            .env("KUBEBUILDER_ASSETS", assets)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        BufReader::new(cluster.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        assert_eq!(ready, "ready\n", "the cluster starts");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let client = runtime.block_on(client(&dir));
        let started = Self { runtime, client, dir, again: None, all: cluster };
        for part in ["kube-controller-manager", "registry"] {
            signal("-KILL", started.pid(part));
        }
        Some(started)
    }

    /// Another client, with connections of its own.
    pub(crate) fn another(&self) -> Client {
        self.runtime.block_on(client(&self.dir))
    }

    pub(crate) fn try_call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, String> {
        let body = body.map(|body| serde_json::to_vec(body).unwrap()).unwrap_or_default();
        self.runtime.block_on(async {
            let text = call(&self.client, method, path, "application/json", body).await?;
            serde_json::from_str(&text).map_err(|error| error.to_string())
        })
    }

    pub(crate) fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        self.try_call(method, path, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// Writes an object as the operator does.
    pub(crate) fn apply(&self, object: &Value) -> Value {
        let path = format!("{}?fieldManager=holdfast&force=true", path_of(object));
        let body = serde_json::to_vec(object).unwrap();
        let written = self.runtime.block_on(call(&self.client, "PATCH", &path, "application/apply-patch+yaml", body));
        serde_json::from_str(&written.unwrap_or_else(|error| panic!("apply {path}: {error}"))).unwrap()
    }

    /// Writes many, several at a time.
    pub(crate) fn apply_all(&self, objects: &[Value]) {
        use futures_util::{StreamExt, stream};
        let one = |object: &Value| {
            let path = format!("{}?fieldManager=holdfast&force=true", path_of(object));
            let (client, body) = (self.client.clone(), serde_json::to_vec(object).unwrap());
            async move {
                let written = call(&client, "PATCH", &path, "application/apply-patch+yaml", body).await;
                assert!(written.is_ok(), "apply {path}: {written:?}");
            }
        };
        self.runtime.block_on(stream::iter(objects.iter().map(one)).buffer_unordered(4).collect::<Vec<()>>());
    }

    /// The text of something that is not an object, as metrics.
    pub(crate) fn text(&self, path: &str) -> String {
        self.runtime.block_on(call(&self.client, "GET", path, "application/json", Vec::new())).unwrap_or_default()
    }

    pub(crate) fn pid(&self, part: &str) -> u32 {
        let text = std::fs::read_to_string(self.dir.join(format!("{part}.pid"))).unwrap();
        text.trim().parse().unwrap()
    }

    /// What the API server said since it was last started.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("kube-apiserver.log")).unwrap_or_default()
    }

    /// Ends the API server.
    pub(crate) fn stop_api_server(&mut self, how: &str) {
        let pid = self.pid("kube-apiserver");
        signal(how, pid);
        if let Some(mut child) = self.again.take() {
            child.wait().unwrap();
        }
        // What nobody has waited for yet stays as a zombie, once it has given back its port.
        let ended = || std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "));
        let start = Instant::now();
        while !ended() {
            assert!(start.elapsed() < Duration::from_secs(90), "the API server does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// How the API server was started, for [`Self::start_api_server`].
    pub(crate) fn command_line(&self) -> Vec<String> {
        let line = std::fs::read(format!("/proc/{}/cmdline", self.pid("kube-apiserver"))).unwrap();
        String::from_utf8(line).unwrap().trim_end_matches('\0').split('\0').map(str::to_owned).collect()
    }

    /// Starts the API server again, with a log of its own.
    pub(crate) fn start_api_server(&mut self, command_line: &[String]) {
        let log = std::fs::File::create(self.dir.join("kube-apiserver.log")).unwrap();
        let child = Command::new(&command_line[0])
            .args(&command_line[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        std::fs::write(self.dir.join("kube-apiserver.pid"), child.id().to_string()).unwrap();
        self.again = Some(child);
    }

    /// What the API server takes of memory that it shares with nothing, in MiB: the least of some time.
    pub(crate) fn memory(&self, seconds: u64) -> f64 {
        let (pid, until) = (self.pid("kube-apiserver"), Instant::now() + Duration::from_secs(seconds));
        let mut least = f64::MAX;
        loop {
            let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
            let line = rollup.lines().find(|line| line.starts_with("Pss:")).unwrap();
            let kib: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
            least = least.min(kib / 1024.0);
            if Instant::now() > until {
                return least;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// What is alive in the API server after it collected its garbage, in MiB.
    pub(crate) fn alive(&self) -> f64 {
        for _ in 0..2 {
            let path = "/debug/pprof/heap?gc=1";
            let request = http::Request::builder().uri(path).body(Vec::new()).unwrap();
            // Not text: what it answers is of no interest.
            let _ = self.runtime.block_on(self.client.request_text(request));
        }
        metric(&self.text("/metrics"), "go_memstats_heap_alloc_bytes") / MIB
    }

    /// What etcd holds, in MiB, after it forgot what was written over.
    pub(crate) fn etcd(&self) -> f64 {
        let etcd = std::fs::read_to_string(self.dir.join("parts")).unwrap();
        let port = etcd.split_whitespace().find_map(|part| part.strip_prefix("etcd_port=")).unwrap();
        let base = format!("http://127.0.0.1:{port}");
        self.runtime.block_on(async {
            let http = reqwest::Client::new();
            let ask = async |path: &str, body: String| -> Value {
                let answer = http.post(format!("{base}{path}")).body(body).send().await.unwrap();
                serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default()
            };
            let status = ask("/v3/kv/range", r#"{"key":"AA==","limit":"1"}"#.to_owned()).await;
            let revision = status["header"]["revision"].as_str().unwrap_or("0").to_owned();
            ask("/v3/kv/compaction", format!(r#"{{"revision":"{revision}","physical":true}}"#)).await;
            let text = http.get(format!("{base}/metrics")).send().await.unwrap().text().await.unwrap();
            metric(&text, "etcd_mvcc_db_total_size_in_use_in_bytes") / MIB
        })
    }
}

const MIB: f64 = 1024.0 * 1024.0;

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.all.stdin.take());
        let _ = self.all.wait();
        if let Some(mut child) = self.again.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn metric(text: &str, name: &str) -> f64 {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.unwrap_or(f64::NAN)
}

fn signal(signal: &str, pid: u32) {
    assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
}

async fn client(dir: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(dir.join("kubeconfig")).unwrap();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    config.connect_timeout = Some(Duration::from_secs(1));
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    Client::try_from(config).unwrap()
}

pub(crate) async fn call(
    client: &Client,
    method: &str,
    path: &str,
    content: &str,
    body: Vec<u8>,
) -> Result<String, String> {
    let request = http::Request::builder().method(method).uri(path).header("content-type", content);
    client.request_text(request.body(body).unwrap()).await.map_err(|error| error.to_string())
}

/// Where the API server has an object.
pub(crate) fn path_of(object: &Value) -> String {
    let (version, kind) = (object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap());
    let plural = match kind {
        "ValidatingAdmissionPolicy" => "validatingadmissionpolicies",
        "ValidatingAdmissionPolicyBinding" => "validatingadmissionpolicybindings",
        "VerifiedImages" => "verifiedimages",
        "Namespace" => "namespaces",
        other => panic!("where is a {other}?"),
    };
    let prefix = if version == "v1" { "/api/v1".to_owned() } else { format!("/apis/{version}") };
    format!("{prefix}/{plural}/{}", object["metadata"]["name"].as_str().unwrap())
}
