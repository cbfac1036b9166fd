//! What is known of the Kyverno in a cluster.

use serde::Serialize;
use serde_json::Value;

use crate::engines::Version;

/// The CRD of ImageValidatingPolicy.
pub const IMAGE_VALIDATING_POLICIES: &str = "imagevalidatingpolicies.policies.kyverno.io";
/// The CRD of ClusterPolicy.
pub const CLUSTER_POLICIES: &str = "clusterpolicies.kyverno.io";
/// The first version with inline trust roots in an ImageValidatingPolicy.
const INLINE_ROOT_SINCE: (u16, u16) = (1, 19);

/// Presence, version, and what the schemas of its kinds accept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KyvernoCapability {
    /// What is installed; nothing where Kyverno is absent.
    pub installed: Option<Installed>,
}

/// A Kyverno that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Installed {
    /// Its version.
    pub version: Version,
    /// The version of ImageValidatingPolicy to write, where one is served.
    pub image_validating_policy: Option<ServedVersion>,
    /// Whether an attestor of that version takes a trust root inline (`cosign.trustedRoot`).
    pub inline_root: bool,
    /// Whether ClusterPolicy is served.
    pub cluster_policy: bool,
}

/// A version of ImageValidatingPolicy that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum ServedVersion {
    /// `v1`, from 1.17 on.
    #[serde(rename = "v1")]
    V1,
    /// `v1beta1`.
    #[serde(rename = "v1beta1")]
    V1Beta1,
}

impl ServedVersion {
    /// Group and version, as objects carry it.
    pub const fn api_version(self) -> &'static str {
        match self {
            Self::V1 => "policies.kyverno.io/v1",
            Self::V1Beta1 => "policies.kyverno.io/v1beta1",
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V1Beta1 => "v1beta1",
        }
    }
}

/// Why what was read of a cluster cannot be true of one Kyverno.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CapabilityError {
    /// Not a CustomResourceDefinition of Kyverno's.
    #[error(
        "`{name}` is not a CustomResourceDefinition of Kyverno's: give {IMAGE_VALIDATING_POLICIES} and {CLUSTER_POLICIES}"
    )]
    NotOfKyverno {
        /// What it calls itself.
        name: String,
    },
    /// The same definition twice, not alike.
    #[error("`{name}` is given twice, and the two are not alike: read the cluster once more")]
    Twice {
        /// Which one.
        name: String,
    },
    /// The controller knows a field its schema drops in silence.
    #[error(
        "Kyverno says it is {version}, but the schema of its ImageValidatingPolicy has no `{field}`: the API server would drop it in silence, and images would be judged by another trust. Upgrade the CRDs together with the controller"
    )]
    SchemaOlderThanVersion {
        /// As it was read from the controller.
        version: Version,
        /// The field.
        field: &'static str,
    },
    /// The schema takes a field its controller does not know.
    #[error(
        "Kyverno says it is {version}, but the schema of its ImageValidatingPolicy has `{field}`, which that version ignores: images would be judged by another trust. Upgrade the controller together with the CRDs"
    )]
    SchemaNewerThanVersion {
        /// As it was read from the controller.
        version: Version,
        /// The field.
        field: &'static str,
    },
    /// A field that every rendered object has.
    #[error(
        "the schema of ImageValidatingPolicy {served} has no `{field}`, which every rendered object needs: is it Kyverno's own?"
    )]
    FieldMissing {
        /// The version of the kind.
        served: &'static str,
        /// The field.
        field: &'static str,
    },
}

/// The fields of `spec` that rendered objects have, each as a pointer into the schema.
const NEEDED: [(&str, &str); 14] = [
    ("validationActions", "/validationActions"),
    ("failurePolicy", "/failurePolicy"),
    ("webhookConfiguration.timeoutSeconds", "/webhookConfiguration/properties/timeoutSeconds"),
    ("evaluation", "/evaluation"),
    ("autogen", "/autogen"),
    ("matchConstraints.namespaceSelector", "/matchConstraints/properties/namespaceSelector"),
    ("matchImageReferences[].expression", "/matchImageReferences/items/properties/expression"),
    ("validationConfigurations.verifyDigest", "/validationConfigurations/properties/verifyDigest"),
    ("attestors[].cosign.keyless", "/attestors/items/properties/cosign/properties/keyless"),
    ("attestors[].cosign.key", "/attestors/items/properties/cosign/properties/key"),
    ("attestors[].cosign.tuf", "/attestors/items/properties/cosign/properties/tuf"),
    ("attestors[].cosign.ctlog", "/attestors/items/properties/cosign/properties/ctlog"),
    ("attestations[].intoto", "/attestations/items/properties/intoto"),
    ("validations[].expression", "/validations/items/properties/expression"),
];
const INLINE_ROOT: (&str, &str) =
    ("attestors[].cosign.trustedRoot", "/attestors/items/properties/cosign/properties/trustedRoot");

