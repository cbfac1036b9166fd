//! Soak: credit for time through which every check held.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::Digest;

/// How much time is proven for some namespaces of a wave, and since when.
///
/// Credit is earned by scans, not by waiting: each new complete scan that finds every check passed adds the time since the last one, at most two intervals
/// and at most a quarter of what is needed: however rarely scans are made, four of them at least have to agree.
/// The measure begins at the instant the soak starts or at the scan it starts with, whichever is later, and only ever moves forward: what finished before it
/// adds nothing, so neither a clock that steps back nor an old scan that is read again earns anything. A failed check ends the soak.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Soak {
    /// The wave.
    pub wave: String,
    /// The namespaces that were there when it started; those that came later are not proven by it.
    pub namespaces: BTreeSet<String>,
    /// What was proven: the digest of those parts of the policy that decide what passes.
    pub subject: Digest,
    /// When it started.
    pub started: Timestamp,
    /// Up to when time was counted.
    pub measured: Timestamp,
    /// What was earned.
    pub credit: SignedDuration,
    /// The record in the history that says it started.
    pub record: Digest,
}

/// How many scans it takes at least beside the first.
const SCANS: i64 = 4;

/// How much time is passed over in one step: what a step changes is written down.
const PASSED_OVER: SignedDuration = SignedDuration::from_mins(1);

/// When a scan was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScanTime {
    /// Its start.
    pub started: Timestamp,
    /// Its end.
    pub finished: Timestamp,
    /// How often one is made.
    pub interval: SignedDuration,
}

impl Soak {
    /// Where the measure begins.
    pub fn beginning(scan: ScanTime, now: Timestamp) -> Timestamp {
        scan.finished.max(now)
    }

    /// Adds what a scan earns of what is `needed`; whether it was a new one.
    pub fn earn(&mut self, scan: ScanTime, needed: SignedDuration) -> bool {
        if scan.finished <= self.measured {
            return false;
        }
        // Rounded up, so that four scans are enough and three are not.
        let quarter = SignedDuration::from_secs(needed.as_secs().saturating_add(SCANS - 1) / SCANS);
        let most = scan.interval.saturating_mul(2).min(quarter).max(SignedDuration::ZERO);
        let since = scan.finished.duration_since(self.measured);
        self.measured = scan.finished;
        self.credit = self.credit.saturating_add(since.min(most));
        true
    }

    /// Time until now earns nothing, but for less than a minute of it: through all that was not counted yet, something may have failed unseen.
    pub fn pass_over(&mut self, now: Timestamp) {
        if now.duration_since(self.measured) >= PASSED_OVER {
            self.measured = now;
        }
    }

    /// Whether the clock went back by more than an interval since: the measure would stand still for too long, so the soak has to start again.
    pub fn lies_ahead(&self, interval: SignedDuration, now: Timestamp) -> bool {
        self.measured.duration_since(now) > interval
    }

    /// Whether the numbers can be true: no more was earned than time went by.
    pub fn is_plausible(&self) -> bool {
        self.credit >= SignedDuration::ZERO
            && self.measured >= self.started
            && self.credit <= self.measured.duration_since(self.started)
    }
}
