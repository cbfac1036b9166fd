//! What is judged: an artefact, and the evidence found for it.

use std::collections::BTreeMap;

use crate::Digest;

/// What a signature or statement is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Its SHA-256 digest. Of an image: the digest of the manifest or index that admission would check.
    pub digest: Digest,
    /// Its bytes, where they are at hand. Some signatures (Ed25519 over the bytes) and some statements (SHA-512 subjects) need them.
    pub bytes: Option<Vec<u8>>,
}

impl Artifact {
    /// An artefact known by its digest alone.
    pub const fn of_digest(digest: Digest) -> Self {
        Self { digest, bytes: None }
    }

    /// An artefact whose bytes are at hand.
    pub fn of_bytes(bytes: Vec<u8>) -> Self {
        Self { digest: Digest::of(&bytes), bytes: Some(bytes) }
    }
}

/// One piece of evidence as it was found, not yet trusted in any way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// Where it was found, for people: a file name, or a manifest digest.
    pub source: String,
    /// The bytes.
    pub form: EvidenceForm,
}

/// The forms evidence comes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EvidenceForm {
    /// A sigstore bundle (protobuf JSON), found as a referrer or given as a file.
    Bundle(Vec<u8>),
    /// A layer of cosign's legacy `.sig` image: the simple-signing payload and the layer's annotations.
    LegacySignature {
        /// The layer blob, as fetched.
        payload: Vec<u8>,
        /// The layer's annotations.
        annotations: BTreeMap<String, String>,
    },
    /// A layer of cosign's legacy `.att` image: a DSSE envelope and the layer's annotations.
    LegacyAttestation {
        /// The layer blob (a DSSE envelope), as fetched.
        envelope: Vec<u8>,
        /// The layer's annotations.
        annotations: BTreeMap<String, String>,
    },
}

impl Evidence {
    /// A sigstore bundle.
    pub fn bundle(source: impl Into<String>, bytes: Vec<u8>) -> Self {
        Self { source: source.into(), form: EvidenceForm::Bundle(bytes) }
    }

    /// The digest that names this evidence's content, for memoising verdicts.
    pub fn digest(&self) -> Digest {
        let mut hashed = Vec::new();
        let mut put = |part: &[u8]| {
            hashed.extend_from_slice(Digest::of(part).as_bytes());
        };
        match &self.form {
            EvidenceForm::Bundle(bytes) => {
                put(b"bundle");
                put(bytes);
            }
            EvidenceForm::LegacySignature { payload, annotations } => {
                put(b"sig");
                put(payload);
                for (key, value) in annotations {
                    put(key.as_bytes());
                    put(value.as_bytes());
                }
            }
            EvidenceForm::LegacyAttestation { envelope, annotations } => {
                put(b"att");
                put(envelope);
                for (key, value) in annotations {
                    put(key.as_bytes());
                    put(value.as_bytes());
                }
            }
        }
        Digest::of(&hashed)
    }
}
