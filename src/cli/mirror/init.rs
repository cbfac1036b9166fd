//! `holdfast mirror init`: start from a root that was agreed on out of band.

use std::io::Write;
use std::path::PathBuf;

use clap::Args as ClapArgs;
use holdfast_core::Digest;
use holdfast_core::trust::tuf::State;
use jiff::Timestamp;
use serde::Serialize;

use crate::cli::output::{CliError, Exit, Format, instant, now};
use crate::sources::file;
use crate::sources::state::{Held, StateDir};

const MAX_ROOT: u64 = 512 * 1024;

#[derive(ClapArgs)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct Args {
    /// The state directory to make
    #[arg(long, value_name = "DIR")]
    state: PathBuf,
    /// The root to start from; an expired one is normal, only the newest counts
    #[arg(long, value_name = "FILE")]
    bootstrap: PathBuf,
    /// The SHA-256 it has to have
    #[arg(long, value_name = "HEX")]
    root_sha256: Option<String>,
    /// Judge at this instant instead of now (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = instant)]
    now: Option<Timestamp>,
    /// How to print the result
    #[arg(short, long, value_enum, default_value_t)]
    pub(super) output: Format,
}

const EXAMPLES: &str = "\
EXAMPLES
  holdfast mirror init --state state/public --bootstrap root.json --root-sha256 f5ad897c9414cc99629f400aa4e87c06…
  holdfast mirror init --state state/corp --bootstrap 1.root.json -o json";

/// What is printed for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    state: PathBuf,
    root: Digest,
    /// Whether its digest was given, or has to be compared by a person.
    pinned: bool,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<Exit, CliError> {
    let root = file::read(&args.bootstrap, "a root.json", MAX_ROOT)?;
    let pin = args
        .root_sha256
        .as_deref()
        .map(Digest::from_hex)
        .transpose()
        .map_err(|e| CliError::usage(format!("--root-sha256: {e}")))?;
    let state = State::bootstrap(&root, pin, now(args.now)).map_err(CliError::Refused)?;
    let report = Report { state: args.state.clone(), root: state.memory().pin, pinned: pin.is_some() };
    StateDir::create(&args.state)?.commit(&Held { state, trusted_root: None })?;
    if args.output.print(&report, out)? {
        return Ok(Exit::Yes);
    }
    writeln!(out, "{} holds the root {}", args.state.display(), report.root)?;
    if !report.pinned {
        writeln!(out, "No --root-sha256 was given: compare this digest with the one your publisher states.")?;
    }
    Ok(Exit::Yes)
}
