//! The two clocks: how old may what upstream last said be, and how long is it since anything new arrived?

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::tuf::{Grace, RoleSummary, TrustMemory};

/// What is declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settings {
    /// How long past its expiry the timestamp still counts.
    pub grace: Grace,
    /// How long a timestamp version counts from when it was first accepted here; no limit where absent.
    pub max_age: Option<SignedDuration>,
}

/// Whether what is held is still current.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "state")]
pub enum Freshness {
    /// Within all limits.
    Fresh {
        /// When that changes, if nothing newer arrives.
        until: Timestamp,
    },
    /// The timestamp has expired, and the declared grace covers it.
    InGrace {
        /// When the grace ends.
        until: Timestamp,
    },
    /// Past a limit.
    Stale {
        /// Since when.
        since: Timestamp,
        /// Which limit.
        limit: String,
    },
}

impl Freshness {
    /// Judges what is held at `now`.
    ///
    /// The upstream clock is the expiry of the roles; only the timestamp has a grace. The local clock runs from the instant at which *this version* of the
    /// timestamp was first accepted: reading the same file again confirms nothing.
    pub fn judge(roles: &[RoleSummary], memory: &TrustMemory, settings: Settings, now: Timestamp) -> Self {
        // A delegated role that expires takes only its own targets with it.
        let top_level =
            roles.iter().filter(|role| matches!(role.role.as_str(), "root" | "timestamp" | "snapshot" | "targets"));
        let mut limits: Vec<(Timestamp, String)> = top_level
            .map(|role| {
                let grace = if role.role == "timestamp" { settings.grace.duration() } else { SignedDuration::ZERO };
                let end = role.expires.saturating_add(grace).unwrap_or(Timestamp::MAX);
                (end, format!("{} version {} expired at {}", role.role, role.version, role.expires))
            })
            .collect();
        if let (Some(max_age), Some(floor)) = (settings.max_age, memory.floors.get("timestamp")) {
            let end = floor.accepted.saturating_add(max_age).unwrap_or(Timestamp::MAX);
            limits.push((
                end,
                format!(
                    "nothing newer arrived since timestamp version {} was accepted at {}",
                    floor.version, floor.accepted
                ),
            ));
        }
        let Some((until, limit)) = limits.into_iter().min() else {
            return Self::Stale { since: now, limit: "nothing was accepted yet".to_owned() };
        };
        if until <= now {
            return Self::Stale { since: until, limit };
        }
        match roles.iter().find(|role| role.role == "timestamp") {
            Some(timestamp) if timestamp.expires <= now => Self::InGrace { until },
            Some(timestamp) => Self::Fresh { until: until.min(timestamp.expires) },
            None => Self::Stale { since: now, limit: "no timestamp was accepted yet".to_owned() },
        }
    }

    /// Why the trust is past its limit, if it is.
    pub fn staleness(&self) -> Option<String> {
        match self {
            Self::Stale { since, limit } => Some(format!("{limit} (past its limit since {since})")),
            Self::Fresh { .. } | Self::InGrace { .. } => None,
        }
    }

    /// The instant at which this has to be judged again.
    pub const fn changes_at(&self) -> Option<Timestamp> {
        match self {
            Self::Fresh { until } | Self::InGrace { until } => Some(*until),
            Self::Stale { .. } => None,
        }
    }
}
