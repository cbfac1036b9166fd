//! A real API server with RBAC on, the chart applied, and the operator running as the chart's service account.
//!
//! Few clusters are shared by all tests of this program, one test at a time in each: mirrors are cluster-scoped, so two operators would both act on each. They
//! end with the program, however that ends.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, TryLockError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::chart_support::{NAMESPACE, helm, objects, template, values};
use crate::proxy::Proxy;

/// The name under which trust is distributed.
pub(crate) const NAME: &str = "sigstore-trusted-root";
/// A namespace that may be a source.
pub(crate) const SOURCES: &str = "trust-sources";

/// Who the operator is to the API server.
pub(crate) const HOLDFAST: &str = "system:serviceaccount:holdfast-system:holdfast";

struct Shared {
    dir: PathBuf,
    assets: PathBuf,
    runtime: Runtime,
    client: Client,
    proxy: Proxy,
    token: String,
    // Closed when the process ends; the cluster ends with it.
    _cluster: Mutex<Child>,
}

/// A cluster, made when somebody first comes, and whose turn it is.
struct Place {
    shared: OnceLock<Option<Shared>>,
    turn: Mutex<()>,
}

impl Place {
    const fn new() -> Self {
        Self { shared: OnceLock::new(), turn: Mutex::new(()) }
    }

    fn take(&'static self) -> Option<MutexGuard<'static, ()>> {
        match self.turn.try_lock() {
            Ok(turn) => Some(turn),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// Tests mostly wait, so two go side by side on few processors.
static PLACES: [Place; 2] = [Place::new(), Place::new()];

/// The cluster, for the length of one test.
pub(crate) struct Lab {
    shared: &'static Shared,
    operators: Mutex<Vec<u32>>,
    _turn: MutexGuard<'static, ()>,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn assets() -> Option<PathBuf> {
    let said = ["HOLDFAST_KUBE_ASSETS", "KUBEBUILDER_ASSETS"].iter().find_map(std::env::var_os).map(PathBuf::from);
    if said.is_none() {
        eprintln!(
            "skipped: there are no programs of a cluster (set HOLDFAST_KUBE_ASSETS to what hack/kube-assets prints)"
        );
    }
    said
}

impl Shared {
    fn start(number: usize) -> Option<Self> {
        let (helm, assets) = (helm()?, assets()?);
        // Kept until the machine forgets it, for a look at what went wrong.
        let dir = std::env::temp_dir().join(format!("holdfast-operator-{}-{number}", std::process::id()));
        let mut cluster = Command::new(root().join("hack/cluster"))
            .args(["run", "--dir"])
            .arg(&dir)
            .env("KUBEBUILDER_ASSETS", &assets)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        BufReader::new(cluster.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        assert_eq!(ready, "ready\n", "the cluster starts");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let kubeconfig = dir.join("kubeconfig");
        let client = runtime.block_on(client(&kubeconfig));
        let proxy = runtime.block_on(Proxy::start(&kubeconfig));
        let mut shared =
            Self { dir, assets, runtime, client, proxy, token: String::new(), _cluster: Mutex::new(cluster) };
        shared.install(&helm);
        Some(shared)
    }

    /// What a person installs; the token is taken before, because the guards give none away.
    fn install(&mut self, helm: &Path) {
        for namespace in [NAMESPACE, SOURCES] {
            self.call("POST", "/api/v1/namespaces", Some(&json!({"metadata": {"name": namespace}}))).unwrap();
        }
        let account = json!({"metadata": {"name": "holdfast"}});
        self.call("POST", &format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts"), Some(&account)).unwrap();
        let asked = json!({"spec": {"expirationSeconds": 86400}});
        let path = format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts/holdfast/token");
        let token = self.call("POST", &path, Some(&asked)).unwrap();
        token["status"]["token"].as_str().unwrap().clone_into(&mut self.token);
        let rendered = template(
            helm,
            &[
                "--values",
                &values("minimal"),
                "--set",
                &format!("distributionNames={{{NAME}}}"),
                "--set",
                &format!("sourceNamespaces={{{SOURCES}}}"),
                "--set",
                "replicas=0",
            ],
        )
        .unwrap();
        for object in objects(&rendered) {
            self.apply(&object).unwrap();
        }
        let cleans = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "cleaners"},
            "rules": [
                {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["delete", "deletecollection"]},
                {"apiGroups": ["holdfast.dev"], "resources": ["verifiedimages"], "verbs": ["delete", "deletecollection"]},
            ],
        });
        let cleaners = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "cleaners"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cleaners"},
            "subjects": [{"kind": "Group", "name": "cleaners", "apiGroup": "rbac.authorization.k8s.io"}],
        });
        self.apply(&cleans).unwrap();
        self.apply(&cleaners).unwrap();
        for (name, role, user) in
            [("bob-approves", "holdfast-approver", "bob"), ("dora-approves", "holdfast-approver", "dora")]
        {
            let binding = json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
                "subjects": [{"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}],
            });
            self.apply(&binding).unwrap();
        }
        // What is approved while the guards are not certainly in force counts for nothing.
        std::thread::sleep(Duration::from_secs(7));
    }

    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, String> {
        self.runtime.block_on(call(&self.client, None, method, path, "application/json", body))
    }

    fn apply(&self, object: &Value) -> Result<Value, String> {
        let path = format!("{}?fieldManager=test&force=true", path_of(object));
        self.runtime.block_on(call(&self.client, None, "PATCH", &path, "application/apply-patch+yaml", Some(object)))
    }
}

async fn client(kubeconfig: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    Client::try_from(config).unwrap()
}

/// In whose name something is asked.
#[derive(Clone, Copy)]
struct As<'a> {
    user: &'a str,
    group: Option<&'a str>,
}

