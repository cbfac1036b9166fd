//! What comes of an image, in one sentence, with what each policy says of it.

use std::io::{self, Write};

use holdfast_core::verify::Outcome;

use super::intake::Change;
use super::{Answer, End, Judged, Said, Taken};
use crate::cli::output::{Style, printable};

pub(super) fn print(answer: &Answer, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let image = printable(&answer.image);
    let native = answer.policies.iter().any(|said| said.intake.is_some());
    match &answer.end {
        End::Admitted if answer.dry_run && native => {
            writeln!(out, "{}: {image} is verified; without --dry-run it would be admitted", style.good("yes"))?;
        }
        End::Admitted if native => {
            writeln!(out, "{}: {image} will be admitted; holdfast lists it as verified", style.good("yes"))?;
        }
        End::Admitted => writeln!(
            out,
            "{}: {image} will be admitted; the engines of these policies look for themselves, so nothing has to be added",
            style.good("yes")
        )?,
        End::Refused => writeln!(out, "{}: {image} will not be admitted; {}", style.bad("no"), blame(answer))?,
        End::NotKnown => writeln!(
            out,
            "{}: nothing was added for {image}, because what a policy says of it is not known; {}",
            style.warn("not known"),
            blame(answer)
        )?,
        End::OutOfScope => writeln!(
            out,
            "{}: no policy is about {image}, so nothing was added; where other images are denied, a policy has to name it first (owner: security)",
            style.warn("out of scope")
        )?,
        End::NotYet { why } => {
            writeln!(out, "{}: {image} is not admitted yet; {}", style.warn("not yet"), printable(why))?;
        }
    }
    for said in &answer.policies {
        print_policy(said, answer.dry_run, style, out)?;
    }
    for note in &answer.notes {
        writeln!(out, "  {} {}", style.warn("note:"), printable(note))?;
    }
    Ok(())
}

/// Which policy it is, and whose move.
fn blame(answer: &Answer) -> String {
    let worst = |wanted: Outcome| {
        answer.policies.iter().find_map(|said| match &said.verdict {
            Judged::Verdict { outcome, reason, owner, cure, .. } if *outcome == wanted => {
                Some(format!("policy `{}` says {reason} (owner: {owner}); to cure it: {cure}", printable(&said.policy)))
            }
            _ => None,
        })
    };
    worst(Outcome::Uncovered)
        .or_else(|| worst(Outcome::Unknown))
        .unwrap_or_else(|| "a policy that cannot be used may be about it (owner: security); see the notes".to_owned())
}

fn print_policy(said: &Said, dry_run: bool, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let policy = printable(&said.policy);
    match &said.verdict {
        Judged::Exempt => writeln!(out, "  {}  under policy `{policy}`, which exempts it", style.good("exempt"))?,
        Judged::Verdict { outcome, reason, message, .. } => {
            writeln!(out, "  {}  under policy `{policy}`: {reason}, {}", style.outcome(*outcome), printable(message))?;
        }
    }
    match &said.intake {
        Some(Change::Added) if dry_run => writeln!(out, "           would be added to its intake"),
        Some(Change::Added) => writeln!(out, "           added to its intake"),
        Some(Change::There) => writeln!(out, "           is in its intake already"),
        _ => Ok(()),
    }
}

pub(super) fn print_removed(
    image: &str,
    taken: &[Taken],
    dry_run: bool,
    style: Style,
    out: &mut dyn Write,
) -> io::Result<()> {
    let image = printable(image);
    let mut was_there = false;
    for Taken { policy, change } in taken {
        let policy = printable(policy);
        match change {
            Change::Removed if dry_run => writeln!(out, "policy `{policy}`: would be taken out of the intake")?,
            Change::Removed => writeln!(out, "policy `{policy}`: taken out of the intake")?,
            Change::OfOthers { managers } => writeln!(
                out,
                "policy `{policy}`: {}, by {}; take it out where they have it from",
                style.bad("it is listed by others"),
                printable(&managers.join(", "))
            )?,
            Change::Added | Change::There | Change::NotThere => continue,
        }
        was_there = true;
    }
    if was_there {
        writeln!(
            out,
            "{image} stays verified until nothing has used it for 30 days: what was proven of it is still true. To deny it at once, revoke what vouches for it."
        )
    } else {
        writeln!(out, "{image} is in no intake")
    }
}
