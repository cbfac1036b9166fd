//! A real OCI registry of one's own, stopped at the end however the test ends.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // each file uses its part; a test that cannot go on fails

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use holdfast::registry::client::{Credentials, Settings};
use holdfast_core::Digest;
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const READABLE: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json";

/// The programs of a private Sigstore and of registries: where it is said, or where `hack/sigstore-assets` keeps them. Where there are none, says so.
pub(crate) fn assets() -> Option<PathBuf> {
    let said = std::env::var_os("HOLDFAST_SIGSTORE_ASSETS").map(PathBuf::from);
    let found = said.or_else(|| {
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
        let tools = std::fs::read_dir(cache.join("holdfast/tools")).ok()?;
        let kept = tools.filter_map(|entry| {
            let path = entry.ok()?.path();
            let ours = path.file_name()?.to_string_lossy().starts_with("sigstore-");
            let built = std::fs::metadata(path.join(".complete")).ok()?.modified().ok()?;
            ours.then_some((built, path))
        });
        kept.max().map(|(_, path)| path)
    });
    if found.is_none() {
        eprintln!("skipped: there are no programs of a private Sigstore (run hack/sigstore-assets once)");
    }
    found
}

/// A script of `hack` that runs until this goes, with a directory of its own.
pub(crate) struct Running {
    input: Option<ChildStdin>,
    script: Child,
    dir: TempDir,
}

impl Running {
    /// Runs it, and waits until it says that it is ready.
    pub(crate) fn of(script: &str, assets: &Path, arguments: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("hack").join(script));
        command.arg("run").arg("--dir").arg(dir.path().join("run")).args(arguments);
        command.env("HOLDFAST_SIGSTORE_ASSETS", assets);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let input = child.stdin.take();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if line != "ready\n" {
            let mut why = String::new();
            child.stderr.take().unwrap().read_to_string(&mut why).unwrap();
            panic!("hack/{script}: {line}{why}");
        }
        Self { input, script: child, dir }
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    pub(crate) fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir().join(name)).unwrap()
    }
}

/// It ends with its input.
impl Drop for Running {
    fn drop(&mut self) {
        self.input.take();
        let _ = self.script.wait();
    }
}

/// A registry that goes when this does.
pub(crate) struct Registry {
    running: Running,
    host: String,
    ca: Option<String>,
    user: Option<(String, String)>,
    token_url: Option<String>,
    http: reqwest::Client,
}

impl Registry {
    /// One in memory, open to everybody over plain http, with the referrers API or without. Says why where there is none.
    pub(crate) fn plain(referrers: bool) -> Option<Self> {
        Self::run(if referrers { &[] } else { &["--no-referrers"] })
    }

    /// The distribution project's, with a password and a certificate of a private CA. It has no referrers API. Says why where there is none.
    pub(crate) fn with_auth_and_tls() -> Option<Self> {
        Self::run(&["--auth", "--tls"])
    }

    /// The distribution project's, with tokens that a service gives to its user, and a certificate of a private CA. Says why where there is none.
    pub(crate) fn with_tokens() -> Option<Self> {
        Self::run(&["--tokens"])
    }

    fn run(arguments: &[&str]) -> Option<Self> {
        let running = Running::of("registry", &assets()?, arguments);
        let there = |name: &str| running.dir().join(name).exists().then(|| running.file(name));
        let host = running.file("host").trim().to_owned();
        let (ca, user) = (there("ca.pem"), there("user").zip(there("password")));
        let token_url = there("token-url").map(|url| url.trim().to_owned());
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut http = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0);
        if let Some(ca) = &ca {
            http = http.tls_certs_only([reqwest::Certificate::from_pem(ca.as_bytes()).unwrap()]);
        }
        Some(Self { running, host, ca, user, token_url, http: http.build().unwrap() })
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// The authority that vouches for it, as PEM; none where it speaks plain http.
    pub(crate) fn ca(&self) -> Option<&str> {
        self.ca.as_deref()
    }

    pub(crate) fn user(&self) -> Option<&str> {
        self.user.as_ref().map(|(user, _)| user.as_str())
    }

