//! A bounded record of what happened to a policy, each entry chained to the one before it by digest.
//!
//! Only holdfast can write it. What a status says of a soak has to agree with it; what was enforced can be told from it when the object that says so is
//! lost. One history a policy, so that one that flaps does not push out what another one needs.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::loosening;
use super::named::Named;
use crate::Digest;

/// How many records are kept, unless told otherwise.
pub const KEPT: usize = 512;
/// How many bytes of records are kept: they are written down with the rest in one object, of which the API server takes one MiB, packed.
const LARGEST: usize = 2 * 1024 * 1024;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "event")]
pub enum Event {
    /// A soak started.
    SoakStarted {
        /// Of which wave.
        wave: String,
        /// For which namespaces.
        namespaces: Named,
        /// For which parts of the policy.
        subject: Digest,
        /// Where its measure begins.
        began: Timestamp,
    },
    /// A soak ended without a promotion.
    SoakEnded {
        /// Of which wave.
        wave: String,
        /// For which namespaces.
        namespaces: Named,
        /// Why.
        why: String,
    },
    /// Namespaces were promoted: from here on the policy denies there.
    Promoted {
        /// In which wave.
        wave: String,
        /// Which.
        namespaces: BTreeSet<String>,
        /// In which form of the policy.
        form: Digest,
    },
    /// The promotion of a wave was observed in force.
    Observed {
        /// Which.
        wave: String,
    },
    /// Another form of the policy came into force.
    FormChanged {
        /// Which.
        form: Digest,
        /// Who allowed what of it is looser; nobody where nothing is.
        by: Vec<String>,
        /// Whether it may be about images or namespaces that the form before it was not about.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        further: bool,
    },
    /// A looser form, a deletion or a release waits.
    Held {
        /// The digest that would have to be approved.
        wants: Digest,
        /// Which ways of being looser.
        kinds: Vec<String>,
    },
    /// Namespaces were let go, as was approved.
    Released {
        /// Which.
        namespaces: BTreeSet<String>,
        /// Who allowed it.
        by: Vec<String>,
    },
    /// Namespaces that are gone for long are no longer kept by name.
    Forgotten {
        /// Which.
        namespaces: BTreeSet<String>,
    },
    /// A break-glass came into force.
    BreakGlassOpened {
        /// Which.
        name: String,
        /// Until when.
        until: Timestamp,
    },
    /// A break-glass ended.
    BreakGlassEnded {
        /// Which.
        name: String,
    },
    /// An approval did what it was given for. It does so once: what is tightened again is approved again.
    ApprovalSpent {
        /// The digest that was approved.
        of: Digest,
        /// When the newest of the approvals of it was made: what is made later approves it again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        made: Option<Timestamp>,
    },
    /// What a promotion takes out of another policy's denial was approved.
    ClaimsAllowed {
        /// The digest that was approved.
        claims: Digest,
        /// The namespaces that it names.
        namespaces: BTreeSet<String>,
        /// What is allowed with it in namespaces that are in scope from their start.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        of_newborn: BTreeSet<Digest>,
        /// Who allowed it.
        by: Vec<String>,
    },
    /// What is enforced was written down anew, because the object that says so, or this history, was lost or changed.
    Recovered {
        /// What was wrong.
        why: String,
        /// What is in force.
        #[serde(flatten)]
        in_force: InForce,
    },
    /// What older records amount to that are no longer kept.
    Summary {
        /// What is in force.
        #[serde(flatten)]
        in_force: InForce,
    },
}

/// What the records amount to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InForce {
    /// The form of the policy that came into force last.
    pub form: Option<Digest>,
    /// The namespaces that were promoted and not released, with their wave.
    pub enforced: BTreeMap<String, String>,
    /// The waves that were observed in force.
    pub waves: BTreeSet<String>,
    /// Since when anything is enforced without a break.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// When it last came to be about more images or namespaces, while it was enforced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub further: Option<Timestamp>,
    /// What promotions were allowed to take out of other policies' denial, and in which namespaces.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub claims: BTreeMap<Digest, BTreeSet<String>>,
    /// What is allowed in namespaces that are in scope from their start, since something looser last came into force.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub of_newborn: BTreeSet<Digest>,
    /// The digests of approvals that did what they were given for, and when the newest of these was made.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub spent: BTreeMap<Digest, Option<Timestamp>>,
}

impl InForce {
    fn after(mut self, record: &Record) -> Self {
        self = self.after_event(&record.event);
        if self.enforced.is_empty() {
            // Whatever is enforced under the name next is another policy.
            (self.since, self.further) = (None, None);
        } else {
            // Names come and go; who was there first stays so until nothing is enforced any more.
            self.since = self.since.or(Some(record.at));
            if matches!(record.event, Event::FormChanged { further: true, .. }) {
                self.further = Some(record.at);
            }
        }
        self
    }

