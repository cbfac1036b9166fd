//! What is remembered of every policy: the journal, and what is enforced in an object of its own.
//!
//! The journal says how far a policy has come, what happened, and what is enforced; it is written first. The object of what is enforced follows it; where it is
//! the one that the journal took the place of, a write was cut off, and the journal is right. Anything else is somebody's doing, and is held against the
//! history. Both are read once and then known: a watch tells when somebody else writes.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_core::Digest;
use holdfast_core::engines::native::guards::MEMORY;
use holdfast_core::gate::Enforced;
use holdfast_core::operate::policy::Remembered;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::super::failure::Failed;
use super::super::store::{Lookup, POLICY, Place, Store};

const JOURNAL: &str = "policy";
const ENFORCED: &str = "enforced";
/// How old what is written of the last step may get.
const STEPS_AT_MOST: jiff::SignedDuration = jiff::SignedDuration::from_hours(1);

/// What is written down of a policy.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Journal {
    /// The gate, as it stands.
    gate: Remembered,
    /// The digest of what was enforced before, where this changes it; none where nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replaces: Option<Digest>,
}

/// One policy's documents, as they were last read or written.
#[derive(Debug, Clone, Default)]
struct Kept {
    journal: Option<Journal>,
    journal_at: Option<Place>,
    enforced: Option<Enforced>,
    enforced_at: Option<Place>,
    fault: Option<String>,
}

/// What is remembered of every policy.
pub(crate) struct Memory {
    store: Store,
    kept: Mutex<BTreeMap<String, Kept>>,
    /// What has to be read anew: these policies, or all.
    doubtful: Mutex<Doubt>,
}

#[derive(Debug)]
enum Doubt {
    All,
    Of(BTreeSet<String>),
}

/// What is remembered of one policy, and what is wrong with where that is written.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recalled {
    pub(crate) gate: Remembered,
    pub(crate) fault: Option<String>,
}

/// What is remembered of one policy, or of every one, also where it is no longer declared: for whoever only reads.
///
/// # Errors
/// [`Failed`], where one could not look.
pub(crate) async fn written_down(store: Store, only: Option<&str>) -> Result<BTreeMap<String, Recalled>, Failed> {
    let names = match only {
        Some(name) => BTreeSet::from([name.to_owned()]),
        None => &store.documents_of(JOURNAL).await? | &store.documents_of(ENFORCED).await?,
    };
    let memory = Memory::new(store);
    let mut found = BTreeMap::new();
    for name in names {
        let kept = memory.read_one(&name).await?;
        if kept.is_anything() {
            found.insert(name, kept.recalled());
        }
    }
    Ok(found)
}

impl Memory {
    /// Nothing read yet.
    pub(crate) fn new(store: Store) -> Self {
        Self { store, kept: Mutex::default(), doubtful: Mutex::new(Doubt::All) }
    }

    /// Everything is read anew: another replica may have written, or a write may have been cut off.
    pub(crate) fn doubt_all(&self) {
        *self.doubtful.lock() = Doubt::All;
    }

    /// An object of a policy's memory was seen; whether it is not the one this process wrote.
    pub(crate) fn seen(&self, policy: &str, object: &ObjectMeta, is_there: bool) -> bool {
        let is_ours = is_there
            && self.kept.lock().get(policy).is_some_and(|kept| {
                [&kept.journal_at, &kept.enforced_at].into_iter().flatten().any(|place| place.is(object))
            });
        if !is_ours && let Doubt::Of(names) = &mut *self.doubtful.lock() {
            names.insert(policy.to_owned());
        }
        !is_ours
    }

