//! Which form of each policy is in force, before anything was judged by it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::facts::{Facts, Owned};
use super::member::Member;
use super::memory::Remembered;
use crate::api::SigningIdentityPolicy;
use crate::coverage::CompiledPolicy;
use crate::engines::{EngineKind, EstatePolicy, Rendering, Rollout, Verified};
use crate::gate::compiled::compiled;
use crate::gate::loosening::{Beside, Form, PolicyForm};
use crate::gate::{Enforced, EngineState, Input, Observation, in_force};

/// Engines that could not be given a policy for enforcement, and why, by policy.
pub(super) type Refusals = BTreeMap<(EngineKind, String), String>;

/// A policy in the form that is in force.
pub struct Standing<'a> {
    /// As it is declared.
    pub member: &'a Member,
    /// What is remembered of it.
    pub remembered: &'a Remembered,
    /// Made ready; not, where nobody knows the form, or where nothing can be made of it.
    pub ready: Option<Ready>,
}

/// A form, made ready.
pub struct Ready {
    /// The form.
    pub form: Form,
    /// The policy, as it would be declared in it.
    pub policy: SigningIdentityPolicy,
    /// What is judged by.
    pub compiled: CompiledPolicy,
}

/// The forms in force of all policies, and what goes with them.
pub struct Forms<'a> {
    /// Each policy.
    pub standings: Vec<Standing<'a>>,
    pub(super) refusals: Refusals,
    pub(super) beside: Vec<Owned<'a>>,
}

impl Standing<'_> {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.member.name
    }

    /// Since when it denies anywhere; none where it does not.
    pub(super) fn enforced_since(&self) -> Option<Timestamp> {
        enforced_since(self.remembered)
    }

    /// Whether it may be about what it was not about in a namespace when another policy came to be enforced: since a change or a wave of it, or in a form that is
    /// new or lent.
    pub(super) fn may_take_from(&self, facts: &Facts<'_>, other: &str, namespace: &str) -> bool {
        let Some(enforced) = &self.remembered.enforced else { return false };
        let form = self.ready.as_ref().map(|ready| ready.form.of(self.name()).digest());
        let other = facts.remembered(other);
        let further = self.remembered.history.in_force().further;
        let own = facts.about_since(self.remembered, namespace);
        // A wave that is only coming into force is later than any.
        let is_later = |of_other: Timestamp| own.is_none_or(|own| of_other < own);
        form.is_some_and(|form| form != enforced.form(self.name()).digest())
            || further.is_some_and(|further| enforced_since(other).is_some_and(|since| since <= further))
            || facts.about_since(other, namespace).is_some_and(is_later)
    }

    /// The namespaces it was enforced in when the step began.
    pub fn enforced_before(&self) -> BTreeSet<String> {
        self.remembered.enforced.as_ref().map(Enforced::names).unwrap_or_default()
    }
}

/// The history knows it longer than the names, which are forgotten once their namespaces are gone.
fn enforced_since(remembered: &Remembered) -> Option<Timestamp> {
    let written = remembered.enforced.as_ref()?.namespaces.values().map(|namespace| namespace.written).min()?;
    Some(remembered.history.in_force().since.map_or(written, |since| since.min(written)))
}

impl Forms<'_> {
    /// What a scan has to judge by.
    pub fn policies(&self) -> Vec<CompiledPolicy> {
        self.standings.iter().filter_map(|standing| Some(standing.ready.as_ref()?.compiled.clone())).collect()
    }
}

/// Which forms are in force; it does not hang on what a scan says.
pub fn forms_in_force<'a>(facts: &Facts<'a>, now: Timestamp) -> Forms<'a> {
    let owned = facts.beside();
    let refusals = refusals(facts);
    let standings = {
        let beside = Owned::borrowed(&owned);
        facts.members.iter().map(|member| standing(facts, member, &beside, &refusals, now)).collect()
    };
    Forms { standings, refusals, beside: owned }
}

