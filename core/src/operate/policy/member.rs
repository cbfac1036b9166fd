//! Which policies are decided: those that are declared, and those that are remembered to be enforced.
//!
//! A policy that is no longer declared, or cannot be used as it is written, goes on denying: leaving it out would take its objects away.

use std::collections::{BTreeMap, BTreeSet};

use super::memory::Remembered;
use crate::api::{SigningIdentityPolicy, SigningIdentityPolicySpec};
use crate::coverage::CompiledPolicy;
use crate::gate::loosening::{Form, PolicyForm, SecretKey};
use crate::verify::Signer;

/// A policy that is decided.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// The form it is declared in; the enforced one, where it is no longer declared.
    pub form: Form,
    /// Why it cannot be used as it is declared, if so.
    pub unusable: Option<String>,
    /// It is to be deleted, or is no longer declared.
    pub leaves: bool,
    /// It is not there to be told anything.
    pub is_gone: bool,
}

impl Member {
    /// A policy as it is declared; `ready` is what was made of it, or why nothing can be.
    pub fn declared(policy: &SigningIdentityPolicy, ready: Result<&CompiledPolicy, String>) -> Self {
        let keys = ready.as_ref().map(|ready| secret_keys(&policy.spec, ready)).unwrap_or_default();
        Self {
            name: policy.metadata.name.clone().unwrap_or_default(),
            form: Form { spec: policy.spec.clone(), keys },
            unusable: ready.err(),
            leaves: policy.metadata.deletion_timestamp.is_some(),
            is_gone: false,
        }
    }

    /// The declared policies, and with them those that are enforced and no longer declared.
    pub fn with_remembered(declared: Vec<Self>, remembered: &BTreeMap<String, Remembered>) -> Vec<Self> {
        let mut all = declared;
        for (name, remembered) in remembered {
            let Some(enforced) = &remembered.enforced else { continue };
            if !all.iter().any(|member| member.name == *name) {
                let form = enforced.form(name).to_owned();
                all.push(Self { name: name.clone(), form, unusable: None, leaves: true, is_gone: true });
            }
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// The form it is declared in.
    pub fn declares(&self) -> PolicyForm<'_> {
        self.form.of(&self.name)
    }
}

/// Policies that are neither among `members` nor known in any form, and are enforced by what is remembered of them or, as `denying` says, by what engines
/// were given: nobody knows what they deny.
pub fn lost<'a>(
    members: &[Member],
    remembered: &'a BTreeMap<String, Remembered>,
    denying: impl IntoIterator<Item = &'a str>,
) -> BTreeSet<String> {
    let is_member = |name: &str| members.iter().any(|member| member.name == name);
    let enforced = remembered.iter().filter(|(_, kept)| kept.enforced.is_none() && kept.is_enforced());
    let denying = denying.into_iter().filter(|name| !remembered.contains_key(*name));
    enforced.map(|(name, _)| name.as_str()).chain(denying).filter(|name| !is_member(name)).map(str::to_owned).collect()
}

/// The keys that Secrets hold, by the name of the identity.
pub fn secret_keys(spec: &SigningIdentityPolicySpec, compiled: &CompiledPolicy) -> BTreeMap<String, SecretKey> {
    let by_secret: BTreeSet<&str> = spec
        .identities
        .iter()
        .filter(|identity| identity.key.as_ref().is_some_and(|key| key.secret_ref.is_some()))
        .map(|identity| identity.name.as_str())
        .collect();
    let keys = compiled.policy.signers.iter().filter_map(|signer| match signer {
        Signer::Key { name, key } if by_secret.contains(name.as_str()) => Some((name.clone(), SecretKey::from(&**key))),
        _ => None,
    });
    keys.collect()
}
