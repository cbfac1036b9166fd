//! `TrustRootMirror`: which trust this cluster holds.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{CaBundleRef, ConfigMapRef, HexDigest, NamespaceSelector, SecretRef};
use super::duration::GoDuration;
pub use super::mirror_status::*;
use crate::Digest;

/// Where a trust root comes from, what is demanded of it, and where it goes.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "holdfast.dev",
    version = "v1alpha1",
    kind = "TrustRootMirror",
    plural = "trustrootmirrors",
    shortname = "trm",
    category = "holdfast",
    doc = "A trust root that is verified, remembered and operated in this cluster.",
    status = "TrustRootMirrorStatus",
    derive = "PartialEq",
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Fresh", type_ = "string", json_path = r#".status.conditions[?(@.type=="Fresh")].status"#),
    printcolumn(name = "Root", type_ = "integer", json_path = ".status.roles.root.version", priority = 1),
    printcolumn(name = "Timestamp", type_ = "integer", json_path = ".status.roles.timestamp.version", priority = 1),
    printcolumn(name = "Good until", type_ = "string", json_path = ".status.expiryBudget.until"),
    printcolumn(name = "Cause", type_ = "string", json_path = ".status.expiryBudget.cause"),
    printcolumn(name = "Rotation", type_ = "string", json_path = r#".status.conditions[?(@.type=="RotationPending")].reason"#),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("size(self.metadata.name) <= 63").message("the name becomes a label value: use at most 63 characters")
)]
#[kube(cel)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.bootstrap) == (has(self.source.oci) || has(self.source.http) || has(self.source.configMap) || has(self.source.volume))")
    .message("a TUF source (oci, http, configMap, volume) needs `bootstrap` with the root to start from; trustedRoot and keys have none"))]
pub struct TrustRootMirrorSpec {
    /// Where it comes from: exactly one.
    pub source: TrustSource,
    /// The root everything starts from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bootstrap: Option<Bootstrap>,
    /// How often the source is read.
    #[serde(default = "default_interval")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1m')").message("`interval` is at least 1m, so that a source is not hammered"))]
    pub interval: GoDuration,
    /// How old trust may get.
    #[serde(default)]
    pub freshness: Freshness,
    /// How new key material comes into force.
    #[serde(default)]
    pub rotation: Rotation,
    /// Where the trust goes.
    #[serde(default)]
    pub distribution: Distribution,
    /// Leave everything as it is.
    #[serde(default)]
    pub suspend: bool,
}

fn default_interval() -> GoDuration {
    GoDuration::minutes(10)
}

/// Where a trust root comes from: exactly one of the fields.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.oci), has(self.http), has(self.configMap), has(self.volume), has(self.trustedRoot), has(self.keys)].filter(x, x).size() == 1")
    .message("give exactly one of oci, http, configMap, volume, trustedRoot and keys"))]
pub struct TrustSource {
    /// An artifact in a registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oci: Option<OciSource>,
    /// A TUF mirror.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpSource>,
    /// A ConfigMap with the repository's files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapRef>,
    /// A directory mounted into the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<VolumeSource>,
    /// A bare `trusted_root.json`, without TUF: nothing says how old it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trusted_root: Option<TrustedRootSource>,
    /// Single authorities, logs and keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<KeysSource>,
}

/// An artifact in a registry.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct OciSource {
    /// Its reference.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new("!self.contains('://')").message("`ref` is a reference as `registry.corp.internal/trust/root:current`, without https://"))]
    pub r#ref: String,
    /// A pull secret, in holdfast's namespace. Secrets are read when the source is, and not watched: one that was corrected counts from the next look at the source
    /// on, at the latest after `interval`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_secret_ref: Option<SecretRef>,
    /// Who vouches for the registry, its token service and its storage.
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
    /// Whether the registry is spoken to without TLS. What is read is verified all the same; a pull secret then crosses the network in the clear.
    #[serde(default)]
    pub plain_http: bool,
}

/// A TUF mirror behind an address.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct HttpSource {
    /// Where the metadata is.
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = Rule::new("self.startsWith('https://') || self.startsWith('http://')").message("`url` starts with https:// or http://"))]
    #[x_kube(validation = Rule::new("!self.contains('@')").message("credentials do not belong into an address; use pull secrets or a mirror without them"))]
    pub url: String,
    /// Where the targets are, if not in `targets/` below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = Rule::new("self.startsWith('https://') || self.startsWith('http://')").message("`targetsUrl` starts with https:// or http://"))]
    pub targets_url: Option<String>,
    /// Who vouches for the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle_ref: Option<CaBundleRef>,
}

/// A directory mounted into the operator.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
pub struct VolumeSource {
    /// Its path.
    #[schemars(length(min = 2, max = 4096))]
    #[x_kube(validation = Rule::new("self.startsWith('/') && !self.contains('/../') && !self.endsWith('/..')").message("`path` is absolute and has no `..`"))]
    pub path: String,
}

/// A bare `trusted_root.json`.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TrustedRootSource {
    /// The ConfigMap that holds it.
    pub config_map: ConfigMapRef,
    /// The SHA-256 it has to have.
    pub sha256: HexDigest,
}

/// Single authorities, logs and keys, in PEM.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("size(self.certificateAuthorities) + size(self.transparencyLogs) + size(self.ctLogs) + size(self.timestampAuthorities) + size(self.publicKeys) > 0")
    .message("`keys` lists at least one authority, log or key"))]
