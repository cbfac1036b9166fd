//! What this process knows of a report, besides what is stored.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use holdfast_core::operate::report::{Asked, Finished, Running, ScanFacts};
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::impact::JudgedBy;
use super::publish::Published;
use super::registries::Registries;
use crate::scan::{Ledger, Progress};

/// The first wait until what could not be looked at is tried again, and the longest.
const FIRST_RETRY: Duration = Duration::from_secs(15);
const LAST_RETRY: Duration = Duration::from_secs(600);

/// What this process knows of a report.
#[derive(Default)]
pub(super) struct Known {
    /// Of which object: one that is made again under the same name is another.
    uid: Option<String>,
    /// Passes in a row that failed.
    pub(super) failed: u32,
    /// What was seen of each image.
    pub(super) ledger: Arc<Mutex<Ledger>>,
    /// The registries, as they were last read.
    pub(super) registries: Option<Arc<Registries>>,
    /// The scan that is under way.
    pub(super) running: Option<UnderWay>,
    /// The last one over everything that ended, and what asked for it.
    pub(super) last: Option<Finished>,
    pub(super) asked: Option<Asked>,
    /// When what could not be looked at is tried again, and how often it was.
    retry: Option<(Instant, u32)>,
    /// What is known of its report objects, and why they are not where it wants them.
    pub(super) published: Published,
    pub(super) unpublished: Option<String>,
    /// When the scan ended after which they were last looked at.
    pub(super) published_after: Option<Timestamp>,
    /// When its images were last judged by what waits, by mirror.
    pub(super) judged_by: BTreeMap<String, JudgedBy>,
    /// When its status was last written.
    pub(super) written: Option<Instant>,
    /// Since when what is to be told waits for looks at what is new.
    pub(super) waits: Option<Instant>,
}

/// A scan that is under way.
pub(super) struct UnderWay {
    pub(super) started: Timestamp,
    pub(super) everything: bool,
    pub(super) progress: Arc<Progress>,
    pub(super) task: AbortHandle,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Known {
    /// What is known of this object, and nothing of another one of its name.
    pub(super) fn of(&mut self, uid: Option<&String>) -> &mut Self {
        if self.uid.as_ref() != uid {
            *self = Self { uid: uid.cloned(), ..Self::default() };
        }
        self
    }

    /// How far scans have come.
    pub(super) fn facts(&self) -> ScanFacts {
        let running = self.running.as_ref().map(|scan| {
            let (looked, of) = scan.progress.now();
            Running { started: scan.started, everything: scan.everything, looked, of }
        });
        ScanFacts { running, last: self.last, asked: self.asked.clone() }
    }

    /// Whether what could not be looked at is due again; and else how long until then.
    pub(super) fn retry_in(&self) -> Option<Duration> {
        self.retry.map(|(at, _)| at.saturating_duration_since(Instant::now()))
    }

    /// Whether a scan is the one that is under way, and not one that it took the place of: that may end in the same moment, and is no longer asked for.
    pub(super) fn is_running(&self, progress: &Arc<Progress>) -> bool {
        self.running.as_ref().is_some_and(|running| Arc::ptr_eq(&running.progress, progress))
    }

    /// The scan under way ended; whether something, whichever scan saw it, is to be looked at again.
    pub(super) fn ended(&mut self, leaves: bool, interval: Duration) {
        self.running = None;
        let now = Instant::now();
        self.retry = leaves.then(|| match self.retry {
            // What is new puts off nothing that waits.
            Some((at, count)) if at > now => (at, count),
            before => {
                let count = before.map_or(0, |(_, count)| count.saturating_add(1));
                let wait = FIRST_RETRY.saturating_mul(1 << count.min(6)).min(LAST_RETRY).min(interval);
                (now + super::jitter(wait), count)
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn begin(known: &mut Known) -> Arc<Progress> {
        let progress = Arc::new(Progress::of(1));
        let task = tokio::spawn(std::future::pending::<()>()).abort_handle();
        known.running =
            Some(UnderWay { started: Timestamp::UNIX_EPOCH, everything: true, progress: progress.clone(), task });
        progress
    }

    #[tokio::test]
    async fn a_scan_that_another_took_the_place_of_does_not_end_it() {
        let mut known = Known::default();
        let (before, now) = (begin(&mut known), begin(&mut known));
        assert!(!known.is_running(&before) && known.is_running(&now));
        known.ended(false, HOUR);
        assert!(!known.is_running(&now));
    }

    #[test]
    fn what_is_new_puts_off_nothing_that_waits() {
        let mut known = Known::default();
        known.ended(true, HOUR);
        let first = known.retry;
        for _ in 0..10 {
            known.ended(true, HOUR);
        }
        assert_eq!(known.retry, first, "it is not due yet, and comes no later");
        known.retry = first.map(|(_, count)| (Instant::now(), count));
        known.ended(true, HOUR);
        assert_eq!(known.retry.unwrap().1, 1, "it was tried, and is tried again later");
        known.ended(false, HOUR);
        assert_eq!(known.retry_in(), None);
    }
}
