//! `holdfast verify --policy`: who may sign is what a SigningIdentityPolicy declares, and so are the trust roots and the images.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use holdfast_core::Digest;
use holdfast_core::api::strict::Object;
use holdfast_core::coverage::{CompiledPolicy, compile};
use holdfast_core::image::ImageRef;
use holdfast_core::verify::PreparedRoot;

use super::output::CliError;
use super::verify::root;
use crate::inventory;

/// The one policy in a manifest.
pub(super) fn declared(path: &Path, namespace: &str) -> Result<CompiledPolicy, CliError> {
    let gitops = inventory::read(&[path.to_owned()]).map_err(|errors| {
        CliError::usage(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n       "))
    })?;
    let mut policies = gitops.objects.iter().filter_map(|(_, object)| match object {
        Object::SigningIdentityPolicy(policy) => Some(policy),
        _ => None,
    });
    let (Some(policy), None) = (policies.next(), policies.next()) else {
        return Err(CliError::usage(format!("{}: give a file with one SigningIdentityPolicy", path.display())));
    };
    compile(policy, &|reference| gitops.public_key(reference, namespace)).map_err(|problems| {
        CliError::usage(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n       "))
    })
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
pub(super) fn accepted(
    policy: &CompiledPolicy,
    roots: Vec<PreparedRoot>,
) -> Result<BTreeMap<String, PreparedRoot>, CliError> {
    let mut accepted = BTreeMap::new();
    for root in roots {
        let name = root.root().name.clone();
        if !policy.trust_roots.contains(&name) {
            return Err(CliError::usage(format!(
                "the policy `{}` accepts the trust roots `{}`; `{name}` is none of them",
                policy.name,
                policy.trust_roots.join("`, `")
            )));
        }
        if accepted.insert(name.clone(), root).is_some() {
            return Err(CliError::usage(format!("the trust root `{name}` is given twice")));
        }
    }
    Ok(accepted)
}
