//! Which digests are listed as verified: those proven now, and those proven before whose proof stands.
//!
//! What cannot be looked at today, for a layout that was not given or a root that is stale, is not denied tomorrow for that alone.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_core::Digest;
use holdfast_core::coverage::{CompiledPolicy, Coverage};
use holdfast_core::engines::Verified;
use holdfast_core::engines::native::retain::{Basis, Held, Observed, RETENTION, decide};
use holdfast_core::verify::{Outcome, Reason};
use jiff::Timestamp;

use super::trust::TrustView;

/// What is listed, and what to remember of it.
pub(super) struct Retained {
    pub(super) verified: Verified,
    pub(super) held: Vec<Held>,
}

/// What a retention looks at.
pub(super) struct Retention<'a> {
    pub(super) policies: &'a [CompiledPolicy],
    /// What all of them say of what runs.
    pub(super) coverage: &'a Coverage,
    /// The evidence that is stored for a digest, where all of it could be listed.
    pub(super) evidence: &'a BTreeMap<Digest, Vec<Digest>>,
    pub(super) trust: &'a [TrustView],
    pub(super) clock_sane: bool,
    pub(super) now: Timestamp,
}

impl Retention<'_> {
    /// Adds to what is proven now what of `held` still stands.
    pub(super) fn retain(&self, held: &[Held]) -> Retained {
        let mut retained = Retained { verified: Verified::of_coverage(self.coverage), held: Vec::new() };
        let verdicts = self.verdicts();
        for (policy, trust) in self.policies.iter().map(|policy| (policy, self.at_hand(policy))) {
            let of_policy = verdicts.iter().filter(|((name, _), _)| *name == policy.name);
            let proven = of_policy.filter(|(_, reason)| reason.outcome() == Outcome::Covered);
            retained.held.extend(proven.map(|((_, digest), _)| Held {
                digest: *digest,
                policy: policy.name.clone(),
                basis: Basis {
                    evidence: self.evidence.get(digest).cloned().unwrap_or_default(),
                    trust: trust.clone(),
                    policy: policy.decides,
                },
                last_seen: self.now,
            }));
        }
        let proven: BTreeSet<(String, Digest)> =
            retained.held.iter().map(|held| (held.policy.clone(), held.digest)).collect();
        for before in held.iter().filter(|held| !proven.contains(&(held.policy.clone(), held.digest))) {
            let policy = self.policies.iter().find(|policy| policy.name == before.policy);
            let trust = policy.map(|policy| self.at_hand(policy)).unwrap_or_default();
            let verdict = verdicts.get(&(before.policy.as_str(), before.digest)).copied();
            let observed = Observed {
                verdict,
                evidence: self.evidence.get(&before.digest).map(Vec::as_slice),
                trust: &trust,
                policy: policy.map(|policy| policy.decides),
                seen: verdict.is_some(),
                clock_sane: self.clock_sane,
            };
            if let Ok(kept) = decide(before, &observed, self.now, RETENTION) {
                retained.verified.keep(&kept);
                let last_seen = if observed.seen { self.now } else { before.last_seen.min(self.now) };
                retained.held.push(Held { last_seen, ..before.clone() });
            }
        }
        retained.held.sort_by(|a, b| (&a.policy, a.digest).cmp(&(&b.policy, b.digest)));
        retained
    }

    /// What each policy says of each digest that runs. One that passes under one of its names passes.
    fn verdicts(&self) -> BTreeMap<(&str, Digest), Reason> {
        let mut verdicts: BTreeMap<(&str, Digest), Reason> = BTreeMap::new();
        for image in &self.coverage.images {
            let Some(digest) = image.digest.or_else(|| written(&image.image)) else { continue };
            for verdict in &image.policies {
                let of = verdicts.entry((&verdict.policy, digest)).or_insert(verdict.reason);
                if verdict.reason.outcome() == Outcome::Covered {
                    *of = verdict.reason;
                }
            }
        }
        verdicts
    }

    /// The trust roots in force that a policy accepts, as far as they are at hand.
    fn at_hand(&self, policy: &CompiledPolicy) -> BTreeMap<String, Digest> {
        let in_force = |name: &String| {
            let view = self.trust.iter().find(|view| view.name == *name)?;
            Some((name.clone(), view.adopted.as_ref()?.digest))
        };
        policy.trust_roots.iter().filter_map(in_force).collect()
    }
}

/// The digest an image is declared by.
fn written(image: &str) -> Option<Digest> {
    holdfast_core::image::ImageRef::parse(image).ok()?.digest()
}
