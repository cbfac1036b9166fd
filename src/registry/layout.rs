//! An OCI image layout on disk, as `crane`, `oras`, `skopeo` and `cosign save` write it.
//!
//! Sources: OCI image specification ("Image Layout", "Content Descriptors"), distribution specification ("Referrers", fallback tag), cosign (`.sig` and
//! `.att` tags; for what `cosign save` writes, see `saved.rs`).

mod saved;

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use holdfast_core::Digest;
use holdfast_core::coverage::Found;
use holdfast_core::image::ImageRef;
use holdfast_core::verify::{Artifact, Evidence, Reason};

use self::saved::Saved;
use super::EvidenceStore;
use super::evidence::{self, Descriptor, MAX_MANIFEST, Manifest};
use crate::sources::file::{self, FileError};

const MAX_MANIFESTS: usize = 200_000;
const MAX_DEPTH: usize = 8;
const REF_NAME: &str = "org.opencontainers.image.ref.name";
const CONTAINERD_NAME: &str = "io.containerd.image.name";
const COSIGN_KIND: &str = "kind";

/// An image layout whose index was read.
#[derive(Debug)]
pub struct Layout {
    root: PathBuf,
    /// Tags and full references, by the text they are annotated with in `index.json`; what an image says of its own parts names nothing.
    names: BTreeMap<String, BTreeSet<Digest>>,
    /// Every manifest that is listed.
    listed: BTreeSet<Digest>,
    /// Manifests that name a subject, by it.
    referrers: BTreeMap<Digest, Vec<Digest>>,
    /// What `cosign save` wrote beside an image.
    saved: Saved,
    /// Manifests that are listed and could not be read: whatever they say is not known.
    unread: Vec<BlobError>,
}

/// Why a layout cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// Its files cannot be read.
    #[error("{file}; {}", open_hint(.file.kind()))]
    File {
        /// Which of them, and why.
        #[from]
        file: FileError,
    },
    /// Its index cannot be understood.
    #[error("{}: {detail}", .path.display())]
    Index {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
}

/// Why a blob was not taken.
#[derive(Debug)]
enum BlobError {
    Absent(String),
    /// It may be there; the reason says why that is not known.
    Unreadable(Reason, String),
    Wrong(String),
}

impl BlobError {
    fn of(digest: Digest, error: &FileError) -> Self {
        match (error.kind(), error) {
            (Some(ErrorKind::NotFound), _) => Self::Absent(format!("the blob {digest} is listed and not there")),
            (_, FileError::TooLarge { .. }) => Self::Wrong(error.to_string()),
            (kind, _) => Self::Unreadable(unreadable(kind), error.to_string()),
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::Absent(text) | Self::Unreadable(_, text) | Self::Wrong(text) => text,
        }
    }

    /// What it is called where it may have held evidence.
    const fn reason(&self) -> Reason {
        match self {
            Self::Absent(_) => Reason::ReferrersLost,
            Self::Unreadable(reason, _) => *reason,
            Self::Wrong(_) => Reason::ListingTruncated,
        }
    }
}

/// What a file that cannot be read leaves unknown.
const fn unreadable(kind: Option<ErrorKind>) -> Reason {
    match kind {
        Some(ErrorKind::PermissionDenied) => Reason::Unauthorized,
        _ => Reason::RegistryUnavailable,
    }
}

const fn open_hint(kind: Option<ErrorKind>) -> &'static str {
    match kind {
        Some(ErrorKind::PermissionDenied) => "give this user leave to read the layout",
        _ => "an image layout is a directory with `oci-layout`, `index.json` and `blobs/`",
    }
}

impl Layout {
    /// Reads a layout's index and every manifest it lists.
    ///
    /// # Errors
    /// [`LayoutError`], where there is no layout. A listed manifest that is damaged is no error here: what it concerns is not covered.
    pub fn open(root: &Path) -> Result<Self, LayoutError> {
        file::read(&root.join("oci-layout"), "an image layout's mark", 4096)?;
        let path = root.join("index.json");
        let bytes = file::read(&path, "an image layout's index", MAX_MANIFEST * 16)?;
        let index = Manifest::read(&bytes).map_err(|detail| LayoutError::Index { path: path.clone(), detail })?;
        let mut layout = Self {
            root: root.to_owned(),
            names: BTreeMap::new(),
            listed: BTreeSet::new(),
            referrers: BTreeMap::new(),
            saved: Saved::default(),
            unread: Vec::new(),
        };
        let mut queue: Vec<(Descriptor, usize)> =
            index.manifests.into_iter().map(|descriptor| (descriptor, 0)).collect();
        let mut read = 0;
        while let Some((descriptor, depth)) = queue.pop() {
            let Ok(digest) = descriptor.digest.parse::<Digest>() else {
                let text = format!("{} (not a SHA-256 digest)", descriptor.digest);
                layout.unread.push(BlobError::Wrong(text));
                continue;
            };
            if depth == 0 {
                layout.name(&descriptor, digest);
            }
            if !descriptor.is_manifest() || !layout.listed.insert(digest) {
                continue;
            }
            read += 1;
            if read > MAX_MANIFESTS || depth > MAX_DEPTH {
                let detail =
                    format!("it lists more than {MAX_MANIFESTS} manifests, or nests deeper than {MAX_DEPTH} levels");
                return Err(LayoutError::Index { path, detail });
            }
            match layout.manifest(digest) {
                Ok(manifest) => {
                    layout.refer(&manifest, digest);
                    queue.extend(manifest.manifests.into_iter().map(|child| (child, depth + 1)));
                }
                // A platform that was not copied is no loss of evidence; what is damaged is.
                Err(BlobError::Absent(_)) if depth > 0 => {}
                Err(error) => layout.unread.push(error),
            }
        }
        if layout.saved.is_there() {
            layout.take_unlisted();
        }
        for referrers in layout.referrers.values_mut() {
            referrers.sort();
            referrers.dedup();
        }
        Ok(layout)
    }

