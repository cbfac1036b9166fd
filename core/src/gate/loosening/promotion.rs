//! What a promotion itself would admit.
//!
//! `otherImages: Deny` is one rule over all enforced policies: it denies what none of them is about. So a policy that comes into force takes its images out
//! of that denial: they pass once one of its identities signed them. Whoever may write a policy could otherwise let images in that another one keeps out.

use std::collections::BTreeSet;

use serde_json::json;

use super::policy::{KIND, uncovered};
use super::{Finder, Loosening, LooseningKind, PolicyForm, digest};
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
}

/// What the promotion of a policy into `namespaces` takes out of other policies' denial.
///
/// The digest to approve is bound to the form and to what is taken from whom: an approval says nothing of what another policy comes to deny later.
pub fn promotion(declared: PolicyForm<'_>, namespaces: &BTreeSet<String>, beside: &[Beside<'_>]) -> Vec<Loosening> {
    let mut claims: BTreeSet<(&str, &'static str, String)> = BTreeSet::new();
    let mut sentences: Vec<(&'static str, String)> = Vec::new();
    for namespace in namespaces {
        let there: Vec<&Beside<'_>> =
            beside.iter().filter(|other| other.name != declared.name && other.namespaces.contains(namespace)).collect();
        let Some(denying) = there.iter().find(|other| other.spec.other_images == OtherImages::Deny) else { continue };
        let claimed: Vec<String> = there.iter().flat_map(|other| other.spec.images.iter().cloned()).collect();
        for gained in uncovered(&declared.spec.images, &claimed) {
            claims.insert((denying.name, "images", gained.to_owned()));
            sentences.push((
                "images",
                format!(
                    "in `{namespace}`, `{}` denies images of `{gained}` that no enforced policy is about; they would pass once signed by an identity of this policy",
                    denying.name
                ),
            ));
        }
        let exempt = |spec: &SigningIdentityPolicySpec| -> BTreeSet<ImageRef> {
            spec.exempt_images.iter().filter_map(|exempt| ImageRef::parse(&exempt.image).ok()).collect()
        };
        let known: BTreeSet<ImageRef> = there.iter().flat_map(|other| exempt(other.spec)).collect();
        for image in exempt(declared.spec).difference(&known) {
            claims.insert((denying.name, "exemptImages", image.to_string()));
            sentences.push((
                "exemptImages",
                format!("in `{namespace}`, `{}` denies `{image}`, and this policy exempts it", denying.name),
            ));
        }
    }
    let digest = digest::of(&json!({"kind": KIND, "name": declared.name, "in": declared.digest(), "claims": claims}));
    let mut found = Finder::new(KIND, declared.name, digest);
    for (field, sentence) in sentences {
        found.add(LooseningKind::PromotionClaims, field, sentence);
    }
    found.finish()
}
