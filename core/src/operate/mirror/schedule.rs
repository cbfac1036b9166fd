//! When a mirror has to be looked at again: at the instants at which something changes by itself.

use jiff::{SignedDuration, Timestamp};

use super::adoption::{Decision, WAITS, ends};
use crate::api::TrustRootMirrorSpec;
use crate::trust::budget::{Cause, End};
use crate::trust::freshness::Freshness;
use crate::trust::tuf::State;

/// The first instant after `now` at which the decision would be another one, if nothing else happens.
pub fn next(
    decision: &Decision,
    spec: &TrustRootMirrorSpec,
    state: Option<&State>,
    now: Timestamp,
) -> Option<Timestamp> {
    let freshness = decision.freshness.as_ref().and_then(Freshness::changes_at);
    let leaving = decision.record.iter().flat_map(|record| &record.leaving).map(|leaving| ends(spec, leaving));
    let leaving = leaving.flat_map(|end| [end, end.saturating_add(WAITS).unwrap_or(Timestamp::MAX)]);
    let budget = decision.budget.ends.iter().flat_map(|end| [end.until, warns_at(end, spec, state)]);
    freshness.into_iter().chain(leaving).chain(budget).filter(|at| *at > now).min()
}

/// From when on an end is warned of: `warnBefore` ahead of it; of a TUF role no earlier than after two thirds of the time it had when it was accepted, since
/// one that lives for a week would be warned of always.
pub fn warns_at(end: &End, spec: &TrustRootMirrorSpec, state: Option<&State>) -> Timestamp {
    let declared = end.until.saturating_sub(spec.freshness.warn_before.signed()).unwrap_or(Timestamp::MIN);
    let Cause::TufRole { role, .. } = &end.cause else { return declared };
    let Some(floor) = state.and_then(|state| state.memory().floors.get(role)) else { return declared };
    let lived = end.until.duration_since(floor.accepted);
    let two_thirds = SignedDuration::from_secs(lived.as_secs() / 3 * 2);
    declared.max(floor.accepted.saturating_add(two_thirds).unwrap_or(end.until)).min(end.until)
}
