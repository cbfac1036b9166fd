//! Candidates that wait for approval, and what each would change for the images that scans looked at: passes over mirrors say what waits, passes over reports
//! judge by it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use holdfast_core::Digest;
use holdfast_core::coverage::{CompiledPolicy, Roots};
use holdfast_core::operate::mirror::Impact;
use holdfast_core::trust::root::TrustRoot;
use holdfast_core::verify::PreparedRoot;
use parking_lot::Mutex;
use tokio::sync::MutexGuard;
use tokio::time::Instant;

/// How long a judgement says something of what runs: it is made anew much sooner while a candidate waits.
const OLDEST: Duration = Duration::from_secs(120);

/// The candidates of all mirrors.
#[derive(Default)]
pub(crate) struct Candidates {
    waiting: Mutex<BTreeMap<String, Waiting>>,
    /// Whose turn it is to bring other trust into force.
    turn: tokio::sync::Mutex<()>,
    /// Mirrors of which nobody knows what is in force: what was to be written may have been.
    doubted: Mutex<BTreeSet<String>>,
}

struct Waiting {
    root: Arc<PreparedRoot>,
    /// By the name of the report whose images were judged.
    judged: BTreeMap<String, (Judgement, Instant)>,
}

/// What a candidate would change for the images of a report.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Judgement {
    /// The object that the report is: one that is made again under the same name is another.
    pub(crate) report: Option<String>,
    /// What is in force beside the candidate.
    pub(crate) beside: Digest,
    /// Whether these are all images that run.
    pub(crate) everything: bool,
    /// What it would change.
    pub(crate) impact: Impact,
}

/// What verdicts hang on, images and evidence apart.
pub(crate) fn in_force(policies: &[CompiledPolicy], roots: &Roots) -> Digest {
    let policies: Vec<_> =
        policies.iter().map(|policy| (&policy.name, policy.digest, policy.enforced_names())).collect();
    let roots: Vec<_> =
        roots.iter().map(|(mirror, root)| (mirror, root.root().digest, root.staleness().is_some())).collect();
    Digest::of(&serde_json::to_vec(&(policies, roots)).unwrap_or_default())
}

impl Waiting {
    /// What was judged lately, by whoever fears most and, beside that, judged most.
    fn impact(&self) -> Option<&Impact> {
        let lately = self.judged.values().filter(|(_, at)| at.elapsed() < OLDEST);
        lately.map(|(judgement, _)| &judgement.impact).max_by_key(|impact| (impact.may_fail(), impact.checked))
    }
}

impl Candidates {
    /// Takes note of what waits of a mirror, if anything does; whether there is something new to judge by.
    pub(crate) fn publish(&self, mirror: &str, candidate: Option<&TrustRoot>) -> bool {
        let mut all = self.waiting.lock();
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
        all.insert(mirror.to_owned(), Waiting { root: Arc::new(root), judged: BTreeMap::new() });
        true
    }

    /// What waits, by mirror.
    pub(crate) fn waiting(&self) -> Vec<(String, Arc<PreparedRoot>)> {
        self.waiting.lock().iter().map(|(mirror, waiting)| (mirror.clone(), waiting.root.clone())).collect()
    }

    /// Waits until nobody else brings other trust into force. Two rotations at once were each judged beside what the other replaces.
    pub(crate) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Nobody knows any more what is in force of a mirror.
    pub(crate) fn doubt(&self, mirror: &str) {
        self.doubted.lock().insert(mirror.to_owned());
    }

    /// It is known again, or the mirror is gone; whether it was in doubt.
    pub(crate) fn trust(&self, mirror: &str) -> bool {
        self.doubted.lock().remove(mirror)
    }

    fn is_known_beside(&self, mirror: &str) -> bool {
        self.doubted.lock().iter().all(|doubted| doubted == mirror)
    }

    /// Takes note of what a candidate would change for the images of a report; whether that is news.
    pub(crate) fn judged(&self, mirror: &str, candidate: Digest, report: &str, judgement: Judgement) -> bool {
        self.judged_at(mirror, candidate, report, (judgement, Instant::now()))
    }

    fn judged_at(&self, mirror: &str, candidate: Digest, report: &str, judged: (Judgement, Instant)) -> bool {
        let mut all = self.waiting.lock();
        let Some(waiting) = all.get_mut(mirror).filter(|waiting| waiting.root.root().digest == candidate) else {
            return false;
        };
        let before = waiting.judged.get(report).filter(|(_, at)| at.elapsed() < OLDEST);
        let is_news = before.is_none_or(|(before, _)| *before != judged.0);
        waiting.judged.insert(report.to_owned(), judged);
        is_news
    }

    /// What a candidate would change.
    pub(crate) fn impact(&self, mirror: &str, candidate: Digest) -> Option<Impact> {
        let all = self.waiting.lock();
        all.get(mirror).filter(|waiting| waiting.root.root().digest == candidate)?.impact().cloned()
    }

