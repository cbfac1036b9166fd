//! The native engine's objects as they are there: watched, and known at once where this process wrote them.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_core::Digest;
use holdfast_core::engines::object::MANAGED_BY;
use holdfast_core::engines::{EngineKind, Object};
use kube::ResourceExt;
use kube::api::{ApiResource, DynamicObject, TypeMeta};
use parking_lot::Mutex;
use serde_json::{Map, Value};
use tokio::time::Instant;

/// Only what is labelled so is watched; what loses its label is gone, and is written anew.
pub(super) fn selector() -> String {
    format!("{MANAGED_BY}=holdfast")
}

/// A kind of the native engine's objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Parameters.
    Shard,
    /// Admission policies.
    Policy,
    /// Their bindings.
    Binding,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Shard, Self::Policy, Self::Binding];

    pub(super) fn of(kind: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|of| of.name() == kind)
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Shard => "VerifiedImages",
            Self::Policy => "ValidatingAdmissionPolicy",
            Self::Binding => "ValidatingAdmissionPolicyBinding",
        }
    }

    /// How many are listed at once: parameters are up to a megabyte each, and a page is in memory several times over while it is read.
    pub(super) const fn page(self) -> u32 {
        match self {
            Self::Shard => 4,
            Self::Policy | Self::Binding => 100,
        }
    }

    pub(super) fn resource(self) -> ApiResource {
        let (group, version, plural) = match self {
            Self::Shard => (holdfast_core::api::GROUP, holdfast_core::api::VERSION, "verifiedimages"),
            Self::Policy => ("admissionregistration.k8s.io", "v1", "validatingadmissionpolicies"),
            Self::Binding => ("admissionregistration.k8s.io", "v1", "validatingadmissionpolicybindings"),
        };
        ApiResource {
            group: group.to_owned(),
            version: version.to_owned(),
            api_version: format!("{group}/{version}"),
            kind: self.name().to_owned(),
            plural: plural.to_owned(),
        }
    }
}

/// An object that is there, in one version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version {
    pub(super) uid: String,
    pub(super) resource_version: String,
}

/// One object.
#[derive(Debug, Clone)]
pub(super) struct There {
    pub(super) version: Version,
    /// When this version was first seen, or written.
    pub(super) since: Instant,
    pub(super) object: Arc<Object>,
    /// Of the object: what is there is looked at in every pass.
    pub(super) digest: Digest,
}

/// Everything that is there.
#[derive(Debug, Default)]
pub(crate) struct NativeObjects {
    all: Mutex<BTreeMap<(Kind, String), There>>,
}

impl NativeObjects {
    /// Takes note of an object, seen or written; one that is older than what is known is not news. Whether it was.
    pub(super) fn note(&self, kind: Kind, mut object: DynamicObject) -> bool {
        // What is listed does not say of itself what it is.
        let resource = kind.resource();
        object.types = Some(TypeMeta { api_version: resource.api_version, kind: resource.kind });
        let name = object.name_any();
        if is_guard(&name) {
            return false;
        }
        let version = Version {
            uid: object.uid().unwrap_or_default(),
            resource_version: object.resource_version().unwrap_or_default(),
        };
        let mut all = self.all.lock();
        if all.get(&(kind, name.clone())).is_some_and(|known| !is_newer(&version, &known.version)) {
            return false;
        }
        let Some(body) = body(object) else { return false };
        // Another engine is given admission policies, too; one of ours that says it is another's was made to say so.
        let is_known = all.contains_key(&(kind, name.clone()));
        if !is_known && Object::engine_of(&body).is_some_and(|engine| engine != EngineKind::Native) {
            return false;
        }
        let object = Object::found(EngineKind::Native, body);
        let digest = object.digest();
        all.insert((kind, name), There { version, since: Instant::now(), digest, object: Arc::new(object) });
        true
    }

    /// An object went, in this version or a later one; whether it was known.
    pub(super) fn gone(&self, kind: Kind, object: &DynamicObject) -> bool {
        let key = (kind, object.name_any());
        let mut all = self.all.lock();
        let is_it = all.get(&key).is_some_and(|known| {
            let version = Version {
                uid: object.uid().unwrap_or_default(),
                resource_version: object.resource_version().unwrap_or_default(),
            };
            known.version.uid == version.uid && !is_newer(&known.version, &version)
        });
        if is_it {
            all.remove(&key);
        }
        is_it
    }

    /// Whatever is of a kind and not among these is gone: everything was listed.
    pub(super) fn keep_only(&self, kind: Kind, names: &std::collections::BTreeSet<String>) {
        self.all.lock().retain(|(of, name), _| *of != kind || names.contains(name));
    }

    /// This process deleted it.
    pub(super) fn deleted(&self, kind: Kind, name: &str) {
        self.all.lock().remove(&(kind, name.to_owned()));
    }

    /// What is there.
    pub(super) fn now(&self) -> BTreeMap<(Kind, String), There> {
        self.all.lock().clone()
    }
}

/// An object as a value: what is large in it is moved, not written anew.
fn body(object: DynamicObject) -> Option<Value> {
    let DynamicObject { types, metadata, data } = object;
    let types = types?;
    let mut body = match data {
        Value::Object(body) => body,
        _ => Map::new(),
    };
    body.insert("apiVersion".to_owned(), Value::String(types.api_version));
    body.insert("kind".to_owned(), Value::String(types.kind));
    body.insert("metadata".to_owned(), serde_json::to_value(metadata).ok()?);
    Some(Value::Object(body))
}

/// Guards are the chart's, but for the one that hangs on what is enforced.
fn is_guard(name: &str) -> bool {
    name.starts_with("holdfast-guard-") && name != super::scope::NAME
}

/// Of one object, versions grow; another object of its name is news.
fn is_newer(seen: &Version, known: &Version) -> bool {
    if seen.uid != known.uid {
        return true;
    }
    match (seen.resource_version.parse::<u64>(), known.resource_version.parse::<u64>()) {
        (Ok(seen), Ok(known)) => seen > known,
        _ => seen.resource_version != known.resource_version,
    }
}
