//! One step of the gate: what was declared, remembered and observed go in; what is to be remembered, done and said comes out.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Serialize;

use super::alarm::{Alarm, AlarmKind};
use super::check::CheckResult;
use super::evaluate::evaluate;
use super::form::{FormInForce, spend_what_came_late, unspent};
use super::gone;
use super::history::{Event, History, KEPT};
use super::kept::{Kept, end};
use super::loosening::{Approval, Beside, Form, Loosening, PolicyForm};
use super::memory::{Enforced, Progress};
use super::observation::Observation;
use super::ratchet::{observe, open_glasses, say_what_fails};
use super::recall::{Recalled, recall, recovery};
use super::rollout::{Phase, Trigger, soak_of, transition};
use super::scope::{Scope, WaveScope};
use super::soaking::{Checked, Soaked, Soaking};
use super::would_deny::Ledger;
use crate::Digest;
use crate::api::policy::Desired;

/// Everything a step looks at.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The policy as it is declared.
    pub declared: PolicyForm<'a>,
    /// Whether it is to be deleted.
    pub deleting: bool,
    /// Why it cannot be used as it is declared, if so.
    pub unusable: Option<&'a str>,
    /// Whether promotion is paused.
    pub paused: bool,
    /// What is enforced, as it was kept; none where the object is not there.
    pub enforced: Option<&'a Enforced>,
    /// How far it has come, as it was kept.
    pub progress: Option<&'a Progress>,
    /// What happened.
    pub history: &'a History,
    /// What was observed.
    pub observed: &'a Observation,
    /// Other policies that are enforced, and where.
    pub beside: &'a [Beside<'a>],
    /// The same, as far as this pass has come: those that were decided before this one are where they were just promoted, too.
    pub beside_now: &'a [Beside<'a>],
    /// Approvals that count.
    pub approvals: &'a [Approval],
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "intent")]
pub enum Intent {
    /// Begin to deny in these namespaces.
    Promote {
        /// Their wave.
        wave: String,
        /// Which.
        namespaces: BTreeSet<String>,
    },
    /// Do not deny in these namespaces until an end.
    Except {
        /// Who allows it.
        break_glass: String,
        /// Which.
        namespaces: BTreeSet<String>,
        /// First instant at which it is denied again.
        until: Timestamp,
    },
    /// Stop denying in these namespaces: it was approved.
    Release {
        /// Which.
        namespaces: BTreeSet<String>,
    },
    /// Keep the form that is in force: the declared one is looser.
    Hold {
        /// In which ways.
        loosenings: Vec<Loosening>,
    },
    /// Touch no object of any engine: what is in force is not known.
    LeaveAsIs,
    /// Remove every object of the policy and let it go.
    Remove,
}

/// What a step decides.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// What to keep in the object of its own; none while nothing was ever promoted. One that cannot be relied on is kept as it is.
    pub enforced: Option<Enforced>,
    /// What to keep of how far it has come.
    pub progress: Progress,
    /// The history, with what happened appended.
    pub history: History,
    /// The form to render; none where engines are to be left as they are.
    pub form: Option<Form>,
    /// The namespaces the policy denies in, by name; exceptions among them.
    pub namespaces: BTreeSet<String>,
    /// The wave under way.
    pub wave: Option<String>,
    /// What it waits for, in a word: a check, or what else holds it.
    pub blocked_by: Option<String>,
    /// The phase the step started from.
    pub from: Phase,
    /// What decided the next one.
    pub trigger: Trigger,
    /// What to do.
    pub intents: Vec<Intent>,
    /// What to look at.
    pub alarms: Vec<Alarm>,
    /// Every way in which what is declared is looser than what is in force and waits.
    pub held: Vec<Loosening>,
}

impl Decision {
    /// Whether what is enforced is not as it should be.
    pub fn is_degraded(&self) -> bool {
        let harmless = [AlarmKind::WaveEmpty, AlarmKind::PromotionHeld, AlarmKind::LooseningHeld];
        !self.namespaces.is_empty() && self.alarms.iter().any(|alarm| !harmless.contains(&alarm.kind))
    }
}

