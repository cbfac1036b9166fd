//! The Deployment an engine runs as.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::engines::Version;

/// As the API server and engines' own charts label it.
const VERSION: &str = "app.kubernetes.io/version";

/// A Deployment, as far as it is read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Controller {
    metadata: Metadata,
    spec: Spec,
    status: Status,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Metadata {
    name: String,
    namespace: String,
    labels: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Spec {
    template: Template,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Template {
    spec: Pod,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Pod {
    containers: Vec<Container>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Container {
    name: String,
    image: String,
    args: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    available_replicas: i64,
}

impl Controller {
    /// Its namespace and name.
    pub fn place(&self) -> String {
        format!("{}/{}", self.metadata.namespace, self.metadata.name)
    }

    /// Whether a replica of it answers, by its own word.
    pub fn is_available(&self) -> bool {
        self.status.available_replicas > 0
    }

    /// Whether a container is started with this flag, and it is not switched off.
    pub fn has_flag(&self, flag: &str) -> bool {
        let containers = self.spec.template.spec.containers.iter();
        containers.flat_map(|container| &container.args).any(|said| {
            let (name, value) = said.split_once('=').unwrap_or((said, "true"));
            name.trim_start_matches('-') == flag && matches!(value, "1" | "t" | "T" | "TRUE" | "true" | "True")
        })
    }

    /// Its version: by the tag of its image, or else by its label. A label of another major version is that of a chart.
    pub fn version(&self, containers: &[&str], major: u16) -> Option<Version> {
        let all = &self.spec.template.spec.containers;
        let engine = all.iter().find(|container| containers.contains(&container.name.as_str())).or_else(|| all.first());
        let tagged = engine.and_then(|container| tag(&container.image)).and_then(|tag| tag.parse::<Version>().ok());
        let labelled = self.metadata.labels.get(VERSION).and_then(|label| label.parse::<Version>().ok());
        tagged.or(labelled).filter(|version| version.major == major)
    }
}

fn tag(image: &str) -> Option<&str> {
    let named = image.split('@').next().unwrap_or_default();
    named.rsplit('/').next()?.split_once(':').map(|(_, tag)| tag)
}
