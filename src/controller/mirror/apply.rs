//! What was decided, carried out, in an order in which every interruption leaves a whole: remember what was verified, write down what is in force, then
//! distribute it; what goes comes last. Every write carries the version it was decided on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use holdfast_core::api::TrustRootMirror;
use holdfast_core::api::mirror::ConfigMapDistribution;
use holdfast_core::engines::object::{INTENT, MANAGED_BY, TRUST_ROOT};
use holdfast_core::operate::mirror::distribution::{Distribution, KEY, Limits, Removal, Write, removals};
use holdfast_core::operate::mirror::memory::{Stored, Witness};
use holdfast_core::operate::mirror::{Decision, Record};
use holdfast_core::trust::held::Held;
use holdfast_core::trust::root::TrustRoot;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Resource, ResourceExt};
use serde_json::json;

use super::super::MANAGER;
use super::super::context::Context;
use super::super::failure::{Failed, within};
use super::super::guards::Guarding;
use super::super::store::Lookup;
use super::known_again;
use super::observe::Observed;

/// When what somebody else wrote meanwhile is looked at again, and what the API server does not take is tried again.
const SOON: Duration = Duration::from_secs(1);
const LATER: Duration = Duration::from_secs(60);
/// How many objects are written at once.
const AT_ONCE: usize = 16;

/// What is there now.
pub(crate) struct Applied {
    /// The memory.
    pub(crate) memory: Option<Stored>,
    /// The record.
    pub(crate) record: Option<Stored>,
    /// What became of distributing.
    pub(crate) outcome: Outcome,
}

/// What became of writes that are independent of each other: one namespace does not stand in the way of the others, nor of the report.
#[derive(Default)]
pub(crate) struct Outcome {
    /// The distribution, with what was written just now.
    pub(crate) distribution: Option<Distribution>,
    /// When to try again what was not taken.
    pub(crate) again: Option<Duration>,
    /// Why not all of it was tried, or nobody knows what became of it.
    pub(crate) failed: Option<Failed>,
    written: BTreeMap<String, Option<String>>,
}

impl Outcome {
    fn take(&mut self, namespace: String, result: Result<(), Failed>) {
        let Err(failed) = result else {
            self.written.insert(namespace, None);
            return;
        };
        let again = if let Some(said) = failed.not_taken() {
            tracing::warn!(namespace, error = %failed, "the API server does not take it");
            self.written.insert(namespace, Some(said));
            LATER
        } else if failed.is_conflict() {
            SOON
        } else {
            self.failed = Some(failed);
            return;
        };
        self.again = Some(self.again.map_or(again, |known| known.min(again)));
    }
}

/// What was verified is remembered before anything else: a source that breaks off half-way must not be able to take a newer root back.
///
/// # Errors
/// [`Failed`], where it cannot be.
pub(crate) async fn remember(
    context: &Context,
    mirror: &TrustRootMirror,
    observed: &Observed,
) -> Result<Option<Stored>, Failed> {
    let name = mirror.name_any();
    let (Some(held), Some(bootstrap)) = (&observed.held, &mirror.spec.bootstrap) else { return Ok(None) };
    let pin = bootstrap.root_sha256.0;
    let there = observed.memory.kept();
    if observed.fault.is_some() || there.is_some_and(|kept| kept.value == *held) {
        return Ok(there.map(|kept| kept.stored.clone()));
    }
    context.may_write()?;
    let stored = context.store.remember(&name, pin, observed.memory.place().as_ref(), held).await?;
    context.known.lock().entry(name.clone()).or_default().memory = Some(Witness { pin, stored: stored.clone() });
    tracing::info!(mirror = name, revision = stored.revision, roles = %versions(held), "what was verified is remembered");
    Ok(Some(stored))
}

fn versions(held: &Held) -> String {
    let roles = held.state.memory().floors.iter().map(|(role, floor)| format!("{role} {}", floor.version));
    roles.collect::<Vec<_>>().join(", ")
}

