//! Which trust a cluster holds, until when, and what would change.

pub mod root;
