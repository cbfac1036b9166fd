//! Whom a binding names.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Serialize, Serializer};

use super::Holdfast;
use super::rbac::{Binding, Bound};
use super::ways::KUBE_SYSTEM;

/// The prefix of a service account's name as a user.
const ACCOUNT: &str = "system:serviceaccount:";
/// The prefix of the group of all service accounts of a namespace.
const ACCOUNTS_OF: &str = "system:serviceaccounts:";
/// The group that RBAC is not asked about.
pub const MASTERS: &str = "system:masters";
/// Whoever asks, or large parts of those who do: Kubernetes' names for other people.
const ANYBODY: [&str; 4] =
    ["system:anonymous", "system:authenticated", "system:serviceaccounts", "system:unauthenticated"];
/// The accounts of Kubernetes' own controllers.
const CONTROLLERS: [&str; 43] = [
    "attachdetach-controller",
    "bootstrap-signer",
    "certificate-controller",
    "clusterrole-aggregation-controller",
    "cronjob-controller",
    "daemon-set-controller",
    "deployment-controller",
    "device-taint-eviction-controller",
    "disruption-controller",
    "endpoint-controller",
    "endpointslice-controller",
    "endpointslicemirroring-controller",
    "ephemeral-volume-controller",
    "expand-controller",
    "generic-garbage-collector",
    "horizontal-pod-autoscaler",
    "job-controller",
    "legacy-service-account-token-cleaner",
    "namespace-controller",
    "node-controller",
    "persistent-volume-binder",
    "pod-garbage-collector",
    "podcertificaterequest-cleaner",
    "pv-protection-controller",
    "pvc-protection-controller",
    "replicaset-controller",
    "replication-controller",
    "resource-claim-controller",
    "resourcequota-controller",
    "root-ca-cert-publisher",
    "route-controller",
    "selinux-warning-controller",
    "service-account-controller",
    "service-cidrs-controller",
    "service-controller",
    "statefulset-controller",
    "storage-version-migrator-controller",
    "taint-eviction-controller",
    "token-cleaner",
    "ttl-after-finished-controller",
    "ttl-controller",
    "validatingadmissionpolicy-status-controller",
    "volumeattributesclass-protection-controller",
];

/// What a subject is to RBAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Everybody in a group.
    Group,
    /// A service account.
    ServiceAccount,
    /// A user.
    User,
}

impl Kind {
    /// As bindings write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Group => "Group",
            Self::ServiceAccount => "ServiceAccount",
            Self::User => "User",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A user, a group or a service account.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Who {
    pub(super) kind: Kind,
    /// A service account's, where it is known.
    pub(super) namespace: Option<String>,
    pub(super) name: String,
}

impl Who {
    /// A service account is the same by its name as a user.
    pub(super) fn named(kind: Kind, name: &str, namespace: Option<&str>) -> Self {
        let account = name.strip_prefix(ACCOUNT).and_then(|rest| rest.split_once(':'));
        let (kind, namespace, name) = match (kind, account) {
            (Kind::User, Some((namespace, name))) => (Kind::ServiceAccount, Some(namespace), name),
            _ => (kind, namespace, name),
        };
        Self { kind, namespace: namespace.map(str::to_owned), name: name.to_owned() }
    }

    /// Whom a binding is about; a kind that the API server does not know is nobody.
    pub(super) fn bound(bound: &Bound, binding: &Binding) -> Option<Self> {
        let namespace = bound.namespace.as_deref().or(binding.metadata.namespace.as_deref());
        match bound.kind.as_str() {
            "User" => Some(Self::named(Kind::User, &bound.name, None)),
            "Group" => Some(Self::named(Kind::Group, &bound.name, None)),
            "ServiceAccount" => Some(Self::named(Kind::ServiceAccount, &bound.name, Some(namespace?))),
            _ => None,
        }
    }

    /// The group that every right is given to before anybody is asked.
    pub(super) fn masters() -> Self {
        Self::named(Kind::Group, MASTERS, None)
    }

    /// Whether it is holdfast's own account.
    pub(super) fn is_holdfast(&self, holdfast: &Holdfast) -> bool {
        self.namespace.as_ref() == Some(&holdfast.namespace) && self.may_be_holdfast(holdfast)
    }

    /// The same, where the namespace need not be known.
    pub(super) fn may_be_holdfast(&self, holdfast: &Holdfast) -> bool {
        let elsewhere = self.namespace.as_ref().is_some_and(|namespace| *namespace != holdfast.namespace);
        self.kind == Kind::ServiceAccount && self.name == holdfast.service_account && !elsewhere
    }

    /// Whether it is Kubernetes' own: there in every cluster, and nothing to be mended. What stands for everybody is not.
    pub(super) fn is_system(&self) -> bool {
        match self.kind {
            Kind::ServiceAccount => {
                self.namespace.as_deref() == Some(KUBE_SYSTEM) && CONTROLLERS.contains(&self.name.as_str())
            }
            Kind::Group | Kind::User => {
                let everybody = ANYBODY.contains(&self.name.as_str()) || self.name.starts_with(ACCOUNTS_OF);
                self.name.starts_with("system:") && !everybody
            }
        }
    }
}

/// Those who have a power, to be asked for by whoever may impersonate somebody.
pub(super) struct Powerful {
    all: BTreeSet<Who>,
    /// The names of service accounts among them, whatever their namespace.
    accounts: BTreeSet<String>,
    /// Whether all service accounts of some namespace are among them.
    whole_namespaces: bool,
}

impl Powerful {
    /// These, and the group that may do everything.
    pub(super) fn of(who: impl Iterator<Item = Who>) -> Self {
        let all: BTreeSet<Who> = who.chain([Who::masters()]).collect();
        let accounts = all.iter().filter(|who| who.kind == Kind::ServiceAccount).map(|who| who.name.clone());
        let whole = |who: &Who| who.kind == Kind::Group && who.name.starts_with(ACCOUNTS_OF);
        Self { accounts: accounts.collect(), whole_namespaces: all.iter().any(whole), all }
    }

    /// Whether to be this one is to have a power: it is among them, or a group is that a service account is always in.
    pub(super) fn are_had_as(&self, named: &Who) -> bool {
        if self.all.contains(named) {
            return true;
        }
        let group = |name: &str| self.all.contains(&Who::named(Kind::Group, name, None));
        named.kind == Kind::ServiceAccount
            && (group("system:authenticated")
                || group("system:serviceaccounts")
                || match &named.namespace {
                    Some(namespace) => group(&format!("{ACCOUNTS_OF}{namespace}")),
                    None => self.whole_namespaces || self.accounts.contains(&named.name),
                })
    }
}
