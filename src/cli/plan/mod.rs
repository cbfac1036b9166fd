//! `holdfast plan`: trust, rotation, coverage, engines and gate of a GitOps directory, without a cluster.

mod applied;
mod args;
mod left;
mod memory;
mod rehearse;
mod render;
mod rollout;
mod rollout_text;
mod text;
mod trust;
mod views;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use holdfast_core::Digest;
use holdfast_core::api::SigningIdentityPolicy;
use holdfast_core::api::common::NamespaceSelector;
use holdfast_core::api::strict::Object;
use holdfast_core::coverage::{CompiledPolicy, Coverage, Found, Memo, Roots, assess, compile};
use holdfast_core::engines::all::Capabilities;
use holdfast_core::engines::denial::{Denial, denial};
use holdfast_core::engines::native::retain::evidence_digest;
use holdfast_core::gate::loosening::recovery_digest;
use holdfast_core::image::ImageRef;
use holdfast_core::operate::policy::{self, Member, lost};
use holdfast_core::verify::{Evidence, Reason};
use jiff::Timestamp;
use serde::Serialize;

use self::applied::Change;
pub(super) use self::args::Args;
use self::memory::GateMemory;
use self::rehearse::{Impacts, Rehearsed, in_force, prepared, rehearse};
use self::rollout::{INTERVAL, Inputs};
use self::trust::{Places, TrustView};
use self::views::RolloutView;
use super::output::{CliError, Exit, Style, now};
use crate::inventory::{self, GitOps};
use crate::registry::{self, layout::Layout};

/// The largest root of a TUF repository that is read, in bytes.
const MAX_ROOT: u64 = 512 * 1024;

/// From how many images on progress is shown.
const SLOW: usize = 200;

/// Everything a plan says.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Plan {
    now: Timestamp,
    workloads: usize,
    manifests: usize,
    trust: Vec<TrustView>,
    coverage: Coverage,
    /// Engines and gate.
    #[serde(flatten)]
    rollout: RolloutView,
    /// What would change of what is applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<Vec<Change>>,
    /// Namespaces without a manifest: whether a selector by label means them is not known.
    unknown_namespaces: Vec<String>,
    /// What may hold manifests and was not read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unread: Vec<String>,
    /// Problems of policies that could not be used.
    problems: Vec<String>,
}

