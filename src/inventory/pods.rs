//! The images in a pod specification, where it is known to be one and where it only has the form of one.

use serde_json::Value;

/// How deep a manifest of an unknown kind is searched.
const MAX_DEPTH: usize = 64;
const CONTAINERS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// Every image a pod brings in by reference, with its container or volume: containers of all three kinds, and image volumes.
pub(super) fn images(pod: &Value) -> Result<Vec<(&str, &str)>, String> {
    let mut images = Vec::new();
    for list in CONTAINERS {
        for container in items(pod, list)? {
            // A container without an image gets one later, from a controller; there is nothing to judge yet.
            if let Some(image) = container.get("image") {
                images.push(named(container, image)?);
            }
        }
    }
    for volume in items(pod, "volumes")? {
        if let Some(reference) = volume.pointer("/image/reference") {
            images.push(named(volume, reference)?);
        }
    }
    Ok(images)
}

fn items<'a>(pod: &'a Value, list: &str) -> Result<&'a [Value], String> {
    match pod.get(list) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(_) => Err(format!("`{list}` is not a list")),
    }
}

fn named<'a>(holder: &'a Value, image: &'a Value) -> Result<(&'a str, &'a str), String> {
    let name = name(holder);
    match image.as_str() {
        Some(image) => Ok((name, image)),
        None => Err(format!("the image of `{name}` is not text; put it in quotes")),
    }
}

fn name(holder: &Value) -> &str {
    holder.get("name").and_then(Value::as_str).unwrap_or("?")
}

/// Every image in whatever has the form of a pod specification, anywhere below an object of a kind that is not known.
///
/// An image that is not text is given as it is written: it cannot be read as an image, so it is unknown to every policy. A text with `*`, `?` or `!` is a
/// pattern, as policies of other engines have them; no runtime can pull it.
pub(super) fn images_anywhere(manifest: &Value) -> Result<Vec<(String, String)>, String> {
    let mut images = Vec::new();
    for (field, value) in manifest.as_object().into_iter().flatten() {
        if !matches!(field.as_str(), "metadata" | "status") {
            search(field, value, 0, &mut images)?;
        }
    }
    Ok(images)
}

fn search(field: &str, value: &Value, depth: usize, images: &mut Vec<(String, String)>) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err(format!("it nests deeper than {MAX_DEPTH} levels, and no further is searched for images"));
    }
    if CONTAINERS.contains(&field) {
        for container in holders(value, "image") {
            add(container, container.get("image"), images);
        }
    } else if field == "volumes" {
        for volume in holders(value, "image") {
            add(volume, volume.pointer("/image/reference"), images);
        }
    }
    match value {
        Value::Array(items) => items.iter().try_for_each(|item| search("", item, depth + 1, images)),
        Value::Object(fields) => fields.iter().try_for_each(|(field, value)| search(field, value, depth + 1, images)),
        _ => Ok(()),
    }
}

/// The containers in a list, in an object by name, or the one that stands alone.
fn holders<'a>(value: &'a Value, mark: &str) -> Vec<&'a Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(_) if value.get(mark).is_some() => vec![value],
        Value::Object(fields) => fields.values().collect(),
        _ => Vec::new(),
    }
}

fn add(holder: &Value, image: Option<&Value>, images: &mut Vec<(String, String)>) {
    let image = match image {
        None | Some(Value::Null) => return,
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    if !image.contains(['*', '?', '!']) {
        images.push((name(holder).to_owned(), image));
    }
}
