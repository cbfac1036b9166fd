//! `holdfast admit IMAGE@sha256:…`: verifies an image and has holdfast admit it ahead, for pods that no template names.

mod intake;
mod judge;
mod listed;
mod text;

use std::io::Write;
use std::time::Duration;

use clap::Args as ClapArgs;
use holdfast_core::Digest;
use holdfast_core::api::SigningIdentityPolicy;
use holdfast_core::api::duration::GoDuration;
use holdfast_core::image::ImageRef;
use holdfast_core::verify::{Outcome, Owner, Reason};
use kube::{Client, ResourceExt};
use serde::Serialize;

use self::intake::Change;
use super::cluster::{Cluster, list, wait};
use super::output::{CliError, Exit, Format, Style};

#[derive(ClapArgs)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct Args {
    /// The image, by digest: REGISTRY/REPOSITORY@sha256:…
    #[arg(value_name = "IMAGE")]
    image: String,

    /// Only under this SigningIdentityPolicy; under every one that is about the image otherwise
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,

    /// Take the image out of what was added by this command
    #[arg(long)]
    remove: bool,

    /// Write nothing, and say what would be done
    #[arg(long)]
    dry_run: bool,

    /// How long to wait until holdfast lists the image as verified, as 30s
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    wait: GoDuration,

    /// The report whose registries are asked, where there are several
    #[arg(long, value_name = "NAME")]
    report: Option<String>,

    #[command(flatten)]
    cluster: Cluster,

    /// How to print the result
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

const EXAMPLES: &str = "\
EXAMPLES
  holdfast admit registry.corp.internal/ci-tasks/build@sha256:…
  holdfast admit registry.corp.internal/ci-tasks/build@sha256:… --dry-run
  holdfast admit registry.corp.internal/ci-tasks/build@sha256:… --policy ci-tasks --wait 2m
  holdfast admit registry.corp.internal/ci-tasks/build@sha256:… --remove

The exit code is 1 where the image is not admitted because a policy says no, 3 where that is not known or not yet so.";

/// All that is said.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    /// The image, in the one spelling that is written down.
    image: String,
    digest: Digest,
    dry_run: bool,
    /// What each policy about it says, and what was done.
    policies: Vec<Said>,
    /// What could not be seen.
    notes: Vec<String>,
    /// What comes of it.
    end: End,
}

/// What one policy says, and what was done about it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Said {
    policy: String,
    verdict: Judged,
    /// Whether the native engine looks its images up.
    native: bool,
    /// What became of its intake, where that was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    intake: Option<Change>,
}

/// What one policy says.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase", tag = "is")]
enum Judged {
    /// It needs no signature under this policy.
    Exempt,
    /// This.
    #[serde(rename_all = "camelCase")]
    Verdict { outcome: Outcome, reason: Reason, message: String, owner: Owner, cure: &'static str },
}

/// What comes of it.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "end")]
enum End {
    /// Pods of it are admitted, or will be once it is no dry run.
    Admitted,
    /// A policy says no.
    Refused,
    /// What a policy says is not known.
    NotKnown,
    /// No policy is about it.
    OutOfScope,
    /// It was written, and is not listed yet.
    NotYet {
        /// Why, as far as that is seen, and whose it is.
        why: String,
    },
}

impl End {
    const fn exit(&self) -> Exit {
        match self {
            Self::Admitted => Exit::Yes,
            Self::Refused => Exit::No,
            Self::NotKnown | Self::OutOfScope | Self::NotYet { .. } => Exit::Unknown,
        }
    }

