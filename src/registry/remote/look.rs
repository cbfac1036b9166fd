//! Looking for the evidence of one image.

use std::collections::BTreeSet;
use std::sync::Arc;

use holdfast_core::verify::{Evidence, Outcome, Reason};
use holdfast_core::{Digest, json};
use serde::Deserialize;

use super::failure::{LookFailure, of_piece};
use super::gate::Failure;
use super::{LIGHT, Looked, Piece, Reach, Remote, Stage};
use crate::registry::blobs::Blobs;
use crate::registry::client::{self, Credentials, Listing, Reference, Referrers, RegistryError};
use crate::registry::evidence::{self, MAX_MANIFEST, Manifest};

/// Bytes of one image's evidence that are judged.
const MOST: usize = 32 * 1024 * 1024;
/// What is read of a blob however small it is said to be.
const A_PAGE: u64 = 4096;
/// Manifests of an index that are named.
const MAX_CHILDREN: usize = 256;

pub(super) struct Looking<'a> {
    reach: Reach,
    remote: &'a Remote,
    repository: &'a str,
    image: Digest,
    kept: &'a Blobs,
    also: &'a [Credentials],
    /// Who was let in last.
    asker: usize,
    seen: BTreeSet<Digest>,
    found: Vec<Found>,
    bytes: usize,
    /// Whether there is more than is looked at side by side.
    heavy: bool,
    incomplete: Option<(Reason, String)>,
    /// A place that could not be asked what it holds.
    unlisted: Option<LookFailure>,
    /// Whether something that is listed is not there.
    lost: bool,
}

struct Found {
    piece: Piece,
    /// Where the store does not hold it.
    evidence: Option<Evidence>,
}

impl<'a> Looking<'a> {
    pub(super) fn new(
        remote: &'a Remote,
        repository: &'a str,
        image: Digest,
        kept: &'a Blobs,
        also: &'a [Credentials],
        reach: Reach,
    ) -> Self {
        Self {
            reach,
            remote,
            repository,
            image,
            kept,
            also,
            asker: 0,
            seen: BTreeSet::new(),
            found: Vec::new(),
            bytes: 0,
            heavy: false,
            incomplete: None,
            unlisted: None,
            lost: false,
        }
    }

    pub(super) async fn at(mut self, stage: Stage) -> Result<Looked, LookFailure> {
        let kept = self.kept.get(self.image);
        let was_kept = kept.is_some();
        let manifest = match kept {
            Some(bytes) => bytes,
            None => self.fetch_image().await?,
        };
        match stage {
            Stage::Bundles => self.bundles().await,
            Stage::Legacy => self.legacy().await,
        }
        if self.heavy {
            return Err(LookFailure::Heavy);
        }
        if let Some(failure) = self.unlisted.take() {
            if self.found.is_empty() {
                return Err(failure);
            }
            self.fault((failure.reason(), failure.to_string()));
        }
        // Nobody says that something is not there who does not show the image itself.
        let nothing = self.found.is_empty() && self.incomplete.is_none();
        if was_kept && (nothing || self.lost) {
            self.fetch_image().await?;
        }
        Ok(self.looked(manifest))
    }

    async fn fetch_image(&mut self) -> Result<Vec<u8>, LookFailure> {
        let image = self.image;
        let manifest = self
            .manifest(Reference::Digest(image))
            .await
            .map_err(|failure| LookFailure::of_image(failure, self.remote.host(), self.repository, image))?;
        self.kept.put(image, &manifest.bytes);
        Ok(manifest.bytes)
    }

    async fn bundles(&mut self) {
        let (repository, image) = (self.repository, self.image);
        let listed = self
            .remote
            .ask(self.also, &mut self.asker, |client| async move { client.referrers(repository, image).await })
            .await;
        match listed {
            Ok(Referrers::Listed(listing)) => self.collect_all(listing).await,
            Ok(Referrers::Unsupported) => {}
            Err(failure) => return self.not_listed(failure),
        }
        if !self.found.is_empty() {
            return;
        }
        let Some(index) = self.tagged("").await else { return };
        // Whatever else stands behind the tag lists nothing.
        if !index.media_type.contains("index") && !index.media_type.contains("list") {
            return;
        }
        let mut listing = Listing::default();
        match listing.add(&index.bytes) {
            Ok(()) => self.collect_all(listing).await,
            Err(detail) => self.fault((
                Reason::ListingTruncated,
                format!("the index {} behind the image's fallback tag cannot be read: {detail}", index.digest),
            )),
        }
    }

    async fn legacy(&mut self) {
        for suffix in [".sig", ".att"] {
            if let Some(manifest) = self.tagged(suffix).await {
                self.kept.put(manifest.digest, &manifest.bytes);
                // Nobody vouches for what stands behind a tag: an image without layers is no image of signatures, whatever it is.
                if Manifest::read(&manifest.bytes).is_ok_and(|manifest| manifest.layers.is_empty()) {
                    let what = format!("the manifest behind the image's `{suffix}` tag has no layers");
                    self.fault((Reason::ListingTruncated, what));
                }
                if self.seen.insert(manifest.digest) {
                    self.collect(manifest.digest, &manifest.bytes).await;
                }
            }
        }
    }

    /// What stands behind one of the image's tags.
    async fn tagged(&mut self, suffix: &str) -> Option<client::Manifest> {
        let tag = format!("sha256-{}{suffix}", self.image.hex());
        match self.manifest(Reference::Tag(&tag)).await {
            Ok(manifest) => Some(manifest),
            Err(Failure::Registry(RegistryError::NotFound { .. })) => None,
            Err(failure) => {
                self.not_listed(failure);
                None
            }
        }
    }

