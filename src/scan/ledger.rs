//! What was seen of each image when its registry was last asked.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use holdfast_core::Digest;
use holdfast_core::verify::Reason;
use jiff::Timestamp;

use crate::registry::remote::{Looked, Piece};

/// Where an image is looked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// Which of the report's registries, from 0.
    pub registry: usize,
    /// The host that is dialled: what was seen elsewhere says nothing here, whatever stands in that place of the declaration now.
    pub host: String,
    /// The repository there.
    pub repository: String,
    /// The image.
    pub digest: Digest,
}

/// What was seen of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// When.
    pub at: Timestamp,
    /// The image.
    pub digest: Digest,
    /// Of an index, the manifests in it.
    pub children: Box<[Digest]>,
    /// Of a manifest, the image's configuration.
    pub config: Option<Digest>,
    /// The evidence.
    pub pieces: Box<[Piece]>,
    /// Why there may be more.
    pub incomplete: Option<(Reason, String)>,
    /// Whether the tags of cosign's legacy form were looked at, too.
    pub legacy: bool,
    /// Why the last look saw nothing; what is told besides is of an earlier one, and says nothing now.
    pub failure: Option<(Reason, String)>,
}

impl Sighting {
    /// Of what a look found.
    pub(super) fn of(looked: &Looked, at: Timestamp) -> Self {
        Self {
            at,
            digest: looked.digest,
            children: looked.children.clone().into(),
            config: looked.config,
            pieces: looked.pieces.clone().into(),
            incomplete: looked.incomplete.clone(),
            legacy: false,
            failure: None,
        }
    }

    /// With what a look at the legacy tags found besides.
    pub(super) fn and(&mut self, looked: &Looked) {
        let new = looked.pieces.iter().filter(|piece| !self.pieces.contains(piece));
        self.pieces = self.pieces.iter().chain(new).copied().collect();
        self.incomplete = self.incomplete.take().or_else(|| looked.incomplete.clone());
        self.legacy = true;
    }

    /// Of a look that saw nothing.
    pub(super) fn failed(before: Option<&Self>, digest: Digest, at: Timestamp, failure: (Reason, String)) -> Self {
        match before {
            Some(before) => Self { at, failure: Some(failure), ..before.clone() },
            None => Self {
                at,
                digest,
                children: Box::default(),
                config: None,
                pieces: Box::default(),
                incomplete: None,
                legacy: false,
                failure: Some(failure),
            },
        }
    }

    /// Whether something is a part of the image: one of its platforms, or its configuration.
    pub fn has_part(&self, digest: Digest) -> bool {
        self.children.contains(&digest) || self.config == Some(digest)
    }
}

/// What was seen of every image.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    sightings: HashMap<Target, Arc<Sighting>>,
}

impl Ledger {
    /// What was last seen of an image.
    pub fn get(&self, target: &Target) -> Option<Arc<Sighting>> {
        self.sightings.get(target).cloned()
    }

    /// How many images were looked at.
    pub fn len(&self) -> usize {
        self.sightings.len()
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.sightings.is_empty()
    }

    /// How many images were not, or not wholly, seen at the last look.
    pub fn unseen(&self) -> usize {
        self.sightings.values().filter(|seen| seen.failure.is_some() || seen.incomplete.is_some()).count()
    }

    /// Takes note of what was seen.
    pub fn note(&mut self, target: Target, sighting: Sighting) {
        self.sightings.insert(target, Arc::new(sighting));
    }

    /// Forgets what nobody brings in any more.
    pub fn keep_only(&mut self, wanted: &HashSet<&Target>) {
        self.sightings.retain(|target, _| wanted.contains(target));
        self.sightings.shrink_to_fit();
    }
}
