use std::collections::HashMap;

use holdfast_core::Digest;
use holdfast_core::api::BundleCoverageReport;
use holdfast_core::coverage::results::{Read, ReportKind, read as read_object, reports};
use holdfast_core::coverage::{Coverage, ImageResult, PolicyVerdict, STATIC_POD, Workload};
use holdfast_core::verify::{Outcome, Owner, Reason};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::model::{Filter, View};
use super::read::Gathered;
use super::{csv, markdown, table};
use crate::cli::output::{Exit, Style};

fn report(covered: u64, uncovered: u64, unknown: u64) -> BundleCoverageReport {
    let condition = |of: &str, message: &str| json!({"type": of, "status": "True", "reason": "EverythingSeen", "message": message, "lastTransitionTime": "2026-11-24T05:00:00Z"});
    serde_json::from_value(json!({
        "apiVersion": "holdfast.dev/v1alpha1", "kind": "BundleCoverageReport", "metadata": {"name": "cluster"}, "spec": {},
        "status": {
            "scan": {"startedAt": "2026-11-24T05:58:00Z", "finishedAt": "2026-11-24T06:00:00Z", "complete": true, "images": 4, "workloads": 3, "pods": 5},
            "totals": {"covered": covered, "uncovered": uncovered, "unknown": unknown, "outOfScope": 2, "ratio": "25.0%"},
            "byReason": [
                {"reason": "MissingBundle", "images": 1, "owner": "pipeline"}, {"reason": "SignatureInvalid", "images": 1, "owner": "security"},
                {"reason": "RegistryUnavailable", "images": 1, "owner": "platform"}, {"reason": "Verified", "images": 1, "owner": "nobody"},
            ],
            "conditions": [condition("Ready", "1 of 4 images in scope are covered"), condition("Complete", "4 images in 3 workloads with 5 pods"), condition("Fresh", "the last complete scan ended at 2026-11-24T06:00:00Z")],
        },
    }))
    .unwrap()
}

fn workload(namespace: &str, kind: &str, name: &str) -> Workload {
    Workload { namespace: namespace.to_owned(), kind: kind.to_owned(), name: name.to_owned() }
}

fn image(name: &str, reason: Reason, message: &str, workloads: &[Workload]) -> ImageResult {
    let digest = Digest::of(name.as_bytes());
    let signers = if reason == Reason::Verified { vec!["web-release".to_owned()] } else { Vec::new() };
    ImageResult {
        image: format!("registry.corp.internal/{name}@{digest}"),
        runs: None,
        digest: Some(digest),
        outcome: reason.outcome(),
        reason,
        message: message.to_owned(),
        owner: reason.owner(),
        policies: vec![PolicyVerdict { policy: "apps".to_owned(), reason, message: message.to_owned(), signers }],
        workloads: workloads.to_vec(),
        by_tag: false,
    }
}

fn details(kind: ReportKind, per_namespace: bool) -> Read {
    let (api, etcd) = (workload("billing", "Deployment", "api"), workload("kube-system", STATIC_POD, "etcd-a"));
    let night = workload("billing", "CronJob", "night");
    let mut by_tag =
        image("tools", Reason::RegistryUnavailable, "no answer within 5 seconds", std::slice::from_ref(&night));
    by_tag.by_tag = true;
    let mut swapped = image("etcd", Reason::SignatureInvalid, "=cmd|' /C calc'!A0 `x` @all <b>", &[etcd]);
    swapped.runs = Some(Digest::of(b"what runs"));
    let images = vec![
        image("api", Reason::MissingBundle, "nothing signed is stored for it", &[api.clone(), night]),
        swapped,
        by_tag,
        image("web", Reason::Verified, "signed by web-release", &[api]),
    ];
    let coverage = Coverage { images, ..Coverage::default() };
    let mut of = report(1, 2, 1);
    of.spec.publish.per_namespace = per_namespace;
    let objects = reports(&of, &coverage, &HashMap::new(), kind, "2026-11-24T06:00:00Z".parse().unwrap());
    let mut all = Read::default();
    for object in objects {
        let one = read_object(&object.body);
        all.lines.extend(one.lines);
    }
    all
}

fn now() -> Timestamp {
    "2026-11-24T06:04:00Z".parse().unwrap()
}

fn gathered(report: BundleCoverageReport) -> Gathered {
    let kind = Some("Report.openreports.io".to_owned());
    let status = report.status.unwrap_or_default();
    Gathered {
        name: "cluster".to_owned(),
        status,
        kind,
        missing: None,
        details: details(ReportKind::OpenReports, true),
    }
}

fn without_details() -> Gathered {
    let missing =
        Some("the cluster serves neither OpenReports nor PolicyReports, so details are written nowhere".to_owned());
    Gathered {
        name: "cluster".to_owned(),
        status: report(1, 2, 1).status.unwrap(),
        kind: None,
        missing,
        details: Read::default(),
    }
}

fn view(filter: Filter) -> View {
    View::of(vec![gathered(report(1, 2, 1))], filter, now())
}

