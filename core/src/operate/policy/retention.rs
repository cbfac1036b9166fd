//! Which digests are listed as verified: those proven now, and those proven before whose proof stands.
//!
//! What cannot be looked at today, for a registry that is down or a root that is stale, is not denied tomorrow for that alone.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::facts::Facts;
use crate::Digest;
use crate::coverage::{CompiledPolicy, Coverage};
use crate::engines::Verified;
use crate::engines::native::Holding;
use crate::engines::native::retain::{Basis, Held, Observed, Proof, decide};
use crate::image::ImageRef;
use crate::trust::clock::Sanity;
use crate::verify::{Outcome, Reason};

/// The evidence that is stored for a digest, where all of it could be listed: as [`crate::engines::native::retain::evidence_digest`] says.
pub type Evidence = BTreeMap<Digest, Digest>;

/// What is listed, and what to remember of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Retained {
    /// What is listed.
    pub verified: Verified,
    /// The same, with what it rests on.
    pub holdings: BTreeMap<String, Holding>,
}

impl Retained {
    /// Adds to what is proven now what of `facts.holdings` still stands.
    pub(super) fn of(facts: &Facts<'_>, policies: &[CompiledPolicy], coverage: &Coverage, now: Timestamp) -> Self {
        let mut retained = Self { verified: Verified::of_coverage(coverage), holdings: BTreeMap::new() };
        let mut verdicts = verdicts(coverage);
        for policy in policies {
            let name = policy.name.as_str();
            let of_policy = verdicts.remove(name).unwrap_or_default();
            let before = facts.holdings.get(name);
            let holding = Holder { facts, policy, before, now }.hold(&of_policy, &mut retained.verified);
            if !holding.digests.is_empty() {
                retained.holdings.insert(name.to_owned(), holding);
            }
        }
        retained
    }
}

/// What each policy says of each digest that runs. One that passes under one of its names passes.
fn verdicts(coverage: &Coverage) -> BTreeMap<&str, BTreeMap<Digest, Reason>> {
    let mut verdicts: BTreeMap<&str, BTreeMap<Digest, Reason>> = BTreeMap::new();
    for image in &coverage.images {
        let Some(digest) = image.digest.or_else(|| written(&image.image)) else { continue };
        for verdict in &image.policies {
            let of = verdicts.entry(&verdict.policy).or_default().entry(digest).or_insert(verdict.reason);
            if is_proven(verdict.reason) {
                *of = verdict.reason;
            }
        }
    }
    verdicts
}

fn is_proven(reason: Reason) -> bool {
    reason.outcome() == Outcome::Covered
}

/// The digest an image is declared by.
fn written(image: &str) -> Option<Digest> {
    ImageRef::parse(image).ok()?.digest()
}

struct Holder<'a> {
    facts: &'a Facts<'a>,
    policy: &'a CompiledPolicy,
    before: Option<&'a Holding>,
    now: Timestamp,
}

impl Holder<'_> {
    fn hold(&self, verdicts: &BTreeMap<Digest, Reason>, verified: &mut Verified) -> Holding {
        let at_hand = self.at_hand();
        let evidence = |digest: &Digest| self.facts.evidence.get(digest).copied();
        // Most stays as it was, pass after pass: a copy in which little changes is packed as tightly as what it is of.
        let mut digests: BTreeMap<Digest, Proof> = self.before.map(|before| before.digests.clone()).unwrap_or_default();
        digests.retain(|digest, proof| {
            let verdict = verdicts.get(digest).copied();
            if verdict.is_some_and(is_proven) {
                return true;
            }
            let observed = Observed {
                verdict,
                evidence: evidence(digest),
                trust: &at_hand,
                policy: Some(self.policy.decides),
                seen: verdict.is_some(),
                clock_sane: self.facts.clock == Sanity::Sane,
            };
            let basis = self.before.and_then(|before| before.basis.as_ref());
            let held = Held { digest: *digest, policy: &self.policy.name, basis, proof: *proof };
            let kept = decide(held, &observed, self.now, self.facts.retention);
            proof.last_seen = if observed.seen { self.now } else { proof.last_seen.min(self.now) };
            kept.inspect(|kept| verified.keep(kept)).is_ok()
        });
        let proven = verdicts.iter().filter(|(_, reason)| is_proven(**reason));
        let now = |digest: &Digest| Proof { last_seen: self.now, evidence: evidence(digest) };
        digests.extend(proven.map(|(digest, _)| (*digest, now(digest))));
        // A root that is not at hand today is the one it was when it is back.
        let before = self.before.and_then(|before| before.basis.as_ref()).map(|basis| &basis.trust);
        let accepted = |name: &&String| self.policy.trust_roots.contains(*name);
        let mut trust: BTreeMap<String, Digest> = before
            .into_iter()
            .flatten()
            .filter(|(name, _)| accepted(name))
            .map(|(name, root)| (name.clone(), *root))
            .collect();
        trust.extend(at_hand);
        Holding { basis: Some(Basis { trust, policy: self.policy.decides }), digests }
    }

    /// The trust roots in force that the policy accepts, as far as they are at hand.
    fn at_hand(&self) -> BTreeMap<String, Digest> {
        let in_force = |name: &String| Some((name.clone(), self.facts.root_digest(name)?));
        self.policy.trust_roots.iter().filter_map(in_force).collect()
    }
}
