//! Which trust a cluster holds.
