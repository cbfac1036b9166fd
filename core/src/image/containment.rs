//! Whether one pattern is about every image that another one is about.

use super::{ImagePattern, glob, normalised};

impl ImagePattern {
    /// Whether every image that `other` matches is provably matched by this pattern as well.
    ///
    /// A wildcard of `other` is taken for a symbol that only a wildcard of the same or a wider kind can stand for. So a *yes* is always true; a *no* may be
    /// said of two patterns that differ in letters and happen to match the same repositories. The relation is reflexive and transitive.
    pub fn covers(&self, other: &Self) -> bool {
        let (wide, narrow) = (normalised(&self.segments), normalised(&other.segments));
        self.registry == other.registry
            && glob(
                &wide,
                &narrow,
                |element| *element == "**",
                |element, symbol| {
                    *symbol != "**"
                        && glob(element.as_bytes(), symbol.as_bytes(), |byte| *byte == b'*', |byte, of| byte == of)
                },
            )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_called_covered_is() {
        let covers = |wide: &str, narrow: &str| {
            let read = |pattern: &str| ImagePattern::parse(&format!("r.example/{pattern}")).unwrap();
            read(wide).covers(&read(narrow))
        };
        for (wide, narrow, want) in [
            ("**", "apps/**", true),
            ("**", "*", true),
            ("apps/**", "apps/web", true),
            ("apps/**", "apps/*", true),
            ("apps/**", "apps/**", true),
            ("apps/**", "apps/*/db", true),
            ("apps/**", "apps", false),
            ("apps/*", "apps/**", false),
            ("apps/web-*", "apps/web-a*", true),
            ("apps/web-a*", "apps/web-*", false),
            ("apps/*b", "apps/*ab", true),
            ("apps/*a*", "apps/*ab*", true),
            ("**/db", "apps/**/db", true),
            ("apps/**/db", "**/db", false),
            ("apps/*/db", "apps/**/db", false),
            ("*/db", "**/db", false),
            ("apps/*", "apps/*-*", true),
        ] {
            assert_eq!(covers(wide, narrow), want, "{wide} covers {narrow}");
        }
        let read = |pattern: &str| ImagePattern::parse(pattern).unwrap();
        assert!(!read("a.example/**").covers(&read("b.example/x")));
        assert!(read("A.example:443/**").covers(&read("a.example/x")));
    }
}
