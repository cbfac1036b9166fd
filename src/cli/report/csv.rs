//! One line for each image, policy and workload (RFC 4180). No field is a formula to a spreadsheet.

use std::io::{self, Write};

use super::model::{LineView, View};
use crate::cli::output::printable;

const HEADER: [&str; 19] = [
    "report",
    "scannedAt",
    "outcome",
    "reason",
    "severity",
    "owner",
    "namespace",
    "kind",
    "workload",
    "image",
    "digest",
    "runs",
    "policy",
    "signers",
    "message",
    "cure",
    "notAdmissibleAsDeclared",
    "notAdmissionControlled",
    "foundAt",
];

pub(super) fn print(view: &View, out: &mut dyn Write) -> io::Result<()> {
    write!(out, "{}\r\n", HEADER.join(","))?;
    for report in &view.reports {
        let scanned = report.scan.as_ref().and_then(|scan| scan.finished_at.as_deref()).unwrap_or_default();
        for line in &report.details.lines {
            let fields = fields(&report.name, scanned, line).map(|text| field(&text));
            write!(out, "{}\r\n", fields.join(","))?;
        }
    }
    Ok(())
}

fn fields(report: &str, scanned: &str, line: &LineView) -> [String; 19] {
    let optional = |text: &Option<String>| text.clone().unwrap_or_default();
    let severity = serde_json::to_value(line.severity).ok();
    let severity = severity.as_ref().and_then(|word| word.as_str()).unwrap_or_default().to_owned();
    [
        report.to_owned(),
        scanned.to_owned(),
        line.outcome.to_string(),
        line.reason.to_string(),
        severity,
        line.owner.to_string(),
        line.namespace.clone(),
        line.kind.clone(),
        line.workload.clone(),
        line.image.clone(),
        optional(&line.digest),
        optional(&line.runs),
        line.policy.clone(),
        optional(&line.signers),
        line.message.clone(),
        line.cure.to_owned(),
        line.not_admissible_as_declared.to_string(),
        line.not_admission_controlled.to_string(),
        line.found_at.map(|at| at.to_string()).unwrap_or_default(),
    ]
}

/// A field, quoted where it has to be. Spreadsheets take what begins as a formula for one, also behind spaces and in full width: a `'` before it makes it text.
pub(in crate::cli) fn field(text: &str) -> String {
    let text = printable(text);
    let begins = text.trim_start().chars().next();
    let is_formula = matches!(begins, Some('=' | '+' | '-' | '@' | '＝' | '＋' | '－' | '＠'));
    let text = if is_formula { format!("'{text}") } else { text };
    if text.contains(['"', ',', ';', '\'']) || text.starts_with(' ') || text.ends_with(' ') {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}
