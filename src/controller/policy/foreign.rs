//! Kyverno and policy-controller: what each is given is applied where it is there, compared first, and put back where somebody changed it.
//!
//! Every write of a policy flushes that engine's cache, so nothing is written that says what is there already.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use holdfast_core::Digest;
use holdfast_core::engines::denial::{Denial, denial};
use holdfast_core::engines::object::{MANAGED_BY, PART};
use holdfast_core::engines::{EngineKind, Object, Rendering};
use holdfast_core::operate::policy::Decided;
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, Preconditions, TypeMeta};
use kube::{Api, ResourceExt};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::MANAGER;
use super::super::context::Context;
use super::super::failure::{Failed, within};
use super::apply::Applied;
use super::observe::Observed;

/// The engines that are given objects here.
const ENGINES: [EngineKind; 2] = [EngineKind::Kyverno, EngineKind::PolicyController];
/// How often it is looked whether somebody changed something.
const EVERY: Duration = Duration::from_secs(30);

/// What an engine held when it was last looked at.
#[derive(Default)]
struct Known {
    looked: Option<Instant>,
    /// Of everything it was to be given.
    wanted: Option<Digest>,
    denials: Vec<Denial>,
    /// What each object says with what the API server fills in, and with nothing else.
    forms: Forms,
}

/// By kind and name: what it was given, and what it said then.
type Forms = BTreeMap<(String, String), (Digest, Digest)>;

/// What engines beside the native one hold.
#[derive(Default)]
pub(crate) struct Foreign(Mutex<BTreeMap<EngineKind, Known>>);

impl Foreign {
    /// What each was seen to be told to deny.
    pub(super) fn denials(&self) -> BTreeMap<EngineKind, Vec<Denial>> {
        self.0.lock().iter().map(|(kind, known)| (*kind, known.denials.clone())).collect()
    }
}

/// A kind that an engine is given, under each version it may be served in.
struct Given {
    kind: &'static str,
    plural: &'static str,
    versions: &'static [&'static str],
}

const fn given(kind: &'static str, plural: &'static str, versions: &'static [&'static str]) -> Given {
    Given { kind, plural, versions }
}

/// What an engine may be given.
fn kinds(engine: EngineKind) -> &'static [Given] {
    const KYVERNO: &[Given] = &[
        given(
            "ImageValidatingPolicy",
            "imagevalidatingpolicies",
            &["policies.kyverno.io/v1", "policies.kyverno.io/v1beta1", "policies.kyverno.io/v1alpha1"],
        ),
        given("ClusterPolicy", "clusterpolicies", &["kyverno.io/v1"]),
    ];
    const POLICY_CONTROLLER: &[Given] = &[
        given("ValidatingAdmissionPolicy", "validatingadmissionpolicies", &["admissionregistration.k8s.io/v1"]),
        given(
            "ValidatingAdmissionPolicyBinding",
            "validatingadmissionpolicybindings",
            &["admissionregistration.k8s.io/v1"],
        ),
        given("TrustRoot", "trustroots", &["policy.sigstore.dev/v1alpha1"]),
        given("ClusterImagePolicy", "clusterimagepolicies", &["policy.sigstore.dev/v1beta1"]),
    ];
    match engine {
        EngineKind::Kyverno => KYVERNO,
        EngineKind::PolicyController => POLICY_CONTROLLER,
        _ => &[],
    }
}

fn resource(api_version: &str, kind: &str, plural: &str) -> ApiResource {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    }
}

/// Gives each engine what it is to have. One that does not take it stands in the way of no other one.
///
/// # Errors
/// [`Failed`], where the API server cannot be asked.
pub(super) async fn apply(
    context: &Context,
    observed: &Observed,
    decided: &Decided<'_>,
    applied: &mut Applied,
) -> Result<(), Failed> {
    for engine in ENGINES.into_iter().filter(|engine| observed.discovered.of(*engine).present) {
        let nothing = Rendering::default();
        let rendering = decided.wanted.get(&engine).unwrap_or(&nothing);
        if rendering.left_alone {
            continue;
        }
        let wanted = wanted_digest(&rendering.objects);
        let (is_due, mut forms) = {
            let known = context.policies.foreign.0.lock();
            let is_due = known.get(&engine).is_none_or(|known| {
                known.wanted != Some(wanted) || known.looked.is_none_or(|looked| looked.elapsed() >= EVERY)
            });
            (is_due, known.get(&engine).map(|known| known.forms.clone()).unwrap_or_default())
        };
        if !is_due {
            continue;
        }
        match give(context, engine, &rendering.objects, &mut forms, applied).await {
            Ok(denials) => {
                let known = Known { looked: Some(Instant::now()), wanted: Some(wanted), denials, forms };
                context.policies.foreign.0.lock().insert(engine, known);
            }
            Err(failed) if failed.category() == "forbidden" => {
                let value = if engine == EngineKind::Kyverno { "engines.kyverno" } else { "engines.policyController" };
                let why = format!("holdfast may not write its objects: set `{value}` in the chart's values ({failed})");
                applied.unwritten.insert(engine, why);
            }
            Err(failed) => match failed.not_taken() {
                Some(said) => {
                    applied.unwritten.insert(engine, said);
                }
                None => return Err(failed),
            },
        }
    }
    Ok(())
}

