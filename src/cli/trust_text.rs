//! Trust, as a person reads it.

use std::io::{self, Write};

use holdfast_core::trust::budget::Budget;
use holdfast_core::trust::diff::{Happening, Kind, RootDiff};
use holdfast_core::trust::freshness::Freshness;
use holdfast_core::trust::root::{RootNote, TrustRoot, Window};
use holdfast_core::trust::tuf::{ClockLowering, Note, Recovery, RoleSummary, TrustMemory};
use jiff::Timestamp;

use super::output::{Style, printable};

/// How many ends are printed; the others are counted.
const MAX_ENDS: usize = 6;

/// The day of an instant; the hour never matters at this scale, and JSON has it.
pub(super) fn day(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d").to_string()
}

/// What remains until an instant, in the largest unit that says something.
pub(super) fn remaining(until: Timestamp, now: Timestamp) -> String {
    let seconds = until.duration_since(now).as_secs();
    let (amount, past) = (seconds.unsigned_abs(), seconds < 0);
    let text = match amount {
        0..7200 => format!("{} min", amount / 60),
        7200..172_800 => format!("{} h", amount / 3600),
        _ => format!("{} days", amount / 86_400),
    };
    if past { format!("{text} ago") } else { format!("in {text}") }
}

/// `until` an instant to come, or `ended` at one that has passed.
fn until_text(until: Timestamp, now: Timestamp, style: Style) -> String {
    let verb = if until <= now { "ended" } else { "until" };
    urgent(&format!("{verb} {} ({})", day(until), remaining(until, now)), until, now, style)
}

/// The text in the colour of how near the instant is.
fn urgent(text: &str, until: Timestamp, now: Timestamp, style: Style) -> String {
    let days = until.duration_since(now).as_hours() / 24;
    match days {
        _ if until <= now => style.bad(text),
        0..14 => style.warn(text),
        _ => text.to_owned(),
    }
}

pub(super) fn print_freshness(
    freshness: &Freshness,
    now: Timestamp,
    style: Style,
    out: &mut dyn Write,
) -> io::Result<()> {
    match freshness {
        Freshness::Fresh { until } => writeln!(out, "{} {}", style.good("fresh"), until_text(*until, now, style)),
        Freshness::InGrace { until } => {
            writeln!(
                out,
                "{}: the timestamp has expired; its grace lasts {}",
                style.warn("in grace"),
                until_text(*until, now, style)
            )
        }
        Freshness::Stale { limit, .. } => {
            writeln!(out, "{}: {}; {}", style.bad("stale"), printable(&limit.to_string()), limit.cure())
        }
    }
}

pub(super) fn print_roles(roles: &[RoleSummary], now: Timestamp, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let width = roles.iter().map(|role| role.role.len()).max().unwrap_or_default();
    for role in roles {
        let keys = match (role.threshold, role.keys) {
            (Some(threshold), Some(keys)) => format!("  {threshold} of {keys} keys"),
            _ => String::new(),
        };
        writeln!(
            out,
            "  {:<width$}  v{:<5} {:<32}{keys}",
            printable(&role.role),
            role.version,
            until_text(role.expires, now, style)
        )?;
    }
    Ok(())
}

/// Key ids that are no hashes are many and harmless: they are counted; whatever else is noted is said in full.
pub(super) fn print_notes(notes: &[Note], style: Style, out: &mut dyn Write) -> io::Result<()> {
    let (names, others): (Vec<&Note>, Vec<&Note>) =
        notes.iter().partition(|note| matches!(note, Note::KeyIdNotHash { .. }));
    for note in others {
        writeln!(out, "  {} {}", style.warn("note:"), printable(&note.to_string()))?;
    }
    match names.len() {
        0 => Ok(()),
        1 => writeln!(out, "  {}", style.faint("1 key id is not the hash of its key; it is taken as a name")),
        count => writeln!(
            out,
            "  {}",
            style.faint(&format!("{count} key ids are not the hash of their key; they are taken as names"))
        ),
    }
}

/// What the memory records of floors that fell.
pub(super) fn print_records(memory: &TrustMemory, style: Style, out: &mut dyn Write) -> io::Result<()> {
    for Recovery { role, had, root_version, at } in &memory.recoveries {
        let text = format!(
            "root v{root_version} replaced keys on {}: {} was held at v{had} and started over",
            day(*at),
            printable(role)
        );
        writeln!(out, "  {} {text}", style.warn("recovery:"))?;
    }
    for ClockLowering { had, to } in &memory.clock_lowerings {
        writeln!(out, "  {} the floor of the clock was lowered from {had} to {to}", style.warn("lowered:"))?;
    }
    Ok(())
}

