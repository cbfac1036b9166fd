//! Inventory, policies, evidence and roots in; coverage out.
//!
//! *Unknown is never covered.* An image is covered only where every policy that matches it, in every namespace it is used in, was proven to hold.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;

use super::inventory::{Inventory, Workload};
use super::policy::CompiledPolicy;
use super::scope::Scope;
use crate::Digest;
use crate::image::ImageRef;
use crate::verify::{Artifact, Evidence, Outcome, Owner, PreparedRoot, Reason, Signer, Verdict, judge};

/// What was found when an image was looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The image, and the evidence stored for it (which may be none).
    Image {
        /// Its digest, and its manifest where that is at hand.
        artifact: Artifact,
        /// What is stored for it.
        evidence: Vec<Evidence>,
        /// Why some of what is stored could not be had. One good piece of evidence is enough all the same; without one, nothing is certain.
        incomplete: Option<(Reason, String)>,
    },
    /// It could not be looked at, or not completely; the reason's outcome is never covered.
    Not {
        /// Why.
        reason: Reason,
        /// A sentence.
        message: String,
    },
}

/// Verdicts that were reached before, by content: the same image, evidence, trust and policy give the same verdict.
#[derive(Debug, Default)]
pub struct Memo {
    verdicts: BTreeMap<MemoKey, Verdict>,
}

type MemoKey = (Digest, Vec<Digest>, Vec<(Digest, bool)>, Digest);

impl Memo {
    /// How many verdicts are held.
    pub fn len(&self) -> usize {
        self.verdicts.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.verdicts.is_empty()
    }

    fn judge(
        &mut self,
        artifact: &Artifact,
        evidence: &[Evidence],
        policy: &CompiledPolicy,
        roots: &[&PreparedRoot],
        now: Timestamp,
    ) -> Verdict {
        let trust = roots.iter().map(|root| (root.root().digest, root.staleness().is_some())).collect();
        let key = (artifact.digest, evidence.iter().map(Evidence::digest).collect(), trust, policy.digest);
        if let Some(verdict) = self.verdicts.get(&key) {
            return verdict.clone();
        }
        let verdict = judge(artifact, evidence, &policy.policy, roots, now);
        // A verdict that hangs on the instant it was reached at is not a matter of content alone: a time that lay ahead, or evidence without a time.
        let timeless = verdict
            .evidence
            .iter()
            .any(|piece| piece.authenticated.as_ref().is_some_and(|facts| facts.signed_at.is_empty()));
        if verdict.reason != Reason::ClockSuspect && !timeless {
            self.verdicts.insert(key, verdict.clone());
        }
        verdict
    }
}

/// One image under one policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyVerdict {
    /// The policy.
    pub policy: String,
    /// The cause.
    pub reason: Reason,
    /// A sentence.
    pub message: String,
    /// Every signer of the policy that one of the verified pieces of evidence is of; several, where identities overlap. Empty unless covered.
    #[serde(skip)]
    pub signers: Vec<String>,
}

/// One image, over all policies that match it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageResult {
    /// As it is declared.
    pub image: String,
    /// Its digest, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// What all policies together say.
    pub outcome: Outcome,
    /// The cause that weighs most.
    pub reason: Reason,
    /// A sentence.
    pub message: String,
    /// Who can mend it.
    pub owner: Owner,
    /// Under each policy.
    pub policies: Vec<PolicyVerdict>,
    /// Who uses it.
    pub workloads: Vec<Workload>,
    /// It is declared by tag: covered as it is stored, and no engine can hold it to that.
    pub by_tag: bool,
}

/// Images by outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// Proven to pass.
    pub covered: usize,
    /// Proven not to pass.
    pub uncovered: usize,
    /// Not judged.
    pub unknown: usize,
    /// Matched by no policy, or exempt.
    pub out_of_scope: usize,
}

impl Totals {
    /// Images in scope.
    pub const fn in_scope(&self) -> usize {
        self.covered + self.uncovered + self.unknown
    }

    fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Covered => self.covered += 1,
            Outcome::Uncovered => self.uncovered += 1,
            Outcome::Unknown => self.unknown += 1,
        }
    }
}

