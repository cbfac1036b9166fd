//! What the gate never does, whatever happens: enforce early, or loosen by itself.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // a test that cannot go on fails

#[path = "support/admission.rs"]
mod admission;
#[path = "support/gate_estate.rs"]
mod estate;
mod support;

use std::collections::{BTreeMap, BTreeSet};

use estate::{Estate, HOUR, MINUTE, NAMESPACES, declared, names};
use holdfast_core::Digest;
use holdfast_core::api::policy::OtherImages;
use holdfast_core::engines::{EngineKind, Loss, LossKind};
use holdfast_core::gate::rollout::transition;
use holdfast_core::gate::{Canaries, Decision, Event, History, Intent, Scan};
use holdfast_core::trust::clock::Sanity;
use holdfast_core::verify::Reason;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::json;
use support::at;

/// What may happen between two steps.
#[derive(Debug, Clone)]
enum Happens {
    /// Minutes go by.
    Time(i32),
    /// The clock jumps.
    Jump(i32),
    Scan {
        complete: bool,
    },
    /// An older scan is read again.
    Replay,
    Cover {
        namespace: usize,
        good: bool,
    },
    Fault {
        which: usize,
        on: bool,
    },
    Pause(bool),
    InForce,
    LoseProgress,
    LoseRecord,
    LoseHistory,
    /// Somebody loosens the form in the record, or takes a namespace out of it.
    EditRecord {
        form: bool,
    },
    Forge {
        hours: i32,
    },
    Edit(bool),
    BreakGlass(i32),
    Relabel {
        namespace: usize,
        inside: bool,
    },
    NewNamespace(u8),
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        12 => (1..90_i32).prop_map(Happens::Time),
        1 => (-200..200_i32).prop_map(Happens::Jump),
        20 => prop::bool::weighted(0.99).prop_map(|complete| Happens::Scan { complete }),
        2 => Just(Happens::Replay),
        2 => (0..NAMESPACES.len(), prop::bool::weighted(0.8)).prop_map(|(namespace, good)| Happens::Cover { namespace, good }),
        1 => (0..6_usize, prop::bool::weighted(0.2)).prop_map(|(which, on)| Happens::Fault { which, on }),
        1 => prop::bool::weighted(0.3).prop_map(Happens::Pause),
        8 => Just(Happens::InForce),
        1 => prop_oneof![Just(Happens::LoseProgress), Just(Happens::LoseRecord), Just(Happens::LoseHistory)],
        1 => any::<bool>().prop_map(|form| Happens::EditRecord { form }),
        1 => (1..100_i32).prop_map(|hours| Happens::Forge { hours }),
        1 => any::<bool>().prop_map(Happens::Edit),
        1 => (1..300_i32).prop_map(Happens::BreakGlass),
        1 => (0..NAMESPACES.len(), prop::bool::weighted(0.8)).prop_map(|(namespace, inside)| Happens::Relabel { namespace, inside }),
        1 => (0..3_u8).prop_map(Happens::NewNamespace),
    ]
}

/// One step as the oracle sees it: raw facts, none of which the gate computed.
#[derive(Debug, Clone)]
struct Seen {
    now: Timestamp,
    finished: Timestamp,
    /// Everything but coverage.
    sound: bool,
    /// Where an image does not pass.
    open: BTreeSet<String>,
    spec: String,
}

/// The most time that the steps seen may honestly have proven for a policy in its last form and these namespaces: of the last unbroken run of good steps,
/// the part that proves most. Time counts from a step on; each later scan adds what lies between it and what was counted, at most two intervals.
fn honest_credit(seen: &[Seen], namespaces: &BTreeSet<String>) -> SignedDuration {
    let last = seen.last().unwrap();
    let good = |step: &&Seen| step.sound && step.spec == last.spec && namespaces.is_disjoint(&step.open);
    let run: Vec<&Seen> = seen.iter().rev().take_while(good).collect();
    let from = |start: usize| {
        let mut measured = run[start].now.max(run[start].finished);
        let mut credit = SignedDuration::ZERO;
        for step in run[..start].iter().rev().filter(|step| step.finished > run[start].finished) {
            credit += step.finished.duration_since(measured).clamp(SignedDuration::ZERO, HOUR * 2);
            measured = measured.max(step.finished);
        }
        credit
    };
    (0..run.len()).map(from).max().unwrap_or_default()
}

