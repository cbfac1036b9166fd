//! `holdfast explain`: what a word of a plan, a report or a status means, whose it is, and what to do.

use std::io::Write;

use clap::Args as ClapArgs;
use holdfast_core::explain::{Term, explain, terms};
use holdfast_core::verify::Owner;

use super::output::{CliError, Exit, Format, Style};

#[derive(ClapArgs)]
#[command(
    after_long_help = "EXAMPLES\n  holdfast explain MissingBundle\n  holdfast explain            # every word there is\n  holdfast explain -o json"
)]
pub(super) struct Args {
    /// A reason, loss, check or condition; every one there is where none is named
    word: Option<String>,

    /// How to print the result
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<Exit, CliError> {
    let found = match &args.word {
        Some(word) => explain(word).map_err(|nearest| unknown(word, nearest))?,
        None => terms(),
    };
    if args.output.print(&found, out)? {
        return Ok(Exit::Yes);
    }
    let style = Style::stdout();
    if args.word.is_none() {
        for term in &found {
            writeln!(out, "{:<10} {:<28} {}", sort(term), term.name, style.faint(&term.effect))?;
        }
        return Ok(Exit::Yes);
    }
    for (at, term) in found.iter().enumerate() {
        if at > 0 {
            writeln!(out)?;
        }
        writeln!(out, "{}  {} ({})", term.name, sort(term), term.effect)?;
        writeln!(out, "  means   {}", term.meaning)?;
        if term.owner != Owner::None {
            writeln!(out, "  owner   {}", term.owner)?;
            writeln!(out, "  do      {}", term.cure)?;
        }
    }
    Ok(Exit::Yes)
}

fn sort(term: &Term) -> String {
    format!("{:?}", term.sort).to_ascii_lowercase()
}

fn unknown(word: &str, nearest: Option<&str>) -> CliError {
    let hint = match nearest {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => "`holdfast explain` lists every word there is".to_owned(),
    };
    CliError::usage(format!("`{}` is no reason, loss, check or condition; {hint}", super::output::printable(word)))
}
