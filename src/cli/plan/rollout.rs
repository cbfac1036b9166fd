//! What every engine would be given, and how far each policy has come: the decisions of the gate over what a plan sees.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_core::Digest;
use holdfast_core::api::SigningIdentityPolicy;
use holdfast_core::api::common::NAME_LABEL;
use holdfast_core::coverage::conflict::{Conflict, Judging, conflicts};
use holdfast_core::coverage::{CompiledPolicy, Coverage, Inventory};
use holdfast_core::engines::all::{Capabilities, asks, home};
use holdfast_core::engines::denial::Denial;
use holdfast_core::engines::native::retain::Held;
use holdfast_core::engines::{
    EngineKind, Estate, EstatePolicy, EstateRoot, Exception, LocalRepository, Rendering, Rollout, Verified, Version,
};
use holdfast_core::gate::compiled::compiled;
use holdfast_core::gate::loosening::{Approval, Beside, Form, PolicyForm};
use holdfast_core::gate::{Canaries, Decision, Enforced, EngineState, Input, Namespace, Observation, in_force};
use holdfast_core::trust::clock::Sanity;
use jiff::{SignedDuration, Timestamp};

use super::left::LeftAlone;
use super::members::{Member, Members};
use super::memory::{GateMemory, Remembered};
use super::retention::{Retained, Retention};
use super::sight::{Engines, Sight};
use super::trust::TrustView;
use super::views::{self, PolicyView, RolloutView};

/// How often a scan is made where no BundleCoverageReport says so.
pub(super) const INTERVAL: SignedDuration = SignedDuration::from_hours(1);

/// Everything the gate and the engines are given.
pub(super) struct Inputs<'a> {
    pub(super) members: &'a Members,
    /// What the objects deny that were rendered before.
    pub(super) denials: &'a [Denial],
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
pub(super) struct Standing<'m> {
    pub(super) member: &'m Member,
    /// What is remembered of it.
    pub(super) remembered: &'m Remembered,
    /// Made ready; not, where nobody knows the form, or where nothing can be made of it.
    pub(super) ready: Option<Ready>,
}

/// A form, made ready.
pub(super) struct Ready {
    pub(super) form: Form,
    pub(super) policy: SigningIdentityPolicy,
    pub(super) compiled: CompiledPolicy,
}

impl Standing<'_> {
    pub(super) fn name(&self) -> &str {
        &self.member.name
    }
}

