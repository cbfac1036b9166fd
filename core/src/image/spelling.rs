//! Patterns as regular expressions over image references *as they are written*.
//!
//! Admission engines see the text of a pod, not a parsed reference. [`well_formed`] accepts exactly the texts that [`super::ImageRef::parse`] reads (but
//! for their length), and among those [`ImagePattern::spellings`] accepts exactly the ones that [`ImagePattern::matches`] accepts: every spelling of an
//! image, and nothing else. The expressions use nothing on which RE2 and Rust's engine differ; letters are folded by classes, because `(?i)` also folds
//! letters outside ASCII.

use super::{HUB, HUB_ALIASES, ImagePattern, segments_match};

/// Texts whose first part is read as a host. Everything else is of Docker Hub.
pub const NAMES_A_HOST: &str = "^(?:localhost|[^/]*[.:][^/]*)/";
/// One segment of a repository (distribution specification, "name").
const SEGMENT: &str = "[a-z0-9]+(?:(?:[.]|_|__|-+)[a-z0-9]+)*";
/// Any segment of a text that is well formed.
const ANY_SEGMENT: &str = "[^/:@]+";
/// A tag (distribution specification, "tag").
const TAG: &str = ":[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}";
/// The one form of digest that is read.
const DIGEST: &str = "@sha256:[0-9a-f]{64}";
/// One label of a host's name.
const LABEL: &str = "[A-Za-z0-9-]+";
/// A port that can be dialled, in at most five digits.
const PORT: &str = "(?:0{0,4}[1-9]|0{0,3}[1-9][0-9]|0{0,2}[1-9][0-9]{2}|0?[1-9][0-9]{3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])";

/// Two anchored expressions: a text is meant where it matches `hosted`, or matches `unhosted` and not [`NAMES_A_HOST`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spellings {
    /// For texts that begin with a registry's host.
    pub hosted: String,
    /// For texts without one, where the pattern is about Docker Hub.
    pub unhosted: Option<String>,
}

/// A test of an image's name in its one spelling ([`super::ImageRef::name`]), in the simplest form there is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum NameTest {
    /// It is this.
    Is(String),
    /// It begins so.
    Below(String),
    /// It matches an anchored expression.
    Matches {
        /// What it begins with, wherever it matches.
        begins: String,
        /// The expression.
        expression: String,
    },
}

/// The texts that are image references at all.
pub fn well_formed() -> Spellings {
    let host =
        format!("(?:{LABEL}(?:[.]{LABEL})+[.]?(?::{PORT})?|{LABEL}[.]?:{PORT}|localhost|{}[.])", folded("localhost"));
    let path = format!("{SEGMENT}(?:/{SEGMENT})*");
    Spellings { hosted: whole(&format!("{host}/{path}")), unhosted: Some(whole(&path)) }
}

impl ImagePattern {
    /// The well-formed texts that name an image this pattern matches.
    pub fn spellings(&self) -> Spellings {
        let host = host_spellings(&self.registry);
        if self.registry != HUB {
            let path = path_expression(&self.segments);
            return Spellings { hosted: whole(&format!("{host}/{path}")), unhosted: None };
        }
        let paths: Vec<String> = std::iter::once(self.long_paths()).chain(self.official_images()).collect();
        let paths = paths.join("|");
        Spellings { hosted: whole(&format!("{host}/(?:{paths})")), unhosted: Some(whole(&format!("(?:{paths})"))) }
    }

    /// What an image's name in its one spelling has to be, for this pattern to match it.
    pub fn name_test(&self) -> NameTest {
        let literal = |segments: &[String]| segments.iter().all(|segment| !segment.contains('*'));
        let name = |segments: &[String]| {
            std::iter::once(&self.registry).chain(segments).map(String::as_str).collect::<Vec<_>>().join("/")
        };
        match self.segments.split_last() {
            Some((last, before)) if last == "**" && literal(before) => NameTest::Below(name(before) + "/"),
            _ if literal(&self.segments) => NameTest::Is(name(&self.segments)),
            _ => NameTest::Matches {
                begins: name(&self.segments).split('*').next().unwrap_or_default().to_owned(),
                expression: format!("^{}/{}$", self.registry.replace('.', "[.]"), path_expression(&self.segments)),
            },
        }
    }

    /// Of Docker Hub's repositories each has two segments at least; a text with one is `library/` and that one. An expression for the paths written in full.
    fn long_paths(&self) -> String {
        let named: Vec<&String> = self.segments.iter().filter(|segment| *segment != "**").collect();
        let ends_below = self.segments.last().is_some_and(|last| last == "**");
        match (named.as_slice(), ends_below) {
            ([], _) => format!("{ANY_SEGMENT}(?:/{ANY_SEGMENT})+"),
            // It does not stand alone, as a pattern of one segment is refused: `**` is before it, and stands for something.
            ([one], false) => format!("(?:{ANY_SEGMENT}/)+{}", segment_expression(one)),
            _ => path_expression(&self.segments),
        }
    }

