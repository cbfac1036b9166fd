//! SigningIdentityPolicies: what is declared against what is enforced.

use std::collections::{BTreeMap, BTreeSet};

use super::identity::{Identities, words};
use super::{Finder, Loosening, LooseningKind, PolicyForm, deletion_digest, selector};
use crate::Digest;
use crate::api::SigningIdentityPolicySpec;
use crate::api::common::NamespaceSelector;
use crate::api::policy::{Desired, Engines, OtherImages};
use crate::gate::rollout::waves_of;
use crate::image::{ImagePattern, ImageRef};

pub(super) const KIND: &str = "SigningIdentityPolicy";

/// What stands around an enforced policy, and says how far a change of it reaches.
#[derive(Debug, Clone, Default)]
pub struct Standing<'a> {
    /// The waves that are in force, by name.
    pub waves: BTreeSet<&'a str>,
    /// The namespaces it is enforced in, with their labels where these are known.
    pub namespaces: BTreeMap<&'a str, Option<&'a BTreeMap<String, String>>>,
    /// Another policy that is enforced in one of these namespaces denies images that no policy is about.
    pub others_deny: bool,
}

/// Every way in which `declared` is looser than `enforced`. Nothing where it admits nothing more.
pub fn policy(enforced: PolicyForm<'_>, declared: PolicyForm<'_>, standing: &Standing<'_>) -> Vec<Loosening> {
    let (old, new) = (enforced.spec, declared.spec);
    let released = left_out(old, new, standing);
    let mut found = Finder::new(KIND, declared.name, declared.change_from(enforced, &released));
    found.add_if(
        old.enforcement.desired == Desired::Enforce && new.enforcement.desired == Desired::Audit,
        LooseningKind::ReturnToAudit,
        "enforcement.desired",
        || "`desired` is Audit, and the policy is enforced".to_owned(),
    );
    images(old, new, standing, &mut found);
    namespaces(old, new, &released, &mut found);
    signers(&enforced, &declared, &mut found);
    requirements(old, new, &mut found);
    engines(&old.engines, &new.engines, standing, &mut found);
    waves(old, new, standing, &mut found);
    found.finish()
}

/// The deletion of an enforced policy.
pub fn policy_deletion(enforced: PolicyForm<'_>) -> Loosening {
    let digest = deletion_digest(KIND, enforced.name, enforced.digest());
    Finder::new(KIND, enforced.name, digest).one(
        LooseningKind::PolicyDeleted,
        "",
        "the policy is to be deleted while it is enforced",
    )
}

/// A declared form that an engine refuses to be given for enforcement: it would stop denying, however strict the form is.
pub fn cannot_be_enforced(declared: PolicyForm<'_>, engine: &str, why: &str) -> Loosening {
    Finder::new(KIND, declared.name, declared.digest()).one(
        LooseningKind::CannotBeEnforced,
        "engines",
        format!("{engine} could not be given this form for enforcement ({why})"),
    )
}

/// A declared form that cannot be used: whatever it was meant to say, nothing can be rendered of it.
pub fn unusable(declared: PolicyForm<'_>, why: &str) -> Loosening {
    Finder::new(KIND, declared.name, declared.digest()).one(
        LooseningKind::Unusable,
        "",
        format!("it cannot be used: {why}"),
    )
}

/// What admits nothing more and weakens the gate in front of waves that are still to come. For a warning.
pub fn gate_weakened(old: &SigningIdentityPolicySpec, new: &SigningIdentityPolicySpec) -> Vec<String> {
    let mut found = Vec::new();
    let (was, is) = (&old.enforcement, &new.enforcement);
    if is.minimum_coverage < was.minimum_coverage {
        found.push(format!(
            "`minimumCoverage` falls from {} to {}: later waves may break more",
            was.minimum_coverage, is.minimum_coverage
        ));
    }
    if is.soak < was.soak {
        found.push(format!("`soak` falls from {} to {}: later waves are proven for less long", was.soak, is.soak));
    }
    let now_optional = new
        .identities
        .iter()
        .filter(|identity| identity.optional && old.identities.iter().any(|o| o.name == identity.name && !o.optional));
    found.extend(now_optional.map(|identity| {
        format!("identity `{}` becomes optional: the gate no longer waits for its first bundle", identity.name)
    }));
    found
}

