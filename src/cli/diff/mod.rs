//! `holdfast diff`: what an edited policy would admit more than the one that is enforced, and who may allow it.

mod compare;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::PathBuf;

use clap::Args as ClapArgs;
use holdfast_core::api::SigningIdentityPolicy;
use holdfast_core::api::strict::Object;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use serde::Serialize;

use self::compare::{Compared, Ground};
use super::agree::whoami;
use super::cluster::{Cluster, list, wait};
use super::output::{CliError, Exit, Format, Style, now};
use crate::controller::failure::within;
use crate::controller::reading::{member, remembered};
use crate::inventory;

#[derive(ClapArgs)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct Args {
    /// Manifests with the edited policies: files or directories. Without any, the policies as the cluster has them declared
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// What the deletion of this SigningIdentityPolicy would take; may be repeated
    #[arg(long, value_name = "POLICY")]
    delete: Vec<String>,

    #[command(flatten)]
    cluster: Cluster,

    /// How to print the result
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

const EXAMPLES: &str = "\
EXAMPLES
  holdfast diff clusters/prod/policies.yaml
  holdfast diff
  holdfast diff --delete apps

The exit code is 1 where something would be held until somebody agrees; 3 where one could not look.";

/// All that is said.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    policies: Vec<Compared>,
    /// Policies that are enforced and are not among the manifests.
    not_given: Vec<String>,
    /// What could not be seen.
    notes: Vec<String>,
}

impl Answer {
    fn exit(&self) -> Exit {
        if self.policies.iter().any(Compared::is_looser) {
            Exit::No
        } else if self.policies.iter().any(|policy| policy.unknown.is_some()) {
            Exit::Unknown
        } else {
            Exit::Yes
        }
    }
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<Exit, CliError> {
    let edited = if args.paths.is_empty() { Vec::new() } else { edited(&args.paths)? };
    let (answer, by) = wait(of_cluster(args, edited))?;
    if !args.output.print(&answer, out)? {
        text::print(&answer, by.as_deref(), now(None), Style::stdout(), out)?;
    }
    Ok(answer.exit())
}

fn edited(paths: &[PathBuf]) -> Result<Vec<SigningIdentityPolicy>, CliError> {
    let found = inventory::read(paths).map_err(CliError::several)?;
    let policies = found.objects.into_iter().filter_map(|(_, object)| match object {
        Object::SigningIdentityPolicy(policy) => Some(*policy),
        _ => None,
    });
    let policies: Vec<SigningIdentityPolicy> = policies.collect();
    if policies.is_empty() {
        return Err(CliError::usage("no SigningIdentityPolicy is among the manifests"));
    }
    Ok(policies)
}

async fn of_cluster(args: &Args, edited: Vec<SigningIdentityPolicy>) -> Result<(Answer, Option<String>), CliError> {
    let client = args.cluster.client().await?;
    let namespace = args.cluster.namespace.as_str();
    let mut notes = Vec::new();
    let of_cluster = args.paths.is_empty() && args.delete.is_empty();
    let policies = if of_cluster {
        let (declared, unreadable) = list::<SigningIdentityPolicy>(&client).await?;
        notes.extend(unreadable);
        declared
    } else {
        edited
    };
    let kept = remembered(&client, namespace, None).await?;
    let labels = labels(&client, &mut notes).await;
    let ground = Ground { remembered: &kept, labels: labels.as_ref() };
    let mut compared = Vec::new();
    for policy in &policies {
        compared.push(match member(&client, namespace, policy).await {
            Ok(member) if member.leaves => ground.deleted(&member.name),
            Ok(member) => ground.edited(&member, of_cluster),
            // The digest of a form hangs on the keys that Secrets hold.
            Err(failed) => Compared::unknown(&policy.name_any(), failed.to_string()),
        });
    }
    compared.extend(args.delete.iter().map(|name| ground.deleted(name)));
    let given: BTreeSet<&str> = compared.iter().map(|compared| compared.policy.as_str()).collect();
    let enforced = kept.iter().filter(|(_, kept)| kept.gate.is_enforced()).map(|(name, _)| name);
    let not_given = enforced.filter(|name| !given.contains(name.as_str())).cloned().collect();
    let by = whoami(&client).await;
    Ok((Answer { not_given, policies: compared, notes }, by))
}

/// The labels of namespaces; where they may not be listed, changes are judged by the selectors alone.
async fn labels(client: &Client, notes: &mut Vec<String>) -> Option<BTreeMap<String, BTreeMap<String, String>>> {
    let api: Api<Namespace> = Api::all(client.clone());
    match within("list", "namespaces", api.list_metadata(&ListParams::default())).await {
        Ok(found) => Some(found.items.iter().map(|one| (one.name_any(), one.labels().clone())).collect()),
        Err(failed) => {
            notes.push(format!("which namespaces a selector leaves out is not known: {failed}"));
            None
        }
    }
}
