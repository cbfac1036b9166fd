//! Time for the courier's way.

use jiff::SignedDuration;

/// How long past its expiry a timestamp is still taken: time for the courier's way. Nothing else has a grace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Grace(SignedDuration);

/// A grace that is negative or too long.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a grace of {given:#} is not allowed: it is from 0 to 336h (14 days)")]
pub struct GraceError {
    given: SignedDuration,
}

impl Grace {
    /// None.
    pub const NONE: Self = Self(SignedDuration::ZERO);

    /// A grace of at most 336 hours.
    ///
    /// # Errors
    /// [`GraceError`] beyond that.
    pub fn new(given: SignedDuration) -> Result<Self, GraceError> {
        if given.is_negative() || given > SignedDuration::from_hours(336) {
            return Err(GraceError { given });
        }
        Ok(Self(given))
    }

    /// How long.
    pub const fn duration(self) -> SignedDuration {
        self.0
    }
}
