//! From the reports that are there to the ones that are wanted: what to write, and what goes.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use serde_json::Value;

use super::{ReportKind, ReportObject};
use crate::api::common::INTENT;

/// A report of holdfast's that is there; of its content only who wrote what.
#[derive(Debug, Clone, PartialEq)]
pub struct There {
    /// As which kind.
    pub kind: ReportKind,
    /// Its namespace; none where it is the cluster's.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Its version.
    pub resource_version: String,
    /// The intent it says it holds.
    pub intent: Option<String>,
    /// Who wrote which of its fields.
    pub managed: Vec<ManagedFieldsEntry>,
}

impl There {
    /// The namespace it is about, which a report of the cluster has in its name.
    pub fn about(&self) -> &str {
        about(self.namespace.as_deref(), &self.name)
    }
}

impl ReportObject {
    /// The namespace it is about, which a report of the cluster has in its name.
    pub fn about(&self) -> &str {
        about(self.namespace.as_deref(), &self.name)
    }
}

fn about<'a>(namespace: Option<&'a str>, name: &'a str) -> &'a str {
    namespace.or_else(|| name.split('.').nth(1)).unwrap_or_default()
}

/// A report to write.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Write<'a> {
    /// The report.
    pub object: &'a ReportObject,
    /// What is there now; nothing where it is to be made.
    pub over: Option<&'a There>,
    /// Whether somebody else changed what holdfast wrote.
    pub puts_back: bool,
}

/// What is to be done.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settling<'a> {
    /// What to write; nothing of it is as it is wanted.
    pub writes: Vec<Write<'a>>,
    /// What goes once everything about the same namespace was written.
    pub removals: Vec<&'a There>,
}

/// Compares what is `wanted` with what is there, written by `manager`.
///
/// Nothing is compared but intents and who wrote which field: a field that somebody else wrote since is no longer `manager`'s. So a list of metadata is enough,
/// and neither a restart nor a new leader writes anything again.
pub fn settle<'a>(wanted: &'a [ReportObject], there: &'a [There], manager: &str) -> Settling<'a> {
    let mut settling = Settling::default();
    let key = |of: &'a There| (of.kind, of.namespace.as_deref(), of.name.as_str());
    let known: BTreeMap<_, &There> = there.iter().map(|there| (key(there), there)).collect();
    let mut kept = BTreeSet::new();
    for object in wanted {
        let key = (object.kind, object.namespace.as_deref(), object.name.as_str());
        kept.insert(key);
        let over = known.get(&key).copied();
        let is_intent = over.is_some_and(|over| over.intent.as_deref() == Some(object.intent.to_string().as_str()));
        let is_changed = over.is_some_and(|over| {
            let ours = over.managed.iter().filter(|entry| entry.manager.as_deref() == Some(manager));
            let mut ours = ours.filter_map(|entry| Some(&entry.fields_v1.as_ref()?.0));
            !ours.any(|fields| if is_intent { is_whole(fields, &object.body) } else { has_intent(fields) })
        });
        if !is_intent || is_changed {
            settling.writes.push(Write { object, over, puts_back: is_changed });
        }
    }
    settling.removals = there.iter().filter(|there| !kept.contains(&key(there))).collect();
    settling
}

fn has_intent(fields: &Value) -> bool {
    let annotations = fields.get("f:metadata").and_then(|metadata| metadata.get("f:annotations"));
    annotations.is_some_and(|annotations| annotations.get(format!("f:{INTENT}")).is_some())
}

/// Whether every field of an object is among these (`fieldsV1`).
fn is_whole(fields: &Value, body: &Value) -> bool {
    body.as_object().into_iter().flatten().all(|(name, value)| match name.as_str() {
        "apiVersion" | "kind" => true,
        "metadata" => {
            let of = fields.get("f:metadata");
            let kept =
                value.as_object().into_iter().flatten().filter(|(name, _)| *name != "name" && *name != "namespace");
            kept.into_iter().all(|(name, value)| of.is_some_and(|of| has(of, name, value)))
        }
        _ => has(fields, name, value),
    })
}

fn has(fields: &Value, name: &str, value: &Value) -> bool {
    let Some(fields) = fields.get(format!("f:{name}")).and_then(Value::as_object) else { return false };
    match value {
        // Without fields of its own it is one value, written as a whole.
        _ if fields.is_empty() => true,
        Value::Object(values) => {
            let fields = Value::Object(fields.clone());
            values.iter().all(|(name, value)| has(&fields, name, value))
        }
        Value::Array(values) => fields.keys().filter(|key| *key != ".").count() >= values.len(),
        _ => true,
    }
}
