//! Statuses, written whole: what is not in one is not said any more.

use std::fmt::Debug;

use holdfast_core::api::common::Condition;
use kube::api::{Patch, PatchParams};
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::MANAGER;
use super::context::Context;
use super::failure::{Failed, within};

/// Writes the status of an object, as it was when it was decided on.
///
/// # Errors
/// [`Failed`].
pub(crate) async fn write<K>(
    context: &Context,
    of: &K,
    status: &impl Serialize,
    conditions: &[Condition],
) -> Result<(), Failed>
where
    K: Resource<DynamicType = (), Scope = kube::core::ClusterResourceScope> + Clone + DeserializeOwned + Debug,
{
    context.may_write()?;
    let name = of.name_any();
    let object = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": {"name": name, "uid": of.meta().uid, "resourceVersion": of.meta().resource_version},
        "status": status,
    });
    let api: Api<K> = Api::all(context.client.clone());
    let params = PatchParams::apply(MANAGER).force();
    within("write the status of", &name, api.patch_status(&name, &params, &Patch::Apply(&object))).await?;
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready");
    let (ready, reason, message) = ready.map_or(("", "", ""), |ready| (&ready.status, &ready.reason, &ready.message));
    tracing::info!(kind = %K::kind(&()), name, ready, reason, message, "the status changed");
    Ok(())
}
