//! The part of a step that earns credit and promotes.

use std::collections::{BTreeMap, BTreeSet};

use super::alarm::AlarmKind;
use super::check::CheckResult;
use super::decide::{Input, Intent, Notes};
use super::evaluate::evaluate;
use super::form::{by, permit, say_once, spend};
use super::history::Event;
use super::kept::{Kept, end};
use super::loosening::{Beside, Effective, Held, Loosening, PolicyForm, of_newborn, promotion};
use super::memory::{Enforced, Standing, WaveStanding};
use super::named::Named;
use super::newborn;
use super::observation::{Scan, subject_digest};
use super::rollout::{Phase, soak_of};
use super::scope::{Scope, WaveScope};
use super::soak::Soak;
use crate::api::policy::Wave;

/// What this part looks at.
pub(super) struct Soaking<'s> {
    pub(super) input: &'s Input<'s>,
    pub(super) form: PolicyForm<'s>,
    pub(super) in_force: &'s Held,
    pub(super) scope: &'s Scope,
    pub(super) pending: Option<&'s WaveScope>,
    pub(super) checked: Checked<'s>,
    pub(super) kept: Kept<'s>,
    pub(super) from: Phase,
}

/// The checks, and which namespaces they were evaluated for.
#[derive(Clone, Copy)]
pub(super) struct Checked<'c> {
    pub(super) checks: &'c [CheckResult],
    pub(super) in_scope: &'c dyn Fn(&str) -> bool,
}

/// What came of it.
#[derive(Default)]
pub(super) struct Soaked {
    pub(super) soak: Option<Soak>,
    pub(super) late: BTreeMap<String, Soak>,
    pub(super) earned: bool,
    pub(super) promoted: bool,
    pub(super) held: bool,
}

