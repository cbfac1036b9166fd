//! Where images and the evidence for them are stored.

pub mod blobs;
pub mod client;
mod evidence;
pub mod layout;
pub mod pull_secret;
pub mod remote;

use std::collections::BTreeSet;

use holdfast_core::Digest;
use holdfast_core::coverage::Found;
use holdfast_core::image::ImageRef;
use holdfast_core::verify::Reason;

/// A place that is asked for images.
pub trait EvidenceStore {
    /// Every digest a reference stands for here, in whatever spelling; none where the image is not there.
    fn digests(&self, image: &ImageRef) -> BTreeSet<Digest>;

    /// The image of this digest, with all that is stored for it.
    fn image(&self, digest: Digest) -> Found;
}

/// Looks for an image in several places; `None` where it is in none. A tag that stands for two images, in one place or in two, stands for neither. What
/// several places hold for one image counts together.
pub fn find<S: EvidenceStore>(stores: &[S], image: &ImageRef) -> Option<Found> {
    let digests: BTreeSet<Digest> = stores.iter().flat_map(|store| store.digests(image)).collect();
    if digests.len() > 1 {
        return Some(Found::Not { reason: Reason::DigestUnresolved, message: ambiguous(&digests) });
    }
    let digest = *digests.first()?;
    let by_digest = ImageRef::parse(&format!("{}@{digest}", image.name())).ok()?;
    stores
        .iter()
        .filter(|store| !store.digests(&by_digest).is_empty())
        .map(|store| store.image(digest))
        .reduce(together)
}

fn together(one: Found, other: Found) -> Found {
    match (one, other) {
        (
            Found::Image { artifact, mut evidence, incomplete },
            Found::Image { evidence: more, incomplete: also, .. },
        ) => {
            // By the digest of its manifest: what is copied to both places is one piece.
            let known: BTreeSet<String> = evidence.iter().map(|piece| piece.source.clone()).collect();
            evidence.extend(more.into_iter().filter(|piece| !known.contains(&piece.source)));
            Found::Image { artifact, evidence, incomplete: incomplete.or(also) }
        }
        (Found::Not { .. }, image @ Found::Image { .. }) => image,
        (one, _) => one,
    }
}

/// Says that a tag stands for several images.
pub fn ambiguous(digests: &BTreeSet<Digest>) -> String {
    let named: Vec<String> = digests.iter().take(4).map(ToString::to_string).collect();
    format!(
        "the tag stands for {} images, {}: name the one that is meant by digest",
        digests.len(),
        named.join(" and ")
    )
}
