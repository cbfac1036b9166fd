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
    /// It is there more than once, in forms that differ: which of them is applied is not known.
    Duplicate,
    /// It is wanted, and on its way out.
    Deleting,
}

/// One field that differs.
#[derive(Serialize)]
pub(super) struct Field {
    pub(super) path: String,
    pub(super) from: Value,
    pub(super) to: Value,
}

type Key = (String, String, String, String);

/// The manifests in `dir`.
pub(super) fn read(dir: &Path) -> Result<Vec<Value>, CliError> {
    inventory::manifests(dir).map_err(CliError::several)
}

/// Compares what is wanted with what manifests say is applied. What is applied, ours, and no longer wanted is removed.
pub(super) fn compare(manifests: Vec<Value>, wanted: &[Object], left: &LeftAlone) -> Vec<Change> {
    let mut applied: BTreeMap<Key, Vec<Value>> = BTreeMap::new();
    for manifest in manifests {
        if let Some(key) = key(&manifest) {
            applied.entry(key).or_default().push(manifest);
        }
    }
    let wanted: BTreeMap<Key, &Object> =
        wanted.iter().filter_map(|object| Some((key(object.body())?, object))).collect();
    let mut changes = Vec::new();
    for (key, wanted) in &wanted {
        let change = |kind, fields| Change { kind, object: name(key), fields };
        let Some((held, others)) = applied.get(key).and_then(|forms| forms.split_first()) else {
            changes.push(change(Kind::Added, Vec::new()));
            continue;
        };
        let forms = forms_differ(held, others);
        if !forms.is_empty() {
            changes.push(change(Kind::Duplicate, forms));
            continue;
        }
        let mut fields = Vec::new();
        let kind = if going(held, &mut fields) { Kind::Deleting } else { Kind::Changed };
        differences(held, wanted, &mut fields);
        if !fields.is_empty() {
            changes.push(change(kind, fields));
        }
    }
    for (key, forms) in applied.iter().filter(|(key, forms)| forms.iter().any(is_ours) && !wanted.contains_key(*key)) {
        let Some((held, others)) = forms.split_first() else { continue };
        let mut fields = forms_differ(held, others);
        let kind = if fields.is_empty() { Kind::Removed } else { Kind::Duplicate };
        if kind == Kind::Removed {
            let is_going = going(held, &mut fields);
            // What is left alone stays; that it is on its way out has to be known all the same.
            if left.keeps(held) {
                if is_going {
                    changes.push(Change { kind: Kind::Deleting, object: name(key), fields });
                }
                continue;
            }
        }
        changes.push(Change { kind, object: name(key), fields });
    }
    changes
}

pub(super) fn print(changes: &[Change], left: &LeftAlone, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let title = match (changes.is_empty(), left.is_nothing()) {
        (true, true) => "none: what is applied is what is wanted",
        (false, _) => "to what is applied",
        (true, false) => "none to what is compared",
    };
    writeln!(out, "\nCHANGES  {title}")?;
    if !left.is_nothing() {
        let note = "what is left alone is not compared: whether it still denies is not known here";
        writeln!(out, "  {} {note}", style.bad("!"))?;
    }
    for change in changes {
        let mark = match change.kind {
            Kind::Added => style.good("+"),
            Kind::Changed => style.warn("~"),
            Kind::Removed => style.bad("-"),
            Kind::Duplicate | Kind::Deleting => style.bad("!"),
        };
        let note = match change.kind {
            Kind::Added | Kind::Changed | Kind::Removed => "",
            Kind::Duplicate => " is there twice, in forms that differ: which is applied is not known. Keep one",
            Kind::Deleting => " is on its way out: apply it anew once it is gone",
        };
        writeln!(out, "  {mark} {}{note}", printable(&change.object))?;
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

/// In which fields the first two of one name that are not the same differ. What the API server keeps of an object may differ from export to export.
fn forms_differ(held: &Value, others: &[Value]) -> Vec<Field> {
    let mut fields = Vec::new();
    let held = declared(held);
    if let Some(other) = others.iter().map(declared).find(|other| *other != held) {
        differ("", &held, &other, Beside::Counts, &mut fields);
        // They differ in what decides nothing otherwise, as somebody's label.
        if fields.is_empty() {
            let metadata = |object: &Value| object.get("metadata").cloned().unwrap_or_default();
            fields.push(Field { path: "metadata".to_owned(), from: metadata(&held), to: metadata(&other) });
        }
    }
    fields
}

/// An object without what the API server keeps.
fn declared(object: &Value) -> Value {
    const KEPT: [&str; 6] = ["creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid"];
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|name, _| !KEPT.contains(&name.as_str()));
    }
    object
}

/// Whether an object is being deleted; it is then there only until its finalizers are gone.
fn going(held: &Value, fields: &mut Vec<Field>) -> bool {
    let since = held.pointer("/metadata/deletionTimestamp").filter(|since| !since.is_null());
    fields.extend(since.map(|since| Field {
        path: "metadata.deletionTimestamp".to_owned(),
        from: since.clone(),
        to: Value::Null,
    }));
    since.is_some()
}

