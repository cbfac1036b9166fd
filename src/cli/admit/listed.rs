//! Waiting until holdfast lists a digest as verified: from then on the API server admits it.

use std::time::Duration;

use holdfast_core::Digest;
use holdfast_core::api::policy::SigningIdentityPolicyStatus;
use holdfast_core::api::{SigningIdentityPolicy, VerifiedImages};
use holdfast_core::engines::native::listed::{is_its_shard, is_listed};
use holdfast_core::gate::Check;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use tokio::time::Instant;

use crate::cli::output::CliError;
use crate::controller::failure::within;

const LOOK: Duration = Duration::from_millis(500);
/// Without these nothing new is listed.
const NEEDED: [Check; 3] = [Check::TrustRootReady, Check::ScanComplete, Check::EngineReady];

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
    let api: Api<VerifiedImages> = Api::all(client.clone());
    // Lists are long: only those it would be in are read.
    let names = within("list", "verifiedimages", api.list_metadata(&ListParams::default())).await?;
    for policy in policies {
        let mut shards = names.items.iter().map(ResourceExt::name_any);
        let Some(name) = shards.find(|name| is_its_shard(name, policy, digest)) else { return Ok(Some(policy)) };
        let shard = within("read", &name, api.get_opt(&name)).await?;
        let lists = shard.map(|shard| shard.spec.data).unwrap_or_default();
        if !is_listed(&lists, policy, digest) {
            return Ok(Some(policy));
        }
    }
    Ok(None)
}

async fn why(client: &Client, policy: &str) -> Result<String, CliError> {
    let api: Api<SigningIdentityPolicy> = Api::all(client.clone());
    Ok(match within("read", policy, api.get_opt(policy)).await? {
        Some(found) => explain(policy, &found),
        None => format!("SigningIdentityPolicy `{policy}` is gone; whoever keeps it in git knows (owner: security)"),
    })
}

/// Why holdfast does not list it, as far as the policy's status tells.
fn explain(name: &str, policy: &SigningIdentityPolicy) -> String {
    let unseen = SigningIdentityPolicyStatus::default();
    let status = policy.status.as_ref().unwrap_or(&unseen);
    if status.observed_generation < policy.metadata.generation {
        return format!(
            "holdfast has not looked at SigningIdentityPolicy `{name}` since it was changed: see that it runs (owner: platform)"
        );
    }
    let is_wrong = |kind: &str, wrong: &str| {
        let found = status.conditions.iter().find(|condition| condition.type_ == kind && condition.status == wrong);
        found.map(|condition| format!("{}, {}", condition.reason, condition.message))
    };
    let fails = |check: Check| {
        let checks = status.enforcement.iter().flat_map(|enforcement| &enforcement.checks);
        let failed = checks.into_iter().find(|failed| failed.name == check.as_str() && !failed.passed)?;
        Some(format!("{}, {}", failed.name, failed.message))
    };
    let wrong = is_wrong("Ready", "False")
        .or_else(|| is_wrong("LooseningHeld", "True"))
        .or_else(|| NEEDED.into_iter().find_map(fails))
        .or_else(|| is_wrong("Degraded", "True"));
    match wrong {
        Some(wrong) => format!("holdfast says of SigningIdentityPolicy `{name}`: {wrong} (owner: platform)"),
        None => format!(
            "holdfast does not list it yet for SigningIdentityPolicy `{name}`: a scan has to find it first; wait longer with --wait, and see its log (owner: platform)"
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_wrong_is_told_from_what_takes_its_time() {
        let said = |status: serde_json::Value| {
            let policy = json!({
                "apiVersion": "holdfast.dev/v1alpha1", "kind": "SigningIdentityPolicy",
                "metadata": {"name": "apps", "generation": 2},
                "spec": {"images": ["registry.corp.internal/**"], "identities": []}, "status": status,
            });
            explain("apps", &serde_json::from_value(policy).unwrap())
        };
        assert!(said(json!({"observedGeneration": 1})).contains("see that it runs"));
        let checks =
            json!([{"name": "ScanComplete", "passed": false, "message": "no report looks at every namespace"}]);
        let status = json!({"observedGeneration": 2, "enforcement": {"phase": "Audit", "checks": checks}});
        assert!(said(status).contains("no report looks at every namespace"));
        let held = json!([{
            "type": "LooseningHeld", "status": "True", "reason": "Held", "message": "a change waits",
            "lastTransitionTime": "2026-11-24T06:00:00Z",
        }]);
        assert!(said(json!({"observedGeneration": 2, "conditions": held})).contains("a change waits"));
        assert!(said(json!({"observedGeneration": 2})).contains("a scan has to find it first"));
    }
}
