//! Which break-glasses and approvals count.
//!
//! A break-glass is in force from its second approval by two people, neither of them the requester, until its end, which is at most 72 hours after it was
//! made. None counts while the admission policies that tie names to requesters are not there and answer holdfast's probe: a name in an object proves
//! nothing by itself.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::loosening::{Approval, approval_digest};
use crate::api::break_glass::Loosen;
use crate::api::{TrustApproval, TrustBreakGlass};

/// What bounds break-glasses and approvals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Caps {
    /// The longest a break-glass may last from when it was made.
    pub longest: SignedDuration,
    /// How many people have to approve it.
    pub approvers: usize,
    /// Service accounts that may approve; no other may.
    pub service_accounts: BTreeSet<String>,
}

impl Default for Caps {
    fn default() -> Self {
        Self { longest: SignedDuration::from_hours(72), approvers: 2, service_accounts: BTreeSet::new() }
    }
}

/// A break-glass in force.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ActiveBreakGlass {
    /// Its name.
    pub name: String,
    /// What it loosens.
    pub loosen: Loosen,
    /// First instant at which it no longer does.
    pub until: Timestamp,
    /// Who approved it.
    pub approved_by: Vec<String>,
}

/// What a break-glass is at an instant.
#[derive(Debug, Clone, PartialEq)]
pub enum Activity {
    /// It waits for approvals.
    Pending {
        /// What is missing, in a sentence without an end.
        missing: String,
    },
    /// It is in force.
    Active(Box<ActiveBreakGlass>),
    /// Its end has come.
    Expired {
        /// When.
        at: Timestamp,
    },
    /// It never counts.
    Refused {
        /// Why, and what to do.
        why: String,
    },
}

/// Judges a break-glass at `now`. `guarded` says whether the admission policies behind it are there and answered the probe.
pub fn activity(
    declared: &TrustBreakGlass,
    approvals: &[TrustApproval],
    caps: &Caps,
    guarded: bool,
    now: Timestamp,
) -> Activity {
    let spec = &declared.spec;
    let name = declared.metadata.name.clone().unwrap_or_default();
    let refused = |why: String| Activity::Refused { why };
    let Ok(until) = spec.until.parse::<Timestamp>() else {
        return refused(format!("`until` is `{}`, which is not a time; make a new one", spec.until));
    };
    let Some(created) = declared.metadata.creation_timestamp.as_ref().map(|time| time.0) else {
        return refused("it says nothing of when it was made, so its cap cannot be judged".to_owned());
    };
    let latest = created.saturating_add(caps.longest).unwrap_or(Timestamp::MAX);
    if until > latest {
        return refused(format!("it ends at {until}, later than {latest}, which is the cap; make a shorter one"));
    }
    if until <= now {
        return Activity::Expired { at: until };
    }
    if !guarded {
        return Activity::Pending {
            missing: "the admission policies that tie requesters and approvers to their names are absent or did not answer the probe; install them with the chart".to_owned(),
        };
    }
    let digest = approval_digest("TrustBreakGlass", &name, spec);
    let counted = counted(approvals, caps, guarded);
    let by: BTreeSet<&str> = counted
        .iter()
        .filter(|approval| approval.kind == "TrustBreakGlass" && approval.name == name && approval.digest == digest)
        .map(|approval| approval.by.as_str())
        .filter(|by| *by != spec.requested_by)
        .collect();
    if by.len() < caps.approvers {
        return Activity::Pending {
            missing: format!(
                "{} of {} approvals are there; a TrustApproval for TrustBreakGlass `{name}` with the digest {digest}, by somebody other than {}, is next",
                by.len(),
                caps.approvers,
                spec.requested_by
            ),
        };
    }
    let approved_by = by.into_iter().map(str::to_owned).collect();
    Activity::Active(Box::new(ActiveBreakGlass { name, loosen: spec.loosen.clone(), until, approved_by }))
}

/// The approvals that count: none without guards, and none of a service account or another of the cluster's own users (`system:…`) unless it is listed.
pub fn counted(approvals: &[TrustApproval], caps: &Caps, guarded: bool) -> Vec<Approval> {
    approvals
        .iter()
        .filter(|_| guarded)
        .filter(|approval| {
            let by = &approval.spec.approver;
            !by.starts_with("system:") || caps.service_accounts.contains(by)
        })
        .map(|approval| Approval {
            kind: approval.spec.r#for.kind.clone(),
            name: approval.spec.r#for.name.clone(),
            digest: approval.spec.r#for.digest,
            by: approval.spec.approver.clone(),
        })
        .collect()
}