/// A step under way: what is written down while it goes.
pub(super) struct Notes {
    pub(super) now: Timestamp,
    pub(super) history: History,
    pub(super) intents: Vec<Intent>,
    pub(super) alarms: Vec<Alarm>,
    pub(super) held: Vec<Loosening>,
    /// The digests of what would wait, had no break-glass lent it.
    pub(super) lent: BTreeSet<Digest>,
}

impl Notes {
    fn at(now: Timestamp, history: &History) -> Self {
        let (intents, alarms, held, lent) = Default::default();
        Self { now, history: history.clone(), intents, alarms, held, lent }
    }

    pub(super) fn alarm(&mut self, kind: AlarmKind, message: impl Into<String>) {
        self.alarms.push(Alarm { kind, message: message.into() });
    }

    pub(super) fn record(&mut self, event: Event) -> Digest {
        self.history.append(self.now, event, KEPT)
    }
}

/// What is in force when a step begins.
#[derive(Debug, Clone, PartialEq)]
pub struct Current {
    /// The form.
    pub form: Form,
    /// The namespaces it is enforced in.
    pub namespaces: BTreeSet<String>,
}

/// What is in force, which a scan has to judge by; none where nobody knows it. It does not hang on what a scan says.
pub fn in_force(input: &Input<'_>, now: Timestamp) -> Option<Current> {
    let approvals = unspent(input);
    let input = &Input { approvals: &approvals, ..*input };
    let mut notes = Notes::at(now, input.history);
    let chain_holds = input.history.verify(input.progress.and_then(|progress| progress.head)).is_ok();
    let mut enforced = match recall(input, chain_holds, &mut notes) {
        Recalled::Lost(_) => return None,
        Recalled::Nothing => Enforced::nothing(input.declared),
        Recalled::Known(enforced) => *enforced,
    };
    let form = FormInForce::of(input, &mut enforced, &mut notes).into_form();
    Some(Current { form, namespaces: enforced.names() })
}

/// Decides one step at `now`. The same values give the same decision.
pub fn decide(input: &Input<'_>, now: Timestamp) -> Decision {
    let (approvals, all) = (unspent(input), input);
    let input = &Input { approvals: &approvals, ..*input };
    let mut notes = Notes::at(now, input.history);
    let chain = input.history.verify(input.progress.and_then(|progress| progress.head));
    if let Err(fault) = &chain {
        notes.alarm(AlarmKind::HistoryBroken, fault.to_string());
    }
    let (mut enforced, known) = match recall(input, chain.is_ok(), &mut notes) {
        Recalled::Lost(namespaces) => return lost(input, namespaces, notes),
        Recalled::Nothing => (Enforced::nothing(input.declared), false),
        Recalled::Known(enforced) => (*enforced, true),
    };
    spend_what_came_late(all, &mut notes);
    gone::forget(input, &mut enforced, &mut notes);
    let from = phase_of(&enforced, input.progress);
    let had = !enforced.namespaces.is_empty();
    let in_force = FormInForce::of(input, &mut enforced, &mut notes);
    let form = in_force.form(input);
    observe(input, form, &mut enforced, &mut notes);
    let scope = Scope::of(input, form.spec, &enforced);
    scope.settle(&mut enforced, now);
    let pending = scope.pending(&enforced);

    let kept = Kept { input, form, chain_holds: chain.is_ok() };
    let soak = input.progress.and_then(|progress| progress.soak.clone());
    let soak = if let Some(wave) = &pending {
        kept.sound(soak, &wave.wave, &wave.selected, &mut notes)
    } else {
        end(soak, "no wave is to be promoted", &mut notes);
        None
    };
    let flip = match (&pending, &soak) {
        (Some(wave), Some(soak)) => soak.namespaces.intersection(&wave.selected).cloned().collect(),
        (Some(wave), None) => wave.selected.clone(),
        (None, _) if !had => scope.all(),
        (None, _) => BTreeSet::new(),
    };
    let before = input.progress.map_or(&[][..], |progress| &progress.checks);
    let judged: BTreeSet<String> = flip.iter().chain(enforced.namespaces.keys()).cloned().collect();
    let in_scope = |namespace: &str| judged.contains(namespace);
    let checks = evaluate(form, input.observed, &in_scope, before, now);
    let would_deny = would_deny(input, form, pending.as_ref(), &flip, &enforced);

    let soaking = Soaking {
        input,
        form,
        in_force: &in_force.held,
        scope: &scope,
        pending: pending.as_ref(),
        checked: Checked { checks: &checks, in_scope: &in_scope },
        kept,
        from,
    };
    let soaked = soaking.step(soak, &mut enforced, &mut notes);
    let emptied = had && enforced.namespaces.is_empty();
    if emptied {
        enforced.waves.clear();
    }
    let next = scope.pending(&enforced);
    let trigger = if emptied {
        Trigger::Released
    } else {
        trigger(input, form, from, &enforced, next.as_ref(), &checks, &soaked)
    };
    let phase = transition(from, trigger).map_or(from, |transition| transition.to);

    // What keeps the next wave waiting is no alarm: only what is enforced can be other than it was.
    let there = |namespace: &str| enforced.namespaces.contains_key(namespace);
    say_what_fails(input, form, &enforced, &evaluate(form, input.observed, &there, before, now), &mut notes);
    say_empty(trigger, next.as_ref(), &mut notes);
    in_force.except(input, &enforced, &mut notes);
    let break_glasses = open_glasses(input, form, &mut notes);
    notes.alarms.sort();
    let wave = next.filter(|_| phase == Phase::Soaking).map(|wave| wave.wave.name).or_else(|| promoting(&enforced));
    let namespaces = enforced.names();
    let enforced_form = (!namespaces.is_empty()).then(|| enforced.form(input.declared.name).digest());
    Decision {
        enforced: (known || !enforced.namespaces.is_empty()).then_some(enforced),
        wave,
        blocked_by: blocked_by(trigger, &checks, &notes),
        progress: Progress {
            phase,
            at: last_step(input, now),
            enforced: namespaces.clone(),
            form: enforced_form,
            since: input.progress.filter(|progress| progress.phase == phase).map_or(now, |progress| progress.since),
            checks,
            soak: soaked.soak,
            late: soaked.late,
            would_deny,
            break_glasses,
            held: notes.held.iter().map(|loosening| loosening.digest).chain(notes.lent).collect(),
            head: notes.history.head(),
        },
        history: notes.history,
        form: Some(in_force.into_form()),
        namespaces,
        from,
        trigger,
        intents: notes.intents,
        alarms: notes.alarms,
        held: notes.held,
    }
}

