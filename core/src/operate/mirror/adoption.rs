//! Which trust comes into force: a first import at once, a rotation once it is approved; what it replaces goes on being distributed for a while.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::impact::Impact;
use super::record::{Adopted, Agrees, Judged, Leaving, MAX_LEAVING, ReadRoot, Record};
use crate::Digest;
use crate::api::TrustRootMirrorSpec;
use crate::api::mirror::RotationApproval;
use crate::trust::budget::Budget;
use crate::trust::clock::Sanity;
use crate::trust::diff::{Happening, RootDiff};
use crate::trust::freshness::{Freshness, Settings};
use crate::trust::held::{Held, HeldRoot};
use crate::trust::root::TrustRoot;
use crate::trust::tuf::{Grace, RoleSummary, State};

/// For how long beyond its end what was replaced is distributed, while somebody does not have what came: no namespace may keep it everywhere for ever.
pub(super) const WAITS: SignedDuration = SignedDuration::from_hours(1);

/// What a pass knows of a mirror once its source was read.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// Its name.
    pub name: &'a str,
    /// In the form that is in force.
    pub spec: &'a TrustRootMirrorSpec,
    /// What is held of its repository, after the import; nothing where there is no TUF.
    pub held: Option<&'a Held>,
    /// The trust in force, as it is remembered.
    pub record: Option<&'a Record>,
    /// The trust that is verified and offered, which may be what is in force already. Nothing while imports are blocked.
    pub offered: Option<&'a ReadRoot>,
    /// What was agreed to and counts: a digest, and who agreed.
    pub agreed: &'a [(Digest, String)],
    /// When the trust in force was last agreed to, by the API server's clock, whether that counts or not: none of it brings that trust back once it is replaced,
    /// however far the operator's clock is behind.
    pub last_agreed: Option<Timestamp>,
    /// Whether what the mirror itself says of new key material counts: a declaration by digest or by key, or, where there is TUF, `approval: Automatic`. Without the guards, and
    /// of what was written while they were not there, nobody asked whether the writer may.
    pub declaration_counts: bool,
    /// How what the mirror says now was judged when it was first seen.
    pub judged: &'a [Judged],
    /// Whether what runs was judged by what is offered.
    pub rehearsal: Rehearsal<'a>,
    /// Whether everybody who reads the trust was seen to have what is distributed.
    pub consumers_current: bool,
}

/// Whether what runs was judged by what is offered: what comes into force by itself waits for that.
#[derive(Debug, Clone, Copy)]
pub enum Rehearsal<'a> {
    /// No policy accepts the trust, so nothing can stop verifying.
    NotNeeded,
    /// Not yet, or not all that runs.
    Awaited,
    /// All that runs was judged by the trust of this digest.
    Of(Digest, &'a Impact),
}

impl Rehearsal<'_> {
    /// What speaks against the trust of this digest, where no more than `most` images may stop verifying by it.
    fn against(&self, offered: Digest, most: u32) -> Option<NotYet> {
        match self {
            Self::NotNeeded => None,
            Self::Of(digest, impact) if *digest == offered => {
                let breaks = u32::try_from(impact.may_fail()).map_or(true, |failing| failing > most);
                breaks.then_some(NotYet::BreaksTooMany)
            }
            Self::Awaited | Self::Of(..) => Some(NotYet::NotRehearsed),
        }
    }
}

/// A verified import that is not in force yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// The trust.
    pub root: TrustRoot,
    /// What it changes.
    pub changes: RootDiff,
    /// What that means for the images in scope, where they were judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub impact: Option<Impact>,
    /// Why it is not adopted by itself, where the mirror declares that it may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_yet: Option<NotYet>,
}

/// Why a rotation that asks nobody is not adopted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum NotYet {
    /// It was declared while nobody asked whether its writer may.
    NotCounted,
    /// The repository is past its limit, or the clock is behind: what stops verifying then may do so for that alone.
    PastItsLimit,
    /// What runs was not judged by it.
    NotRehearsed,
    /// More images may stop verifying than may.
    BreaksTooMany,
}

