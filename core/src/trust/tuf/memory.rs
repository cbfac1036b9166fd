//! What is remembered from one import to the next.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Digest;
use crate::trust::clock::ClockFloor;

/// How many recoveries are kept; the oldest go first.
const MAX_RECOVERIES: usize = 64;

/// The highest accepted version of every role, and what was accepted.
///
/// Losing it is a fault, never a fresh start: without it any genuine but older repository would be accepted again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrustMemory {
    /// The layout of this document.
    pub schema: u32,
    /// The digest of the root everything started from.
    pub pin: Digest,
    /// The floor of every role ever accepted: `root`, `timestamp`, `snapshot`, `targets`, and delegated roles by name.
    pub floors: BTreeMap<String, Floor>,
    /// The versions the accepted snapshot pins, by file name; none of them may go back or vanish.
    pub pins: BTreeMap<String, u64>,
    /// Floors that fell, and why.
    #[serde(default)]
    pub recoveries: Vec<Recovery>,
    /// The newest authenticated time that was seen: a clock behind it is wrong. No clock raises it.
    #[serde(default, skip_serializing_if = "ClockFloor::is_unset")]
    pub clock_floor: ClockFloor,
    /// What the clock said when an import last brought something newer to its end. It decides nothing; a clock that has gone back since is noted.
    #[serde(default, alias = "lastAccepted", skip_serializing_if = "Option::is_none")]
    pub last_import: Option<Timestamp>,
}

/// The accepted version of one role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Floor {
    /// Its version; lower ones are refused.
    pub version: u64,
    /// SHA-256 of its bytes; the same version with other bytes is refused.
    pub digest: Digest,
    /// When it expires.
    pub expires: Timestamp,
    /// When this version was first accepted; seeing it again confirms nothing.
    pub accepted: Timestamp,
}

/// A floor that fell because an accepted root changed the keys that stood behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Recovery {
    /// The role.
    pub role: String,
    /// The version it was held at.
    pub had: u64,
    /// The root version that changed the keys.
    pub root_version: u64,
    /// When.
    pub at: Timestamp,
}

impl TrustMemory {
    /// The layout written by this version.
    pub const SCHEMA: u32 = 1;

    pub(super) const fn new(pin: Digest) -> Self {
        Self {
            schema: Self::SCHEMA,
            pin,
            floors: BTreeMap::new(),
            pins: BTreeMap::new(),
            recoveries: Vec::new(),
            clock_floor: ClockFloor::UNSET,
            last_import: None,
        }
    }

    /// Takes note of an accepted role; the first acceptance of a version keeps its instant.
    pub(super) fn accept(&mut self, role: &str, version: u64, bytes: &[u8], expires: Timestamp, now: Timestamp) {
        let digest = Digest::of(bytes);
        let known = self.floors.get(role).is_some_and(|floor| floor.version == version && floor.digest == digest);
        if !known {
            self.floors.insert(role.to_owned(), Floor { version, digest, expires, accepted: now });
        }
    }

    pub(super) fn recover(&mut self, role: &str, root_version: u64, now: Timestamp) {
        if let Some(floor) = self.floors.remove(role) {
            self.recoveries.push(Recovery { role: role.to_owned(), had: floor.version, root_version, at: now });
            let excess = self.recoveries.len().saturating_sub(MAX_RECOVERIES);
            self.recoveries.drain(..excess);
        }
    }
}
