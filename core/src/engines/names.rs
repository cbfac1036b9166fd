//! Names of rendered objects: readable, within bounds, and never the same for two things.

use crate::Digest;

/// The longest name of an object (RFC 1123 subdomain, as the API server bounds it).
pub const MAX_NAME: usize = 253;

/// `holdfast-` and the parts, joined by `-`. What is too long is cut and ends in digits of the digest of the whole, so that two long names stay two.
///
/// Parts are names of Kubernetes objects, or texts of the renderer. Because parts may themselves hold `-`, a join of several is told apart by digest
/// wherever it could be read in two ways: callers that join more than one *declared* name use [`joined`].
pub fn name(part: &str, max: usize) -> String {
    bounded(&format!("holdfast-{part}"), max)
}

/// A name of several declared parts: always with digits of the digest of them all, because `a-b` + `c` and `a` + `b-c` read the same.
pub fn joined(parts: &[&str], max: usize) -> String {
    let digits = digits(&parts.join("\u{0}"));
    let readable = format!("holdfast-{}", parts.join("-"));
    let room = max.saturating_sub(digits.len() + 1);
    format!("{}-{digits}", cut(&readable, room))
}

/// A text within bounds; what is too long is cut and ends in digits of its digest.
pub(super) fn bounded(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let digits = digits(text);
    format!("{}-{digits}", cut(text, max.saturating_sub(digits.len() + 1)))
}

fn digits(text: &str) -> String {
    Digest::of(text.as_bytes()).hex().chars().take(10).collect()
}

fn cut(text: &str, max: usize) -> &str {
    text.get(..max).unwrap_or(text).trim_end_matches(['-', '.'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_within_bounds_and_apart() {
        let long = "a".repeat(100);
        let (one, other) = (name(&format!("{long}x"), 63), name(&format!("{long}y"), 63));
        assert!(one.len() <= 63 && other.len() <= 63);
        assert_ne!(one, other);
        assert_ne!(joined(&["a-b", "c"], 63), joined(&["a", "b-c"], 63));
        assert_eq!(name("apps", 63), "holdfast-apps");
    }
}
