//! What is known of a policy-controller in a cluster.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use crate::engines::Version;

/// The newest version the rendered objects were run on.
pub const NEWEST_RUN: Version = Version::new(0, 15, 1);
/// Where policy-controller runs, unless told otherwise.
const NAMESPACE: &str = "cosign-system";
const GROUP: &str = "policy.sigstore.dev";

/// A closed set of facts about a policy-controller.
#[allow(clippy::struct_excessive_bools)] // each is a fact of its own
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyControllerCapability {
    /// Whether it is in the cluster.
    pub present: bool,
    /// Its version, where known.
    pub version: Option<Version>,
    /// Where it runs.
    pub namespace: String,
    /// Whether an authority's `signatureFormat` is known to it and to the schema, so that bundles can be asked for.
    pub signature_format: bool,
    /// Whether the schema of TrustRoot knows `trustedRootTarget`. Nothing rendered needs it; a controller that lacks it has old definitions.
    pub trusted_root_target: bool,
    /// What happens to images that no policy matches, where known.
    pub no_match: Option<NoMatch>,
    /// Whether attestations are taken unverified, where known.
    pub enable_oci11: Option<bool>,
    /// Whether the webhook was started without the public TUF root, where known.
    pub disable_tuf: Option<bool>,
    /// Whether trust may be written straight into `config-sigstore-keys`.
    pub direct_entries: bool,
    /// Whether a TrustRoot's log ids are stored as raw bytes. Released versions store text (policy-controller pull request 1968), with which no entry is ever found.
    pub raw_log_ids: bool,
    /// What the cluster said that does not fit together.
    pub contradictions: Vec<Contradiction>,
}

/// What happens to an image that no ClusterImagePolicy matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoMatch {
    /// It is denied.
    Deny,
    /// It passes with a warning.
    Warn,
    /// It passes.
    Allow,
}

/// Facts that cannot all be true.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
    /// A version that knows a field whose schema does not; the schema decides, because the API server drops what it does not know.
    #[error(
        "policy-controller {version} knows `{field}`, and the definition of {kind} in the cluster does not, so the API server drops it"
    )]
    SchemaLacks {
        /// The version.
        version: Version,
        /// The kind.
        kind: &'static str,
        /// The field.
        field: &'static str,
    },
    /// A schema that knows a field whose version does not; the version decides, because an engine that does not know `signatureFormat` would verify
    /// something else.
    #[error(
        "the definition of {kind} in the cluster knows `{field}`, and policy-controller {version} does not, so it would ignore it"
    )]
    VersionLacks {
        /// The version.
        version: Version,
        /// The kind.
        kind: &'static str,
        /// The field.
        field: &'static str,
    },
}

/// Why a definition says nothing about policy-controller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CapabilityError {
    /// The definition of a kind is not there.
    #[error("no CustomResourceDefinition of {kind} ({GROUP}) was given: install policy-controller's definitions")]
    Missing {
        /// The kind.
        kind: &'static str,
    },
    /// The version objects are rendered for is not served.
    #[error("the CustomResourceDefinition of {kind} does not serve {version}, which objects are rendered for")]
    NotServed {
        /// The kind.
        kind: &'static str,
        /// The version.
        version: &'static str,
    },
    /// It has no schema to read.
    #[error(
        "the CustomResourceDefinition of {kind}, version {version}, has no schema of `{field}`: it is not policy-controller's"
    )]
    NoSchema {
        /// The kind.
        kind: &'static str,
        /// The version.
        version: &'static str,
        /// The field that is missing.
        field: &'static str,
    },
}

impl PolicyControllerCapability {
    /// No policy-controller.
    pub fn absent() -> Self {
        Self { present: false, ..Self::assumed(NEWEST_RUN) }
    }

    /// What a version is taken to be where no cluster is at hand: settings are not known, and direct entries are allowed.
    pub fn assumed(version: Version) -> Self {
        Self {
            present: true,
            version: Some(version),
            namespace: NAMESPACE.to_owned(),
            signature_format: knows_signature_format(version),
            trusted_root_target: knows_signature_format(version),
            no_match: None,
            enable_oci11: None,
            disable_tuf: None,
            direct_entries: true,
            raw_log_ids: false,
            contradictions: Vec::new(),
        }
    }

