//! What a report's status says of scans, when one is due, and that nothing is written twice.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test that cannot go on fails

mod support;

use holdfast_core::api::BundleCoverageReport;
use holdfast_core::coverage::{Coverage, ImageResult, Totals, Workload};
use holdfast_core::operate::report::{
    Asked, Due, Facts, Finished, ReportReason, Running, ScanFacts, changes, due, status,
};
use holdfast_core::verify::{Outcome, Reason};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::json;
use support::at;

fn report() -> BundleCoverageReport {
    serde_json::from_value(json!({
        "apiVersion": "holdfast.dev/v1alpha1", "kind": "BundleCoverageReport",
        "metadata": {"name": "cluster", "generation": 3}, "spec": {"interval": "1h"},
    }))
    .unwrap()
}

fn image(name: &str, reason: Reason) -> ImageResult {
    ImageResult {
        image: format!("registry.corp/{name}:1"),
        runs: None,
        digest: None,
        outcome: reason.outcome(),
        reason,
        message: format!("words on {name}"),
        owner: reason.owner(),
        policies: Vec::new(),
        workloads: vec![Workload {
            namespace: "shop".to_owned(),
            kind: "Deployment".to_owned(),
            name: name.to_owned(),
        }],
        by_tag: true,
    }
}

fn coverage(reasons: &[Reason]) -> Coverage {
    let mut coverage = Coverage::default();
    let mut by_reason = std::collections::BTreeMap::<Reason, usize>::new();
    for (at, reason) in reasons.iter().enumerate() {
        coverage.images.push(image(&format!("i{at}"), *reason));
        *by_reason.entry(*reason).or_default() += 1;
        match reason.outcome() {
            Outcome::Covered => coverage.totals.covered += 1,
            Outcome::Uncovered => coverage.totals.uncovered += 1,
            Outcome::Unknown => coverage.totals.unknown += 1,
        }
    }
    coverage.by_reason = by_reason.into_iter().collect();
    coverage
}

fn finished(at: Timestamp) -> Finished {
    Finished {
        is_early: false,
        started: at - SignedDuration::from_secs(3),
        finished: at,
        images: 9,
        workloads: 4,
        pods: 7,
        wanting: false,
    }
}

/// A report of which a scan ended then.
struct World {
    report: BundleCoverageReport,
    coverage: Coverage,
    scan: ScanFacts,
    wanting: Option<String>,
    unusable: Vec<String>,
    invalid: Vec<String>,
    unpublished: Option<String>,
}

impl World {
    fn scanned(reasons: &[Reason], when: Timestamp) -> Self {
        let report = report();
        let scan = ScanFacts { running: None, last: Some(finished(when)), asked: Some(Asked::by(&report)) };
        Self {
            report,
            coverage: coverage(reasons),
            scan,
            wanting: None,
            unusable: Vec::new(),
            invalid: Vec::new(),
            unpublished: None,
        }
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            report: &self.report,
            invalid: &self.invalid,
            policies: 1,
            unusable: &self.unusable,
            wanting: self.wanting.as_deref(),
            coverage: &self.coverage,
            scan: &self.scan,
            unpublished: self.unpublished.as_deref(),
        }
    }

    fn told(&self, now: Timestamp) -> holdfast_core::api::report::BundleCoverageReportStatus {
        status(&self.facts(), now)
    }

    fn reason(&self, now: Timestamp, condition: &str) -> (String, String) {
        let told = self.told(now);
        let of = told.conditions.iter().find(|of| of.type_ == condition);
        of.map(|of| (of.status.clone(), of.reason.clone())).unwrap_or_default()
    }
}

fn noon() -> Timestamp {
    at("2026-11-26T12:00:00Z")
}

#[test]
fn a_status_reads_as_it_should() {
    let mut world =
        World::scanned(&[Reason::Verified, Reason::Verified, Reason::MissingBundle, Reason::DigestUnresolved], noon());
    world.coverage.totals = Totals { out_of_scope: 5, ..world.coverage.totals };
    insta::assert_yaml_snapshot!(world.told(noon()));
}

#[test]
fn nothing_but_all_of_it_reads_as_all_of_it() {
    for (covered, uncovered, want) in
        [(0, 0, "-"), (1, 0, "100.0%"), (0, 1, "0.0%"), (9_999, 1, "99.9%"), (2, 1, "66.6%"), (412, 0, "100.0%")]
    {
        let mut world = World::scanned(&[], noon());
        world.coverage.totals = Totals { covered, uncovered, ..Totals::default() };
        assert_eq!(world.told(noon()).totals.unwrap().ratio, want);
    }
}

