//! What a GitOps directory declares: workloads, namespaces, our own objects, and trust data beside them.

mod manifest;
mod pods;
mod walk;

use std::collections::BTreeMap;
use std::path::PathBuf;

use holdfast_core::api::common::SecretRef;
use holdfast_core::api::strict::Object;
use holdfast_core::coverage::Inventory;

pub use walk::{ReadError, read, take_bytes};

/// Everything that was found.
#[derive(Debug, Default)]
pub struct GitOps {
    /// Workloads and their images.
    pub inventory: Inventory,
    /// Our own objects, with where each was found.
    pub objects: Vec<(Place, Object)>,
    /// ConfigMaps, by namespace and name.
    pub config_maps: BTreeMap<(String, String), BTreeMap<String, Vec<u8>>>,
    /// Secrets, by namespace and name.
    pub secrets: BTreeMap<(String, String), BTreeMap<String, Vec<u8>>>,
    /// Documents of kinds that bring in no image.
    pub others: usize,
    /// Files with manifests.
    pub files: usize,
    /// What may hold manifests and was not read, in words.
    pub unread: Vec<String>,
    /// Where each object that counts was found, by group, kind, namespace and name.
    seen: BTreeMap<[String; 4], Place>,
}

impl GitOps {
    /// The public key a policy refers to. Such Secrets are of holdfast's own namespace, whichever that will be: the name decides among the manifests.
    pub fn public_key(&self, reference: &SecretRef) -> Option<Vec<u8>> {
        let (_, data) = self.secrets.iter().find(|((_, name), _)| *name == reference.name)?;
        data.get(reference.key.as_deref().unwrap_or("cosign.pub")).cloned()
    }
}

/// Where a document stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// The document in it, from 1.
    pub document: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.document {
            1 => write!(f, "{}", self.file.display()),
            document => write!(f, "{}, document {document}", self.file.display()),
        }
    }
}
