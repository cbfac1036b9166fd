//! A document as one of our kinds, or every reason why not.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use kube::CustomResourceExt;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::schema;
use super::{
    BundleCoverageReport, GROUP, SigningIdentityPolicy, TrustApproval, TrustBreakGlass, TrustRootMirror, VERSION,
};

/// An object of one of our kinds.
#[derive(Debug, Clone, PartialEq)]
pub enum Object {
    /// A trust root.
    TrustRootMirror(Box<TrustRootMirror>),
    /// A policy.
    SigningIdentityPolicy(Box<SigningIdentityPolicy>),
    /// A report.
    BundleCoverageReport(Box<BundleCoverageReport>),
    /// A break-glass.
    TrustBreakGlass(Box<TrustBreakGlass>),
    /// An approval.
    TrustApproval(Box<TrustApproval>),
}

/// One thing that is wrong with a document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// A kind or version that is not known.
    #[error("`{got}` is not known: known are {known}")]
    UnknownKind {
        /// The apiVersion and kind given.
        got: String,
        /// What is known.
        known: String,
    },
    /// A field that is not known.
    #[error("unknown field `{path}`{}", .nearest.as_ref().map_or_else(String::new, |near| format!(": did you mean `{near}`?")))]
    UnknownField {
        /// Where it stands.
        path: String,
        /// The known field at that place that may be meant.
        nearest: Option<String>,
    },
    /// A field that is required.
    #[error("`{path}` is missing")]
    MissingField {
        /// Where it belongs.
        path: String,
    },
    /// A value that does not fit.
    #[error("`{path}` {detail}")]
    Value {
        /// Where it stands.
        path: String,
        /// What it has to be.
        detail: String,
    },
    /// A rule that the API server would apply.
    #[error("{}{message}", .path.as_ref().map_or_else(String::new, |path| format!("`{path}`: ")))]
    Rule {
        /// Where it applies.
        path: Option<String>,
        /// What to write instead.
        message: String,
    },
}

/// Whether a document claims to be of our group.
pub fn is_ours(document: &Value) -> bool {
    document.get("apiVersion").and_then(Value::as_str).is_some_and(|version| version.split('/').next() == Some(GROUP))
}

/// Reads a document of our group: known kind, known fields, values within bounds, and all rules the API server would apply on creation.
///
/// # Errors
/// Every [`ApiError`] that was found, in the order of the document.
pub fn decode(document: &Value) -> Result<Object, Vec<ApiError>> {
    let text = |name: &str| document.get(name).and_then(Value::as_str).unwrap_or_default();
    let (version, kind) = (text("apiVersion"), text("kind"));
    let unknown = || {
        let known: Vec<String> = schemas().keys().map(|kind| format!("`{kind}`")).collect();
        vec![ApiError::UnknownKind {
            got: format!("{version} {kind}"),
            known: format!("{GROUP}/{VERSION} {}", known.join(", ")),
        }]
    };
    if version != format!("{GROUP}/{VERSION}") {
        return Err(unknown());
    }
    let schema = schemas().get(kind).ok_or_else(unknown)?;
    let mut errors = Vec::new();
    schema::check(document, schema, "", &mut errors);
    if document.pointer("/metadata/name").and_then(Value::as_str).is_none_or(str::is_empty)
        && document.pointer("/metadata/generateName").is_none()
    {
        errors.push(ApiError::MissingField { path: "metadata.name".to_owned() });
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    match kind {
        "TrustRootMirror" => {
            typed(document, TrustRootMirror::validate_cel).map(|o| Object::TrustRootMirror(Box::new(o)))
        }
        "SigningIdentityPolicy" => {
            typed(document, SigningIdentityPolicy::validate_cel).map(|o| Object::SigningIdentityPolicy(Box::new(o)))
        }
        "BundleCoverageReport" => {
            typed(document, BundleCoverageReport::validate_cel).map(|o| Object::BundleCoverageReport(Box::new(o)))
        }
        "TrustBreakGlass" => {
            typed(document, TrustBreakGlass::validate_cel).map(|o| Object::TrustBreakGlass(Box::new(o)))
        }
        "TrustApproval" => typed(document, TrustApproval::validate_cel).map(|o| Object::TrustApproval(Box::new(o))),
        _ => Err(unknown()),
    }
}

fn typed<T: DeserializeOwned>(
    document: &Value,
    rules: impl Fn(&T) -> Result<(), kube::core::cel::ValidationErrors>,
) -> Result<T, Vec<ApiError>> {
    let object: T = serde_json::from_value(document.clone()).map_err(|e| {
        vec![ApiError::Value { path: "the document".to_owned(), detail: format!("cannot be read: {e}") }]
    })?;
    rules(&object).map_err(|errors| {
        errors
            .into_iter()
            .map(|error| ApiError::Rule {
                path: (!error.field_path.is_empty()).then(|| error.field_path.clone()),
                message: error.message.clone(),
            })
            .collect::<Vec<_>>()
    })?;
    Ok(object)
}

/// The schema of every kind, as the API server would hold it.
fn schemas() -> &'static BTreeMap<&'static str, Value> {
    static SCHEMAS: OnceLock<BTreeMap<&'static str, Value>> = OnceLock::new();
    SCHEMAS.get_or_init(|| {
        let of = |crd: k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition| {
            let version = crd.spec.versions.into_iter().next();
            let schema = version.and_then(|version| version.schema).and_then(|schema| schema.open_api_v3_schema);
            let mut schema = schema.and_then(|schema| serde_json::to_value(schema).ok()).unwrap_or_default();
            if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
                // The API server adds these to every kind.
                properties.insert("apiVersion".to_owned(), serde_json::json!({"type": "string"}));
                properties.insert("kind".to_owned(), serde_json::json!({"type": "string"}));
                properties.insert("metadata".to_owned(), serde_json::json!({"type": "object"}));
            }
            schema
        };
        BTreeMap::from([
            ("BundleCoverageReport", of(BundleCoverageReport::crd())),
            ("SigningIdentityPolicy", of(SigningIdentityPolicy::crd())),
            ("TrustApproval", of(TrustApproval::crd())),
            ("TrustBreakGlass", of(TrustBreakGlass::crd())),
            ("TrustRootMirror", of(TrustRootMirror::crd())),
        ])
    })
}
