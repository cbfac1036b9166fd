//! Is the wall clock sane?
//!
//! TUF metadata carries no signing time, so the floor is the newest *authenticated* time of a log or timestamp authority that was seen. Such a time is
//! taken only as far as five minutes ahead of the clock: one authority with a fast clock must not block a cluster, so more is an alarm and no floor.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// How far ahead of the clock an authenticated time may lie and still become the floor.
pub const TOLERANCE: SignedDuration = SignedDuration::from_mins(5);

/// The newest time that is known to have passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClockFloor {
    floor: Option<Timestamp>,
}

/// What the clock and the floor say of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "clock")]
pub enum Sanity {
    /// Nothing speaks against the clock.
    Sane,
    /// The clock is behind a time that has certainly passed: imports and promotions wait.
    Behind {
        /// What has passed.
        floor: Timestamp,
        /// What the clock says.
        now: Timestamp,
    },
}

/// What became of an authenticated time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observed {
    /// It is within bounds; the floor is at least there.
    Taken,
    /// It lies too far ahead of the clock: one of the two is wrong. The floor stays.
    TooFarAhead,
}

impl ClockFloor {
    /// No time was seen yet.
    pub const UNSET: Self = Self { floor: None };

    /// Where it stands.
    pub const fn floor(self) -> Option<Timestamp> {
        self.floor
    }

    /// Whether no time was seen yet.
    pub const fn is_unset(&self) -> bool {
        self.floor.is_none()
    }

    /// Takes note of an authenticated time.
    pub fn observe(&mut self, authenticated: Timestamp, now: Timestamp) -> Observed {
        let latest = now.saturating_add(TOLERANCE).unwrap_or(Timestamp::MAX);
        if authenticated > latest {
            return Observed::TooFarAhead;
        }
        self.floor = self.floor.max(Some(authenticated));
        Observed::Taken
    }

    /// Judges the clock. It may lie behind by the same five minutes.
    pub fn judge(self, now: Timestamp) -> Sanity {
        let latest = now.saturating_add(TOLERANCE).unwrap_or(Timestamp::MAX);
        match self.floor {
            Some(floor) if floor > latest => Sanity::Behind { floor, now },
            _ => Sanity::Sane,
        }
    }

    /// Lowers the floor: only for a break-glass, which says who wanted it.
    pub fn lower(&mut self, to: Timestamp) {
        self.floor = self.floor.map(|floor| floor.min(to));
    }
}
