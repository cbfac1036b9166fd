//! Kyverno.

use serde_json::Value;

use super::webhooks::{Configuration, Webhook, Webhooks};
use super::{Controller, Definition, Presence};
use crate::engines::kyverno::KyvernoCapability;
pub use crate::engines::kyverno::capability::{CLUSTER_POLICIES, IMAGE_VALIDATING_POLICIES};

/// The groups of its kinds.
pub const GROUPS: [&str; 2] = ["kyverno.io", "policies.kyverno.io"];
/// The Deployment that answers webhooks, from 1.10 on.
pub const CONTROLLER: &str = "kyverno-admission-controller";
/// What it tells the API server to ask it about.
pub const WEBHOOKS: &str = "kyverno-resource-validating-webhook-cfg";
/// Its containers, by name.
const CONTAINERS: [&str; 1] = ["kyverno"];
/// Its chart, whose version is in the label, is at 3.
const MAJOR: u16 = 1;

/// What was seen of it: nothing, where nothing is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Its definitions, of those that are read.
    pub definitions: Vec<Definition>,
    /// Its Deployment.
    pub controller: Option<Controller>,
    /// Its webhooks.
    pub webhooks: Option<Configuration>,
}

/// What is known of it.
pub fn found(seen: &Seen) -> (KyvernoCapability, Presence) {
    if *seen == Seen::default() {
        return (KyvernoCapability::ABSENT, Presence::default());
    }
    let mut faults = Vec::new();
    let version = seen.controller.as_ref().and_then(|controller| controller.version(&CONTAINERS, MAJOR));
    match &seen.controller {
        None => faults.push(format!("Deployment `kyverno/{CONTROLLER}` is not there, which would answer for Kyverno")),
        Some(controller) => {
            if version.is_none() {
                faults.push(format!(
                    "Deployment `{}` does not say which Kyverno it is: name its image with the tag of a release",
                    controller.place()
                ));
            }
            if !controller.is_available() {
                faults.push(format!("no replica of Deployment `{}` is available", controller.place()));
            }
        }
    }
    let definitions: Vec<Value> = seen.definitions.iter().map(Definition::value).collect();
    let capability = match version.map(|version| KyvernoCapability::read(version, &definitions)) {
        Some(Ok(capability)) => capability,
        Some(Err(error)) => {
            faults.push(error.to_string());
            KyvernoCapability::ABSENT
        }
        None => KyvernoCapability::ABSENT,
    };
    let installed = capability.installed;
    let kinds =
        installed.is_some_and(|installed| installed.image_validating_policy.is_some() || installed.cluster_policy);
    if installed.is_some() && !kinds {
        faults.push(
            "neither ImageValidatingPolicy nor ClusterPolicy is served: install Kyverno's definitions".to_owned(),
        );
    }
    if seen.webhooks.is_none() {
        faults.push(format!(
            "ValidatingWebhookConfiguration `{WEBHOOKS}` is not there, so the API server asks Kyverno nothing"
        ));
    }
    let present = kinds && seen.controller.is_some() && seen.webhooks.is_some();
    let webhooks = seen.webhooks.as_ref().map(Webhooks::from).unwrap_or_default();
    (capability, Presence { present, version, faults, webhooks })
}

/// The webhook of one ImageValidatingPolicy: Kyverno makes it once it has read the policy, and by it the API server asks.
pub fn webhook_of<'a>(webhooks: &'a Webhooks, policy: &str) -> Option<&'a Webhook> {
    ["fail", "ignore"]
        .iter()
        .find_map(|way| webhooks.get(&format!("ivpol.validate.kyverno.svc-{way}-finegrained-{policy}")))
}
