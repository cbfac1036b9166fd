//! Image references as pods carry them, and the patterns policies match them with.
//!
//! One image has many spellings; a policy has to match all of them alike:
//!
//! | spelling | is |
//! |---|---|
//! | `nginx` | `docker.io/library/nginx` |
//! | `acme/web`, `index.docker.io/acme/web` | `docker.io/acme/web` |
//! | `Registry.Corp.Internal./a`, `registry.corp.internal:443/a` | `registry.corp.internal/a` |
//! | `registry/a:1@sha256:…` | the digest; the tag says nothing beside it |
//!
//! What has no one reading (two `@`, an empty or upper-case digest, an upper-case repository) is an error.

pub mod canary;
mod containment;
pub mod spelling;

use std::fmt;

use crate::Digest;

/// The longest reference, in bytes.
pub const MAX_REFERENCE: usize = 1024;
/// The longest text that is read in whatever short form it is written: the bound for engines, which see the text and not its one spelling.
pub const MAX_WRITTEN: usize = MAX_REFERENCE - "docker.io/library/:latest".len();
pub(crate) const HUB: &str = "docker.io";
/// Other names of Docker Hub.
const HUB_ALIASES: [&str; 2] = ["index.docker.io", "registry-1.docker.io"];

/// An image reference: where it was declared to come from, in one spelling.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageRef {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is not an image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// Nothing, or too much.
    #[error("an image reference has from 1 to {MAX_REFERENCE} characters, and this one has {len}")]
    Length {
        /// Its length.
        len: usize,
    },
    /// A parameter in it, as pipelines and templates have them.
    #[error("`{image}` has a parameter in it: which image it is, is known where that is filled in")]
    Parameter {
        /// The reference.
        image: String,
    },
    /// More than one `@`.
    #[error("`{image}` has more than one `@`: which of them begins the digest is not defined")]
    SeveralDigests {
        /// The reference.
        image: String,
    },
    /// A digest that is not one.
    #[error("`{image}`: {detail}")]
    Digest {
        /// The reference.
        image: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A part that is not allowed.
    #[error("`{image}`: the {part} `{got}` is not allowed")]
    Part {
        /// The reference.
        image: String,
        /// Which part.
        part: &'static str,
        /// The part.
        got: String,
    },
}

impl ImageRef {
    /// Reads a reference.
    ///
    /// # Errors
    /// [`ImageError`], where it has no one reading.
    pub fn parse(image: &str) -> Result<Self, ImageError> {
        if image.is_empty() || image.len() > MAX_REFERENCE {
            return Err(ImageError::Length { len: image.len() });
        }
        if ["$(", "{{"].iter().any(|parameter| image.contains(parameter)) {
            return Err(ImageError::Parameter { image: image.to_owned() });
        }
        let part =
            |part: &'static str, got: &str| ImageError::Part { image: image.to_owned(), part, got: got.to_owned() };
        let (name, digest) = match image.split_once('@') {
            Some((_, rest)) if rest.contains('@') => {
                return Err(ImageError::SeveralDigests { image: image.to_owned() });
            }
            Some((name, digest)) => {
                let digest = digest
                    .parse()
                    .map_err(|e| ImageError::Digest { image: image.to_owned(), detail: format!("{e}") })?;
                (name, Some(digest))
            }
            None => (image, None),
        };
        let (host, path) = match name.split_once('/') {
            Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (host, path.to_owned()),
            Some(_) => (HUB, name.to_owned()),
            None => (HUB, format!("library/{name}")),
        };
        let (repository, tag) = match path.rsplit_once(':') {
            Some((repository, tag)) => (repository.to_owned(), Some(tag.to_owned())),
            None => (path, None),
        };
        let registry = normalise_host(host).ok_or_else(|| part("registry", host))?;
        let repository =
            if registry == HUB && !repository.contains('/') { format!("library/{repository}") } else { repository };
        if let Some(bad) = repository.split('/').find(|segment| !is_segment(segment)) {
            return Err(part("repository segment", bad));
        }
        if let Some(bad) = tag.as_deref().filter(|tag| !is_tag(tag)) {
            return Err(part("tag", bad));
        }
        let image = Self { registry, repository, tag, digest };
        // The one spelling adds what a short one leaves out, and has to be readable itself.
        let len = image.to_string().len();
        if len > MAX_REFERENCE { Err(ImageError::Length { len }) } else { Ok(image) }
    }

    /// The registry, lower-case, without a default port.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag; it says nothing where there is a digest.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest.
    pub const fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// Registry and repository.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        match (&self.digest, &self.tag) {
            (Some(digest), _) => write!(f, "@{digest}"),
            (None, tag) => write!(f, ":{}", tag.as_deref().unwrap_or("latest")),
        }
    }
}

/// Host and port in one spelling: lower case, no trailing dot, no default port, one name for Docker Hub.
pub(crate) fn normalise_host(host: &str) -> Option<String> {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (host, None),
    };
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let name_is_good = !name.is_empty()
        && name
            .split('.')
            .all(|label| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
    if !name_is_good {
        return None;
    }
    let port = match port {
        Some(port) => Some(normalise_port(port)?),
        None => None,
    };
    let name = if HUB_ALIASES.contains(&name.as_str()) { HUB.to_owned() } else { name };
    // Without a dot and without a port, a host reads as the first part of a repository: there the default port says what it is.
    let reads_as_host = name.contains('.') || name == "localhost";
    match port {
        None | Some("443") if reads_as_host => Some(name),
        None => None,
        Some(port) => Some(format!("{name}:{port}")),
    }
}

