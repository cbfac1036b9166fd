//! `TrustRootMirror` on the API server: observe, validate, decide, apply, report.

mod agreements;
mod apply;
mod observe;
mod report;
mod source;
mod validate;
mod volume;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use holdfast_core::Digest;
use holdfast_core::api::{SigningIdentityPolicySpec, TrustRootMirror};
use holdfast_core::gate::TrustRootState;
use holdfast_core::operate::mirror::memory::{Stored, Witness};
use holdfast_core::operate::mirror::status::{Import, Mend};
use holdfast_core::operate::mirror::{Decision, Facts, Impact, Record, Rehearsal, decide, schedule};
use holdfast_core::operate::policy::Trust;
use holdfast_core::operate::reconcile_at;
use holdfast_core::trust::freshness::Freshness;
use holdfast_core::trust::held::Held;
use jiff::Timestamp;
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use tokio::sync::MutexGuard;
use tokio::time::Instant;

use super::candidates::in_force;
use super::context::Context;
use super::coverage::that_counts;
use super::failure::Failed;
use super::guards::Guarding;
use super::pass::{self, retry_after};
use super::trusts::Stale;
use super::{jitter, malformed};
use crate::clock;

use apply::{Applied, Outcome};
use observe::{Look, Observed};
pub(crate) use volume::Volumes;

/// The name of the controller in metrics and logs.
pub(crate) const CONTROLLER: &str = "trustrootmirror";
/// How many mirrors are looked at at once.
pub(crate) const CONCURRENCY: u16 = 4;
/// The longest wait without a look: the clock may have been set meanwhile.
const LONGEST: Duration = Duration::from_secs(3600);
/// When guards that something else was in the way of are asked again.
const ASK_AGAIN: Duration = Duration::from_secs(15);

/// What this process knows of a mirror, besides what is stored.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    /// Of which object: one that is made again under the same name is another.
    uid: Option<String>,
    /// The last look at its source.
    read: Option<Read>,
    /// Whether something says that the source changed since; shared by all copies, so that nothing noticed in mid-pass is lost.
    changed: Arc<AtomicBool>,
    /// Looks in a row that did not reach the source.
    unreached: u32,
    /// Passes in a row that failed.
    failed: u32,
    /// What became of the last look.
    import: Option<Import>,
    /// The artifact that was read last, where the source is one.
    artifact: Option<holdfast_core::Digest>,
    /// What is stored, as it was last seen or written.
    memory: Option<Witness>,
    record: Option<Stored>,
    /// The generation that was found valid.
    valid: Option<i64>,
}

#[derive(Debug, Clone)]
struct Read {
    at: Instant,
    generation: Option<i64>,
    asked: Option<String>,
}

impl Known {
    /// The source may have changed: it is read in the next pass.
    pub(crate) fn source_changed(&self) {
        self.changed.store(true, Ordering::Relaxed);
    }

    /// What is known of this object. Of another one of the same name only what is stored is not forgotten.
    fn of(&mut self, uid: Option<&String>) -> &mut Self {
        if self.uid.as_ref() != uid {
            *self =
                Self { uid: uid.cloned(), memory: self.memory.take(), record: self.record.take(), ..Self::default() };
        }
        self
    }

    /// Whether it is of an object that is not the one that is there.
    fn is_left_of_another(&self, there: Option<&String>) -> bool {
        self.uid.is_some() && self.uid.as_ref() != there
    }

    /// Whether the source is to be read now, and else how long until then.
    fn due(&self, mirror: &TrustRootMirror) -> Result<(), Duration> {
        let Some(read) = &self.read else { return Ok(()) };
        let asked = reconcile_at(&mirror.metadata).map(str::to_owned);
        if self.changed.load(Ordering::Relaxed) || read.generation != mirror.metadata.generation || read.asked != asked
        {
            return Ok(());
        }
        let interval = Duration::from_secs(mirror.spec.interval.as_secs().into());
        let wait = match &self.import {
            Some(Import::Failed(failure)) if failure.mend() == Mend::Itself => {
                retry_after(self.unreached).min(interval)
            }
            _ => interval,
        };
        match wait.checked_sub(read.at.elapsed()) {
            None | Some(Duration::ZERO) => Ok(()),
            Some(left) => Err(left),
        }
    }
}