fn printed(print: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) -> String {
    let mut out = Vec::new();
    print(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn as_table(view: &View) -> String {
    printed(|out| table::print(view, Style::of(false), out))
}

#[test]
fn a_table_for_a_person() {
    insta::assert_snapshot!("table", as_table(&view(Filter::default())));
    let only = Filter { owners: vec![Owner::Pipeline], ..Filter::default() };
    insta::assert_snapshot!("table_of_one_owner", as_table(&view(only)));
    insta::assert_snapshot!(
        "table_without_details",
        as_table(&View::of(vec![without_details()], Filter::default(), now()))
    );
    assert!(as_table(&View::of(Vec::new(), Filter::default(), now())).contains("nothing is scanned"));
}

#[test]
fn a_page_for_a_ticket() {
    let page = printed(|out| markdown::print(&view(Filter::default()), out));
    assert!(!page.contains("@all") && !page.contains("<b>"), "{page}");
    insta::assert_snapshot!("page", page);
    let only = Filter { namespaces: vec!["billing".to_owned()], ..Filter::default() };
    insta::assert_snapshot!("page_of_one_namespace", printed(|out| markdown::print(&view(only), out)));
}

#[test]
fn lines_for_an_auditor() {
    let lines = printed(|out| csv::print(&view(Filter::default()), out));
    assert_eq!(lines.matches("\r\n").count(), 1 + 5, "{lines}");
    assert!(lines.contains("\"'=cmd|"), "{lines}");
    insta::assert_snapshot!("csv", lines.replace("\r\n", "\n"));
}

#[test]
fn no_field_is_a_formula() {
    for (text, want) in [
        ("plain", "plain"),
        ("", ""),
        ("=1+1", "\"'=1+1\""),
        ("  @SUM(A1)", "\"'  @SUM(A1)\""),
        ("-1", "\"'-1\""),
        ("＋1", "\"'＋1\""),
        ("a,\"b\"", "\"a,\"\"b\"\"\""),
        ("a\r\n=1", "a\\r\\n=1"),
        ("\t=1", "\\t=1"),
        ("x ", "\"x \""),
    ] {
        assert_eq!(csv::field(text), want, "{text:?}");
    }
}

#[test]
fn json_for_programs() {
    insta::assert_json_snapshot!("json", view(Filter { reasons: vec![Reason::SignatureInvalid], ..Filter::default() }));
}

#[test]
fn every_kind_and_place_gives_the_same_lines() {
    let first = details(ReportKind::OpenReports, true);
    for (kind, per_namespace) in
        [(ReportKind::OpenReports, false), (ReportKind::PolicyReport, true), (ReportKind::PolicyReport, false)]
    {
        let mut other = details(kind, per_namespace);
        let mut lines = first.lines.clone();
        lines.sort();
        other.lines.sort();
        assert_eq!(other.lines, lines);
    }
}

#[test]
fn what_the_exit_code_says() {
    let exit = |gathered: Gathered, filter: Filter| View::of(vec![gathered], filter, now()).exit();
    let everything = Filter::default;
    assert_eq!(exit(gathered(report(1, 2, 1)), everything()), Exit::No);
    assert_eq!(exit(gathered(report(3, 0, 1)), everything()), Exit::Unknown);
    assert_eq!(exit(gathered(report(4, 0, 0)), everything()), Exit::Yes);
    for (condition, status) in [("Complete", "False"), ("Fresh", "Unknown")] {
        let mut stale = report(4, 0, 0);
        let conditions = &mut stale.status.as_mut().unwrap().conditions;
        conditions.iter_mut().find(|of| of.type_ == condition).unwrap().status = status.to_owned();
        assert_eq!(exit(gathered(stale), everything()), Exit::Unknown, "{condition}");
    }
    let mut new = report(4, 0, 0);
    new.status = None;
    assert_eq!(exit(gathered(new), everything()), Exit::Unknown);
    assert_eq!(View::of(Vec::new(), everything(), now()).exit(), Exit::Unknown, "no report is no answer");
    let of = |namespace: &str| Filter { namespaces: vec![namespace.to_owned()], ..Filter::default() };
    assert_eq!(exit(gathered(report(1, 2, 1)), of("billing")), Exit::No);
    assert_eq!(exit(gathered(report(1, 2, 1)), of("other")), Exit::Yes);
    assert_eq!(exit(without_details(), of("other")), Exit::Unknown, "nothing is known of it");
}

#[test]
fn details_that_do_not_agree_are_not_relied_on() {
    let told = View::of(vec![gathered(report(4, 0, 0))], Filter::default(), now());
    let notes = told.reports[0].details.notes();
    assert!(notes.iter().any(|note| note.contains("1 covered, 2 uncovered and 1 unknown")), "{notes:?}");
    assert!(view(Filter::default()).reports[0].details.notes().is_empty());
}

#[test]
fn a_terminal_is_not_driven_by_what_others_wrote() {
    let mut of = gathered(report(1, 2, 1));
    for line in &mut of.details.lines {
        line.message = "\x1b[2J\x07".to_owned();
        line.image.push('\r');
    }
    let told = View::of(vec![of], Filter::default(), now());
    let page = printed(|out| markdown::print(&told, out));
    let lines = printed(|out| csv::print(&told, out)).replace("\r\n", "\n");
    for text in [as_table(&told), page, lines] {
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    }
    assert!(told.reports[0].details.lines.iter().any(|line| line.outcome == Outcome::Covered));
    let _: Value = serde_json::to_value(&told).unwrap();
}
