//! A CustomResourceDefinition, as far as capabilities read it: which versions are served, and the fields of `spec` by their names.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A definition. Texts, defaults and rules, which are most of it, are never allocated.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Definition {
    metadata: Named,
    spec: Spec,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
struct Named {
    name: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
struct Spec {
    group: String,
    names: Names,
    versions: Vec<OfVersion>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
struct Names {
    kind: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
struct OfVersion {
    name: String,
    served: bool,
    schema: Schema,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
struct Schema {
    #[serde(rename = "openAPIV3Schema")]
    open_api: Shape,
}

/// The names of fields, and what is in them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
struct Shape {
    #[serde(skip_serializing_if = "Option::is_none")]
    properties: Option<BTreeMap<String, Self>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    items: Option<Box<Self>>,
}

impl Definition {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.metadata.name
    }

    /// As capabilities are read from it.
    pub fn value(&self) -> Value {
        let mut value = serde_json::to_value(self).unwrap_or_default();
        if let Some(object) = value.as_object_mut() {
            object.insert("kind".to_owned(), Value::from("CustomResourceDefinition"));
        }
        value
    }
}
