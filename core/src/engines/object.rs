//! A rendered object: complete, deterministic, and marked as ours.

use std::io::{self, BufWriter, Write};

use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::{EngineKind, names};
use crate::Digest;
pub use crate::api::common::{INTENT, MANAGED_BY};
use crate::digest::Hasher;

/// The longest name of a file before its ending, in bytes. File systems take 255 for the whole, also while it is written under another name.
const MAX_FILE_NAME: usize = 200;

/// How many bytes of JSON are digested at once: most objects are not longer.
const PIECE: usize = 8 * 1024;

/// Which policy an object was rendered for.
pub const POLICY: &str = "holdfast.dev/policy";
/// Which trust root an object was rendered for.
pub const TRUST_ROOT: &str = "holdfast.dev/trust-root";

/// The engine an object is for, as [`EngineKind::as_str`] says it.
pub const ENGINE: &str = "holdfast.dev/engine";

/// Marks what is only a part of an object that somebody else owns: applied server-side, never labelled as holdfast's, never deleted.
pub const PART: &str = "holdfast.dev/part-of-another";

/// A Kubernetes object holdfast wants to be there.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    engine: EngineKind,
    body: Value,
    /// In bytes, as JSON.
    size: usize,
}

/// What an object is rendered for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum For<'a> {
    /// A policy.
    Policy(&'a str),
    /// A trust root.
    TrustRoot(&'a str),
    /// The cluster as a whole.
    Cluster,
}

/// Kind and place of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Type<'a> {
    /// Group and version.
    pub api_version: &'a str,
    /// Kind.
    pub kind: &'a str,
}

impl Object {
    /// An object with holdfast's labels and the digest of its intent. `rest` holds every field beside `apiVersion`, `kind` and `metadata`.
    pub fn new(
        engine: EngineKind,
        of: Type<'_>,
        namespace: Option<&str>,
        name: &str,
        why: For<'_>,
        rest: Value,
    ) -> Self {
        let mut labels = Map::from_iter([(MANAGED_BY.to_owned(), json!("holdfast"))]);
        match why {
            For::Policy(policy) => labels.insert(POLICY.to_owned(), json!(policy)),
            For::TrustRoot(root) => labels.insert(TRUST_ROOT.to_owned(), json!(root)),
            For::Cluster => None,
        };
        let metadata = Map::from_iter([("labels".to_owned(), Value::Object(labels))]);
        Self::complete(engine, of, namespace, name, metadata, rest)
    }

    /// Fields that holdfast adds to an object somebody else owns, as a map they share.
    pub fn part(engine: EngineKind, of: Type<'_>, namespace: Option<&str>, name: &str, rest: Value) -> Self {
        let metadata = Map::from_iter([("annotations".to_owned(), json!({ PART: "true" }))]);
        Self::complete(engine, of, namespace, name, metadata, rest)
    }

    /// Whether it is only a part of an object that somebody else owns.
    pub fn is_part(&self) -> bool {
        self.body.pointer("/metadata/annotations").is_some_and(|annotations| annotations.get(PART).is_some())
    }

