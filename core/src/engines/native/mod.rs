//! The native engine: `ValidatingAdmissionPolicy`, in the API server itself. No webhook, no registry and no TUF on the admission path.
//!
//! Three rules over the images of a pod: they have one form, every one has a policy, and what a policy is about is verified. The last looks digests up in
//! [`shards`] of the policy, which hold what [`crate::engines::Verified`] proves; a digest that was never verified is denied, also when holdfast is down.
//!
//! Each rule is rendered for up to three tiers: to deny pods, to report pods, and to warn whoever applies a workload. They are objects of their own because a
//! fault of a binding is dealt with by its policy's `failurePolicy`: what closes in enforcement would deny in audit.

pub mod announced;
pub mod canary;
pub mod capability;
pub mod cost;
mod exceptions;
mod expressions;
pub mod guards;
pub mod length;
pub mod listed;
mod losses;
mod objects;
pub mod retain;
mod rules;
mod scope;
pub mod shards;
pub mod steps;
mod terms;
mod together;

use std::collections::{BTreeMap, BTreeSet};

pub use capability::NativeCapability;
pub use guards::{GuardSettings, guards};
pub use retain::{Basis, Held, Holding, Kept, Observed, Out, Proof};
pub use shards::Shards;
pub use steps::{Changes, Step, changes, steps};
pub use together::{TOO_MUCH, is_too_much, listed};

use self::cost::Costs;
use self::exceptions::Ends;
use self::length::TOGETHER_LENGTH;
use self::rules::Rules;
use self::scope::{Scope, Tier, Together, is_native, scopes};
use self::terms::Terms;
use super::{Engine, EngineKind, Estate, Object, Refused, Rendering};

/// The native engine.
#[derive(Debug, Clone, Copy)]
pub struct Native;

impl Engine for Native {
    type Capability = NativeCapability;

    const KIND: EngineKind = EngineKind::Native;

    fn render(estate: &Estate<'_>, capability: &NativeCapability) -> Rendering {
        Self::rendered(estate, capability, |shards| shards.objects().collect())
    }
}

impl Native {
    /// The same without the objects that list what is verified: they are large, and say nothing of losses.
    pub(super) fn without_parameters(estate: &Estate<'_>, capability: &NativeCapability) -> Rendering {
        Self::rendered(estate, capability, |_| Vec::new())
    }

    fn rendered(
        estate: &Estate<'_>,
        capability: &NativeCapability,
        parameters: impl Fn(&Shards<'_>) -> Vec<Object>,
    ) -> Rendering {
        let mut rendering = Rendering::default();
        if !estate.policies.values().any(is_native) {
            return rendering;
        }
        if !capability.has_admission_policies() {
            return losses::absent(estate).sorted();
        }
        let terms = match readable(estate) {
            Ok(terms) => terms,
            Err(refused) => return Rendering { refused, ..rendering },
        };
        let shards = packed(estate, capability);
        rendering.objects.extend(shards.values().flat_map(parameters));
        rendering.losses.extend(losses::of_estate(estate, capability, &shards));
        for (tier, scope) in &scopes(estate) {
            let renderer = Renderer { estate, terms: &terms, shards: &shards, tier: *tier, scope };
            let costs = renderer.render(&mut rendering);
            rendering.losses.extend(costs.iter().filter_map(|(policy, costs)| losses::of_cost(policy, costs)));
        }
        rendering.sorted()
    }
}

/// What each rendered admission policy costs the API server at most, for one binding.
pub fn costs(estate: &Estate<'_>, capability: &NativeCapability) -> Vec<Costs> {
    let shards = packed(estate, capability);
    let Ok(terms) = readable(estate) else { return Vec::new() };
    let scopes = scopes(estate);
    let of = |(tier, scope): (&Tier, &Scope<'_>)| {
        Renderer { estate, terms: &terms, shards: &shards, tier: *tier, scope }.render(&mut Rendering::default())
    };
    scopes.iter().flat_map(of).map(|(_, costs)| costs).collect()
}

/// The verified digests of each policy of this engine.
fn packed<'a>(estate: &'a Estate<'a>, capability: &NativeCapability) -> BTreeMap<&'a str, Shards<'a>> {
    let ours = estate.policies.iter().filter(|(_, policy)| is_native(policy));
    ours.map(|(name, _)| (*name, Shards::pack(&estate.verified, name, capability.shards.get(*name).copied()))).collect()
}

/// The terms of every policy; those that cannot be read are refused, and with them everything: a rule over all policies would lack them. What is in force
/// then stays as it is.
fn readable<'a>(estate: &'a Estate<'a>) -> Result<BTreeMap<&'a str, Terms>, Vec<Refused>> {
    let read: Vec<(&str, Option<Terms>)> =
        estate.policies.iter().map(|(name, policy)| (*name, Terms::of(policy.declared))).collect();
    let refused: Vec<Refused> = read
        .iter()
        .filter(|(_, terms)| terms.is_none())
        .map(|(name, _)| Refused {
            policy: (*name).to_owned(),
            why: "an image pattern or an exempt image cannot be read; correct it, so that the policies can be rendered"
                .to_owned(),
        })
        .collect();
    if refused.is_empty() {
        Ok(read.into_iter().filter_map(|(name, terms)| Some((name, terms?))).collect())
    } else {
        Err(refused)
    }
}

