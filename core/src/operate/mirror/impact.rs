//! What a candidate means for what runs: the same images, judged by it instead of by what is in force.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::Digest;
use crate::coverage::{Coverage, ImageResult};
use crate::verify::{Outcome, Reason};

/// What a candidate means for the images in scope.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Impact {
    /// How many were judged.
    pub checked: usize,
    /// How many could not be: their evidence is not at hand, or nobody could look.
    pub unjudged: usize,
    /// Those that would stop verifying.
    pub newly_failing: Vec<String>,
    /// Those that would begin to.
    pub newly_passing: Vec<String>,
}

impl Impact {
    /// Between what is in force and the candidate. Of an image that could not be judged nothing is said but that it is one.
    #[must_use]
    pub fn between(in_force: &Coverage, candidate: &Coverage) -> Self {
        let covered = |image: &ImageResult| image.outcome == Outcome::Covered;
        let before: BTreeMap<(&str, Option<Digest>), bool> =
            in_force.images.iter().map(|image| (key(image), covered(image))).collect();
        let judged: BTreeMap<(&str, Option<Digest>), bool> = candidate
            .images
            .iter()
            .filter(|image| image.outcome != Outcome::Unknown)
            .map(|image| (key(image), covered(image)))
            .collect();
        let turned = |to_covered: bool| -> Vec<String> {
            let changed = judged.iter().filter(|(key, is)| {
                let was = before.get(key).copied().unwrap_or_default();
                was != **is && **is == to_covered
            });
            let mut images: Vec<String> = changed.map(|((image, _), _)| (*image).to_owned()).collect();
            images.dedup();
            images
        };
        let unjudged = candidate.images.iter().filter(|image| could_be(image)).count();
        Self { checked: judged.len(), unjudged, newly_failing: turned(false), newly_passing: turned(true) }
    }

    /// How many images may stop verifying, as far as is known.
    pub fn may_fail(&self) -> usize {
        self.newly_failing.len() + self.unjudged
    }
}

/// Whether an image that was not judged might be verified, by one trust or another.
fn could_be(image: &ImageResult) -> bool {
    let by_none = matches!(image.reason, Reason::RegistryNotDeclared | Reason::DigestUnresolved);
    image.outcome == Outcome::Unknown && !by_none
}

fn key(image: &ImageResult) -> (&str, Option<Digest>) {
    (&image.image, image.runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coverage(images: &[(&str, Reason)]) -> Coverage {
        let image = |(image, reason): &(&str, Reason)| ImageResult {
            image: (*image).to_owned(),
            runs: None,
            digest: None,
            outcome: reason.outcome(),
            reason: *reason,
            message: String::new(),
            owner: reason.owner(),
            policies: Vec::new(),
            workloads: Vec::new(),
            by_tag: false,
        };
        Coverage { images: images.iter().map(image).collect(), ..Coverage::default() }
    }

    #[test]
    fn only_what_was_judged_by_the_candidate_counts() {
        let before = coverage(&[
            ("fails", Reason::Verified),
            ("passes", Reason::UntrustedAuthority),
            ("stays", Reason::Verified),
            ("gone", Reason::Verified),
            ("unseen", Reason::Verified),
            ("tagged", Reason::DigestUnresolved),
        ]);
        let after = coverage(&[
            ("fails", Reason::UntrustedAuthority),
            ("passes", Reason::Verified),
            ("stays", Reason::Verified),
            ("new", Reason::Verified),
            ("unseen", Reason::RegistryUnavailable),
            ("tagged", Reason::DigestUnresolved),
        ]);
        let impact = Impact::between(&before, &after);
        assert_eq!((impact.checked, impact.unjudged, impact.may_fail()), (4, 1, 2));
        assert_eq!(impact.newly_failing, ["fails"]);
        assert_eq!(impact.newly_passing, ["new", "passes"]);
    }
}
