//! policy-controller: `ClusterImagePolicy` with `TrustRoot`, or with trust straight in its ConfigMap.
//!
//! Rendered is the form that was run on policy-controller 0.15.1. Decisions that the engine forces:
//!
//! - Bundles are asked for as attestations of type `https://sigstore.dev/cosign/sign/v1`: asked for as signatures, the engine refuses every one.
//! - One identity under one trust root is one authority: with two identities the engine refuses every bundle. A TrustRoot holds no logs.
//! - What a signature has to carry decides the form of the authority, and where the trust is kept (`evidence`).
//! - Policies know no namespaces (`namespaces`). One in warn mode lets in what enforced ones deny as matched by nothing, so both never stand side by side.
//! - Objects for audit have names of their own: a policy that may no longer be enforced must not turn its enforced object into one that warns.
//! - Image volumes, and `localhost` without a port, are closed by objects beside the policies (`guard`).

pub mod capability;
mod evidence;
mod globs;
mod guard;
mod image_policy;
mod namespaces;
mod report;
mod trust_root;

use std::collections::{BTreeMap, BTreeSet};

pub use self::capability::{CapabilityError, Contradiction, NoMatch, PolicyControllerCapability};
use self::evidence::Place;
use self::globs::Globs;
use self::image_policy::{Authority, Content};
use self::report::Report;
use super::ledger::list;
use super::{Engine, EngineKind, Estate, EstatePolicy, LossKind, Object, Rendering, Stage};
use crate::api::policy::OtherImages;
use crate::image::{ImagePattern, ImageRef};
use crate::trust::root::TrustRoot;
use crate::verify::policy::SIGNATURE_PREDICATE;
use crate::verify::{Accept, Signer};

/// The most bytes of one ConfigMap, with room for what others keep in it (the API server stores 1 MiB).
const MAX_COMPILED: usize = 900_000;

/// policy-controller.
#[derive(Debug, Clone, Copy)]
pub struct PolicyController;

impl Engine for PolicyController {
    type Capability = PolicyControllerCapability;

    const KIND: EngineKind = EngineKind::PolicyController;

    fn render(estate: &Estate<'_>, capability: &PolicyControllerCapability) -> Rendering {
        let mut report = Report::new();
        let asked = estate.policies.iter().filter(|(_, p)| p.declared.spec.engines.policy_controller.is_some());
        let mut drafts = Vec::new();
        for (name, policy) in asked {
            let draft = Draft::new(estate, name, policy);
            if capability.present {
                drafts.push(draft.filled(estate, policy, capability, &mut report));
            } else {
                let why = "policy-controller is not in the cluster".to_owned();
                report.loss(name, LossKind::EngineAbsent, "engines.policyController", why);
                if !draft.enforced.is_empty() {
                    report.ledger.refuse(name, "policy-controller is not in the cluster");
                }
            }
        }
        render(&drafts, capability, &mut report);
        report.ledger.rendering.sorted()
    }
}

/// A declared policy on its way to objects.
#[derive(Debug)]
struct Draft<'a> {
    name: &'a str,
    enforced: BTreeSet<&'a str>,
    audited: BTreeSet<&'a str>,
    others: OtherImages,
    content: Content<'a>,
    takes_localhost: bool,
}

impl<'a> Draft<'a> {
    fn new(estate: &'a Estate<'_>, name: &'a str, policy: &'a EstatePolicy<'_>) -> Self {
        let mut statements: Vec<&str> = match &policy.compiled.policy.accept {
            Accept::Signature { attestations } | Accept::Statements(attestations) => {
                attestations.iter().map(String::as_str).filter(|predicate| *predicate != SIGNATURE_PREDICATE).collect()
            }
            Accept::Either => Vec::new(),
        };
        statements.sort_unstable();
        statements.dedup();
        Self {
            name,
            enforced: estate.namespaces_of(policy, Stage::Enforce),
            audited: estate.namespaces_of(policy, Stage::Audit),
            others: policy.compiled.other_images,
            content: Content {
                policy: name,
                globs: Vec::new(),
                authorities: Vec::new(),
                statements,
                exempt: Vec::new(),
            },
            takes_localhost: false,
        }
    }

