//! Is what is declared something that can be operated?
//!
//! The API server says no before holdfast has to; but an object may be older than a rule, or may have been written while validation was off.

use holdfast_core::api::TrustRootMirror;
use holdfast_core::api::strict;
use serde_json::json;

use super::Known;

/// Holds a mirror to the rules of its kind.
///
/// # Errors
/// Every fault, in one sentence each.
pub(crate) fn validate(mirror: &TrustRootMirror, known: &mut Known) -> Result<(), String> {
    let generation = mirror.metadata.generation;
    if generation.is_some() && known.valid == generation {
        return Ok(());
    }
    let document = json!({
        "apiVersion": "holdfast.dev/v1alpha1",
        "kind": "TrustRootMirror",
        "metadata": {"name": mirror.metadata.name},
        "spec": mirror.spec,
    });
    match strict::decode(&document) {
        Ok(_) => {
            known.valid = generation;
            Ok(())
        }
        Err(faults) => {
            known.valid = None;
            Err(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
        }
    }
}
