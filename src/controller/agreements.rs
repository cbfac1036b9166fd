//! What people agreed to and counts: break-glasses in force, and approvals.

use std::sync::Arc;

use holdfast_core::api::break_glass::Loosen;
use holdfast_core::api::{TrustApproval, TrustBreakGlass};
use holdfast_core::gate::break_glass::{self, ActiveBreakGlass, Activity, Caps};
use holdfast_core::gate::loosening::Approval;
use holdfast_core::operate::break_glass::faults;
use jiff::Timestamp;
use kube::Resource;

use super::context::Context;
use super::failure::Failed;
use super::guards::Guarding;
use crate::clock;

/// The break-glasses in force, and the answer of the guards, where there was a question.
#[derive(Debug, Clone, Default)]
pub(crate) struct Glasses {
    /// Those in force.
    pub(crate) active: Vec<ActiveBreakGlass>,
    /// What the guards said; nothing where nobody had to be asked.
    pub(crate) guarding: Option<Guarding>,
}

impl Glasses {
    /// First instant at which one of them ends.
    pub(crate) fn ends(&self) -> Option<Timestamp> {
        self.active.iter().map(|glass| glass.until).min()
    }
}

/// The break-glasses in force that concern somebody. The guards are asked, and asked now, only where one would be in force with them: not for one that has
/// ended, never counts, or waits for people.
///
/// # Errors
/// [`Failed`], where the guards cannot be asked.
pub(crate) async fn active(context: &Context, concerns: impl Fn(&Loosen) -> bool) -> Result<Glasses, Failed> {
    let (caps, now) = (caps(context), clock::now());
    let declared = context.caches.break_glasses.state();
    let of_somebody = declared.iter().filter_map(|glass| glass.0.as_ref().ok()).filter(|glass| {
        concerns(&glass.spec.loosen) && break_glass::open_until(glass, &caps, now).is_ok() && faults(glass).is_none()
    });
    let open: Vec<&TrustBreakGlass> = of_somebody.collect();
    if open.is_empty() {
        return Ok(Glasses::default());
    }
    let in_force = |glass: &TrustBreakGlass, approvals: &[TrustApproval], guarded: bool| match break_glass::activity(
        glass, approvals, &caps, guarded, now,
    ) {
        Activity::Active(active) => Some(*active),
        Activity::Pending { .. } | Activity::Expired { .. } | Activity::Closed { .. } | Activity::Refused { .. } => {
            None
        }
    };
    // Those that are there before the guards are asked: of what is made later, the answer says nothing.
    let declared = declared_approvals(context);
    let all: Vec<TrustApproval> = declared.iter().map(|approval| (**approval).clone()).collect();
    if !open.iter().any(|glass| in_force(glass, &all, true).is_some()) {
        return Ok(Glasses::default());
    }
    let guarding = context.guards.look_now().await?;
    let approvals = while_guarded(&declared, &guarding);
    let active = open.into_iter().filter_map(|glass| in_force(glass, &approvals, guarding.covers(made(glass))));
    Ok(Glasses { active: active.collect(), guarding: Some(guarding) })
}

/// The approvals of one object that count, as the guards answered.
pub(crate) fn approvals(context: &Context, kind: &str, name: &str, guarding: &Guarding) -> Vec<Approval> {
    approvals_that(context, kind, name, guarding, |_| true)
}

/// The same, but for those of which `counts` does not hold.
pub(crate) fn approvals_that(
    context: &Context,
    kind: &str,
    name: &str,
    guarding: &Guarding,
    counts: impl Fn(&TrustApproval) -> bool,
) -> Vec<Approval> {
    let mut approved = while_guarded(&declared_approvals(context), guarding);
    approved.retain(|approval| {
        let of = &approval.spec.r#for;
        of.kind == kind && of.name == name && counts(approval)
    });
    break_glass::counted(&approved, &caps(context), guarding.why_not().is_none())
}

/// Every approval that can be read, whether it counts or not.
pub(crate) fn declared_approvals(context: &Context) -> Vec<Arc<TrustApproval>> {
    let all = context.caches.approvals.state();
    all.iter().filter_map(|approval| approval.0.as_ref().ok()).map(|approval| Arc::new(approval.clone())).collect()
}

/// What bounds break-glasses and approvals here.
pub(crate) fn caps(context: &Context) -> Caps {
    Caps { service_accounts: context.settings.approving_service_accounts.iter().cloned().collect(), ..Caps::default() }
}

/// When something was made, by the API server's clock.
pub(crate) fn made(object: &impl Resource) -> Option<Timestamp> {
    object.meta().creation_timestamp.as_ref().map(|time| time.0)
}

/// The approvals that count: those made while the guards were there.
pub(crate) fn while_guarded(approvals: &[Arc<TrustApproval>], guarding: &Guarding) -> Vec<TrustApproval> {
    approvals
        .iter()
        .filter(|approval| guarding.covers(made(approval.as_ref())))
        .map(|approval| (**approval).clone())
        .collect()
}