fn say_empty(trigger: Trigger, next: Option<&WaveScope>, notes: &mut Notes) {
    let Some(wave) = next.filter(|_| trigger == Trigger::NoNamespace) else { return };
    let message = format!("the wave `{}` selects no namespace; correct its selector, or take it out", wave.wave.name);
    notes.alarm(AlarmKind::WaveEmpty, message);
}

/// What decides the next phase.
fn trigger(
    input: &Input<'_>,
    form: PolicyForm<'_>,
    from: Phase,
    enforced: &Enforced,
    next: Option<&WaveScope>,
    checks: &[CheckResult],
    soaked: &Soaked,
) -> Trigger {
    let passed = checks.iter().all(|check| check.passed);
    let wanted = form.spec.enforcement.desired == Desired::Enforce && !input.deleting;
    match from {
        Phase::Audit if wanted => Trigger::EnforceDesired,
        Phase::Soaking if soaked.promoted => Trigger::SoakFull,
        Phase::Soaking if enforced.namespaces.is_empty() && !wanted => Trigger::AuditDesired,
        Phase::Soaking => match next {
            None => Trigger::NothingPending,
            Some(wave) if wave.selected.is_empty() => Trigger::NoNamespace,
            Some(_) if !passed => Trigger::CheckFailed,
            Some(_) if input.paused => Trigger::Paused,
            Some(_) if soaked.held => Trigger::Held,
            Some(_) if soaked.earned => Trigger::ScanEarned,
            Some(_) => Trigger::Nothing,
        },
        Phase::Promoting if enforced.is_promoting() && !passed => Trigger::CheckFailed,
        Phase::Promoting if enforced.is_promoting() => Trigger::Nothing,
        Phase::Promoting if next.is_some() => Trigger::ObservedMore,
        Phase::Promoting => Trigger::ObservedLast,
        Phase::Enforcing if next.is_some() => Trigger::WavePending,
        Phase::Enforcing if !passed => Trigger::CheckFailed,
        Phase::Audit | Phase::Enforcing => Trigger::Nothing,
    }
}