    /// What the candidate that waits would change for all that runs, where that was judged by the report that counts, beside what is in force, and what is in
    /// force is known. Other reports may fear more, and say nothing alone: anybody may add one.
    pub(crate) fn rehearsed(
        &self,
        mirror: &str,
        report: &str,
        uid: Option<&String>,
        beside: Digest,
    ) -> Option<(Digest, Impact)> {
        self.is_known_beside(mirror).then_some(())?;
        let all = self.waiting.lock();
        let waiting = all.get(mirror)?;
        let (judgement, at) = waiting.judged.get(report)?;
        let counts = judgement.everything && judgement.beside == beside && judgement.report.as_ref() == uid;
        let counts = counts && at.elapsed() < OLDEST;
        Some((waiting.root.root().digest, waiting.impact().filter(|_| counts)?.clone()))
    }

    /// A report is gone, or cannot be used, and what it judged with it.
    pub(crate) fn forget_report(&self, report: &str) {
        self.waiting.lock().values_mut().for_each(|waiting| drop(waiting.judged.remove(report)));
    }
}

#[cfg(test)]
mod tests {
    use holdfast_testpki::Sigstore;

    use super::*;

    const UID: &str = "of the report";

    fn impact(checked: usize, unjudged: usize) -> Impact {
        Impact { checked, unjudged: vec!["image".to_owned(); unjudged], ..Impact::default() }
    }

    fn judgement(impact: Impact, everything: bool) -> Judgement {
        Judgement { report: Some(UID.to_owned()), beside: Digest::of(b"in force"), everything, impact }
    }

    fn root(domain: &str) -> TrustRoot {
        let sigstore = Sigstore::of(domain, "2026-01-01T00:00:00Z".parse().unwrap());
        TrustRoot::from_json("corp", sigstore.trusted_root().to_string().as_bytes()).unwrap()
    }

    fn rehearsed(candidates: &Candidates) -> Option<(Digest, Impact)> {
        candidates.rehearsed("corp", "all", Some(&UID.to_owned()), Digest::of(b"in force"))
    }

    #[test]
    fn what_was_judged_is_of_one_candidate_and_of_reports_that_are_there() {
        let candidates = Candidates::default();
        let (first, second) = (root("first.example"), root("second.example"));
        assert!(candidates.publish("corp", Some(&first)) && !candidates.publish("corp", Some(&first)));
        assert!(candidates.judged("corp", first.digest, "part", judgement(impact(3, 0), false)));
        assert_eq!((candidates.impact("corp", first.digest), rehearsed(&candidates)), (Some(impact(3, 0)), None));
        assert!(candidates.judged("corp", first.digest, "all", judgement(impact(40, 0), true)));
        assert!(!candidates.judged("corp", first.digest, "all", judgement(impact(40, 0), true)), "that is known");
        assert_eq!(rehearsed(&candidates), Some((first.digest, impact(40, 0))));
        // Whoever fears most is heard, whether it sees everything or not.
        assert!(candidates.judged("corp", first.digest, "part", judgement(impact(2, 1), false)));
        assert_eq!(rehearsed(&candidates), Some((first.digest, impact(2, 1))));
        candidates.forget_report("part");
        assert_eq!(rehearsed(&candidates), Some((first.digest, impact(40, 0))));
        candidates.forget_report("all");
        assert_eq!((candidates.impact("corp", first.digest), rehearsed(&candidates)), (None, None));
        // Another one comes: what is late says nothing of it.
        assert!(candidates.publish("corp", Some(&second)));
        assert!(!candidates.judged("corp", first.digest, "all", judgement(impact(3, 0), true)));
        assert_eq!((candidates.impact("corp", first.digest), candidates.impact("corp", second.digest)), (None, None));
        candidates.publish("corp", None);
        assert!(candidates.waiting().is_empty());
    }

    #[test]
    fn nothing_counts_beside_trust_that_nobody_knows() {
        let (candidates, candidate) = (Candidates::default(), root("first.example"));
        candidates.publish("corp", Some(&candidate));
        candidates.judged("corp", candidate.digest, "all", judgement(impact(40, 0), true));
        candidates.doubt("other");
        candidates.doubt("corp");
        assert_eq!(rehearsed(&candidates), None);
        candidates.trust("other");
        assert!(rehearsed(&candidates).is_some(), "its own was read before anything is decided");
    }

    #[test]
    fn only_the_report_that_counts_and_what_it_said_lately_of_what_is_in_force_is_enough() {
        let (candidates, candidate) = (Candidates::default(), root("first.example"));
        candidates.publish("corp", Some(&candidate));
        let said = judgement(impact(40, 0), true);
        for (report, other) in [
            ("added", said.clone()),
            ("all", Judgement { everything: false, ..said.clone() }),
            ("all", Judgement { report: Some("of another".to_owned()), ..said.clone() }),
            ("all", Judgement { beside: Digest::of(b"until now"), ..said.clone() }),
        ] {
            candidates.judged("corp", candidate.digest, report, other.clone());
            assert_eq!(rehearsed(&candidates), None, "{report}: {other:?}");
        }
        candidates.forget_report("added");
        candidates.judged("corp", candidate.digest, "all", said.clone());
        assert!(rehearsed(&candidates).is_some());
        let long_ago = Instant::now().checked_sub(OLDEST).expect("the machine runs for longer");
        candidates.judged_at("corp", candidate.digest, "all", (said.clone(), long_ago));
        assert_eq!((rehearsed(&candidates), candidates.impact("corp", candidate.digest)), (None, None));
        assert!(candidates.judged("corp", candidate.digest, "all", said), "it was said too long ago to be known");
        assert!(rehearsed(&candidates).is_some());
    }
}
