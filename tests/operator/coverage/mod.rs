//! Scans of what runs, against real registries.

mod asked;
mod attacks;
mod basics;
mod doors;
mod faults;
pub(crate) mod published;
mod restart;
mod shop;
mod signed;
mod trust;