fn wanted_digest(objects: &[Object]) -> Digest {
    let digests: Vec<u8> = objects.iter().flat_map(|object| *object.digest().as_bytes()).collect();
    Digest::of(&digests)
}

/// Applies what is wanted, removes what is not any more, and says what is denied then.
async fn give(
    context: &Context,
    engine: EngineKind,
    wanted: &[Object],
    forms: &mut Forms,
    applied: &mut Applied,
) -> Result<Vec<Denial>, Failed> {
    let mut there: BTreeMap<(String, String), DynamicObject> = BTreeMap::new();
    let mut served: BTreeMap<&str, ApiResource> = BTreeMap::new();
    for of in kinds(engine) {
        let Some((resource, objects)) = list(context, engine, of).await? else { continue };
        there.extend(objects.into_iter().map(|object| ((of.kind.to_owned(), object.name_any()), object)));
        served.insert(of.kind, resource);
    }
    for object in wanted {
        let key = (object.kind().to_owned(), object.name().to_owned());
        let found = there.get(&key).and_then(|found| serde_json::to_value(found).ok());
        let says_all = found.as_ref().is_some_and(|found| holds(found, object.body()));
        let written = if says_all { None } else { Some(write(context, object).await?) };
        let now = written.as_ref().or(found.as_ref()).unwrap_or(&Value::Null);
        let known = forms.get(&key).filter(|(given, _)| *given == object.digest()).map(|(_, form)| *form);
        let took_out = match take_out(context, object, now, known).await {
            Err(failed @ Failed::NotLeading) => return Err(failed),
            // It has what it was given, and is looked at again: this is no reason to stop the others.
            Err(failed) => {
                forms.remove(&key);
                if !failed.is_conflict() {
                    let why = format!("nobody knows whether something was added to {}: {failed}", object.name());
                    applied.unwritten.insert(engine, why);
                }
                None
            }
            Ok(took_out) => {
                let form = form(took_out.as_ref().unwrap_or(now));
                forms.extend(form.map(|form| (key, (object.digest(), form))));
                took_out
            }
        };
        let is_changed = !says_all || took_out.is_some_and(|after| version(&after) != version(now));
        if found.is_some() && is_changed {
            let what = format!("{} {}", object.kind(), object.name());
            tracing::info!(engine = %engine, object = what, "written over what was there");
            if is_put_back(found.as_ref(), object) {
                context.metrics.put_back(kind_of(object.kind()));
                applied.put_back.push(what);
            }
        }
    }
    let names: BTreeSet<(&str, &str)> = wanted.iter().map(|object| (object.kind(), object.name())).collect();
    for ((kind, name), object) in &there {
        let Some(resource) = served.get(kind.as_str()).filter(|_| !names.contains(&(kind, name))) else { continue };
        context.may_write()?;
        let api: Api<DynamicObject> = Api::all_with(context.client.clone(), resource);
        let preconditions = Preconditions { uid: object.uid(), resource_version: object.resource_version() };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        match within("delete", name, api.delete(name, &params)).await {
            Err(failed) if !failed.is_gone() => return Err(failed),
            _ => tracing::info!(engine = %engine, kind, name, "deleted"),
        }
    }
    Ok(wanted.iter().filter_map(|object| denial(object.body())).collect())
}

/// The objects of a kind that are this engine's, in the first version that is served; nothing where none is.
async fn list(
    context: &Context,
    engine: EngineKind,
    of: &Given,
) -> Result<Option<(ApiResource, Vec<DynamicObject>)>, Failed> {
    for version in of.versions {
        let resource = resource(version, of.kind, of.plural);
        let api: Api<DynamicObject> = Api::all_with(context.client.clone(), &resource);
        let ours = ListParams::default().labels(&format!("{MANAGED_BY}=holdfast"));
        match within("list", of.plural, api.list(&ours)).await {
            Ok(found) => {
                let is_of_engine = |object: &DynamicObject| {
                    serde_json::to_value(object).is_ok_and(|body| Object::engine_of(&body) == Some(engine))
                };
                // In a list, the API server does not say of its own kinds which they are.
                let types = TypeMeta { api_version: resource.api_version.clone(), kind: resource.kind.clone() };
                let named =
                    found.items.into_iter().map(|object| DynamicObject { types: Some(types.clone()), ..object });
                return Ok(Some((resource, named.filter(is_of_engine).collect())));
            }
            Err(failed) if failed.is_gone() => {}
            Err(failed) => return Err(failed),
        }
    }
    Ok(None)
}

