//! The CEL that Kyverno evaluates.
//!
//! Kyverno matches the text of the pod, not a parsed reference, so every spelling of an image has to be matched ([`crate::image::spelling`]). A text that
//! has no one reading could be any image: every policy is about it, and denies it.

use std::sync::LazyLock;

use crate::api::SigningIdentityPolicy;
use crate::image::spelling::{NAMES_A_HOST, Spellings, well_formed};
use crate::image::{ImagePattern, ImageRef, MAX_WRITTEN};

/// Every image of a pod that Kyverno extracts: those of containers, of init and of ephemeral containers. Of these it keeps the ones a policy is about.
pub(super) const IMAGES: &str = "(images.containers + images.initContainers + images.ephemeralContainers)";

/// Which images a policy is about, as expressions over the text in a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct About {
    images: Vec<Reading>,
    exempt: Vec<(Reading, String)>,
}

/// The expressions for one pattern, as literals. Nothing stands for every text.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Reading(Option<Spellings>);

/// The texts that are image references at all. Every object asks for them, several times.
static WELL_FORMED: LazyLock<Reading> = LazyLock::new(|| Reading::of(&well_formed()));
/// [`NAMES_A_HOST`] as a literal.
static HOSTED: LazyLock<String> = LazyLock::new(|| literal(NAMES_A_HOST));

impl About {
    /// Reads the patterns and exceptions of a policy that was compiled before. A pattern that cannot be read matches everything, and an exception that
    /// cannot is none: both are narrower.
    pub(super) fn of(policy: &SigningIdentityPolicy) -> Self {
        let reading = |pattern: &str| match ImagePattern::parse(pattern) {
            Ok(pattern) => Reading::of(&pattern.spellings()),
            Err(_) => Reading(None),
        };
        let exempt = policy.spec.exempt_images.iter().filter_map(|exempt| {
            let image = ImageRef::parse(&exempt.image).ok()?;
            let spellings = ImagePattern::parse(&image.name()).ok()?.spellings();
            Some((Reading::of(&spellings), format!("@{}", image.digest()?)))
        });
        Self { images: policy.spec.images.iter().map(|pattern| reading(pattern)).collect(), exempt: exempt.collect() }
    }

    /// Whether the policy is about the image in `text`, or cannot tell: what it is about has to be signed, what it cannot read is denied.
    pub(super) fn concerns(&self, text: &str) -> String {
        let matched = self.matched(text);
        let matched = match self.exempted(text) {
            Some(exempted) => format!("({matched}) && !({exempted})"),
            None => matched,
        };
        format!("!({}) || ({matched})", readable(text))
    }

    /// Whether the image in `text` is one the policy names, be it to be signed or as an exception.
    pub(super) fn names(&self, text: &str) -> String {
        let named = std::iter::once(self.matched(text)).chain(self.exempted(text));
        named.collect::<Vec<_>>().join(" || ")
    }

    fn matched(&self, text: &str) -> String {
        self.images.iter().map(|reading| reading.render(text)).collect::<Vec<_>>().join(" || ")
    }

    fn exempted(&self, text: &str) -> Option<String> {
        let exempted: Vec<String> = self
            .exempt
            .iter()
            .map(|(reading, digest)| format!("{text}.endsWith({}) && ({})", literal(digest), reading.render(text)))
            .collect();
        (!exempted.is_empty()).then(|| exempted.join(" || "))
    }
}

impl Reading {
    fn of(spellings: &Spellings) -> Self {
        Self(Some(Spellings {
            hosted: literal(&spellings.hosted),
            unhosted: spellings.unhosted.as_deref().map(literal),
        }))
    }

    fn render(&self, text: &str) -> String {
        match &self.0 {
            None => "true".to_owned(),
            Some(Spellings { hosted, unhosted: None }) => format!("{text}.matches({hosted})"),
            Some(Spellings { hosted, unhosted: Some(unhosted) }) => {
                format!("{text}.matches({hosted}) || (!{text}.matches({}) && {text}.matches({unhosted}))", *HOSTED)
            }
        }
    }
}

/// Whether the text in a variable is an image reference with one reading.
pub(super) fn readable(text: &str) -> String {
    format!("size({text}) <= {MAX_WRITTEN} && ({})", WELL_FORMED.render(text))
}

/// Whether the text in a variable ends in a digest.
pub(super) fn by_digest(text: &str) -> String {
    format!("{text}.matches('@sha256:[0-9a-f]{{64}}$')")
}

/// Whether every image volume of the pod passes. Kyverno extracts no images from volumes, but an expression sees the whole pod.
pub(super) fn volumes(passes: impl Fn(&str) -> String) -> String {
    format!(
        "!has(object.spec.volumes) || object.spec.volumes.all(v, !has(v.image) || !has(v.image.reference) || ({}))",
        passes("v.image.reference")
    )
}

/// A text as a string literal.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