    /// What is remembered of these policies, and of those that are not among them and are enforced, or were let go and still are among those that deny.
    ///
    /// # Errors
    /// [`Failed`], where one could not look.
    pub(super) async fn recall(
        &self,
        declared: &BTreeSet<String>,
        denying: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, Recalled>, Failed> {
        let doubt = std::mem::replace(&mut *self.doubtful.lock(), Doubt::Of(BTreeSet::new()));
        let read = self.read(declared, &doubt).await;
        if read.is_err() {
            self.doubt_all();
        }
        read?;
        let kept = self.kept.lock();
        let recalled = kept.iter().map(|(name, kept)| (name.clone(), kept.recalled()));
        let matters = |name: &String, gate: &Remembered| {
            declared.contains(name) || gate.is_enforced() || (denying.contains(name) && gate.enforced.is_some())
        };
        Ok(recalled.filter(|(name, recalled)| matters(name, &recalled.gate)).collect())
    }

    async fn read(&self, declared: &BTreeSet<String>, doubt: &Doubt) -> Result<(), Failed> {
        let mut wanted: BTreeSet<String> =
            declared.iter().filter(|name| !self.kept.lock().contains_key(*name)).cloned().collect();
        match doubt {
            Doubt::All => {
                wanted.extend(declared.iter().cloned());
                wanted.extend(self.store.documents_of(JOURNAL).await?);
                wanted.extend(self.store.documents_of(ENFORCED).await?);
            }
            Doubt::Of(names) => wanted.extend(names.iter().cloned()),
        }
        for name in wanted {
            let kept = self.read_one(&name).await?;
            self.kept.lock().insert(name, kept);
        }
        Ok(())
    }

    async fn read_one(&self, policy: &str) -> Result<Kept, Failed> {
        let journal: Lookup<Journal> = self.store.document(&journal_name(policy), (POLICY, policy)).await?;
        let enforced: Lookup<Enforced> = self.store.document(&enforced_name(policy), (POLICY, policy)).await?;
        let faults: Vec<&str> = [journal.damage(), enforced.damage()].into_iter().flatten().collect();
        Ok(Kept {
            journal: journal.kept().map(|kept| kept.value.clone()),
            journal_at: journal.place(),
            enforced: enforced.kept().map(|kept| kept.value.clone()),
            enforced_at: enforced.place(),
            fault: (!faults.is_empty()).then(|| faults.join("; ")),
        })
    }

    /// Writes down what is to be remembered of a policy, where that is worth it; whether it was written.
    ///
    /// # Errors
    /// [`Failed`].
    pub(super) async fn remember(&self, policy: &str, gate: &Remembered) -> Result<bool, Failed> {
        if self.kept.lock().get(policy).is_some_and(|kept| kept.says(gate)) {
            return Ok(false);
        }
        let kept = self.kept.lock().get(policy).cloned().unwrap_or_default();
        let before = kept.journal.as_ref().map(|journal| &journal.gate);
        let labels = |sort| [(MEMORY, sort), (POLICY, policy)];
        let mut written = false;
        if !before.is_some_and(|before| says_the_same(before, gate)) {
            let changes = kept.enforced != gate.enforced;
            let unchanged = kept.journal.as_ref().and_then(|journal| journal.replaces);
            let replaces = if changes { kept.enforced.as_ref().map(digest) } else { unchanged };
            let journal = Journal { gate: gate.clone(), replaces };
            let name = journal_name(policy);
            let place = self.doubting(
                self.store.write_document(&name, &labels(JOURNAL), kept.journal_at.as_ref(), &journal).await,
            )?;
            let mut all = self.kept.lock();
            let of = all.entry(policy.to_owned()).or_default();
            (of.journal, of.journal_at) = (Some(journal), Some(place));
            written = true;
        }
        if let Some(enforced) = gate.enforced.as_ref().filter(|enforced| kept.enforced.as_ref() != Some(*enforced)) {
            let name = enforced_name(policy);
            let place = self.doubting(
                self.store.write_document(&name, &labels(ENFORCED), kept.enforced_at.as_ref(), enforced).await,
            )?;
            let mut all = self.kept.lock();
            let of = all.entry(policy.to_owned()).or_default();
            (of.enforced, of.enforced_at, of.fault) = (Some(enforced.clone()), Some(place), None);
            written = true;
        }
        Ok(written)
    }

    /// Where a write fails, nobody knows what is there.
    fn doubting<T>(&self, written: Result<T, Failed>) -> Result<T, Failed> {
        if written.is_err() {
            self.doubt_all();
        }
        written
    }
}

impl Kept {
    fn is_anything(&self) -> bool {
        self.journal.is_some() || self.enforced.is_some() || self.fault.is_some()
    }

    /// Whether all of this is written down already.
    fn says(&self, gate: &Remembered) -> bool {
        self.journal.as_ref().is_some_and(|journal| says_the_same(&journal.gate, gate))
            && (gate.enforced.is_none() || self.enforced == gate.enforced)
    }

    fn recalled(&self) -> Recalled {
        let gate = self.journal.as_ref().map(|journal| journal.gate.clone()).unwrap_or_default();
        Recalled { gate: Remembered { enforced: self.what_is_enforced(), ..gate }, fault: self.fault.clone() }
    }

    fn what_is_enforced(&self) -> Option<Enforced> {
        let Some(journal) = &self.journal else { return self.enforced.clone() };
        let was_cut_off = self.enforced.as_ref().map(digest) == journal.replaces && self.fault.is_none();
        if was_cut_off { journal.gate.enforced.clone() } else { self.enforced.clone() }
    }
}

fn digest(enforced: &Enforced) -> Digest {
    Digest::of(&serde_json::to_vec(enforced).unwrap_or_default())
}

fn journal_name(policy: &str) -> String {
    format!("holdfast-policy-{policy}")
}

fn enforced_name(policy: &str) -> String {
    format!("holdfast-enforced-{policy}")
}

/// Whether nothing is told that was not told before. In which words a check failed is not worth a write of its own, nor is when a step was made but for now
/// and then: it says since when namespaces were not looked at.
fn says_the_same(before: &Remembered, now: &Remembered) -> bool {
    let step =
        |gate: &Remembered| gate.progress.as_ref().filter(|_| gate.enforced.is_some()).map(|progress| progress.at);
    if step(before).zip(step(now)).is_some_and(|(before, now)| now.duration_since(before) >= STEPS_AT_MOST) {
        return false;
    }
    let bare = |gate: &Remembered| {
        let mut progress = gate.progress.clone();
        if let Some(progress) = &mut progress {
            progress.at = jiff::Timestamp::UNIX_EPOCH;
            progress.checks.iter_mut().for_each(|check| check.message.clear());
        }
        progress
    };
    before.enforced == now.enforced && before.history == now.history && bare(before) == bare(now)
}
