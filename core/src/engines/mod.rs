//! What would each engine enforce, and what can it not express?
//!
//! One file or folder an engine, one trait: an [`Estate`] (everything declared, and how far each policy is enforced) and what is known of the engine go in,
//! [`Rendering`] comes out: complete objects a person can apply, and every [`Loss`]. A rendered policy may be narrower than declared, never wider: what
//! would widen is rendered for audit only, and says what cures it.

pub mod all;
pub mod denial;
pub mod estate;
pub mod flux;
pub mod kubewarden;
pub mod kyverno;
mod ledger;
pub mod loss;
pub mod names;
pub mod native;
pub mod object;
pub mod openshift;
pub mod policy_controller;
pub mod presence;
pub mod verified;
pub mod version;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use estate::{Estate, EstatePolicy, EstateRoot, Exception, LocalRepository, Rollout};
pub use loss::{Effect, Loss, LossKind};
pub use object::Object;
pub use verified::Verified;
pub use version::Version;

/// An admission engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EngineKind {
    /// The API server's own ValidatingAdmissionPolicy.
    Native,
    /// Kyverno.
    Kyverno,
    /// Sigstore's policy-controller.
    PolicyController,
    /// Kubewarden.
    Kubewarden,
    /// OpenShift's ClusterImagePolicy.
    #[serde(rename = "openshift")]
    OpenShift,
    /// Flux' `verify`.
    Flux,
}

impl EngineKind {
    /// Every engine.
    pub const ALL: &[Self] =
        &[Self::Native, Self::Kyverno, Self::PolicyController, Self::Kubewarden, Self::OpenShift, Self::Flux];

    /// The name as written in status, file names and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Kyverno => "kyverno",
            Self::PolicyController => "policy-controller",
            Self::Kubewarden => "kubewarden",
            Self::OpenShift => "openshift",
            Self::Flux => "flux",
        }
    }
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether objects only report, or deny.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// They report.
    Audit,
    /// They deny.
    Enforce,
}

/// An engine that objects can be rendered for.
pub trait Engine {
    /// What is known of the engine in a cluster: presence, version, and what the schemas of its kinds accept. A closed set of facts, not raw schemas.
    type Capability;

    /// Which one it is.
    const KIND: EngineKind;

    /// Renders everything the estate's policies ask of this engine. The same estate gives the same bytes, in whatever order it was put together.
    fn render(estate: &Estate<'_>, capability: &Self::Capability) -> Rendering;
}

/// What an engine is given, and what that does not say.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rendering {
    /// Complete objects, sorted by kind, namespace and name.
    pub objects: Vec<Object>,
    /// What the engine cannot express, sorted.
    pub losses: Vec<Loss>,
    /// Policies that were not rendered for enforcement though they are enforced somewhere: each has a loss that would widen, or a fault.
    pub refused: Vec<Refused>,
    /// The engine is to be left as it is, whole: it denies by what it was given before, and could not be given that again.
    pub left_alone: bool,
}

/// A policy that is not rendered for enforcement.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Refused {
    /// The policy.
    pub policy: String,
    /// Why, and what cures it.
    pub why: String,
}

impl Rendering {
    /// In the one order that does not depend on how it was put together.
    #[must_use]
    pub fn sorted(mut self) -> Self {
        self.objects.sort_by_cached_key(|object| {
            let (engine, kind, namespace, name) = object.key();
            // One text, as no name has this character and every other one comes after it.
            (engine, [kind, namespace, name].join("\0"))
        });
        self.losses.sort();
        self.losses.dedup();
        self.refused.sort();
        self.refused.dedup();
        self
    }

    /// Leaves the engine alone where a policy that is enforced is refused. Objects that report would take the place of those that deny, and rules over all
    /// policies would lack this one; so nothing of the engine is written or removed until the refusal is mended.
    #[must_use]
    fn unless_refused(mut self) -> Self {
        if !self.refused.is_empty() {
            self.objects.clear();
            self.left_alone = true;
        }
        self
    }

    /// Whether any loss of this policy would admit what it declares bad.
    pub fn widens(&self, policy: &str) -> bool {
        self.losses.iter().any(|loss| loss.effect() == Effect::Wider && loss.policy.as_deref() == Some(policy))
    }
}