    /// Docker Hub's `library/x` is also written `x`: expressions for the `x` this pattern matches.
    fn official_images(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut rest = self.segments.as_slice();
        // What may stand for `library`: a first segment that matches it, or `**` in front, which may also stand for nothing.
        while let Some((first, after)) = rest.split_first() {
            if first == "**" {
                found.extend(single(rest));
                rest = after;
            } else {
                if segments_match(std::slice::from_ref(first), &["library"]) {
                    found.extend(single(after));
                }
                break;
            }
        }
        found.sort();
        found.dedup();
        found
    }
}

/// Expressions for the single segments that a whole pattern matches.
fn single(pattern: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for (at, segment) in pattern.iter().enumerate() {
        let before_is_empty = pattern.iter().take(at).all(|other| other == "**");
        let after_is_empty = pattern.iter().skip(at + 1).all(|other| other == "**");
        // At the end `**` stands for at least one segment, so nothing before it can be the only one.
        let last_takes_one = at + 1 < pattern.len() && pattern.last().is_some_and(|last| last == "**");
        if before_is_empty && after_is_empty && !last_takes_one {
            found.push(segment_expression(segment));
        }
    }
    found
}

fn whole(name: &str) -> String {
    format!("^{name}(?:{TAG})?(?:{DIGEST})?$")
}

fn path_expression(segments: &[String]) -> String {
    let last = segments.len().saturating_sub(1);
    let parts = segments.iter().enumerate().map(|(at, segment)| match (segment.as_str(), at == last) {
        ("**", false) => format!("(?:{ANY_SEGMENT}/)*"),
        ("**", true) => format!("{ANY_SEGMENT}(?:/{ANY_SEGMENT})*"),
        (other, false) => segment_expression(other) + "/",
        (other, true) => segment_expression(other),
    });
    parts.collect()
}

fn segment_expression(segment: &str) -> String {
    if segment == "**" {
        return ANY_SEGMENT.to_owned();
    }
    segment
        .chars()
        .map(|c| match c {
            '*' => "[^/:@]*".to_owned(),
            '.' => "[.]".to_owned(),
            other => other.to_string(),
        })
        .collect()
}

/// Every spelling of a registry that is in its one normal spelling.
fn host_spellings(registry: &str) -> String {
    let (name, port) = match registry.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (registry, None),
    };
    let names = if name == HUB {
        let all: Vec<String> = std::iter::once(HUB).chain(HUB_ALIASES).map(folded).collect();
        format!("(?:{})", all.join("|"))
    } else {
        folded(name)
    };
    let port_in_any_length = |port: &str| format!(":0{{0,{}}}{port}", 5_usize.saturating_sub(port.len()));
    match port {
        Some(port) => format!("{names}[.]?{}", port_in_any_length(port)),
        // Without a dot or a port, only this very text is read as a host.
        None if name == "localhost" => {
            format!("(?:localhost|{names}[.]|{names}[.]?{})", port_in_any_length("443"))
        }
        None => format!("{names}[.]?(?:{})?", port_in_any_length("443")),
    }
}

