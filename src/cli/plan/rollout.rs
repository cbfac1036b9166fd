//! What every engine would be given, and how far each policy has come: the decisions of the gate over what a plan sees.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_core::Digest;
use holdfast_core::api::SigningIdentityPolicy;
use holdfast_core::api::common::NAME_LABEL;
use holdfast_core::coverage::{CompiledPolicy, Coverage, Inventory};
use holdfast_core::engines::all::{Capabilities, asks, home};
use holdfast_core::engines::native::retain::Held;
use holdfast_core::engines::{
    EngineKind, Estate, EstatePolicy, EstateRoot, Exception, LocalRepository, Rendering, Rollout, Verified, Version,
};
use holdfast_core::gate::compiled::compiled;
use holdfast_core::gate::loosening::{Approval, Beside, Form};
use holdfast_core::gate::{
    Canaries, Decision, EngineState, Input, Intent, Namespace, Observation, ScanTime, TrustRootState, decide, in_force,
    scan_of,
};
use holdfast_core::trust::clock::Sanity;
use jiff::{SignedDuration, Timestamp};

use super::left::LeftAlone;
use super::members::{Member, Members};
use super::memory::{GateMemory, Remembered};
use super::retention::{Retained, Retention};
use super::trust::TrustView;
use super::views::{self, PolicyView, RolloutView, is_of};

/// How often a scan is made where no BundleCoverageReport says so.
pub(super) const INTERVAL: SignedDuration = SignedDuration::from_hours(1);

/// Everything the gate and the engines are given.
pub(super) struct Inputs<'a> {
    pub(super) members: &'a Members,
    pub(super) trust: &'a [TrustView],
    /// The evidence that is stored for a digest, where all of it could be listed.
    pub(super) evidence: &'a BTreeMap<Digest, Vec<Digest>>,
    pub(super) inventory: &'a Inventory,
    pub(super) memory: &'a GateMemory,
    pub(super) capabilities: &'a Capabilities,
    pub(super) versions: &'a BTreeMap<EngineKind, Version>,
    /// The roots of the repositories inside the cluster, by mirror.
    pub(super) local_roots: &'a BTreeMap<String, Vec<u8>>,
    /// Mirrors that are distributed as a repository inside the cluster.
    pub(super) served: BTreeSet<&'a str>,
    pub(super) namespace: &'a str,
    pub(super) interval: SignedDuration,
    /// Digests that whoever runs the plan approves.
    pub(super) approved: &'a [Digest],
    /// Whether engines are taken to act on what they are given.
    pub(super) assume_ready: bool,
    /// What was not read, in words.
    pub(super) incomplete: Option<String>,
    pub(super) now: Timestamp,
}

/// A policy in the form that is in force.
struct Standing<'m> {
    member: &'m Member,
    /// What is remembered of it.
    remembered: &'m Remembered,
    /// Made ready; not, where nobody knows the form, or where nothing can be made of it.
    ready: Option<Ready>,
}

/// A form, made ready.
struct Ready {
    form: Form,
    policy: SigningIdentityPolicy,
    compiled: CompiledPolicy,
}

impl Standing<'_> {
    fn name(&self) -> &str {
        &self.member.name
    }
}

/// Engines that could not be given a policy for enforcement, and why, by policy.
type Refusals = BTreeMap<(EngineKind, String), String>;

