//! The intake of a policy, changed so that several people add up and nothing else is touched.
//!
//! It is applied by the server, with a field manager of its own: the list is a set, so each of its images has owners of its own, and what git says of the policy
//! stays git's, which neither sees a conflict nor takes away what it does not own. One manager's next apply replaces its last one, so the images it owns
//! already are read from the managed fields and applied again; the version they were read in goes with it, so that of two who do this at once one is refused
//! and looks again. A merge patch would have to write the whole list, and would then own, and overwrite, what git says.

use std::collections::BTreeSet;
use std::time::Duration;

use holdfast_core::api::{GROUP, VERSION};
use kube::api::{ApiResource, DynamicObject, ObjectMeta, Patch, PatchParams};
use kube::{Api, Client};
use serde::Serialize;
use serde_json::{Value, json};

use crate::cli::output::CliError;
use crate::controller::failure::within;

/// Who owns what this command adds.
const MANAGER: &str = "holdfast-admit";
const KIND: &str = "SigningIdentityPolicy";
/// How often somebody else may write in between.
const TRIES: u32 = 10;
const BETWEEN: Duration = Duration::from_millis(40);
/// Where the images are in a policy, and in its managed fields.
const LIST: &str = "/spec/engines/native/intake/images";
const FIELDS: &str = "/f:spec/f:engines/f:native/f:intake/f:images";

/// What became of an intake.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "intake")]
pub(super) enum Change {
    /// The image was added; in a dry run, it would be.
    Added,
    /// It was there.
    There,
    /// It was taken out; in a dry run, it would be.
    Removed,
    /// It was not there.
    NotThere,
    /// Others list it, and have to take it out.
    OfOthers {
        /// Who, as field managers are named.
        managers: Vec<String>,
    },
}

/// Adds an image to what a policy has verified ahead.
pub(super) async fn add(client: &Client, policy: &str, image: &str, dry_run: bool) -> Result<Change, CliError> {
    changed(client, policy, dry_run, |there| {
        if there.listed.contains(image) {
            return Err(Change::There);
        }
        let mut next = there.own.clone();
        next.insert(image.to_owned());
        Ok((next, Change::Added))
    })
    .await
}

/// Takes an image out again that was added by [`add`].
pub(super) async fn remove(client: &Client, policy: &str, image: &str, dry_run: bool) -> Result<Change, CliError> {
    changed(client, policy, dry_run, |there| {
        let others = others(&there.metadata, image);
        if !there.own.contains(image) {
            let listed = there.listed.contains(image);
            return Err(if listed { Change::OfOthers { managers: others } } else { Change::NotThere });
        }
        let mut next = there.own.clone();
        next.remove(image);
        Ok((next, if others.is_empty() { Change::Removed } else { Change::OfOthers { managers: others } }))
    })
    .await
}

/// The intake as it is.
struct There {
    metadata: ObjectMeta,
    listed: BTreeSet<String>,
    /// What this command added.
    own: BTreeSet<String>,
}

async fn changed(
    client: &Client,
    policy: &str,
    dry_run: bool,
    decide: impl Fn(&There) -> Result<(BTreeSet<String>, Change), Change>,
) -> Result<Change, CliError> {
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource());
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), dry_run, ..PatchParams::default() };
    for attempt in 1..=TRIES {
        let there = There::of(within("read", policy, api.get(policy)).await?);
        let (next, change) = match decide(&there) {
            Ok(decided) => decided,
            Err(as_it_is) => return Ok(as_it_is),
        };
        let applied = applied(policy, &there.metadata, &next);
        match within("change the intake of", policy, api.patch(policy, &params, &Patch::Apply(&applied))).await {
            Ok(_) => return Ok(change),
            Err(failed) if failed.is_conflict() => tokio::time::sleep(BETWEEN * attempt).await,
            Err(failed) => return Err(failed.into()),
        }
    }
    Err(CliError::Unknown(format!("SigningIdentityPolicy `{policy}` goes on being changed by others: try again")))
}

impl There {
    fn of(object: DynamicObject) -> Self {
        let listed = object.data.pointer(LIST).and_then(Value::as_array);
        let listed = listed.into_iter().flatten().filter_map(|image| image.as_str().map(str::to_owned)).collect();
        Self { listed, own: owned(&object.metadata, MANAGER), metadata: object.metadata }
    }
}

