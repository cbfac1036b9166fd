//! How long what comes back from a write as something else is let be: it is written again, and not in a rush.

use std::time::Duration;

use tokio::time::Instant;

/// The shortest wait before it is written again.
pub(crate) const AGAIN: Duration = Duration::from_secs(2);
/// The longest.
const PATIENT: Duration = Duration::from_secs(10);

/// Since when an object comes back as something else, and when it last did.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rest {
    since: Instant,
    at: Instant,
}

impl Rest {
    /// It came back as something else now, and did `before`.
    pub(crate) fn begun(before: Option<Self>) -> Self {
        let at = Instant::now();
        Self { since: before.map_or(at, |before| before.since), at }
    }

    /// Whether it is not written again yet. What goes on for long is tried less often.
    pub(crate) fn lasts(&self) -> bool {
        self.at.elapsed() < (self.since.elapsed() / 8).clamp(AGAIN, PATIENT)
    }
}
