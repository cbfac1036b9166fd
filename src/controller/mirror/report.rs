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
use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{ApiResource, DynamicObject, ListParams, ObjectMeta, Patch, PatchParams};
use kube::core::error_boundary::InvalidObject;
use kube::{Api, Resource, ResourceExt};
use serde_json::{Value, json};

use super::super::MANAGER;
use super::super::context::Context;
use super::super::failure::{Failed, within};
use super::apply::Applied;
use super::observe::Observed;
use crate::clock;
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
        distributed: distributed(context, mirror.spec.distribution.config_maps.as_ref(), applied),
    }
    .status(now);
    measure(context, mirror, decision, applied, state, &status);
    let is_told = is_invalid(&observed.import) && is_told(context, &mirror.metadata);
    if is_told || mirror.status.as_ref() == Some(&status) {
        return Ok(());
    }
    match write(context, mirror, &status).await {
        Err(failed) if failed.category() == "refused" && is_invalid(&observed.import) => {
            return untold(context, &mirror.metadata, &message(&observed.import), &failed).await;
        }
        written => written?,
    }
    for change in events::changes(mirror.status.as_ref(), &status) {
        context.event(&mirror.object_ref(&()), change.warns, &change.reason, &change.note).await;
    }
    Ok(())
}

/// Whether it was said of this very form of the object that it is malformed.
fn is_told(context: &Context, metadata: &ObjectMeta) -> bool {
    let name = metadata.name.as_deref().unwrap_or_default();
    let generation = metadata.generation;
    context.known.lock().get(name).is_some_and(|known| known.malformed.is_some() && known.malformed == generation)
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

/// The API server writes no status of an object that its own kind does not allow: an event says what is wrong, once for each form of it.
async fn untold(context: &Context, metadata: &ObjectMeta, message: &str, failed: &Failed) -> Result<(), Failed> {
    let (name, generation) = (metadata.name.clone().unwrap_or_default(), metadata.generation);
    tracing::warn!(mirror = name, message, error = %failed, "the object is malformed, and its status cannot say so");
    let about = ObjectReference {
        api_version: Some(TrustRootMirror::api_version(&()).into_owned()),
        kind: Some(TrustRootMirror::kind(&()).into_owned()),
        name: Some(name.clone()),
        uid: metadata.uid.clone(),
        ..ObjectReference::default()
    };
    let note: String = message.chars().take(900).collect();
    context.event(&about, true, MirrorReason::SpecInvalid.as_str(), &note).await;
    context.known.lock().entry(name).or_default().malformed = generation;
    Ok(())
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
    match (declared, &applied.distribution) {
        (None, _) => Distributed::NotAsked,
        (Some(declared), _) if !context.settings.distribution_names.contains(&declared.name) => {
            Distributed::NameNotAllowed(&declared.name)
        }
        (Some(_), None) => Distributed::Left,
        (Some(_), Some(distribution)) => Distributed::As(distribution),
    }
}

async fn write(context: &Context, mirror: &TrustRootMirror, status: &TrustRootMirrorStatus) -> Result<(), Failed> {
    context.may_write()?;
    let name = mirror.name_any();
    let object = json!({
        "apiVersion": TrustRootMirror::api_version(&()),
        "kind": TrustRootMirror::kind(&()),
        "metadata": {"name": name, "uid": mirror.metadata.uid, "resourceVersion": mirror.metadata.resource_version},
        "status": status,
    });
    let api: Api<TrustRootMirror> = Api::all(context.client.clone());
    let params = PatchParams::apply(MANAGER).force();
    within("write the status of", &name, api.patch_status(&name, &params, &Patch::Apply(&object))).await?;
    let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready");
    let (ready, reason, message) = ready.map_or(("", "", ""), |ready| (&ready.status, &ready.reason, &ready.message));
    tracing::info!(mirror = name, ready, reason, message, "the status changed");
    Ok(())
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
    if let Some(distribution) = &applied.distribution {
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

/// Says of an object that is none of its kind what is wrong with it; whose status does not say so already.
///
/// # Errors
/// [`Failed`], where the status cannot be read or written.
pub(crate) async fn malformed(context: &Context, invalid: &InvalidObject) -> Result<(), Failed> {
    let metadata = &invalid.metadata;
    let (name, generation) = (metadata.name.clone().unwrap_or_default(), metadata.generation);
    if is_told(context, metadata) {
        return Ok(());
    }
    let message = format!("it cannot be read as a TrustRootMirror: {}; see `kubectl explain trm.spec`", invalid.error);
    let message: String = message.chars().filter(|c| !c.is_control()).take(900).collect();
    let resource = ApiResource::erase::<TrustRootMirror>(&());
    let api: Api<DynamicObject> = Api::all_with(context.client.clone(), &resource);
    // A list, as is watched: there is no right to more.
    let only = ListParams::default().fields(&format!("metadata.name={name}"));
    let found = within("read", &name, api.list(&only)).await?;
    let Some(object) = found.items.into_iter().next() else { return Ok(()) };
    let conditions = object.data.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    let says = |condition: &Value| condition["type"] == "Stalled" && condition["message"] == message.as_str();
    if !conditions.iter().any(says) {
        context.may_write()?;
        let status = said_of(&object, generation, &message);
        let params = PatchParams::apply(MANAGER).force();
        match within("write the status of", &name, api.patch_status(&name, &params, &Patch::Apply(&status))).await {
            Err(failed) if failed.category() == "refused" => return untold(context, metadata, &message, &failed).await,
            written => written?,
        };
        tracing::warn!(mirror = name, message, "the object is malformed");
        context.event(&object.object_ref(&resource), true, "SpecInvalid", &message).await;
    }
    context.known.lock().entry(name).or_default().malformed = generation;
    Ok(())
}

/// What is applied takes the place of all that was: what was seen of the memory, and of what is in force, has to stay written down.
fn said_of(object: &DynamicObject, generation: Option<i64>, message: &str) -> Value {
    let now = Timestamp::from_second(clock::now().as_second()).unwrap_or_default().to_string();
    let condition = |of: &str, status: &str| {
        json!({
            "type": of, "status": status, "reason": "SpecInvalid", "message": message, "observedGeneration": generation,
            "lastTransitionTime": now,
        })
    };
    let mut kept = object.data.pointer("/status").and_then(Value::as_object).cloned().unwrap_or_default();
    kept.insert("observedGeneration".to_owned(), json!(generation));
    kept.insert("conditions".to_owned(), json!([condition("Ready", "False"), condition("Stalled", "True")]));
    json!({
        "apiVersion": TrustRootMirror::api_version(&()),
        "kind": TrustRootMirror::kind(&()),
        "metadata": {"name": object.name_any(), "resourceVersion": object.resource_version()},
        "status": kept,
    })
}