/// What of an applied object is not as it is wanted.
///
/// Beside the wanted fields count, of an object that is ours as a whole:
/// - everything outside of `metadata` and `status` that says something: an exclusion somebody added, a digest nobody verified, a field of a later version;
/// - labels and annotations of `holdfast.dev`, since holdfast itself goes by them;
/// - `ownerReferences`, since the object goes with its owner, and `finalizers`, since it cannot go; but for those of the engine that reads it.
///
/// What others note on it, as their own labels and annotations, decides nothing. Of an object of which only a part is ours, the rest is its owner's.
fn differences(held: &Value, wanted: &Object, fields: &mut Vec<Field>) {
    let beside = if wanted.is_part() { Beside::IsTheirs } else { Beside::Counts };
    differ("", held, wanted.body(), beside, fields);
    if beside == Beside::Counts {
        let group = wanted.api_version().split_once('/').map_or("", |(group, _)| group);
        for name in ["ownerReferences", "finalizers"] {
            let entries = held.pointer(&format!("/metadata/{name}"));
            let foreign = entries.filter(|entries| says_something(name, entries) && !all_of(group, entries));
            fields.extend(foreign.map(|entries| Field {
                path: format!("metadata.{name}"),
                from: entries.clone(),
                to: Value::Null,
            }));
        }
    }
    // The digest of the intent differs wherever anything else does. Alone, it was edited, or something was that is no longer there.
    let digest = |object: &Value| object.pointer("/metadata/annotations").and_then(|a| a.get(INTENT)).cloned();
    let (from, to) = (digest(held), digest(wanted.body()));
    if fields.is_empty() && from != to {
        let path = format!("metadata.annotations.{INTENT}");
        fields.push(Field { path, from: from.unwrap_or_default(), to: to.unwrap_or_default() });
    }
}

/// Whether these are finalizers of the engine whose kind it is, as `clusterimagepolicies.policy.sigstore.dev` of `policy.sigstore.dev`: engines hold their
/// own objects back until they have let go of them.
fn all_of(group: &str, finalizers: &Value) -> bool {
    let within =
        |part: &str, whole: &str| part == whole || part.strip_suffix(whole).is_some_and(|rest| rest.ends_with('.'));
    let of_engine = |finalizer: &str| {
        let domain = finalizer.split('/').next().unwrap_or_default();
        domain.contains('.') && (within(domain, group) || within(group, domain))
    };
    finalizers.as_array().is_some_and(|all| all.iter().all(|finalizer| finalizer.as_str().is_some_and(of_engine)))
}

/// Whether fields that are not wanted count.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Beside {
    Counts,
    IsTheirs,
}

impl Beside {
    fn counts(self, path: &str, name: &str) -> bool {
        self == Self::Counts
            && match path {
                "" => !matches!(name, "apiVersion" | "kind" | "metadata" | "status"),
                "metadata" => false,
                "metadata.labels" | "metadata.annotations" => name.starts_with("holdfast.dev/"),
                _ => true,
            }
    }
}

/// Every wanted field that is absent or another, and every field beside them that counts.
fn differ(path: &str, held: &Value, wanted: &Value, beside: Beside, fields: &mut Vec<Field>) {
    match (held, wanted) {
        (Value::Object(held), Value::Object(wanted)) => {
            let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
            for (name, held) in held.iter().filter(|(name, held)| {
                !wanted.contains_key(*name) && says_something(name, held) && beside.counts(path, name)
            }) {
                fields.push(Field { path: below(name), from: held.clone(), to: Value::Null });
            }
            for (name, wanted) in wanted.iter().filter(|(name, _)| *name != INTENT) {
                differ(&below(name), held.get(name).unwrap_or(&Value::Null), wanted, beside, fields);
            }
        }
        (Value::Array(held), Value::Array(wanted)) if held.len() == wanted.len() => {
            for (at, (held, wanted)) in held.iter().zip(wanted).enumerate() {
                differ(&format!("{path}[{at}]"), held, wanted, beside, fields);
            }
        }
        (held, wanted) if held == wanted => {}
        (held, wanted) => fields.push(Field { path: path.to_owned(), from: held.clone(), to: wanted.clone() }),
    }
}

/// What the API server fills in by itself where nothing is said.
const DEFAULTS: [(&str, &str); 2] = [("scope", "*"), ("matchPolicy", "Equivalent")];

fn says_something(name: &str, value: &Value) -> bool {
    let is_empty = value.is_null()
        || value.as_object().is_some_and(serde_json::Map::is_empty)
        || value.as_array().is_some_and(Vec::is_empty)
        || (name == "immutable" && value == false);
    !is_empty && !DEFAULTS.iter().any(|(field, default)| name == *field && value.as_str() == Some(default))
}
