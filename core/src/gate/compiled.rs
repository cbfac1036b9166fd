//! A form of a policy, made ready to judge and to render with: with the keys it came with, not those that Secrets hold by now.

use super::loosening::PolicyForm;
use crate::api::SigningIdentityPolicy;
use crate::api::common::SecretRef;
use crate::coverage::{CompiledPolicy, PolicyProblem, compile};

/// The policy in this form, as it would be declared and made ready.
///
/// # Errors
/// Every [`PolicyProblem`] there is.
pub fn compiled(form: PolicyForm<'_>) -> Result<(SigningIdentityPolicy, CompiledPolicy), Vec<PolicyProblem>> {
    let policy = SigningIdentityPolicy::new(form.name, form.spec.clone());
    let key = |reference: &SecretRef| {
        let named = form
            .spec
            .identities
            .iter()
            .filter(|identity| identity.key.as_ref().and_then(|key| key.secret_ref.as_ref()) == Some(reference));
        let kept = named.map(|identity| &identity.name).find_map(|name| form.keys.get(name));
        kept.map(|key| key.pem().as_bytes().to_vec()).ok_or_else(|| "its key was not kept with it".to_owned())
    };
    let ready = compile(&policy, &key)?;
    Ok((policy, ready))
}
