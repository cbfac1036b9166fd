//! `holdfast mirror show` and `diff`: look at what is held.

use std::io::Write;
use std::path::PathBuf;

use clap::Args as ClapArgs;
use holdfast_core::trust::budget::Budget;
use holdfast_core::trust::diff::RootDiff;
use holdfast_core::trust::freshness::Freshness;
use holdfast_core::trust::root::TrustRoot;
use holdfast_core::trust::tuf::{ClockLowering, Grace, Note, Recovery, RoleSummary};
use jiff::Timestamp;
use serde::Serialize;

use super::{any_root, freshness, grace, held_root};
use crate::cli::output::{CliError, Exit, Format, Style, instant, now};
use crate::cli::trust_text::{
    print_budget, print_diff, print_freshness, print_notes, print_records, print_roles, print_root,
};
use crate::sources::state::{Held, StateDir};

#[derive(ClapArgs)]
#[command(after_long_help = SHOW_EXAMPLES)]
pub(super) struct ShowArgs {
    /// The state directory
    #[arg(long, value_name = "DIR")]
    state: PathBuf,
    /// How long past its expiry the timestamp still counts, at most 336h
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = grace)]
    grace: Grace,
    /// Judge at this instant instead of now (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = instant)]
    now: Option<Timestamp>,
    /// How to print the result
    #[arg(short, long, value_enum, default_value_t)]
    pub(super) output: Format,
}

const SHOW_EXAMPLES: &str = "\
EXAMPLES
  holdfast mirror show --state state/public
  holdfast mirror show --state state/public --now 2027-01-01T00:00:00Z -o json";

#[derive(ClapArgs)]
#[command(after_long_help = DIFF_EXAMPLES)]
pub(super) struct DiffArgs {
    /// The trusted root as it is: a file, or a state directory
    old: PathBuf,
    /// The trusted root as it would be: a file, or a state directory
    new: PathBuf,
    /// How to print the result
    #[arg(short, long, value_enum, default_value_t)]
    pub(super) output: Format,
}

const DIFF_EXAMPLES: &str = "\
EXAMPLES
  holdfast mirror diff state/public trusted_root.json
  holdfast mirror diff old/trusted_root.json new/trusted_root.json -o yaml";

/// What is printed for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'a> {
    result: &'static str,
    roles: &'a [RoleSummary],
    freshness: &'a Freshness,
    notes: &'a [Note],
    recoveries: &'a [Recovery],
    #[serde(skip_serializing_if = "Option::is_none")]
    clock_floor: Option<Timestamp>,
    clock_lowerings: &'a [ClockLowering],
    #[serde(skip_serializing_if = "Option::is_none")]
    trusted_root: Option<&'a TrustRoot>,
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<&'a RootDiff>,
    expiry_budget: &'a Budget,
}

pub(super) fn show(args: &ShowArgs, out: &mut dyn Write) -> Result<Exit, CliError> {
    let held = StateDir::look(&args.state)?;
    let roles = held.state.roles();
    let root = held_root(&held, &args.state)?;
    let overview = Overview { roles, notes: Vec::new(), root, diff: None, changed: false };
    overview.print(&held, args.grace, now(args.now), args.output, out)
}

pub(super) fn diff(args: &DiffArgs, out: &mut dyn Write) -> Result<Exit, CliError> {
    let [old, new] = [&args.old, &args.new].map(|path| any_root(path));
    let diff = RootDiff::between(&old?, &new?);
    if !args.output.print(&diff, out)? {
        print_diff(&diff, Style::stdout(), out)?;
    }
    Ok(Exit::Yes)
}

/// What is held after a command, and what it changed.
pub(super) struct Overview {
    pub(super) roles: Vec<RoleSummary>,
    pub(super) notes: Vec<Note>,
    pub(super) root: Option<TrustRoot>,
    pub(super) diff: Option<RootDiff>,
    pub(super) changed: bool,
}

impl Overview {
    pub(super) fn print(
        &self,
        held: &Held,
        grace: Grace,
        now: Timestamp,
        format: Format,
        out: &mut dyn Write,
    ) -> Result<Exit, CliError> {
        let memory = held.state.memory();
        let freshness = freshness(held, grace, now);
        let budget = Budget::of(&self.roles, self.root.as_ref(), now);
        let report = Report {
            result: if self.changed { "Accepted" } else { "Unchanged" },
            roles: &self.roles,
            freshness: &freshness,
            notes: &self.notes,
            recoveries: &memory.recoveries,
            clock_floor: memory.clock_floor.floor(),
            clock_lowerings: &memory.clock_lowerings,
            trusted_root: self.root.as_ref(),
            changes: self.diff.as_ref(),
            expiry_budget: &budget,
        };
        if format.print(&report, out)? {
            return Ok(Exit::Yes);
        }
        let style = Style::stdout();
        print_freshness(&freshness, now, style, out)?;
        print_roles(&self.roles, now, style, out)?;
        print_notes(&self.notes, style, out)?;
        print_records(memory, style, out)?;
        if let Some(root) = &self.root {
            writeln!(out)?;
            print_root(root, now, style, out)?;
        }
        if let Some(diff) = &self.diff {
            writeln!(out)?;
            print_diff(diff, style, out)?;
        }
        writeln!(out)?;
        print_budget(&budget, now, style, out)?;
        Ok(Exit::Yes)
    }
}
