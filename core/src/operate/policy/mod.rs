//! `SigningIdentityPolicy`: how far each policy is enforced, and what every engine is given.
//!
//! Policies are decided together: what one of them may admit hangs on all that are enforced beside it, and engines look digests up in objects that all share.
//! [`forms_in_force`] says what a scan has to judge by, before there is one; [`decide`] makes one step of the gate for every policy and renders what the
//! steps amount to.

mod beyond;
mod decided;
mod facts;
mod member;
mod memory;
mod reason;
mod retention;
mod sight;
mod standing;
mod status;

pub use crate::engines::native::retain::RETENTION;
pub use decided::{Decided, Step, decide};
pub use facts::{EngineSeen, Facts, ScanSeen, Trust};
pub use member::{Member, lost, secret_keys};
pub use memory::Remembered;
pub use reason::PolicyReason;
pub use retention::Evidence;
pub use standing::{Forms, Ready, Standing, forms_in_force};
pub use status::{EngineTold, Told, changes, status};
