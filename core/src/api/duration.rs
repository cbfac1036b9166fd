//! Durations as Go writes them.

use std::{borrow::Cow, fmt, str::FromStr};

use jiff::SignedDuration;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A duration in hours, minutes and seconds (`72h`, `1h30m`, `45s`), from zero up to ten years; days are not written, as in Go's `time.ParseDuration`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GoDuration {
    seconds: u32,
}

/// Ten years.
const MAX_SECONDS: u64 = 10 * 366 * 24 * 3600;
/// What the schema allows.
const PATTERN: &str = "^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$";

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{got}` is not a duration: write hours, minutes and seconds, as `72h` or `1h30m`; days are written in hours")]
pub struct DurationError {
    got: String,
}

impl GoDuration {
    /// So many hours.
    pub const fn hours(hours: u32) -> Self {
        Self { seconds: hours * 3600 }
    }

    /// So many minutes.
    pub const fn minutes(minutes: u32) -> Self {
        Self { seconds: minutes * 60 }
    }

    /// So many seconds.
    pub const fn seconds(seconds: u32) -> Self {
        Self { seconds }
    }

    /// In seconds.
    pub const fn as_secs(self) -> u32 {
        self.seconds
    }

    /// As a signed duration.
    pub fn signed(self) -> SignedDuration {
        SignedDuration::from_secs(i64::from(self.seconds))
    }
}

impl FromStr for GoDuration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        let wrong = || DurationError { got: text.chars().take(40).collect() };
        let mut rest = text;
        let mut total: u64 = 0;
        for (unit, seconds) in [('h', 3600), ('m', 60), ('s', 1)] {
            if let Some((number, after)) = rest.split_once(unit) {
                if number.is_empty() || number.len() > 6 || !number.bytes().all(|b| b.is_ascii_digit()) {
                    return Err(wrong());
                }
                total += number.parse::<u64>().map_err(|_| wrong())? * seconds;
                rest = after;
            }
        }
        if !rest.is_empty() || text.is_empty() || total > MAX_SECONDS {
            return Err(wrong());
        }
        Ok(Self { seconds: u32::try_from(total).map_err(|_| wrong())? })
    }
}

impl TryFrom<String> for GoDuration {
    type Error = DurationError;

    fn try_from(text: String) -> Result<Self, DurationError> {
        text.parse()
    }
}

impl From<GoDuration> for String {
    fn from(duration: GoDuration) -> Self {
        duration.to_string()
    }
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [(self.seconds / 3600, 'h'), (self.seconds / 60 % 60, 'm'), (self.seconds % 60, 's')];
        if self.seconds == 0 {
            return f.write_str("0s");
        }
        parts.into_iter().filter(|(number, _)| *number > 0).try_for_each(|(number, unit)| write!(f, "{number}{unit}"))
    }
}

impl JsonSchema for GoDuration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "GoDuration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": PATTERN, "minLength": 2, "maxLength": 21})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_go_reads_them() {
        for (text, seconds) in [("72h", 259_200), ("30m", 1800), ("1h30m", 5400), ("45s", 45), ("0s", 0), ("90m", 5400)]
        {
            assert_eq!(text.parse::<GoDuration>().unwrap().as_secs(), seconds, "{text}");
        }
        for text in ["", "3d", "72", "h", "-1h", "1.5h", "30m1h", "1h 30m", "9999999h", "99999h99999h"] {
            assert!(text.parse::<GoDuration>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        for seconds in [0, 1, 59, 60, 3600, 3661, 259_200] {
            let duration = GoDuration { seconds };
            assert_eq!(duration.to_string().parse(), Ok(duration));
        }
    }
}
