//! A plan, as a person reads it.

use std::io::{self, Write};

use holdfast_core::coverage::{Coverage, ImageResult};
use holdfast_core::verify::Outcome;

use holdfast_core::operate::mirror::{Candidate, NotYet};

use super::trust::TrustView;
use super::{Plan, applied, rollout_text};
use crate::cli::output::{Style, printable};
use crate::cli::trust_text::{day, print_diff, print_freshness, print_notes, print_roles, print_root_notes, remaining};

/// How many images, namespaces and workloads are named before the rest is counted.
const MAX_IMAGES: usize = 40;
const MAX_NAMESPACES: usize = 12;
const MAX_WORKLOADS: usize = 3;

pub(super) fn print(plan: &Plan, style: Style, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "Plan for {}: {}, {}, {}",
        plan.now,
        count(plan.manifests, "manifest", "manifests"),
        count(plan.workloads, "workload", "workloads"),
        count(plan.rollout.policies.len(), "policy", "policies")
    )?;
    for problem in &plan.problems {
        writeln!(out, "{} {}", style.bad("problem:"), printable(problem))?;
    }
    for unread in &plan.unread {
        writeln!(out, "{} {}", style.warn("not read:"), printable(unread))?;
    }
    if !plan.unknown_namespaces.is_empty() {
        let names: Vec<String> =
            plan.unknown_namespaces.iter().take(MAX_NAMESPACES).map(|name| printable(name)).collect();
        let count = plan.unknown_namespaces.len();
        let note = format!(
            "{count} namespace{} without a manifest, so whether a policy that selects by label is about it is not known: {}",
            plural_be(count),
            names.join(", ")
        );
        writeln!(out, "{} {note}", style.warn("note:"))?;
    }
    for trust in &plan.trust {
        writeln!(out)?;
        print_trust(trust, plan, style, out)?;
    }
    if plan.trust.is_empty() {
        writeln!(out, "\nTRUST  none is declared: no certificate can be verified")?;
    }
    writeln!(out)?;
    print_coverage(&plan.coverage, style, out)?;
    rollout_text::print(&plan.rollout, style, out)?;
    match &plan.changes {
        Some(changes) => applied::print(changes, &plan.rollout.left_alone, style, out),
        None => Ok(()),
    }
}

fn print_trust(trust: &TrustView, plan: &Plan, style: Style, out: &mut dyn Write) -> io::Result<()> {
    write!(out, "TRUST  {}  ", printable(&trust.name))?;
    match (&trust.freshness, &trust.adopted) {
        (Some(freshness), _) => print_freshness(freshness, plan.now, style, out)?,
        (None, Some(_)) => writeln!(out, "given without TUF: nothing says how old it is")?,
        (None, None) => writeln!(out, "{}", style.bad("nothing is in force"))?,
    }
    print_roles(&trust.roles, plan.now, style, out)?;
    print_notes(&trust.notes, style, out)?;
    if let Some(root) = &trust.adopted {
        print_root_notes(&root.notes, style, out)?;
    }
    if let Some(first) = trust.expiry_budget.first() {
        writeln!(
            out,
            "  good until {} ({}): {}",
            day(first.until),
            remaining(first.until, plan.now),
            printable(&first.what)
        )?;
    }
    rollout_text::print_held(&trust.held, style, out)?;
    if let Some(refused) = &trust.refused {
        writeln!(out, "  {} {}", style.bad("refused:"), printable(refused))?;
    }
    if let Some(unseen) = &trust.unseen {
        writeln!(out, "  {} {}", style.warn("not seen:"), unseen)?;
    }
    match &trust.candidate {
        Some(candidate) => print_candidate(candidate, style, out),
        None => Ok(()),
    }
}

fn print_candidate(candidate: &Candidate, style: Style, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "  {} awaiting approval of {}", style.warn("rotation"), candidate.root.digest)?;
    let mut text = Vec::new();
    print_diff(&candidate.changes, style, &mut text)?;
    for line in String::from_utf8_lossy(&text).lines() {
        writeln!(out, "    {line}")?;
    }
    if candidate.not_yet == Some(NotYet::NotRehearsed) {
        writeln!(
            out,
            "    it does not come into force by itself: that takes a BundleCoverageReport over every namespace and with templates, and that every policy can be used"
        )?;
    }
    let Some(impact) = &candidate.impact else { return Ok(()) };
    writeln!(
        out,
        "    of {} images that were judged by it, {} would stop verifying and {} would begin to",
        impact.checked,
        impact.newly_failing.len(),
        impact.newly_passing.len()
    )?;
    if !impact.unjudged.is_empty() {
        writeln!(out, "    {} more could not be judged", impact.unjudged.len())?;
    }
    for (mark, images) in [("-", &impact.newly_failing), ("+", &impact.newly_passing), ("?", &impact.unjudged)] {
        for image in images.iter().take(MAX_WORKLOADS) {
            writeln!(out, "      {mark} {}", printable(image))?;
        }
    }
    Ok(())
}

