//! What somebody may do that gets round what holdfast enforces.

use std::fmt;

use serde::{Serialize, Serializer};

macro_rules! powers {
    ($($name:ident => $phrase:literal, $meaning:literal, $cure:literal;)+) => {
        /// A power; a closed set, the most direct one first.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Power {
            $(#[doc = $meaning] $name,)+
        }

        impl Power {
            /// Every power.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The name as written in status.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }

            /// What somebody who has it does, in few words.
            pub const fn phrase(self) -> &'static str {
                match self { $(Self::$name => $phrase,)+ }
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

powers! {
    BypassAdmission => "reaches nodes past admission",
        "who may reach kubelets through `nodes/proxy` runs things that no admission policy judges",
        "take `nodes/proxy` out of the role, or out of the wildcard that holds it";
    RewriteAdmissionPolicies => "rewrites admission policies",
        "who may write ValidatingAdmissionPolicies or their bindings, or holdfast's definitions, switches its rules off, and who may write mutating webhooks or MutatingAdmissionPolicies changes what holdfast writes; no admission policy can guard them",
        "take the verbs out of the role, or name the objects it is about; of what mutates, a name is enough for anything";
    ActAsHoldfast => "acts as holdfast",
        "who has a token of holdfast's account, gets into its pods, runs pods as it or reads the Secrets of its namespace does whatever holdfast may; guards stop some of these ways, and reading Secrets is stopped by none",
        "give nobody these rights in holdfast's namespace, and none of them for all namespaces";
    EscalateRights => "gives itself rights",
        "who may `escalate` or `bind` roles, or act as Kubernetes' own controllers in kube-system, gives itself each of the other powers",
        "take the verbs out of the role, or name roles that hold none of these powers";
    ImpersonateApprovers => "impersonates approvers",
        "who may impersonate people, or approve client certificates in their names, approves as them, and no admission policy can tell",
        "take the right out of the role, or name the users it is about";
    Approve => "approves",
        "who holds the verb `approve` on holdfast's kinds agrees to rotations, looser changes and break-glasses",
        "bind the approver role to the people who are meant to approve, and to nobody else";
    RewriteParameters => "writes what holdfast alone writes, once its guard is gone",
        "who may write verified digests or holdfast's status decides what is admitted; the guard `holdfast-guard-parameters` denies it for as long as it stands",
        "take the verbs out of the role; until then, keep the guard";
}

impl Power {
    /// Whether it is a power to get round what is enforced; approving is one to agree to what is declared.
    pub const fn bypasses(self) -> bool {
        !matches!(self, Self::Approve)
    }

    /// Whether an admission policy of holdfast's denies its use while it stands.
    pub const fn is_guarded(self) -> bool {
        matches!(self, Self::RewriteParameters)
    }
}

impl fmt::Display for Power {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Power {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
