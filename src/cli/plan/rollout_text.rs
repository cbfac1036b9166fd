//! Engines and gate of a plan, as a person reads them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use holdfast_core::Digest;
use holdfast_core::engines::{Effect, Loss};
use holdfast_core::gate::loosening::{AllowedBy, Loosening};
use holdfast_core::gate::{AlarmKind, Check};

use super::views::{EngineView, PolicyView, RolloutView, is_of};
use crate::cli::output::{Style, printable};

/// How many sentences of one sort are printed before the rest is counted.
const MAX_LINES: usize = 6;

pub(super) fn print(view: &RolloutView, style: Style, out: &mut dyn Write) -> io::Result<()> {
    if view.policies.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nENGINES")?;
    if let Some(why) = &view.left_alone.everything {
        writeln!(out, "  {} every engine is left as it is: {}", style.bad("left alone"), printable(why))?;
    }
    for engine in &view.engines {
        print_engine(engine, view.left_alone.engines.contains(&engine.name), style, out)?;
    }
    if view.engines.is_empty() && view.left_alone.is_nothing() {
        writeln!(out, "  no policy names one: nothing is rendered, and nothing can be enforced")?;
    }
    for conflict in view.conflicts.iter().take(MAX_LINES) {
        writeln!(out, "  {} {}: {}", style.warn("conflict"), conflict.kind, printable(&conflict.to_string()))?;
    }
    if view.conflicts.len() > MAX_LINES {
        writeln!(out, "    and {} more; `-o json` lists all", view.conflicts.len() - MAX_LINES)?;
    }
    for policy in &view.policies {
        writeln!(out)?;
        print_policy(policy, &view.engines, style, out)?;
    }
    Ok(())
}

fn print_engine(engine: &EngineView, left_alone: bool, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let version = engine.version.map_or_else(|| "of no known version".to_owned(), |version| version.to_string());
    let assumed = if engine.assumed { " (assumed)" } else { "" };
    let kinds = engine.objects.iter().fold(BTreeMap::<&str, usize>::new(), |mut kinds, object| {
        *kinds.entry(&object.kind).or_default() += 1;
        kinds
    });
    let kinds: Vec<String> = kinds.into_iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let objects = if kinds.is_empty() { "no objects".to_owned() } else { kinds.join(", ") };
    writeln!(out, "  {:<18} {:<20} {objects}", engine.name.to_string(), format!("{version}{assumed}"))?;
    if left_alone {
        let note =
            "it could not be given what is enforced, so what it holds stays as it is, and nothing is written to it";
        writeln!(out, "    {} {note}", style.bad("left alone"))?;
    }
    let of_all: Vec<&Loss> = engine.losses.iter().filter(|loss| loss.policy.is_none()).collect();
    print_losses(&of_all, "    ", style, out)
}

