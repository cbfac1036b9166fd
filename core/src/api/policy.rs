//! `SigningIdentityPolicy`: who has to have signed what, and when that is enforced.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{Condition, CoverageCounts, NamespaceSelector, SecretRef};
use super::duration::GoDuration;
use crate::Digest;

/// Which images have to be signed by whom, and how far that is enforced.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "holdfast.dev",
    version = "v1alpha1",
    kind = "SigningIdentityPolicy",
    plural = "signingidentitypolicies",
    shortname = "sip",
    category = "holdfast",
    doc = "Which images have to be signed by whom; rendered for the admission engines, promoted from audit to enforce when proven ready.",
    status = "SigningIdentityPolicyStatus",
    derive = "PartialEq",
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.enforcement.phase"),
    printcolumn(name = "Wave", type_ = "string", json_path = ".status.enforcement.wave"),
    printcolumn(name = "Enforced in", type_ = "integer", json_path = ".status.enforcement.enforcedIn"),
    printcolumn(name = "Covered", type_ = "integer", json_path = ".status.coverage.covered"),
    printcolumn(name = "Uncovered", type_ = "integer", json_path = ".status.coverage.uncovered"),
    printcolumn(name = "Unknown", type_ = "integer", json_path = ".status.coverage.unknown"),
    printcolumn(name = "Engines", type_ = "string", json_path = ".status.engineNames"),
    printcolumn(name = "Blocked by", type_ = "string", json_path = ".status.enforcement.blockedBy"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("size(self.metadata.name) <= 63").message("the name becomes a label value: use at most 63 characters")
)]
#[kube(cel)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.identities.all(i, has(i.key)) || size(self.trustRoots) > 0")
    .message("`trustRoots` names at least one TrustRootMirror: certificates are verified against it"))]
pub struct SigningIdentityPolicySpec {
    /// Image patterns: `*` stays within a path segment, `**` crosses segments. The host is never a pattern.
    #[schemars(length(min = 1, max = 128), inner(length(min = 1, max = 512)))]
    #[x_kube(validation = Rule::new("self.all(i, !i.startsWith('*'))").message("a pattern begins with a registry's host, which is never a wildcard: write `registry.corp.internal/**`"))]
    #[x_kube(validation = Rule::new("self.all(i, !i.contains('://'))").message("a pattern has no https://"))]
    #[x_kube(validation = Rule::new("self.all(i, !i.matches('^((index|registry-1)[.])?docker[.]io/[^/]*$') || i.endsWith('/**'))").message("Docker Hub's images of one name are `docker.io/library/…`: write `docker.io/library/nginx`, not `docker.io/nginx`"))]
    #[x_kube(validation = Rule::new("self.all(i, !i.matches('^(?i)holdfast-canary[.]invalid[.]?(:[0-9]*)?/'))").message("`holdfast-canary.invalid` is of the images that holdfast tries its rules with, which are nobody's: leave it out"))]
    pub images: Vec<String>,
    /// What happens to images that no policy matches.
    #[serde(default)]
    pub other_images: OtherImages,
    /// Single images that need no signature, each with its reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub exempt_images: Vec<ExemptImage>,
    /// Which namespaces.
    #[serde(default)]
    pub namespace_selector: NamespaceSelector,
    /// The TrustRootMirrors whose trust counts.
    #[serde(default)]
    #[schemars(length(max = 16), inner(length(min = 1, max = 63)))]
    pub trust_roots: Vec<String>,
    /// Who may sign: any one of them.
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = Rule::new("self.all(i, self.exists_one(j, j.name == i.name))").message("every identity has a name of its own"))]
    pub identities: Vec<Identity>,
    /// What each signature has to carry, and what has to be there besides.
    #[serde(default)]
    pub require: Require,
    /// What enforces it.
    #[serde(default)]
    pub engines: Engines,
    /// How far it is enforced.
    #[serde(default)]
    pub enforcement: Enforcement,
}

/// What happens to images that no policy matches.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OtherImages {
    /// They are denied.
    #[default]
    Deny,
    /// They pass: a declared bypass, shown in status.
    Allow,
}

