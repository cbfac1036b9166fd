//! A TUF repository in a real registry, pushed and read as people do.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a test that cannot go on fails

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;
use holdfast::registry::client::{Client, Reference, RegistryError, Settings};
use holdfast::sources::oci::{Fetched, OciError, OciReference, fetch};
use holdfast::sources::{self, Tree};
use holdfast_core::Digest;
use holdfast_core::trust::tuf::{Grace, Refresh, State};
use holdfast_testpki::tuf::Repository;
use jiff::Timestamp;
use serde_json::{Value, json};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A registry in a process of its own, ended with the test.
struct Registry {
    process: Child,
    host: String,
    /// For pushing.
    http: reqwest::Client,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The registry `hack/kube-assets` builds; where it was not built, says so.
fn registry() -> Option<Registry> {
    let binary = assets().map(|dir| dir.join("oci-registry")).filter(|binary| binary.is_file());
    let Some(binary) = binary else {
        eprintln!("skipped: there is no oci-registry (run `hack/kube-assets`, which builds it once)");
        return None;
    };
    let mut process = Command::new(binary).arg("127.0.0.1:0").stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(process.stderr.take().unwrap());
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    let host = line.trim().rsplit(' ').next().unwrap().to_owned();
    // Its log is read to the end, so that it never waits for a reader.
    std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    Some(Registry { process, host, http })
}

fn assets() -> Option<PathBuf> {
    let declared = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    let built = cache.and_then(|cache| std::fs::read_dir(cache.join("holdfast/tools")).ok());
    let complete = built.into_iter().flatten().flatten().map(|entry| entry.path());
    declared
        .into_iter()
        .chain(complete.filter(|dir| dir.join(".complete").exists()))
        .find(|dir| dir.join("oci-registry").is_file())
}

impl Registry {
    fn client(&self) -> Client {
        Client::new(Settings { host: self.host.clone(), plain_http: true, ..Settings::default() }).unwrap()
    }

    fn reference(&self, tag: &str) -> OciReference {
        OciReference::parse(&format!("{}/trust/root:{tag}", self.host)).unwrap()
    }

    async fn blob(&self, bytes: &[u8]) -> Value {
        let digest = Digest::of(bytes);
        let url = format!("http://{}/v2/trust/root/blobs/uploads/", self.host);
        let begun = self.http.post(url).send().await.unwrap();
        let to = begun.headers()["location"].to_str().unwrap().to_owned();
        let to = if to.starts_with('/') { format!("http://{}{to}", self.host) } else { to };
        let put = self.http.put(format!("{to}?digest={digest}")).body(bytes.to_vec()).send().await.unwrap();
        assert!(put.status().is_success(), "{}", put.status());
        json!({"mediaType": "application/octet-stream", "digest": digest, "size": bytes.len()})
    }

    async fn push(&self, tag: &str, layers: Vec<Value>) -> Digest {
        let config = self.blob(b"{}").await;
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers});
        let text = manifest.to_string();
        let url = format!("http://{}/v2/trust/root/manifests/{tag}", self.host);
        let request = self.http.put(url).header("content-type", MANIFEST).body(text.clone());
        let put = request.send().await.unwrap();
        assert!(put.status().is_success(), "{}", put.status());
        Digest::of(text.as_bytes())
    }
}

fn repository(at: Timestamp) -> Repository {
    let mut repository = Repository::new(at);
    repository.files.insert("trusted_root.json".to_owned(), b"{\"trusted\": true}".to_vec());
    repository.files.insert("team/other.json".to_owned(), b"{}".to_vec());
    repository
}

fn packed(at: &str, repository: &Repository) -> Vec<u8> {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    for (path, bytes) in repository.files() {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        builder.append_data(&mut header, format!("{at}{path}"), bytes.as_slice()).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

/// What the repository in the registry says, verified from its first root.
fn verified(tree: &Tree, first: &[u8], now: Timestamp) -> Vec<u8> {
    let state = State::bootstrap(first, None, now).unwrap();
    let mut refresh = Refresh::begin(&state, now, Grace::NONE).unwrap();
    sources::refresh(tree, &mut refresh).unwrap();
    sources::target(tree, &mut refresh, "team/other.json", &|| None).unwrap();
    sources::target(tree, &mut refresh, "trusted_root.json", &|| None).unwrap().bytes().to_vec()
}

async fn tree(registry: &Registry, tag: &str) -> Tree {
    match fetch(&registry.client(), &registry.reference(tag), None).await.unwrap() {
        Fetched::New { tree, .. } => tree,
        unchanged @ Fetched::Unchanged { .. } => panic!("{unchanged:?}"),
    }
}

#[tokio::test]
async fn a_repository_is_read_however_it_was_pushed() {
    let Some(registry) = registry() else { return };
    let now: Timestamp = "2026-11-01T00:00:00Z".parse().unwrap();
    let repository = repository(now);
    let first = repository.files()["1.root.json"].clone();

    let archive = registry.blob(&packed("", &repository)).await;
    let digest = registry.push("archive", vec![archive]).await;
    assert_eq!(verified(&tree(&registry, "archive").await, &first, now), b"{\"trusted\": true}");
    let known = fetch(&registry.client(), &registry.reference("archive"), Some(digest)).await;
    assert_eq!(known, Ok(Fetched::Unchanged { digest }));

    let mut files = Vec::new();
    for (path, bytes) in repository.files() {
        let mut layer = registry.blob(&bytes).await;
        layer["annotations"] = json!({"org.opencontainers.image.title": path});
        files.push(layer);
    }
    registry.push("files", files).await;
    assert_eq!(verified(&tree(&registry, "files").await, &first, now), b"{\"trusted\": true}");

    let mut directory = registry.blob(&packed("tuf/", &repository)).await;
    directory["annotations"] = json!({"org.opencontainers.image.title": "tuf", "io.deis.oras.content.unpack": "true"});
    registry.push("directory", vec![directory]).await;
    assert_eq!(verified(&tree(&registry, "directory").await, &first, now), b"{\"trusted\": true}");

    let lower = registry.blob(&packed("", &repository)).await;
    let mut later = repository;
    later.publish(now);
    let upper = registry.blob(&packed("", &later)).await;
    registry.push("image", vec![lower, upper]).await;
    assert_eq!(verified(&tree(&registry, "image").await, &first, now), b"{\"trusted\": true}");
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let Some(registry) = registry() else { return };
    let digest = registry.push("here", vec![registry.blob(b"no archive").await]).await;
    let client = registry.client();
    let missing = fetch(&client, &registry.reference("elsewhere"), None).await;
    assert!(matches!(missing, Err(OciError::Registry(RegistryError::NotFound { .. }))), "{missing:?}");
    let blob = client.blob("trust/root", Digest::of(b"none"), 100).await;
    assert!(matches!(blob, Err(RegistryError::NotFound { .. })), "{blob:?}");
    let other = client.manifest("trust/other", Reference::Tag("here"), 1000).await;
    assert!(matches!(other, Err(RegistryError::NotFound { .. })), "{other:?}");
    let manifest = client.manifest("trust/root", Reference::Digest(digest), 1000).await.unwrap();
    assert_eq!((manifest.digest, manifest.media_type.as_str()), (digest, MANIFEST));
    assert_eq!(client.blob("trust/root", Digest::of(b"no archive"), 10).await.unwrap(), b"no archive");
    let large = client.blob("trust/root", Digest::of(b"no archive"), 9).await;
    assert!(matches!(large, Err(RegistryError::TooLarge { max: 9, .. })), "{large:?}");
}
