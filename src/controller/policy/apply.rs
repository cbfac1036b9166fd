//! What was decided, carried out: remembered first, then marked, then given to engines, what closes before what may open.
//!
//! Every write carries the version it was decided on, or makes what is not there: a replica that no longer leads writes over nothing that it has not seen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use holdfast_core::api::SigningIdentityPolicy;
use holdfast_core::engines::native::{Changes, Holding, Step as Change, changes};
use holdfast_core::engines::{EngineKind, Object};
use holdfast_core::operate::policy::Decided;
use jiff::Timestamp;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Resource, ResourceExt};
use serde_json::json;

use super::super::MANAGER;
use super::super::context::Context;
use super::super::failure::{Failed, within};
use super::super::rest::AGAIN;
use super::FINALIZER;
use super::live::{Kind, There};
use super::observe::Observed;
use super::settling::{changed, see, settles};

/// How soon it is looked again whether what was written is in force.
pub(super) const LOOK: Duration = Duration::from_millis(100);

/// What became of it.
#[derive(Debug, Default)]
pub(super) struct Applied {
    /// Engines whose objects could not be written, and why.
    pub(super) unwritten: BTreeMap<EngineKind, String>,
    /// When to look again.
    pub(super) again: Option<Duration>,
    /// Objects that somebody else had changed or taken away, and that were put back.
    pub(super) put_back: Vec<String>,
}

impl Applied {
    /// Nothing, for a step that failed.
    pub(super) fn failed(failed: &Failed) -> Self {
        let unwritten = EngineKind::ALL.iter().map(|kind| (*kind, failed.to_string())).collect();
        Self { unwritten, ..Self::default() }
    }

    /// Looks again after this, or sooner where something else asks for it.
    fn look_again(&mut self, wait: Duration) {
        self.again = Some(self.again.map_or(wait, |sooner| sooner.min(wait)));
    }
}

/// Carries out what was decided.
///
/// # Errors
/// [`Failed`], at the first step that failed; all steps before it hold.
pub(super) async fn apply(
    context: &Context,
    observed: &Observed,
    decided: &mut Decided<'_>,
    now: Timestamp,
) -> Result<Applied, Failed> {
    let mut applied = Applied::default();
    if decided.unknown.is_some() {
        // Nothing is written, and what somebody changes meanwhile is seen all the same.
        ask(context, observed, decided, &decided.holdings, &mut applied).await?;
        return Ok(applied);
    }
    remember(context, decided, now).await?;
    let looked = observed.namespaces.iter().map(|(name, namespace)| (name.clone(), namespace.created));
    *context.policies.looked.lock() = Some(looked.collect());
    mark(context, observed, decided, &mut applied).await?;
    native(context, observed, decided, &mut applied).await?;
    super::foreign::apply(context, observed, decided, &mut applied).await?;
    let_go(context, observed, decided, &mut applied).await?;
    context.policies.verified.tell_unseen(now).await?;
    Ok(applied)
}

async fn remember(context: &Context, decided: &Decided<'_>, now: Timestamp) -> Result<(), Failed> {
    for step in &decided.steps {
        context.may_write()?;
        let (name, gate) = (step.standing.name(), step.remembered(now));
        let written = match context.policies.memory.remember(name, &gate).await {
            Err(failed @ Failed::TooLarge { .. }) => {
                tracing::error!(policy = name, error = %failed, "what only people read is left out of what is remembered");
                context.policies.memory.remember(name, &gate.bare()).await?
            }
            written => written?,
        };
        if written {
            tracing::debug!(policy = name, phase = %step.decision.progress.phase, "what is to be remembered is written down");
        }
    }
    Ok(())
}

