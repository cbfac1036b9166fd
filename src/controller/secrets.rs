//! Secrets and CA bundles, read by name when they are needed; none is kept longer than it is used.

use holdfast_core::api::common::{CaBundleRef, SecretRef};
use k8s_openapi::api::core::v1::{ConfigMap, Secret, ServiceAccount};
use kube::{Api, Client};

use super::failure::{Failed, within};
use crate::registry::pull_secret::{Format, PullSecret};
use crate::sources::config_map;

/// Bytes of a CA bundle.
const MAX_CA_BUNDLE: u64 = 1024 * 1024;

/// Why something was not read.
#[derive(Debug)]
pub(crate) enum Unread {
    /// It is not there, may not be read, or is not what it should be: somebody has to change that.
    Unusable(String),
    /// The API server did not say.
    Failed(Failed),
}

/// Reads by name, as whoever the client is.
#[derive(Clone)]
pub(crate) struct Reader {
    /// The API server.
    pub(crate) client: Client,
    /// Holdfast's own namespace.
    pub(crate) own: String,
}

impl Unread {
    fn at(place: &str, detail: impl std::fmt::Display) -> Self {
        Self::Unusable(format!("{place}: {detail}"))
    }
}

impl Reader {
    /// A pull secret of any namespace that holdfast may read it in.
    pub(crate) async fn pull_secret(&self, namespace: &str, name: &str) -> Result<PullSecret, Unread> {
        self.pods_pull_secret(namespace, name, usize::MAX).await
    }

    /// The same of at most `max` bytes, where somebody else says which.
    pub(crate) async fn pods_pull_secret(&self, namespace: &str, name: &str, max: usize) -> Result<PullSecret, Unread> {
        let (secret, place) = self.secret(namespace, name).await?;
        let Some((format, key)) = Format::of_type(secret.type_.as_deref().unwrap_or_default()) else {
            return Err(Unread::at(
                &place,
                "it is no pull secret: make one with `kubectl create secret docker-registry`",
            ));
        };
        let data = secret.data.as_ref().and_then(|data| data.get(key));
        let bytes = data.ok_or_else(|| Unread::at(&place, format!("it has no key `{key}`")))?;
        if bytes.0.len() > max {
            return Err(Unread::at(
                &place,
                format!("it has {} bytes, and at most {max} are read of it", bytes.0.len()),
            ));
        }
        PullSecret::read(&bytes.0, format).map_err(|error| Unread::at(&place, error))
    }

    /// The public key that a policy refers to, in holdfast's own namespace.
    pub(crate) async fn public_key(&self, reference: &SecretRef) -> Result<Vec<u8>, Unread> {
        let (mut secret, place) = self.secret(&self.own, &reference.name).await?;
        let key = reference.key.as_deref().unwrap_or("cosign.pub");
        let data = secret.data.as_mut().and_then(|data| data.remove(key));
        data.map(|bytes| bytes.0).ok_or_else(|| Unread::at(&place, format!("it has no key `{key}`")))
    }

    /// A CA bundle in holdfast's own namespace.
    pub(crate) async fn ca_bundle(&self, reference: &CaBundleRef) -> Result<Vec<u8>, Unread> {
        let place = format!("ConfigMap {}/{}", self.own, reference.name);
        if !is_name(&reference.name) {
            return Err(Unread::at(&place, "no ConfigMap has such a name"));
        }
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.own);
        let object = found(within("read", &place, api.get_opt(&reference.name)).await, &place)?;
        config_map::key(&object, &reference.key, MAX_CA_BUNDLE).map_err(|error| Unread::Unusable(error.to_string()))
    }

    /// The pull secrets that a service account names.
    pub(crate) async fn of_account(&self, namespace: &str, name: &str) -> Result<Vec<String>, Unread> {
        let place = format!("ServiceAccount {namespace}/{name}");
        let api: Api<ServiceAccount> = Api::namespaced(self.client.clone(), namespace);
        let account = found(within("read", &place, api.get_opt(name)).await, &place)?;
        Ok(account.image_pull_secrets.into_iter().flatten().map(|secret| secret.name).collect())
    }

    async fn secret(&self, namespace: &str, name: &str) -> Result<(Secret, String), Unread> {
        let place = format!("Secret {namespace}/{name}");
        if !is_name(name) {
            return Err(Unread::at(&place, "no Secret has such a name"));
        }
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let secret = found(within("read", &place, api.get_opt(name)).await, &place)?;
        Ok((secret, place))
    }
}

/// Whether an object may have this name: what others write is asked of the API server only where it can be.
fn is_name(name: &str) -> bool {
    let inner = |letter: u8| matches!(letter, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
    let outer = |letter: Option<&u8>| letter.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    bytes.len() <= 253 && bytes.iter().copied().all(inner) && outer(bytes.first()) && outer(bytes.last())
}

/// What is not there, or may not be read, is declared wrongly; what the API server does not say is asked again.
fn found<T>(answer: Result<Option<T>, Failed>, place: &str) -> Result<T, Unread> {
    match answer {
        Ok(Some(found)) => Ok(found),
        Ok(None) => Err(Unread::Unusable(format!("{place} is not there: make it, or correct what names it"))),
        Err(failed) if failed.category() == "forbidden" => Err(Unread::at(
            place,
            "holdfast may not read it: put it into holdfast's own namespace, or give it the right in the chart's values",
        )),
        Err(failed) => Err(Unread::Failed(failed)),
    }
}
