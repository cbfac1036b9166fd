//! Which digests stay in the list: in by proof, out by proof.
//!
//! A registry that is down, a stale root or a restart must not deny what ran yesterday, nor must a registry that lost the evidence; a verdict that is proven bad
//! must.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::Digest;
use crate::verify::{Outcome, Reason};

/// How long a digest that nothing uses stays, unless told otherwise: as long as somebody may want to go back to it.
pub const RETENTION: SignedDuration = SignedDuration::from_hours(30 * 24);

/// The digests that were verified for one policy, and by what. All rest on the same trust and the same policy: when one of those changes, each is verified
/// anew or leaves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Holding {
    /// What they rest on; none where nothing was verified yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basis: Option<Basis>,
    /// Each of them.
    pub digests: BTreeMap<Digest, Proof>,
}

/// What verdicts rest on beside the evidence: the same basis gives the same verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Basis {
    /// The trust roots, by their TrustRootMirror.
    pub trust: BTreeMap<String, Digest>,
    /// What the policy declared.
    pub policy: Digest,
}

/// What is remembered of one verified digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Proof {
    /// When it was last used by a pod, a template or a declared intake.
    pub last_seen: Timestamp,
    /// The evidence it was verified with, as [`evidence_digest`] says; none where that was not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Digest>,
}

/// One digest of a set of pieces of evidence, in whatever order they were listed.
pub fn evidence_digest(pieces: impl IntoIterator<Item = Digest>) -> Digest {
    let pieces: BTreeSet<Digest> = pieces.into_iter().collect();
    let bytes: Vec<u8> = pieces.iter().flat_map(|digest| *digest.as_bytes()).collect();
    Digest::of(&bytes)
}

/// A digest that was verified for a policy.
#[derive(Debug, Clone, Copy)]
pub struct Held<'a> {
    /// The image.
    pub digest: Digest,
    /// The policy.
    pub policy: &'a str,
    /// What it was verified with; one that nobody knows is unchanged never.
    pub basis: Option<&'a Basis>,
    /// What is remembered of it.
    pub proof: Proof,
}

/// What is known of a held digest now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed<'a> {
    /// The verdict, where one was reached or tried.
    pub verdict: Option<Reason>,
    /// The evidence that is stored for it, where that could be listed.
    pub evidence: Option<Digest>,
    /// The trust roots in force that the policy accepts, by their TrustRootMirror: those that are at hand.
    pub trust: &'a BTreeMap<String, Digest>,
    /// What the policy declares, where it still exists.
    pub policy: Option<Digest>,
    /// Whether a pod, a template or a declared intake uses it.
    pub seen: bool,
    /// Whether the clock can be believed.
    pub clock_sane: bool,
}

/// A digest whose proof stands. Only [`decide`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    digest: Digest,
    policy: String,
}

impl Kept {
    /// The image.
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The policy it is verified for.
    pub fn policy(&self) -> &str {
        &self.policy
    }
}

/// Why a digest leaves the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Out {
    /// It is proven not to pass.
    Proven(Reason),
    /// What it was verified with has changed, and it was not verified anew.
    Outdated,
    /// Its policy is gone.
    PolicyGone,
    /// Nothing has used it for longer than the retention.
    Unseen,
}

/// Whether a digest stays. A clock that cannot be believed lets nothing expire.
///
/// # Errors
/// Why it leaves.
pub fn decide(held: Held<'_>, now: &Observed<'_>, at: Timestamp, retention: SignedDuration) -> Result<Kept, Out> {
    let kept = Kept { digest: held.digest, policy: held.policy.to_owned() };
    let policy = now.policy.ok_or(Out::PolicyGone)?;
    let expired = !now.seen && now.clock_sane && at.duration_since(held.proof.last_seen) > retention;
    if expired {
        return Err(Out::Unseen);
    }
    let rests_on_the_same = held.basis.is_some_and(|basis| {
        basis.policy == policy && now.trust.iter().all(|(name, root)| basis.trust.get(name) == Some(root))
    });
    match now.verdict.map(|reason| (reason, reason.outcome())) {
        Some((_, Outcome::Covered)) => Ok(kept),
        Some((reason, Outcome::Uncovered)) if is_absence(reason) && rests_on_the_same => Ok(kept),
        Some((reason, Outcome::Uncovered)) => Err(Out::Proven(reason)),
        Some((_, Outcome::Unknown)) | None => {
            // Evidence that was not kept was there when it was verified: who could take it away now could as well not answer.
            let same_evidence = match (now.evidence, held.proof.evidence) {
                (Some(now), Some(before)) => now == before,
                _ => true,
            };
            let unchanged = rests_on_the_same && same_evidence;
            if unchanged { Ok(kept) } else { Err(Out::Outdated) }
        }
    }
}

