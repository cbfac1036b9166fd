//! Would an image pass, and if not: why, and whose is it?
//!
//! One function decides, [`judge`]: the evidence stored for an artefact, its digest, what the policy requires, the accepted trust roots and the instant
//! to judge at go in, a [`Verdict`] with a typed [`Reason`] comes out.

mod authenticate;
mod bundle;
mod certificate;
pub mod evidence;
mod fault;
mod judge;
mod key;
mod legacy;
mod log;
pub mod pattern;
pub mod policy;
mod prepared;
pub mod reason;
pub mod verdict;

pub use evidence::{Artifact, Evidence, EvidenceForm};
pub use judge::judge;
pub use policy::{Accept, EvidenceRequirements, Limits, Matcher, Policy, Signer};
pub use prepared::{PreparedRoot, UnusableRoot};
pub use reason::{Outcome, Owner, Reason};
pub use verdict::{Authenticated, Content, EvidenceVerdict, SigningTime, TimeSource, Verdict};
