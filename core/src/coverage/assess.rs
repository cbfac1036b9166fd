//! Inventory, policies, evidence and roots in; coverage out.
//!
//! *Unknown is never covered.* An image is covered only where every policy that matches it, in every namespace it is used in, was proven to hold.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;

use super::finding::{Content, Finding, Memo, Roots, find_out, never_covered};
use super::inventory::{Image, Inventory, Workload};
use super::policy::CompiledPolicy;
use super::scope::Scope;
use crate::Digest;
use crate::image::ImageRef;
use crate::verify::{Artifact, Evidence, Outcome, Owner, Reason};

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
    /// The digest that runs, where that is another than the one that is declared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runs: Option<Digest>,
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

impl ImageResult {
    /// What people know it by: as it is declared and, where a node says that it runs another digest, with that.
    pub fn named(&self) -> String {
        match self.runs {
            Some(runs) => format!("{} (runs {runs})", self.image),
            None => self.image.clone(),
        }
    }
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
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
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

/// What a policy says of an image, and the digest that was judged.
pub type Judged = (PolicyVerdict, Option<Digest>);

/// Assesses an inventory by what was found in files.
///
/// `found` says what became of each image that was looked for, by its written text; what is not in it is unknown. `roots` are the prepared trust roots by
/// name; a policy that names one that is not there gets no verdict but an unknown one.
pub fn assess(
    inventory: &Inventory,
    policies: &[CompiledPolicy],
    found: &BTreeMap<String, Found>,
    roots: &Roots,
    memo: &mut Memo,
    now: Timestamp,
) -> Coverage {
    assess_by(inventory, policies, &mut |image, policy| verdict(image, policy, found, roots, memo, now))
}

/// The images that some policy is about, by their place in the inventory, each with those policies by theirs.
pub fn in_scope(inventory: &Inventory, policies: &[CompiledPolicy]) -> Vec<(usize, Vec<usize>)> {
    let scope = Scope::of(inventory, policies);
    let of_image = |at| (at, scope.policies_of(at).into_iter().map(|(policy, _)| policy).collect::<Vec<_>>());
    (0..inventory.images().len()).map(of_image).filter(|(_, policies)| !policies.is_empty()).collect()
}

/// Assesses an inventory; `judge` says what a policy that is about an image says of it.
pub fn assess_by(
    inventory: &Inventory,
    policies: &[CompiledPolicy],
    judge: &mut dyn FnMut(&Image, &CompiledPolicy) -> Judged,
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
                let (found, digest) = judge(image, policy);
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
            image: image.written.clone(),
            runs: image.runs,
            digest: verdicts.iter().find_map(|(_, digest)| *digest),
            outcome: reason.outcome(),
            reason: *reason,
            message: message.clone(),
            owner: reason.owner(),
            policies: verdicts.into_iter().map(|(verdict, _)| verdict).collect(),
            workloads,
            by_tag: ImageRef::parse(&image.written).is_ok_and(|image| image.digest().is_none()),
        });
    }
    images.sort_by(|a, b| {
        let rank = |image: &ImageResult| (weight(image.reason) == 0, std::cmp::Reverse(image.workloads.len()));
        (rank(a), a.reason, &a.image, a.runs).cmp(&(rank(b), b.reason, &b.image, b.runs))
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
    image: &Image,
    policy: &CompiledPolicy,
    found: &BTreeMap<String, Found>,
    roots: &Roots,
    memo: &mut Memo,
    now: Timestamp,
) -> Judged {
    let not = |reason: Reason, message: String| (PolicyVerdict::of(policy, never_covered(reason), message), None);
    match found.get(&image.written) {
        None => not(Reason::RegistryUnavailable, "it was not looked for".to_owned()),
        Some(Found::Not { reason, message }) => not(*reason, message.clone()),
        Some(Found::Image { artifact, evidence, incomplete }) => {
            let content = Content::of(artifact.digest, evidence.iter().map(Evidence::digest), policy, roots);
            let finding = memo
                .recall(content)
                .unwrap_or_else(|| memo.keep(content, find_out(policy, artifact, evidence, roots, now)));
            let finding = finding.certain(policy, incomplete.as_ref(), roots);
            (PolicyVerdict::found(policy, finding), Some(artifact.digest))
        }
    }
}

impl PolicyVerdict {
    /// What is known without evidence.
    pub fn of(policy: &CompiledPolicy, reason: Reason, message: impl Into<String>) -> Self {
        Self { policy: policy.name.clone(), reason, message: message.into(), signers: Vec::new() }
    }

    /// What was found out.
    pub fn found(policy: &CompiledPolicy, finding: Finding) -> Self {
        Self { policy: policy.name.clone(), reason: finding.reason, message: finding.message, signers: finding.signers }
    }
}
