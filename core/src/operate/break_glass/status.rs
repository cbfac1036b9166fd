//! What people read of a break-glass.

use jiff::Timestamp;

use super::{BreakGlassReason, Standing};
use crate::api::TrustBreakGlass;
use crate::api::break_glass::{BreakGlassPhase, Loosen, TrustBreakGlassStatus};
use crate::api::condition::ConditionType;
use crate::gate::break_glass::{Missing, Refusal};
use crate::operate::said::{Change, Said, second};

/// Approvers that are named, at most.
const MAX_APPROVERS: usize = 16;
/// Namespaces that are named, at most.
const MAX_NAMESPACES: usize = 8;

/// The status of a break-glass at `now`. It holds no "now": where nothing changed, it is the one that is there.
pub fn status(glass: &TrustBreakGlass, standing: &Standing, now: Timestamp) -> TrustBreakGlassStatus {
    let old = glass.status.clone().unwrap_or_default();
    let is_active = matches!(standing, Standing::Active(_));
    let found = || second(now).to_string();
    let active_since = old.active_since.clone().or_else(|| is_active.then(found));
    let was_active = active_since.is_some() && !is_active;
    let generation = glass.metadata.generation;
    let said = said(glass, standing, old.active_since.as_deref());
    TrustBreakGlassStatus {
        observed_generation: generation,
        phase: Some(phase(standing)),
        reverted_at: was_active.then(|| old.reverted_at.clone().unwrap_or_else(found)),
        approved_by: approved_by(standing, &old),
        conditions: said.into_iter().map(|said| said.condition(&old.conditions, generation, now)).collect(),
        active_since,
    }
}

const fn phase(standing: &Standing) -> BreakGlassPhase {
    match standing {
        Standing::Active(_) => BreakGlassPhase::Active,
        Standing::Waiting { .. } | Standing::Unguarded { .. } => BreakGlassPhase::Pending,
        Standing::MadeUnguarded | Standing::Refused(_) | Standing::Invalid(_) => BreakGlassPhase::Refused,
        Standing::Ended { .. } => BreakGlassPhase::Expired,
        Standing::Closed { .. } => BreakGlassPhase::Closed,
    }
}

fn approved_by(standing: &Standing, old: &TrustBreakGlassStatus) -> Vec<String> {
    let by = match standing {
        Standing::Active(active) => active.approved_by.as_slice(),
        Standing::Waiting { missing: Missing::Approvals { there, .. }, .. } => there.as_slice(),
        Standing::Ended { .. } | Standing::Closed { .. } => old.approved_by.as_slice(),
        Standing::Waiting { missing: Missing::Guards, .. }
        | Standing::Unguarded { .. }
        | Standing::MadeUnguarded
        | Standing::Refused(_)
        | Standing::Invalid(_) => &[],
    };
    by.iter().take(MAX_APPROVERS).cloned().collect()
}

const fn reason(standing: &Standing) -> BreakGlassReason {
    match standing {
        Standing::Active(_) => BreakGlassReason::InForce,
        Standing::Waiting { .. } => BreakGlassReason::AwaitingApprovals,
        Standing::Unguarded { .. } => BreakGlassReason::Unguarded,
        Standing::MadeUnguarded => BreakGlassReason::MadeUnguarded,
        Standing::Refused(Refusal::TooLong { .. }) => BreakGlassReason::EndTooLate,
        Standing::Refused(Refusal::NotOne | Refusal::NoEnd { .. } | Refusal::NotMade) | Standing::Invalid(_) => {
            BreakGlassReason::BreakGlassInvalid
        }
        Standing::Ended { .. } => BreakGlassReason::Ended,
        Standing::Closed { .. } => BreakGlassReason::ClosedEarly,
    }
}

fn said(glass: &TrustBreakGlass, standing: &Standing, active_since: Option<&str>) -> Vec<Said> {
    use ConditionType::{Active, Ready, Stalled};
    let (reason, message) = (reason(standing), message(glass, standing, active_since));
    let said = |of, holds| Said::new(of, holds, reason, &message);
    match standing {
        Standing::Active(_) => vec![said(Ready, true), said(Active, true)],
        // That it loosens nothing any more is what it declares.
        Standing::Ended { .. } | Standing::Closed { .. } => vec![said(Ready, true), said(Active, false)],
        Standing::Waiting { .. } | Standing::Unguarded { .. } => vec![said(Ready, false), said(Active, false)],
        Standing::MadeUnguarded | Standing::Refused(_) | Standing::Invalid(_) => {
            vec![said(Ready, false), said(Stalled, true), said(Active, false)]
        }
    }
}