/// An image that needs no signature.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
pub struct ExemptImage {
    /// The image, by digest.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new("self.matches('^[^@]+@sha256:[0-9a-f]{64}$')").message("an exempt image is named by digest, as `registry/repository@sha256:<64 hex digits>`"))]
    #[x_kube(validation = Rule::new("!self.matches('^(?i)holdfast-canary[.]invalid[.]?(:[0-9]*)?/')").message("`holdfast-canary.invalid` is of the images that holdfast tries its rules with, which are nobody's: leave it out"))]
    pub image: String,
    /// Why.
    #[schemars(length(min = 1, max = 512))]
    pub reason: String,
}

/// Who may sign: the holder of a certificate, or of a key.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.key) != has(self.issuer)").message("give `issuer` with `subject` or `subjectRegExp` for a certificate, or `key` for a key"))]
#[x_kube(validation = Rule::new("has(self.key) ? (!has(self.subject) && !has(self.subjectRegExp)) : (has(self.subject) != has(self.subjectRegExp))")
    .message("beside `issuer`, give exactly one of `subject` and `subjectRegExp`; beside `key`, neither"))]
pub struct Identity {
    /// The name a person knows it by.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// The identity provider named in the certificate, exactly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub issuer: Option<String>,
    /// The certificate's subject, exactly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub subject: Option<String>,
    /// The certificate's subject as an expression; it is always anchored at both ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub subject_reg_exp: Option<String>,
    /// A key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyIdentity>,
    /// The gate does not wait for it to be seen.
    #[serde(default)]
    pub optional: bool,
}

/// A key that may sign: exactly one of the fields.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.secretRef) != has(self.pem)").message("give exactly one of `secretRef` and `pem`"))]
pub struct KeyIdentity {
    /// A Secret with the public key, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,
    /// The public key itself, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8192))]
    pub pem: Option<String>,
}

/// What each signature has to carry, and what has to be there besides.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Require {
    /// Predicate types of statements that have to be there besides the signature.
    #[schemars(length(max = 16), inner(length(min = 1, max = 512)))]
    pub attestations: Vec<String>,
    /// An entry in a transparency log, with its proof.
    pub transparency_log: bool,
    /// A signed timestamp.
    pub signed_timestamp: bool,
    /// A signed certificate timestamp.
    pub sct: bool,
}

impl Default for Require {
    fn default() -> Self {
        Self { attestations: Vec::new(), transparency_log: true, signed_timestamp: false, sct: true }
    }
}

/// What enforces it.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Engines {
    /// The API server's own admission policies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub native: Option<NativeEngine>,
    /// Kyverno.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kyverno: Option<KyvernoEngine>,
    /// policy-controller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_controller: Option<PolicyControllerEngine>,
    /// Kubewarden: rendered, not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubewarden: Option<KubewardenEngine>,
    /// OpenShift's ClusterImagePolicy: rendered, not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_shift: Option<OpenShiftEngine>,
    /// Flux, for the sources it applies: rendered, not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flux: Option<FluxEngine>,
}

/// The API server's own admission policies.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct NativeEngine {
    /// What is verified ahead for pods that have no template.
    pub intake: Intake,
}

/// What is verified ahead.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Intake {
    /// Images that are to be admitted once they are verified, each by digest: for pods that no template names. `holdfast admit` adds to them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024), inner(length(min = 1, max = 512)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[x_kube(validation = Rule::new("self.all(i, i.matches('^[^@]+@sha256:[0-9a-f]{64}$'))").message("an image of the intake is named by digest, as `registry/repository@sha256:<64 hex digits>`"))]
    pub images: Vec<String>,
}

/// Kyverno.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct KyvernoEngine {
    /// Which of its kinds.
    pub kind: KyvernoKind,
}

/// Which of Kyverno's kinds.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KyvernoKind {
    /// 1.18 and later.
    #[default]
    ImageValidatingPolicy,
    /// Up to 1.19, on request.
    ClusterPolicy,
}

/// policy-controller.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
pub struct PolicyControllerEngine {}

/// Kubewarden.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct KubewardenEngine {
    /// Where the module `verify-image-signatures` is, inside the cluster's reach and with its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub module: Option<String>,
}

/// OpenShift's ClusterImagePolicy.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
pub struct OpenShiftEngine {}

/// Flux.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
pub struct FluxEngine {}

