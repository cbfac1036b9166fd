//! One step of the gate for every policy, and what the steps amount to.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::facts::{Facts, Owned};
use super::memory::Remembered;
use super::retention::Retained;
use super::sight::{Engines, Sight};
use super::standing::{Forms, Standing, refusals_of};
use crate::coverage::conflict::{Conflict, Judging, conflicts};
use crate::coverage::{CompiledPolicy, Coverage};
use crate::engines::native::Holding;
use crate::engines::{EngineKind, Rendering};
use crate::gate::rollout::Phase;
use crate::gate::{Decision, Event, Intent};

/// What was decided of one policy.
pub struct Step<'a> {
    /// The policy, in the form that is in force.
    pub standing: Standing<'a>,
    /// The step.
    pub decision: Decision,
}

/// What was decided of all policies.
pub struct Decided<'a> {
    /// Each policy.
    pub steps: Vec<Step<'a>>,
    /// Of which policies nobody knows what is in force, in words: nothing is written then that depends on all policies.
    pub unknown: Option<String>,
    /// What each engine is to be given.
    pub wanted: BTreeMap<EngineKind, Rendering>,
    /// What each would lose and refuse once every policy is enforced wherever it selects, as far as there is room: what a promotion would meet. Objects are
    /// not among it.
    pub promoted: BTreeMap<EngineKind, Rendering>,
    /// The digests that are verified, with what they rest on.
    pub holdings: BTreeMap<String, Holding>,
    /// Policies that do not go together.
    pub conflicts: Vec<Conflict>,
}

/// Decides every policy, and renders what the decisions amount to. `coverage` is what runs, judged by [`Forms::policies`].
pub fn decide<'a>(facts: &Facts<'_>, forms: Forms<'a>, coverage: &Coverage, now: Timestamp) -> Decided<'a> {
    let policies = forms.policies();
    let Retained { verified, holdings } = Retained::of(facts, &policies, coverage, now);
    let Forms { standings, refusals, beside } = forms;
    let beside = Owned::borrowed(&beside);
    let sight = Sight { facts, coverage, verified: &verified, beside: &beside, refusals: &refusals };
    let beyond = sight.beyond(&standings);
    // Losses are those of everything enforced: what a promotion would meet.
    let promoted = sight.foretell(&standings, |standing, ready| {
        let enforced = standing.enforced_before();
        if beyond.contains(standing.name()) { enforced } else { &enforced | &sight.selected(ready) }
    });
    let current = refusals_of(&sight.foretell(&standings, |standing, _| standing.enforced_before()));
    let engines = Engines { promoted: &promoted, current: &current, beyond: &beyond };
    let decisions = sight.decide_all(&standings, engines, now);
    let steps: Vec<Step<'a>> =
        standings.into_iter().zip(decisions).map(|(standing, decision)| Step { standing, decision }).collect();
    let unknown = unknown(&steps, facts.lost);
    let mut wanted = sight.render_decided(&steps);
    if unknown.is_some() {
        for rendering in wanted.values_mut() {
            rendering.objects.clear();
        }
    }
    let conflicts = conflicts_of(&sight, &steps);
    Decided { steps, unknown, wanted, promoted, holdings, conflicts }
}

impl Step<'_> {
    /// Whether the policy goes: it is to be deleted, and nothing is enforced of it or somebody agreed.
    pub fn lets_go(&self) -> bool {
        self.decision.intents.contains(&Intent::Remove)
    }

    /// What is to be remembered of the policy. Once it goes, nothing of it is enforced any more, and the history says who agreed.
    pub fn remembered(&self, now: Timestamp) -> Remembered {
        let mut remembered = Remembered::from(&self.decision);
        if !self.lets_go() {
            return remembered;
        }
        let by = self.decision.intents.iter().filter_map(|intent| match intent {
            Intent::Except { break_glass, .. } => Some(format!("break-glass {break_glass}")),
            _ => None,
        });
        let by: BTreeSet<String> = by.collect();
        if let Some(enforced) = remembered.enforced.as_mut().filter(|enforced| !enforced.namespaces.is_empty()) {
            let namespaces = enforced.names();
            enforced.namespaces.clear();
            enforced.waves.clear();
            let released = Event::Released { namespaces, by: by.into_iter().collect() };
            remembered.history.append(now, released, crate::gate::history::KEPT);
        }
        if let Some(progress) = &mut remembered.progress {
            progress.phase = Phase::Audit;
            progress.enforced.clear();
            (progress.form, progress.soak, progress.head) = (None, None, remembered.history.head());
            progress.late.clear();
        }
        remembered
    }
}

impl Decided<'_> {
    /// What is to be remembered of policies. One that is gone and denies nowhere is forgotten; one that could not be decided is remembered as it was.
    pub fn remembered(&self, facts: &Facts<'_>) -> BTreeMap<String, Remembered> {
        let decided = self
            .steps
            .iter()
            .filter(|Step { standing, decision }| {
                !standing.member.is_gone || !decision.namespaces.is_empty() || decision.form.is_none()
            })
            .map(|Step { standing, decision }| (standing.name().to_owned(), Remembered::from(decision)));
        let lost = facts.remembered.iter().filter(|(name, _)| facts.lost.contains(*name));
        decided.chain(lost.map(|(name, kept)| (name.clone(), kept.clone()))).collect()
    }
}

/// Of which policies nobody knows what is in force, or nothing can be made of it; nothing may be written then that depends on all policies.
fn unknown(steps: &[Step<'_>], lost: &BTreeSet<String>) -> Option<String> {
    let without_form = steps.iter().filter(|Step { standing, decision }| {
        decision.form.is_none() || (standing.ready.is_none() && !decision.namespaces.is_empty())
    });
    let names: BTreeSet<&str> =
        without_form.map(|step| step.standing.name()).chain(lost.iter().map(String::as_str)).collect();
    let names: Vec<&str> = names.into_iter().collect();
    (!names.is_empty()).then(|| format!("what is in force of `{}` is not known", names.join("`, `")))
}

/// Policies that do not go together, in the forms in force and where they judge or deny.
fn conflicts_of(sight: &Sight<'_>, steps: &[Step<'_>]) -> Vec<Conflict> {
    let places: Vec<(&CompiledPolicy, BTreeSet<String>, &BTreeSet<String>)> = steps
        .iter()
        .filter_map(|Step { standing, decision }| {
            let ready = standing.ready.as_ref()?;
            let all = &sight.selected(ready) | &decision.namespaces;
            Some((&ready.compiled, all, &decision.namespaces))
        })
        .collect();
    let judging: Vec<Judging<'_>> = places
        .iter()
        .map(|(policy, all, denied)| Judging {
            policy,
            namespaces: all.iter().map(String::as_str).collect(),
            enforced: denied.iter().map(String::as_str).collect(),
        })
        .collect();
    conflicts(&judging)
}
