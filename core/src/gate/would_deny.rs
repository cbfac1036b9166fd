//! What the flip would have denied: workloads and their images over the soak window.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::observation::Scan;

/// How many entries are kept; beyond, they are only counted.
pub const KEPT: usize = 256;
/// How many characters of a workload, an image or a reason are kept: whoever declares a workload writes what they like, and all entries together have to fit into an object.
const LONGEST: usize = 512;

/// What this cannot see, said wherever it is shown.
pub const UNSEEN: &str = "only pods and workload templates that a scan observed are counted: not pods that came and went between two scans, \
     not pods that something else denied, not images of namespaces that are not enforced by the flip; the API server's audit log is not read";

/// One image of one workload that would have been denied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Denial {
    /// The workload, as `namespace/Kind/name`.
    pub workload: String,
    /// The image.
    pub image: String,
    /// Why.
    pub why: String,
    /// The first scan that saw it.
    pub first: Timestamp,
    /// The last one.
    pub last: Timestamp,
}

/// What scans saw, over a window.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ledger {
    /// What would have been denied, by workload and image.
    pub denials: Vec<Denial>,
    /// How many more there were than are kept, in the last scan.
    #[serde(default)]
    pub beyond: usize,
    /// The last scan that was counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scanned: Option<Timestamp>,
}

impl Ledger {
    /// Counts a scan over the namespaces `in_scope`, and forgets what was last seen before the window.
    pub fn observe(&mut self, scan: &Scan, in_scope: &dyn Fn(&str) -> bool, window: SignedDuration) {
        let finished = scan.time.finished;
        if self.scanned == Some(finished) {
            return;
        }
        self.scanned = Some(finished);
        let begins = finished.saturating_sub(window).unwrap_or(Timestamp::MIN);
        let mut known: BTreeMap<(String, String), Denial> = std::mem::take(&mut self.denials)
            .into_iter()
            // A time ahead of this scan was written by a clock that has gone back since.
            .filter(|denial| denial.last >= begins && denial.last <= finished)
            .map(|denial| ((denial.workload.clone(), denial.image.clone()), denial))
            .collect();
        self.beyond = 0;
        for (workload, image, why) in scan.would_deny(in_scope) {
            let (key, why) = ((bounded(&workload, LONGEST), bounded(&image, LONGEST)), bounded(&why, LONGEST));
            if let Some(denial) = known.get_mut(&key) {
                denial.last = finished;
                denial.why = why;
            } else if known.len() < KEPT {
                let (workload, image) = key.clone();
                known.insert(key, Denial { workload, image, why, first: finished, last: finished });
            } else {
                self.beyond += 1;
            }
        }
        self.denials = known.into_values().collect();
    }

    /// How many images of workloads the flip would have denied.
    pub fn count(&self) -> usize {
        self.denials.len() + self.beyond
    }
}

/// A text, or so many characters of it.
pub(super) fn bounded(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
