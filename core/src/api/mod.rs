//! What people declare: one file a kind.
//!
//! The CRD schemas say no before the operator has to; [`strict::decode`] holds a document to the same schema and the same rules without an API server.

#![allow(clippy::duplicated_attributes)] // columns may well share a type
#![allow(unreachable_pub)] // the schema derive repeats each struct inside a function, where `pub` reaches nowhere

pub mod break_glass;
pub mod common;
pub mod condition;
pub mod duration;
pub mod mirror;
mod mirror_status;
pub mod policy;
pub mod report;
mod schema;
pub mod strict;
pub mod verified;

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;

pub use break_glass::{TrustApproval, TrustApprovalSpec, TrustBreakGlass, TrustBreakGlassSpec};
pub use mirror::{TrustRootMirror, TrustRootMirrorSpec};
pub use policy::{SigningIdentityPolicy, SigningIdentityPolicySpec};
pub use report::{BundleCoverageReport, BundleCoverageReportSpec};
pub use verified::{VerifiedImages, VerifiedImagesSpec};

/// The API group of all kinds.
pub const GROUP: &str = "holdfast.dev";
/// The version of all kinds.
pub const VERSION: &str = "v1alpha1";

/// The definitions of all kinds, in the order in which a person meets them; the last is internal.
pub fn crds() -> Vec<CustomResourceDefinition> {
    let mut crds = vec![
        TrustRootMirror::crd(),
        SigningIdentityPolicy::crd(),
        BundleCoverageReport::crd(),
        TrustBreakGlass::crd(),
        TrustApproval::crd(),
        VerifiedImages::crd(),
    ];
    let schemas = crds.iter_mut().flat_map(|crd| &mut crd.spec.versions).filter_map(|version| version.schema.as_mut());
    schemas.filter_map(|schema| schema.open_api_v3_schema.as_mut()).for_each(leave_out_foreign_formats);
    crds
}

/// Rust's unsigned numbers have formats of their own in a derived schema, which an API server warns of; `minimum` and `maximum` say the same.
fn leave_out_foreign_formats(schema: &mut JSONSchemaProps) {
    schema.format = schema.format.take().filter(|format| !format.starts_with("uint"));
    schema.properties.iter_mut().flat_map(BTreeMap::values_mut).for_each(leave_out_foreign_formats);
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        leave_out_foreign_formats(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        leave_out_foreign_formats(values);
    }
}
