//! What is enforced, as it is remembered; and what to make of it when that memory is lost or was changed.
//!
//! The object that says what is enforced is held against the history, which says in which form and where; where that is silent or does not hold, against
//! what the last step wrote down; and where the object is gone, against what engines are seen to do as well. Whatever one of them says is enforced is taken
//! to be so, and a form that is in doubt is not taken at all.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;

use super::alarm::AlarmKind;
use super::decide::{Input, Notes};
use super::history::{Event, InForce};
use super::loosening::recovery_digest;
use super::memory::{Enforced, Standing, WaveStanding};
use super::rollout::{EVERYTHING, Phase};
use crate::Digest;

/// How long it stays an alarm that a record was lost or changed.
const ALARMED_FOR: SignedDuration = SignedDuration::from_hours(72);

/// What is known of what is enforced.
pub(super) enum Recalled {
    /// Nothing was ever promoted.
    Nothing,
    /// This.
    Known(Box<Enforced>),
    /// Something is enforced, in these namespaces as far as anybody knows, and nobody knows in which form.
    Lost(BTreeSet<String>),
}

/// Recalls what is enforced.
///
/// Where the form that is in force is not known, it is made anew from the declared one if that is provably the same, or if somebody approved that.
pub(super) fn recall(input: &Input<'_>, chain_holds: bool, notes: &mut Notes) -> Recalled {
    let witnesses = Witnesses::of(input, chain_holds);
    let recalled = match input.enforced {
        Some(kept) if witnesses.agree_with(kept, input) => complete(kept.clone(), &witnesses, input, notes),
        Some(kept) => {
            let names = witnesses.names().chain(kept.namespaces.keys().cloned()).collect();
            anew(input, &witnesses, names, notes)
        }
        None => {
            let names: BTreeSet<String> = witnesses.names().collect();
            if names.is_empty() && !witnesses.something_is_lost {
                return Recalled::Nothing;
            }
            anew(input, &witnesses, names, notes)
        }
    };
    if let Some((at, why)) = notes.history.recovered(notes.now, ALARMED_FOR) {
        let message = format!("{why}, at {at}; it was set right; see who can write there");
        notes.alarm(AlarmKind::RecordLost, message);
    }
    recalled
}

/// What has to be approved where nobody knows which form is in force.
pub(super) fn recovery(input: &Input<'_>) -> Digest {
    recovery_digest(input.declared.name, input.declared.digest(), input.history.head())
}

/// Everything beside the object that says what is enforced.
struct Witnesses {
    chain_holds: bool,
    /// What the history says, also where its chain does not hold: it may say too little, and is not believed of the form.
    history: InForce,
    /// What the last step wrote down.
    last: BTreeSet<String>,
    /// Where engines are seen to deny, or are told to.
    in_force: BTreeSet<String>,
    /// The digest of the form in force.
    form: Option<Digest>,
    /// Something was promoted, or may have been, whoever can say where.
    something_is_lost: bool,
}

impl Witnesses {
    fn of(input: &Input<'_>, chain_holds: bool) -> Self {
        let history = input.history.in_force();
        let speaks = chain_holds && !input.history.records().is_empty();
        let last = input.progress.map(|progress| progress.enforced.clone()).unwrap_or_default();
        let engines = input.observed.engines.iter();
        let past_audit = |phase: Phase| matches!(phase, Phase::Promoting | Phase::Enforcing);
        Self {
            chain_holds: speaks,
            form: history.form.filter(|_| speaks).or_else(|| input.progress?.form),
            history,
            // A history that holds knows more than the last step: what was released since.
            last: if speaks { BTreeSet::new() } else { last },
            in_force: engines.flat_map(|engine| engine.in_force.union(&engine.told).cloned()).collect(),
            something_is_lost: input.progress.map_or(!chain_holds, |progress| past_audit(progress.phase)),
        }
    }

    /// Where it is enforced by what was written down.
    fn written(&self) -> impl Iterator<Item = &String> {
        self.history.enforced.keys().chain(&self.last)
    }

