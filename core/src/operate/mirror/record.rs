//! What is remembered of the trust in force.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};

use super::memory::Witness;
use crate::Digest;
use crate::api::TrustRootMirrorSpec;
use crate::api::mirror::KeysSource;
use crate::json::{self, Object};
use crate::trust::keys;
use crate::trust::root::TrustRoot;

/// How many roots that go are distributed beside the one in force; the oldest go first.
pub(super) const MAX_LEAVING: usize = 4;

/// Of how many trust roots it is remembered that they were replaced; the oldest go first.
const MAX_REPLACED: usize = 32;

/// A trust root with the text it was read from; none where it was declared key by key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadRoot {
    /// The model.
    pub root: TrustRoot,
    /// The text.
    pub text: Option<String>,
}

/// A mirror as it was declared when its trust came into force, that trust, and what goes on being distributed beside it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Record {
    /// As it was declared.
    #[serde(deserialize_with = "json::object")]
    pub spec: TrustRootMirrorSpec,
    /// The trusted root; absent where `spec` declares keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// When it came into force, and by whom.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub adopted: Option<Adopted>,
    /// What it replaced and is distributed beside it, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "list")]
    pub leaving: Vec<Leaving>,
    /// What was ever in force and was replaced: an approval that is older brings it back no more.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "list")]
    pub replaced: Vec<Replaced>,
    /// When the last of those was replaced that `replaced` has no room for any more: nobody knows which they were, so an approval that is older brings
    /// nothing back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forgotten: Option<Timestamp>,
    /// What the mirror's declaration agrees to, as it was judged when it was first seen: who may edit the mirror may afterwards have it say that it was written
    /// at another time.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "list")]
    pub judged: Vec<Judged>,
    /// The memory as it stood then.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub memory: Option<Witness>,
}

/// When trust came into force, and by whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Adopted {
    /// When.
    pub at: Timestamp,
    /// Who or what agreed to it.
    pub by: String,
}

/// Trust that was replaced.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Leaving {
    /// The trusted root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// The keys, where it was declared by those.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub keys: Option<KeysSource>,
    /// When it was replaced.
    pub since: Timestamp,
}

/// That trust was replaced, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Replaced {
    /// Its digest.
    pub digest: Digest,
    /// When, last.
    pub at: Timestamp,
}

/// How an agreement by the mirror's own declaration was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Judged {
    /// To what.
    pub agrees: Agrees,
    /// Of `Automatic`, by the digest of its terms: of others it is judged anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms: Option<Digest>,
    /// Whether the guards were in force when it was written.
    pub counts: bool,
}

/// What a mirror's declaration agrees to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Agrees {
    /// Trust that is declared, by its digest.
    Declared(Digest),
    /// The digest in `rotation.approvedDigest`.
    Approved(Digest),
    /// Whatever comes: `approval: Automatic`.
    Automatic,
}

/// A record that says nothing of what is in force.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the trust that is remembered to be in force cannot be read ({detail}); restore the memory")]
pub struct RecordError {
    detail: String,
}

impl ReadRoot {
    /// A trusted root, read.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_text(name: &str, text: &str) -> Result<Self, RecordError> {
        match TrustRoot::from_json(name, text.as_bytes()) {
            Ok(root) => Ok(Self { root, text: Some(text.to_owned()) }),
            Err(error) => Err(RecordError { detail: error.to_string() }),
        }
    }

    fn stored(name: &str, text: Option<&str>, declared: Option<&KeysSource>) -> Result<Self, RecordError> {
        match (text, declared) {
            (Some(text), _) => Self::from_text(name, text),
            (None, Some(declared)) => match keys::trust_root(name, declared) {
                Ok(root) => Ok(Self { root, text: None }),
                Err(error) => Err(RecordError { detail: error.to_string() }),
            },
            (None, None) => Err(RecordError { detail: "it holds neither a trusted root nor keys".to_owned() }),
        }
    }
}

impl Record {
    /// Whether an agreement to `digest` that was given at `at` still counts: it does not where that trust was in force and was replaced since, or may have been.
    pub fn honours(&self, digest: Digest, at: Timestamp) -> bool {
        self.forgotten.is_none_or(|forgotten| at > forgotten)
            && self.replaced.iter().all(|replaced| replaced.digest != digest || at > replaced.at)
    }

    /// How an agreement was judged when it was first seen.
    pub fn judged(&self, agrees: Agrees) -> Option<Judged> {
        self.judged.iter().find(|judged| judged.agrees == agrees).copied()
    }

    /// What was replaced until now, and this; and what there is no room for.
    pub(super) fn replaced_until(&self, digest: Digest, at: Timestamp) -> (Vec<Replaced>, Option<Timestamp>) {
        let mut all: Vec<Replaced> =
            self.replaced.iter().filter(|replaced| replaced.digest != digest).cloned().collect();
        all.push(Replaced { digest, at });
        let excess = all.len().saturating_sub(MAX_REPLACED);
        let forgotten = all.drain(..excess).map(|replaced| replaced.at).chain(self.forgotten).max();
        (all, forgotten)
    }

    /// The trust in force.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn read(&self, name: &str) -> Result<ReadRoot, RecordError> {
        ReadRoot::stored(name, self.root.as_deref(), self.spec.source.keys.as_ref())
    }

    /// The trust in force and what goes beside it, as one.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn distributed(&self, name: &str) -> Result<TrustRoot, RecordError> {
        // What goes and cannot be read any more goes at once: it must not keep what came from being distributed.
        let leaving = self.leaving.iter().filter_map(|leaving| leaving.read(name).ok());
        Ok(leaving.fold(self.read(name)?.root, |root, leaving| root.united(&leaving.root)))
    }
}

impl Leaving {
    /// The trust that goes.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn read(&self, name: &str) -> Result<ReadRoot, RecordError> {
        ReadRoot::stored(name, self.root.as_deref(), self.keys.as_ref())
    }
}

fn optional<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    Option::deserialize(deserializer).map(|value| value.map(|Object(value)| value))
}

fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let objects = Vec::deserialize(deserializer)?;
    Ok(objects.into_iter().map(|Object(value)| value).collect())
}