async fn call(
    client: &Client,
    by: Option<As<'_>>,
    method: &str,
    path: &str,
    content: &str,
    body: Option<&Value>,
) -> Result<Value, String> {
    let body = body.map(|body| serde_json::to_vec(body).unwrap()).unwrap_or_default();
    let mut request = http::Request::builder().method(method).uri(path).header("content-type", content);
    if let Some(As { user, group }) = by {
        request = request.header("impersonate-user", user);
        if let Some(group) = group {
            request = request.header("impersonate-group", group);
        }
    }
    client.request::<Value>(request.body(body).unwrap()).await.map_err(|error| error.to_string())
}

/// Where the API server has an object.
pub(crate) fn path_of(object: &Value) -> String {
    let (version, kind) = (object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap());
    let prefix = if version == "v1" { "/api/v1".to_owned() } else { format!("/apis/{version}") };
    let plural = match kind {
        "NetworkPolicy" => "networkpolicies".to_owned(),
        kind if kind.ends_with("Policy") => format!("{}ies", kind.to_lowercase().trim_end_matches('y')),
        kind if kind.ends_with("Glass") => format!("{}es", kind.to_lowercase()),
        kind => format!("{}s", kind.to_lowercase()),
    };
    let name = object["metadata"]["name"].as_str().unwrap();
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("{prefix}/namespaces/{namespace}/{plural}/{name}"),
        None => format!("{prefix}/{plural}/{name}"),
    }
}

pub(crate) fn mirror_path(name: &str) -> String {
    format!("/apis/holdfast.dev/v1alpha1/trustrootmirrors/{name}")
}

pub(crate) fn config_map_path(namespace: &str, name: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/configmaps/{name}")
}

impl Lab {
    /// A cluster, once nobody else uses it; nothing where there is none.
    pub(crate) fn enter() -> Option<Self> {
        let (number, turn) = loop {
            let free = PLACES.iter().enumerate().find_map(|(number, place)| Some((number, place.take()?)));
            match free {
                Some(free) => break free,
                None => std::thread::sleep(Duration::from_millis(50)),
            }
        };
        let shared = PLACES[number].shared.get_or_init(|| Shared::start(number)).as_ref()?;
        let lab = Self { shared, operators: Mutex::default(), _turn: turn };
        lab.clear();
        lab.guards_are_settled();
        Some(lab)
    }

