//! What every engine would be given, and how far each policy has come: the decisions of the gate over what a plan sees.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_core::Digest;
use holdfast_core::api::SigningIdentityPolicy;
use holdfast_core::api::policy::EnforcementStatus;
use holdfast_core::coverage::{CompiledPolicy, Coverage, Inventory};
use holdfast_core::engines::all::{Capabilities, asks, home};
use holdfast_core::engines::{
    EngineKind, Estate, EstatePolicy, EstateRoot, Exception, LocalRepository, Loss, Object, Refused, Rendering,
    Rollout, Verified, Version,
};
use holdfast_core::gate::loosening::{Beside, Loosening, PolicyForm};
use holdfast_core::gate::{
    Alarm, Canaries, Decision, EngineState, Input, Intent, Namespace, Observation, ScanTime, TrustRootState, decide,
    scan_of,
};
use holdfast_core::trust::clock::Sanity;
use holdfast_core::verify::Signer;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::memory::{GateMemory, Remembered};
use super::trust::TrustView;

/// How often a scan is made where no BundleCoverageReport says so.
pub(super) const INTERVAL: SignedDuration = SignedDuration::from_hours(1);

/// Everything the gate and the engines are given.
pub(super) struct Inputs<'a> {
    pub(super) declared: Vec<Declared<'a>>,
    pub(super) trust: &'a [TrustView],
    pub(super) coverage: &'a Coverage,
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
    /// Whether engines are taken to act on what they are given.
    pub(super) assume_ready: bool,
    /// What was not read, in words.
    pub(super) incomplete: Option<String>,
    pub(super) now: Timestamp,
}

/// A policy as it is declared, and made ready.
pub(super) struct Declared<'a> {
    pub(super) policy: &'a SigningIdentityPolicy,
    pub(super) compiled: &'a CompiledPolicy,
}

/// What a plan says of engines and gate.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RolloutView {
    pub(super) engines: Vec<EngineView>,
    pub(super) policies: Vec<PolicyView>,
    #[serde(skip)]
    pub(super) objects: Vec<Object>,
    #[serde(skip)]
    pub(super) remembered: GateMemory,
}

/// One engine.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EngineView {
    pub(super) name: EngineKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<Version>,
    /// The version was assumed, not given.
    pub(super) assumed: bool,
    pub(super) objects: Vec<ObjectView>,
    /// What it could not express once everything is enforced.
    pub(super) losses: Vec<Loss>,
    /// Policies it would not be given for enforcement.
    pub(super) refused: Vec<Refused>,
}

/// One object.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ObjectView {
    pub(super) kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) namespace: Option<String>,
    pub(super) name: String,
    pub(super) digest: Digest,
}

/// One policy.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PolicyView {
    pub(super) name: String,
    pub(super) engines: Vec<EngineKind>,
    pub(super) enforcement: EnforcementStatus,
    /// The namespaces it denies in.
    pub(super) enforced: BTreeSet<String>,
    /// What was earned of the soak that is needed, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) soak: Option<SoakView>,
    pub(super) coverage: Counts,
    pub(super) intents: Vec<Intent>,
    pub(super) alarms: Vec<Alarm>,
    pub(super) held: Vec<Loosening>,
}

/// How far a soak has come.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SoakView {
    pub(super) earned_seconds: i64,
    pub(super) needed_seconds: i64,
}

/// The images a policy is about, by outcome.
#[derive(Serialize, Default)]
pub(super) struct Counts {
    pub(super) covered: usize,
    pub(super) uncovered: usize,
    pub(super) unknown: usize,
}

/// Decides every policy, and renders what the decisions amount to.
pub(super) fn plan(inputs: &Inputs<'_>) -> RolloutView {
    let nobody = Remembered::default();
    let remembered = |name: &str| inputs.memory.policies.get(name).unwrap_or(&nobody);
    let forms: Vec<Form<'_>> = inputs.declared.iter().map(Form::of).collect();
    let enforced: Vec<(String, BTreeSet<String>)> = forms
        .iter()
        .filter_map(|form| Some((form.name.clone(), remembered(&form.name).enforced.as_ref()?.names())))
        .collect();
    let beside: Vec<Beside<'_>> = enforced
        .iter()
        .filter_map(|(name, namespaces)| {
            let spec = &remembered(name).enforced.as_ref()?.spec;
            Some(Beside { name, spec, namespaces })
        })
        .collect();
    // Losses are those of everything enforced: what a promotion would meet.
    let promoted = inputs.render(|form| inputs.selected(form.declared.compiled));
    let decisions: Vec<(&Form<'_>, Decision)> =
        forms.iter().map(|form| (form, inputs.decide(form, remembered(&form.name), &beside, &promoted))).collect();
    let wanted = inputs.render_decided(&decisions);
    RolloutView {
        engines: inputs.engine_views(&wanted, promoted),
        policies: decisions.iter().map(|(form, decision)| inputs.policy_view(form, decision)).collect(),
        objects: wanted.into_values().flat_map(|rendering| rendering.objects).collect(),
        remembered: GateMemory {
            policies: decisions.iter().map(|(form, decision)| (form.name.clone(), decision.into())).collect(),
        },
    }
}

/// A policy with the digests of the keys its Secrets hold.
struct Form<'a> {
    name: String,
    declared: &'a Declared<'a>,
    keys: BTreeMap<String, Digest>,
}