pub(super) fn print_root(root: &TrustRoot, now: Timestamp, style: Style, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "trusted root {} ({})", printable(&root.name), root.digest)?;
    let mut line = |kind: Kind, name: &str, algorithm: &dyn std::fmt::Display, window: Window| {
        let state = match (window.contains(now), window.start()) {
            (true, _) => style.good("active"),
            (false, Some(start)) if start > now => style.warn("to come"),
            (false, _) => style.faint("ended"),
        };
        let text = match (window.start(), window.end()) {
            (start, Some(end)) => format!("{} to {}", start.map_or_else(String::new, day), day(end)),
            (Some(start), None) => format!("from {}", day(start)),
            (None, None) => "always".to_owned(),
        };
        writeln!(out, "  {:<28} {state:<7} {text:<25} {algorithm:<12} {}", kind.words(), printable(name))
    };
    for authority in &root.certificate_authorities {
        let algorithm =
            authority.chain.first().map_or(holdfast_core::trust::root::KeyAlgorithm::Unknown, |c| c.algorithm);
        line(Kind::CertificateAuthority, authority.name(), &algorithm.to_string(), authority.window)?;
    }
    for log in &root.logs {
        line(Kind::TransparencyLog, &log.name(), &log.algorithm.to_string(), log.window)?;
    }
    for log in &root.ct_logs {
        line(Kind::CtLog, &log.name(), &log.algorithm.to_string(), log.window)?;
    }
    for authority in &root.timestamp_authorities {
        let algorithm =
            authority.chain.first().map_or(holdfast_core::trust::root::KeyAlgorithm::Unknown, |c| c.algorithm);
        line(Kind::TimestampAuthority, authority.name(), &algorithm.to_string(), authority.window)?;
    }
    for key in &root.keys {
        line(Kind::Key, &key.name, &key.algorithm.to_string(), key.window)?;
    }
    print_root_notes(&root.notes, style, out)
}

/// What was set right or left out of a trusted root while it was read.
pub(super) fn print_root_notes(notes: &[RootNote], style: Style, out: &mut dyn Write) -> io::Result<()> {
    notes.iter().try_for_each(|note| writeln!(out, "  {} {}", style.warn("note:"), printable(&note.to_string())))
}

pub(super) fn print_diff(diff: &RootDiff, style: Style, out: &mut dyn Write) -> io::Result<()> {
    if diff.is_empty() {
        writeln!(out, "no change: the two trusted roots say the same")?;
        return print_root_notes(&diff.left_out, style, out);
    }
    let kind = if diff.is_rotation() { "rotation" } else { "no rotation: addresses only" };
    writeln!(out, "{kind}, {} change{}", diff.changes.len(), if diff.changes.len() == 1 { "" } else { "s" })?;
    for change in &diff.changes {
        let mark = match change.happening {
            Happening::Added { .. } => style.good("+ added  "),
            Happening::Removed => style.bad("- removed"),
            Happening::Ended { .. } => style.warn("~ ended  "),
            Happening::WindowChanged { .. } => style.warn("~ window "),
            Happening::Moved { .. } => style.faint("= moved  "),
        };
        writeln!(
            out,
            "  {mark} {} {} ({})",
            change.entry.kind.words(),
            printable(&change.entry.name),
            change.entry.algorithm
        )?;
        writeln!(out, "            {}", change.meaning)?;
    }
    print_root_notes(&diff.left_out, style, out)
}

pub(super) fn print_budget(budget: &Budget, now: Timestamp, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let Some(first) = budget.first() else { return writeln!(out, "nothing that is held ends") };
    let good = if first.until > now { "good " } else { "" };
    writeln!(out, "{good}{}: {}", until_text(first.until, now, style), printable(&first.what))?;
    writeln!(out, "  then {}", first.meaning)?;
    for end in budget.ends.iter().skip(1).take(MAX_ENDS) {
        let label = if end.until <= now { "ended" } else { "next" };
        let when = format!("{:<26}", format!("{} ({})", day(end.until), remaining(end.until, now)));
        writeln!(out, "  {label:<8} {} {}", urgent(&when, end.until, now, style), printable(&end.what))?;
    }
    match budget.ends.len().saturating_sub(1 + MAX_ENDS) {
        0 => Ok(()),
        more => writeln!(out, "  and {more} later"),
    }
}
