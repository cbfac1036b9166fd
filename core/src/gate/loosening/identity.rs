//! Whether everything one identity may sign, another one may as well.

use std::collections::BTreeMap;

use super::SecretKey;
use crate::api::policy::Identity;
use crate::verify::pattern::IdentityPattern;

/// Identities of a policy, with the keys that Secrets hold.
pub(super) struct Identities<'a> {
    pub(super) declared: &'a [Identity],
    pub(super) keys: &'a BTreeMap<String, SecretKey>,
}

impl Identities<'_> {
    /// Whether one of these provably covers `identity`, whose key, if it is in a Secret, is `key`.
    ///
    /// Whether one expression contains another is not decided: only the same text covers. A name has no say; the gate alone knows identities by it.
    pub(super) fn cover(&self, identity: &Identity, key: Option<&SecretKey>) -> bool {
        self.declared.iter().any(|wide| {
            if identity.key.is_some() || wide.key.is_some() {
                return identity.key == wide.key && self.keys.get(&wide.name) == key;
            }
            wide.issuer == identity.issuer
                && match (&wide.subject, &wide.subject_reg_exp, &identity.subject, &identity.subject_reg_exp) {
                    (Some(wide), None, Some(narrow), None) | (None, Some(wide), None, Some(narrow)) => wide == narrow,
                    (None, Some(wide), Some(narrow), None) => {
                        IdentityPattern::new(wide).is_ok_and(|pattern| pattern.matches(narrow))
                    }
                    _ => false,
                }
        })
    }
}

/// An identity in words.
pub(super) fn words(identity: &Identity) -> String {
    match (&identity.issuer, &identity.subject, &identity.subject_reg_exp) {
        (Some(issuer), Some(subject), _) => format!("`{}` ({subject}, vouched for by {issuer})", identity.name),
        (Some(issuer), None, Some(subject)) => format!("`{}` (/{subject}/, vouched for by {issuer})", identity.name),
        _ => format!("`{}` (a key)", identity.name),
    }
}