    fn after_event(mut self, event: &Event) -> Self {
        match event {
            Event::Summary { in_force } | Event::Recovered { in_force, .. } => return in_force.clone(),
            Event::Promoted { wave, namespaces, form } => {
                self.form = Some(*form);
                // A namespace stays of the wave it came with, whatever else selects it later.
                for namespace in namespaces {
                    self.enforced.entry(namespace.clone()).or_insert_with(|| wave.clone());
                }
            }
            Event::FormChanged { form, by, .. } => {
                self.form = Some(*form);
                if !by.is_empty() {
                    self.of_newborn.clear();
                }
            }
            Event::Released { namespaces, .. } | Event::Forgotten { namespaces } => {
                self.enforced.retain(|name, _| !namespaces.contains(name));
                // What comes back is agreed to again.
                self.claims.retain(|_, named| named.is_disjoint(namespaces));
                if self.enforced.is_empty() {
                    self.of_newborn.clear();
                }
            }
            Event::Observed { wave } => _ = self.waves.insert(wave.clone()),
            Event::ClaimsAllowed { claims, namespaces, of_newborn, .. } => {
                self.claims.insert(*claims, namespaces.clone());
                self.of_newborn.extend(of_newborn);
            }
            Event::ApprovalSpent { of, made } => _ = self.spent.insert(*of, *made),
            Event::SoakStarted { .. }
            | Event::SoakEnded { .. }
            | Event::Held { .. }
            | Event::BreakGlassOpened { .. }
            | Event::BreakGlassEnded { .. } => {}
        }
        self
    }
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Its number; the first is 0.
    pub number: u64,
    /// When it was written, by the clock of that moment.
    pub at: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
    /// The digest of the record before it; of nothing, for the first.
    pub previous: Digest,
    /// Its own digest.
    pub digest: Digest,
}

impl Record {
    fn new(number: u64, at: Timestamp, event: Event, previous: Digest) -> Self {
        let digest = Self::digest_of(number, at, &event, previous);
        Self { number, at, event, previous, digest }
    }

    /// Its size as it is written down.
    fn size(&self) -> usize {
        serde_json::to_vec(self).map_or(0, |bytes| bytes.len())
    }

    fn digest_of(number: u64, at: Timestamp, event: &Event, previous: Digest) -> Digest {
        loosening::value_digest(&json!({"number": number, "at": at, "event": event, "previous": previous}))
    }
}

/// Why a history cannot be relied on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BrokenChain {
    /// A record is not what its digest says.
    #[error("record {number} of the history was changed: its digest does not match what it says")]
    Changed {
        /// Which.
        number: u64,
    },
    /// A record does not follow the one before it.
    #[error("record {number} of the history does not follow the one before it")]
    Gap {
        /// Which.
        number: u64,
    },
    /// The last known record is not among them.
    #[error("the history no longer has the record {head} that was its last one: it was set back")]
    SetBack {
        /// The digest of that record.
        head: Digest,
    },
}

/// The records, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct History {
    records: Vec<Record>,
}

impl History {
    /// The records.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The digest of the newest record.
    pub fn head(&self) -> Option<Digest> {
        self.records.last().map(|record| record.digest)
    }

    /// Appends what happened, and drops the older half once `kept` are exceeded, or they are too large; what that half amounts to is summed up before.
    pub fn append(&mut self, at: Timestamp, event: Event, kept: usize) -> Digest {
        if self.records.len() >= kept.max(4) || self.records.iter().map(Record::size).sum::<usize>() > LARGEST {
            self.push(at, Event::Summary { in_force: self.in_force() });
            self.drop_older_half();
        }
        self.push(at, event)
    }

    /// Drops the older half, by number and by size, but for the newest record. A soak whose start goes with it is no longer proven and starts again.
    fn drop_older_half(&mut self) {
        let half = self.records.len() / 2;
        let mut size = 0_usize;
        let small = self.records.iter().rev().take_while(|record| {
            size = size.saturating_add(record.size());
            size <= LARGEST / 2
        });
        let kept = small.count().clamp(1, self.records.len() - half);
        self.records.drain(..self.records.len() - kept);
    }

    fn push(&mut self, at: Timestamp, event: Event) -> Digest {
        let (number, previous) =
            self.records.last().map_or((0, Digest::of(b"")), |last| (last.number.saturating_add(1), last.digest));
        let record = Record::new(number, at, event, previous);
        let digest = record.digest;
        self.records.push(record);
        digest
    }

    /// Checks every record against its digest and the one before it, and that `head`, where one is known from elsewhere, is among them.
    ///
    /// # Errors
    /// [`BrokenChain`], at the first fault.
    pub fn verify(&self, head: Option<Digest>) -> Result<(), BrokenChain> {
        let mut before: Option<&Record> = None;
        for record in &self.records {
            let number = record.number;
            if record.digest != Record::digest_of(number, record.at, &record.event, record.previous) {
                return Err(BrokenChain::Changed { number });
            }
            let follows = match before {
                Some(last) => record.previous == last.digest && number == last.number.saturating_add(1),
                None => number > 0 || record.previous == Digest::of(b""),
            };
            if !follows {
                return Err(BrokenChain::Gap { number });
            }
            before = Some(record);
        }
        // What was cut off at the front is summed up in what is left, by whoever cuts as `append` does.
        if let Some(first) = self.records.first().filter(|first| first.number > 0)
            && !self.records.iter().any(|record| sums_up(&record.event))
        {
            return Err(BrokenChain::Gap { number: first.number });
        }
        match head {
            Some(head) if !self.records.iter().any(|record| record.digest == head) => {
                Err(BrokenChain::SetBack { head })
            }
            _ => Ok(()),
        }
    }

