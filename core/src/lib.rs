//! The decisions of holdfast, as pure functions.
//!
//! Nothing in this crate has a client, a clock, an async runtime or I/O: every function takes what was declared, what was observed and the instant
//! to judge at. The command line and the operator call the same functions, so what one says the other does.
//!
//! Layers, each using only those below it: [`operate`] → [`gate`] → [`engines`] → [`coverage`] → [`verify`] → [`trust`] → [`api`].

pub mod address;
pub mod api;
pub mod coverage;
pub mod digest;
pub mod engines;
pub mod explain;
pub mod gate;
pub mod image;
pub mod json;
pub mod nearest;
pub mod operate;
mod pem;
mod text;
pub mod trust;
pub mod verify;

pub use digest::Digest;