    fn filled(
        mut self,
        estate: &'a Estate<'_>,
        policy: &'a EstatePolicy<'_>,
        capability: &PolicyControllerCapability,
        report: &mut Report,
    ) -> Self {
        report.of_engine(self.name, capability);
        let left_out = estate.left_out_of(policy);
        if !left_out.is_empty() {
            report.loss(
                self.name,
                LossKind::NamespacesLeftOut,
                "namespaceSelector",
                format!("left out: {}", list(left_out)),
            );
        }
        self.take_images(policy, report);
        self.take_authorities(estate, policy, capability, report);
        let mut loss = |kind, field, why: String| report.loss(self.name, kind, field, why);
        if self.others == OtherImages::Allow && matches!(capability.no_match, None | Some(NoMatch::Deny)) {
            loss(
                LossKind::PolicyControllerDeniesOthers,
                "otherImages",
                "`otherImages: Allow` is not carried out".to_owned(),
            );
        }
        if matches!(capability.no_match, Some(NoMatch::Allow | NoMatch::Warn)) {
            loss(LossKind::PolicyControllerAdmitsUnmatched, "otherImages", "it is not `deny`".to_owned());
        }
        let short: Vec<&str> =
            self.content.statements.iter().copied().filter(|predicate| !predicate.contains("://")).collect();
        if !short.is_empty() {
            loss(LossKind::PolicyControllerShortPredicate, "require.attestations", format!("short: {}", list(short)));
        }
        for exception in estate.exceptions.iter().filter(|exception| exception.policy == self.name) {
            let namespaces = list(exception.namespaces.iter().map(String::as_str));
            let why = format!("`{}` lets {namespaces} off until {}", exception.break_glass, exception.until);
            loss(LossKind::PolicyControllerNoException, "enforcement", why);
        }
        for (kind, field, why) in [
            (
                LossKind::PolicyControllerOneSpelling,
                "images",
                "as `registry.corp.internal/app`, and nothing else for it",
            ),
            (LossKind::PolicyControllerRewritesImages, "images", "`app:1` becomes `app:1@sha256:…` in the cluster"),
            (LossKind::PolicyControllerReadsItself, "identities", "of several names the engine takes the first"),
        ] {
            loss(kind, field, why.to_owned());
        }
        self
    }

    fn take_images(&mut self, policy: &EstatePolicy<'_>, report: &mut Report) {
        let spec = &policy.declared.spec;
        for pattern in spec.images.iter().filter_map(|pattern| ImagePattern::parse(pattern).ok()) {
            match globs::globs(&pattern) {
                Globs::Exact { globs, takes_localhost } => {
                    self.content.globs.extend(globs);
                    self.takes_localhost |= takes_localhost;
                }
                Globs::Localhost => {
                    report.loss(
                        self.name,
                        LossKind::PolicyControllerLocalhost,
                        "images",
                        format!("`{}`", pattern.as_str()),
                    );
                }
                Globs::TooMany => {
                    report.loss(
                        self.name,
                        LossKind::PolicyControllerPatternTooLarge,
                        "images",
                        format!("`{}`", pattern.as_str()),
                    );
                }
            }
        }
        self.content.globs.sort();
        self.content.globs.dedup();
        for image in spec.exempt_images.iter().filter_map(|exempt| ImageRef::parse(&exempt.image).ok()) {
            match globs::name(&image).filter(|_| !policy.compiled.matches(&image)) {
                Some(name) => self.content.exempt.push(name),
                None => {
                    report.loss(
                        self.name,
                        LossKind::PolicyControllerExemptJudged,
                        "exemptImages",
                        format!("`{image}`"),
                    );
                }
            }
        }
        self.content.exempt.sort();
        self.content.exempt.dedup();
    }

