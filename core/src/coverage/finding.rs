//! What a policy says of an artefact and its evidence, remembered by content: the same image, evidence, trust and policy give the same finding.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;

use super::policy::CompiledPolicy;
use crate::Digest;
use crate::digest::Hasher;
use crate::verify::{Artifact, Evidence, Outcome, PreparedRoot, Reason, Signer, Verdict, judge};

/// The trust roots in force, by name.
pub type Roots = BTreeMap<String, Arc<PreparedRoot>>;

/// What a policy says of an artefact by the evidence that is at hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The cause.
    pub reason: Reason,
    /// A sentence.
    pub message: String,
    /// Every signer of the policy that one of the verified pieces of evidence is of; several, where identities overlap. Empty unless covered.
    pub signers: Vec<String>,
    /// The newest authenticated time of signing that each trust root vouches for. Empty unless covered.
    pub signed_at: Vec<(String, Timestamp)>,
    /// Whether it was verified by a key alone, without a trust root: one that is not at hand could have refused it.
    without_root: bool,
}

/// A finding, and whether it holds as long as its content does.
#[derive(Debug, Clone)]
pub struct Found {
    /// The finding.
    pub finding: Finding,
    /// Not where it hangs on the instant it was reached at: a time that lay ahead, or evidence without a time.
    pub lasts: bool,
}

/// Judges, with those of `roots` that the policy accepts and no others.
pub fn find_out(
    policy: &CompiledPolicy,
    artifact: &Artifact,
    evidence: &[Evidence],
    roots: &Roots,
    now: Timestamp,
) -> Found {
    let verdict = judge(artifact, evidence, &policy.policy, &accepted(policy, roots), now);
    let timeless = verdict
        .evidence
        .iter()
        .any(|piece| piece.authenticated.as_ref().is_some_and(|facts| facts.signed_at.is_empty()));
    let lasts = verdict.reason != Reason::ClockSuspect && !timeless;
    let (signers, signed_at) = match verdict.outcome() {
        Outcome::Covered => (signers_of(&verdict, policy), signed_at(&verdict)),
        Outcome::Uncovered | Outcome::Unknown => (Vec::new(), Vec::new()),
    };
    let without_root = without_root(&verdict);
    let finding = Finding { reason: verdict.reason, message: verdict.message, signers, signed_at, without_root };
    Found { finding, lasts }
}

/// The newest time of signing by each trust root that verified something.
fn signed_at(verdict: &Verdict) -> Vec<(String, Timestamp)> {
    let mut newest: BTreeMap<&String, Timestamp> = BTreeMap::new();
    for piece in verdict.evidence.iter().filter(|piece| piece.reason == Reason::Verified) {
        let times = piece.authenticated.iter().flat_map(|facts| &facts.signed_at).map(|time| time.at);
        let Some((root, latest)) = piece.trust_root.as_ref().zip(times.max()) else { continue };
        let known = newest.entry(root).or_insert(latest);
        *known = latest.max(*known);
    }
    newest.into_iter().map(|(root, at)| (root.clone(), at)).collect()
}

fn accepted<'a>(policy: &CompiledPolicy, roots: &'a Roots) -> Vec<&'a PreparedRoot> {
    policy.trust_roots.iter().filter_map(|name| roots.get(name)).map(AsRef::as_ref).collect()
}

fn without_root(verdict: &Verdict) -> bool {
    verdict.evidence.iter().any(|piece| piece.reason == Reason::Verified && piece.trust_root.is_none())
}

/// Every signer of the policy whose evidence was verified. A verdict names one a piece of evidence; where identities overlap, all of them were seen.
fn signers_of(verdict: &Verdict, policy: &CompiledPolicy) -> Vec<String> {
    let verified = || verdict.evidence.iter().filter(|piece| piece.reason == Reason::Verified);
    let is_of = |signer: &Signer| {
        verified().filter_map(|piece| piece.authenticated.as_ref()).any(|facts| match signer {
            Signer::Certificate { subject, issuer, .. } => {
                facts.key.is_none()
                    && subject.matches(facts.identity.as_deref().unwrap_or_default())
                    && issuer.matches(facts.issuer.as_deref().unwrap_or_default())
            }
            Signer::Key { key, .. } => facts.key == Some(key.key_digest),
        })
    };
    policy.policy.signers.iter().filter(|signer| is_of(signer)).map(|signer| signer.name().to_owned()).collect()
}

/// Why a finding is not the last word: what could not be had might say otherwise.
///
/// `incomplete` says why some of what is stored could not be had. A trust root that is not at hand could have refused what passes by a key alone, and could
/// have verified what does not pass: without it, neither is certain.
pub(super) fn doubt(
    covered: bool,
    without_root: bool,
    policy: &CompiledPolicy,
    incomplete: Option<&(Reason, String)>,
    roots: &Roots,
) -> Option<(Reason, String)> {
    let missing: Vec<&str> =
        policy.trust_roots.iter().filter(|name| !roots.contains_key(*name)).map(String::as_str).collect();
    if (!covered || without_root) && !missing.is_empty() {
        let message = format!(
            "the trust root `{}` that the policy accepts is not at hand, so nothing can be said for certain",
            missing.join("`, `")
        );
        return Some((Reason::StaleTrustRoot, message));
    }
    incomplete.filter(|_| !covered).map(|(reason, message)| (never_covered(*reason), message.clone()))
}