impl Plan {
    fn exit(&self) -> Exit {
        let totals = &self.coverage.totals;
        let refused = self.trust.iter().any(|trust| trust.refused.is_some());
        let denied = !self.coverage.denied_as_other.is_empty();
        let wanting = self.rollout.is_wanting() || self.trust.iter().any(|trust| !trust.held.is_empty());
        if totals.uncovered > 0 || denied || refused || wanting || !self.problems.is_empty() {
            Exit::No
        } else if totals.unknown > 0
            || !self.coverage.perhaps_denied_as_other.is_empty()
            || !self.unread.is_empty()
            || self.trust.iter().any(|trust| trust.unseen.is_some())
        {
            Exit::Unknown
        } else {
            Exit::Yes
        }
    }
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<Exit, CliError> {
    let now = now(args.now);
    let gitops = inventory::read(&args.paths).map_err(CliError::several)?;
    let layouts = args.images.iter().map(|text| layout(text)).collect::<Result<Vec<_>, _>>()?;
    let places = Places { gitops: &gitops, states: states(&args.state)?, volumes: &args.volume };
    let memory = args.as_of.as_deref().map(GateMemory::read).transpose()?.unwrap_or_default();
    let trust = in_force(&places, &memory, &args.approve, &Impacts::new(), now)?;
    every_state_is_used(&places.states, &trust)?;
    let Policies { declared, usable: policies, problems } = policies(&gitops, &args.namespace);
    let kept = memory.policies();
    let found = find(&gitops, &[&policies[..], &kept].concat(), &layouts);
    let mut memo = Memo::default();
    let is_usable = declared.iter().all(|declared| declared.compiled.is_ok());
    let is_judged = is_usable && looks_at_everything(&gitops);
    let accepts = |mirror: &str| policies.iter().chain(&kept).any(|policy| policy.accepts(mirror));
    // In the cluster a rotation comes into force by itself on what a report over everything says, or where no policy accepts the trust.
    let that_count = |impacts: &Impacts| -> Impacts {
        let counts = |mirror: &String| is_judged || is_usable && !accepts(mirror);
        impacts.iter().filter(|(mirror, _)| counts(mirror)).map(|(mirror, of)| (mirror.clone(), of.clone())).collect()
    };
    let Rehearsed { trust, roots, coverage } = rehearse(
        trust,
        |impacts| in_force(&places, &memory, &args.approve, &that_count(impacts), now),
        |policy, mirror| policies.iter().any(|of| of.name == policy && of.accepts(mirror)),
        |roots| assess(&gitops.inventory, &policies, &found, roots, &mut memo, now),
    )?;
    let rendered = args.render.as_deref().map(render::rendered).transpose()?.unwrap_or_default();
    let applied = args.applied.as_deref().map(applied::read).transpose()?;
    let mut capabilities = Capabilities::assumed(&args.engine.iter().copied().collect());
    capabilities.native.shards = render::shards(applied.as_ref().unwrap_or(&rendered));
    let denials: Vec<Denial> = rendered.iter().filter_map(denial).collect();
    let declared =
        declared.iter().map(|policy| Member::declared(policy.policy, policy.compiled.as_ref().map_err(Clone::clone)));
    let members = Member::with_remembered(declared.collect(), &memory.policies);
    let lost = lost(&members, &memory.policies, denials.iter().map(|denial| denial.policy.as_str()));
    let of_trust = |digest: &Digest| trust.iter().any(|view| view.asks_for.contains(digest));
    for digest in args.approve.iter().filter(|digest| !of_trust(digest) && !waits_for(&members, &memory, **digest)) {
        eprintln!("--approve {digest}: nothing waits for it; the digest to approve stands beside what is held");
    }
    let evidence = listed(&found);
    let by_policies = |policies: &[CompiledPolicy]| assess(&gitops.inventory, policies, &found, &roots, &mut memo, now);
    let seen = (&denials[..], &capabilities);
    let rollout = rollout(args, &gitops, (&members, &lost), (&memory, seen), (&trust, &evidence), by_policies, now)?;
    let left = &rollout.left_alone;
    let changes = applied.map(|manifests| applied::compare(manifests, &rollout.objects, left));
    let plan = Plan {
        now,
        workloads: gitops.inventory.workloads().len(),
        manifests: gitops.files,
        trust,
        coverage,
        rollout,
        changes,
        unknown_namespaces: gitops.inventory.unknown_namespaces().into_iter().map(str::to_owned).collect(),
        unread: gitops.unread.clone(),
        problems,
    };
    if !args.output.print(&plan, out)? {
        text::print(&plan, Style::stdout(), out)?;
    }
    if let Some(file) = &args.remember {
        plan.rollout.remembered.write(file)?;
    }
    if let Some(dir) = &args.render {
        if let Some(why) = &plan.rollout.left_alone.everything {
            eprintln!("{}: nothing was written or removed: {why}; see its alarm", dir.display());
            return Ok(Exit::Unknown);
        }
        let written = render::write(dir, &plan.rollout.objects, &plan.rollout.left_alone)?;
        eprintln!(
            "{}: {} written anew, {} changed, {} unchanged, {} removed",
            dir.display(),
            written.created,
            written.changed,
            written.unchanged,
            written.removed
        );
        if !plan.rollout.left_alone.engines.is_empty() {
            let engines: Vec<&str> = plan.rollout.left_alone.engines.iter().map(|engine| engine.as_str()).collect();
            eprintln!(
                "{}: nothing was written or removed of {}, which could not be given what is enforced: keep what is applied of it, and do not prune",
                dir.display(),
                engines.join(", ")
            );
            return Ok(Exit::Unknown);
        }
    }
    Ok(if args.exit_code { plan.exit() } else { Exit::Yes })
}

/// What images are judged by and with, read from files.
pub(super) struct Ground {
    pub(super) gitops: GitOps,
    pub(super) policies: Vec<CompiledPolicy>,
    pub(super) roots: Roots,
    pub(super) layouts: Vec<Layout>,
    /// Why some policies cannot be used.
    pub(super) problems: Vec<String>,
}

impl Ground {
    pub(super) fn read(
        paths: &[PathBuf],
        images: &[String],
        state: &[PathBuf],
        namespace: &str,
        now: Timestamp,
    ) -> Result<Self, CliError> {
        let gitops = inventory::read(paths).map_err(CliError::several)?;
        let layouts = images.iter().map(|text| layout(text)).collect::<Result<Vec<_>, _>>()?;
        let places = Places { gitops: &gitops, states: states(state)?, volumes: &[] };
        let trust = in_force(&places, &GateMemory::default(), &[], &Impacts::new(), now)?;
        every_state_is_used(&places.states, &trust)?;
        let Policies { usable, problems, .. } = policies(&gitops, namespace);
        let roots = prepared(&trust, None)?;
        Ok(Self { policies: usable, roots, layouts, problems, gitops })
    }
}

/// What engines would be given, and how far each policy has come.
fn rollout(
    args: &Args,
    gitops: &GitOps,
    (members, lost): (&[Member], &BTreeSet<String>),
    (memory, (denials, capabilities)): (&GateMemory, (&[Denial], &Capabilities)),
    (trust, evidence): (&[TrustView], &policy::Evidence),
    assess: impl FnOnce(&[CompiledPolicy]) -> Coverage,
    now: Timestamp,
) -> Result<RolloutView, CliError> {
    let versions = args.engine.iter().copied().collect();
    let mut local_roots = BTreeMap::new();
    for (mirror, path) in &args.tuf_root {
        let root = crate::sources::file::read(path, "the root of a TUF repository", MAX_ROOT)?;
        local_roots.insert(mirror.clone(), root);
    }
    let objects = || gitops.objects.iter().map(|(_, object)| object);
    let served = objects().filter_map(|object| match object {
        Object::TrustRootMirror(mirror) if mirror.spec.distribution.tuf_repository.is_some() => {
            mirror.metadata.name.as_deref()
        }
        _ => None,
    });
    let interval = objects().find_map(|object| match object {
        Object::BundleCoverageReport(report) => Some(report.spec.interval.signed()),
        _ => None,
    });
    let inputs = Inputs {
        members,
        lost,
        denials,
        trust,
        evidence,
        inventory: &gitops.inventory,
        memory,
        capabilities,
        versions: &versions,
        local_roots: &local_roots,
        served: served.collect(),
        namespace: &args.namespace,
        interval: interval.unwrap_or(INTERVAL),
        assume_ready: args.assume_ready,
        approved: &args.approve,
        incomplete: (!gitops.unread.is_empty()).then(|| gitops.unread.join("; ")),
        now,
    };
    Ok(rollout::plan(&inputs, assess))
}

/// Whether a report is declared that judges all that runs.
fn looks_at_everything(gitops: &GitOps) -> bool {
    gitops.objects.iter().any(|(_, object)| match object {
        Object::BundleCoverageReport(report) => {
            report.spec.include_templates && report.spec.namespace_selector == NamespaceSelector::default()
        }
        _ => false,
    })
}

/// Whether an approval of this digest can mean anything: something was held for it, or a record could be made anew by it.
fn waits_for(members: &[Member], memory: &GateMemory, digest: Digest) -> bool {
    let held = memory.policies.values().filter_map(|kept| kept.progress.as_ref());
    let recovers = |member: &Member| {
        let last = memory.policies.get(&member.name).and_then(|kept| kept.history.head());
        recovery_digest(&member.name, member.declares().digest(), last) == digest
    };
    held.flat_map(|progress| &progress.held).any(|held| *held == digest) || members.iter().any(recovers)
}

/// A policy as it is declared, and made ready where it can be used.
struct Declared<'a> {
    policy: &'a SigningIdentityPolicy,
    /// Why it cannot be used, where it cannot.
    compiled: Result<CompiledPolicy, String>,
}

