//! What runs in a cluster, and what would: every image that pods and templates bring in, in as little memory as it takes.
//!
//! Nothing here asks anybody: events go in, a [`Snapshot`] comes out. No pod is kept, only what it brings in, once for all pods of one form.

mod index;
mod intern;
mod slim;
mod snapshot;
#[cfg(test)]
mod tests;

pub use index::Live;
pub use intern::{Controller, Shape, Use};
pub use slim::{Kind, SlimPod, SlimTemplate};
pub use snapshot::{PullSecrets, Snapshot};
