//! Which promotions would bring admission rules beyond what all of them may come to.

use std::collections::BTreeSet;

use super::sight::{Sight, policies};
use super::standing::Standing;
use crate::api::policy::Desired;
use crate::engines::Verified;
use crate::engines::native::{is_too_much, listed};

impl Sight<'_> {
    /// The policies that cannot deny in more namespaces than they do. Those that list little come in before those that list much, and those that are to be
    /// enforced before others, so that what somebody merely declares keeps nobody out.
    pub(super) fn beyond(&self, standings: &[Standing<'_>]) -> BTreeSet<String> {
        let mut growing: Vec<(bool, usize, &str)> = standings
            .iter()
            .filter_map(|standing| {
                let ready = standing.ready.as_ref()?;
                let grows = !self.selected(ready).is_subset(&standing.enforced_before());
                let only_reports = ready.form.spec.enforcement.desired != Desired::Enforce;
                grows.then(|| (only_reports, listed(&ready.policy), standing.name()))
            })
            .collect();
        growing.sort_unstable();
        let is_within = |count: &usize| {
            let come_in: BTreeSet<&str> = growing.iter().take(*count).map(|(.., name)| *name).collect();
            let members = policies(standings, |standing, ready| {
                let enforced = standing.enforced_before();
                if come_in.contains(standing.name()) { &enforced | &self.selected(ready) } else { enforced }
            });
            !is_too_much(&self.facts.estate(members, Vec::new(), Verified::default()))
        };
        if is_within(&growing.len()) {
            return BTreeSet::new();
        }
        let counts: Vec<usize> = (1..=growing.len()).collect();
        let within = counts.partition_point(is_within);
        growing.into_iter().skip(within).map(|(.., name)| name.to_owned()).collect()
    }
}
