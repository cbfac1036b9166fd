//! A policy in one form: what it says, and which keys its Secret references named.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::policy::KIND;
use crate::Digest;
use crate::api::SigningIdentityPolicySpec;
use crate::api::policy::Intake;
use crate::pem::pem;
use crate::trust::root::{ManagedKey, Window};

/// The public key that a Secret held when it was read.
///
/// It is kept whole: the form in force has to be judged by and rendered although the Secret holds another key by now, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretKey {
    pem: String,
    digest: Digest,
}

impl SecretKey {
    /// The key in PEM, in one spelling.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// SHA-256 of the key (DER, SubjectPublicKeyInfo).
    pub const fn digest(&self) -> Digest {
        self.digest
    }
}

impl From<&ManagedKey> for SecretKey {
    fn from(key: &ManagedKey) -> Self {
        Self { pem: pem("PUBLIC KEY", &key.key), digest: key.key_digest }
    }
}

impl Serialize for SecretKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.pem)
    }
}

impl<'de> Deserialize<'de> for SecretKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let key = ManagedKey::from_bytes("kept", text.as_bytes(), Window::ALWAYS).map_err(serde::de::Error::custom)?;
        Ok(Self::from(&key))
    }
}

/// A policy in one form.
#[derive(Debug, Clone, Copy)]
pub struct PolicyForm<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it says.
    pub spec: &'a SigningIdentityPolicySpec,
    /// The keys that its Secret references name, by the name of the identity: another key in the same Secret is another identity.
    pub keys: &'a BTreeMap<String, SecretKey>,
}

impl PolicyForm<'_> {
    /// What an approval is bound to that lets this form follow another one, and namespaces go that it no longer selects.
    pub fn change_from(&self, enforced: PolicyForm<'_>, released: &BTreeSet<&str>) -> Digest {
        let (from, to) = (enforced.digest(), self.digest());
        if released.is_empty() {
            return super::change_digest(KIND, self.name, from, to);
        }
        super::narrowing_digest(self.name, from, to, released)
    }

    /// What it says without what is verified ahead: that admits nothing by itself, and changes with every image that somebody has admitted, while an approval
    /// waits or a soak counts.
    pub(in crate::gate) fn spec_without_intake(&self) -> SigningIdentityPolicySpec {
        let mut spec = self.spec.clone();
        if let Some(native) = &mut spec.engines.native {
            native.intake = Intake::default();
        }
        spec
    }

    /// The digest of the form itself, whatever its intake lists.
    pub fn digest(&self) -> Digest {
        let spec = self.spec_without_intake();
        let mut whole = serde_json::json!({"kind": KIND, "name": self.name, "spec": spec});
        if let Some(whole) = whole.as_object_mut().filter(|_| !self.keys.is_empty()) {
            let digests: BTreeMap<&str, Digest> =
                self.keys.iter().map(|(name, key)| (name.as_str(), key.digest())).collect();
            whole.insert("keys".to_owned(), serde_json::json!(digests));
        }
        super::digest::of(&whole)
    }

    /// The form by itself.
    pub fn to_owned(self) -> Form {
        Form { spec: self.spec.clone(), keys: self.keys.clone() }
    }
}

/// What a policy says, with the keys, without its name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Form {
    /// What it says.
    pub spec: SigningIdentityPolicySpec,
    /// The keys its Secret references named, by the name of the identity.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub keys: BTreeMap<String, SecretKey>,
}

impl Form {
    /// The form of the policy of this name.
    pub fn of<'a>(&'a self, name: &'a str) -> PolicyForm<'a> {
        PolicyForm { name, spec: &self.spec, keys: &self.keys }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::policy::NativeEngine;

    fn spec(intake: &[&str]) -> SigningIdentityPolicySpec {
        let text = r#"{"images": ["registry.corp.internal/**"], "identities": [], "trustRoots": ["corp"]}"#;
        let mut spec: SigningIdentityPolicySpec = serde_json::from_str(text).unwrap();
        let images = intake.iter().map(|image| (*image).to_owned()).collect();
        spec.engines.native = Some(NativeEngine { intake: Intake { images } });
        spec
    }

    #[test]
    fn what_is_admitted_ahead_neither_voids_an_approval_nor_starts_a_soak_again() {
        let (keys, before, after) = (BTreeMap::new(), spec(&[]), spec(&["registry.corp.internal/a@sha256:0"]));
        let form = |spec| PolicyForm { name: "apps", spec, keys: &keys };
        assert_eq!(form(&before).digest(), form(&after).digest());
        let subject = crate::gate::subject_digest;
        assert_eq!(subject(form(&before)), subject(form(&after)));
        let mut other = before.clone();
        other.images.push("elsewhere.example/**".to_owned());
        assert_ne!(form(&before).digest(), form(&other).digest());
        assert_ne!(subject(form(&before)), subject(form(&other)));
    }
}
