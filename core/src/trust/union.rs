//! Two trusted roots at once: what a rotation is distributed as while what goes still counts beside what comes.

use super::root::{Authority, Log, ManagedKey, TrustRoot, Window};
use crate::Digest;

impl TrustRoot {
    /// What either root vouches for: the entries of this one, and those that only `leaving` has. Of an entry that both have, the wider window counts; where
    /// the two windows leave a gap, during which neither root vouches for it, that of this one alone.
    ///
    /// The digest is that of the [document](Self::document) it makes.
    #[must_use]
    pub fn united(&self, leaving: &Self) -> Self {
        let mut root = Self {
            certificate_authorities: authorities(&self.certificate_authorities, &leaving.certificate_authorities),
            timestamp_authorities: authorities(&self.timestamp_authorities, &leaving.timestamp_authorities),
            logs: logs(&self.logs, &leaving.logs),
            ct_logs: logs(&self.ct_logs, &leaving.ct_logs),
            keys: united(
                &self.keys,
                &leaving.keys,
                |a, b| a.key_digest == b.key_digest,
                |key, other| ManagedKey { window: key.window.joined(other.window), ..key.clone() },
            ),
            ..self.clone()
        };
        root.digest = Digest::of(root.document().as_bytes());
        root
    }
}

fn authorities(ours: &[Authority], theirs: &[Authority]) -> Vec<Authority> {
    united(
        ours,
        theirs,
        |a, b| a.chain_digest() == b.chain_digest(),
        |authority, other| Authority { window: authority.window.joined(other.window), ..authority.clone() },
    )
}

fn logs(ours: &[Log], theirs: &[Log]) -> Vec<Log> {
    united(
        ours,
        theirs,
        |a, b| a.log_id == b.log_id && a.key_digest == b.key_digest,
        |log, other| Log { window: log.window.joined(other.window), ..log.clone() },
    )
}

fn united<T: Clone>(ours: &[T], theirs: &[T], same: impl Fn(&T, &T) -> bool, wider: impl Fn(&T, &T) -> T) -> Vec<T> {
    let both = ours
        .iter()
        .map(|entry| theirs.iter().filter(|other| same(entry, other)).fold(entry.clone(), |e, o| wider(&e, o)));
    let only_theirs = theirs.iter().filter(|other| !ours.iter().any(|entry| same(entry, other)));
    both.chain(only_theirs.cloned()).collect()
}

impl Window {
    /// The hull, where both together are one window; else this one. An entry of a trusted root has one window, and readers look entries up by key: a second
    /// entry of the same key would take the place of the first.
    fn joined(self, other: Self) -> Self {
        if self.intersection(other).is_some() { self.hull(other) } else { self }
    }

    /// The narrowest window that contains both.
    #[must_use]
    pub fn hull(self, other: Self) -> Self {
        let start = self.start().and_then(|start| other.start().map(|theirs| start.min(theirs)));
        let end = self.end().and_then(|end| other.end().map(|theirs| end.max(theirs)));
        Self::new(start, end).unwrap_or(Self::ALWAYS)
    }
}
