//! Rendered objects against the engines' real schemas, as strictly as the API server under `fieldValidation=Strict`.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)] // each file uses its part; a test that cannot go on fails

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

/// The schemas of one engine's kinds.
pub(crate) struct Schemas {
    definitions: Vec<Value>,
}

impl Schemas {
    /// Reads every CustomResourceDefinition that `hack/engine-schemas` put into the directory of this module and version, as `kyverno-v1.19.1`. Says so on
    /// standard error where it is absent: a test that has nothing to judge by is skipped aloud.
    pub(crate) fn of(module: &str) -> Option<Self> {
        let directory = cache()?.join(module);
        let Ok(entries) = std::fs::read_dir(&directory) else {
            eprintln!(
                "SKIPPED: no schemas in {}; run hack/engine-schemas to validate rendered objects",
                directory.display()
            );
            return None;
        };
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
        files.sort();
        let definitions: Vec<Value> = files.iter().flat_map(|file| documents(file)).collect();
        assert!(!definitions.is_empty(), "{} holds definitions", directory.display());
        Some(Self { definitions })
    }

    /// Every definition as it was read.
    pub(crate) fn definitions(&self) -> &[Value] {
        &self.definitions
    }

    /// What is wrong with an object. An object that no definition is for is wrong.
    pub(crate) fn faults(&self, object: &Value) -> Vec<String> {
        let Some(schema) = self.schema(object) else {
            return vec![format!("no served definition of {} {}", object["apiVersion"], object["kind"])];
        };
        let validator = jsonschema::validator_for(&closed(&with_type_and_metadata(schema))).expect("the schema is one");
        let mut faults: Vec<String> =
            validator.iter_errors(object).map(|error| format!("{}: {error}", error.instance_path())).collect();
        faults.extend(broken_rules(schema, object));
        faults
    }

    fn schema(&self, object: &Value) -> Option<&Value> {
        let (group, version) = object["apiVersion"].as_str()?.split_once('/')?;
        let definition = self.definitions.iter().find(|definition| {
            definition["kind"] == "CustomResourceDefinition"
                && definition["spec"]["group"] == group
                && definition["spec"]["names"]["kind"] == object["kind"]
        })?;
        let versions = definition["spec"]["versions"].as_array()?;
        let served = versions.iter().find(|candidate| candidate["name"] == version && candidate["served"] == true)?;
        served.pointer("/schema/openAPIV3Schema")
    }
}

/// The `x-kubernetes-validations` that do not hold; one that the interpreter here cannot evaluate does not, either.
fn broken_rules(schema: &Value, object: &Value) -> Vec<String> {
    match kube_cel::validate(schema, object, None) {
        Ok(()) => Vec::new(),
        Err(errors) => errors.iter().map(|error| format!("{error:?}")).collect(),
    }
}

fn cache() -> Option<PathBuf> {
    let named = std::env::var_os("HOLDFAST_ENGINE_SCHEMAS").map(PathBuf::from);
    let default = || {
        let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let base = base.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
        Some(base.join("holdfast/schemas"))
    };
    named.or_else(default)
}

fn documents(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap();
    let documents = text.split("\n---").filter(|document| document.lines().any(|line| line.starts_with("kind:")));
    documents.map(|document| serde_saphyr::from_str(document.trim_start_matches("---")).unwrap()).collect()
}

/// Every object has a type and metadata, whether or not its definition says so.
fn with_type_and_metadata(schema: &Value) -> Value {
    let mut schema = schema.clone();
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        for (name, kind) in [("apiVersion", "string"), ("kind", "string"), ("metadata", "object")] {
            properties.entry(name).or_insert_with(|| json!({ "type": kind }));
        }
    }
    schema
}

/// A structural schema in which a field it does not name is a fault, and Kubernetes' own words are said in JSON Schema's.
fn closed(schema: &Value) -> Value {
    match schema {
        Value::Object(fields) => {
            let mut out: Map<String, Value> = Map::new();
            for (name, value) in fields {
                let value = match name.as_str() {
                    // Names of fields, not of keywords.
                    "properties" => Value::Object(
                        value.as_object().unwrap().iter().map(|(name, field)| (name.clone(), closed(field))).collect(),
                    ),
                    "default" | "enum" | "example" | "description" | "required" | "format" => value.clone(),
                    _ => closed(value),
                };
                out.insert(name.clone(), value);
            }
            if fields.get("x-kubernetes-int-or-string") == Some(&json!(true)) {
                out.insert("type".to_owned(), json!(["integer", "string"]));
            }
            let open = fields.contains_key("additionalProperties")
                || fields.get("x-kubernetes-preserve-unknown-fields") == Some(&json!(true));
            if fields.contains_key("properties") && fields.contains_key("type") && !open {
                out.insert("additionalProperties".to_owned(), json!(false));
            }
            Value::Object(out)
        }
        Value::Array(items) => Value::Array(items.iter().map(closed).collect()),
        other => other.clone(),
    }
}