fn images(
    old: &SigningIdentityPolicySpec,
    new: &SigningIdentityPolicySpec,
    standing: &Standing<'_>,
    found: &mut Finder,
) {
    for lost in uncovered(&old.images, &new.images) {
        found.add(
            LooseningKind::ImagesNarrowed,
            "images",
            format!("no pattern that is declared is about all of `{lost}`, which is enforced"),
        );
    }
    let denies = old.other_images == OtherImages::Deny;
    if denies || standing.others_deny {
        for gained in uncovered(&new.images, &old.images) {
            found.add(
                LooseningKind::ImagesClaimed,
                "images",
                format!("images of `{gained}` are denied where no policy is about them, and pass once signed by an identity of this policy"),
            );
        }
    }
    found.add_if(
        denies && new.other_images == OtherImages::Allow,
        LooseningKind::OtherImagesAllowed,
        "otherImages",
        || "`otherImages` is Allow, and Deny is enforced".to_owned(),
    );
    let read = |spec: &SigningIdentityPolicySpec| -> BTreeSet<(String, Option<Digest>)> {
        let parsed = spec.exempt_images.iter().filter_map(|exempt| ImageRef::parse(&exempt.image).ok());
        parsed.map(|image| (image.name(), image.digest())).collect()
    };
    for (name, digest) in read(new).difference(&read(old)) {
        let digest = digest.map_or_else(String::new, |digest| format!("@{digest}"));
        found.add(LooseningKind::ImageExempted, "exemptImages", format!("`{name}{digest}` passes without a signature"));
    }
}

/// The patterns that no single one of `known` provably contains. What cannot be read contains nothing and is contained in nothing.
pub(super) fn uncovered<'a>(patterns: &'a [String], known: &[String]) -> Vec<&'a str> {
    let known: Vec<ImagePattern> = known.iter().filter_map(|pattern| ImagePattern::parse(pattern).ok()).collect();
    patterns
        .iter()
        .filter(|pattern| {
            ImagePattern::parse(pattern).is_ok_and(|pattern| !known.iter().any(|wide| wide.covers(&pattern)))
        })
        .map(String::as_str)
        .collect()
}

/// Whether a form may be about images or namespaces that the one before it was not about: what it takes out of another policy's denial there was not looked at.
/// Of the waves of that one, those count that came into force.
pub(in crate::gate) fn reaches_further(
    old: &SigningIdentityPolicySpec,
    new: &SigningIdentityPolicySpec,
    in_force: impl Fn(&str) -> bool,
) -> bool {
    let waves = |spec: &SigningIdentityPolicySpec, counts: &dyn Fn(&str) -> bool| -> Vec<NamespaceSelector> {
        let waves = waves_of(&spec.enforcement).into_iter().filter(|wave| counts(&wave.name));
        waves.map(|wave| wave.namespace_selector).collect()
    };
    let known = waves(old, &in_force);
    !uncovered(&new.images, &old.images).is_empty()
        || new.exempt_images.iter().any(|exempt| !old.exempt_images.iter().any(|known| known.image == exempt.image))
        || !selector::covers(&old.namespace_selector, &new.namespace_selector)
        || waves(new, &in_force).iter().any(|wave| !known.iter().any(|wide| selector::covers(wide, wave)))
}

/// The namespaces that are let go where a narrower selector comes into force: those that are enforced, and that it does not select by the labels they have.
/// What nothing is known of stays.
pub(in crate::gate) fn left_out<'s>(
    old: &SigningIdentityPolicySpec,
    new: &SigningIdentityPolicySpec,
    standing: &Standing<'s>,
) -> BTreeSet<&'s str> {
    if selector::covers(&new.namespace_selector, &old.namespace_selector) {
        return BTreeSet::new();
    }
    let known = standing.namespaces.iter();
    known
        .filter(|(_, labels)| labels.is_some_and(|labels| !new.namespace_selector.matches(labels)))
        .map(|(name, _)| *name)
        .collect()
}

fn namespaces(
    old: &SigningIdentityPolicySpec,
    new: &SigningIdentityPolicySpec,
    released: &BTreeSet<&str>,
    found: &mut Finder,
) {
    found.add_if(
        !selector::covers(&new.namespace_selector, &old.namespace_selector),
        LooseningKind::NamespacesNarrowed,
        "namespaceSelector",
        || {
            if released.is_empty() {
                return "the selector is not provably as wide as the enforced one; every namespace that is enforced now would stay so".to_owned();
            }
            let names: Vec<&str> = released.iter().copied().collect();
            format!("the selector leaves out `{}`, where the policy is enforced", names.join("`, `"))
        },
    );
}

