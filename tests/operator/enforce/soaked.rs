//! A soak whose counter dies, and one in which not everything could be looked at.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::estate::Estate;
use crate::chart_support::NAMESPACE;
use crate::lab::{Lab, Operator, config_map_path};
use crate::proxy::{Asked, Fate};
use crate::registry_support::Registry;

const SOAK: SignedDuration = SignedDuration::from_secs(25);

fn journal(lab: &Lab) -> Value {
    let journal = lab.get(&config_map_path(NAMESPACE, "holdfast-policy-apps"));
    let text = journal.and_then(|journal| Some(journal["data"]["document.json"].as_str()?.to_owned()));
    text.map_or(Value::Null, |text| serde_json::from_str(&text).unwrap())
}

/// What was earned of the soak that is under way; nothing where none is. No status says it.
fn credit(lab: &Lab) -> Option<SignedDuration> {
    journal(lab)["gate"]["progress"]["soak"]["credit"].as_str().map(|credit| credit.parse().unwrap())
}

fn of_event(lab: &Lab, event: &str) -> Vec<Value> {
    let journal = journal(lab);
    let records = journal["gate"]["history"].as_array().cloned().unwrap_or_default();
    records.into_iter().filter(|record| record["event"] == event).collect()
}

fn instant(of: &Value) -> Timestamp {
    of.as_str().unwrap().parse().unwrap()
}

fn leads(operator: &Operator<'_>) {
    operator.until_metric("leader_election_master_status", &[], |leads| leads == Some(1.0));
}

/// A soak as it is watched.
struct Watched<'e> {
    estate: &'e Estate<'e>,
    bad: String,
    scans: usize,
}

impl<'e> Watched<'e> {
    /// What runs is signed, and the policy is to be enforced after a soak.
    fn begin(estate: &'e Estate<'e>) -> Self {
        estate.pod("web", &estate.image("web", estate.signed("web")));
        let bad = estate.image("rogue", estate.unsigned("rogue"));
        estate.enforce(&json!({"enforcement": {"desired": "Enforce", "soak": "25s"}}));
        Self { estate, bad, scans: 0 }
    }

    /// Waits until so many soaks have started, the last of which is under way.
    fn until_under_way(&self, soaks: usize) {
        self.estate.lab.until("a soak is under way", |lab| {
            let is_it = of_event(lab, "soakStarted").len() == soaks && credit(lab).is_some();
            if is_it { Ok(()) } else { Err(self.estate.policy_status("apps").text()) }
        });
    }

    /// Scans until so much is earned, or what soaks was promoted: nothing is denied before, and nothing that was earned is lost.
    fn earn(&mut self, mut earned: SignedDuration, enough: SignedDuration) -> SignedDuration {
        let start = Instant::now();
        while earned < enough {
            assert!(start.elapsed() < Duration::from_secs(60), "{}", self.estate.policy_status("apps").text());
            self.scans += 1;
            self.estate.scan_now(&format!("scan-{}", self.scans));
            std::thread::sleep(Duration::from_millis(700));
            let tried = self.estate.would_admit("shop", &self.bad);
            let Some(now) = credit(self.estate.lab) else { break };
            assert!(tried.is_ok(), "it still soaks, with {now:?}: {tried:?}");
            assert!(now >= earned, "{now:?} after {earned:?}");
            earned = now;
        }
        earned
    }

    /// It comes to be enforced once, and no sooner than a whole soak after the last one started.
    fn until_promoted(&self) {
        self.estate.until_phase("Enforcing");
        self.estate.until_denied("shop", &self.bad);
        let (started, promoted) = (of_event(self.estate.lab, "soakStarted"), of_event(self.estate.lab, "promoted"));
        assert_eq!(promoted.len(), 1, "{promoted:?}");
        let took = instant(&promoted[0]["at"]).duration_since(instant(&started.last().unwrap()["began"]));
        assert!(took >= SOAK, "{took:?}");
    }
}

