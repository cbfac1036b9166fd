//! Every check fails for its own fault, and what the checks look at.

use std::collections::{BTreeMap, BTreeSet};

use crate::estate::{Estate, HOUR, MINUTE, declared, names};
use crate::failing;
use crate::support::at;
use holdfast_core::Digest;
use holdfast_core::coverage::{Inventory, Memo, Workload, assess, compile};
use holdfast_core::engines::{EngineKind, Loss, LossKind};
use holdfast_core::gate::loosening::{Beside, PolicyForm};
use holdfast_core::gate::would_deny::Ledger;
use holdfast_core::gate::{Canaries, Check, OtherImage, ScanTime, scan_of, subject_digest};
use holdfast_core::trust::clock::Sanity;
use holdfast_core::trust::freshness::{Freshness, Limit};
use holdfast_core::verify::Reason;
use jiff::SignedDuration;
use serde_json::json;

type Fault = Box<dyn Fn(&mut Estate)>;

#[test]
#[allow(clippy::too_many_lines)] // one row a fault
fn every_check_fails_alone_for_its_own_fault_and_says_whose_it_is() {
    let fault = |change: fn(&mut Estate)| -> Fault { Box::new(change) };
    let rows: Vec<(Check, &str, Fault)> = vec![
        (
            Check::TrustRootReady,
            "`corp` is in force: no import yet",
            fault(|e| e.root().unready = Some("no import yet".to_owned())),
        ),
        (Check::TrustRootReady, "memory of the trust root `corp`", fault(|e| e.root().memory_intact = false)),
        (
            Check::TrustRootFresh,
            "past its limit since 2026-06-01T00:00:00Z: no timestamp was accepted yet",
            fault(|e| {
                e.root().freshness =
                    Some(Freshness::Stale { since: at("2026-06-01T00:00:00Z"), limit: Limit::NothingAccepted });
            }),
        ),
        (
            Check::NoPendingRotation,
            "has the candidate sha256:",
            fault(|e| e.root().pending = Some(Digest::of(b"candidate"))),
        ),
        (
            Check::ScanComplete,
            "not complete: the registry did not answer",
            fault(|e| e.scan().incomplete = Some("the registry did not answer".to_owned())),
        ),
        (Check::ScanComplete, "another version of this policy", fault(|e| e.scan().subject = Digest::of(b"old"))),
        (Check::ScanFresh, "more than 2h ago", fault(|e| e.now += HOUR * 2 + MINUTE)),
        (Check::ScanFresh, "ahead of the clock", fault(|e| e.now -= HOUR + MINUTE)),
        (
            Check::CoverageMet,
            "1 of 2 images covered (1 uncovered, 0 unknown), and 100 per cent are asked for; the worst owner is canary-a with 1. Pipeline has to act",
            fault(|e| e.cover("canary-a", Reason::MissingBundle)),
        ),
        (
            Check::CoverageMet,
            "(0 uncovered, 1 unknown), and none may be unknown; the worst owner is canary-a with 1. Platform has to act",
            fault(|e| e.cover("canary-a", Reason::RegistryUnavailable)),
        ),
        (
            Check::CoverageMet,
            "and none may be unknown; the worst owner is canary-a with 1. Trust has to act: let the courier bring",
            fault(|e| e.cover("canary-a", Reason::StaleTrustRoot)),
        ),
        (
            Check::EveryIdentitySeen,
            "of 1 of 1 identities no verified bundle was seen: `web`",
            fault(|e| e.scan().identities_seen.clear()),
        ),
        (Check::EngineReady, "native is not there", fault(|e| e.engine().present = false)),
        (Check::EngineReady, "does not act on this version", fault(|e| e.engine().ready = false)),
        (
            Check::EngineReady,
            "denied the canary that is signed",
            fault(|e| e.engine().canaries = Canaries::SignedDenied),
        ),
        (
            Check::EngineReady,
            "admitted the canary that is not signed",
            fault(|e| e.engine().canaries = Canaries::UnsignedAdmitted),
        ),
        (Check::EngineReady, "answered no canary", fault(|e| e.engine().canaries = Canaries::Unknown)),
        (
            Check::EngineReady,
            "a foreign edit",
            fault(|e| e.engine().faults.push("a foreign edit of its binding".to_owned())),
        ),
        (Check::EngineReady, "nothing is known of native", fault(|e| e.observed.engines.clear())),
        (
            Check::AdmissibleAsDeclared,
            "1 image would be denied for the form",
            fault(|e| e.scan().images[1].inadmissible = Some("by tag")),
        ),
        (
            Check::AdmissibleAsDeclared,
            "no policy in force is about it, as `nginx:1`; the worst owner is canary-a with 1",
            fault(|e| {
                let users = BTreeMap::from([("canary-a".to_owned(), names(&["Deployment/x"]))]);
                e.scan().others.push(OtherImage { image: "nginx:1".to_owned(), users });
            }),
        ),
        (
            Check::NoWideningLoss,
            "TrustRootAbsent (Wider",
            fault(|e| {
                e.engine().losses.push(Loss {
                    policy: None,
                    engine: EngineKind::Native,
                    kind: LossKind::TrustRootAbsent,
                    field: "trustRoots".to_owned(),
                    versions: "any",
                    detail: "absent".to_owned(),
                });
            }),
        ),
        (
            Check::ClockSane,
            "2026-12-01T00:00:00Z has certainly passed",
            fault(|e| {
                e.observed.clock = Some(Sanity::Behind { floor: at("2026-12-01T00:00:00Z"), now: e.now });
            }),
        ),
        (
            Check::ClockSane,
            "has certainly passed",
            fault(|e| {
                let now = e.now;
                e.root().clock = Sanity::Behind { floor: at("2026-12-01T00:00:00Z"), now };
            }),
        ),
        (Check::ClockSane, "the clock was not judged", fault(|e| e.observed.clock = None)),
        (
            Check::NoBreakGlass,
            "`inc` is open until",
            fault(|e| e.open("inc", json!({"returnToAudit": {"policy": "apps", "namespaces": ["canary-a"]}}), HOUR)),
        ),
    ];
    let named: BTreeSet<Check> = rows.iter().map(|(check, ..)| *check).collect();
    assert_eq!(named.len(), Check::ALL.len(), "every check has a row");
    for (check, words, change) in rows {
        let mut estate = Estate::new();
        let good = estate.step();
        assert_eq!(failing(&good), [], "{:?}", good.progress.checks);
        assert!(good.progress.checks.iter().all(|check| check.since == at("2026-07-01T00:00:00Z")));
        change(&mut estate);
        let decision = estate.step();
        assert_eq!(failing(&decision), [check], "{words}: {:?}", decision.progress.checks);
        let result = decision.progress.checks.iter().find(|result| result.check == check).unwrap();
        assert!(result.message.contains(words), "{check}: {}", result.message);
        let says_cure = |reason: &Reason| words.contains("has to act") && result.message.ends_with(reason.cure());
        let cured = result.message.contains(check.cure()) || Reason::ALL.iter().any(says_cure);
        assert!(cured, "{check}: {}", result.message);
        assert_eq!(result.since, estate.now, "it fails from now on");
        assert_eq!(decision.blocked_by.as_deref(), Some(check.as_str()));
        let passing = decision.progress.checks.iter().find(|result| result.check != check).unwrap();
        assert_eq!(passing.since, at("2026-07-01T00:00:00Z"), "it still holds since the first step");
    }
}

