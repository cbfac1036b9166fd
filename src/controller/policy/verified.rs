//! Which digests are verified, and what that rests on, over restarts.
//!
//! The digests themselves are in the parameters that admission policies look up; kept beside them is which forms of each parameter this operator wrote, and what
//! the digests of each form rest on: a parameter in another form says nothing, and what is in it has to be verified anew. When a digest was last used is kept
//! for those that nothing uses any more, by the day.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_core::Digest;
use holdfast_core::engines::Object;
use holdfast_core::engines::native::announced::{Announced, Recalled};
use holdfast_core::engines::native::guards::MEMORY;
use holdfast_core::engines::native::{Holding, Proof};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

use super::super::failure::Failed;
use super::super::store::{Lookup, Place, Store};
use super::live::{Kind, NativeObjects};

const NAME: &str = "holdfast-verified";
const UNSEEN: &str = "holdfast-verified-unseen";
const LABEL: (&str, &str) = (MEMORY, "verified");
/// How often it is looked, and written at most, when digests were last used: a day is told, and no hour.
const UNSEEN_AT_MOST: SignedDuration = SignedDuration::from_hours(1);
/// Hex digits that tell one digest from another where no proof hangs on it.
const SHORT: usize = 12;

/// For each policy and day, the digests that were last used on it, shortened.
type Unseen = BTreeMap<String, BTreeMap<String, String>>;

#[derive(Default)]
struct Known {
    is_read: bool,
    listed: Announced,
    listed_at: Option<Place>,
    unseen: Unseen,
    unseen_at: Option<Place>,
    unseen_looked: Option<Timestamp>,
    holdings: Arc<BTreeMap<String, Holding>>,
}

/// What is verified.
pub(crate) struct VerifiedDigests {
    store: Store,
    known: Mutex<Known>,
}

impl VerifiedDigests {
    /// Nothing read yet.
    pub(crate) fn new(store: Store) -> Self {
        Self { store, known: Mutex::default() }
    }

    /// Everything is read anew.
    pub(crate) fn doubt(&self) {
        self.known.lock().is_read = false;
    }

    /// What is verified, as it was last decided; from what is written down where this process has not decided yet.
    ///
    /// # Errors
    /// [`Failed`], where one could not look.
    pub(super) async fn recall(
        &self,
        live: &NativeObjects,
        now: Timestamp,
    ) -> Result<Arc<BTreeMap<String, Holding>>, Failed> {
        if !self.known.lock().is_read {
            let listed: Lookup<Announced> = self.store.document(NAME, LABEL).await?;
            let unseen: Lookup<Unseen> = self.store.document(UNSEEN, LABEL).await?;
            for damaged in [listed.damage(), unseen.damage()].into_iter().flatten() {
                tracing::warn!(%damaged, "what is verified has to be verified anew");
            }
            let (listed_at, unseen_at) = (listed.place(), unseen.place());
            let listed = listed.kept().map(|kept| kept.value.clone()).unwrap_or_default();
            let unseen = unseen.kept().map(|kept| kept.value.clone()).unwrap_or_default();
            let holdings = Arc::new(holdings(&listed, &unseen, live, now));
            *self.known.lock() =
                Known { is_read: true, listed, listed_at, unseen, unseen_at, unseen_looked: None, holdings };
        }
        Ok(self.known.lock().holdings.clone())
    }

    /// What is verified, as it was last decided.
    pub(super) fn now(&self) -> Arc<BTreeMap<String, Holding>> {
        self.known.lock().holdings.clone()
    }

    /// How many parameters each policy has.
    pub(super) fn shards(&self) -> BTreeMap<String, u16> {
        self.known.lock().listed.counts()
    }

    /// Writes down what is about to be listed, before any of it is written.
    ///
    /// # Errors
    /// [`Failed`].
    pub(super) async fn announce(
        &self,
        wanted: &[Object],
        holdings: &BTreeMap<String, Holding>,
        live: &NativeObjects,
    ) -> Result<(), Failed> {
        let (before, at) = {
            let known = self.known.lock();
            (known.listed.clone(), known.listed_at.clone())
        };
        let there = live.now();
        let is_there = |name: &str| there.get(&(Kind::Shard, name.to_owned())).map(|there| &*there.object);
        let next = before.followed_by(wanted, holdings, &is_there);
        if !next.wants_the_same(&before) {
            let written = self.store.write_document(NAME, &[LABEL], at.as_ref(), &next).await;
            let place = written.inspect_err(|_| self.doubt())?;
            let mut known = self.known.lock();
            (known.listed, known.listed_at) = (next, Some(place));
        }
        Ok(())
    }

    /// What was decided is what is verified from now on.
    pub(super) fn decided(&self, holdings: Arc<BTreeMap<String, Holding>>) {
        self.known.lock().holdings = holdings;
    }

    /// Writes down, now and then, when digests were last used that nothing uses.
    ///
    /// # Errors
    /// [`Failed`].
    pub(super) async fn tell_unseen(&self, now: Timestamp) -> Result<(), Failed> {
        let (unseen, at) = {
            let mut known = self.known.lock();
            if known.unseen_looked.is_some_and(|at| now.duration_since(at) < UNSEEN_AT_MOST) {
                return Ok(());
            }
            known.unseen_looked = Some(now);
            let unseen = unseen(&known.holdings, now);
            if unseen == known.unseen {
                return Ok(());
            }
            (unseen, known.unseen_at.clone())
        };
        let place =
            self.store.write_document(UNSEEN, &[LABEL], at.as_ref(), &unseen).await.inspect_err(|_| self.doubt())?;
        let mut known = self.known.lock();
        (known.unseen, known.unseen_at) = (unseen, Some(place));
        Ok(())
    }
}

fn day(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).date().to_string()
}

/// What is in parameters of a form that was written, with what that rests on.
fn holdings(listed: &Announced, unseen: &Unseen, live: &NativeObjects, now: Timestamp) -> BTreeMap<String, Holding> {
    let there = live.now();
    let recalled = listed.recall(there.values().map(|there| &*there.object));
    let holding = |(policy, Recalled { basis, digests }): (String, Recalled)| {
        let last_used = last_used(unseen.get(&policy));
        let proof = |digest: &Digest| {
            let hex = digest.hex();
            let last_seen = hex.get(..SHORT).and_then(|short| last_used.get(short).copied()).unwrap_or(now);
            Proof { last_seen: last_seen.min(now), evidence: None }
        };
        let digests = digests.iter().map(|digest| (*digest, proof(digest))).collect();
        (policy, Holding { basis: Some(basis), digests })
    };
    recalled.into_iter().map(holding).collect()
}

fn last_used(days: Option<&BTreeMap<String, String>>) -> BTreeMap<&str, Timestamp> {
    let at = |day: &str| format!("{day}T00:00:00Z").parse::<Timestamp>().ok();
    let days = days.into_iter().flatten().filter_map(|(day, list)| Some((at(day)?, list)));
    days.flat_map(|(at, list)| list.split(';').map(move |short| (short, at))).collect()
}

/// What was last used before today.
fn unseen(holdings: &BTreeMap<String, Holding>, now: Timestamp) -> Unseen {
    let today = day(now);
    let mut unseen = Unseen::new();
    for (policy, holding) in holdings {
        for (digest, proof) in &holding.digests {
            let last_used = day(proof.last_seen);
            if last_used < today {
                let digests = unseen.entry(policy.clone()).or_default().entry(last_used).or_default();
                if !digests.is_empty() {
                    digests.push(';');
                }
                digests.push_str(digest.hex().get(..SHORT).unwrap_or_default());
            }
        }
    }
    unseen
}