    pub(crate) fn password(&self) -> Option<&str> {
        self.user.as_ref().map(|(_, password)| password.as_str())
    }

    /// Where its tokens are from.
    pub(crate) fn token_url(&self) -> Option<&str> {
        self.token_url.as_deref()
    }

    /// A pull secret's `.dockerconfigjson` that lets in.
    pub(crate) fn docker_config(&self) -> Option<String> {
        self.user.as_ref().map(|_| self.running.file("config.json"))
    }

    /// How holdfast gets in.
    pub(crate) fn settings(&self) -> Settings {
        let credentials =
            |(user, password): &(String, String)| Credentials::new(user.clone(), password.clone()).unwrap();
        Settings {
            host: self.host.clone(),
            plain_http: self.ca.is_none(),
            ca_bundle: self.ca.as_ref().map(|ca| ca.as_bytes().to_vec()),
            credentials: self.user.as_ref().map(credentials),
            token_url: self.token_url.clone(),
            ..Settings::default()
        }
    }

    /// What cosign has to be told to get in.
    pub(crate) fn cosign_flags(&self) -> Vec<String> {
        let mut flags = Vec::new();
        if self.ca.is_some() {
            flags.push(format!("--registry-cacert={}", self.running.dir().join("ca.pem").display()));
        }
        if let Some((user, password)) = &self.user {
            flags.extend([format!("--registry-username={user}"), format!("--registry-password={password}")]);
        }
        flags
    }

    /// `HOST/REPOSITORY@DIGEST`.
    pub(crate) fn image(&self, repository: &str, digest: Digest) -> String {
        format!("{}/{repository}@{digest}", self.host)
    }

