//! A small estate that is driven through time, with what the gate keeps written and read back at every step.
#![allow(dead_code, clippy::unwrap_used, clippy::indexing_slicing)] // each file uses its part; a test that cannot go on fails

use std::collections::{BTreeMap, BTreeSet};

use holdfast_core::Digest;
use holdfast_core::api::SigningIdentityPolicySpec;
use holdfast_core::engines::EngineKind;
use holdfast_core::gate::break_glass::ActiveBreakGlass;
use holdfast_core::gate::loosening::{Approval, Beside, PolicyForm, SecretKey, recovery_digest};
use holdfast_core::gate::{
    Canaries, Decision, Enforced, EngineState, History, Input, Namespace, Observation, Phase, Progress, Scan, ScanTime,
    ScannedImage, Soak, Trigger, TrustRootState, decide, subject_digest,
};
use holdfast_core::trust::clock::Sanity;
use holdfast_core::trust::freshness::Freshness;
use holdfast_core::verify::Reason;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

pub(crate) const HOUR: SignedDuration = SignedDuration::from_hours(1);
pub(crate) const MINUTE: SignedDuration = SignedDuration::from_mins(1);
pub(crate) const NAMESPACES: [&str; 4] = ["canary-a", "canary-b", "billing", "shop"];
static NO_KEYS: BTreeMap<String, SecretKey> = BTreeMap::new();

pub(crate) fn names(list: &[&str]) -> BTreeSet<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

/// The policy, after a change.
pub(crate) fn declared(change: impl FnOnce(&mut Value)) -> SigningIdentityPolicySpec {
    let mut spec = json!({
        "images": ["r.example/apps/**"],
        "namespaceSelector": {"matchLabels": {"tier": "apps"}},
        "trustRoots": ["corp"],
        "identities": [{"name": "web", "issuer": "https://i.example", "subject": "https://ci.example/web"}],
        "engines": {"native": {}},
        "enforcement": {"desired": "Enforce", "soak": "72h", "waves": [
            {"name": "canary", "namespaceSelector": {"matchLabels": {"canary": "true"}}, "soak": "24h"},
            {"name": "everything"},
        ]},
    });
    change(&mut spec);
    serde_json::from_value(spec).unwrap()
}

pub(crate) fn active(name: &str, loosen: Value, until: Timestamp) -> ActiveBreakGlass {
    let loosen = serde_json::from_value(loosen).unwrap();
    ActiveBreakGlass { name: name.to_owned(), loosen, until, approved_by: Vec::new() }
}

pub(crate) struct Estate {
    pub(crate) spec: SigningIdentityPolicySpec,
    pub(crate) observed: Observation,
    pub(crate) enforced: Option<Enforced>,
    pub(crate) progress: Option<Progress>,
    pub(crate) history: History,
    pub(crate) approvals: Vec<Approval>,
    pub(crate) beside: Option<(SigningIdentityPolicySpec, BTreeSet<String>)>,
    /// Where that one was enforced in this very pass.
    pub(crate) beside_now: BTreeSet<String>,
    pub(crate) paused: bool,
    pub(crate) deleting: bool,
    pub(crate) unusable: Option<String>,
    pub(crate) now: Timestamp,
    /// From where, and on what, steps went.
    pub(crate) went: BTreeSet<(Phase, Trigger)>,
    reasons: BTreeMap<String, Reason>,
}

/// Written and read back.
fn stored<T: serde::Serialize + serde::de::DeserializeOwned>(value: &T) -> T {
    serde_json::from_str(&serde_json::to_string(value).unwrap()).unwrap()
}