/// Applies it, which leaves what others added; what is there then.
async fn write(context: &Context, object: &Object) -> Result<Value, Failed> {
    context.may_write()?;
    let params = PatchParams::apply(MANAGER).force();
    let api = api_of(context, object)?;
    let there = within("write", object.name(), api.patch(object.name(), &params, &Patch::Apply(object.body()))).await?;
    tracing::info!(engine = %object.engine(), kind = object.kind(), name = object.name(), "written");
    serde_json::to_value(there).map_err(|error| Failed::stuck("read", object.name(), &error))
}

/// Takes out of an object what it says beyond what is wanted, but for what it said in the form it is known in; what is there then. What the API server fills
/// in is there again at once, and nothing was changed then.
async fn take_out(
    context: &Context,
    object: &Object,
    there: &Value,
    known: Option<Digest>,
) -> Result<Option<Value>, Failed> {
    if object.is_part() || known.is_some() && known == form(there) {
        return Ok(None);
    }
    let none = Value::Null;
    let spec = |body: &Value| body.get("spec").cloned();
    let (found, wanted) = (spec(there), spec(object.body()));
    let Some(less) = less(found.as_ref().unwrap_or(&none), wanted.as_ref().unwrap_or(&none)) else { return Ok(None) };
    context.may_write()?;
    let change = json!({"metadata": {"resourceVersion": version(there)}, "spec": less});
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let api = api_of(context, object)?;
    let after = within("write", object.name(), api.patch(object.name(), &params, &Patch::Merge(&change))).await?;
    serde_json::to_value(after).map(Some).map_err(|error| Failed::stuck("read", object.name(), &error))
}

/// What an object says.
fn form(there: &Value) -> Option<Digest> {
    Some(Digest::of(&serde_json::to_vec(there.get("spec")?).ok()?))
}

fn version(there: &Value) -> Option<&str> {
    there.pointer("/metadata/resourceVersion")?.as_str()
}

/// The merge patch (RFC 7386) that leaves what is wanted of what is there; nothing where it says no more.
fn less(found: &Value, wanted: &Value) -> Option<Value> {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => {
            let changes: serde_json::Map<String, Value> = found
                .iter()
                .filter_map(|(key, found)| {
                    let change = wanted.get(key).map_or(Some(Value::Null), |wanted| less(found, wanted));
                    Some((key.clone(), change?))
                })
                .collect();
            (!changes.is_empty()).then_some(Value::Object(changes))
        }
        (found, wanted) => (found != wanted).then(|| wanted.clone()),
    }
}

fn api_of(context: &Context, object: &Object) -> Result<Api<DynamicObject>, Failed> {
    let plural = match object.kind() {
        "ConfigMap" => "configmaps".to_owned(),
        kind => ENGINES
            .iter()
            .flat_map(|engine| kinds(*engine))
            .find(|of| of.kind == kind)
            .map(|of| of.plural.to_owned())
            .ok_or_else(|| Failed::stuck("write", object.name(), &"its kind is none that is written"))?,
    };
    let resource = resource(object.api_version(), object.kind(), &plural);
    Ok(match object.namespace() {
        Some(namespace) => Api::namespaced_with(context.client.clone(), namespace, &resource),
        None => Api::all_with(context.client.clone(), &resource),
    })
}

/// The kind, of those that are given.
fn kind_of(kind: &str) -> &'static str {
    ENGINES.iter().flat_map(|engine| kinds(*engine)).find(|of| of.kind == kind).map_or("other", |of| of.kind)
}

/// Whether what is there says all that is wanted.
fn holds(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => {
            wanted.iter().all(|(key, wanted)| found.get(key).is_some_and(|found| holds(found, wanted)))
        }
        (Value::Array(found), Value::Array(wanted)) => {
            found.len() == wanted.len() && found.iter().zip(wanted).all(|(found, wanted)| holds(found, wanted))
        }
        (found, wanted) => found == wanted,
    }
}

/// Whether what was there carried the mark of this very intent, and said something else: somebody changed it.
fn is_put_back(found: Option<&Value>, wanted: &Object) -> bool {
    let mark = |body: &Value| {
        body.pointer("/metadata/annotations").and_then(|of| of.get(holdfast_core::engines::object::INTENT)).cloned()
    };
    !wanted.is_part()
        && found.and_then(mark) == mark(wanted.body())
        && wanted.body().pointer("/metadata/annotations").is_some_and(|of| of.get(PART).is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_added_is_taken_out_wherever_it_stands() {
        let wanted = json!({"mode": "enforce", "images": [{"glob": "r/**"}], "policy": {"type": "cue"}});
        let with = |path: &str, value: Value| {
            let mut found = wanted.clone();
            let (parent, key) = path.rsplit_once('/').unwrap();
            found.pointer_mut(parent).unwrap()[key] = value;
            less(&found, &wanted)
        };
        assert_eq!(less(&wanted, &wanted), None);
        assert_eq!(with("/match", json!([{"resource": "nothings"}])), Some(json!({"match": null})));
        assert_eq!(with("/policy/data", json!("x")), Some(json!({"policy": {"data": null}})));
        assert_eq!(with("/images/0/except", json!("r/a")), Some(json!({"images": [{"glob": "r/**"}]})));
    }
}
