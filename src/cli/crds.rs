//! `holdfast crds`: the definitions of the API.

use std::io::Write;
use std::path::PathBuf;

use clap::Args as ClapArgs;
use holdfast_core::api::crds;

use super::output::{CliError, Exit};
use crate::sources::write::{make_dir, replace_named};

#[derive(ClapArgs)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct Args {
    /// Write one file a kind into this directory instead of printing; made where it is missing
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

const EXAMPLES: &str = "\
EXAMPLES
  holdfast crds | kubectl apply --server-side -f -
  holdfast crds --dir clusters/prod/crds";

/// Every definition with the name of its file.
///
/// # Errors
/// [`CliError::Output`], which would be a fault of ours.
pub fn files() -> Result<Vec<(String, String)>, CliError> {
    crds()
        .into_iter()
        .map(|crd| {
            let text = serde_saphyr::to_string(&crd)
                .map_err(|e| CliError::usage(format!("cannot write {}: {e}", crd.spec.names.plural)))?;
            Ok((format!("{}.yaml", crd.spec.names.plural), text))
        })
        .collect()
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<Exit, CliError> {
    if let Some(dir) = &args.dir {
        make_dir(dir)?;
    }
    for (name, text) in files()? {
        match &args.dir {
            Some(dir) => {
                replace_named(&dir.join(&name), text.as_bytes())?;
                writeln!(out, "{}", dir.join(&name).display())?;
            }
            None => write!(out, "---\n{text}")?,
        }
    }
    Ok(Exit::Yes)
}