    fn take_authorities(
        &mut self,
        estate: &'a Estate<'_>,
        policy: &'a EstatePolicy<'_>,
        capability: &PolicyControllerCapability,
        report: &mut Report,
    ) {
        let judged = &policy.compiled.policy;
        let by_certificate = judged.signers.iter().any(|signer| matches!(signer, Signer::Certificate { .. }));
        let mut forms = Vec::new();
        for name in policy.compiled.trust_roots.iter().filter(|_| by_certificate) {
            let Some(root) = estate.roots.get(name.as_str()) else {
                report.loss(self.name, LossKind::TrustRootAbsent, "trustRoots", format!("`{name}` is not at hand"));
                continue;
            };
            let choice = evidence::choose(root.root, judged.evidence, capability);
            for (kind, field, why) in choice.losses {
                report.loss(self.name, kind, field, why);
            }
            forms.extend(choice.form.map(|form| (root.root, form)));
        }
        for signer in &judged.signers {
            match signer {
                Signer::Certificate { .. } => {
                    let under = forms.iter().filter_map(|(root, form)| Authority::certificate(signer, root, form));
                    self.content.authorities.extend(under);
                }
                Signer::Key { name, key } => {
                    // No certificate expires, so a timestamp would not even be asked for.
                    if judged.evidence.transparency_log || judged.evidence.signed_timestamp {
                        let why = format!("`{name}`, because evidence is required");
                        report.loss(self.name, LossKind::PolicyControllerKeyLeftOut, "identities", why);
                        continue;
                    }
                    let why = if self.content.statements.is_empty() {
                        format!("`{name}` counts for legacy signatures only")
                    } else {
                        format!("`{name}` counts for legacy signatures only, and not for the required statements")
                    };
                    report.loss(self.name, LossKind::PolicyControllerKeyLeftOut, "identities", why);
                    self.content.authorities.push(Authority::Key { name, key });
                }
            }
        }
        if by_certificate && capability.signature_format {
            let why = "legacy signatures without a timestamp would pass while their certificate is valid, so none is asked for";
            report.loss(self.name, LossKind::PolicyControllerBundlesOnly, "identities", why.to_owned());
        }
        if !self.is_expressible() {
            let why = "neither a certificate under a trust root nor a key that the engine can hold to what is required"
                .to_owned();
            report.loss(self.name, LossKind::PolicyControllerNoIdentity, "identities", why);
        }
    }

    /// Whether an object for it would mean anything.
    fn is_expressible(&self) -> bool {
        let content = &self.content;
        !content.authorities.is_empty() && content.statements_can_be_asked()
    }
}

fn render(drafts: &[Draft<'_>], capability: &PolicyControllerCapability, report: &mut Report) {
    let can_be = |draft: &Draft<'_>, report: &Report| {
        draft.is_expressible() && !draft.content.globs.is_empty() && !report.ledger.widens(draft.name)
    };
    let wanted: Vec<&Draft<'_>> = drafts.iter().filter(|draft| !draft.enforced.is_empty()).collect();
    let candidates: Vec<&Draft<'_>> = wanted.iter().copied().filter(|draft| can_be(draft, report)).collect();
    namespaces::mixing(&candidates, report);
    let rest: Vec<&Draft<'_>> = candidates.into_iter().filter(|draft| can_be(draft, report)).collect();
    too_large(&rest, capability, report);
    let enforced: Vec<&Draft<'_>> = rest.into_iter().filter(|draft| can_be(draft, report)).collect();
    for draft in wanted.iter().filter(|draft| !enforced.iter().any(|other| other.name == draft.name)) {
        report.ledger.refuse(
            draft.name,
            "no identity or image of it can be expressed; see its losses, or enforce with the native engine",
        );
    }
    if enforced.is_empty() {
        audit(drafts, capability, report);
        return;
    }
    let labelled = namespaces::labelled(&enforced);
    for draft in drafts {
        if enforced.iter().any(|other| other.name == draft.name) {
            namespaces::losses(draft, &labelled, report);
            let why = format!("in {}", list(labelled.iter().copied()));
            report.loss(draft.name, LossKind::PolicyControllerDeniesImageVolumes, "images", why);
        } else {
            let why = "other policies are enforced, so this one is not rendered".to_owned();
            report.loss(draft.name, LossKind::PolicyControllerAuditLeftOut, "enforcement", why);
        }
    }
    let objects = &mut report.ledger.rendering.objects;
    objects.extend(enforced.iter().flat_map(|draft| draft.content.objects(Stage::Enforce)));
    objects.extend(trust(&enforced, capability));
    objects.extend(guard::no_image_volumes(&labelled));
    objects.extend(enforced.iter().any(|draft| draft.takes_localhost).then(guard::no_localhost));
}

