//! What people read of a mirror.

mod conditions;

use jiff::Timestamp;

use super::adoption::{Candidate, Decision, ends};
use super::distribution::Distribution;
use super::memory::{MemoryFault, Stored};
use super::reason::MirrorReason;
use crate::Digest;
use crate::api::TrustRootMirror;
use crate::api::mirror::{
    AdoptedStatus, AdoptingStatus, BudgetStatus, CandidateStatus, ChangeStatus, ConsumerStatus, EndStatus,
    ImpactStatus, ImportStatus, MemoryStatus, RoleStatus, RolesStatus, TrustRootMirrorStatus,
};
use crate::operate::reconcile_at;
use crate::operate::said::{second, short};
use crate::trust::diff::Happening;
use crate::trust::tuf::{RefusalKind, State};

const MAX_CHANGES: usize = 64;
const MAX_CONSUMERS: usize = 256;
const MAX_NEXT_ENDS: usize = 4;
const MAX_EXAMPLES: usize = 16;

/// What became of the last look at the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Import {
    /// None was made, or it is not known any more: what status says of it stands.
    NotTried,
    /// Something newer verified.
    Accepted(String),
    /// What is held is what the source offers.
    Unchanged(String),
    /// Nothing newer came into force.
    Failed(Failure),
}

/// Why an import failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// In a word.
    pub reason: MirrorReason,
    /// In a sentence.
    pub message: String,
}

/// Who has to do something before a failed import can succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mend {
    /// Nobody: it is tried again soon.
    Itself,
    /// Whoever fills the source.
    Source,
    /// Whoever declares the mirror.
    Declaration,
}

impl Failure {
    /// Who has to do something.
    pub const fn mend(&self) -> Mend {
        match self.reason {
            MirrorReason::SourceUnavailable => Mend::Itself,
            MirrorReason::SourceUnusable
            | MirrorReason::SpecInvalid
            | MirrorReason::Refused(RefusalKind::PinMismatch) => Mend::Declaration,
            _ => Mend::Source,
        }
    }
}

/// How what is declared as distribution stands.
#[derive(Debug, Clone, Copy)]
pub enum Distributed<'a> {
    /// Nothing is declared.
    NotAsked,
    /// The declared name may not be used.
    NameNotAllowed(&'a str),
    /// It is left as it is: it is not known what is in force.
    Left,
    /// This.
    As(&'a Distribution),
}

/// What a pass found, for people.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a> {
    /// The mirror, with the status it had.
    pub mirror: &'a TrustRootMirror,
    /// What is held of its repository.
    pub state: Option<&'a State>,
    /// The decision.
    pub decision: &'a Decision,
    /// The last look at the source.
    pub import: &'a Import,
    /// What is wrong with what is remembered.
    pub fault: Option<&'a MemoryFault>,
    /// The stored memory and record, as they are now.
    pub stored: (Option<&'a Stored>, Option<&'a Stored>),
    /// Whether approvals are honoured; else why not.
    pub unguarded: Option<&'a str>,
    /// Digests that were approved, and are not the candidate's.
    pub approved_in_vain: &'a [Digest],
    /// Whether the candidate was agreed to at a time from which no agreement counts.
    pub approved_too_early: bool,
    /// The break-glass that lets trust past its limit count.
    pub accepted: Option<Accepted<'a>>,
    /// The distribution.
    pub distributed: Distributed<'a>,
}

/// A break-glass that lets trust past its limit count as fresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted<'a> {
    /// Its name.
    pub by: &'a str,
    /// First instant at which it no longer does.
    pub until: Timestamp,
}