/// Engines that could not be given a policy for enforcement, and why, by policy.
pub(super) type Refusals = BTreeMap<(EngineKind, String), String>;

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
    let promoted = view.render(&standings, |standing, ready| {
        let mut all = inputs.selected(ready);
        all.extend(standing.enforced_before());
        all
    });
    let current = refusals_of(&view.render(&standings, |standing, _| standing.enforced_before()));
    let engines = Engines { promoted: &promoted, current: &current };
    let decisions: Vec<(&Standing<'_>, Decision)> =
        standings.iter().map(|standing| (standing, view.decide(standing, engines))).collect();
    let unknown = unknown(&decisions, &inputs.members.lost);
    let mut wanted = view.render_decided(&decisions);
    if unknown.is_some() {
        for rendering in wanted.values_mut() {
            rendering.objects.clear();
        }
    }
    // While it is not known what is in force of one policy, no other one moves: what it may admit hangs on all that are enforced.
    let is_unknown = unknown.is_some();
    let left_alone = LeftAlone::of(&wanted, unknown);
    RolloutView {
        engines: views::engines(&wanted, promoted, inputs.versions),
        policies: decisions
            .iter()
            .map(|(standing, decision)| PolicyView::of(standing.member, decision, &coverage))
            .collect(),
        conflicts: inputs.conflicts(&decisions),
        objects: wanted.into_values().flat_map(|rendering| rendering.objects).collect(),
        left_alone,
        remembered: if is_unknown { inputs.memory.clone() } else { remembered(&decisions, held, inputs) },
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
    let trust = inputs.trust.iter().filter_map(|view| Some((view.name.clone(), view.kept.clone()?)));
    GateMemory { policies, trust: trust.collect(), verified }
}

impl Standing<'_> {
    pub(super) fn enforced_before(&self) -> BTreeSet<String> {
        self.remembered.enforced.as_ref().map(Enforced::names).unwrap_or_default()
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

    /// Which engines could not be given the policies as they are declared, where they are enforced now, and could be given the forms that are enforced. An
    /// engine that refuses either form is no reason to hold a change: what it holds stays as it is in any case.
    fn refusals(&self) -> Refusals {
        let declared = self.refused(|member| Some(member.declares()));
        let enforced = self.refused(|member| Some(self.remembered(&member.name).enforced.as_ref()?.form(&member.name)));
        declared.into_iter().filter(|(who, _)| !enforced.contains_key(who)).collect()
    }

    /// Which engines refuse policies in these forms, where they are enforced now.
    fn refused<'m>(&'m self, form: impl Fn(&'m Member) -> Option<PolicyForm<'m>>) -> Refusals {
        let members = self.members.all.iter();
        let ready: Vec<(&Member, (SigningIdentityPolicy, CompiledPolicy))> =
            members.filter_map(|member| Some((member, compiled(form(member)?).ok()?))).collect();
        let policies = ready.iter().map(|(member, (declared, compiled))| {
            let enforced = self.remembered(&member.name).enforced.as_ref().map(Enforced::names).unwrap_or_default();
            (member.name.as_str(), EstatePolicy { declared, compiled, rollout: Rollout { enforced } })
        });
        refusals_of(&self.capabilities.render(&self.estate(policies.collect(), Vec::new(), Verified::default())))
    }

    fn standing<'m>(&'m self, member: &'m Member, beside: &[Beside<'_>], refusals: &Refusals) -> Standing<'m> {
        let remembered = self.remembered(&member.name);
        let observed = Observation {
            engines: self.seen(refusals, &member.name),
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

    /// Policies that do not go together, in the forms in force and where they judge or deny.
    fn conflicts(&self, decisions: &[(&Standing<'_>, Decision)]) -> Vec<Conflict> {
        let places: Vec<(&CompiledPolicy, BTreeSet<String>, &BTreeSet<String>)> = decisions
            .iter()
            .filter_map(|(standing, decision)| {
                let ready = standing.ready.as_ref()?;
                let all = &self.selected(ready) | &decision.namespaces;
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

    pub(super) fn approvals(&self, policy: &str) -> Vec<Approval> {
        let of = |digest: &Digest| Approval {
            kind: "SigningIdentityPolicy".to_owned(),
            name: policy.to_owned(),
            digest: *digest,
            by: "--approve".to_owned(),
        };
        self.approved.iter().map(of).collect()
    }

    /// Engines of which nothing is known yet but that they refuse, and what the objects deny that were rendered before.
    fn seen(&self, refusals: &Refusals, policy: &str) -> Vec<EngineState> {
        let state = |kind: EngineKind| {
            let refuses = refusals.get(&(kind, policy.to_owned())).cloned();
            let told = self.denied(kind, policy);
            (refuses.is_some() || !told.is_empty()).then(|| EngineState {
                kind,
                present: true,
                ready: true,
                canaries: Canaries::Unknown,
                faults: Vec::new(),
                losses: Vec::new(),
                refuses,
                told,
                in_force: BTreeSet::new(),
            })
        };
        EngineKind::ALL.iter().copied().filter_map(state).collect()
    }

    /// The namespaces in which an engine was told to deny by a policy, by the objects that were rendered before.
    pub(super) fn denied(&self, engine: EngineKind, policy: &str) -> BTreeSet<String> {
        let of_policy = self.denials.iter().filter(|denial| denial.engine == engine && denial.policy == policy);
        of_policy.flat_map(|denial| denial.namespaces.iter().cloned()).collect()
    }

    /// The namespaces a selector can be held against: those with a manifest, and those it means by their name alone.
    pub(super) fn namespaces(
        &self,
        selector: &holdfast_core::api::common::NamespaceSelector,
    ) -> BTreeMap<String, Namespace> {
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
    pub(super) fn clock(&self) -> Sanity {
        self.trust.iter().map(|view| view.clock).find(|clock| *clock != Sanity::Sane).unwrap_or(Sanity::Sane)
    }

    fn left_out(&self) -> BTreeSet<String> {
        let asked = |kind: EngineKind| self.members.all.iter().any(|member| asks(&member.form.spec.engines, kind));
        let homes = EngineKind::ALL.iter().filter(|kind| asked(**kind)).filter_map(|kind| home(*kind));
        std::iter::once("kube-system").chain(homes).map(str::to_owned).collect()
    }

    /// The same for a policy that asks for these engines: nothing is promoted where one of them never judges.
    pub(super) fn left_out_for(&self, engines: &holdfast_core::api::policy::Engines) -> BTreeSet<String> {
        let mut left_out = self.left_out();
        if asks(engines, EngineKind::Kyverno) {
            left_out.insert(self.namespace.to_owned());
        }
        left_out
    }

    pub(super) fn selected(&self, ready: &Ready) -> BTreeSet<String> {
        let left_out = self.left_out_for(&ready.form.spec.engines);
        let known = self.inventory.namespaces().iter();
        known
            .filter(|(name, labels)| !left_out.contains(*name) && ready.compiled.selects(labels))
            .map(|(name, _)| name.clone())
            .collect()
    }

    pub(super) fn estate<'e>(
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

fn refusals_of(renderings: &BTreeMap<EngineKind, Rendering>) -> Refusals {
    let refused = renderings.iter().flat_map(|(kind, rendering)| rendering.refused.iter().map(|of| (*kind, of)));
    refused.map(|(kind, of)| ((kind, of.policy.clone()), of.why.clone())).collect()
}

/// What a step looks at beside what a scan says.
pub(super) fn input<'i>(
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
