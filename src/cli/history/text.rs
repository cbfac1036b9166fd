//! A history, as a person reads it.

use std::io::{self, Write};

use super::model::{EnforcedNow, PolicyHistory, Standing, Told};
use crate::cli::output::{Style, printable};

/// Namespaces that are named.
const NAMED: usize = 24;
/// Characters of one sentence: what others wrote into it may be long.
const LONGEST: usize = 1200;

pub(super) fn print(told: &Told, last: usize, style: Style, out: &mut dyn Write) -> io::Result<()> {
    if told.policies.is_empty() {
        return writeln!(out, "nothing is remembered of any SigningIdentityPolicy");
    }
    for (at, policy) in told.policies.iter().enumerate() {
        if at > 0 {
            writeln!(out)?;
        }
        print_policy(policy, last, style, out)?;
    }
    Ok(())
}

fn print_policy(policy: &PolicyHistory, last: usize, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let phase = policy.phase.map_or_else(String::new, |phase| format!("  {phase}"));
    writeln!(out, "SigningIdentityPolicy {}{phase}", printable(&policy.policy))?;
    match policy.enforced.as_ref().filter(|enforced| !enforced.namespaces.is_empty()) {
        None => writeln!(out, "  enforced  nowhere")?,
        Some(enforced) => print_enforced(enforced, out)?,
    }
    let records = policy.records.records();
    match &policy.standing {
        Standing::Holds => {
            let head = policy.records.head().map_or_else(String::new, |head| format!(", the newest is {head}"));
            writeln!(out, "  records   {}, {} of them{head}", style.good("they hold"), records.len())?;
        }
        Standing::Broken { why } => {
            writeln!(out, "  records   {}: {}", style.bad("they do not hold"), sentence(why))?;
        }
        Standing::Unknown { why } => {
            writeln!(out, "  records   {}: {}", style.warn("not known"), sentence(why))?;
        }
    }
    let older = records.len().saturating_sub(last);
    if !records.is_empty() {
        writeln!(out)?;
    }
    if older > 0 {
        writeln!(out, "  {}", style.faint(&format!("{older} older records: `--last {}` shows them", records.len())))?;
    }
    for record in records.iter().skip(older) {
        // To the second is enough for people; the other forms have all of it.
        let at = record.at.strftime("%Y-%m-%dT%H:%M:%SZ");
        writeln!(out, "  {at}  {:>4}  {}", record.number, sentence(&record.event.to_string()))?;
    }
    Ok(())
}

fn print_enforced(enforced: &EnforcedNow, out: &mut dyn Write) -> io::Result<()> {
    let named = enforced.namespaces.iter().take(NAMED).map(|(name, standing)| {
        let unseen = if standing.observed.is_some() { "" } else { ", not yet seen in force" };
        format!("{} ({}{unseen})", printable(name), printable(&standing.wave))
    });
    let more = match enforced.namespaces.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    writeln!(out, "  enforced  {}{more}", named.collect::<Vec<_>>().join(", "))?;
    writeln!(out, "  form      {}", enforced.form)?;
    let waves = enforced.waves.iter().map(|(name, wave)| match wave.observed {
        Some(at) => format!("{}, in force since {}", printable(name), at.strftime("%Y-%m-%dT%H:%M:%SZ")),
        None => format!("{}, promoted and not yet seen in force", printable(name)),
    });
    writeln!(out, "  waves     {}", waves.collect::<Vec<_>>().join("; "))
}

fn sentence(text: &str) -> String {
    let text = printable(text);
    match text.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use holdfast_core::gate::{Event, History, Named};
    use holdfast_core::operate::policy::Remembered;
    use jiff::Timestamp;

    use super::*;

    fn printed(gate: &Remembered, fault: Option<&str>, last: usize) -> String {
        let mut out = Vec::new();
        let told = Told { policies: vec![PolicyHistory::of("apps", gate, fault)] };
        print(&told, last, Style::of(false), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn history(events: Vec<Event>) -> Remembered {
        let mut history = History::default();
        for event in events {
            history.append(Timestamp::UNIX_EPOCH, event, 512);
        }
        Remembered { history, ..Remembered::default() }
    }

    #[test]
    fn what_others_wrote_moves_no_cursor_and_has_an_end() {
        let why = format!("\x1b[2Jgone{}", "x".repeat(5000));
        let ended = Event::SoakEnded { wave: "a\nb".to_owned(), namespaces: Named::from(&BTreeSet::new()), why };
        let text = printed(&history(vec![ended]), None, 50);
        assert!(!text.contains('\x1b') && text.contains("a\\nb") && text.len() < 2500, "{text}");
    }

    #[test]
    fn only_the_newest_are_shown_and_the_others_counted() {
        let events = (0..30).map(|number| Event::BreakGlassEnded { name: format!("inc-{number}") }).collect();
        let text = printed(&history(events), None, 10);
        assert!(text.contains("20 older records") && text.contains("inc-20") && !text.contains("inc-19`"), "{text}");
        assert!(text.contains("they hold, 30 of them"), "{text}");
    }

    #[test]
    fn what_could_not_be_read_is_not_said_to_hold() {
        let text = printed(&Remembered::default(), Some("it has no revision"), 10);
        assert!(text.contains("not known: it has no revision") && !text.contains("they hold"), "{text}");
    }
}