/// An estate with short soaks, so that random runs get far.
fn hasty() -> Estate {
    let mut estate = Estate::new();
    estate.spec = declared(|spec| {
        spec["enforcement"]["soak"] = json!("4h");
        spec["enforcement"]["waves"][0]["soak"] = json!("3h");
    });
    estate.rescan();
    estate
}

struct Run {
    estate: Estate,
    scans: Vec<Scan>,
    faults: BTreeSet<usize>,
}

impl Run {
    fn happen(&mut self, event: &Happens) {
        let estate = &mut self.estate;
        match event {
            Happens::Time(minutes) => estate.now += MINUTE * *minutes,
            Happens::Jump(hours) => estate.now += HOUR * *hours,
            Happens::Scan { complete } => {
                estate.now += MINUTE * 20;
                estate.rescan();
                if !complete {
                    estate.scan().incomplete = Some("the registry did not answer".to_owned());
                }
                self.scans.push(estate.scan().clone());
            }
            Happens::Replay => {
                if let Some(old) = self.scans.iter().rev().nth(1) {
                    estate.observed.scan = Some(old.clone());
                }
            }
            Happens::Cover { namespace, good } => {
                let name = NAMESPACES[*namespace];
                estate.cover(name, if *good { Reason::Verified } else { Reason::MissingBundle });
            }
            Happens::Fault { which, on } => {
                if *on {
                    self.faults.insert(*which);
                } else {
                    self.faults.clear();
                }
                let on = |which: usize| self.faults.contains(&which);
                let (unready, pending) = (on(0).then(|| "x".to_owned()), on(1).then(|| Digest::of(b"x")));
                let floor = Sanity::Behind { floor: estate.now + HOUR, now: estate.now };
                estate.root().unready = unready;
                estate.root().pending = pending;
                estate.engine().ready = !on(2);
                estate.engine().canaries = if on(3) { Canaries::UnsignedAdmitted } else { Canaries::Right };
                estate.observed.clock = Some(if on(4) { floor } else { Sanity::Sane });
                let lost = || Loss {
                    policy: None,
                    engine: EngineKind::Native,
                    kind: LossKind::TrustRootAbsent,
                    field: String::new(),
                    versions: "",
                    detail: String::new(),
                };
                estate.engine().losses = if on(5) { vec![lost()] } else { Vec::new() };
            }
            Happens::Pause(paused) => estate.paused = *paused,
            Happens::InForce => estate.observe_in_force(),
            Happens::LoseProgress => estate.progress = None,
            Happens::LoseRecord => estate.enforced = None,
            Happens::LoseHistory => estate.history = History::default(),
            Happens::EditRecord { form } => {
                if let Some(enforced) = &mut estate.enforced {
                    if *form {
                        enforced.spec.require = serde_json::from_value(json!({"sct": false})).unwrap();
                        enforced.spec.other_images = OtherImages::Allow;
                    } else {
                        enforced.namespaces.pop_first();
                    }
                }
            }
            Happens::Forge { hours } => {
                if let Some(soak) = estate.progress.as_mut().and_then(|progress| progress.soak.as_mut()) {
                    soak.started -= HOUR * *hours;
                    soak.credit += HOUR * *hours;
                }
            }
            Happens::Edit(timestamps) => estate.declare(|spec| spec["require"]["signedTimestamp"] = json!(timestamps)),
            Happens::BreakGlass(minutes) => {
                estate.open("inc", json!({"acceptStale": {"trustRoot": "corp"}}), MINUTE * *minutes);
            }
            Happens::Relabel { namespace, inside } => {
                estate.label(NAMESPACES[*namespace], "tier", if *inside { "apps" } else { "none" });
            }
            Happens::NewNamespace(n) => {
                let name = format!("new-{n}");
                if !estate.observed.namespaces.contains_key(&name) {
                    estate.namespace(&name, &[("tier", "apps")], estate.now);
                }
            }
        }
    }