/// What is applied: the images that this manager owns, and no other field. An engine that is not declared would come with them, so the version has to be the
/// one in which it was.
fn applied(policy: &str, read: &ObjectMeta, images: &BTreeSet<String>) -> Value {
    let mut object = json!({
        "apiVersion": format!("{GROUP}/{VERSION}"), "kind": KIND,
        "metadata": {"name": policy, "uid": read.uid, "resourceVersion": read.resource_version},
    });
    if let Some(fields) = object.as_object_mut().filter(|_| !images.is_empty()) {
        fields.insert("spec".to_owned(), json!({"engines": {"native": {"intake": {"images": images}}}}));
    }
    object
}

/// The images of the intake that a manager owns by apply.
fn owned(metadata: &ObjectMeta, manager: &str) -> BTreeSet<String> {
    let entries = metadata.managed_fields.iter().flatten().filter(|entry| {
        entry.manager.as_deref() == Some(manager)
            && entry.operation.as_deref() == Some("Apply")
            && entry.subresource.is_none()
    });
    entries.flat_map(|entry| entry.fields_v1.iter().flat_map(|fields| images(&fields.0))).collect()
}

/// The other managers that own an image of the intake.
fn others(metadata: &ObjectMeta, image: &str) -> Vec<String> {
    let entries = metadata.managed_fields.iter().flatten().filter(|entry| {
        let is_own = entry.manager.as_deref() == Some(MANAGER) && entry.operation.as_deref() == Some("Apply");
        !is_own && entry.fields_v1.iter().any(|fields| images(&fields.0).any(|owned| owned == image))
    });
    let names: BTreeSet<String> = entries.filter_map(|entry| entry.manager.clone()).collect();
    names.into_iter().collect()
}

/// The images that managed fields name. The items of a set are named by their value, as JSON.
fn images(fields: &Value) -> impl Iterator<Item = String> {
    let items = fields.pointer(FIELDS).and_then(Value::as_object);
    items
        .into_iter()
        .flat_map(|items| items.keys())
        .filter_map(|key| serde_json::from_str(key.strip_prefix("v:")?).ok())
}

fn resource() -> ApiResource {
    ApiResource {
        group: GROUP.to_owned(),
        version: VERSION.to_owned(),
        api_version: format!("{GROUP}/{VERSION}"),
        kind: KIND.to_owned(),
        plural: "signingidentitypolicies".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry};

    use super::*;

    fn entry(manager: &str, operation: &str, images: &[&str]) -> ManagedFieldsEntry {
        let items: serde_json::Map<String, Value> =
            images.iter().map(|image| (format!("v:{}", json!(image)), json!({}))).collect();
        ManagedFieldsEntry {
            manager: Some(manager.to_owned()),
            operation: Some(operation.to_owned()),
            fields_v1: Some(FieldsV1(
                json!({"f:spec": {"f:engines": {"f:native": {"f:intake": {"f:images": items}}}}}),
            )),
            ..ManagedFieldsEntry::default()
        }
    }

    #[test]
    fn what_this_command_added_is_told_from_what_git_lists() {
        let metadata = ObjectMeta {
            managed_fields: Some(vec![
                entry("holdfast-admit", "Apply", &["r/a@sha256:1", "r/b@sha256:2"]),
                entry("flux", "Apply", &["r/b@sha256:2", "r/c@sha256:3"]),
                entry("kubectl-edit", "Update", &["r/d@sha256:4"]),
            ]),
            ..ObjectMeta::default()
        };
        let own: Vec<String> = owned(&metadata, MANAGER).into_iter().collect();
        assert_eq!(own, ["r/a@sha256:1", "r/b@sha256:2"]);
        assert_eq!(others(&metadata, "r/a@sha256:1"), Vec::<String>::new());
        assert_eq!(others(&metadata, "r/b@sha256:2"), ["flux"]);
        assert_eq!(others(&metadata, "r/d@sha256:4"), ["kubectl-edit"]);
    }

    #[test]
    fn nothing_else_is_applied_and_the_version_goes_with_it() {
        let read = ObjectMeta { resource_version: Some("7".to_owned()), ..ObjectMeta::default() };
        let one = applied("apps", &read, &BTreeSet::from(["r/a@sha256:1".to_owned()]));
        assert_eq!(one["metadata"]["resourceVersion"], "7");
        assert_eq!(one["spec"], json!({"engines": {"native": {"intake": {"images": ["r/a@sha256:1"]}}}}));
        assert!(applied("apps", &read, &BTreeSet::new()).get("spec").is_none());
    }
}
