//! Namespaces that are enforced and no longer carry the labels that select them.

use std::collections::{BTreeMap, BTreeSet};

use super::{Finder, Loosening, LooseningKind, PolicyForm, release_digest};

/// The enforced namespaces that the policy would no longer select by `labels`. They stay enforced by name; letting them go is one approval for all.
///
/// A namespace that is not there has no labels to judge by and stays: one of the same name would be enforced again.
pub fn left_scope(
    enforced: PolicyForm<'_>,
    namespaces: &BTreeSet<String>,
    labels: &BTreeMap<String, BTreeMap<String, String>>,
) -> Option<Loosening> {
    let left: BTreeSet<&str> = namespaces
        .iter()
        .filter(|name| labels.get(*name).is_some_and(|labels| !enforced.spec.namespace_selector.matches(labels)))
        .map(String::as_str)
        .collect();
    if left.is_empty() {
        return None;
    }
    let digest = release_digest(enforced.name, enforced.digest(), &left);
    let names: Vec<&str> = left.into_iter().collect();
    Some(Finder::new("SigningIdentityPolicy", enforced.name, digest).one(
        LooseningKind::NamespaceLeft,
        "namespaceSelector",
        format!("the labels of `{}` no longer select it; it stays enforced by name", names.join("`, `")),
    ))
}
