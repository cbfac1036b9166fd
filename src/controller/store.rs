//! What holdfast remembers in the cluster: ConfigMaps in its own namespace, written by compare-and-swap, never deleted, and owned by nobody.
//!
//! The *memory* of a repository holds what was ever accepted of it, one object a mirror and pin; the *record* holds the trust in force, one object a mirror.
//! Both survive the mirror: made again, it finds them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::sync::Arc;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use holdfast_core::Digest;
use holdfast_core::engines::native::guards::{MEMORY, REMEMBERED};
use holdfast_core::engines::object::{MANAGED_BY, TRUST_ROOT};
use holdfast_core::json;
use holdfast_core::operate::mirror::Record;
use holdfast_core::operate::mirror::memory::{Found, Stored};
use holdfast_core::trust::held::{Held, HeldError};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ListParams, ObjectMeta, PostParams};
use kube::core::PartialObjectMeta;
use kube::{Api, Client, ResourceExt};
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::MANAGER;
use super::failure::{Failed, within};
use super::rest::Rest;

/// Which policy, or what else, a document is about.
pub(crate) use holdfast_core::engines::object::POLICY;

/// The label by which a memory of the same pin is found under another mirror's name.
const PIN: &str = "holdfast.dev/pin";
const DOCUMENT: &str = "memory.json";
const RECORD: &str = "record.json";
/// A document as text, or packed where it is long.
const TEXT: &str = "document.json";
const PACKED: &str = "document.json.gz";
/// Bytes of a document that are still written as text: whoever looks with `kubectl` can read it.
const LONG: usize = 384 * 1024;
const REVISION: &str = "revision";
/// Bytes of the data of one object; the API server takes 1 MiB with everything around it.
const MAX_DATA: usize = 900 * 1024;
/// Bytes of one held object, unpacked.
const MAX_OBJECT: u64 = 16 * 1024 * 1024;
const MAX_DEPTH: usize = 32;

/// A document, and the object it is stored in.
#[derive(Debug, Clone)]
pub(crate) struct Kept<T> {
    /// The document.
    pub(crate) value: T,
    /// The object, for people and for whoever holds it against what was seen before.
    pub(crate) stored: Stored,
    version: String,
}

/// An object that is there, to be written over.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    stored: Stored,
    version: String,
}

/// What was found under a name.
#[derive(Debug, Clone)]
pub(crate) enum Lookup<T> {
    /// Nothing.
    Absent,
    /// This.
    There(Kept<T>),
    /// Something that holdfast did not write: it says nothing, and is written over.
    Foreign {
        /// Where it is.
        place: Place,
    },
    /// Something that cannot be taken up.
    Damaged {
        /// Why.
        detail: String,
        /// Where it is.
        place: Option<Place>,
    },
}

impl Place {
    /// Whether an object is the one that is here, as it was last read or written.
    pub(crate) fn is(&self, object: &ObjectMeta) -> bool {
        object.resource_version.as_ref() == Some(&self.version)
    }
}

impl<T> Lookup<T> {
    /// What a write goes over, which is there as it was read or the write is refused.
    pub(crate) fn place(&self) -> Option<Place> {
        match self {
            Self::Absent => None,
            Self::There(kept) => Some(Place { stored: kept.stored.clone(), version: kept.version.clone() }),
            Self::Foreign { place } => Some(place.clone()),
            Self::Damaged { place, .. } => place.clone(),
        }
    }

    /// The document, where it is there and whole.
    pub(crate) fn kept(&self) -> Option<&Kept<T>> {
        match self {
            Self::There(kept) => Some(kept),
            Self::Absent | Self::Foreign { .. } | Self::Damaged { .. } => None,
        }
    }

    /// Why what is there cannot be taken up.
    pub(crate) fn damage(&self) -> Option<&str> {
        match self {
            Self::Damaged { detail, .. } => Some(detail),
            Self::Absent | Self::Foreign { .. } | Self::There(_) => None,
        }
    }

    /// The same without the document.
    pub(crate) fn found(&self) -> Found {
        match self {
            Self::Absent | Self::Foreign { .. } => Found::Absent,
            Self::There(kept) => Found::There(kept.stored.clone()),
            Self::Damaged { detail, .. } => Found::Damaged(detail.clone()),
        }
    }
}

/// Where holdfast remembers.
#[derive(Clone)]
pub(crate) struct Store {
    client: Client,
    api: Api<ConfigMap>,
    namespace: String,
    /// What came back from a write as something else.
    altered: Arc<Mutex<BTreeMap<String, Rest>>>,
}

