//! What policies say of an image, looked at as `holdfast why` does.

use std::collections::BTreeSet;

use holdfast_core::Digest;
use holdfast_core::api::SigningIdentityPolicy;
use holdfast_core::coverage::{CompiledPolicy, Found, judge_under};
use holdfast_core::image::ImageRef;
use holdfast_core::verify::{Reason, Verdict};
use kube::{Client, ResourceExt};

use super::{Args, Judged, Said, no_such};
use crate::cli::cluster::list;
use crate::cli::output::{CliError, now};
use crate::controller::look::{LookError, Sight, look};

/// What is said of it.
pub(super) struct AllJudged {
    pub(super) said: Vec<Said>,
    pub(super) notes: Vec<String>,
    /// A policy that was asked cannot be used.
    pub(super) policies_unusable: bool,
}

/// Asks every policy about the image, or the one that is meant.
pub(super) async fn judge(
    args: &Args,
    client: &Client,
    image: &ImageRef,
    digest: Digest,
) -> Result<AllJudged, CliError> {
    let at = now(None);
    let cluster = &args.cluster;
    let (kubeconfig, context) = (cluster.kubeconfig.as_deref(), cluster.context.as_deref());
    let sight = look(kubeconfig, context, &cluster.namespace, args.report.as_deref(), at).await;
    let sight = sight.map_err(|error| match error {
        LookError::Unseen(why) => CliError::Unknown(why),
        other => CliError::usage(other.to_string()),
    })?;
    let only = args.policy.as_deref();
    if let Some(only) = only
        && !sight.policies.iter().any(|policy| policy.name == only)
    {
        let names: Vec<String> = sight.policies.iter().map(|policy| policy.name.clone()).collect();
        return Err(no_such(only, &names));
    }
    let native = native(client).await?;
    let about: Vec<&CompiledPolicy> = sight
        .policies
        .iter()
        .filter(|policy| policy.matches(image) && only.is_none_or(|only| policy.name == only))
        .collect();
    let found = if about.iter().all(|policy| policy.exempts(image)) {
        None
    } else {
        Some(sight.find(image, digest).await.unwrap_or_else(|(reason, message)| Found::Not { reason, message }))
    };
    let said = about.into_iter().map(|policy| Said {
        policy: policy.name.clone(),
        native: native.contains(&policy.name),
        verdict: match &found {
            Some(found) if !policy.exempts(image) => verdict(&sight, policy, digest, found, at),
            _ => Judged::Exempt,
        },
        intake: None,
    });
    Ok(AllJudged {
        said: said.collect(),
        // Whoever names a policy asks no other.
        policies_unusable: sight.policies_unusable && only.is_none(),
        notes: sight.notes,
    })
}

fn verdict(sight: &Sight, policy: &CompiledPolicy, digest: Digest, found: &Found, at: jiff::Timestamp) -> Judged {
    let verdict = match found {
        Found::Image { artifact, evidence, incomplete } => {
            judge_under(policy, artifact, evidence, incomplete.as_ref(), &sight.roots, at)
        }
        Found::Not { reason, message } => {
            // Whoever could not look cannot have verified.
            let reason = if *reason == Reason::Verified { Reason::RegistryUnavailable } else { *reason };
            Verdict::without_evidence(digest, reason, message.clone())
        }
    };
    Judged::Verdict {
        outcome: verdict.outcome(),
        reason: verdict.reason,
        owner: verdict.owner(),
        cure: verdict.reason.cure(),
        message: verdict.message,
    }
}

/// The policies whose images the native engine looks up.
async fn native(client: &Client) -> Result<BTreeSet<String>, CliError> {
    let (policies, _) = list::<SigningIdentityPolicy>(client).await?;
    let native = policies.iter().filter(|policy| policy.spec.engines.native.is_some());
    Ok(native.map(ResourceExt::name_any).collect())
}
