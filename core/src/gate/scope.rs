//! Which namespaces a policy is about, wave by wave.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::decide::Input;
use super::memory::{Enforced, WaveStanding};
use super::rollout::{selected, waves_of};
use crate::api::SigningIdentityPolicySpec;
use crate::api::policy::{Desired, Wave};

/// A wave and the namespaces it selects.
#[derive(Debug, Clone)]
pub(super) struct WaveScope {
    pub(super) wave: Wave,
    pub(super) selected: BTreeSet<String>,
}

/// Every wave of the form in force, in order; none while Audit is desired.
pub(super) struct Scope {
    waves: Vec<WaveScope>,
    all: BTreeSet<String>,
}

impl Scope {
    pub(super) fn of(input: &Input<'_>, spec: &SigningIdentityPolicySpec, enforced: &Enforced) -> Self {
        let observed = input.observed;
        let names = |wave: &Wave| -> BTreeSet<String> {
            selected(spec, wave, &observed.namespaces, &observed.left_out).into_iter().map(str::to_owned).collect()
        };
        let everything = Wave {
            name: String::new(),
            namespace_selector: crate::api::common::NamespaceSelector::default(),
            soak: None,
        };
        let all = names(&everything);
        // A deletion that is held takes nothing back: what comes into the scope of a wave in force is enforced as before.
        let leaves = input.deleting && enforced.namespaces.is_empty();
        let wanted = spec.enforcement.desired == Desired::Enforce && !leaves;
        let waves = if wanted { waves_of(&spec.enforcement) } else { Vec::new() };
        let waves = waves.into_iter().map(|wave| WaveScope { selected: names(&wave), wave }).collect();
        Self { waves, all }
    }

    /// Every namespace the policy selects.
    pub(super) fn all(&self) -> BTreeSet<String> {
        self.all.clone()
    }

    /// Takes waves for done that come next and have nothing of their own: all they select is enforced already.
    pub(super) fn settle(&self, enforced: &mut Enforced, now: Timestamp) {
        for wave in &self.waves {
            match enforced.waves.get(&wave.wave.name) {
                Some(standing) if standing.observed.is_some() => {}
                Some(_) => return,
                None => {
                    let nothing_new = wave.selected.iter().all(|name| enforced.namespaces.contains_key(name));
                    if wave.selected.is_empty() || !nothing_new {
                        return;
                    }
                    let standing = WaveStanding { promoted: now, observed: Some(now) };
                    enforced.waves.insert(wave.wave.name.clone(), standing);
                }
            }
        }
    }

    /// The first wave that was not promoted; none while one waits to be observed.
    pub(super) fn pending(&self, enforced: &Enforced) -> Option<WaveScope> {
        if enforced.is_promoting() {
            return None;
        }
        self.waves.iter().find(|wave| !enforced.waves.contains_key(&wave.wave.name)).cloned()
    }

    /// Namespaces of waves that were promoted that are not enforced, with the wave.
    pub(super) fn left_behind<'s>(&'s self, enforced: &Enforced) -> Vec<(&'s str, &'s Wave)> {
        let mut found: BTreeMap<&str, &Wave> = BTreeMap::new();
        for wave in self.waves.iter().filter(|wave| enforced.waves.contains_key(&wave.wave.name)) {
            for name in &wave.selected {
                if !enforced.namespaces.contains_key(name) {
                    found.entry(name).or_insert(&wave.wave);
                }
            }
        }
        found.into_iter().collect()
    }
}
