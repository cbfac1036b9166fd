//! `holdfast mirror`: keep and renew trust in a state directory.

mod init;
mod renew;
mod repository;
mod show;
mod target;

use std::io::Write;
use std::path::Path;

use clap::{Args as ClapArgs, Subcommand};
use holdfast_core::trust::freshness::{Freshness, Settings};
use holdfast_core::trust::root::TrustRoot;
use holdfast_core::trust::tuf::{Grace, Refusal};
use holdfast_core::verify::{Reason, Verdict};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::output::{CliError, Exit, Format};
use crate::sources::file;
use crate::sources::state::{Held, HeldRoot, StateDir};

#[derive(ClapArgs)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

const EXAMPLES: &str = "\
EXAMPLES
  holdfast mirror init --state state/public --bootstrap root.json --root-sha256 f5ad897c9414cc99629f400aa4e87c06…
  holdfast mirror import --state state/public --from /media/courier/tuf
  holdfast mirror show --state state/public";

#[derive(Subcommand)]
enum Verb {
    /// Start from a root that was agreed on out of band
    Init(init::Args),
    /// Take newer metadata from a repository
    Refresh(Box<renew::RefreshArgs>),
    /// Refresh, then read, judge and hold the trusted root; print what changes
    Import(Box<renew::ImportArgs>),
    /// Refresh, then fetch and verify target files
    Target(Box<target::Args>),
    /// Show what is held and until when it is good
    Show(show::ShowArgs),
    /// Show what changes between two trusted roots
    Diff(show::DiffArgs),
}

/// A refusal, for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Refused<'a> {
    result: &'static str,
    /// The typed refusal; absent where it is the content of a file that is refused.
    #[serde(flatten)]
    refusal: Option<&'a Refusal>,
    message: String,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<Exit, CliError> {
    let done = carry_out(&args.verb, out);
    if let Err(error) = &done
        && error.exit() == Exit::No
    {
        let refused = Refused { result: "Refused", refusal: error.refusal(), message: error.to_string() };
        args.verb.output().print(&refused, out)?;
    }
    done
}

fn carry_out(verb: &Verb, out: &mut dyn Write) -> Result<Exit, CliError> {
    match verb {
        Verb::Init(args) => init::run(args, out),
        Verb::Refresh(args) => renew::refresh(args, out),
        Verb::Import(args) => renew::import(args, out),
        Verb::Target(args) => target::run(args, out),
        Verb::Show(args) => show::show(args, out),
        Verb::Diff(args) => show::diff(args, out),
    }
}

impl Verb {
    /// How its result is printed.
    const fn output(&self) -> Format {
        match self {
            Self::Init(args) => args.output,
            Self::Refresh(args) => args.output,
            Self::Import(args) => args.output,
            Self::Target(args) => args.output,
            Self::Show(args) => args.output,
            Self::Diff(args) => args.output,
        }
    }
}

/// Reads a `--grace`.
pub(super) fn grace(text: &str) -> Result<Grace, String> {
    let duration: SignedDuration =
        text.parse().map_err(|_| "write hours, minutes and seconds, as `72h` for three days, or `1h30m`".to_owned())?;
    Grace::new(duration).map_err(|e| e.to_string())
}

/// The trusted root in a file or a state directory.
pub(super) fn any_root(path: &Path) -> Result<TrustRoot, CliError> {
    if path.is_dir() {
        let held = StateDir::look(path)?;
        return held_root(&held, path)?.ok_or_else(|| no_root(path));
    }
    let most = u64::try_from(holdfast_core::trust::root::MAX_BYTES).unwrap_or(u64::MAX);
    let bytes = file::read(path, "a trusted root", most)?;
    let name = path.display().to_string();
    TrustRoot::from_json(&name, &bytes).map_err(|e| CliError::usage(format!("{name}: {e}")))
}

pub(super) fn no_root(path: &Path) -> CliError {
    CliError::usage(format!("{} holds no trusted root yet: run `holdfast mirror import`", path.display()))
}

pub(super) fn held_root(held: &Held, path: &Path) -> Result<Option<TrustRoot>, CliError> {
    let name = root_name(path);
    held.trusted_root
        .as_ref()
        .map(|root| {
            TrustRoot::from_json(&name, &root.bytes).map_err(|e| CliError::usage(format!("{}: {e}", path.display())))
        })
        .transpose()
}

/// Whether what a state directory holds is still current.
pub(super) fn freshness(held: &Held, grace: Grace, now: Timestamp) -> Freshness {
    let root = held.trusted_root.as_ref().map(HeldRoot::imported);
    Freshness::judge(&held.state, root, Settings { grace, max_age: None }, now)
}

/// Raises the floor of the clock to the signing times that the trust in `path` vouches for, of a covered verdict.
pub(super) fn raise_clock_floor(path: &Path, verdict: &Verdict, now: Timestamp) -> Result<(), CliError> {
    let name = root_name(path);
    let (dir, held) = StateDir::open(path)?;
    let mut next = held.clone();
    let covering = verdict
        .evidence
        .iter()
        .filter(|piece| piece.reason == Reason::Verified && piece.trust_root.as_ref() == Some(&name));
    for time in covering.filter_map(|piece| piece.authenticated.as_ref()).flat_map(|facts| &facts.signed_at) {
        next.state.observe_time(time.at, now);
    }
    if next != held {
        dir.commit(&next)?;
    }
    Ok(())
}

/// The last segment of a state directory's path names its trust.
fn root_name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}
