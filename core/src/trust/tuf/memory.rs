//! What is remembered from one import to the next.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};

use crate::Digest;
use crate::json::Object;
use crate::trust::clock::ClockFloor;

/// How many recoveries, and how many lowerings of the clock's floor, are kept; the oldest go first.
const MAX_RECORDS: usize = 64;

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
    #[serde(deserialize_with = "by_name")]
    pub floors: BTreeMap<String, Floor>,
    /// The versions the accepted snapshot pins, by file name; none of them may go back or vanish.
    pub pins: BTreeMap<String, u64>,
    /// Floors that fell, and why.
    #[serde(default, deserialize_with = "list")]
    pub recoveries: Vec<Recovery>,
    /// The newest authenticated time that was seen: a clock behind it is wrong. No clock raises it.
    #[serde(default, skip_serializing_if = "ClockFloor::is_unset")]
    pub clock_floor: ClockFloor,
    /// When the floor of the clock was lowered, and from what.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "list")]
    pub clock_lowerings: Vec<ClockLowering>,
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

/// The floor of the clock was lowered on request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClockLowering {
    /// Where it stood.
    pub had: Timestamp,
    /// Where it was lowered to: what the clock said then.
    pub to: Timestamp,
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
            clock_lowerings: Vec::new(),
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
            keep_newest(&mut self.recoveries);
        }
    }

    pub(super) fn lower_clock(&mut self, to: Timestamp) {
        if let Some(had) = self.clock_floor.floor().filter(|had| *had > to) {
            self.clock_floor.lower(to);
            self.clock_lowerings.push(ClockLowering { had, to });
            keep_newest(&mut self.clock_lowerings);
        }
        self.last_import = self.last_import.map(|last| last.min(to));
        for floor in self.floors.values_mut() {
            floor.accepted = floor.accepted.min(to);
        }
    }
}

fn by_name<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<BTreeMap<String, T>, D::Error> {
    let objects = BTreeMap::deserialize(deserializer)?;
    Ok(objects.into_iter().map(|(name, Object(value))| (name, value)).collect())
}

fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let objects = Vec::deserialize(deserializer)?;
    Ok(objects.into_iter().map(|Object(value)| value).collect())
}

fn keep_newest<T>(records: &mut Vec<T>) {
    let excess = records.len().saturating_sub(MAX_RECORDS);
    records.drain(..excess);
}