    /// What the oracle takes down before a step.
    fn see(&self) -> Seen {
        let estate = &self.estate;
        let scan = estate.observed.scan.as_ref().unwrap();
        let age = estate.now.duration_since(scan.time.finished);
        let subject = holdfast_core::gate::subject_digest(estate.form());
        let glass = estate.observed.break_glasses.iter().any(|glass| glass.until > estate.now);
        let sound = self.faults.is_empty()
            && scan.incomplete.is_none()
            && scan.subject == subject
            && (-HOUR..=HOUR * 2).contains(&age)
            && !glass;
        let fails = scan.images.iter().filter(|image| image.reason != Reason::Verified);
        let open = fails.flat_map(|image| image.users.keys().cloned()).collect();
        let spec = serde_json::to_string(&estate.spec).unwrap();
        Seen { now: estate.now, finished: scan.time.finished, sound, open, spec }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// Never enforces early: whatever happens, a namespace is promoted only after an unbroken run of good steps whose scans prove its wave's soak; or it was
    /// made after its wave came into force.
    #[test]
    fn never_enforces_early(events in prop::collection::vec(happens(), 1..160)) {
        let mut run = Run { estate: hasty(), scans: Vec::new(), faults: BTreeSet::new() };
        let mut seen = Vec::new();
        let mut ever: BTreeSet<String> = BTreeSet::new();
        for event in &events {
            run.happen(event);
            seen.push(run.see());
            let (paused, before) = (run.estate.paused, run.estate.enforced.clone());
            let decision = run.estate.step();
            let arrow = transition(decision.from, decision.trigger);
            prop_assert_eq!(arrow.map(|arrow| arrow.to), Some(decision.progress.phase), "{:?}", decision.trigger);
            let new: BTreeSet<String> = decision.namespaces.difference(&ever).cloned().collect();
            for intent in &decision.intents {
                let Intent::Promote { wave, namespaces } = intent else { continue };
                let in_force_since = before.as_ref().and_then(|b| b.waves.get(wave)).and_then(|w| w.observed)
                    .max(decision.enforced.as_ref().and_then(|e| e.waves.get(wave)).and_then(|w| w.observed));
                let joins = namespaces.iter().all(|name| {
                    let created = run.estate.observed.namespaces[name].created;
                    matches!((created, in_force_since), (Some(created), Some(since)) if created > since)
                });
                if !joins {
                    let soak = if wave == "canary" { HOUR * 3 } else { HOUR * 4 };
                    let credit = honest_credit(&seen, namespaces);
                    prop_assert!(credit >= soak, "{wave} {namespaces:?} with {credit:?} after {} steps", seen.len());
                    prop_assert!(!paused);
                }
            }
            let promoted: BTreeSet<String> = decision.intents.iter().flat_map(|intent| match intent {
                Intent::Promote { namespaces, .. } => namespaces.clone(),
                _ => BTreeSet::new(),
            }).collect();
            prop_assert!(new.is_subset(&promoted), "what is enforced was promoted");
            ever.extend(decision.namespaces.iter().cloned());
        }
    }

    /// Never loosens: without a break-glass or an approval, nothing that was denied is admitted, whatever is observed, edited, relabelled or lost.
    #[test]
    fn never_loosens(
        events in prop::collection::vec((prop::collection::vec(happens(), 0..3), prop::option::weighted(0.4, 0..3_usize), any::<bool>()), 1..24),
        specs in admission::edits(3), requests in prop::collection::vec(admission::request(), 16),
    ) {
        let mut estate = hasty();
        let mut first = specs[0].clone();
        first.engines = serde_json::from_value(json!({"native": {}})).unwrap();
        first.enforcement = estate.spec.enforcement.clone();
        first.namespace_selector = estate.spec.namespace_selector.clone();
        estate.spec = first;
        promoted(&mut estate);
        let mut run = Run { estate, scans: Vec::new(), faults: BTreeSet::new() };
        let denies = |decision: &Decision, namespace: &str, request: &admission::Request| -> Option<bool> {
            // Where the engines are left as they are, what they hold is what they held.
            let form = &decision.form.as_ref()?.spec;
            let excepted = decision.intents.iter().any(|i| matches!(i, Intent::Except { namespaces, .. } if namespaces.contains(namespace)));
            Some(!excepted && decision.namespaces.contains(namespace) && form.engines.native.is_some() && admission::refuses(form, request))
        };
        let mut last = run.estate.step();
        prop_assert_eq!(last.namespaces.len(), NAMESPACES.len());
        for (happened, edit, deleting) in &events {
            for event in happened.iter().filter(|event| !matches!(event, Happens::BreakGlass(_) | Happens::LoseHistory)) {
                run.happen(event);
            }
            if let Some(at) = edit {
                run.estate.spec = specs[at + 1].clone();
            }
            run.estate.deleting = *deleting;
            let decision = run.estate.step();
            prop_assert!(!decision.intents.contains(&Intent::Remove));
            prop_assert!(last.namespaces.is_subset(&decision.namespaces));
            for request in &requests {
                for namespace in NAMESPACES {
                    if denies(&last, namespace, request) == Some(true) {
                        prop_assert_ne!(denies(&decision, namespace, request), Some(false), "{} {:?}", namespace, request);
                    }
                }
            }
            if decision.form.is_some() {
                last = decision;
            }
        }
    }

    /// The same values give the same decision, and what is kept reads back as it was.
    #[test]
    fn a_decision_is_a_function_of_values(events in prop::collection::vec(happens(), 1..40)) {
        let mut run = Run { estate: hasty(), scans: Vec::new(), faults: BTreeSet::new() };
        for event in &events {
            run.happen(event);
            let (one, other) = (run.estate.peek(), run.estate.peek());
            prop_assert_eq!(&one, &other);
            let stored = run.estate.step();
            prop_assert_eq!(&run.estate.enforced, &stored.enforced);
            prop_assert_eq!(run.estate.progress.as_ref(), Some(&stored.progress));
            prop_assert!(run.estate.history.verify(stored.progress.head).is_ok());
        }
    }
}

/// Every namespace is in force, by a record and a history that agree.
fn promoted(estate: &mut Estate) {
    let long_ago = at("2026-06-01T00:00:00Z");
    let standing = |wave: &str| json!({"wave": wave, "written": long_ago, "observed": long_ago});
    let namespaces: BTreeMap<&str, serde_json::Value> = NAMESPACES
        .iter()
        .map(|name| (*name, standing(if name.starts_with("canary") { "canary" } else { "everything" })))
        .collect();
    let wave = json!({"promoted": long_ago, "observed": long_ago});
    estate.enforced = Some(
        serde_json::from_value(
            json!({"spec": estate.spec, "namespaces": namespaces, "waves": {"canary": wave, "everything": wave}}),
        )
        .unwrap(),
    );
    let form = estate.form().digest();
    for (wave, members) in [("canary", names(&["canary-a", "canary-b"])), ("everything", names(&["billing", "shop"]))] {
        estate.history.append(long_ago, Event::Promoted { wave: wave.to_owned(), namespaces: members, form }, 512);
        estate.history.append(long_ago, Event::Observed { wave: wave.to_owned() }, 512);
    }
    estate.observe_in_force();
    estate.rescan();
}
