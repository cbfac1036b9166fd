//! Verdicts over the running inventory.
