//! What is known of a policy once everything was judged by the forms in force: what engines say of it, and what they would be given.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::decided::Step;
use super::facts::Facts;
use super::standing::{Ready, Refusals, Standing, input};
use crate::coverage::Coverage;
use crate::engines::all::asks;
use crate::engines::native::TOO_MUCH;
use crate::engines::{EngineKind, Estate, EstatePolicy, Exception, Loss, Rendering, Rollout, Verified};
use crate::gate::loosening::Beside;
use crate::gate::{Decision, EngineState, Intent, Observation, Scan, decide, scan_of};

/// What engines would be given.
#[derive(Clone, Copy)]
pub(super) struct Engines<'a> {
    /// With every policy enforced wherever it selects; without the objects.
    pub(super) promoted: &'a BTreeMap<EngineKind, Rendering>,
    /// Which refuse what is enforced now.
    pub(super) current: &'a Refusals,
    /// Policies whose promotion would be more than there is room for.
    pub(super) beyond: &'a BTreeSet<String>,
}

/// What is known once everything was judged by the forms in force.
pub(super) struct Sight<'a> {
    pub(super) facts: &'a Facts<'a>,
    pub(super) coverage: &'a Coverage,
    pub(super) verified: &'a Verified,
    pub(super) beside: &'a [Beside<'a>],
    pub(super) refusals: &'a Refusals,
}