fn standing<'a>(
    facts: &Facts<'a>,
    member: &'a Member,
    beside: &[Beside<'_>],
    refusals: &Refusals,
    now: Timestamp,
) -> Standing<'a> {
    let remembered = facts.remembered(&member.name);
    let observed = Observation {
        engines: seen(facts, refusals, &member.name),
        namespaces: facts.namespaces(&member.form.spec.namespace_selector),
        sees_all_namespaces: facts.sees_all_namespaces,
        break_glasses: facts.break_glasses.to_vec(),
        ..Observation::default()
    };
    let input = input(facts, member, remembered, &observed, (beside, beside));
    let ready = in_force(&input, now).and_then(|current| {
        let (policy, ready) = compiled(current.form.of(&member.name)).ok()?;
        Some(Ready { form: current.form, policy, compiled: ready.enforced_in(current.namespaces) })
    });
    Standing { member, remembered, ready }
}

/// What a step looks at; of other policies, as they were when the pass began and as they are now.
pub(super) fn input<'i>(
    facts: &Facts<'i>,
    member: &'i Member,
    remembered: &'i Remembered,
    observed: &'i Observation,
    (beside, beside_now): (&'i [Beside<'i>], &'i [Beside<'i>]),
) -> Input<'i> {
    Input {
        declared: member.declares(),
        deleting: member.leaves,
        unusable: member.unusable.as_deref(),
        paused: member.form.spec.enforcement.paused,
        enforced: remembered.enforced.as_ref(),
        progress: remembered.progress.as_ref(),
        history: &remembered.history,
        observed,
        beside,
        beside_now,
        approvals: facts.approvals,
    }
}

/// Engines of which nothing is known yet but that they refuse, and what they are told.
fn seen(facts: &Facts<'_>, refusals: &Refusals, policy: &str) -> Vec<EngineState> {
    let state = |kind: EngineKind| {
        let refuses = refusals.get(&(kind, policy.to_owned())).cloned();
        let seen = (facts.engines)(kind, policy);
        let matters = refuses.is_some() || !seen.told.is_empty() || !seen.in_force.is_empty();
        matters.then(|| EngineState {
            kind,
            present: seen.present,
            ready: seen.ready,
            canaries: seen.canaries,
            faults: seen.faults,
            losses: Vec::new(),
            refuses,
            told: seen.told,
            in_force: seen.in_force,
        })
    };
    EngineKind::ALL.iter().copied().filter_map(state).collect()
}

/// Which engines could not be given the policies as they are declared, where they are enforced now, and could be given the forms that are enforced. An engine
/// that refuses either form is no reason to hold a change: what it holds stays as it is in any case.
fn refusals(facts: &Facts<'_>) -> Refusals {
    let declared = refused(facts, |member| Some(member.declares()));
    let enforced = refused(facts, |member| Some(facts.remembered(&member.name).enforced.as_ref()?.form(&member.name)));
    declared.into_iter().filter(|(who, _)| !enforced.contains_key(who)).collect()
}

/// Which engines refuse policies in these forms, where they are enforced now.
fn refused<'m>(facts: &Facts<'m>, form: impl Fn(&'m Member) -> Option<PolicyForm<'m>>) -> Refusals {
    let members = facts.members.iter();
    let ready: Vec<(&Member, (SigningIdentityPolicy, CompiledPolicy))> =
        members.filter_map(|member| Some((member, compiled(form(member)?).ok()?))).collect();
    let policies = ready.iter().map(|(member, (declared, compiled))| {
        let enforced = facts.remembered(&member.name).enforced.as_ref().map(Enforced::names).unwrap_or_default();
        (member.name.as_str(), EstatePolicy { declared, compiled, rollout: Rollout { enforced } })
    });
    refusals_of(&facts.capabilities.foretell(&facts.estate(policies.collect(), Vec::new(), Verified::default())))
}

pub(super) fn refusals_of(renderings: &BTreeMap<EngineKind, Rendering>) -> Refusals {
    let refused = renderings.iter().flat_map(|(kind, rendering)| rendering.refused.iter().map(|of| (*kind, of)));
    refused.map(|(kind, of)| ((kind, of.policy.clone()), of.why.clone())).collect()
}
