//! One Kubernetes manifest.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use holdfast_core::api::strict::{ApiError, decode, is_ours};
use holdfast_core::coverage::Workload;
use serde_json::Value;

use super::{GitOps, Place, pods};

/// How deep `List`s may nest.
pub(super) const MAX_LISTS: usize = 8;

/// What is wrong with a manifest.
#[derive(Debug)]
pub(super) enum ManifestError {
    /// Faults of one of our own objects.
    Ours { what: String, errors: Vec<ApiError> },
    /// A manifest that is not one.
    Other(String),
}

/// Takes one manifest into `found`.
pub(super) fn take(manifest: &Value, place: &Place, found: &mut GitOps) -> Result<(), ManifestError> {
    take_nested(manifest, place, found, 0)
}

fn take_nested(manifest: &Value, place: &Place, found: &mut GitOps, depth: usize) -> Result<(), ManifestError> {
    if manifest.is_null() {
        return Ok(());
    }
    let Some(kind) = text(manifest, "/kind") else {
        return Err(ManifestError::Other("it is not a Kubernetes manifest: it has no `kind`".to_owned()));
    };
    if is_ours(manifest) {
        let what = format!("{kind}/{}", text(manifest, "/metadata/name").unwrap_or("?"));
        let object = decode(manifest).map_err(|errors| ManifestError::Ours { what, errors })?;
        once(manifest, "", place, found)?;
        found.objects.push((place.clone(), object));
        return Ok(());
    }
    if kind.ends_with("List") && manifest.get("items").is_some_and(Value::is_array) {
        if depth >= MAX_LISTS {
            return Err(ManifestError::Other(format!("lists nest deeper than {MAX_LISTS} levels")));
        }
        return manifest
            .get("items")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .try_for_each(|item| take_nested(item, place, found, depth + 1));
    }
    for field in ["/metadata/name", "/metadata/namespace"] {
        // `namespace: n` is a truth value in YAML; a default in its place would judge it elsewhere.
        if manifest.pointer(field).is_some_and(|value| !value.is_string() && !value.is_null()) {
            let field = field.trim_start_matches('/').replace('/', ".");
            return Err(ManifestError::Other(format!("the `{field}` of this {kind} is not text; put it in quotes")));
        }
    }
    let name =
        text(manifest, "/metadata/name").or_else(|| text(manifest, "/metadata/generateName")).unwrap_or("?").to_owned();
    let namespace = text(manifest, "/metadata/namespace").unwrap_or("default").to_owned();
    // A kind of another group that is named like a built-in one has a form of its own.
    let built_in = matches!(group(manifest), "" | "apps" | "batch" | "extensions" | "apiextensions.k8s.io");
    let pod = match if built_in { kind } else { "" } {
        "Pod" => manifest.get("spec"),
        "PodTemplate" => manifest.pointer("/template/spec"),
        "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet" | "ReplicationController" | "Job" => {
            manifest.pointer("/spec/template/spec")
        }
        "CronJob" => manifest.pointer("/spec/jobTemplate/spec/template/spec"),
        "Namespace" => {
            return namespace_labels(manifest, &name, place, found);
        }
        "CustomResourceDefinition" => {
            found.others += 1;
            return Ok(());
        }
        "ConfigMap" | "Secret" => {
            once(manifest, &namespace, place, found)?;
            let data =
                data(manifest, kind == "Secret").map_err(|e| ManifestError::Other(format!("{kind}/{name}: {e}")))?;
            let store = if kind == "Secret" { &mut found.secrets } else { &mut found.config_maps };
            store.insert((namespace, name), data);
            return Ok(());
        }
        _ => return of_unknown_kind(manifest, &Workload { namespace, kind: kind.to_owned(), name }, place, found),
    };
    let Some(pod) = pod else {
        return Err(ManifestError::Other(format!("{kind}/{name} has no pod specification where its kind has one")));
    };
    once(manifest, &namespace, place, found)?;
    let workload = Workload { namespace, kind: kind.to_owned(), name };
    let images = pods::images(pod).map_err(|e| ManifestError::Other(format!("{workload}: {e}")))?;
    for (container, image) in images {
        found.inventory.add(&workload, container, image);
    }
    Ok(())
}

/// A kind that is not built in brings in whatever it has the form of: pods are made from it by a controller that is not known here.
fn of_unknown_kind(
    manifest: &Value,
    workload: &Workload,
    place: &Place,
    found: &mut GitOps,
) -> Result<(), ManifestError> {
    let pods::Anywhere { images, unread } =
        pods::images_anywhere(manifest).map_err(|e| ManifestError::Other(format!("{workload}: {e}")))?;
    found.unread.extend(unread.iter().map(|what| format!("{place}: {workload}: {what}")));
    if images.is_empty() {
        found.others += 1;
        return Ok(());
    }
    once(manifest, &workload.namespace, place, found)?;
    for (container, image) in images {
        found.inventory.add(workload, &container, &image);
    }
    Ok(())
}

/// Refuses a second object of one name: which of the two a cluster ends up with is a matter of the order in which they are applied.
fn once(manifest: &Value, namespace: &str, place: &Place, found: &mut GitOps) -> Result<(), ManifestError> {
    let (Some(kind), Some(name)) = (text(manifest, "/kind"), text(manifest, "/metadata/name")) else { return Ok(()) };
    let key = [group(manifest), kind, namespace, name].map(str::to_owned);
    if let Some(first) = found.seen.get(&key) {
        return Err(ManifestError::Other(format!("{kind} `{name}` is declared before, in {first}")));
    }
    found.seen.insert(key, place.clone());
    Ok(())
}

/// Several teams may declare one namespace, as long as they say the same of it.
fn namespace_labels(manifest: &Value, name: &str, place: &Place, found: &mut GitOps) -> Result<(), ManifestError> {
    let before = found.inventory.labels(name).cloned();
    found.inventory.add_namespace(name, labels(manifest));
    let key = ["", "Namespace", "", name].map(str::to_owned);
    match found.seen.get(&key) {
        Some(first) if before.as_ref() != found.inventory.labels(name) => {
            Err(ManifestError::Other(format!("Namespace `{name}` is declared with other labels before, in {first}")))
        }
        Some(_) => Ok(()),
        None => {
            found.seen.insert(key, place.clone());
            Ok(())
        }
    }
}

/// The group of a manifest's kind, whatever the version: an object has one name in all of them.
pub(super) fn group(manifest: &Value) -> &str {
    text(manifest, "/apiVersion").and_then(|version| version.split_once('/')).map_or("", |(group, _)| group)
}

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str)
}

fn labels(manifest: &Value) -> BTreeMap<String, String> {
    let labels = manifest.pointer("/metadata/labels").and_then(Value::as_object).into_iter().flatten();
    labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

fn data(manifest: &Value, data_is_base64: bool) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let mut data = BTreeMap::new();
    for (field, is_base64) in [("data", data_is_base64), ("binaryData", true), ("stringData", false)] {
        for (key, value) in manifest.get(field).and_then(Value::as_object).into_iter().flatten() {
            let text = value.as_str().ok_or_else(|| format!("`{field}.{key}` is not text"))?;
            let bytes = if is_base64 {
                STANDARD
                    .decode(text.split_whitespace().collect::<String>())
                    .map_err(|e| format!("`{field}.{key}` is not base64: {e}"))?
            } else {
                text.as_bytes().to_vec()
            };
            data.insert(key.clone(), bytes);
        }
    }
    Ok(data)
}
