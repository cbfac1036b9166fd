//! `TrustBreakGlass` and `TrustApproval`: the narrow, timed way back, and who agreed to it.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::Condition;
use crate::Digest;

/// What is loosened, why, and until when. Never changed; closing early is deleting it.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "holdfast.dev",
    version = "v1alpha1",
    kind = "TrustBreakGlass",
    plural = "trustbreakglasses",
    shortname = "tbg",
    category = "holdfast",
    doc = "Loosens one thing, for a stated reason and a limited time, with the approval of two people.",
    status = "TrustBreakGlassStatus",
    derive = "PartialEq",
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Until", type_ = "string", json_path = ".spec.until"),
    printcolumn(name = "Approved by", type_ = "string", json_path = ".status.approvedBy"),
    printcolumn(name = "Requested by", type_ = "string", json_path = ".spec.requestedBy"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".spec.reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("size(self.metadata.name) <= 63").message("the name becomes a label value: use at most 63 characters")
)]
#[kube(cel)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf").message("a break-glass is never changed: delete it to close it early, and make a new one"))]
pub struct TrustBreakGlassSpec {
    /// Why.
    #[schemars(length(min = 1, max = 1024))]
    pub reason: String,
    /// Who asks: has to be who creates it.
    #[schemars(length(min = 1, max = 256))]
    pub requested_by: String,
    /// Until when (RFC 3339); at most 72 hours after it is made.
    #[schemars(length(max = 35))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-][0-9]{2}:[0-9]{2})$')").message("`until` is a time as 2026-11-25T06:00:00Z"))]
    pub until: String,
    /// What: exactly one.
    pub loosen: Loosen,
}

/// What is loosened: exactly one of the fields.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.acceptStale), has(self.adoptWithoutApproval), has(self.returnToAudit), has(self.allowChange), has(self.restoreMemory), has(self.lowerClockFloor)].filter(x, x).size() == 1")
    .message("give exactly one of acceptStale, adoptWithoutApproval, returnToAudit, allowChange, restoreMemory and lowerClockFloor"))]
pub struct Loosen {
    /// Trust past its limit counts as fresh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept_stale: Option<TrustRootTarget>,
    /// A candidate comes into force without approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopt_without_approval: Option<CandidateTarget>,
    /// Named namespaces go back to audit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub return_to_audit: Option<AuditTarget>,
    /// A looser edit or a deletion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_change: Option<ObjectDigest>,
    /// Lost memory is made anew from what is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore_memory: Option<TrustRootTarget>,
    /// A clock floor that is too high is lowered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lower_clock_floor: Option<TrustRootTarget>,
}

/// The kinds of thing that may be loosened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LoosenKind {
    /// Trust past its limit counts as fresh.
    AcceptStale,
    /// A candidate comes into force without approval.
    AdoptWithoutApproval,
    /// Named namespaces go back to audit.
    ReturnToAudit,
    /// A looser edit or a deletion.
    AllowChange,
    /// Lost memory is made anew from what is held.
    RestoreMemory,
    /// A clock floor that is too high is lowered.
    LowerClockFloor,
}

impl LoosenKind {
    /// The field it is declared by.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AcceptStale => "acceptStale",
            Self::AdoptWithoutApproval => "adoptWithoutApproval",
            Self::ReturnToAudit => "returnToAudit",
            Self::AllowChange => "allowChange",
            Self::RestoreMemory => "restoreMemory",
            Self::LowerClockFloor => "lowerClockFloor",
        }
    }
}

