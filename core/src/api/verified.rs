//! `VerifiedImages`: what the native engine's admission policies look up. Written by holdfast alone, and by nobody by hand.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// One shard of the digests that are verified for a policy: those whose first two hex digits lie in the range that its name says.
///
/// Not in the category `holdfast`: it is a parameter of admission policies, not something a person declares.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "holdfast.dev",
    version = "v1alpha1",
    kind = "VerifiedImages",
    plural = "verifiedimages",
    singular = "verifiedimages",
    doc = "Digests that holdfast has verified, as parameters of its admission policies. Internal: written by holdfast alone.",
    derive = "PartialEq",
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
pub struct VerifiedImagesSpec {
    /// By the first two hex digits and the policy, as `ab.apps`: 64 hex digits a digest, separated by `;`.
    ///
    /// Atomic: with an owner for each key the objects are twice as large.
    #[schemars(extend("maxProperties" = 65536, "x-kubernetes-map-type" = "atomic"), schema_with = "lists")]
    pub data: BTreeMap<String, String>,
}

/// The longest list of one key: 512 digests and the separators between them.
pub const MAX_LIST: usize = 512 * 65 - 1;

fn lists(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "object", "additionalProperties": {"type": "string", "maxLength": MAX_LIST}})
}
