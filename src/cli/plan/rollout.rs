//! What every engine would be given, and how far each policy has come: the decisions of the gate over what a plan sees.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_core::Digest;
use holdfast_core::coverage::{CompiledPolicy, Coverage, Inventory};
use holdfast_core::engines::all::{Capabilities, asks, home};
use holdfast_core::engines::denial::Denial;
use holdfast_core::engines::{EngineKind, LocalRepository, Version};
use holdfast_core::gate::loosening::Approval;
use holdfast_core::gate::{Canaries, Namespace, ScanTime, TrustRootState};
use holdfast_core::operate::policy::{
    EngineSeen, Evidence, Facts, Member, RETENTION, ScanSeen, Trust, decide, forms_in_force,
};
use holdfast_core::trust::clock::Sanity;
use jiff::{SignedDuration, Timestamp};

use super::left::LeftAlone;
use super::memory::GateMemory;
use super::trust::TrustView;
use super::views::{self, PolicyView, RolloutView};

/// How often a scan is made where no BundleCoverageReport says so.
pub(super) const INTERVAL: SignedDuration = SignedDuration::from_hours(1);

/// Everything the gate and the engines are given.
pub(super) struct Inputs<'a> {
    pub(super) members: &'a [Member],
    /// Policies of which nobody knows what they deny.
    pub(super) lost: &'a BTreeSet<String>,
    /// What the objects deny that were rendered before.
    pub(super) denials: &'a [Denial],
    pub(super) trust: &'a [TrustView],
    pub(super) evidence: &'a Evidence,
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

/// Decides every policy, and renders what the decisions amount to. `assess` judges what runs by the policies it is given: those in force.
pub(super) fn plan(inputs: &Inputs<'_>, assess: impl FnOnce(&[CompiledPolicy]) -> Coverage) -> RolloutView {
    let (trust, repositories) = (inputs.trust_roots(), inputs.repositories());
    let known = inputs.inventory.namespaces().iter();
    let known =
        known.map(|(name, labels)| (name.clone(), Namespace { labels: labels.clone(), ..Namespace::default() }));
    let time = ScanTime { started: inputs.now, finished: inputs.now, interval: inputs.interval };
    let facts = Facts {
        members: inputs.members,
        lost: inputs.lost,
        remembered: &inputs.memory.policies,
        holdings: &inputs.memory.verified,
        trust: &trust,
        repositories: &repositories,
        inventory: inputs.inventory,
        namespaces: &known.collect(),
        sees_all_namespaces: false,
        left_out: &inputs.left_out(),
        holdfast_namespace: inputs.namespace,
        capabilities: inputs.capabilities,
        engines: &|kind, policy| inputs.seen(kind, policy),
        evidence: inputs.evidence,
        scan: Ok(&ScanSeen { time, incomplete: inputs.incomplete.clone(), is_early: false }),
        looks_around: false,
        clock: inputs.clock(),
        approvals: &inputs.approvals(),
        break_glasses: &[],
        retention: RETENTION,
    };
    let forms = forms_in_force(&facts, inputs.now);
    let coverage = assess(&forms.policies());
    let decided = decide(&facts, forms, &coverage, inputs.now);
    // While it is not known what is in force of one policy, no other one moves: what it may admit hangs on all that are enforced.
    let remembered = match &decided.unknown {
        Some(_) => inputs.memory.clone(),
        None => GateMemory {
            policies: decided.remembered(&facts),
            trust: inputs.trust.iter().filter_map(|view| Some((view.name.clone(), view.kept.clone()?))).collect(),
            verified: decided.holdings,
        },
    };
    RolloutView {
        engines: views::engines(&decided.wanted, decided.promoted, inputs.versions),
        policies: decided
            .steps
            .iter()
            .map(|step| PolicyView::of(step.standing.member, &step.decision, &coverage))
            .collect(),
        conflicts: decided.conflicts,
        left_alone: LeftAlone::of(&decided.wanted, decided.unknown),
        objects: decided.wanted.into_values().flat_map(|rendering| rendering.objects).collect(),
        remembered,
    }
}

impl Inputs<'_> {
    fn trust_roots(&self) -> BTreeMap<String, Trust> {
        let of = |view: &TrustView| Trust { root: view.adopted.clone(), state: trust_state(view) };
        self.trust.iter().map(|view| (view.name.clone(), of(view))).collect()
    }

    fn repositories(&self) -> BTreeMap<String, LocalRepository> {
        let served = self.local_roots.iter().filter(|(name, _)| self.served.contains(name.as_str()));
        let repository = |name: &String, root: &Vec<u8>| LocalRepository {
            url: format!("http://holdfast-tuf.{}.svc/{name}/", self.namespace),
            root: root.clone(),
        };
        served.map(|(name, root)| (name.clone(), repository(name, root))).collect()
    }

    fn approvals(&self) -> Vec<Approval> {
        let of = |(member, digest): (&Member, &Digest)| Approval {
            kind: "SigningIdentityPolicy".to_owned(),
            name: member.name.clone(),
            digest: *digest,
            by: "--approve".to_owned(),
            made: Some(self.now),
        };
        let each = self.members.iter().flat_map(|member| self.approved.iter().map(move |digest| (member, digest)));
        each.map(of).collect()
    }

    /// A plan sees no cluster: what was in force when last observed is taken to be so still.
    fn seen(&self, kind: EngineKind, policy: &str) -> EngineSeen {
        let enforced = self.memory.policies.get(policy).and_then(|kept| kept.enforced.as_ref());
        let observed = enforced
            .into_iter()
            .flat_map(|enforced| &enforced.namespaces)
            .filter(|(_, standing)| self.assume_ready || standing.observed.is_some());
        let unseen = "only a cluster shows whether it acts on this policy; `--assume-ready` takes it as ready";
        let told = self.denials.iter().filter(|denial| denial.engine == kind && denial.policy == policy);
        EngineSeen {
            present: true,
            ready: true,
            canaries: if self.assume_ready { Canaries::Right } else { Canaries::Unknown },
            faults: if self.assume_ready { Vec::new() } else { vec![unseen.to_owned()] },
            told: told.flat_map(|denial| denial.namespaces.iter().cloned()).collect(),
            in_force: observed.map(|(name, _)| name.clone()).collect(),
        }
    }

    /// What the floors of the trust roots say of the clock.
    fn clock(&self) -> Sanity {
        self.trust.iter().map(|view| view.clock).find(|clock| *clock != Sanity::Sane).unwrap_or(Sanity::Sane)
    }

    fn left_out(&self) -> BTreeSet<String> {
        let asked = |kind: EngineKind| self.members.iter().any(|member| asks(&member.form.spec.engines, kind));
        let homes = EngineKind::ALL.iter().filter(|kind| asked(**kind)).filter_map(|kind| home(*kind));
        std::iter::once("kube-system").chain(homes).map(str::to_owned).collect()
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
