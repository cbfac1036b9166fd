//! A registry with one image, and what is stored for it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Value, json};

use super::*;
use crate::registry::client::fake::Fake;

pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const DSSE: &str = "application/vnd.dsse.envelope.v1+json";

#[derive(Clone)]
pub(super) struct Staged {
    image: Vec<u8>,
    api: bool,
    /// Whether referrers go behind the fallback tag.
    falls_back: bool,
    /// What referrers name as their subject.
    pub(super) subject: Digest,
    pub(super) listed: Vec<Digest>,
    tagged: Vec<Digest>,
    /// By digest or tag: media type and bytes.
    manifests: BTreeMap<String, (&'static str, Vec<u8>)>,
    blobs: BTreeMap<Digest, Vec<u8>>,
}

pub(super) fn config() -> Digest {
    Digest::of(b"the configuration")
}

/// An authority, given so that nobody reads those of the system for each of thousands of registries without TLS.
static CA: LazyLock<Vec<u8>> = LazyLock::new(|| Fake::with_tls(|_| Reply::new(404, b"")).1);

pub(super) fn remote(fake: &Fake) -> Remote {
    let settings = Settings { ca_bundle: Some(CA.clone()), ..fake.settings() };
    Remote::new(settings, 4, unobserved()).unwrap()
}

impl Staged {
    pub(super) fn new(api: bool) -> Self {
        let config = json!({"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config(), "size": 1});
        Self::of(&json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": []}), MANIFEST, api)
    }

    pub(super) fn of_index(children: &[Digest]) -> Self {
        let children: Vec<Value> =
            children.iter().map(|digest| json!({"mediaType": MANIFEST, "digest": digest, "size": 1})).collect();
        Self::of(&json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": children}), INDEX, true)
    }

    fn of(image: &Value, media_type: &'static str, api: bool) -> Self {
        let image = image.to_string().into_bytes();
        let digest = Digest::of(&image);
        let manifests = BTreeMap::from([(digest.to_string(), (media_type, image.clone()))]);
        let (listed, tagged, blobs) = (Vec::new(), Vec::new(), BTreeMap::new());
        Self { image, api, falls_back: !api, subject: digest, listed, tagged, manifests, blobs }
    }

    pub(super) fn image(&self) -> Digest {
        Digest::of(&self.image)
    }

    pub(super) fn tag(&self, suffix: &str) -> String {
        format!("sha256-{}{suffix}", self.image().hex())
    }

    pub(super) const fn fall_back(&mut self) {
        self.falls_back = true;
    }

    fn stored(&mut self, media_type: &str, layers: &[&[u8]], subject: Option<Digest>) -> (Digest, Vec<u8>) {
        let layers: Vec<Value> = layers
            .iter()
            .map(|layer| {
                let digest = Digest::of(layer);
                self.blobs.insert(digest, layer.to_vec());
                let annotations = json!({"dev.cosignproject.cosign/signature": "c2ln"});
                json!({"mediaType": media_type, "digest": digest, "size": layer.len(), "annotations": annotations})
            })
            .collect();
        let subject = subject.map(|digest| json!({"mediaType": MANIFEST, "digest": digest, "size": 1}));
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "layers": layers, "subject": subject});
        let manifest = manifest.to_string().into_bytes();
        let digest = Digest::of(&manifest);
        self.manifests.insert(digest.to_string(), (MANIFEST, manifest.clone()));
        (digest, manifest)
    }

    fn refer(&mut self, media_type: &str, layers: &[&[u8]]) -> Digest {
        let (digest, _) = self.stored(media_type, layers, Some(self.subject));
        if self.falls_back {
            self.tagged.push(digest);
            let index = index(&self.tagged).into_bytes();
            self.manifests.insert(self.tag(""), (INDEX, index));
        } else {
            self.listed.push(digest);
        }
        digest
    }

    pub(super) fn bundle(&mut self, layers: &[&[u8]]) -> Digest {
        self.refer(BUNDLE, layers)
    }

    pub(super) fn sbom(&mut self, layer: &[u8]) -> Digest {
        self.refer("application/spdx+json", &[layer])
    }

    pub(super) fn signatures(&mut self, layers: &[&[u8]]) {
        let (_, manifest) = self.stored(SIMPLE_SIGNING, layers, None);
        self.manifests.insert(self.tag(".sig"), (MANIFEST, manifest));
    }

    pub(super) fn attestations(&mut self, layers: &[&[u8]]) {
        let (_, manifest) = self.stored(DSSE, layers, None);
        self.manifests.insert(self.tag(".att"), (MANIFEST, manifest));
    }

    pub(super) fn answer(&self, asked: &Asked) -> Reply {
        let path = asked.path.split('?').next().unwrap_or_default();
        let rest = path.strip_prefix("/v2/apps/web/").unwrap_or_default();
        match rest.split_once('/') {
            Some(("manifests", reference)) => self
                .manifests
                .get(reference)
                .map_or_else(|| Reply::new(404, b""), |(media_type, bytes)| Reply::manifest(media_type, bytes)),
            Some(("blobs", digest)) => digest
                .parse()
                .ok()
                .and_then(|digest| self.blobs.get(&digest))
                .map_or_else(|| Reply::new(404, b""), |bytes| Reply::new(200, bytes)),
            Some(("referrers", digest)) if self.api => {
                let listed = if digest == self.image().to_string() { self.listed.as_slice() } else { &[] };
                Reply::manifest(INDEX, index(listed).as_bytes())
            }
            _ => Reply::new(404, b""),
        }
    }

    pub(super) fn serve(&self) -> Fake {
        let staged = self.clone();
        Fake::new(move |asked| staged.answer(asked))
    }

    /// Serves it, but for what `instead` answers.
    pub(super) fn serve_but(&self, instead: impl Fn(&Asked) -> Option<Reply> + Send + Sync + 'static) -> Fake {
        let staged = self.clone();
        Fake::new(move |asked| instead(asked).unwrap_or_else(|| staged.answer(asked)))
    }
}

pub(super) fn index(referrers: &[Digest]) -> String {
    let listed: Vec<Value> =
        referrers.iter().map(|digest| json!({"mediaType": MANIFEST, "digest": digest, "size": 1})).collect();
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": listed}).to_string()
}
