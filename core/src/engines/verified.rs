//! Which digests are verified for which policies: a list that nothing but a proof gets into.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::native::retain::Kept;
use crate::Digest;
use crate::coverage::Coverage;
use crate::verify::{Outcome, Verdict};

/// Digests by the policy they are verified for. Filled from covered verdicts, from coverage, and from what [`super::native::retain::decide`] keeps of
/// earlier ones; there is no other way in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// Shared by all that a pass renders: there may be a hundred thousand.
    by_policy: BTreeMap<String, Arc<BTreeSet<Digest>>>,
}

impl Verified {
    /// Every image that a coverage found verified, for each policy it was verified for.
    pub fn of_coverage(coverage: &Coverage) -> Self {
        let mut verified = Self::default();
        for image in &coverage.images {
            let Some(digest) = image.digest else { continue };
            let proven = image.policies.iter().filter(|verdict| verdict.reason.outcome() == Outcome::Covered);
            for verdict in proven {
                verified.insert(&verdict.policy, digest);
            }
        }
        verified
    }

    /// Takes the digest of a verdict under a policy, where it is covered. Returns whether it was.
    pub fn admit(&mut self, policy: &str, verdict: &Verdict) -> bool {
        let covered = verdict.outcome() == Outcome::Covered;
        if covered {
            self.insert(policy, verdict.digest);
        }
        covered
    }

    /// Takes a digest whose earlier proof still stands.
    pub fn keep(&mut self, kept: &Kept) {
        self.insert(kept.policy(), kept.digest());
    }

    /// The digests verified for a policy, in order.
    pub fn of(&self, policy: &str) -> impl Iterator<Item = Digest> + '_ {
        self.by_policy.get(policy).into_iter().flat_map(|digests| digests.iter()).copied()
    }

    /// Whether a digest is verified for a policy.
    pub fn contains(&self, policy: &str, digest: Digest) -> bool {
        self.by_policy.get(policy).is_some_and(|digests| digests.contains(&digest))
    }

    fn insert(&mut self, policy: &str, digest: Digest) {
        match self.by_policy.get_mut(policy) {
            Some(digests) => _ = Arc::make_mut(digests).insert(digest),
            None => _ = self.by_policy.insert(policy.to_owned(), Arc::new(BTreeSet::from([digest]))),
        }
    }
}
