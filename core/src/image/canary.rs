//! Images that holdfast tries its rules with: nobody has them, and no policy may be about them or exempt them, or a rule would seem not to be in force.

use super::{ImagePattern, ImageRef};
use crate::Digest;

/// What canaries are called.
pub const CANARY: &str = "holdfast-canary";
/// The registry of canaries that are of no policy. There is none of this name (RFC 6761, section 6.4).
pub const CANARY_REGISTRY: &str = "holdfast-canary.invalid";

/// A digest of nothing that begins with these two digits; nothing where they are none.
pub fn digest_beginning(two_digits: &str) -> Option<Digest> {
    Digest::from_hex(&format!("{two_digits}{}", Digest::of(CANARY.as_bytes()).hex().get(2..)?)).ok()
}

impl ImageRef {
    /// Whether it is one that rules are tried with.
    pub fn is_canary(&self) -> bool {
        let is_tried = |digest: Digest| digest.hex().get(..2).and_then(digest_beginning) == Some(digest);
        self.registry == CANARY_REGISTRY || self.digest.is_some_and(is_tried)
    }
}

impl ImagePattern {
    /// Whether it is about the registry of canaries. A registry is never a pattern, so no other pattern matches them.
    pub fn is_about_canaries(&self) -> bool {
        self.registry == CANARY_REGISTRY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canaries_are_known_in_every_spelling() {
        let is_canary = |image: &str| ImageRef::parse(image).unwrap().is_canary();
        for image in ["holdfast-canary.invalid/canary", "Holdfast-Canary.invalid.:0443/a/b:1"] {
            assert!(is_canary(image), "{image}");
        }
        for image in ["holdfast-canary.invalid.example/canary", "holdfast-canary/canary", "nginx"] {
            assert!(!is_canary(image), "{image}");
        }
        for digits in ["00", "7f", "ff"] {
            assert!(is_canary(&format!("registry.corp/apps/web:1@{}", digest_beginning(digits).unwrap())));
        }
        assert!(!is_canary(&format!("registry.corp/apps/web@{}", Digest::of(b"web"))));
        assert!(digest_beginning("g0").is_none() && digest_beginning("0").is_none());
        let is_about = |pattern: &str| ImagePattern::parse(pattern).unwrap().is_about_canaries();
        assert!(is_about("holdfast-canary.invalid/**") && is_about("HOLDFAST-canary.invalid.:443/x*"));
        assert!(!is_about("holdfast-canary.invalid:5000/**") && !is_about("registry.corp/holdfast-canary.invalid/**"));
    }
}
