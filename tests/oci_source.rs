//! A TUF repository in a real registry, pushed and read as people do.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a test that cannot go on fails

#[path = "support/oci.rs"]
mod oci_support;

use flate2::Compression;
use flate2::write::GzEncoder;
use holdfast::registry::client::{Client, Reference, RegistryError};
use holdfast::sources::oci::{Fetched, OciError, OciReference, fetch};
use holdfast::sources::{self, Tree};
use holdfast_core::Digest;
use holdfast_core::trust::tuf::{Grace, Refresh, State};
use holdfast_testpki::tuf::Repository;
use jiff::Timestamp;
use serde_json::{Value, json};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The registry, and where the trust is in it.
struct Source(oci_support::Registry);

fn registry() -> Option<Source> {
    oci_support::registry().map(Source)
}

impl Source {
    fn client(&self) -> Client {
        Client::new(self.0.settings()).unwrap()
    }

    fn reference(&self, tag: &str) -> OciReference {
        OciReference::parse(&format!("{}/trust/root:{tag}", self.0.host)).unwrap()
    }

    async fn blob(&self, bytes: &[u8]) -> Value {
        self.0.blob("trust/root", "application/octet-stream", bytes).await
    }

    async fn push(&self, tag: &str, layers: Vec<Value>) -> Digest {
        let config = self.blob(b"{}").await;
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers});
        self.0.manifest("trust/root", Some(tag), &manifest).await
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

async fn tree(registry: &Source, tag: &str) -> Tree {
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
