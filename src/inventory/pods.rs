//! The images in a pod specification, where it is known to be one and where it only has the form of one.

use serde_json::Value;

use super::manifest::group;
use super::walk::yaml;

/// How deep a manifest of an unknown kind is searched.
const MAX_DEPTH: usize = 64;
const CONTAINERS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// Where kinds of one API group bring in images besides the fields of a pod.
struct Form {
    group: &'static str,
    /// Fields with a list of containers.
    lists: &'static [&'static str],
    /// Fields that are one container.
    single: &'static [&'static str],
    /// Fields with manifests written as text.
    texts: &'static [&'static str],
}

const FORMS: [Form; 2] = [
    // Task, TaskRun, Pipeline, PipelineRun, StepAction; and what triggers make of them.
    Form { group: "tekton.dev", lists: &["steps", "sidecars"], single: &["stepTemplate", "spec"], texts: &[] },
    // Workflow, WorkflowTemplate, ClusterWorkflowTemplate, CronWorkflow; and what sensors make of them.
    Form { group: "argoproj.io", lists: &["sidecars"], single: &["container", "script"], texts: &["manifest"] },
];

/// The form of a group and of the groups below it.
fn form(group: &str) -> Option<&'static Form> {
    FORMS
        .iter()
        .find(|form| group == form.group || group.strip_suffix(form.group).is_some_and(|rest| rest.ends_with('.')))
}

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

/// Every image in whatever has the form of a pod specification, or of what its API group has in its place, anywhere below an object of a kind that is not
/// built in.
///
/// An image that is not text is given as it is written, and so is one with a parameter in it: it cannot be read as an image, so it is unknown to every
/// policy. Any other text with `*`, `?` or `!` is a pattern, as policies of other engines have them; no runtime can pull it.
pub(super) fn images_anywhere(manifest: &Value) -> Result<Anywhere, String> {
    let mut search = Search { form: form(group(manifest)), found: Anywhere::default() };
    for (field, value) in manifest.as_object().into_iter().flatten() {
        if !matches!(field.as_str(), "metadata" | "status") {
            search.below(field, value, 0)?;
        }
    }
    Ok(search.found)
}

/// What was found in an object of a kind that is not built in.
#[derive(Default)]
pub(super) struct Anywhere {
    /// Images, with their container.
    pub(super) images: Vec<(String, String)>,
    /// What may bring in more and cannot be read, in words.
    pub(super) unread: Vec<String>,
}

struct Search {
    form: Option<&'static Form>,
    found: Anywhere,
}

impl Search {
    fn below(&mut self, field: &str, value: &Value, depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err(format!("it nests deeper than {MAX_DEPTH} levels, and no further is searched for images"));
        }
        let form = self.form;
        let named_in =
            |fields: fn(&Form) -> &'static [&'static str]| form.is_some_and(|form| fields(form).contains(&field));
        if CONTAINERS.contains(&field) || named_in(|form| form.lists) {
            for container in holders(value, "image") {
                self.add(container, "?", container.get("image"));
            }
        } else if named_in(|form| form.single) {
            self.add(value, field, value.get("image"));
        } else if field == "volumes" {
            for volume in holders(value, "image") {
                self.add(volume, "?", volume.pointer("/image/reference"));
            }
        }
        match value {
            Value::String(text) if named_in(|form| form.texts) => self.in_text(field, text, depth),
            Value::Array(items) => items.iter().try_for_each(|item| self.below("", item, depth + 1)),
            Value::Object(fields) => fields.iter().try_for_each(|(field, value)| self.below(field, value, depth + 1)),
            _ => Ok(()),
        }
    }

    /// Manifests written as text have kinds, and so forms, of their own.
    fn in_text(&mut self, field: &str, text: &str, depth: usize) -> Result<(), String> {
        // A file may hold many of them: none grows beyond its own length by aliases.
        let documents = match yaml(text, text.len()) {
            Ok(documents) => documents,
            Err(detail) => {
                self.found.unread.push(format!("the `{field}` that it holds as text: {detail}"));
                return Ok(());
            }
        };
        let outer = self.form;
        for document in &documents {
            self.form = form(group(document));
            self.below("", document, depth + 1)?;
        }
        self.form = outer;
        Ok(())
    }

    fn add(&mut self, holder: &Value, otherwise: &str, image: Option<&Value>) {
        let image = match image {
            None | Some(Value::Null) => return,
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        let parameterised = image.contains("{{") || image.contains("$(");
        if parameterised || !image.contains(['*', '?', '!']) {
            let name = holder.get("name").and_then(Value::as_str).unwrap_or(otherwise);
            self.found.images.push((name.to_owned(), image));
        }
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
