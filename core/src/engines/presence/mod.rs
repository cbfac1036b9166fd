//! Which engines are there? From what a cluster was seen to hold: its kinds, controllers and webhooks.
//!
//! What was seen of each goes in, as types with no more than the parts that are looked at; what is known of it comes out, for renderers, and whether it is
//! really there, for the gate. That an engine acts on what it is given is not said here: canaries say that.

pub mod controller;
pub mod definition;
pub mod kyverno;
pub mod native;
pub mod policy_controller;
pub mod webhooks;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::Serialize;

use super::all::Capabilities;
use super::{EngineKind, Version};
use webhooks::Webhooks;

pub use controller::Controller;
pub use definition::Definition;

/// What was found of every engine.
#[derive(Debug, Clone, PartialEq)]
pub struct Discovered {
    /// For renderers. How many shards policies have is not known from here.
    pub capabilities: Capabilities,
    /// For the gate: each engine once.
    pub engines: BTreeMap<EngineKind, Presence>,
}

/// Whether an engine is there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Presence {
    /// Whether its kinds, its controller and its webhooks are there.
    pub present: bool,
    /// Its version, where it is known.
    pub version: Option<Version>,
    /// What is wrong with it, in words. Of an engine that is not there at all, nothing is.
    pub faults: Vec<String>,
    /// The webhooks by which pods reach it; none where it needs none.
    pub webhooks: Webhooks,
}

impl Presence {
    /// Of an engine of which no more is known than whether its kind is served.
    pub fn served(is: bool) -> Self {
        Self { present: is, ..Self::default() }
    }
}

impl Discovered {
    /// What was found of one engine; nothing is as an engine that is not there.
    pub fn of(&self, kind: EngineKind) -> Presence {
        self.engines.get(&kind).cloned().unwrap_or_default()
    }
}
