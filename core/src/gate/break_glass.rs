//! Which break-glasses and approvals count.
//!
//! A break-glass is in force from its second approval by two people, neither of them the requester, until its end, which is at most 72 hours after it was
//! made. None counts while the admission policies that tie names to requesters are not there and answer holdfast's probe: a name in an object proves
//! nothing by itself.
//!
//! The digest that is approved says nothing of *which* object of its name it is about: one that was closed and is made again has it, too. So an approval
//! counts for a break-glass that was there when it was given, by the API server's clock. `holdfast plan` judges no break-glass, and takes none as open.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};

use super::loosening::{Approval, approval_digest};
use crate::Digest;
use crate::api::break_glass::{BreakGlassPhase, Loosen};
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
    /// It waits.
    Pending {
        /// For what.
        missing: Missing,
    },
    /// It is in force.
    Active(Box<ActiveBreakGlass>),
    /// Its end has come.
    Expired {
        /// When.
        at: Timestamp,
    },
    /// It was deleted, and is only kept by finalizers.
    Closed {
        /// When.
        at: Timestamp,
    },
    /// It never counts.
    Refused {
        /// Why, and what to do.
        why: Refusal,
    },
}

/// What a break-glass waits for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// What gives names a meaning.
    #[error(
        "the admission policies that tie requesters and approvers to their names are absent or did not answer the probe; install them with the chart"
    )]
    Guards,
    /// People.
    #[error(
        "{} of {needed} approvals {} there{}; a TrustApproval for TrustBreakGlass `{name}` with the digest {digest}, by somebody other than {}, is next",
        there.len(), if there.len() == 1 { "is" } else { "are" }, by(there), others(requester, there)
    )]
    Approvals {
        /// The break-glass.
        name: String,
        /// Who approved.
        there: Vec<String>,
        /// How many have to.
        needed: usize,
        /// Of what.
        digest: Digest,
        /// Who asked for it, whose approval does not count.
        requester: String,
    },
}

fn by(there: &[String]) -> String {
    if there.is_empty() { String::new() } else { format!(" (by {})", there.join(", ")) }
}

fn others(requester: &str, there: &[String]) -> String {
    let all: Vec<&str> = std::iter::once(requester).chain(there.iter().map(String::as_str)).collect();
    all.join(" and ")
}

/// Why a break-glass never counts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It loosens nothing, or more than one thing.
    #[error("`loosen` says nothing, or more than one thing; make a new one that says exactly one")]
    NotOne,
    /// It has no end.
    #[error("`until` is `{until}`, which is not a time; make a new one")]
    NoEnd {
        /// What it has.
        until: String,
    },
    /// Nothing says when it was made.
    #[error("it says nothing of when it was made, so its cap cannot be judged")]
    NotMade,
    /// It would last too long.
    #[error("it ends at {until}, later than {latest}, which is the cap; make a shorter one")]
    TooLong {
        /// Its end.
        until: Timestamp,
        /// The latest end it might have.
        latest: Timestamp,
    },
}

/// The end of a break-glass that may yet count at `now`; else what it is, whoever approved it.
///
/// # Errors
/// [`Activity`]: its end has come, it was closed, or it never counts. One that was found ended has ended: a clock that is set back does not open it again.
pub fn open_until(declared: &TrustBreakGlass, caps: &Caps, now: Timestamp) -> Result<Timestamp, Activity> {
    let spec = &declared.spec;
    let refused = |why: Refusal| Activity::Refused { why };
    if let Some(deleted) = &declared.metadata.deletion_timestamp {
        return Err(Activity::Closed { at: deleted.0 });
    }
    if spec.loosen.kind().is_none() {
        return Err(refused(Refusal::NotOne));
    }
    let until: Timestamp = spec.until.parse().map_err(|_| refused(Refusal::NoEnd { until: spec.until.clone() }))?;
    let created = declared.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let created = created.ok_or_else(|| refused(Refusal::NotMade))?;
    let latest = created.saturating_add(caps.longest).unwrap_or(Timestamp::MAX);
    if until > latest {
        return Err(refused(Refusal::TooLong { until, latest }));
    }
    let was_over = declared.status.as_ref().is_some_and(|status| status.phase == Some(BreakGlassPhase::Expired));
    if until <= now || was_over { Err(Activity::Expired { at: until }) } else { Ok(until) }
}

/// Judges a break-glass at `now`. `guarded` says whether the admission policies behind it are there and answered the probe.
pub fn activity(
    declared: &TrustBreakGlass,
    approvals: &[TrustApproval],
    caps: &Caps,
    guarded: bool,
    now: Timestamp,
) -> Activity {
    let until = match open_until(declared, caps, now) {
        Ok(until) => until,
        Err(over) => return over,
    };
    if !guarded {
        return Activity::Pending { missing: Missing::Guards };
    }
    let spec = &declared.spec;
    let name = declared.metadata.name.clone().unwrap_or_default();
    let digest = approval_digest("TrustBreakGlass", &name, spec);
    let there: Vec<TrustApproval> = approvals.iter().filter(|approval| is_of(declared, approval)).cloned().collect();
    let by: BTreeSet<String> = counted(&there, caps, guarded)
        .into_iter()
        .filter(|approval| approval.kind == "TrustBreakGlass" && approval.name == name && approval.digest == digest)
        .map(|approval| approval.by)
        .filter(|by| *by != spec.requested_by)
        .collect();
    let there: Vec<String> = by.into_iter().collect();
    if there.len() < caps.approvers {
        let (needed, requester) = (caps.approvers, spec.requested_by.clone());
        return Activity::Pending { missing: Missing::Approvals { name, there, needed, digest, requester } };
    }
    Activity::Active(Box::new(ActiveBreakGlass { name, loosen: spec.loosen.clone(), until, approved_by: there }))
}

/// Whether an approval was given while this very break-glass was there, and not one of the same name before it. Both times are the API server's, in whole
/// seconds; where one is missing, nothing proves it.
pub fn is_of(declared: &TrustBreakGlass, approval: &TrustApproval) -> bool {
    let made = |metadata: &ObjectMeta| metadata.creation_timestamp.as_ref().map(|time| time.0);
    let (asked, approved) = (made(&declared.metadata), made(&approval.metadata));
    asked.zip(approved).is_some_and(|(asked, approved)| approved >= asked)
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
            made: approval.metadata.creation_timestamp.as_ref().map(|time| time.0),
        })
        .collect()
}