/// The policies that are declared.
struct Policies<'a> {
    declared: Vec<Declared<'a>>,
    /// Those that can be used, in the order of their names.
    usable: Vec<CompiledPolicy>,
    /// Why others cannot, and what else is wrong.
    problems: Vec<String>,
}

fn policies<'a>(gitops: &'a GitOps, namespace: &str) -> Policies<'a> {
    let mut policies = Policies { declared: Vec::new(), usable: Vec::new(), problems: Vec::new() };
    let declared = |name: &String| {
        let is_it = |object: &Object| matches!(object, Object::TrustRootMirror(mirror) if mirror.metadata.name.as_ref() == Some(name));
        gitops.objects.iter().any(|(_, object)| is_it(object))
    };
    for (place, object) in &gitops.objects {
        let Object::SigningIdentityPolicy(policy) = object else { continue };
        let compiled = compile(policy, &|reference| gitops.public_key(reference, namespace)).map_err(|faults| {
            policies.problems.extend(faults.iter().map(|fault| format!("{place}: {fault}")));
            faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        });
        if let Ok(policy) = &compiled {
            let absent = policy.trust_roots.iter().filter(|name| !declared(name));
            policies.problems.extend(absent.map(|name| {
                format!("{place}: SigningIdentityPolicy `{}`, trustRoots: no TrustRootMirror `{name}` is among the manifests", policy.name)
            }));
            policies.usable.push(policy.clone());
        }
        policies.declared.push(Declared { policy, compiled });
    }
    policies.usable.sort_by(|a, b| a.name.cmp(&b.name));
    policies
}