impl<'a> Form<'a> {
    fn of(declared: &'a Declared<'a>) -> Self {
        let by_secret: BTreeSet<&str> = declared
            .policy
            .spec
            .identities
            .iter()
            .filter(|identity| identity.key.as_ref().is_some_and(|key| key.secret_ref.is_some()))
            .map(|identity| identity.name.as_str())
            .collect();
        let keys = declared.compiled.policy.signers.iter().filter_map(|signer| match signer {
            Signer::Key { name, key } if by_secret.contains(name.as_str()) => Some((name.clone(), key.key_digest)),
            _ => None,
        });
        Self { name: declared.compiled.name.clone(), declared, keys: keys.collect() }
    }

    fn gate(&self) -> PolicyForm<'_> {
        PolicyForm { name: &self.name, spec: &self.declared.policy.spec, keys: &self.keys }
    }
}

impl Inputs<'_> {
    fn decide(
        &self,
        form: &Form<'_>,
        remembered: &Remembered,
        beside: &[Beside<'_>],
        promoted: &BTreeMap<EngineKind, Rendering>,
    ) -> Decision {
        let time = ScanTime { started: self.now, finished: self.now, interval: self.interval };
        let compiled = form.declared.compiled;
        let scan = scan_of(form.gate(), compiled, self.coverage, self.inventory, beside, time, self.incomplete.clone());
        let observed = Observation {
            trust_roots: self.trust.iter().map(|view| (view.name.clone(), trust_state(view))).collect(),
            scan: Some(scan),
            engines: self.engine_states(form, remembered, promoted),
            clock: Some(
                self.trust.iter().map(|view| view.clock).find(|clock| *clock != Sanity::Sane).unwrap_or(Sanity::Sane),
            ),
            break_glasses: Vec::new(),
            namespaces: self.namespaces(),
            left_out: self.left_out(),
        };
        let input = Input {
            declared: form.gate(),
            deleting: false,
            paused: false,
            enforced: remembered.enforced.as_ref(),
            progress: remembered.progress.as_ref(),
            history: &remembered.history,
            observed: &observed,
            beside,
            approvals: &[],
        };
        decide(&input, self.now)
    }

    fn engine_states(
        &self,
        form: &Form<'_>,
        remembered: &Remembered,
        promoted: &BTreeMap<EngineKind, Rendering>,
    ) -> Vec<EngineState> {
        let standing = remembered.enforced.iter().flat_map(|enforced| &enforced.namespaces);
        // A plan sees no cluster: what was in force when last observed is taken to be so still.
        let in_force: BTreeSet<String> = standing
            .filter(|(_, standing)| self.assume_ready || standing.observed.is_some())
            .map(|(name, _)| name.clone())
            .collect();
        let unseen =
            "only a cluster shows whether it acts on this policy; `--assume-ready` takes it as ready".to_owned();
        let asked = promoted.iter().filter(|(kind, _)| asks(&form.declared.policy.spec.engines, **kind));
        asked
            .map(|(kind, rendering)| EngineState {
                kind: *kind,
                present: true,
                ready: true,
                canaries: if self.assume_ready { Canaries::Right } else { Canaries::Unknown },
                faults: if self.assume_ready { Vec::new() } else { vec![unseen.clone()] },
                losses: rendering.losses.iter().filter(|loss| is_of(loss, &form.name)).cloned().collect(),
                in_force: in_force.clone(),
            })
            .collect()
    }

    fn namespaces(&self) -> BTreeMap<String, Namespace> {
        let known = self.inventory.namespaces().iter();
        known.map(|(name, labels)| (name.clone(), Namespace { labels: labels.clone(), created: None })).collect()
    }

    fn left_out(&self) -> BTreeSet<String> {
        let asked = |kind: EngineKind| self.declared.iter().any(|declared| asks(&declared.policy.spec.engines, kind));
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

    /// Renders every policy as declared, enforced in the namespaces that `enforced` says.
    fn render(&self, enforced: impl Fn(&Form<'_>) -> BTreeSet<String>) -> BTreeMap<EngineKind, Rendering> {
        let forms: Vec<Form<'_>> = self.declared.iter().map(Form::of).collect();
        let policies = forms.iter().map(|form| {
            let rollout = Rollout { enforced: enforced(form) };
            let (declared, compiled) = (form.declared.policy, form.declared.compiled);
            (form.name.as_str(), EstatePolicy { declared, compiled, rollout })
        });
        self.capabilities.render(&self.estate(policies.collect(), Vec::new()))
    }

    /// Renders what the gate decided. A policy whose form in force differs from the declared one is left as it is: what engines hold of it stays.
    fn render_decided(&self, decisions: &[(&Form<'_>, Decision)]) -> BTreeMap<EngineKind, Rendering> {
        let policies = decisions.iter().filter_map(|(form, decision)| {
            let in_force = decision.form.as_ref()?;
            let (declared, compiled) = (form.declared.policy, form.declared.compiled);
            let rollout = Rollout { enforced: decision.namespaces.clone() };
            (*in_force == declared.spec).then_some((form.name.as_str(), EstatePolicy { declared, compiled, rollout }))
        });
        let exceptions = decisions.iter().flat_map(|(form, decision)| {
            decision.intents.iter().filter_map(|intent| match intent {
                Intent::Except { break_glass, namespaces, until } => {
                    Some(Exception { break_glass, policy: &form.name, namespaces: namespaces.clone(), until: *until })
                }
                _ => None,
            })
        });
        self.capabilities.render(&self.estate(policies.collect(), exceptions.collect()))
    }

    fn estate<'e>(
        &'e self,
        policies: BTreeMap<&'e str, EstatePolicy<'e>>,
        exceptions: Vec<Exception<'e>>,
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
            verified: Verified::of_coverage(self.coverage),
            exceptions,
        }
    }

    fn engine_views(
        &self,
        wanted: &BTreeMap<EngineKind, Rendering>,
        promoted: BTreeMap<EngineKind, Rendering>,
    ) -> Vec<EngineView> {
        let view = |(kind, promoted): (EngineKind, Rendering)| EngineView {
            name: kind,
            version: self.versions.get(&kind).copied().or_else(|| holdfast_core::engines::all::run_on(kind)),
            assumed: !self.versions.contains_key(&kind),
            objects: wanted.get(&kind).into_iter().flat_map(|rendering| &rendering.objects).map(object_view).collect(),
            losses: promoted.losses,
            refused: promoted.refused,
        };
        promoted.into_iter().map(view).collect()
    }

    fn policy_view(&self, form: &Form<'_>, decision: &Decision) -> PolicyView {
        let spec = &form.declared.policy.spec;
        let mut coverage = Counts::default();
        for verdict in self.coverage.images.iter().flat_map(|image| &image.policies).filter(|v| v.policy == form.name) {
            match verdict.reason.outcome() {
                holdfast_core::verify::Outcome::Covered => coverage.covered += 1,
                holdfast_core::verify::Outcome::Uncovered => coverage.uncovered += 1,
                holdfast_core::verify::Outcome::Unknown => coverage.unknown += 1,
            }
        }
        let wave = |name: &str| spec.enforcement.waves.iter().find(|wave| wave.name == name);
        let soak = decision.progress.soak.as_ref().map(|soak| {
            let needed = wave(&soak.wave).and_then(|wave| wave.soak).unwrap_or(spec.enforcement.soak);
            SoakView { earned_seconds: soak.credit.as_secs(), needed_seconds: needed.signed().as_secs() }
        });
        PolicyView {
            name: form.name.clone(),
            engines: EngineKind::ALL.iter().copied().filter(|kind| asks(&spec.engines, *kind)).collect(),
            enforcement: decision.status(),
            enforced: decision.namespaces.clone(),
            soak,
            coverage,
            intents: decision.intents.clone(),
            alarms: decision.alarms.clone(),
            held: decision.held.clone(),
        }
    }
}

fn object_view(object: &Object) -> ObjectView {
    ObjectView {
        kind: object.kind().to_owned(),
        namespace: object.namespace().map(str::to_owned),
        name: object.name().to_owned(),
        digest: object.digest(),
    }
}

/// A loss without a policy concerns all.
pub(super) fn is_of(loss: &Loss, policy: &str) -> bool {
    loss.policy.as_deref().is_none_or(|of| of == policy)
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