fn print_coverage(coverage: &Coverage, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let totals = &coverage.totals;
    let in_scope = totals.in_scope();
    if in_scope == 0 {
        return writeln!(out, "COVERAGE  no image is in the scope of a policy ({} out of scope)", totals.out_of_scope);
    }
    writeln!(
        out,
        "COVERAGE  {} of {in_scope} images ({}): {} uncovered, {} unknown, {} out of scope",
        totals.covered,
        percent(totals.covered, in_scope),
        totals.uncovered,
        totals.unknown,
        totals.out_of_scope
    )?;
    let worst: Vec<_> = coverage.by_namespace.iter().filter(|n| n.totals.uncovered + n.totals.unknown > 0).collect();
    if !worst.is_empty() {
        writeln!(out, "\n  {:<24} {:>8} {:>10} {:>8}", "NAMESPACE", "COVERED", "UNCOVERED", "UNKNOWN")?;
        for namespace in worst.iter().take(MAX_NAMESPACES) {
            let totals = &namespace.totals;
            writeln!(
                out,
                "  {:<24} {:>8} {:>10} {:>8}",
                printable(&namespace.namespace),
                totals.covered,
                totals.uncovered,
                totals.unknown
            )?;
        }
        more(worst.len(), MAX_NAMESPACES, out)?;
    }
    let open: Vec<&ImageResult> = coverage.images.iter().filter(|image| image.outcome != Outcome::Covered).collect();
    for (reason, count) in coverage.by_reason.iter().filter(|(reason, _)| reason.outcome() != Outcome::Covered) {
        let owner = format!("owner: {}", reason.owner());
        writeln!(
            out,
            "\n  {} {reason}  {} image{}  {}",
            style.outcome(reason.outcome()),
            count,
            plural(*count),
            style.faint(&owner)
        )?;
        writeln!(out, "    {}", style.faint(reason.meaning()))?;
        let of_reason: Vec<&&ImageResult> = open.iter().filter(|image| image.reason == *reason).collect();
        for image in of_reason.iter().take(MAX_IMAGES) {
            print_image(image, out)?;
        }
        more(of_reason.len(), MAX_IMAGES, out)?;
    }
    let by_tag = coverage.images.iter().filter(|image| image.by_tag && image.outcome == Outcome::Covered).count();
    if by_tag > 0 {
        writeln!(
            out,
            "\n  {by_tag} covered image{} declared by tag: no engine can hold a tag to what was verified; pin the digest",
            plural_be(by_tag)
        )?;
    }
    for (images, what) in [
        (&coverage.denied_as_other, "matched by no policy, in namespaces whose policies deny other images"),
        (&coverage.perhaps_denied_as_other, "perhaps denied so: the labels of a namespace are not known"),
    ] {
        if images.is_empty() {
            continue;
        }
        writeln!(out, "\n  {} image{} {what}:", images.len(), plural_be(images.len()))?;
        for image in images.iter().take(MAX_IMAGES) {
            writeln!(out, "    {}", printable(image))?;
        }
        more(images.len(), MAX_IMAGES, out)?;
    }
    Ok(())
}

fn print_image(image: &ImageResult, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "    {}", printable(&image.image))?;
    let mut workloads: Vec<String> =
        image.workloads.iter().take(MAX_WORKLOADS).map(|workload| printable(&workload.to_string())).collect();
    if image.workloads.len() > MAX_WORKLOADS {
        workloads.push(format!("and {} more", image.workloads.len() - MAX_WORKLOADS));
    }
    writeln!(out, "      used by {}", workloads.join(", "))?;
    writeln!(out, "      {}", printable(&image.message))
}

/// Rounded down: what is not wholly covered never reads as 100 %.
fn percent(part: usize, whole: usize) -> String {
    let tenths = part.saturating_mul(1000) / whole.max(1);
    format!("{}.{}%", tenths / 10, tenths % 10)
}

fn count(number: usize, one: &str, several: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { several })
}

const fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

const fn plural_be(count: usize) -> &'static str {
    if count == 1 { " is" } else { "s are" }
}

fn more(count: usize, shown: usize, out: &mut dyn Write) -> io::Result<()> {
    match count.saturating_sub(shown) {
        0 => Ok(()),
        more => writeln!(out, "    and {more} more; `-o json` lists all"),
    }
}
