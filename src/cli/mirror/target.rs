//! `holdfast mirror target`: fetch and verify target files.

use std::io::Write;
use std::path::PathBuf;

use clap::Args as ClapArgs;
use holdfast_core::Digest;
use holdfast_core::trust::tuf::quote;
use serde::Serialize;

use super::repository::{Repository, Session};
use crate::cli::output::{CliError, Exit, Format, printable};
use crate::sources::write::{make_dir, replace_named};
use crate::sources::{self, file};

const MAX_TARGET: u64 = 64 * 1024 * 1024;

#[derive(ClapArgs)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct Args {
    /// The names of the targets
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    repository: Repository,
    /// The file to write
    #[arg(long, value_name = "FILE", required_unless_present = "out_dir", conflicts_with = "out_dir")]
    out: Option<PathBuf>,
    /// The directory to write it to, under its own name (with `/` as `%2F`); made where it is missing
    #[arg(long, value_name = "DIR")]
    out_dir: Option<PathBuf>,
    /// How to print the result
    #[arg(short, long, value_enum, default_value_t)]
    pub(super) output: Format,
}

const EXAMPLES: &str = "\
Nothing is written unless every target is verified. A target that is there already is fetched only if it is another.

EXAMPLES
  holdfast mirror target signing_config.v0.2.json --state state/public --from tuf --out signing_config.json
  holdfast mirror target artifact.pub registry.npmjs.org/keys.json --state state/public --from tuf --out-dir keys";

/// A target that was verified and written.
#[derive(Serialize)]
struct Written {
    name: String,
    path: PathBuf,
    bytes: usize,
    digest: Digest,
    /// The role that lists it.
    role: String,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<Exit, CliError> {
    let source = args.repository.source()?;
    if args.out.is_some() && args.names.len() > 1 {
        return Err(CliError::usage("--out is for one target; give --out-dir for several"));
    }
    let path_of = |name: &str| match (&args.out, &args.out_dir) {
        (Some(path), _) => path.clone(),
        (None, dir) => dir.clone().unwrap_or_default().join(quote(name)),
    };
    // What is there already counts as the target only if it verifies as one.
    let there = |name: &str| file::read(&path_of(name), "a target", MAX_TARGET).ok();
    let mut session = Session::open(&args.repository)?;
    let targets = session.renew(source.as_ref(), |refresh, _| {
        let find = |name: &String| Ok(sources::target(source.as_ref(), refresh, name, &|| there(name))?);
        args.names.iter().map(find).collect::<Result<Vec<_>, CliError>>()
    })?;
    if let Some(dir) = &args.out_dir {
        make_dir(dir)?;
    }
    let mut written = Vec::new();
    for target in targets {
        let path = path_of(target.name());
        let bytes = target.bytes();
        if there(target.name()).as_deref() != Some(bytes) {
            replace_named(&path, bytes)?;
        }
        let (name, role) = (target.name().to_owned(), target.role().to_owned());
        written.push(Written { name, path, bytes: bytes.len(), digest: Digest::of(bytes), role });
    }
    if !args.output.print(&written, out)? {
        for Written { path, bytes, digest, role, .. } in &written {
            let path = printable(&path.display().to_string());
            writeln!(out, "{path} ({bytes} bytes, {digest}, listed by {})", printable(role))?;
        }
    }
    Ok(Exit::Yes)
}