    /// What is found in a cluster: the version, where known, and the CustomResourceDefinitions as the API server has them.
    ///
    /// Where version and schema differ, whichever knows less is right, and the difference is kept in [`Self::contradictions`].
    ///
    /// # Errors
    /// [`CapabilityError`], where the definitions are not policy-controller's.
    pub fn probe(version: Option<Version>, definitions: &[Value]) -> Result<Self, CapabilityError> {
        const POLICY: &str = "ClusterImagePolicy";
        const ROOT: &str = "TrustRoot";
        let authority = schema(
            definitions,
            POLICY,
            "v1beta1",
            "/properties/spec/properties/authorities/items/properties",
            "authorities",
        )?;
        let repository =
            schema(definitions, ROOT, "v1alpha1", "/properties/spec/properties/repository/properties", "repository")?;
        let mut contradictions = Vec::new();
        let mut settle = |kind: &'static str, field: &'static str, in_schema: bool| match version {
            Some(version) if knows_signature_format(version) && !in_schema => {
                contradictions.push(Contradiction::SchemaLacks { version, kind, field });
                false
            }
            Some(version) if !knows_signature_format(version) && in_schema => {
                contradictions.push(Contradiction::VersionLacks { version, kind, field });
                false
            }
            _ => in_schema,
        };
        let signature_format = settle(POLICY, "signatureFormat", authority.get("signatureFormat").is_some());
        let trusted_root_target = settle(ROOT, "trustedRootTarget", repository.get("trustedRootTarget").is_some());
        Ok(Self {
            version,
            signature_format,
            trusted_root_target,
            contradictions,
            ..Self::assumed(version.unwrap_or(NEWEST_RUN))
        })
    }

    /// With the ConfigMap `config-policy-controller`, as the engine reads it: an absent or unknown `no-match-policy` denies.
    #[must_use]
    pub fn with_settings(mut self, settings: &BTreeMap<String, String>) -> Self {
        self.no_match = Some(match settings.get("no-match-policy").map(String::as_str) {
            Some("allow") => NoMatch::Allow,
            Some("warn") => NoMatch::Warn,
            _ => NoMatch::Deny,
        });
        // Go's ParseBool.
        let truths = ["1", "t", "T", "TRUE", "true", "True"];
        self.enable_oci11 = Some(settings.get("enable-oci11").is_some_and(|value| truths.contains(&value.as_str())));
        self
    }

    /// With the ConfigMap `config-sigstore-keys`: entries that the controller wrote itself from TrustRoot objects show how it stores log ids.
    #[must_use]
    pub fn with_stored_keys(mut self, keys: &BTreeMap<String, String>, trust_roots: &[&str]) -> Self {
        let ids: Vec<usize> = trust_roots
            .iter()
            .filter_map(|name| keys.get(*name))
            .filter_map(|entry| serde_json::from_str::<Value>(entry).ok())
            .flat_map(|entry| [entry.get("tlogs").cloned(), entry.get("ctlogs").cloned()])
            .flatten()
            .filter_map(|logs| logs.as_array().cloned())
            .flatten()
            .filter_map(|log| STANDARD.decode(log.pointer("/logId/keyId")?.as_str()?).ok())
            .map(|id| id.len())
            .collect();
        self.raw_log_ids = !ids.is_empty() && ids.iter().all(|len| *len == 32);
        self
    }
}

/// Bundles, and a trusted root's own target name, came with 0.13.
const fn knows_signature_format(version: Version) -> bool {
    version.is_at_least(0, 13)
}

fn schema<'a>(
    definitions: &'a [Value],
    kind: &'static str,
    version: &'static str,
    pointer: &str,
    field: &'static str,
) -> Result<&'a Value, CapabilityError> {
    let text = |value: &'a Value, pointer: &str| value.pointer(pointer).and_then(Value::as_str);
    let definition = definitions
        .iter()
        .find(|d| text(d, "/spec/group") == Some(GROUP) && text(d, "/spec/names/kind") == Some(kind))
        .ok_or(CapabilityError::Missing { kind })?;
    let served = definition
        .pointer("/spec/versions")
        .and_then(Value::as_array)
        .and_then(|versions| {
            versions.iter().find(|v| text(v, "/name") == Some(version) && v.get("served") == Some(&Value::Bool(true)))
        })
        .ok_or(CapabilityError::NotServed { kind, version })?;
    served
        .pointer("/schema/openAPIV3Schema")
        .and_then(|schema| schema.pointer(pointer))
        .ok_or(CapabilityError::NoSchema { kind, version, field })
}