impl Soaking<'_> {
    pub(super) fn step(&self, kept: Option<Soak>, enforced: &mut Enforced, notes: &mut Notes) -> Soaked {
        let mut soaked = Soaked { held: self.in_force.effective != Effective::Declared, ..Soaked::default() };
        if let Some(wave) = self.pending.filter(|wave| !wave.selected.is_empty() && self.from != Phase::Audit) {
            soaked.soak = self.advance(kept, &wave.wave, &wave.selected, self.checked, &mut soaked.earned, notes);
            self.promote_wave(wave, enforced, &mut soaked, notes);
        }
        self.newcomers(enforced, &mut soaked, notes);
        soaked
    }

    /// Carries a soak on, ends it, or starts one. Only a soak whose scope is the one the checks were evaluated for may be given, or started.
    fn advance(
        &self,
        kept: Option<Soak>,
        wave: &Wave,
        selected: &BTreeSet<String>,
        checked: Checked<'_>,
        earned: &mut bool,
        notes: &mut Notes,
    ) -> Option<Soak> {
        let failing: Vec<&str> =
            checked.checks.iter().filter(|check| !check.passed).map(|check| check.check.as_str()).collect();
        let Some(scan) = self.input.observed.scan.as_ref().filter(|_| failing.is_empty()) else {
            if self.is_not_known_yet(checked) {
                return kept.map(|soak| self.without_what_was_unseen(soak, checked, notes));
            }
            end(kept, &format!("these checks fail: {}", failing.join(", ")), notes);
            return None;
        };
        // What is soaked is what will be promoted: while the declared form waits, neither is known.
        if self.in_force.effective != Effective::Declared {
            end(kept, "a change waits for an approval", notes);
            return None;
        }
        if let Some(mut soak) = kept {
            if !self.input.paused {
                *earned = soak.earn(scan.time, soak_of(&self.form.spec.enforcement, wave));
            }
            return Some(soak);
        }
        let soaks = matches!(self.from, Phase::Soaking | Phase::Enforcing);
        (soaks && !self.input.paused).then(|| self.start(wave, selected.clone(), scan, notes))
    }

    /// Whether all that fails does so for want of a first look, since holdfast began or since it is there: nothing is earned then, and nothing speaks against
    /// what was.
    fn is_not_known_yet(&self, Checked { checks, in_scope }: Checked<'_>) -> bool {
        checks.iter().all(|check| check.passed || self.input.observed.not_looked_at(check.check, self.form, in_scope))
    }

    /// What came and went before a scan came to it, or while not all was listed, was never judged.
    fn without_what_was_unseen(&self, mut soak: Soak, checked: Checked<'_>, notes: &Notes) -> Soak {
        if self.input.observed.scan.as_ref().is_some_and(|scan| scan.begins() || scan.not_scanned(checked.in_scope) > 0)
        {
            soak.pass_over(notes.now);
        }
        soak
    }

    fn start(&self, wave: &Wave, namespaces: BTreeSet<String>, scan: &Scan, notes: &mut Notes) -> Soak {
        let began = Soak::beginning(scan.time, notes.now);
        let subject = subject_digest(self.form);
        let record = notes.record(Event::SoakStarted {
            wave: wave.name.clone(),
            namespaces: Named::from(&namespaces),
            subject,
            began,
        });
        let credit = jiff::SignedDuration::ZERO;
        Soak { wave: wave.name.clone(), namespaces, subject, started: began, measured: began, credit, record }
    }

    fn promote_wave(&self, wave: &WaveScope, enforced: &mut Enforced, soaked: &mut Soaked, notes: &mut Notes) {
        let Some(soak) = soaked.soak.as_ref().filter(|_| all_passed(self.checked.checks)) else { return };
        if soak.credit < soak_of(&self.form.spec.enforcement, &wave.wave) || self.from != Phase::Soaking {
            return;
        }
        let namespaces: BTreeSet<String> = soak.namespaces.intersection(&wave.selected).cloned().collect();
        if !self.may_promote(&namespaces, enforced, &mut soaked.held, notes) {
            return;
        }
        self.promote(&wave.wave, namespaces, enforced, notes);
        soaked.soak = None;
        soaked.promoted = true;
    }

    /// Whether nothing but the checks stood in the way: not paused, no change waits, and nothing is taken out of another policy's denial unasked.
    fn may_promote(
        &self,
        namespaces: &BTreeSet<String>,
        enforced: &Enforced,
        held: &mut bool,
        notes: &mut Notes,
    ) -> bool {
        if self.input.paused {
            return false;
        }
        if self.in_force.effective != Effective::Declared {
            *held = true;
            return false;
        }
        // Where it is enforced already, it takes nothing any more.
        let new = namespaces.iter().filter(|name| !enforced.namespaces.contains_key(*name)).cloned().collect();
        let allowed = self.claims_allowed(self.form, &new, notes);
        *held |= !allowed;
        allowed
    }

    fn claims_allowed(&self, form: PolicyForm<'_>, namespaces: &BTreeSet<String>, notes: &mut Notes) -> bool {
        let claims: Vec<Loosening> = promotion(form, namespaces, self.input.beside_now);
        let Some(digest) = claims.first().map(|claim| claim.digest) else { return true };
        if notes.history.in_force().claims.contains_key(&digest) {
            return true;
        }
        let judged = permit(self.input).judge(claims, notes.now);
        if judged.effective == Effective::Declared {
            let of_newborn = namespaces.iter().flat_map(|name| of_newborn(form, name, self.input.beside_now)).collect();
            let (namespaces, by) = (namespaces.clone(), by(&judged.allowed));
            notes.record(Event::ClaimsAllowed { claims: digest, namespaces, of_newborn, by });
            spend(self.input, &judged.loosenings, notes);
            return true;
        }
        for loosening in &judged.loosenings {
            notes.alarm(AlarmKind::PromotionHeld, loosening.to_string());
        }
        say_once(self.input, &judged.loosenings, notes);
        notes.held.extend(judged.loosenings);
        false
    }

    /// Whether a namespace that is in scope from its start takes nothing out of another policy's denial that was not agreed to. In the form it is enforced in,
    /// and in the one that may be lent meanwhile. Where another policy is enforced already, as in one that is made again, something was denied before; not where that one was enforced there from the start, too, and this one was not written down with it.
    fn newborn_may(&self, name: &str, enforced: &Enforced, notes: &mut Notes) -> bool {
        let only = BTreeSet::from([name.to_owned()]);
        let was_denied = |other: &Beside<'_>| other.namespaces.contains(name) && !other.from_start.contains(name);
        let is_new = !self.input.beside.iter().any(was_denied);
        [enforced.form(self.input.declared.name), self.form].into_iter().all(|form| {
            let asks = of_newborn(form, name, self.input.beside_now);
            (is_new && asks.is_subset(&notes.history.in_force().of_newborn)) || self.claims_allowed(form, &only, notes)
        })
    }

    fn promote(&self, wave: &Wave, namespaces: BTreeSet<String>, enforced: &mut Enforced, notes: &mut Notes) {
        if enforced.namespaces.is_empty() {
            enforced.spec = self.form.spec.clone();
            enforced.keys = self.form.keys.clone();
        }
        enforced.waves.entry(wave.name.clone()).or_insert(WaveStanding { promoted: notes.now, observed: None });
        for name in &namespaces {
            enforced.namespaces.entry(name.clone()).or_insert_with(|| Standing::new(&wave.name, notes.now));
        }
        // Not the form that a break-glass lends: it is in force for a while, and nothing is promoted in it.
        let form = enforced.form(self.input.declared.name).digest();
        notes.record(Event::Promoted { wave: wave.name.clone(), namespaces: namespaces.clone(), form });
        notes.intents.push(Intent::Promote { wave: wave.name.clone(), namespaces });
    }

    /// Namespaces that came into the scope of a promoted wave. One that was in scope from the first is enforced from its start; any other, labelled into
    /// scope, soaks for itself first.
    fn newcomers(&self, enforced: &mut Enforced, soaked: &mut Soaked, notes: &mut Notes) {
        let mut kept = self.input.progress.map(|progress| progress.late.clone()).unwrap_or_default();
        for (name, wave) in self.scope.left_behind(enforced) {
            let only: BTreeSet<String> = BTreeSet::from([name.to_owned()]);
            if newborn::is(self.input, self.form, name, wave, enforced, notes.now) {
                if self.newborn_may(name, enforced, notes) {
                    self.promote(wave, only, enforced, notes);
                }
                continue;
            }
            let alone = |namespace: &str| namespace == name;
            let checks = evaluate(self.form, self.input.observed, &alone, &[], notes.now);
            let before = self.kept.sound(kept.remove(name), wave, &only, notes);
            let soak =
                self.advance(before, wave, &only, Checked { checks: &checks, in_scope: &alone }, &mut false, notes);
            let Some(soak) = soak else { continue };
            let full = all_passed(&checks) && soak.credit >= soak_of(&self.form.spec.enforcement, wave);
            // What it would take is asked for from the beginning: what is agreed to holds for those that are made like it.
            let mut held = false;
            let may = self.may_promote(&only, enforced, &mut held, notes);
            soaked.held |= full && held;
            if full && may {
                self.promote(wave, only, enforced, notes);
            } else {
                soaked.late.insert(name.to_owned(), soak);
            }
        }
        for soak in kept.into_values() {
            end(Some(soak), "its namespace is no longer one that waits", notes);
        }
    }
}

/// What was not looked at yet ends no soak, and lets none promote.
fn all_passed(checks: &[CheckResult]) -> bool {
    checks.iter().all(|check| check.passed)
}