pub struct KeysSource {
    /// Who may issue signing certificates.
    #[serde(default)]
    #[schemars(length(max = 32))]
    pub certificate_authorities: Vec<AuthorityKey>,
    /// Logs of signatures.
    #[serde(default)]
    #[schemars(length(max = 32))]
    pub transparency_logs: Vec<LogKey>,
    /// Logs of certificates.
    #[serde(default)]
    #[schemars(length(max = 32))]
    pub ct_logs: Vec<LogKey>,
    /// Who may issue timestamps.
    #[serde(default)]
    #[schemars(length(max = 32))]
    pub timestamp_authorities: Vec<AuthorityKey>,
    /// Keys that sign by themselves.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub public_keys: Vec<PublicKey>,
}

/// A certificate or timestamp authority.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AuthorityKey {
    /// Its certificates, PEM, from the issuing one up to the root.
    #[schemars(length(min = 1, max = 65536))]
    pub certificate_chain: String,
    /// First instant that counts (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 35))]
    pub from: Option<String>,
    /// Last instant that counts (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 35))]
    pub until: Option<String>,
}

/// A log.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct LogKey {
    /// Its public key, PEM.
    #[schemars(length(min = 1, max = 8192))]
    pub public_key: String,
    /// Its address, as signers know it; never dialled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub base_url: Option<String>,
    /// The origin of its checkpoints; needed for Rekor v2, whose identifier is made from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub origin: Option<String>,
    /// First instant that counts (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 35))]
    pub from: Option<String>,
    /// Last instant that counts (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 35))]
    pub until: Option<String>,
}

/// A key that signs by itself.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PublicKey {
    /// The name policies know it by.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// PEM.
    #[schemars(length(min = 1, max = 8192))]
    pub public_key: String,
    /// First instant that counts (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 35))]
    pub from: Option<String>,
    /// Last instant that counts (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 35))]
    pub until: Option<String>,
}

/// The root everything starts from, agreed on out of band.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Bootstrap {
    /// The SHA-256 of the root.
    #[serde(rename = "rootSHA256")]
    pub root_sha256: HexDigest,
    /// The ConfigMap that holds it.
    pub config_map: ConfigMapRef,
}

/// How old trust may get.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Freshness {
    /// How long past its expiry the timestamp still counts; nothing else has a grace.
    #[x_kube(validation = Rule::new("duration(self) <= duration('336h')").message("`grace` is at most 336h (14 days)"))]
    #[serde(default)]
    pub grace: GoDuration,
    /// How long a timestamp version counts from when it was first accepted here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<GoDuration>,
    /// What happens past that.
    #[serde(default)]
    pub on_stale: OnStale,
    /// How long before an end it is alarmed.
    #[serde(default = "two_weeks")]
    pub warn_before: GoDuration,
}

impl Default for Freshness {
    fn default() -> Self {
        Self { grace: GoDuration::default(), max_age: None, on_stale: OnStale::Alert, warn_before: two_weeks() }
    }
}

const fn two_weeks() -> GoDuration {
    GoDuration::hours(336)
}

/// What happens once trust is stale.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnStale {
    /// An alarm; promotion is blocked.
    #[default]
    Alert,
    /// Besides, the local repository is no longer signed anew, so that engines that read it close by themselves.
    FailClosed,
}

/// How new key material comes into force.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Rotation {
    /// Whether a person has to approve.
    pub approval: RotationApproval,
    /// The digest of the candidate that is approved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approved_digest: Option<Digest>,
    /// How many images may stop verifying under an automatic rotation. It waits until a report that looks at everything has judged them by what comes; one
    /// that could not be judged counts as one that may.
    #[schemars(range(max = 100_000))]
    pub max_newly_failing: u32,
    /// How long what goes is distributed beside what comes.
    pub removal_grace: GoDuration,
}

impl Default for Rotation {
    fn default() -> Self {
        Self {
            approval: RotationApproval::Required,
            approved_digest: None,
            max_newly_failing: 0,
            removal_grace: GoDuration::hours(72),
        }
    }
}

/// Whether a person has to approve a rotation.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RotationApproval {
    /// Yes.
    #[default]
    Required,
    /// No.
    Automatic,
}

/// Where the trust goes.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Distribution {
    /// A TUF repository inside the cluster, signed with the cluster's own keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tuf_repository: Option<TufRepository>,
    /// policy-controller's form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_controller: Option<PolicyControllerTrust>,
    /// ConfigMaps in selected namespaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_maps: Option<ConfigMapDistribution>,
}

/// The in-cluster repository.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TufRepository {
    /// How long its timestamps are valid.
    #[serde(default = "day")]
    pub timestamp_validity: GoDuration,
    /// How long its root is valid.
    #[serde(default = "year")]
    pub root_validity: GoDuration,
}

fn day() -> GoDuration {
    GoDuration::hours(24)
}

fn year() -> GoDuration {
    GoDuration::hours(8760)
}

/// policy-controller's `TrustRoot`.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PolicyControllerTrust {
    /// The name of the object.
    #[schemars(length(min = 1, max = 63))]
    pub trust_root_name: String,
}

/// ConfigMaps with `trusted_root.json`.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapDistribution {
    /// In which namespaces.
    pub namespace_selector: NamespaceSelector,
    /// Under which name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}
