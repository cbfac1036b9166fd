//! The three rules: images have one form, every image has a policy, and what a policy is about is verified.

use std::collections::BTreeSet;

use super::cost::Cost;
use super::exceptions::Ends;
use super::expressions::{PINNED, Variable, about, images, naming, text, variable};
use super::objects::{Rule, Validation};
use super::scope::Tier;
use super::terms::Terms;
use crate::engines::names::digits;
use crate::engines::object::For;
use crate::image::MAX_WRITTEN;
use crate::image::spelling::{NAMES_A_HOST, well_formed};

/// The rules of a tier, with the variables they begin with. Those are most of the text of a rule and the same in many, so they are written once.
pub(super) struct Rules {
    tier: Tier,
    /// The images of a pod, and which of them are new.
    images: Vec<Variable>,
    /// Those, and the names of the new ones.
    fresh: Vec<Variable>,
    /// Those, and the names of the new ones that belong to the shard of a binding.
    own: Vec<Variable>,
}

impl Rules {
    pub(super) fn of(tier: Tier) -> Self {
        let images = images(tier.target());
        let fresh = images.iter().cloned().chain(naming("fresh")).collect();
        let own = images.iter().cloned().chain(of_shard()).chain(naming("own")).collect();
        Self { tier, images, fresh, own }
    }

