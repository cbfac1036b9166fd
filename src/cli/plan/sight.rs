//! What is known once everything was judged by the forms in force: what engines say of them, and what they would be given.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_core::coverage::Coverage;
use holdfast_core::engines::all::asks;
use holdfast_core::engines::{EngineKind, EstatePolicy, Exception, Rendering, Rollout, Verified};
use holdfast_core::gate::loosening::Beside;
use holdfast_core::gate::{
    Canaries, Decision, EngineState, Input, Intent, Observation, ScanTime, TrustRootState, decide, scan_of,
};

use super::rollout::{Inputs, Ready, Refusals, Standing, input};
use super::trust::TrustView;
use super::views::is_of;

/// What engines would be given.
#[derive(Clone, Copy)]
pub(super) struct Engines<'a> {
    /// With every policy enforced wherever it selects.
    pub(super) promoted: &'a BTreeMap<EngineKind, Rendering>,
    /// Which refuse what is enforced now.
    pub(super) current: &'a Refusals,
}

/// What is known once everything was judged by the forms in force.
pub(super) struct Sight<'a> {
    pub(super) inputs: &'a Inputs<'a>,
    pub(super) coverage: &'a Coverage,
    pub(super) verified: &'a Verified,
    pub(super) beside: &'a [Beside<'a>],
    pub(super) refusals: &'a Refusals,
}

impl Sight<'_> {
    pub(super) fn decide(&self, standing: &Standing<'_>, engines: Engines<'_>) -> Decision {
        let inputs = self.inputs;
        let time = ScanTime { started: inputs.now, finished: inputs.now, interval: inputs.interval };
        let scan = standing.ready.as_ref().map(|Ready { form, compiled, .. }| {
            let form = form.of(standing.name());
            scan_of(form, compiled, self.coverage, inputs.inventory, self.beside, time, inputs.incomplete.clone())
        });
        let observed = Observation {
            trust_roots: inputs.trust.iter().map(|view| (view.name.clone(), trust_state(view))).collect(),
            scan,
            engines: self.engine_states(standing, engines),
            clock: Some(inputs.clock()),
            break_glasses: Vec::new(),
            namespaces: inputs.namespaces(&standing.member.form.spec.namespace_selector),
            left_out: inputs.left_out_for(&standing.member.form.spec.engines),
        };
        let approvals = inputs.approvals(standing.name());
        let input = input(standing.member, standing.remembered, &observed, self.beside);
        decide(&Input { approvals: &approvals, ..input }, inputs.now)
    }

    fn engine_states(&self, standing: &Standing<'_>, engines: Engines<'_>) -> Vec<EngineState> {
        let remembered = standing.remembered.enforced.iter().flat_map(|enforced| &enforced.namespaces);
        // A plan sees no cluster: what was in force when last observed is taken to be so still.
        let in_force: BTreeSet<String> = remembered
            .filter(|(_, standing)| self.inputs.assume_ready || standing.observed.is_some())
            .map(|(name, _)| name.clone())
            .collect();
        let declared = &standing.member.form.spec.engines;
        let current = standing.ready.as_ref().map_or(declared, |ready| &ready.form.spec.engines);
        let denied = |kind: EngineKind| self.inputs.denied(kind, standing.name());
        let asked = EngineKind::ALL
            .iter()
            .copied()
            .filter(|kind| asks(declared, *kind) || asks(current, *kind) || !denied(*kind).is_empty());
        let state = |kind: EngineKind| {
            let nothing = Rendering::default();
            let rendering = engines.promoted.get(&kind).unwrap_or(&nothing);
            let mut faults = self.refusal(kind, standing, engines);
            if !self.inputs.assume_ready {
                faults.push(
                    "only a cluster shows whether it acts on this policy; `--assume-ready` takes it as ready"
                        .to_owned(),
                );
            }
            EngineState {
                kind,
                present: true,
                ready: true,
                canaries: if self.inputs.assume_ready { Canaries::Right } else { Canaries::Unknown },
                faults,
                losses: rendering.losses.iter().filter(|loss| is_of(loss, standing.name())).cloned().collect(),
                refuses: self.refusals.get(&(kind, standing.name().to_owned())).cloned(),
                told: denied(kind),
                in_force: in_force.clone(),
            }
        };
        asked.map(state).collect()
    }

    /// Why an engine cannot deny by this policy, or could no longer deny by another one once this one denies everywhere.
    fn refusal(&self, kind: EngineKind, standing: &Standing<'_>, engines: Engines<'_>) -> Vec<String> {
        let name = standing.name();
        let is_complete = standing
            .ready
            .as_ref()
            .is_none_or(|ready| self.inputs.selected(ready).is_subset(&standing.enforced_before()));
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
        current.into_iter().chain(faults).collect()
    }

    /// Renders the forms in force, enforced in the namespaces that `enforced` says.
    pub(super) fn render<'s>(
        &self,
        standings: &'s [Standing<'s>],
        enforced: impl Fn(&Standing<'s>, &Ready) -> BTreeSet<String>,
    ) -> BTreeMap<EngineKind, Rendering> {
        let policies = standings.iter().filter_map(|standing| {
            let ready = standing.ready.as_ref()?;
            let Ready { policy, compiled, .. } = ready;
            let rollout = Rollout { enforced: enforced(standing, ready) };
            Some((standing.name(), EstatePolicy { declared: policy, compiled, rollout }))
        });
        self.rendered(policies.collect(), Vec::new())
    }

    /// Renders what the gate decided.
    pub(super) fn render_decided(&self, decisions: &[(&Standing<'_>, Decision)]) -> BTreeMap<EngineKind, Rendering> {
        let policies = decisions.iter().filter_map(|(standing, decision)| {
            let Ready { policy, compiled, .. } = standing.ready.as_ref()?;
            let rollout = Rollout { enforced: decision.namespaces.clone() };
            let let_go = decision.intents.contains(&Intent::Remove);
            (!let_go).then_some((standing.name(), EstatePolicy { declared: policy, compiled, rollout }))
        });
        let exceptions = decisions.iter().flat_map(|(standing, decision)| {
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
        self.rendered(policies.collect(), exceptions.collect())
    }

    fn rendered<'e>(
        &'e self,
        policies: BTreeMap<&'e str, EstatePolicy<'e>>,
        exceptions: Vec<Exception<'e>>,
    ) -> BTreeMap<EngineKind, Rendering> {
        self.inputs.capabilities.render(&self.inputs.estate(policies, exceptions, self.verified.clone()))
    }
}

fn trust_state(view: &TrustView) -> TrustRootState {
    let nothing = "nothing of it is in force";
    TrustRootState {
        unready: view.adopted.is_none().then(|| view.refused.clone().unwrap_or_else(|| nothing.to_owned())),
        freshness: view.freshness.clone(),
        pending: view.candidate.as_ref().map(|candidate| candidate.root.digest),
        memory_intact: true,
        clock: view.clock,
    }
}