    /// Pushes an image whose one layer is `contents`; gives its digest.
    pub(crate) fn push_image(&self, repository: &str, tag: &str, contents: &[u8]) -> Digest {
        let config = json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}});
        let mut config = self.push_blob(repository, config.to_string().as_bytes());
        config["mediaType"] = json!("application/vnd.oci.image.config.v1+json");
        let mut layer = self.push_blob(repository, contents);
        layer["mediaType"] = json!("application/vnd.oci.image.layer.v1.tar");
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]});
        self.push_manifest(repository, Some(tag), MANIFEST, manifest.to_string().as_bytes())
    }

    /// Pushes an index of images; gives its digest.
    pub(crate) fn push_index(&self, repository: &str, tag: &str, images: &[Digest]) -> Digest {
        let children = images.iter().zip(["amd64", "arm64", "s390x"]).map(|(digest, architecture)| {
            let size = self.manifest(repository, &digest.to_string()).unwrap().len();
            json!({"mediaType": MANIFEST, "digest": digest, "size": size, "platform": {"os": "linux", "architecture": architecture}})
        });
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": children.collect::<Vec<_>>()});
        self.push_manifest(repository, Some(tag), INDEX, index.to_string().as_bytes())
    }

    /// Pushes a manifest by its tag, or by its digest alone.
    pub(crate) fn push_manifest(&self, repository: &str, tag: Option<&str>, media_type: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        let reference = tag.map_or_else(|| digest.to_string(), str::to_owned);
        let request = self.request(reqwest::Method::PUT, &format!("/v2/{repository}/manifests/{reference}"));
        let (status, _, body) = send(request.header("content-type", media_type).body(bytes.to_vec()));
        assert!(status.is_success(), "{status}: {}", String::from_utf8_lossy(&body));
        digest
    }

    /// Pushes a blob; gives its descriptor.
    pub(crate) fn push_blob(&self, repository: &str, bytes: &[u8]) -> Value {
        let digest = Digest::of(bytes);
        let begin = self.request(reqwest::Method::POST, &format!("/v2/{repository}/blobs/uploads/"));
        let (status, headers, _) = send(begin);
        assert!(status.is_success(), "{status}");
        let to = headers["location"].to_str().unwrap();
        let join = if to.contains('?') { '&' } else { '?' };
        let put = self.request(reqwest::Method::PUT, &format!("{to}{join}digest={digest}"));
        let (status, ..) = send(put.header("content-type", "application/octet-stream").body(bytes.to_vec()));
        assert!(status.is_success(), "{status}");
        json!({"mediaType": "application/octet-stream", "digest": digest, "size": bytes.len()})
    }

    /// Attaches a bundle to an image as cosign does: as a referrer, and where that API is absent, by the fallback tag.
    pub(crate) fn attach(&self, repository: &str, to: Digest, bundle: &[u8], predicate_type: &str) -> Digest {
        const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
        let mut layer = self.push_blob(repository, bundle);
        layer["mediaType"] = json!(BUNDLE);
        let mut config = self.push_blob(repository, b"{}");
        config["mediaType"] = json!("application/vnd.oci.empty.v1+json");
        let size = self.manifest(repository, &to.to_string()).unwrap().len();
        let annotations = json!({"dev.sigstore.bundle.content": "dsse-envelope", "dev.sigstore.bundle.predicateType": predicate_type});
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": BUNDLE, "config": config, "layers": [layer],
            "subject": {"mediaType": MANIFEST, "digest": to, "size": size}, "annotations": annotations,
        })
        .to_string();
        let digest = self.push_manifest(repository, None, MANIFEST, manifest.as_bytes());
        if self.get(&format!("/v2/{repository}/referrers/{to}")).is_none() {
            let tag = to.to_string().replace(':', "-");
            let index = self.manifest(repository, &tag);
            let mut index = index.map_or_else(
                || json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": []}),
                |bytes| serde_json::from_slice(&bytes).unwrap(),
            );
            let referrer = json!({"mediaType": MANIFEST, "digest": digest, "size": manifest.len(), "artifactType": BUNDLE, "annotations": annotations});
            index["manifests"].as_array_mut().unwrap().push(referrer);
            self.push_manifest(repository, Some(&tag), INDEX, index.to_string().as_bytes());
        }
        digest
    }

    /// The descriptors of what refers to an image, by the referrers API or the fallback tag.
    pub(crate) fn referrers(&self, repository: &str, digest: Digest) -> Vec<Value> {
        let tag = digest.to_string().replace(':', "-");
        let index =
            self.get(&format!("/v2/{repository}/referrers/{digest}")).or_else(|| self.manifest(repository, &tag));
        let index: Value = index.map(|bytes| serde_json::from_slice(&bytes).unwrap()).unwrap_or_default();
        index["manifests"].as_array().cloned().unwrap_or_default()
    }

    /// The bundles that refer to an image, each with its predicate type.
    pub(crate) fn bundles(&self, repository: &str, digest: Digest) -> Vec<(Vec<u8>, String)> {
        let bundle = |referrer: Value| {
            let manifest = self.manifest(repository, referrer["digest"].as_str()?)?;
            let manifest: Value = serde_json::from_slice(&manifest).ok()?;
            let layer = manifest["layers"][0]["digest"].as_str()?;
            let predicate_type = manifest["annotations"]["dev.sigstore.bundle.predicateType"].as_str()?.to_owned();
            Some((self.blob(repository, layer)?, predicate_type))
        };
        self.referrers(repository, digest).into_iter().filter_map(bundle).collect()
    }

    /// A manifest by tag or digest.
    pub(crate) fn manifest(&self, repository: &str, reference: &str) -> Option<Vec<u8>> {
        self.get(&format!("/v2/{repository}/manifests/{reference}"))
    }

    pub(crate) fn blob(&self, repository: &str, digest: &str) -> Option<Vec<u8>> {
        self.get(&format!("/v2/{repository}/blobs/{digest}"))
    }

    /// Copies an image into an image layout, with what refers to it and what is tagged for it, as a tool does that carries evidence along.
    pub(crate) fn copy(&self, repository: &str, digest: Digest, to: &Path) {
        let blobs = to.join("blobs/sha256");
        std::fs::create_dir_all(&blobs).unwrap();
        std::fs::write(to.join("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        let before = std::fs::read(to.join("index.json")).ok();
        let mut index: Value = before.map_or_else(
            || json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": []}),
            |bytes| serde_json::from_slice(&bytes).unwrap(),
        );
        let plain = digest.to_string().replace(':', "-");
        let mut roots = vec![(digest.to_string(), Some(format!("{}/{repository}@{digest}", self.host)))];
        let referrers = self.referrers(repository, digest);
        roots.extend(referrers.iter().filter_map(|referrer| Some((referrer["digest"].as_str()?.to_owned(), None))));
        roots.extend([format!("{plain}.sig"), format!("{plain}.att")].into_iter().filter_map(|tag| {
            let manifest = self.manifest(repository, &tag)?;
            Some((Digest::of(&manifest).to_string(), Some(tag)))
        }));
        let mut seen = BTreeSet::new();
        for (root, name) in roots {
            let manifest = self.manifest(repository, &root).unwrap();
            let parsed: Value = serde_json::from_slice(&manifest).unwrap();
            let mut descriptor = json!({"mediaType": parsed["mediaType"], "digest": root, "size": manifest.len()});
            if let Some(name) = name {
                descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": name});
            }
            index["manifests"].as_array_mut().unwrap().push(descriptor);
            self.copy_blobs(repository, &root, &blobs, &mut seen);
        }
        std::fs::write(to.join("index.json"), index.to_string()).unwrap();
    }

    fn copy_blobs(&self, repository: &str, manifest: &str, blobs: &Path, seen: &mut BTreeSet<String>) {
        if !seen.insert(manifest.to_owned()) {
            return;
        }
        let bytes = self.manifest(repository, manifest).unwrap();
        let parsed: Value = serde_json::from_slice(&bytes).unwrap();
        std::fs::write(blobs.join(manifest.trim_start_matches("sha256:")), bytes).unwrap();
        for child in parsed["manifests"].as_array().into_iter().flatten() {
            self.copy_blobs(repository, child["digest"].as_str().unwrap(), blobs, seen);
        }
        for blob in parsed["layers"].as_array().into_iter().flatten().chain(parsed.get("config")) {
            let digest = blob["digest"].as_str().unwrap();
            let bytes = self.blob(repository, digest).unwrap();
            std::fs::write(blobs.join(digest.trim_start_matches("sha256:")), bytes).unwrap();
        }
    }

    /// What is at a path, where something is.
    pub(crate) fn get(&self, path: &str) -> Option<Vec<u8>> {
        let (status, _, body) = send(self.request(reqwest::Method::GET, path).header("accept", READABLE));
        status.is_success().then_some(body)
    }

    fn request(&self, method: reqwest::Method, to: &str) -> reqwest::RequestBuilder {
        let scheme = if self.ca.is_some() { "https" } else { "http" };
        let url = if to.starts_with('/') { format!("{scheme}://{}{to}", self.host) } else { to.to_owned() };
        let request = self.http.request(method, &url);
        match (&self.user, &self.token_url) {
            (Some(_), Some(token_url)) => request.bearer_auth(self.token(token_url, &url)),
            (Some((user, password)), None) => request.basic_auth(user, Some(password)),
            (None, _) => request,
        }
    }

    /// A token for the repository that a URL is of.
    fn token(&self, token_url: &str, url: &str) -> String {
        let path = url.split_once("/v2/").unwrap().1;
        let kinds = ["/manifests/", "/blobs/", "/referrers/", "/tags/"];
        let repository =
            kinds.iter().find_map(|kind| path.rsplit_once(kind)).map_or(path, |(repository, _)| repository);
        let (user, password) = self.user.as_ref().unwrap();
        let url = format!("{token_url}?service=registry&scope=repository:{repository}:pull,push");
        let (status, _, body) = send(self.http.get(url).basic_auth(user, Some(password)));
        assert!(status.is_success(), "{status}");
        let answer: Value = serde_json::from_slice(&body).unwrap();
        answer["token"].as_str().unwrap().to_owned()
    }
}

/// Sends it and waits, on a thread of its own: whoever calls may be in a runtime or not.
fn send(request: reqwest::RequestBuilder) -> (reqwest::StatusCode, reqwest::header::HeaderMap, Vec<u8>) {
    let sent = async {
        let answer = request.send().await.unwrap();
        (answer.status(), answer.headers().clone(), answer.bytes().await.unwrap().to_vec())
    };
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    std::thread::scope(|scope| scope.spawn(|| runtime().block_on(sent)).join().unwrap())
}
