//! Everything a decision over policies looks at.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::member::Member;
use super::memory::Remembered;
use super::retention::Evidence;
use crate::Digest;
use crate::api::common::NAME_LABEL;
use crate::api::common::NamespaceSelector;
use crate::api::policy::Engines;
use crate::coverage::Inventory;
use crate::engines::all::{Capabilities, asks};
use crate::engines::native::Holding;
use crate::engines::{EngineKind, Estate, EstatePolicy, EstateRoot, Exception, LocalRepository, Verified};
use crate::gate::break_glass::ActiveBreakGlass;
use crate::gate::loosening::{Approval, Beside};
use crate::gate::rollout::{selected, waves_of};
use crate::gate::{Canaries, Enforced, Namespace, ScanTime, Seen, TrustRootState, Unscanned};
use crate::trust::clock::Sanity;
use crate::trust::root::TrustRoot;

/// Everything a decision over policies looks at.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// Who is decided.
    pub members: &'a [Member],
    /// Policies of which nobody knows what they deny; see [`super::lost`].
    pub lost: &'a BTreeSet<String>,
    /// What is remembered of each policy.
    pub remembered: &'a BTreeMap<String, Remembered>,
    /// The digests that were verified for each policy before.
    pub holdings: &'a BTreeMap<String, Holding>,
    /// The trust roots, by their TrustRootMirror.
    pub trust: &'a BTreeMap<String, Trust>,
    /// The repositories inside the cluster that serve them.
    pub repositories: &'a BTreeMap<String, LocalRepository>,
    /// What runs, and what would.
    pub inventory: &'a Inventory,
    /// The namespaces that are known.
    pub namespaces: &'a BTreeMap<String, Namespace>,
    /// Whether these are all there are.
    pub sees_all_namespaces: bool,
    /// Namespaces no policy comes to be enforced in.
    pub left_out: &'a BTreeSet<String>,
    /// Where holdfast runs.
    pub holdfast_namespace: &'a str,
    /// What is known of engines.
    pub capabilities: &'a Capabilities,
    /// What was seen of an engine, as far as it concerns a policy.
    pub engines: &'a dyn Fn(EngineKind, &str) -> EngineSeen,
    /// The evidence that is stored for a digest.
    pub evidence: &'a Evidence,
    /// The last scan, or why there is none.
    pub scan: Result<&'a ScanSeen, &'a Unscanned>,
    /// Whether whoever looks has just begun to.
    pub looks_around: bool,
    /// What is known of the clock.
    pub clock: Sanity,
    /// Approvals that count, of every policy.
    pub approvals: &'a [Approval],
    /// Break-glasses in force.
    pub break_glasses: &'a [ActiveBreakGlass],
    /// How long a digest that nothing uses stays verified.
    pub retention: SignedDuration,
}

/// A trust root.
#[derive(Debug, Clone)]
pub struct Trust {
    /// What is in force of it.
    pub root: Option<TrustRoot>,
    /// How it is.
    pub state: TrustRootState,
}

/// A scan, of which every policy gets its part.
#[derive(Debug, Clone)]
pub struct ScanSeen {
    /// When it was made.
    pub time: ScanTime,
    /// Why it is not complete, if so.
    pub incomplete: Option<String>,
    /// Whether none was complete yet since whoever looks began to list what runs.
    pub is_early: bool,
}

/// What was seen of an engine, as far as it concerns a policy.
#[derive(Debug, Clone)]
pub struct EngineSeen {
    /// Whether its kinds, its controller and its webhook rules are there.
    pub present: bool,
    /// Whether it acts on this generation of the policy.
    pub ready: bool,
    /// What the canaries said.
    pub canaries: Canaries,
    /// What else is wrong with it.
    pub faults: Vec<String>,
    /// The namespaces it is told to deny in, by objects that are there.
    pub told: BTreeSet<String>,
    /// The namespaces it was observed to deny in.
    pub in_force: BTreeSet<String>,
}

static NOTHING: std::sync::LazyLock<Remembered> = std::sync::LazyLock::new(Remembered::default);