/// A mirror is gone: nothing of it is in force any more, nor waits. What is stored of it stays known.
pub(crate) fn gone(context: &Context, name: &str) {
    context.known.lock().entry(name.to_owned()).or_default().of(None);
    malformed::forget::<TrustRootMirror>(context, name);
    context.metrics.forget(name);
    context.candidates.publish(name, None);
    known_again(context, name);
    context.vouched.forget(name);
    if context.trusts.withdraw(name) {
        context.scanning.queue.all();
    }
}

/// Mirrors that are known and are not there any more are gone.
pub(crate) fn forget_missing(context: &Context) {
    let there = |name: &String| context.caches.mirrors.get(&ObjectRef::new(name))?.meta().uid.clone();
    let known = context.known.lock();
    let missing = known.iter().filter(|(name, known)| known.is_left_of_another(there(name).as_ref()));
    let missing: Vec<String> = missing.map(|(name, _)| name.clone()).collect();
    drop(known);
    for name in &missing {
        gone(context, name);
    }
}

/// One pass over one mirror.
///
/// # Errors
/// [`Failed`], where a step could not be carried out; the next pass begins anew.
pub(crate) async fn reconcile(
    object: Arc<DeserializeGuard<TrustRootMirror>>,
    context: Arc<Context>,
) -> Result<Action, Failed> {
    let failures = |done: bool| {
        let mut known = context.known.lock();
        let known = known.entry(object.name_any()).or_default().of(object.meta().uid.as_ref());
        known.failed = if done { 0 } else { known.failed.saturating_add(1) };
        if !done {
            // What was read may not have been remembered.
            known.source_changed();
        }
        known.failed
    };
    pass::one(&context, CONTROLLER, &object, |mirror| over(&context, mirror), failures).await
}

/// When a pass that failed is tried again.
#[allow(clippy::needless_pass_by_value)] // the runtime's signature
pub(crate) fn on_error(object: Arc<DeserializeGuard<TrustRootMirror>>, _: &Failed, context: Arc<Context>) -> Action {
    let failures = context.known.lock().get(&object.name_any()).map_or(1, |known| known.failed);
    Action::requeue(jitter(retry_after(failures.saturating_sub(1))))
}

/// What is to be carried out, and what it was decided on.
struct Plan {
    observed: Observed,
    memory: Option<Stored>,
    decision: Decision,
    now: Timestamp,
}

async fn over(context: &Context, mirror: &TrustRootMirror) -> Result<Action, Failed> {
    let Some(plan) = planned(context, mirror, Look::Wide).await? else { return Ok(Action::await_change()) };
    if !adopts(&plan) {
        return Box::pin(carry_out(context, mirror, plan, None)).await;
    }
    // Others' turns may take long: what was declared and agreed to before says nothing of what is now.
    let turn = context.candidates.turn().await;
    let Some(declared) = declared_now(context, mirror) else { return Ok(Action::await_change()) };
    if declared.metadata.generation != mirror.metadata.generation {
        // Its source may be another, too: everything is looked at from the beginning.
        return Ok(Action::requeue(Duration::ZERO));
    }
    let Some(plan) = planned(context, &declared, Look::Again(&plan.observed)).await? else {
        return Ok(Action::await_change());
    };
    Box::pin(carry_out(context, &declared, plan, Some(turn))).await
}

/// The mirror as it was seen last, where it is still the same object and can be read.
fn declared_now(context: &Context, mirror: &TrustRootMirror) -> Option<TrustRootMirror> {
    let there = context.caches.mirrors.get(&ObjectRef::new(&mirror.name_any()))?;
    let there = there.0.as_ref().ok()?;
    (there.metadata.uid == mirror.metadata.uid).then(|| there.clone())
}

