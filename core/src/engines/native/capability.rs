//! What is known of an API server.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::engines::Version;

/// What is known of the API server that judges, taken from discovery.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NativeCapability {
    /// Its version: of the oldest API server, where there are several. None where it is not known, which counts as too old.
    pub version: Option<Version>,
    /// How many shards each policy has now, where it has any. Their number changes only when it has to: a change rewrites all of them.
    pub shards: BTreeMap<String, u16>,
}

impl NativeCapability {
    /// Whether `admissionregistration.k8s.io/v1` has ValidatingAdmissionPolicy, and CEL has all the functions that are used.
    pub fn has_admission_policies(&self) -> bool {
        self.version.is_some_and(|version| version.is_at_least(1, 30))
    }

    /// Whether pods can have image volumes at all.
    pub fn has_image_volumes(&self) -> bool {
        self.version.is_some_and(|version| version.is_at_least(1, 31))
    }
}
