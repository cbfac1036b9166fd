//! How much text the rules over other images are, all together: each set of policies that are together somewhere has a rule of its own, and few authors make
//! many sets.

use std::collections::BTreeMap;

use super::length::TOGETHER_LENGTH;
use super::scope::{Scope, Tier, Together, scopes};
use super::terms::Terms;
use super::{Estate, readable};
use crate::api::SigningIdentityPolicy;

/// The most that those list which only report, in each tier.
const REPORTED: usize = 4 * 1024 * 1024;
/// The most that those list which deny: no promotion goes beyond it.
const ENFORCED: usize = 16 * 1024 * 1024;
/// Why a promotion would.
pub const TOO_MUCH: &str = "with it, what policies list in the namespaces they share would be more than 16 MiB of admission rules, one for each set of \
     policies; use fewer and shorter patterns, as `registry.corp.internal/apps/**`, or fewer policies about the same namespaces";

/// How much text a policy lists.
pub fn listed(declared: &SigningIdentityPolicy) -> usize {
    Terms::of(declared).map_or(0, |terms| terms.length())
}

/// Whether what would deny is more than any promotion may come to.
pub fn is_too_much(estate: &Estate<'_>) -> bool {
    let (Ok(terms), scopes) = (readable(estate), scopes(estate)) else { return false };
    let lengths = Lengths::of(&terms);
    let sets = scopes.get(&Tier::Enforce).map(sets).unwrap_or_default();
    sets.keys().map(|together| lengths.together(together)).sum::<usize>() > ENFORCED
}

/// The sets of policies of which one denies other images, with their namespaces.
pub(super) fn sets<'s, 'e>(scope: &'s Scope<'e>) -> BTreeMap<&'s Together<'e>, Vec<&'e str>> {
    let mut sets: BTreeMap<&Together<'e>, Vec<&'e str>> = BTreeMap::new();
    for (namespace, together) in scope.together.iter().filter(|(_, together)| !together.denying.is_empty()) {
        sets.entry(together).or_default().push(namespace);
    }
    sets
}

/// Those of some sets that go beyond what only reports may list: the ones that list most, so that nobody who lists little is left out.
pub(super) fn beyond_reports<'s, 'e>(
    sets: impl IntoIterator<Item = &'s Together<'e>>,
    terms: &BTreeMap<&str, Terms>,
) -> Vec<&'s Together<'e>>
where
    'e: 's,
{
    let lengths = Lengths::of(terms);
    let mut by_length: Vec<(usize, &Together<'e>)> =
        sets.into_iter().map(|together| (lengths.together(together), together)).collect();
    by_length.sort_unstable();
    let mut all = 0;
    let beyond = by_length.into_iter().skip_while(|(length, _)| {
        all += length;
        all <= REPORTED
    });
    beyond.map(|(_, together)| together).collect()
}

/// How much each policy lists.
struct Lengths<'a>(BTreeMap<&'a str, usize>);

impl<'a> Lengths<'a> {
    fn of(terms: &BTreeMap<&'a str, Terms>) -> Self {
        Self(terms.iter().map(|(policy, terms)| (*policy, terms.length())).collect())
    }

    /// No less than what the rule over a set lists: what several policies list counts for each, so that no rule has to be put together to know.
    fn together(&self, together: &Together<'_>) -> usize {
        let lengths = together.policies.iter().filter_map(|policy| self.0.get(policy));
        lengths.sum::<usize>().min(TOGETHER_LENGTH)
    }
}