/// Decides every policy, and renders what the decisions amount to. `assess` judges what runs by the policies it is given: those in force.
pub(super) fn plan(inputs: &Inputs<'_>, assess: impl FnOnce(&[CompiledPolicy]) -> Coverage) -> RolloutView {
    let beside = inputs.beside();
    let beside: Vec<Beside<'_>> =
        beside.iter().map(|(name, spec, namespaces)| Beside { name, spec, namespaces }).collect();
    let refusals = inputs.refusals();
    let standings: Vec<Standing<'_>> =
        inputs.members.all.iter().map(|member| inputs.standing(member, &beside, &refusals)).collect();
    let in_force: Vec<CompiledPolicy> =
        standings.iter().filter_map(|standing| Some(standing.ready.as_ref()?.compiled.clone())).collect();
    let coverage = assess(&in_force);
    let retention = Retention {
        policies: &in_force,
        coverage: &coverage,
        evidence: inputs.evidence,
        trust: inputs.trust,
        clock_sane: inputs.clock() == Sanity::Sane,
        now: inputs.now,
    };
    let Retained { verified, held } = retention.retain(&inputs.memory.verified);
    let view = Sight { inputs, coverage: &coverage, verified: &verified, beside: &beside, refusals: &refusals };
    // Losses are those of everything enforced: what a promotion would meet.
    let promoted = view.render(&standings, |standing, compiled| {
        let mut all = inputs.selected(compiled);
        all.extend(standing.enforced_before());
        all
    });
    let decisions: Vec<(&Standing<'_>, Decision)> =
        standings.iter().map(|standing| (standing, view.decide(standing, &promoted))).collect();
    let unknown = unknown(&decisions, &inputs.members.lost);
    let mut wanted = view.render_decided(&decisions);
    if unknown.is_some() {
        wanted.values_mut().for_each(|rendering| rendering.objects.clear());
    }
    let left_alone = LeftAlone::of(&wanted, unknown);
    RolloutView {
        engines: views::engines(&wanted, promoted, inputs.versions),
        policies: decisions
            .iter()
            .map(|(standing, decision)| PolicyView::of(standing.member, decision, &coverage))
            .collect(),
        objects: wanted.into_values().flat_map(|rendering| rendering.objects).collect(),
        left_alone,
        remembered: remembered(&decisions, held, inputs),
    }
}

/// Of which policies nobody knows what is in force, or nothing can be made of it; nothing may be written then that depends on all policies.
fn unknown(decisions: &[(&Standing<'_>, Decision)], lost: &BTreeSet<String>) -> Option<String> {
    let without_form = decisions.iter().filter(|(standing, decision)| {
        decision.form.is_none() || (standing.ready.is_none() && !decision.namespaces.is_empty())
    });
    let names: BTreeSet<&str> =
        without_form.map(|(standing, _)| standing.name()).chain(lost.iter().map(String::as_str)).collect();
    let names: Vec<&str> = names.into_iter().collect();
    (!names.is_empty()).then(|| format!("what is in force of `{}` is not known", names.join("`, `")))
}

/// What is to be remembered. A policy that is gone and denies nowhere is forgotten; one that could not be decided is remembered as it was.
fn remembered(decisions: &[(&Standing<'_>, Decision)], verified: Vec<Held>, inputs: &Inputs<'_>) -> GateMemory {
    let decided = decisions
        .iter()
        .filter(|(standing, decision)| {
            !standing.member.is_gone || !decision.namespaces.is_empty() || decision.form.is_none()
        })
        .map(|(standing, decision)| (standing.name().to_owned(), Remembered::from(decision)));
    let lost = inputs.memory.policies.iter().filter(|(name, _)| inputs.members.lost.contains(*name));
    let policies = decided.chain(lost.map(|(name, kept)| (name.clone(), kept.clone()))).collect();
    GateMemory { policies, verified }
}

impl Standing<'_> {
    fn enforced_before(&self) -> BTreeSet<String> {
        self.remembered.enforced.as_ref().map(|enforced| enforced.names()).unwrap_or_default()
    }
}

static NOTHING: std::sync::LazyLock<Remembered> = std::sync::LazyLock::new(Remembered::default);

impl<'a> Inputs<'a> {
    fn remembered(&self, name: &str) -> &'a Remembered {
        self.memory.policies.get(name).unwrap_or(&NOTHING)
    }

    /// Every policy that is enforced, in which form and where.
    fn beside(&self) -> Vec<(String, holdfast_core::api::SigningIdentityPolicySpec, BTreeSet<String>)> {
        let enforced = self.memory.policies.iter().filter_map(|(name, kept)| Some((name, kept.enforced.as_ref()?)));
        enforced.map(|(name, enforced)| (name.clone(), enforced.spec.clone(), enforced.names())).collect()
    }

    /// Which engines could not be given the policies as they are declared, where they are enforced now.
    fn refusals(&self) -> Refusals {
        let ready: Vec<(&Member, (SigningIdentityPolicy, CompiledPolicy))> =
            self.members.all.iter().filter_map(|member| Some((member, compiled(member.declares()).ok()?))).collect();
        let policies = ready.iter().map(|(member, (declared, compiled))| {
            let enforced = self.remembered(&member.name).enforced.as_ref().map(|e| e.names()).unwrap_or_default();
            (member.name.as_str(), EstatePolicy { declared, compiled, rollout: Rollout { enforced } })
        });
        let renderings = self.capabilities.render(&self.estate(policies.collect(), Vec::new(), Verified::default()));
        renderings
            .into_iter()
            .flat_map(|(kind, rendering)| rendering.refused.into_iter().map(move |of| ((kind, of.policy), of.why)))
            .collect()
    }

    fn standing<'m>(&'m self, member: &'m Member, beside: &[Beside<'_>], refusals: &Refusals) -> Standing<'m> {
        let remembered = self.remembered(&member.name);
        let observed = Observation {
            engines: refusing(refusals, &member.name),
            namespaces: self.namespaces(&member.form.spec.namespace_selector),
            ..Observation::default()
        };
        let approvals = self.approvals(&member.name);
        let input = Input { approvals: &approvals, ..input(member, remembered, &observed, beside) };
        let ready = in_force(&input, self.now).and_then(|current| {
            let (policy, ready) = compiled(current.form.of(&member.name)).ok()?;
            Some(Ready { form: current.form, policy, compiled: ready.enforced_in(current.namespaces) })
        });
        Standing { member, remembered, ready }
    }

    fn approvals(&self, policy: &str) -> Vec<Approval> {
        let of = |digest: &Digest| Approval {
            kind: "SigningIdentityPolicy".to_owned(),
            name: policy.to_owned(),
            digest: *digest,
            by: "--approve".to_owned(),
        };
        self.approved.iter().map(of).collect()
    }

    /// The namespaces a selector can be held against: those with a manifest, and those it means by their name alone.
    fn namespaces(&self, selector: &holdfast_core::api::common::NamespaceSelector) -> BTreeMap<String, Namespace> {
        let known = self.inventory.namespaces().iter();
        let known = known.map(|(name, labels)| (name.clone(), Namespace { labels: labels.clone(), created: None }));
        let by_name =
            self.inventory.unknown_namespaces().into_iter().filter(|name| selector.matches_name(name) == Some(true));
        let by_name = by_name.map(|name| {
            let labels = BTreeMap::from([(NAME_LABEL.to_owned(), name.to_owned())]);
            (name.to_owned(), Namespace { labels, created: None })
        });
        known.chain(by_name).collect()
    }

    /// What the floors of the trust roots say of the clock.
    fn clock(&self) -> Sanity {
        self.trust.iter().map(|view| view.clock).find(|clock| *clock != Sanity::Sane).unwrap_or(Sanity::Sane)
    }

    fn left_out(&self) -> BTreeSet<String> {
        let asked = |kind: EngineKind| self.members.all.iter().any(|member| asks(&member.form.spec.engines, kind));
        let homes = EngineKind::ALL.iter().filter(|kind| asked(**kind)).filter_map(|kind| home(*kind));
        std::iter::once("kube-system").chain(homes).map(str::to_owned).collect()
    }

    fn selected(&self, compiled: &CompiledPolicy) -> BTreeSet<String> {
        let left_out = self.left_out();
        let known = self.inventory.namespaces().iter();
        known
            .filter(|(name, labels)| !left_out.contains(*name) && compiled.selects(labels))
            .map(|(name, _)| name.clone())
            .collect()
    }

    fn estate<'e>(
        &'e self,
        policies: BTreeMap<&'e str, EstatePolicy<'e>>,
        exceptions: Vec<Exception<'e>>,
        verified: Verified,
    ) -> Estate<'e> {
        let roots = self.trust.iter().filter_map(|view| {
            let root = view.adopted.as_ref()?;
            let repository = self.local_roots.get(&view.name).filter(|_| self.served.contains(view.name.as_str()));
            let repository = repository.map(|root| LocalRepository {
                url: format!("http://holdfast-tuf.{}.svc/{}/", self.namespace, view.name),
                root: root.clone(),
            });
            Some((view.name.as_str(), EstateRoot { root, document: root.document(), repository }))
        });
        Estate {
            policies,
            roots: roots.collect(),
            namespaces: self.inventory.namespaces().clone(),
            left_out: self.left_out(),
            holdfast_namespace: self.namespace,
            verified,
            exceptions,
        }
    }
}

