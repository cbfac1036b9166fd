//! The trust in force, as passes over mirrors found it: what scans judge by.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use holdfast_core::coverage::Roots;
use holdfast_core::trust::root::TrustRoot;
use holdfast_core::verify::PreparedRoot;
use parking_lot::Mutex;
use tokio::time::Instant;

/// The trust in force of every mirror that was looked at.
#[derive(Default)]
pub(crate) struct Trusts {
    known: Mutex<Known>,
    /// Since when somebody waits.
    since: OnceLock<Instant>,
}

/// How long a mirror that was not looked at yet is waited for: one whose passes fail holds up the others' images no longer.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Default)]
struct Known {
    roots: Roots,
    /// Mirrors that were looked at, whether trust of theirs is in force or not.
    seen: BTreeSet<String>,
}

impl Trusts {
    /// Takes note of what is in force of a mirror, and why it is past its limit; whether that is news.
    pub(crate) fn publish(&self, mirror: &str, root: Option<&TrustRoot>, stale: Option<String>) -> bool {
        let mut known = self.known.lock();
        let is_first = known.seen.insert(mirror.to_owned());
        let before = known.roots.get(mirror);
        let same = match (before, root) {
            (None, None) => true,
            (Some(before), Some(root)) => {
                before.root().digest == root.digest && before.staleness().is_some() == stale.is_some()
            }
            _ => false,
        };
        if same {
            return is_first;
        }
        known.roots.remove(mirror);
        let Some(root) = root else { return true };
        match PreparedRoot::new(root.clone()) {
            Ok(ready) => {
                let ready = match stale {
                    Some(why) => ready.stale(why),
                    None => ready,
                };
                known.roots.insert(mirror.to_owned(), Arc::new(ready));
            }
            // Without it, whatever needs it is unknown.
            Err(error) => tracing::warn!(mirror, %error, "the trust in force cannot be used for verification"),
        }
        true
    }

    /// A mirror is gone, and its trust with it; whether there was any.
    pub(crate) fn withdraw(&self, mirror: &str) -> bool {
        let mut known = self.known.lock();
        known.seen.remove(mirror);
        known.roots.remove(mirror).is_some()
    }

    /// What is in force now.
    pub(crate) fn now(&self) -> Roots {
        self.known.lock().roots.clone()
    }

    /// Whether mirrors that were not looked at yet soon will be.
    pub(crate) fn is_worth_waiting(&self) -> bool {
        self.since.get_or_init(Instant::now).elapsed() < PATIENCE
    }

    /// Whether a mirror was looked at.
    pub(crate) fn has_seen(&self, mirror: &str) -> bool {
        self.known.lock().seen.contains(mirror)
    }
}
