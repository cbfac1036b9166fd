//! Kyverno: `ImageValidatingPolicy`, and `ClusterPolicy` on request.
//!
//! Rendered is the form that was run on Kyverno 1.19.1. What one signature has to carry is a table ([`evidence`]); combinations that were not run are
//! reported and never enforced.
//!
//! Decisions that the engine forces:
//!
//! - A signature is a statement of `https://sigstore.dev/cosign/sign/v1`: Kyverno's `verifyImageSignatures` would take any statement by the same identity,
//!   a failed scan included.
//! - Image volumes are not extracted by Kyverno. The pod is in reach of expressions, so a volume the policy is about is denied, which is narrower.
//! - Exceptions of a policy, and texts that have no one reading, are settled in `matchImageReferences` and in the first validation: nothing is fetched for
//!   the one, and the other is denied.
//! - Images that no policy names are denied by one object over the union of what is *enforced*, in each namespace by what is enforced there.

mod attestors;
pub mod capability;
mod cel;
mod cluster_policy;
pub mod evidence;
mod image_validating;
mod mirror;
mod report;

use std::collections::{BTreeMap, BTreeSet};

use self::attestors::{Attestor, With};
pub use self::capability::{CapabilityError, Installed, KyvernoCapability, ServedVersion};
use self::cel::About;
use self::image_validating::{Parts, TooLarge};
use self::mirror::Mirror;
use self::report::Report;
use super::all::home;
use super::{Engine, EngineKind, Estate, EstatePolicy, EstateRoot, LossKind, Object, Rendering, Stage};
use crate::api::policy::{KyvernoKind, OtherImages};

/// Kyverno.
#[derive(Debug, Clone, Copy)]
pub struct Kyverno;

impl Engine for Kyverno {
    type Capability = KyvernoCapability;

    const KIND: EngineKind = EngineKind::Kyverno;

    fn render(estate: &Estate<'_>, capability: &KyvernoCapability) -> Rendering {
        let mut report = Report::default();
        let mut image_policies = Vec::new();
        for (name, policy) in &estate.policies {
            let Some(engine) = &policy.declared.spec.engines.kyverno else { continue };
            let task = Task::of(estate, name, policy);
            report.refuse_for_places(&task);
            match (&capability.installed, engine.kind) {
                (None, _) => {
                    report.loss(
                        name,
                        LossKind::EngineAbsent,
                        "engines.kyverno",
                        "Kyverno is not in the cluster".to_owned(),
                    );
                    report.refuse(&task, "Kyverno is not in the cluster");
                }
                (Some(installed), KyvernoKind::ClusterPolicy) => cluster_policy::render(&task, installed, &mut report),
                (Some(_), KyvernoKind::ImageValidatingPolicy) => image_policies.push(task),
            }
        }
        if let Some(installed) = &capability.installed {
            render_image_policies(estate, image_policies, installed, &mut report);
        }
        report.rendering.sorted()
    }
}

/// One policy with what it is rendered from.
#[derive(Debug)]
struct Task<'a> {
    name: &'a str,
    policy: &'a EstatePolicy<'a>,
    /// Where it denies now.
    enforced: BTreeSet<&'a str>,
    /// Where it should, and Kyverno never judges anything.
    unjudged: BTreeSet<&'a str>,
    /// The accepted trust roots that are at hand.
    roots: Vec<(&'a str, &'a EstateRoot<'a>)>,
    /// The names of those whose TUF repository is asked.
    asked: BTreeSet<&'a str>,
    /// Namespaces in which Kyverno judges nothing.
    left_out: BTreeSet<&'a str>,
    estate: &'a Estate<'a>,
}