/// Writes down what is in force: from here on it is.
///
/// # Errors
/// [`Failed`], where that cannot be written. Where it may have been all the same, the mirror's trust is in doubt until it was read.
pub(crate) async fn write_record(
    context: &Context,
    mirror: &TrustRootMirror,
    observed: &Observed,
    decision: &Decision,
    memory: Option<&Stored>,
) -> Result<Option<Stored>, Failed> {
    let there = observed.record.kept();
    let stored = there.map(|kept| kept.stored.clone());
    let Some(record) = &decision.record else { return Ok(stored) };
    // A pause changes nothing of what is in force; what the mirror says meanwhile is judged all the same, and goes with what it was judged by.
    let paused = there.filter(|_| mirror.spec.suspend).map(|kept| {
        let (spec, judged) = (record.spec.clone(), record.judged.clone());
        Record { spec, judged, ..kept.value.clone() }
    });
    let record = paused.as_ref().unwrap_or(record);
    let unjudged = there.filter(|_| matches!(observed.guarding, Some(Guarding::Unclear(_))));
    let unjudged = unjudged.map(|kept| left_unjudged(&kept.value, record));
    let record = unjudged.as_ref().unwrap_or(record);
    if observed.fault.is_some()
        || mirror.spec.suspend && there.is_none()
        || matches!(observed.record, Lookup::Damaged { .. }) && there.is_none() && decision.adopted.is_none()
    {
        return Ok(stored);
    }
    let name = mirror.name_any();
    let same_trust = there.is_some_and(|kept| kept.value.root == record.root && kept.value.adopted == record.adopted);
    let before = there.map(|kept| &kept.value);
    let pin = mirror.spec.bootstrap.as_ref().map(|bootstrap| bootstrap.root_sha256.0);
    let witness = memory.zip(pin).map(|(stored, pin)| Witness { pin, stored: stored.clone() });
    // The witness is of the instant of adoption: a memory that moved on since is no change of what is in force.
    let witness = if same_trust {
        // One of an object that is not there any more would be a fault for ever, also once somebody was allowed to take what is there.
        let of_this = |of: &Witness| {
            Some(of.pin) == pin && memory.is_none_or(|is| is.uid == of.stored.uid && is.revision >= of.stored.revision)
        };
        before.and_then(|before| before.memory.clone()).filter(of_this).or(witness)
    } else {
        witness
    };
    let record = Record { memory: witness, ..record.clone() };
    if before == Some(&record) {
        return Ok(stored);
    }
    context.may_write()?;
    let written = context.store.write_record(&name, observed.record.place().as_ref(), &record).await;
    if written.as_ref().is_err_and(may_be_written) {
        context.candidates.doubt(&name);
        // One that went meanwhile is not looked at any more, so nobody would take the doubt back.
        if !context.is_there(mirror) {
            known_again(context, &name);
        }
    }
    let stored = written?;
    context.known.lock().entry(name.clone()).or_default().record = Some(stored.clone());
    if !same_trust && let Some(adopted) = &decision.adopted {
        let by = record.adopted.as_ref().map_or("", |adopted| adopted.by.as_str());
        tracing::info!(mirror = name, digest = %adopted.root.digest, by, "the trust is in force");
    }
    Ok(Some(stored))
}

/// What is to be remembered where nobody could judge what the mirror says: the next judgement is held against what was judged last. Where other trust comes into
/// force, it goes with its own declaration, and what that spends is spent.
fn left_unjudged(before: &Record, now: &Record) -> Record {
    if before.root != now.root || before.adopted != now.adopted {
        return now.clone();
    }
    Record { spec: before.spec.clone(), judged: before.judged.clone(), ..now.clone() }
}

/// Whether a write that failed may have been made all the same.
fn may_be_written(failed: &Failed) -> bool {
    match failed {
        Failed::TooLarge { .. } | Failed::Stuck { .. } | Failed::NotLeading => false,
        Failed::Silent { .. } | Failed::Altered { .. } => true,
        Failed::Api { error, .. } => match error.as_ref() {
            kube::Error::Api(status) => !(400..500).contains(&status.code) || status.code == 408,
            _ => true,
        },
    }
}