/// How far it is enforced.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Enforcement {
    /// What is wanted.
    #[serde(default)]
    pub desired: Desired,
    /// Nothing is promoted while it is set, and no soak grows; what is enforced stays so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// How long every check has to hold before.
    #[serde(default = "three_days")]
    pub soak: GoDuration,
    /// How many per cent of images have to be covered.
    #[schemars(range(max = 100))]
    #[serde(default = "hundred")]
    pub minimum_coverage: u8,
    /// In which steps; one step for everything where none is given.
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new("self.all(w, self.exists_one(v, v.name == w.name))").message("every wave has a name of its own"))]
    #[serde(default)]
    pub waves: Vec<Wave>,
}

impl Default for Enforcement {
    fn default() -> Self {
        Self {
            desired: Desired::Audit,
            paused: false,
            soak: three_days(),
            minimum_coverage: hundred(),
            waves: Vec::new(),
        }
    }
}

const fn three_days() -> GoDuration {
    GoDuration::hours(72)
}

const fn hundred() -> u8 {
    100
}

/// What is wanted.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Desired {
    /// Report only.
    #[default]
    Audit,
    /// Deny, once every check has held.
    Enforce,
}

/// One step of a rollout.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Wave {
    /// Its name.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// Which namespaces of the policy's.
    #[serde(default)]
    pub namespace_selector: NamespaceSelector,
    /// How long every check has to hold before; the policy's soak where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soak: Option<GoDuration>,
}

/// What holdfast last saw.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SigningIdentityPolicyStatus {
    /// The generation this describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// How far it is enforced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enforcement: Option<EnforcementStatus>,
    /// What each engine got.
    #[schemars(length(max = 16))]
    #[serde(default)]
    pub engines: Vec<EngineStatus>,
    /// The names of the engines, for a column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine_names: Option<String>,
    /// Images by outcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage: Option<CoverageCounts>,
    /// What passes unsigned because the policy says so.
    #[schemars(length(max = 65), inner(length(max = 1100)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bypasses: Vec<String>,
    /// Who could get round what is enforced, by the roles of the cluster: people and programs before Kubernetes' own.
    #[schemars(length(max = 32))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub can_bypass: Vec<BypassStatus>,
    /// How many could besides those that are named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub can_bypass_beyond: Option<u32>,
    /// Ready, Rendered, Enforcing, Degraded.
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    #[serde(default)]
    pub conditions: Vec<Condition>,
}

/// Who could get round what is enforced.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct BypassStatus {
    /// Who, and by which binding.
    #[schemars(length(max = 512))]
    pub subject: String,
    /// What they could do; `holdfast explain` says what each word means.
    #[schemars(length(max = 16), inner(length(max = 63)))]
    pub powers: Vec<String>,
}

/// How far it is enforced.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct EnforcementStatus {
    /// Audit, Soaking, Promoting, Enforcing.
    pub phase: String,
    /// The wave under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wave: Option<String>,
    /// In how many namespaces it is enforced.
    #[serde(default)]
    pub enforced_in: u32,
    /// Which these are, by name: the first 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub namespaces: Vec<String>,
    /// Since when (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// The check that holds it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_by: Option<String>,
    /// Every check.
    #[serde(default)]
    #[schemars(length(max = 32))]
    pub checks: Vec<CheckStatus>,
    /// Images of workloads that the next promotion would have denied during the soak.
    #[serde(default)]
    pub would_have_denied: u64,
    /// The first few of them, each with why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 1024)))]
    pub would_have_denied_examples: Vec<String>,
    /// What that count cannot see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cannot_see: Option<String>,
    /// Namespaces that are selected and left out all the same, because nothing is ever enforced there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub left_out: Vec<String>,
}

/// One check.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
pub struct CheckStatus {
    /// Its name.
    pub name: String,
    /// Whether it holds.
    pub passed: bool,
    /// Since when (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// A sentence.
    pub message: String,
}

/// What one engine got.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
pub struct EngineStatus {
    /// Its name.
    pub name: String,
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The object, as kind and name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// The digest of what was rendered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Whether it was written.
    pub applied: bool,
    /// Whether the engine acts on it.
    pub ready: bool,
    /// What the engine cannot express.
    #[serde(default)]
    #[schemars(length(max = 32))]
    pub losses: Vec<LossStatus>,
}

/// What an engine cannot express.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
pub struct LossStatus {
    /// The field.
    pub what: String,
    /// Stricter, NotExpressible, Wider, Operational.
    pub effect: String,
    /// A sentence.
    pub message: String,
}
