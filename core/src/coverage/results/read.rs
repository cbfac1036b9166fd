//! Reports, read back: what was written, and nothing that contradicts itself.

use serde_json::Value;

use super::SOURCE;
use super::entry::{LEFT_OUT, Told, YES, property};
use crate::coverage::inventory::{STATIC_POD, Workload};
use crate::verify::Reason;

/// One image of one workload under one policy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line {
    /// The workload.
    pub workload: Workload,
    /// The image, as it is declared.
    pub image: String,
    /// What runs, where that is another.
    pub runs: Option<String>,
    /// The digest that was judged.
    pub digest: Option<String>,
    /// The policy.
    pub policy: String,
    /// The cause.
    pub reason: Reason,
    /// A sentence.
    pub message: String,
    /// Whose signatures were verified.
    pub signers: Option<String>,
    /// Whether it is declared by tag, so that no engine can admit it as it is declared.
    pub not_admissible_as_declared: bool,
    /// When the scan ended after which it was written, in seconds since 1970.
    pub found_at: Option<i64>,
}

/// What a report object says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Read {
    /// Its results.
    pub lines: Vec<Line>,
    /// How many more there were that did not fit into it.
    pub left_out: usize,
    /// How many are of no form that holdfast writes: somebody else changed them, or another release wrote them.
    pub unreadable: usize,
}

/// Reads a report object of any of the four kinds.
///
/// A report in a namespace is about that namespace whatever it says: whoever may write reports there has no say about others.
pub fn read(object: &Value) -> Read {
    let mut read = Read::default();
    let scope = object.get("scope");
    let namespace = object.pointer("/metadata/namespace").and_then(Value::as_str);
    for result in object.get("results").and_then(Value::as_array).into_iter().flatten() {
        if text(result, "rule") == LEFT_OUT && text(result, "result") == "warn" && text(result, "policy") == SOURCE {
            let count = property(result, property::LEFT_OUT).and_then(|count| count.parse().ok());
            read.left_out += count.unwrap_or(1);
            continue;
        }
        match line(result, scope, namespace) {
            Some(line) => read.lines.push(line),
            None => read.unreadable += 1,
        }
    }
    read
}

fn line(result: &Value, scope: Option<&Value>, namespace: Option<&str>) -> Option<Line> {
    let about = result.pointer("/resources/0").or(scope)?;
    let reason: Reason = serde_json::from_value(result.pointer("/properties/reason")?.clone()).ok()?;
    let told = serde_json::to_value(Told::from(reason.outcome())).ok()?;
    if result.get("result") != Some(&told) {
        return None;
    }
    let is = |name| property(result, name).as_deref() == Some(YES);
    let kind = if is(property::NOT_CONTROLLED) { STATIC_POD.to_owned() } else { text(about, "kind").to_owned() };
    Some(Line {
        workload: Workload {
            namespace: namespace.unwrap_or_else(|| text(about, "namespace")).to_owned(),
            kind,
            name: text(about, "name").to_owned(),
        },
        image: property(result, property::IMAGE)?,
        runs: property(result, property::RUNS),
        digest: property(result, property::DIGEST),
        policy: text(result, "policy").to_owned(),
        reason,
        message: text(result, "message").to_owned(),
        signers: property(result, property::SIGNERS),
        not_admissible_as_declared: is(property::NOT_ADMISSIBLE),
        found_at: result.pointer("/timestamp/seconds").and_then(Value::as_i64),
    })
}

fn property(result: &Value, name: &str) -> Option<String> {
    Some(result.get("properties")?.get(name)?.as_str()?.to_owned())
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}