fn states(paths: &[PathBuf]) -> Result<BTreeMap<String, PathBuf>, CliError> {
    let mut states = BTreeMap::new();
    for path in paths {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).ok_or_else(|| {
            CliError::usage(format!(
                "--state {}: the last part of the path names the TrustRootMirror it holds",
                path.display()
            ))
        })?;
        if states.insert(name.clone(), path.clone()).is_some() {
            return Err(CliError::usage(format!("two state directories are named `{name}`")));
        }
    }
    Ok(states)
}

/// Whoever gives a state means it: left aside, the plan would start from the pin as if nothing had ever been imported.
fn every_state_is_used(states: &BTreeMap<String, PathBuf>, trust: &[TrustView]) -> Result<(), CliError> {
    let declared: Vec<&str> = trust.iter().map(|view| view.name.as_str()).collect();
    match states.iter().find(|(name, _)| !declared.contains(&name.as_str())) {
        None => Ok(()),
        Some((name, path)) => Err(CliError::usage(format!(
            "--state {}: no TrustRootMirror `{name}` is declared (there are: {}); the last part of the path names the mirror",
            path.display(),
            if declared.is_empty() { "none".to_owned() } else { declared.join(", ") }
        ))),
    }
}

pub(super) fn layout(text: &str) -> Result<Layout, CliError> {
    let dir = text
        .strip_prefix("oci:")
        .ok_or_else(|| CliError::usage(format!("`{text}` is not an image layout: write oci:DIR")))?;
    Layout::open(std::path::Path::new(dir)).map_err(|e| CliError::usage(e.to_string()))
}

/// The evidence that is stored for each image that was found, sorted, where all of it could be had.
fn listed(found: &BTreeMap<String, Found>) -> policy::Evidence {
    let complete = found.values().filter_map(|found| match found {
        Found::Image { artifact, evidence, incomplete: None } => Some((artifact.digest, evidence)),
        _ => None,
    });
    complete.map(|(image, evidence)| (image, evidence_digest(evidence.iter().map(Evidence::digest)))).collect()
}

/// Looks for every image some policy is about.
fn find(gitops: &GitOps, policies: &[CompiledPolicy], layouts: &[Layout]) -> BTreeMap<String, Found> {
    let images = gitops.inventory.images();
    let progress = images.len() >= SLOW && io::stderr().is_terminal();
    let mut found = BTreeMap::new();
    for (done, image) in images.iter().enumerate() {
        if progress && done % 50 == 0 {
            eprint!("\r{done} of {} images", images.len());
        }
        found.insert(image.written.clone(), look(&image.written, policies, layouts));
    }
    if progress {
        eprintln!("\r{0} of {0} images", images.len());
    }
    found
}

fn look(image: &str, policies: &[CompiledPolicy], layouts: &[Layout]) -> Found {
    let not = |reason, message: String| Found::Not { reason, message };
    let reference = match ImageRef::parse(image) {
        Ok(reference) => reference,
        Err(error) => return not(Reason::DigestUnresolved, format!("{error}; no engine can tell which image that is")),
    };
    if !policies.iter().any(|policy| policy.matches(&reference)) {
        return not(Reason::RegistryNotDeclared, "no policy is about it".to_owned());
    }
    let by_tag = reference.digest().is_none();
    match registry::find(layouts, &reference) {
        Some(found) => found,
        None if layouts.is_empty() => {
            not(Reason::RegistryUnavailable, "no image layout was given to look in: give `--images oci:DIR`".to_owned())
        }
        None if by_tag => not(
            Reason::DigestUnresolved,
            "it names a tag and no digest, and the image layout does not know the tag".to_owned(),
        ),
        None => not(Reason::RegistryUnavailable, "it is not in the image layout".to_owned()),
    }
}
