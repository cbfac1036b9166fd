//! Histories from a cluster, or from a file that was exported.

use std::path::Path;
use std::time::Duration;

use holdfast_core::api::SigningIdentityPolicy;
use holdfast_core::json;
use holdfast_core::operate::policy::Remembered;
use kube::{Client, ResourceExt};

use super::model::{PolicyHistory, Standing, Told};
use crate::cli::cluster::{Cluster, list};
use crate::cli::output::{CliError, printable};
use crate::controller::reading::remembered;
use crate::sources::file;

/// The largest file, in bytes.
const MAX_FILE: u64 = 64 * 1024 * 1024;
/// What is written down is in two objects: where one is read before and the other after a step, they are read again.
const TRIES: usize = 4;
const BETWEEN: Duration = Duration::from_millis(400);

pub(super) async fn of_cluster(cluster: &Cluster, only: Option<&str>) -> Result<Told, CliError> {
    let client = cluster.client().await?;
    let mut told = now(&client, &cluster.namespace, only).await?;
    for _ in 1..TRIES {
        if !told.policies.iter().any(|policy| matches!(policy.standing, Standing::Broken { .. })) {
            break;
        }
        tokio::time::sleep(BETWEEN).await;
        told = now(&client, &cluster.namespace, only).await?;
    }
    match only {
        Some(name) if told.policies.is_empty() => Err(CliError::usage(format!(
            "nothing is remembered of a SigningIdentityPolicy `{name}` in the namespace {}: see `holdfast history` for those that are, and --namespace",
            cluster.namespace
        ))),
        _ => Ok(told),
    }
}

async fn now(client: &Client, namespace: &str, only: Option<&str>) -> Result<Told, CliError> {
    let found = remembered(client, namespace, only).await?;
    let mut policies: Vec<PolicyHistory> =
        found.iter().map(|(name, of)| PolicyHistory::of(name, &of.gate, of.fault.as_deref())).collect();
    let (declared, _) = list::<SigningIdentityPolicy>(client).await?;
    for policy in declared.iter().filter(|policy| only.is_none_or(|only| policy.name_any() == only)) {
        let name = policy.name_any();
        let phase = policy.status.as_ref().and_then(|status| Some(status.enforcement.as_ref()?.phase.as_str()));
        let Some(phase) = phase.filter(|phase| *phase != "Audit" && !found.contains_key(&name)) else { continue };
        let mut lost = PolicyHistory::of(&name, &Remembered::default(), None);
        lost.standing =
            Standing::Broken { why: format!("the status of the policy says {phase}, and nothing is remembered of it") };
        policies.push(lost);
    }
    Ok(Told { policies })
}

pub(super) fn of_file(path: &Path, only: Option<&str>) -> Result<Told, CliError> {
    let bytes = file::read(path, "an exported history", MAX_FILE)?;
    let limits = json::Limits { max_len: bytes.len(), max_depth: 32 };
    let mut told: Told = json::read(&bytes, limits).map_err(|error| {
        let cure = "give a file that `holdfast history -o json` wrote";
        CliError::usage(format!("{} is no exported history: {error}; {cure}", path.display()))
    })?;
    told.policies.retain(|policy| only.is_none_or(|only| policy.policy == only));
    if told.policies.is_empty() {
        let which = only.map_or_else(String::new, |only| format!(" of `{}`", printable(only)));
        return Err(CliError::usage(format!("{} holds no history{which}", path.display())));
    }
    for policy in &mut told.policies {
        policy.standing = policy.found();
    }
    Ok(told)
}
