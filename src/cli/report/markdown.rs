//! Reports, as a page for a ticket. Nothing in a text from outside is markup there, nor a mention of somebody.

use std::io::{self, Write};

use holdfast_core::verify::Outcome;

use super::model::{LineView, ReportView, View};
use super::table::{headline, scanned};
use crate::cli::output::{Style, printable};

/// How many lines are on a page; the others are counted.
const MAX_LINES: usize = 200;

pub(super) fn print(view: &View, out: &mut dyn Write) -> io::Result<()> {
    if view.reports.is_empty() {
        return writeln!(out, "No BundleCoverageReport is declared, so nothing is scanned.");
    }
    for (at, report) in view.reports.iter().enumerate() {
        if at > 0 {
            writeln!(out)?;
        }
        print_report(report, view, out)?;
    }
    Ok(())
}

fn print_report(report: &ReportView, view: &View, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "## Signature coverage: {}\n", text(&report.name))?;
    writeln!(out, "**{}**\n", text(&headline(report, Style::of(false))))?;
    if let Some(at) = scanned(report) {
        writeln!(out, "- scanned {at}, read {}", view.now)?;
    }
    for name in ["Complete", "Fresh"] {
        if let Some(condition) = report.condition(name) {
            writeln!(
                out,
                "- {name}: {} ({}): {}",
                text(&condition.status),
                text(&condition.reason),
                text(&condition.message)
            )?;
        }
    }
    if let Some(kind) = &report.details.kind {
        writeln!(out, "- details from {}", text(kind))?;
    }
    for note in report.details.notes() {
        writeln!(out, "- **note**: {}", text(&note))?;
    }
    if !view.filter.is_everything() {
        writeln!(out, "- shown: {}", text(&shown(view)))?;
    }
    let open: Vec<&LineView> = report.details.lines.iter().filter(|line| line.outcome != Outcome::Covered).collect();
    if view.filter.is_everything() && !report.by_reason.is_empty() {
        writeln!(out, "\n| reason | images | owner |\n|---|---:|---|")?;
        for of in &report.by_reason {
            writeln!(out, "| {} | {} | {} |", text(&of.reason), of.images, text(&of.owner))?;
        }
    }
    if open.is_empty() {
        if report.details.kind.is_some() {
            writeln!(out, "\nNothing of what is shown is open.")?;
        }
        return Ok(());
    }
    for of_owner in open.get(..MAX_LINES).unwrap_or(&open).chunk_by(|a, b| a.owner == b.owner) {
        let Some(first) = of_owner.first() else { continue };
        writeln!(out, "\n### For {}\n", first.owner)?;
        writeln!(out, "| workload | image | policy | reason | what was found |\n|---|---|---|---|---|")?;
        for line in of_owner {
            let workload = format!("{}/{}", line.namespace, line.of_workload());
            let runs = line.runs.as_ref().map_or_else(String::new, |runs| format!(" (runs {})", code(runs)));
            let (image, policy, reason) = (code(&line.image), text(&line.policy), line.reason);
            writeln!(out, "| {} | {image}{runs} | {policy} | {reason} | {} |", code(&workload), text(&line.message))?;
        }
        let mut reasons: Vec<_> = of_owner.iter().map(|line| line.reason).collect();
        reasons.sort_unstable();
        reasons.dedup();
        writeln!(out)?;
        for reason in reasons {
            writeln!(out, "- {reason}: {}", reason.cure())?;
        }
    }
    match open.len().saturating_sub(MAX_LINES) {
        0 => Ok(()),
        more => writeln!(out, "\nAnd {more} more; `holdfast report -o csv` lists all."),
    }
}

fn shown(view: &View) -> String {
    let words =
        |name: &str, all: Vec<String>| if all.is_empty() { None } else { Some(format!("{name} {}", all.join(" or "))) };
    let filter = &view.filter;
    let parts = [
        words("namespace", filter.namespaces.clone()),
        words("owner", filter.owners.iter().map(ToString::to_string).collect()),
        words("reason", filter.reasons.iter().map(ToString::to_string).collect()),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Text, with nothing in it that is markup or a mention.
pub(super) fn text(text: &str) -> String {
    let escaped = |c: char| match c {
        '@' => "&#64;".to_owned(),
        '&' => "&amp;".to_owned(),
        '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '<' | '>' | '#' | '!' | '|' | '~' => format!("\\{c}"),
        c => c.to_string(),
    };
    printable(text).chars().map(escaped).collect()
}

/// Text as it is written. A table takes a bar for the end of a cell even there, and a backtick would end it.
pub(super) fn code(text: &str) -> String {
    format!("`{}`", printable(text).replace('`', "'").replace('|', "\\|"))
}
