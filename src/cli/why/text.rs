//! What policies say of an image, as a person reads it.

use std::io::Write;

use holdfast_core::verify::{Outcome, Reason};

use super::{Answer, PolicySays, Why};
use crate::cli::output::{CliError, Style, printable};
use crate::cli::verify_text::print_evidence;

/// Workloads that are named.
const MAX_WORKLOADS: usize = 8;

pub(super) fn print(answer: &Answer, style: Style, out: &mut dyn Write) -> Result<(), CliError> {
    for (at, image) in answer.images.iter().enumerate() {
        if at > 0 {
            writeln!(out)?;
        }
        print_image(image, style, out)?;
    }
    for note in &answer.notes {
        writeln!(out, "\n{} {}", style.warn("note:"), printable(note))?;
    }
    Ok(())
}

fn print_image(image: &Why, style: Style, out: &mut dyn Write) -> Result<(), CliError> {
    writeln!(out, "{}", printable(&image.image))?;
    if let Some(digest) = image.digest.filter(|digest| !image.image.ends_with(&digest.to_string())) {
        let what = if image.runs_instead { "a node runs instead" } else { "runs as" };
        writeln!(out, "  {what} {digest}")?;
    }
    if image.not_admissible_as_declared {
        writeln!(
            out,
            "  {} it is declared by tag: no engine can admit it as it is written; declare it by digest",
            style.warn("note:")
        )?;
    }
    if image.workloads.is_empty() {
        writeln!(out, "  nobody is seen to use it")?;
    } else {
        let named = image
            .workloads
            .iter()
            .take(MAX_WORKLOADS)
            .map(|workload| printable(workload))
            .collect::<Vec<_>>()
            .join(", ");
        let more = match image.workloads.len().saturating_sub(MAX_WORKLOADS) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        writeln!(out, "  used by {named}{more}")?;
    }
    if image.policies.is_empty() {
        writeln!(out, "  no policy is about it: it is out of scope")?;
    }
    for said in &image.policies {
        writeln!(out)?;
        print_policy(said, style, out)?;
    }
    Ok(())
}

fn print_policy(said: &PolicySays, style: Style, out: &mut dyn Write) -> Result<(), CliError> {
    let verdict = &said.verdict;
    writeln!(out, "{}  under policy `{}`", style.outcome(said.outcome), printable(&said.policy))?;
    writeln!(out, "  {}: {}", verdict.reason, printable(&verdict.message))?;
    if said.outcome != Outcome::Covered {
        writeln!(out, "  owner: {}", said.owner)?;
        writeln!(out, "  to cure it: {}", said.cure)?;
    }
    if verdict.evidence.is_empty() && verdict.reason != Reason::MissingBundle {
        return Ok(());
    }
    for piece in &verdict.evidence {
        writeln!(out)?;
        print_evidence(piece, style, "  ", out)?;
    }
    Ok(())
}
