//! What an engine cannot express: typed, with a sentence and a cure.

use std::fmt;

use serde::{Serialize, Serializer};

use super::EngineKind;

/// What a loss does to what was declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Effect {
    /// Would admit what is declared bad. Never rendered for enforcement.
    Wider,
    /// May deny what is declared good.
    Stricter,
    /// Needs a flag, a mirror, a label or a running holdfast.
    Operational,
    /// Narrowed or left out; safe.
    NotExpressible,
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Wider => "Wider",
            Self::Stricter => "Stricter",
            Self::Operational => "Operational",
            Self::NotExpressible => "NotExpressible",
        })
    }
}

macro_rules! losses {
    ($($name:ident => $effect:ident, $meaning:literal, $cure:literal;)+) => {
        /// The closed set of losses. Each has one effect, one meaning and one cure; what it says of one policy is in [`Loss::detail`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum LossKind {
            $(#[doc = $meaning] $name,)+
        }

        impl LossKind {
            /// Every loss.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The name as written in status and on the command line.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }

            /// What it does to what was declared.
            pub const fn effect(self) -> Effect {
                match self { $(Self::$name => Effect::$effect,)+ }
            }

            /// What it means, in a sentence without an end.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)+ }
            }

            /// What to do about it.
            pub const fn cure(self) -> &'static str {
                match self { $(Self::$name => $cure,)+ }
            }
        }
    };
}

losses! {
    // Of every engine.
    EngineAbsent => Operational, "the engine is not in the cluster, so nothing is rendered for it",
        "install the engine, or take it out of the policy's `engines`";
    TrustRootAbsent => Wider, "a trust root that the policy accepts is not at hand",
        "give the mirror its first import, or take it out of the policy's `trustRoots`";
    NamespacesLeftOut => NotExpressible, "the policy selects namespaces that are never enforced: kube-system and those of engines",
        "narrow `namespaceSelector`, so that what is declared is what is enforced";
    // Native.

    // Kyverno.

    // policy-controller.

    // Kubewarden, OpenShift, Flux.
}

impl fmt::Display for LossKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for LossKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// One loss of one engine, for one policy or for all.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Loss {
    /// The policy; none where it concerns all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// The engine.
    pub engine: EngineKind,
    /// Which loss.
    pub kind: LossKind,
    /// The field of the policy, as `require.sct`.
    pub field: String,
    /// The versions of the engine it is known of, as `>= 1.19, < 1.20`.
    pub versions: &'static str,
    /// What it means for this very policy.
    pub detail: String,
}

impl Loss {
    /// What it does to what was declared.
    pub const fn effect(&self) -> Effect {
        self.kind.effect()
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, `{}`): {}; {}", self.kind, self.effect(), self.field, self.detail, self.kind.cure())
    }
}
