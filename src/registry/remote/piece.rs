//! Evidence that was found: what is remembered of it, and how it is put together again.

use std::sync::Arc;

use holdfast_core::Digest;
use holdfast_core::verify::{Evidence, Reason};

use crate::registry::blobs::Blobs;
use crate::registry::evidence::Manifest;

/// One piece of evidence: small enough to be remembered by the thousand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Piece {
    /// The manifest it is in.
    pub manifest: Digest,
    /// The layer, from 0.
    pub layer: usize,
    /// What names its content: [`Evidence::digest`].
    pub digest: Digest,
    /// Bytes of its blob.
    pub bytes: u64,
}

/// What was found for an image in one registry, at one stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Looked {
    /// The image.
    pub digest: Digest,
    /// The bytes of its manifest or index.
    pub manifest: Arc<[u8]>,
    /// Of an index, the manifests in it; the first 256.
    pub children: Vec<Digest>,
    /// Of a manifest, the image's configuration.
    pub config: Option<Digest>,
    /// The evidence, in the order it was found.
    pub pieces: Vec<Piece>,
    /// Why there may be more.
    pub incomplete: Option<(Reason, String)>,
    /// Of the pieces, those that the store does not hold after this: judge them now, they are not kept.
    pub evidence: Vec<Evidence>,
}

impl Looked {
    /// The evidence of a piece: out of what came along, or put together from the store. `None` where the store lost it meanwhile: then it is not known, and
    /// the image is looked for again.
    pub fn take(&self, kept: &Blobs, piece: &Piece) -> Option<Evidence> {
        // By where it was found: the digest of the content would take all bytes to compute.
        let own = piece.manifest.to_string();
        let names = [format!("{own} layer {}", piece.layer + 1), own];
        let along = self.evidence.iter().find(|evidence| names.contains(&evidence.source));
        along.cloned().or_else(|| assemble(kept, piece))
    }
}

/// Puts a piece together again from what is kept; `None` where that is not all there.
pub fn assemble(kept: &Blobs, piece: &Piece) -> Option<Evidence> {
    let manifest = Manifest::read(&kept.get(piece.manifest)?).ok()?;
    let blob = manifest.layers.get(piece.layer)?.digest.parse().ok()?;
    let evidence = manifest.piece(piece.manifest, piece.layer, kept.get(blob)?)?;
    (evidence.digest() == piece.digest).then_some(evidence)
}