    fn name(&mut self, descriptor: &Descriptor, digest: Digest) {
        let names: Vec<&String> =
            [REF_NAME, CONTAINERD_NAME].into_iter().filter_map(|key| descriptor.annotations.get(key)).collect();
        if self.saved.is_evidence(descriptor.annotations.get(COSIGN_KIND), &names, digest) {
            return;
        }
        for name in names {
            self.names.entry(name.clone()).or_default().insert(digest);
        }
    }

    fn refer(&mut self, manifest: &Manifest, digest: Digest) {
        if let Some(subject) = manifest.subject.as_ref().and_then(|subject| subject.digest.parse().ok()) {
            self.referrers.entry(subject).or_default().push(digest);
        }
    }

    /// Takes the manifests of bundles that are stored and not listed. A blob that is bent may have been one.
    fn take_unlisted(&mut self) {
        let unlisted = match saved::small_blobs(&self.blobs()) {
            Ok(small) => small.into_iter().filter(|digest| !self.listed.contains(digest)).collect::<Vec<_>>(),
            Err(error) => return self.unread.push(error),
        };
        for digest in unlisted {
            match self.blob(digest, MAX_MANIFEST).map(|bytes| Manifest::read(&bytes)) {
                Ok(Ok(manifest)) => self.refer(&manifest, digest),
                // Layers and configurations are no manifests.
                Ok(Err(_)) => {}
                Err(error) => self.unread.push(error),
            }
        }
    }

    /// The names images are listed by.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }

    /// The digests a tag or full reference is annotated with, in this spelling or another.
    pub fn tagged(&self, name: &str) -> BTreeSet<Digest> {
        let spelled = ImageRef::parse(name).ok().map(|image| self.digests(&image)).unwrap_or_default();
        self.names.get(name).into_iter().flatten().copied().chain(spelled).collect()
    }

    fn collected(&self, digest: Digest) -> Found {
        let manifest = match self.blob(digest, MAX_MANIFEST) {
            Ok(bytes) => bytes,
            Err(BlobError::Wrong(message)) => return Found::Not { reason: Reason::DigestMismatch, message },
            Err(BlobError::Absent(_)) if !self.listed.contains(&digest) => {
                let message = format!(
                    "the layout does not hold {digest}: tools that convert an image as they copy it give it another digest"
                );
                return Found::Not { reason: Reason::RegistryUnavailable, message };
            }
            Err(BlobError::Absent(message)) => return Found::Not { reason: Reason::RegistryUnavailable, message },
            Err(BlobError::Unreadable(reason, message)) => return Found::Not { reason, message },
        };
        let mut collected = Collected::default();
        for referrer in self.referrers.get(&digest).into_iter().flatten() {
            self.collect(*referrer, &mut collected);
        }
        let fallback = format!("sha256-{}", digest.hex());
        for index in self.tag(&fallback) {
            match self.manifest(index) {
                Ok(index) => {
                    for child in index.manifests.iter().filter_map(|child| child.digest.parse().ok()) {
                        self.collect(child, &mut collected);
                    }
                }
                Err(error) => collected.fault(&error),
            }
        }
        for suffix in ["sig", "att"] {
            for tagged in self.tag(&format!("{fallback}.{suffix}")) {
                self.collect(tagged, &mut collected);
            }
        }
        let names = self.names.iter().filter(|(_, named)| named.contains(&digest)).map(|(name, _)| name);
        for saved in self.saved.beside(digest, names) {
            self.collect(saved, &mut collected);
        }
        let incomplete = collected.incomplete.or_else(|| self.unread_listing());
        Found::Image { artifact: Artifact { digest, bytes: Some(manifest) }, evidence: collected.evidence, incomplete }
    }

    /// What cannot be read may be evidence for any image.
    fn unread_listing(&self) -> Option<(Reason, String)> {
        let first = self.unread.first()?;
        let reason = match first {
            BlobError::Unreadable(reason, _) => *reason,
            BlobError::Absent(_) | BlobError::Wrong(_) => Reason::ListingTruncated,
        };
        let message = format!(
            "evidence may be missing, since {} of the manifests in the layout cannot be read; the first: {}",
            self.unread.len(),
            first.text()
        );
        Some((reason, message))
    }

