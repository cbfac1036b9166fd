//! What is worth an event: what changed from one status to the next, for good or ill.

use crate::api::condition::ConditionType;
use crate::api::mirror::TrustRootMirrorStatus;

/// The longest note of an event, in bytes.
const MAX_NOTE: usize = 1000;

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

/// What changed from `old` to `new`.
pub fn changes(old: Option<&TrustRootMirrorStatus>, new: &TrustRootMirrorStatus) -> Vec<Change> {
    let before = |name: &str| old.and_then(|old| old.conditions.iter().find(|condition| condition.type_ == name));
    let mut changes: Vec<Change> = Vec::new();
    let adopted = |status: &TrustRootMirrorStatus| status.adopted.as_ref().map(|adopted| adopted.digest);
    if let Some(now) = new.adopted.as_ref().filter(|now| old.and_then(adopted) != Some(now.digest)) {
        let by = now.approved_by.as_deref().unwrap_or("its first import");
        changes.push(Change {
            warns: false,
            reason: "Adopted".to_owned(),
            note: short(&format!("the trust {} is in force, by {by}", now.digest)),
        });
    }
    for kind in ConditionType::ALL {
        if matches!(kind, ConditionType::Reconciling | ConditionType::Stalled) {
            continue;
        }
        let Some(now) = new.conditions.iter().find(|condition| condition.type_ == kind.as_str()) else { continue };
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
                note: short(&format!("{kind}: {}", now.message)),
            });
        }
    }
    // Ready repeats what another condition says.
    let ready = ConditionType::Ready.as_str();
    let repeats =
        |change: &Change| changes.iter().any(|other| other.reason == change.reason && !other.note.starts_with(ready));
    changes.iter().filter(|change| !change.note.starts_with(ready) || !repeats(change)).cloned().collect()
}

/// Words of outside files may be long, and may hold what moves a terminal's cursor.
fn short(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match text.char_indices().find(|(at, c)| at + c.len_utf8() > MAX_NOTE) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text,
    }
}
