//! OCI image layouts with evidence attached, as the tools of the field write them.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde_json::{Value, json};

use crate::tuf::write_all;
use crate::{Legacy, sha256};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// An image layout in the making.
#[derive(Debug, Default, Clone)]
pub struct Layout {
    blobs: BTreeMap<String, Vec<u8>>,
    index: Vec<Value>,
}

/// An image in a layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its digest, `sha256:…`.
    pub digest: String,
    /// Its manifest, byte for byte.
    pub manifest: Vec<u8>,
}

impl Layout {
    /// An empty layout.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a blob and gives its digest.
    pub fn blob(&mut self, content: &[u8]) -> String {
        let hex = hex::encode(sha256(content));
        self.blobs.insert(hex.clone(), content.to_vec());
        format!("sha256:{hex}")
    }

    /// Makes an image whose content is `text`; not yet listed.
    pub fn make(&mut self, text: &str) -> Image {
        let config = self.blob(
            json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}})
                .to_string()
                .as_bytes(),
        );
        let layer = self.blob(text.as_bytes());
        let config_size = self.size(&config);
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": config_size},
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer, "size": text.len()}],
        })
        .to_string()
        .into_bytes();
        Image { digest: self.blob(&manifest), manifest }
    }

    /// Makes an image and lists it under a full reference or a bare tag.
    pub fn image(&mut self, text: &str, name: &str) -> Image {
        let image = self.make(text);
        self.image_of(&image, name);
        image
    }

    /// Lists an image under a full reference or a bare tag.
    pub fn image_of(&mut self, image: &Image, name: &str) {
        self.list(&image.digest, MANIFEST, &json!({"org.opencontainers.image.ref.name": name}));
    }

    /// Makes an index of images and lists it.
    pub fn index(&mut self, images: &[&Image], name: &str) -> Image {
        let children: Vec<Value> = images
            .iter()
            .map(|image| json!({"mediaType": MANIFEST, "digest": image.digest, "size": image.manifest.len()}))
            .collect();
        let manifest = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": children}).to_string().into_bytes();
        self.list_index(&manifest, name)
    }

    /// Lists an index as it is given.
    pub fn list_index(&mut self, manifest: &[u8], name: &str) -> Image {
        let image = Image { digest: self.blob(manifest), manifest: manifest.to_vec() };
        self.list(&image.digest, INDEX, &json!({"org.opencontainers.image.ref.name": name}));
        image
    }

    /// Attaches a bundle as a referrer, the way cosign does in a registry that knows referrers.
    pub fn attach(&mut self, image: &Image, bundle: &Value) -> String {
        let digest = self.bundle_manifest(image, bundle);
        self.list(&digest, MANIFEST, &Value::Null);
        digest
    }

    /// Attaches a bundle by the fallback tag, the way cosign does where referrers are not known.
    pub fn attach_by_tag(&mut self, image: &Image, bundle: &Value) {
        let digest = self.bundle_manifest(image, bundle);
        let child =
            json!({"mediaType": MANIFEST, "digest": digest, "size": self.size(&digest), "artifactType": BUNDLE});
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [child]}).to_string().into_bytes();
        let index = self.blob(&index);
        self.list(&index, INDEX, &json!({"org.opencontainers.image.ref.name": image.digest.replace(':', "-")}));
    }

    /// Attaches cosign's legacy form under its tag; `suffix` is `sig` or `att`.
    pub fn attach_legacy(&mut self, image: &Image, legacy: &Legacy, suffix: &str) {
        let digest = self.legacy_manifest(legacy, suffix);
        let tag = format!("{}.{suffix}", image.digest.replace(':', "-"));
        self.list(&digest, MANIFEST, &json!({"org.opencontainers.image.ref.name": tag}));
    }

    /// Attaches cosign's legacy form as `cosign save` writes it, beside an image listed under `name`.
    pub fn save(&mut self, name: &str, legacy: &Legacy, kind: &str) {
        let digest = self.legacy_manifest(legacy, if kind == "sigs" { "sig" } else { "att" });
        let annotations =
            json!({"kind": format!("dev.cosignproject.cosign/{kind}"), "org.opencontainers.image.ref.name": name});
        self.list(&digest, MANIFEST, &annotations);
    }

    /// Lists an image as `cosign save` does: by what it is, `image` or `imageIndex`, without a name.
    pub fn save_image(&mut self, image: &Image, kind: &str) {
        let media_type = if kind == "imageIndex" { INDEX } else { MANIFEST };
        self.list(&image.digest, media_type, &json!({"kind": format!("dev.cosignproject.cosign/{kind}")}));
    }

    /// Lists cosign's legacy form as `cosign save` does, `sigs` or `atts` of an image that is not named.
    pub fn save_beside(&mut self, legacy: &Legacy, kind: &str) {
        let digest = self.legacy_manifest(legacy, if kind == "sigs" { "sig" } else { "att" });
        self.list(&digest, MANIFEST, &json!({"kind": format!("dev.cosignproject.cosign/{kind}")}));
    }

    /// Stores a bundle as `cosign save` does: nothing lists it. Gives the digest of its manifest.
    pub fn attach_unlisted(&mut self, image: &Image, bundle: &Value) -> String {
        self.bundle_manifest(image, bundle)
    }

    /// Takes a blob away, though it stays listed.
    pub fn lose(&mut self, digest: &str) {
        self.blobs.remove(digest.trim_start_matches("sha256:"));
    }

    /// Changes a blob, though its digest stays.
    pub fn damage(&mut self, digest: &str) {
        if let Some(blob) = self.blobs.get_mut(digest.trim_start_matches("sha256:")) {
            blob.push(b' ');
        }
    }

    fn legacy_manifest(&mut self, legacy: &Legacy, suffix: &str) -> String {
        let media_type = if suffix == "sig" {
            "application/vnd.dev.cosign.simplesigning.v1+json"
        } else {
            "application/vnd.dsse.envelope.v1+json"
        };
        let blob = self.blob(&legacy.payload);
        let layer = json!({"mediaType": media_type, "digest": blob, "size": legacy.payload.len(), "annotations": legacy.annotations});
        let empty = self.blob(b"{}");
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": {"mediaType": EMPTY, "digest": empty, "size": 2}, "layers": [layer]});
        self.blob(manifest.to_string().as_bytes())
    }

    fn bundle_manifest(&mut self, image: &Image, bundle: &Value) -> String {
        let content = bundle.to_string().into_bytes();
        let blob = self.blob(&content);
        let empty = self.blob(b"{}");
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": BUNDLE,
            "config": {"mediaType": EMPTY, "digest": empty, "size": 2},
            "layers": [{"mediaType": BUNDLE, "digest": blob, "size": content.len()}],
            "subject": {"mediaType": MANIFEST, "digest": image.digest, "size": image.manifest.len()},
        });
        self.blob(manifest.to_string().as_bytes())
    }

    fn list(&mut self, digest: &str, media_type: &str, annotations: &Value) {
        let mut descriptor = json!({"mediaType": media_type, "digest": digest, "size": self.size(digest)});
        if !annotations.is_null() {
            descriptor["annotations"] = annotations.clone();
        }
        self.index.push(descriptor);
    }

    fn size(&self, digest: &str) -> usize {
        self.blobs.get(digest.trim_start_matches("sha256:")).map_or(0, Vec::len)
    }

    /// Writes the layout.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        let mut files: BTreeMap<String, Vec<u8>> =
            self.blobs.iter().map(|(hex, blob)| (format!("blobs/sha256/{hex}"), blob.clone())).collect();
        files.insert("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec());
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": self.index});
        files.insert("index.json".to_owned(), serde_json::to_vec_pretty(&index)?);
        write_all(dir, &files)
    }
}