    /// Every image is well formed: what has no one reading could be any image. With `pinned`, it also ends in a digest.
    pub(super) fn form(&self, pinned: bool, ends: &Ends<'_>) -> Rule<'static> {
        let forms = well_formed();
        let unhosted = forms.unhosted.unwrap_or_default();
        let mut variables = self.images.clone();
        variables.push(variable(
            "malformed",
            format!(
                "variables.fresh.filter(i, i.size() > {MAX_WRITTEN} || !(i.matches({}) ? i.matches({}) : i.matches({})))",
                text(NAMES_A_HOST),
                text(&forms.hosted),
                text(&unhosted)
            ),
            // One of the two is evaluated.
            Cost::of_steps(12).and(Cost::of_expression(NAMES_A_HOST)).and(Cost::of_expression(&forms.hosted)),
        ));
        let mut validations = vec![Validation {
            expression: "variables.malformed.size() == 0".to_owned(),
            message: format!(
                "an image is not a well-formed reference of at most {MAX_WRITTEN} characters, so nothing can say which image it is"
            ),
            message_expression: Some(about(
                "malformed",
                "the image `",
                "",
                "` is not a well-formed reference, so nothing can say which image it is",
            )),
        }];
        if pinned {
            variables.push(variable(
                "unpinned",
                format!("variables.fresh.filter(i, !i.matches({}))", text(PINNED)),
                Cost::of_steps(8).and(Cost::of_expression(PINNED)),
            ));
            validations.push(Validation {
                expression: "variables.unpinned.size() == 0".to_owned(),
                message: "an image is not named by its digest: write repository:tag@sha256:<64 lower-case hex digits>"
                    .to_owned(),
                message_expression: Some(about(
                    "unpinned",
                    "the image `",
                    "",
                    "` is not named by its digest: write repository:tag@sha256:<64 lower-case hex digits>",
                )),
            });
        }
        let part = if pinned { "form" } else { "form-open" };
        Rule {
            tier: self.tier,
            part: format!("{part}-{}", self.tier.as_str()),
            why: For::Cluster,
            sharded: false,
            excepted: ends.conditions(),
            variables,
            validations,
        }
    }

    /// Every image is one that some policy of the namespace is about. One rule over all of them, so that a policy that only audits and matches everything
    /// cannot switch off what another one denies.
    pub(super) fn others(&self, policies: &BTreeSet<&str>, terms: &Terms, ends: &Ends<'_>) -> Rule<'static> {
        let mut variables = self.fresh.clone();
        let rest = terms.unmatched("rest", "named");
        let last = rest.last().map_or_else(|| "named".to_owned(), |variable| variable.name.clone());
        variables.extend(rest);
        variables.extend(terms.unexempt("others", &format!("variables.{last}")));
        let names: Vec<&str> = policies.iter().copied().collect();
        let names = shortened(&names.join("`, `"));
        let said = format!(
            "is one that no policy of this namespace is about, and they deny such images (policies: `{names}`)"
        );
        let digits = digits(&policies.iter().copied().collect::<Vec<_>>().join("\u{0}"));
        Rule {
            tier: self.tier,
            part: format!("others-{}-{digits}", self.tier.as_str()),
            why: For::Cluster,
            sharded: false,
            excepted: ends.conditions(),
            variables,
            validations: vec![Validation {
                expression: "variables.others.size() == 0".to_owned(),
                message: format!("an image {said}"),
                message_expression: Some(about("others", "the image `", ".image", &format!("` {said}"))),
            }],
        }
    }

    /// Every image the policy is about is verified for it. Each binding judges the images of its own shard; those without a digest belong to the first.
    pub(super) fn judge<'a>(&self, policy: &'a str, terms: &Terms, longest: u64, ends: &Ends<'_>) -> Rule<'a> {
        let mut variables = self.own.clone();
        let (matched, all) = terms.matched("matched", "named");
        variables.extend(matched);
        let all = if all.is_empty() { "[]".to_owned() } else { all };
        variables.extend(terms.unexempt("judged", &format!("({all})")));
        variables.push(variable("unpinned", "variables.judged.filter(x, x.hex == '')".to_owned(), Cost::of_steps(12)));
        // A list that got too long is split by the third digit, so both keys are asked.
        let listed = format!(
            "[x.hex.substring(0, 2), x.hex.substring(0, 3)].exists(d, (d + {key}) in params.spec.data && params.spec.data[d + {key}].contains(x.hex))",
            key = text(&format!(".{policy}"))
        );
        variables.push(variable(
            "unverified",
            format!("variables.judged.filter(x, x.hex != '' && !{listed})"),
            Cost::of_steps(100).and(Cost::of_lookup(longest)),
        ));
        // Whoever brings a new release reads this, too, in the moment before its signature was looked at.
        let mend = "its pipeline has to sign it as the policy says (a signed one is verified within seconds after a workload names it); `holdfast why` tells what is missing";
        Rule {
            tier: self.tier,
            part: format!("{}-{policy}", self.tier.as_str()),
            why: For::Policy(policy),
            sharded: true,
            excepted: ends.conditions(),
            variables,
            validations: vec![
                Validation {
                    expression: "variables.unpinned.size() == 0".to_owned(),
                    message: format!(
                        "an image of the policy `{policy}` is not named by its digest, so it cannot be told whether it is verified: write repository:tag@sha256:<64 lower-case hex digits>"
                    ),
                    message_expression: Some(about(
                        "unpinned",
                        "the image `",
                        ".image",
                        &format!(
                            "` of the policy `{policy}` is not named by its digest, so it cannot be told whether it is verified: write repository:tag@sha256:<64 lower-case hex digits>"
                        ),
                    )),
                },
                Validation {
                    expression: "variables.unverified.size() == 0".to_owned(),
                    message: format!("an image is not verified for the policy `{policy}`; {mend}"),
                    message_expression: Some(about(
                        "unverified",
                        "the image `",
                        ".image",
                        &format!("` is not verified for the policy `{policy}`; {mend}"),
                    )),
                },
            ],
        }
    }
}

/// The new images whose digest is in the range of the binding's shard; those without a digest are in the first.
fn of_shard() -> [Variable; 2] {
    let digits = format!("i.matches({}) ? i.substring(i.size() - 64, i.size() - 62) : '00'", text(PINNED));
    [
        // What follows the range is the policy's name, which may hold anything that a name does.
        variable("range", "params.metadata.name.split('.')[0].split('-')".to_owned(), Cost::of_steps(40)),
        variable(
            "own",
            format!(
                "variables.fresh.filter(i, [{digits}].exists(d, d >= variables.range[2] && d <= variables.range[3]))"
            ),
            Cost::of_steps(45).and(Cost::of_passes(1)).and(Cost::of_expression(PINNED)),
        ),
    ]
}

/// A message is at most 5 KiB, and an image in it at most 1.
fn shortened(names: &str) -> String {
    const MOST: usize = 1024;
    match names.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", names.get(..at).unwrap_or_default()),
        None => names.to_owned(),
    }
}
