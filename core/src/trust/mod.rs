//! Which trust a cluster holds, until when, and what would change.

pub mod budget;
pub mod clock;
pub mod diff;
pub mod freshness;
pub mod held;
pub mod keys;
pub mod root;
pub mod tuf;
mod union;
