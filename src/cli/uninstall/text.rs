//! What stands in the way, what would go, and what is left, as a person reads it.

use std::io::{self, Write};

use jiff::Timestamp;

use super::estate::Estate;
use super::standing::Enforcing;
use crate::cli::agree::Proposal;
use crate::cli::output::{Style, printable};

/// Objects that are named.
const NAMED: usize = 20;

/// Says which policies are enforced, and how each is let go.
pub(super) fn refuse(
    estate: &Estate,
    by: Option<&str>,
    now: Timestamp,
    style: Style,
    out: &mut dyn Write,
) -> io::Result<()> {
    let count = estate.enforcing.len();
    let are = if count == 1 { "policy is" } else { "policies are" };
    writeln!(out, "{}: {count} {are} enforced, and nothing was deleted.", style.bad("refused"))?;
    writeln!(
        out,
        "Without holdfast they would go on denying, and nobody would verify what is new. Letting one go takes a break-glass:"
    )?;
    for policy in &estate.enforcing {
        writeln!(out)?;
        let_go(policy, by, now, style, out)?;
    }
    writeln!(out, "Then run `holdfast uninstall` again.")
}

fn let_go(policy: &Enforcing, by: Option<&str>, now: Timestamp, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let name = printable(&policy.policy);
    let phase = policy.phase.as_ref().map_or_else(String::new, |phase| format!(" ({})", printable(phase)));
    writeln!(out, "SigningIdentityPolicy {name}{phase}")?;
    writeln!(out, "  denies in {}\n", some(policy.namespaces.iter(), "namespaces that nobody knows"))?;
    let deletion = match &policy.deletion {
        Ok(deletion) => deletion,
        Err(why) => {
            return writeln!(
                out,
                "  {}: {}. `holdfast history {name}` says what is known; the status of the policy says how it is recovered\n",
                style.warn("its deletion cannot be proposed"),
                printable(why)
            );
        }
    };
    let reason = format!("uninstalling holdfast: SigningIdentityPolicy {} goes", policy.policy);
    Proposal::allows(deletion, "uninstall", by, &reason, now).print(out)?;
    if policy.is_declared {
        writeln!(out, "  4. Take the policy out of git, and delete it while the break-glass is Active:\n")?;
        writeln!(out, "kubectl delete signingidentitypolicy {name}\n")
    } else {
        writeln!(out, "  4. The policy is no longer declared: holdfast lets it go once the break-glass is Active.\n")
    }
}

/// Says what `--yes` would do.
pub(super) fn intend(estate: &Estate, namespace: &str, style: Style, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}: no policy is enforced.", style.good("nothing stands in the way"))?;
    if estate.is_bare() && estate.given.is_empty() {
        writeln!(out, "Nothing is declared.")?;
    } else {
        writeln!(out, "`holdfast uninstall --yes` would delete, in this order (take them out of git before):")?;
        for (kind, names) in estate.declared.iter().filter(|(_, names)| !names.is_empty()) {
            writeln!(out, "  {kind}: {}", some(names.iter(), "none"))?;
        }
        if !estate.given.is_empty() {
            writeln!(
                out,
                "and wait until holdfast, which has to run for it, has taken away what it wrote:\n  {}",
                some(estate.given.iter(), "none")
            )?;
        }
    }
    writeln!(out)?;
    rest(estate, namespace, style, out)
}

/// Says what did not go.
pub(super) fn left(what: &[String], namespace: &str, style: Style, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "\n{}: still there are {}", style.warn("not done"), some(what.iter(), "none"))?;
    writeln!(
        out,
        "holdfast takes them away itself as long as it runs: see `kubectl get pods --namespace {}` and its log. Running this again goes on where it ended.",
        printable(namespace)
    )
}

/// Says what is left for Helm, what is kept on purpose, and how it goes by hand.
pub(super) fn rest(estate: &Estate, namespace: &str, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let namespace = printable(namespace);
    writeln!(out, "{}", style.good("What is left for Helm: the operator, its rights, and its settings:\n"))?;
    match &estate.release {
        Some(release) => writeln!(out, "helm uninstall {} --namespace {namespace}\n", printable(release))?,
        None => writeln!(
            out,
            "helm uninstall <release> --namespace {namespace}      # Helm is not seen to have made it: with kustomize, `kubectl delete -k` what you applied\n"
        )?,
    }
    writeln!(out, "Kept on purpose, so that a new installation goes on where this one ended:")?;
    if estate.keeps_definitions {
        writeln!(out, "  the definitions of the kinds, and with them whatever is declared")?;
    }
    writeln!(
        out,
        "  the guards: admission policies named holdfast-guard-…, which also let nobody change what is remembered"
    )?;
    writeln!(out, "  what is remembered: {}", some(estate.memory.iter(), "nothing"))?;
    if !estate.distributed.is_empty() {
        writeln!(out, "  trust that others may still read: {}", some(estate.distributed.iter(), "none"))?;
    }
    writeln!(out, "\nIf it is to be forgotten, after Helm, in this order:\n")?;
    writeln!(
        out,
        "kubectl get validatingadmissionpolicybindings,validatingadmissionpolicies --output name | grep /holdfast-guard- | xargs kubectl delete"
    )?;
    writeln!(out, "kubectl delete configmaps --namespace {namespace} --selector holdfast.dev/memory")?;
    for config_map in estate.distributed.iter().take(NAMED) {
        if let Some((at, name)) = config_map.split_once('/') {
            writeln!(out, "kubectl delete configmap --namespace {} {}", printable(at), printable(name))?;
        }
    }
    writeln!(
        out,
        "kubectl get customresourcedefinitions --output name | grep '\\.holdfast\\.dev$' | xargs kubectl delete"
    )?;
    writeln!(out, "kubectl delete namespace {namespace}")
}

/// Names, as many as a person reads.
fn some<'a>(names: impl ExactSizeIterator<Item = &'a String>, none: &str) -> String {
    let count = names.len();
    if count == 0 {
        return none.to_owned();
    }
    let first = names.take(NAMED).map(|name| printable(name)).collect::<Vec<String>>().join(", ");
    match count.saturating_sub(NAMED) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}