fn print_policy(policy: &PolicyView, engines: &[EngineView], style: Style, out: &mut dyn Write) -> io::Result<()> {
    let enforcement = &policy.enforcement;
    let wave = enforcement.wave.as_ref().map(|wave| format!(", wave {wave}")).unwrap_or_default();
    let soak = policy
        .soak
        .as_ref()
        .map(|soak| format!(" ({} of {} h soaked)", soak.earned_seconds / 3600, soak.needed_seconds / 3600));
    let names: Vec<String> = policy.engines.iter().map(ToString::to_string).collect();
    let names = if names.is_empty() { "no engine".to_owned() } else { names.join(", ") };
    writeln!(
        out,
        "POLICY  {}  {}{wave}{}  {}",
        printable(&policy.name),
        enforcement.phase,
        soak.unwrap_or_default(),
        style.faint(&names)
    )?;
    let counts = &policy.coverage;
    writeln!(
        out,
        "  images: {} covered, {} uncovered, {} unknown; the flip would have denied {}",
        counts.covered, counts.uncovered, counts.unknown, enforcement.would_have_denied
    )?;
    if !policy.enforced.is_empty() {
        let names: Vec<String> = policy.enforced.iter().map(|name| printable(name)).collect();
        writeln!(
            out,
            "  {} {}",
            if policy.is_gone { "not declared any more, and denies in" } else { "denies in" },
            names.join(", ")
        )?;
    }
    let passed: Vec<&str> = enforcement.checks.iter().filter(|c| c.passed).map(|c| c.name.as_str()).collect();
    for check in enforcement.checks.iter().filter(|check| !check.passed) {
        writeln!(out, "  {} {:<20} {}", style.bad("✗"), check.name, printable(&check.message))?;
    }
    if passed.len() == Check::ALL.len() {
        writeln!(out, "  {} every check passes", style.good("✓"))?;
    } else if !passed.is_empty() {
        writeln!(out, "  {} {}", style.good("✓"), style.faint(&passed.join(", ")))?;
    }
    // What is held, and what fails, stands in lines of its own.
    let said = [AlarmKind::LooseningHeld, AlarmKind::PromotionHeld, AlarmKind::CheckFailing];
    for alarm in policy.alarms.iter().filter(|alarm| !said.contains(&alarm.kind)) {
        writeln!(out, "  {} {}: {}", style.bad("alarm"), alarm.kind, printable(&alarm.message))?;
    }
    print_held(&policy.held, style, out)?;
    for engine in engines.iter().filter(|engine| policy.engines.contains(&engine.name)) {
        let of_policy: Vec<&Loss> =
            engine.losses.iter().filter(|loss| loss.policy.is_some() && is_of(loss, &policy.name)).collect();
        if !of_policy.is_empty() {
            writeln!(out, "  {}{}", engine.name, verdict(engine, policy))?;
            print_losses(&of_policy, "    ", style, out)?;
        }
    }
    Ok(())
}

/// What waits, and how a plan is made with it.
pub(super) fn print_held(held: &[Loosening], style: Style, out: &mut dyn Write) -> io::Result<()> {
    for loosening in held {
        writeln!(out, "  {} {}", style.bad("held"), printable(&loosening.to_string()))?;
    }
    let approved = held.iter().filter(|held| held.kind.allowed_by() == AllowedBy::Approval).map(|held| held.digest);
    for digest in approved.collect::<BTreeSet<Digest>>() {
        writeln!(out, "    to plan with it: --approve {digest}")?;
    }
    Ok(())
}

fn verdict(engine: &EngineView, policy: &PolicyView) -> String {
    match (engine.refused.iter().any(|refused| refused.policy == policy.name), policy.enforced.is_empty()) {
        (false, _) => String::new(),
        (true, true) => format!(", audit only: {} cannot be given it for enforcement", engine.name),
        (true, false) => format!(", left as it is: {} cannot be given it again for enforcement", engine.name),
    }
}

/// What widens or denies in full; what only needs something, or is left out, by name.
fn print_losses(losses: &[&Loss], indent: &str, style: Style, out: &mut dyn Write) -> io::Result<()> {
    for effect in [Effect::Wider, Effect::Stricter] {
        let of_effect: Vec<&&Loss> = losses.iter().filter(|loss| loss.effect() == effect).collect();
        for loss in of_effect.iter().take(MAX_LINES) {
            let name = if effect == Effect::Wider { style.bad("Wider") } else { style.warn("Stricter") };
            writeln!(out, "{indent}{name} {} (`{}`): {}", loss.kind, loss.field, printable(&loss.detail))?;
            writeln!(out, "{indent}  do: {}", loss.kind.cure())?;
        }
        if of_effect.len() > MAX_LINES {
            writeln!(out, "{indent}and {} more; `-o json` lists all", of_effect.len() - MAX_LINES)?;
        }
    }
    for effect in [Effect::Operational, Effect::NotExpressible] {
        let names: BTreeSet<&str> =
            losses.iter().filter(|loss| loss.effect() == effect).map(|loss| loss.kind.as_str()).collect();
        if !names.is_empty() {
            let names: Vec<&str> = names.into_iter().collect();
            writeln!(out, "{indent}{}", style.faint(&format!("{effect}: {}", names.join(", "))))?;
        }
    }
    Ok(())
}