    /// Waits until what is made counts: a guard that was put back a moment ago may not be in force yet.
    #[allow(clippy::disallowed_methods)] // it waits for an instant
    pub(crate) fn guards_are_settled(&self) {
        let all = self.call("GET", "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings", None);
        let is_guard = |one: &&Value| {
            let name = one["metadata"]["name"].as_str().unwrap();
            name.starts_with("holdfast-guard-") && name != "holdfast-guard-scope"
        };
        let guards = all["items"].as_array().unwrap().iter().filter(is_guard);
        let made = guards.map(|one| &one["metadata"]["creationTimestamp"]);
        let last: Timestamp = made.map(|at| at.as_str().unwrap().parse().unwrap()).max().unwrap();
        let settled = last + SignedDuration::from_secs(7);
        std::thread::sleep(Duration::try_from(settled.duration_since(Timestamp::now())).unwrap_or_default());
    }

    /// As if nothing had ever been declared: also what holdfast never forgets.
    pub(crate) fn clear(&self) {
        self.shared.proxy.reset();
        self.let_everything_go();
        for kind in [
            "trustrootmirrors",
            "signingidentitypolicies",
            "bundlecoveragereports",
            "trustapprovals",
            "trustbreakglasses",
        ] {
            let _ = self.try_call("DELETE", &format!("/apis/holdfast.dev/v1alpha1/{kind}"), None);
        }
        for kind in ["deployments", "statefulsets", "replicasets", "controllerrevisions"] {
            let _ = self.try_call("DELETE", &format!("/apis/apps/v1/namespaces/shop/{kind}"), None);
        }
        for kind in ["cronjobs", "jobs"] {
            let _ = self.try_call("DELETE", &format!("/apis/batch/v1/namespaces/shop/{kind}"), None);
        }
        let _ = self.try_call("DELETE", "/api/v1/namespaces/shop/pods?gracePeriodSeconds=0", None);
        for namespace in [NAMESPACE, SOURCES] {
            let path =
                format!("/api/v1/namespaces/{namespace}/configmaps?fieldSelector=metadata.name!=kube-root-ca.crt");
            // Rights take a moment to be known.
            self.within(Duration::from_secs(5), "the namespace is cleaned", |lab| lab.clean(&path));
        }
        let _ = self.try_call("DELETE", "/apis/events.k8s.io/v1/namespaces/default/events", None);
        let _ = self.try_call("DELETE", &format!("/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"), None);
        let all = self.call("GET", "/api/v1/configmaps?labelSelector=app.kubernetes.io/managed-by=holdfast", None);
        for object in all["items"].as_array().unwrap() {
            let (namespace, name) =
                (object["metadata"]["namespace"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap());
            if name == NAME {
                let _ = self.try_call("DELETE", &config_map_path(namespace, name), None);
            }
        }
    }

    /// As if nothing had ever been enforced.
    fn let_everything_go(&self) {
        let policies = self.call("GET", "/apis/holdfast.dev/v1alpha1/signingidentitypolicies", None);
        for policy in policies["items"].as_array().unwrap() {
            if !policy["metadata"]["finalizers"].is_null() {
                let name = policy["metadata"]["name"].as_str().unwrap();
                self.patch(
                    &format!("/apis/holdfast.dev/v1alpha1/signingidentitypolicies/{name}"),
                    &json!({"metadata": {"finalizers": null}}),
                );
            }
        }
        let mut denied = false;
        for kind in ["validatingadmissionpolicybindings", "validatingadmissionpolicies"] {
            let path = format!("/apis/admissionregistration.k8s.io/v1/{kind}");
            let all = self.call("GET", &format!("{path}?labelSelector=app.kubernetes.io/managed-by=holdfast"), None);
            for object in all["items"].as_array().unwrap() {
                let name = object["metadata"]["name"].as_str().unwrap();
                if !name.starts_with("holdfast-guard-") || name == "holdfast-guard-scope" {
                    let _ = self.try_call("DELETE", &format!("{path}/{name}"), None);
                    denied = true;
                }
            }
        }
        if denied {
            // Rules go on for a moment after they are gone.
            std::thread::sleep(Duration::from_secs(2));
        }
        self.within(Duration::from_secs(5), "what is verified is forgotten", |lab| {
            lab.clean("/apis/holdfast.dev/v1alpha1/verifiedimages")
        });
    }

    /// Takes something away that nobody may.
    pub(crate) fn clean(&self, path: &str) -> Result<Value, String> {
        {
            // Holdfast's own account, with a right that it does not have: the guards let nobody else take away what is remembered.
            let by = As { user: HOLDFAST, group: Some("cleaners") };
            self.shared.runtime.block_on(call(&self.shared.client, Some(by), "DELETE", path, "application/json", None))
        }
    }

    /// Waits for something that the tests themselves do over a network.
    pub(crate) fn wait<T>(&self, what: impl Future<Output = T>) -> T {
        self.shared.runtime.block_on(what)
    }

    pub(crate) fn proxy(&self) -> &Proxy {
        &self.shared.proxy
    }

    /// A request as the administrator.
    pub(crate) fn try_call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, String> {
        self.shared.call(method, path, body)
    }

    pub(crate) fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        self.try_call(method, path, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        match self.try_call("GET", path, None) {
            Ok(found) => Some(found),
            Err(error) if error.contains("not found") => None,
            Err(error) => panic!("GET {path}: {error}"),
        }
    }

    pub(crate) fn apply(&self, object: &Value) -> Value {
        self.shared.apply(object).unwrap_or_else(|error| panic!("apply {}: {error}", path_of(object)))
    }

    pub(crate) fn try_apply(&self, object: &Value) -> Result<Value, String> {
        self.shared.apply(object)
    }

    /// A merge patch as the administrator.
    pub(crate) fn patch(&self, path: &str, change: &Value) -> Value {
        let patched = self.shared.runtime.block_on(call(
            &self.shared.client,
            None,
            "PATCH",
            path,
            "application/merge-patch+json",
            Some(change),
        ));
        patched.unwrap_or_else(|error| panic!("patch {path}: {error}"))
    }

    /// The same, where it may be refused.
    pub(crate) fn try_patch(&self, path: &str, change: &Value) -> Result<Value, String> {
        let content = "application/strategic-merge-patch+json";
        let content = if path.starts_with("/apis/holdfast.dev") { "application/merge-patch+json" } else { content };
        self.shared.runtime.block_on(call(&self.shared.client, None, "PATCH", path, content, Some(change)))
    }

    /// What the API server warns of where an object is applied.
    pub(crate) fn warnings(&self, object: &Value) -> Vec<String> {
        let path = format!("{}?fieldManager=test&force=true", path_of(object));
        let request = http::Request::builder()
            .method("PATCH")
            .uri(path)
            .header("content-type", "application/apply-patch+yaml")
            .body(kube::client::Body::from(serde_json::to_vec(object).unwrap()))
            .unwrap();
        let answer = self.shared.runtime.block_on(self.shared.client.send(request)).unwrap();
        let warnings = answer.headers().get_all("warning").iter();
        warnings.map(|warning| warning.to_str().unwrap().to_owned()).collect()
    }

    /// Does something that a guard forbids: the guard is taken away, and put back.
    pub(crate) fn without_guard(&self, guard: &str, act: impl FnOnce(&Self)) {
        let path =
            format!("/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/holdfast-guard-{guard}");
        let Some(mut binding) = self.get(&path) else { return act(self) };
        self.delete(&path);
        // It takes a moment until nobody asks it any more.
        std::thread::sleep(Duration::from_secs(2));
        let acted = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| act(self)));
        let metadata = binding["metadata"].as_object_mut().unwrap();
        metadata.retain(|field, _| matches!(field.as_str(), "name" | "labels" | "annotations"));
        self.apply(&binding);
        // The next test needs the guard, whatever became of this one.
        if let Err(panic) = acted {
            std::panic::resume_unwind(panic);
        }
    }

    /// A request as somebody else.
    pub(crate) fn call_as(&self, user: &str, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        self.call_by(As { user, group: None }, method, path, body)
    }

    /// The same, of somebody who is one of a group.
    pub(crate) fn call_as_one_of(
        &self,
        user: &str,
        group: &str,
        method: &str,
        path: &str,
        body: &Value,
    ) -> Result<Value, String> {
        self.call_by(As { user, group: Some(group) }, method, path, body)
    }

    fn call_by(&self, by: As<'_>, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let content = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        self.shared.runtime.block_on(call(&self.shared.client, Some(by), method, path, content, Some(body)))
    }

    pub(crate) fn delete(&self, path: &str) {
        self.call("DELETE", path, None);
    }

    /// Waits until something holds, and says what it saw last if it never does.
    #[track_caller]
    pub(crate) fn until<T>(&self, what: &str, look: impl Fn(&Self) -> Result<T, String>) -> T {
        self.within(Duration::from_secs(30), what, look)
    }

    #[track_caller]
    pub(crate) fn within<T>(&self, patience: Duration, what: &str, look: impl Fn(&Self) -> Result<T, String>) -> T {
        let start = Instant::now();
        loop {
            match look(self) {
                Ok(seen) => return seen,
                Err(seen) if start.elapsed() > patience => panic!("never: {what}; last seen: {seen}"),
                Err(_) => std::thread::sleep(Duration::from_millis(25)),
            }
        }
    }

    /// Starts an operator as the chart's service account, through the proxy.
    pub(crate) fn operator(&self) -> Operator<'_> {
        self.operator_with(&[])
    }

    pub(crate) fn operator_with(&self, more: &[&str]) -> Operator<'_> {
        let operator = self.start_operator(&[], more);
        operator.ready();
        operator
    }

    /// Starts an operator, perhaps with something in its environment.
    pub(crate) fn start_operator(&self, variables: &[(&str, &str)], more: &[&str]) -> Operator<'_> {
        static COUNT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let kubeconfig = self.kubeconfig_of_holdfast(&format!("operator-{number}"));
        let log = self.shared.dir.join(format!("operator-{number}.log"));
        let binary = env!("CARGO_BIN_EXE_holdfast");
        let mut command = Command::new(binary);
        command
            .envs(variables.iter().copied())
            .args([
                "controller",
                "--namespace",
                NAMESPACE,
                "--identity",
                &format!("replica-{number}"),
                "--listen",
                "127.0.0.1:0",
            ])
            .args(["--distribution-name", NAME, "--source-namespace", SOURCES, "--log-format", "json"])
            .args(if more.contains(&"--lease-duration") { &[][..] } else { &["--lease-duration", "3s"] })
            .args(more)
            .env("HOLDFAST_KUBECONFIG", &kubeconfig)
            .env("HOLDFAST_LOG_LEVEL", "info,holdfast=debug")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap());
        let child = command.spawn().unwrap();
        self.operators.lock().unwrap().push(child.id());
        Operator { child: Some(child), log, lab: self, started: Instant::now() }
    }

    /// A client that is holdfast to the API server, through the proxy.
    pub(crate) fn as_holdfast(&self) -> Client {
        let kubeconfig = self.kubeconfig_of_holdfast("holdfast");
        self.shared.runtime.block_on(client(&kubeconfig))
    }

    fn kubeconfig_of_holdfast(&self, name: &str) -> PathBuf {
        let kubeconfig = self.shared.dir.join(format!("{name}.kubeconfig"));
        let cluster = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "lab",
            "clusters": [{"name": "lab", "cluster": {"server": self.shared.proxy.address(), "certificate-authority": self.shared.dir.join("certificates/apiserver.crt")}}],
            "users": [{"name": "holdfast", "user": {"token": self.shared.token}}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "holdfast", "namespace": NAMESPACE}}],
        });
        std::fs::write(&kubeconfig, cluster.to_string()).unwrap();
        kubeconfig
    }

    /// Does something with a part of the cluster.
    pub(crate) fn cluster(&self, verb: &str, part: &str) {
        let done = Command::new(root().join("hack/cluster"))
            .args([verb, part, "--dir"])
            .arg(&self.shared.dir)
            .env("KUBEBUILDER_ASSETS", &self.shared.assets)
            .stdin(Stdio::null())
            .status()
            .unwrap();
        assert!(done.success(), "{verb} {part}");
    }

    /// `kubectl` as the administrator.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(self.shared.assets.join("kubectl"));
        command.arg("--kubeconfig").arg(self.shared.dir.join("kubeconfig")).args(arguments);
        let output = command.output().unwrap();
        assert!(output.status.success(), "kubectl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The administrator's kubeconfig.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.shared.dir.join("kubeconfig")
    }

    /// holdfast's command line as the administrator: its exit code, and what it printed.
    pub(crate) fn holdfast(&self, arguments: &[&str]) -> (i32, String, String) {
        Self::holdfast_with(&self.kubeconfig(), arguments)
    }

    /// The same in somebody else's right.
    pub(crate) fn holdfast_as(&self, user: &str, arguments: &[&str]) -> (i32, String, String) {
        let mut config: Value = serde_saphyr::from_str(&std::fs::read_to_string(self.kubeconfig()).unwrap()).unwrap();
        config["users"][0]["user"]["as"] = json!(user);
        let kubeconfig = self.shared.dir.join(format!("{user}.kubeconfig"));
        std::fs::write(&kubeconfig, config.to_string()).unwrap();
        Self::holdfast_with(&kubeconfig, arguments)
    }

    fn holdfast_with(kubeconfig: &Path, arguments: &[&str]) -> (i32, String, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_holdfast"))
            .args(arguments)
            .env("HOLDFAST_KUBECONFIG", kubeconfig)
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
    }

    /// Where the registry of the cluster is.
    pub(crate) fn registry(&self) -> String {
        std::fs::read_to_string(self.shared.dir.join("registry")).unwrap().trim().to_owned()
    }

    /// The status of a mirror, with its conditions by type.
    pub(crate) fn status(&self, name: &str) -> Status {
        let object = self.get(&mirror_path(name)).unwrap_or_else(|| panic!("there is no mirror {name}"));
        Status::of(object)
    }

    /// Waits for a condition's reason.
    #[track_caller]
    pub(crate) fn reason(&self, name: &str, condition: &str, reason: &str) -> Status {
        self.until(&format!("{condition} of {name} is {reason}"), |lab| {
            let status = lab.status(name);
            if status.reason(condition) == reason { Ok(status) } else { Err(status.text()) }
        })
    }

    /// A namespace, with labels.
    pub(crate) fn namespace(&self, name: &str, labels: &Value) {
        self.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}));
    }

    pub(crate) fn events(&self, mirror: &str) -> Vec<Value> {
        let all = self.call("GET", "/apis/events.k8s.io/v1/namespaces/default/events", None);
        let about =
            |event: &&Value| event["regarding"]["kind"] == "TrustRootMirror" && event["regarding"]["name"] == mirror;
        all["items"].as_array().unwrap().iter().filter(about).cloned().collect()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.shared.proxy.reset();
    }
}

