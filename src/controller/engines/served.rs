//! What the API server serves, as it tells everybody.

use std::collections::BTreeSet;

use holdfast_core::engines::Version;
use kube::Client;
use serde::Deserialize;

use super::super::failure::Failed;
use super::super::slim;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Says {
    git_version: String,
}

#[derive(Deserialize)]
struct Groups {
    groups: Vec<Named>,
}

#[derive(Deserialize)]
struct Resources {
    resources: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

/// The groups there are.
pub(super) struct Served<'c> {
    client: &'c Client,
    groups: BTreeSet<String>,
}

impl<'c> Served<'c> {
    /// Asks which groups there are.
    pub(super) async fn ask(client: &'c Client) -> Result<Self, Failed> {
        let found = slim::at::<Groups>(client, "/apis").await?;
        let groups = found.map(|found| found.groups).unwrap_or_default();
        Ok(Self { client, groups: groups.into_iter().map(|group| group.name).collect() })
    }

    /// Whether one of these groups is there.
    pub(super) fn has_group(&self, groups: &[&str]) -> bool {
        groups.iter().any(|group| self.groups.contains(*group))
    }

    /// Whether all these resources are served; where the group is not there, nobody is asked.
    pub(super) async fn has(&self, group: &str, version: &str, plurals: &[&str]) -> Result<bool, Failed> {
        if !self.has_group(&[group]) {
            return Ok(false);
        }
        let found = slim::at::<Resources>(self.client, &format!("/apis/{group}/{version}")).await?;
        let resources = found.map(|found| found.resources).unwrap_or_default();
        Ok(plurals.iter().all(|plural| resources.iter().any(|resource| resource.name == *plural)))
    }
}

/// The version of the API server that answers.
pub(super) async fn version(client: &Client) -> Result<Option<Version>, Failed> {
    let says = slim::at::<Says>(client, "/version").await?;
    Ok(says.and_then(|says| says.git_version.parse().ok()))
}
