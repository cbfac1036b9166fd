//! Versions of engines.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A released version: `v1.19.1`, `1.36.3+k3s1`. What follows a `-` or `+` does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version {
    /// Major.
    pub major: u16,
    /// Minor.
    pub minor: u16,
    /// Patch.
    pub patch: u16,
}

/// A text that is not a version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a version: write it as 1.19.1")]
pub struct VersionError {
    /// The text.
    pub text: String,
}

impl Version {
    /// A version.
    pub const fn new(major: u16, minor: u16, patch: u16) -> Self {
        Self { major, minor, patch }
    }

    /// Whether it is this minor version or a later one.
    pub const fn is_at_least(self, major: u16, minor: u16) -> bool {
        self.major > major || self.major == major && self.minor >= minor
    }
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let error = || VersionError { text: text.chars().take(64).collect() };
        let core = text.strip_prefix('v').unwrap_or(text).split(['-', '+']).next().unwrap_or_default();
        let mut parts = core
            .split('.')
            .map(|part| if part.bytes().all(|b| b.is_ascii_digit()) { part.parse::<u16>().ok() } else { None });
        let mut next = || parts.next();
        let major = next().flatten().ok_or_else(error)?;
        let minor = next().flatten().ok_or_else(error)?;
        let patch = match next() {
            None => 0,
            Some(patch) => patch.ok_or_else(error)?,
        };
        if next().is_some() { Err(error()) } else { Ok(Self { major, minor, patch }) }
    }
}

impl TryFrom<String> for Version {
    type Error = VersionError;

    fn try_from(text: String) -> Result<Self, VersionError> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.to_string()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_engines_write_them() {
        for (text, want) in [
            ("1.19.1", Version::new(1, 19, 1)),
            ("v1.36.3+k3s1", Version::new(1, 36, 3)),
            ("v1.20.0-rc.1", Version::new(1, 20, 0)),
            ("1.19", Version::new(1, 19, 0)),
        ] {
            assert_eq!(text.parse(), Ok(want), "{text}");
        }
        for text in ["", "v", "1", "1.x", "1..2", "1.2.3.4", "-1.2.3", "1.99999.0", "latest", "1.+2"] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_later_major_version_is_later_and_a_version_is_written_as_it_is_read() {
        for (version, is) in [((1, 18, 9), false), ((1, 19, 0), true), ((2, 0, 0), true), ((0, 99, 0), false)] {
            let version = Version::new(version.0, version.1, version.2);
            assert_eq!(version.is_at_least(1, 19), is, "{version}");
            assert_eq!(String::from(version).parse(), Ok(version));
        }
    }
}
