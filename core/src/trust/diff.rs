//! What changes between two trusted roots, in the words of those who have to approve it.

use jiff::Timestamp;
use serde::Serialize;

use super::root::{Authority, KeyAlgorithm, Log, ManagedKey, RootNote, TrustRoot, Window};
use crate::Digest;

/// What an entry of a trusted root is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// Issues signing certificates.
    CertificateAuthority,
    /// Logs signatures.
    TransparencyLog,
    /// Logs certificates.
    CtLog,
    /// Issues timestamps.
    TimestampAuthority,
    /// Signs by itself.
    Key,
}

impl Kind {
    /// The words for it.
    pub const fn words(self) -> &'static str {
        match self {
            Self::CertificateAuthority => "certificate authority",
            Self::TransparencyLog => "transparency log",
            Self::CtLog => "certificate transparency log",
            Self::TimestampAuthority => "timestamp authority",
            Self::Key => "key",
        }
    }

    /// What stops verifying when it goes.
    const fn dependants(self) -> &'static str {
        match self {
            Self::CertificateAuthority => "signatures with a certificate it issued",
            Self::TransparencyLog => "signatures whose only log entry is in it",
            Self::CtLog => "signatures with a certificate it logged, where that is required",
            Self::TimestampAuthority => "signatures that carry a timestamp of it",
            Self::Key => "signatures made with it",
        }
    }
}

/// One entry of a trusted root, named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// Its name for people.
    pub name: String,
    /// The algorithm of its key.
    pub algorithm: KeyAlgorithm,
    /// When it counts.
    pub window: Window,
    /// What makes it this entry and no other: the digest of its key or chain.
    pub material: Digest,
    #[serde(skip)]
    address: String,
}

/// What happens to an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "change")]
pub enum Happening {
    /// It goes.
    Removed,
    /// It ends, or ends earlier.
    Ended {
        /// Its new end.
        at: Timestamp,
    },
    /// It comes.
    Added {
        /// The algorithm of the entry that had its address until now, where that is another one.
        #[serde(skip_serializing_if = "Option::is_none")]
        replaces_algorithm: Option<KeyAlgorithm>,
    },
    /// Its window changes in another way.
    WindowChanged {
        /// As it was.
        from: Window,
    },
    /// Only its address changes; nothing is verified differently.
    Moved {
        /// The address it had.
        from: String,
    },
}

/// One change between two trusted roots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// What happens.
    #[serde(flatten)]
    pub happening: Happening,
    /// To which entry, as it is afterwards (as it was, where it goes).
    pub entry: Entry,
    /// What that means.
    pub meaning: String,
    /// Whether anything verifies afterwards that did not before.
    pub admits_more: bool,
}

/// All changes between two trusted roots; the most consequential first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RootDiff {
    /// The changes.
    pub changes: Vec<Change>,
    /// What the new root lists and nobody can read: it may be what is said to be removed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<RootNote>,
}

