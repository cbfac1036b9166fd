//! `TrustBreakGlass`: whether it loosens what it names, and what is missing before it does.

mod reason;
mod status;
mod vain;

pub use reason::BreakGlassReason;
pub use status::{changes, closed_early, status};
pub use vain::Vain;

use jiff::Timestamp;
use serde_json::json;

use crate::api::{GROUP, TrustApproval, TrustBreakGlass, VERSION, strict};
use crate::gate::break_glass::{ActiveBreakGlass, Activity, Caps, Missing, Refusal, activity, open_until};

/// What stands behind the names in a break-glass and its approvals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guards<'a> {
    /// It was not asked: nothing hangs on it.
    NotAsked,
    /// All is there, and was when the break-glass was made.
    InForce,
    /// All is there, and was not certainly when the break-glass was made.
    Newer,
    /// Something is not, for this reason.
    Absent(&'a str),
}

/// What a pass knows of a break-glass.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// As it is declared, with the status it has.
    pub glass: &'a TrustBreakGlass,
    /// What of it cannot be used.
    pub invalid: Option<&'a str>,
    /// What bounds it.
    pub caps: &'a Caps,
    /// What stands behind names.
    pub guards: Guards<'a>,
    /// Approvals that were made while the guards were in force as they are.
    pub approvals: &'a [TrustApproval],
    /// Approvals that were made before.
    pub early: &'a [TrustApproval],
}

/// What a break-glass is.
#[derive(Debug, Clone, PartialEq)]
pub enum Standing {
    /// It loosens what it names.
    Active(Box<ActiveBreakGlass>),
    /// Too few people have approved it.
    Waiting {
        /// What is missing.
        missing: Missing,
        /// Approvals of it that do not count.
        vain: Vec<Vain>,
    },
    /// Nothing counts while the guards are not there.
    Unguarded {
        /// What is not there.
        why: String,
    },
    /// Nothing proves who asked for it.
    MadeUnguarded,
    /// It never counts.
    Refused(Refusal),
    /// It is none that the kind allows.
    Invalid(String),
    /// Its end has come.
    Ended {
        /// When.
        at: Timestamp,
    },
    /// It was deleted, and is only kept by finalizers.
    Closed {
        /// When.
        at: Timestamp,
    },
}

/// What of a break-glass cannot be used, by the rules of its kind: it may be older than a rule, or written while validation was off.
pub fn faults(glass: &TrustBreakGlass) -> Option<String> {
    let document = json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": "TrustBreakGlass",
        "metadata": {"name": glass.metadata.name},
        "spec": glass.spec,
    });
    let faults = strict::decode(&document).err()?;
    Some(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}

/// Decides what a break-glass is at `now`.
pub fn decide(facts: &Facts<'_>, now: Timestamp) -> Standing {
    let (glass, caps) = (facts.glass, facts.caps);
    let guarded = facts.guards == Guards::InForce;
    match activity(glass, facts.approvals, caps, guarded, now) {
        Activity::Expired { at } => Standing::Ended { at },
        Activity::Closed { at } => Standing::Closed { at },
        Activity::Active(_) | Activity::Pending { .. } | Activity::Refused { .. } if facts.invalid.is_some() => {
            Standing::Invalid(facts.invalid.unwrap_or_default().to_owned())
        }
        Activity::Refused { why } => Standing::Refused(why),
        Activity::Active(active) => Standing::Active(active),
        Activity::Pending { missing } => match facts.guards {
            Guards::Absent(why) => Standing::Unguarded { why: why.to_owned() },
            Guards::NotAsked => Standing::Unguarded { why: missing.to_string() },
            Guards::Newer => Standing::MadeUnguarded,
            Guards::InForce => {
                let vain = vain::of(facts, &missing);
                Standing::Waiting { missing, vain }
            }
        },
    }
}

/// When a break-glass ends that may yet count; nothing where there is no question any more.
pub fn open(facts: &Facts<'_>, now: Timestamp) -> Option<Timestamp> {
    open_until(facts.glass, facts.caps, now).ok().filter(|_| facts.invalid.is_none())
}
