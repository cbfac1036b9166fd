//! Which layers of which manifests are evidence: the same for a layout on disk and for a registry that is asked.
//!
//! Sources: OCI image specification ("Image Manifest", "Image Index", "Content Descriptors"), cosign (`.sig` and `.att` tags, bundles as referrers).

use std::collections::BTreeMap;

use holdfast_core::verify::{Evidence, EvidenceForm, Limits};
use holdfast_core::{Digest, json};
use serde::Deserialize;

/// Bytes of a manifest or index that are read.
pub(super) const MAX_MANIFEST: u64 = 4 * 1024 * 1024;
/// Bytes of evidence held for one image, at most: anyone who may write to a registry may attach more.
const MAX_EVIDENCE: usize = 64 * 1024 * 1024;

const BUNDLE: &str = "application/vnd.dev.sigstore.bundle";
const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const DSSE: &str = "application/vnd.dsse.envelope.v1+json";

/// What is read of a manifest or an index, whichever it is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    #[serde(default)]
    pub(super) manifests: Vec<Descriptor>,
    #[serde(default)]
    pub(super) layers: Vec<Descriptor>,
    #[serde(default)]
    pub(super) subject: Option<Descriptor>,
}

/// What names a part.
#[derive(Deserialize, Clone)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    #[serde(default)]
    pub(super) media_type: String,
    pub(super) digest: String,
    #[serde(default)]
    pub(super) size: u64,
    #[serde(default)]
    pub(super) annotations: BTreeMap<String, String>,
}

impl Manifest {
    /// Reads a manifest or an index, of whatever size it was let through.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        json::check(bytes, json::Limits { max_len: bytes.len(), max_depth: 32 }).map_err(|e| e.to_string())?;
        serde_json::from_slice(bytes).map_err(|e| e.to_string())
    }

    /// The layers that are evidence, with their places among all layers.
    pub(super) fn evidence(&self) -> impl Iterator<Item = (usize, &Descriptor)> {
        self.layers.iter().enumerate().filter(|(_, layer)| layer.is_evidence())
    }

    /// The evidence in one layer, whose blob is `bytes`. `own` is this manifest's digest.
    pub(super) fn piece(&self, own: Digest, index: usize, bytes: Vec<u8>) -> Option<Evidence> {
        let layer = self.layers.get(index).filter(|layer| layer.is_evidence())?;
        let source = if self.layers.len() == 1 { own.to_string() } else { format!("{own} layer {}", index + 1) };
        let annotations = layer.annotations.clone();
        let form = match layer.media_type.as_str() {
            SIMPLE_SIGNING => EvidenceForm::LegacySignature { payload: bytes, annotations },
            DSSE => EvidenceForm::LegacyAttestation { envelope: bytes, annotations },
            _ => EvidenceForm::Bundle(bytes),
        };
        Some(Evidence { source, form })
    }
}

impl Descriptor {
    pub(super) fn is_manifest(&self) -> bool {
        self.media_type.is_empty() || self.media_type.contains("manifest") || self.media_type.contains("image.index")
    }

    /// By the layer, not by the artifact type of an index: registries report other ones there.
    fn is_evidence(&self) -> bool {
        self.media_type.starts_with(BUNDLE) || self.media_type == SIMPLE_SIGNING || self.media_type == DSSE
    }

    /// The digest of a layer that is evidence, where its blob is not larger than is read.
    pub(super) fn blob(&self) -> Result<Digest, String> {
        let digest = self.digest.parse::<Digest>().map_err(|error| error.to_string())?;
        if self.size > max_blob() {
            return Err(format!(
                "the evidence {digest} has {} bytes, more than the {} that are read",
                self.size,
                max_blob()
            ));
        }
        Ok(digest)
    }
}

/// Bytes of one piece of evidence that are read.
pub(super) fn max_blob() -> u64 {
    u64::try_from(Limits::default().bundle_bytes()).unwrap_or(u64::MAX)
}

/// Bytes of a piece, with what its layer is annotated with.
pub(super) fn size(form: &EvidenceForm) -> usize {
    let annotated = |annotations: &BTreeMap<String, String>| -> usize {
        annotations.iter().map(|(key, value)| key.len().saturating_add(value.len())).sum()
    };
    match form {
        EvidenceForm::Bundle(bytes) => bytes.len(),
        EvidenceForm::LegacySignature { payload: bytes, annotations }
        | EvidenceForm::LegacyAttestation { envelope: bytes, annotations } => {
            bytes.len().saturating_add(annotated(annotations))
        }
    }
}

/// Says that no more is taken for one image, where that is so; what is left out then may be what would have covered.
pub(super) fn too_much(pieces: usize, bytes: usize) -> Option<String> {
    more_than(MAX_EVIDENCE, pieces, bytes)
}

/// The same of at most `max` bytes.
pub(super) fn more_than(max: usize, pieces: usize, bytes: usize) -> Option<String> {
    (pieces > Limits::default().evidence || bytes > max).then(|| {
        format!(
            "more is attached to the image than is judged ({pieces} pieces, {bytes} bytes); remove what does not belong to it"
        )
    })
}