/// What is in force and what waits.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// What the accepted roles say of themselves.
    pub roles: Vec<RoleSummary>,
    /// Whether what is held is still current; nothing where there is no TUF.
    pub freshness: Option<Freshness>,
    /// What the newest authenticated time says of the clock.
    pub clock: Sanity,
    /// The trust in force.
    pub adopted: Option<ReadRoot>,
    /// Verified, and waiting for approval.
    pub candidate: Option<Candidate>,
    /// What to remember of it.
    pub record: Option<Record>,
    /// What ends, and when.
    pub budget: Budget,
    /// Why what is remembered says nothing of what is in force.
    pub unreadable: Option<String>,
}

/// Decides what is in force at `now`.
pub fn decide(facts: &Facts<'_>, now: Timestamp) -> Decision {
    let state = facts.held.map(|held| &held.state);
    let before = facts.record.map(|record| record.read(facts.name)).transpose();
    let (before, unreadable) = match before {
        Ok(before) => (before, None),
        Err(error) => (None, Some(error.to_string())),
    };
    // Of a memory that cannot be read nothing is known: what is offered now is no first import.
    let offered = facts.offered.filter(|_| unreadable.is_none());
    let freshness = state.map(|state| freshness(facts, state, now));
    let is_current = freshness.as_ref().is_none_or(|freshness| freshness.staleness().is_none());
    let adoption = Adoption::of(facts, before, offered, is_current);
    let roles = state.map(State::roles).unwrap_or_default();
    let budget = Budget::of(&roles, adoption.adopted.as_ref().map(|adopted| &adopted.root), now);
    Decision {
        freshness,
        clock: state.map_or(Sanity::Sane, |state| state.memory().clock_floor.judge(now)),
        record: remembered(facts, &adoption, now),
        adopted: adoption.adopted,
        candidate: adoption.candidate,
        roles,
        budget,
        unreadable,
    }
}

fn freshness(facts: &Facts<'_>, state: &State, now: Timestamp) -> Freshness {
    let declared = &facts.spec.freshness;
    let grace = Grace::new(declared.grace.signed()).unwrap_or_default();
    let settings = Settings { grace, max_age: declared.max_age.map(crate::api::duration::GoDuration::signed) };
    let newest = facts.held.and_then(|held| held.trusted_root.as_ref()).map(HeldRoot::imported);
    Freshness::judge(state, newest, settings, now)
}

struct Adoption {
    adopted: Option<ReadRoot>,
    candidate: Option<Candidate>,
    /// Who agreed, where other trust than before is in force now.
    by: Option<String>,
    /// What was in force until now, by its digest, and what is another since.
    replaced: Option<(Digest, RootDiff)>,
}

/// What becomes of trust that is offered beside the one in force.
enum Answer {
    /// It is the one in force.
    Same,
    /// It comes into force, by whom.
    Adopt(String),
    /// It waits; why, where it asks nobody.
    Wait(Option<NotYet>),
}

impl Adoption {
    fn of(facts: &Facts<'_>, before: Option<ReadRoot>, offered: Option<&ReadRoot>, is_current: bool) -> Self {
        let (Some(adopted), Some(offered)) = (&before, offered) else {
            let by = before.is_none().then(|| "the first import".to_owned());
            return Self { adopted: before.or_else(|| offered.cloned()), candidate: None, by, replaced: None };
        };
        let changes = RootDiff::between(&adopted.root, &offered.root);
        match answer(facts, adopted, offered, &changes, is_current) {
            Answer::Same => Self { adopted: before, candidate: None, by: None, replaced: None },
            Answer::Adopt(by) => {
                let replaced = Some((adopted.root.digest, changes));
                Self { adopted: Some(offered.clone()), candidate: None, by: Some(by), replaced }
            }
            Answer::Wait(not_yet) => {
                let candidate = Candidate { root: offered.root.clone(), changes, impact: None, not_yet };
                Self { adopted: before, candidate: Some(candidate), by: None, replaced: None }
            }
        }
    }
}

