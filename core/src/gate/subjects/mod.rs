//! Who could get round what holdfast enforces?
//!
//! Admission policies cannot guard admission policies, and whoever may be holdfast, or an approver, is them to every guard. RBAC decides who that is. So
//! roles and bindings are read, and everybody who holds one of these [`Power`]s is named: to be mended where it was not meant, and to be known where it was.
//!
//! Roles come first, then bindings; of roles that give no power nothing is kept, so memory is bounded by who has one. What this does not see: authorizers
//! besides RBAC, who is in which group, and who may make pods that run as a subject that is listed, but in holdfast's own namespace and in kube-system.

mod listing;
mod power;
mod rbac;
mod survey;
mod ways;
mod who;

#[cfg(test)]
mod tests;

pub use listing::{MAX_LISTED, Subject, Subjects};
pub use power::Power;
pub use rbac::{Binding, Bound, Named, Role, RoleRef, Rule};
pub use survey::Survey;
pub use who::{Kind, MASTERS};

/// Who holdfast itself is: it may do what it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holdfast {
    /// Where it runs.
    pub namespace: String,
    /// Its service account there.
    pub service_account: String,
}
