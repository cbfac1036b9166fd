//! Which policy is about which image.
//!
//! A policy that selects namespaces by label may or may not mean one of which only the name is known. Neither answer is taken for granted: such a policy is
//! possible, and what it would say is not certain.

use std::collections::{BTreeMap, BTreeSet};

use super::inventory::Inventory;
use super::policy::CompiledPolicy;
use crate::api::policy::OtherImages;
use crate::image::ImageRef;

/// Which policies are about which image, and through which workloads. Each is certain or, where it hangs on labels nobody has told, possible.
pub(super) struct Scope {
    policies: Vec<BTreeMap<usize, bool>>,
    workloads: Vec<BTreeSet<usize>>,
    denied: BTreeMap<usize, bool>,
}

impl Scope {
    /// Works out who uses what under which policies.
    pub(super) fn of(inventory: &Inventory, policies: &[CompiledPolicy]) -> Self {
        let count = inventory.images().len();
        let mut scope = Self {
            policies: vec![BTreeMap::new(); count],
            workloads: vec![BTreeSet::new(); count],
            denied: BTreeMap::new(),
        };
        let parsed: Vec<Option<ImageRef>> =
            inventory.images().iter().map(|image| ImageRef::parse(&image.written).ok()).collect();
        let mut selected: BTreeMap<&str, Vec<Candidate<'_>>> = BTreeMap::new();
        for usage in inventory.usages() {
            let (Some(workload), Some(image)) = (inventory.workloads().get(usage.workload), parsed.get(usage.image))
            else {
                continue;
            };
            let candidates = selected
                .entry(&workload.namespace)
                .or_insert_with(|| Candidate::all(inventory, policies, &workload.namespace));
            let matching: Vec<&Candidate<'_>> = candidates.iter().filter(|c| c.is_about(image.as_ref())).collect();
            if let Some(certain) = denied(candidates, &matching, image.as_ref()) {
                *scope.denied.entry(usage.image).or_default() |= certain;
            }
            if matching.is_empty() {
                continue;
            }
            if let Some(of_image) = scope.policies.get_mut(usage.image) {
                for candidate in matching {
                    *of_image.entry(candidate.at).or_default() |= candidate.certain;
                }
            }
            if let Some(of_image) = scope.workloads.get_mut(usage.image) {
                of_image.insert(usage.workload);
            }
        }
        scope
    }

    /// The policies about an image, by their place, and whether each certainly is.
    pub(super) fn policies_of(&self, image: usize) -> Vec<(usize, bool)> {
        self.policies
            .get(image)
            .map(|policies| policies.iter().map(|(at, certain)| (*at, *certain)).collect())
            .unwrap_or_default()
    }

    /// The workloads that bring an image into the scope of a policy.
    pub(super) fn workloads_of(&self, image: usize) -> Vec<usize> {
        self.workloads.get(image).map(|workloads| workloads.iter().copied().collect()).unwrap_or_default()
    }

    /// Images that certainly, or possibly, are denied because no policy is about them.
    pub(super) fn denied_as_other(&self, inventory: &Inventory, certain: bool) -> Vec<String> {
        let denied = self.denied.iter().filter(|(_, is_certain)| **is_certain == certain);
        let mut images: Vec<String> =
            denied.filter_map(|(at, _)| inventory.images().get(*at)).map(|image| image.written.clone()).collect();
        images.sort();
        images.dedup();
        images
    }
}

/// A policy that selects a namespace, or may.
struct Candidate<'a> {
    at: usize,
    policy: &'a CompiledPolicy,
    certain: bool,
}

impl<'a> Candidate<'a> {
    fn all(inventory: &Inventory, policies: &'a [CompiledPolicy], namespace: &str) -> Vec<Self> {
        let candidate = |(at, policy): (usize, &'a CompiledPolicy)| match policy.selects_in(inventory, namespace) {
            Some(false) => None,
            selects => Some(Self { at, policy, certain: selects.is_some() }),
        };
        policies.iter().enumerate().filter_map(candidate).collect()
    }

    fn is_about(&self, image: Option<&ImageRef>) -> bool {
        // What cannot be read could be any image: every policy of the namespace has to be told.
        image.is_none_or(|image| self.policy.matches(image) && !self.policy.exempts(image))
    }
}

/// Whether an image is denied because no policy is about it, and whether that is certain.
fn denied(candidates: &[Candidate<'_>], matching: &[&Candidate<'_>], image: Option<&ImageRef>) -> Option<bool> {
    let exempting = |c: &&Candidate<'_>| image.is_some_and(|image| c.policy.exempts(image));
    let is_matching = |c: &Candidate<'_>| matching.iter().any(|other| other.at == c.at);
    let exempt = candidates.iter().filter(exempting).map(|c| c.certain).max();
    if exempt == Some(true) || matching.iter().any(|c| c.certain) {
        return None;
    }
    let denies = candidates.iter().filter(|c| c.policy.other_images == OtherImages::Deny && !is_matching(c));
    denies.map(|c| c.certain && matching.is_empty() && exempt.is_none()).max()
}
