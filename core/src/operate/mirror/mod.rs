//! `TrustRootMirror`: which trust is in force, what waits, what is remembered and what is distributed.
//!
//! A pass takes what is held after the import ([`Facts`]) to a [`Decision`]; [`distribution`] says which objects carry it, [`status`] what people read,
//! and [`schedule`] when to look again.

pub mod adoption;
pub mod distribution;
pub mod events;
mod impact;
mod in_force;
pub mod memory;
mod reason;
mod record;
pub mod schedule;
pub mod status;
mod terms;

pub use adoption::{Candidate, Decision, Facts, NotYet, Rehearsal, decide};
pub use impact::Impact;
pub use in_force::InForce;
pub use reason::MirrorReason;
pub use record::{Adopted, Agrees, Judged, Leaving, ReadRoot, Record, RecordError, Replaced};
pub use terms::Terms;
