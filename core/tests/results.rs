//! What a scan found, as report objects: nothing is told better than it is, equal findings are equal objects, and the real definitions take them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test that cannot go on fails

#[path = "support/schema.rs"]
mod schema;

use std::collections::{BTreeMap, HashMap};

use holdfast_core::Digest;
use holdfast_core::api::BundleCoverageReport;
use holdfast_core::coverage::results::{
    MAX_RESULTS, MAX_SIZE, ReportKind, ReportObject, Settling, There, read, reports, settle,
};
use holdfast_core::coverage::{Coverage, ImageResult, ObjectId, PolicyVerdict, STATIC_POD, Totals, Workload};
use holdfast_core::verify::{Outcome, Reason};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry};
use proptest::prelude::*;
use schema::Schemas;
use serde_json::{Value, json};

const UID: &str = "0b1f5e2c-8a60-4f3e-9d2b-6a1c0f7e4d11";

fn bcr(per_namespace: bool) -> BundleCoverageReport {
    serde_json::from_value(json!({
        "apiVersion": "holdfast.dev/v1alpha1", "kind": "BundleCoverageReport",
        "metadata": {"name": "cluster", "uid": "c0ffee00-0000-4000-8000-000000000001"},
        "spec": {"publish": {"openReports": true, "perNamespace": per_namespace}},
    }))
    .unwrap()
}

fn workload(namespace: &str, kind: &str, name: &str) -> Workload {
    Workload { namespace: namespace.to_owned(), kind: kind.to_owned(), name: name.to_owned() }
}

fn image(name: &str, verdicts: &[(&str, Reason)], workloads: &[Workload]) -> ImageResult {
    let digest = Digest::of(name.as_bytes());
    let rank = |reason: Reason| match reason.outcome() {
        Outcome::Uncovered => 2,
        Outcome::Unknown => 1,
        Outcome::Covered => 0,
    };
    let worst = verdicts.iter().map(|(_, reason)| *reason).max_by_key(|reason| rank(*reason)).unwrap();
    let verdict = |(policy, reason): &(&str, Reason)| PolicyVerdict {
        policy: (*policy).to_owned(),
        reason: *reason,
        message: format!("{reason} it is"),
        signers: if *reason == Reason::Verified { vec!["web-release".to_owned()] } else { Vec::new() },
    };
    ImageResult {
        image: format!("registry.corp.internal/{name}@{digest}"),
        runs: None,
        digest: Some(digest),
        outcome: worst.outcome(),
        reason: worst,
        message: String::new(),
        owner: worst.owner(),
        policies: verdicts.iter().map(verdict).collect(),
        workloads: workloads.to_vec(),
        by_tag: false,
    }
}

fn coverage(images: Vec<ImageResult>) -> Coverage {
    Coverage {
        totals: Totals::default(),
        by_reason: Vec::new(),
        by_namespace: Vec::new(),
        images,
        denied_as_other: Vec::new(),
        perhaps_denied_as_other: Vec::new(),
    }
}

