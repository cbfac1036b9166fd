//! What people read: the status where it changed, events on change, metrics.

use std::collections::BTreeMap;

use holdfast_core::Digest;
use holdfast_core::api::TrustRootMirror;
use holdfast_core::api::mirror::{ConfigMapDistribution, TrustRootMirrorStatus};
use holdfast_core::operate::mirror::distribution::ConsumerState;
use holdfast_core::operate::mirror::status::{Distributed, Failure, Import, Report};
use holdfast_core::operate::mirror::{Decision, MirrorReason, events};
use holdfast_core::trust::held::Held;
use jiff::Timestamp;
use kube::{Resource, ResourceExt};

use super::super::context::Context;
use super::super::failure::Failed;
use super::super::{malformed, status};
use super::apply::Applied;
use super::observe::Observed;
use crate::serve::metrics::TrustRootFacts;

/// Reports.
///
/// # Errors
/// [`Failed`], where the status cannot be written.
pub(crate) async fn report(
    context: &Context,
    mirror: &TrustRootMirror,
    observed: &Observed,
    decision: &Decision,
    applied: &Applied,
    now: Timestamp,
) -> Result<(), Failed> {
    let state = observed.held.as_ref().map(|Held { state, .. }| state);
    let in_vain: Vec<Digest> = in_vain(observed, decision);
    let import = import(mirror, observed);
    let status = Report {
        mirror,
        state,
        decision,
        import: &import,
        fault: observed.fault.as_ref(),
        stored: (applied.memory.as_ref(), applied.record.as_ref()),
        unguarded: observed.guarding.as_ref().and_then(|guarding| guarding.why_not()),
        approved_in_vain: &in_vain,
        approved_too_early: observed.too_early,
        accepted: observed.accepted(decision),
        distributed: distributed(context, mirror.spec.distribution.config_maps.as_ref(), applied),
    }
    .status(now);
    measure(context, mirror, decision, applied, state, &status);
    let is_told = is_invalid(&observed.import) && malformed::is_told::<TrustRootMirror>(context, &mirror.metadata);
    if is_told || mirror.status.as_ref() == Some(&status) {
        return Ok(());
    }
    match status::write(context, mirror, &status, &status.conditions).await {
        Err(failed) if failed.category() == "refused" && is_invalid(&observed.import) => {
            malformed::untold::<TrustRootMirror>(context, &mirror.metadata, &message(&observed.import), &failed).await;
            return Ok(());
        }
        written => written?,
    }
    for change in events::changes(mirror.status.as_ref(), &status) {
        context.event(&mirror.object_ref(&()), change.warns, &change.reason, &change.note).await;
    }
    Ok(())
}

fn is_invalid(import: &Import) -> bool {
    matches!(import, Import::Failed(Failure { reason: MirrorReason::SpecInvalid, .. }))
}

fn message(import: &Import) -> String {
    match import {
        Import::Failed(failure) => failure.message.clone(),
        Import::NotTried | Import::Accepted(_) | Import::Unchanged(_) => String::new(),
    }
}

/// While it is suspended, what was last seen of the source stands.
fn import(mirror: &TrustRootMirror, observed: &Observed) -> Import {
    if mirror.spec.suspend { Import::NotTried } else { observed.import.clone() }
}

/// Approvals of something that is neither in force nor waits.
fn in_vain(observed: &Observed, decision: &Decision) -> Vec<Digest> {
    let Some(candidate) = &decision.candidate else { return Vec::new() };
    let in_force = decision.adopted.as_ref().map(|adopted| adopted.root.digest);
    let agreed = observed.agreed.iter().map(|(digest, _)| *digest);
    agreed.filter(|digest| *digest != candidate.root.digest && Some(*digest) != in_force).collect()
}

fn distributed<'a>(
    context: &Context,
    declared: Option<&'a ConfigMapDistribution>,
    applied: &'a Applied,
) -> Distributed<'a> {
    match (declared, &applied.outcome.distribution) {
        (None, _) => Distributed::NotAsked,
        (Some(declared), _) if !context.settings.distribution_names.contains(&declared.name) => {
            Distributed::NameNotAllowed(&declared.name)
        }
        (Some(_), None) => Distributed::Left,
        (Some(_), Some(distribution)) => Distributed::As(distribution),
    }
}

fn measure(
    context: &Context,
    mirror: &TrustRootMirror,
    decision: &Decision,
    applied: &Applied,
    state: Option<&holdfast_core::trust::tuf::State>,
    status: &TrustRootMirrorStatus,
) {
    let mut consumers: BTreeMap<&'static str, usize> = BTreeMap::new();
    if let Some(distribution) = &applied.outcome.distribution {
        for state in [ConsumerState::Current, ConsumerState::Behind, ConsumerState::Refused] {
            let count = distribution.consumers.iter().filter(|consumer| consumer.state == state).count();
            consumers.insert(state.as_str(), count);
        }
    }
    let facts = TrustRootFacts {
        status: status.clone(),
        ends: decision.budget.ends.iter().map(|end| (end.what.clone(), end.until)).collect(),
        accepted: state.and_then(|state| state.memory().floors.get("timestamp")).map(|floor| floor.accepted),
        consumers,
    };
    if context.is_there(mirror) {
        context.metrics.trust_root(&mirror.name_any(), facts);
    }
}
