//! Which trust comes into force: a first import at once, a rotation once it is approved, and nothing looser than what an enforced policy relies on.

use holdfast_core::Digest;
use holdfast_core::api::mirror::RotationApproval;
use holdfast_core::api::{TrustRootMirror, TrustRootMirrorSpec};
use holdfast_core::gate::loosening::{self, AllowedBy, Loosening};
use holdfast_core::trust::diff::RootDiff;
use holdfast_core::trust::keys;
use holdfast_core::trust::root::TrustRoot;
use serde::{Deserialize, Serialize};

use super::trust::Candidate;

/// A trust root with the bytes it was read from; none where it was declared key by key.
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

/// What comes into force.
pub(super) struct Adoption {
    pub(super) adopted: Option<ReadRoot>,
    pub(super) candidate: Option<Candidate>,
    pub(super) held: Vec<Loosening>,
    /// The form of the mirror that is in force.
    pub(super) spec: TrustRootMirrorSpec,
    /// Digests that an approval may name.
    pub(super) asks_for: Vec<Digest>,
}

impl Adoption {
    /// Nothing is enforced by this trust yet: a first import comes into force; a rotation only once it is approved, or where no approval is asked for.
    pub(super) fn first(
        mirror: &TrustRootMirror,
        adopted: Option<ReadRoot>,
        offered: Option<ReadRoot>,
        approved: &[Digest],
    ) -> Self {
        let spec = mirror.spec.clone();
        let asks_for = offered.iter().map(|offered| offered.root.digest).collect();
        let (adopted, candidate) = match (adopted, offered) {
            (Some(adopted), Some(offered)) => rotate(mirror, adopted, offered, approved),
            (adopted, offered) => (adopted.or(offered), None),
        };
        Self { adopted, candidate, held: Vec::new(), spec, asks_for }
    }
}

fn rotate(
    mirror: &TrustRootMirror,
    adopted: ReadRoot,
    offered: ReadRoot,
    approved: &[Digest],
) -> (Option<ReadRoot>, Option<Candidate>) {
    let changes = RootDiff::between(&adopted.root, &offered.root);
    let (rotation, digest) = (&mirror.spec.rotation, offered.root.digest);
    let is_approved = rotation.approval == RotationApproval::Automatic
        || rotation.approved_digest == Some(digest)
        || approved.contains(&digest);
    if !changes.is_rotation() || is_approved {
        return (Some(offered), None);
    }
    (Some(adopted), Some(Candidate { root: offered.root, changes, impact: None }))
}

/// An enforced policy accepts this trust: a looser mirror waits, and so does what it offers.
pub(super) fn follow(
    mirror: &TrustRootMirror,
    kept: &KeptTrust,
    in_force: ReadRoot,
    newest: Option<ReadRoot>,
    approved: &[Digest],
) -> Adoption {
    let name = mirror.metadata.name.clone().unwrap_or_default();
    let looser = loosening::mirror(&name, &kept.spec, &mirror.spec);
    let waits = |loosening: &Loosening| {
        loosening.kind.allowed_by() != AllowedBy::Approval || !approved.contains(&loosening.digest)
    };
    let of_mirror = looser.iter().map(|loosening| loosening.digest);
    let asks_for: Vec<Digest> = of_mirror.chain(newest.iter().map(|newest| newest.root.digest)).collect();
    let Some(newest) = newest else {
        let held: Vec<Loosening> = looser.into_iter().filter(waits).collect();
        let spec = if held.is_empty() { mirror.spec.clone() } else { kept.spec.clone() };
        return Adoption { adopted: Some(in_force), candidate: None, held, spec, asks_for };
    };
    if looser.iter().any(waits) {
        let changes = RootDiff::between(&in_force.root, &newest.root);
        let is_other = newest.root.digest != in_force.root.digest;
        let candidate = is_other.then_some(Candidate { root: newest.root, changes, impact: None });
        return Adoption { adopted: Some(in_force), candidate, held: looser, spec: kept.spec.clone(), asks_for };
    }
    // What is declared by its digest or key by key is approved with the mirror; what TUF brings is a rotation of its own.
    let is_tuf = mirror.spec.bootstrap.is_some();
    let (adopted, candidate) = if is_tuf { rotate(mirror, in_force, newest, approved) } else { (Some(newest), None) };
    Adoption { adopted, candidate, held: Vec::new(), spec: mirror.spec.clone(), asks_for }
}
