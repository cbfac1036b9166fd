//! Trust as it is held: the TUF state and the trusted root that was imported last, and how both are stored.
//!
//! What is stored is one document, which names by digest everything that is held, and the objects it names. Whoever stores it (a directory, an object in
//! the cluster) replaces the document in one step.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use super::freshness::Imported;
use super::tuf::{Refusal, State, TrustMemory, VerifiedTarget};
use crate::Digest;
use crate::json::{self, JsonError, Object};

/// The target every Sigstore repository publishes its trusted root under.
pub const TRUSTED_ROOT: &str = "trusted_root.json";

const MAX_DEPTH: usize = 16;

/// What is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The TUF state.
    pub state: State,
    /// The trusted root that was imported last.
    pub trusted_root: Option<HeldRoot>,
}

/// A trusted root, and what it was accepted as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldRoot {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What it was accepted as; absent where nothing that is held says so any more.
    pub accepted_as: Option<AcceptedAs>,
}

/// What a trusted root was accepted as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AcceptedAs {
    /// The target.
    pub target: String,
    /// The role that listed it.
    pub role: String,
    /// The digest it was listed with.
    pub digest: Digest,
}

/// Why what was stored is not taken up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeldError {
    /// The document cannot be read.
    #[error(transparent)]
    Document(JsonError),
    /// An object has other bytes than the document names.
    #[error("the held {what} is not what was accepted")]
    Object {
        /// The role, or the trusted root.
        what: String,
    },
    /// The metadata and the memory of it do not agree.
    #[error(transparent)]
    State(Refusal),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    #[serde(deserialize_with = "json::object")]
    tuf: TrustMemory,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trusted_root: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "accepted_as")]
    accepted_as: Option<AcceptedAs>,
}

fn accepted_as<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<AcceptedAs>, D::Error> {
    Option::deserialize(deserializer).map(|accepted| accepted.map(|Object(accepted)| accepted))
}

impl HeldRoot {
    /// A target, as it was verified.
    pub fn accepted(target: &VerifiedTarget) -> Self {
        let (bytes, digest) = (target.bytes().to_vec(), Digest::of(target.bytes()));
        let accepted_as = AcceptedAs { target: target.name().to_owned(), role: target.role().to_owned(), digest };
        Self { bytes, accepted_as: Some(accepted_as) }
    }

    /// As freshness is judged by it.
    pub fn imported(&self) -> Imported<'_> {
        let target = self.accepted_as.as_ref().map_or(TRUSTED_ROOT, |accepted| &accepted.target);
        Imported { target, bytes: &self.bytes }
    }

    /// What earlier forms of the document did not say: worked out from the metadata that is held beside it.
    fn worked_out(bytes: Vec<u8>, state: &State) -> Self {
        let accepted_as = state
            .listing(TRUSTED_ROOT)
            .ok()
            .filter(|listing| listing.names(&bytes))
            .map(|listing| AcceptedAs { target: listing.target, role: listing.role, digest: Digest::of(&bytes) });
        Self { bytes, accepted_as }
    }
}

impl Held {
    /// The document to store.
    ///
    /// # Errors
    /// [`serde_json::Error`]; none is known to occur.
    pub fn document(&self) -> Result<Vec<u8>, serde_json::Error> {
        let root = self.trusted_root.as_ref();
        serde_json::to_vec_pretty(&Document {
            tuf: self.state.memory().clone(),
            trusted_root: root.map(|root| Digest::of(&root.bytes)),
            accepted_as: root.and_then(|root| root.accepted_as.clone()),
        })
    }

    /// The objects that the document names.
    pub fn objects(&self) -> impl Iterator<Item = &[u8]> {
        let root = self.trusted_root.as_ref().map(|root| root.bytes.as_slice());
        self.state.held().values().map(Vec::as_slice).chain(root)
    }

    /// Takes up what was stored. `object` finds the bytes of one object; the text names it for people.
    ///
    /// # Errors
    /// [`HeldError`] where document and objects are not what was stored together; whatever `object` answers.
    pub fn read<E: From<HeldError>>(
        document: &[u8],
        mut object: impl FnMut(&Digest, &str) -> Result<Vec<u8>, E>,
    ) -> Result<Self, E> {
        let limits = json::Limits { max_len: document.len(), max_depth: MAX_DEPTH };
        let document: Document = json::read(document, limits).map_err(HeldError::Document)?;
        let mut verified = |digest: &Digest, what: &str| -> Result<Vec<u8>, E> {
            let bytes = object(digest, what)?;
            if Digest::of(&bytes) == *digest {
                Ok(bytes)
            } else {
                Err(HeldError::Object { what: what.to_owned() }.into())
            }
        };
        let mut held = BTreeMap::new();
        for (role, floor) in &document.tuf.floors {
            held.insert(role.clone(), verified(&floor.digest, role)?);
        }
        let bytes = document.trusted_root.as_ref().map(|digest| verified(digest, TRUSTED_ROOT)).transpose()?;
        if document.accepted_as.as_ref().is_some_and(|accepted| Some(accepted.digest) != document.trusted_root) {
            return Err(HeldError::Object { what: TRUSTED_ROOT.to_owned() }.into());
        }
        let state = State::restore(document.tuf, held).map_err(HeldError::State)?;
        let trusted_root = bytes.map(|bytes| match document.accepted_as {
            Some(accepted_as) => HeldRoot { bytes, accepted_as: Some(accepted_as) },
            None => HeldRoot::worked_out(bytes, &state),
        });
        Ok(Self { state, trusted_root })
    }
}
