//! What Helm leaves in a real cluster: while holdfast is upgraded, rolled back, taken away and installed again, what denies stays guarded.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // a test that cannot go on fails

#[path = "support/chart.rs"]
mod chart_support;
#[path = "support/cluster.rs"]
mod cluster_support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use chart_support::{NAMESPACE, chart, helm, values};
use cluster_support::Cluster;
use serde_json::{Value, json};

const HOLDFAST: &str = "system:serviceaccount:holdfast-system:holdfast";

struct Release<'a> {
    cluster: &'a Cluster,
    helm: &'a Path,
    home: tempfile::TempDir,
}

impl Release<'_> {
    fn try_helm(&self, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new(self.helm)
            .args(["--namespace", NAMESPACE, "--kubeconfig"])
            .arg(self.cluster.kubeconfig())
            .args(arguments)
            .env("HELM_CACHE_HOME", self.home.path())
            .env("HELM_CONFIG_HOME", self.home.path())
            .env("HELM_DATA_HOME", self.home.path())
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    fn helm(&self, arguments: &[&str]) {
        self.try_helm(arguments).unwrap_or_else(|error| panic!("helm {arguments:?}: {error}"));
    }

    fn with_chart(&self, verb: &[&str], more: &[&str]) -> Result<String, String> {
        let (chart, values) = (chart().display().to_string(), values("minimal"));
        self.try_helm(&[verb, &[&chart, "--values", &values], more].concat())
    }

    /// The objects of a kind that are named like ours, by name, with what tells one from another of its name.
    fn there(&self, kind: &str) -> BTreeMap<String, String> {
        let text = self.cluster.admin(&["get", kind, "--all-namespaces", "-o", "json"], "");
        let all: Value = serde_json::from_str(&text).unwrap();
        let of = |one: &Value| {
            let text = |field: &str| one["metadata"][field].as_str().unwrap().to_owned();
            (text("name"), text("uid"))
        };
        all["items"].as_array().unwrap().iter().map(of).filter(|(name, _)| name.contains("holdfast")).collect()
    }

    fn guards(&self) -> BTreeMap<String, String> {
        let mut all = self.there("validatingadmissionpolicies");
        all.extend(
            self.there("validatingadmissionpolicybindings")
                .into_iter()
                .map(|(name, uid)| (format!("{name} bound"), uid)),
        );
        all
    }
}

#[test]
fn what_guards_what_denies_outlives_the_release() {
    let Some(helm) = helm() else { return };
    let Some(cluster) = Cluster::up() else { return };
    let release = Release { cluster: &cluster, helm: &helm, home: tempfile::tempdir().unwrap() };
    // What this cluster comes with is nobody's.
    let kinds: Vec<String> = release.there("customresourcedefinitions").into_keys().collect();
    for kind in &kinds {
        cluster.admin(&["delete", "customresourcedefinition", kind], "");
    }
    release.with_chart(&["install", "holdfast"], &["--create-namespace"]).unwrap();
    let guards = release.guards();
    assert!(guards.len() >= 20, "{guards:?}");
    let memory = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "holdfast-policy-apps", "namespace": NAMESPACE, "labels": {"holdfast.dev/memory": "policy"}},
    });
    let verified = json!({
        "apiVersion": "holdfast.dev/v1alpha1", "kind": "VerifiedImages", "metadata": {"name": "holdfast-verified-00-ff"},
        "spec": {"data": {}},
    });
    for object in [&memory, &verified] {
        cluster.until("holdfast writes", |cluster| {
            cluster.kubectl(Some(HOLDFAST), &["create", "-f", "-"], &object.to_string()).ok
        });
    }
    let are_guarded = || {
        let memory = ["delete", "configmap", "holdfast-policy-apps", "-n", NAMESPACE];
        let verified = [
            "patch",
            "verifiedimages",
            "holdfast-verified-00-ff",
            "--type=merge",
            "-p",
            r#"{"spec":{"data":{"aa.apps":"x"}}}"#,
        ];
        for arguments in [&memory[..], &verified[..]] {
            cluster.until("nobody else may change it", |cluster| {
                let answer = cluster.kubectl(None, &[arguments, &["--dry-run=server"]].concat(), "");
                !answer.ok && answer.err.contains("holdfast-guard-")
            });
        }
    };
    are_guarded();

    release.with_chart(&["upgrade", "holdfast"], &["--set", "replicas=1"]).unwrap();
    release.helm(&["rollback", "holdfast", "1"]);
    assert_eq!(release.guards(), guards, "none was away for a moment");

    let kinds = release.there("customresourcedefinitions");
    release.helm(&["uninstall", "holdfast"]);
    assert!(release.there("deployments").is_empty() && release.there("clusterroles").is_empty());
    assert_eq!((release.guards(), release.there("verifiedimages").len()), (guards.clone(), 1));
    are_guarded();

    release.with_chart(&["install", "holdfast"], &[]).unwrap();
    assert_eq!((release.guards(), release.there("customresourcedefinitions").len()), (guards, kinds.len()));
    assert_eq!(release.there("deployments").len(), 1, "it goes on where it was");
    // Whoever wants them gone says so before.
    release.with_chart(&["upgrade", "holdfast"], &["--set", "guards.keep=false"]).unwrap();
    release.helm(&["uninstall", "holdfast"]);
    assert!(release.guards().is_empty());
    assert!(!kinds.is_empty() && release.there("customresourcedefinitions") == kinds, "the definitions stay");
}
