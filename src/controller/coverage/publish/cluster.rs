//! What is asked of the API server about reports: which kinds it has, which of holdfast's are there, and to write and delete one.

use holdfast_core::api::common::{HOLDFAST, INTENT, MANAGED_BY, REPORT};
use holdfast_core::coverage::results::{ReportKind, There, Write};
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, Preconditions};
use kube::core::GroupVersionKind;
use kube::{Api, ResourceExt};
use serde_json::json;

use super::super::super::MANAGER;
use super::super::super::context::Context;
use super::super::super::failure::{Failed, within};

/// How many reports are listed at once.
const PAGE: u32 = 500;

/// Which kinds of reports there are.
pub(super) struct Served(Vec<(ReportKind, bool)>);

impl Served {
    /// Whether a kind is there, of namespaces or of the cluster.
    pub(super) fn has(&self, kind: ReportKind, namespaced: bool) -> bool {
        self.0.contains(&(kind, namespaced))
    }

    /// Everything that is there.
    pub(super) fn all(&self) -> impl Iterator<Item = (ReportKind, bool)> + '_ {
        self.0.iter().copied()
    }
}

/// Asks which kinds of reports there are.
pub(super) async fn served(context: &Context) -> Result<Served, Failed> {
    let mut served = Vec::new();
    for kind in ReportKind::ALL {
        let asked = context.client.list_api_group_resources(kind.api_version());
        match within("discover", kind.api_version(), asked).await {
            Ok(found) => {
                let names: Vec<&str> = found.resources.iter().map(|there| there.name.as_str()).collect();
                served.extend(
                    [true, false].into_iter().filter(|of| names.contains(&kind.plural(*of))).map(|of| (kind, of)),
                );
            }
            // In plain words, without a reason: no such group is known.
            Err(Failed::Api { error, .. }) if matches!(&*error, kube::Error::Api(status) if status.code == 404) => {}
            Err(failed) => return Err(failed),
        }
    }
    Ok(Served(served))
}

fn resource(kind: ReportKind, namespaced: bool) -> ApiResource {
    let of = GroupVersionKind::gvk(kind.group(), kind.version(), kind.kind(namespaced));
    ApiResource::from_gvk_with_plural(&of, kind.plural(namespaced))
}

fn api(context: &Context, kind: ReportKind, namespace: Option<&str>) -> Api<DynamicObject> {
    let resource = resource(kind, namespace.is_some());
    match namespace {
        Some(namespace) => Api::namespaced_with(context.client.clone(), namespace, &resource),
        None => Api::all_with(context.client.clone(), &resource),
    }
}

fn at(kind: ReportKind, namespace: Option<&str>, name: &str) -> String {
    let place = namespace.map_or_else(String::new, |namespace| format!("{namespace}/"));
    format!("{} {place}{name}", kind.kind(namespace.is_some()))
}

/// What is there of holdfast's and is selected, with the BundleCoverageReport each says it is of.
pub(super) async fn list(
    context: &Context,
    kind: ReportKind,
    namespaced: bool,
    selector: &str,
) -> Result<Vec<(String, There)>, Failed> {
    let api: Api<DynamicObject> = Api::all_with(context.client.clone(), &resource(kind, namespaced));
    let name = format!("{}.{}", kind.plural(namespaced), kind.group());
    let mut params = ListParams::default().labels(&format!("{MANAGED_BY}={HOLDFAST},{selector}")).limit(PAGE);
    let mut all = Vec::new();
    loop {
        let page = within("list", &name, api.list_metadata(&params)).await?;
        all.extend(page.items.into_iter().filter_map(|object| {
            let of = object.labels().get(REPORT)?.clone();
            let there = There {
                kind,
                namespace: object.metadata.namespace.clone(),
                name: object.name_any(),
                uid: object.metadata.uid.clone()?,
                resource_version: object.metadata.resource_version.clone()?,
                intent: object.annotations().get(INTENT).cloned(),
                managed: object.metadata.managed_fields.unwrap_or_default(),
            };
            Some((of, there))
        }));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params.continue_token = Some(token),
            None => return Ok(all),
        }
    }
}

/// Writes one, over the version that was seen or where none was; gives its kind.
///
/// Where none was seen and one is there all the same, it goes over that: nothing but holdfast's has such a name, and whoever takes away the labels of a report or
/// makes one in its place is not to keep findings from being told.
pub(super) async fn put(context: &Context, write: &Write<'_>) -> Result<&'static str, Failed> {
    context.may_write()?;
    let object = write.object;
    let namespace = object.namespace.as_deref();
    let kind = object.kind;
    let mut body = object.body.clone();
    if let (Some(over), Some(metadata)) = (write.over, body.get_mut("metadata").and_then(|of| of.as_object_mut())) {
        metadata.insert("uid".to_owned(), json!(over.uid));
        metadata.insert("resourceVersion".to_owned(), json!(over.resource_version));
    }
    let call = api(context, kind, namespace);
    let params = PatchParams::apply(MANAGER).force();
    let patch = Patch::Apply(&body);
    let at = at(kind, namespace, &object.name);
    // Of the answer nothing is needed, and it is as large as what was sent.
    within("write", &at, call.patch_metadata(&object.name, &params, &patch)).await?;
    Ok(kind.kind(namespace.is_some()))
}

/// Deletes one, as it was seen.
pub(super) async fn remove(context: &Context, there: &There) -> Result<(), Failed> {
    context.may_write()?;
    let namespace = there.namespace.as_deref();
    let preconditions =
        Preconditions { uid: Some(there.uid.clone()), resource_version: Some(there.resource_version.clone()) };
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    let at = at(there.kind, namespace, &there.name);
    match within("delete", &at, api(context, there.kind, namespace).delete(&there.name, &params)).await {
        Ok(_) => Ok(()),
        Err(Failed::Api { error, .. }) if matches!(&*error, kube::Error::Api(status) if status.code == 404) => Ok(()),
        Err(failed) => Err(failed),
    }
}
