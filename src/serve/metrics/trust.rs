//! What is measured of trust roots, written anew at each scrape, so that seconds are of that instant.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use holdfast_core::api::mirror::TrustRootMirrorStatus;
use jiff::Timestamp;
use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Unit;

use super::gauge::{as_seconds, gauges, number};

/// Ends of one trust root that are shown, at most.
const MAX_ENDS: usize = 32;
/// Characters of what ends, at most: it may hold words of outside files.
const MAX_LABEL: usize = 100;

/// What is known of a trust root.
#[derive(Debug, Clone, Default)]
pub struct TrustRootFacts {
    /// The status as it was last reported.
    pub status: TrustRootMirrorStatus,
    /// What ends, and when.
    pub ends: Vec<(String, Timestamp)>,
    /// When the timestamp version that is held was first accepted.
    pub accepted: Option<Timestamp>,
    /// How many consumers there are in each state.
    pub consumers: BTreeMap<&'static str, usize>,
}

/// Written anew at each scrape, so that seconds are of that instant.
#[derive(Debug, Clone)]
pub(super) struct TrustRoots {
    pub(super) roots: Arc<Mutex<BTreeMap<String, TrustRootFacts>>>,
    pub(super) now: Arc<Mutex<Timestamp>>,
}

impl Default for TrustRoots {
    fn default() -> Self {
        Self { roots: Arc::default(), now: Arc::new(Mutex::new(Timestamp::UNIX_EPOCH)) }
    }
}

impl Collector for TrustRoots {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let roots = self.roots.lock();
        let now = *self.now.lock();
        let ends = || {
            roots.iter().flat_map(|(name, facts)| {
                facts
                    .ends
                    .iter()
                    .take(MAX_ENDS)
                    .map(move |(what, at)| ([("trust_root", name.as_str()), ("end", label(what))], *at))
            })
        };
        gauges(
            &mut encoder,
            "holdfast_trust_root_expiry_timestamp",
            "When something of the trust ends, in seconds since 1970",
            Some(&Unit::Seconds),
            ends().map(|(labels, at)| (labels, as_seconds(at))),
        )?;
        gauges(
            &mut encoder,
            "holdfast_trust_root_expires_in",
            "How long until something of the trust ends; below zero once it has",
            Some(&Unit::Seconds),
            ends().map(|(labels, at)| (labels, as_seconds(at) - as_seconds(now))),
        )?;
        let ages = roots.iter().filter_map(|(name, facts)| {
            Some(([("trust_root", name.as_str())], as_seconds(now) - as_seconds(facts.accepted?)))
        });
        let help = "How long since the timestamp version that is held was first accepted";
        gauges(&mut encoder, "holdfast_trust_root_freshness_age", help, Some(&Unit::Seconds), ages)?;
        let conditions = roots.iter().flat_map(|(name, facts)| {
            facts.status.conditions.iter().map(move |condition| {
                let value = if condition.status == "True" { 1.0 } else { 0.0 };
                ([("trust_root", name.as_str()), ("condition", condition.type_.as_str())], value)
            })
        });
        let help = "Conditions of a TrustRootMirror: 1 while true";
        gauges(&mut encoder, "holdfast_trust_root_condition", help, None, conditions)?;
        for (metric, condition, help) in [
            (
                "holdfast_trust_root_rotation_pending",
                "RotationPending",
                "Whether a verified candidate waits for approval: 1 or 0",
            ),
            (
                "holdfast_trust_root_memory_intact",
                "MemoryIntact",
                "Whether what was ever accepted is remembered: 1 or 0",
            ),
            ("holdfast_trust_root_clock_sane", "ClockSane", "Whether the clock is not behind what was signed: 1 or 0"),
        ] {
            let values = roots.iter().filter_map(|(name, facts)| {
                let found = facts.status.conditions.iter().find(|found| found.type_ == condition)?;
                Some(([("trust_root", name.as_str())], if found.status == "True" { 1.0 } else { 0.0 }))
            });
            gauges(&mut encoder, metric, help, None, values)?;
        }
        let versions = roots.iter().flat_map(|(name, facts)| {
            let roles = &facts.status.roles;
            let roles = [
                ("root", &roles.root),
                ("timestamp", &roles.timestamp),
                ("snapshot", &roles.snapshot),
                ("targets", &roles.targets),
            ];
            roles.into_iter().filter_map(move |(role, status)| {
                Some(([("trust_root", name.as_str()), ("role", role)], number(status.as_ref()?.version)))
            })
        });
        gauges(&mut encoder, "holdfast_trust_root_role_version", "The accepted version of a TUF role", None, versions)?;
        let consumers = roots.iter().flat_map(|(name, facts)| {
            facts.consumers.iter().map(move |(state, count)| {
                ([("trust_root", name.as_str()), ("state", *state)], number(u64::try_from(*count).unwrap_or(u64::MAX)))
            })
        });
        gauges(
            &mut encoder,
            "holdfast_trust_root_consumers",
            "Namespaces that are to have the trust, by whether they have",
            None,
            consumers,
        )
    }
}

fn label(text: &str) -> &str {
    text.char_indices().nth(MAX_LABEL).map_or(text, |(at, _)| text.get(..at).unwrap_or_default())
}
