//! A TUF repository in a registry, as an artifact or an image.
//!
//! | pushed as | read as |
//! |---|---|
//! | one layer, a tar archive, plain or gzipped | the files in it |
//! | several such layers, as an image has them | laid over one another, later ones win |
//! | a file a layer, with its name (`oras push`), directories packed | those files |
//! | one layer with an OCI image layout in it | what is in there, once, in one of these ways |
//!
//! Nothing is taken by a media type of a layer: who packs a repository names it as they like.

mod assemble;
mod layout;
mod manifest;

use std::time::Duration;

use holdfast_core::Digest;
use holdfast_core::image::ImageRef;

use self::assemble::Layer;
use self::manifest::{Artifact, Descriptor};
use super::SourceError;
use super::archive::{ArchiveError, Limits};
use super::tree::{Tree, TreeError};
use crate::registry::client::{Client, Manifest, Reference, RegistryError};
use holdfast_core::address::{as_address, is_link_local};

const MAX_MANIFEST: u64 = 4 * 1024 * 1024;
/// Under whatever name it is written, it is served from other hosts than it says: nobody could declare what is then dialled.
const HUB: &str = "docker.io";
const MAX_LAYERS: usize = 256;
/// For manifest and layers together.
const OVERALL: Duration = Duration::from_secs(600);

/// Where an artifact is: a registry's host that is written out, a repository, a tag or a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OciReference(ImageRef);

/// What reading an artifact came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// It is the one that is known; no layer was read.
    Unchanged {
        /// The digest of its manifest.
        digest: Digest,
    },
    /// Another one.
    New {
        /// The digest of its manifest; of the index, where it is behind one.
        digest: Digest,
        /// The repository in it.
        tree: Tree,
    },
}

