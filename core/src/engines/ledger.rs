//! Losses and refusals of one engine, as they are found.

use std::collections::BTreeMap;

use super::{Effect, EngineKind, Loss, LossKind, Refused, Rendering};

/// How many names a sentence lists.
const LISTED: usize = 8;

/// What is rendered for an engine so far.
#[derive(Debug)]
pub(super) struct Ledger {
    engine: EngineKind,
    /// Objects, losses, refusals.
    pub(super) rendering: Rendering,
    /// The losses that would widen, each as a sentence, by policy.
    widening: BTreeMap<String, Vec<String>>,
}

impl Ledger {
    pub(super) fn new(engine: EngineKind) -> Self {
        Self { engine, rendering: Rendering::default(), widening: BTreeMap::new() }
    }

    /// A loss of a policy.
    pub(super) fn loss(&mut self, policy: &str, kind: LossKind, field: &str, versions: &'static str, detail: String) {
        let loss = Loss {
            policy: Some(policy.to_owned()),
            engine: self.engine,
            kind,
            field: field.to_owned(),
            versions,
            detail,
        };
        if loss.effect() == Effect::Wider {
            self.widening.entry(policy.to_owned()).or_default().push(loss.to_string());
        }
        self.rendering.losses.push(loss);
    }

    /// Whether any loss of this policy would admit what it declares bad.
    pub(super) fn widens(&self, policy: &str) -> bool {
        self.widening.contains_key(policy)
    }

    /// A policy that is enforced somewhere and not rendered so: its widening losses say why, or `else_why`.
    pub(super) fn refuse(&mut self, policy: &str, else_why: &str) {
        let why = match self.widening.get_mut(policy) {
            Some(why) => {
                why.sort();
                why.dedup();
                why.join("; ")
            }
            None => else_why.to_owned(),
        };
        self.rendering.refused.push(Refused { policy: policy.to_owned(), why });
    }
}

/// Names in a sentence, not more than a person reads.
pub(super) fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    match (names.get(..LISTED).unwrap_or(&names), names.len().saturating_sub(LISTED)) {
        ([], _) => String::new(),
        (all, 0) => format!("`{}`", all.join("`, `")),
        (shown, rest) => format!("`{}` and {rest} more", shown.join("`, `")),
    }
}