impl Store {
    /// A store in holdfast's own namespace.
    pub(crate) fn new(client: Client, namespace: &str) -> Self {
        let api = Api::namespaced(client.clone(), namespace);
        Self { api, client, namespace: namespace.to_owned(), altered: Arc::default() }
    }

    /// The memory of a mirror's repository.
    ///
    /// # Errors
    /// [`Failed`], where one could not look.
    pub(crate) async fn memory(&self, mirror: &str, pin: Digest) -> Result<Lookup<Held>, Failed> {
        self.look(&memory_name(mirror, pin), (TRUST_ROOT, mirror), |object| read_memory(object, pin)).await
    }

    /// The furthest memory of the same pin under any name: a mirror that was renamed goes on where it was.
    ///
    /// # Errors
    /// [`Failed`], where one could not look.
    pub(crate) async fn furthest(&self, pin: Digest) -> Result<Option<Held>, Failed> {
        let of_pin = ListParams::default().labels(&format!("{MEMORY}=repository,{PIN}={}", short(pin)));
        let objects = within("list the memories", &self.namespace, self.api.list(&of_pin)).await?;
        let read = objects.items.iter().filter_map(|object| read_memory(object, pin).ok());
        let version = |held: &Held, role: &str| held.state.memory().floors.get(role).map_or(0, |floor| floor.version);
        Ok(read.max_by_key(|held| ["root", "timestamp", "snapshot", "targets"].map(|role| version(held, role))))
    }

    /// The record of a mirror.
    ///
    /// # Errors
    /// [`Failed`], where one could not look.
    pub(crate) async fn record(&self, mirror: &str) -> Result<Lookup<Record>, Failed> {
        self.look(&record_name(mirror), (TRUST_ROOT, mirror), read_record).await
    }

    /// Stores a memory over the one that was read, or where none was.
    ///
    /// # Errors
    /// [`Failed`]: it does not fit, somebody else wrote meanwhile, or the API server said no.
    pub(crate) async fn remember(
        &self,
        mirror: &str,
        pin: Digest,
        over: Option<&Place>,
        held: &Held,
    ) -> Result<Stored, Failed> {
        let name = memory_name(mirror, pin);
        let document = held.document().map_err(|error| Failed::stuck("write", &name, &error))?;
        let document = String::from_utf8(document).map_err(|error| Failed::stuck("write", &name, &error))?;
        let objects = held.objects().map(|bytes| {
            let packed = pack(bytes).map_err(|error| Failed::stuck("pack", &name, &error))?;
            Ok((format!("{}.gz", Digest::of(bytes).hex()), ByteString(packed)))
        });
        let object = ConfigMap {
            metadata: metadata(&name, mirror, &[(MEMORY, "repository"), (PIN, &short(pin))]),
            data: Some(BTreeMap::from([(DOCUMENT.to_owned(), document)])),
            binary_data: Some(objects.collect::<Result<_, Failed>>()?),
            ..ConfigMap::default()
        };
        Ok(self.put(object, over).await?.stored)
    }

    /// Stores a record over the one that was read, or where none was.
    ///
    /// # Errors
    /// As [`Self::remember`].
    pub(crate) async fn write_record(
        &self,
        mirror: &str,
        over: Option<&Place>,
        record: &Record,
    ) -> Result<Stored, Failed> {
        let name = record_name(mirror);
        let document = serde_json::to_string(record).map_err(|error| Failed::stuck("write", &name, &error))?;
        let object = ConfigMap {
            metadata: metadata(&name, mirror, &[(MEMORY, "record")]),
            data: Some(BTreeMap::from([(RECORD.to_owned(), document)])),
            ..ConfigMap::default()
        };
        Ok(self.put(object, over).await?.stored)
    }

    /// The document under a name, where it carries the label by which it was written.
    ///
    /// # Errors
    /// [`Failed`], where one could not look.
    pub(crate) async fn document<T: DeserializeOwned>(
        &self,
        name: &str,
        label: (&str, &str),
    ) -> Result<Lookup<T>, Failed> {
        self.look(name, label, read_document).await
    }

    /// The policies of which there are documents of a sort.
    ///
    /// # Errors
    /// [`Failed`], where one could not look.
    pub(crate) async fn documents_of(&self, sort: &str) -> Result<BTreeSet<String>, Failed> {
        let of_sort = ListParams::default().labels(&format!("{MEMORY}={sort}"));
        let api: Api<PartialObjectMeta<ConfigMap>> = Api::namespaced(self.client.clone(), &self.namespace);
        let objects = within("list the memories", &self.namespace, api.list_metadata(&of_sort)).await?;
        Ok(objects.items.iter().filter_map(|object| object.labels().get(POLICY).cloned()).collect())
    }

