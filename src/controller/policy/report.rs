//! What people read: the status where it changed, events on change, metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use holdfast_core::api::SigningIdentityPolicy;
use holdfast_core::api::policy::BypassStatus;
use holdfast_core::coverage::Coverage;
use holdfast_core::engines::EngineKind;
use holdfast_core::operate::policy::{Decided, EngineTold, Told, changes, status};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{Resource, ResourceExt};
use tokio::time::Instant;

use super::super::context::Context;
use super::super::failure::Failed;
use super::super::malformed;
use super::super::status as statuses;
use super::apply::{Applied, about};
use super::observe::Observed;

/// How often a status is written at most, while nothing but counts of images change.
const AT_MOST: Duration = Duration::from_secs(10);

/// How soon a status is written again that somebody wrote meanwhile.
const EDITED: Duration = Duration::from_millis(200);

/// Reports; how long until what was put off is told.
///
/// # Errors
/// [`Failed`], where a status cannot be written.
pub(super) async fn report(
    context: &Context,
    observed: &Observed,
    decided: &Decided<'_>,
    coverage: &Coverage,
    applied: &Applied,
    now: Timestamp,
) -> Result<Option<Duration>, Failed> {
    let (can_bypass, can_bypass_beyond) = bypass(context).await?;
    let engines = engines(observed, applied);
    let (mut put_off, mut missing): (Option<Duration>, BTreeSet<String>) = (None, BTreeSet::new());
    let holdings = context.policies.verified.now();
    let verified = |policy: &str| holdings.get(policy).map_or(0, |holding| holding.digests.len());
    context.metrics.policies(decided, &verified);
    for step in &decided.steps {
        let name = step.standing.name();
        let Some(policy) = observed.declared.iter().find(|policy| policy.name_any() == name) else {
            missing.insert(name.to_owned());
            continue;
        };
        let told = Told {
            policy,
            coverage,
            engines: &engines,
            fault: observed.faults.get(name).map(String::as_str),
            namespaces: &observed.namespaces,
            left_out: &observed.left_out,
            can_bypass: &can_bypass,
            can_bypass_beyond,
        };
        let next = status(step, decided, &told, now);
        let old = policy.status.as_ref();
        if old == Some(&next) {
            continue;
        }
        let conditions = |of: &holdfast_core::api::policy::SigningIdentityPolicyStatus| of.conditions.clone();
        let only_counts = old.is_some_and(|old| {
            conditions(old) == conditions(&next)
                && old.enforcement.as_ref().map(|of| (&of.phase, &of.wave, &of.blocked_by))
                    == next.enforcement.as_ref().map(|of| (&of.phase, &of.wave, &of.blocked_by))
        });
        if only_counts && let Some(left) = soon(context, name) {
            put_off = Some(put_off.map_or(left, |known| known.min(left)));
            continue;
        }
        match statuses::write(context, &**policy, &next, &next.conditions).await {
            // It went meanwhile.
            Err(failed) if failed.is_gone() => continue,
            // Somebody edited it meanwhile; the others' are told all the same.
            Err(failed) if failed.is_conflict() => {
                put_off = Some(put_off.map_or(EDITED, |known| known.min(EDITED)));
                continue;
            }
            written => written?,
        }
        context.policies.told.lock().insert(name.to_owned(), Instant::now());
        for change in changes(old, &next) {
            context.event(&about(policy), change.warns, &change.reason, &change.note).await;
        }
    }
    tell_unreadable(context, observed, &mut missing).await?;
    tell_missing(context, missing).await;
    tell_put_back(context, observed, applied).await;
    Ok(put_off)
}

/// Says of each policy that cannot be read what is wrong with it; it is there all the same.
async fn tell_unreadable(context: &Context, observed: &Observed, missing: &mut BTreeSet<String>) -> Result<(), Failed> {
    let mut names = BTreeSet::new();
    for invalid in &observed.unreadable {
        let name = invalid.metadata.name.clone().unwrap_or_default();
        missing.remove(&name);
        malformed::tell::<SigningIdentityPolicy>(context, invalid).await?;
        names.insert(name);
    }
    malformed::keep_only::<SigningIdentityPolicy>(context, &names);
    Ok(())
}

/// Says once of each policy that is enforced and no longer declared that it stays in force: no status is there to say so.
async fn tell_missing(context: &Context, missing: BTreeSet<String>) {
    let before = std::mem::replace(&mut *context.policies.missing.lock(), missing.clone());
    for name in missing.difference(&before) {
        tracing::error!(policy = name, "the policy is enforced and no longer declared; it stays in force");
        let about = ObjectReference {
            api_version: Some(SigningIdentityPolicy::api_version(&()).into_owned()),
            kind: Some(SigningIdentityPolicy::kind(&()).into_owned()),
            name: Some(name.clone()),
            ..ObjectReference::default()
        };
        let note = "it is enforced and no longer declared, and stays in force: declare it again, or take it back with a TrustBreakGlass (`returnToAudit`)";
        context.event(&about, true, "EnforcedAndGone", note).await;
    }
}

/// How long until a status may be written again, where it was not long ago.
fn soon(context: &Context, policy: &str) -> Option<Duration> {
    let told = context.policies.told.lock();
    told.get(policy).and_then(|at| AT_MOST.checked_sub(at.elapsed())).filter(|left| !left.is_zero())
}

async fn tell_put_back(context: &Context, observed: &Observed, applied: &Applied) {
    for what in &applied.put_back {
        let note = format!("{what} was changed or deleted by somebody else, and put back");
        for policy in &observed.declared {
            let name = policy.name_any();
            if what.ends_with(&format!("-{name}"))
                || what.contains(&format!("-{name}-"))
                || observed.declared.len() == 1
            {
                context.event(&about(policy), true, "PutBack", &note).await;
            }
        }
    }
}

async fn bypass(context: &Context) -> Result<(Vec<BypassStatus>, Option<u32>), Failed> {
    let (named, beyond) = context.subjects.look().await?.status();
    Ok((named, (beyond > 0).then_some(beyond)))
}

fn engines(observed: &Observed, applied: &Applied) -> BTreeMap<EngineKind, EngineTold> {
    let of = |kind: &EngineKind| {
        let presence = observed.discovered.of(*kind);
        let seen = observed.engine(*kind, "");
        let told = EngineTold {
            version: presence.version,
            present: presence.present,
            ready: presence.present && presence.faults.is_empty() && seen.ready,
            unwritten: applied.unwritten.get(kind).cloned(),
        };
        (*kind, told)
    };
    EngineKind::ALL.iter().map(of).collect()
}