/// When the last step was made, this one being it. A clock that goes back does not take it along: what was seen stays seen.
fn last_step(input: &Input<'_>, now: Timestamp) -> Timestamp {
    input.progress.map_or(now, |progress| progress.at.max(now))
}

/// What the flip would have denied, carried on by the last scan.
fn would_deny(
    input: &Input<'_>,
    form: PolicyForm<'_>,
    pending: Option<&WaveScope>,
    flip: &BTreeSet<String>,
    enforced: &Enforced,
) -> Ledger {
    let enforcement = &form.spec.enforcement;
    let window = pending.map_or(enforcement.soak.signed(), |wave| soak_of(enforcement, &wave.wave));
    let mut ledger = input.progress.map(|progress| progress.would_deny.clone()).unwrap_or_default();
    if let Some(scan) = &input.observed.scan {
        let flips = |namespace: &str| flip.contains(namespace) && !enforced.namespaces.contains_key(namespace);
        ledger.observe(scan, &flips, window);
    }
    ledger
}

/// The phase a step starts from: what is enforced says more than what is kept of the way there.
fn phase_of(enforced: &Enforced, progress: Option<&Progress>) -> Phase {
    if enforced.is_promoting() {
        return Phase::Promoting;
    }
    match (progress.map(|progress| progress.phase), enforced.namespaces.is_empty()) {
        (Some(Phase::Soaking), _) => Phase::Soaking,
        (_, true) => Phase::Audit,
        (_, false) => Phase::Enforcing,
    }
}

/// The wave that was promoted and is not yet observed.
fn promoting(enforced: &Enforced) -> Option<String> {
    enforced.waves.iter().find(|(_, wave)| wave.observed.is_none()).map(|(name, _)| name.clone())
}

/// Nobody knows what form is in force: nothing is touched, and nothing reads as Audit.
fn lost(input: &Input<'_>, namespaces: BTreeSet<String>, mut notes: Notes) -> Decision {
    let digest = recovery(input);
    notes.alarm(
        AlarmKind::RecordLost,
        format!(
            "what is enforced of `{}` is not known, and it is enforced in {} namespaces at least; restore the object, or approve that the declared form is in force by the digest {digest}",
            input.declared.name,
            namespaces.len()
        ),
    );
    notes.intents.push(Intent::LeaveAsIs);
    let in_scope = |namespace: &str| namespaces.contains(namespace);
    let before = input.progress.map_or(&[][..], |progress| &progress.checks);
    let checks = evaluate(input.declared, input.observed, &in_scope, before, notes.now);
    let since = input.progress.filter(|p| p.phase == Phase::Enforcing).map_or(notes.now, |progress| progress.since);
    let break_glasses = open_glasses(input, input.declared, &mut notes);
    notes.alarms.sort();
    Decision {
        // Whatever is wrong with it, it is all there is.
        enforced: input.enforced.cloned(),
        progress: Progress {
            phase: Phase::Enforcing,
            since,
            at: last_step(input, notes.now),
            enforced: namespaces.clone(),
            form: input.progress.and_then(|progress| progress.form),
            soak: None,
            late: std::collections::BTreeMap::new(),
            would_deny: Ledger::default(),
            break_glasses,
            held: BTreeSet::new(),
            head: notes.history.head(),
            checks,
        },
        history: notes.history,
        form: None,
        from: Phase::Enforcing,
        namespaces,
        wave: None,
        blocked_by: Some(AlarmKind::RecordLost.to_string()),
        trigger: Trigger::Nothing,
        intents: notes.intents,
        alarms: notes.alarms,
        held: notes.held,
    }
}

fn blocked_by(trigger: Trigger, checks: &[CheckResult], notes: &Notes) -> Option<String> {
    let failing = || checks.iter().find(|check| !check.passed).map(|check| check.check.to_string());
    match trigger {
        Trigger::Paused => Some("Paused".to_owned()),
        Trigger::NoNamespace => Some(AlarmKind::WaveEmpty.to_string()),
        _ if failing().is_some() => failing(),
        _ => notes.held.first().map(|_| AlarmKind::LooseningHeld.to_string()),
    }
}