impl KyvernoCapability {
    /// A cluster without Kyverno.
    pub const ABSENT: Self = Self { installed: None };

    /// From the version the controller says it has and the CRDs that are in the cluster. Where the two do not contradict each other, the schemas say what
    /// is rendered.
    ///
    /// # Errors
    /// [`CapabilityError`], where version and schemas cannot be of one Kyverno: in the middle of an upgrade, or because somebody else made the CRD.
    pub fn read(version: Version, definitions: &[Value]) -> Result<Self, CapabilityError> {
        let mut seen: Vec<(&str, &Value)> = Vec::new();
        for definition in definitions {
            let name = definition.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
            let is_definition = definition.get("kind").and_then(Value::as_str) == Some("CustomResourceDefinition");
            if !is_definition || ![IMAGE_VALIDATING_POLICIES, CLUSTER_POLICIES].contains(&name) {
                return Err(CapabilityError::NotOfKyverno { name: name.chars().take(253).collect() });
            }
            match seen.iter().find(|(other, _)| *other == name) {
                Some((_, other)) if other.get("spec") != definition.get("spec") => {
                    return Err(CapabilityError::Twice { name: name.to_owned() });
                }
                Some(_) => {}
                None => seen.push((name, definition)),
            }
        }
        let of = |name: &str| seen.iter().find(|(other, _)| *other == name).map(|(_, definition)| *definition);
        let mut installed = Installed {
            version,
            image_validating_policy: None,
            inline_root: false,
            cluster_policy: of(CLUSTER_POLICIES).is_some_and(|definition| spec_schema(definition, "v1").is_some()),
        };
        let image_policies = of(IMAGE_VALIDATING_POLICIES).and_then(|definition| {
            [ServedVersion::V1, ServedVersion::V1Beta1]
                .into_iter()
                .find_map(|served| spec_schema(definition, served.as_str()).map(|schema| (served, schema)))
        });
        if let Some((served, schema)) = image_policies {
            if let Some((field, _)) = NEEDED.iter().find(|(_, pointer)| schema.pointer(pointer).is_none()) {
                return Err(CapabilityError::FieldMissing { served: served.as_str(), field });
            }
            let expected = version.is_at_least(INLINE_ROOT_SINCE.0, INLINE_ROOT_SINCE.1);
            let (field, pointer) = INLINE_ROOT;
            installed.inline_root = schema.pointer(pointer).is_some();
            installed.image_validating_policy = Some(served);
            match (expected, installed.inline_root) {
                (true, false) => return Err(CapabilityError::SchemaOlderThanVersion { version, field }),
                (false, true) => return Err(CapabilityError::SchemaNewerThanVersion { version, field }),
                _ => {}
            }
        }
        Ok(Self { installed: Some(installed) })
    }

    /// What a released version has, where there is no cluster to look at.
    pub const fn assumed(version: Version) -> Self {
        let image_validating_policy = if version.is_at_least(1, 17) {
            Some(ServedVersion::V1)
        } else if version.is_at_least(1, 16) {
            Some(ServedVersion::V1Beta1)
        } else {
            None
        };
        Self {
            installed: Some(Installed {
                version,
                image_validating_policy,
                inline_root: version.is_at_least(INLINE_ROOT_SINCE.0, INLINE_ROOT_SINCE.1),
                cluster_policy: !version.is_at_least(1, 21),
            }),
        }
    }
}

/// The properties of `spec` in the schema of a version that is served.
fn spec_schema<'a>(definition: &'a Value, version: &str) -> Option<&'a Value> {
    let versions = definition.pointer("/spec/versions")?.as_array()?;
    let of_version =
        versions.iter().find(|candidate| candidate.get("name").and_then(Value::as_str) == Some(version))?;
    if of_version.get("served") != Some(&Value::Bool(true)) {
        return None;
    }
    of_version.pointer("/schema/openAPIV3Schema/properties/spec/properties")
}
