//! The trust in force, as passes over mirrors found it: what scans judge by.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use holdfast_core::coverage::Roots;
use holdfast_core::operate::policy::Trust;
use holdfast_core::trust::root::TrustRoot;
use holdfast_core::verify::{PreparedRoot, UnusableRoot};
use jiff::Timestamp;
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

/// Why trust is past its limit, and until when that is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stale {
    /// Why.
    pub(crate) why: String,
    /// First instant at which no break-glass lets it count any more.
    pub(crate) accepted_until: Option<Timestamp>,
}

#[derive(Default)]
struct Known {
    roots: BTreeMap<String, InForce>,
    /// Mirrors that were looked at, whether trust of theirs is in force or not.
    seen: BTreeSet<String>,
    /// How each of them is, for the gate.
    states: BTreeMap<String, Trust>,
}

/// Trust in force.
struct InForce {
    /// As it is judged by; where it is past its limit, known to be.
    root: Arc<PreparedRoot>,
    /// The same as if it were within its limit, and until when that counts.
    accepted: Option<(Arc<PreparedRoot>, Timestamp)>,
}

impl InForce {
    fn new(root: &TrustRoot, stale: Option<Stale>) -> Result<Self, UnusableRoot> {
        let ready = PreparedRoot::new(root.clone())?;
        let Some(Stale { why, accepted_until }) = stale else {
            return Ok(Self { root: Arc::new(ready), accepted: None });
        };
        let accepted = accepted_until.map(|until| Ok((Arc::new(PreparedRoot::new(root.clone())?), until)));
        Ok(Self { root: Arc::new(ready.stale(why)), accepted: accepted.transpose()? })
    }

    fn is(&self, root: &TrustRoot, stale: Option<&Stale>) -> bool {
        self.root.root().digest == root.digest
            && self.root.staleness().is_some() == stale.is_some()
            && self.accepted.as_ref().map(|(_, until)| *until) == stale.and_then(|stale| stale.accepted_until)
    }

    fn at(&self, now: Timestamp) -> Arc<PreparedRoot> {
        match &self.accepted {
            Some((accepted, until)) if now < *until => accepted.clone(),
            _ => self.root.clone(),
        }
    }
}

impl Trusts {
    /// Takes note of what is in force of a mirror, and why it is past its limit; whether that is news.
    pub(crate) fn publish(&self, mirror: &str, root: Option<&TrustRoot>, stale: Option<Stale>) -> bool {
        let mut known = self.known.lock();
        let is_first = known.seen.insert(mirror.to_owned());
        let same = match (known.roots.get(mirror), root) {
            (None, None) => true,
            (Some(before), Some(root)) => before.is(root, stale.as_ref()),
            _ => false,
        };
        if same {
            return is_first;
        }
        known.roots.remove(mirror);
        let Some(root) = root else { return true };
        match InForce::new(root, stale) {
            Ok(in_force) => drop(known.roots.insert(mirror.to_owned(), in_force)),
            // Without it, whatever needs it is unknown.
            Err(error) => tracing::warn!(mirror, %error, "the trust in force cannot be used for verification"),
        }
        true
    }

    /// Takes note of how a mirror is; whether that is news.
    pub(crate) fn tell(&self, mirror: &str, trust: Trust) -> bool {
        let mut known = self.known.lock();
        let digest = |of: &Trust| of.root.as_ref().map(|root| root.digest);
        let is_news =
            known.states.get(mirror).is_none_or(|known| known.state != trust.state || digest(known) != digest(&trust));
        known.states.insert(mirror.to_owned(), trust);
        is_news
    }

    /// How every mirror is that was looked at.
    pub(crate) fn states(&self) -> BTreeMap<String, Trust> {
        self.known.lock().states.clone()
    }

    /// A mirror is gone, and its trust with it; whether there was any.
    pub(crate) fn withdraw(&self, mirror: &str) -> bool {
        let mut known = self.known.lock();
        known.seen.remove(mirror);
        known.states.remove(mirror);
        known.roots.remove(mirror).is_some()
    }

    /// What is in force at `now`. What a break-glass lets count ends here by itself, whether a pass says so or not.
    pub(crate) fn at(&self, now: Timestamp) -> Roots {
        self.known.lock().roots.iter().map(|(mirror, in_force)| (mirror.clone(), in_force.at(now))).collect()
    }

    /// First instant after `now` at which something that counts no longer does.
    pub(crate) fn ends(&self, now: Timestamp) -> Option<Timestamp> {
        let known = self.known.lock();
        let accepted = known.roots.values().filter_map(|in_force| Some(in_force.accepted.as_ref()?.1));
        accepted.filter(|until| *until > now).min()
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

#[cfg(test)]
mod tests {
    use holdfast_testpki::Sigstore;
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn what_is_accepted_ends_by_itself() {
        let trusts = Trusts::default();
        let root = TrustRoot::from_json("corp", Sigstore::new().trusted_root().to_string().as_bytes()).unwrap();
        let noon: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let end = noon + SignedDuration::from_hours(1);
        let stale = |accepted_until| Some(Stale { why: "it is old".to_owned(), accepted_until });
        let is_stale = |now| trusts.at(now).get("corp").is_some_and(|root| root.staleness().is_some());
        assert!(trusts.publish("corp", Some(&root), None), "the first look is news");
        assert!(!is_stale(noon) && trusts.ends(noon).is_none());
        assert!(trusts.publish("corp", Some(&root), stale(None)));
        assert!(is_stale(noon));
        assert!(trusts.publish("corp", Some(&root), stale(Some(end))), "that somebody accepts it is news");
        assert!(!trusts.publish("corp", Some(&root), stale(Some(end))));
        assert_eq!((is_stale(noon), trusts.ends(noon)), (false, Some(end)));
        // No pass says so, and it has ended.
        assert_eq!((is_stale(end), trusts.ends(end)), (true, None));
        assert!(trusts.publish("corp", Some(&root), stale(None)), "that nobody does any more is news");
        assert!(is_stale(noon));
    }
}