    /// By what policies say. A policy that cannot be used might be about it, too.
    fn of(said: &[Said], policies_unusable: bool) -> Self {
        let any = |wanted: Outcome| {
            said.iter().any(|said| matches!(said.verdict, Judged::Verdict { outcome, .. } if outcome == wanted))
        };
        if any(Outcome::Uncovered) {
            Self::Refused
        } else if any(Outcome::Unknown) || policies_unusable {
            Self::NotKnown
        } else if said.is_empty() {
            Self::OutOfScope
        } else {
            Self::Admitted
        }
    }
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<Exit, CliError> {
    let (reference, digest) = by_digest(&args.image)?;
    let image = format!("{}@{digest}", reference.name());
    if args.remove {
        let taken = wait(remove(args, &image))?;
        if !args.output.print(&taken, out)? {
            text::print_removed(&image, &taken, args.dry_run, Style::stdout(), out)?;
        }
        let by_others = taken.iter().any(|taken| matches!(taken.change, Change::OfOthers { .. }));
        return Ok(if by_others { Exit::No } else { Exit::Yes });
    }
    let answer = wait(admit(args, &image, &reference, digest))?;
    if !args.output.print(&answer, out)? {
        text::print(&answer, Style::stdout(), out)?;
    }
    Ok(answer.end.exit())
}

/// The image, which has to be named by digest: a tag names another image tomorrow.
fn by_digest(written: &str) -> Result<(ImageRef, Digest), CliError> {
    let reference = ImageRef::parse(written).map_err(|error| CliError::usage(error.to_string()))?;
    let digest = reference.digest().ok_or_else(|| {
        CliError::usage(format!("`{written}` has no digest: write REGISTRY/REPOSITORY@sha256:…; a tag may be moved"))
    })?;
    Ok((reference, digest))
}

async fn admit(args: &Args, image: &str, reference: &ImageRef, digest: Digest) -> Result<Answer, CliError> {
    let client = args.cluster.client().await?;
    let judged = judge::judge(args, &client, reference, digest).await?;
    let mut answer = Answer {
        image: image.to_owned(),
        digest,
        dry_run: args.dry_run,
        end: End::of(&judged.said, judged.policies_unusable),
        policies: judged.said,
        notes: judged.notes,
    };
    if answer.end != End::Admitted {
        return Ok(answer);
    }
    let looks_up = |said: &&mut Said| said.native && !matches!(said.verdict, Judged::Exempt);
    for said in answer.policies.iter_mut().filter(looks_up) {
        said.intake = Some(intake::add(&client, &said.policy, image, args.dry_run).await?);
    }
    if !args.dry_run {
        let waits: Vec<&str> =
            answer.policies.iter().filter(|said| said.intake.is_some()).map(|said| said.policy.as_str()).collect();
        let patience = Duration::try_from(args.wait.signed()).unwrap_or_default();
        if let Some(why) = listed::wait(&client, &waits, digest, patience).await? {
            answer.end = End::NotYet { why };
        }
    }
    Ok(answer)
}

/// What became of one policy's intake.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Taken {
    policy: String,
    #[serde(flatten)]
    change: Change,
}

async fn remove(args: &Args, image: &str) -> Result<Vec<Taken>, CliError> {
    let client = args.cluster.client().await?;
    let mut taken = Vec::new();
    for policy in named(&client, args.policy.as_deref()).await? {
        let change = intake::remove(&client, &policy, image, args.dry_run).await?;
        taken.push(Taken { policy, change });
    }
    Ok(taken)
}

async fn named(client: &Client, only: Option<&str>) -> Result<Vec<String>, CliError> {
    let (policies, _) = list::<SigningIdentityPolicy>(client).await?;
    let names: Vec<String> = policies.iter().map(ResourceExt::name_any).collect();
    match only {
        None => Ok(names),
        Some(only) if names.iter().any(|name| name == only) => Ok(vec![only.to_owned()]),
        Some(only) => Err(no_such(only, &names)),
    }
}

fn no_such(only: &str, names: &[String]) -> CliError {
    let there = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    CliError::usage(format!(
        "--policy {only}: there is no such SigningIdentityPolicy that can be used (there are: {there})"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(outcome: Outcome) -> Said {
        let verdict = Judged::Verdict {
            outcome,
            reason: Reason::Verified,
            message: String::new(),
            owner: Owner::Pipeline,
            cure: "",
        };
        Said { policy: "apps".to_owned(), verdict, native: true, intake: None }
    }

    #[test]
    fn only_what_every_policy_says_yes_to_is_admitted() {
        use Outcome::{Covered, Uncovered, Unknown};
        let of = |outcomes: &[Outcome], unusable| {
            let all: Vec<Said> = outcomes.iter().map(|outcome| said(*outcome)).collect();
            End::of(&all, unusable)
        };
        assert_eq!(of(&[Covered, Covered], false), End::Admitted);
        assert_eq!(of(&[Covered, Uncovered, Unknown], false), End::Refused);
        assert_eq!(of(&[Covered, Unknown], false), End::NotKnown);
        assert_eq!(of(&[Covered], true), End::NotKnown, "another policy may be about it");
        assert_eq!(of(&[], false), End::OutOfScope);
    }

    #[test]
    fn an_image_by_tag_is_not_admitted() {
        let digest = Digest::of(b"image");
        assert!(by_digest("registry.corp.internal/ci/build:1").is_err());
        let (image, found) = by_digest(&format!("registry.corp.internal/ci/build:1@{digest}")).unwrap();
        assert_eq!((image.name().as_str(), found), ("registry.corp.internal/ci/build", digest));
    }
}