#[test]
fn what_does_not_concern_the_policy_fails_nothing() {
    let mut estate = Estate::new();
    estate.open("other", json!({"returnToAudit": {"policy": "else", "namespaces": ["canary-a"]}}), HOUR);
    estate.open("root", json!({"acceptStale": {"trustRoot": "vendor"}}), HOUR);
    estate.cover("elsewhere", Reason::MissingBundle);
    assert_eq!(failing(&estate.step()), []);
    estate.open("corp", json!({"acceptStale": {"trustRoot": "corp"}}), HOUR);
    estate.root().freshness =
        Some(Freshness::Stale { since: at("2026-06-01T00:00:00Z"), limit: Limit::NothingAccepted });
    assert_eq!(
        failing(&estate.step()),
        [Check::NoBreakGlass],
        "stale trust is accepted, and promotion is blocked all the same"
    );
}

#[test]
fn coverage_counts_what_is_or_would_be_enforced_and_rounds_against_the_policy() {
    let mut estate = Estate::new();
    estate.soak();
    estate.cover("billing", Reason::MissingBundle);
    assert_eq!(failing(&estate.step()), [], "billing comes with the next wave");
    estate.cover("canary-a", Reason::MissingBundle);
    estate.declare(|spec| spec["enforcement"]["minimumCoverage"] = json!(50));
    estate.rescan();
    assert_eq!(failing(&estate.step()), [], "1 of 2 is 50 per cent");
    estate.declare(|spec| spec["enforcement"]["minimumCoverage"] = json!(51));
    assert_eq!(failing(&estate.step()), [Check::CoverageMet]);
    estate.declare(|spec| spec["enforcement"]["minimumCoverage"] = json!(0));
    assert_eq!(failing(&estate.step()), [], "what is uncovered may be let go");
    estate.cover("canary-a", Reason::RegistryUnavailable);
    assert_eq!(failing(&estate.step()), [Check::CoverageMet], "what is unknown is not");
}

