//! Reports, as a person reads them at night: what the number is and whether it can be relied on, then whose move it is.

use std::io::{self, Write};

use holdfast_core::verify::{Outcome, Reason};
use jiff::Timestamp;

use super::model::{LineView, ReportView, View};
use crate::cli::output::{Style, printable};
use crate::cli::trust_text::remaining;

/// How many lines of one owner are printed; the others are counted.
const MAX_LINES: usize = 100;

pub(super) fn print(view: &View, style: Style, out: &mut dyn Write) -> io::Result<()> {
    if view.reports.is_empty() {
        return writeln!(
            out,
            "No BundleCoverageReport is declared, so nothing is scanned: declare one (`kubectl explain bundlecoveragereport.spec` says how)"
        );
    }
    for (at, report) in view.reports.iter().enumerate() {
        if at > 0 {
            writeln!(out)?;
        }
        print_report(report, view, style, out)?;
    }
    Ok(())
}

fn print_report(report: &ReportView, view: &View, style: Style, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "COVERAGE  {}  {}", printable(&report.name), headline(report, style))?;
    for (name, good, bad) in
        [("Ready", "ready", "not ready"), ("Complete", "complete", "not complete"), ("Fresh", "fresh", "not fresh")]
    {
        let Some(condition) = report.condition(name) else { continue };
        // Whatever keeps it from being ready is told where it stands, and once.
        let is_told = |other: &str| report.condition(other).is_some_and(|other| other.message == condition.message);
        if name == "Ready" && (is_told("Complete") || is_told("Fresh")) {
            continue;
        }
        if condition.status == "True" {
            if name != "Ready" {
                writeln!(out, "  {}: {}", style.good(good), printable(&condition.message))?;
            }
        } else {
            writeln!(out, "  {}: {}: {}", style.bad(bad), printable(&condition.reason), printable(&condition.message))?;
        }
    }
    if let Some(at) = scanned(report) {
        writeln!(out, "  scanned {at} ({})", remaining(at, view.now))?;
    }
    if let Some(kind) = &report.details.kind {
        writeln!(out, "  details from {}", printable(kind))?;
    }
    for note in report.details.notes() {
        writeln!(out, "  {} {}", style.warn("note:"), printable(&note))?;
    }
    print_reasons(report, view, style, out)?;
    print_open(report, view, style, out)
}

/// The number, before anything else.
pub(super) fn headline(report: &ReportView, style: Style) -> String {
    let Some(totals) = &report.totals else {
        return style.warn("nothing is known yet: no scan has ended");
    };
    let in_scope = totals.covered + totals.uncovered + totals.unknown;
    if in_scope == 0 {
        return format!("no image is in the scope of a policy ({} out of scope)", totals.out_of_scope);
    }
    let part =
        |count: u64, text: String, paint: fn(Style, &str) -> String| if count > 0 { paint(style, &text) } else { text };
    format!(
        "{} of {in_scope} images ({}): {}, {}, {} out of scope",
        totals.covered,
        printable(&totals.ratio),
        part(totals.uncovered, format!("{} uncovered", totals.uncovered), Style::bad),
        part(totals.unknown, format!("{} unknown", totals.unknown), Style::warn),
        totals.out_of_scope
    )
}

/// When the last scan over everything ended.
pub(super) fn scanned(report: &ReportView) -> Option<Timestamp> {
    report.scan.as_ref()?.finished_at.as_ref()?.parse().ok()
}

fn print_reasons(report: &ReportView, view: &View, style: Style, out: &mut dyn Write) -> io::Result<()> {
    // Of what was asked for only, the lines below are all there is.
    if !view.filter.is_everything() {
        return Ok(());
    }
    for of in &report.by_reason {
        let Some(reason) = known(&of.reason).filter(|reason| reason.outcome() != Outcome::Covered) else { continue };
        let images = if of.images == 1 { "image" } else { "images" };
        let owner = format!("owner: {}", reason.owner());
        writeln!(
            out,
            "\n  {} {reason}  {} {images}  {}",
            style.outcome(reason.outcome()),
            of.images,
            style.faint(&owner)
        )?;
        writeln!(out, "    {}", reason.meaning())?;
        writeln!(out, "    {}", style.faint(&format!("do: {}", reason.cure())))?;
    }
    Ok(())
}

fn known(name: &str) -> Option<Reason> {
    Reason::ALL.iter().copied().find(|reason| reason.as_str() == name)
}

/// What does not pass, by owner, namespace and workload.
fn print_open(report: &ReportView, view: &View, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let open: Vec<&LineView> = report.details.lines.iter().filter(|line| line.outcome != Outcome::Covered).collect();
    let covered = report.details.lines.len() - open.len();
    for of_owner in open.chunk_by(|a, b| a.owner == b.owner) {
        let Some(first) = of_owner.first() else { continue };
        writeln!(out, "\nFOR {}  {}", first.owner.to_string().to_uppercase(), count(of_owner.len()))?;
        let shown = of_owner.get(..MAX_LINES).unwrap_or(of_owner);
        for of_workload in shown.chunk_by(|a, b| (&a.namespace, a.of_workload()) == (&b.namespace, b.of_workload())) {
            let Some(first) = of_workload.first() else { continue };
            writeln!(out, "  {}/{}", printable(&first.namespace), printable(&first.of_workload()))?;
            of_workload.iter().try_for_each(|line| print_line(line, style, out))?;
        }
        if of_owner.len() > MAX_LINES {
            writeln!(out, "  and {} more; `-o csv` lists all", of_owner.len() - MAX_LINES)?;
        }
    }
    if !view.filter.is_everything() && report.details.kind.is_some() {
        let all = if open.is_empty() { "nothing that was asked for is open" } else { "of what was asked for" };
        writeln!(out, "\n{all}: {} open, {covered} covered", open.len())?;
    }
    Ok(())
}

fn print_line(line: &LineView, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let reason = line.reason.to_string();
    let reason = if line.outcome == Outcome::Unknown { style.warn(&reason) } else { style.bad(&reason) };
    writeln!(out, "    {reason}  {}", printable(&line.image))?;
    if let Some(runs) = &line.runs {
        writeln!(out, "      runs {}", printable(runs))?;
    }
    writeln!(out, "      under {}: {}", printable(&line.policy), printable(&line.message))?;
    for (is, what) in [
        (line.not_admissible_as_declared, "declared by tag: no engine can admit it as it is declared"),
        (line.not_admission_controlled, "run by a node from a file of its own: the API server cannot refuse it"),
    ] {
        if is {
            writeln!(out, "      {}", style.faint(what))?;
        }
    }
    Ok(())
}

fn count(lines: usize) -> String {
    if lines == 1 { "1 finding".to_owned() } else { format!("{lines} findings") }
}