/// What a mirror's status says.
pub(crate) struct Status {
    pub(crate) object: Value,
    conditions: BTreeMap<String, Value>,
}

impl Status {
    pub(crate) fn of(object: Value) -> Self {
        let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let by_type =
            conditions.into_iter().map(|condition| (condition["type"].as_str().unwrap().to_owned(), condition));
        Self { conditions: by_type.collect(), object }
    }

    pub(crate) fn condition(&self, name: &str) -> Option<&Value> {
        self.conditions.get(name)
    }

    pub(crate) fn is(&self, name: &str) -> &str {
        self.conditions.get(name).and_then(|condition| condition["status"].as_str()).unwrap_or("absent")
    }

    pub(crate) fn reason(&self, name: &str) -> &str {
        self.conditions.get(name).and_then(|condition| condition["reason"].as_str()).unwrap_or("absent")
    }

    pub(crate) fn message(&self, name: &str) -> &str {
        self.conditions.get(name).and_then(|condition| condition["message"].as_str()).unwrap_or("absent")
    }

    pub(crate) fn at(&self, pointer: &str) -> &Value {
        self.object["status"].pointer(pointer).unwrap_or(&Value::Null)
    }

    pub(crate) fn version(&self) -> String {
        self.object["metadata"]["resourceVersion"].as_str().unwrap().to_owned()
    }

