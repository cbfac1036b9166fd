//! What a promotion itself would admit.
//!
//! `otherImages: Deny` is one rule over all enforced policies: it denies what none of them is about. So a policy that comes into force takes its images out
//! of that denial: they pass once one of its identities signed them. Whoever may write a policy could otherwise let images in that another one keeps out.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::policy::{KIND, uncovered};
use super::{Finder, Loosening, LooseningKind, PolicyForm, digest};
use crate::Digest;
use crate::api::SigningIdentityPolicySpec;
use crate::api::policy::OtherImages;
use crate::image::ImageRef;

/// Another policy, and where it is enforced.
#[derive(Debug, Clone, Copy)]
pub struct Beside<'a> {
    /// Its name.
    pub name: &'a str,
    /// What of it is in force.
    pub spec: &'a SigningIdentityPolicySpec,
    /// The namespaces it is enforced in.
    pub namespaces: &'a BTreeSet<String>,
    /// Of these, those it was enforced in from their making.
    pub from_start: &'a BTreeSet<String>,
    /// Namespaces that were just made and that it is about to be enforced in.
    pub coming: &'a BTreeSet<String>,
}

static NOWHERE: BTreeSet<String> = BTreeSet::new();

impl<'a> Beside<'a> {
    /// A policy that is enforced in these namespaces for long.
    pub const fn new(name: &'a str, spec: &'a SigningIdentityPolicySpec, namespaces: &'a BTreeSet<String>) -> Self {
        Self { name, spec, namespaces, from_start: &NOWHERE, coming: &NOWHERE }
    }
}

/// What is taken from whom, in which field.
type Claim<'a> = (&'a str, &'static str, String);

/// What the promotion of a policy into `namespaces` takes out of other policies' denial.
///
/// The digest to approve is bound to the form, to what is taken from whom, and to the namespaces: an approval says nothing of what another policy comes to
/// deny later, nor of a namespace that it did not name.
pub fn promotion(declared: PolicyForm<'_>, namespaces: &BTreeSet<String>, beside: &[Beside<'_>]) -> Vec<Loosening> {
    let claims: BTreeMap<&String, BTreeSet<Claim<'_>>> = namespaces
        .iter()
        .map(|namespace| (namespace, claims(declared, namespace, beside)))
        .filter(|(_, claims)| !claims.is_empty())
        .collect();
    let digest =
        digest::of(&json!({"kind": KIND, "name": declared.name, "in": declared.digest(), "claims": json!(claims)}));
    let mut found = Finder::new(KIND, declared.name, digest);
    for (namespace, (from, field, what)) in claims.iter().flat_map(|(at, all)| all.iter().map(move |one| (at, one))) {
        let sentence = if *field == "images" {
            format!(
                "in `{namespace}`, `{from}` denies images of `{what}` that no enforced policy is about; they would pass once signed by an identity of this policy"
            )
        } else {
            format!("in `{namespace}`, `{from}` denies `{what}`, and this policy exempts it")
        };
        found.add(LooseningKind::PromotionClaims, field, sentence);
    }
    found.finish()
}

/// The digests of what is taken, one for each policy that it is taken from, in a namespace that is in scope of all these policies from its start, wherever that
/// is. Whoever agreed to it in one namespace agreed to it in those that are made like it: nothing was denied there before. Not to what another policy denies.
pub(in crate::gate) fn of_newborn(
    declared: PolicyForm<'_>,
    namespace: &str,
    beside: &[Beside<'_>],
) -> BTreeSet<Digest> {
    let mut from: BTreeMap<&str, BTreeSet<(&str, String)>> = BTreeMap::new();
    for (denying, field, what) in claims(declared, namespace, beside) {
        from.entry(denying).or_default().insert((field, what));
    }
    from.iter().map(|taken| digest::of(&json!({"kind": KIND, "name": declared.name, "newborn": taken}))).collect()
}

fn claims<'a>(declared: PolicyForm<'_>, namespace: &str, beside: &[Beside<'a>]) -> BTreeSet<Claim<'a>> {
    let others = || beside.iter().filter(|other| other.name != declared.name);
    let there: Vec<&Beside<'_>> = others().filter(|other| other.namespaces.contains(namespace)).collect();
    let is_there = |other: &Beside<'_>| other.namespaces.contains(namespace);
    let denying: Vec<&Beside<'a>> = others()
        .filter(|other| is_there(other) || other.coming.contains(namespace))
        .filter(|other| other.spec.other_images == OtherImages::Deny)
        .collect();
    if denying.is_empty() {
        return BTreeSet::new();
    }
    let all = taken(declared.spec, &there);
    // It is taken from each of them: whoever agreed that one is left out agreed to no other.
    let claims = denying.into_iter().flat_map(|from| {
        // Of what is only coming nobody knows whether it comes; where it does not, it denies nothing either. So what it is about itself is not taken from it.
        let of_coming = (!is_there(from)).then(|| taken(declared.spec, &[from]));
        let counts = move |one: &&(&'static str, String)| of_coming.as_ref().is_none_or(|of| of.contains(*one));
        all.iter().filter(counts).map(|(field, what)| (from.name, *field, what.clone())).collect::<Vec<_>>()
    });
    claims.collect()
}

/// What a policy is about, or lets pass unsigned, that none of these others is about or lets pass.
fn taken(declared: &SigningIdentityPolicySpec, others: &[&Beside<'_>]) -> BTreeSet<(&'static str, String)> {
    let claimed: Vec<String> = others.iter().flat_map(|other| other.spec.images.iter().cloned()).collect();
    let images = uncovered(&declared.images, &claimed).into_iter().map(|gained| ("images", gained.to_owned()));
    let exempt = |spec: &SigningIdentityPolicySpec| -> BTreeSet<ImageRef> {
        spec.exempt_images.iter().filter_map(|exempt| ImageRef::parse(&exempt.image).ok()).collect()
    };
    let known: BTreeSet<ImageRef> = others.iter().flat_map(|other| exempt(other.spec)).collect();
    let exempts = exempt(declared);
    images.chain(exempts.difference(&known).map(|image| ("exemptImages", image.to_string()))).collect()
}
