//! A document held to a structural schema, with the place of every fault.

use regex::Regex;
use serde_json::{Map, Value};

use super::strict::ApiError;

/// Walks `value` along `schema` and collects what does not fit.
pub(super) fn check(value: &Value, schema: &Value, path: &str, errors: &mut Vec<ApiError>) {
    let wrong = |detail: String| ApiError::Value { path: shown(path), detail };
    if value.is_null() && schema.get("nullable").and_then(Value::as_bool) == Some(true) {
        return;
    }
    let allowed = schema.get("enum").and_then(Value::as_array);
    if let Some(allowed) = allowed.filter(|allowed| !allowed.contains(value)) {
        let names: Vec<String> = allowed.iter().filter_map(Value::as_str).map(|name| format!("`{name}`")).collect();
        errors.push(wrong(format!("is one of {}", names.join(", "))));
        return;
    }
    match (schema.get("type").and_then(Value::as_str), value) {
        (Some("object"), Value::Object(object)) => check_object(object, schema, path, errors),
        (Some("array"), Value::Array(items)) => {
            errors.extend(bounds(items.len(), schema, ("minItems", "maxItems"), "entries").map(wrong));
            if let Some(item_schema) = schema.get("items") {
                for (index, item) in items.iter().enumerate() {
                    check(item, item_schema, &format!("{path}[{index}]"), errors);
                }
            }
        }
        (Some("string"), Value::String(text)) => {
            errors.extend(bounds(text.chars().count(), schema, ("minLength", "maxLength"), "characters").map(wrong));
            let pattern = schema.get("pattern").and_then(Value::as_str);
            let unmet = pattern.filter(|pattern| !Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(text)));
            errors.extend(unmet.map(hint).map(wrong));
        }
        (Some("integer"), Value::Number(number)) if number.is_i64() || number.is_u64() => {
            check_range(number.as_f64(), schema, &wrong, errors);
        }
        (Some("number"), Value::Number(number)) => check_range(number.as_f64(), schema, &wrong, errors),
        (Some("boolean"), Value::Bool(_)) | (None, _) => {}
        (Some(want), got) => {
            errors.push(wrong(format!("is {}, and {} was given", article(want), article(kind_of(got)))));
        }
    }
}

fn check_object(object: &Map<String, Value>, schema: &Value, path: &str, errors: &mut Vec<ApiError>) {
    let properties = schema.get("properties").and_then(Value::as_object);
    let additional = schema.get("additionalProperties");
    for (name, value) in object {
        let place = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match (properties.and_then(|p| p.get(name)), additional) {
            (Some(property), _) => check(value, property, &place, errors),
            (None, Some(Value::Object(_))) => check(value, additional.unwrap_or(&Value::Null), &place, errors),
            (None, Some(Value::Bool(true))) => {}
            // An object without properties, as metadata, is the API server's business.
            (None, _) => errors.extend(
                properties.map(|known| ApiError::UnknownField { path: place, nearest: nearest(name, known.keys()) }),
            ),
        }
    }
    for required in schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        if !object.contains_key(required) {
            let place = if path.is_empty() { required.to_owned() } else { format!("{path}.{required}") };
            errors.push(ApiError::MissingField { path: place });
        }
    }
    let most = schema.get("maxProperties").and_then(Value::as_u64);
    if most.is_some_and(|most| object.len() as u64 > most) {
        errors.push(ApiError::Value {
            path: shown(path),
            detail: format!("has more than {} entries", most.unwrap_or_default()),
        });
    }
}

fn check_range(number: Option<f64>, schema: &Value, wrong: &dyn Fn(String) -> ApiError, errors: &mut Vec<ApiError>) {
    let limit = |name: &str| schema.get(name).and_then(Value::as_f64);
    let Some(number) = number else { return };
    if limit("minimum").is_some_and(|least| number < least) || limit("maximum").is_some_and(|most| number > most) {
        let text = |limit: Option<f64>| limit.map_or_else(|| "any".to_owned(), |limit| limit.to_string());
        errors.push(wrong(format!("is from {} to {}", text(limit("minimum")), text(limit("maximum")))));
    }
}

fn bounds(len: usize, schema: &Value, (least, most): (&str, &str), what: &str) -> Option<String> {
    let limit = |name: &str| schema.get(name).and_then(Value::as_u64).and_then(|limit| usize::try_from(limit).ok());
    match (limit(least), limit(most)) {
        (Some(least), _) if len < least => Some(format!("has at least {least} {what}")),
        (_, Some(most)) if len > most => Some(format!("has at most {most} {what}, and {len} were given")),
        _ => None,
    }
}

/// What a pattern asks for, in words where they are known.
fn hint(pattern: &str) -> String {
    if pattern.contains("sha256:") {
        "is a digest: `sha256:` and 64 lower-case hex digits".to_owned()
    } else if pattern == "^[0-9a-f]{64}$" {
        "is 64 lower-case hex digits".to_owned()
    } else if pattern.contains("h)?") {
        "is a duration in hours, minutes and seconds, as `72h` or `1h30m`; days are written in hours".to_owned()
    } else {
        format!("does not match `{pattern}`")
    }
}

fn shown(path: &str) -> String {
    if path.is_empty() { "the document".to_owned() } else { path.to_owned() }
}

const fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn article(kind: &str) -> String {
    match kind {
        "null" => "nothing".to_owned(),
        "array" => "a list".to_owned(),
        "integer" => "a whole number".to_owned(),
        "object" => "a mapping".to_owned(),
        "boolean" => "true or false".to_owned(),
        "string" => "text".to_owned(),
        other => format!("a {other}"),
    }
}

/// The known name nearest to `name`, if any is near enough to be meant.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> Option<String> {
    let lower = name.to_lowercase();
    known
        .map(|candidate| (strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()), candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= 2.max(candidate.chars().count() / 3))
        .map(|(_, candidate)| candidate.clone())
}