impl<'a> Facts<'a> {
    pub(super) fn remembered(&self, name: &str) -> &'a Remembered {
        self.remembered.get(name).unwrap_or(&NOTHING)
    }

    /// Every policy that is enforced, in which form and where.
    pub(super) fn beside(&self) -> Vec<Owned<'a>> {
        let kept = self.remembered.iter();
        let enforced = kept.filter_map(|(name, kept)| Some((name.as_str(), kept.enforced.as_ref()?)));
        enforced.map(|(name, enforced)| Owned::of(name, enforced, self)).collect()
    }

    /// When the first wave of a policy came into force that selects a namespace.
    pub(super) fn about_since(&self, of: &Remembered, namespace: &str) -> Option<Timestamp> {
        let (enforced, known) = (of.enforced.as_ref()?, self.namespaces.get(namespace)?);
        let waves = waves_of(&enforced.spec.enforcement).into_iter();
        let selects = waves.filter(|wave| wave.namespace_selector.matches(&known.labels));
        selects.filter_map(|wave| Some(enforced.waves.get(&wave.name)?.promoted)).min()
    }

    /// The namespaces a selector can be held against: those that are known, and those it means by their name alone.
    pub(super) fn namespaces(&self, selector: &NamespaceSelector) -> BTreeMap<String, Namespace> {
        let unknown = self.inventory.unknown_namespaces().into_iter();
        let by_name = unknown
            .filter(|name| !self.namespaces.contains_key(*name) && selector.matches_name(name) == Some(true))
            .map(|name| {
                let labels = BTreeMap::from([(NAME_LABEL.to_owned(), name.to_owned())]);
                (name.to_owned(), Namespace { labels, ..Namespace::default() })
            });
        self.namespaces.iter().map(|(name, known)| (name.clone(), known.clone())).chain(by_name).collect()
    }

    /// Namespaces that are left out for a policy that asks for these engines: nothing is promoted where one of them never judges.
    pub(super) fn left_out_for(&self, engines: &Engines) -> BTreeSet<String> {
        let mut left_out = self.left_out.clone();
        if asks(engines, EngineKind::Kyverno) {
            left_out.insert(self.holdfast_namespace.to_owned());
        }
        left_out
    }

    /// The namespaces that are known, with their labels.
    fn labels(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        self.namespaces.iter().map(|(name, known)| (name.clone(), known.labels.clone())).collect()
    }

    pub(super) fn estate<'e>(
        &'e self,
        policies: BTreeMap<&'e str, EstatePolicy<'e>>,
        exceptions: Vec<Exception<'e>>,
        verified: Verified,
    ) -> Estate<'e> {
        let roots = self.trust.iter().filter_map(|(name, trust)| {
            let root = trust.root.as_ref()?;
            let repository = self.repositories.get(name).cloned();
            Some((name.as_str(), EstateRoot { root, document: root.document(), repository }))
        });
        Estate {
            policies,
            roots: roots.collect(),
            namespaces: self.labels(),
            left_out: self.left_out.clone(),
            holdfast_namespace: self.holdfast_namespace,
            verified,
            exceptions,
        }
    }

    /// The digest of what is in force of a trust root.
    pub(super) fn root_digest(&self, name: &str) -> Option<Digest> {
        Some(self.trust.get(name)?.root.as_ref()?.digest)
    }
}

/// A policy that is enforced, and where.
pub(super) struct Owned<'a> {
    name: &'a str,
    spec: &'a crate::api::SigningIdentityPolicySpec,
    namespaces: BTreeSet<String>,
    from_start: BTreeSet<String>,
    coming: BTreeSet<String>,
}

impl<'a> Owned<'a> {
    fn of(name: &'a str, enforced: &'a Enforced, facts: &Facts<'_>) -> Self {
        let from_start = enforced.namespaces.iter().filter(|(namespace, standing)| {
            facts.namespaces.get(*namespace).is_some_and(|known| known.was_new_at(standing.written))
        });
        Self {
            name,
            spec: &enforced.spec,
            namespaces: enforced.names(),
            from_start: from_start.map(|(namespace, _)| namespace.clone()).collect(),
            coming: coming(enforced, facts),
        }
    }

    pub(super) fn borrowed<'b: 'a>(all: &'b [Self]) -> Vec<Beside<'b>> {
        let one = |of: &'b Self| Beside {
            name: of.name,
            spec: of.spec,
            namespaces: &of.namespaces,
            from_start: &of.from_start,
            coming: &of.coming,
        };
        all.iter().map(one).collect()
    }
}

/// The namespaces of waves in force that were made since, and that nobody saw before.
fn coming(enforced: &Enforced, facts: &Facts<'_>) -> BTreeSet<String> {
    let (spec, mut coming) = (&enforced.spec, BTreeSet::new());
    for wave in waves_of(&spec.enforcement) {
        let Some(in_force) = enforced.waves.get(&wave.name).and_then(|wave| wave.observed) else { continue };
        let is_new = |name: &str| {
            let known = facts.namespaces.get(name).filter(|known| known.seen != Seen::Before);
            known.and_then(|known| known.created).is_some_and(|created| created > in_force)
        };
        let selected = selected(spec, &wave, facts.namespaces, facts.left_out);
        let new = selected.into_iter().filter(|name| is_new(name) && !enforced.namespaces.contains_key(*name));
        coming.extend(new.map(str::to_owned));
    }
    coming
}
