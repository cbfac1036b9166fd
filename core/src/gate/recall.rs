//! What is enforced, as it is remembered; and what to make of it when that memory is lost.

use std::collections::{BTreeMap, BTreeSet};

use super::alarm::AlarmKind;
use super::decide::{Input, Notes};
use super::history::Event;
use super::memory::{Enforced, Standing, WaveStanding};

/// What is known of what is enforced.
pub(super) enum Recalled {
    /// Nothing was ever promoted.
    Nothing,
    /// This.
    Known(Box<Enforced>),
    /// Something is enforced in these namespaces, and nobody knows in which form.
    Lost(BTreeSet<String>),
}

/// Recalls what is enforced. The object that says so is the truth; where it is not there, the history and the engines tell whether it was lost.
///
/// It is made anew where the declared form is provably the one in force (the history has its digest), or where somebody approved the declared form.
pub(super) fn recall(input: &Input<'_>, chain_holds: bool, notes: &mut Notes) -> Recalled {
    if let Some(enforced) = input.enforced {
        return Recalled::Known(Box::new(enforced.clone()));
    }
    let promoted: BTreeMap<String, String> = input.history.enforced();
    let in_force = input.observed.engines.iter().flat_map(|engine| engine.in_force.iter().cloned());
    let names: BTreeSet<String> = promoted.keys().cloned().chain(in_force).collect();
    if names.is_empty() {
        return Recalled::Nothing;
    }
    let digest = input.declared.digest();
    let proven = chain_holds && input.history.form() == Some(digest);
    let approved = input.approvals.iter().any(|approval| {
        approval.kind == "SigningIdentityPolicy" && approval.name == input.declared.name && approval.digest == digest
    });
    if !proven && !approved {
        return Recalled::Lost(names);
    }
    let mut enforced = Enforced::nothing(input.declared);
    for name in &names {
        let wave = promoted.get(name).cloned().unwrap_or_else(|| super::rollout::EVERYTHING.to_owned());
        enforced.waves.entry(wave.clone()).or_insert(WaveStanding { promoted: notes.now, observed: None });
        enforced.namespaces.insert(name.clone(), Standing { wave, written: notes.now, observed: None });
    }
    notes.alarm(
        AlarmKind::RecordLost,
        format!("the object was made anew from the history, for {} namespaces; see who removed it", names.len()),
    );
    notes.record(Event::Recovered { namespaces: names });
    Recalled::Known(Box::new(enforced))
}
