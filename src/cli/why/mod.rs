//! `holdfast why IMAGE`: what each policy says of an image, by which evidence, whose it is, and what would cure it.

mod files;
mod text;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;

use clap::Args as ClapArgs;
use holdfast_core::Digest;
use holdfast_core::coverage::subject::Subject;
use holdfast_core::coverage::{CompiledPolicy, Found, Image, Inventory, Roots, judge_under};
use holdfast_core::image::ImageRef;
use holdfast_core::verify::{Outcome, Owner, Reason, Verdict};
use jiff::Timestamp;
use serde::Serialize;

use super::output::{CliError, Exit, Format, Style, instant, now};
use crate::controller::look::{LookError, Sight, look};
use crate::inventory::OWN_NAMESPACE;

#[derive(ClapArgs)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct Args {
    /// The image, as a workload declares it; or a digest, or a part of the name
    #[arg(value_name = "IMAGE")]
    image: String,

    /// Use this kubeconfig [default: that of the environment]
    #[arg(long, env = "HOLDFAST_KUBECONFIG", value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Use this context of it
    #[arg(long, env = "HOLDFAST_CONTEXT", value_name = "NAME")]
    context: Option<String>,
    /// The report whose registries are asked, where there are several
    #[arg(long, value_name = "NAME")]
    report: Option<String>,
    /// The namespace holdfast runs in
    #[arg(long, value_name = "NAME", default_value = OWN_NAMESPACE)]
    namespace: String,

    /// Look at these manifests instead of a cluster; may be repeated
    #[arg(long, value_name = "PATH", conflicts_with_all = ["kubeconfig", "context", "report"])]
    manifests: Vec<PathBuf>,
    /// With manifests: an image layout with images and their evidence, as `oci:DIR`; may be repeated
    #[arg(long, value_name = "oci:DIR", requires = "manifests")]
    images: Vec<String>,
    /// With manifests: a state directory of the TrustRootMirror that its path ends with; may be repeated
    #[arg(long, value_name = "DIR", requires = "manifests")]
    state: Vec<PathBuf>,
    /// Judge at this instant instead of now (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = instant)]
    now: Option<Timestamp>,

    /// How to print the result
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

const EXAMPLES: &str = "\
EXAMPLES
  holdfast why registry.corp.internal/apps/web@sha256:…
  holdfast why apps/web
  holdfast why sha256:… --manifests clusters/prod --images oci:export";

/// What is said of one digest of an image.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Why {
    /// As it is declared.
    image: String,
    /// The digest that was judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
    /// A node runs this digest, where another one is declared.
    runs_instead: bool,
    /// It is declared by tag: no engine can admit it as it is written.
    not_admissible_as_declared: bool,
    /// Who uses it.
    workloads: Vec<String>,
    /// What each policy about it says.
    policies: Vec<PolicySays>,
}

/// What one policy says.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PolicySays {
    policy: String,
    outcome: Outcome,
    owner: Owner,
    /// What its owner can do.
    cure: &'static str,
    #[serde(flatten)]
    verdict: Verdict,
}

/// All that is said.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    images: Vec<Why>,
    /// What could not be seen.
    notes: Vec<String>,
    /// Whether a policy cannot be used: what it would say is not known.
    policies_unusable: bool,
}

impl Answer {
    fn exit(&self) -> Exit {
        let mut outcomes = self.images.iter().flat_map(|image| &image.policies).map(|said| said.outcome);
        if outcomes.clone().any(|outcome| outcome == Outcome::Uncovered) {
            Exit::No
        } else if self.policies_unusable
            || self.images.iter().any(|image| image.policies.is_empty())
            || outcomes.any(|outcome| outcome == Outcome::Unknown)
        {
            Exit::Unknown
        } else {
            Exit::Yes
        }
    }
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<Exit, CliError> {
    let now = now(args.now);
    let answer = if args.manifests.is_empty() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(of_cluster(args, now))?
    } else {
        files::answer(args, now)?
    };
    if !args.output.print(&answer, out)? {
        text::print(&answer, Style::stdout(), out)?;
    }
    Ok(answer.exit())
}

async fn of_cluster(args: &Args, now: Timestamp) -> Result<Answer, CliError> {
    let sight =
        look(args.kubeconfig.as_deref(), args.context.as_deref(), &args.namespace, args.report.as_deref(), now).await;
    let sight = sight.map_err(|error| match error {
        LookError::Unseen(why) => CliError::Unknown(why),
        other => CliError::usage(other.to_string()),
    })?;
    let mut images = Vec::new();
    for image in meant(&args.image, &sight.snapshot.inventory)? {
        images.extend(of_image(&sight, &image, now).await);
    }
    Ok(Answer { images, notes: sight.notes, policies_unusable: sight.policies_unusable })
}

