//! A scan: every image that a policy is about is looked for in its declared registry, judged by what is stored for it, and what was seen is kept.
//!
//! What costs is done once: evidence is fetched where its digest is new, and judged where the image, the evidence, the trust or the policy is. What could
//! not be looked at is unknown, whatever was seen before.

mod judge;
mod ledger;
mod run;
#[cfg(test)]
mod tests;

pub use judge::Judge;
pub use ledger::{Ledger, Sighting, Target};
pub use run::{Progress, PullCredentials, Scan, Want};
