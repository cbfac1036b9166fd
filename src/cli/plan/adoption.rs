//! Which trust comes into force: a first import at once, a rotation once it is approved, and nothing looser than what an enforced policy relies on.

use holdfast_core::Digest;
use holdfast_core::api::mirror::RotationApproval;
use holdfast_core::api::{TrustRootMirror, TrustRootMirrorSpec};
use holdfast_core::gate::loosening::{self, AllowedBy, Loosening, mirror_deletion};
use holdfast_core::trust::diff::RootDiff;
use holdfast_core::trust::keys;
use holdfast_core::trust::root::TrustRoot;
use serde::{Deserialize, Serialize};

use super::trust::Candidate;

/// A trust root with the bytes it was read from; none where it was declared key by key.
#[derive(Clone)]
pub(super) struct ReadRoot {
    pub(super) root: TrustRoot,
    pub(super) bytes: Option<Vec<u8>>,
}

impl ReadRoot {
    pub(super) fn text(&self) -> Option<String> {
        self.bytes.as_ref().and_then(|bytes| String::from_utf8(bytes.clone()).ok())
    }
}

/// What is remembered of a mirror: as it was declared when its trust came into force, and that trust.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct KeptTrust {
    pub(super) spec: TrustRootMirrorSpec,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) root: Option<String>,
}

impl KeptTrust {
    pub(super) fn read(&self, name: &str) -> Option<ReadRoot> {
        match (&self.root, &self.spec.source.keys) {
            (Some(text), _) => {
                let root = TrustRoot::from_json(name, text.as_bytes()).ok()?;
                Some(ReadRoot { root, bytes: Some(text.clone().into_bytes()) })
            }
            (None, Some(keys)) => Some(ReadRoot { root: keys::trust_root(name, keys).ok()?, bytes: None }),
            (None, None) => None,
        }
    }
}

/// A mirror in the form that is in force.
pub(super) struct InForce {
    pub(super) mirror: TrustRootMirror,
    /// Every way in which the declared form is looser, and waits.
    pub(super) held: Vec<Loosening>,
    /// Digests that an approval may name.
    pub(super) asks_for: Vec<Digest>,
}

impl InForce {
    /// The declared form; where it is looser than what an enforced policy relies on, the form that was kept, until somebody approves.
    pub(super) fn of(declared: &TrustRootMirror, kept: Option<&KeptTrust>, approved: &[Digest]) -> Self {
        let name = declared.metadata.name.clone().unwrap_or_default();
        let looser = kept.map(|kept| loosening::mirror(&name, &kept.spec, &declared.spec)).unwrap_or_default();
        let asks_for = looser.iter().map(|loosening| loosening.digest).collect();
        let waits = |loosening: &Loosening| {
            loosening.kind.allowed_by() != AllowedBy::Approval || !approved.contains(&loosening.digest)
        };
        match kept.filter(|_| looser.iter().any(waits)) {
            Some(kept) => Self { mirror: TrustRootMirror::new(&name, kept.spec.clone()), held: looser, asks_for },
            None => Self { mirror: declared.clone(), held: Vec::new(), asks_for },
        }
    }

    /// A mirror that is no longer declared goes on as it was.
    pub(super) fn gone(name: &str, kept: &KeptTrust) -> Self {
        let mirror = TrustRootMirror::new(name, kept.spec.clone());
        Self { mirror, held: vec![mirror_deletion(name, &kept.spec)], asks_for: Vec::new() }
    }
}

/// What is in force and what waits.
pub(super) struct Adoption {
    pub(super) adopted: Option<ReadRoot>,
    pub(super) candidate: Option<Candidate>,
}

impl Adoption {
    /// A first import comes into force; a rotation only once it is approved, or where no approval is asked for. What is declared by its digest, or key by
    /// key, was approved with the mirror.
    pub(super) fn of(
        mirror: &TrustRootMirror,
        adopted: Option<ReadRoot>,
        offered: Option<ReadRoot>,
        approved: &[Digest],
    ) -> Self {
        let (Some(adopted), Some(offered)) = (&adopted, &offered) else {
            return Self { adopted: adopted.or(offered), candidate: None };
        };
        let changes = RootDiff::between(&adopted.root, &offered.root);
        let (rotation, digest) = (&mirror.spec.rotation, offered.root.digest);
        let is_approved = mirror.spec.bootstrap.is_none()
            || rotation.approval == RotationApproval::Automatic
            || rotation.approved_digest == Some(digest)
            || approved.contains(&digest);
        if !changes.is_rotation() || is_approved {
            return Self { adopted: Some(offered.clone()), candidate: None };
        }
        let candidate = Candidate { root: offered.root.clone(), changes, impact: None };
        Self { adopted: Some(adopted.clone()), candidate: Some(candidate) }
    }
}