    /// Where it is enforced by what was written down, or is seen: an engine may deny for a while after it was told not to.
    fn names(&self) -> impl Iterator<Item = String> + '_ {
        self.written().chain(&self.in_force).cloned()
    }

    /// Somebody speaks for the form that was kept; of a policy that is enforced nowhere, any form may be kept.
    fn agree_with(&self, kept: &Enforced, input: &Input<'_>) -> bool {
        let nowhere = kept.namespaces.is_empty() && self.written().next().is_none();
        nowhere || self.form == Some(kept.form(input.declared.name).digest())
    }

    fn wave_of(&self, namespace: &str) -> String {
        self.history.enforced.get(namespace).cloned().unwrap_or_else(|| EVERYTHING.to_owned())
    }
}

/// What was kept, with every namespace that was promoted by what was written down, and was taken out since.
fn complete(mut kept: Enforced, witnesses: &Witnesses, input: &Input<'_>, notes: &mut Notes) -> Recalled {
    let missing: BTreeSet<String> =
        witnesses.written().filter(|name| !kept.namespaces.contains_key(*name)).cloned().collect();
    let names: Vec<&str> = missing.iter().map(String::as_str).collect();
    let said_nowhere = kept.namespaces.keys().any(|name| !witnesses.history.enforced.contains_key(name));
    let why = if !missing.is_empty() {
        format!("`{}` was no longer in the object that says what is enforced", names.join("`, `"))
    } else if !kept.namespaces.is_empty() && (!witnesses.chain_holds || said_nowhere) {
        "the history no longer said what is enforced".to_owned()
    } else {
        return Recalled::Known(Box::new(kept));
    };
    add(&mut kept, &missing, witnesses, notes);
    write_down(why, &kept, witnesses, input, notes);
    Recalled::Known(Box::new(kept))
}

/// The declared form in its place, where that is the one in force or was approved.
fn anew(input: &Input<'_>, witnesses: &Witnesses, names: BTreeSet<String>, notes: &mut Notes) -> Recalled {
    let wanted = recovery(input);
    let approved = input.approvals.iter().any(|approval| {
        approval.kind == "SigningIdentityPolicy" && approval.name == input.declared.name && approval.digest == wanted
    });
    if witnesses.form != Some(input.declared.digest()) && !approved {
        return Recalled::Lost(names);
    }
    let mut enforced = Enforced::nothing(input.declared);
    add(&mut enforced, &names, witnesses, notes);
    let why = format!(
        "the object that says what is enforced was lost or changed, and was made anew for {} namespaces",
        names.len()
    );
    write_down(why, &enforced, witnesses, input, notes);
    Recalled::Known(Box::new(enforced))
}

/// Writes what is in force into the history: a chain that does not hold begins anew with it.
fn write_down(why: String, enforced: &Enforced, witnesses: &Witnesses, input: &Input<'_>, notes: &mut Notes) {
    let waves = enforced.waves.iter().filter(|(_, wave)| wave.observed.is_some()).map(|(name, _)| name.clone());
    let in_force = InForce {
        form: Some(enforced.form(input.declared.name).digest()),
        enforced: enforced.namespaces.iter().map(|(name, standing)| (name.clone(), standing.wave.clone())).collect(),
        waves: waves.collect(),
        since: if witnesses.chain_holds { witnesses.history.since } else { None },
        // The form may be about more than the one before.
        further: Some(notes.now),
        // What a chain says of claims that does not hold is not believed: they are asked for again.
        claims: if witnesses.chain_holds { witnesses.history.claims.clone() } else { BTreeMap::new() },
        // The form may be a looser one than they were agreed to in.
        of_newborn: BTreeSet::new(),
        spent: witnesses.history.spent.clone(),
    };
    if witnesses.chain_holds {
        notes.record(Event::Recovered { why, in_force });
    } else {
        notes.history = notes.history.anew(notes.now, why, in_force);
    }
}

fn add(enforced: &mut Enforced, names: &BTreeSet<String>, witnesses: &Witnesses, notes: &Notes) {
    for name in names {
        let wave = witnesses.wave_of(name);
        enforced.waves.entry(wave.clone()).or_insert(WaveStanding { promoted: notes.now, observed: None });
        enforced.namespaces.insert(name.clone(), Standing::new(&wave, notes.now));
    }
}
