//! What verbs share that ask a cluster: which one, and in whose right.

use std::fmt::Debug;
use std::future::Future;
use std::path::PathBuf;

use clap::Args as ClapArgs;
use kube::api::ListParams;
use kube::core::{ClusterResourceScope, DeserializeGuard};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use super::output::CliError;
use crate::controller::client;
use crate::controller::failure::{Failed, within};
use crate::inventory::OWN_NAMESPACE;

/// Which cluster.
#[derive(ClapArgs)]
pub(super) struct Cluster {
    /// Use this kubeconfig [default: that of the environment, else the pod's service account]
    #[arg(long, env = "HOLDFAST_KUBECONFIG", value_name = "FILE")]
    pub(super) kubeconfig: Option<PathBuf>,

    /// Use this context of it
    #[arg(long, env = "HOLDFAST_CONTEXT", value_name = "NAME")]
    pub(super) context: Option<String>,

    /// The namespace holdfast runs in
    #[arg(long, value_name = "NAME", default_value = OWN_NAMESPACE)]
    pub(super) namespace: String,
}

impl Cluster {
    /// A client in the right of whoever asks.
    ///
    /// # Errors
    /// [`CliError`]: there is no way to a cluster.
    pub(super) async fn client(&self) -> Result<Client, CliError> {
        let client = client::plain(self.kubeconfig.as_deref(), self.context.as_deref()).await;
        client.map_err(|error| CliError::usage(error.to_string()))
    }
}

impl From<Failed> for CliError {
    fn from(failed: Failed) -> Self {
        let way_on = match failed.category() {
            "forbidden" => "; ask for the right, or give the kubeconfig of somebody who has it",
            "unavailable" => "; see whether the API server is reached",
            _ => "",
        };
        Self::Unknown(format!("{failed}{way_on}"))
    }
}

/// Waits for what is asked of a cluster.
///
/// # Errors
/// [`CliError`].
pub(super) fn wait<T>(asked: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(asked)
}

/// Every object of one of holdfast's kinds; those that cannot be read are named in the second list.
///
/// # Errors
/// [`CliError`]: one could not look, or the kind is not there.
pub(super) async fn list<K>(client: &Client) -> Result<(Vec<K>, Vec<String>), CliError>
where
    K: Resource<DynamicType = (), Scope = ClusterResourceScope> + Clone + DeserializeOwned + Debug,
{
    let (kind, plural) = (K::kind(&()), K::plural(&()));
    let api: Api<DeserializeGuard<K>> = Api::all(client.clone());
    let found = match within("list", &plural, api.list(&ListParams::default())).await {
        Err(failed) if failed.is_gone() => {
            return Err(CliError::Unknown(
                "the cluster does not have the kinds of holdfast: install them with the chart, or use another --context".to_owned(),
            ));
        }
        found => found?,
    };
    let (mut whole, mut unreadable) = (Vec::new(), Vec::new());
    for object in found {
        let name = object.name_any();
        match object.0 {
            Ok(object) => whole.push(object),
            Err(invalid) => unreadable.push(format!("{kind} `{name}` cannot be read: {}", invalid.error)),
        }
    }
    Ok((whole, unreadable))
}