    /// Stores a document over the one that was read, or where none was.
    ///
    /// # Errors
    /// As [`Self::remember`].
    pub(crate) async fn write_document<T: Serialize>(
        &self,
        name: &str,
        labels: &[(&str, &str)],
        over: Option<&Place>,
        document: &T,
    ) -> Result<Place, Failed> {
        let text = serde_json::to_string(document).map_err(|error| Failed::stuck("write", name, &error))?;
        let mut object = ConfigMap { metadata: labelled(name, labels), ..ConfigMap::default() };
        if u64::try_from(text.len()).is_ok_and(|len| len > MAX_OBJECT) {
            // More is not read again.
            return Err(Failed::TooLarge { name: name.to_owned(), size: text.len(), max: MAX_DATA });
        }
        if text.len() > LONG {
            let packed = pack(text.as_bytes()).map_err(|error| Failed::stuck("pack", name, &error))?;
            object.binary_data = Some(BTreeMap::from([(PACKED.to_owned(), ByteString(packed))]));
        } else {
            object.data = Some(BTreeMap::from([(TEXT.to_owned(), text)]));
        }
        self.put(object, over).await
    }

    /// Guards let nobody but holdfast write what carries the label of memories, so what lacks it, or is labelled as another's, is somebody's.
    async fn look<T>(
        &self,
        name: &str,
        (key, value): (&str, &str),
        read: impl Fn(&ConfigMap) -> Result<T, String>,
    ) -> Result<Lookup<T>, Failed> {
        let Some(object) = within("read", name, self.api.get_opt(name)).await? else { return Ok(Lookup::Absent) };
        let labels = object.labels();
        if !labels.contains_key(MEMORY) || labels.get(key).is_none_or(|found| found != value) {
            tracing::error!(object = name, "somebody else made it, under a name of holdfast's: it is not believed");
            let stored = Stored { uid: object.uid().unwrap_or_default(), revision: 0 };
            return Ok(Lookup::Foreign {
                place: Place { stored, version: object.resource_version().unwrap_or_default() },
            });
        }
        let revision = object.data.as_ref().and_then(|data| data.get(REVISION)).and_then(|text| text.parse().ok());
        let at = |revision| {
            let stored = Stored { uid: object.uid()?, revision };
            Some(Place { stored, version: object.resource_version()? })
        };
        let damaged = |detail: &str, revision: u64| Lookup::Damaged {
            detail: format!("ConfigMap {}/{name}: {detail}", self.namespace),
            place: at(revision),
        };
        let Some(revision) = revision else { return Ok(damaged("it has no revision", 0)) };
        let Some(Place { stored, version }) = at(revision) else { return Ok(damaged("it has no version", revision)) };
        Ok(match read(&object) {
            Ok(value) => Lookup::There(Kept { value, stored, version }),
            Err(detail) => damaged(&detail, revision),
        })
    }

    async fn put(&self, mut object: ConfigMap, over: Option<&Place>) -> Result<Place, Failed> {
        let name = object.name_any();
        debug_assert!(REMEMBERED.iter().any(|begins| name.starts_with(begins)), "no guard knows {name} for a memory");
        let revision = over.map_or(1, |place| place.stored.revision.saturating_add(1));
        object.data.get_or_insert_default().insert(REVISION.to_owned(), revision.to_string());
        let size = size(&object);
        if size > MAX_DATA {
            return Err(Failed::TooLarge { name, size, max: MAX_DATA });
        }
        if self.altered.lock().get(&name).is_some_and(Rest::lasts) {
            return Err(altered(name));
        }
        let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        let written = match over {
            None => within("create", &name, self.api.create(&params, &object)).await?,
            Some(Place { stored, version }) => {
                object.metadata.uid = Some(stored.uid.clone());
                object.metadata.resource_version = Some(version.clone());
                within("replace", &name, self.api.replace(&name, &params, &object)).await?
            }
        };
        self.compare(name, &object, &written)?;
        let version = written.resource_version().unwrap_or_default();
        Ok(Place { stored: Stored { uid: written.uid().unwrap_or_default(), revision }, version })
    }

    /// What mutates changes a write on its way, in holdfast's own name: what is remembered then is not what was written.
    fn compare(&self, name: String, object: &ConfigMap, answer: &ConfigMap) -> Result<(), Failed> {
        let mut all = self.altered.lock();
        let before = all.remove(&name);
        if is_as_written(object, answer) {
            return Ok(());
        }
        all.insert(name.clone(), Rest::begun(before));
        Err(altered(name))
    }
}

