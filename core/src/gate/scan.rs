//! A policy's part of a coverage: the same for a plan from files and for the operator.

use std::collections::{BTreeMap, BTreeSet};

use super::loosening::{Beside, PolicyForm};
use super::observation::{OtherImage, Scan, ScannedImage, subject_digest};
use super::soak::ScanTime;
use crate::api::policy::OtherImages;
use crate::coverage::{CompiledPolicy, Coverage, Inventory};
use crate::image::{ImagePattern, ImageRef, MAX_WRITTEN};
use crate::verify::Outcome;

const BY_TAG: &str = "it is declared by tag, and engines judge digests";
const UNREADABLE: &str = "it is no image reference that has one reading";
const TOO_LONG: &str = "it is longer than engines are told to read";

/// The policy's part of `coverage`, which was assessed over `inventory` with `compiled` among the policies.
///
/// `beside` are the policies that are enforced, and where: what one of them is about is no other image there. `incomplete` says why the scan is not complete.
pub fn scan_of(
    form: PolicyForm<'_>,
    compiled: &CompiledPolicy,
    coverage: &Coverage,
    inventory: &Inventory,
    beside: &[Beside<'_>],
    time: ScanTime,
    incomplete: Option<String>,
) -> Scan {
    let mut selects: BTreeMap<&str, bool> = BTreeMap::new();
    for workload in inventory.workloads() {
        // Where nobody says which labels a namespace has, it may be meant; the scan is not complete then.
        selects
            .entry(&workload.namespace)
            .or_insert_with(|| compiled.selects_in(inventory, &workload.namespace) != Some(false));
    }
    let selected = |namespace: &str| selects.get(namespace).copied().unwrap_or_default();
    let mut identities_seen = BTreeSet::new();
    let mut images = Vec::new();
    for result in &coverage.images {
        let Some(verdict) = result.policies.iter().find(|verdict| verdict.policy == compiled.name) else { continue };
        let mut users: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for workload in result.workloads.iter().filter(|workload| selected(&workload.namespace)) {
            let name = format!("{}/{}", workload.kind, workload.name);
            users.entry(workload.namespace.clone()).or_default().insert(name);
        }
        if verdict.reason.outcome() == Outcome::Covered {
            identities_seen.extend(verdict.signers.iter().cloned());
        }
        let inadmissible = inadmissible(&result.image);
        images.push(ScannedImage { image: result.image.clone(), reason: verdict.reason, inadmissible, users });
    }
    let others = others(form, compiled, inventory, &selected, beside);
    let unknown = if looks_at_labels(form) { inventory.unknown_namespaces() } else { Vec::new() };
    let incomplete = incomplete.or_else(|| {
        (!unknown.is_empty())
            .then(|| format!("nothing is known of the labels of `{}`, where workloads run", unknown.join("`, `")))
    });
    Scan { time, incomplete, is_early: false, subject: subject_digest(form), images, others, identities_seen }
}

/// Whether more than a namespace's name is needed to tell if it is meant.
fn looks_at_labels(form: PolicyForm<'_>) -> bool {
    let waves = form.spec.enforcement.waves.iter().map(|wave| &wave.namespace_selector);
    std::iter::once(&form.spec.namespace_selector).chain(waves).any(|selector| {
        let expressions = selector.match_expressions.iter().map(|requirement| &requirement.key);
        selector.match_labels.keys().chain(expressions).any(|key| key != "kubernetes.io/metadata.name")
    })
}

fn inadmissible(image: &str) -> Option<&'static str> {
    match ImageRef::parse(image) {
        Ok(_) if image.len() > MAX_WRITTEN => Some(TOO_LONG),
        Ok(image) if image.digest().is_none() => Some(BY_TAG),
        Ok(_) => None,
        Err(_) => Some(UNREADABLE),
    }
}

/// Images of selected namespaces that this policy, once in force, would deny because neither it nor another one in force there is about them.
fn others(
    form: PolicyForm<'_>,
    compiled: &CompiledPolicy,
    inventory: &Inventory,
    selected: &dyn Fn(&str) -> bool,
    beside: &[Beside<'_>],
) -> Vec<OtherImage> {
    if compiled.other_images == OtherImages::Allow {
        return Vec::new();
    }
    let read: Vec<(&Beside<'_>, Vec<ImagePattern>, Vec<ImageRef>)> = beside
        .iter()
        .filter(|other| other.name != form.name)
        .map(|other| {
            let patterns = other.spec.images.iter().filter_map(|pattern| ImagePattern::parse(pattern).ok());
            let exempt = other.spec.exempt_images.iter().filter_map(|exempt| ImageRef::parse(&exempt.image).ok());
            (other, patterns.collect(), exempt.collect())
        })
        .collect();
    let mut found: BTreeMap<&str, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for usage in inventory.usages() {
        let (Some(workload), Some(image)) =
            (inventory.workloads().get(usage.workload), inventory.images().get(usage.image))
        else {
            continue;
        };
        // What cannot be read is told to every policy already.
        let text = image.written.as_str();
        let Ok(image) = ImageRef::parse(text) else { continue };
        if !selected(&workload.namespace) || compiled.matches(&image) || compiled.exempts(&image) {
            continue;
        }
        let is = |exempt: &ImageRef| exempt.name() == image.name() && exempt.digest() == image.digest();
        let claimed = read.iter().any(|(other, patterns, exempt)| {
            other.namespaces.contains(&workload.namespace)
                && (patterns.iter().any(|pattern| pattern.matches(&image)) || exempt.iter().any(is))
        });
        if !claimed {
            let users = found.entry(text).or_default().entry(workload.namespace.clone()).or_default();
            users.insert(format!("{}/{}", workload.kind, workload.name));
        }
    }
    found.into_iter().map(|(image, users)| OtherImage { image: image.to_owned(), users }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_engines_let_through_is_by_digest_and_not_too_long() {
        let digest = format!("@sha256:{}", "0".repeat(64));
        let of_length = |len: usize| "a".repeat(len - digest.len()) + &digest;
        for (image, want) in [
            ("nginx:1".to_owned(), Some(BY_TAG)),
            (format!("nginx{digest}{digest}"), Some(UNREADABLE)),
            (of_length(MAX_WRITTEN), None),
            (of_length(MAX_WRITTEN + 1), Some(TOO_LONG)),
        ] {
            assert_eq!(inadmissible(&image), want, "{} characters", image.len());
        }
    }
}
