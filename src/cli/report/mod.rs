//! `holdfast report`: what scans found, from the cluster, as a table, a page, lines for a spreadsheet, or JSON.

pub(super) mod csv;
mod markdown;
mod model;
mod read;
mod table;
#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};
use holdfast_core::verify::{Owner, Reason};
use jiff::Timestamp;

use self::model::{Filter, View};
use super::output::{CliError, Exit, Style, instant, now, printable};
use crate::controller::client;

#[derive(ClapArgs)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct Args {
    /// Only the BundleCoverageReport of this name; every one otherwise
    #[arg(long, value_name = "NAME")]
    report: Option<String>,

    /// Only workloads in this namespace; may be repeated
    #[arg(short, long, value_name = "NAME")]
    namespace: Vec<String>,

    /// Only what this owner can mend: pipeline, mirroring, security, trust, platform or workload. May be repeated
    #[arg(long, value_name = "OWNER", value_parser = owner)]
    owner: Vec<Owner>,

    /// Only what has this reason, as MissingBundle; may be repeated
    #[arg(long, value_name = "REASON", value_parser = reason)]
    reason: Vec<Reason>,

    /// Use this kubeconfig [default: that of the environment, else the pod's service account]
    #[arg(long, env = "HOLDFAST_KUBECONFIG", value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// Use this context of it
    #[arg(long, env = "HOLDFAST_CONTEXT", value_name = "NAME")]
    context: Option<String>,

    /// Tell ages as of this instant instead of now (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = instant)]
    now: Option<Timestamp>,

    /// Exit with 1 where something is uncovered; with 3 where something is unknown, or the last scan is not complete and recent
    #[arg(long)]
    exit_code: bool,

    /// How to print the result
    #[arg(short, long, value_enum, default_value_t)]
    output: Form,
}

const EXAMPLES: &str = "\
EXAMPLES
  holdfast report
  holdfast report --owner pipeline --namespace billing
  holdfast report --report cluster -o csv > coverage.csv
  holdfast report -o md --reason MissingBundle
  holdfast report -o json --exit-code";

/// How a report is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Form {
    /// For people.
    #[default]
    Table,
    /// One line for each image, policy and workload.
    Csv,
    /// One document.
    Json,
    /// A page for a ticket (Markdown).
    Md,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<Exit, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let read = runtime.block_on(async {
        let client = client::plain(args.kubeconfig.as_deref(), args.context.as_deref()).await;
        let client = client.map_err(|error| CliError::usage(error.to_string()))?;
        read::read(&client, args.report.as_deref()).await
    })?;
    let filter =
        Filter { namespaces: args.namespace.clone(), owners: args.owner.clone(), reasons: args.reason.clone() };
    let view = View::of(read, filter, now(args.now));
    match args.output {
        Form::Table => table::print(&view, Style::stdout(), out)?,
        Form::Md => markdown::print(&view, out)?,
        Form::Json => {
            let text = serde_json::to_string_pretty(&view).map_err(io::Error::from)?;
            writeln!(out, "{text}")?;
        }
        Form::Csv => {
            csv::print(&view, out)?;
            for report in &view.reports {
                for note in report.details.notes() {
                    // Beside the lines, not among them.
                    eprintln!("{}: {}", printable(&report.name), printable(&note));
                }
            }
        }
    }
    Ok(if args.exit_code { view.exit() } else { Exit::Yes })
}

fn owner(text: &str) -> Result<Owner, String> {
    let owners = [Owner::Pipeline, Owner::Mirroring, Owner::Security, Owner::Trust, Owner::Platform, Owner::Workload];
    let names = || owners.map(|owner| owner.to_string()).join(", ");
    let found = owners.into_iter().find(|owner| owner.to_string() == text.to_ascii_lowercase());
    found.ok_or_else(|| format!("there is no such owner; there are {}", names()))
}

fn reason(text: &str) -> Result<Reason, String> {
    let found = Reason::ALL.iter().find(|reason| reason.as_str().eq_ignore_ascii_case(text));
    let nearest = || {
        let names = Reason::ALL.iter().map(|reason| reason.as_str());
        holdfast_core::nearest::nearest_first(text, names).first().copied().unwrap_or_default()
    };
    found.copied().ok_or_else(|| format!("there is no such reason; is it {}? `holdfast explain` lists them", nearest()))
}
