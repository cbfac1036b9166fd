//! What a person reads of policies in their own right: what holdfast remembers of them, and what they would be with the keys that Secrets hold.

use std::collections::BTreeMap;

use holdfast_core::api::SigningIdentityPolicy;
use holdfast_core::operate::policy::Member;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};

use super::coverage::compiled;
use super::failure::{Failed, within};
pub(crate) use super::policy::Recalled;
use super::policy::written_down;
use super::secrets::Reader;
use super::store::Store;

/// What is remembered of one policy, or of every one, also of those that are no longer declared.
///
/// # Errors
/// [`Failed`], where one could not look.
pub(crate) async fn remembered(
    client: &Client,
    namespace: &str,
    only: Option<&str>,
) -> Result<BTreeMap<String, Recalled>, Failed> {
    written_down(Store::new(client.clone(), namespace), only).await
}

/// A policy as it is declared, with the keys its Secret references name.
///
/// # Errors
/// [`Failed`], where a key could not be asked for, or whoever asks may not read it: that says nothing of whether holdfast may.
pub(crate) async fn member(client: &Client, namespace: &str, policy: &SigningIdentityPolicy) -> Result<Member, Failed> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let keys = policy.spec.identities.iter().filter_map(|identity| identity.key.as_ref()?.secret_ref.as_ref());
    for reference in keys {
        within("read", &format!("Secret {namespace}/{}", reference.name), secrets.get_metadata_opt(&reference.name))
            .await?;
    }
    let reader = Reader { client: client.clone(), own: namespace.to_owned() };
    let ready = compiled(&reader, policy).await?;
    let why = |problems: &Vec<_>| problems.iter().map(ToString::to_string).collect::<Vec<String>>().join("; ");
    Ok(Member::declared(policy, ready.as_ref().map_err(why)))
}
