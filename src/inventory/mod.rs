//! What a GitOps directory declares: workloads, namespaces, our own objects, and trust data beside them.

pub mod live;
mod manifest;
mod pods;
mod walk;

use std::collections::BTreeMap;
use std::path::PathBuf;

use holdfast_core::api::common::SecretRef;
use holdfast_core::api::strict::Object;
use holdfast_core::coverage::Inventory;

pub(crate) use walk::documents;
pub use walk::{ReadError, manifests, read, take_bytes};

/// The namespace holdfast runs in, unless it is told another.
pub const OWN_NAMESPACE: &str = "holdfast-system";

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
    /// The public key a policy refers to: of a Secret in holdfast's own namespace, and of no other.
    ///
    /// # Errors
    /// Why it is not at hand, and what to do.
    pub fn public_key(&self, reference: &SecretRef, own_namespace: &str) -> Result<Vec<u8>, String> {
        let (name, key) = (&reference.name, reference.key.as_deref().unwrap_or("cosign.pub"));
        if let Some(data) = self.secrets.get(&(own_namespace.to_owned(), name.clone())) {
            return data
                .get(key)
                .cloned()
                .ok_or_else(|| format!("the Secret {own_namespace}/{name} has no key `{key}`"));
        }
        let elsewhere: Vec<&str> =
            self.secrets.keys().filter(|(_, other)| other == name).map(|(namespace, _)| namespace.as_str()).collect();
        Err(if elsewhere.is_empty() {
            format!("its key is not at hand; give the Secret {own_namespace}/{name} beside it, or the key as `pem`")
        } else {
            format!(
                "its key is not at hand: a Secret `{name}` is in {}, and holdfast reads those of its own namespace `{own_namespace}` alone; move it there, or give --namespace where holdfast runs in another",
                elsewhere.join(", ")
            )
        })
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