fn message(glass: &TrustBreakGlass, standing: &Standing, active_since: Option<&str>) -> String {
    let was = |what: String| match active_since {
        Some(since) => format!("{what}; it was in force since {since}"),
        None => format!("{what}; it was never found in force"),
    };
    match standing {
        Standing::Active(active) => format!(
            "{} until {}, approved by {}; delete it to close it early",
            what(&active.loosen),
            active.until,
            active.approved_by.join(" and ")
        ),
        Standing::Waiting { missing, vain } => {
            let all = std::iter::once(missing.to_string()).chain(vain.iter().map(ToString::to_string));
            all.collect::<Vec<_>>().join("; ")
        }
        Standing::Unguarded { why } => {
            format!("it loosens nothing, and no approval counts, while the guards are not there: {why}")
        }
        Standing::MadeUnguarded => format!(
            "it loosens nothing: it was made before the guards were in force as they are, so nothing proves that {} asked for it; delete it, make a new one, and have that one approved",
            glass.spec.requested_by
        ),
        Standing::Refused(why) => why.to_string(),
        Standing::Invalid(faults) => faults.clone(),
        Standing::Ended { at } => was(format!("it ended at {at}, and loosens nothing any more")),
        Standing::Closed { at } => {
            was(format!("it was deleted at {at}, and loosens nothing any more; finalizers of others keep it"))
        }
    }
}

/// What is loosened, in a sentence without an end.
fn what(loosen: &Loosen) -> String {
    if let Some(of) = &loosen.accept_stale {
        return format!("trust of TrustRootMirror `{}` counts as fresh past its limit", of.trust_root);
    }
    if let Some(of) = &loosen.adopt_without_approval {
        return format!("TrustRootMirror `{}` adopts {} without another approval", of.trust_root, of.digest);
    }
    if let Some(of) = &loosen.return_to_audit {
        let named: Vec<&str> = of.namespaces.iter().take(MAX_NAMESPACES).map(String::as_str).collect();
        let more = match of.namespaces.len().saturating_sub(MAX_NAMESPACES) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        return format!("SigningIdentityPolicy `{}` only reports in {}{more}", of.policy, named.join(", "));
    }
    if let Some(of) = &loosen.allow_change {
        return format!("{} `{}` may take the form or the way that {} names", of.kind, of.name, of.digest);
    }
    if let Some(of) = &loosen.restore_memory {
        return format!("what is remembered of TrustRootMirror `{}` is taken as it is", of.trust_root);
    }
    match &loosen.lower_clock_floor {
        Some(of) => format!("the clock floor of TrustRootMirror `{}` is lowered", of.trust_root),
        None => "nothing is loosened".to_owned(),
    }
}

/// What is worth an event.
pub fn changes(glass: &TrustBreakGlass, new: &TrustBreakGlassStatus) -> Option<Change> {
    let of = ConditionType::Active.as_str();
    let now = new.conditions.iter().find(|condition| condition.type_ == of)?;
    let mut before = glass.status.iter().flat_map(|old| &old.conditions);
    if before.any(|condition| condition.type_ == of && condition.reason == now.reason) {
        return None;
    }
    if new.phase == Some(BreakGlassPhase::Active) {
        let note = format!("{}; asked for by {}: {}", now.message, glass.spec.requested_by, glass.spec.reason);
        return Some(Change { warns: true, ..Change::good("Opened", &note) });
    }
    let calm = [BreakGlassReason::AwaitingApprovals, BreakGlassReason::Ended, BreakGlassReason::ClosedEarly];
    let warns = !calm.iter().any(|reason| reason.as_str() == now.reason);
    Some(Change { warns, ..Change::good(&now.reason, &now.message) })
}

/// That a break-glass in force was deleted.
pub fn closed_early(loosen: &Loosen, until: Timestamp) -> Change {
    let note = format!("it was deleted, and no longer says that {} until {until}", what(loosen));
    Change::good(BreakGlassReason::ClosedEarly.as_str(), &note)
}
