//! A validity window.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A closed interval of time; an absent end is open.
///
/// Source: sigstore protobuf-specs, `sigstore_common.proto`, message `TimeRange` ("closed and includes both the start and end times").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Window {
    /// First instant that counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    start: Option<Timestamp>,
    /// Last instant that counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end: Option<Timestamp>,
}

/// A window that ends before it starts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the window ends at {end}, before it starts at {start}")]
pub struct WindowError {
    /// Its start.
    pub start: Timestamp,
    /// Its end.
    pub end: Timestamp,
}

impl Window {
    /// No limit at either end.
    pub const ALWAYS: Self = Self { start: None, end: None };

    /// From `start` to `end`, both included.
    pub fn new(start: Option<Timestamp>, end: Option<Timestamp>) -> Result<Self, WindowError> {
        match (start, end) {
            (Some(start), Some(end)) if end < start => Err(WindowError { start, end }),
            _ => Ok(Self { start, end }),
        }
    }

    /// First instant that counts, where limited.
    pub const fn start(&self) -> Option<Timestamp> {
        self.start
    }

    /// Last instant that counts, where limited.
    pub const fn end(&self) -> Option<Timestamp> {
        self.end
    }

    /// Whether `at` lies inside, ends included.
    pub fn contains(&self, at: Timestamp) -> bool {
        self.start.is_none_or(|start| at >= start) && self.end.is_none_or(|end| at <= end)
    }

    /// What both windows contain; `None` where they do not meet.
    pub fn intersection(self, other: Self) -> Option<Self> {
        let start = self.start.max(other.start);
        let end = match (self.end, other.end) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        Self::new(start, end).ok()
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.start, self.end) {
            (None, None) => f.write_str("always"),
            (Some(start), None) => write!(f, "from {start}"),
            (None, Some(end)) => write!(f, "until {end}"),
            (Some(start), Some(end)) => write!(f, "{start} to {end}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn window(start: Option<i64>, end: Option<i64>) -> Window {
        Window::new(start.map(at), end.map(at)).unwrap()
    }

    #[test]
    fn both_ends_are_included() {
        let window = window(Some(10), Some(20));
        assert_eq!([9, 10, 20, 21].map(|s| window.contains(at(s))), [false, true, true, false]);
    }

    #[test]
    fn the_intersection_is_never_wider_than_either() {
        let cases = [
            (window(Some(1), None), window(None, Some(5)), Some(window(Some(1), Some(5)))),
            (window(Some(1), Some(9)), window(Some(3), Some(5)), Some(window(Some(3), Some(5)))),
            (window(Some(1), Some(2)), window(Some(3), None), None),
            (Window::ALWAYS, window(Some(3), None), Some(window(Some(3), None))),
        ];
        for (a, b, want) in cases {
            assert_eq!(a.intersection(b), want);
            assert_eq!(b.intersection(a), want);
        }
    }

    #[test]
    fn a_window_cannot_end_before_it_starts() {
        assert!(Window::new(Some(at(2)), Some(at(1))).is_err());
    }
}
