//! Everything engines are rendered from: what is declared, which trust is in force, and how far each policy is enforced.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{Stage, Verified};
use crate::api::SigningIdentityPolicy;
use crate::coverage::CompiledPolicy;
use crate::trust::root::TrustRoot;

/// Where holdfast runs, unless told otherwise.
pub const HOLDFAST_NAMESPACE: &str = "holdfast-system";

/// All policies with what they need, in the order of their names.
#[derive(Debug, Clone)]
pub struct Estate<'a> {
    /// The policies, each once, by name.
    pub policies: BTreeMap<&'a str, EstatePolicy<'a>>,
    /// The trust roots in force, by the name of their TrustRootMirror.
    pub roots: BTreeMap<&'a str, EstateRoot<'a>>,
    /// The namespaces that are known, with their labels; `kubernetes.io/metadata.name` among them.
    pub namespaces: BTreeMap<String, BTreeMap<String, String>>,
    /// Namespaces no policy comes to be enforced in: kube-system, and those of the engines that are there. Holdfast's own is not among them. Where a policy is
    /// enforced already it stays so: an engine that appears there ends nothing.
    pub left_out: BTreeSet<String>,
    /// Where holdfast runs.
    pub holdfast_namespace: &'a str,
    /// Which image digests are verified for which policies.
    pub verified: Verified,
    /// Exceptions that a break-glass grants.
    pub exceptions: Vec<Exception<'a>>,
}

/// One policy.
#[derive(Debug, Clone)]
pub struct EstatePolicy<'a> {
    /// As it is declared.
    pub declared: &'a SigningIdentityPolicy,
    /// Made ready: patterns, identities and keys that were read.
    pub compiled: &'a CompiledPolicy,
    /// How far it is enforced.
    pub rollout: Rollout,
}

/// How far a policy is enforced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rollout {
    /// The namespaces it is enforced in, by name. Scope is sticky: a namespace stays here when its labels no longer say so.
    pub enforced: BTreeSet<String>,
}

/// A trust root in force.
#[derive(Debug, Clone)]
pub struct EstateRoot<'a> {
    /// The model.
    pub root: &'a TrustRoot,
    /// The whole `trusted_root.json` as engines get it, one line.
    pub document: String,
    /// The repository inside the cluster that serves it, where it is distributed so.
    pub repository: Option<LocalRepository>,
}

/// A TUF repository inside the cluster, signed with the cluster's own keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalRepository {
    /// Its address.
    pub url: String,
    /// Its root, which engines start from.
    pub root: Vec<u8>,
}

/// Namespaces in which a policy does not deny for a while.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Exception<'a> {
    /// The TrustBreakGlass.
    pub break_glass: &'a str,
    /// The policy.
    pub policy: &'a str,
    /// The namespaces.
    pub namespaces: BTreeSet<String>,
    /// First instant at which it denies again.
    pub until: Timestamp,
}

impl Estate<'_> {
    /// The namespaces a policy is about at a stage, of those that are known. Enforced ones are so by name; the rest of what is selected is in audit.
    pub fn namespaces_of<'s>(&'s self, policy: &'s EstatePolicy<'_>, stage: Stage) -> BTreeSet<&'s str> {
        let selected = self.namespaces.iter().filter(|(name, labels)| {
            !self.left_out.contains(*name)
                && policy.compiled.selects(labels)
                && !policy.rollout.enforced.contains(*name)
        });
        match stage {
            Stage::Audit => selected.map(|(name, _)| name.as_str()).collect(),
            Stage::Enforce => policy.rollout.enforced.iter().map(String::as_str).collect(),
        }
    }

    /// Namespaces that are selected by a policy and left out all the same, which has to be said.
    pub fn left_out_of(&self, policy: &EstatePolicy<'_>) -> BTreeSet<&str> {
        self.left_out
            .iter()
            .filter(|name| !policy.rollout.enforced.contains(*name))
            .filter(|name| {
                let by_name = BTreeMap::from([("kubernetes.io/metadata.name".to_owned(), (*name).clone())]);
                policy.compiled.selects(self.namespaces.get(*name).unwrap_or(&by_name))
            })
            .map(String::as_str)
            .collect()
    }
}
