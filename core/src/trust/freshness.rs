//! The two clocks: how old may what upstream last said be, and how long is it since anything new arrived?
//!
//! Metadata says that *its* targets are current, not that those held are. So what is held is compared with what the metadata lists: a newer timestamp
//! never makes an older trusted root fresh.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::clock::Sanity;
use super::tuf::{Grace, Recovery, Refusal, State};

/// What is declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settings {
    /// How long past its expiry the timestamp still counts.
    pub grace: Grace,
    /// How long a timestamp version counts from when it was first accepted here; no limit where absent.
    pub max_age: Option<SignedDuration>,
}

/// The trusted root that was imported last, whether it is in force or awaits approval.
///
/// A rotation that waits is a decision made here: while its candidate is at hand, the root in force is as fresh as the metadata.
#[derive(Debug, Clone, Copy)]
pub struct Imported<'a> {
    /// The target it is published as.
    pub target: &'a str,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// As a person reads it.
fn second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// Which limit was passed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "kind", rename_all_fields = "camelCase")]
pub enum Limit {
    /// A role has expired, and with it the grace where it has one.
    #[error("{role} version {version} expired at {at}")]
    Expired {
        /// The role.
        role: String,
        /// Its version.
        version: u64,
        /// Its end.
        at: Timestamp,
    },
    /// Nothing newer arrived for too long.
    #[error("nothing newer arrived since timestamp version {version} was accepted at {}", second(*accepted))]
    MaxAge {
        /// The version held.
        version: u64,
        /// When it was first accepted.
        accepted: Timestamp,
    },
    /// The metadata lists another content for the target than the one that is held.
    #[error("{role} v{version} lists another {target} than is held")]
    OtherListed {
        /// The role that lists it.
        role: String,
        /// The version of that role.
        version: u64,
        /// The target.
        target: String,
    },
    /// The metadata does not lead to the target: something it names is not held, or it no longer lists the target.
    #[error("what upstream said last was not taken to its end: {refusal}")]
    Incomplete {
        /// What is missing.
        refusal: Refusal,
    },
    /// A root replaced the keys behind the timestamp that was held, and none was accepted under the new ones.
    #[error(
        "root version {root_version} replaced keys, so that timestamp version {had} no longer counts, and none was accepted since"
    )]
    KeysReplaced {
        /// The root.
        root_version: u64,
        /// The timestamp that was held.
        had: u64,
    },
    /// Upstream has said nothing yet.
    #[error("no timestamp was accepted yet")]
    NothingAccepted,
    /// By this clock nothing can be called fresh.
    #[error("the clock says {now}, and {floor} has certainly passed")]
    ClockBehind {
        /// What has passed.
        floor: Timestamp,
        /// What the clock says.
        now: Timestamp,
    },
}

impl Limit {
    /// What to do.
    pub const fn cure(&self) -> &'static str {
        match self {
            Self::Expired { .. } | Self::MaxAge { .. } => "bring a newer copy of the repository",
            Self::OtherListed { .. } | Self::KeysReplaced { .. } | Self::NothingAccepted | Self::Incomplete { .. } => {
                "import a whole copy of the repository"
            }
            Self::ClockBehind { .. } => "set the clock right",
        }
    }
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
        limit: Limit,
    },
}

impl Freshness {
    /// Judges what is held at `now`; `root` is the trusted root that was imported last, where one was.
    ///
    /// The upstream clock is the expiry of the roles; only the timestamp has a grace. The local clock runs from the instant at which *this version* of the
    /// timestamp was first accepted: reading the same file again confirms nothing.
    pub fn judge(state: &State, root: Option<Imported<'_>>, settings: Settings, now: Timestamp) -> Self {
        if let Sanity::Behind { floor, now } = state.memory().clock_floor.judge(now) {
            return Self::Stale { since: now, limit: Limit::ClockBehind { floor, now } };
        }
        let roles = state.roles();
        let Some(timestamp) = roles.iter().find(|role| role.role == "timestamp") else {
            return Self::without_timestamp(state, now);
        };
        let mut limits = Vec::new();
        let listed_by = match listed(state, root, now) {
            Ok(role) => role,
            Err(superseded) => {
                limits.push(superseded);
                None
            }
        };
        // A delegated role that expires takes only its own targets with it.
        let relied_on = roles.iter().filter(|role| {
            matches!(role.role.as_str(), "root" | "timestamp" | "snapshot" | "targets")
                || listed_by.as_ref() == Some(&role.role)
        });
        limits.extend(relied_on.map(|role| {
            let grace = if role.role == "timestamp" { settings.grace.duration() } else { SignedDuration::ZERO };
            let end = role.expires.saturating_add(grace).unwrap_or(Timestamp::MAX);
            (end, Limit::Expired { role: role.role.clone(), version: role.version, at: role.expires })
        }));
        if let (Some(max_age), Some(floor)) = (settings.max_age, state.memory().floors.get("timestamp")) {
            let end = floor.accepted.saturating_add(max_age).unwrap_or(Timestamp::MAX);
            limits.push((end, Limit::MaxAge { version: floor.version, accepted: floor.accepted }));
        }
        match limits.into_iter().min_by_key(|(until, _)| *until) {
            Some((since, limit)) if since <= now => Self::Stale { since, limit },
            Some((until, _)) if timestamp.expires <= now => Self::InGrace { until },
            Some((until, _)) => Self::Fresh { until: until.min(timestamp.expires) },
            None => Self::Stale { since: now, limit: Limit::NothingAccepted },
        }
    }

    fn without_timestamp(state: &State, now: Timestamp) -> Self {
        match state.memory().recoveries.iter().rev().find(|recovery| recovery.role == "timestamp") {
            Some(Recovery { had, root_version, at, .. }) => {
                Self::Stale { since: *at, limit: Limit::KeysReplaced { root_version: *root_version, had: *had } }
            }
            None => Self::Stale { since: now, limit: Limit::NothingAccepted },
        }
    }

    /// Why the trust is past its limit, if it is.
    pub fn staleness(&self) -> Option<String> {
        match self {
            Self::Stale { since, limit } => Some(format!("{limit} (past its limit since {since})")),
            Self::Fresh { .. } | Self::InGrace { .. } => None,
        }
    }

    /// Whether two people may let it count all the same. By a clock that is behind, the end of what they agreed to would not come in time.
    pub const fn may_be_accepted(&self) -> bool {
        match self {
            Self::Stale { limit, .. } => !matches!(limit, Limit::ClockBehind { .. }),
            Self::Fresh { .. } | Self::InGrace { .. } => false,
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

/// The role that lists the root at hand; else what the metadata speaks of instead, and since when. A mirror that passes on all metadata and withholds one
/// file would else keep a replaced root fresh.
fn listed(state: &State, root: Option<Imported<'_>>, now: Timestamp) -> Result<Option<String>, (Timestamp, Limit)> {
    let accepted = |role: &str| state.memory().floors.get(role).map_or(now, |floor| floor.accepted.min(now));
    let incomplete = |refusal| (accepted("timestamp"), Limit::Incomplete { refusal });
    let Some(root) = root else { return state.check_chain().map(|()| None).map_err(incomplete) };
    let listing = state.listing(root.target).map_err(incomplete)?;
    if listing.names(root.bytes) {
        return Ok(Some(listing.role));
    }
    let since = accepted(&listing.role);
    Err((since, Limit::OtherListed { role: listing.role, version: listing.version, target: listing.target }))
}