/// A policy that is enforced keeps a finalizer: it cannot go before its objects.
async fn mark(
    context: &Context,
    observed: &Observed,
    decided: &Decided<'_>,
    applied: &mut Applied,
) -> Result<(), Failed> {
    for step in decided.steps.iter().filter(|step| !step.decision.namespaces.is_empty() && !step.lets_go()) {
        let Some(policy) = declared(observed, step.standing.name()) else { continue };
        let is_marked = policy.finalizers().iter().any(|finalizer| finalizer == FINALIZER);
        if !is_marked && policy.metadata.deletion_timestamp.is_none() {
            let mut finalizers = policy.finalizers().to_vec();
            finalizers.push(FINALIZER.to_owned());
            finalize(context, policy, &finalizers, applied).await?;
        }
    }
    Ok(())
}

/// Lets policies go whose objects are gone.
async fn let_go(
    context: &Context,
    observed: &Observed,
    decided: &Decided<'_>,
    applied: &mut Applied,
) -> Result<(), Failed> {
    let there = context.policies.live.now();
    for step in decided.steps.iter().filter(|step| step.lets_go()) {
        let name = step.standing.name();
        let Some(policy) = declared(observed, name) else { continue };
        let has_objects = there.values().any(|there| super::policy_of(&there.object) == Some(name));
        let others: Vec<String> =
            policy.finalizers().iter().filter(|finalizer| *finalizer != FINALIZER).cloned().collect();
        let is_due = !has_objects && others.len() < policy.finalizers().len();
        if is_due && finalize(context, policy, &others, applied).await? {
            tracing::info!(policy = name, "the policy is let go");
        }
    }
    Ok(())
}

fn declared<'o>(observed: &'o Observed, name: &str) -> Option<&'o SigningIdentityPolicy> {
    observed.declared.iter().find(|policy| policy.name_any() == name).map(std::convert::AsRef::as_ref)
}

/// Whether it was written. Who edits a policy without an end, or to what takes no finalizer any more, holds up that policy's finalizer, and nothing else: what is
/// enforced is remembered anyhow.
async fn finalize(
    context: &Context,
    policy: &SigningIdentityPolicy,
    finalizers: &[String],
    applied: &mut Applied,
) -> Result<bool, Failed> {
    context.may_write()?;
    let api: Api<SigningIdentityPolicy> = Api::all(context.client.clone());
    let metadata = json!({
        "uid": policy.metadata.uid, "resourceVersion": policy.metadata.resource_version, "finalizers": finalizers,
    });
    let name = policy.name_any();
    let patch = Patch::Merge(json!({"metadata": metadata}));
    let params = PatchParams::default();
    match within("write the finalizers of", &name, api.patch_metadata(&name, &params, &patch)).await {
        Ok(_) => Ok(true),
        Err(failed) if failed.is_gone() => Ok(false),
        Err(failed) if failed.is_conflict() => {
            applied.look_again(LOOK * 5);
            Ok(false)
        }
        Err(failed) if failed.not_taken().is_some() => {
            tracing::warn!(policy = name, error = %failed, "the API server does not take its finalizers");
            Ok(false)
        }
        Err(failed) => Err(failed),
    }
}

/// The native engine: what closes, then what may open once that is in force, then what nothing refers to.
async fn native(
    context: &Context,
    observed: &Observed,
    decided: &mut Decided<'_>,
    applied: &mut Applied,
) -> Result<(), Failed> {
    let empty = Vec::new();
    let is_left_alone = decided.wanted.get(&EngineKind::Native).is_some_and(|rendering| rendering.left_alone);
    if is_left_alone {
        return ask(context, observed, decided, &decided.holdings, applied).await;
    }
    let rendered = decided.wanted.get(&EngineKind::Native).map_or(&empty, |rendering| &rendering.objects);
    let guard = super::scope::guard(context, decided);
    context.may_write()?;
    context.policies.verified.announce(rendered, &decided.holdings, &context.policies.live).await?;
    let there = context.policies.live.now();
    notice_edits(context, &there, applied);
    let mut changes = changes(there.values().map(|there| &*there.object), rendered.iter().chain(&guard));
    context.policies.stood.put_back(&there, &mut changes);
    let Changes { closing, opening, unused } = changes;
    let holdings = Arc::new(std::mem::take(&mut decided.holdings));
    context.policies.verified.decided(holdings.clone());
    // Lists are read at once; rules and bindings take a moment at each API server.
    let only_lists = closing
        .iter()
        .all(|change| matches!(change, Change::Write(object) if Kind::of(object.kind()) == Some(Kind::Shard)));
    if !only_lists {
        context.policies.settling.lock().take();
    }
    let closes = carry_out_all(context, &there, closing, applied).await?;
    let part = if opening.is_empty() { unused } else { opening };
    if !part.is_empty() && closes {
        let changes: BTreeSet<&str> = part.iter().filter_map(changed).collect();
        if let Some(wait) = settles(context, observed, decided, &holdings, &changes, applied).await? {
            applied.look_again(wait);
            return Ok(());
        }
        carry_out_all(context, &context.policies.live.now(), part, applied).await?;
        context.policies.settling.lock().take();
    }
    context.policies.waits.lock().take();
    // What was just written is seen in force at once where it can be: the next pass then knows.
    ask(context, observed, decided, &holdings, applied).await
}