/// While nothing is enforced, everything that can be is rendered to warn.
fn audit(drafts: &[Draft<'_>], capability: &PolicyControllerCapability, report: &mut Report) {
    let audited: Vec<&Draft<'_>> =
        drafts.iter().filter(|draft| draft.is_expressible() && !draft.content.globs.is_empty()).collect();
    for draft in &audited {
        let labelled: BTreeSet<&str> = draft.audited.union(&draft.enforced).copied().collect();
        let why = format!("in {}", list(labelled.iter().copied()));
        report.loss(draft.name, LossKind::PolicyControllerWarnDenies, "enforcement", why);
        let label = format!("label {} to have warnings there", list(labelled.iter().copied()));
        report.loss(draft.name, LossKind::PolicyControllerNeedsNamespaceLabel, "namespaceSelector", label);
    }
    report.ledger.rendering.objects.extend(audited.iter().flat_map(|draft| draft.content.objects(Stage::Audit)));
    report.ledger.rendering.objects.extend(trust(&audited, capability));
}

/// The trust that the policies refer to.
fn trust(drafts: &[&Draft<'_>], capability: &PolicyControllerCapability) -> Vec<Object> {
    let used = drafts.iter().flat_map(|draft| &draft.content.authorities).filter_map(Authority::trust);
    let mut objects: BTreeMap<&str, (&TrustRoot, bool)> = BTreeMap::new();
    let mut direct: BTreeMap<&str, &TrustRoot> = BTreeMap::new();
    for (root, place) in used {
        match place {
            Place::Direct => {
                direct.insert(&root.name, root);
            }
            Place::Object | Place::ObjectWithLogs => {
                objects.entry(&root.name).or_insert((root, false)).1 |= place == Place::ObjectWithLogs;
            }
        }
    }
    let mut rendered: Vec<Object> =
        objects.into_values().map(|(root, with_logs)| trust_root::object(root, with_logs).0).collect();
    if !direct.is_empty() {
        let roots: Vec<&TrustRoot> = direct.into_values().collect();
        rendered.push(trust_root::direct_entries(&capability.namespace, &roots));
    }
    rendered
}

/// All policies are compiled into one ConfigMap, all trust into another: a policy too much, and the engine goes on with what it had before.
fn too_large(drafts: &[&Draft<'_>], capability: &PolicyControllerCapability, report: &mut Report) {
    let size = |objects: Vec<Object>| objects.iter().map(Object::size).sum::<usize>();
    let policies = size(drafts.iter().flat_map(|draft| draft.content.objects(Stage::Enforce)).collect());
    let trust = size(trust(drafts, capability));
    if policies.max(trust) > MAX_COMPILED {
        for draft in drafts {
            let why = format!("policies have {policies} bytes and trust {trust}, of {MAX_COMPILED}");
            report.loss(draft.name, LossKind::PolicyControllerTooLarge, "identities", why);
        }
    }
}
