//! A declared policy, made ready to judge with.

use std::collections::{BTreeMap, BTreeSet};

use crate::Digest;

use super::Inventory;
use crate::api::SigningIdentityPolicy;
use crate::api::common::NamespaceSelector;
use crate::api::policy::{OtherImages, SigningIdentityPolicySpec};
use crate::image::{ImagePattern, ImageRef};
use crate::trust::root::{ManagedKey, Window};
use crate::verify::pattern::IdentityPattern;
use crate::verify::{Accept, EvidenceRequirements, Limits, Matcher, Policy, Signer};

/// A policy whose patterns and identities were read.
#[derive(Debug, Clone)]
pub struct CompiledPolicy {
    /// Its name.
    pub name: String,
    /// What is judged against.
    pub policy: Policy,
    /// The trust roots it accepts, by name.
    pub trust_roots: Vec<String>,
    /// What happens to images that no policy matches.
    pub other_images: OtherImages,
    /// The digest of what was declared and of the keys it refers to, for memoised verdicts.
    pub digest: Digest,
    /// The digest of that alone which decides a verdict: who may sign with which evidence, whatever the names are, wherever and whenever it is enforced.
    pub decides: Digest,
    /// Images that are to be admitted once they are verified, as they are declared.
    pub intake: Vec<String>,
    images: Vec<ImagePattern>,
    exempt: Vec<ImageRef>,
    namespaces: NamespaceSelector,
    /// The namespaces it is enforced in, by name: it is about them whatever their labels say now.
    enforced: BTreeSet<String>,
}

/// Something in a policy that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("SigningIdentityPolicy `{policy}`, {what}: {detail}")]
pub struct PolicyProblem {
    /// The policy.
    pub policy: String,
    /// The field or identity.
    pub what: String,
    /// What is wrong with it, and what to do.
    pub detail: String,
}