/// A port without leading zeros; nothing where it is none (RFC 6335, section 6: from 1 to 65535 can be dialled).
pub(crate) fn normalise_port(port: &str) -> Option<&str> {
    let digits = port.trim_start_matches('0');
    let is_port = port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok();
    is_port.then_some(digits)
}

/// Distribution specification, "name": lower-case alphanumerics, joined by single separators.
pub(crate) fn is_segment(segment: &str) -> bool {
    let alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let separators_are_good = segment
        .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        .all(|separator| matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-'));
    segment.as_bytes().first().is_some_and(alphanumeric)
        && segment.as_bytes().last().is_some_and(alphanumeric)
        && separators_are_good
}

fn is_tag(tag: &str) -> bool {
    tag.len() <= 128
        && tag.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
        && tag.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

/// Which images a policy is about: a registry, and a path in which `*` stands for a part of one segment and `**` for any number of segments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImagePattern {
    source: String,
    registry: String,
    segments: Vec<String>,
}

/// Why a text is not a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// No registry, or one that is itself a pattern.
    #[error(
        "the image pattern `{pattern}` does not begin with a registry's host: write `registry.corp.internal/…`, or `docker.io/library/…` for short names"
    )]
    Registry {
        /// The pattern.
        pattern: String,
    },
    /// A tag or digest.
    #[error("the image pattern `{pattern}` has a tag or digest: patterns are about repositories")]
    Tag {
        /// The pattern.
        pattern: String,
    },
    /// One segment of Docker Hub, where every image has two.
    #[error(
        "the image pattern `{pattern}` matches nothing: Docker Hub's images of one name are `docker.io/library/…`. Write `{instead}`, or `{pattern}/**` for what is below it"
    )]
    ShortName {
        /// The pattern.
        pattern: String,
        /// The pattern that is meant.
        instead: String,
    },
    /// A segment that cannot be one.
    #[error(
        "the image pattern `{pattern}` has the segment `{segment}`: a segment is lower-case text with `*`, or `**` alone"
    )]
    Segment {
        /// The pattern.
        pattern: String,
        /// The segment.
        segment: String,
    },
}

impl ImagePattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`PatternError`].
    pub fn parse(pattern: &str) -> Result<Self, PatternError> {
        let no_registry = || PatternError::Registry { pattern: pattern.to_owned() };
        let (host, path) = pattern.split_once('/').ok_or_else(no_registry)?;
        if host.contains('*') || !(host.contains(['.', ':']) || host == "localhost") {
            return Err(no_registry());
        }
        let registry = normalise_host(host).ok_or_else(no_registry)?;
        if path.contains([':', '@']) {
            return Err(PatternError::Tag { pattern: pattern.to_owned() });
        }
        let segments: Vec<String> = path.split('/').map(str::to_owned).collect();
        let good = |segment: &String| {
            segment == "**"
                || !segment.is_empty()
                    && !segment.contains("**")
                    && segment
                        .bytes()
                        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-' | b'*'))
        };
        if let Some(bad) = segments.iter().find(|segment| !good(segment)) {
            return Err(PatternError::Segment { pattern: pattern.to_owned(), segment: bad.clone() });
        }
        if let ([only], HUB) = (segments.as_slice(), registry.as_str())
            && only != "**"
        {
            return Err(PatternError::ShortName {
                pattern: pattern.to_owned(),
                instead: format!("{HUB}/library/{only}"),
            });
        }
        Ok(Self { source: pattern.to_owned(), registry, segments })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// A name that is one of those.
    pub fn example(&self) -> String {
        let mut name = self.registry.clone();
        for segment in &self.segments {
            name.push('/');
            match segment.as_str() {
                "**" => name.push_str(canary::CANARY),
                other => name.push_str(&other.replace('*', "canary")),
            }
        }
        name
    }

    /// Whether the image is one of those.
    pub fn matches(&self, image: &ImageRef) -> bool {
        let path: Vec<&str> = image.repository.split('/').collect();
        self.registry == image.registry && segments_match(&self.segments, &path)
    }
}

fn segments_match(pattern: &[String], path: &[&str]) -> bool {
    glob(
        &normalised(pattern),
        path,
        |p| *p == "**",
        |p, segment| glob(p.as_bytes(), segment.as_bytes(), |b| *b == b'*', |b, c| b == c),
    )
}

/// At the end `**` stands for at least one segment: what is below, not the thing itself.
fn normalised(pattern: &[String]) -> Vec<&str> {
    let mut pattern: Vec<&str> = pattern.iter().map(String::as_str).collect();
    if pattern.last() == Some(&"**") {
        pattern.insert(pattern.len() - 1, "*");
    }
    pattern
}

/// Whether `text` matches `pattern`, in which some elements stand for any number of elements. Takes at most the product of both lengths.
fn glob<P, T>(pattern: &[P], text: &[T], is_star: impl Fn(&P) -> bool, is: impl Fn(&P, &T) -> bool) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where the last star stood, and how far the text was then taken by it.
    let mut last_star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(element) if is_star(element) => {
                last_star = Some((p, t));
                p += 1;
            }
            Some(element) if text.get(t).is_some_and(|got| is(element, got)) => {
                p += 1;
                t += 1;
            }
            _ => match last_star {
                Some((star, taken)) => {
                    last_star = Some((star, taken + 1));
                    p = star + 1;
                    t = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(is_star)
}

#[cfg(test)]
mod tests;
