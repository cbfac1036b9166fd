//! One report object: within bounds, with counts that are those of its results, and marked as holdfast's.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::entry::{Entry, Reference, Told};
use super::{ReportKind, ReportObject, SOURCE};
use crate::Digest;
use crate::api::common::{HOLDFAST, INTENT, MANAGED_BY, REPORT};
use crate::api::{BundleCoverageReport, GROUP, VERSION};
use crate::coverage::inventory::{ObjectId, Workload};

/// How many results one object has, at most.
pub const MAX_RESULTS: usize = 2000;
/// How many bytes one object has as JSON, at most: the API server takes some 3 MB in a request, and etcd 1.5 MiB.
pub const MAX_SIZE: usize = 1_000_000;
/// What an object has around its results, in bytes, with room for what the API server adds.
const AROUND: usize = 16 * 1024;
/// What a time adds to a result, in bytes.
const TIME: usize = 64;

/// Where and what about a report is.
pub(super) struct Place<'a> {
    pub(super) report: &'a BundleCoverageReport,
    pub(super) kind: ReportKind,
    pub(super) namespace: Option<&'a str>,
    pub(super) name: String,
    pub(super) owner: Option<(&'a Workload, &'a ObjectId)>,
    pub(super) scope: Option<Reference>,
}

/// The object with these results; what does not fit is left out, and that is said.
pub(super) fn write(place: Place<'_>, entries: Vec<Entry>, scanned_at: Timestamp) -> ReportObject {
    let kept = bounded(entries, place.report.metadata.name.as_deref().unwrap_or_default());
    let summary = summary(&kept);
    let mut body = Map::new();
    body.insert("apiVersion".to_owned(), json!(place.kind.api_version()));
    body.insert("kind".to_owned(), json!(place.kind.kind(place.namespace.is_some())));
    body.insert("metadata".to_owned(), metadata(&place));
    if place.kind == ReportKind::OpenReports {
        body.insert("source".to_owned(), json!(SOURCE));
    }
    if let Some(scope) = &place.scope {
        body.insert("scope".to_owned(), json!(scope));
    }
    body.insert("summary".to_owned(), summary);
    body.insert("results".to_owned(), Value::Array(kept.into_iter().map(|entry| entry.value).collect()));
    let mut body = Value::Object(body);
    let intent = Digest::of(body.to_string().as_bytes());
    if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("annotations".to_owned(), json!({ INTENT: intent }));
    }
    // When it was found is no part of what was found.
    let time = json!({"seconds": scanned_at.as_second(), "nanos": 0});
    for result in body.get_mut("results").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(result) = result.as_object_mut() {
            result.insert("timestamp".to_owned(), time.clone());
        }
    }
    ReportObject { kind: place.kind, namespace: place.namespace.map(str::to_owned), name: place.name, intent, body }
}

fn metadata(place: &Place<'_>) -> Value {
    let report = &place.report.metadata;
    let owner = match place.owner {
        Some((workload, id)) => {
            Some(json!({"apiVersion": id.api_version, "kind": id.kind, "name": workload.name, "uid": id.uid}))
        }
        None => report.uid.as_ref().map(|uid| {
            json!({"apiVersion": format!("{GROUP}/{VERSION}"), "kind": "BundleCoverageReport", "name": report.name, "uid": uid})
        }),
    };
    let mut metadata = Map::new();
    metadata.insert("name".to_owned(), json!(place.name));
    if let Some(namespace) = place.namespace {
        metadata.insert("namespace".to_owned(), json!(namespace));
    }
    metadata.insert("labels".to_owned(), json!({MANAGED_BY: HOLDFAST, REPORT: report.name}));
    if let Some(owner) = owner {
        metadata.insert("ownerReferences".to_owned(), json!([owner]));
    }
    Value::Object(metadata)
}

fn bounded(mut entries: Vec<Entry>, report: &str) -> Vec<Entry> {
    entries.sort_by(|a, b| a.order().cmp(&b.order()));
    let mut size = AROUND;
    let fits = entries.iter().take_while(|entry| {
        size += entry.value.to_string().len() + TIME;
        size <= MAX_SIZE
    });
    let fits = fits.count();
    if fits < entries.len() || entries.len() > MAX_RESULTS {
        // One place is for the result that says so.
        let left_out = entries.split_off(fits.min(MAX_RESULTS - 1));
        entries.push(Entry::left_out(report, &left_out));
    }
    entries
}

fn summary(entries: &[Entry]) -> Value {
    let count = |told| entries.iter().filter(|entry| entry.told == told).count();
    json!({
        "pass": count(Told::Pass), "fail": count(Told::Fail), "warn": count(Told::Warn), "error": count(Told::Error), "skip": 0,
    })
}
