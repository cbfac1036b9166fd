//! Scans of what runs, against real registries.

mod asked;
mod attacks;
mod basics;
mod doors;
mod faults;
pub(crate) mod published;
mod restart;
pub(crate) mod shop;
mod signed;
pub(crate) mod trust;