/// What a step looks at beside what a scan says.
fn input<'i>(
    member: &'i Member,
    remembered: &'i Remembered,
    observed: &'i Observation,
    beside: &'i [Beside<'i>],
) -> Input<'i> {
    Input {
        declared: member.declares(),
        deleting: member.is_gone,
        unusable: member.unusable.as_deref(),
        paused: false,
        enforced: remembered.enforced.as_ref(),
        progress: remembered.progress.as_ref(),
        history: &remembered.history,
        observed,
        beside,
        approvals: &[],
    }
}

/// Engines of which nothing is known but that they refuse.
fn refusing(refusals: &Refusals, policy: &str) -> Vec<EngineState> {
    let of_policy = refusals.iter().filter(|((_, of), _)| of == policy);
    of_policy
        .map(|((kind, _), why)| EngineState {
            kind: *kind,
            present: true,
            ready: true,
            canaries: Canaries::Unknown,
            faults: Vec::new(),
            losses: Vec::new(),
            refuses: Some(why.clone()),
            in_force: BTreeSet::new(),
        })
        .collect()
}

/// What is known once everything was judged by the forms in force.
struct Sight<'a> {
    inputs: &'a Inputs<'a>,
    coverage: &'a Coverage,
    verified: &'a Verified,
    beside: &'a [Beside<'a>],
    refusals: &'a Refusals,
}