/// Who agreed to a rotation. What is declared by its digest, or key by key, was approved with the mirror; the same key material in other bytes needs nobody.
fn answer(facts: &Facts<'_>, adopted: &ReadRoot, offered: &ReadRoot, changes: &RootDiff, is_current: bool) -> Answer {
    let digest = offered.root.digest;
    if adopted.root.digest == digest {
        return Answer::Same;
    }
    if !changes.is_rotation() {
        return Answer::Adopt("nobody: no key material changed".to_owned());
    }
    if let Some((_, by)) = facts.agreed.iter().find(|(of, _)| *of == digest) {
        return Answer::Adopt(by.clone());
    }
    let rotation = &facts.spec.rotation;
    if facts.spec.bootstrap.is_none() {
        return if facts.declaration_counts {
            Answer::Adopt("the mirror's declaration".to_owned())
        } else {
            Answer::Wait(None)
        };
    }
    if rotation.approval == RotationApproval::Required {
        return Answer::Wait(None);
    }
    let against = match is_current {
        _ if !facts.declaration_counts => Some(NotYet::NotCounted),
        false => Some(NotYet::PastItsLimit),
        true => facts.rehearsal.against(digest, rotation.max_newly_failing),
    };
    match against {
        Some(not_yet) => Answer::Wait(Some(not_yet)),
        None => Answer::Adopt("rotation.approval: Automatic".to_owned()),
    }
}

/// What to remember: nothing changes where the trust in force stays, but for what has been distributed for long enough.
fn remembered(facts: &Facts<'_>, adoption: &Adoption, now: Timestamp) -> Option<Record> {
    let Some(root) = &adoption.adopted else { return facts.record.cloned() };
    let mut leaving = facts.record.map(|record| record.leaving.clone()).unwrap_or_default();
    let waits = if facts.consumers_current { SignedDuration::ZERO } else { WAITS };
    leaving.retain(|leaving| ends(facts.spec, leaving).saturating_add(waits).unwrap_or(Timestamp::MAX) > now);
    let Some(by) = &adoption.by else {
        let record = facts.record?;
        // Keys that are declared are read from the declaration: it is not left to say other keys than are in force.
        let spec = if record.root.is_none() { record.spec.clone() } else { facts.spec.clone() };
        let judged = facts.judged.to_vec();
        return Some(Record { spec, leaving, judged, ..record.clone() });
    };
    let mut replaced = facts.record.map(|record| record.replaced.clone()).unwrap_or_default();
    let mut forgotten = facts.record.and_then(|record| record.forgotten);
    let mut judged = facts.judged.to_vec();
    // Also where the same keys came in other bytes: what replaces those would leave an agreement to the first ones open.
    if let (Some(record), Some((digest, _))) = (facts.record, &adoption.replaced) {
        (replaced, forgotten) = record.replaced_until(*digest, facts.last_agreed.map_or(now, |at| at.max(now)));
        // What brought it into force does not bring it back.
        for of in judged.iter_mut().filter(|of| of.agrees == Agrees::Approved(*digest)) {
            of.counts = false;
        }
    }
    if let (Some(record), Some((_, changes))) = (facts.record, &adoption.replaced)
        && takes_away(changes)
    {
        let keys = record.spec.source.keys.clone().filter(|_| record.root.is_none());
        leaving.push(Leaving { root: record.root.clone(), keys, since: now });
        let excess = leaving.len().saturating_sub(MAX_LEAVING);
        leaving.drain(..excess);
    }
    let adopted = Some(Adopted { at: now, by: by.clone() });
    let (spec, root) = (facts.spec.clone(), root.text.clone());
    Some(Record { spec, root, adopted, leaving, replaced, forgotten, judged, memory: None })
}

/// First instant at which what was replaced need not be distributed any more.
pub(super) fn ends(spec: &TrustRootMirrorSpec, leaving: &Leaving) -> Timestamp {
    leaving.since.saturating_add(spec.rotation.removal_grace.signed()).unwrap_or(Timestamp::MAX)
}

fn takes_away(changes: &RootDiff) -> bool {
    changes.changes.iter().any(|change| match change.happening {
        Happening::Removed | Happening::Ended { .. } => true,
        Happening::WindowChanged { from } => change.entry.window.intersection(from) != Some(from),
        Happening::Added { .. } | Happening::Moved { .. } => false,
    })
}
