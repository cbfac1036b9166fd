//! What a plan would change of objects that are already applied.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use holdfast_core::engines::Object;
use holdfast_core::engines::object::{INTENT, MANAGED_BY};
use serde::Serialize;
use serde_json::Value;

use super::left::LeftAlone;
use crate::cli::output::{CliError, Style, printable};
use crate::inventory;

/// How many fields of one object are named before the rest is counted.
const MAX_FIELDS: usize = 12;
/// How much of a value is shown, in characters.
const MAX_VALUE: usize = 80;

/// One object that is not as it is wanted.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Change {
    #[serde(rename = "change")]
    pub(super) kind: Kind,
    /// Kind, namespace and name.
    pub(super) object: String,
    /// The fields that differ.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) fields: Vec<Field>,
}

/// What becomes of it.
#[derive(Serialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Added,
    Changed,
    Removed,
}

/// One field that differs.
#[derive(Serialize)]
pub(super) struct Field {
    pub(super) path: String,
    pub(super) from: Value,
    pub(super) to: Value,
}

type Key = (String, String, String, String);

/// Compares what is wanted with what manifests in `dir` say is applied. Of an applied object only the fields that are wanted count: the API server adds
/// its own. What is applied, ours, and no longer wanted is removed.
pub(super) fn compare(dir: &Path, wanted: &[Object], left: &LeftAlone) -> Result<Vec<Change>, CliError> {
    let applied: BTreeMap<Key, Value> = inventory::manifests(dir)
        .map_err(|errors| {
            CliError::usage(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n       "))
        })?
        .into_iter()
        .filter_map(|manifest| Some((key(&manifest)?, manifest)))
        .collect();
    let wanted: BTreeMap<Key, &Value> =
        wanted.iter().filter_map(|object| Some((key(object.body())?, object.body()))).collect();
    let mut changes = Vec::new();
    for (key, body) in &wanted {
        match applied.get(key) {
            None => changes.push(Change { kind: Kind::Added, object: name(key), fields: Vec::new() }),
            Some(held) => {
                let mut fields = Vec::new();
                differ("", held, body, &mut fields);
                if !fields.is_empty() {
                    changes.push(Change { kind: Kind::Changed, object: name(key), fields });
                }
            }
        }
    }
    let gone = applied
        .iter()
        .filter(|(key, manifest)| is_ours(manifest) && !left.keeps(manifest) && !wanted.contains_key(*key));
    changes.extend(gone.map(|(key, _)| Change { kind: Kind::Removed, object: name(key), fields: Vec::new() }));
    Ok(changes)
}

pub(super) fn print(changes: &[Change], style: Style, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "\nCHANGES  {}",
        if changes.is_empty() { "none: what is applied is what is wanted" } else { "to what is applied" }
    )?;
    for change in changes {
        let mark = match change.kind {
            Kind::Added => style.good("+"),
            Kind::Changed => style.warn("~"),
            Kind::Removed => style.bad("-"),
        };
        writeln!(out, "  {mark} {}", printable(&change.object))?;
        for field in change.fields.iter().take(MAX_FIELDS) {
            writeln!(out, "      {}: {} → {}", printable(&field.path), short(&field.from), short(&field.to))?;
        }
        if change.fields.len() > MAX_FIELDS {
            writeln!(out, "      and {} more; `-o json` lists all", change.fields.len() - MAX_FIELDS)?;
        }
    }
    Ok(())
}

fn short(value: &Value) -> String {
    let text = printable(&value.to_string());
    if value.is_null() {
        return "(absent)".to_owned();
    }
    match text.char_indices().nth(MAX_VALUE) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text,
    }
}

fn key(manifest: &Value) -> Option<Key> {
    let text = |pointer: &str| manifest.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let group = text("/apiVersion").rsplit_once('/').map(|(group, _)| group.to_owned()).unwrap_or_default();
    let kind = text("/kind");
    (!kind.is_empty()).then(|| (group, kind, text("/metadata/namespace"), text("/metadata/name")))
}

fn name((_, kind, namespace, name): &Key) -> String {
    if namespace.is_empty() { format!("{kind}/{name}") } else { format!("{kind}/{namespace}/{name}") }
}

fn is_ours(manifest: &Value) -> bool {
    let metadata = manifest.get("metadata");
    let of =
        |part: &str, key: &str| metadata.and_then(|m| m.get(part)).and_then(|p| p.get(key)).and_then(Value::as_str);
    of("labels", MANAGED_BY) == Some("holdfast") && of("annotations", INTENT).is_some()
}

/// What the API server fills in by itself where nothing is said.
const DEFAULTS: [(&str, &str); 2] = [("scope", "*"), ("matchPolicy", "Equivalent")];

/// Every wanted field that is absent or another, and every field beside them that says something: an exclusion somebody added, a digest nobody verified.
fn differ(path: &str, held: &Value, wanted: &Value, fields: &mut Vec<Field>) {
    match (held, wanted) {
        (Value::Object(held), Value::Object(wanted)) => {
            let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
            // Beside the intent the API server keeps its own: status, and most of the metadata.
            let ours = path.starts_with("spec") || path.starts_with("data");
            for (name, held) in
                held.iter().filter(|(name, held)| ours && !wanted.contains_key(*name) && says_something(name, held))
            {
                fields.push(Field { path: below(name), from: held.clone(), to: Value::Null });
            }
            // The digest of the intent differs wherever anything else does.
            for (name, wanted) in wanted.iter().filter(|(name, _)| *name != INTENT) {
                differ(&below(name), held.get(name).unwrap_or(&Value::Null), wanted, fields);
            }
        }
        (Value::Array(held), Value::Array(wanted)) if held.len() == wanted.len() => {
            for (at, (held, wanted)) in held.iter().zip(wanted).enumerate() {
                differ(&format!("{path}[{at}]"), held, wanted, fields);
            }
        }
        (held, wanted) if held == wanted => {}
        (held, wanted) => fields.push(Field { path: path.to_owned(), from: held.clone(), to: wanted.clone() }),
    }
}

fn says_something(name: &str, value: &Value) -> bool {
    let is_empty = value.is_null()
        || value.as_object().is_some_and(serde_json::Map::is_empty)
        || value.as_array().is_some_and(Vec::is_empty);
    !is_empty && !DEFAULTS.iter().any(|(field, default)| name == *field && value.as_str() == Some(default))
}
