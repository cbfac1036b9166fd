//! What would change of what is enforced, as a person reads it.

use std::collections::BTreeSet;
use std::io::{self, Write};

use holdfast_core::Digest;
use holdfast_core::gate::loosening::{AllowedBy, Loosening};
use jiff::Timestamp;

use super::Answer;
use super::compare::{Compared, Looser};
use crate::cli::agree::{Proposal, print_approval};
use crate::cli::output::{Style, printable};

/// Namespaces that are named.
const NAMED: usize = 24;

pub(super) fn print(
    answer: &Answer,
    by: Option<&str>,
    now: Timestamp,
    style: Style,
    out: &mut dyn Write,
) -> io::Result<()> {
    for (at, policy) in answer.policies.iter().enumerate() {
        if at > 0 {
            writeln!(out)?;
        }
        print_policy(policy, style, out)?;
        print_agreements(&policy.loosenings, by, now, out)?;
    }
    if answer.policies.is_empty() {
        writeln!(out, "no SigningIdentityPolicy is declared")?;
    }
    for name in &answer.not_given {
        let name = printable(name);
        writeln!(
            out,
            "\n{} `{name}` is enforced and was not compared: `holdfast diff --delete {name}` says what its deletion takes",
            style.warn("note:")
        )?;
    }
    for note in &answer.notes {
        writeln!(out, "\n{} {}", style.warn("note:"), printable(note))?;
    }
    Ok(())
}

fn print_policy(policy: &Compared, style: Style, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "SigningIdentityPolicy {}", printable(&policy.policy))?;
    if let Some(why) = &policy.unknown {
        return writeln!(out, "  {}: {}", style.warn("not known"), printable(why));
    }
    let Some(in_force) = policy.in_force else {
        return writeln!(out, "  it is enforced nowhere, so no change of it is held");
    };
    let named: Vec<String> = policy.enforced_in.iter().take(NAMED).map(|name| printable(name)).collect();
    let more = match policy.enforced_in.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    writeln!(out, "  enforced  {}{more}", named.join(", "))?;
    writeln!(out, "  in force  {in_force}")?;
    if let Some(declared) = policy.declared {
        writeln!(out, "  declared  {declared}")?;
    }
    match (policy.is_looser(), policy.declared == Some(in_force)) {
        (true, _) => writeln!(out, "  {}: it is held until somebody agrees to it", style.bad("it admits more"))?,
        (false, true) => writeln!(out, "  {}: it is what is in force", style.good("the same"))?,
        (false, false) => {
            writeln!(out, "  {}: it comes into force at once", style.good("it admits nothing more"))?;
        }
    }
    for looser in &policy.loosenings {
        let what = &looser.what;
        let field = if what.field.is_empty() { String::new() } else { format!(", `{}`", what.field) };
        writeln!(out, "  - {}{field}: {}", what.kind, printable(&what.detail))?;
    }
    for weaker in &policy.weaker {
        writeln!(out, "  {} {}", style.warn("note:"), printable(weaker))?;
    }
    Ok(())
}

/// For each digest that waits, what allows it: the strictest of what its parts ask for.
fn print_agreements(loosenings: &[Looser], by: Option<&str>, now: Timestamp, out: &mut dyn Write) -> io::Result<()> {
    let digests: BTreeSet<Digest> = loosenings.iter().map(|looser| looser.what.digest).collect();
    for digest in digests {
        let of: Vec<&Looser> = loosenings.iter().filter(|looser| looser.what.digest == digest).collect();
        let Some(strictest) = of.iter().max_by_key(|looser| looser.allowed_by) else { continue };
        writeln!(out)?;
        if strictest.allowed_by == AllowedBy::Nobody {
            writeln!(out, "  No approval helps: {}", AllowedBy::Nobody.words())?;
            continue;
        }
        writeln!(out, "  the digest to approve is {digest}")?;
        writeln!(out, "  allowed by {}\n", strictest.allowed_by.words())?;
        print_steps(&strictest.what, strictest.allowed_by, by, now, out)?;
    }
    Ok(())
}

fn print_steps(
    what: &Loosening,
    allowed_by: AllowedBy,
    by: Option<&str>,
    now: Timestamp,
    out: &mut dyn Write,
) -> io::Result<()> {
    if allowed_by == AllowedBy::Approval {
        writeln!(
            out,
            "  Somebody approves it in their own name. They need the verb `approve` on this policy, which the role holdfast-approver gives\n  and nobody has by default:\n"
        )?;
        return print_approval(what, out);
    }
    let reason = format!("{what}, as `holdfast diff` shows it", what = what.object);
    Proposal::allows(what, "change", by, &reason, now).print(out)
}