impl Loosen {
    /// The one thing that is loosened; nothing where there is none, or more than one.
    pub fn kind(&self) -> Option<LoosenKind> {
        let declared = [
            (self.accept_stale.is_some(), LoosenKind::AcceptStale),
            (self.adopt_without_approval.is_some(), LoosenKind::AdoptWithoutApproval),
            (self.return_to_audit.is_some(), LoosenKind::ReturnToAudit),
            (self.allow_change.is_some(), LoosenKind::AllowChange),
            (self.restore_memory.is_some(), LoosenKind::RestoreMemory),
            (self.lower_clock_floor.is_some(), LoosenKind::LowerClockFloor),
        ];
        let mut declared = declared.into_iter().filter(|(is_there, _)| *is_there).map(|(_, kind)| kind);
        declared.next().filter(|_| declared.next().is_none())
    }

    /// The trust root that something is loosened for, where it is one.
    pub fn trust_root(&self) -> Option<&str> {
        let targets = [&self.accept_stale, &self.restore_memory, &self.lower_clock_floor];
        let target = targets.into_iter().flatten().map(|of| of.trust_root.as_str()).next();
        target.or_else(|| self.adopt_without_approval.as_ref().map(|of| of.trust_root.as_str()))
    }
}

/// A trust root.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TrustRootTarget {
    /// The TrustRootMirror.
    #[schemars(length(min = 1, max = 63))]
    pub trust_root: String,
}

/// A candidate of a trust root.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CandidateTarget {
    /// The TrustRootMirror.
    #[schemars(length(min = 1, max = 63))]
    pub trust_root: String,
    /// The candidate.
    pub digest: Digest,
}

/// Namespaces of a policy.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
pub struct AuditTarget {
    /// The SigningIdentityPolicy.
    #[schemars(length(min = 1, max = 63))]
    pub policy: String,
    /// The namespaces.
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 63)))]
    pub namespaces: Vec<String>,
}

/// An object in one very form.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
pub struct ObjectDigest {
    /// Its kind.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// Its name.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// The digest of the form that is meant.
    pub digest: Digest,
}

/// What a break-glass is at an instant.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakGlassPhase {
    /// It waits for approvals, or for the guards that give them a meaning.
    Pending,
    /// It is in force.
    Active,
    /// Its end has come.
    Expired,
    /// It was deleted before its end, and finalizers of others keep the object.
    Closed,
    /// It never counts.
    Refused,
}

/// What became of it.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TrustBreakGlassStatus {
    /// The generation this describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What it is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<BreakGlassPhase>,
    /// When it was first found in force (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_since: Option<String>,
    /// When it was found no longer in force, after it was (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reverted_at: Option<String>,
    /// Whose approvals count; after its end, whose did.
    #[schemars(length(max = 16))]
    #[serde(default)]
    pub approved_by: Vec<String>,
    /// Ready, Active.
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    #[serde(default)]
    pub conditions: Vec<Condition>,
}

/// One person's agreement to one object in one very form. Only ever created.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "holdfast.dev",
    version = "v1alpha1",
    kind = "TrustApproval",
    plural = "trustapprovals",
    shortname = "tap",
    category = "holdfast",
    doc = "One person's agreement to a rotation, a loosening change or a break-glass, bound to its digest.",
    derive = "PartialEq",
    printcolumn(name = "Approver", type_ = "string", json_path = ".spec.approver"),
    printcolumn(name = "Kind", type_ = "string", json_path = ".spec.for.kind"),
    printcolumn(name = "Object", type_ = "string", json_path = ".spec.for.name"),
    printcolumn(name = "Comment", type_ = "string", json_path = ".spec.comment"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[kube(cel)]
#[x_kube(validation = Rule::new("self == oldSelf").message("an approval is never changed: make a new one"))]
pub struct TrustApprovalSpec {
    /// Who approves: has to be who creates it.
    #[schemars(length(min = 1, max = 256))]
    pub approver: String,
    /// What.
    #[x_kube(validation = Rule::new("self.kind in ['TrustRootMirror', 'SigningIdentityPolicy', 'TrustBreakGlass']").message("`for.kind` is TrustRootMirror, SigningIdentityPolicy or TrustBreakGlass"))]
    pub r#for: ObjectDigest,
    /// In the approver's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub comment: Option<String>,
}