    fn complete(
        engine: EngineKind,
        of: Type<'_>,
        namespace: Option<&str>,
        name: &str,
        mut metadata: Map<String, Value>,
        rest: Value,
    ) -> Self {
        metadata.insert("name".to_owned(), json!(name));
        if let Some(namespace) = namespace {
            metadata.insert("namespace".to_owned(), json!(namespace));
        }
        let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.insert(ENGINE.to_owned(), json!(engine.as_str()));
        }
        let mut body = match rest {
            Value::Object(rest) => rest,
            _ => Map::new(),
        };
        body.insert("apiVersion".to_owned(), json!(of.api_version));
        body.insert("kind".to_owned(), json!(of.kind));
        body.insert("metadata".to_owned(), Value::Object(metadata));
        let mut body = Value::Object(body);
        let Written { digest, size } = written(&body);
        let digest = digest.to_string();
        // Another annotation stands before it, so it comes with a comma.
        let size = size + r#","":"""#.len() + INTENT.len() + digest.len();
        let annotations = body.get_mut("metadata").and_then(|metadata| metadata.get_mut("annotations"));
        if let Some(annotations) = annotations.and_then(Value::as_object_mut) {
            annotations.insert(INTENT.to_owned(), Value::String(digest));
        }
        Self { engine, body, size }
    }

    /// An object as it is there, without what the API server writes into it: the same as the one it was written as, where nobody changed it.
    pub fn found(engine: EngineKind, mut body: Value) -> Self {
        if let Some(body) = body.as_object_mut() {
            body.remove("status");
        }
        if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
            let of_server = |key: &String| {
                matches!(key.as_str(), "uid" | "resourceVersion" | "generation" | "creationTimestamp" | "managedFields")
            };
            metadata.retain(|key, _| !of_server(key));
        }
        let size = written(&body).size;
        Self { engine, body, size }
    }

    /// The engine that a manifest says it is for, where it is one of ours.
    pub fn engine_of(manifest: &Value) -> Option<EngineKind> {
        let said = manifest.get("metadata")?.get("annotations")?.get(ENGINE)?.as_str()?;
        EngineKind::ALL.iter().copied().find(|kind| kind.as_str() == said)
    }

    /// The engine that reads it.
    pub const fn engine(&self) -> EngineKind {
        self.engine
    }

    /// The whole object.
    pub const fn body(&self) -> &Value {
        &self.body
    }

    /// Its kind.
    pub fn kind(&self) -> &str {
        text(self.body.get("kind"))
    }

    /// Its group and version.
    pub fn api_version(&self) -> &str {
        text(self.body.get("apiVersion"))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        text(self.metadata("name"))
    }

    /// Its namespace, where it has one.
    pub fn namespace(&self) -> Option<&str> {
        self.metadata("namespace").and_then(Value::as_str)
    }

    /// The digest of the intent.
    pub fn digest(&self) -> Digest {
        written(&self.body).digest
    }

    /// How large it is, in bytes as JSON.
    pub const fn size(&self) -> usize {
        self.size
    }

    /// Engine, kind, namespace and name: what tells it from every other object.
    pub fn key(&self) -> (EngineKind, &str, &str, &str) {
        (self.engine, self.kind(), self.namespace().unwrap_or_default(), self.name())
    }

    /// The stable name of the file it is written to.
    pub fn file_name(&self) -> String {
        file_name(self.engine, &self.body)
    }

    fn metadata(&self, field: &str) -> Option<&Value> {
        self.body.get("metadata")?.get(field)
    }
}

fn text(value: Option<&Value>) -> &str {
    value.and_then(Value::as_str).unwrap_or_default()
}

/// An object of these fields. What is large is moved into it; `json!` writes every part of it anew.
pub(super) fn fields<'a>(fields: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    let mut object = Map::new();
    for (name, value) in fields {
        object.insert(name.to_owned(), value);
    }
    Value::Object(object)
}

/// What a value is as JSON.
struct Written {
    digest: Digest,
    /// In bytes.
    size: usize,
}

/// A value as JSON, digested as it is written: the largest objects are a megabyte, and are looked at in every pass.
fn written(value: &Value) -> Written {
    let mut digested = BufWriter::with_capacity(PIECE, Digested::default());
    // Nothing here fails: a value has keys that are texts, and a digest takes everything.
    _ = serde_json::to_writer(&mut digested, value);
    let Digested { hasher, size } = digested.into_inner().unwrap_or_default();
    Written { digest: hasher.finish(), size }
}

/// Digests and counts what is written.
#[derive(Default)]
struct Digested {
    hasher: Hasher,
    size: usize,
}

impl Write for Digested {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hasher.update(bytes);
        self.size += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The name of the file an engine's object is written to: its own, and no other object's. A namespace has no `.`, so that it ends where the first one is.
/// What no file system takes as a name is cut and told apart by its digest.
pub fn file_name(engine: EngineKind, body: &Value) -> String {
    let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let place = match text("/metadata/namespace") {
        "" => String::new(),
        namespace => format!("{namespace}."),
    };
    let whole = format!("{engine}-{}-{place}{}", text("/kind").to_ascii_lowercase(), text("/metadata/name"));
    format!("{}.yaml", names::bounded(&whole, MAX_FILE_NAME))
}

/// Whether holdfast rendered an object: it says whose it is, and which intent it holds.
pub fn is_rendered(body: &Value) -> bool {
    let of = |part: &str, key: &str| body.get("metadata")?.get(part)?.get(key)?.as_str();
    let whole = of("labels", MANAGED_BY) == Some("holdfast");
    let part = of("annotations", PART) == Some("true");
    (whole || part) && of("annotations", INTENT).is_some_and(|digest| !digest.is_empty())
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.body.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_knows_its_size() {
        let of = Type { api_version: "v1", kind: "ConfigMap" };
        let rest = fields([("data", json!({"a": "\"quoted\"\n", "b": "ü"}))]);
        let whole = Object::new(EngineKind::Native, of, None, "apps", For::Policy("apps"), rest.clone());
        let part = Object::part(EngineKind::PolicyController, of, Some("cosign-system"), "trust", rest);
        for object in [whole, part] {
            let text = object.body().to_string();
            assert_eq!(
                (object.size(), object.digest()),
                (text.len(), Digest::of(text.as_bytes())),
                "{}",
                object.name()
            );
        }
    }
}
