//! What the operator decides of each kind: from what was declared, what was observed and the instant to judge at, to what is to be there and what status
//! says. `holdfast plan` calls the same functions.

pub mod break_glass;
pub mod mirror;
pub mod policy;
mod reasons;
pub mod report;
mod said;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// What asks for a pass now: anything new in the annotation `holdfast.dev/reconcile-at`.
pub fn reconcile_at(of: &ObjectMeta) -> Option<&str> {
    let asked = of.annotations.as_ref()?.get("holdfast.dev/reconcile-at")?;
    Some(asked.char_indices().nth(256).map_or(asked, |(at, _)| asked.get(..at).unwrap_or_default()))
}
