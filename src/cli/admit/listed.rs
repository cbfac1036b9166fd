//! Waiting until holdfast lists a digest as verified: from then on the API server admits it.

use std::time::Duration;

use holdfast_core::Digest;
use holdfast_core::api::{SigningIdentityPolicy, VerifiedImages};
use holdfast_core::engines::native::listed::{is_its_shard, is_listed};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use tokio::time::Instant;

use crate::cli::output::CliError;
use crate::controller::failure::within;

const LOOK: Duration = Duration::from_millis(500);

/// Waits; where the digest is not listed for a policy in time, says why, as far as that is seen.
pub(super) async fn wait(
    client: &Client,
    policies: &[&str],
    digest: Digest,
    patience: Duration,
) -> Result<Option<String>, CliError> {
    let until = Instant::now() + patience;
    loop {
        let Some(missing) = missing(client, policies, digest).await? else { return Ok(None) };
        if Instant::now() >= until {
            return why(client, missing).await.map(Some);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The first policy the digest is not listed for.
async fn missing<'p>(client: &Client, policies: &[&'p str], digest: Digest) -> Result<Option<&'p str>, CliError> {
    let Some(first) = policies.first() else { return Ok(None) };
    let api: Api<VerifiedImages> = Api::all(client.clone());
    // Lists are long: only the one it would be in is read.
    let names = within("list", "verifiedimages", api.list_metadata(&ListParams::default())).await?;
    let Some(name) = names.items.iter().map(ResourceExt::name_any).find(|name| is_its_shard(name, digest)) else {
        return Ok(Some(first));
    };
    let shard = within("read", &name, api.get_opt(&name)).await?;
    let lists = shard.map(|shard| shard.spec.data).unwrap_or_default();
    Ok(policies.iter().copied().find(|policy| !is_listed(&lists, policy, digest)))
}

async fn why(client: &Client, policy: &str) -> Result<String, CliError> {
    let api: Api<SigningIdentityPolicy> = Api::all(client.clone());
    let Some(found) = within("read", policy, api.get_opt(policy)).await? else {
        return Ok(format!("SigningIdentityPolicy `{policy}` is gone; whoever keeps it in git knows (owner: security)"));
    };
    let status = found.status.unwrap_or_default();
    if status.observed_generation < found.metadata.generation {
        return Ok(format!(
            "holdfast has not looked at SigningIdentityPolicy `{policy}` since it was changed: see that it runs (owner: platform)"
        ));
    }
    let is_wrong = |kind: &str, wrong: &str| {
        let found = status.conditions.iter().find(|condition| condition.type_ == kind && condition.status == wrong);
        found.map(|condition| format!("{kind}: {}, {}", condition.reason, condition.message))
    };
    let wrong = is_wrong("Degraded", "True").or_else(|| is_wrong("Ready", "False"));
    Ok(match wrong {
        Some(wrong) => format!("holdfast says of SigningIdentityPolicy `{policy}`: {wrong} (owner: platform)"),
        None => format!(
            "holdfast does not list it yet for SigningIdentityPolicy `{policy}`: a scan has to find it first; `kubectl get bcr` says when one ended, and a longer --wait waits for it (owner: platform)"
        ),
    })
}