#[test]
fn whatever_was_not_seen_is_named_and_whose_it_is() {
    let complete = |world: &World| world.reason(noon(), "Complete");
    let is = |status: &str, reason: ReportReason| (status.to_owned(), reason.to_string());
    for reason in Reason::ALL {
        let world = World::scanned(&[Reason::Verified, *reason], noon());
        let unseen = matches!(
            reason,
            Reason::NotScanned
                | Reason::RegistryUnavailable
                | Reason::Unauthorized
                | Reason::ListingTruncated
                | Reason::RegistryNotDeclared
        );
        let want =
            if unseen { is("False", ReportReason::CouldNotLook) } else { is("True", ReportReason::EverythingSeen) };
        assert_eq!(complete(&world), want, "{reason}");
        if unseen {
            let message =
                world.told(noon()).conditions.iter().find(|of| of.type_ == "Complete").unwrap().message.clone();
            assert!(
                message.contains("1 image:") && message.contains("words on i1") && message.contains("platform"),
                "{message}"
            );
        }
    }
    let mut world = World::scanned(&[Reason::Verified], noon());
    world.unpublished = Some("the kinds are not there".to_owned());
    assert_eq!(world.reason(noon(), "Ready"), is("False", ReportReason::NotPublished));
    world.unusable = vec!["policy x".to_owned(), "policy y".to_owned()];
    assert_eq!(complete(&world), is("False", ReportReason::PolicyUnusable));
    world.wanting = Some("the pods".to_owned());
    assert_eq!(complete(&world), is("False", ReportReason::InventoryIncomplete));
    world.invalid = vec!["`registries[0]`: no".to_owned()];
    assert_eq!(world.reason(noon(), "Stalled"), is("True", ReportReason::ReportInvalid));
    assert_eq!(due(&world.facts(), noon()), Due::Wait);
}

#[test]
fn while_a_scan_is_under_way_what_the_last_one_found_stands() {
    let mut world = World::scanned(&[Reason::Verified], noon());
    world.report.status = Some(world.told(noon()));
    let later = noon() + SignedDuration::from_mins(60);
    world.scan.running = Some(Running { started: later, everything: true, looked: 3, of: 8 });
    world.coverage = coverage(&[Reason::RegistryUnavailable, Reason::RegistryUnavailable]);
    let told = world.told(later + SignedDuration::from_secs(1));
    assert_eq!(told, world.report.status.clone().unwrap(), "one that is soon over is not worth a word");
    let slow = world.told(later + SignedDuration::from_secs(6));
    assert_eq!(slow.totals, told.totals);
    let said = slow.conditions.iter().find(|of| of.type_ == "Reconciling").unwrap();
    assert!(said.message.contains("3 of 8"), "{}", said.message);
    // A first one has nothing that could stand.
    world.report.status = None;
    assert_eq!(world.reason(later, "Ready"), ("False".to_owned(), ReportReason::Scanning.to_string()));
    assert!(world.told(later).totals.is_none());
}

#[test]
fn a_scan_is_due_at_first_after_the_interval_and_when_asked_for() {
    let mut world = World::scanned(&[], noon());
    let next = noon() + SignedDuration::from_hours(1);
    assert_eq!(due(&world.facts(), noon() + SignedDuration::from_mins(59)), Due::Until(next));
    assert_eq!(due(&world.facts(), next), Due::Everything);
    // A clock that was set back puts nothing off.
    assert_eq!(due(&world.facts(), noon() - SignedDuration::from_mins(1)), Due::Everything);
    // What was counted before everything was listed is counted anew once it is.
    world.scan.last.as_mut().unwrap().wanting = true;
    assert_eq!(due(&world.facts(), noon()), Due::Everything);
    world.wanting = Some("the pods".to_owned());
    assert_eq!(due(&world.facts(), noon()), Due::Until(next));
    world.report.metadata.generation = Some(4);
    assert_eq!(due(&world.facts(), noon()), Due::Everything);
    world.scan.asked = Some(Asked::by(&world.report));
    world.report.metadata.annotations = Some([("holdfast.dev/reconcile-at".to_owned(), "now".to_owned())].into());
    assert_eq!(due(&world.facts(), noon()), Due::Everything);
    world.scan.running = Some(Running { started: noon(), everything: true, looked: 0, of: 1 });
    assert_eq!(due(&world.facts(), noon()), Due::Everything, "one that was begun for something else is begun anew");
    world.scan.asked = Some(Asked::by(&world.report));
    assert_eq!(due(&world.facts(), noon()), Due::Wait);
}