/// What is to be distributed; nothing where it may not be.
pub(crate) fn distribution(
    context: &Context,
    name: &str,
    declared: &ConfigMapDistribution,
    trust: &TrustRoot,
    observed: &Observed,
) -> Option<Distribution> {
    let limits = Limits { names: &context.settings.distribution_names, own_namespace: &context.namespace };
    Distribution::of(name, declared, trust, &observed.namespaces, &observed.existing, limits)
}

/// Distributes what is in force on record.
pub(crate) async fn distribute(
    context: &Context,
    mirror: &TrustRootMirror,
    observed: &Observed,
    decision: &Decision,
) -> Outcome {
    let mut outcome = Outcome::default();
    if let Some(record) = decision.record.as_ref().filter(|_| observed.fault.is_none() && !mirror.spec.suspend) {
        outcome.distribution = give_all(context, mirror, observed, record, &mut outcome).await;
    }
    outcome
}

async fn give_all(
    context: &Context,
    mirror: &TrustRootMirror,
    observed: &Observed,
    record: &Record,
    outcome: &mut Outcome,
) -> Option<Distribution> {
    let name = mirror.name_any();
    let Some(declared) = &mirror.spec.distribution.config_maps else {
        remove(context, &name, removals(&name, &observed.existing, |_| false), outcome).await;
        return None;
    };
    let trust = record.distributed(&name).ok()?;
    let mut distribution = distribution(context, &name, declared, &trust, observed)?;
    let writes: Vec<_> = distribution.writes.iter().map(|write| give(context, mirror, &distribution, write)).collect();
    let done: Vec<(String, Result<(), Failed>)> = stream::iter(writes).buffer_unordered(AT_ONCE).collect().await;
    // What is there under another name goes once what replaces it is there, or can never be.
    let is_tried_again = |failed: &Failed| failed.not_taken().is_none();
    let waiting: BTreeSet<&str> = done
        .iter()
        .filter(|(_, result)| result.as_ref().is_err_and(is_tried_again))
        .map(|(namespace, _)| namespace.as_str())
        .collect();
    let removals = distribution.removals.iter();
    let removals = removals.filter(|removal| !waiting.contains(removal.namespace.as_str())).cloned().collect();
    for (namespace, result) in done {
        outcome.take(namespace, result);
    }
    distribution.written(&outcome.written);
    remove(context, &name, removals, outcome).await;
    Some(distribution)
}

async fn give(
    context: &Context,
    mirror: &TrustRootMirror,
    distribution: &Distribution,
    write: &Write,
) -> (String, Result<(), Failed>) {
    let namespace = write.namespace.clone();
    let result = give_one(context, mirror, distribution, write).await;
    (namespace, result)
}

async fn give_one(
    context: &Context,
    mirror: &TrustRootMirror,
    distribution: &Distribution,
    write: &Write,
) -> Result<(), Failed> {
    context.may_write()?;
    let name = mirror.name_any();
    let mut object = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": distribution.name,
            "namespace": write.namespace,
            "labels": {MANAGED_BY: "holdfast", TRUST_ROOT: name},
            "annotations": {INTENT: distribution.digest},
            "ownerReferences": [mirror.owner_ref(&())],
        },
        "data": {KEY: distribution.text},
    });
    // A version that no object has: where something was made meanwhile, the write is refused; where nothing is there, it is made.
    let version = write.over.as_ref().map_or("1", |version| version.resource_version.as_str());
    if let Some(metadata) = object.get_mut("metadata").and_then(serde_json::Value::as_object_mut) {
        metadata.insert("resourceVersion".to_owned(), json!(version));
        if let Some(over) = &write.over {
            metadata.insert("uid".to_owned(), json!(over.uid));
        }
    }
    let params = PatchParams::apply(MANAGER);
    let params = if write.over.is_some() { params.force() } else { params };
    let api: Api<ConfigMap> = Api::namespaced(context.client.clone(), &write.namespace);
    let at = format!("ConfigMap {}/{}", write.namespace, distribution.name);
    within("write", &at, api.patch(&distribution.name, &params, &Patch::Apply(&object))).await?;
    if write.puts_back {
        context.metrics.put_back("ConfigMap");
        tracing::warn!(mirror = name, object = at, "somebody changed it; it was put back");
        let note = format!("{at} was changed by somebody else and put back");
        context.event(&mirror.object_ref(&()), true, "PutBack", &note).await;
    } else {
        tracing::info!(mirror = name, object = at, digest = %distribution.digest, "the trust is distributed");
    }
    Ok(())
}

