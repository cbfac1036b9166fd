//! What is measured of policies: how far each is enforced, which checks hold, what is alarmed and what waits.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use holdfast_core::gate::AlarmKind;
use holdfast_core::gate::rollout::Phase;
use holdfast_core::operate::policy::Decided;
use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::gauge::{gauges, number};

/// What is known of one policy.
#[derive(Debug, Clone)]
struct Facts {
    phase: Phase,
    enforced: usize,
    observed: usize,
    checks: Vec<(&'static str, bool)>,
    alarms: BTreeMap<AlarmKind, usize>,
    held: usize,
    would_deny: usize,
    verified: usize,
}

/// Written anew at each scrape.
#[derive(Debug, Clone, Default)]
pub(super) struct Policies(Arc<Mutex<BTreeMap<String, Facts>>>);

impl Policies {
    /// Takes note of what was decided; a policy that is no longer decided is no longer told of.
    pub(super) fn take(&self, decided: &Decided<'_>, verified: &dyn Fn(&str) -> usize) {
        let of = decided.steps.iter().map(|step| {
            let decision = &step.decision;
            let mut alarms = BTreeMap::new();
            for alarm in &decision.alarms {
                *alarms.entry(alarm.kind).or_default() += 1;
            }
            let standings = || decision.enforced.iter().flat_map(|enforced| enforced.namespaces.values());
            let facts = Facts {
                phase: decision.progress.phase,
                enforced: standings().count(),
                observed: standings().filter(|standing| standing.observed.is_some()).count(),
                checks: decision.progress.checks.iter().map(|check| (check.check.as_str(), check.passed)).collect(),
                alarms,
                held: decision.held.len(),
                would_deny: decision.progress.would_deny.count(),
                verified: verified(step.standing.name()),
            };
            (step.standing.name().to_owned(), facts)
        });
        *self.0.lock() = of.collect();
    }
}

impl Collector for Policies {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let all = self.0.lock();
        let truth = |holds: bool| f64::from(u8::from(holds));
        let phases = all.iter().flat_map(|(name, facts)| {
            Phase::ALL.iter().map(move |phase| {
                ([("policy", name.as_str()), ("phase", phase.as_str())], truth(*phase == facts.phase))
            })
        });
        gauges(
            &mut encoder,
            "holdfast_policy_phase",
            "The phase a policy is in: 1, and 0 for the others",
            None,
            phases,
        )?;
        let checks = all.iter().flat_map(|(name, facts)| {
            facts
                .checks
                .iter()
                .map(move |(check, passed)| ([("policy", name.as_str()), ("check", check)], truth(*passed)))
        });
        gauges(
            &mut encoder,
            "holdfast_policy_check",
            "Whether a check in front of enforcement holds: 1 or 0",
            None,
            checks,
        )?;
        let alarms = all.iter().flat_map(|(name, facts)| {
            AlarmKind::ALL.iter().map(move |kind| {
                let count = facts.alarms.get(kind).copied().unwrap_or_default();
                ([("policy", name.as_str()), ("alarm", kind.as_str())], number(count as u64))
            })
        });
        gauges(&mut encoder, "holdfast_policy_alarms", "What somebody has to look at, by what it is", None, alarms)?;
        let mut count = |name: &str, help: &str, of: fn(&Facts) -> usize| {
            let values = all.iter().map(|(policy, facts)| ([("policy", policy.as_str())], number(of(facts) as u64)));
            gauges(&mut encoder, name, help, None, values)
        };
        count("holdfast_policy_enforced_namespaces", "Namespaces a policy is enforced in", |facts| facts.enforced)?;
        count("holdfast_policy_observed_namespaces", "Those of them where it was observed in force", |facts| {
            facts.observed
        })?;
        count("holdfast_policy_held_changes", "Ways in which what is declared is looser, and waits", |facts| {
            facts.held
        })?;
        count(
            "holdfast_policy_would_have_denied",
            "Images of workloads that the next promotion would have denied",
            |facts| facts.would_deny,
        )?;
        count("holdfast_policy_verified_digests", "Digests that are verified for a policy", |facts| facts.verified)
    }
}