#[test]
fn a_scan_that_is_overdue_says_so_and_the_rest_is_worth_an_event_once() {
    let mut world = World::scanned(&[Reason::Verified], noon());
    let first = world.told(noon());
    assert!(changes(None, &first).is_empty(), "nothing is wrong");
    world.report.status = Some(first.clone());
    let late = world.told(noon() + SignedDuration::from_hours(3));
    assert_eq!(world.reason(noon() + SignedDuration::from_hours(3), "Ready").1, ReportReason::Overdue.to_string());
    let said = changes(Some(&first), &late);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].warns && said[0].reason == "Overdue");
    assert!(changes(Some(&late), &late).is_empty());
}

#[test]
fn a_scan_that_takes_for_ever_leaves_nothing_ready() {
    let mut world = World::scanned(&[Reason::Verified], noon());
    world.report.status = Some(world.told(noon()));
    let later = noon() + SignedDuration::from_hours(3);
    world.scan.running = Some(Running { started: noon(), everything: true, looked: 3, of: 8 });
    assert_eq!(world.reason(later, "Fresh").0, "False");
    assert_eq!(world.reason(later, "Ready"), ("False".to_owned(), ReportReason::Overdue.to_string()));
}

#[test]
fn a_complete_scan_that_lies_ahead_is_not_recent() {
    // While a clock was ten years ahead, a scan was complete; since then none is.
    let ahead = noon() + SignedDuration::from_hours(10 * 365 * 24);
    let mut world = World::scanned(&[Reason::Verified], ahead);
    world.report.status = Some(world.told(ahead));
    world.scan.last = Some(finished(noon()));
    world.coverage = coverage(&[Reason::RegistryUnavailable]);
    let told = world.told(noon());
    world.report.status = Some(told);
    assert_eq!(world.reason(noon() + SignedDuration::from_hours(3), "Fresh").0, "False");
}

#[test]
fn a_workload_whose_owner_is_named_at_length_is_named_briefly() {
    let mut world = World::scanned(&[Reason::MissingBundle; 40], noon());
    for image in &mut world.coverage.images {
        let kind = format!("Kind\u{1b}[2J{}", "k".repeat(100_000));
        let workload = Workload { namespace: "shop".to_owned(), kind, name: "n".repeat(100_000) };
        image.workloads = vec![workload; 20];
    }
    let told = serde_json::to_string(&world.told(noon())).unwrap();
    // The API server takes objects of some 1.5 MB: with a larger status, none would be written again.
    assert!(told.len() < 512 * 1024 && !told.contains("\\u001b"), "{}", told.len());
}

#[test]
fn a_line_a_day_is_kept_and_no_more_than_ninety() {
    let mut world = World::scanned(&[Reason::Verified], noon());
    for day in 0..100 {
        let when = noon() + SignedDuration::from_hours(24 * day);
        world.scan.last = Some(finished(when));
        world.report.status = Some(world.told(when));
    }
    let history = world.report.status.clone().unwrap().history;
    assert_eq!(history.len(), 90);
    assert!(history.windows(2).all(|pair| pair[0].day < pair[1].day));
    // The same day again is the same line.
    world.coverage = coverage(&[Reason::Verified, Reason::Verified]);
    let again = world.told(noon()).history;
    assert_eq!(again.last().unwrap().covered, 2);
}

fn any_reason() -> impl Strategy<Value = Reason> {
    (0..Reason::ALL.len()).prop_map(|at| Reason::ALL[at])
}

proptest! {
    /// What is written once is not written again, however long nothing happens (until it is overdue), and covered is never more than there is.
    #[test]
    fn a_status_that_was_written_is_the_status(
        reasons in prop::collection::vec(any_reason(), 0..200),
        minutes in 0_i64..119,
        wanting in prop::option::of("[a-z ]{1,20}"),
    ) {
        let mut world = World::scanned(&reasons, noon());
        world.wanting = wanting;
        let first = world.told(noon());
        let covered = reasons.iter().filter(|reason| **reason == Reason::Verified).count() as u64;
        prop_assert_eq!(first.totals.as_ref().unwrap().covered, covered);
        prop_assert!(first.worst.len() <= 32 && first.by_reason.len() <= 64);
        let all = first.totals.as_ref().unwrap().ratio == "100.0%";
        prop_assert_eq!(all, !reasons.is_empty() && covered == reasons.len() as u64);
        world.report.status = Some(first.clone());
        let later = noon() + SignedDuration::from_mins(minutes);
        // What was never complete is overdue from the start; what was is not before twice the interval.
        prop_assert_eq!(world.told(later), first);
    }
}
