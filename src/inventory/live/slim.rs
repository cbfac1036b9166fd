//! The parts of pods and templates that are read; the rest is never allocated.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use holdfast_core::coverage::subject;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::ApiResource;
use kube::core::DynamicResourceScope;
use kube::{Resource, ResourceExt};
use serde::{Deserialize, Deserializer};

use super::index::LONGEST_NAME;
use super::intern::{Shape, Use};

/// What the kubelet writes on a pod it runs from a file of its own.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// Images of one pod or template that are looked at: more than any node runs together. Of what is beyond, none is ever verified.
const MAX_USES: usize = 256;

/// A pod.
#[derive(Resource, Clone, Debug, Deserialize)]
#[resource(inherit = "Pod")]
pub struct SlimPod {
    #[serde(deserialize_with = "metadata")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: PodSpec,
    #[serde(default)]
    status: PodStatus,
}

/// A kind that has a template of pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind {
    /// Its group.
    pub group: &'static str,
    /// Its name.
    pub kind: &'static str,
    /// Its plural.
    pub plural: &'static str,
}

impl Kind {
    /// Every kind whose templates are looked at.
    pub const ALL: [Self; 8] = [
        Self { group: "apps", kind: "Deployment", plural: "deployments" },
        Self { group: "apps", kind: "ReplicaSet", plural: "replicasets" },
        Self { group: "apps", kind: "StatefulSet", plural: "statefulsets" },
        Self { group: "apps", kind: "DaemonSet", plural: "daemonsets" },
        Self { group: "apps", kind: "ControllerRevision", plural: "controllerrevisions" },
        Self { group: "batch", kind: "CronJob", plural: "cronjobs" },
        Self { group: "batch", kind: "Job", plural: "jobs" },
        Self { group: "", kind: "ReplicationController", plural: "replicationcontrollers" },
    ];

    /// As the client asks for it.
    pub fn resource(self) -> ApiResource {
        ApiResource {
            group: self.group.to_owned(),
            version: "v1".to_owned(),
            api_version: self.api_version(),
            kind: self.kind.to_owned(),
            plural: self.plural.to_owned(),
        }
    }

    /// Group and version.
    pub fn api_version(self) -> String {
        if self.group.is_empty() { "v1".to_owned() } else { format!("{}/v1", self.group) }
    }

    /// Whether the objects of another kind that own one of this are what people know it by.
    pub(super) fn is_made_by_controllers(self) -> bool {
        matches!(self.kind, "ReplicaSet" | "Job" | "ControllerRevision")
    }
}

/// An object that has a template of pods.
#[derive(Clone, Debug, Deserialize)]
pub struct SlimTemplate {
    #[serde(deserialize_with = "metadata")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: TemplateSpec,
    /// A ControllerRevision's; what other controllers than Kubernetes' own write there is not read.
    #[serde(default, deserialize_with = "revision")]
    data: Option<TemplateSpec>,
    #[serde(default)]
    status: TemplateStatus,
}

