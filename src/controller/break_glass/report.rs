//! What people read: the status where it changed, events on change. Metrics are read from statuses.

use holdfast_core::api::TrustBreakGlass;
use holdfast_core::operate::break_glass::{Standing, changes, status};
use jiff::Timestamp;
use kube::Resource;

use super::super::context::Context;
use super::super::failure::Failed;
use super::super::{malformed, status as statuses};

/// Reports.
///
/// # Errors
/// [`Failed`], where the status cannot be written.
pub(super) async fn report(
    context: &Context,
    glass: &TrustBreakGlass,
    standing: &Standing,
    now: Timestamp,
) -> Result<(), Failed> {
    let told = status(glass, standing, now);
    let invalid = if let Standing::Invalid(faults) = standing { Some(faults) } else { None };
    let is_told = invalid.is_some() && malformed::is_told::<TrustBreakGlass>(context, &glass.metadata);
    if is_told || glass.status.as_ref() == Some(&told) {
        return Ok(());
    }
    match (statuses::write(context, glass, &told, &told.conditions).await, invalid) {
        (Err(failed), Some(faults)) if failed.category() == "refused" => {
            malformed::untold::<TrustBreakGlass>(context, &glass.metadata, faults, &failed).await;
            return Ok(());
        }
        (written, _) => written?,
    }
    if let Some(change) = changes(glass, &told) {
        context.event(&glass.object_ref(&()), change.warns, &change.reason, &change.note).await;
    }
    Ok(())
}
