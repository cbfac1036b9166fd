//! Engines and gate of a plan, as values to print.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_core::Digest;
use holdfast_core::api::policy::{EnforcementStatus, Engines};
use holdfast_core::coverage::Coverage;
use holdfast_core::coverage::conflict::Conflict;
use holdfast_core::engines::all::asks;
use holdfast_core::engines::{EngineKind, Loss, Object, Refused, Rendering, Version};
use holdfast_core::gate::loosening::Loosening;
use holdfast_core::gate::{Alarm, Decision, Intent};
use holdfast_core::operate::policy::Member;
use holdfast_core::verify::Outcome;
use serde::Serialize;

use super::left::LeftAlone;
use super::memory::GateMemory;

/// What a plan says of engines and gate.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RolloutView {
    pub(super) engines: Vec<EngineView>,
    pub(super) policies: Vec<PolicyView>,
    /// Policies that do not go together.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) conflicts: Vec<Conflict>,
    #[serde(skip_serializing_if = "LeftAlone::is_nothing")]
    pub(super) left_alone: LeftAlone,
    #[serde(skip)]
    pub(super) objects: Vec<Object>,
    #[serde(skip)]
    pub(super) remembered: GateMemory,
}

impl RolloutView {
    /// Whether something is not as it was declared to be: a change waits, an engine cannot be given what is enforced, or what is enforced is not as it should.
    pub(super) fn is_wanting(&self) -> bool {
        !self.left_alone.is_nothing()
            || self.policies.iter().any(|policy| !policy.held.is_empty() || policy.is_degraded)
    }
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

impl EngineView {
    pub(super) fn of(
        kind: EngineKind,
        version: Option<Version>,
        assumed: bool,
        wanted: Option<&Rendering>,
        promoted: Rendering,
    ) -> Self {
        Self {
            name: kind,
            version,
            assumed,
            objects: wanted.into_iter().flat_map(|rendering| &rendering.objects).map(ObjectView::of).collect(),
            losses: promoted.losses,
            refused: promoted.refused,
        }
    }
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

impl ObjectView {
    fn of(object: &Object) -> Self {
        Self {
            kind: object.kind().to_owned(),
            namespace: object.namespace().map(str::to_owned),
            name: object.name().to_owned(),
            digest: object.digest(),
        }
    }
}

/// One policy.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PolicyView {
    pub(super) name: String,
    /// It is not among the manifests, and is remembered to be enforced.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_gone: bool,
    pub(super) engines: BTreeSet<EngineKind>,
    pub(super) enforcement: EnforcementStatus,
    /// The namespaces it denies in, once what is rendered is applied.
    pub(super) enforced: BTreeSet<String>,
    /// What was earned of the soak that is needed, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) soak: Option<SoakView>,
    pub(super) coverage: Counts,
    pub(super) intents: Vec<Intent>,
    pub(super) alarms: Vec<Alarm>,
    pub(super) held: Vec<Loosening>,
    #[serde(skip)]
    is_degraded: bool,
}

impl PolicyView {
    pub(super) fn of(member: &Member, decision: &Decision, coverage: &Coverage) -> Self {
        let spec = decision.form.as_ref().map_or(&member.form.spec, |form| &form.spec);
        let wave = |name: &str| spec.enforcement.waves.iter().find(|wave| wave.name == name);
        let soak = decision.progress.soak.as_ref().map(|soak| {
            let needed = wave(&soak.wave).and_then(|wave| wave.soak).unwrap_or(spec.enforcement.soak);
            SoakView { earned_seconds: soak.credit.as_secs(), needed_seconds: needed.signed().as_secs() }
        });
        Self {
            name: member.name.clone(),
            is_gone: member.is_gone,
            engines: asked(&spec.engines),
            enforcement: decision.status(),
            enforced: decision.namespaces.clone(),
            soak,
            coverage: Counts::of(&member.name, coverage),
            intents: decision.intents.clone(),
            alarms: decision.alarms.clone(),
            held: decision.held.clone(),
            is_degraded: decision.is_degraded(),
        }
    }
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

impl Counts {
    fn of(policy: &str, coverage: &Coverage) -> Self {
        let mut counts = Self::default();
        for verdict in coverage.images.iter().flat_map(|image| &image.policies).filter(|v| v.policy == policy) {
            match verdict.reason.outcome() {
                Outcome::Covered => counts.covered += 1,
                Outcome::Uncovered => counts.uncovered += 1,
                Outcome::Unknown => counts.unknown += 1,
            }
        }
        counts
    }
}

/// The engines a policy asks for.
pub(super) fn asked(engines: &Engines) -> BTreeSet<EngineKind> {
    EngineKind::ALL.iter().copied().filter(|kind| asks(engines, *kind)).collect()
}

/// A loss without a policy concerns all.
pub(super) fn is_of(loss: &Loss, policy: &str) -> bool {
    loss.policy.as_deref().is_none_or(|of| of == policy)
}

/// Every engine, with what it would be given.
pub(super) fn engines(
    wanted: &BTreeMap<EngineKind, Rendering>,
    promoted: BTreeMap<EngineKind, Rendering>,
    versions: &BTreeMap<EngineKind, Version>,
) -> Vec<EngineView> {
    let view = |(kind, promoted): (EngineKind, Rendering)| {
        let given = versions.get(&kind).copied();
        let version = given.or_else(|| holdfast_core::engines::all::run_on(kind));
        EngineView::of(kind, version, given.is_none(), wanted.get(&kind), promoted)
    };
    promoted.into_iter().map(view).collect()
}