impl Finding {
    /// The last word under the policy: the finding, or why it is in doubt.
    #[must_use]
    pub fn certain(&self, policy: &CompiledPolicy, incomplete: Option<&(Reason, String)>, roots: &Roots) -> Self {
        let covered = self.reason.outcome() == Outcome::Covered;
        match doubt(covered, self.without_root, policy, incomplete, roots) {
            Some((reason, message)) => {
                Self { reason, message, signers: Vec::new(), signed_at: Vec::new(), without_root: false }
            }
            None => self.clone(),
        }
    }
}

/// Judges what was found for an artefact under one policy, with every piece of evidence told.
pub fn judge_under(
    policy: &CompiledPolicy,
    artifact: &Artifact,
    evidence: &[Evidence],
    incomplete: Option<&(Reason, String)>,
    roots: &Roots,
    now: Timestamp,
) -> Verdict {
    let verdict = judge(artifact, evidence, &policy.policy, &accepted(policy, roots), now);
    let covered = verdict.outcome() == Outcome::Covered;
    match doubt(covered, without_root(&verdict), policy, incomplete, roots) {
        Some((reason, message)) => Verdict { reason, message, ..verdict },
        None => verdict,
    }
}

/// Whoever could not look cannot have verified.
pub(super) const fn never_covered(reason: Reason) -> Reason {
    match reason {
        Reason::Verified => Reason::RegistryUnavailable,
        other => other,
    }
}

/// What decides a finding: the artefact, its evidence, the policy, and the trust it accepts with whether that is past its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Content(Digest);

impl Content {
    /// Of an artefact with this evidence (by [`Evidence::digest`]) under a policy.
    pub fn of(
        artifact: Digest,
        evidence: impl ExactSizeIterator<Item = Digest>,
        policy: &CompiledPolicy,
        roots: &Roots,
    ) -> Self {
        let mut hasher = Hasher::default();
        hasher.update(artifact.as_bytes());
        hasher.update(policy.digest.as_bytes());
        hasher.update(&evidence.len().to_le_bytes());
        for piece in evidence {
            hasher.update(piece.as_bytes());
        }
        for root in accepted(policy, roots) {
            hasher.update(root.root().digest.as_bytes());
            hasher.update(&[u8::from(root.staleness().is_some())]);
        }
        Self(hasher.finish())
    }
}

/// Findings that were reached before.
#[derive(Debug, Default)]
pub struct Memo {
    findings: HashMap<Content, (Arc<Finding>, u32)>,
    epoch: u32,
    asked: (u64, u64),
}

/// Findings that are kept, at most: some 100 MiB of them.
const MAX_FINDINGS: usize = 400_000;

impl Memo {
    /// How many findings are held.
    pub fn len(&self) -> usize {
        self.findings.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.findings.is_empty()
    }

    /// What was found out about this content, if it was.
    pub fn recall(&mut self, content: Content) -> Option<Arc<Finding>> {
        let Some((finding, used)) = self.findings.get_mut(&content) else {
            self.asked.1 += 1;
            return None;
        };
        *used = self.epoch;
        self.asked.0 += 1;
        Some(finding.clone())
    }

    /// How often something was asked for that was known, and that was not.
    pub const fn asked(&self) -> (u64, u64) {
        self.asked
    }

    /// Keeps what was found out, where that lasts.
    pub fn keep(&mut self, content: Content, found: Found) -> Arc<Finding> {
        let finding = Arc::new(found.finding);
        if found.lasts && self.findings.len() < MAX_FINDINGS {
            self.findings.insert(content, (finding.clone(), self.epoch));
        }
        finding
    }

    /// Forgets what nobody asked for since the sweep before the last one.
    pub fn sweep(&mut self) {
        let epoch = self.epoch;
        self.findings.retain(|_, (_, used)| epoch.wrapping_sub(*used) < 2);
        self.epoch = epoch.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(lasts: bool) -> Found {
        let finding = Finding {
            reason: Reason::Verified,
            message: String::new(),
            signers: Vec::new(),
            signed_at: Vec::new(),
            without_root: false,
        };
        Found { finding, lasts }
    }

    #[test]
    fn what_is_asked_for_is_kept_and_the_rest_goes() {
        let mut memo = Memo::default();
        let [asked, left] = [b"asked", b"left "].map(|text| Content(Digest::of(text)));
        memo.keep(asked, found(true));
        memo.keep(left, found(true));
        for _ in 0..4 {
            memo.sweep();
            assert!(memo.recall(asked).is_some());
        }
        assert_eq!(memo.len(), 1);
        assert!(memo.recall(left).is_none());
    }

    #[test]
    fn what_hangs_on_the_hour_is_not_kept() {
        let mut memo = Memo::default();
        memo.keep(Content(Digest::of(b"x")), found(false));
        assert!(memo.is_empty());
    }
}