/// Whether nothing was found, which proves nothing against what was verified once: a registry that was copied by half, or another one that is asked, has none.
fn is_absence(reason: Reason) -> bool {
    matches!(reason, Reason::MissingBundle | Reason::ReferrersLost)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn corp(root: &[u8]) -> BTreeMap<String, Digest> {
        BTreeMap::from([("corp".to_owned(), Digest::of(root))])
    }

    fn basis() -> Basis {
        Basis { trust: corp(b"t"), policy: Digest::of(b"p") }
    }

    fn held(basis: &Basis) -> Held<'_> {
        let proof = Proof { last_seen: Timestamp::UNIX_EPOCH, evidence: Some(evidence_digest([Digest::of(b"e")])) };
        Held { digest: Digest::of(b"i"), policy: "apps", basis: Some(basis), proof }
    }

    fn decided(change: impl FnOnce(&mut Observed<'_>)) -> Result<Kept, Out> {
        let (trust, soon) = (corp(b"t"), Timestamp::UNIX_EPOCH + SignedDuration::from_hours(1));
        let mut now = Observed {
            verdict: None,
            evidence: None,
            trust: &trust,
            policy: Some(Digest::of(b"p")),
            seen: true,
            clock_sane: true,
        };
        change(&mut now);
        decide(held(&basis()), &now, soon, RETENTION)
    }

    #[test]
    fn unknown_keeps_what_rests_on_the_same() {
        assert!(decided(|_| ()).is_ok());
        for reason in Reason::ALL {
            let want = match reason.outcome() {
                Outcome::Covered | Outcome::Unknown => Ok(()),
                Outcome::Uncovered if is_absence(*reason) => Ok(()),
                Outcome::Uncovered => Err(Out::Proven(*reason)),
            };
            assert_eq!(decided(|now| now.verdict = Some(*reason)).map(|_| ()), want, "{reason:?}");
            let stricter = decided(|now| (now.verdict, now.policy) = (Some(*reason), Some(Digest::of(b"stricter"))));
            let proven = (reason.outcome() == Outcome::Covered).then_some(());
            assert_eq!(stricter.ok().map(|_| ()), proven, "{reason:?} on another basis");
        }
        let other = Digest::of(b"other");
        assert_eq!(decided(|now| now.policy = Some(other)), Err(Out::Outdated));
        assert_eq!(decided(|now| now.policy = None), Err(Out::PolicyGone));
        let (rests_on, same) = (basis(), corp(b"t"));
        let now = Observed {
            verdict: Some(Reason::RegistryUnavailable),
            evidence: Some(evidence_digest([Digest::of(b"e")])),
            trust: &same,
            policy: Some(Digest::of(b"p")),
            seen: true,
            clock_sane: true,
        };
        let at = Timestamp::UNIX_EPOCH;
        let kept = |held: Held<'_>, now: &Observed<'_>| decide(held, now, at, RETENTION).map(|_| ());
        assert_eq!(kept(held(&rests_on), &now), Ok(()));
        assert_eq!(kept(held(&rests_on), &Observed { trust: &BTreeMap::new(), ..now.clone() }), Ok(()));
        assert_eq!(kept(Held { basis: None, ..held(&rests_on) }, &now), Err(Out::Outdated), "nobody knows its basis");
        let unknown = Proof { evidence: None, ..held(&rests_on).proof };
        assert_eq!(kept(Held { proof: unknown, ..held(&rests_on) }, &now), Ok(()), "its evidence was not kept");
        for changed in
            [Observed { evidence: Some(other), ..now.clone() }, Observed { trust: &corp(b"other"), ..now.clone() }]
        {
            assert_eq!(kept(held(&rests_on), &changed), Err(Out::Outdated));
            assert_eq!(kept(held(&rests_on), &Observed { verdict: Some(Reason::Verified), ..changed }), Ok(()));
        }
    }

    #[test]
    fn evidence_is_the_same_in_any_order() {
        let [one, two] = [Digest::of(b"1"), Digest::of(b"2")];
        assert_eq!(evidence_digest([one, two]), evidence_digest([two, one, one]));
        assert_ne!(evidence_digest([one, two]), evidence_digest([one]));
    }

    #[test]
    fn what_nothing_uses_leaves_after_its_time_if_the_clock_is_sane() {
        let basis = basis();
        let now = Observed {
            verdict: Some(Reason::Verified),
            evidence: None,
            trust: &basis.trust,
            policy: Some(basis.policy),
            seen: false,
            clock_sane: true,
        };
        let at = |extra: i64| Timestamp::UNIX_EPOCH + RETENTION + SignedDuration::from_secs(extra);
        let held = held(&basis);
        assert!(decide(held, &now, at(0), RETENTION).is_ok());
        assert_eq!(decide(held, &now, at(1), RETENTION), Err(Out::Unseen));
        assert!(decide(held, &Observed { seen: true, ..now.clone() }, at(1), RETENTION).is_ok());
        assert!(decide(held, &Observed { clock_sane: false, ..now }, at(1), RETENTION).is_ok());
    }
}
