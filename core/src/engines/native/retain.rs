//! Which digests stay in the list: in by proof, out by proof.
//!
//! A registry that is down, a stale root or a restart must not deny what ran yesterday; a verdict that is proven bad must.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::Digest;
use crate::verify::{Outcome, Reason};

/// How long a digest that nothing uses stays, unless told otherwise: as long as somebody may want to go back to it.
pub const RETENTION: SignedDuration = SignedDuration::from_hours(30 * 24);

/// A digest that was verified for a policy, and by what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Held {
    /// The image.
    pub digest: Digest,
    /// The policy.
    pub policy: String,
    /// What it was verified with.
    pub basis: Basis,
    /// When it was last used by a pod, a template or a declared intake.
    pub last_seen: Timestamp,
}

/// What a verdict rests on: the same basis gives the same verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Basis {
    /// The pieces of evidence, sorted.
    pub evidence: Vec<Digest>,
    /// The trust roots, by their TrustRootMirror.
    pub trust: BTreeMap<String, Digest>,
    /// What the policy declared.
    pub policy: Digest,
}

/// What is known of a held digest now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed<'a> {
    /// The verdict, where one was reached or tried.
    pub verdict: Option<Reason>,
    /// The evidence that is stored for it, where that could be listed.
    pub evidence: Option<&'a [Digest]>,
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
pub fn decide(held: &Held, now: &Observed<'_>, at: Timestamp, retention: SignedDuration) -> Result<Kept, Out> {
    let kept = Kept { digest: held.digest, policy: held.policy.clone() };
    let policy = now.policy.ok_or(Out::PolicyGone)?;
    let expired = !now.seen && now.clock_sane && at.duration_since(held.last_seen) > retention;
    if expired {
        return Err(Out::Unseen);
    }
    match now.verdict.map(|reason| (reason, reason.outcome())) {
        Some((_, Outcome::Covered)) => Ok(kept),
        Some((reason, Outcome::Uncovered)) => Err(Out::Proven(reason)),
        Some((_, Outcome::Unknown)) | None => {
            let unchanged = held.basis.policy == policy
                && now.trust.iter().all(|(name, root)| held.basis.trust.get(name) == Some(root))
                && now.evidence.is_none_or(|evidence| evidence == held.basis.evidence);
            if unchanged { Ok(kept) } else { Err(Out::Outdated) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn corp(root: &[u8]) -> BTreeMap<String, Digest> {
        BTreeMap::from([("corp".to_owned(), Digest::of(root))])
    }

    fn held() -> Held {
        let basis = Basis { evidence: vec![Digest::of(b"e")], trust: corp(b"t"), policy: Digest::of(b"p") };
        Held { digest: Digest::of(b"i"), policy: "apps".to_owned(), basis, last_seen: Timestamp::UNIX_EPOCH }
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
        decide(&held(), &now, soon, RETENTION)
    }

    #[test]
    fn unknown_keeps_what_rests_on_the_same() {
        assert!(decided(|_| ()).is_ok());
        for reason in Reason::ALL {
            let want = match reason.outcome() {
                Outcome::Covered | Outcome::Unknown => Ok(()),
                Outcome::Uncovered => Err(Out::Proven(*reason)),
            };
            assert_eq!(decided(|now| now.verdict = Some(*reason)).map(|_| ()), want, "{reason:?}");
        }
        let other = [Digest::of(b"other")];
        assert_eq!(decided(|now| now.policy = Some(other[0])), Err(Out::Outdated));
        assert_eq!(decided(|now| now.policy = None), Err(Out::PolicyGone));
        let all = [Digest::of(b"e")];
        let now = Observed {
            verdict: Some(Reason::RegistryUnavailable),
            evidence: Some(&all),
            trust: &corp(b"t"),
            policy: Some(Digest::of(b"p")),
            seen: true,
            clock_sane: true,
        };
        let at = Timestamp::UNIX_EPOCH;
        assert!(decide(&held(), &now, at, RETENTION).is_ok());
        assert!(decide(&held(), &Observed { trust: &BTreeMap::new(), ..now.clone() }, at, RETENTION).is_ok());
        for changed in
            [Observed { evidence: Some(&[]), ..now.clone() }, Observed { trust: &corp(b"other"), ..now.clone() }]
        {
            assert_eq!(decide(&held(), &changed, at, RETENTION), Err(Out::Outdated));
            assert!(decide(&held(), &Observed { verdict: Some(Reason::Verified), ..changed }, at, RETENTION).is_ok());
        }
    }

    #[test]
    fn what_nothing_uses_leaves_after_its_time_if_the_clock_is_sane() {
        let basis = held().basis;
        let now = Observed {
            verdict: Some(Reason::Verified),
            evidence: None,
            trust: &basis.trust,
            policy: Some(basis.policy),
            seen: false,
            clock_sane: true,
        };
        let at = |extra: i64| Timestamp::UNIX_EPOCH + RETENTION + SignedDuration::from_secs(extra);
        assert!(decide(&held(), &now, at(0), RETENTION).is_ok());
        assert_eq!(decide(&held(), &now, at(1), RETENTION), Err(Out::Unseen));
        assert!(decide(&held(), &Observed { seen: true, ..now.clone() }, at(1), RETENTION).is_ok());
        assert!(decide(&held(), &Observed { clock_sane: false, ..now }, at(1), RETENTION).is_ok());
    }
}