async fn of_image(sight: &Sight, image: &Image, now: Timestamp) -> Vec<Why> {
    let subject = Subject::of(image);
    let (reference, digests) = subject.digests();
    let mut said = Vec::new();
    for digest in &digests {
        let Some(reference) = reference else { continue };
        let found = match sight.find(reference, *digest).await {
            Ok(found) => found,
            Err((reason, message)) => Found::Not { reason, message },
        };
        said.push(why(image, Some(*digest), &found, &sight.snapshot.inventory, &sight.policies, &sight.roots, now));
    }
    if let Some((reason, message)) = subject.nothing() {
        let found = Found::Not { reason, message };
        said.push(why(image, None, &found, &sight.snapshot.inventory, &sight.policies, &sight.roots, now));
    }
    said
}

/// The images that somebody means: by what is written, by digest, or by a part of the name. One that nobody uses is looked for all the same.
fn meant(wanted: &str, inventory: &Inventory) -> Result<Vec<Image>, CliError> {
    let reference = ImageRef::parse(wanted).ok();
    let digest: Option<Digest> = wanted.parse().ok();
    let is_it = |image: &&Image| {
        let parsed = ImageRef::parse(&image.written).ok();
        let of_digest =
            |wanted: Digest| image.runs == Some(wanted) || parsed.as_ref().and_then(ImageRef::digest) == Some(wanted);
        let is_named = parsed.as_ref().map(ImageRef::name) == reference.as_ref().map(ImageRef::name);
        image.written == wanted
            || digest.is_some_and(of_digest)
            || (parsed.is_some() && parsed == reference)
            || is_named && reference.as_ref().and_then(ImageRef::digest).is_some_and(of_digest)
    };
    let exactly: Vec<Image> = inventory.images().iter().filter(is_it).cloned().collect();
    if !exactly.is_empty() {
        return Ok(exactly);
    }
    if reference.as_ref().is_some_and(|reference| reference.digest().is_some()) {
        return Ok(vec![Image::written(wanted)]);
    }
    let named: Vec<Image> = inventory.images().iter().filter(|image| image.written.contains(wanted)).cloned().collect();
    if named.is_empty() {
        return Err(CliError::usage(format!(
            "nobody uses an image that is, or is named, `{wanted}`; to ask about one that nobody uses, write it as REGISTRY/REPOSITORY@sha256:…"
        )));
    }
    Ok(named)
}

/// What every policy about an image says of what was found.
fn why(
    image: &Image,
    digest: Option<Digest>,
    found: &Found,
    inventory: &Inventory,
    policies: &[CompiledPolicy],
    roots: &Roots,
    now: Timestamp,
) -> Why {
    let reference = ImageRef::parse(&image.written).ok();
    let at = inventory.images().iter().position(|other| other == image);
    let users = inventory.usages().iter().filter(|usage| Some(usage.image) == at);
    let workloads: BTreeSet<_> = users.filter_map(|usage| inventory.workloads().get(usage.workload)).collect();
    let about = |policy: &&CompiledPolicy| {
        let is_about = reference.as_ref().is_none_or(|image| policy.matches(image) && !policy.exempts(image));
        let selects = |namespace: &str| policy.selects_in(inventory, namespace) != Some(false);
        is_about && (workloads.is_empty() || workloads.iter().any(|workload| selects(&workload.namespace)))
    };
    let policies = policies.iter().filter(about).map(|policy| {
        let verdict = match found {
            Found::Image { artifact, evidence, incomplete } => {
                judge_under(policy, artifact, evidence, incomplete.as_ref(), roots, now)
            }
            Found::Not { reason, message } => {
                let digest = digest.unwrap_or(Digest::from_bytes([0; 32]));
                Verdict::without_evidence(digest, unknown(*reason), message.clone())
            }
        };
        PolicySays {
            policy: policy.name.clone(),
            outcome: verdict.outcome(),
            owner: verdict.owner(),
            cure: verdict.reason.cure(),
            verdict,
        }
    });
    let policies = policies.collect();
    Why {
        image: image.written.clone(),
        digest,
        runs_instead: image.runs.is_some()
            && image.runs == digest
            && reference.as_ref().is_some_and(|r| r.digest().is_some()),
        not_admissible_as_declared: reference.is_some_and(|image| image.digest().is_none()),
        policies,
        workloads: workloads.into_iter().map(ToString::to_string).collect(),
    }
}

/// Whoever could not look cannot have verified.
const fn unknown(reason: Reason) -> Reason {
    match reason {
        Reason::Verified => Reason::RegistryUnavailable,
        other => other,
    }
}
