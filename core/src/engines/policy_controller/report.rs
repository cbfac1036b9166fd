//! Losses and refusals, as they are found.

use super::capability::PolicyControllerCapability;
use crate::engines::{Effect, EngineKind, Loss, LossKind, Refused, Rendering};

/// How many names a sentence lists.
const LISTED: usize = 8;

/// What is rendered so far.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Objects, losses, refusals.
    pub(super) rendering: Rendering,
}

impl Report {
    /// A loss of a policy.
    pub(super) fn loss(&mut self, policy: &str, kind: LossKind, field: &str, detail: String) {
        self.rendering.losses.push(Loss {
            policy: Some(policy.to_owned()),
            engine: EngineKind::PolicyController,
            kind,
            field: field.to_owned(),
            versions: versions(kind),
            detail,
        });
    }

    /// A policy that is enforced somewhere and not rendered so: its widening losses say why, or `else_why`.
    pub(super) fn refuse(&mut self, policy: &str, else_why: &str) {
        let mut why: Vec<String> = self
            .rendering
            .losses
            .iter()
            .filter(|loss| loss.effect() == Effect::Wider && loss.policy.as_deref() == Some(policy))
            .map(ToString::to_string)
            .collect();
        why.sort();
        why.dedup();
        let why = if why.is_empty() { else_why.to_owned() } else { why.join("; ") };
        self.rendering.refused.push(Refused { policy: policy.to_owned(), why });
    }

    /// What is lost to every policy that is rendered, by what is known of the engine.
    pub(super) fn of_engine(&mut self, policy: &str, capability: &PolicyControllerCapability) {
        for contradiction in &capability.contradictions {
            self.loss(
                policy,
                LossKind::PolicyControllerContradicts,
                "engines.policyController",
                contradiction.to_string(),
            );
        }
        let newer = capability.version.filter(|version| *version > super::capability::NEWEST_RUN);
        if newer.is_some() || capability.raw_log_ids {
            let what = newer.map_or_else(|| "a version that stores log ids as bytes".to_owned(), |v| v.to_string());
            self.loss(
                policy,
                LossKind::PolicyControllerNewerThanRun,
                "engines.policyController",
                format!("found {what}"),
            );
        }
        if capability.enable_oci11 == Some(true) {
            let why = "it is switched on".to_owned();
            self.loss(policy, LossKind::PolicyControllerTrustsUnverified, "engines.policyController", why);
        }
        let wanted = [
            (capability.no_match.is_none(), "`no-match-policy: deny` (the default)"),
            (capability.enable_oci11.is_none(), "`enable-oci11: \"false\"` (the default)"),
            (
                capability.disable_tuf != Some(true),
                "the argument `--disable-tuf`, without which the webhook does not start offline",
            ),
        ];
        let wanted: Vec<&str> = wanted.iter().filter(|(open, _)| *open).map(|(_, what)| *what).collect();
        if !wanted.is_empty() {
            let why = format!("not known to be set: {}", wanted.join(", "));
            self.loss(policy, LossKind::PolicyControllerSettings, "engines.policyController", why);
        }
    }
}

/// The versions a loss is known of.
const fn versions(kind: LossKind) -> &'static str {
    match kind {
        LossKind::PolicyControllerLegacyOnly => "< 0.13",
        LossKind::PolicyControllerNewerThanRun => "> 0.15.1",
        LossKind::PolicyControllerLogNotChecked
        | LossKind::PolicyControllerSctNotChecked
        | LossKind::PolicyControllerDeniesImageVolumes => "<= 0.15.1",
        LossKind::PolicyControllerDirectEntry
        | LossKind::PolicyControllerSctNotRun
        | LossKind::PolicyControllerBundlesOnly
        | LossKind::PolicyControllerTrustsUnverified => ">= 0.13",
        _ => "any",
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
