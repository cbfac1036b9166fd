//! The command line of holdfast, and what stands above the line: reading sources, layouts and files.
//!
//! The decisions are in `holdfast-core`; here is all that has I/O.

#![forbid(unsafe_code)]

pub mod cli;
pub mod clock;
pub mod controller;
mod dial;
pub mod inventory;
pub mod registry;
pub mod scan;
pub mod serve;
pub mod sources;
