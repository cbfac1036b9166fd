//! Why an import is refused: a closed set.

mod kind;

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

pub use kind::RefusalKind;

use crate::Digest;
use crate::json::{self, JsonError};

/// A role of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Role(pub String);

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for Role {
    fn from(name: &str) -> Self {
        Self(name.to_owned())
    }
}

/// Why an import, or one step of it, is refused. What was held before stays in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "refusal", rename_all_fields = "camelCase")]
pub enum Refusal {
    /// A version lower than one already accepted.
    #[error(
        "{role} is version {got}, and {had} was already accepted: an older repository was offered. Bring a current one; if the keys of this role were really replaced, a newer root has to say so"
    )]
    Rollback {
        /// The role.
        role: Role,
        /// The version held.
        had: u64,
        /// The version offered.
        got: u64,
    },
    /// Past its end.
    #[error("{role} version {version} expired at {at}: bring a newer copy of the repository{}", grace_hint(.role))]
    Expired {
        /// The role.
        role: Role,
        /// Its version.
        version: u64,
        /// Its end.
        at: Timestamp,
    },
    /// Too few valid signatures by distinct keys.
    #[error(
        "{role} has valid signatures of {got} distinct keys and needs {need}: it is damaged, forged, or signed by keys that are not trusted yet"
    )]
    Threshold {
        /// The role.
        role: Role,
        /// Keys needed.
        need: usize,
        /// Keys found.
        got: usize,
    },
    /// Too few valid signatures, where some keys cannot be read: whether those signed cannot be told.
    #[error(
        "{role} has valid signatures of {got} distinct keys and needs {need}, and {unread} of its keys are in a form that is not read, as keys in hex: whether they signed it cannot be told. Start from a later root, whose keys are PEM (of the public Sigstore repository, version 5 or later)"
    )]
    UnreadKeys {
        /// The role.
        role: Role,
        /// Keys needed.
        need: usize,
        /// Keys found to have signed.
        got: usize,
        /// Keys that cannot be read.
        unread: usize,
    },
    /// The same version with other bytes.
    #[error(
        "{role} version {version} was accepted as {had} and is now offered as {got}: one version has two contents. Ask the publisher; do not import until it is explained"
    )]
    Equivocation {
        /// The role.
        role: Role,
        /// The version.
        version: u64,
        /// The digest held.
        had: Digest,
        /// The digest offered.
        got: Digest,
    },
    /// A file that does not match what the signed metadata says of it.
    #[error(
        "{file} does not match what the signed metadata says of it ({detail}): the copy is damaged, or mixed from two versions of the repository"
    )]
    Mismatch {
        /// The file.
        file: String,
        /// In what.
        detail: String,
    },
    /// A role the held snapshot lists and the new one does not.
    #[error("the snapshot no longer lists {file}, which was accepted before: part of the repository was taken away")]
    Removed {
        /// The file.
        file: String,
    },
    /// A file that is needed and not there.
    #[error("{file} is not there: the copy of the repository is incomplete. Bring a whole one")]
    MissingFile {
        /// The file.
        file: String,
    },
    /// A file larger than is read.
    #[error("{file} has {size} bytes, more than the {max} that are read: it is not what its name says")]
    TooLarge {
        /// The file.
        file: String,
        /// Its size, as declared or read so far.
        size: u64,
        /// Bytes read at most.
        max: u64,
    },
    /// A file that is not metadata of its role.
    #[error("{file} cannot be read: {detail}. Bring it anew from its publisher")]
    Malformed {
        /// The file.
        file: String,
        /// What is wrong, with the place where there is one.
        detail: String,
    },
    /// The bootstrap root is not the pinned one.
    #[error("the bootstrap root has digest {got}, and {pinned} is pinned: it is not the root that was agreed on")]
    PinMismatch {
        /// The digest that is pinned.
        pinned: Digest,
        /// The digest of the offered root.
        got: Digest,
    },
    /// More roots in one import than are followed.
    #[error(
        "the chain of roots is longer than the {max} that are followed in one import: is the source generating them?"
    )]
    TooManyRoots {
        /// Roots followed at most.
        max: u64,
    },
    /// A target name that could leave its directory.
    #[error("the target name `{name}` is not allowed: it is empty, absolute, or has an empty, `.` or `..` segment")]
    UnsafeTargetName {
        /// The name.
        name: String,
    },
    /// No trusted role lists the target.
    #[error("no trusted role of the repository lists the target `{name}`")]
    UnknownTarget {
        /// The name.
        name: String,
    },
    /// The search for a target passed more roles than are visited.
    #[error("the target `{name}` was not found among the first {max} delegated roles")]
    TooManyDelegations {
        /// The target.
        name: String,
        /// Roles visited at most.
        max: usize,
    },
    /// The clock is behind a time that has certainly passed.
    #[error(
        "the clock says {now}, and something was signed at {floor}: the clock is behind, so nothing can be called fresh. Set the clock; if it is right and the authority's ran ahead, lower the floor (--lower-clock-floor)"
    )]
    ClockBehind {
        /// The clock.
        now: Timestamp,
        /// The newest authenticated time that was seen.
        floor: Timestamp,
    },
    /// What is held does not match the memory of it.
    #[error(
        "the held {file} is not what was accepted ({detail}): the state was damaged or changed. Restore it from a backup; starting afresh would forget which versions were already seen"
    )]
    MemoryDamaged {
        /// The file.
        file: String,
        /// What differs.
        detail: String,
    },
}

fn grace_hint(role: &Role) -> &'static str {
    if role.0 == "timestamp" { ", or declare a grace for the courier's way" } else { "" }
}

impl Refusal {
    pub(super) fn json(file: &str, error: &JsonError) -> Self {
        Self::Malformed { file: file.to_owned(), detail: error.to_string() }
    }

    /// The library's error, met while reading `file`.
    pub(super) fn library(file: &str, error: &sigstore_tuf::Error) -> Self {
        use sigstore_tuf::Error;
        let file = file.to_owned();
        match error {
            Error::ThresholdNotMet { role, found, threshold } => {
                Self::Threshold { role: Role(role.clone()), need: *threshold, got: *found }
            }
            Error::Rollback { role, trusted, new } => {
                Self::Rollback { role: Role(role.clone()), had: *trusted, got: *new }
            }
            Error::BadRootVersion { trusted, new } => {
                Self::Mismatch { file, detail: format!("version {new} where {} follows", trusted.saturating_add(1)) }
            }
            Error::IntegrityMismatch(detail) => Self::Mismatch { file, detail: detail.clone() },
            Error::Json(error) => Self::Malformed { file, detail: json::explain(error) },
            Error::Malformed(detail) => Self::Malformed { file, detail: detail.clone() },
            other => Self::Malformed { file, detail: other.to_string() },
        }
    }
}
