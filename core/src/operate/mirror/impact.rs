//! What a candidate means for what runs: the same images, judged by it instead of by what is in force.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::Digest;
use crate::coverage::{Coverage, ImageResult};
use crate::verify::{Outcome, Reason};

/// What a candidate means for the images that policies judge by its mirror. Each is named once for each digest that runs of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Impact {
    /// How many were judged.
    pub checked: usize,
    /// Those that could not be: their evidence is not at hand, or nobody could look.
    pub unjudged: Vec<String>,
    /// Those that would not verify, and are not known not to by what is in force.
    pub newly_failing: Vec<String>,
    /// Those that would begin to verify.
    pub newly_passing: Vec<String>,
}

/// What becomes of an image, the worst of what becomes of it under each policy that accepts the mirror.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    Stays,
    Passes,
    Unjudged,
    Fails,
}

impl Impact {
    /// Between what is in force and the candidate, of the same images; `accepts` says whether a policy accepts the mirror. What another policy says of an image
    /// hides nothing, and an image that was not judged before is none that failed before.
    #[must_use]
    pub fn between(in_force: &Coverage, candidate: &Coverage, accepts: impl Fn(&str) -> bool) -> Self {
        let before: BTreeMap<(&str, Option<Digest>), &ImageResult> =
            in_force.images.iter().map(|image| (key(image), image)).collect();
        let mut impact = Self::default();
        for image in &candidate.images {
            let was = before.get(&key(image)).copied();
            let turns = image.policies.iter().filter(|verdict| accepts(&verdict.policy)).map(|verdict| {
                let mut said = was.into_iter().flat_map(|was| &was.policies);
                turn(said.find(|said| said.policy == verdict.policy).map(|said| said.reason), verdict.reason)
            });
            match turns.max() {
                Some(Turn::Unjudged) => impact.unjudged.push(image.named()),
                Some(Turn::Fails) => impact.newly_failing.push(image.named()),
                Some(Turn::Passes) => impact.newly_passing.push(image.named()),
                Some(Turn::Stays) | None => {}
            }
            let mut verdicts = image.policies.iter().filter(|verdict| accepts(&verdict.policy)).peekable();
            let is_judged = verdicts.peek().is_some() && verdicts.all(|of| of.reason.outcome() != Outcome::Unknown);
            impact.checked += usize::from(is_judged);
        }
        for images in [&mut impact.unjudged, &mut impact.newly_failing, &mut impact.newly_passing] {
            images.sort_unstable();
        }
        impact
    }

    /// How many images may stop verifying, as far as is known.
    pub fn may_fail(&self) -> usize {
        self.newly_failing.len() + self.unjudged.len()
    }
}

fn turn(before: Option<Reason>, after: Reason) -> Turn {
    let (was, is) = (before.map(Reason::outcome), after.outcome());
    match is {
        _ if was == Some(is) && is != Outcome::Unknown => Turn::Stays,
        Outcome::Covered => Turn::Passes,
        Outcome::Uncovered => Turn::Fails,
        // It cannot become worse than it is, and of a tag no trust says anything.
        Outcome::Unknown if was == Some(Outcome::Uncovered) || after == Reason::DigestUnresolved => Turn::Stays,
        Outcome::Unknown => Turn::Unjudged,
    }
}

fn key(image: &ImageResult) -> (&str, Option<Digest>) {
    (&image.image, image.runs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coverage::PolicyVerdict;

    const RUNS: [&str; 2] = [
        "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
    ];

    /// An image, what runs of it, and what policies say of it.
    type Seen<'a> = (&'a str, Option<&'a str>, &'a [(&'a str, Reason)]);

    fn coverage(images: &[Seen<'_>]) -> Coverage {
        let image = |(image, runs, said): &Seen<'_>| {
            let verdict = |(policy, reason): &(&str, Reason)| PolicyVerdict {
                policy: (*policy).to_owned(),
                reason: *reason,
                message: String::new(),
                signers: Vec::new(),
            };
            let reason = said.iter().map(|(_, reason)| *reason).max_by_key(|reason| reason.outcome() as u8).unwrap();
            ImageResult {
                image: (*image).to_owned(),
                runs: runs.map(|runs| runs.parse().unwrap()),
                digest: None,
                outcome: reason.outcome(),
                reason,
                message: String::new(),
                owner: reason.owner(),
                policies: said.iter().map(verdict).collect(),
                workloads: Vec::new(),
                by_tag: false,
            }
        };
        Coverage { images: images.iter().map(image).collect(), ..Coverage::default() }
    }

    fn one(before: Reason, after: Reason) -> Impact {
        let of = |reason| coverage(&[("image", None, &[("apps", reason)])]);
        Impact::between(&of(before), &of(after), |_| true)
    }

    #[test]
    fn an_image_fails_anew_unless_it_is_known_to_fail_already() {
        use Reason::{
            DigestUnresolved, KeyMismatch, RegistryNotDeclared, RegistryUnavailable, StaleTrustRoot,
            UntrustedAuthority, Verified,
        };
        let image = || vec!["image".to_owned()];
        for before in [Verified, StaleTrustRoot, RegistryUnavailable, RegistryNotDeclared] {
            assert_eq!(one(before, UntrustedAuthority).newly_failing, image(), "{before}");
            assert_eq!(one(before, RegistryUnavailable).unjudged, image(), "{before}");
            assert_eq!(one(before, RegistryNotDeclared).may_fail(), 1, "{before}");
        }
        for after in [UntrustedAuthority, RegistryUnavailable] {
            assert_eq!(one(KeyMismatch, after).may_fail(), 0, "{after}");
        }
        assert_eq!(one(DigestUnresolved, DigestUnresolved), Impact::default());
        for before in [StaleTrustRoot, UntrustedAuthority] {
            assert_eq!(one(before, Verified).newly_passing, image(), "{before}");
        }
        assert_eq!(one(Verified, Verified), Impact { checked: 1, ..Impact::default() });
        let nothing = Coverage::default();
        let fails = coverage(&[("image", None, &[("apps", UntrustedAuthority)])]);
        assert_eq!(Impact::between(&nothing, &fails, |_| true).may_fail(), 1);
    }

    #[test]
    fn what_one_policy_says_hides_nothing_of_another() {
        let of = |apps, other| coverage(&[("image", None, &[("apps", apps), ("other", other)])]);
        for other in [Reason::PredicateMissing, Reason::StaleTrustRoot, Reason::Verified] {
            let (before, after) = (of(Reason::Verified, other), of(Reason::UntrustedAuthority, other));
            for accepts in [&(|policy: &str| policy == "apps") as &dyn Fn(&str) -> bool, &|_: &str| true] {
                assert_eq!(Impact::between(&before, &after, accepts).newly_failing, ["image"], "{other}");
            }
        }
        // Nor does one that accepts other trust hold up anything.
        let known = of(Reason::Verified, Reason::RegistryUnavailable);
        assert_eq!(Impact::between(&known, &known, |policy| policy == "apps").may_fail(), 0);
        assert_eq!(Impact::between(&known, &known, |policy| policy == "none"), Impact::default());
    }

    #[test]
    fn each_digest_that_runs_of_one_name_counts() {
        let of = |reason| {
            let said = [("apps", reason)];
            let images = RUNS.map(|runs| ("app:stable", Some(runs), &said[..]));
            coverage(&images)
        };
        let impact = Impact::between(&of(Reason::Verified), &of(Reason::UnknownLog), |_| true);
        assert_eq!(impact.newly_failing, RUNS.map(|runs| format!("app:stable (runs {runs})")));
        assert_eq!(impact.may_fail(), 2);
    }
}
