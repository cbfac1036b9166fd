//! Scans of what runs, against real registries.

mod attacks;
mod basics;
mod doors;
mod faults;
mod restart;
mod shop;
mod signed;
mod trust;
