//! One look at every engine. Of one whose kinds are not served nothing more is asked.

use std::collections::BTreeMap;

use holdfast_core::engines::EngineKind;
use holdfast_core::engines::all::Capabilities;
use holdfast_core::engines::flux::FluxCapability;
use holdfast_core::engines::kubewarden::KubewardenCapability;
use holdfast_core::engines::openshift::OpenShiftCapability;
use holdfast_core::engines::presence::{
    Controller, Definition, Discovered, Presence, kyverno, native, policy_controller,
};
use kube::Client;
use tokio::time::Instant;

use super::super::failure::Failed;
use super::super::slim;
use super::Memory;
use super::served::{Served, version};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const WEBHOOKS: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";

/// Looks at every engine.
pub(super) async fn discover(client: &Client, memory: &mut Memory) -> Result<Discovered, Failed> {
    let served = Served::ask(client).await?;
    let (native, of_native) = native::found(native_seen(client, &served, memory).await?);
    let (kyverno, of_kyverno) = kyverno::found(&kyverno_seen(client, &served, memory).await?);
    let (policy_controller, of_policy_controller) =
        policy_controller::found(&policy_controller_seen(client, &served, memory).await?);
    let kubewarden = served.has("policies.kubewarden.io", "v1", &["clusteradmissionpolicies"]).await?;
    let open_shift = served.has("config.openshift.io", "v1", &["clusterimagepolicies"]).await?;
    let flux = served.has("source.toolkit.fluxcd.io", "v1", &["ocirepositories"]).await?;
    Ok(Discovered {
        capabilities: Capabilities {
            native,
            kyverno,
            policy_controller,
            kubewarden: KubewardenCapability { present: kubewarden },
            open_shift: OpenShiftCapability { present: open_shift, allowed_registries: None },
            // Its definition is not read: what an older one lacks is not relied on.
            flux: FluxCapability { present: flux, trusted_root_ref: false },
        },
        engines: BTreeMap::from([
            (EngineKind::Native, of_native),
            (EngineKind::Kyverno, of_kyverno),
            (EngineKind::PolicyController, of_policy_controller),
            (EngineKind::Kubewarden, Presence::served(kubewarden)),
            (EngineKind::OpenShift, Presence::served(open_shift)),
            (EngineKind::Flux, Presence::served(flux)),
        ]),
    })
}

async fn native_seen(client: &Client, served: &Served<'_>, memory: &mut Memory) -> Result<native::Seen, Failed> {
    let said = version(client).await?;
    let policies = ["validatingadmissionpolicies", "validatingadmissionpolicybindings"];
    Ok(native::Seen {
        // Of one that does not say, no older one that was seen vouches.
        version: memory.oldest(said, Instant::now()).filter(|_| said.is_some()),
        policies: served.has("admissionregistration.k8s.io", "v1", &policies).await?,
        parameters: served.has(holdfast_core::api::GROUP, holdfast_core::api::VERSION, &["verifiedimages"]).await?,
    })
}

async fn kyverno_seen(client: &Client, served: &Served<'_>, memory: &mut Memory) -> Result<kyverno::Seen, Failed> {
    if !served.has_group(&kyverno::GROUPS) {
        return Ok(kyverno::Seen::default());
    }
    Ok(kyverno::Seen {
        definitions: definitions(client, memory, &[kyverno::IMAGE_VALIDATING_POLICIES, kyverno::CLUSTER_POLICIES])
            .await?,
        controller: controller(client, "kyverno", &[kyverno::CONTROLLER]).await?,
        webhooks: slim::one(client, WEBHOOKS, kyverno::WEBHOOKS).await?,
    })
}

async fn policy_controller_seen(
    client: &Client,
    served: &Served<'_>,
    memory: &mut Memory,
) -> Result<policy_controller::Seen, Failed> {
    if !served.has_group(&[policy_controller::GROUP]) {
        return Ok(policy_controller::Seen::default());
    }
    Ok(policy_controller::Seen {
        definitions: definitions(client, memory, &policy_controller::DEFINITIONS).await?,
        controller: controller(client, "cosign-system", &policy_controller::CONTROLLERS).await?,
        webhooks: slim::one(client, WEBHOOKS, policy_controller::WEBHOOKS).await?,
    })
}

/// Those definitions that are there. One that is as it was is not read again.
async fn definitions(client: &Client, memory: &mut Memory, names: &[&'static str]) -> Result<Vec<Definition>, Failed> {
    let mut found = Vec::new();
    for name in names.iter().copied() {
        let Some(form) = slim::form(client, DEFINITIONS, name).await? else {
            memory.definitions.remove(name);
            continue;
        };
        let known = memory.definitions.get(name).filter(|(of, _)| *of == form).map(|(_, known)| known.clone());
        let definition = match known {
            Some(known) => Some(known),
            None => slim::one::<Definition>(client, DEFINITIONS, name).await?,
        };
        if let Some(definition) = definition {
            memory.definitions.insert(name, (form, definition.clone()));
            found.push(definition);
        }
    }
    Ok(found)
}

/// The first of these Deployments that is there.
async fn controller(client: &Client, namespace: &str, names: &[&str]) -> Result<Option<Controller>, Failed> {
    let path = format!("/apis/apps/v1/namespaces/{namespace}/deployments");
    for name in names {
        if let Some(controller) = slim::one(client, &path, name).await? {
            return Ok(Some(controller));
        }
    }
    Ok(None)
}
