//! Which policies a plan decides over: those that are declared, and those that are remembered to be enforced.
//!
//! A policy that is no longer among the manifests, or cannot be used as it is written, goes on denying: leaving it out would take its objects away.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_core::Digest;
use holdfast_core::api::SigningIdentityPolicy;
use holdfast_core::coverage::CompiledPolicy;
use holdfast_core::engines::denial::Denial;
use holdfast_core::gate::loosening::{Form, PolicyForm, SecretKey, recovery_digest};
use holdfast_core::verify::Signer;

use super::memory::{GateMemory, Remembered};

/// A policy as it is declared, and made ready where it can be used.
pub(super) struct Declared<'a> {
    pub(super) policy: &'a SigningIdentityPolicy,
    /// Why it cannot be used, where it cannot.
    pub(super) compiled: Result<CompiledPolicy, String>,
}

/// A policy that is decided.
pub(super) struct Member {
    pub(super) name: String,
    /// The form it is declared in; the enforced one, where it is no longer declared.
    pub(super) form: Form,
    /// Why it cannot be used as it is declared, if so.
    pub(super) unusable: Option<String>,
    /// It is no longer among the manifests.
    pub(super) is_gone: bool,
}

/// Everybody that is decided, and who cannot be.
pub(super) struct Members {
    pub(super) all: Vec<Member>,
    /// Policies that are neither declared nor known in any form, and are enforced by what is remembered of them.
    pub(super) lost: BTreeSet<String>,
}

impl Members {
    /// `denials` is what the objects deny that were rendered before: a policy that nothing else knows of is lost, not new.
    pub(super) fn of(declared: &[Declared<'_>], memory: &GateMemory, denials: &[Denial]) -> Self {
        let mut all: Vec<Member> = declared.iter().map(Member::declared).collect();
        let mut lost: BTreeSet<String> = denials
            .iter()
            .map(|denial| &denial.policy)
            .filter(|name| !memory.policies.contains_key(*name) && !all.iter().any(|member| member.name == **name))
            .cloned()
            .collect();
        for (name, remembered) in &memory.policies {
            if all.iter().any(|member| member.name == *name) {
                continue;
            }
            match &remembered.enforced {
                Some(enforced) => all.push(Member {
                    name: name.clone(),
                    form: enforced.form(name).to_owned(),
                    unusable: None,
                    is_gone: true,
                }),
                None if is_enforced(remembered) => _ = lost.insert(name.clone()),
                None => {}
            }
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Self { all, lost }
    }

    /// Whether an approval of this digest can mean anything: something was held for it, or a record could be made anew by it.
    pub(super) fn waits_for(&self, memory: &GateMemory, digest: Digest) -> bool {
        let held = memory.policies.values().filter_map(|kept| kept.progress.as_ref());
        let recovers = |member: &Member| {
            let last = memory.policies.get(&member.name).and_then(|kept| kept.history.head());
            recovery_digest(&member.name, member.declares().digest(), last) == digest
        };
        held.flat_map(|progress| &progress.held).any(|held| *held == digest) || self.all.iter().any(recovers)
    }
}

/// Whether anything that is remembered says that the policy denies somewhere.
fn is_enforced(remembered: &Remembered) -> bool {
    !remembered.history.in_force().enforced.is_empty()
        || remembered.progress.as_ref().is_some_and(|progress| !progress.enforced.is_empty())
}

impl Member {
    fn declared(declared: &Declared<'_>) -> Self {
        let spec = declared.policy.spec.clone();
        let keys = match &declared.compiled {
            Ok(compiled) => keys(declared.policy, compiled),
            Err(_) => BTreeMap::new(),
        };
        Self {
            name: declared.policy.metadata.name.clone().unwrap_or_default(),
            form: Form { spec, keys },
            unusable: declared.compiled.as_ref().err().cloned(),
            is_gone: false,
        }
    }

    /// The form it is declared in.
    pub(super) fn declares(&self) -> PolicyForm<'_> {
        self.form.of(&self.name)
    }
}

/// The keys that Secrets hold, by the name of the identity.
fn keys(policy: &SigningIdentityPolicy, compiled: &CompiledPolicy) -> BTreeMap<String, SecretKey> {
    let by_secret: BTreeSet<&str> = policy
        .spec
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
