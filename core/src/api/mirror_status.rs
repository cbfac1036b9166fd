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
    /// Who reads the trust, and whether they have the current one.
    #[schemars(length(max = 256))]
    #[serde(default)]
    pub consumers: Vec<ConsumerStatus>,
    /// Ready, Verified, Fresh, RotationPending, MemoryIntact, ClockSane, Distributed.
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
}

/// What a candidate means for running images.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ImpactStatus {
    /// Images judged.
    pub checked: u64,
    /// Images that would stop verifying.
    pub newly_failing: u64,
    /// Images that would begin to.
    pub newly_passing: u64,
    /// Some of them.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub examples: Vec<String>,
}

/// The last import.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
pub struct ImportStatus {
    /// When (RFC 3339).
    pub at: String,
    /// Accepted, Unchanged, or the kind of refusal.
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