/// Makes a declared policy ready. `secret` gives the key a Secret reference names, or says why it is not at hand.
///
/// # Errors
/// Every [`PolicyProblem`] there is.
pub fn compile(
    declared: &SigningIdentityPolicy,
    secret: &dyn Fn(&crate::api::common::SecretRef) -> Result<Vec<u8>, String>,
) -> Result<CompiledPolicy, Vec<PolicyProblem>> {
    let name = declared.metadata.name.clone().unwrap_or_default();
    let spec = &declared.spec;
    let mut problems = Vec::new();
    let mut problem =
        |what: String, detail: String| problems.push(PolicyProblem { policy: name.clone(), what, detail });

    let mut images = Vec::new();
    for pattern in &spec.images {
        match ImagePattern::parse(pattern) {
            Ok(pattern) if pattern.is_about_canaries() => problem("images".to_owned(), of_canaries(pattern.as_str())),
            Ok(pattern) => images.push(pattern),
            Err(error) => problem("images".to_owned(), error.to_string()),
        }
    }
    let mut exempt = Vec::new();
    for image in &spec.exempt_images {
        match ImageRef::parse(&image.image) {
            Ok(known) if known.is_canary() => problem("exemptImages".to_owned(), of_canaries(&image.image)),
            Ok(image) => exempt.push(image),
            Err(error) => problem("exemptImages".to_owned(), error.to_string()),
        }
    }
    let mut signers = Vec::new();
    for identity in &spec.identities {
        let what = format!("identity `{}`", identity.name);
        if let Some(key) = &identity.key {
            let pem = match (&key.pem, &key.secret_ref) {
                (Some(pem), _) => Ok(pem.clone().into_bytes()),
                (None, Some(reference)) => secret(reference),
                (None, None) => Err("it has neither `pem` nor `secretRef`".to_owned()),
            };
            match pem.and_then(|pem| ManagedKey::from_bytes(&identity.name, &pem, Window::ALWAYS)) {
                Ok(key) => signers.push(Signer::Key { name: identity.name.clone(), key: Box::new(key) }),
                Err(detail) => problem(what, detail),
            }
            continue;
        }
        let subject = match (&identity.subject, &identity.subject_reg_exp) {
            (Some(subject), _) => Ok(Matcher::Exact(subject.clone())),
            (None, Some(pattern)) => IdentityPattern::new(pattern).map(Matcher::Pattern).map_err(|e| e.to_string()),
            (None, None) => Err("it has neither a subject nor a key".to_owned()),
        };
        match (subject, &identity.issuer) {
            (Ok(subject), Some(issuer)) => {
                signers.push(Signer::Certificate {
                    name: identity.name.clone(),
                    subject,
                    issuer: Matcher::Exact(issuer.clone()),
                });
            }
            (Ok(_), None) => problem(what, "it has no issuer".to_owned()),
            (Err(detail), _) => problem(what, detail),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let (digest, decides) = (digest(spec, &signers), decides(spec, &signers));
    Ok(CompiledPolicy {
        policy: Policy {
            signers,
            evidence: EvidenceRequirements {
                transparency_log: spec.require.transparency_log,
                signed_timestamp: spec.require.signed_timestamp,
                sct: spec.require.sct,
            },
            accept: Accept::Signature { attestations: spec.require.attestations.clone() },
            limits: Limits::default(),
        },
        trust_roots: spec.trust_roots.clone(),
        other_images: spec.other_images,
        namespaces: spec.namespace_selector.clone(),
        enforced: BTreeSet::new(),
        name,
        digest,
        decides,
        intake: spec.engines.native.iter().flat_map(|native| native.intake.images.iter().cloned()).collect(),
        images,
        exempt,
    })
}

fn of_canaries(image: &str) -> String {
    format!("`{image}` is of the images that holdfast tries its rules with, which are nobody's: leave it out")
}

/// A Secret may change while the policy that refers to it does not.
fn digest(spec: &SigningIdentityPolicySpec, signers: &[Signer]) -> Digest {
    let mut hashed = Digest::of(&serde_json::to_vec(spec).unwrap_or_default()).as_bytes().to_vec();
    for signer in signers {
        if let Signer::Key { key, .. } = signer {
            hashed.extend_from_slice(key.key_digest.as_bytes());
        }
    }
    Digest::of(&hashed)
}

fn decides(spec: &SigningIdentityPolicySpec, signers: &[Signer]) -> Digest {
    let name = |matcher: &Matcher| match matcher {
        Matcher::Exact(name) => format!("={name}"),
        Matcher::Pattern(pattern) => format!("~{}", pattern.as_str()),
    };
    let mut who: Vec<[String; 2]> = signers
        .iter()
        .map(|signer| match signer {
            Signer::Certificate { subject, issuer, .. } => [name(subject), name(issuer)],
            Signer::Key { key, .. } => [key.key_digest.to_string(), String::new()],
        })
        .collect();
    who.sort();
    Digest::of(&serde_json::to_vec(&(&spec.require, &spec.trust_roots, who)).unwrap_or_default())
}

impl CompiledPolicy {
    /// Whether it accepts the trust of a mirror.
    pub fn accepts(&self, mirror: &str) -> bool {
        self.trust_roots.iter().any(|root| root == mirror)
    }

    /// Whether a namespace with these labels is meant.
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.namespaces.matches(labels)
    }

    /// The policy, about these namespaces as well, in which it is enforced: scope is sticky.
    #[must_use]
    pub fn enforced_in(mut self, namespaces: BTreeSet<String>) -> Self {
        self.enforced = namespaces;
        self
    }

    /// The namespaces it is enforced in.
    pub fn enforced_names(&self) -> Vec<String> {
        self.enforced.iter().cloned().collect()
    }

    /// Whether a namespace of an inventory is meant; `None` where that hangs on labels nobody has told.
    pub fn selects_in(&self, inventory: &Inventory, namespace: &str) -> Option<bool> {
        if self.enforced.contains(namespace) {
            return Some(true);
        }
        match inventory.labels(namespace) {
            Some(labels) => Some(self.namespaces.matches(labels)),
            None => self.namespaces.matches_name(namespace),
        }
    }

    /// Which images it is about.
    pub(super) fn images(&self) -> &[ImagePattern] {
        &self.images
    }

    /// Which images need no signature.
    pub(super) fn exempt(&self) -> &[ImageRef] {
        &self.exempt
    }

    /// Whether the image is one the policy is about.
    pub fn matches(&self, image: &ImageRef) -> bool {
        self.images.iter().any(|pattern| pattern.matches(image))
    }

    /// Whether this very image needs no signature.
    pub fn exempts(&self, image: &ImageRef) -> bool {
        image.digest().is_some()
            && self.exempt.iter().any(|exempt| exempt.name() == image.name() && exempt.digest() == image.digest())
    }
}