impl Estate {
    /// Everything is well, and nothing was decided yet.
    pub(crate) fn new() -> Self {
        let now = "2026-07-01T00:00:00Z".parse().unwrap();
        let root = TrustRootState {
            unready: None,
            freshness: Some(Freshness::Fresh { until: "2027-01-01T00:00:00Z".parse().unwrap() }),
            pending: None,
            memory_intact: true,
            clock: Sanity::Sane,
        };
        let engine = EngineState {
            kind: EngineKind::Native,
            present: true,
            ready: true,
            canaries: Canaries::Right,
            faults: Vec::new(),
            losses: Vec::new(),
            refuses: None,
            told: BTreeSet::new(),
            in_force: BTreeSet::new(),
        };
        let mut estate = Self {
            spec: declared(|_| ()),
            observed: Observation {
                trust_roots: BTreeMap::from([("corp".to_owned(), root)]),
                engines: vec![engine],
                clock: Some(Sanity::Sane),
                sees_all_namespaces: true,
                ..Observation::default()
            },
            enforced: None,
            progress: None,
            history: History::default(),
            approvals: Vec::new(),
            beside: None,
            beside_now: BTreeSet::new(),
            paused: false,
            deleting: false,
            unusable: None,
            now,
            went: BTreeSet::new(),
            reasons: BTreeMap::new(),
        };
        let long_ago = "2026-01-01T00:00:00Z".parse().unwrap();
        for name in NAMESPACES {
            let canary = if name.starts_with("canary") { "true" } else { "false" };
            estate.namespace(name, &[("tier", "apps"), ("canary", canary)], long_ago);
        }
        estate.namespace("elsewhere", &[("tier", "none")], long_ago);
        estate.rescan();
        estate
    }

    /// The first wave was promoted a moment ago, and no engine was seen to deny yet.
    pub(crate) fn promoted() -> Self {
        let mut estate = Self::new();
        estate.soak();
        estate.run_until(Trigger::SoakFull, 30);
        estate
    }

    /// Every wave is in force.
    pub(crate) fn enforcing() -> Self {
        let mut estate = Self::new();
        estate.soak();
        for hours in [30, 80] {
            estate.run_until(Trigger::SoakFull, hours);
            estate.observe_in_force();
            estate.hour();
        }
        estate
    }