/// Asks of what is there whether it is in force. The next pass says so, and is made soon where that is news, or where there is more to ask.
async fn ask(
    context: &Context,
    observed: &Observed,
    decided: &Decided<'_>,
    holdings: &BTreeMap<String, Holding>,
    applied: &mut Applied,
) -> Result<(), Failed> {
    let (there, observing) = (context.policies.live.now(), &context.policies.observing);
    let is_seen = see(context, observed, decided, holdings, &there, &BTreeSet::new()).await?.is_empty();
    if is_seen && observing.known(&there) != observed.said {
        applied.look_again(Duration::ZERO);
    } else if !is_seen || observing.asks_on() {
        applied.look_again(LOOK * 5);
    }
    Ok(())
}

/// Carries out each of these; whether everything that decides a denial was taken. What the API server refuses stands in the way of nothing else.
async fn carry_out_all(
    context: &Context,
    there: &BTreeMap<(Kind, String), There>,
    changes: Vec<Change>,
    applied: &mut Applied,
) -> Result<bool, Failed> {
    let mut all = true;
    for change in &changes {
        let tried = match context.policies.altered.rests(change) {
            Some(altered) => Err(altered),
            None => carry_out(context, there, change).await.inspect_err(tell_not_taken),
        };
        let Err(failed) = tried else { continue };
        let Some(said) = failed.not_taken().filter(|_| !failed.is_gone()) else { return Err(failed) };
        if matches!(failed, Failed::Altered { .. }) {
            applied.look_again(AGAIN);
        }
        applied.unwritten.insert(EngineKind::Native, said);
        all &= !decides(change);
    }
    Ok(all)
}

fn tell_not_taken(failed: &Failed) {
    if failed.not_taken().is_some() && !failed.is_gone() {
        tracing::error!(error = %failed, "the API server does not take an object as it is to be");
    }
}

/// Whether a denial hangs on it: what only reports does so by its policy, which ignores faults, or by its binding, which does not deny.
fn decides(change: &Change) -> bool {
    let Change::Write(object) = change else { return true };
    match Kind::of(object.kind()) {
        Some(Kind::Policy) => object.body().pointer("/spec/failurePolicy").is_none_or(|policy| policy != "Ignore"),
        Some(Kind::Binding) => super::denies(object),
        Some(Kind::Shard) | None => true,
    }
}

/// What is not there any more in the form in which this process wrote it: somebody else changed it, or took it away.
fn notice_edits(context: &Context, there: &BTreeMap<(Kind, String), There>, applied: &mut Applied) {
    context.policies.written.lock().retain(|key, digest| {
        let is_as_written = there.get(key).is_some_and(|there| there.digest == *digest);
        if !is_as_written {
            let (kind, name) = key;
            context.metrics.put_back(kind.name());
            tracing::warn!(kind = kind.name(), name, "somebody changed it or took it away; it is put back");
            applied.put_back.push(format!("{} {name}", kind.name()));
        }
        is_as_written
    });
}

