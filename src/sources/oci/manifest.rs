//! Manifests and indexes (OCI image specification; Docker's second version).

use std::collections::BTreeMap;

use holdfast_core::Digest;
use holdfast_core::json::{self, Limits};
use serde::Deserialize;

use super::{MAX_MANIFEST, OciError};

const INDEXES: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];
const MANIFESTS: [&str; 2] =
    ["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"];
const TITLE: &str = "org.opencontainers.image.title";
const UNPACK: &str = "io.deis.oras.content.unpack";

/// What a manifest or an index lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Artifact {
    /// Manifests.
    Index(Vec<Descriptor>),
    /// Layers.
    Layers(Vec<Descriptor>),
}

/// Something a manifest lists. Addresses in it (`urls`) are not read: nothing is dialled that is not declared.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    pub(super) media_type: String,
    pub(super) digest: Digest,
    pub(super) size: u64,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: u32,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
}

impl Artifact {
    /// Reads a manifest or an index that came as `media_type`. `what` names it in errors.
    pub(super) fn parse(bytes: &[u8], media_type: &str, what: &str) -> Result<Self, OciError> {
        let wrong = |detail: String| OciError::Manifest { what: what.to_owned(), detail };
        let max_len = usize::try_from(MAX_MANIFEST).unwrap_or(usize::MAX);
        let document: Document =
            json::read(bytes, Limits { max_len, max_depth: 16 }).map_err(|e| wrong(e.to_string()))?;
        if document.schema_version != 2 {
            return Err(wrong(format!("its schemaVersion is {}, and 2 is read", document.schema_version)));
        }
        if let Some(own) = document.media_type.filter(|own| own != media_type) {
            let own: String = own.chars().take(120).collect();
            return Err(wrong(format!("it says that it is `{own}`, and it comes as `{media_type}`")));
        }
        // What reads as both is one thing to one reader and another to the next.
        match (document.manifests, document.layers) {
            (Some(manifests), None) if INDEXES.contains(&media_type) => Ok(Self::Index(manifests)),
            (None, Some(layers)) if MANIFESTS.contains(&media_type) => Ok(Self::Layers(layers)),
            _ => Err(wrong(format!("it does not list what `{media_type}` lists: layers, or else manifests"))),
        }
    }

    /// Its layers; an index behind an index is not followed.
    pub(super) fn layers(self, what: &str) -> Result<Vec<Descriptor>, OciError> {
        match self {
            Self::Layers(layers) => Ok(layers),
            Self::Index(_) => {
                let detail = "it is an index behind an index, which is not followed".to_owned();
                Err(OciError::Manifest { what: what.to_owned(), detail })
            }
        }
    }
}

impl Descriptor {
    /// The name it was pushed under.
    pub(super) fn title(&self) -> Option<&str> {
        self.annotations.as_ref()?.get(TITLE).map(String::as_str).filter(|title| !title.is_empty())
    }

    /// Whether it is a packed directory.
    pub(super) fn is_directory(&self) -> bool {
        self.annotations.as_ref().and_then(|a| a.get(UNPACK)).is_some_and(|unpack| unpack == "true")
    }

    pub(super) fn check_size(&self, bytes: &[u8]) -> Result<(), OciError> {
        if u64::try_from(bytes.len()) == Ok(self.size) {
            return Ok(());
        }
        let detail = format!("it has {} bytes where {} are stated", bytes.len(), self.size);
        Err(OciError::Manifest { what: self.digest.to_string(), detail })
    }
}

/// The one manifest an index lists.
pub(super) fn only(mut manifests: Vec<Descriptor>, what: &str) -> Result<Descriptor, OciError> {
    match (manifests.pop(), manifests.len()) {
        (Some(only), 0) => Ok(only),
        (None, _) => Err(OciError::Manifests { what: what.to_owned(), count: 0 }),
        (Some(_), others) => Err(OciError::Manifests { what: what.to_owned(), count: others + 1 }),
    }
}
