//! Import of a TUF repository, with memory.
//!
//! Source: The Update Framework Specification 1.0, section 5 (client workflow). The steps are driven from outside, file by file, so that a directory, a
//! mirror over HTTP or an archive can feed them: [`Refresh::want`] says which file comes next, [`Refresh::give`] takes it. Signatures, hashes and
//! pins are verified by `sigstore-tuf`; expiry, floors, equivocation and the re-count of signatures by key are judged here, against an explicit `now`.
//!
//! Every accepted step is remembered at once, also where a later one is refused (sections 5.3.8, 5.4.5): a mirror that breaks off half-way must not be
//! able to take a newer root back.

mod grace;
mod listing;
mod memory;
mod recount;
mod refresh;
mod refusal;
mod search;
mod state;
mod step;

pub use grace::{Grace, GraceError};
pub use listing::Listing;
pub use memory::{ClockLowering, Floor, Recovery, TrustMemory};
pub use recount::Note;
pub use refresh::Refresh;
pub use refusal::{Refusal, RefusalKind, Role};
pub use search::{TargetSearch, VerifiedTarget, quote};
pub use state::State;
pub use step::{OnEquivocation, RoleSummary, Want};
