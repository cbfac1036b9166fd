//! A verdict, as a person reads it.

use std::io::Write;

use holdfast_core::verify::{Authenticated, Content, EvidenceVerdict, Reason, TimeSource, Verdict};

use super::output::{CliError, Style, printable};

pub(super) fn print(verdict: &Verdict, note: Option<&str>, style: Style, out: &mut dyn Write) -> Result<(), CliError> {
    writeln!(out, "{}  {}", style.outcome(verdict.outcome()), verdict.digest)?;
    if let Some(note) = note {
        writeln!(out, "  {} {}", style.warn("note:"), printable(note))?;
    }
    writeln!(out, "  {}: {}", verdict.reason, printable(&verdict.message))?;
    if verdict.reason != Reason::Verified {
        writeln!(out, "  {}", style.faint(&format!("{}; owner: {}", verdict.reason.meaning(), verdict.owner())))?;
    }
    for piece in &verdict.evidence {
        writeln!(out)?;
        print_evidence(piece, style, "", out)?;
    }
    Ok(())
}

/// What to give where nothing was given to check evidence with: a key needs no trust root, and what goes with its signature does.
pub(super) const fn want_of_trust(reason: Reason) -> Option<&'static str> {
    match reason {
        Reason::UnknownLog | Reason::UnknownTimestampAuthority => Some(
            "give the trust to check log entries and timestamps with: --trusted-root FILE, or --state DIR as `holdfast mirror` keeps it",
        ),
        _ => None,
    }
}

/// One piece of evidence, with `indent` before each line.
pub(super) fn print_evidence(
    piece: &EvidenceVerdict,
    style: Style,
    indent: &str,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    writeln!(out, "{indent}{}  {} ({})", style.outcome(piece.reason.outcome()), printable(&piece.source), piece.form)?;
    let mut field = |name: &str, value: &str| writeln!(out, "{indent}  {name:<10} {}", printable(value));
    field("reason", &format!("{}: {}", piece.reason, piece.message))?;
    match &piece.content {
        Some(Content::Signature) => field("is", "a signature")?,
        Some(Content::Statement { predicate_type }) => field("is", &format!("a statement of type {predicate_type}"))?,
        None => {}
    }
    if let Some(root) = &piece.trust_root {
        field("trust", root)?;
    }
    let Some(Authenticated { identity, issuer, key, signed_at, logs, sct, .. }) = &piece.authenticated else {
        return Ok(());
    };
    for (name, value) in [("identity", identity), ("issuer", issuer)] {
        if let Some(value) = value {
            field(name, value)?;
        }
    }
    if let Some(key) = key {
        field("key", &key.to_string())?;
    }
    for time in signed_at {
        let source = match &time.source {
            TimeSource::TransparencyLog(name) => format!("transparency log {name}"),
            TimeSource::TimestampAuthority(name) => format!("timestamp authority {name}"),
        };
        field("signed at", &format!("{} by {source}", time.at))?;
    }
    for log in logs {
        field("logged in", log)?;
    }
    if *sct {
        field("sct", "verified")?;
    }
    Ok(())
}
