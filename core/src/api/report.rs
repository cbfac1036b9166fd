//! `BundleCoverageReport`: would each running image pass?

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{CaBundleRef, Condition, NamespaceSelector, SecretRef};
use super::duration::GoDuration;

/// What is scanned, where evidence is looked for, and where the result goes.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "holdfast.dev",
    version = "v1alpha1",
    kind = "BundleCoverageReport",
    plural = "bundlecoveragereports",
    shortname = "bcr",
    category = "holdfast",
    doc = "Which running images would pass, which would not, why, and whose they are.",
    status = "BundleCoverageReportStatus",
    derive = "PartialEq",
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Coverage", type_ = "string", json_path = ".status.totals.ratio"),
    printcolumn(name = "Covered", type_ = "integer", json_path = ".status.totals.covered"),
    printcolumn(name = "Uncovered", type_ = "integer", json_path = ".status.totals.uncovered"),
    printcolumn(name = "Unknown", type_ = "integer", json_path = ".status.totals.unknown"),
    printcolumn(name = "Complete", type_ = "string", json_path = r#".status.conditions[?(@.type=="Complete")].status"#),
    printcolumn(name = "Scanned", type_ = "date", json_path = ".status.scan.finishedAt"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("size(self.metadata.name) <= 63").message("the name becomes a label value: use at most 63 characters")
)]
#[kube(cel)]
#[serde(rename_all = "camelCase")]
pub struct BundleCoverageReportSpec {
    /// Which namespaces.
    #[serde(default)]
    pub namespace_selector: NamespaceSelector,
    /// How often everything is scanned.
    #[serde(default = "hour")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1m')").message("`interval` is at least 1m, so that registries are not hammered"))]
    pub interval: GoDuration,
    /// Whether templates that run nothing now are judged too.
    #[serde(default = "yes")]
    pub include_templates: bool,
    /// The only registries that are ever asked.
    #[serde(default)]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self.all(r, self.exists_one(s, s.prefix == r.prefix))").message("every prefix is declared once"))]
    pub registries: Vec<Registry>,
    /// Where the result goes besides status.
    #[serde(default)]
    pub publish: Publish,
}

fn hour() -> GoDuration {
    GoDuration::hours(1)
}

const fn yes() -> bool {
    true
}

/// A registry that may be asked.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Registry {
    /// Host, port and whole path segments.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new("!self.contains('://') && !self.contains('*')").message("`prefix` is a host with an optional port and path, without https:// and wildcards"))]
    pub prefix: String,
    /// Where it is really asked, inside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new("!self.contains('://')").message("`mirror` is a host with an optional port and path, without https://"))]
    pub mirror: Option<String>,
    /// A pull secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_secret_ref: Option<SecretRef>,
    /// Who vouches for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle_ref: Option<CaBundleRef>,
    /// Where the registry hands out tokens, if not on its own host: credentials go there and to the registry, and nowhere else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = Rule::new("self.startsWith('https://') || self.startsWith('http://')").message("`tokenUrl` starts with https:// or http://"))]
    #[x_kube(validation = Rule::new("!self.contains('@') && !self.contains('?') && !self.contains('#')").message("`tokenUrl` is an address without credentials, query and fragment; credentials belong into pull secrets"))]
    pub token_url: Option<String>,
    /// Hosts, with a port where it is not the usual one, that the registry may send readers to for what it stores. No credentials go there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(min = 1, max = 261)))]
    #[x_kube(validation = Rule::new("self.all(host, !host.contains('/') && !host.contains('@') && !host.contains('*'))").message("`redirectHosts` are hosts as `storage.corp.internal` or `storage.corp.internal:9000`: neither addresses nor patterns"))]
    pub redirect_hosts: Vec<String>,
    /// How many requests at once.
    #[serde(default = "eight")]
    #[schemars(range(min = 1, max = 64))]
    pub max_in_flight: u8,
    /// Whether the pods' own pull secrets may be used for it.
    #[serde(default)]
    pub use_pod_pull_secrets: bool,
    /// Whether it is asked without TLS.
    #[serde(default)]
    pub plain_http: bool,
}

const fn eight() -> u8 {
    8
}

/// Where the result goes besides status.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Publish {
    /// As OpenReports (`Report`, `ClusterReport`) where the cluster serves them, else as `PolicyReport` and `ClusterPolicyReport`.
    pub open_reports: bool,
    /// In the namespaces: one report for each workload, in its namespace, which goes when the workload goes. Else reports of the cluster, one for each
    /// namespace.
    pub per_namespace: bool,
}

impl Default for Publish {
    fn default() -> Self {
        Self { open_reports: true, per_namespace: true }
    }
}

/// What holdfast last saw.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct BundleCoverageReportStatus {
    /// The generation this describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The last scan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scan: Option<ScanStatus>,
    /// Images by outcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub totals: Option<TotalsStatus>,
    /// Images by reason.
    #[schemars(length(max = 64))]
    #[serde(default)]
    pub by_reason: Vec<ReasonStatus>,
    /// Images by namespace, the worst first.
    #[schemars(length(max = 64))]
    #[serde(default)]
    pub by_namespace: Vec<NamespaceStatus>,
    /// The images that concern most workloads.
    #[schemars(length(max = 32))]
    #[serde(default)]
    pub worst: Vec<WorstStatus>,
    /// One line a day.
    #[schemars(length(max = 90))]
    #[serde(default)]
    pub history: Vec<HistoryStatus>,
    /// Ready, Complete, Fresh.
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    #[serde(default)]
    pub conditions: Vec<Condition>,
}

/// The last scan.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ScanStatus {
    /// When it began (RFC 3339).
    pub started_at: String,
    /// When it ended (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<String>,
    /// Whether nothing was left out.
    pub complete: bool,
    /// When the last one ended that left nothing out (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complete_at: Option<String>,
    /// Distinct images.
    pub images: u64,
    /// Workloads.
    pub workloads: u64,
    /// Pods.
    pub pods: u64,
}

/// Images by outcome.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TotalsStatus {
    /// Covered.
    pub covered: u64,
    /// Uncovered.
    pub uncovered: u64,
    /// Unknown.
    pub unknown: u64,
    /// Matched by no policy.
    pub out_of_scope: u64,
    /// Of those in scope, declared by tag: whatever is stored for them, no engine can admit them as they are declared.
    #[serde(default)]
    pub not_admissible_as_declared: u64,
    /// Of those in scope, run by a node from files of its own: the API server cannot refuse them.
    #[serde(default)]
    pub not_admission_controlled: u64,
    /// Covered of all in scope, as `96.6%`.
    pub ratio: String,
}

/// Images of one reason.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
pub struct ReasonStatus {
    /// The reason.
    pub reason: String,
    /// How many.
    pub images: u64,
    /// Whose it is.
    pub owner: String,
}

/// Images of one namespace.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
pub struct NamespaceStatus {
    /// The namespace.
    pub namespace: String,
    /// Covered.
    pub covered: u64,
    /// Uncovered.
    pub uncovered: u64,
    /// Unknown.
    pub unknown: u64,
}

/// An image that concerns many workloads.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
pub struct WorstStatus {
    /// The image.
    pub image: String,
    /// Why.
    pub reason: String,
    /// Whom it concerns.
    #[schemars(length(max = 16))]
    pub workloads: Vec<String>,
    /// Since when (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
}

/// One day.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
pub struct HistoryStatus {
    /// The day.
    pub day: String,
    /// Covered.
    pub covered: u64,
    /// Of how many.
    pub images: u64,
}
