//! `holdfast verify --policy`: who may sign is what a SigningIdentityPolicy declares, and so are the trust roots and the images.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdfast_core::Digest;
use holdfast_core::api::SigningIdentityPolicy;
use holdfast_core::api::strict::Object;
use holdfast_core::coverage::{CompiledPolicy, Roots, compile};
use holdfast_core::image::ImageRef;
use holdfast_core::verify::PreparedRoot;

use super::output::CliError;
use super::verify::root;
use crate::inventory;

/// The policy in a manifest, given as `FILE`, or as `FILE#NAME` where there are several.
pub(super) fn declared(given: &Path, namespace: &str) -> Result<CompiledPolicy, CliError> {
    let (path, wanted) = file_and_name(given);
    let gitops = inventory::read(std::slice::from_ref(&path)).map_err(CliError::several)?;
    let policies: Vec<&SigningIdentityPolicy> = gitops
        .objects
        .iter()
        .filter_map(|(_, object)| match object {
            Object::SigningIdentityPolicy(policy) => Some(&**policy),
            _ => None,
        })
        .collect();
    let policy = chosen(&policies, wanted.as_deref())
        .map_err(|detail| CliError::usage(format!("--policy {}: {detail}", path.display())))?;
    compile(policy, &|reference| gitops.public_key(reference, namespace)).map_err(CliError::several)
}

/// A path may have `#` in it: a file that exists is one.
fn file_and_name(given: &Path) -> (PathBuf, Option<String>) {
    match given.to_str().and_then(|text| text.rsplit_once('#')) {
        Some((path, name)) if !given.exists() => (PathBuf::from(path), Some(name.to_owned())),
        _ => (given.to_owned(), None),
    }
}

/// The policy that is wanted, or why it is not clear which.
fn chosen<'a>(
    policies: &[&'a SigningIdentityPolicy],
    wanted: Option<&str>,
) -> Result<&'a SigningIdentityPolicy, String> {
    let name = |policy: &SigningIdentityPolicy| policy.metadata.name.clone().unwrap_or_default();
    let names = || policies.iter().map(|policy| name(policy)).collect::<Vec<_>>().join("`, `");
    match (policies, wanted) {
        ([], _) => Err("no SigningIdentityPolicy is declared in it".to_owned()),
        (_, Some(wanted)) => policies
            .iter()
            .find(|policy| name(policy) == wanted)
            .copied()
            .ok_or_else(|| format!("it has no policy `{wanted}`; it has `{}`", names())),
        ([only], None) => Ok(only),
        (_, None) => Err(format!("it has several policies, `{}`: name one of them, as FILE#NAME", names())),
    }
}

/// Trusted roots given as `NAME=FILE`.
pub(super) fn named_roots(given: &[PathBuf]) -> Result<Vec<PreparedRoot>, CliError> {
    given
        .iter()
        .map(|given| {
            let text = given.display().to_string();
            let (name, path) = text.split_once('=').ok_or_else(|| {
                CliError::usage(format!(
                    "--trusted-root {text}: beside --policy write NAME={text}, with the name the policy accepts it by"
                ))
            })?;
            root(name, Path::new(path))
        })
        .collect()
}

/// What the policy says of the image besides who has to sign it.
pub(super) fn about(
    policy: &CompiledPolicy,
    digest: Digest,
    named: Option<&ImageRef>,
) -> Result<Option<String>, CliError> {
    let policy_name = &policy.name;
    let Some(image) = named else {
        return Ok(Some(format!(
            "nothing says of which repository the image is, so whether the policy `{policy_name}` is about it was not asked"
        )));
    };
    let name = image.name();
    if !policy.matches(image) {
        return Err(CliError::usage(format!(
            "the policy `{policy_name}` is not about {name}: none of its `images` matches it, so it says nothing of it"
        )));
    }
    let exempt = ImageRef::parse(&format!("{name}@{digest}")).is_ok_and(|image| policy.exempts(&image));
    Ok(exempt.then(|| format!("the policy `{policy_name}` exempts this very image: it asks for no signature")))
}

/// The trust roots by name; one the policy does not accept is no root to judge by.
pub(super) fn accepted(policy: &CompiledPolicy, roots: Vec<PreparedRoot>) -> Result<Roots, CliError> {
    let mut accepted = Roots::new();
    for root in roots {
        let name = root.root().name.clone();
        if !policy.trust_roots.contains(&name) {
            return Err(CliError::usage(format!(
                "the policy `{}` accepts the trust roots `{}`; `{name}` is none of them",
                policy.name,
                policy.trust_roots.join("`, `")
            )));
        }
        if accepted.insert(name.clone(), Arc::new(root)).is_some() {
            return Err(CliError::usage(format!("the trust root `{name}` is given twice")));
        }
    }
    Ok(accepted)
}