/// Whether an answer holds what was written. Nothing fills in anything of it, so any difference is somebody's; a label more changes nothing of what is read.
fn is_as_written(object: &ConfigMap, answer: &ConfigMap) -> bool {
    let bytes = |of: &ConfigMap| of.binary_data.clone().unwrap_or_default();
    let text = |of: &ConfigMap| of.data.clone().unwrap_or_default();
    let has_labels = object.labels().iter().all(|(key, value)| answer.labels().get(key) == Some(value));
    text(answer) == text(object) && bytes(answer) == bytes(object) && has_labels
}

fn altered(name: String) -> Failed {
    Failed::Altered { kind: "ConfigMap", name }
}

/// What a ConfigMap of this namespace remembers something of, if it does.
pub(crate) fn remembers(object: &ObjectMeta) -> Option<Remembers<'_>> {
    let labels = object.labels.as_ref()?;
    labels.get(MEMORY)?;
    Some(match labels.get(TRUST_ROOT) {
        Some(mirror) => Remembers::Mirror(mirror),
        None => Remembers::Policy(labels.get(POLICY).map(String::as_str)),
    })
}

fn memory_name(mirror: &str, pin: Digest) -> String {
    format!("holdfast-trust-memory-{mirror}-{}", pin.hex().get(..16).unwrap_or_default())
}

fn record_name(mirror: &str) -> String {
    format!("holdfast-trust-record-{mirror}")
}

/// As much of a pin as a label takes.
fn short(pin: Digest) -> String {
    pin.hex().get(..63).unwrap_or_default().to_owned()
}

/// What a ConfigMap of this namespace remembers something of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remembers<'a> {
    /// A mirror.
    Mirror(&'a str),
    /// A policy, or what all of them share.
    Policy(Option<&'a str>),
}

fn metadata(name: &str, mirror: &str, labels: &[(&str, &str)]) -> ObjectMeta {
    let all: Vec<(&str, &str)> = std::iter::once((TRUST_ROOT, mirror)).chain(labels.iter().copied()).collect();
    labelled(name, &all)
}

fn labelled(name: &str, labels: &[(&str, &str)]) -> ObjectMeta {
    let common = [(MANAGED_BY, "holdfast")];
    let labels = common.iter().chain(labels).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    ObjectMeta { name: Some(name.to_owned()), labels: Some(labels), ..ObjectMeta::default() }
}

fn size(object: &ConfigMap) -> usize {
    let text: usize = object.data.iter().flatten().map(|(key, value)| key.len() + value.len()).sum();
    // Bytes travel as base64.
    let bytes: usize =
        object.binary_data.iter().flatten().map(|(key, value)| key.len() + value.0.len() / 3 * 4 + 4).sum();
    text + bytes
}

fn read_memory(object: &ConfigMap, pin: Digest) -> Result<Held, String> {
    let document = object.data.as_ref().and_then(|data| data.get(DOCUMENT)).ok_or(format!("it has no {DOCUMENT}"))?;
    let held = Held::read(document.as_bytes(), |digest, what| {
        let key = format!("{}.gz", digest.hex());
        let packed = object
            .binary_data
            .as_ref()
            .and_then(|data| data.get(&key))
            .ok_or(Unread(format!("the held {what} is missing")))?;
        unpack(&packed.0).map_err(|error| Unread(format!("the held {what}: {error}")))
    });
    let held = held.map_err(|Unread(detail)| detail)?;
    if held.state.memory().pin == pin { Ok(held) } else { Err("it is the memory of another pin".to_owned()) }
}

fn pack(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(bytes)?;
    packed.finish()
}

fn unpack(packed: &[u8]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte more than is taken: what is cut off has another digest.
    GzDecoder::new(packed).take(MAX_OBJECT + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

struct Unread(String);

impl From<HeldError> for Unread {
    fn from(error: HeldError) -> Self {
        Self(error.to_string())
    }
}

fn read_document<T: DeserializeOwned>(object: &ConfigMap) -> Result<T, String> {
    let packed = object.binary_data.as_ref().and_then(|data| data.get(PACKED));
    let bytes = match (object.data.as_ref().and_then(|data| data.get(TEXT)), packed) {
        (Some(text), _) => text.as_bytes().to_vec(),
        (None, Some(packed)) => unpack(&packed.0).map_err(|error| error.to_string())?,
        (None, None) => return Err(format!("it has no {TEXT}")),
    };
    let max_len = usize::try_from(MAX_OBJECT).unwrap_or(usize::MAX);
    json::read(&bytes, json::Limits { max_len, max_depth: MAX_DEPTH }).map_err(|error| error.to_string())
}

fn read_record(object: &ConfigMap) -> Result<Record, String> {
    let text = object.data.as_ref().and_then(|data| data.get(RECORD)).ok_or(format!("it has no {RECORD}"))?;
    json::read(text.as_bytes(), json::Limits { max_len: MAX_DATA, max_depth: MAX_DEPTH })
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