    pub(crate) fn form(&self) -> PolicyForm<'_> {
        PolicyForm { name: "apps", spec: &self.spec, keys: &NO_KEYS }
    }

    pub(crate) fn declare(&mut self, change: impl FnOnce(&mut Value)) {
        let mut spec = serde_json::to_value(&self.spec).unwrap();
        change(&mut spec);
        self.spec = serde_json::from_value(spec).unwrap();
    }

    pub(crate) fn root(&mut self) -> &mut TrustRootState {
        self.observed.trust_roots.get_mut("corp").unwrap()
    }

    pub(crate) fn engine(&mut self) -> &mut EngineState {
        &mut self.observed.engines[0]
    }

    pub(crate) fn scan(&mut self) -> &mut Scan {
        self.observed.scan.as_mut().unwrap()
    }

    pub(crate) fn soaking(&mut self) -> &mut Soak {
        self.progress.as_mut().unwrap().soak.as_mut().unwrap()
    }

    pub(crate) fn namespace(&mut self, name: &str, labels: &[(&str, &str)], created: Timestamp) {
        let mut labels: BTreeMap<String, String> =
            labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        labels.insert("kubernetes.io/metadata.name".to_owned(), name.to_owned());
        self.observed
            .namespaces
            .insert(name.to_owned(), Namespace { labels, created: Some(created), ..Namespace::default() });
        self.reasons.insert(name.to_owned(), Reason::Verified);
        if self.observed.scan.is_some() {
            self.look();
        }
    }

    pub(crate) fn label(&mut self, name: &str, key: &str, value: &str) {
        let namespace = self.observed.namespaces.get_mut(name).unwrap();
        namespace.labels.insert(key.to_owned(), value.to_owned());
    }

    /// What the last scan says of the one image of a namespace.
    pub(crate) fn cover(&mut self, namespace: &str, reason: Reason) {
        self.reasons.insert(namespace.to_owned(), reason);
        self.look();
    }

    fn look(&mut self) {
        let images = self.reasons.iter().map(|(namespace, reason)| ScannedImage {
            image: format!("r.example/apps/{namespace}@{}", Digest::of(namespace.as_bytes())),
            reason: *reason,
            inadmissible: None,
            users: BTreeMap::from([(namespace.clone(), names(&["Deployment/app"]))]),
        });
        self.observed.scan.as_mut().unwrap().images = images.collect();
    }

    /// A new scan, now.
    pub(crate) fn rescan(&mut self) {
        self.observed.scan = Some(Scan {
            time: ScanTime { started: self.now - MINUTE, finished: self.now, interval: HOUR },
            incomplete: None,
            is_early: false,
            subject: subject_digest(self.form()),
            images: Vec::new(),
            others: Vec::new(),
            identities_seen: names(&["web"]),
        });
        self.look();
    }

    pub(crate) fn open(&mut self, name: &str, loosen: Value, lasts: SignedDuration) {
        self.observed.break_glasses.push(active(name, loosen, self.now + lasts));
    }

    pub(crate) fn approve(&mut self, digest: Digest) {
        let (kind, name, by) = ("SigningIdentityPolicy".to_owned(), "apps".to_owned(), "bob".to_owned());
        let made = Some(self.now);
        self.approvals.push(Approval { kind, name, digest, by, made });
    }

    /// Whatever is held is approved.
    pub(crate) fn approve_what_is_held(&mut self) {
        for held in self.peek().held {
            self.approve(held.digest);
        }
    }

    /// That the declared form is the one in force is approved.
    pub(crate) fn approve_recovery(&mut self) {
        self.approve(recovery_digest("apps", self.form().digest(), self.history.head()));
    }

    /// The engine denies wherever it was told to.
    pub(crate) fn observe_in_force(&mut self) {
        let enforced = self.enforced.as_ref().map(Enforced::names).unwrap_or_default();
        self.engine().in_force = enforced;
    }

    pub(crate) fn peek(&self) -> Decision {
        let beside: Vec<Beside<'_>> =
            self.beside.iter().map(|(spec, namespaces)| Beside::new("platform", spec, namespaces)).collect();
        let there = self.beside.as_ref().map(|(_, there)| there | &self.beside_now).unwrap_or_default();
        let beside_now: Vec<Beside<'_>> = beside.iter().map(|other| Beside { namespaces: &there, ..*other }).collect();
        decide(&Input { beside: &beside, beside_now: &beside_now, ..self.input() }, self.now)
    }

    /// What a step looks at, beside other policies.
    pub(crate) fn input(&self) -> Input<'_> {
        Input {
            declared: self.form(),
            deleting: self.deleting,
            unusable: self.unusable.as_deref(),
            paused: self.paused,
            enforced: self.enforced.as_ref(),
            progress: self.progress.as_ref(),
            history: &self.history,
            observed: &self.observed,
            beside: &[],
            beside_now: &[],
            approvals: &self.approvals,
        }
    }

    /// One step; what is kept is written and read back, as over a restart.
    pub(crate) fn step(&mut self) -> Decision {
        let decision = self.peek();
        self.enforced = stored(&decision.enforced);
        self.progress = Some(stored(&decision.progress));
        self.history = stored(&decision.history);
        self.went.insert((decision.from, decision.trigger));
        decision
    }

    /// An hour, a scan, a step.
    pub(crate) fn hour(&mut self) -> Decision {
        self.now += HOUR;
        self.rescan();
        self.step()
    }

    /// Into the soak of the first wave.
    pub(crate) fn soak(&mut self) {
        self.step();
        self.step();
    }

    /// Hours until something happens.
    pub(crate) fn run_until(&mut self, trigger: Trigger, most: u32) -> u32 {
        for hours in 1..=most {
            if self.hour().trigger == trigger {
                return hours;
            }
        }
        panic!("{trigger:?} did not happen in {most} hours");
    }
}
