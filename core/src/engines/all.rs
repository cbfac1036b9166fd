//! Every engine at once: what is known of each, and what each is given.

use std::collections::BTreeMap;

use super::flux::{Flux, FluxCapability};
use super::kubewarden::{Kubewarden, KubewardenCapability};
use super::kyverno::{Kyverno, KyvernoCapability};
use super::native::{Native, NativeCapability};
use super::openshift::{OpenShift, OpenShiftCapability};
use super::policy_controller::{PolicyController, PolicyControllerCapability};
use super::{Engine, EngineKind, Estate, Rendering, Version};
use crate::api::policy::Engines;

/// What is known of every engine.
#[derive(Debug, Clone, PartialEq)]
pub struct Capabilities {
    /// The API server.
    pub native: NativeCapability,
    /// Kyverno.
    pub kyverno: KyvernoCapability,
    /// policy-controller.
    pub policy_controller: PolicyControllerCapability,
    /// Kubewarden.
    pub kubewarden: KubewardenCapability,
    /// OpenShift.
    pub open_shift: OpenShiftCapability,
    /// Flux.
    pub flux: FluxCapability,
}

impl Capabilities {
    /// What is assumed where no cluster is at hand: the versions that rendered objects were run on, unless others are named.
    pub fn assumed(versions: &BTreeMap<EngineKind, Version>) -> Self {
        let version = |kind: EngineKind| versions.get(&kind).copied().or_else(|| run_on(kind));
        Self {
            native: NativeCapability { version: version(EngineKind::Native), ..NativeCapability::default() },
            kyverno: version(EngineKind::Kyverno).map_or(KyvernoCapability::ABSENT, KyvernoCapability::assumed),
            policy_controller: version(EngineKind::PolicyController)
                .map_or_else(PolicyControllerCapability::absent, PolicyControllerCapability::assumed),
            kubewarden: KubewardenCapability { present: true },
            open_shift: OpenShiftCapability { present: true, allowed_registries: None },
            flux: FluxCapability {
                present: true,
                trusted_root_ref: version(EngineKind::Flux).is_none_or(|version| version.is_at_least(1, 9)),
            },
        }
    }

    /// What each engine that some policy of the estate asks for is given. One that refuses a policy that is enforced is left alone.
    pub fn render(&self, estate: &Estate<'_>) -> BTreeMap<EngineKind, Rendering> {
        self.rendered(estate, Native::render)
    }

    /// What each could not express or would refuse, where it were given the estate: the same without the objects, of which those that list what is verified
    /// are large.
    pub fn foretell(&self, estate: &Estate<'_>) -> BTreeMap<EngineKind, Rendering> {
        let mut renderings = self.rendered(estate, Native::without_parameters);
        for rendering in renderings.values_mut() {
            rendering.objects = Vec::new();
        }
        renderings
    }

    fn rendered(
        &self,
        estate: &Estate<'_>,
        native: impl Fn(&Estate<'_>, &NativeCapability) -> Rendering,
    ) -> BTreeMap<EngineKind, Rendering> {
        let asked = |kind| estate.policies.values().any(|policy| asks(&policy.declared.spec.engines, kind));
        let mut renderings = BTreeMap::new();
        for kind in EngineKind::ALL.iter().copied().filter(|kind| asked(*kind)) {
            let rendering = match kind {
                EngineKind::Native => native(estate, &self.native),
                EngineKind::Kyverno => Kyverno::render(estate, &self.kyverno),
                EngineKind::PolicyController => PolicyController::render(estate, &self.policy_controller),
                EngineKind::Kubewarden => Kubewarden::render(estate, &self.kubewarden),
                EngineKind::OpenShift => OpenShift::render(estate, &self.open_shift),
                EngineKind::Flux => Flux::render(estate, &self.flux),
            };
            renderings.insert(kind, if denies(kind) { rendering.unless_refused() } else { rendering });
        }
        renderings
    }
}

/// The version that what is rendered for an engine was run on; none for those that were not run.
pub const fn run_on(kind: EngineKind) -> Option<Version> {
    match kind {
        EngineKind::Native => Some(Version::new(1, 36, 3)),
        EngineKind::Kyverno => Some(Version::new(1, 19, 1)),
        EngineKind::PolicyController => Some(Version::new(0, 15, 1)),
        EngineKind::Kubewarden | EngineKind::OpenShift | EngineKind::Flux => None,
    }
}

/// Whether a policy asks for an engine.
pub const fn asks(engines: &Engines, kind: EngineKind) -> bool {
    match kind {
        EngineKind::Native => engines.native.is_some(),
        EngineKind::Kyverno => engines.kyverno.is_some(),
        EngineKind::PolicyController => engines.policy_controller.is_some(),
        EngineKind::Kubewarden => engines.kubewarden.is_some(),
        EngineKind::OpenShift => engines.open_shift.is_some(),
        EngineKind::Flux => engines.flux.is_some(),
    }
}

/// Whether holdfast has the engine deny: those that were run. What another one enforces was never given to it by a promotion.
const fn denies(kind: EngineKind) -> bool {
    match kind {
        EngineKind::Native | EngineKind::Kyverno | EngineKind::PolicyController => true,
        EngineKind::OpenShift | EngineKind::Kubewarden | EngineKind::Flux => false,
    }
}

/// The namespace an engine runs in, as it installs itself; nothing is enforced there.
pub const fn home(kind: EngineKind) -> Option<&'static str> {
    match kind {
        EngineKind::Kyverno => Some("kyverno"),
        EngineKind::PolicyController => Some("cosign-system"),
        EngineKind::Kubewarden => Some("kubewarden"),
        EngineKind::Native | EngineKind::OpenShift | EngineKind::Flux => None,
    }
}