async fn carry_out(context: &Context, there: &BTreeMap<(Kind, String), There>, change: &Change) -> Result<(), Failed> {
    context.may_write()?;
    match change {
        Change::Write(object) => {
            let Some(kind) = Kind::of(object.kind()) else { return Ok(()) };
            let done = write(context, kind, there.get(&(kind, object.name().to_owned())), object).await;
            if kind == Kind::Policy {
                context.policies.stood.wrote(object, &done);
            }
            done
        }
        Change::Delete { kind, name } => {
            let Some(kind) = Kind::of(kind) else { return Ok(()) };
            delete(context, kind, there.get(&(kind, name.clone())), name).await
        }
        Change::Settle => Ok(()),
    }
}

async fn write(context: &Context, kind: Kind, over: Option<&There>, object: &Object) -> Result<(), Failed> {
    let api: Api<DynamicObject> = Api::all_with(context.client.clone(), &kind.resource());
    let (name, stuck) = (object.name(), |error: &dyn std::fmt::Display| Failed::stuck("write", object.name(), error));
    let mut wanted: DynamicObject = serde_json::from_value(object.body().clone()).map_err(|error| stuck(&error))?;
    let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
    let written = match over {
        None => match within("create", name, api.create(&params, &wanted)).await {
            // It lost its label, and so was not seen: it is written over as it is there now.
            Err(failed) if failed.is_conflict() => {
                let found = within("read", name, api.get(name)).await?;
                wanted.metadata.resource_version = found.metadata.resource_version;
                wanted.metadata.uid = found.metadata.uid;
                within("replace", name, api.replace(name, &params, &wanted)).await?
            }
            written => written?,
        },
        Some(there) => {
            wanted.metadata.resource_version = Some(there.version.resource_version.clone());
            wanted.metadata.uid = Some(there.version.uid.clone());
            let replaced = within("replace", name, api.replace(name, &params, &wanted)).await;
            look_again_on_conflict(context, kind, name, &api, replaced).await?
        }
    };
    let (key, compared) = ((kind, name.to_owned()), context.policies.altered.compare(kind, object, &written));
    context.policies.live.note(kind, written);
    context.policies.written.lock().remove(&key);
    compared?;
    context.policies.written.lock().insert(key, object.digest());
    tracing::info!(kind = kind.name(), name, digest = %object.digest(), "written");
    Ok(())
}

/// What was written over was not what is there: it is looked at, so that the next pass knows. A pass does not write over what it did not decide on.
async fn look_again_on_conflict<T>(
    context: &Context,
    kind: Kind,
    name: &str,
    api: &Api<DynamicObject>,
    written: Result<T, Failed>,
) -> Result<T, Failed> {
    if written.as_ref().is_err_and(Failed::is_conflict) {
        match within("read", name, api.get(name)).await {
            Ok(found) => _ = context.policies.live.note(kind, found),
            Err(failed) if failed.is_gone() => context.policies.live.deleted(kind, name),
            Err(failed) => return Err(failed),
        }
    }
    written
}

async fn delete(context: &Context, kind: Kind, there: Option<&There>, name: &str) -> Result<(), Failed> {
    let Some(there) = there else { return Ok(()) };
    let api: Api<DynamicObject> = Api::all_with(context.client.clone(), &kind.resource());
    let preconditions = Preconditions {
        uid: Some(there.version.uid.clone()),
        resource_version: Some(there.version.resource_version.clone()),
    };
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    match within("delete", name, api.delete(name, &params)).await {
        Ok(_) => tracing::info!(kind = kind.name(), name, "deleted"),
        Err(failed) if failed.is_gone() => {}
        failed => drop(look_again_on_conflict(context, kind, name, &api, failed).await?),
    }
    context.policies.written.lock().remove(&(kind, name.to_owned()));
    context.policies.live.deleted(kind, name);
    Ok(())
}

/// The policy, as events name it.
pub(super) fn about(policy: &SigningIdentityPolicy) -> k8s_openapi::api::core::v1::ObjectReference {
    policy.object_ref(&())
}
