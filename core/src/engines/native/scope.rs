//! Who is judged where: for each tier, the namespaces of each policy and what all policies of a namespace are together.

use std::collections::{BTreeMap, BTreeSet};

use super::expressions::Target;
use crate::api::policy::OtherImages;
use crate::engines::{Estate, EstatePolicy, Stage};

/// What a set of objects does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tier {
    /// Denies pods.
    Enforce,
    /// Reports pods.
    Audit,
    /// Warns whoever applies a workload.
    Warn,
}

impl Tier {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Audit => "audit",
            Self::Warn => "warn",
        }
    }

    pub(super) const fn target(self) -> Target {
        match self {
            Self::Enforce | Self::Audit => Target::Pods,
            Self::Warn => Target::Templates,
        }
    }

    pub(super) const fn actions(self) -> &'static [&'static str] {
        match self {
            Self::Enforce => &["Deny", "Audit"],
            Self::Audit => &["Audit", "Warn"],
            Self::Warn => &["Warn"],
        }
    }

    /// A fault in the configuration of a binding, as a missing shard, is dealt with by this alone, whatever the actions say: `Fail` in audit would deny.
    pub(super) const fn failure_policy(self) -> &'static str {
        match self {
            Self::Enforce => "Fail",
            Self::Audit | Self::Warn => "Ignore",
        }
    }
}

/// All policies that are about a namespace in a tier.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Together<'a> {
    /// Their names.
    pub(super) policies: BTreeSet<&'a str>,
    /// Those of them that deny what no policy matches.
    pub(super) denying: BTreeSet<&'a str>,
}

/// The namespaces of one tier.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Scope<'a> {
    /// The namespaces each policy judges in.
    pub(super) judged: BTreeMap<&'a str, BTreeSet<&'a str>>,
    /// What all policies of a namespace are together. Without namespaces where a stricter tier says the same.
    pub(super) together: BTreeMap<&'a str, Together<'a>>,
}

/// Whether this engine is asked for.
pub(super) fn is_native(policy: &EstatePolicy<'_>) -> bool {
    policy.declared.spec.engines.native.is_some()
}

/// The scope of every tier.
pub(super) fn scopes<'a>(estate: &'a Estate<'a>) -> BTreeMap<Tier, Scope<'a>> {
    // Each policy is held against every namespace once.
    let of_policy: BTreeMap<&str, [BTreeSet<&str>; 2]> = estate
        .policies
        .iter()
        .map(|(name, policy)| (*name, [Stage::Enforce, Stage::Audit].map(|stage| estate.namespaces_of(policy, stage))))
        .collect();
    let enforced = places(estate, &of_policy, |[enforced, _]| enforced.clone());
    let declared = places(estate, &of_policy, |[enforced, reported]| enforced | reported);
    let excepted = |name: &str| -> BTreeSet<&'a str> {
        let of_policy = estate.exceptions.iter().filter(move |exception| exception.policy == name);
        of_policy.flat_map(|exception| exception.namespaces.iter().map(String::as_str)).collect()
    };
    let mut enforce = Scope { together: enforced.clone(), ..Scope::default() };
    let mut audit = Scope::default();
    let mut warn = Scope { together: declared.clone(), ..Scope::default() };
    warn.together.extend(enforced.clone());
    for (name, _) in estate.policies.iter().filter(|(_, policy)| is_native(policy)) {
        let [denied, mut reported] = of_policy.get(name).cloned().unwrap_or_default();
        // Where a break-glass lets pods in, they are reported all the same.
        reported.extend(denied.iter().filter(|namespace| excepted(name).contains(*namespace)));
        warn.judged.insert(name, denied.union(&reported).copied().collect());
        for namespace in &reported {
            let (all, strict) = (declared.get(namespace), enforced.get(namespace));
            if let Some(all) = all.filter(|_| all != strict || excepted(name).contains(namespace)) {
                audit.together.insert(namespace, all.clone());
            }
        }
        enforce.judged.insert(name, denied);
        audit.judged.insert(name, reported);
    }
    BTreeMap::from([(Tier::Enforce, enforce), (Tier::Audit, audit), (Tier::Warn, warn)])
}

/// The policies of each namespace, of every engine; only namespaces in which this engine judges.
fn places<'a>(
    estate: &'a Estate<'a>,
    of_policy: &BTreeMap<&'a str, [BTreeSet<&'a str>; 2]>,
    which: impl Fn(&[BTreeSet<&'a str>; 2]) -> BTreeSet<&'a str>,
) -> BTreeMap<&'a str, Together<'a>> {
    let mut places: BTreeMap<&str, Together<'_>> = BTreeMap::new();
    let mut ours = BTreeSet::new();
    for (name, policy) in &estate.policies {
        for namespace in of_policy.get(name).map(&which).unwrap_or_default() {
            let together = places.entry(namespace).or_default();
            together.policies.insert(name);
            if is_native(policy) {
                ours.insert(namespace);
                if policy.compiled.other_images == OtherImages::Deny {
                    together.denying.insert(name);
                }
            }
        }
    }
    places.retain(|namespace, _| ours.contains(namespace));
    places
}
