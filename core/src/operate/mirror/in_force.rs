//! In which form a mirror is operated: the declared one, or the one that was kept while the declared one is looser and waits.

use super::record::Record;
use crate::Digest;
use crate::api::TrustRootMirror;
use crate::gate::loosening::{self, AllowedBy, Loosening, mirror_deletion};

/// A mirror in the form that is in force.
#[derive(Debug, Clone, PartialEq)]
pub struct InForce {
    /// The mirror.
    pub mirror: TrustRootMirror,
    /// Every way in which the declared form is looser, and waits.
    pub held: Vec<Loosening>,
    /// Digests that an approval may name.
    pub asks_for: Vec<Digest>,
}

impl InForce {
    /// The declared form; where it is looser than what an enforced policy relies on (`kept`), the form that was kept, until somebody approves.
    pub fn of(declared: &TrustRootMirror, kept: Option<&Record>, approved: &[Digest]) -> Self {
        let name = declared.metadata.name.clone().unwrap_or_default();
        let looser = kept.map(|kept| loosening::mirror(&name, &kept.spec, &declared.spec)).unwrap_or_default();
        let asks_for = looser.iter().map(|loosening| loosening.digest).collect();
        let waits = |loosening: &Loosening| {
            loosening.kind.allowed_by() != AllowedBy::Approval || !approved.contains(&loosening.digest)
        };
        match kept.filter(|_| looser.iter().any(waits)) {
            Some(kept) => Self { mirror: TrustRootMirror::new(&name, kept.spec.clone()), held: looser, asks_for },
            None => Self { mirror: declared.clone(), held: Vec::new(), asks_for },
        }
    }

    /// A mirror that is no longer declared goes on as it was.
    pub fn gone(name: &str, kept: &Record) -> Self {
        let mirror = TrustRootMirror::new(name, kept.spec.clone());
        Self { mirror, held: vec![mirror_deletion(name, &kept.spec)], asks_for: Vec::new() }
    }
}
