//! What several kinds share.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::{fmt, str::FromStr};

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::Digest;
use crate::digest::DigestError;

pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};

/// Who manages what holdfast writes.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// What holdfast's objects say of themselves under [`MANAGED_BY`].
pub const HOLDFAST: &str = "holdfast";
/// The digest of the intent: of what holdfast wants of an object, without this annotation.
pub const INTENT: &str = "holdfast.dev/intent";
/// Which BundleCoverageReport an object was written for.
pub const REPORT: &str = "holdfast.dev/report";

impl JsonSchema for Digest {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Digest".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^sha256:[0-9a-f]{64}$", "maxLength": 71})
    }
}

/// A SHA-256 digest written as 64 hex digits alone, as `sha256sum` prints it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HexDigest(pub Digest);

impl FromStr for HexDigest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        Digest::from_hex(text).map(Self)
    }
}

impl TryFrom<String> for HexDigest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl From<HexDigest> for String {
    fn from(digest: HexDigest) -> Self {
        digest.0.hex()
    }
}

impl fmt::Display for HexDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.hex())
    }
}

impl JsonSchema for HexDigest {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "HexDigest".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^[0-9a-f]{64}$", "maxLength": 64})
    }
}

/// A Secret in holdfast's own namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key in it, where one is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub key: Option<String>,
}

/// A ConfigMap with a CA bundle in holdfast's own namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CaBundleRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key with the PEM text.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// A ConfigMap, or one key of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConfigMapRef {
    /// Its namespace.
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key, where one file is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub key: Option<String>,
}

/// Which namespaces are meant. Empty means all.
///
/// The fields are those of Kubernetes' label selector, with bounds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceSelector {
    /// Labels a namespace has to have, all of them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub match_labels: BTreeMap<String, String>,
    /// Further requirements, all of which have to hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub match_expressions: Vec<SelectorRequirement>,
}

/// One requirement of a selector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)")
    .message("`values` belongs to the operators In and NotIn, and they need it"))]
pub struct SelectorRequirement {
    /// The label.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,
    /// How it is compared.
    pub operator: SelectorOperator,
    /// With what.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 63)))]
    pub values: Vec<String>,
}

/// How a label is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SelectorOperator {
    /// It is one of the values.
    In,
    /// It is absent, or none of the values.
    NotIn,
    /// It is there.
    Exists,
    /// It is absent.
    DoesNotExist,
}

/// The label every namespace has; the API server sets it to the name.
pub const NAME_LABEL: &str = "kubernetes.io/metadata.name";

impl SelectorRequirement {
    fn holds(&self, value: Option<&String>) -> bool {
        match self.operator {
            SelectorOperator::In => value.is_some_and(|value| self.values.contains(value)),
            SelectorOperator::NotIn => value.is_none_or(|value| !self.values.contains(value)),
            SelectorOperator::Exists => value.is_some(),
            SelectorOperator::DoesNotExist => value.is_none(),
        }
    }
}

impl NamespaceSelector {
    /// Whether a namespace with these labels is meant.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(|requirement| requirement.holds(labels.get(&requirement.key)))
    }

    /// Whether a namespace of which only the name is known is meant; `None` where that hangs on other labels.
    pub fn matches_name(&self, name: &str) -> Option<bool> {
        let labels = BTreeMap::from([(NAME_LABEL.to_owned(), name.to_owned())]);
        let mut decided = self.clone();
        decided.match_labels.retain(|key, _| key == NAME_LABEL);
        decided.match_expressions.retain(|requirement| requirement.key == NAME_LABEL);
        if decided.matches(&labels) { (decided == *self).then_some(true) } else { Some(false) }
    }
}

/// How many of what.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct CoverageCounts {
    /// Images that are covered.
    #[serde(default)]
    pub covered: u64,
    /// Images proven not to pass.
    #[serde(default)]
    pub uncovered: u64,
    /// Images that could not be judged.
    #[serde(default)]
    pub unknown: u64,
}
