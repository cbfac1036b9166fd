//! Image patterns as policy-controller's globs.
//!
//! A glob is matched against `registry/repository@digest`, as go-containerregistry names it: without the tag, with `docker.io` as `index.docker.io` and the
//! `library/` of official images, and with everything else of the host as it was written. `*` stands for anything but `/`, `**` for anything
//! (policy-controller 0.15.1, `pkg/apis/glob/glob.go`).

use crate::image::{ImagePattern, ImageRef};

/// The most inner `**` of one pattern: each doubles the globs.
const MAX_INNER: usize = 5;
const HUB: &str = "docker.io";
const HUB_AS_READ: &str = "index.docker.io";

/// The one glob for the images that texts beginning with `localhost/` are taken for.
pub(super) const LOCALHOST: &str = "index.docker.io/localhost/**";

/// A pattern as globs.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Globs {
    /// Exactly the images of the pattern.
    Exact {
        /// The globs, any of which may match.
        globs: Vec<String>,
        /// Whether they also match what a text beginning with `localhost/` is taken for.
        takes_localhost: bool,
    },
    /// The engine takes the registry for a part of a repository of Docker Hub.
    Localhost,
    /// More globs than are rendered.
    TooMany,
}

/// The globs that match what the pattern matches, of the texts the engine reads as holdfast does.
pub(super) fn globs(pattern: &ImagePattern) -> Globs {
    let (host, path) = pattern.as_str().split_once('/').unwrap_or((pattern.as_str(), ""));
    let registry =
        ImageRef::parse(&format!("{host}/any")).map_or_else(|_| host.to_owned(), |any| any.registry().to_owned());
    if registry == "localhost" {
        return Globs::Localhost;
    }
    let mut segments: Vec<&str> = path.split('/').collect();
    segments.dedup_by(|next, before| *next == "**" && *before == "**");
    let inner = segments.iter().rev().skip(1).filter(|segment| **segment == "**").count();
    if inner > MAX_INNER {
        return Globs::TooMany;
    }
    let takes_localhost = registry == HUB && segments.first().is_some_and(|first| may_be_localhost(first));
    let registry = if registry == HUB { HUB_AS_READ } else { &registry };
    let mut paths = vec![String::new()];
    let last = segments.len().saturating_sub(1);
    for (at, segment) in segments.iter().enumerate() {
        paths = match (*segment, at == last) {
            // Inside, `**` may stand for nothing, which a glob between two slashes cannot.
            ("**", false) => paths.iter().flat_map(|path| [path.clone(), format!("{path}/**")]).collect(),
            ("**", true) => paths.iter().map(|path| format!("{path}/**")).collect(),
            (segment, false) => paths.iter().map(|path| format!("{path}/{segment}")).collect(),
            // The digest follows, and there is but one `@`.
            (segment, true) => paths.iter().map(|path| format!("{path}/{segment}@*")).collect(),
        };
    }
    let mut globs: Vec<String> = paths.into_iter().map(|path| format!("{registry}{path}")).collect();
    globs.sort();
    globs.dedup();
    Globs::Exact { globs, takes_localhost }
}

/// The name of one image by digest, which is also a glob for it alone; none where the engine takes another image for it.
pub(super) fn name(image: &ImageRef) -> Option<String> {
    let (registry, repository) = (image.registry(), image.repository());
    let ambiguous = registry == "localhost" || registry == HUB && repository.starts_with("localhost/");
    let registry = if registry == HUB { HUB_AS_READ } else { registry };
    image.digest().filter(|_| !ambiguous).map(|digest| format!("{registry}/{repository}@{digest}"))
}

fn may_be_localhost(segment: &str) -> bool {
    let matches =
        |pattern: ImagePattern| ImageRef::parse("any.example/localhost").is_ok_and(|image| pattern.matches(&image));
    segment == "**" || ImagePattern::parse(&format!("any.example/{segment}")).is_ok_and(matches)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pattern: &str) -> Globs {
        globs(&ImagePattern::parse(pattern).unwrap())
    }

    fn exact(pattern: &str) -> Vec<String> {
        match of(pattern) {
            Globs::Exact { globs, .. } => globs,
            other => panic!("{pattern}: {other:?}"),
        }
    }

    #[test]
    fn patterns_become_globs_over_names_with_a_digest() {
        for (pattern, want) in [
            ("registry.corp.internal/**", &["registry.corp.internal/**"][..]),
            ("registry.corp.internal:443/apps/**", &["registry.corp.internal/apps/**"]),
            ("registry.corp.internal:5000/*", &["registry.corp.internal:5000/*@*"]),
            ("registry.corp.internal/web-*/x", &["registry.corp.internal/web-*/x@*"]),
            ("registry.corp.internal/**/x", &["registry.corp.internal/**/x@*", "registry.corp.internal/x@*"]),
            ("registry.corp.internal/a/**/**", &["registry.corp.internal/a/**"]),
            ("docker.io/library/nginx", &["index.docker.io/library/nginx@*"]),
        ] {
            assert_eq!(exact(pattern), want, "{pattern}");
        }
    }

    #[test]
    fn what_cannot_be_matched_exactly_is_told() {
        assert_eq!(of("localhost/apps/**"), Globs::Localhost);
        assert_eq!(of(&format!("registry.corp/{}x", "**/a/".repeat(6))), Globs::TooMany);
        for (pattern, want) in [("docker.io/**", true), ("docker.io/local*/x", true), ("docker.io/library/*", false)] {
            assert!(
                matches!(of(pattern), Globs::Exact { takes_localhost, .. } if takes_localhost == want),
                "{pattern}"
            );
        }
    }

    #[test]
    fn five_inner_wildcards_are_as_many_as_are_rendered() {
        assert_eq!(exact(&format!("registry.corp/{}x", "**/a/".repeat(5))).len(), 32);
        assert_eq!(exact("registry.corp/a/b/c/d/e/f/g/h").len(), 1, "segments without one count for nothing");
    }

    /// The engine takes `localhost/x` for an image of Docker Hub.
    #[test]
    fn an_image_has_a_name_where_the_engine_takes_no_other_one_for_it() {
        let digest = crate::Digest::of(b"x");
        for (image, named) in [
            ("registry.corp/localhost/x", true),
            ("docker.io/library/x", true),
            ("docker.io/localhost/x", false),
            ("localhost/x", false),
        ] {
            assert_eq!(name(&ImageRef::parse(&format!("{image}@{digest}")).unwrap()).is_some(), named, "{image}");
        }
        let elsewhere = of("registry.corp/localhost/x");
        assert!(matches!(elsewhere, Globs::Exact { takes_localhost: false, .. }), "{elsewhere:?}");
    }
}
