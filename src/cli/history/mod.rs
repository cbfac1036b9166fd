//! `holdfast history`: what happened to policies, whether the record of it holds together, and what is enforced now.

mod csv;
mod model;
mod read;
mod text;

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};

use self::model::Told;
use super::cluster::{Cluster, wait};
use super::output::{CliError, Exit, Style};

#[derive(ClapArgs)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct Args {
    /// Only the SigningIdentityPolicy of this name; every one otherwise, also those that are gone
    #[arg(value_name = "POLICY")]
    policy: Option<String>,

    /// Check what `-o json` wrote into this file instead of asking a cluster
    #[arg(long, value_name = "FILE")]
    verify: Option<PathBuf>,

    #[command(flatten)]
    cluster: Cluster,

    /// In the table, the newest records of each policy
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    last: usize,

    /// How to print the result
    #[arg(short, long, value_enum, default_value_t)]
    output: Form,
}

const EXAMPLES: &str = "\
EXAMPLES
  holdfast history
  holdfast history apps --last 10
  holdfast history -o json > history.json
  holdfast history --verify history.json
  holdfast history apps -o csv > apps.csv

The exit code is 1 where a record was changed, set back, or does not agree with what is enforced; 3 where one could not look.";

/// How a history is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Form {
    /// For people.
    #[default]
    Table,
    /// One document, which `--verify` checks.
    Json,
    /// One line for each record.
    Csv,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<Exit, CliError> {
    let only = args.policy.as_deref();
    let told = match &args.verify {
        Some(file) => read::of_file(file, only)?,
        None => wait(read::of_cluster(&args.cluster, only))?,
    };
    match args.output {
        Form::Table => text::print(&told, args.last, Style::stdout(), out)?,
        Form::Csv => csv::print(&told, out)?,
        Form::Json => {
            let text = serde_json::to_string_pretty(&told).map_err(io::Error::from)?;
            writeln!(out, "{text}")?;
        }
    }
    Ok(told.exit())
}

impl Told {
    /// A chain that does not hold is an answer; one that was not seen is none.
    fn exit(&self) -> Exit {
        let any = |is: fn(&model::Standing) -> bool| self.policies.iter().any(|policy| is(&policy.standing));
        if any(|standing| matches!(standing, model::Standing::Broken { .. })) {
            Exit::No
        } else if any(|standing| matches!(standing, model::Standing::Unknown { .. })) {
            Exit::Unknown
        } else {
            Exit::Yes
        }
    }
}
