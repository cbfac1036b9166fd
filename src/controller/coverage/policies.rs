//! The policies that images are judged by.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_core::api::SigningIdentityPolicy;
use holdfast_core::coverage::{CompiledPolicy, compile};
use kube::core::DeserializeGuard;
use kube::{Resource, ResourceExt};

use super::super::failure::Failed;
use super::super::secrets::{Reader, Unread};

/// The policies that can be used, and why others cannot.
pub(crate) struct Policies {
    pub(crate) usable: Vec<CompiledPolicy>,
    pub(crate) unusable: Vec<String>,
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
            Ok(policy) => {
                let keys = keys(reader, policy).await?;
                let key = |reference: &holdfast_core::api::common::SecretRef| {
                    let place = (reference.name.clone(), reference.key.clone());
                    keys.get(&place).cloned().unwrap_or_else(|| Err("it was not read".to_owned()))
                };
                match compile(policy, &key) {
                    Ok(policy) => policies.usable.push(policy),
                    Err(problems) => policies.unusable.extend(problems.iter().map(ToString::to_string)),
                }
            }
        }
    }
    Ok(policies)
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
