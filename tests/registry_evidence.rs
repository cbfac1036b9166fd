//! Evidence in a real registry, with the referrers API and behind a gateway that hides it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a test that cannot go on fails

#[path = "support/oci.rs"]
mod oci_support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use holdfast::registry::blobs::Blobs;
use holdfast::registry::client::Settings;
use holdfast::registry::remote::{LookFailure, Looked, Outcome, Remote, Stage};
use holdfast_core::Digest;
use holdfast_core::verify::{EvidenceForm, Reason};
use oci_support::{Registry, registry};
use serde_json::{Value, json};

const REPOSITORY: &str = "apps/web";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";

async fn image(registry: &Registry, text: &str) -> Digest {
    let config = registry.blob(REPOSITORY, "application/vnd.oci.image.config.v1+json", text.as_bytes()).await;
    let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": []});
    registry.manifest(REPOSITORY, Some("latest"), &manifest).await
}

/// As cosign 3 attaches a bundle; where the registry is not to list it, without its subject.
async fn attach(registry: &Registry, subject: Option<Digest>, media_type: &str, bytes: &[u8]) -> (Digest, usize) {
    let config = registry.blob(REPOSITORY, EMPTY, b"{}").await;
    let layer = registry.blob(REPOSITORY, media_type, bytes).await;
    let mut manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]});
    if let Some(subject) = subject {
        manifest["artifactType"] = json!(media_type);
        manifest["subject"] = json!({"mediaType": MANIFEST, "digest": subject, "size": 1});
    }
    (registry.manifest(REPOSITORY, None, &manifest).await, manifest.to_string().len())
}

/// A gateway in front of the registry that has no referrers API; its host.
async fn without_referrers(registry: &Registry) -> String {
    let (http, host) = (reqwest::Client::builder().no_proxy().build().unwrap(), registry.host.clone());
    let forward = move |uri: Uri, headers: HeaderMap| async move {
        if uri.path().contains("/referrers/") {
            return Response::builder().status(StatusCode::NOT_FOUND).body(Body::empty()).unwrap();
        }
        let request = http.get(format!("http://{host}{uri}")).header("accept", &headers["accept"]);
        let answer = request.send().await.unwrap();
        let mut response = Response::builder().status(answer.status());
        response.headers_mut().unwrap().clone_from(answer.headers());
        response.body(Body::from(answer.bytes().await.unwrap())).unwrap()
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(forward)).await });
    host
}

fn remote(settings: Settings) -> (Remote, Arc<AtomicUsize>) {
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = requests.clone();
    let observe = Arc::new(move |_: &str, outcome| {
        assert!(matches!(outcome, Outcome::Ok | Outcome::NotFound), "{outcome:?}");
        counted.fetch_add(1, Ordering::SeqCst);
    });
    (Remote::new(settings, 2, observe).unwrap(), requests)
}

fn bundles(looked: &Looked, kept: &Blobs) -> Vec<Vec<u8>> {
    let bytes = |piece| match looked.take(kept, piece).unwrap().form {
        EvidenceForm::Bundle(bytes) => bytes,
        other => panic!("{other:?}"),
    };
    looked.pieces.iter().map(bytes).collect()
}

#[tokio::test]
async fn a_bundle_is_found_by_the_listing() {
    let Some(registry) = registry() else { return };
    let signed = image(&registry, "signed").await;
    attach(&registry, Some(signed), "application/spdx+json", b"an sbom").await;
    attach(&registry, Some(signed), BUNDLE, b"a bundle").await;
    let unsigned = image(&registry, "unsigned").await;
    let dir = tempfile::tempdir().unwrap();
    for (look, requests) in [("the first", 6), ("again", 1), ("after a restart", 1)] {
        let kept = Blobs::on_disk(dir.path(), 1 << 20).unwrap();
        let (remote, asked) = remote(registry.settings());
        let looked = remote.look(REPOSITORY, signed, &kept, Stage::Bundles, &[]).await.unwrap();
        assert_eq!((bundles(&looked, &kept), &looked.incomplete), (vec![b"a bundle".to_vec()], &None), "{look}");
        assert!(looked.config.is_some() && looked.evidence.is_empty());
        assert!(asked.load(Ordering::SeqCst) <= requests, "{look}: {asked:?}");
    }
    let kept = Blobs::in_memory(1 << 20);
    let (remote, _) = remote(registry.settings());
    for stage in [Stage::Bundles, Stage::Legacy] {
        let looked = remote.look(REPOSITORY, unsigned, &kept, stage, &[]).await.unwrap();
        assert_eq!((looked.pieces.len(), looked.incomplete), (0, None), "{stage:?}");
    }
    let failure = remote.look("apps/other", unsigned, &Blobs::in_memory(0), Stage::Bundles, &[]).await.unwrap_err();
    assert!(matches!(failure, LookFailure::NotHere { .. }), "{failure}");
    // Kept from another repository, it does not show that this one has it.
    let failure = remote.look("apps/other", unsigned, &kept, Stage::Bundles, &[]).await.unwrap_err();
    assert_eq!(failure.reason(), Reason::RegistryUnavailable, "{failure}");
}

#[tokio::test]
async fn without_the_listing_a_bundle_is_found_by_the_fallback_tag() {
    let Some(registry) = registry() else { return };
    let signed = image(&registry, "signed").await;
    let (bundle, size) = attach(&registry, None, BUNDLE, b"a bundle").await;
    let listed: Vec<Value> = vec![json!({"mediaType": MANIFEST, "digest": bundle, "size": size})];
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": listed});
    registry.manifest(REPOSITORY, Some(&format!("sha256-{}", signed.hex())), &index).await;
    let hidden = Settings { host: without_referrers(&registry).await, ..registry.settings() };
    for settings in [hidden, registry.settings()] {
        let (kept, (remote, asked)) = (Blobs::in_memory(1 << 20), remote(settings));
        for requests in [5, 7] {
            let looked = remote.look(REPOSITORY, signed, &kept, Stage::Bundles, &[]).await.unwrap();
            assert_eq!((bundles(&looked, &kept), looked.incomplete), (vec![b"a bundle".to_vec()], None));
            assert_eq!(asked.load(Ordering::SeqCst), requests);
        }
    }
}