#[test]
fn credit_of_a_soak_outlives_its_process_and_its_leader() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let estate = Estate::open(&lab, registry);
    let mut leader = lab.operator();
    leads(&leader);
    let other = lab.operator();
    let begun = Instant::now();
    let mut soak = Watched::begin(&estate);
    soak.until_under_way(1);
    let earned = soak.earn(SignedDuration::ZERO, SignedDuration::from_secs(10));
    assert!(earned < SOAK, "{earned:?}");
    leader.signal("-KILL");
    leader.ended(Duration::from_secs(5));
    leads(&other);
    assert!(credit(&lab) >= Some(earned), "{:?} after {earned:?}", credit(&lab));
    let grown = soak.earn(earned, SOAK);
    assert!(grown > earned, "{grown:?} after {earned:?}");
    soak.until_promoted();
    assert!(begun.elapsed() >= Duration::try_from(SOAK).unwrap());
    let soaks = ["soakStarted", "soakEnded"].map(|event| of_event(&lab, event).len());
    assert_eq!(soaks, [1, 0], "{}", journal(&lab)["gate"]["history"]);
}

#[test]
fn a_scan_that_is_not_complete_ends_a_soak() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let estate = Estate::open(&lab, registry);
    let _operator = lab.operator_with(&["--leader-elect=false"]);
    let mut soak = Watched::begin(&estate);
    soak.until_under_way(1);
    let late = estate.image("late", estate.signed("late"));
    for (at, check) in ["CoverageMet", "ScanComplete"].into_iter().enumerate() {
        let earned = soak.earn(SignedDuration::ZERO, SignedDuration::from_secs(3));
        if check == "CoverageMet" {
            // The registry answers nobody, and something is deployed that was not looked at before.
            estate.network.on(100_000, Fate::Refuse(503, None), |_| true);
            estate.pod("late", &late);
        } else {
            // Nobody says any more what runs.
            let is_of_pods = |asked: &Asked| asked.method == "GET" && asked.path == "/api/v1/pods";
            lab.proxy().on(100_000, Fate::Refuse(503, None), is_of_pods);
            lab.proxy().cut();
        }
        let ends = |what: &str| {
            lab.until(&format!("{check} ends the soak, {what}"), |lab| {
                let status = estate.policy_status("apps");
                let is_it = status.at("/enforcement/blockedBy") == check
                    && status.at("/enforcement/phase") == "Soaking"
                    && credit(lab).is_none();
                if is_it { Ok(()) } else { Err(status.text()) }
            });
        };
        ends("at once");
        let ended = of_event(&lab, "soakEnded");
        assert_eq!(ended.len(), at + 1, "{earned:?} of it was earned: {ended:?}");
        assert_eq!(ended[at]["why"], json!(format!("these checks fail: {check}")));
        estate.scan_now(&format!("while-{at}"));
        std::thread::sleep(Duration::from_secs(3));
        ends("and no other one starts");
        assert!(estate.would_admit("shop", &soak.bad).is_ok(), "nothing is promoted");
        estate.network.reset();
        lab.proxy().reset();
        estate.scan_now(&format!("after-{at}"));
        soak.until_under_way(at + 2);
    }
    soak.earn(SignedDuration::ZERO, SOAK);
    soak.until_promoted();
    assert!(estate.would_admit("shop", &late).is_ok());
}

#[test]
fn an_image_that_is_new_ends_no_soak() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let estate = Estate::open(&lab, registry);
    let _operator = lab.operator_with(&["--leader-elect=false"]);
    let mut soak = Watched::begin(&estate);
    soak.until_under_way(1);
    let late = estate.image("late", estate.signed("late"));
    let earned = soak.earn(SignedDuration::ZERO, SignedDuration::from_secs(3));
    // The registry takes its time to say what there is for it.
    estate.network.on(100, Fate::Hold, |asked| asked.path.contains("apps/late"));
    estate.pod("late", &late);
    lab.until("it is not known yet", |_| {
        let status = estate.policy_status("apps");
        let is_it = status.at("/enforcement/blockedBy") == "CoverageMet" && status.text().contains("1 unknown");
        if is_it { Ok(()) } else { Err(status.text()) }
    });
    assert_eq!(credit(&lab), Some(earned));
    estate.network.reset();
    soak.earn(earned, SOAK);
    soak.until_promoted();
    let soaks = ["soakStarted", "soakEnded"].map(|event| of_event(&lab, event).len());
    assert_eq!(soaks, [1, 0], "{}", journal(&lab)["gate"]["history"]);
}