/// Takes away what is not to be there.
async fn remove(context: &Context, mirror: &str, removals: Vec<Removal>, outcome: &mut Outcome) {
    let removing = removals.into_iter().map(|removal| async move {
        let namespace = removal.namespace.clone();
        (namespace, remove_one(context, mirror, removal).await)
    });
    let removing: Vec<_> = removing.collect();
    let done: Vec<(String, Result<(), Failed>)> = stream::iter(removing).buffer_unordered(AT_ONCE).collect().await;
    for (namespace, result) in done {
        outcome.take(namespace, result);
    }
}

async fn remove_one(context: &Context, mirror: &str, removal: Removal) -> Result<(), Failed> {
    context.may_write()?;
    let Removal { namespace, name, version } = removal;
    let api: Api<ConfigMap> = Api::namespaced(context.client.clone(), &namespace);
    let preconditions = Preconditions { uid: Some(version.uid), resource_version: Some(version.resource_version) };
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    let at = format!("ConfigMap {namespace}/{name}");
    match within("delete", &at, api.delete(&name, &params)).await {
        Ok(_) => tracing::info!(mirror, object = at, "it is no longer selected, and was taken away"),
        Err(Failed::Api { error, .. }) if matches!(&*error, kube::Error::Api(status) if status.is_not_found()) => {}
        Err(failed) => return Err(failed),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn answered(code: u16) -> Failed {
        let error = Box::new(kube::Error::Api(Box::new(Status { code, ..Status::default() })));
        Failed::Api { what: "write", name: "ConfigMap apps/trust".to_owned(), error }
    }

    #[test]
    fn one_namespace_that_fails_takes_nothing_from_what_is_told_of_the_others() {
        let mut outcome = Outcome::default();
        outcome.take("given".to_owned(), Ok(()));
        outcome.take("broken".to_owned(), Err(answered(500)));
        outcome.take("refused".to_owned(), Err(answered(403)));
        let told: Vec<_> = outcome.written.iter().map(|(at, said)| (at.as_str(), said.is_some())).collect();
        assert_eq!(told, [("given", false), ("refused", true)]);
        assert!(outcome.failed.is_some(), "it is tried again");
    }

    #[test]
    fn what_nobody_could_judge_is_left_as_it_was_judged_and_what_is_adopted_is_not() {
        let record = |adopted: &str, approved: &str, counts: bool| {
            serde_json::from_value::<Record>(json!({
                "spec": {"source": {"keys": {}}, "rotation": {"approvedDigest": format!("sha256:{}", approved.repeat(64))}},
                "adopted": {"at": adopted, "by": "bob"},
                "judged": [{"agrees": {"approved": format!("sha256:{}", "a".repeat(64))}, "counts": counts}],
            }))
            .unwrap()
        };
        let before = record("2026-01-01T00:00:00Z", "a", true);
        let edited = record("2026-01-01T00:00:00Z", "b", false);
        assert_eq!(left_unjudged(&before, &edited), before);
        let adopted = record("2026-02-01T00:00:00Z", "b", false);
        assert_eq!(left_unjudged(&before, &adopted), adopted, "what brought the trust before into force is spent");
    }

    #[test]
    fn only_a_clear_no_says_that_nothing_was_written() {
        for code in [400, 403, 404, 409, 422, 429] {
            assert!(!may_be_written(&answered(code)), "{code}");
        }
        for code in [408, 500, 503, 504] {
            assert!(may_be_written(&answered(code)), "{code}");
        }
        assert!(may_be_written(&Failed::Silent { what: "replace", name: "record".to_owned() }));
        assert!(!may_be_written(&Failed::NotLeading));
    }
}