/// Images of one namespace by outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceTotals {
    /// The namespace.
    pub namespace: String,
    /// Its images.
    #[serde(flatten)]
    pub totals: Totals,
}

/// The result over an inventory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Coverage {
    /// Images by outcome.
    pub totals: Totals,
    /// Images by reason, the most frequent first.
    pub by_reason: Vec<(Reason, usize)>,
    /// Images by namespace, the worst first.
    pub by_namespace: Vec<NamespaceTotals>,
    /// Every image in scope: what is not covered first, by how many workloads it concerns.
    pub images: Vec<ImageResult>,
    /// Images no policy matches, in namespaces whose policies deny such images.
    pub denied_as_other: Vec<String>,
    /// Images of which that may be so: it hangs on labels of namespaces nobody has told.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub perhaps_denied_as_other: Vec<String>,
}

/// Assesses an inventory.
///
/// `found` says what became of each image that was looked for, by its declared text; what is not in it is unknown. `roots` are the prepared trust roots by
/// name; a policy that names one that is not there gets no verdict but an unknown one.
pub fn assess(
    inventory: &Inventory,
    policies: &[CompiledPolicy],
    found: &BTreeMap<String, Found>,
    roots: &BTreeMap<String, PreparedRoot>,
    memo: &mut Memo,
    now: Timestamp,
) -> Coverage {
    let scope = Scope::of(inventory, policies);
    let mut totals = Totals::default();
    let mut reasons: BTreeMap<Reason, usize> = BTreeMap::new();
    let mut namespaces: BTreeMap<&str, Totals> = BTreeMap::new();
    let mut images = Vec::new();
    for (index, image) in inventory.images().iter().enumerate() {
        let matching = scope.policies_of(index);
        if matching.is_empty() {
            totals.out_of_scope += 1;
            continue;
        }
        let verdicts: Vec<(PolicyVerdict, Option<Digest>)> = matching
            .iter()
            .filter_map(|(at, certain)| policies.get(*at).zip(Some(*certain)))
            .map(|(policy, certain)| {
                let (found, digest) = verdict(image, policy, found, roots, memo, now);
                // What holds under the policy passes whether or not it is about the namespace.
                if certain || found.reason.outcome() == Outcome::Covered {
                    return (found, digest);
                }
                let message = format!(
                    "no manifest says which labels its namespace has, so whether the policy `{}` is about it is not known; under it: {}",
                    policy.name, found.message
                );
                (PolicyVerdict { reason: Reason::ListingTruncated, message, ..found }, digest)
            })
            .collect();
        let Some((PolicyVerdict { reason, message, .. }, _)) =
            verdicts.iter().max_by_key(|(verdict, _)| weight(verdict.reason))
        else {
            continue;
        };
        let workloads: Vec<Workload> =
            scope.workloads_of(index).iter().filter_map(|at| inventory.workloads().get(*at)).cloned().collect();
        totals.count(reason.outcome());
        *reasons.entry(*reason).or_default() += 1;
        let of_image: BTreeSet<&str> = scope
            .workloads_of(index)
            .iter()
            .filter_map(|at| inventory.workloads().get(*at))
            .map(|w| w.namespace.as_str())
            .collect();
        for namespace in of_image {
            namespaces.entry(namespace).or_default().count(reason.outcome());
        }
        images.push(ImageResult {
            image: image.clone(),
            digest: verdicts.iter().find_map(|(_, digest)| *digest),
            outcome: reason.outcome(),
            reason: *reason,
            message: message.clone(),
            owner: reason.owner(),
            policies: verdicts.into_iter().map(|(verdict, _)| verdict).collect(),
            workloads,
            by_tag: ImageRef::parse(image).is_ok_and(|image| image.digest().is_none()),
        });
    }
    images.sort_by(|a, b| {
        let rank = |image: &ImageResult| (weight(image.reason) == 0, std::cmp::Reverse(image.workloads.len()));
        (rank(a), a.reason, &a.image).cmp(&(rank(b), b.reason, &b.image))
    });
    let mut by_reason: Vec<(Reason, usize)> = reasons.into_iter().collect();
    by_reason.sort_by_key(|(reason, count)| (std::cmp::Reverse(*count), *reason));
    let mut by_namespace: Vec<NamespaceTotals> = namespaces
        .into_iter()
        .map(|(namespace, totals)| NamespaceTotals { namespace: namespace.to_owned(), totals })
        .collect();
    by_namespace.sort_by(|a, b| {
        let bad = |n: &NamespaceTotals| std::cmp::Reverse(n.totals.uncovered + n.totals.unknown);
        (bad(a), &a.namespace).cmp(&(bad(b), &b.namespace))
    });
    let [denied_as_other, perhaps_denied_as_other] =
        [true, false].map(|certain| scope.denied_as_other(inventory, certain));
    Coverage { totals, by_reason, by_namespace, images, denied_as_other, perhaps_denied_as_other }
}

