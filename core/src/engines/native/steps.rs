//! In which order objects are written, so that at no moment less is denied than before and after, and nothing verified is denied in passing.
//!
//! First what closes: parameters, new policies and those that somebody changed, and bindings with what they gain. When that is in force, what may open:
//! policies change, and bindings lose what they lose. When that is in force, what nothing refers to any more. Between the settlings both the old and the new
//! objects judge, and a pod has to pass all of them; so shards of a policy that goes stay until its bindings are gone.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::objects::{BINDING_KIND, POLICY_KIND, SHARD_KIND};
use crate::engines::object::{For, INTENT, POLICY, Type};
use crate::engines::{EngineKind, Object};

/// One thing to do, before the next.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Write this object, whole.
    Write(Object),
    /// Wait until canaries agree that everything written so far is in force at every API server, or for the stated time where one cannot be asked.
    Settle,
    /// Delete the object of this kind and name.
    Delete {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
    },
}

const VALUES: &str = "/spec/matchResources/namespaceSelector/matchExpressions/0/values";

/// What to do to come from what there is to what is wanted, in three parts: what closes; what may open, for which everything that closes has to be seen in
/// force before; and what nothing refers to any more once that is in force, too.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Changes {
    /// Parameters, new policies and those that somebody changed, and bindings with what they gain.
    pub closing: Vec<Step>,
    /// Changed policies, and bindings with what they lose.
    pub opening: Vec<Step>,
    /// What nothing refers to.
    pub unused: Vec<Step>,
}

impl Changes {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.closing.is_empty() && self.opening.is_empty() && self.unused.is_empty()
    }
}

/// The same as one list, with what is to be waited for.
pub fn steps(current: &[Object], wanted: &[Object]) -> Vec<Step> {
    let Changes { closing: mut steps, opening, unused } = changes(current, wanted);
    for part in [opening, unused] {
        if !part.is_empty() {
            if !steps.is_empty() {
                steps.push(Step::Settle);
            }
            steps.extend(part);
        }
    }
    if !steps.is_empty() {
        steps.push(Step::Settle);
    }
    steps
}

/// What to do to come from what there is to what is wanted. Nothing where both are the same.
pub fn changes<'a>(
    current: impl IntoIterator<Item = &'a Object>,
    wanted: impl IntoIterator<Item = &'a Object>,
) -> Changes {
    let (have, want) = (Objects::of(current), Objects::of(wanted));
    let mut plan = Plan::default();
    for (name, wanted) in &want.shards {
        // A policy that judges no longer still does until its bindings are gone.
        let leaves = |policy| have.judging.contains(policy) && !want.judging.contains(policy);
        let phase = if declared_policy(wanted).is_some_and(leaves) { 4 } else { 0 };
        plan.write(phase, have.shards.get(name).copied(), wanted);
    }
    for (name, wanted) in &want.policies {
        // A policy that is there already may admit more when it is written anew, so that waits for what closes. What somebody changed was there as it is wanted,
        // and may be open until it is so again.
        let current = have.policies.get(name).copied();
        let was_so = |current| intent(wanted).is_some_and(|wanted| intent(current) == Some(wanted));
        let closes = current.is_none_or(was_so);
        plan.write(if closes { 1 } else { 3 }, current, wanted);
    }
    for (name, wanted) in &want.bindings {
        let passing = have.bindings.get(name).map(|current| with_leaving_namespaces(current, wanted));
        plan.write(2, have.bindings.get(name).copied(), passing.as_ref().unwrap_or(wanted));
        plan.write(3, passing.as_ref().or(Some(wanted)), wanted);
    }
    plan.delete(3, BINDING_KIND, &have.bindings, &want.bindings);
    plan.delete(4, POLICY_KIND, &have.policies, &want.policies);
    plan.delete(4, SHARD_KIND, &have.shards, &want.shards);
    plan.changes()
}

/// Objects of each kind, by name.
struct Objects<'a> {
    shards: BTreeMap<&'a str, &'a Object>,
    policies: BTreeMap<&'a str, &'a Object>,
    bindings: BTreeMap<&'a str, &'a Object>,
    /// The policies that look into shards.
    judging: BTreeSet<&'a str>,
}

impl<'a> Objects<'a> {
    fn of(objects: impl IntoIterator<Item = &'a Object>) -> Self {
        let objects: Vec<&'a Object> = objects.into_iter().collect();
        let of_kind = |kind: &str| -> BTreeMap<&'a str, &'a Object> {
            let of_kind = objects.iter().filter(|object| object.kind() == kind);
            of_kind.map(|object| (object.name(), *object)).collect()
        };
        let bindings = of_kind(BINDING_KIND);
        let judging = bindings.values().filter_map(|binding| declared_policy(binding)).collect();
        Self { shards: of_kind(SHARD_KIND), policies: of_kind(POLICY_KIND), bindings, judging }
    }
}

fn declared_policy(object: &Object) -> Option<&str> {
    object.body().get("metadata")?.get("labels")?.get(POLICY)?.as_str()
}

/// The digest of the whole object as holdfast wrote it, which whoever changes the rest of it leaves, or forges: what is written is what is wanted, in any case.
fn intent(object: &Object) -> Option<&str> {
    object.body().get("metadata")?.get("annotations")?.get(INTENT)?.as_str()
}

/// The wanted binding, and with it the namespaces it leaves.
fn with_leaving_namespaces(current: &Object, wanted: &Object) -> Object {
    // One that points elsewhere now has nothing to keep: names say what bindings are to.
    let values = |object: &Object| object.body().pointer(VALUES).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut names: Vec<String> =
        values(wanted).iter().chain(&values(current)).filter_map(Value::as_str).map(str::to_owned).collect();
    names.sort();
    names.dedup();
    changed(wanted, VALUES, Value::from(names))
}

fn changed(object: &Object, pointer: &str, value: Value) -> Object {
    let mut rest: Map<String, Value> = object.body().as_object().cloned().unwrap_or_default();
    rest.retain(|field, _| !matches!(field.as_str(), "apiVersion" | "kind" | "metadata"));
    let mut rest = Value::Object(rest);
    if let Some(place) = rest.pointer_mut(pointer) {
        *place = value;
    }
    let why = declared_policy(object).map_or(For::Cluster, For::Policy);
    let of = Type { api_version: object.api_version(), kind: object.kind() };
    Object::new(EngineKind::Native, of, None, object.name(), why, rest)
}

/// Five phases, with a settling after the third and the fourth.
#[derive(Default)]
struct Plan {
    phases: [Vec<Step>; 5],
}

impl Plan {
    fn write(&mut self, phase: usize, current: Option<&Object>, wanted: &Object) {
        if current.is_none_or(|current| current.body() != wanted.body())
            && let Some(phase) = self.phases.get_mut(phase)
        {
            phase.push(Step::Write(wanted.clone()));
        }
    }

    fn delete(&mut self, phase: usize, kind: &str, have: &BTreeMap<&str, &Object>, want: &BTreeMap<&str, &Object>) {
        if let Some(phase) = self.phases.get_mut(phase) {
            let gone = have.keys().filter(|name| !want.contains_key(*name));
            phase.extend(gone.map(|name| Step::Delete { kind: kind.to_owned(), name: (*name).to_owned() }));
        }
    }

    fn changes(self) -> Changes {
        let [shards, policies, bindings, opening, unused] = self.phases;
        Changes { closing: shards.into_iter().chain(policies).chain(bindings).collect(), opening, unused }
    }
}
