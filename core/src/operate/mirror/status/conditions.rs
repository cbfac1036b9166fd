//! The conditions of a mirror.

use jiff::Timestamp;

use super::{Distributed, Import, Mend, Report};
use crate::api::common::Condition;
use crate::api::condition::ConditionType;
use crate::operate::mirror::adoption::{Candidate, NotYet};
use crate::operate::mirror::distribution::ConsumerState;
use crate::operate::mirror::reason::MirrorReason;
use crate::operate::mirror::schedule::warns_at;
use crate::operate::said::{Said, second, short};
use crate::trust::clock::Sanity;
use crate::trust::freshness::{Freshness, Limit};

impl Report<'_> {
    pub(super) fn conditions(&self, now: Timestamp) -> Vec<Condition> {
        let old = self.mirror.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
        let said = [
            self.verified(old),
            self.fresh(),
            self.rotation(),
            self.memory(),
            self.clock(),
            self.expiring(now),
            self.distribution(),
        ];
        let ready = self.ready(&said);
        let progress = self.progress(&ready);
        let generation = self.mirror.metadata.generation;
        std::iter::once(ready).chain(progress).chain(said).map(|said| said.condition(old, generation, now)).collect()
    }

    fn verified(&self, old: &[Condition]) -> Said {
        let of = ConditionType::Verified;
        match self.import {
            Import::Accepted(message) | Import::Unchanged(message) => {
                Said::new(of, true, MirrorReason::Imported, message)
            }
            Import::Failed(failure) => Said::new(of, false, failure.reason, &failure.message),
            Import::NotTried => old.iter().find(|condition| condition.type_ == of.as_str()).map_or_else(
                || Said {
                    status: "Unknown",
                    ..Said::new(of, false, MirrorReason::NotRead, "the source was not read yet")
                },
                |condition| Said::again(of, condition),
            ),
        }
    }

    fn fresh(&self) -> Said {
        let said = self.freshness();
        let Some(accepted) = self.accepted.filter(|_| said.status == "False") else { return said };
        let accepts = format!("break-glass `{}` lets it count as fresh until {}", accepted.by, accepted.until);
        Said { message: short(&format!("{}; {accepts}", said.message)), ..said }
    }

    fn freshness(&self) -> Said {
        let of = ConditionType::Fresh;
        match &self.decision.freshness {
            None if self.decision.adopted.is_some() && self.mirror.spec.bootstrap.is_none() => {
                let message = "the trust was given without TUF: nothing says how old it is";
                Said { status: "Unknown", ..Said::new(of, false, MirrorReason::WithoutTuf, message) }
            }
            None => Said::new(of, false, MirrorReason::NothingAdopted, "nothing was accepted yet"),
            Some(Freshness::Fresh { until }) => {
                Said::new(of, true, MirrorReason::AsDeclared, format!("until {until}, if nothing newer arrives"))
            }
            Some(Freshness::InGrace { until }) => Said::new(
                of,
                true,
                MirrorReason::InGrace,
                format!("the timestamp has expired; the grace ends at {until}"),
            ),
            // What these say of the instant changes with every look.
            Some(Freshness::Stale { limit: limit @ Limit::ClockBehind { floor, .. }, .. }) => Said::new(
                of,
                false,
                MirrorReason::ClockBehind,
                format!("by a clock that has not reached {floor} nothing can be called fresh; {}", limit.cure()),
            ),
            Some(Freshness::Stale { limit: limit @ Limit::NothingAccepted, .. }) => {
                Said::new(of, false, MirrorReason::Stale, format!("{limit}; {}", limit.cure()))
            }
            Some(Freshness::Stale { since, limit }) => Said::new(
                of,
                false,
                MirrorReason::Stale,
                match limit.to_string() {
                    limit_says if limit_says.contains(&since.to_string()) => format!("{limit_says}; {}", limit.cure()),
                    limit_says => format!("{limit_says} (past its limit since {}); {}", second(*since), limit.cure()),
                },
            ),
        }
    }

    fn rotation(&self) -> Said {
        let of = ConditionType::RotationPending;
        let Some(candidate) = &self.decision.candidate else {
            return Said::new(of, false, MirrorReason::NothingPending, "nothing waits for approval");
        };
        let digest = candidate.root.digest;
        if let Some(why) = self.unguarded {
            let message = format!("{digest} waits, and no approval is honoured: {why}");
            return Said::new(of, true, MirrorReason::GuardsAbsent, message);
        }
        let vain = self
            .approved_in_vain
            .first()
            .map_or_else(String::new, |other| format!("; {other} was approved, which is not the candidate"));
        let early = if self.approved_too_early {
            "; it was approved before the guards were in force as they are, or before it was replaced, which does not count: approve it again"
        } else {
            ""
        };
        let message = format!(
            "{digest} waits for approval: a TrustApproval for TrustRootMirror `{}` with this digest, or `rotation.approvedDigest`, adopts it{early}{vain}{}",
            self.name(),
            self.not_by_itself(candidate)
        );
        Said::new(of, true, MirrorReason::AwaitingApproval, message)
    }

    /// Why what would come into force by itself does not.
    fn not_by_itself(&self, candidate: &Candidate) -> String {
        let most = self.mirror.spec.rotation.max_newly_failing;
        match (candidate.not_yet, &candidate.impact) {
            (None, _) => String::new(),
            (Some(NotYet::NotCounted), _) => "; it is not adopted by itself: `rotation.approval: Automatic`, or another pin or source or a higher `maxNewlyFailing` beside it, was declared while the guards were not in force as they are; look at what it adopts by, and set it to Required and back".to_owned(),
            (Some(NotYet::PastItsLimit), _) => {
                "; it is not adopted by itself while the repository is past its limit".to_owned()
            }
            (Some(NotYet::BreaksTooMany), Some(impact)) => format!(
                "; it is not adopted by itself: {} images would stop verifying and {} could not be judged, and `rotation.maxNewlyFailing` is {most}",
                impact.newly_failing.len(),
                impact.unjudged.len()
            ),
            (Some(NotYet::NotRehearsed | NotYet::BreaksTooMany), _) => "; it is adopted by itself once what runs was judged by it, which takes a BundleCoverageReport over every namespace and with templates (of several, the oldest), and that every policy can be used".to_owned(),
        }
    }

    fn memory(&self) -> Said {
        let of = ConditionType::MemoryIntact;
        match (self.fault, &self.decision.unreadable) {
            (Some(fault), _) => Said::new(
                of,
                false,
                fault.reason(),
                format!("{fault}. Imports are blocked, and what is in force stays in force; {}", fault.reason().cure()),
            ),
            (None, Some(unreadable)) => Said::new(of, false, MirrorReason::MemoryDamaged, unreadable),
            (None, None) => Said::new(of, true, MirrorReason::MemoryIntact, "what was ever accepted is remembered"),
        }
    }

    fn clock(&self) -> Said {
        let of = ConditionType::ClockSane;
        match self.decision.clock {
            Sanity::Sane => Said::new(of, true, MirrorReason::ClockSane, "nothing speaks against the clock"),
            Sanity::Behind { floor, .. } => Said::new(
                of,
                false,
                MirrorReason::ClockBehind,
                format!(
                    "something was signed at {floor}, which the clock has not reached; {}",
                    MirrorReason::ClockBehind.cure()
                ),
            ),
        }
    }

    fn expiring(&self, now: Timestamp) -> Said {
        let of = ConditionType::ExpiringSoon;
        let soon = self.decision.budget.ends.iter().find(|end| warns_at(end, &self.mirror.spec, self.state) <= now);
        match (soon, self.decision.budget.first()) {
            (Some(end), _) if end.until <= now => Said::new(
                of,
                true,
                MirrorReason::Ended,
                format!("{} ended at {}: {}", end.what, end.until, end.meaning),
            ),
            (Some(end), _) => Said::new(
                of,
                true,
                MirrorReason::EndsSoon,
                format!("{} ends at {}; from then on, {}", end.what, end.until, end.meaning),
            ),
            (None, Some(first)) => {
                Said::new(of, false, MirrorReason::FarFromEnd, format!("{} ends first, at {}", first.what, first.until))
            }
            (None, None) => Said::new(of, false, MirrorReason::FarFromEnd, "nothing it relies on has an end"),
        }
    }

    fn distribution(&self) -> Said {
        let of = ConditionType::Distributed;
        match self.distributed {
            Distributed::NotAsked => Said::new(of, true, MirrorReason::NotAsked, "the mirror declares no distribution"),
            Distributed::NameNotAllowed(name) => Said::new(
                of,
                false,
                MirrorReason::NameNotAllowed,
                format!(
                    "`{name}` is not one of the names holdfast may distribute under; use one that the chart's values list, or add it there"
                ),
            ),
            Distributed::Left if self.mirror.spec.distribution.config_maps.is_none() => {
                Said::new(of, true, MirrorReason::NotAsked, "the mirror declares no distribution")
            }
            Distributed::Left => Said::new(
                of,
                false,
                MirrorReason::NothingAdopted,
                "what is there is left as it is, since nothing is known to be in force",
            ),
            Distributed::As(distribution) => {
                let adopting = self.decision.record.as_ref().is_some_and(|record| !record.leaving.is_empty());
                let (reason, message) = distribution.reason(adopting);
                Said::new(of, matches!(reason, MirrorReason::Distributed | MirrorReason::Adopting), reason, message)
            }
        }
    }

    /// The most pressing of what is not as it should be.
    fn ready(&self, said: &[Said]) -> Said {
        let of = ConditionType::Ready;
        let order = [
            ConditionType::MemoryIntact,
            ConditionType::ClockSane,
            ConditionType::Verified,
            ConditionType::Fresh,
            ConditionType::Distributed,
        ];
        let failing = order.iter().find_map(|kind| said.iter().find(|said| said.of == *kind && said.status == "False"));
        match failing {
            Some(failing) => Said { of, ..failing.clone() },
            None if self.decision.adopted.is_none() => {
                Said::new(of, false, MirrorReason::NothingAdopted, "no trust is in force yet")
            }
            None if self.mirror.spec.suspend => Said::new(
                of,
                true,
                MirrorReason::Suspended,
                "`spec.suspend` is set: nothing is imported, adopted or distributed",
            ),
            None => {
                let digest =
                    self.decision.adopted.as_ref().map(|adopted| adopted.root.digest.to_string()).unwrap_or_default();
                Said::new(of, true, MirrorReason::AsDeclared, format!("the trust {digest} is in force"))
            }
        }
    }

    /// kstatus: whether work goes on by itself, or somebody has to change something.
    fn progress(&self, ready: &Said) -> Option<Said> {
        if ready.status == "True" {
            return None;
        }
        let stalled = Said { of: ConditionType::Stalled, status: "True", ..ready.clone() };
        let reconciling = Said { of: ConditionType::Reconciling, status: "True", ..ready.clone() };
        if self.fault.is_some() || self.decision.unreadable.is_some() {
            return Some(stalled);
        }
        match (self.import, self.distributed) {
            (Import::Failed(failure), _) => match failure.mend() {
                Mend::Itself => Some(reconciling),
                Mend::Declaration => Some(stalled),
                Mend::Source => None,
            },
            (_, Distributed::NameNotAllowed(_)) => Some(stalled),
            (_, Distributed::As(distribution))
                if distribution.consumers.iter().any(|consumer| consumer.state == ConsumerState::Behind) =>
            {
                Some(reconciling)
            }
            (Import::NotTried, _) => Some(reconciling),
            _ => None,
        }
    }

    fn name(&self) -> &str {
        self.mirror.metadata.name.as_deref().unwrap_or_default()
    }
}
