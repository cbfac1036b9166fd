//! Whether a soak that was kept can go on: it has to agree with the history, with the policy and with the clock.

use std::collections::BTreeSet;

use super::alarm::AlarmKind;
use super::decide::{Input, Notes};
use super::history::Event;
use super::loosening::PolicyForm;
use super::named::Named;
use super::observation::subject_digest;
use super::soak::Soak;
use crate::api::policy::Wave;

/// What a kept soak is held against.
#[derive(Clone, Copy)]
pub(super) struct Kept<'s> {
    pub(super) input: &'s Input<'s>,
    pub(super) form: PolicyForm<'s>,
    pub(super) chain_holds: bool,
}

impl Kept<'_> {
    /// The soak, where it can go on; otherwise it is ended, and starts again with credit 0.
    pub(super) fn sound(
        &self,
        kept: Option<Soak>,
        wave: &Wave,
        selected: &BTreeSet<String>,
        notes: &mut Notes,
    ) -> Option<Soak> {
        let soak = kept?;
        let fault = self.fault(&soak, wave, selected, notes);
        match fault {
            None => Some(soak),
            Some(why) => {
                end(Some(soak), why, notes);
                None
            }
        }
    }

    fn fault(&self, soak: &Soak, wave: &Wave, selected: &BTreeSet<String>, notes: &mut Notes) -> Option<&'static str> {
        if !self.agrees(soak) {
            notes.alarm(
                AlarmKind::SoakDisagrees,
                format!("the soak of `{}` since {} is not in the history; it starts again", soak.wave, soak.started),
            );
            return Some("it does not agree with the history");
        }
        if soak.wave != wave.name {
            return Some("another wave is the next one");
        }
        if soak.subject != subject_digest(self.form) {
            return Some("the policy changed, and what was proven was proven of another one");
        }
        if soak.namespaces.is_disjoint(selected) {
            return Some("none of its namespaces is selected any more");
        }
        // How far ahead is too far is known by a scan, and without one nothing is earned or promoted.
        let interval = self.input.observed.scan.as_ref()?.time.interval;
        soak.lies_ahead(interval, notes.now).then_some("the clock went back behind what was measured")
    }

    /// Only holdfast writes the history, so a soak that was set back or made up elsewhere is not in it.
    fn agrees(&self, soak: &Soak) -> bool {
        let is_said = |event: &Event| {
            matches!(event, Event::SoakStarted { wave, namespaces, subject, began }
                if *wave == soak.wave && namespaces.are(&soak.namespaces) && *subject == soak.subject && *began == soak.started)
        };
        let started = self.input.history.soak_start(&soak.wave, &soak.namespaces);
        self.chain_holds
            && soak.is_plausible()
            && started.is_some_and(|record| record.digest == soak.record && is_said(&record.event))
    }
}

/// Writes down that a soak ended without a promotion.
pub(super) fn end(soak: Option<Soak>, why: &str, notes: &mut Notes) {
    if let Some(soak) = soak {
        let namespaces = Named::from(&soak.namespaces);
        notes.record(Event::SoakEnded { wave: soak.wave, namespaces, why: why.to_owned() });
    }
}
