//! What people declare: one file a kind.
