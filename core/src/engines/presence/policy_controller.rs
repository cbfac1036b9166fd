//! policy-controller.

use serde_json::Value;

use super::webhooks::{Configuration, Request, Webhooks};
use super::{Controller, Definition, Presence};
use crate::engines::policy_controller::PolicyControllerCapability;

/// The group of its kinds.
pub const GROUP: &str = "policy.sigstore.dev";
/// Its definitions.
pub const DEFINITIONS: [&str; 2] = ["clusterimagepolicies.policy.sigstore.dev", "trustroots.policy.sigstore.dev"];
/// The Deployment that answers webhooks, as its chart and as its manifests name it.
pub const CONTROLLERS: [&str; 2] = ["policy-controller-webhook", "webhook"];
/// What the API server is told to ask it about, and the webhook in there.
pub const WEBHOOKS: &str = "policy.sigstore.dev";
/// Its containers, by name.
const CONTAINERS: [&str; 2] = ["policy-controller-webhook", "webhook"];
const MAJOR: u16 = 0;

/// What was seen of it: nothing, where nothing is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Its definitions.
    pub definitions: Vec<Definition>,
    /// Its Deployment.
    pub controller: Option<Controller>,
    /// Its webhooks.
    pub webhooks: Option<Configuration>,
}

/// What is known of it. Its settings, which are in ConfigMaps, are not among it.
pub fn found(seen: &Seen) -> (PolicyControllerCapability, Presence) {
    if *seen == Seen::default() {
        return (PolicyControllerCapability::absent(), Presence::default());
    }
    let mut faults = Vec::new();
    let version = seen.controller.as_ref().and_then(|controller| controller.version(&CONTAINERS, MAJOR));
    match &seen.controller {
        None => faults.push(
            "neither Deployment `cosign-system/policy-controller-webhook` nor `cosign-system/webhook` is there, which would answer for policy-controller"
                .to_owned(),
        ),
        Some(controller) => {
            if version.is_none() {
                faults.push(format!(
                    "Deployment `{}` does not say which policy-controller it is: name its image with the tag of a release",
                    controller.place()
                ));
            }
            if !controller.is_available() {
                faults.push(format!("no replica of Deployment `{}` is available", controller.place()));
            }
        }
    }
    let definitions: Vec<Value> = seen.definitions.iter().map(Definition::value).collect();
    let capability = match PolicyControllerCapability::probe(version, &definitions) {
        Ok(capability) => {
            faults.extend(capability.contradictions.iter().map(ToString::to_string));
            let disable_tuf = seen.controller.as_ref().map(|controller| controller.has_flag("disable-tuf"));
            PolicyControllerCapability { disable_tuf, ..capability }
        }
        Err(error) => {
            faults.push(error.to_string());
            PolicyControllerCapability::absent()
        }
    };
    let webhooks = seen.webhooks.as_ref().map(Webhooks::from).unwrap_or_default();
    let asked = is_asked(seen.webhooks.is_some(), &webhooks, &mut faults);
    let present = capability.present && seen.controller.is_some() && asked;
    (capability, Presence { present, version, faults, webhooks })
}

/// Whether the API server asks it about pods. The webhook is installed without rules, and the controller fills them in: there, and without them, it is asked
/// nothing.
fn is_asked(there: bool, webhooks: &Webhooks, faults: &mut Vec<String>) -> bool {
    let Some(webhook) = webhooks.get(WEBHOOKS) else {
        let what = if there { "has no webhook of that name" } else { "is not there" };
        faults.push(format!(
            "ValidatingWebhookConfiguration `{WEBHOOKS}` {what}, so the API server asks policy-controller nothing"
        ));
        return false;
    };
    if !webhook.fails_closed {
        faults.push(format!("webhook `{WEBHOOKS}` has `failurePolicy: Ignore`: what it does not answer is admitted"));
    }
    if webhook.is_conditional {
        faults
            .push(format!("webhook `{WEBHOOKS}` has conditions or an `objectSelector`: not every pod comes before it"));
    }
    let missing: Vec<&str> = Request::ALL
        .iter()
        .filter(|request| !webhook.asked.contains(request))
        .map(|request| match request {
            Request::Creation => "the creation of pods",
            Request::Update => "updates of pods",
            Request::EphemeralContainer => "ephemeral containers",
        })
        .collect();
    if !missing.is_empty() {
        faults.push(format!("webhook `{WEBHOOKS}` has no rule for {}", missing.join(" and ")));
    }
    webhook.asked.contains(&Request::Creation)
}