/// Letters of either case.
fn folded(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            'a'..='z' => format!("[{}{c}]", c.to_ascii_uppercase()),
            '.' => "[.]".to_owned(),
            other => other.to_string(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex::Regex;

    use super::*;
    use crate::image::ImageRef;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn accepts(spellings: &Spellings, text: &str) -> bool {
        let is = |expression: &str| Regex::new(expression).unwrap().is_match(text);
        is(&spellings.hosted) || spellings.unhosted.as_deref().is_some_and(|unhosted| is(unhosted) && !is(NAMES_A_HOST))
    }

    /// Texts close to image references: hosts, paths and ends that are right, odd or wrong, in any combination.
    fn texts() -> impl Strategy<Value = String> {
        let host = prop::sample::select(vec![
            "",
            "docker.io/",
            "Docker.IO./",
            "index.docker.io:443/",
            "registry-1.docker.io/",
            "docker.io:5000/",
            "index.docker.io:05000/",
            "localhost/",
            "localhost./",
            "LOCALHOST/",
            "LocalHost:443/",
            "localhost:5000/",
            "registry/",
            "registry./",
            "registry:443/",
            "registry.:0443/",
            "registry:5000/",
            "registry.corp.internal/",
            "REGISTRY.Corp.internal./",
            "registry.corp.internal:443/",
            "registry.corp.internal:00443/",
            "registry.corp.internal:000443/",
            "registry.corp.internal:5000/",
            "registry.corp.internal:05000/",
            "registry.corp.internal:0/",
            "registry.corp.internal:65536/",
            "registry.corp.internal:/",
            "registry..corp.internal/",
            "registry.corp.internal.evil.example/",
            "registryxcorp.internal/",
            "10.0.0.1:5000/",
            "\u{212a}.io/",
            "https://registry.corp.internal/",
        ]);
        let segment = prop::sample::select(vec![
            "library",
            "nginx",
            "apps",
            "apps-evil",
            "web",
            "web-api",
            "a.b",
            "localhost",
            "a__b",
            "a_.b",
            "-a",
            "A",
            "a---b",
            "",
            "..",
            "x",
        ]);
        let path = prop::collection::vec(segment, 1..4).prop_map(|segments| segments.join("/"));
        let digest = format!("@sha256:{HEX}");
        let ends = vec![
            String::new(),
            ":1".to_owned(),
            ":latest".to_owned(),
            ":-x".to_owned(),
            ":".to_owned(),
            digest.clone(),
            format!(":1{digest}"),
            format!("@sha256:{}", HEX.to_uppercase()),
            "@sha256:zzz".to_owned(),
            "@".to_owned(),
            format!("{digest}{digest}"),
            "\n".to_owned(),
        ];
        (host, path, prop::sample::select(ends)).prop_map(|(host, path, end)| format!("{host}{path}{end}"))
    }

    fn patterns() -> impl Strategy<Value = String> {
        let host = prop::sample::select(vec![
            "docker.io",
            "index.docker.io:443",
            "docker.io:5000",
            "localhost",
            "localhost:5000",
            "registry:443",
            "registry:5000",
            "registry.corp.internal",
            "registry.corp.internal:5000",
            "10.0.0.1:5000",
        ]);
        let segment = prop::sample::select(vec![
            "library",
            "lib*",
            "*",
            "**",
            "apps",
            "web-*",
            "*b",
            "nginx",
            "a.b",
            "localhost",
            "w*b",
        ]);
        let pattern = (host, prop::collection::vec(segment, 1..5));
        let pattern = pattern.prop_map(|(host, path)| format!("{host}/{}", path.join("/")));
        pattern.prop_filter("a pattern that is read", |pattern| ImagePattern::parse(pattern).is_ok())
    }

    #[test]
    fn a_single_segment_is_of_library_alone() {
        for (pattern, text, want) in [
            ("docker.io/**", "nginx", true),
            ("docker.io/**", "acme/nginx", true),
            ("docker.io/**/**", "nginx", true),
            ("docker.io/**/nginx", "nginx", true),
            ("docker.io/**/nginx", "docker.io/nginx", true),
            ("docker.io/**/nginx", "a/b/nginx", true),
            ("docker.io/**/lib*", "library", true),
            ("docker.io/library/*", "library", true),
            ("docker.io/acme/**", "acme", false),
            ("docker.io/library/**", "library", true),
        ] {
            let pattern = ImagePattern::parse(pattern).unwrap();
            let image = ImageRef::parse(text).unwrap();
            assert_eq!(pattern.matches(&image), want, "{} {text}: the pure function", pattern.as_str());
            assert_eq!(accepts(&pattern.spellings(), text), want, "{} {text}: the expression", pattern.as_str());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_well_formed_is_what_is_read(text in texts()) {
            prop_assert_eq!(accepts(&well_formed(), &text), ImageRef::parse(&text).is_ok(), "{}", text);
        }

        #[test]
        fn name_tests_are_what_matches(pattern in patterns(), text in texts()) {
            let pattern = ImagePattern::parse(&pattern).unwrap();
            if let Ok(image) = ImageRef::parse(&text) {
                let name = image.name();
                let is = match pattern.name_test() {
                    NameTest::Is(want) => name == want,
                    NameTest::Below(prefix) => name.starts_with(&prefix),
                    NameTest::Matches { begins, expression } => {
                        let matches = Regex::new(&expression).unwrap().is_match(&name);
                        prop_assert!(!matches || name.starts_with(&begins));
                        matches
                    }
                };
                prop_assert_eq!(is, pattern.matches(&image), "{} {}", pattern.as_str(), text);
            }
        }

        #[test]
        fn spellings_are_what_matches(pattern in patterns(), text in texts()) {
            let pattern = ImagePattern::parse(&pattern).unwrap();
            if let Ok(image) = ImageRef::parse(&text) {
                prop_assert_eq!(accepts(&pattern.spellings(), &text), pattern.matches(&image), "{} {}", pattern.as_str(), text);
            }
        }
    }
}
