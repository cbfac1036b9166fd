//! Everything that is declared goes, kind by kind, and then what engines were given is waited for.

use std::fmt::Debug;
use std::io::Write;
use std::time::Duration;

use holdfast_core::api::{
    BundleCoverageReport, SigningIdentityPolicy, TrustApproval, TrustBreakGlass, TrustRootMirror,
};
use kube::api::{DeleteParams, ListParams, Preconditions};
use kube::core::{ClusterResourceScope, PartialObjectMeta};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::estate::{Estate, given};
use crate::cli::output::{CliError, printable};
use crate::controller::failure::within;

/// How often it is looked whether something is gone.
const LOOK: Duration = Duration::from_millis(500);
/// How often policies that changed meanwhile are looked at again.
const TRIES: usize = 5;

/// What became of it.
pub(super) enum Went {
    /// Nothing is left that holdfast writes.
    Gone,
    /// A policy came to be enforced meanwhile.
    Enforced(Box<Estate>),
    /// This is still there.
    Left(Vec<String>),
}

/// Deletes what is declared, and waits until holdfast has taken its objects away.
pub(super) async fn go(
    client: &Client,
    namespace: &str,
    patience: Duration,
    out: &mut dyn Write,
) -> Result<Went, CliError> {
    let until = Instant::now() + patience;
    if let Some(enforced) = policies(client, namespace, out).await? {
        return Ok(Went::Enforced(Box::new(enforced)));
    }
    let mut left = gone::<SigningIdentityPolicy>(client, until).await?;
    if left.is_empty() {
        left = delete_all::<BundleCoverageReport>(client, until, out).await?;
    }
    if left.is_empty() {
        left = delete_all::<TrustBreakGlass>(client, until, out).await?;
    }
    if left.is_empty() {
        left = delete_all::<TrustApproval>(client, until, out).await?;
    }
    if left.is_empty() {
        left = delete_all::<TrustRootMirror>(client, until, out).await?;
    }
    if left.is_empty() {
        left = of_engines(client, until).await?;
    }
    Ok(if left.is_empty() { Went::Gone } else { Went::Left(left) })
}

/// Deletes every policy in the version in which it was seen not to be enforced; what was, otherwise.
async fn policies(client: &Client, namespace: &str, out: &mut dyn Write) -> Result<Option<Estate>, CliError> {
    for _ in 0..TRIES {
        let seen = all::<SigningIdentityPolicy>(client).await?;
        // Looked at after their versions were: what changes from here on is refused.
        let estate = Estate::look(client, namespace).await?;
        if !estate.enforcing.is_empty() {
            return Ok(Some(estate));
        }
        let mut changed = false;
        for policy in &seen {
            changed |= !delete(client, policy, true, out).await?;
        }
        if !changed {
            return Ok(None);
        }
    }
    Err(CliError::Unknown("the policies go on being changed while they are looked at: see who writes them".to_owned()))
}

async fn delete_all<K>(client: &Client, until: Instant, out: &mut dyn Write) -> Result<Vec<String>, CliError>
where
    K: Resource<DynamicType = (), Scope = ClusterResourceScope> + Clone + DeserializeOwned + Debug,
{
    for object in all::<K>(client).await? {
        delete(client, &object, false, out).await?;
    }
    gone::<K>(client, until).await
}

/// Deletes one object; whether it was the one that was seen, and where `as_seen`, in the version that was.
async fn delete<K>(
    client: &Client,
    object: &PartialObjectMeta<K>,
    as_seen: bool,
    out: &mut dyn Write,
) -> Result<bool, CliError>
where
    K: Resource<DynamicType = (), Scope = ClusterResourceScope> + Clone + DeserializeOwned + Debug,
{
    if object.metadata.deletion_timestamp.is_some() {
        return Ok(true);
    }
    let api: Api<K> = Api::all(client.clone());
    let (name, kind) = (object.name_any(), K::kind(&()));
    let preconditions =
        Preconditions { uid: object.uid(), resource_version: object.resource_version().filter(|_| as_seen) };
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    match within("delete", &format!("{kind} `{name}`"), api.delete(&name, &params)).await {
        Ok(_) => writeln!(out, "deleted {kind} {}", printable(&name))?,
        Err(failed) if failed.is_gone() => {}
        Err(failed) if failed.is_conflict() => return Ok(false),
        Err(failed) => return Err(failed.into()),
    }
    Ok(true)
}

async fn all<K>(client: &Client) -> Result<Vec<PartialObjectMeta<K>>, CliError>
where
    K: Resource<DynamicType = (), Scope = ClusterResourceScope> + Clone + DeserializeOwned + Debug,
{
    let api: Api<K> = Api::all(client.clone());
    Ok(within("list", &K::plural(&()), api.list_metadata(&ListParams::default())).await?.items)
}

/// Waits until no object of the kind is left; what is.
async fn gone<K>(client: &Client, until: Instant) -> Result<Vec<String>, CliError>
where
    K: Resource<DynamicType = (), Scope = ClusterResourceScope> + Clone + DeserializeOwned + Debug,
{
    loop {
        let left = all::<K>(client).await?;
        if left.is_empty() || Instant::now() >= until {
            return Ok(left.iter().map(|object| format!("{}/{}", K::kind(&()), object.name_any())).collect());
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Waits until engines hold nothing of holdfast's; what they hold.
async fn of_engines(client: &Client, until: Instant) -> Result<Vec<String>, CliError> {
    loop {
        let left = given(client).await?;
        if left.is_empty() || Instant::now() >= until {
            return Ok(left.into_iter().map(|(name, _)| name).collect());
        }
        tokio::time::sleep(LOOK).await;
    }
}