impl Report<'_> {
    /// The status at `now`. It holds no "now": where nothing changed, it is the one that is there.
    pub fn status(&self, now: Timestamp) -> TrustRootMirrorStatus {
        let old = self.mirror.status.as_ref();
        let (metadata, record) = self.stored;
        let pin = self.mirror.spec.bootstrap.as_ref().map(|bootstrap| bootstrap.root_sha256.0);
        // A fault goes on being one until somebody deals with it: what was seen before stays written down.
        let memory = match (self.fault, old.and_then(|old| old.memory.clone())) {
            (Some(_), Some(seen)) => Some(seen),
            _ => (metadata.is_some() || record.is_some()).then(|| MemoryStatus {
                pin: pin.filter(|_| metadata.is_some()),
                metadata: metadata.map(Into::into),
                record: record.map(Into::into),
            }),
        };
        TrustRootMirrorStatus {
            observed_generation: self.mirror.metadata.generation,
            roles: self.roles(),
            adopted: self
                .adopted()
                .or_else(|| old.and_then(|old| old.adopted.clone()).filter(|_| self.fault.is_some())),
            adopting: self.adopting(),
            candidate: self.decision.candidate.as_ref().map(|candidate| self.candidate(candidate, now)),
            last_import: self.last_import(now),
            expiry_budget: self.budget(),
            local_repository: None,
            memory,
            last_handled_reconcile_at: reconcile_at(&self.mirror.metadata).map(str::to_owned),
            consumers: self.consumers(),
            conditions: self.conditions(now),
        }
    }

    fn roles(&self) -> RolesStatus {
        let role = |name: &str| {
            self.decision.roles.iter().find(|role| role.role == name).map(|role| RoleStatus {
                version: role.version,
                expires: role.expires.to_string(),
                keys: role.keys.and_then(|keys| keys.try_into().ok()),
                threshold: role.threshold.and_then(|threshold| threshold.try_into().ok()),
            })
        };
        RolesStatus {
            root: role("root"),
            timestamp: role("timestamp"),
            snapshot: role("snapshot"),
            targets: role("targets"),
        }
    }

    fn adopted(&self) -> Option<AdoptedStatus> {
        let adopted = self.decision.adopted.as_ref()?;
        let of = self.decision.record.as_ref().and_then(|record| record.adopted.as_ref());
        Some(AdoptedStatus {
            digest: adopted.root.digest,
            at: of.map(|of| second(of.at).to_string()).unwrap_or_default(),
            approved_by: of.map(|of| of.by.clone()),
        })
    }

    fn adopting(&self) -> Vec<AdoptingStatus> {
        let leaving = self.decision.record.iter().flat_map(|record| &record.leaving);
        let read = leaving.filter_map(|leaving| {
            let replaced = leaving.read("").ok()?.root.digest;
            let until = second(ends(&self.mirror.spec, leaving)).to_string();
            Some(AdoptingStatus { replaced, since: second(leaving.since).to_string(), until })
        });
        read.collect()
    }

    fn candidate(&self, candidate: &Candidate, now: Timestamp) -> CandidateStatus {
        let digest = candidate.root.digest;
        let before = self.mirror.status.as_ref().and_then(|old| old.candidate.as_ref());
        let since = before.filter(|before| before.digest == digest).map(|before| before.since.clone());
        let changes = candidate.changes.changes.iter().take(MAX_CHANGES).map(|change| {
            let (kind, from) = match &change.happening {
                Happening::Removed => ("Removed", None),
                Happening::Ended { at } => ("Ended", Some(*at)),
                Happening::Added { .. } => ("Added", change.entry.window.start()),
                Happening::WindowChanged { .. } => ("WindowChanged", change.entry.window.start()),
                Happening::Moved { .. } => ("Moved", None),
            };
            let what = format!("{} {} ({})", change.entry.kind.words(), change.entry.name, change.entry.algorithm);
            ChangeStatus {
                kind: kind.to_owned(),
                what: short(&what),
                from: from.map(|from| from.to_string()),
                meaning: Some(short(&change.meaning)),
            }
        });
        let impact = candidate.impact.as_ref().map(|impact| ImpactStatus {
            checked: count(impact.checked),
            unjudged: count(impact.unjudged.len()),
            newly_failing: count(impact.newly_failing.len()),
            newly_passing: count(impact.newly_passing.len()),
            examples: impact
                .newly_failing
                .iter()
                .chain(&impact.unjudged)
                .take(MAX_EXAMPLES)
                .map(|image| short(image))
                .collect(),
        });
        CandidateStatus {
            digest,
            since: since.unwrap_or_else(|| second(now).to_string()),
            changes: changes.collect(),
            impact,
        }
    }

    /// The last import; polling the same again is nothing new.
    fn last_import(&self, now: Timestamp) -> Option<ImportStatus> {
        let before = self.mirror.status.as_ref().and_then(|old| old.last_import.clone());
        let (result, message) = match self.import {
            Import::NotTried => return before,
            Import::Accepted(message) => ("Accepted", message),
            Import::Unchanged(message) => match &before {
                Some(last) if last.result == "Accepted" || last.result == "Unchanged" => return before,
                _ => ("Unchanged", message),
            },
            Import::Failed(failure) => (failure.reason.as_str(), &failure.message),
        };
        let message = short(message);
        let same = before
            .as_ref()
            .is_some_and(|last| last.result == result && (last.message == message || result != "Accepted"));
        let at = before.filter(|_| same).map_or_else(|| second(now).to_string(), |last| last.at);
        Some(ImportStatus { at, result: result.to_owned(), message })
    }

    fn budget(&self) -> Option<BudgetStatus> {
        let (first, others) = self.decision.budget.ends.split_first()?;
        let next = others
            .iter()
            .take(MAX_NEXT_ENDS)
            .map(|end| EndStatus { until: end.until.to_string(), cause: short(&end.what) });
        Some(BudgetStatus { until: first.until.to_string(), cause: short(&first.what), next: next.collect() })
    }

    fn consumers(&self) -> Vec<ConsumerStatus> {
        let Distributed::As(distribution) = self.distributed else { return Vec::new() };
        let consumers = distribution.consumers.iter().take(MAX_CONSUMERS).map(|consumer| ConsumerStatus {
            name: format!("ConfigMap/{}/{}", consumer.namespace, distribution.name),
            state: consumer.state.as_str().to_owned(),
        });
        consumers.collect()
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
