//! Whether everything that closes is in force, so that what may open may be written.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use holdfast_core::engines::EngineKind;
use holdfast_core::engines::native::{Holding, Step as Change};
use holdfast_core::operate::policy::Decided;
use tokio::time::Instant;

use super::super::context::Context;
use super::super::failure::Failed;
use super::apply::{Applied, LOOK};
use super::live::{Kind, There};
use super::observations::{Place, Said};
use super::observe::Observed;

/// How long an API server that is not asked may still go on as before: up to a second was measured on one.
const OTHERS_SETTLE: Duration = Duration::from_secs(2);
/// After how long what is there is in force at every API server, where no canary can tell: something else stands in its way in every namespace.
const SURELY_READ: Duration = Duration::from_secs(60);
/// After how long it is said that something waits.
const LONG: Duration = Duration::from_secs(30);

/// How long until what may open may be written: everything that closes has to be seen in force, and then a moment more, for API servers that are not asked.
pub(super) async fn settles(
    context: &Context,
    observed: &Observed,
    decided: &Decided<'_>,
    holdings: &BTreeMap<String, Holding>,
    changes: &BTreeSet<&str>,
    applied: &mut Applied,
) -> Result<Option<Duration>, Failed> {
    let there = context.policies.live.now();
    let unseen = see(context, observed, decided, holdings, &there, changes).await?;
    let first =
        unseen.iter().find(|(binding, said)| super::denies(&binding.object) && !is_surely_read(binding, said, &there));
    if let Some((binding, said)) = first {
        context.policies.settling.lock().take();
        let since = *context.policies.waits.lock().get_or_insert_with(Instant::now);
        if since.elapsed() <= LONG {
            return Ok(Some(LOOK));
        }
        let why = format!("what admits more waits until `{}` is seen in force: {said}", binding.object.name());
        applied.unwritten.insert(EngineKind::Native, why);
        // What waits for long is not looked at ten times a second.
        return Ok(Some(LOOK * 20));
    }
    let since = *context.policies.settling.lock().get_or_insert_with(Instant::now);
    Ok(OTHERS_SETTLE.checked_sub(since.elapsed()).filter(|left| !left.is_zero()))
}

/// What a change changes.
pub(super) fn changed(change: &Change) -> Option<&str> {
    match change {
        Change::Write(object) => Some(object.name()),
        Change::Delete { name, .. } => Some(name),
        Change::Settle => None,
    }
}

/// Whether every API server has read a binding and its rule by now, though no canary can tell.
fn is_surely_read(binding: &There, said: &Said, there: &BTreeMap<(Kind, String), There>) -> bool {
    let rule = there.get(&(Kind::Policy, super::rule_of(&binding.object).to_owned()));
    let is_old = |there: &There| there.since.elapsed() > SURELY_READ;
    matches!(said, Said::Unclear(_)) && is_old(binding) && rule.is_some_and(is_old)
}

/// Sends the canaries that are wanting; what is not seen in force, but for what is about to change: somebody may have changed it before.
pub(super) async fn see<'t>(
    context: &Context,
    observed: &Observed,
    decided: &Decided<'_>,
    holdings: &BTreeMap<String, Holding>,
    there: &'t BTreeMap<(Kind, String), There>,
    but: &BTreeSet<&str>,
) -> Result<Vec<(&'t There, Said)>, Failed> {
    let patterns = |policy: &str| {
        let step = decided.steps.iter().find(|step| step.standing.name() == policy)?;
        Some(step.standing.ready.as_ref()?.form.spec.images.as_slice())
    };
    let excepted: BTreeSet<(String, String)> = super::excepted(decided);
    let places = |rule: &str, namespace: &str| {
        let is_excepted = excepted.iter().any(|(policy, at)| {
            at == namespace && (rule == format!("holdfast-enforce-{policy}") || !rule.starts_with("holdfast-enforce-"))
        });
        if !observed.namespaces.contains_key(namespace) || observed.ending.contains(namespace) {
            Place::Gone
        } else if is_excepted {
            Place::Excepted
        } else {
            Place::Usable
        }
    };
    let observing = &context.policies.observing;
    let trials = observing.trials(there, &patterns, holdings, &places, but);
    observing.try_all(trials).await?;
    Ok(observing.unseen(there, but))
}
