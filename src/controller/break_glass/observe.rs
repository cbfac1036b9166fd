//! What is there: the approvals, and what stands behind the names in them.

use std::sync::Arc;

use holdfast_core::api::{TrustApproval, TrustBreakGlass};
use holdfast_core::gate::break_glass::{Activity, Caps, activity};
use holdfast_core::operate::break_glass::{Facts, Guards, faults, open};
use kube::ResourceExt;

use super::super::agreements::{caps, declared_approvals, made, while_guarded};
use super::super::context::Context;
use super::super::failure::Failed;
use super::super::guards::Guarding;
use crate::clock;

/// Everything a pass knows.
pub(super) struct Observed {
    invalid: Option<String>,
    caps: Caps,
    /// Nothing where there was no question.
    guarding: Option<Guarding>,
    /// Whether the guards were in force as they are when the break-glass was made.
    covered: bool,
    approvals: Vec<TrustApproval>,
    early: Vec<TrustApproval>,
}

impl Observed {
    /// What is decided on.
    pub(super) fn facts<'a>(&'a self, glass: &'a TrustBreakGlass) -> Facts<'a> {
        let guards = match &self.guarding {
            None => Guards::NotAsked,
            Some(Guarding::Absent(why) | Guarding::Unclear(why)) => Guards::Absent(why),
            Some(Guarding::Since(_)) if self.covered => Guards::InForce,
            Some(Guarding::Since(_)) => Guards::Newer,
        };
        let (approvals, early) = (&self.approvals, &self.early);
        Facts { glass, invalid: self.invalid.as_deref(), caps: &self.caps, guards, approvals, early }
    }

    fn guarded_by(&mut self, guarding: Guarding, glass: &TrustBreakGlass, declared: &[Arc<TrustApproval>]) {
        self.approvals = while_guarded(declared, &guarding);
        let is_early = |approval: &&Arc<TrustApproval>| !self.approvals.contains(approval);
        self.early = declared.iter().filter(is_early).map(|approval| (**approval).clone()).collect();
        self.covered = guarding.covers(made(glass));
        self.guarding = Some(guarding);
    }
}

/// Looks. The guards are asked where the answer matters: not of a break-glass that has ended or never counts.
///
/// # Errors
/// [`Failed`], where one could not look.
pub(super) async fn observe(context: &Context, glass: &TrustBreakGlass) -> Result<Observed, Failed> {
    let mut observed = Observed {
        invalid: faults(glass),
        caps: caps(context),
        guarding: None,
        covered: false,
        approvals: Vec::new(),
        early: Vec::new(),
    };
    if open(&observed.facts(glass), clock::now()).is_none() {
        return Ok(observed);
    }
    let name = glass.name_any();
    // Those that are there before the guards are asked: of what is made later, the answer says nothing.
    let mut declared = declared_approvals(context);
    declared.retain(|approval| approval.spec.r#for.kind == "TrustBreakGlass" && approval.spec.r#for.name == name);
    let all: Vec<TrustApproval> = declared.iter().map(|approval| (**approval).clone()).collect();
    let with_them = activity(glass, &all, &observed.caps, true, clock::now());
    let guarding = match with_them {
        // An answer from before something was written says nothing of it.
        Activity::Active(_) => context.guards.look_now().await?,
        _ => context.guards.look().await?,
    };
    observed.guarded_by(guarding, glass, &declared);
    Ok(observed)
}