/// Looks, remembers what was verified, and decides; nothing where the mirror is not there any more.
async fn planned(context: &Context, mirror: &TrustRootMirror, look: Look<'_>) -> Result<Option<Plan>, Failed> {
    let mut observed = observe::observe(context, mirror, look).await?;
    if !context.is_there(mirror) {
        return Ok(None);
    }
    let memory = match apply::remember(context, mirror, &observed).await {
        Err(failed @ Failed::TooLarge { .. }) => {
            context.metrics.fails(CONTROLLER, failed.category());
            observed.forget(context, &failed);
            apply::remember(context, mirror, &observed).await?
        }
        memory => memory?,
    };
    if !context.is_there(mirror) {
        return Ok(None);
    }
    let now = clock::now();
    let decision = decided(context, mirror, &observed, now);
    Ok(Some(Plan { observed, memory, decision, now }))
}

/// Brings into force what was decided, tells of it, and distributes it. What is in force on record is told of whatever becomes of the rest: nobody goes on
/// judging by what it replaced.
async fn carry_out(
    context: &Context,
    mirror: &TrustRootMirror,
    mut plan: Plan,
    turn: Option<MutexGuard<'_, ()>>,
) -> Result<Action, Failed> {
    let record = match plan.write_record(context, mirror).await {
        Err(failed @ Failed::TooLarge { .. }) => {
            context.metrics.fails(CONTROLLER, failed.category());
            plan.observed.forget(context, &failed);
            plan.decision = decided(context, mirror, &plan.observed, plan.now);
            plan.write_record(context, mirror).await?
        }
        record => record?,
    };
    if !context.is_there(mirror) {
        return Ok(Action::await_change());
    }
    let Plan { observed, memory, decision, now } = plan;
    publish(context, mirror, &observed, &decision);
    drop(turn);
    let outcome = apply::distribute(context, mirror, &observed, &decision).await;
    let applied = Applied { memory, record, outcome };
    report::report(context, mirror, &observed, &decision, &applied, now).await?;
    let Outcome { again, failed, .. } = applied.outcome;
    if let Some(failed) = failed {
        return Err(failed);
    }

    let state = observed.held.as_ref().map(|Held { state, .. }| state);
    let changes = schedule::next(&decision, &mirror.spec, state, now);
    // Also one that ended while this pass was made is looked at again.
    let changes = changes.into_iter().chain(observed.glasses.ends()).min();
    let until = changes.map(|at| Duration::try_from(at.duration_since(now)).unwrap_or_default());
    // Instants are of the wall clock and timers are not: a moment later, the instant has passed by both.
    let until = until.map(|until| until + Duration::from_millis(50));
    let poll = (!mirror.spec.suspend)
        .then(|| context.known.lock().get(&mirror.name_any()).and_then(|known| known.due(mirror).err()));
    let unclear = matches!(observed.guarding, Some(Guarding::Unclear(_))).then_some(ASK_AGAIN);
    let wait = [until, poll.flatten().map(jitter), again, unclear].into_iter().flatten().min().unwrap_or(LONGEST);
    Ok(Action::requeue(wait.min(LONGEST)))
}

impl Plan {
    async fn write_record(&self, context: &Context, mirror: &TrustRootMirror) -> Result<Option<Stored>, Failed> {
        apply::write_record(context, mirror, &self.observed, &self.decision, self.memory.as_ref()).await
    }
}

