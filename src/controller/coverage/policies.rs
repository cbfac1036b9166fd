//! The policies that images are judged by.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_core::Digest;
use holdfast_core::api::SigningIdentityPolicy;
use holdfast_core::coverage::{CompiledPolicy, PolicyProblem, compile};
use kube::core::DeserializeGuard;
use kube::{Resource, ResourceExt};
use parking_lot::Mutex;

use super::super::failure::Failed;
use super::super::secrets::{Reader, Unread};

/// The policies that can be used, and why others cannot.
#[derive(Debug, Clone, Default)]
pub(crate) struct Policies {
    pub(crate) usable: Vec<CompiledPolicy>,
    pub(crate) unusable: Vec<String>,
}

/// The policies in the forms that are in force, as the last pass over them found it: a scan judges by those.
#[derive(Default)]
pub(crate) struct FormsInForce(Mutex<Option<Arc<Policies>>>);

impl FormsInForce {
    /// What is in force; nothing before the first pass.
    pub(crate) fn now(&self) -> Option<Arc<Policies>> {
        self.0.lock().clone()
    }

    /// Takes note of what is in force; whether that is news.
    pub(crate) fn publish(&self, policies: Policies) -> bool {
        let mut known = self.0.lock();
        let digests = |of: &Policies| -> Vec<(Digest, Vec<String>)> {
            of.usable.iter().map(|policy| (policy.digest, policy.enforced_names())).collect()
        };
        let same = known
            .as_ref()
            .is_some_and(|known| digests(known) == digests(&policies) && known.unusable == policies.unusable);
        if !same {
            *known = Some(Arc::new(policies));
        }
        !same
    }
}

/// Makes every declared policy ready, with the keys that it refers to.
pub(crate) async fn policies(
    reader: &Reader,
    mut declared: Vec<Arc<DeserializeGuard<SigningIdentityPolicy>>>,
) -> Result<Policies, Failed> {
    let mut policies = Policies { usable: Vec::new(), unusable: Vec::new() };
    declared.sort_by_key(|policy| policy.name_any());
    for policy in declared {
        match &policy.0 {
            Err(invalid) => {
                let name = policy.meta().name.as_deref().unwrap_or_default();
                policies.unusable.push(format!("SigningIdentityPolicy `{name}` cannot be read: {}", invalid.error));
            }
            Ok(policy) => match compiled(reader, policy).await? {
                Ok(policy) => policies.usable.push(policy),
                Err(problems) => policies.unusable.extend(problems.iter().map(ToString::to_string)),
            },
        }
    }
    Ok(policies)
}

/// Makes a declared policy ready.
///
/// # Errors
/// [`Failed`], where a key could not be asked for; inside, every problem of the policy.
pub(crate) async fn compiled(
    reader: &Reader,
    policy: &SigningIdentityPolicy,
) -> Result<Result<CompiledPolicy, Vec<PolicyProblem>>, Failed> {
    let keys = keys(reader, policy).await?;
    let key = |reference: &holdfast_core::api::common::SecretRef| {
        let place = (reference.name.clone(), reference.key.clone());
        keys.get(&place).cloned().unwrap_or_else(|| Err("it was not read".to_owned()))
    };
    Ok(compile(policy, &key))
}

type Keys = BTreeMap<(String, Option<String>), Result<Vec<u8>, String>>;

async fn keys(reader: &Reader, policy: &SigningIdentityPolicy) -> Result<Keys, Failed> {
    let mut keys = Keys::new();
    let references = policy.spec.identities.iter().filter_map(|identity| identity.key.as_ref()?.secret_ref.as_ref());
    for reference in references {
        let key = match reader.public_key(reference).await {
            Ok(key) => Ok(key),
            Err(Unread::Unusable(why)) => Err(why),
            Err(Unread::Failed(failed)) => return Err(failed),
        };
        keys.insert((reference.name.clone(), reference.key.clone()), key);
    }
    Ok(keys)
}
