//! Scans of what runs, against real registries.

mod basics;
mod doors;
mod faults;
mod published;
mod restart;
mod shop;
mod signed;
mod trust;