fn small() -> (Coverage, HashMap<Workload, ObjectId>) {
    let (api, job, etcd) = (
        workload("billing", "Deployment", "api"),
        workload("billing", "CronJob", "report"),
        workload("kube-system", STATIC_POD, "etcd-a"),
    );
    let mut by_tag = image("tools", &[("apps", Reason::DigestUnresolved)], std::slice::from_ref(&job));
    by_tag = ImageResult { image: "registry.corp.internal/tools:1.2".to_owned(), ..by_tag };
    by_tag.digest = None;
    by_tag.by_tag = true;
    let mut other = image("etcd", &[("nodes", Reason::MissingBundle)], std::slice::from_ref(&etcd));
    other.runs = Some(Digest::of(b"what runs"));
    let images = vec![
        other,
        by_tag,
        image("api", &[("apps", Reason::Verified), ("base", Reason::IdentityMismatch)], &[api.clone(), job.clone()]),
    ];
    let id = ObjectId { api_version: "apps/v1".to_owned(), kind: "Deployment".to_owned(), uid: UID.to_owned() };
    (coverage(images), HashMap::from([(api, id)]))
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn all(per_namespace: bool, kind: ReportKind) -> Vec<ReportObject> {
    let (coverage, objects) = small();
    reports(&bcr(per_namespace), &coverage, &objects, kind, at(1_796_000_000))
}

fn results(object: &Value) -> &[Value] {
    object["results"].as_array().unwrap()
}

fn counts(object: &Value) -> BTreeMap<&str, u64> {
    let mut counts = BTreeMap::from([("pass", 0), ("fail", 0), ("warn", 0), ("error", 0), ("skip", 0)]);
    for result in results(object) {
        *counts.get_mut(result["result"].as_str().unwrap()).unwrap() += 1;
    }
    counts
}

#[test]
fn one_of_each_kind() {
    let bodies = |reports: Vec<ReportObject>| reports.into_iter().map(|report| report.body).collect::<Vec<_>>();
    insta::assert_yaml_snapshot!("open_reports_per_workload", bodies(all(true, ReportKind::OpenReports)));
    insta::assert_yaml_snapshot!("policy_reports_of_the_cluster", bodies(all(false, ReportKind::PolicyReport)));
    for (per_namespace, kind, want) in
        [(true, ReportKind::PolicyReport, "PolicyReport"), (false, ReportKind::OpenReports, "ClusterReport")]
    {
        for report in all(per_namespace, kind) {
            assert_eq!(report.body["kind"], want);
            assert_eq!(report.body["metadata"]["annotations"]["holdfast.dev/intent"], json!(report.intent));
            assert_eq!(report.namespace.is_some(), per_namespace);
        }
    }
}

#[test]
fn the_real_definitions_take_them() {
    for (module, kind) in
        [("openreports-v0.2.1", ReportKind::OpenReports), ("wgpolicyk8s-v1.19.1", ReportKind::PolicyReport)]
    {
        let Some(schemas) = Schemas::of(module) else { return };
        for per_namespace in [true, false] {
            for report in all(per_namespace, kind).into_iter().chain(large(per_namespace, kind)) {
                let faults = schemas.faults(&report.body);
                assert!(faults.is_empty(), "{module} {}: {faults:?}", report.name);
            }
        }
    }
}

#[test]
fn when_it_was_scanned_is_no_part_of_the_intent() {
    let (coverage, objects) = small();
    for kind in ReportKind::ALL {
        let of = |seconds| reports(&bcr(true), &coverage, &objects, kind, at(seconds));
        let (first, second) = (of(1_796_000_000), of(1_796_003_600));
        let intents = |reports: &[ReportObject]| reports.iter().map(|report| report.intent).collect::<Vec<_>>();
        assert_eq!(intents(&first), intents(&second));
        assert_eq!(first[0].body["results"][0]["timestamp"], json!({"seconds": 1_796_000_000, "nanos": 0}));
    }
}

#[test]
fn the_order_of_images_is_no_part_of_the_intent() {
    let (mut coverage, objects) = small();
    let of = |coverage: &Coverage| reports(&bcr(false), coverage, &objects, ReportKind::OpenReports, at(1));
    let before = of(&coverage);
    coverage.images.reverse();
    assert_eq!(before, of(&coverage));
}

#[test]
fn two_that_claim_one_uid_are_two_reports() {
    let workloads = [workload("a", "Deployment", "api"), workload("a", "Deployment", "forged")];
    let id = || ObjectId { api_version: "apps/v1".to_owned(), kind: "Deployment".to_owned(), uid: UID.to_owned() };
    let objects: HashMap<_, _> = workloads.iter().map(|workload| (workload.clone(), id())).collect();
    let found = coverage(vec![image("x", &[("p", Reason::Verified)], &workloads)]);
    let reports = reports(&bcr(true), &found, &objects, ReportKind::OpenReports, at(1));
    assert_eq!(reports[0].name, format!("holdfast.{UID}.cluster"));
    assert_ne!(reports[0].name, reports[1].name);
}

/// More than fits by number, and more than fits by size.
fn large(per_namespace: bool, kind: ReportKind) -> Vec<ReportObject> {
    [3000, 1500]
        .into_iter()
        .flat_map(|count| {
            let all = [workload("a", "Deployment", "api")];
            let images = (0..count).map(|number| {
                let reason = if number % 3 == 0 { Reason::MissingBundle } else { Reason::Verified };
                let mut image = image(&format!("{number:04}"), &[("p", reason)], &all);
                if count == 1500 {
                    image.policies[0].message = "ü\n".repeat(2000);
                }
                image
            });
            reports(&bcr(per_namespace), &coverage(images.collect()), &HashMap::new(), kind, at(1_796_000_000))
        })
        .collect()
}

#[test]
fn what_does_not_fit_is_said_and_what_passes_is_left_out_first() {
    for report in large(true, ReportKind::OpenReports) {
        let body = &report.body;
        assert!(body.to_string().len() <= MAX_SIZE && results(body).len() <= MAX_RESULTS);
        assert_eq!(body["summary"], json!(counts(body)));
        assert_eq!(body["summary"]["warn"], 1);
        let last = results(body).last().unwrap();
        assert_eq!(
            (&last["result"], &last["scored"], &last["rule"]),
            (&json!("warn"), &json!(false), &json!("ResultsLeftOut"))
        );
        let passes = body["summary"]["pass"].as_u64().unwrap();
        let fails = body["summary"]["fail"].as_u64().unwrap();
        let read = read(body);
        assert!([3000, 1500].contains(&(read.lines.len() + read.left_out)));
        assert!(fails == 1000 || fails == 500 && passes > 0 || passes == 0, "{fails} {passes}");
    }
}

#[test]
fn what_somebody_else_wrote_into_it_is_not_believed() {
    let report = all(true, ReportKind::OpenReports).remove(0);
    let lines = read(&report.body).lines.len();
    let mut body = report.body;
    for result in body["results"].as_array_mut().unwrap() {
        result["result"] = json!("pass");
    }
    let read = read(&body);
    assert!(read.lines.iter().all(|line| line.reason == Reason::Verified));
    assert_eq!(read.lines.len() + read.unreadable, lines);
    assert!(read.unreadable > 0);
}

prop_compose! {
    fn any_image()(
        name in "[a-z]{1,8}",
        verdicts in prop::collection::btree_map("[a-z]{1,3}", prop::sample::select(Reason::ALL), 1..4),
        workloads in prop::collection::btree_set(("[ab]{1,2}", "[cd]{1,2}", prop::sample::select(vec!["Deployment", STATIC_POD])), 1..4),
        by_tag: bool,
    ) -> ImageResult {
        let verdicts: Vec<(&str, Reason)> = verdicts.iter().map(|(name, reason)| (name.as_str(), *reason)).collect();
        let workloads: Vec<Workload> = workloads.iter().map(|(namespace, name, kind)| workload(namespace, kind, name)).collect();
        ImageResult { by_tag, ..image(&name, &verdicts, &workloads) }
    }
}

proptest! {
    #[test]
    fn nothing_is_told_better_than_it_is(
        images in prop::collection::btree_map("[a-z]{3}", any_image(), 0..8),
        per_namespace: bool,
        kind in prop::sample::select(ReportKind::ALL.to_vec()),
    ) {
        let images: Vec<ImageResult> = images.into_iter().map(|(name, image)| ImageResult { image: name, ..image }).collect();
        let of: HashMap<String, &ImageResult> = images.iter().map(|image| (image.image.clone(), image)).collect();
        let mut told: HashMap<(String, Workload, String), Reason> = HashMap::new();
        let reports = reports(&bcr(per_namespace), &coverage(images.clone()), &HashMap::new(), kind, at(1));
        let mut names: Vec<_> = reports.iter().map(|report| (&report.namespace, &report.name)).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        prop_assert_eq!(names.len(), count);
        for report in &reports {
            let body = &report.body;
            prop_assert_eq!(&body["summary"], &json!(counts(body)));
            for result in results(body) {
                let image = of[result["properties"]["image"].as_str().unwrap()];
                let verdict = image.policies.iter().find(|verdict| result["policy"] == json!(verdict.policy)).unwrap();
                let covers = verdict.reason.outcome() == Outcome::Covered;
                prop_assert_eq!(result["result"] == json!("pass"), covers);
                prop_assert!(image.outcome != Outcome::Covered || result["result"] == json!("pass"));
            }
            let read = read(body);
            prop_assert_eq!((read.left_out, read.unreadable), (0, 0));
            for line in read.lines {
                prop_assert!(told.insert((line.image, line.workload, line.policy), line.reason).is_none());
            }
        }
        let want: HashMap<_, _> = images
            .iter()
            .flat_map(|image| image.workloads.iter().map(move |workload| (image, workload)))
            .flat_map(|(image, workload)| image.policies.iter().map(move |verdict| {
                ((image.image.clone(), workload.clone(), verdict.policy.clone()), verdict.reason)
            }))
            .collect();
        prop_assert_eq!(told, want);
    }
}

const MANAGER: &str = "holdfast.dev/controller";

/// A report as the API server has it after it was applied.
fn applied(report: &ReportObject) -> There {
    let leaves = |value: &Value| {
        let fields = value.as_object().unwrap().keys().map(|name| (format!("f:{name}"), json!({})));
        Value::Object(fields.collect())
    };
    let body = report.body.as_object().unwrap();
    let mut fields = serde_json::Map::new();
    for (name, value) in body.iter().filter(|(name, _)| *name != "apiVersion" && *name != "kind") {
        let of = match name.as_str() {
            "metadata" => json!({
                "f:annotations": {".": {}, "f:holdfast.dev/intent": {}},
                "f:labels": {".": {}, "f:app.kubernetes.io/managed-by": {}, "f:holdfast.dev/report": {}},
                "f:ownerReferences": {".": {}, "k:{\"uid\":\"a\"}": {}},
            }),
            "summary" => leaves(value),
            _ => json!({}),
        };
        fields.insert(format!("f:{name}"), of);
    }
    There {
        kind: report.kind,
        namespace: report.namespace.clone(),
        name: report.name.clone(),
        uid: "u".to_owned(),
        resource_version: "7".to_owned(),
        intent: Some(report.intent.to_string()),
        managed: vec![entry(MANAGER, Value::Object(fields))],
    }
}

fn entry(manager: &str, fields: Value) -> ManagedFieldsEntry {
    ManagedFieldsEntry {
        manager: Some(manager.to_owned()),
        operation: Some("Apply".to_owned()),
        fields_v1: Some(FieldsV1(fields)),
        ..ManagedFieldsEntry::default()
    }
}

#[test]
fn what_is_as_it_is_wanted_is_left_alone() {
    for kind in ReportKind::ALL {
        for per_namespace in [true, false] {
            let wanted = all(per_namespace, kind);
            let mut there: Vec<There> = wanted.iter().map(applied).collect();
            // Others may lay labels over it, or say the same.
            there[0]
                .managed
                .push(entry("kubectl", json!({"f:metadata": {"f:labels": {"f:team": {}}}, "f:results": {}})));
            assert_eq!(settle(&wanted, &there, MANAGER), Settling::default());
        }
    }
}

#[test]
fn what_differs_is_written_and_what_is_not_wanted_goes() {
    let (wanted, old) = (all(true, ReportKind::OpenReports), all(true, ReportKind::PolicyReport));
    let settling = settle(&wanted, &[], MANAGER);
    assert!(settling.writes.iter().all(|write| write.over.is_none() && !write.puts_back));
    assert_eq!((settling.writes.len(), settling.removals.len()), (wanted.len(), 0));

    let before: Vec<There> = old.iter().map(applied).collect();
    let settling = settle(&wanted, &before, MANAGER);
    assert_eq!(
        (settling.writes.len(), settling.removals.len()),
        (wanted.len(), old.len()),
        "the other kind is another object"
    );

    let mut there: Vec<There> = wanted.iter().map(applied).collect();
    there[1].intent = Some(Digest::of(b"as it was found before").to_string());
    let settling = settle(&wanted, &there, MANAGER);
    assert_eq!(settling.writes.len(), 1);
    assert!(settling.writes[0].over == Some(&there[1]) && !settling.writes[0].puts_back, "nobody else changed it");
    assert!(settle(&[], &there, MANAGER).removals.len() == there.len());
}

#[test]
fn whatever_field_somebody_else_wrote_is_put_back() {
    let wanted = all(true, ReportKind::OpenReports);
    for pointer in [
        "/f:results",
        "/f:scope",
        "/f:source",
        "/f:summary/f:fail",
        "/f:metadata/f:ownerReferences",
        "/f:metadata/f:labels/f:holdfast.dev~1report",
        "/f:metadata/f:annotations/f:holdfast.dev~1intent",
    ] {
        let mut there: Vec<There> = wanted.iter().map(applied).collect();
        let fields = &mut there[0].managed[0].fields_v1.as_mut().unwrap().0;
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let parent = fields.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        assert!(parent.remove(&name.replace("~1", "/")).is_some(), "{pointer}");
        if pointer.ends_with("intent") {
            there[0].intent = Some("sha256:another".to_owned());
        }
        let settling = settle(&wanted, &there, MANAGER);
        assert!(settling.writes.len() == 1 && settling.writes[0].puts_back, "{pointer}");
    }
    let mut there: Vec<There> = wanted.iter().map(applied).collect();
    there[0].managed.clear();
    assert!(settle(&wanted, &there, MANAGER).writes[0].puts_back, "nothing says that it is whole");
}

#[test]
fn a_report_says_which_namespace_it_is_about() {
    for per_namespace in [true, false] {
        for report in all(per_namespace, ReportKind::OpenReports) {
            assert!(["billing", "kube-system"].contains(&report.about()), "{}", report.name);
            assert_eq!(applied(&report).about(), report.about());
        }
    }
}