    /// The start of the soak that is under way for these namespaces of a wave: the newest one that nothing ended since.
    pub fn soak_start(&self, wave: &str, namespaces: &BTreeSet<String>) -> Option<&Record> {
        let of = |w: &String, n: &Named| w == wave && n.are(namespaces);
        let newest = self.records.iter().rev().find(|record| match &record.event {
            Event::SoakStarted { wave, namespaces, .. } | Event::SoakEnded { wave, namespaces, .. } => {
                of(wave, namespaces)
            }
            Event::Promoted { wave: of, namespaces: promoted, .. } => of == wave && !promoted.is_disjoint(namespaces),
            _ => false,
        });
        newest.filter(|record| matches!(record.event, Event::SoakStarted { .. }))
    }

    /// Since when a change waits, as far as that is known: when that was last written down, or since what is older is summed up.
    pub(super) fn held_since(&self, digest: Digest) -> Option<Timestamp> {
        let newest = |says: &dyn Fn(&Event) -> bool| self.records.iter().rev().find(|record| says(&record.event));
        let held = newest(&|event| matches!(event, Event::Held { wants, .. } if *wants == digest));
        held.or_else(|| newest(&sums_up)).map(|record| record.at)
    }

    /// What the records amount to.
    pub fn in_force(&self) -> InForce {
        self.records.iter().fold(InForce::default(), InForce::after)
    }

    /// Begins a new chain where this one does not hold: its first record says what is in force, and why it is said anew. Numbers go on.
    pub(super) fn anew(&self, at: Timestamp, why: String, in_force: InForce) -> Self {
        let number = self.records.last().map_or(0, |last| last.number.saturating_add(1));
        let record = Record::new(number, at, Event::Recovered { why, in_force }, Digest::of(b""));
        Self { records: vec![record] }
    }

    /// The newest record that says what was wrong, if that is not longer ago than `within`.
    pub(super) fn recovered(&self, now: Timestamp, within: SignedDuration) -> Option<(Timestamp, &str)> {
        self.records.iter().rev().find_map(|record| match &record.event {
            Event::Recovered { why, .. } if now.duration_since(record.at) <= within => Some((record.at, why.as_str())),
            _ => None,
        })
    }
}

/// Whether it says everything that older records say.
const fn sums_up(event: &Event) -> bool {
    matches!(event, Event::Summary { .. } | Event::Recovered { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names are random, so that nothing of them packs well.
    #[test]
    fn however_many_namespaces_there_are_it_is_small_enough_to_be_kept_and_forgets_none() {
        let (at, form) = (Timestamp::UNIX_EPOCH, Digest::of(b"form"));
        let all: BTreeSet<String> = (0..2000_u32).map(|n| Digest::of(&n.to_be_bytes()).hex()).collect();
        let mut history = History::default();
        history.append(at, Event::Promoted { wave: "w".to_owned(), namespaces: all.clone(), form }, KEPT);
        for round in 0..20 {
            let (wave, subject) = ("w".to_owned(), form);
            let started = Event::SoakStarted { wave: wave.clone(), namespaces: Named::from(&all), subject, began: at };
            let head = history.append(at, started, KEPT);
            assert_eq!(history.soak_start("w", &all).map(|record| record.digest), Some(head));
            let by = vec!["bob".to_owned()];
            history.append(at, Event::Released { namespaces: all.clone(), by }, KEPT);
            history.append(at, Event::Promoted { wave, namespaces: all.clone(), form }, KEPT);
            let size: usize = history.records.iter().map(Record::size).sum();
            assert!(size < 2 * LARGEST, "{size} bytes after {round} rounds");
            assert!(history.verify(Some(head)).is_ok() && history.in_force().enforced.len() == all.len());
        }
        assert!(history.records.len() > 4);
    }

    /// Whoever can make records anew makes their digests anew, too.
    #[test]
    fn records_that_are_made_anew_still_have_to_follow_one_another() {
        let (at, start) = (Timestamp::UNIX_EPOCH, Digest::of(b""));
        let record = |number, previous| Record::new(number, at, Event::Observed { wave: number.to_string() }, previous);
        let chain = |records: Vec<Record>| History { records }.verify(None).is_ok();
        let first = record(0, start);
        assert!(chain(vec![first.clone(), record(1, first.digest)]));
        assert!(!chain(vec![first.clone(), record(2, first.digest)]), "a number is left out");
        assert!(!chain(vec![first.clone(), record(1, start)]), "it follows another one");
        assert!(!chain(vec![record(0, first.digest)]), "the first one follows nothing");
    }
}
