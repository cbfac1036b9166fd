//! What a break-glass lets in, with its end in the rule itself: it ends also when holdfast is down.
//!
//! On creation the API server sets `metadata.creationTimestamp` itself, so it is a clock. An update has no such clock, so nothing is excepted there.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::expressions::{text, texts};
use super::length::{lists, parted};
use super::scope::Together;
use crate::engines::Estate;

/// Until when nothing is denied, by namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ends<'a>(BTreeMap<&'a str, Timestamp>);

/// Of one policy.
pub(super) fn of_policy<'a>(estate: &'a Estate<'a>, policy: &str) -> Ends<'a> {
    let mut ends: BTreeMap<&str, Timestamp> = BTreeMap::new();
    for exception in estate.exceptions.iter().filter(|exception| exception.policy == policy) {
        for namespace in &exception.namespaces {
            let end = ends.entry(namespace).or_insert(exception.until);
            *end = exception.until.max(*end);
        }
    }
    Ends(ends)
}

/// Of a rule that several policies share: it stands as long as one of `who` is not excepted.
pub(super) fn of_all<'e, 't>(
    estate: &'e Estate<'e>,
    places: &BTreeMap<&'e str, &'t Together<'e>>,
    who: impl Fn(&'t Together<'e>) -> &'t BTreeSet<&'e str>,
) -> Ends<'e> {
    if estate.exceptions.is_empty() {
        return Ends::default();
    }
    let by_policy: BTreeMap<&str, Ends<'e>> =
        estate.policies.keys().map(|policy| (*policy, of_policy(estate, policy))).collect();
    let end = |namespace: &str, policy: &str| by_policy.get(policy).and_then(|ends| ends.0.get(namespace).copied());
    let ends = places.iter().filter_map(|(namespace, together)| {
        let ends: Option<Vec<Timestamp>> = who(together).iter().map(|policy| end(namespace, policy)).collect();
        ends?.into_iter().min().map(|first| (*namespace, first))
    });
    Ends(ends.collect())
}

impl Ends<'_> {
    /// The conditions under which a request is judged; none where nothing is excepted.
    pub(super) fn conditions(&self) -> Vec<String> {
        let mut by_end: BTreeMap<Timestamp, Vec<&str>> = BTreeMap::new();
        for (namespace, end) in &self.0 {
            by_end.entry(*end).or_default().push(namespace);
        }
        let lists = by_end
            .into_iter()
            .flat_map(|(end, namespaces)| lists(namespaces).into_iter().map(move |namespaces| (end, namespaces)));
        let excepted = lists.map(|(end, namespaces)| {
            format!(
                "request.namespace in {} && timestamp(object.metadata.creationTimestamp) < timestamp({})",
                texts(namespaces),
                text(&end.to_string())
            )
        });
        let parts = parted(excepted, |excepted| excepted.len() + " || ".len());
        let judged = |excepted: Vec<String>| format!("!(request.operation == 'CREATE' && ({}))", excepted.join(" || "));
        parts.into_iter().map(judged).collect()
    }
}
