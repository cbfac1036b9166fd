//! Losses as they are found, with the versions they are known of.

use super::capability::PolicyControllerCapability;
use crate::engines::ledger::Ledger;
use crate::engines::{EngineKind, LossKind};

/// What is rendered so far.
#[derive(Debug)]
pub(super) struct Report {
    /// Objects, losses, refusals.
    pub(super) ledger: Ledger,
}

impl Report {
    pub(super) fn new() -> Self {
        Self { ledger: Ledger::new(EngineKind::PolicyController) }
    }

    /// A loss of a policy.
    pub(super) fn loss(&mut self, policy: &str, kind: LossKind, field: &str, detail: String) {
        self.ledger.loss(policy, kind, field, versions(kind), detail);
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