/// Why no repository came out of a registry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OciError {
    /// The reference cannot be meant.
    #[error("{reference}: {detail}")]
    Reference {
        /// The reference, shortened where it is long, and without its text where that may hold a password.
        reference: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The reference is to another registry than the client's.
    #[error("{reference} is not in the registry that is declared, {host}, and no other is asked")]
    OtherRegistry {
        /// The reference.
        reference: String,
        /// The declared registry.
        host: String,
    },
    /// The registry did not give it.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// Several manifests, of which nothing says which is meant.
    #[error("{what} lists {count} manifests where one is read: push the repository as one artifact, for no platform")]
    Manifests {
        /// The index.
        what: String,
        /// How many.
        count: usize,
    },
    /// A manifest that is not read.
    #[error("{what}: {detail}")]
    Manifest {
        /// The manifest.
        what: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A layer that is not read.
    #[error("the layer {digest} was not read: {error}")]
    Layer {
        /// Its digest.
        digest: Digest,
        /// Why.
        error: ArchiveError,
    },
    /// Layers that do not go together.
    #[error("the artifact's layers were not put together: {0}")]
    Layers(String),
    /// No repository in it, or two.
    #[error("the artifact was read: {0}")]
    Tree(#[from] TreeError),
    /// Everything together took too long.
    #[error("the artifact was not read within {} seconds: check the network and the registry", OVERALL.as_secs())]
    TooSlow,
    /// The program ended, or failed, while it unpacked.
    #[error("the artifact was not unpacked to its end: {0}")]
    Unfinished(String),
}

impl From<OciError> for SourceError {
    fn from(error: OciError) -> Self {
        let (what, detail) = ("the artifact".to_owned(), error.to_string());
        match error {
            OciError::Registry(
                RegistryError::Unavailable { .. }
                | RegistryError::Refused { .. }
                | RegistryError::Unauthorized { .. }
                | RegistryError::TooManyRequests { .. },
            )
            | OciError::TooSlow
            | OciError::Unfinished(_) => Self::Unavailable { what, detail },
            OciError::Reference { .. }
            | OciError::OtherRegistry { .. }
            | OciError::Registry(
                RegistryError::Settings { .. } | RegistryError::NotFound { .. } | RegistryError::TokenRealm { .. },
            ) => Self::Unusable { what, detail },
            _ => Self::Unacceptable { what, detail },
        }
    }
}

impl OciReference {
    /// Reads a reference. A host has to be written out: what has none means Docker Hub to others, which is never dialled for that.
    ///
    /// # Errors
    /// [`OciError::Reference`].
    pub fn parse(reference: &str) -> Result<Self, OciError> {
        let wrong = |detail: String| OciError::Reference {
            reference: format!("`{}`", reference.chars().take(120).collect::<String>()),
            detail,
        };
        let host = reference.split_once('/').map(|(host, _)| host).unwrap_or_default();
        if host.contains('@') {
            let detail = "credentials do not belong into it, where they would be printed and logged".to_owned();
            return Err(OciError::Reference { reference: "the reference".to_owned(), detail });
        }
        if !(host.contains(['.', ':']) || host == "localhost") {
            return Err(wrong(
                "it has no registry: write its host, as `registry.corp.internal/trust/root:current`".into(),
            ));
        }
        let image = ImageRef::parse(reference).map_err(|e| wrong(e.to_string()))?;
        if image.registry() == HUB {
            return Err(wrong("Docker Hub is not read from: copy the artifact to a registry of yours".into()));
        }
        let name = host
            .rsplit_once(':')
            .filter(|(_, port)| port.bytes().all(|c| c.is_ascii_digit()))
            .map_or(host, |(name, _)| name);
        if as_address(name).is_some_and(is_link_local) {
            let detail = "it only means something on the node's own link, where no registry is and a cloud may serve credentials";
            return Err(wrong(detail.into()));
        }
        Ok(Self(image))
    }

    /// The registry's host, with a port where it is not the usual one.
    pub fn host(&self) -> &str {
        self.0.registry()
    }

    /// The repository.
    pub fn repository(&self) -> &str {
        self.0.repository()
    }

    /// What stands for the manifest: a digest before a tag, and `latest` where there is neither.
    pub fn reference(&self) -> Reference<'_> {
        match (self.0.digest(), self.0.tag()) {
            (Some(digest), _) => Reference::Digest(digest),
            (None, tag) => Reference::Tag(tag.unwrap_or("latest")),
        }
    }
}

/// Reads the repository a reference stands for. Where that is the manifest `known`, its layers are not read again.
///
/// # Errors
/// [`OciError`].
pub async fn fetch(client: &Client, reference: &OciReference, known: Option<Digest>) -> Result<Fetched, OciError> {
    if ImageRef::parse(&format!("{}/x", client.host())).map_or(true, |own| own.registry() != reference.host()) {
        return Err(OciError::OtherRegistry { reference: reference.0.to_string(), host: client.host().to_owned() });
    }
    tokio::time::timeout(OVERALL, read(client, reference, known)).await.unwrap_or(Err(OciError::TooSlow))
}

async fn read(client: &Client, reference: &OciReference, known: Option<Digest>) -> Result<Fetched, OciError> {
    let repository = reference.repository();
    let top = client.manifest(repository, reference.reference(), MAX_MANIFEST).await?;
    let digest = top.digest;
    if known == Some(digest) {
        return Ok(Fetched::Unchanged { digest });
    }
    let descriptors = match parsed(&top)? {
        Artifact::Layers(layers) => layers,
        Artifact::Index(manifests) => {
            let what = format!("the index {digest}");
            let only = manifest::only(manifests, &what)?;
            let max = only.size.min(MAX_MANIFEST);
            let manifest = client.manifest(repository, Reference::Digest(only.digest), max).await?;
            only.check_size(&manifest.bytes)?;
            if manifest.media_type != only.media_type {
                let detail = format!("it comes as `{}`, and {what} says another", manifest.media_type);
                return Err(OciError::Manifest { what: format!("the manifest {}", only.digest), detail });
            }
            parsed(&manifest)?.layers(&format!("the manifest {}", only.digest))?
        }
    };
    check(&descriptors, &digest)?;
    let mut layers = Vec::new();
    for descriptor in descriptors {
        let bytes = client.blob(repository, descriptor.digest, descriptor.size).await?;
        descriptor.check_size(&bytes)?;
        layers.push(Layer { descriptor, bytes });
    }
    // Unpacking takes a processor for a while: whoever else is served by this thread does not wait for it.
    let assembled = tokio::task::spawn_blocking(move || assemble::tree(layers)).await;
    let tree = assembled.map_err(|e| OciError::Unfinished(e.to_string()))??;
    Ok(Fetched::New { digest, tree })
}

fn parsed(manifest: &Manifest) -> Result<Artifact, OciError> {
    Artifact::parse(&manifest.bytes, &manifest.media_type, &format!("the manifest {}", manifest.digest))
}

/// Before anything is read: how many there are, and how large they are together.
fn check(layers: &[Descriptor], manifest: &Digest) -> Result<(), OciError> {
    let wrong = |detail: String| OciError::Manifest { what: format!("the manifest {manifest}"), detail };
    if layers.is_empty() || layers.len() > MAX_LAYERS {
        return Err(wrong(format!("it has {} layers, and from 1 to {MAX_LAYERS} are read", layers.len())));
    }
    let max = Limits::default().packed;
    let together = layers.iter().fold(0, |sum: u64, layer| sum.saturating_add(layer.size));
    if together > max {
        return Err(wrong(format!("its layers have {together} bytes, more than the {max} that are read")));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
