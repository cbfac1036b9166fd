//! Names of rendered objects: readable, within bounds, and never the same for two things.
//!
//! A declared name may be any that Kubernetes takes: with `-` and `.` in it, ending as another one's digest does, or the very word a renderer puts beside
//! it. So nothing is told apart by what follows a declared name or stands between two, and there are two forms only:
//!
//! - `holdfast-` and one text. Where a kind has such names of several sorts, the text begins with the word of the sort, as `audit-` or `form-`, and no
//!   word of one sort goes on as that of another does: [`name`].
//! - `holdfast.`, a word of the renderer's without a `.`, another `.`, and one text: [`of`]. What follows `holdfast` tells it from the first form.
//!
//! What is too long is longer than any name that is not, so that no declared name is what another is cut to.

use crate::Digest;

/// The longest name of an object (RFC 1123 subdomain, as the API server bounds it).
pub const MAX_NAME: usize = 253;

/// How many hex digits tell apart what is cut or not spelt out: whoever declares names may search for two with the same digits.
const DIGITS: usize = 32;

/// `holdfast-` and a declared name, or a word of the renderer's and what it is of. At most `max` bytes.
pub fn name(text: &str, max: usize) -> String {
    bounded(&format!("holdfast-{text}"), max)
}

/// The name of an object that is in some `role` for what is declared, or of one of several: `holdfast.keys.apps`. The role is a word of the renderer's, without
/// a `.`. At most `max` bytes.
pub fn of(role: &str, declared: &str, max: usize) -> String {
    bounded(&format!("holdfast.{}.{declared}", role.replace('.', "-")), max)
}

/// Digits of a text's digest, for a name it cannot be spelt out in.
pub fn digits(text: &str) -> String {
    Digest::of(text.as_bytes()).hex().chars().take(DIGITS).collect()
}

/// A text within bounds. What may be too long with digits is cut and gets some, so that it is longer than everything that is left as it is.
pub(super) fn bounded(text: &str, max: usize) -> String {
    let room = max.saturating_sub(DIGITS + 1);
    if text.len() <= room {
        return text.to_owned();
    }
    let mut cut: String = text.char_indices().take_while(|(at, c)| at + c.len_utf8() <= room).map(|(_, c)| c).collect();
    // A `.` is never followed by a `-` in a name.
    if cut.ends_with('.') {
        cut.pop();
        cut.push('-');
    }
    format!("{cut}-{}", digits(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_within_bounds_and_apart() {
        let long = "a".repeat(300);
        let (one, other) = (name(&format!("{long}x"), 253), name(&format!("{long}y"), 253));
        assert_eq!((one.len(), other.len()), (253, 253));
        assert_ne!(one, other);
        assert_eq!(
            (name("apps", 63), of("keys", "apps", 63)),
            ("holdfast-apps".to_owned(), "holdfast.keys.apps".to_owned())
        );
    }

    #[test]
    fn no_name_is_what_another_is_cut_to() {
        for length in 1..300 {
            let cut = name(&"a".repeat(length), 253);
            // Whatever is called like a name that was cut is cut itself.
            let again = name(cut.trim_start_matches("holdfast-"), 253);
            assert_eq!(cut == again, length + 9 < 253 - DIGITS, "{length}");
        }
    }

    #[test]
    fn a_name_that_is_cut_at_a_dot_is_one() {
        let text = format!("{}.{}", "a".repeat(253 - DIGITS - 2 - "holdfast-".len()), "b".repeat(90));
        let name = name(&text, 253);
        assert!(!name.contains(".-") && name.contains("--"), "{name}");
    }

    #[test]
    fn a_role_cannot_be_read_as_another() {
        assert_ne!(of("keys", "trusted-root", 253), of("trusted-root", "keys", 253));
        assert_ne!(of("exempt", "audit.apps", 253), of("exempt.audit", "apps", 253));
        assert!(!name(".keys.apps", 253).starts_with("holdfast."));
    }
}