    pub(crate) fn text(&self) -> String {
        serde_json::to_string_pretty(&self.object["status"]).unwrap()
    }
}

/// A running operator; it goes with this.
pub(crate) struct Operator<'a> {
    child: Option<Child>,
    pub(crate) log: PathBuf,
    lab: &'a Lab,
    pub(crate) started: Instant,
}

impl Operator<'_> {
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    fn lines(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Where it serves metrics and probes.
    pub(crate) fn address(&self) -> String {
        self.lab.until("the operator says where it listens", |_| {
            let lines = self.lines();
            let said = lines.iter().find_map(|line| line["address"].as_str());
            said.map(str::to_owned).ok_or_else(|| std::fs::read_to_string(&self.log).unwrap_or_default())
        })
    }

    /// What it answers: the status and the text.
    pub(crate) fn ask(&self, path: &str) -> (u16, String) {
        let url = format!("http://{}{path}", self.address());
        self.lab.shared.runtime.block_on(async {
            match reqwest::get(&url).await {
                Ok(answer) => (answer.status().as_u16(), answer.text().await.unwrap_or_default()),
                Err(error) => (0, error.to_string()),
            }
        })
    }

    /// Waits until it is ready.
    pub(crate) fn ready(&self) {
        self.lab.until("the operator is ready", |_| match self.ask("/readyz") {
            (200, _) => Ok(()),
            (_, text) => Err(format!("{text}\n{}", std::fs::read_to_string(&self.log).unwrap_or_default())),
        });
    }

    /// How many passes it made.
    pub(crate) fn passes(&self) -> f64 {
        self.metric("controller_runtime_reconcile_total", &["controller=\"trustrootmirror\""]).unwrap_or(0.0)
    }

    /// One metric, where it is there: the sum over all series that have these labels.
    pub(crate) fn metric(&self, name: &str, labels: &[&str]) -> Option<f64> {
        let (_, text) = self.ask("/metrics");
        let series = text.lines().filter(|line| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with(['{', ' '])) && labels.iter().all(|label| line.contains(label))
        });
        let values: Vec<f64> = series.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }

    /// Waits until a metric is as it should be: what is counted follows what is done, by a moment.
    pub(crate) fn until_metric(&self, name: &str, labels: &[&str], is: impl Fn(Option<f64>) -> bool) {
        self.lab.until(&format!("{name}{labels:?} is as it should be"), |_| {
            let now = self.metric(name, labels);
            if is(now) { Ok(()) } else { Err(format!("{now:?}")) }
        });
    }

    pub(crate) fn signal(&self, signal: &str) {
        let done = Command::new("kill").args([signal, &self.pid().to_string()]).status().unwrap();
        assert!(done.success());
    }

    /// Waits for its end: how it ended, and how long that took.
    pub(crate) fn ended(&mut self, patience: Duration) -> (Option<i32>, Duration) {
        let start = Instant::now();
        let child = self.child.as_mut().unwrap();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                self.child = None;
                return (status.code(), start.elapsed());
            }
            assert!(start.elapsed() < patience, "the operator does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Tells it to stop, and waits.
    pub(crate) fn stop(mut self) -> Duration {
        self.signal("-TERM");
        self.ended(Duration::from_secs(20)).1
    }

    /// What its log says, for people.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Whether a line of its log has this text.
    pub(crate) fn says(&self, text: &str) -> bool {
        self.said().contains(text)
    }
}

impl Drop for Operator<'_> {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            if std::thread::panicking() {
                let said = std::fs::read_to_string(&self.log).unwrap_or_default();
                let last: Vec<&str> = said.lines().rev().take(25).collect();
                eprintln!("the operator said last:\n{}", last.into_iter().rev().collect::<Vec<_>>().join("\n"));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Something that both a test and a thread of it look at.
pub(crate) type Both<T> = Arc<Mutex<T>>;