impl<'a> Task<'a> {
    fn of(estate: &'a Estate<'a>, name: &'a str, policy: &'a EstatePolicy<'a>) -> Self {
        // The repository runs in holdfast's namespace: judged by Kyverno, it could not start before Kyverno has it. Nor could Kyverno itself.
        let never: BTreeSet<&str> =
            home(Kyverno::KIND).into_iter().chain([estate.holdfast_namespace, "kube-system"]).collect();
        let left_out: BTreeSet<&str> =
            estate.left_out.iter().map(String::as_str).chain(never.iter().copied()).collect();
        let excepted: BTreeSet<&str> = estate
            .exceptions
            .iter()
            .filter(|exception| exception.policy == name)
            .flat_map(|exception| exception.namespaces.iter().map(String::as_str))
            .collect();
        let wanted = estate.namespaces_of(policy, Stage::Enforce).into_iter();
        let (unjudged, enforced): (BTreeSet<&str>, BTreeSet<&str>) =
            wanted.filter(|namespace| !excepted.contains(namespace)).partition(|namespace| never.contains(namespace));
        let roots: Vec<(&str, &EstateRoot<'_>)> = policy
            .compiled
            .trust_roots
            .iter()
            .filter_map(|root| estate.roots.get_key_value(root.as_str()).map(|(name, root)| (*name, root)))
            .collect();
        let required = policy.compiled.policy.evidence;
        let needs_root = policy.compiled.policy.signers.iter().any(|signer| attestors::needs_root(signer, required));
        let asked = roots.iter().filter(|_| needs_root).map(|(name, _)| *name).collect();
        Self { name, policy, enforced, unjudged, roots, asked, left_out, estate }
    }

    /// Whether it denies images that no policy names, somewhere.
    fn denies_others(&self) -> bool {
        !self.enforced.is_empty() && self.policy.compiled.other_images == OtherImages::Deny
    }

    /// Whether it is enforced anywhere at all.
    fn is_enforced(&self) -> bool {
        !self.policy.rollout.enforced.is_empty()
    }
}

fn render_image_policies(estate: &Estate<'_>, mut tasks: Vec<Task<'_>>, installed: &Installed, report: &mut Report) {
    let served = match installed.image_validating_policy {
        Some(served) if installed.version.is_at_least(1, 18) => served,
        _ => {
            for task in &tasks {
                let detail = format!("Kyverno {} serves no such ImageValidatingPolicy", installed.version);
                report.loss(task.name, LossKind::KyvernoTooOld, "engines.kyverno", detail);
                report.refuse_for_losses(task);
            }
            return;
        }
    };
    if !tasks.is_empty() {
        report.of_the_engine(installed);
    }
    // What is enforced keeps its repository; a new policy that needs another one yields.
    tasks.sort_by_key(|task| (!task.is_enforced(), task.name));
    let asking: Vec<(&str, &BTreeSet<&str>)> =
        tasks.iter().filter(|task| !task.asked.is_empty()).map(|task| (task.name, &task.asked)).collect();
    let mirrors = mirror::choose(estate, installed.inline_root, &asking);
    let abouts: BTreeMap<&str, About> =
        estate.policies.iter().map(|(name, policy)| (*name, About::of(policy.declared))).collect();
    // Before any policy is rendered: one whose other images cannot be denied is not enforced. Fewer policies only make the object smaller.
    let of_all = other_images(estate, &abouts, &tasks, |_| true, served);
    if let Some(Err(too_large)) = &of_all {
        for task in tasks.iter().filter(|task| task.denies_others()) {
            let detail = format!("the object for other images has {} bytes", too_large.bytes);
            report.loss(task.name, LossKind::KyvernoPolicyTooLarge, "otherImages", detail);
        }
    }
    let mut denying = BTreeSet::new();
    for task in &tasks {
        let Some(about) = abouts.get(task.name) else { continue };
        if render_image_policy(task, about, served, installed, mirrors.get(task.name).copied(), report) {
            denying.insert(task.name);
        }
    }
    let all_deny = tasks.iter().filter(|task| task.denies_others()).all(|task| denying.contains(task.name));
    let others =
        if all_deny { of_all } else { other_images(estate, &abouts, &tasks, |name| denying.contains(name), served) };
    report.rendering.objects.extend(others.and_then(Result::ok));
}

/// Renders one policy; says whether it is rendered for enforcement.
fn render_image_policy(
    task: &Task<'_>,
    about: &About,
    served: ServedVersion,
    installed: &Installed,
    mirror: Option<Mirror<'_>>,
    report: &mut Report,
) -> bool {
    let compiled = task.policy.compiled;
    report.of_the_policy(task, installed);
    let Ok(repository) = report.of_the_mirror(task, mirror, installed) else {
        report.refuse_for_losses(task);
        return false;
    };
    let with = With { required: compiled.policy.evidence, repository, inline: installed.inline_root };
    let attestors = attestors::attestors(&compiled.policy.signers, &task.roots, with);
    report.of_the_evidence(task, &attestors);
    let parts = Parts {
        policy: task.name,
        about,
        attestors: &attestors,
        attestations: &task.policy.declared.spec.require.attestations,
        served,
    };
    let enforcing = !task.enforced.is_empty() && !report.rendering.widens(task.name);
    let enforced = enforcing.then(|| image_validating::enforce(parts, &task.enforced));
    let mut not_reported = task.left_out.clone();
    if let Some(Ok(_)) = enforced {
        not_reported.extend(&task.enforced);
    }
    let audit = image_validating::audit(parts, &task.policy.declared.spec.namespace_selector, &not_reported);
    let mut denies = false;
    for (object, is_enforcing) in enforced.into_iter().map(|object| (object, true)).chain([(audit, false)]) {
        match object {
            Ok(object) => {
                report.rendering.objects.push(object);
                denies |= is_enforcing;
            }
            Err(too_large) => {
                let detail = format!("the object has {} bytes", too_large.bytes);
                report.loss(task.name, LossKind::KyvernoPolicyTooLarge, "identities", detail);
            }
        }
    }
    report.refuse_for_losses(task);
    denies
}

/// One object over everything that is enforced, by whatever engine: an audit policy with `**` switches no denial off. It denies where one of `denying`
/// says so; nothing, where none does.
fn other_images(
    estate: &Estate<'_>,
    abouts: &BTreeMap<&str, About>,
    tasks: &[Task<'_>],
    denying: impl Fn(&str) -> bool,
    served: ServedVersion,
) -> Option<Result<Object, TooLarge>> {
    let denies = |task: &&Task<'_>| task.denies_others() && denying(task.name);
    let namespaces: BTreeSet<&str> =
        tasks.iter().filter(denies).flat_map(|task| task.enforced.iter().copied()).collect();
    let mut groups: BTreeMap<Vec<&str>, BTreeSet<&str>> = BTreeMap::new();
    for namespace in namespaces {
        let enforced_here: Vec<&str> = estate
            .policies
            .iter()
            .filter(|(_, policy)| policy.rollout.enforced.contains(namespace))
            .map(|(name, _)| *name)
            .collect();
        groups.entry(enforced_here).or_default().insert(namespace);
    }
    let allowed: Vec<(BTreeSet<&str>, Vec<&About>)> = groups
        .into_iter()
        .map(|(policies, namespaces)| (namespaces, policies.iter().filter_map(|name| abouts.get(name)).collect()))
        .collect();
    (!allowed.is_empty()).then(|| image_validating::other_images(served, &allowed))
}

/// The identities of attestors that share something, for a sentence.
fn identities(attestors: &[&Attestor<'_>]) -> String {
    let mut names: Vec<String> = attestors
        .iter()
        .map(|attestor| match attestor.root {
            Some(root) => format!("`{}` under `{root}`", attestor.identity),
            None => format!("`{}`", attestor.identity),
        })
        .collect();
    let more = names.len().saturating_sub(3);
    names.truncate(3);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    names.join(", ") + &more
}
