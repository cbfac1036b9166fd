//! Candidates that wait for approval, and what each would change for the images that scans looked at: passes over mirrors say what waits, passes over reports
//! judge by it.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_core::Digest;
use holdfast_core::operate::mirror::Impact;
use holdfast_core::trust::root::TrustRoot;
use holdfast_core::verify::PreparedRoot;
use parking_lot::Mutex;

/// The candidates of all mirrors.
#[derive(Default)]
pub(crate) struct Candidates(Mutex<BTreeMap<String, Waiting>>);

struct Waiting {
    root: Arc<PreparedRoot>,
    /// By the report whose images were judged, and whether it looks at all that runs.
    impact: BTreeMap<String, (Impact, bool)>,
}

impl Waiting {
    /// What a candidate would change, by the report that fears most and, beside that, judged most: of those that look at everything, or of all.
    fn impact(&self, everything: bool) -> Option<&Impact> {
        let counts = self.impact.values().filter(|(_, looks_at_everything)| *looks_at_everything || !everything);
        counts.map(|(impact, _)| impact).max_by_key(|impact| (impact.may_fail(), impact.checked))
    }
}

impl Candidates {
    /// Takes note of what waits of a mirror, if anything does; whether there is something new to judge by.
    pub(crate) fn publish(&self, mirror: &str, candidate: Option<&TrustRoot>) -> bool {
        let mut all = self.0.lock();
        let Some(candidate) = candidate else {
            all.remove(mirror);
            return false;
        };
        if all.get(mirror).is_some_and(|known| known.root.root().digest == candidate.digest) {
            return false;
        }
        // One that nothing can be verified with is told of when it is adopted.
        let Ok(root) = PreparedRoot::new(candidate.clone()) else {
            all.remove(mirror);
            return false;
        };
        all.insert(mirror.to_owned(), Waiting { root: Arc::new(root), impact: BTreeMap::new() });
        true
    }

    /// What waits, by mirror.
    pub(crate) fn waiting(&self) -> Vec<(String, Arc<PreparedRoot>)> {
        self.0.lock().iter().map(|(mirror, waiting)| (mirror.clone(), waiting.root.clone())).collect()
    }

    /// Takes note of what a candidate would change for the images of a report, and whether those are all that run; whether that is news.
    pub(crate) fn judged(&self, mirror: &str, candidate: Digest, report: &str, impact: Impact, all: bool) -> bool {
        let judged = (impact, all);
        let mut all = self.0.lock();
        let Some(waiting) = all.get_mut(mirror).filter(|waiting| waiting.root.root().digest == candidate) else {
            return false;
        };
        let is_news = waiting.impact.get(report) != Some(&judged);
        waiting.impact.insert(report.to_owned(), judged);
        is_news
    }

    /// What a candidate would change.
    pub(crate) fn impact(&self, mirror: &str, candidate: Digest) -> Option<Impact> {
        let all = self.0.lock();
        let waiting = all.get(mirror).filter(|waiting| waiting.root.root().digest == candidate)?;
        waiting.impact(false).cloned()
    }

    /// What the candidate that waits would change for all that runs, where that was judged.
    pub(crate) fn rehearsed(&self, mirror: &str) -> Option<(Digest, Impact)> {
        let all = self.0.lock();
        let waiting = all.get(mirror)?;
        Some((waiting.root.root().digest, waiting.impact(true)?.clone()))
    }

    /// A report is gone, and what it judged with it.
    pub(crate) fn forget_report(&self, report: &str) {
        self.0.lock().values_mut().for_each(|waiting| drop(waiting.impact.remove(report)));
    }
}

#[cfg(test)]
mod tests {
    use holdfast_testpki::Sigstore;

    use super::*;

    fn impact(checked: usize, unjudged: usize) -> Impact {
        Impact { checked, unjudged, ..Impact::default() }
    }

    #[test]
    fn what_was_judged_is_of_one_candidate_and_of_reports_that_are_there() {
        let candidates = Candidates::default();
        let root = |domain: &str| {
            let sigstore = Sigstore::of(domain, "2026-01-01T00:00:00Z".parse().unwrap());
            TrustRoot::from_json("corp", sigstore.trusted_root().to_string().as_bytes()).unwrap()
        };
        let (first, second) = (root("first.example"), root("second.example"));
        assert!(candidates.publish("corp", Some(&first)) && !candidates.publish("corp", Some(&first)));
        assert!(candidates.judged("corp", first.digest, "part", impact(3, 0), false));
        assert_eq!((candidates.impact("corp", first.digest), candidates.rehearsed("corp")), (Some(impact(3, 0)), None));
        assert!(candidates.judged("corp", first.digest, "all", impact(40, 0), true));
        assert!(!candidates.judged("corp", first.digest, "all", impact(40, 0), true), "that is known");
        assert_eq!(candidates.rehearsed("corp"), Some((first.digest, impact(40, 0))));
        // Whoever fears most is heard.
        assert!(candidates.judged("corp", first.digest, "all too", impact(39, 1), true));
        assert_eq!(candidates.rehearsed("corp"), Some((first.digest, impact(39, 1))));
        candidates.forget_report("all too");
        candidates.forget_report("all");
        assert_eq!((candidates.impact("corp", first.digest), candidates.rehearsed("corp")), (Some(impact(3, 0)), None));
        // Another one comes: what is late says nothing of it.
        assert!(candidates.publish("corp", Some(&second)));
        assert!(!candidates.judged("corp", first.digest, "part", impact(3, 0), false));
        assert_eq!((candidates.impact("corp", first.digest), candidates.impact("corp", second.digest)), (None, None));
        candidates.publish("corp", None);
        assert!(candidates.waiting().is_empty());
    }
}
