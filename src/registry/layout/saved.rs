//! What `cosign save` writes beside an image.
//!
//! Source: cosign 3.1.3, `pkg/oci/layout/write.go` and `cmd/cosign/cli/save.go`: an image, its signatures and its attestations are listed by what they are
//! (`kind`), and not by name; the manifests of bundles are stored, and the index written after them does not list them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use holdfast_core::Digest;

use super::{BlobError, unreadable};

/// Blobs looked through for manifests that nothing lists: cosign saves one image a directory.
const MAX_BLOBS: usize = 20_000;
/// The largest of them that is read: the manifest of a bundle has some 900 bytes.
const MAX_BLOB: u64 = 64 * 1024;

/// What a layout's index says by cosign's `kind` annotation.
#[derive(Debug, Default)]
pub(super) struct Saved {
    any: bool,
    /// Images that are listed without a name.
    unnamed: BTreeSet<Digest>,
    /// Signatures and attestations, by the name of their image.
    of_named: BTreeMap<String, Vec<Digest>>,
    /// Those of images without a name.
    of_unnamed: Vec<Digest>,
}

impl Saved {
    /// Takes note of a descriptor; whether it is evidence, whose name is that of its image.
    pub(super) fn is_evidence(&mut self, kind: Option<&String>, names: &[&String], digest: Digest) -> bool {
        match kind.and_then(|kind| kind.strip_prefix("dev.cosignproject.cosign/")) {
            Some("sigs" | "atts") => {
                for name in names {
                    self.of_named.entry((*name).clone()).or_default().push(digest);
                }
                if names.is_empty() {
                    self.of_unnamed.push(digest);
                }
                true
            }
            Some("image" | "imageIndex") => {
                self.any = true;
                if names.is_empty() {
                    self.unnamed.insert(digest);
                }
                false
            }
            _ => false,
        }
    }

    /// Whether cosign saved any image here.
    pub(super) const fn is_there(&self) -> bool {
        self.any
    }

    /// The evidence beside an image with these names. Beside images without names it is offered to each of them: it says itself which it is for.
    pub(super) fn beside<'a>(
        &'a self,
        digest: Digest,
        names: impl Iterator<Item = &'a String>,
    ) -> impl Iterator<Item = Digest> {
        let unnamed = self.unnamed.contains(&digest).then_some(&self.of_unnamed);
        names.filter_map(|name| self.of_named.get(name)).chain(unnamed).flatten().copied()
    }
}

/// The digests of the small blobs in a layout.
pub(super) fn small_blobs(blobs: &Path) -> Result<Vec<Digest>, BlobError> {
    let failed = |error: std::io::Error| {
        BlobError::Unreadable(
            unreadable(Some(error.kind())),
            format!("{} cannot be looked through: {error}", blobs.display()),
        )
    };
    let mut found = Vec::new();
    for (count, entry) in std::fs::read_dir(blobs).map_err(failed)?.enumerate() {
        if count >= MAX_BLOBS {
            let text = format!("{} has more than the {MAX_BLOBS} blobs that are looked through", blobs.display());
            return Err(BlobError::Wrong(text));
        }
        let entry = entry.map_err(failed)?;
        let digest: Option<Digest> = entry.file_name().to_str().and_then(|hex| format!("sha256:{hex}").parse().ok());
        let small = entry.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() <= MAX_BLOB);
        found.extend(digest.filter(|_| small));
    }
    Ok(found)
}
