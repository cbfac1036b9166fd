//! One scan: registries are asked side by side, each politely, and what comes is judged as it comes.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::StreamExt;
use futures_util::stream::{self, FuturesUnordered};
use holdfast_core::verify::Reason;
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::judge::Judge;
use super::ledger::{Ledger, Sighting, Target};
use crate::clock;
use crate::registry::blobs::Blobs;
use crate::registry::client::Credentials;
use crate::registry::remote::{LookFailure, Looked, Reach, Remote, Stage};

/// An image that is to be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// Where.
    pub target: Target,
    /// The policies that are about it, by their place.
    pub policies: Vec<usize>,
    /// The image of the inventory it is wanted for, by its place: for the pull secrets of its pods.
    pub image: usize,
}

/// How far a scan is.
#[derive(Debug, Default)]
pub struct Progress {
    looked: AtomicUsize,
    of: usize,
}

impl Progress {
    /// Nothing was looked at yet.
    pub const fn of(of: usize) -> Self {
        Self { looked: AtomicUsize::new(0), of }
    }

    /// How many were looked at, and of how many.
    pub fn now(&self) -> (usize, usize) {
        (self.looked.load(Ordering::Relaxed), self.of)
    }
}

/// Credentials that pods bring along.
pub trait PullCredentials: Send + Sync {
    /// Those of the pods that use an image of the inventory; they are asked for where the declared ones are not enough.
    fn of(&self, want: &Want) -> Pin<Box<dyn Future<Output = Vec<Credentials>> + Send + '_>>;
}

/// What a scan works with.
pub struct Scan {
    /// The registries, in the order they are declared; of one that cannot be asked, why.
    pub remotes: Vec<Result<Arc<Remote>, (Reason, String)>>,
    /// How many requests each takes at once.
    pub at_once: Vec<usize>,
    /// What policies say.
    pub judge: Arc<Judge>,
    /// What was seen.
    pub ledger: Arc<Mutex<Ledger>>,
    /// Evidence that is kept.
    pub blobs: Arc<Blobs>,
    /// Credentials that pods bring along.
    pub credentials: Arc<dyn PullCredentials>,
    /// How many judge at once.
    pub processors: Arc<Semaphore>,
    /// Whose turn it is to look at an image with much evidence: one at a time, of all scans.
    pub heavy: Arc<Semaphore>,
}

impl Scan {
    /// Looks at everything that is wanted: what was never seen first, then what was seen longest ago. One registry that hangs holds up no other.
    pub async fn run(self: Arc<Self>, wants: Vec<Want>, progress: Arc<Progress>) {
        let mut by_registry: BTreeMap<usize, Vec<Want>> = BTreeMap::new();
        {
            let ledger = self.ledger.lock();
            let mut wants: Vec<(Option<Timestamp>, Want)> =
                wants.into_iter().map(|want| (ledger.get(&want.target).map(|seen| seen.at), want)).collect();
            wants.sort_by(|(a, one), (b, other)| (a, &one.target).cmp(&(b, &other.target)));
            for (_, want) in wants {
                by_registry.entry(want.target.registry).or_default().push(want);
            }
        }
        let registries: FuturesUnordered<_> = by_registry
            .into_iter()
            .map(|(registry, wants)| {
                let (scan, progress) = (self.clone(), progress.clone());
                // As many again are judged meanwhile.
                let at_once = self.at_once.get(registry).copied().unwrap_or(1).saturating_mul(2);
                stream::iter(wants).for_each_concurrent(at_once, move |want| {
                    let (scan, progress) = (scan.clone(), progress.clone());
                    async move {
                        scan.look_at(want).await;
                        progress.looked.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        registries.collect::<()>().await;
    }

    async fn look_at(&self, want: Want) {
        let now = clock::now();
        let sighting = match self.sight(&want, now).await {
            Ok(sighting) => sighting,
            Err(why) => {
                let before = self.ledger.lock().get(&want.target);
                Sighting::failed(before.as_deref(), want.target.digest, now, why)
            }
        };
        self.ledger.lock().note(want.target, sighting);
    }

    async fn sight(&self, want: &Want, now: Timestamp) -> Result<Sighting, (Reason, String)> {
        let told = |failure: LookFailure| (failure.reason(), failure.to_string());
        let remote = match self.remotes.get(want.target.registry) {
            Some(Ok(remote)) => remote,
            Some(Err(why)) => return Err(why.clone()),
            None => return Err((Reason::RegistryNotDeclared, "its registry is no longer declared".to_owned())),
        };
        match self.sight_of(remote, want, now, Reach::Light).await {
            Err(LookFailure::Heavy) => {}
            sighted => return sighted.map_err(told),
        }
        // Its turn lasts until it was judged.
        let Ok(_turn) = self.heavy.acquire().await else { return Err(told(LookFailure::Heavy)) };
        self.sight_of(remote, want, now, Reach::Whole).await.map_err(told)
    }

    /// Looks for bundles and, where those do not pass, for what older tools left.
    async fn sight_of(
        &self,
        remote: &Remote,
        want: &Want,
        now: Timestamp,
        reach: Reach,
    ) -> Result<Sighting, LookFailure> {
        let bundles = Arc::new(self.look(remote, want, (Stage::Bundles, reach)).await?);
        let mut sighting = Sighting::of(&bundles, now);
        if self.passes(&sighting, want, &bundles, None).await {
            return Ok(sighting);
        }
        match self.look(remote, want, (Stage::Legacy, reach)).await {
            Ok(legacy) => {
                sighting.and(&legacy);
                // Judged at once, while what is not kept is at hand.
                self.passes(&sighting, want, &bundles, Some(Arc::new(legacy))).await;
            }
            Err(LookFailure::Heavy) => return Err(LookFailure::Heavy),
            Err(failure) => {
                let why = (failure.reason(), failure.to_string());
                sighting.incomplete = sighting.incomplete.take().or(Some(why));
            }
        }
        Ok(sighting)
    }

    async fn look(&self, remote: &Remote, want: &Want, what: (Stage, Reach)) -> Result<Looked, LookFailure> {
        let Target { repository, digest, .. } = &want.target;
        match remote.look_within(repository, *digest, &self.blobs, what, &[]).await {
            Err(failure) if failure.reason() == Reason::Unauthorized => {
                let also = self.credentials.of(want).await;
                if also.is_empty() {
                    return Err(failure);
                }
                remote.look_within(repository, *digest, &self.blobs, what, &also).await
            }
            looked => looked,
        }
    }

    /// Judging takes a processor, which whoever waits for the network does not hold.
    async fn passes(
        &self,
        sighting: &Sighting,
        want: &Want,
        bundles: &Arc<Looked>,
        legacy: Option<Arc<Looked>>,
    ) -> bool {
        let Ok(_permit) = self.processors.acquire().await else { return false };
        let (judge, sighting, policies, bundles) =
            (self.judge.clone(), sighting.clone(), want.policies.clone(), bundles.clone());
        let judged = tokio::task::spawn_blocking(move || {
            let along: Vec<&Looked> = std::iter::once(&*bundles).chain(legacy.as_deref()).collect();
            judge.passes(&sighting, &policies, &along)
        });
        judged.await.unwrap_or(false)
    }
}
