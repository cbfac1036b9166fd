//! Losses and refusals of one engine, as they are found.

use super::{Effect, EngineKind, Loss, LossKind, Refused, Rendering};

/// How many names a sentence lists.
const LISTED: usize = 8;

/// What is rendered for an engine so far.
#[derive(Debug)]
pub(super) struct Ledger {
    engine: EngineKind,
    /// Objects, losses, refusals.
    pub(super) rendering: Rendering,
}

impl Ledger {
    pub(super) fn new(engine: EngineKind) -> Self {
        Self { engine, rendering: Rendering::default() }
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
        self.rendering.losses.push(loss);
    }

    /// A policy that is enforced somewhere and not rendered so: its widening losses say why, or `else_why`.
    pub(super) fn refuse(&mut self, policy: &str, else_why: &str) {
        let widening = |loss: &&Loss| loss.effect() == Effect::Wider && loss.policy.as_deref() == Some(policy);
        let mut why: Vec<String> = self.rendering.losses.iter().filter(widening).map(ToString::to_string).collect();
        why.sort();
        why.dedup();
        let why = if why.is_empty() { else_why.to_owned() } else { why.join("; ") };
        self.rendering.refused.push(Refused { policy: policy.to_owned(), why });
    }
}

/// Names in a sentence, not more than a person reads.
pub(super) fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    let shown: Vec<String> = names.iter().take(LISTED).map(|name| format!("`{name}`")).collect();
    let rest = names.len().saturating_sub(LISTED);
    let more = if rest == 0 { String::new() } else { format!(" and {rest} more") };
    format!("{}{more}", shown.join(", "))
}
