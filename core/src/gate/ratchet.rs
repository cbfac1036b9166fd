//! What is enforced and whether it is in force: it is watched and alarmed, and nothing found here takes anything back.

use std::collections::BTreeSet;

use jiff::SignedDuration;

use super::alarm::AlarmKind;
use super::check::CheckResult;
use super::decide::{Input, Notes};
use super::evaluate::{active, concerns, declared_engines};
use super::history::Event;
use super::loosening::PolicyForm;
use super::memory::Enforced;

/// How long a promotion may take to be observed before it is an alarm.
pub const SETTLES_WITHIN: SignedDuration = SignedDuration::from_mins(15);

/// Takes note of what every declared engine was observed to deny, and of what it should and does not.
pub(super) fn observe(input: &Input<'_>, form: PolicyForm<'_>, enforced: &mut Enforced, notes: &mut Notes) {
    let engines = declared_engines(form);
    let denies = |namespace: &str| {
        !engines.is_empty()
            && engines.iter().all(|kind| {
                input.observed.engines.iter().any(|engine| engine.kind == *kind && engine.in_force.contains(namespace))
            })
    };
    let excepted: BTreeSet<&str> = active(input.observed, notes.now)
        .filter_map(|glass| glass.loosen.return_to_audit.as_ref())
        .filter(|target| target.policy == form.name)
        .flat_map(|target| target.namespaces.iter().map(String::as_str))
        .collect();
    let (mut late, mut gone) = (Vec::new(), Vec::new());
    for (name, standing) in &mut enforced.namespaces {
        match (standing.observed, denies(name)) {
            (None, true) => standing.observed = Some(notes.now),
            (_, false) if !input.observed.namespaces.contains_key(name) || excepted.contains(name.as_str()) => {}
            (None, false) if notes.now.duration_since(standing.written) > SETTLES_WITHIN => late.push(name.clone()),
            (Some(_), false) => gone.push(name.clone()),
            _ => {}
        }
    }
    if !late.is_empty() {
        notes.alarm(AlarmKind::NotObserved, format!("written and not observed in force: `{}`", late.join("`, `")));
    }
    if !gone.is_empty() {
        notes.alarm(AlarmKind::NotInForce, format!("no longer observed in force: `{}`", gone.join("`, `")));
    }
    let observed = |wave: &str| {
        enforced
            .namespaces
            .iter()
            .filter(|(name, standing)| standing.wave == wave && input.observed.namespaces.contains_key(*name))
            .all(|(_, standing)| standing.observed.is_some())
    };
    let done: Vec<String> = enforced
        .waves
        .iter()
        .filter(|(name, wave)| wave.observed.is_none() && observed(name))
        .map(|(name, _)| name.clone())
        .collect();
    for wave in done {
        if let Some(standing) = enforced.waves.get_mut(&wave) {
            standing.observed = Some(notes.now);
        }
        notes.record(Event::Observed { wave });
    }
}

/// Once something is enforced, a check that fails alarms and takes nothing back.
pub(super) fn say_what_fails(
    input: &Input<'_>,
    form: PolicyForm<'_>,
    enforced: &Enforced,
    checks: &[CheckResult],
    notes: &mut Notes,
) {
    if !enforced.namespaces.is_empty() {
        for check in checks.iter().filter(|check| !check.passed) {
            notes.alarm(AlarmKind::CheckFailing, format!("{}: {}", check.check, check.message));
        }
    }
    for glass in active(input.observed, notes.now).filter(|glass| concerns(&glass.loosen, form)) {
        notes.alarm(AlarmKind::BreakGlassOpen, format!("`{}` is open until {}", glass.name, glass.until));
    }
}

/// The break-glasses that are open and concern the policy; what opened or ended since last time goes into the history.
pub(super) fn open_glasses(input: &Input<'_>, form: PolicyForm<'_>, notes: &mut Notes) -> BTreeSet<String> {
    let before = input.progress.map(|progress| progress.break_glasses.clone()).unwrap_or_default();
    let mut open = BTreeSet::new();
    for glass in active(input.observed, notes.now).filter(|glass| concerns(&glass.loosen, form)) {
        if open.insert(glass.name.clone()) && !before.contains(&glass.name) {
            notes.record(Event::BreakGlassOpened { name: glass.name.clone(), until: glass.until });
        }
    }
    for name in before.difference(&open) {
        notes.record(Event::BreakGlassEnded { name: name.clone() });
    }
    open
}
