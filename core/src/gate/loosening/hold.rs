//! Which form is in force: a looser one only once somebody agreed to that very form.

use jiff::Timestamp;
use serde::Serialize;

use super::policy::{Standing, policy};
use super::{AllowedBy, Loosening, PolicyForm};
use crate::Digest;
use crate::gate::break_glass::ActiveBreakGlass;

/// One person's agreement that counts, or that of a writer who holds the verb `approve` on the object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// The kind of what is approved.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its digest.
    pub digest: Digest,
    /// Who approves.
    pub by: String,
    /// When it was made, by the API server's clock.
    pub made: Option<Timestamp>,
}

/// Everything that was agreed to and counts at the moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Permit<'a> {
    /// Approvals.
    pub approvals: &'a [Approval],
    /// Break-glasses in force.
    pub break_glasses: &'a [ActiveBreakGlass],
}

/// What allows one loosening.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "allowedBy")]
pub enum Allowance {
    /// Somebody approved it, for good.
    Approval {
        /// Who.
        by: String,
    },
    /// A break-glass lends it.
    #[serde(rename_all = "camelCase")]
    BreakGlass {
        /// Which.
        name: String,
        /// First instant at which it no longer does.
        until: Timestamp,
    },
}

/// Which form is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "inForce")]
pub enum Effective {
    /// The declared one: it is not looser, or was approved. It is the enforced form from now on.
    Declared,
    /// The declared one, lent by a break-glass; at its end the enforced form comes back.
    #[serde(rename_all = "camelCase")]
    Lent {
        /// The break-glass.
        break_glass: String,
        /// First instant at which the enforced form is back.
        until: Timestamp,
    },
    /// The enforced one: the declared one is looser, and nobody agreed to it.
    Enforced,
}

/// What became of a declared form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    /// Which form is in force.
    #[serde(flatten)]
    pub effective: Effective,
    /// Every way in which the declared form is looser.
    pub loosenings: Vec<Loosening>,
    /// What allows them, where something does.
    pub allowed: Vec<Allowance>,
}

impl Held {
    /// Whether the declared form waits.
    pub fn is_held(&self) -> bool {
        self.effective == Effective::Enforced
    }
}

impl Permit<'_> {
    /// What allows this loosening at `now`.
    pub fn allows(&self, loosening: &Loosening, now: Timestamp) -> Option<Allowance> {
        if loosening.kind.allowed_by() == AllowedBy::Nobody {
            return None;
        }
        let meant = |kind: &str, name: &str, digest: Digest| {
            kind == loosening.object.kind && name == loosening.object.name && digest == loosening.digest
        };
        let approved = self.approvals.iter().find(|a| meant(&a.kind, &a.name, a.digest));
        if let (Some(approval), AllowedBy::Approval) = (approved, loosening.kind.allowed_by()) {
            return Some(Allowance::Approval { by: approval.by.clone() });
        }
        self.break_glasses
            .iter()
            .filter(|glass| glass.until > now)
            .filter(|glass| glass.loosen.allow_change.as_ref().is_some_and(|of| meant(&of.kind, &of.name, of.digest)))
            .max_by_key(|glass| glass.until)
            .map(|glass| Allowance::BreakGlass { name: glass.name.clone(), until: glass.until })
    }

    /// Judges a declared form by the ways in which it is looser: one that nobody agreed to holds all of it, because a form is approved whole.
    pub fn judge(&self, loosenings: Vec<Loosening>, now: Timestamp) -> Held {
        let allowed: Vec<Option<Allowance>> = loosenings.iter().map(|loosening| self.allows(loosening, now)).collect();
        let mut effective = Effective::Declared;
        for allowance in &allowed {
            match (allowance, &effective) {
                (None, _) => {
                    effective = Effective::Enforced;
                    break;
                }
                // Of several, what ends first ends it: a form is lent whole.
                (Some(Allowance::BreakGlass { name, until }), Effective::Declared) => {
                    effective = Effective::Lent { break_glass: name.clone(), until: *until };
                }
                (Some(Allowance::BreakGlass { name, until }), Effective::Lent { until: first, .. })
                    if until < first =>
                {
                    effective = Effective::Lent { break_glass: name.clone(), until: *until };
                }
                _ => {}
            }
        }
        let mut allowed: Vec<Allowance> = allowed.into_iter().flatten().collect();
        allowed.dedup();
        Held { effective, loosenings, allowed }
    }
}

/// Which form of a policy is in force: the last enforced one is kept until somebody agreed to the digest of the declared one.
pub fn held(
    enforced: PolicyForm<'_>,
    declared: PolicyForm<'_>,
    standing: &Standing<'_>,
    permit: Permit<'_>,
    now: Timestamp,
) -> Held {
    permit.judge(policy(enforced, declared, standing), now)
}
