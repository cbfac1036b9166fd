//! What the native engine cannot express, and what it needs.

use std::collections::BTreeMap;

use super::capability::NativeCapability;
use super::cost::{Costs, Pod};
use super::scope::is_native;
use super::shards::{FULL, Shards};
use crate::api::policy::OtherImages;
use crate::engines::{EngineKind, Estate, Loss, LossKind, Refused, Rendering, Stage};

const TOO_LONG: &str = "its patterns and exempt images are more text than the API server takes of one admission policy, so it is not rendered";

fn loss(policy: Option<&str>, kind: LossKind, field: &str, versions: &'static str, detail: String) -> Loss {
    Loss {
        policy: policy.map(str::to_owned),
        engine: EngineKind::Native,
        kind,
        field: field.to_owned(),
        versions,
        detail,
    }
}

/// An API server that cannot do it.
pub(super) fn absent(estate: &Estate<'_>) -> Rendering {
    let ours = || estate.policies.iter().filter(|(_, policy)| is_native(policy));
    let detail = "this API server has no `admissionregistration.k8s.io/v1` ValidatingAdmissionPolicy, or its version is not known".to_owned();
    let losses = ours().map(|(name, _)| {
        loss(Some(name), LossKind::AdmissionPoliciesAbsent, "engines.native", "< 1.30", detail.clone())
    });
    let enforced = ours().filter(|(_, policy)| !estate.namespaces_of(policy, Stage::Enforce).is_empty());
    let refused = enforced.map(|(name, _)| Refused {
        policy: (*name).to_owned(),
        why: format!("{detail}; {}", LossKind::AdmissionPoliciesAbsent.cure()),
    });
    Rendering { losses: losses.collect(), refused: refused.collect(), ..Rendering::default() }
}

/// What holds of every estate, and of each policy.
pub(super) fn of_estate(
    estate: &Estate<'_>,
    capability: &NativeCapability,
    shards: &BTreeMap<&str, Shards<'_>>,
) -> Vec<Loss> {
    let mut losses = Vec::new();
    let mut all = |kind: LossKind, field: &str, versions: &'static str, detail: &str| {
        losses.push(loss(None, kind, field, versions, detail.to_owned()));
    };
    all(
        LossKind::NodesBypass,
        "engines.native",
        "any",
        "whoever reaches a node, or may write admission policies, is not held by them; mirror pods are exempt for requesters in `system:nodes` alone",
    );
    all(
        LossKind::NotInForceAtOnce,
        "engines.native",
        ">= 1.30",
        "what is written is in force a little later, at each API server on its own: a step is done when canaries agree",
    );
    all(
        LossKind::ParametersLate,
        "engines.native",
        ">= 1.30",
        "an API server that starts denies verified images until it has read VerifiedImages",
    );
    all(
        LossKind::LostShardBlocks,
        "engines.native",
        ">= 1.30",
        "each binding names its shard with `parameterNotFoundAction: Deny`, which is asked before anything else of the pod",
    );
    all(
        LossKind::FaultsUnreportedInAudit,
        "enforcement.desired",
        ">= 1.30",
        "the policies of audit and of templates have `failurePolicy: Ignore`",
    );
    if !capability.has_image_volumes() {
        all(
            LossKind::ImageVolumesUnseen,
            "images",
            "< 1.31",
            "this API server does not know `volumes[].image`, and drops it",
        );
    }
    for (name, shards) in shards.iter().filter(|(_, shards)| shards.largest() > FULL) {
        let detail = format!("the largest of its {} shards has {} bytes", shards.count(), shards.largest());
        losses.push(loss(Some(name), LossKind::ShardsFull, "engines.native", "any", detail));
    }
    for (name, policy) in estate.policies.iter().filter(|(_, policy)| is_native(policy)) {
        let left_out: Vec<&str> = estate.left_out_of(policy).into_iter().collect();
        if !left_out.is_empty() {
            let detail = format!("it selects `{}`, which no policy is enforced in", left_out.join("`, `"));
            losses.push(loss(Some(name), LossKind::NamespacesLeftOut, "namespaceSelector", "any", detail));
        }
        let which = match policy.compiled.other_images {
            OtherImages::Deny => "every image in its namespaces has to be named by digest",
            OtherImages::Allow => "every image that it matches has to be named by digest",
        };
        losses.push(loss(Some(name), LossKind::DigestDemanded, "images", "any", which.to_owned()));
        if estate.exceptions.iter().any(|exception| exception.policy == *name) {
            let detail = "its break-glass is about new pods alone: an update has no clock to end it by".to_owned();
            losses.push(loss(Some(name), LossKind::ExceptionOnCreate, "enforcement", "any", detail));
        }
    }
    losses
}

/// A rule that costs more than the API server allows for the worst pod.
pub(super) fn of_cost(policy: &str, costs: &Costs) -> Option<Loss> {
    if costs.is_within_limits(Pod::WORST) {
        return None;
    }
    let most = costs.most_images(Pod::WORST.length);
    let detail = format!(
        "a pod with more than {most} images of {} characters that share their shard is denied for what it costs to judge",
        Pod::WORST.length
    );
    Some(loss((!policy.is_empty()).then_some(policy), LossKind::CostLimit, "images", ">= 1.30", detail))
}

/// A policy whose own rule is more text than the API server takes.
pub(super) fn of_length(policy: &str) -> Loss {
    loss(Some(policy), LossKind::PatternsTooLong, "images", ">= 1.30", TOO_LONG.to_owned())
}

/// The same, where it is to be enforced.
pub(super) fn too_long(policy: &str) -> Refused {
    Refused { policy: policy.to_owned(), why: format!("{TOO_LONG}; {}", LossKind::PatternsTooLong.cure()) }
}

/// A policy that is left out of what policies are about together.
pub(super) fn of_length_together(policy: &str) -> Loss {
    let detail = "together with the other policies of a namespace its patterns and exempt images are too long, so no image counts there as one that it is about".to_owned();
    loss(Some(policy), LossKind::PatternsTooLong, "images", ">= 1.30", detail)
}

/// A policy some of whose namespaces have no report of other images.
pub(super) fn of_reports(policy: &str) -> Loss {
    let detail = "in some of its namespaces images that no policy is about are not reported: what the policies there list, set by set, is more text than is written of rules that only report".to_owned();
    loss(Some(policy), LossKind::OthersNotReported, "otherImages", ">= 1.30", detail)
}
