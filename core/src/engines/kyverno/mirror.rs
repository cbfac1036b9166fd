//! The TUF repository that Kyverno asks before every check.
//!
//! Also with an inline trust root, Kyverno 1.19 refreshes a TUF repository first, and fails where it cannot. The first repository a process sees stays in
//! use until its restart, so all policies name one and the same. With an inline root its content decides nothing (that was run); without, on 1.18, it *is*
//! the trust, and policies that accept different roots clash.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::engines::{Estate, EstateRoot, LocalRepository};

/// Which repository serves a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mirror<'a> {
    /// This one, under this trust root's name.
    Of(&'a str, &'a LocalRepository),
    /// None is at hand.
    Absent,
    /// The one in use serves this other policy, which needs it.
    Clash {
        /// The policy.
        with: &'a str,
    },
}

/// The repository of every policy, which are given with the trust roots they accept; the ones enforced somewhere first.
pub(super) fn choose<'a>(
    estate: &'a Estate<'_>,
    inline: bool,
    policies: &[(&'a str, &'a BTreeSet<&'a str>)],
) -> BTreeMap<&'a str, Mirror<'a>> {
    if inline { one_for_all(estate, policies) } else { by_trust(estate, policies) }
}

/// With inline roots any repository will do: a complete one rather than another, then one whose root is accepted, then the first by name.
fn one_for_all<'a>(
    estate: &'a Estate<'_>,
    policies: &[(&'a str, &'a BTreeSet<&'a str>)],
) -> BTreeMap<&'a str, Mirror<'a>> {
    let is_accepted = |root: &str| policies.iter().any(|(_, roots)| roots.contains(root));
    let served = estate.roots.iter().filter_map(|(name, root)| Some((*name, root, root.repository.as_ref()?)));
    let chosen = served.min_by_key(|(name, root, _)| (!is_complete(root), !is_accepted(name), *name));
    let mirror = chosen.map_or(Mirror::Absent, |(name, _, repository)| Mirror::Of(name, repository));
    policies.iter().map(|(policy, _)| (*policy, mirror)).collect()
}

/// Without inline roots a policy is served by the repository of the one root it accepts, and all policies by the first one's.
fn by_trust<'a>(
    estate: &'a Estate<'_>,
    policies: &[(&'a str, &'a BTreeSet<&'a str>)],
) -> BTreeMap<&'a str, Mirror<'a>> {
    let mut in_use: Option<(&str, &str)> = None;
    let mut mirrors = BTreeMap::new();
    for (policy, roots) in policies {
        let repository = |root: &&'a str| Some((*root, estate.roots.get(root)?.repository.as_ref()?));
        let mirror = match (roots.first().and_then(repository), roots.len()) {
            (_, several) if several > 1 => Mirror::Clash { with: policy },
            (None, _) => Mirror::Absent,
            (Some((root, repository)), _) => match *in_use.get_or_insert((policy, root)) {
                (with, other) if other != root => Mirror::Clash { with },
                _ => Mirror::Of(root, repository),
            },
        };
        mirrors.insert(*policy, mirror);
    }
    mirrors
}

/// Whether a repository with this root is one Kyverno can start from: with none of these it fails every check, also those that need none of it.
pub(super) fn is_complete(root: &EstateRoot<'_>) -> bool {
    !root.root.certificate_authorities.is_empty() && !root.root.logs.is_empty() && !root.root.ct_logs.is_empty()
}

/// The `tuf` block of an attestor.
pub(super) fn block(repository: &LocalRepository) -> Value {
    json!({ "mirror": repository.url, "root": { "data": STANDARD.encode(&repository.root) } })
}
