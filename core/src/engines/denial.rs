//! What an object that is there denies: a witness of what is enforced, beside every record of it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::object::{POLICY, is_rendered};
use super::{EngineKind, Object};

/// In the place of names where an engine denies in every namespace that is labelled for it.
pub const EVERYWHERE: &str = "*";

/// One policy that an engine is told to deny by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Denial {
    /// The policy.
    pub policy: String,
    /// The engine.
    pub engine: EngineKind,
    /// The namespaces.
    pub namespaces: BTreeSet<String>,
}

/// What an object of ours denies; none where it reports, or is no such object.
pub fn denial(object: &Value) -> Option<Denial> {
    let engine = Object::engine_of(object).filter(|_| is_rendered(object))?;
    let policy = object.get("metadata")?.get("labels")?.get(POLICY)?.as_str()?.to_owned();
    let spec = object.get("spec")?;
    let acts = |action: &str| {
        let actions = spec.get("validationActions").and_then(Value::as_array);
        actions.is_some_and(|actions| actions.iter().any(|said| said == action))
    };
    let denies = match object.get("kind")?.as_str()? {
        "ValidatingAdmissionPolicyBinding" | "ImageValidatingPolicy" => acts("Deny"),
        // Its default is to enforce.
        "ClusterImagePolicy" => spec.get("mode").is_none_or(|mode| mode != "warn"),
        _ => false,
    };
    if !denies {
        return None;
    }
    let mut namespaces = BTreeSet::new();
    names(spec, &mut namespaces);
    if namespaces.is_empty() {
        namespaces.insert(EVERYWHERE.to_owned());
    }
    Some(Denial { policy, engine, namespaces })
}

/// The names that selectors in a document list.
fn names(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            let by_name = map.get("key").is_some_and(|key| key == "kubernetes.io/metadata.name")
                && map.get("operator").is_some_and(|operator| operator == "In");
            if by_name {
                let listed = map.get("values").and_then(Value::as_array).into_iter().flatten();
                found.extend(listed.filter_map(Value::as_str).map(str::to_owned));
            }
            map.values().for_each(|value| names(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| names(item, found)),
        _ => {}
    }
}