    /// All that stands behind a tag, bare or at the end of a full reference: the tag of one repository does not hide that of another.
    fn tag(&self, tag: &str) -> BTreeSet<Digest> {
        let suffix = format!(":{tag}");
        let named = self.names.iter().filter(|(name, _)| *name == tag || name.ends_with(&suffix));
        named.flat_map(|(_, digests)| digests).copied().collect()
    }

    /// Takes the evidence in one manifest.
    fn collect(&self, digest: Digest, collected: &mut Collected) {
        if !collected.seen.insert(digest) || collected.is_full() {
            return;
        }
        let manifest = match self.manifest(digest) {
            Ok(manifest) => manifest,
            Err(error) => return collected.fault(&error),
        };
        for (index, layer) in manifest.evidence() {
            if collected.is_full() {
                return;
            }
            let bytes = layer.blob().map_err(BlobError::Wrong).and_then(|blob| self.blob(blob, evidence::max_blob()));
            match bytes {
                Err(error) => collected.fault(&error),
                Ok(bytes) => collected.evidence.extend(manifest.piece(digest, index, bytes).inspect(|piece| {
                    collected.bytes += evidence::size(&piece.form);
                })),
            }
        }
    }

    fn manifest(&self, digest: Digest) -> Result<Manifest, BlobError> {
        let bytes = self.blob(digest, MAX_MANIFEST)?;
        Manifest::read(&bytes)
            .map_err(|detail| BlobError::Wrong(format!("the manifest {digest} cannot be read: {detail}")))
    }

    fn blobs(&self) -> PathBuf {
        self.root.join("blobs").join("sha256")
    }

    fn blob_path(&self, digest: Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    /// A blob, checked against its digest.
    fn blob(&self, digest: Digest, max: u64) -> Result<Vec<u8>, BlobError> {
        let bytes =
            file::read(&self.blob_path(digest), "a blob", max).map_err(|error| BlobError::of(digest, &error))?;
        if Digest::of(&bytes) == digest {
            Ok(bytes)
        } else {
            Err(BlobError::Wrong(format!("the blob {digest} has other bytes than its digest says")))
        }
    }
}

/// The evidence for one image, and whether any of it could not be had.
#[derive(Default)]
struct Collected {
    evidence: Vec<Evidence>,
    incomplete: Option<(Reason, String)>,
    seen: BTreeSet<Digest>,
    bytes: usize,
}

impl Collected {
    /// Whether no more is taken; what is left out then may be what would have covered.
    fn is_full(&mut self) -> bool {
        let Some(message) = evidence::too_much(self.evidence.len(), self.bytes) else { return false };
        self.incomplete.get_or_insert((Reason::ListingTruncated, message));
        true
    }

    fn fault(&mut self, error: &BlobError) {
        self.incomplete.get_or_insert_with(|| (error.reason(), error.text().to_owned()));
    }
}

impl EvidenceStore for Layout {
    fn digests(&self, image: &ImageRef) -> BTreeSet<Digest> {
        if let Some(digest) = image.digest() {
            let there = self.listed.contains(&digest) || self.blob_path(digest).is_file();
            return there.then_some(digest).into_iter().collect();
        }
        // A bare tag does not say of which repository: it is never taken for the tag of a full reference.
        let tag = image.tag().unwrap_or("latest");
        let same = |name: &str| {
            name.contains('/')
                && ImageRef::parse(name)
                    .is_ok_and(|other| other.name() == image.name() && other.tag().unwrap_or("latest") == tag)
        };
        self.names.iter().filter(|(name, _)| same(name)).flat_map(|(_, digests)| digests).copied().collect()
    }

    fn image(&self, digest: Digest) -> Found {
        self.collected(digest)
    }
}

#[cfg(test)]
mod tests {
    use holdfast_core::verify::Outcome;

    use super::*;

    /// Only what the system says is not there is not there.
    #[test]
    fn what_may_not_be_read_is_unknown_and_never_absent() {
        let digest = Digest::of(b"a blob");
        for (kind, want) in [
            (ErrorKind::NotFound, Reason::ReferrersLost),
            (ErrorKind::PermissionDenied, Reason::Unauthorized),
            (ErrorKind::TimedOut, Reason::RegistryUnavailable),
            (ErrorKind::Other, Reason::RegistryUnavailable),
        ] {
            let error = BlobError::of(digest, &FileError::Io { path: PathBuf::from("x"), error: kind.into() });
            assert_eq!(error.reason(), want, "{kind}");
            assert_eq!(error.reason().outcome() == Outcome::Unknown, kind != ErrorKind::NotFound, "{kind}");
        }
        let odd = BlobError::of(digest, &FileError::NotAFile { path: PathBuf::from("x"), what: "a directory" });
        assert_eq!(odd.reason(), Reason::RegistryUnavailable);
    }
}
