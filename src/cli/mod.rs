//! The command line: one file a verb.

mod admit;
mod agree;
mod cluster;
mod controller;
pub mod crds;
mod diff;
pub mod explain;
mod history;
mod mirror;
mod output;
mod plan;
mod report;
mod trust_text;
mod uninstall;
mod verify;
mod verify_policy;
mod verify_text;
mod why;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use output::WhileRead;
pub use output::{CliError, Exit, Format, Style};

/// Operates Sigstore trust where Fulcio, Rekor and the public TUF root cannot be reached.
///
/// Nothing is fetched unless a command is given an address; there are no default addresses.
#[derive(Parser)]
#[command(name = "holdfast", version, max_term_width = 110, arg_required_else_help = true)]
#[command(
    after_help = "EXIT CODES\n  0  yes: covered, accepted, done\n  1  no: uncovered, refused\n  2  usage, or a file that cannot be read\n  3  unknown: could not look"
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Show trust, rotation and coverage of a GitOps directory
    Plan(Box<plan::Args>),
    /// Judge a signature or statement offline
    Verify(Box<verify::Args>),
    /// Say what each policy says of an image, by which evidence, whose it is, and what would cure it
    Why(Box<why::Args>),
    /// Verify an image and have it admitted ahead, for pods that no workload template names
    Admit(Box<admit::Args>),
    /// Keep and renew trust roots
    Mirror(Box<mirror::Args>),
    /// Show what scans of a cluster found: what is not covered, why, and whose it is
    Report(Box<report::Args>),
    /// Say what an edited policy would admit more than the enforced one, and who may allow it
    Diff(Box<diff::Args>),
    /// Say what happened to policies, whether the record of it holds, and what is enforced
    History(Box<history::Args>),
    /// Say what a reason, loss, check or condition means, whose it is, and what to do
    Explain(explain::Args),
    /// Take everything declared away, once nothing is enforced; until then say how it is let go
    Uninstall(Box<uninstall::Args>),
    /// Operate trust in a cluster
    Controller(Box<controller::Args>),
    /// Print the definitions of holdfast's kinds
    Crds(crds::Args),
    /// Print a shell's completions
    #[command(after_long_help = COMPLETIONS)]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

const COMPLETIONS: &str = "\
EXAMPLES
  source <(holdfast completions bash)
  holdfast completions zsh > ~/.zfunc/_holdfast";

/// Runs the command line and gives the process's exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too; clap prints each to its own stream.
            let _ = error.print();
            return ExitCode::from(u8::from(error.use_stderr()) * Exit::Usage.code());
        }
    };
    let mut out = WhileRead::new(io::stdout().lock());
    let result = run(cli.verb, &mut out).and_then(|exit| out.flush().map(|()| exit).map_err(CliError::from));
    match result {
        Ok(exit) => ExitCode::from(exit.code()),
        Err(error) => {
            let style = Style::of(io::stderr().is_terminal());
            // That it cannot be said changes nothing of the answer.
            let _ = writeln!(io::stderr(), "{} {error}", style.bad("error:"));
            ExitCode::from(error.exit().code())
        }
    }
}

fn run(verb: Verb, out: &mut dyn Write) -> Result<Exit, CliError> {
    match verb {
        Verb::Plan(args) => plan::run(&args, out),
        Verb::Verify(args) => verify::run(&args, out),
        Verb::Why(args) => why::run(&args, out),
        Verb::Admit(args) => admit::run(&args, out),
        Verb::Mirror(args) => mirror::run(&args, out),
        Verb::Report(args) => report::run(&args, out),
        Verb::Diff(args) => diff::run(&args, out),
        Verb::History(args) => history::run(&args, out),
        Verb::Explain(args) => explain::run(&args, out),
        Verb::Uninstall(args) => uninstall::run(&args, out),
        Verb::Controller(args) => controller::run(&args),
        Verb::Crds(args) => crds::run(&args, out),
        Verb::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "holdfast", out);
            Ok(Exit::Yes)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_shows_an_example_of_itself() {
        fn check(name: &str, mut command: clap::Command) {
            let help = command.render_long_help().to_string();
            assert!(help.contains("EXAMPLES\n") && help.contains(name), "{name}: {help}");
            for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
                check(&format!("{name} {}", verb.get_name()), verb.clone());
            }
        }
        for verb in Cli::command().get_subcommands() {
            check(&format!("holdfast {}", verb.get_name()), verb.clone());
        }
    }
}