/// How much a reason weighs where several policies differ: what is proven bad before what is not known, and both before a pass.
const fn weight(reason: Reason) -> u8 {
    match reason.outcome() {
        Outcome::Uncovered => 2,
        Outcome::Unknown => 1,
        Outcome::Covered => 0,
    }
}

fn verdict(
    image: &str,
    policy: &CompiledPolicy,
    found: &BTreeMap<String, Found>,
    roots: &BTreeMap<String, PreparedRoot>,
    memo: &mut Memo,
    now: Timestamp,
) -> (PolicyVerdict, Option<Digest>) {
    let of = |reason: Reason, message: String, signers: Vec<String>| PolicyVerdict {
        policy: policy.name.clone(),
        reason,
        message,
        signers,
    };
    match found.get(image) {
        None => (of(Reason::RegistryUnavailable, "it was not looked for".to_owned(), Vec::new()), None),
        Some(Found::Not { reason, message }) => (of(never_covered(*reason), message.clone(), Vec::new()), None),
        Some(Found::Image { artifact, evidence, incomplete }) => {
            let verdict = judge_under(policy, artifact, evidence, incomplete.as_ref(), roots, memo, now);
            let covered = verdict.outcome() == Outcome::Covered;
            let signers = if covered { signers_of(&verdict, policy) } else { Vec::new() };
            (of(verdict.reason, verdict.message, signers), Some(artifact.digest))
        }
    }
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

/// Judges what was found for an artefact under one policy, with those of `roots` that the policy accepts and no others.
///
/// `incomplete` says why some of what is stored could not be had. A trust root that is not at hand could have refused what passes by a key alone, and could
/// have verified what does not pass: without it, neither is certain.
pub fn judge_under(
    policy: &CompiledPolicy,
    artifact: &Artifact,
    evidence: &[Evidence],
    incomplete: Option<&(Reason, String)>,
    roots: &BTreeMap<String, PreparedRoot>,
    memo: &mut Memo,
    now: Timestamp,
) -> Verdict {
    let accepted: Vec<&PreparedRoot> = policy.trust_roots.iter().filter_map(|name| roots.get(name)).collect();
    let verdict = memo.judge(artifact, evidence, policy, &accepted, now);
    let covered = verdict.outcome() == Outcome::Covered;
    let without_root =
        verdict.evidence.iter().any(|piece| piece.reason == Reason::Verified && piece.trust_root.is_none());
    let missing: Vec<&str> =
        policy.trust_roots.iter().filter(|name| !roots.contains_key(*name)).map(String::as_str).collect();
    if (!covered || without_root) && !missing.is_empty() {
        let message = format!(
            "the trust root `{}` that the policy accepts is not at hand, so nothing can be said for certain",
            missing.join("`, `")
        );
        return Verdict { reason: Reason::StaleTrustRoot, message, ..verdict };
    }
    match incomplete {
        Some((reason, message)) if !covered => {
            Verdict { reason: never_covered(*reason), message: message.clone(), ..verdict }
        }
        _ => verdict,
    }
}

/// Whoever could not look cannot have verified.
const fn never_covered(reason: Reason) -> Reason {
    match reason {
        Reason::Verified => Reason::RegistryUnavailable,
        other => other,
    }
}