#[test]
fn what_would_have_been_denied_is_kept_over_the_window() {
    let mut estate = Estate::new();
    estate.cover("canary-a", Reason::MissingBundle);
    let all = |_: &str| true;
    let mut ledger = Ledger::default();
    ledger.observe(estate.scan(), &all, HOUR * 3);
    assert_eq!((ledger.count(), ledger.denials[0].workload.as_str()), (1, "canary-a/Deployment/app"));
    assert!(ledger.denials[0].why.starts_with("MissingBundle"));
    estate.cover("canary-a", Reason::Verified);
    for hours in 1..=4 {
        estate.now += HOUR;
        estate.rescan();
        ledger.observe(estate.scan(), &all, HOUR * 3);
        assert_eq!(ledger.count(), usize::from(hours <= 3), "{hours}");
    }
    estate.cover("canary-a", Reason::MissingBundle);
    assert_eq!(estate.step().status().would_have_denied, 1);
    let mut many = estate.scan().clone();
    many.images = (0..1000)
        .map(|n| {
            let mut image = many.images[0].clone();
            image.image = format!("r.example/{n}");
            image.reason = Reason::MissingBundle;
            image
        })
        .collect();
    many.time.finished += HOUR;
    ledger.observe(&many, &all, HOUR);
    assert_eq!((ledger.count(), ledger.denials.len()), (1000, 256));
}

