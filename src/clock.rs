//! The wall clock: the one place where it is read.

use jiff::Timestamp;

/// What it says.
#[allow(clippy::disallowed_methods)] // decisions take the instant as an argument; here it begins
pub fn now() -> Timestamp {
    Timestamp::now()
}
