//! Is what is remembered what was remembered last?
//!
//! A memory that is gone, replaced or set back would let an older, genuine repository in again. It is held against everything that saw it: the status of the
//! mirror, the record of the trust in force, and what this process read before. Whoever sets all of them back at once is not noticed; docs/design/memory.md
//! says who can.

use serde::{Deserialize, Serialize};

use super::reason::MirrorReason;
use crate::Digest;
use crate::api::mirror::StoredStatus;

/// A stored document, as it was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Stored {
    /// The object's uid: one that was deleted and made again has another.
    pub uid: String,
    /// How often it was written; it only rises.
    pub revision: u64,
}

/// A memory of TUF metadata, as it was seen: of one pin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Witness {
    /// The pin it started from.
    pub pin: Digest,
    /// The object.
    #[serde(deserialize_with = "crate::json::object")]
    pub stored: Stored,
}

/// What is remembered, as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Nothing of the kind.
    Absent,
    /// It is there and whole.
    There(Stored),
    /// It is there and cannot be taken up.
    Damaged(String),
}

/// What is wrong with what is remembered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MemoryFault {
    /// It is gone.
    #[error("{what} is gone: {seen_by} saw it at revision {revision}")]
    Lost {
        /// The memory, or the record.
        what: &'static str,
        /// What saw it.
        seen_by: &'static str,
        /// The revision that was seen.
        revision: u64,
    },
    /// It is another object.
    #[error("{what} was deleted and made again: {seen_by} saw another object")]
    Replaced {
        /// The memory, or the record.
        what: &'static str,
        /// What saw the other one.
        seen_by: &'static str,
    },
    /// It is older than it was.
    #[error("{what} was set back: it is at revision {found}, and {seen_by} saw revision {revision}")]
    RolledBack {
        /// The memory, or the record.
        what: &'static str,
        /// What saw the newer one.
        seen_by: &'static str,
        /// The revision that was seen.
        revision: u64,
        /// The revision that is there.
        found: u64,
    },
    /// It cannot be read, or says something else than what it holds.
    #[error("{what} cannot be taken up: {detail}")]
    Damaged {
        /// The memory, or the record.
        what: &'static str,
        /// What is wrong.
        detail: String,
    },
}

impl MemoryFault {
    /// The reason it stands under in status.
    pub const fn reason(&self) -> MirrorReason {
        match self {
            Self::Lost { .. } => MirrorReason::MemoryLost,
            Self::Replaced { .. } => MirrorReason::MemoryReplaced,
            Self::RolledBack { .. } => MirrorReason::MemoryRolledBack,
            Self::Damaged { .. } => MirrorReason::MemoryDamaged,
        }
    }
}

/// Whoever saw a document before.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// In words, as `status`.
    pub by: &'static str,
    /// What was seen; nothing where nothing was there.
    pub stored: Option<&'a Stored>,
}

/// Holds what was found against everybody who saw it.
///
/// # Errors
/// [`MemoryFault`], the first that is found.
pub fn check(what: &'static str, found: &Found, seen: &[Seen<'_>]) -> Result<(), MemoryFault> {
    if let Found::Damaged(detail) = found {
        return Err(MemoryFault::Damaged { what, detail: detail.clone() });
    }
    for Seen { by, stored } in seen {
        let (Some(stored), seen_by, revision) = (stored, *by, stored.map_or(0, |stored| stored.revision)) else {
            continue;
        };
        match found {
            Found::There(there) if there.uid != stored.uid => return Err(MemoryFault::Replaced { what, seen_by }),
            Found::There(there) if there.revision < revision => {
                return Err(MemoryFault::RolledBack { what, seen_by, revision, found: there.revision });
            }
            Found::There(_) => {}
            Found::Absent | Found::Damaged(_) => return Err(MemoryFault::Lost { what, seen_by, revision }),
        }
    }
    Ok(())
}

impl From<&StoredStatus> for Stored {
    fn from(status: &StoredStatus) -> Self {
        Self { uid: status.uid.clone(), revision: status.revision }
    }
}

impl From<&Stored> for StoredStatus {
    fn from(stored: &Stored) -> Self {
        Self { uid: stored.uid.clone(), revision: stored.revision }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(uid: &str, revision: u64) -> Stored {
        Stored { uid: uid.to_owned(), revision }
    }

    #[test]
    fn what_was_seen_has_to_be_there_and_no_older() {
        let seen = stored("a", 5);
        let by = |stored| [Seen { by: "status", stored: None }, Seen { by: "the record", stored }];
        let judge = |found: Found, stored| check("the memory", &found, &by(stored)).map_err(|fault| fault.reason());
        assert_eq!(judge(Found::Absent, None), Ok(()));
        assert_eq!(judge(Found::There(stored("a", 5)), Some(&seen)), Ok(()));
        assert_eq!(judge(Found::There(stored("a", 6)), Some(&seen)), Ok(()));
        assert_eq!(judge(Found::Absent, Some(&seen)), Err(MirrorReason::MemoryLost));
        assert_eq!(judge(Found::There(stored("b", 9)), Some(&seen)), Err(MirrorReason::MemoryReplaced));
        assert_eq!(judge(Found::There(stored("a", 4)), Some(&seen)), Err(MirrorReason::MemoryRolledBack));
        assert_eq!(judge(Found::Damaged(String::new()), None), Err(MirrorReason::MemoryDamaged));
    }
}
