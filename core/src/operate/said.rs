//! What a condition says, and what of it is worth an event.

use std::fmt;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::common::Condition;
use crate::api::condition::ConditionType;

/// The longest message in a status, in bytes.
const MAX_MESSAGE: usize = 1024;
/// The longest note of an event, in bytes.
const MAX_NOTE: usize = 1000;

/// What one condition says.
#[derive(Debug, Clone)]
pub(super) struct Said {
    pub(super) of: ConditionType,
    pub(super) status: &'static str,
    pub(super) reason: String,
    pub(super) message: String,
}

impl Said {
    pub(super) fn new(of: ConditionType, holds: bool, reason: impl fmt::Display, message: impl AsRef<str>) -> Self {
        let status = if holds { "True" } else { "False" };
        Self { of, status, reason: reason.to_string(), message: short(message.as_ref()) }
    }

    /// What it said before.
    pub(super) fn again(of: ConditionType, condition: &Condition) -> Self {
        let status = ["True", "False"].into_iter().find(|status| *status == condition.status).unwrap_or("Unknown");
        Self { of, status, reason: condition.reason.clone(), message: condition.message.clone() }
    }

    /// As it is written: since when it has its status is kept.
    pub(super) fn condition(self, old: &[Condition], generation: Option<i64>, now: Timestamp) -> Condition {
        let since = old
            .iter()
            .find(|condition| condition.type_ == self.of.as_str() && condition.status == self.status)
            .map(|condition| condition.last_transition_time.clone());
        Condition {
            type_: self.of.to_string(),
            status: self.status.to_owned(),
            reason: self.reason,
            message: self.message,
            observed_generation: generation,
            // Kubernetes keeps whole seconds: what is compared later has to be what was read back.
            last_transition_time: since.unwrap_or(Time(second(now))),
        }
    }
}

/// Something that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Whether somebody should look.
    pub warns: bool,
    /// A word.
    pub reason: String,
    /// A sentence.
    pub note: String,
}

impl Change {
    pub(super) fn good(reason: &str, note: &str) -> Self {
        Self { warns: false, reason: reason.to_owned(), note: shortened(note, MAX_NOTE) }
    }
}

/// What changed from one status's conditions to the next, for good or ill.
pub(super) fn changes(old: &[Condition], new: &[Condition], mut changes: Vec<Change>) -> Vec<Change> {
    let before = |name: &str| old.iter().find(|condition| condition.type_ == name);
    for kind in ConditionType::ALL {
        if matches!(kind, ConditionType::Reconciling | ConditionType::Stalled) {
            continue;
        }
        let Some(now) = new.iter().find(|condition| condition.type_ == kind.as_str()) else { continue };
        let was = before(kind.as_str());
        if was.is_some_and(|was| was.status == now.status && was.reason == now.reason) {
            continue;
        }
        let ill = |status: &str| status == if kind.healthy() { "False" } else { "True" };
        let (is_ill, was_ill) = (ill(&now.status), was.is_some_and(|was| ill(&was.status)));
        if is_ill || was_ill {
            changes.push(Change {
                warns: is_ill,
                reason: now.reason.clone(),
                note: shortened(&format!("{kind}: {}", now.message), MAX_NOTE),
            });
        }
    }
    // Ready repeats what another condition says.
    let ready = ConditionType::Ready.as_str();
    let repeats =
        |change: &Change| changes.iter().any(|other| other.reason == change.reason && !other.note.starts_with(ready));
    changes.iter().filter(|change| !change.note.starts_with(ready) || !repeats(change)).cloned().collect()
}

/// Kubernetes keeps whole seconds.
pub(super) fn second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// A text as a status holds it.
pub(super) fn short(text: &str) -> String {
    shortened(text, MAX_MESSAGE)
}

/// Words of outside files may be long, and may hold what moves a terminal's cursor.
pub(super) fn shortened(text: &str, most: usize) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match text.char_indices().find(|(at, c)| at + c.len_utf8() > most) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text,
    }
}
