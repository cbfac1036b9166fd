//! What goes into a refresh, file by file, and what comes out of it.

use jiff::Timestamp;
use serde::Serialize;

/// What to do where a timestamp has the version held and other bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnEquivocation {
    /// Refuse: one version with two contents is never innocent.
    #[default]
    Refuse,
    /// Keep what is held and go on, as section 5.4.3 of the specification asks of a client.
    KeepHeld,
}

/// The file that is needed next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// Its name, relative to the repository's metadata; for targets, to its targets.
    pub name: String,
    /// Bytes to read at most.
    pub max: u64,
    /// Whether it may be absent: only the next root may.
    pub optional: bool,
}

/// What an accepted role says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RoleSummary {
    /// Its name.
    pub role: String,
    /// Its version.
    pub version: u64,
    /// When it expires.
    pub expires: Timestamp,
    /// How many distinct keys may sign it, where the role itself is listed in the root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys: Option<usize>,
    /// How many have to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<usize>,
}