fn signers(enforced: &PolicyForm<'_>, declared: &PolicyForm<'_>, found: &mut Finder) {
    let (old, new) = (enforced.spec, declared.spec);
    for root in new.trust_roots.iter().filter(|root| !old.trust_roots.contains(root)) {
        found.add(LooseningKind::TrustRootAdded, "trustRoots", format!("the trust root `{root}` counts as well"));
    }
    found.add_if(
        new.trust_roots.is_empty() && !old.trust_roots.is_empty(),
        LooseningKind::TrustRootsDropped,
        "trustRoots",
        || "no trust root is left beside the keys".to_owned(),
    );
    let known = Identities { declared: &old.identities, keys: enforced.keys };
    for identity in &new.identities {
        found.add_if(
            !known.cover(identity, declared.keys.get(&identity.name)),
            LooseningKind::IdentityWidened,
            "identities",
            || format!("the identity {} may sign, and no enforced identity provably covers it", words(identity)),
        );
    }
}

fn requirements(old: &SigningIdentityPolicySpec, new: &SigningIdentityPolicySpec, found: &mut Finder) {
    let (had, has) = (&old.require, &new.require);
    for dropped in had.attestations.iter().filter(|wanted| !has.attestations.contains(wanted)) {
        found.add(
            LooseningKind::AttestationDropped,
            "require.attestations",
            format!("a statement of type {dropped} is no longer required"),
        );
    }
    for (field, what, had, has) in [
        ("require.transparencyLog", "a log entry", had.transparency_log, has.transparency_log),
        ("require.signedTimestamp", "a signed timestamp", had.signed_timestamp, has.signed_timestamp),
        ("require.sct", "a signed certificate timestamp", had.sct, has.sct),
    ] {
        found.add_if(had && !has, LooseningKind::EvidenceDropped, field, || format!("{what} is no longer required"));
    }
}

fn engines(old: &Engines, new: &Engines, standing: &Standing<'_>, found: &mut Finder) {
    for (engine, had, has) in [
        ("native", old.native.is_some(), new.native.is_some()),
        ("kyverno", old.kyverno.is_some(), new.kyverno.is_some()),
        ("policyController", old.policy_controller.is_some(), new.policy_controller.is_some()),
        ("openShift", old.open_shift.is_some(), new.open_shift.is_some()),
    ] {
        let field = format!("engines.{engine}");
        found.add_if(had && !has, LooseningKind::EngineDropped, &field, || format!("`{engine}` no longer denies"));
        found.add_if(!had && has, LooseningKind::EngineAdded, &field, || {
            format!("`{engine}` would deny at once wherever the policy is enforced; what it denies beyond the others is in its losses")
        });
        found.add_if(!had && has && standing.others_deny, LooseningKind::ImagesClaimed, &field, || {
            format!("another policy denies in `{engine}` what no policy there is about; images of this policy pass there once signed")
        });
    }
    let kind = |engines: &Engines| engines.kyverno.as_ref().map(|kyverno| kyverno.kind);
    if let (Some(was), Some(is)) = (kind(old), kind(new)) {
        found.add_if(was != is, LooseningKind::EngineChanged, "engines.kyverno.kind", || {
            format!("Kyverno gets {is:?} where it had {was:?}")
        });
    }
}

/// The waves in force have to stay the first ones, in their order, and as wide.
fn waves(
    old: &SigningIdentityPolicySpec,
    new: &SigningIdentityPolicySpec,
    standing: &Standing<'_>,
    found: &mut Finder,
) {
    let (before, after) = (waves_of(&old.enforcement), waves_of(&new.enforcement));
    for (at, wave) in before.iter().enumerate().filter(|(_, wave)| standing.waves.contains(wave.name.as_str())) {
        let kept = after.get(at).is_some_and(|other| {
            other.name == wave.name && selector::covers(&other.namespace_selector, &wave.namespace_selector)
        });
        found.add_if(!kept, LooseningKind::WaveDropped, "enforcement.waves", || {
            format!("the wave `{}` is in force, and is not declared at its place and as wide as it was", wave.name)
        });
    }
}