impl RootDiff {
    /// What changes from `old` to `new`.
    pub fn between(old: &TrustRoot, new: &TrustRoot) -> Self {
        let (mut before, mut after) = (entries(old), entries(new));
        // Entries that are the same to the letter take no part, wherever they stand in the lists.
        before.retain(|entry| match after.iter().position(|other| other == entry) {
            Some(at) => {
                after.remove(at);
                false
            }
            None => true,
        });
        let mut changes = Vec::new();
        let mut removed = Vec::new();
        for entry in before {
            match after.iter().position(|other| same(&entry, other)) {
                Some(at) => changes.push(altered(&entry, after.remove(at))),
                None => removed.push(entry),
            }
        }
        for entry in after {
            let predecessor = removed
                .iter()
                .chain(&entries(old))
                .find(|other| {
                    other.kind == entry.kind
                        && !entry.address.is_empty()
                        && other.address == entry.address
                        && other.algorithm != entry.algorithm
                })
                .map(|other| other.algorithm);
            changes.push(added(entry, predecessor));
        }
        changes.extend(removed.into_iter().map(gone));
        changes.sort_by(|a, b| {
            (rank(&a.happening), a.entry.kind, &a.entry.name).cmp(&(rank(&b.happening), b.entry.kind, &b.entry.name))
        });
        Self { changes, left_out: new.left_out().cloned().collect() }
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Whether key material or windows change, so that an approval is needed.
    pub fn is_rotation(&self) -> bool {
        self.changes.iter().any(|change| !matches!(change.happening, Happening::Moved { .. }))
    }

    /// Whether anything verifies afterwards that did not before.
    pub fn admits_more(&self) -> bool {
        self.changes.iter().any(|change| change.admits_more)
    }
}

/// Whether both are one entry. Policies know keys by their names: under another name it is another key.
fn same(entry: &Entry, other: &Entry) -> bool {
    other.kind == entry.kind
        && other.material == entry.material
        && (entry.kind != Kind::Key || entry.name == other.name)
}

const fn rank(happening: &Happening) -> u8 {
    match happening {
        Happening::Removed => 0,
        Happening::Ended { .. } => 1,
        Happening::Added { .. } => 2,
        Happening::WindowChanged { .. } => 3,
        Happening::Moved { .. } => 4,
    }
}

fn gone(entry: Entry) -> Change {
    let meaning = format!("{} no longer verify", entry.kind.dependants());
    Change { happening: Happening::Removed, entry, meaning, admits_more: false }
}

fn added(entry: Entry, replaces_algorithm: Option<KeyAlgorithm>) -> Change {
    let since = entry.window.start().map_or_else(String::new, |start| format!(" from {start} on"));
    let another =
        replaces_algorithm.map_or_else(String::new, |old| format!("; the one at its address so far used {old}"));
    let meaning = format!("what it vouches for{since} counts as well ({}{another})", entry.algorithm);
    Change { happening: Happening::Added { replaces_algorithm }, entry, meaning, admits_more: true }
}

fn altered(old: &Entry, new: Entry) -> Change {
    let wider = new.window.intersection(old.window) != Some(new.window);
    if old.window == new.window {
        let meaning = "only its address changes; nothing is verified differently".to_owned();
        return Change {
            happening: Happening::Moved { from: old.address.clone() },
            entry: new,
            meaning,
            admits_more: false,
        };
    }
    match (old.window.end(), new.window.end()) {
        (had, Some(at)) if had.is_none_or(|had| at < had) && !wider => {
            let meaning = format!(
                "{} do not verify where they were made after {at}; earlier ones still do",
                new.kind.dependants()
            );
            Change { happening: Happening::Ended { at }, entry: new, meaning, admits_more: false }
        }
        _ => {
            let meaning = format!("it counts {} where it counted {}", new.window, old.window);
            Change { happening: Happening::WindowChanged { from: old.window }, entry: new, meaning, admits_more: wider }
        }
    }
}

/// Every entry of a root, named; the order is that of the root.
pub(super) fn entries(root: &TrustRoot) -> Vec<Entry> {
    let authority = |kind: Kind, authority: &Authority| Entry {
        kind,
        name: authority.name().to_owned(),
        algorithm: authority.chain.first().map_or(KeyAlgorithm::Unknown, |c| c.algorithm),
        window: authority.window,
        material: authority.chain_digest(),
        address: authority.uri.clone(),
    };
    let log = |kind: Kind, log: &Log| {
        let material: Vec<u8> = [log.log_id.as_bytes().as_slice(), log.key_digest.as_bytes()].concat();
        Entry {
            kind,
            name: log.name(),
            algorithm: log.algorithm,
            window: log.window,
            material: Digest::of(&material),
            address: log.base_url.clone(),
        }
    };
    let key = |key: &ManagedKey| Entry {
        kind: Kind::Key,
        name: key.name.clone(),
        algorithm: key.algorithm,
        window: key.window,
        material: key.key_digest,
        address: String::new(),
    };
    let cas = root.certificate_authorities.iter().map(|a| authority(Kind::CertificateAuthority, a));
    let logs = root.logs.iter().map(|l| log(Kind::TransparencyLog, l));
    let ct_logs = root.ct_logs.iter().map(|l| log(Kind::CtLog, l));
    let tsas = root.timestamp_authorities.iter().map(|a| authority(Kind::TimestampAuthority, a));
    cas.chain(logs).chain(ct_logs).chain(tsas).chain(root.keys.iter().map(key)).collect()
}