/// From manifests' inventory to what the checks look at.
#[test]
fn a_scan_is_a_policys_part_of_a_coverage() {
    let digest = |n: &str| Digest::of(n.as_bytes());
    let web = format!("r.example/apps/web@{}", digest("web"));
    let mut inventory = Inventory::default();
    let workload = |namespace: &str, name: &str| Workload {
        namespace: namespace.to_owned(),
        kind: "Deployment".to_owned(),
        name: name.to_owned(),
    };
    for (namespace, image) in [
        ("shop", web.as_str()),
        ("billing", &web),
        ("elsewhere", &web),
        ("shop", "r.example/apps/tagged:1"),
        ("shop", "r.example/apps/bent@sha256:zzz"),
        ("shop", "platform.example/agent@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ("billing", "platform.example/agent@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ("elsewhere", "nginx"),
    ] {
        inventory.add(&workload(namespace, "app"), "main", image);
    }
    for (namespace, tier) in [("shop", "apps"), ("billing", "apps"), ("elsewhere", "none")] {
        inventory.add_namespace(namespace, BTreeMap::from([("tier".to_owned(), tier.to_owned())]));
    }
    let spec = declared(|_| ());
    let platform = declared(|spec| spec["images"] = json!(["platform.example/**"]));
    let whole = json!({"apiVersion": "holdfast.dev/v1alpha1", "kind": "SigningIdentityPolicy", "metadata": {"name": "apps"}, "spec": spec});
    let compiled = compile(&serde_json::from_value(whole).unwrap(), &|_| Err(String::new())).unwrap();
    let keys = BTreeMap::new();
    let form = PolicyForm { name: "apps", spec: &spec, keys: &keys };
    let now = at("2026-07-01T00:00:00Z");
    let time = ScanTime { started: now, finished: now, interval: HOUR };
    let policies = [compiled.clone()];
    let coverage = assess(&inventory, &policies, &BTreeMap::new(), &BTreeMap::new(), &mut Memo::default(), now);
    let there = names(&["shop"]);
    let beside = [Beside::new("platform", &platform, &there)];
    let scan = scan_of(form, &compiled, &coverage, &inventory, &beside, time, None);
    assert_eq!((scan.subject, &scan.incomplete), (subject_digest(form), &None));
    let of = |image: &str| scan.images.iter().find(|i| i.image == image).unwrap();
    assert_eq!(of(&web).users.keys().collect::<Vec<_>>(), ["billing", "shop"], "elsewhere is not selected");
    assert_eq!(of(&web).inadmissible, None);
    assert!(of("r.example/apps/tagged:1").inadmissible.unwrap().contains("by tag"));
    assert!(of("r.example/apps/bent@sha256:zzz").inadmissible.unwrap().contains("no image reference"));
    assert_eq!(scan.others.len(), 1);
    assert_eq!(scan.others[0].users.keys().collect::<Vec<_>>(), ["billing"], "in shop, another policy is about it");
    assert!(scan.identities_seen.is_empty());
    assert_eq!(scan.tally(&|_| true).unknown, 3);
    assert_eq!(scan.tally(&|namespace| namespace == "billing").total(), 1);
    inventory.add(&workload("nobody-knows", "app"), "main", &web);
    let coverage = assess(&inventory, &policies, &BTreeMap::new(), &BTreeMap::new(), &mut Memo::default(), now);
    let scan = scan_of(form, &compiled, &coverage, &inventory, &beside, time, None);
    assert!(
        scan.incomplete.unwrap().contains("`nobody-knows`"),
        "labels that are not known select nothing for certain"
    );
    // An image that another policy in force exempts, by its name and its digest, is no other image there.
    for (exempt, others) in [
        (
            "platform.example/agent@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855".to_owned(),
            0,
        ),
        (format!("platform.example/agent@{}", digest("another")), 1),
        (
            "platform.example/other@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855".to_owned(),
            1,
        ),
    ] {
        let exempting = declared(|spec| {
            spec["images"] = json!(["x.example/**"]);
            spec["exemptImages"] = json!([{"image": exempt, "reason": "a node image"}]);
        });
        let both = names(&["shop", "billing"]);
        let beside = [Beside::new("platform", &exempting, &both)];
        let scan = scan_of(form, &compiled, &coverage, &inventory, &beside, time, None);
        assert_eq!(scan.others.len(), others, "{exempt}");
    }
    // Where names alone select, labels need not be known.
    let by_name = declared(|spec| {
        spec["namespaceSelector"] = json!({"matchLabels": {"kubernetes.io/metadata.name": "shop"}});
        spec["enforcement"]["waves"] = json!([]);
    });
    let form = PolicyForm { spec: &by_name, ..form };
    assert_eq!(scan_of(form, &compiled, &coverage, &inventory, &beside, time, None).incomplete, None);
}

#[test]
fn trust_that_nobody_judged_since_it_was_current_is_not_fresh() {
    let mut estate = Estate::new();
    for freshness in [|until| Freshness::Fresh { until }, |until| Freshness::InGrace { until }] {
        for (past, wanted) in [(SignedDuration::from_mins(5), true), (SignedDuration::from_secs(301), false)] {
            estate.root().freshness = Some(freshness(estate.now - past));
            assert_eq!(failing(&estate.peek()).is_empty(), wanted, "{past:#}");
        }
    }
}
