//! `holdfast uninstall`: the way out, in the order in which nothing is left that denies and nobody operates.
//!
//! What denies is never taken away here: that is holdfast's own doing, once people agreed and the policy is deleted.

mod estate;
mod going;
mod standing;
mod text;

use std::io::Write;
use std::time::Duration;

use clap::Args as ClapArgs;
use holdfast_core::api::duration::GoDuration;

use self::estate::Estate;
use self::going::Went;
use super::agree::whoami;
use super::cluster::{Cluster, wait};
use super::output::{CliError, Exit, Style, now};

#[derive(ClapArgs)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct Args {
    /// Delete everything that is declared, where nothing is enforced; without it, only say what would be done
    #[arg(long)]
    yes: bool,

    /// How long holdfast may take to take its objects away, as 2m
    #[arg(long, value_name = "DURATION", default_value = "2m")]
    wait: GoDuration,

    #[command(flatten)]
    cluster: Cluster,
}

const EXAMPLES: &str = "\
EXAMPLES
  holdfast uninstall
  holdfast uninstall --yes
  holdfast uninstall --yes --wait 10m

While a policy is enforced nothing is deleted: it says what has to be agreed to, by whom, and how. The exit code is then 1.";

pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<Exit, CliError> {
    let style = Style::stdout();
    wait(async {
        let client = args.cluster.client().await?;
        let estate = Estate::look(&client, &args.cluster.namespace).await?;
        if !estate.enforcing.is_empty() {
            let by = whoami(&client).await;
            text::refuse(&estate, by.as_deref(), now(None), style, out)?;
            return Ok(Exit::No);
        }
        if !args.yes {
            text::intend(&estate, &args.cluster.namespace, style, out)?;
            return Ok(Exit::Yes);
        }
        let patience = Duration::try_from(args.wait.signed()).unwrap_or_default();
        match going::go(&client, &args.cluster.namespace, patience, out).await? {
            Went::Enforced(estate) => {
                let by = whoami(&client).await;
                text::refuse(&estate, by.as_deref(), now(None), style, out)?;
                Ok(Exit::No)
            }
            Went::Left(what) => {
                text::left(&what, &args.cluster.namespace, style, out)?;
                Ok(Exit::Unknown)
            }
            Went::Gone => {
                let estate = Estate::look(&client, &args.cluster.namespace).await?;
                text::rest(&estate, &args.cluster.namespace, style, out)?;
                Ok(Exit::Yes)
            }
        }
    })
}