    async fn manifest(&mut self, reference: Reference<'_>) -> Result<client::Manifest, Failure> {
        let repository = self.repository;
        self.remote
            .ask(self.also, &mut self.asker, |client| async move {
                client.manifest(repository, reference, MAX_MANIFEST).await
            })
            .await
    }

    async fn collect_all(&mut self, listing: Listing) {
        if let Some(why) = listing.truncated {
            self.fault((Reason::ListingTruncated, why));
        }
        for digest in listing.referrers {
            if self.is_full() {
                return;
            }
            if !self.seen.insert(digest) {
                continue;
            }
            let bytes = match self.kept.get(digest) {
                Some(bytes) => bytes,
                None => match self.manifest(Reference::Digest(digest)).await {
                    Ok(manifest) => {
                        self.kept.put(digest, &manifest.bytes);
                        manifest.bytes
                    }
                    Err(failure) => {
                        self.not_had(failure);
                        continue;
                    }
                },
            };
            self.collect(digest, &bytes).await;
        }
    }

    /// Takes the evidence in one manifest.
    async fn collect(&mut self, own: Digest, bytes: &[u8]) {
        let manifest = match Manifest::read(bytes) {
            Ok(manifest) => manifest,
            Err(detail) => {
                return self.fault((Reason::ListingTruncated, format!("the manifest {own} cannot be read: {detail}")));
            }
        };
        for (layer, descriptor) in manifest.evidence() {
            if self.is_full() {
                return;
            }
            let blob = match descriptor.blob() {
                Ok(blob) => blob,
                Err(text) => {
                    self.fault((Reason::ListingTruncated, text));
                    continue;
                }
            };
            if self.is_too_heavy(descriptor.size) {
                return;
            }
            let bytes = match self.blob(blob, descriptor.size).await {
                Ok(bytes) => bytes,
                Err(failure) => {
                    self.not_had(failure);
                    continue;
                }
            };
            let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            if let Some(evidence) = manifest.piece(own, layer, bytes) {
                self.bytes = self.bytes.saturating_add(evidence::size(&evidence.form));
                let piece = Piece { manifest: own, layer, digest: evidence.digest(), bytes: size };
                // What is kept is read again where it is judged: held here, it would be there once for each image that is looked at.
                let is_kept = self.kept.contains(own) && self.kept.contains(blob);
                self.found.push(Found { piece, evidence: (!is_kept).then_some(evidence) });
            }
        }
    }

    /// A blob of no more bytes than are announced, where that is done.
    async fn blob(&mut self, digest: Digest, announced: u64) -> Result<Vec<u8>, Failure> {
        if let Some(bytes) = self.kept.get(digest) {
            return Ok(bytes);
        }
        let repository = self.repository;
        let max = if announced == 0 { evidence::max_blob() } else { announced.clamp(A_PAGE, evidence::max_blob()) };
        let bytes = self
            .remote
            .ask(self.also, &mut self.asker, |client| async move { client.blob(repository, digest, max).await })
            .await?;
        self.kept.put(digest, &bytes);
        Ok(bytes)
    }

    fn is_full(&mut self) -> bool {
        if self.heavy {
            return true;
        }
        let Some(message) = evidence::more_than(MOST, self.found.len(), self.bytes) else { return false };
        self.fault((Reason::ListingTruncated, message));
        true
    }

    /// Whether one more piece is more than is looked at side by side; of one that does not say how large it is, nobody knows.
    fn is_too_heavy(&mut self, announced: u64) -> bool {
        let announced = if announced == 0 { evidence::max_blob() } else { announced };
        let all = u64::try_from(self.bytes).unwrap_or(u64::MAX).saturating_add(announced);
        self.heavy = self.reach == Reach::Light && all > LIGHT;
        self.heavy
    }

    fn not_listed(&mut self, failure: Failure) {
        let failure = LookFailure::of_listing(failure, self.remote.host());
        self.unlisted.get_or_insert(failure);
    }

    fn not_had(&mut self, failure: Failure) {
        let fault = of_piece(failure, self.remote.host());
        self.lost |= fault.0 == Reason::ReferrersLost;
        self.fault(fault);
    }

    /// The first fault counts; but who could not look does not say that something is lost.
    fn fault(&mut self, fault: (Reason, String)) {
        let is_unknown = |fault: &(Reason, String)| fault.0.outcome() == Outcome::Unknown;
        if self.incomplete.as_ref().is_none_or(|first| !is_unknown(first) && is_unknown(&fault)) {
            self.incomplete = Some(fault);
        }
    }

    fn looked(self, manifest: Vec<u8>) -> Looked {
        let parts = Parts::read(&manifest);
        let pieces = self.found.iter().map(|found| found.piece).collect();
        let unkept = self.found.into_iter().filter_map(|found| found.evidence);
        let named = |part: &Named| part.digest.parse().ok();
        Looked {
            digest: self.image,
            children: parts.manifests.iter().filter_map(named).take(MAX_CHILDREN).collect(),
            config: parts.config.as_ref().and_then(named),
            manifest: Arc::from(manifest),
            pieces,
            incomplete: self.incomplete,
            evidence: unkept.collect(),
        }
    }
}

/// What an image is made of, where its manifest says so.
#[derive(Deserialize, Default)]
struct Parts {
    #[serde(default)]
    manifests: Vec<Named>,
    #[serde(default)]
    config: Option<Named>,
}

#[derive(Deserialize)]
struct Named {
    #[serde(default)]
    digest: String,
}

impl Parts {
    /// An image can be signed whose manifest cannot be read: it has no parts then.
    fn read(bytes: &[u8]) -> Self {
        json::read(bytes, json::Limits { max_len: bytes.len(), max_depth: 32 }).unwrap_or_default()
    }
}
