//! What is enforced, as it is remembered; and what to make of it when that memory is lost or was changed.
//!
//! The object that says what is enforced is held against the history, which says in which form and where; and where that is silent too, against what the last
//! step wrote down and what engines are seen to do. Whatever one of them says is enforced is taken to be so.

use std::collections::{BTreeMap, BTreeSet};

use super::alarm::AlarmKind;
use super::decide::{Input, Notes};
use super::history::Event;
use super::memory::{Enforced, Standing, WaveStanding};
use super::rollout::{EVERYTHING, Phase};

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
/// Where the form that is in force is not known, it is made anew from the declared one if that is provably the same (the history has its digest), or if
/// somebody approved it.
pub(super) fn recall(input: &Input<'_>, chain_holds: bool, notes: &mut Notes) -> Recalled {
    let witnesses = Witnesses::of(input, chain_holds);
    match input.enforced {
        Some(kept) if witnesses.agree_with(kept, input) => complete(kept.clone(), &witnesses, notes),
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
    }
}

/// Everything beside the object that says what is enforced.
struct Witnesses {
    /// What was promoted and not released, with its wave, by the history.
    promoted: BTreeMap<String, String>,
    /// What the last step wrote down.
    last: BTreeSet<String>,
    /// Where engines are seen to deny.
    in_force: BTreeSet<String>,
    /// The form in force, by a history whose chain holds.
    form: Option<crate::Digest>,
    /// Something was promoted, or may have been, whoever can say where.
    something_is_lost: bool,
}

impl Witnesses {
    fn of(input: &Input<'_>, chain_holds: bool) -> Self {
        let speaks = chain_holds && !input.history.records().is_empty();
        let last = input.progress.map(|progress| progress.enforced.clone()).unwrap_or_default();
        let past_audit = |phase: Phase| matches!(phase, Phase::Promoting | Phase::Enforcing);
        Self {
            promoted: input.history.enforced(),
            // A history that holds knows more than the last step: what was released since.
            last: if speaks { BTreeSet::new() } else { last },
            in_force: input.observed.engines.iter().flat_map(|engine| engine.in_force.iter().cloned()).collect(),
            form: input.history.form().filter(|_| chain_holds),
            something_is_lost: input.progress.map_or(!chain_holds, |progress| past_audit(progress.phase)),
        }
    }

    /// Where it is enforced by what was written down.
    fn written(&self) -> impl Iterator<Item = &String> {
        self.promoted.keys().chain(&self.last)
    }

    /// Where it is enforced by what was written down, or is seen: an engine may deny for a while after it was told not to.
    fn names(&self) -> impl Iterator<Item = String> + '_ {
        self.written().chain(&self.in_force).cloned()
    }

    /// Nothing speaks against the form that was kept; of a policy that is enforced nowhere, any form may be kept.
    fn agree_with(&self, kept: &Enforced, input: &Input<'_>) -> bool {
        let nowhere = kept.namespaces.is_empty() && self.written().next().is_none();
        nowhere || self.form.is_none_or(|form| form == kept.form(input.declared.name).digest())
    }

    fn wave_of(&self, namespace: &str) -> String {
        self.promoted.get(namespace).cloned().unwrap_or_else(|| EVERYTHING.to_owned())
    }
}

/// What was kept, with every namespace that the history says was promoted and that was taken out since.
fn complete(mut kept: Enforced, witnesses: &Witnesses, notes: &mut Notes) -> Recalled {
    let missing: BTreeSet<String> =
        witnesses.written().filter(|name| !kept.namespaces.contains_key(*name)).cloned().collect();
    if !missing.is_empty() {
        let names: Vec<&str> = missing.iter().map(String::as_str).collect();
        notes.alarm(
            AlarmKind::RecordLost,
            format!(
                "`{}` is enforced, and was no longer in the object that says so; it stays enforced; see who changed the object",
                names.join("`, `")
            ),
        );
        add(&mut kept, &missing, witnesses, notes);
        notes.record(Event::Recovered { namespaces: missing });
    }
    Recalled::Known(Box::new(kept))
}

/// The declared form in its place, where that is the one in force or was approved.
fn anew(input: &Input<'_>, witnesses: &Witnesses, names: BTreeSet<String>, notes: &mut Notes) -> Recalled {
    let digest = input.declared.digest();
    let approved = input.approvals.iter().any(|approval| {
        approval.kind == "SigningIdentityPolicy" && approval.name == input.declared.name && approval.digest == digest
    });
    if witnesses.form != Some(digest) && !approved {
        return Recalled::Lost(names);
    }
    let mut enforced = Enforced::nothing(input.declared);
    add(&mut enforced, &names, witnesses, notes);
    notes.alarm(
        AlarmKind::RecordLost,
        format!("the object was made anew, for {} namespaces; see who removed or changed it", names.len()),
    );
    if witnesses.form != Some(digest) {
        notes.record(Event::FormChanged { form: digest, by: approvers(input, digest) });
    }
    notes.record(Event::Recovered { namespaces: names });
    Recalled::Known(Box::new(enforced))
}

fn approvers(input: &Input<'_>, digest: crate::Digest) -> Vec<String> {
    let covering = input.approvals.iter().filter(|approval| approval.digest == digest);
    covering.map(|approval| approval.by.clone()).collect()
}

fn add(enforced: &mut Enforced, names: &BTreeSet<String>, witnesses: &Witnesses, notes: &Notes) {
    for name in names {
        let wave = witnesses.wave_of(name);
        enforced.waves.entry(wave.clone()).or_insert(WaveStanding { promoted: notes.now, observed: None });
        enforced.namespaces.insert(name.clone(), Standing { wave, written: notes.now, observed: None });
    }
}
