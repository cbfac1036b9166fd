//! What is looser than what is enforced?
//!
//! *Looser* is a partial order over whole objects. [`policy`], [`mirror`] and the others name every way in which a declared object admits more than the
//! enforced one, each with a sentence, the digest to approve, and what would allow it. What cannot be proven not to be looser is looser: an expression that
//! changed, a pattern that is not provably contained in another. What they call not looser admits nothing more, and that relation is reflexive and
//! transitive, so that no series of small edits adds up to a large one.
//!
//! Not looser, and said here because one may expect otherwise: a lower `minimumCoverage`, a shorter `soak` and an identity that becomes `optional`. They
//! weaken the gate in front of later waves, which protects those who run workloads; they admit nothing. [`gate_weakened`] names them, for a warning.

mod break_glass;
mod digest;
mod form;
mod hold;
mod identity;
mod kind;
mod mirror;
mod namespace;
mod policy;
mod promotion;
mod selector;

use std::fmt;

use serde::Serialize;

use crate::Digest;

pub use break_glass::{break_glass, caps};
pub(crate) use digest::of as value_digest;
pub use digest::{approval_digest, change_digest, deletion_digest, narrowing_digest, recovery_digest, release_digest};
pub use form::{Form, PolicyForm, SecretKey};
pub use hold::{Allowance, Approval, Effective, Held, Permit, held};
pub use kind::{AllowedBy, LooseningKind};
pub use mirror::{content, mirror, mirror_deletion};
pub use namespace::left_scope;
pub use policy::{Standing, cannot_be_enforced, gate_weakened, policy, policy_deletion, unusable};
pub(in crate::gate) use policy::{left_out, reaches_further};
pub(in crate::gate) use promotion::of_newborn;
pub use promotion::{Beside, promotion};

/// A kind and a name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ObjectRef {
    /// The kind.
    pub kind: &'static str,
    /// The name.
    pub name: String,
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`", self.kind, self.name)
    }
}

/// One way in which what is declared admits more than what is enforced.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Loosening {
    /// The object that is declared.
    pub object: ObjectRef,
    /// Which way.
    pub kind: LooseningKind,
    /// The field, as `require.sct`; empty where the whole object is meant.
    pub field: String,
    /// What admits more, in a sentence without an end.
    pub detail: String,
    /// What has to be approved: the digest of the step from the form in force to the declared one, or of the object's going.
    pub digest: Digest,
}

impl Loosening {
    /// What would allow it, in a sentence.
    pub fn remedy(&self) -> String {
        match self.kind.allowed_by() {
            AllowedBy::Approval => format!(
                "one TrustApproval for {} with the digest {} allows it, or a break-glass with `allowChange`; or take the change back",
                self.object, self.digest
            ),
            AllowedBy::BreakGlass if self.kind == LooseningKind::PolicyDeleted => format!(
                "only a break-glass with `allowChange` for {} with the digest {} allows it; Kubernetes takes no deletion back, so to keep it, take away its finalizer `holdfast.dev/enforced` and declare it again as it was: it stays enforced meanwhile",
                self.object, self.digest
            ),
            AllowedBy::BreakGlass => format!(
                "only a break-glass with `allowChange` for {} with the digest {} allows it; or take the change back",
                self.object, self.digest
            ),
            AllowedBy::Nobody => {
                "no approval helps: mend what is declared, take the engine out of it, or take the change back"
                    .to_owned()
            }
        }
    }
}

impl fmt::Display for Loosening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = if self.field.is_empty() { String::new() } else { format!(", `{}`", self.field) };
        write!(f, "{}{field}: {} ({}); {}", self.object, self.detail, self.kind, self.remedy())
    }
}

/// Collects the loosenings of one object.
struct Finder {
    object: ObjectRef,
    digest: Digest,
    found: Vec<Loosening>,
}

impl Finder {
    fn new(kind: &'static str, name: &str, digest: Digest) -> Self {
        Self { object: ObjectRef { kind, name: name.to_owned() }, digest, found: Vec::new() }
    }

    fn add(&mut self, kind: LooseningKind, field: &str, detail: impl Into<String>) {
        self.found.push(Loosening {
            object: self.object.clone(),
            kind,
            field: field.to_owned(),
            detail: detail.into(),
            digest: self.digest,
        });
    }

    fn add_if(&mut self, looser: bool, kind: LooseningKind, field: &str, detail: impl FnOnce() -> String) {
        if looser {
            self.add(kind, field, detail());
        }
    }

    fn one(self, kind: LooseningKind, field: &str, detail: impl Into<String>) -> Loosening {
        Loosening { object: self.object, kind, field: field.to_owned(), detail: detail.into(), digest: self.digest }
    }

    fn finish(mut self) -> Vec<Loosening> {
        self.found.sort();
        self.found.dedup();
        self.found
    }
}