/// One tier.
struct Renderer<'e, 's> {
    estate: &'e Estate<'e>,
    terms: &'s BTreeMap<&'e str, Terms>,
    shards: &'s BTreeMap<&'e str, Shards<'e>>,
    tier: Tier,
    scope: &'s Scope<'e>,
}

impl<'e> Renderer<'e, '_> {
    /// Renders the tier, and gives what each rule costs with the policies it is of.
    fn render(&self, rendering: &mut Rendering) -> Vec<(String, Costs)> {
        let rules = Rules::of(self.tier);
        let mut costs = Vec::new();
        for pinned in [true, false] {
            let places = self.places(|_, together| together.denying.is_empty() != pinned);
            if !places.is_empty() {
                let ends = self.ends(&places, |together| &together.policies);
                let rule = rules.form(pinned, &ends);
                costs.push((String::new(), rule.costs()));
                rendering.objects.push(rule.binding("", &places.keys().copied().collect(), None));
                rendering.objects.push(rule.into_policy());
            }
        }
        self.others(&rules, rendering, &mut costs);
        for (policy, namespaces) in self.scope.judged.iter().filter(|(_, namespaces)| !namespaces.is_empty()) {
            let Some((terms, shards)) = self.terms.get(policy).zip(self.shards.get(policy)) else { continue };
            let ends = match self.tier {
                Tier::Enforce => exceptions::of_policy(self.estate, policy),
                Tier::Audit | Tier::Warn => Ends::default(),
            };
            let rule = rules.judge(policy, terms, shards.longest() as u64, &ends);
            if !rule.fits() {
                let is_enforced = self.tier == Tier::Enforce;
                rendering.refused.extend(is_enforced.then(|| losses::too_long(policy)));
                rendering.losses.push(losses::of_length(policy));
                continue;
            }
            costs.push(((*policy).to_owned(), rule.costs()));
            for range in shards.ranges() {
                rendering.objects.push(rule.binding(&range.suffix(), namespaces, Some(&range.name(policy))));
            }
            rendering.objects.push(rule.into_policy());
        }
        costs
    }

    /// One rule for each set of policies that are together somewhere and of which one denies other images. Of those that only report, as many as there is
    /// room for; what denies is never left out.
    fn others(&self, rules: &Rules, rendering: &mut Rendering, costs: &mut Vec<(String, Costs)>) {
        let mut sets = together::sets(self.scope);
        if self.tier != Tier::Enforce {
            for together in together::beyond_reports(sets.keys().copied(), self.terms) {
                sets.remove(together);
                rendering.losses.extend(together.denying.iter().map(|policy| losses::of_reports(policy)));
            }
        }
        for (together, namespaces) in sets {
            let namespaces: BTreeSet<&'e str> = namespaces.into_iter().collect();
            let (terms, left_out) = self.about(&together.policies);
            rendering.losses.extend(left_out.into_iter().map(losses::of_length_together));
            let places = namespaces.iter().filter_map(|at| Some((*at, self.scope.together.get(at)?))).collect();
            let ends = self.ends(&places, |together| &together.denying);
            let rule = rules.others(&together.policies, &terms, &ends);
            costs.push((String::new(), rule.costs()));
            rendering.objects.push(rule.binding("", &namespaces, None));
            rendering.objects.push(rule.into_policy());
        }
    }

    /// What policies are about together, and which of them are left out of it where that is more text than the API server takes: those that list most, so
    /// that nobody who lists little is. Without them fewer images have a policy than is declared, and never more.
    fn about(&self, policies: &BTreeSet<&'e str>) -> (Terms, Vec<&'e str>) {
        let known = policies.iter().filter_map(|policy| self.terms.get_key_value(policy));
        let mut by_length: Vec<(usize, &'e str, &Terms)> =
            known.map(|(policy, terms)| (terms.length(), *policy, terms)).collect();
        by_length.sort_unstable_by_key(|(length, policy, _)| (*length, *policy));
        let (mut all, mut length, mut left_out) = (Terms::default(), 0, Vec::new());
        for (_, policy, terms) in by_length {
            let more = terms.without(&all);
            if length + more.length() <= TOGETHER_LENGTH {
                length += more.length();
                all.add(more);
            } else {
                left_out.push(policy);
            }
        }
        (all, left_out)
    }

    fn places(&self, which: impl Fn(&'e str, &Together<'e>) -> bool) -> BTreeMap<&'e str, &Together<'e>> {
        self.scope
            .together
            .iter()
            .filter(|(at, together)| which(at, together))
            .map(|(at, together)| (*at, together))
            .collect()
    }

    fn ends<'t>(
        &self,
        places: &BTreeMap<&'e str, &'t Together<'e>>,
        who: impl Fn(&'t Together<'e>) -> &'t BTreeSet<&'e str>,
    ) -> Ends<'e> {
        match self.tier {
            Tier::Enforce => exceptions::of_all(self.estate, places, who),
            Tier::Audit | Tier::Warn => Ends::default(),
        }
    }
}
