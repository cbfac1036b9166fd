//! `TrustRootMirror`'s status: what holdfast last saw of a trust root.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::Condition;
use crate::Digest;

/// What holdfast last saw.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TrustRootMirrorStatus {
    /// The generation this describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Version and expiry of every top-level role.
    #[serde(default)]
    pub roles: RolesStatus,
    /// The trust in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopted: Option<AdoptedStatus>,
    /// What was replaced and is still distributed beside the trust in force, oldest first.
    #[schemars(length(max = 8))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub adopting: Vec<AdoptingStatus>,
    /// A verified import that is not in force yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<CandidateStatus>,
    /// The last import.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_import: Option<ImportStatus>,
    /// Until when the trust goes on working.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiry_budget: Option<BudgetStatus>,
    /// The in-cluster repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_repository: Option<LocalRepositoryStatus>,
    /// What is remembered, as it was last seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryStatus>,
    /// The value of the annotation `holdfast.dev/reconcile-at` that was acted on last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub last_handled_reconcile_at: Option<String>,
    /// Who reads the trust, and whether they have the current one: those that have not come first.
    #[schemars(length(max = 256))]
    #[serde(default)]
    pub consumers: Vec<ConsumerStatus>,
    /// Ready, Verified, Fresh, RotationPending, MemoryIntact, ClockSane, ExpiringSoon, Distributed.
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    #[serde(default)]
    pub conditions: Vec<Condition>,
}

/// The top-level roles.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
pub struct RolesStatus {
    /// The root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<RoleStatus>,
    /// The timestamp.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<RoleStatus>,
    /// The snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<RoleStatus>,
    /// The targets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub targets: Option<RoleStatus>,
}

/// One role.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
pub struct RoleStatus {
    /// Its version.
    pub version: u64,
    /// When it expires (RFC 3339).
    pub expires: String,
    /// How many keys may sign it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<u32>,
    /// How many have to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<u32>,
}

/// The trust in force.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AdoptedStatus {
    /// Its digest.
    pub digest: Digest,
    /// Since when (RFC 3339).
    pub at: String,
    /// Who approved it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<String>,
}

/// Trust that was replaced and is still distributed.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
pub struct AdoptingStatus {
    /// Its digest.
    pub replaced: Digest,
    /// Since when it is replaced (RFC 3339).
    pub since: String,
    /// It goes once this has passed (RFC 3339) and every consumer has the trust in force.
    pub until: String,
}

/// What is remembered.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
pub struct MemoryStatus {
    /// The pin that the metadata started from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<Digest>,
    /// What was ever accepted of the repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<StoredStatus>,
    /// What is in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<StoredStatus>,
}

/// A stored object.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
pub struct StoredStatus {
    /// Its uid.
    #[schemars(length(max = 64))]
    pub uid: String,
    /// How often it was written.
    pub revision: u64,
}

/// A verified import that is not in force yet.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
pub struct CandidateStatus {
    /// Its digest.
    pub digest: Digest,
    /// Since when it waits (RFC 3339).
    pub since: String,
    /// What it changes.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub changes: Vec<ChangeStatus>,
    /// What it means for running images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub impact: Option<ImpactStatus>,
}

/// One change.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
pub struct ChangeStatus {
    /// Added, Removed, Ended, WindowChanged, Moved.
    pub kind: String,
    /// What it is about.
    pub what: String,
    /// From when on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What that means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meaning: Option<String>,
}

/// What a candidate means for running images.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ImpactStatus {
    /// Images judged.
    pub checked: u64,
    /// Images that could not be judged: their evidence is not at hand, or nobody could look.
    #[serde(default)]
    pub unjudged: u64,
    /// Images that would not verify, and are not known not to now.
    pub newly_failing: u64,
    /// Images that would begin to.
    pub newly_passing: u64,
    /// Some of those that would not verify and, after them, of those that could not be judged.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub examples: Vec<String>,
}

/// The last import.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
pub struct ImportStatus {
    /// Since when that is its result (RFC 3339).
    pub at: String,
    /// Accepted, Unchanged, or why it failed: a kind of refusal, or what is wrong with the source.
    pub result: String,
    /// A sentence.
    pub message: String,
}

/// Until when the trust goes on working.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
pub struct BudgetStatus {
    /// The earliest end (RFC 3339).
    pub until: String,
    /// What ends.
    pub cause: String,
    /// What ends next.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub next: Vec<EndStatus>,
}

/// One end.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
pub struct EndStatus {
    /// When (RFC 3339).
    pub until: String,
    /// What.
    pub cause: String,
}

/// The in-cluster repository.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct LocalRepositoryStatus {
    /// Where it is served.
    pub url: String,
    /// The digest of its root.
    #[serde(rename = "rootSHA256")]
    pub root_sha256: String,
    /// When its timestamp expires (RFC 3339).
    pub timestamp_expires: String,
}

/// Who reads the trust.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
pub struct ConsumerStatus {
    /// Kind and name.
    pub name: String,
    /// Current, Behind or Unknown.
    pub state: String,
}
