//! The operator on a real API server, with RBAC on, as the chart installs it.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::unused_self,
    clippy::needless_pass_by_value
)] // a test that cannot go on fails

mod attacks;
mod break_glass;
#[path = "../support/chart.rs"]
mod chart_support;
mod courier;
mod lab;
mod proxy;
#[path = "../support/sigstore.rs"]
mod sigstore_support;
use sigstore_support::registry as registry_support;

mod coverage;
mod enforce;
mod engines;

mod faults;
mod interrupted;
mod leader;
mod memory;
mod metrics;
mod rights;
mod sources;
mod subjects;
mod trust;
mod way_out;