/// Decides, and says what scans know of the candidate.
fn decided(context: &Context, mirror: &TrustRootMirror, observed: &Observed, now: Timestamp) -> Decision {
    let name = mirror.name_any();
    let rehearsed = rehearsed(context, &name, now);
    let rehearsal = match &rehearsed {
        Some((digest, impact)) => Rehearsal::Of(*digest, impact),
        None if is_relied_on(context, &name) => Rehearsal::Awaited,
        None => Rehearsal::NotNeeded,
    };
    let mut decision = decide(&Facts { rehearsal, ..observed.facts(mirror) }, now);
    if let Some(candidate) = &mut decision.candidate {
        candidate.impact = context.candidates.impact(&name, candidate.root.digest);
    }
    decision
}

/// What the candidate that waits would change for all that runs, where that was judged by what is in force now.
fn rehearsed(context: &Context, mirror: &str, now: Timestamp) -> Option<(Digest, Impact)> {
    let (forms, report) = (context.forms.now()?, that_counts(context)?);
    let beside = in_force(&forms.usable, &context.trusts.at(now));
    context.candidates.rehearsed(mirror, &report.name_any(), report.metadata.uid.as_ref(), beside)
}

/// Whether other trust than before comes into force.
fn adopts(plan: &Plan) -> bool {
    let adopted = |record: &Record| record.adopted.clone();
    plan.decision.record.as_ref().and_then(adopted) != plan.observed.record.kept().and_then(|kept| adopted(&kept.value))
}

/// Whether a policy accepts the trust, as it is declared or as it is in force; one that cannot be read, or of which nobody knows what is in force, may.
pub(super) fn is_relied_on(context: &Context, mirror: &str) -> bool {
    let declared = context.caches.policies.state();
    let accepts = |spec: &SigningIdentityPolicySpec| spec.trust_roots.iter().any(|root| root == mirror);
    declared.iter().any(|policy| policy.0.as_ref().map_or(true, |policy| accepts(&policy.spec)))
        || context
            .forms
            .now()
            .is_none_or(|forms| !forms.unusable.is_empty() || forms.usable.iter().any(|policy| policy.accepts(mirror)))
}

/// It is known again what is in force of a mirror: what others wait to replace may be judged beside it.
fn known_again(context: &Context, mirror: &str) {
    if context.candidates.trust(mirror) {
        ask_waiting(context);
    }
}

/// What waits is looked at again: something else counts for it now.
pub(super) fn ask_waiting(context: &Context) {
    for (mirror, _) in context.candidates.waiting() {
        context.mirrors.one(&mirror);
    }
}

/// Tells scans what is in force, and what waits.
fn publish(context: &Context, mirror: &TrustRootMirror, observed: &Observed, decision: &Decision) {
    let past_its_limit = decision
        .freshness
        .as_ref()
        .and_then(Freshness::staleness)
        .map(|why| Stale { why, accepted_until: observed.accepted(decision).map(|accepted| accepted.until) });
    let adopted = decision.adopted.as_ref().map(|adopted| &adopted.root);
    let nothing = "nothing of it is in force";
    let fault = observed.fault.as_ref().map(ToString::to_string);
    let state = TrustRootState {
        unready: adopted
            .is_none()
            .then(|| decision.unreadable.clone().or_else(|| fault.clone()).unwrap_or_else(|| nothing.to_owned())),
        freshness: decision.freshness.clone(),
        pending: decision.candidate.as_ref().map(|candidate| candidate.root.digest),
        memory_intact: observed.fault.is_none(),
        clock: decision.clock,
    };
    let is_news = context.trusts.tell(&mirror.name_any(), Trust { root: adopted.cloned(), state });
    let judges_anew = context.trusts.publish(&mirror.name_any(), adopted, past_its_limit);
    known_again(context, &mirror.name_any());
    let candidate = decision.candidate.as_ref().map(|candidate| &candidate.root);
    if context.candidates.publish(&mirror.name_any(), candidate) || judges_anew {
        context.scanning.queue.all();
    }
    if is_news || judges_anew {
        context.policies.wake.ask();
    }
    // Where it went in this very moment, it was taken back before it was told of.
    if !context.is_there(mirror) {
        gone(context, &mirror.name_any());
    }
}