impl Resource for SlimTemplate {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        resource.kind.as_str().into()
    }

    fn group(resource: &ApiResource) -> Cow<'_, str> {
        resource.group.as_str().into()
    }

    fn version(resource: &ApiResource) -> Cow<'_, str> {
        resource.version.as_str().into()
    }

    fn api_version(resource: &ApiResource) -> Cow<'_, str> {
        resource.api_version.as_str().into()
    }

    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        resource.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct TemplateSpec {
    template: Option<Template>,
    job_template: Option<JobTemplate>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Template {
    spec: PodSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct JobTemplate {
    spec: Box<TemplateSpec>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct TemplateStatus {
    #[serde(deserialize_with = "list")]
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    type_: String,
    status: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodSpec {
    service_account_name: Option<String>,
    #[serde(deserialize_with = "list")]
    image_pull_secrets: Vec<Named>,
    #[serde(deserialize_with = "list")]
    init_containers: Vec<Container>,
    #[serde(deserialize_with = "list")]
    containers: Vec<Container>,
    #[serde(deserialize_with = "list")]
    ephemeral_containers: Vec<Container>,
    #[serde(deserialize_with = "list")]
    volumes: Vec<Volume>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Named {
    name: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Container {
    name: String,
    image: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Volume {
    name: String,
    image: Option<ImageVolume>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct ImageVolume {
    reference: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(clippy::struct_field_names)] // Kubernetes' own
struct PodStatus {
    #[serde(deserialize_with = "list")]
    init_container_statuses: Vec<ContainerStatus>,
    #[serde(deserialize_with = "list")]
    container_statuses: Vec<ContainerStatus>,
    #[serde(deserialize_with = "list")]
    ephemeral_container_statuses: Vec<ContainerStatus>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ContainerStatus {
    name: String,
    #[serde(rename = "imageID")]
    image_id: String,
    #[serde(deserialize_with = "list")]
    volume_mounts: Vec<VolumeMount>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct VolumeMount {
    name: String,
    volume_status: Option<VolumeStatus>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct VolumeStatus {
    image: Option<ImageVolumeStatus>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ImageVolumeStatus {
    image_ref: String,
}

/// What is read of an object's metadata. Who manages which of its fields is whatever its author wrote, in a tree as deep as they like, which no reader here goes
/// down: an object of which it was read could not be read at all, and would not be seen.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Meta {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    annotations: Option<BTreeMap<String, String>>,
    owner_references: Option<Vec<OwnerReference>>,
}

fn metadata<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    let Meta { name, namespace, uid, resource_version, annotations, owner_references } =
        Meta::deserialize(deserializer)?;
    let none = ObjectMeta::default();
    Ok(ObjectMeta { name, namespace, uid, resource_version, annotations, owner_references, ..none })
}

/// A list that may be written as null.
fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

fn revision<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<TemplateSpec>, D::Error> {
    #[derive(Deserialize)]
    struct Data {
        spec: TemplateSpec,
    }
    let data = serde_json::Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(data).ok().map(|Data { spec }| spec))
}

/// No more uses than are looked at: every image once, before any is there again, and a word for those that are left out.
fn at_most(uses: Vec<Use>) -> Vec<Use> {
    if uses.len() <= MAX_USES {
        return uses;
    }
    let mut known = BTreeSet::new();
    let (mut kept, _): (Vec<Use>, Vec<Use>) =
        uses.into_iter().partition(|of| known.insert((of.image.written.clone(), of.image.runs)));
    let more = kept.len().saturating_sub(MAX_USES);
    if more > 0 {
        kept.truncate(MAX_USES);
        kept.push(Use::new("…", subject::left_out(more, MAX_USES)));
    }
    kept
}

impl PodSpec {
    fn shape(&self, status: &PodStatus) -> Shape {
        let containers = [&self.init_containers, &self.containers, &self.ephemeral_containers].into_iter().flatten();
        // A container without an image gets one later, from a controller; there is nothing to judge yet.
        let containers = containers.filter_map(|container| {
            let written = container.image.as_deref()?;
            Some(Use::new(&container.name, subject::image(written, status.image_of(&container.name))))
        });
        let volumes = self.volumes.iter().filter_map(|volume| {
            let written = volume.image.as_ref()?.reference.as_deref()?;
            Some(Use::new(&volume.name, subject::image(written, status.image_of_volume(&volume.name))))
        });
        // What no object is called is none.
        let secrets = self.image_pull_secrets.iter().filter(|secret| secret.name.len() <= LONGEST_NAME);
        let mut secrets: Vec<Box<str>> = secrets.map(|secret| secret.name.as_str().into()).collect();
        secrets.sort_unstable();
        Shape {
            uses: at_most(containers.chain(volumes).collect()).into_iter().collect(),
            pull_secrets: secrets.into(),
            service_account: self.service_account_name.as_deref().map(Into::into),
        }
    }
}

impl PodStatus {
    fn statuses(&self) -> impl Iterator<Item = &ContainerStatus> {
        [&self.init_container_statuses, &self.container_statuses, &self.ephemeral_container_statuses]
            .into_iter()
            .flatten()
    }

    fn image_of(&self, container: &str) -> Option<&str> {
        self.statuses().find(|status| status.name == container).map(|status| status.image_id.as_str())
    }

    fn image_of_volume(&self, volume: &str) -> Option<&str> {
        let mut mounts = self.statuses().flat_map(|status| &status.volume_mounts).filter(|mount| mount.name == volume);
        mounts.find_map(|mount| Some(mount.volume_status.as_ref()?.image.as_ref()?.image_ref.as_str()))
    }
}

impl SlimPod {
    /// What it brings in.
    pub(super) fn shape(&self) -> Shape {
        self.spec.shape(&self.status)
    }

    /// Who made it.
    pub(super) fn controller(&self) -> Option<&OwnerReference> {
        controller(&self.metadata)
    }

    /// Whether a node runs it from a file, and the API server only shows it. Anybody may write the annotation: it excuses nothing.
    pub(super) fn is_static(&self) -> bool {
        self.annotations().contains_key(MIRROR) && self.controller().is_some_and(|owner| owner.kind == "Node")
    }
}

impl SlimTemplate {
    /// What its pods would bring in.
    pub(super) fn shape(&self) -> Shape {
        let of = |spec: &TemplateSpec| {
            let job = spec.job_template.as_ref().and_then(|job| job.spec.template.as_ref());
            spec.template.as_ref().or(job).map(|template| template.spec.shape(&PodStatus::default()))
        };
        self.data.as_ref().and_then(of).or_else(|| of(&self.spec)).unwrap_or_default()
    }

    /// Who made it.
    pub(super) fn controller(&self) -> Option<&OwnerReference> {
        controller(&self.metadata)
    }

    /// Whether no pod will ever be made from it again: a Job that has ended. Of any other kind, such a condition is not Kubernetes' own, and excuses nothing.
    pub(super) fn is_over(&self, kind: Kind) -> bool {
        if kind.kind != "Job" {
            return false;
        }
        let ends = |condition: &&Condition| matches!(condition.type_.as_str(), "Complete" | "Failed");
        self.status.conditions.iter().filter(ends).any(|condition| condition.status == "True")
    }
}

fn controller(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}