impl Sight<'_> {
    /// Decides every policy, one after another: whatever comes into force beside another one in the same pass has to ask for what it takes out of that
    /// one's denial. Those that have been enforced the longest come first, so that it is a newcomer that asks, and not who was there.
    pub(super) fn decide_all(&self, standings: &[Standing<'_>], engines: Engines<'_>, now: Timestamp) -> Vec<Decision> {
        let mut order: Vec<(usize, &Standing<'_>)> = standings.iter().enumerate().collect();
        order.sort_by_cached_key(|(_, standing)| {
            (standing.enforced_since().unwrap_or(Timestamp::MAX), standing.name().to_owned())
        });
        let mut decided: Vec<(usize, &str, Decision)> = Vec::new();
        for (at, standing) in order {
            let coming = self.coming(&decided, standing);
            let decision = self.decide(standing, &self.beside_by_now(&decided, &coming), engines, now);
            decided.push((at, standing.name(), decision));
        }
        decided.sort_by_key(|(at, ..)| *at);
        decided.into_iter().map(|(.., decision)| decision).collect()
    }

    /// New namespaces of policies that are still to be decided, and that count as theirs already: those in which this one is the newcomer, since it came to be
    /// about more than it was about when they came.
    fn coming(&self, decided: &[(usize, &str, Decision)], standing: &Standing<'_>) -> BTreeMap<&str, BTreeSet<String>> {
        let is_decided = |name: &str| decided.iter().any(|(_, decided, _)| *decided == name);
        let others = self.beside.iter().filter(|of| !is_decided(of.name));
        let coming = others.map(|of| {
            let takes = |namespace: &&String| standing.may_take_from(self.facts, of.name, namespace);
            (of.name, of.coming.iter().filter(takes).cloned().collect())
        });
        coming.collect()
    }

    /// Every policy that is enforced: those that were decided as they are now, and the others as they were, with what of them is coming.
    fn beside_by_now<'b>(
        &'b self,
        decided: &'b [(usize, &str, Decision)],
        coming: &'b BTreeMap<&str, BTreeSet<String>>,
    ) -> Vec<Beside<'b>> {
        let others = self.beside.iter().filter_map(|of| Some(Beside { coming: coming.get(of.name)?, ..*of }));
        let moved = decided.iter().filter_map(|(_, name, decision)| {
            Some(Beside::new(name, &decision.enforced.as_ref()?.spec, &decision.namespaces))
        });
        others.chain(moved).collect()
    }

    fn decide(
        &self,
        standing: &Standing<'_>,
        beside_now: &[Beside<'_>],
        engines: Engines<'_>,
        now: Timestamp,
    ) -> Decision {
        let facts = self.facts;
        let scan = standing.ready.as_ref().zip(facts.scan.ok()).map(|(Ready { form, compiled, .. }, scan)| {
            let form = form.of(standing.name());
            let incomplete = scan.incomplete.clone();
            let is_early = scan.is_early;
            let of = scan_of(form, compiled, self.coverage, facts.inventory, self.beside, scan.time, incomplete);
            Scan { is_early, ..of }
        });
        let declared = &standing.member.form.spec;
        let observed = Observation {
            trust_roots: facts.trust.iter().map(|(name, trust)| (name.clone(), trust.state.clone())).collect(),
            scan,
            unscanned: facts.scan.err().cloned(),
            looks_around: facts.looks_around,
            engines: self.engine_states(standing, engines),
            clock: Some(facts.clock),
            break_glasses: facts.break_glasses.to_vec(),
            namespaces: facts.namespaces(&declared.namespace_selector),
            sees_all_namespaces: facts.sees_all_namespaces,
            left_out: facts.left_out_for(&declared.engines),
        };
        let beside = (self.beside, beside_now);
        decide(&input(facts, standing.member, standing.remembered, &observed, beside), now)
    }

    fn engine_states(&self, standing: &Standing<'_>, engines: Engines<'_>) -> Vec<EngineState> {
        let declared = &standing.member.form.spec.engines;
        let current = standing.ready.as_ref().map_or(declared, |ready| &ready.form.spec.engines);
        let state = |kind: EngineKind| {
            let seen = (self.facts.engines)(kind, standing.name());
            if !asks(declared, kind) && !asks(current, kind) && seen.told.is_empty() {
                return None;
            }
            let nothing = Rendering::default();
            let rendering = engines.promoted.get(&kind).unwrap_or(&nothing);
            let mut faults = self.refusal(kind, standing, engines);
            faults.extend(seen.faults);
            Some(EngineState {
                kind,
                present: seen.present,
                ready: seen.ready,
                canaries: seen.canaries,
                faults,
                losses: rendering.losses.iter().filter(|loss| is_of(loss, standing.name())).cloned().collect(),
                refuses: self.refusals.get(&(kind, standing.name().to_owned())).cloned(),
                told: seen.told,
                in_force: seen.in_force,
            })
        };
        EngineKind::ALL.iter().copied().filter_map(state).collect()
    }

    /// Why an engine cannot deny by this policy, or could no longer deny by another one once this one denies everywhere.
    fn refusal(&self, kind: EngineKind, standing: &Standing<'_>, engines: Engines<'_>) -> Vec<String> {
        let name = standing.name();
        let is_complete =
            standing.ready.as_ref().is_none_or(|ready| self.selected(ready).is_subset(&standing.enforced_before()));
        let own = |why: &String| format!("it could not be given the policy for enforcement: {why}");
        let current = engines.current.get(&(kind, name.to_owned())).map(own);
        if is_complete {
            return current.into_iter().collect();
        }
        let denies_by = |policy: &str| {
            self.beside.iter().any(|other| other.name == policy)
                && !engines.current.contains_key(&(kind, policy.to_owned()))
        };
        let promoted = engines.promoted.get(&kind).into_iter().flat_map(|rendering| &rendering.refused);
        let faults = promoted.filter_map(|refused| match refused.policy.as_str() {
            policy if policy == name => Some(own(&refused.why)),
            policy if denies_by(policy) => Some(format!(
                "with every policy promoted it could no longer be given `{policy}`, which is enforced: {}",
                refused.why
            )),
            _ => None,
        });
        let beyond = engines.beyond.contains(name).then(|| own(&TOO_MUCH.to_owned()));
        current.into_iter().chain(faults).chain(beyond).collect()
    }

    /// The namespaces a form selects, of those in which it may come to be enforced.
    pub(super) fn selected(&self, ready: &Ready) -> BTreeSet<String> {
        let left_out = self.facts.left_out_for(&ready.form.spec.engines);
        let known = self.facts.namespaces.iter();
        known
            .filter(|(name, known)| !left_out.contains(*name) && ready.compiled.selects(&known.labels))
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// What would be lost and refused with the forms in force, enforced in the namespaces that `enforced` says.
    pub(super) fn foretell<'s>(
        &self,
        standings: &'s [Standing<'s>],
        enforced: impl Fn(&Standing<'s>, &Ready) -> BTreeSet<String>,
    ) -> BTreeMap<EngineKind, Rendering> {
        self.facts.capabilities.foretell(&self.estate(policies(standings, enforced), Vec::new()))
    }

    /// Renders what the gate decided.
    pub(super) fn render_decided(&self, steps: &[Step<'_>]) -> BTreeMap<EngineKind, Rendering> {
        let policies = steps.iter().filter_map(|Step { standing, decision }| {
            let Ready { policy, compiled, .. } = standing.ready.as_ref()?;
            let rollout = Rollout { enforced: decision.namespaces.clone() };
            let let_go = decision.intents.contains(&Intent::Remove);
            (!let_go).then_some((standing.name(), EstatePolicy { declared: policy, compiled, rollout }))
        });
        let exceptions = steps.iter().flat_map(|Step { standing, decision }| {
            decision.intents.iter().filter_map(|intent| match intent {
                Intent::Except { break_glass, namespaces, until } => Some(Exception {
                    break_glass,
                    policy: standing.name(),
                    namespaces: namespaces.clone(),
                    until: *until,
                }),
                _ => None,
            })
        });
        self.facts.capabilities.render(&self.estate(policies.collect(), exceptions.collect()))
    }

    fn estate<'e>(
        &'e self,
        policies: BTreeMap<&'e str, EstatePolicy<'e>>,
        exceptions: Vec<Exception<'e>>,
    ) -> Estate<'e> {
        self.facts.estate(policies, exceptions, self.verified.clone())
    }
}

/// The forms in force, enforced in the namespaces that `enforced` says.
pub(super) fn policies<'s>(
    standings: &'s [Standing<'s>],
    enforced: impl Fn(&Standing<'s>, &Ready) -> BTreeSet<String>,
) -> BTreeMap<&'s str, EstatePolicy<'s>> {
    let policies = standings.iter().filter_map(|standing| {
        let ready = standing.ready.as_ref()?;
        let Ready { policy, compiled, .. } = ready;
        let rollout = Rollout { enforced: enforced(standing, ready) };
        Some((standing.name(), EstatePolicy { declared: policy, compiled, rollout }))
    });
    policies.collect()
}

/// A loss without a policy concerns all.
fn is_of(loss: &Loss, policy: &str) -> bool {
    loss.policy.as_deref().is_none_or(|of| of == policy)
}
