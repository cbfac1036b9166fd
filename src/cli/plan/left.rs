//! What a plan does not touch: objects of which it cannot tell what they should be.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_core::engines::{EngineKind, Object, Rendering};
use serde::Serialize;
use serde_json::Value;

/// What is left as it is.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LeftAlone {
    /// Everything, and why: of some policy it is not known what is in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) everything: Option<String>,
    /// Engines that could not be given a policy that is enforced.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) engines: BTreeSet<EngineKind>,
}

impl LeftAlone {
    pub(super) fn of(wanted: &BTreeMap<EngineKind, Rendering>, everything: Option<String>) -> Self {
        let engines = wanted.iter().filter(|(_, rendering)| rendering.left_alone).map(|(kind, _)| *kind).collect();
        Self { everything, engines }
    }

    pub(super) fn is_nothing(&self) -> bool {
        self.everything.is_none() && self.engines.is_empty()
    }

    /// Whether an object that is there and not wanted stays. One that does not say whose it is may be anybody's.
    pub(super) fn keeps(&self, manifest: &Value) -> bool {
        match Object::engine_of(manifest) {
            _ if self.everything.is_some() => true,
            Some(engine) => self.engines.contains(&engine),
            None => !self.engines.is_empty(),
        }
    }
}