impl Sight<'_> {
    fn decide(&self, standing: &Standing<'_>, promoted: &BTreeMap<EngineKind, Rendering>) -> Decision {
        let inputs = self.inputs;
        let time = ScanTime { started: inputs.now, finished: inputs.now, interval: inputs.interval };
        let scan = standing.ready.as_ref().map(|Ready { form, compiled, .. }| {
            let form = form.of(standing.name());
            scan_of(form, compiled, self.coverage, inputs.inventory, self.beside, time, inputs.incomplete.clone())
        });
        let observed = Observation {
            trust_roots: inputs.trust.iter().map(|view| (view.name.clone(), trust_state(view))).collect(),
            scan,
            engines: self.engine_states(standing, promoted),
            clock: Some(inputs.clock()),
            break_glasses: Vec::new(),
            namespaces: inputs.namespaces(&standing.member.form.spec.namespace_selector),
            left_out: inputs.left_out(),
        };
        let approvals = inputs.approvals(standing.name());
        let input = input(standing.member, standing.remembered, &observed, self.beside);
        decide(&Input { approvals: &approvals, ..input }, inputs.now)
    }

    fn engine_states(&self, standing: &Standing<'_>, promoted: &BTreeMap<EngineKind, Rendering>) -> Vec<EngineState> {
        let remembered = standing.remembered.enforced.iter().flat_map(|enforced| &enforced.namespaces);
        // A plan sees no cluster: what was in force when last observed is taken to be so still.
        let in_force: BTreeSet<String> = remembered
            .filter(|(_, standing)| self.inputs.assume_ready || standing.observed.is_some())
            .map(|(name, _)| name.clone())
            .collect();
        let declared = &standing.member.form.spec.engines;
        let current = standing.ready.as_ref().map_or(declared, |ready| &ready.form.spec.engines);
        let asked = EngineKind::ALL.iter().copied().filter(|kind| asks(declared, *kind) || asks(current, *kind));
        let state = |kind: EngineKind| {
            let nothing = Rendering::default();
            let rendering = promoted.get(&kind).unwrap_or(&nothing);
            let refused = rendering.refused.iter().find(|refused| refused.policy == standing.name());
            let mut faults: Vec<String> = refused
                .map(|refused| format!("it could not be given the policy for enforcement: {}", refused.why))
                .into_iter()
                .collect();
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
                in_force: in_force.clone(),
            }
        };
        asked.map(state).collect()
    }

    /// Renders the forms in force, enforced in the namespaces that `enforced` says.
    fn render<'s>(
        &self,
        standings: &'s [Standing<'s>],
        enforced: impl Fn(&Standing<'s>, &CompiledPolicy) -> BTreeSet<String>,
    ) -> BTreeMap<EngineKind, Rendering> {
        let policies = standings.iter().filter_map(|standing| {
            let Ready { policy, compiled, .. } = standing.ready.as_ref()?;
            let rollout = Rollout { enforced: enforced(standing, compiled) };
            Some((standing.name(), EstatePolicy { declared: policy, compiled, rollout }))
        });
        self.rendered(policies.collect(), Vec::new())
    }

    /// Renders what the gate decided.
    fn render_decided(&self, decisions: &[(&Standing<'_>, Decision)]) -> BTreeMap<EngineKind, Rendering> {
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
