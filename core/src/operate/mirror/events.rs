//! What is worth an event: what changed from one status to the next, for good or ill.

use crate::api::mirror::TrustRootMirrorStatus;
use crate::operate::said;

pub use crate::operate::said::Change;

/// What changed from `old` to `new`.
pub fn changes(old: Option<&TrustRootMirrorStatus>, new: &TrustRootMirrorStatus) -> Vec<Change> {
    let mut changes: Vec<Change> = Vec::new();
    let adopted = |status: &TrustRootMirrorStatus| status.adopted.as_ref().map(|adopted| adopted.digest);
    if let Some(now) = new.adopted.as_ref().filter(|now| old.and_then(adopted) != Some(now.digest)) {
        let by = now.approved_by.as_deref().unwrap_or("its first import");
        changes.push(Change::good("Adopted", &format!("the trust {} is in force, by {by}", now.digest)));
    }
    said::changes(old.map(|old| old.conditions.as_slice()).unwrap_or_default(), &new.conditions, changes)
}
