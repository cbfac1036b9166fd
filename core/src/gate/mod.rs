//! May a policy fail closed yet?
//!
//! [`decide`] is one step of a state machine of values: what is declared, what is remembered, what was observed and the instant go in; what to remember, to
//! do and to alarm comes out. It holds an [`Observation`] against every [`Check`], counts [`Soak`] as credit, promotes wave by wave, and never steps back by
//! itself: what is enforced stays so, by name, until a person agrees to let it go. [`loosening`] names every change that would admit more.
//!
//! The picture in `docs/design/gate.md` is made from the same tables by [`picture`].

pub mod alarm;
pub mod break_glass;
pub mod check;
pub mod compiled;
mod decide;
mod evaluate;
mod form;
mod gone;
pub mod history;
mod kept;
pub mod loosening;
mod memory;
mod named;
mod newborn;
pub mod observation;
pub mod picture;
mod ratchet;
mod recall;
pub mod rollout;
mod scan;
mod scope;
pub mod soak;
mod soaking;
mod status;
pub mod subjects;
mod telling;
pub mod would_deny;

pub use alarm::{Alarm, AlarmKind};
pub use check::{Check, CheckResult};
pub use decide::{Current, Decision, Input, Intent, decide, in_force};
pub use evaluate::evaluate;
pub use history::{BrokenChain, Event, History, InForce, Record};
pub use memory::{Enforced, Progress, Standing, WaveStanding};
pub use named::Named;
pub use observation::{
    Canaries, EngineState, Observation, OtherImage, Scan, ScannedImage, TrustRootState, Unscanned, subject_digest,
};
pub use ratchet::SETTLES_WITHIN;
pub use rollout::{Namespace, Phase, Seen, Transition, Trigger};
pub use scan::scan_of;
pub use soak::{ScanTime, Soak};
