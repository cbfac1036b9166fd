//! What runs, or would: workloads and the images they bring in.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::Digest;
use crate::api::common::NAME_LABEL;

/// A workload as its owner knows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Workload {
    /// Its namespace.
    pub namespace: String,
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.namespace, self.kind, self.name)
    }
}

impl Serialize for Workload {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// An object of the cluster that a workload is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectId {
    /// Group and version of its kind.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its uid.
    pub uid: String,
}

/// The kind of a pod that a node runs from a file of its own: the API server only shows it, so no admission has a say.
pub const STATIC_POD: &str = "StaticPod";

impl Workload {
    /// Whether the API server could refuse what it brings in.
    pub fn is_admission_controlled(&self) -> bool {
        self.kind != STATIC_POD
    }
}

/// An image that is brought in: as it is written, and what runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Image {
    /// As it is written.
    pub written: String,
    /// The digest that a node says it runs, where that is another than the one that is written.
    pub runs: Option<Digest>,
}

impl Image {
    /// An image of which only what is written is known.
    pub fn written(text: impl Into<String>) -> Self {
        Self { written: text.into(), runs: None }
    }
}

/// One image of one workload.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Usage {
    /// The workload, by its place in [`Inventory::workloads`].
    pub workload: usize,
    /// The container, or the volume.
    pub container: String,
    /// The image, by its place in [`Inventory::images`].
    pub image: usize,
}

/// Workloads, their images, and the labels of their namespaces. Names are kept once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    workloads: Vec<Workload>,
    images: Vec<Image>,
    image_index: BTreeMap<Image, usize>,
    workload_index: BTreeMap<Workload, usize>,
    usages: Vec<Usage>,
    namespaces: BTreeMap<String, BTreeMap<String, String>>,
}

impl Inventory {
    /// Takes note of one image of a workload, exactly as it was written.
    pub fn add(&mut self, workload: &Workload, container: &str, image: &str) {
        self.add_image(workload, container, &Image::written(image));
    }

    /// Takes note of one image of a workload.
    pub fn add_image(&mut self, workload: &Workload, container: &str, image: &Image) {
        let image = if let Some(at) = self.image_index.get(image) {
            *at
        } else {
            self.images.push(image.clone());
            self.image_index.insert(image.clone(), self.images.len() - 1);
            self.images.len() - 1
        };
        let workload = if let Some(at) = self.workload_index.get(workload) {
            *at
        } else {
            self.workloads.push(workload.clone());
            self.workload_index.insert(workload.clone(), self.workloads.len() - 1);
            self.workloads.len() - 1
        };
        self.usages.push(Usage { workload, container: container.to_owned(), image });
    }

    /// Takes note of a namespace's labels. Its name is a label of its own, as the API server sets it.
    pub fn add_namespace(&mut self, name: &str, mut labels: BTreeMap<String, String>) {
        labels.insert(NAME_LABEL.to_owned(), name.to_owned());
        self.namespaces.insert(name.to_owned(), labels);
    }

    /// The workloads.
    pub fn workloads(&self) -> &[Workload] {
        &self.workloads
    }

    /// The images, each once.
    pub fn images(&self) -> &[Image] {
        &self.images
    }

    /// Who uses what.
    pub fn usages(&self) -> &[Usage] {
        &self.usages
    }

    /// Namespaces that are used and of which nothing is known: a selector by label cannot tell whether it means them.
    pub fn unknown_namespaces(&self) -> Vec<&str> {
        let used: std::collections::BTreeSet<&str> =
            self.workloads.iter().map(|workload| workload.namespace.as_str()).collect();
        used.into_iter().filter(|namespace| !self.namespaces.contains_key(*namespace)).collect()
    }

    /// The namespaces that are known, with their labels.
    pub const fn namespaces(&self) -> &BTreeMap<String, BTreeMap<String, String>> {
        &self.namespaces
    }

    /// The labels of a namespace, where they are known.
    pub fn labels(&self, namespace: &str) -> Option<&BTreeMap<String, String>> {
        self.namespaces.get(namespace)
    }
}
