//! Objects that are none of their kind: it is said in their status, and where the API server takes none of them, by an event; once for each form.

use std::collections::BTreeSet;

use holdfast_core::api::condition::ConditionType;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{ApiResource, DynamicObject, ListParams, ObjectMeta, Patch, PatchParams};
use kube::core::error_boundary::InvalidObject;
use kube::{Api, Resource, ResourceExt};
use serde_json::{Value, json};

use super::MANAGER;
use super::context::Context;
use super::failure::{Failed, within};
use crate::clock;

/// One form of an object: of which one, and its generation.
pub(crate) type Form = (Option<String>, Option<i64>);

/// A kind of holdfast's.
pub(crate) trait Told: Resource<DynamicType = ()> {
    /// Its short name.
    const SHORT: &'static str;
    /// Its name.
    const KIND: &'static str;
    /// The reason that its conditions give.
    const REASON: &'static str;
}

impl Told for holdfast_core::api::TrustRootMirror {
    const SHORT: &'static str = "trm";
    const KIND: &'static str = "TrustRootMirror";
    const REASON: &'static str = "SpecInvalid";
}

impl Told for holdfast_core::api::BundleCoverageReport {
    const SHORT: &'static str = "bcr";
    const KIND: &'static str = "BundleCoverageReport";
    const REASON: &'static str = "ReportInvalid";
}

impl Told for holdfast_core::api::SigningIdentityPolicy {
    const SHORT: &'static str = "sip";
    const KIND: &'static str = "SigningIdentityPolicy";
    const REASON: &'static str = "PolicyInvalid";
}

impl Told for holdfast_core::api::TrustBreakGlass {
    const SHORT: &'static str = "tbg";
    const KIND: &'static str = "TrustBreakGlass";
    const REASON: &'static str = "BreakGlassInvalid";
}

/// Whether it was said of this very form of the object that it is malformed.
pub(crate) fn is_told<K: Told>(context: &Context, metadata: &ObjectMeta) -> bool {
    let key = (K::KIND, metadata.name.clone().unwrap_or_default());
    metadata.generation.is_some() && context.told.lock().get(&key) == Some(&form(metadata))
}

fn told<K: Told>(context: &Context, metadata: &ObjectMeta) {
    let key = (K::KIND, metadata.name.clone().unwrap_or_default());
    context.told.lock().insert(key, form(metadata));
}

fn form(metadata: &ObjectMeta) -> Form {
    (metadata.uid.clone(), metadata.generation)
}

/// An object is gone, and nothing need be known of it any more.
pub(crate) fn forget<K: Told>(context: &Context, name: &str) {
    context.told.lock().remove(&(K::KIND, name.to_owned()));
}

/// All but these objects are gone.
pub(crate) fn keep_only<K: Told>(context: &Context, names: &BTreeSet<String>) {
    context.told.lock().retain(|(kind, name), _| *kind != K::KIND || names.contains(name));
}

/// The API server writes no status of an object that its own kind does not allow: an event says what is wrong.
pub(crate) async fn untold<K: Told>(context: &Context, metadata: &ObjectMeta, message: &str, failed: &Failed) {
    let name = metadata.name.clone().unwrap_or_default();
    tracing::warn!(kind = K::KIND, name, message, error = %failed, "the object is malformed, and its status cannot say so");
    let about = ObjectReference {
        api_version: Some(K::api_version(&()).into_owned()),
        kind: Some(K::kind(&()).into_owned()),
        name: Some(name),
        uid: metadata.uid.clone(),
        ..ObjectReference::default()
    };
    let note: String = message.chars().take(900).collect();
    context.event(&about, true, K::REASON, &note).await;
    told::<K>(context, metadata);
}

/// Says of an object that is none of its kind what is wrong with it; whose status does not say so already.
///
/// # Errors
/// [`Failed`], where the status cannot be read or written.
pub(crate) async fn tell<K: Told>(context: &Context, invalid: &InvalidObject) -> Result<(), Failed> {
    let metadata = &invalid.metadata;
    let (name, generation) = (metadata.name.clone().unwrap_or_default(), metadata.generation);
    if is_told::<K>(context, metadata) {
        return Ok(());
    }
    let message =
        format!("it cannot be read as a {}: {}; see `kubectl explain {}.spec`", K::KIND, invalid.error, K::SHORT);
    let message: String = message.chars().filter(|c| !c.is_control()).take(900).collect();
    let resource = ApiResource::erase::<K>(&());
    let api: Api<DynamicObject> = Api::all_with(context.client.clone(), &resource);
    // A list, as is watched: there is no right to more.
    let only = ListParams::default().fields(&format!("metadata.name={name}"));
    let found = within("read", &name, api.list(&only)).await?;
    let Some(object) = found.items.into_iter().next() else { return Ok(()) };
    let conditions = object.data.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    let stalled = ConditionType::Stalled.as_str();
    let says = |condition: &Value| condition["type"] == stalled && condition["message"] == message.as_str();
    if !conditions.iter().any(says) {
        context.may_write()?;
        let status = said_of::<K>(&object, generation, &message);
        let params = PatchParams::apply(MANAGER).force();
        match within("write the status of", &name, api.patch_status(&name, &params, &Patch::Apply(&status))).await {
            Err(failed) if failed.category() == "refused" => {
                untold::<K>(context, metadata, &message, &failed).await;
                return Ok(());
            }
            written => written?,
        };
        tracing::warn!(kind = K::KIND, name, message, "the object is malformed");
        context.event(&object.object_ref(&resource), true, K::REASON, &message).await;
    }
    told::<K>(context, metadata);
    Ok(())
}

/// What is applied takes the place of all that was: what was seen before has to stay written down.
fn said_of<K: Told>(object: &DynamicObject, generation: Option<i64>, message: &str) -> Value {
    let now = Timestamp::from_second(clock::now().as_second()).unwrap_or_default().to_string();
    let condition = |of: ConditionType, status: &str| {
        json!({
            "type": of.as_str(), "status": status, "reason": K::REASON, "message": message,
            "observedGeneration": generation, "lastTransitionTime": now,
        })
    };
    let mut kept = object.data.pointer("/status").and_then(Value::as_object).cloned().unwrap_or_default();
    kept.insert("observedGeneration".to_owned(), json!(generation));
    let conditions = [condition(ConditionType::Ready, "False"), condition(ConditionType::Stalled, "True")];
    kept.insert("conditions".to_owned(), json!(conditions));
    json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": {"name": object.name_any(), "resourceVersion": object.resource_version()},
        "status": kept,
    })
}
