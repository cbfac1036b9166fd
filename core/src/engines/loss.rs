//! What an engine cannot express: typed, with a sentence and a cure.

use std::fmt;

use serde::{Serialize, Serializer};

use super::EngineKind;

/// What a loss does to what was declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Effect {
    /// Would admit what is declared bad. Never rendered for enforcement.
    Wider,
    /// May deny what is declared good.
    Stricter,
    /// Needs a flag, a mirror, a label or a running holdfast.
    Operational,
    /// Narrowed or left out; safe.
    NotExpressible,
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Wider => "Wider",
            Self::Stricter => "Stricter",
            Self::Operational => "Operational",
            Self::NotExpressible => "NotExpressible",
        })
    }
}

macro_rules! losses {
    ($($name:ident => $effect:ident, $meaning:literal, $cure:literal;)+) => {
        /// The closed set of losses. Each has one effect, one meaning and one cure; what it says of one policy is in [`Loss::detail`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum LossKind {
            $(#[doc = $meaning] $name,)+
        }

        impl LossKind {
            /// Every loss.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The name as written in status and on the command line.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }

            /// What it does to what was declared.
            pub const fn effect(self) -> Effect {
                match self { $(Self::$name => Effect::$effect,)+ }
            }

            /// What it means, in a sentence without an end.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)+ }
            }

            /// What to do about it.
            pub const fn cure(self) -> &'static str {
                match self { $(Self::$name => $cure,)+ }
            }
        }
    };
}

losses! {
    // Of every engine.
    EngineAbsent => Operational, "the engine is not in the cluster, so nothing is rendered for it",
        "install the engine, or take it out of the policy's `engines`";
    TrustRootAbsent => Wider, "a trust root that the policy accepts is not at hand",
        "give the mirror its first import, or take it out of the policy's `trustRoots`";
    NamespacesLeftOut => NotExpressible, "the policy selects namespaces that are never enforced: kube-system and those of engines",
        "narrow `namespaceSelector`, so that what is declared is what is enforced";
    // Native.
    AdmissionPoliciesAbsent => Operational, "the API server is older than 1.30 and has no stable ValidatingAdmissionPolicy, so nothing is rendered",
        "upgrade the API server, or take `native` out of the policy's `engines`";
    DigestDemanded => Stricter, "an image named by a tag alone is denied, also where the tag points to a verified image",
        "name images by digest: `repository:tag@sha256:…`";
    ExceptionOnCreate => Stricter, "a break-glass lets pods in as they are created; images added to a pod that runs, as debug containers, stay denied",
        "create a new pod instead";
    ImageVolumesUnseen => NotExpressible, "the API server is older than 1.31 and drops image volumes from pods, so there is none to judge",
        "nothing has to be done: such a volume does not reach the node";
    NodesBypass => Operational, "admission does not see static pods, `nodes/proxy`, the container runtime and whoever may write admission policies; mirror pods of nodes are exempt",
        "restrict access to nodes, to `nodes/proxy` and to `admissionregistration.k8s.io`; the subjects that have it are listed in status";
    NotInForceAtOnce => Operational, "a binding takes up to a second and a parameter some milliseconds to be in force at each API server",
        "wait until the step is observed, not only written";
    ParametersLate => Operational, "for up to 30 s after it starts, an API server denies verified images because it has not read the parameters yet",
        "start API servers one after the other, and wait for the canaries";
    LostShardBlocks => Operational, "while a shard of a policy is missing, every change of a pod where the policy is enforced is denied, labels and finalizers included",
        "keep holdfast running: it writes the shard again";
    FaultsUnreportedInAudit => NotExpressible, "in audit and on workload templates a fault of evaluation or a missing shard reports nothing, because reporting it would deny",
        "watch the check `EngineReady`, which looks at the shards themselves";
    CostLimit => Stricter, "a pod with many images or very long ones costs more than the API server allows to spend on an expression, and is denied",
        "use fewer and simpler patterns in one policy, or fewer images in a pod";
    PatternsTooLong => Stricter, "patterns and exempt images are more text than the API server takes of one rule: what no policy is about is told without those that list most, so their images are denied as others are",
        "use fewer and shorter patterns, as `registry.corp.internal/apps/**`";
    OthersNotReported => NotExpressible, "before a policy is enforced, images that no policy is about are not reported in some namespaces: in all sets of policies that share one, more is listed than is written of rules that only report",
        "use fewer and shorter patterns, as `registry.corp.internal/apps/**`, or fewer policies about the same namespaces";
    ShardsFull => Operational, "a policy has more verified digests than its shards can hold, so a write of them can fail and the last one stays in force",
        "shorten the retention, or split the policy";

    // Kyverno.
    KyvernoTooOld => Wider, "Kyverno does not serve an ImageValidatingPolicy that checks what it is told to: that begins with 1.18",
        "upgrade Kyverno to 1.19 or later";
    KyvernoNotRunOnThisVersion => Wider, "what is rendered was run on Kyverno 1.19 only, and 1.18 is known to check less",
        "upgrade Kyverno to 1.19, or enforce with the native engine";
    KyvernoNewerThanRun => Operational, "what is rendered was run on Kyverno 1.19; this one is newer",
        "watch the canaries after the upgrade: an image known to be signed and one known not to be";
    KyvernoEvidenceNotRun => Wider, "this combination of required evidence and trust root was not run on the engine, so what it lets pass is not known",
        "enforce with the native engine until it was run; what was: certificates without SCT, under a root of Rekor v2 logs and timestamp authorities";
    KyvernoTimestampAlwaysRequired => Stricter, "Kyverno requires a signed timestamp though the policy does not",
        "declare `require.signedTimestamp`, so that pipelines know, and have them timestamp what they sign";
    KyvernoEvidenceImpossible => Stricter, "the trust root lacks what the evidence would be checked with, so nothing it signed passes",
        "accept a trust root that holds it, or do not require it";
    KyvernoMirrorAbsent => Wider, "no TUF repository inside the cluster is at hand; without one Kyverno dials, and on 1.18 trusts, the public instance",
        "distribute an accepted trust root as `distribution.tufRepository`";
    KyvernoMirrorClash => Wider, "Kyverno follows one TUF repository, and the policies need several",
        "accept one and the same trust root in all policies for Kyverno, or upgrade it to 1.19";
    KyvernoMirrorIncomplete => Stricter, "Kyverno fails every check unless its TUF repository holds a certificate authority, a log and a CT log",
        "distribute a trust root that holds all three as `distribution.tufRepository`";
    KyvernoMirrorOnAdmissionPath => Operational, "every check that is not cached asks the TUF repository first: down, expired or silent, it denies",
        "run it replicated and outside enforced namespaces, and give every other policy for Kyverno the same repository: the first one used stays in use until a restart";
    KyvernoCachesVerdicts => Operational, "a passed check is remembered for an hour, and by default only some seventeen are",
        "set `--imageVerifyCacheMaxSize` to a number of bytes as 1000000; a changed policy empties its cache at once";
    KyvernoReadsNamesItself => Operational, "a certificate with several names, or a name outside ASCII, is refused by holdfast and judged by Kyverno by the first name",
        "accept only authorities that issue one ASCII name a certificate, as Fulcio does";
    KyvernoReadsStatementsOnly => Stricter, "only bundles from v0.3 on that hold a statement count: plain and legacy signatures are denied",
        "sign with cosign 3, or attach the signature as a bundle once more";
    KyvernoDeniesImageVolumes => Stricter, "Kyverno does not verify image volumes, so those the policy is about are denied, signed or not",
        "enforce with the native engine where image volumes are used";
    KyvernoDeniesTags => Stricter, "an image without a digest is denied under enforcement, signed or not",
        "declare images by digest";
    KyvernoJudgesEveryUpdate => Stricter, "every update of a pod is judged by all its images, also by those it already runs",
        "enforce with the native engine, which judges what an update brings in";
    KyvernoHidesCause => Operational, "unsigned, wrongly signed and a broken trust path are denied in the same words",
        "read the cause in holdfast's own report, or in Kyverno's log";
    KyvernoExceptions => Operational, "whoever may create a PolicyException, or change Kyverno's settings, can take pods out of the policy",
        "leave `--enablePolicyException` and `--forceFailurePolicyIgnore` off, and guard Kyverno's namespace";
    KyvernoBreakGlassNeedsHoldfast => Operational, "an exception of a break-glass ends when holdfast renders the policy again, not by itself",
        "keep holdfast running until the exception has ended";
    KyvernoLeavesOutHoldfast => NotExpressible, "holdfast's own namespace is left out: Kyverno needs the repository there before it can judge a pod",
        "enforce holdfast's own namespace with the native engine";
    KyvernoOtherImagesNotAudited => NotExpressible, "images that no policy matches are denied under enforcement, and not reported by Kyverno before",
        "read `otherImages` in holdfast's own report";
    KyvernoPolicyTooLarge => Wider, "the object would be larger than the API server stores, so it is not rendered",
        "split the policy, or accept fewer trust roots or identities in it";
    ClusterPolicyRemoved => Wider, "Kyverno 1.20 and later keep ClusterPolicies and do not act on them",
        "set `engines.kyverno.kind: ImageValidatingPolicy`";
    ClusterPolicyNotRun => Wider, "ClusterPolicy was not run on the engine: other spellings, image volumes and other images may pass it",
        "set `engines.kyverno.kind: ImageValidatingPolicy`";
    ClusterPolicyLosesWindows => Wider, "keys and authorities are given as PEM, which has no validity: one that has ended goes on counting",
        "set `engines.kyverno.kind: ImageValidatingPolicy`";
    ClusterPolicySeesNoBundles => Stricter, "only legacy signatures are seen: an image with a bundle alone reads as unsigned",
        "sign with cosign 2, or set `engines.kyverno.kind: ImageValidatingPolicy`";
    ClusterPolicyReadsEcdsaLogsOnly => Stricter, "logs whose key is not ECDSA are left out: what only they hold is denied",
        "set `engines.kyverno.kind: ImageValidatingPolicy`";
    ClusterPolicyReadsWildcards => NotExpressible, "a plain name with `*` or `?` would be a wildcard, so every name is written as an anchored expression",
        "nothing needs to be done: the expression names exactly what is declared";

    // policy-controller.
    PolicyControllerTakesEveryNamespace => Stricter, "a ClusterImagePolicy counts in every labelled namespace, so it also denies where the policy is not enforced",
        "enforce all policies of policy-controller in the same namespaces, or enforce with the native engine";
    PolicyControllerMixesNamespaces => Wider, "policies enforced in different namespaces let each other's images in, because a namespace cannot be given policies of its own",
        "enforce all policies of policy-controller in the same namespaces, or enforce with the native engine";
    PolicyControllerNeedsNamespaceLabel => Operational, "only namespaces with the label `policy.sigstore.dev/include: \"true\"` are judged, and whoever may label a namespace may take it out",
        "set the label with `kubectl label namespace`, never `webhooks.knative.dev/exclude`, and guard both; a Namespace is not rendered, because applying one would overwrite it";
    PolicyControllerAuditLeftOut => NotExpressible, "a policy in warn mode lets in what enforced ones deny, so nothing is rendered for audit while anything is enforced",
        "read holdfast's own coverage for what is in audit";
    PolicyControllerWarnDenies => Stricter, "`mode: warn` denies all the same: tags that do not resolve, images that no policy matches, and everything while the webhook is down",
        "label only namespaces that may be denied in, and audit by holdfast's own coverage";
    PolicyControllerAdmitsUnmatched => Wider, "`no-match-policy` lets in images that no policy matches, other spellings of matched ones among them",
        "set `no-match-policy: deny` in the ConfigMap config-policy-controller";
    PolicyControllerTrustsUnverified => Wider, "`enable-oci11` takes attestations without looking at their signatures",
        "set `enable-oci11: \"false\"` in the ConfigMap config-policy-controller";
    PolicyControllerSettings => Operational, "settings of the engine that decide what it lets in are not known, or have to be as written here",
        "set them so in the ConfigMap config-policy-controller and in the arguments of the webhook; they are not rendered, because the chart of policy-controller owns them";
    PolicyControllerDeniesOthers => Stricter, "images that no policy matches are denied, because letting them in would also let in other spellings of matched ones",
        "leave `otherImages` at Deny and name those images in a policy, or enforce with the native engine";
    PolicyControllerLogNotChecked => Wider, "through a TrustRoot object no log entry is checked, because the engine stores log ids as text",
        "allow direct entries in config-sigstore-keys, or enforce with the native engine";
    PolicyControllerSctNotChecked => Wider, "through a TrustRoot object no signed certificate timestamp is checked, because the engine stores log ids as text",
        "allow direct entries in config-sigstore-keys, or declare `require.sct: false`";
    PolicyControllerTimestampNotChecked => Wider, "a log entry and a signed timestamp cannot be demanded of one bundle where a log of the trust root gives times of its own",
        "require one of the two, accept only trust roots whose logs are Rekor v2, or enforce with the native engine";
    PolicyControllerTimestampDemanded => Stricter, "a signed timestamp is demanded though the policy does not, because the engine takes time from it alone",
        "declare `require.signedTimestamp: true`, so that pipelines know, or `require.transparencyLog: true`";
    PolicyControllerLogDemanded => Stricter, "a log entry is demanded though the policy does not, because the trust root has no timestamp authority to take time from",
        "declare `require.transparencyLog: true`, so that pipelines know, or accept a trust root with a timestamp authority";
    PolicyControllerSctNotRun => Stricter, "the check of signed certificate timestamps was seen to deny, and was not seen to pass, on the real engine",
        "watch the canary that is known to be signed before you enforce, or declare `require.sct: false`";
    PolicyControllerDirectEntry => Operational, "trust is written straight into config-sigstore-keys: one entry there that cannot be read, anybody's, stops every update and the webhook's next start",
        "apply it server-side and never delete or replace the ConfigMap, keep everyone else from writing it, and let holdfast check the entry after upgrades";
    PolicyControllerAuthorityLeftOut => Stricter, "a TrustRoot object has no validity windows, so an authority that counts only part of its certificates' time is left out",
        "allow direct entries in config-sigstore-keys, which keep windows";
    PolicyControllerLogLeftOut => Stricter, "a log is left out that the engine cannot read or would not hold to its window: what only it logged is denied",
        "sign those images again, or enforce with the native engine";
    PolicyControllerKeyLeftOut => Stricter, "a key is left out, because for keys the engine checks no evidence and no bundle: what only it signed is denied",
        "sign with a certificate, or give the key's images a policy without required evidence";
    PolicyControllerBundlesOnly => Stricter, "for certificates only bundles from v0.3 on that hold a statement count: legacy and plain signatures are denied",
        "sign with cosign 3, or attach the signature as a bundle once more";
    PolicyControllerLegacyOnly => Wider, "the engine or its definitions do not know `signatureFormat`, and a legacy signature without a timestamp passes while its certificate is valid",
        "upgrade policy-controller and its definitions, which its chart does not upgrade, to 0.13 or later";
    PolicyControllerOneSpelling => Stricter, "only one spelling of each image is matched: with upper case, a default port or a trailing dot in the host it is denied",
        "write images as the policy does";
    PolicyControllerLocalhost => Stricter, "`localhost/` without a port is read as a repository of Docker Hub, so such images are denied",
        "give the registry's port";
    PolicyControllerPatternTooLarge => Wider, "a pattern with many `**` would need too many globs to be matched exactly",
        "write several patterns with at most five inner `**` each";
    PolicyControllerExemptJudged => Stricter, "an exempt image that the policy's own patterns match, or that is of `localhost`, is judged all the same: a glob has no exceptions",
        "move the image out of the patterns' reach, or sign it";
    PolicyControllerDeniesImageVolumes => Stricter, "image volumes are not seen by the engine, so an admission policy beside it denies them, signed or not",
        "enforce with the native engine where image volumes are used";
    PolicyControllerNoException => Stricter, "a break-glass is not carried out: it would have to hold for single namespaces",
        "take the label off those namespaces for its time, by hand";
    PolicyControllerShortPredicate => Wider, "the predicate type is not a URI, and the engine reads short names as other types",
        "write the whole URI, as `https://slsa.dev/provenance/v1`";
    PolicyControllerReadsItself => Operational, "certificates with several names or names outside ASCII, and wrong evidence that is not required, are refused by holdfast and not by the engine",
        "accept only authorities that issue one ASCII name a certificate, as Fulcio does";
    PolicyControllerRewritesImages => Operational, "every image is rewritten to name its digest, which GitOps tools see as drift",
        "declare images by digest";
    PolicyControllerNoIdentity => NotExpressible, "no identity of the policy can be expressed, so nothing is rendered",
        "enforce with the native engine, or see the other losses of the policy";
    PolicyControllerContradicts => Operational, "what the cluster says of the engine does not fit together, and the narrower reading was taken",
        "upgrade the engine's definitions together with the engine";
    PolicyControllerNewerThanRun => Operational, "what is rendered was run on policy-controller 0.15.1; this one is newer",
        "watch the canaries after the upgrade: an image known to be signed and one known not to be";
    PolicyControllerTooLarge => Wider, "the engine keeps all policies in one ConfigMap and all trust in another, and what is rendered would not fit",
        "accept fewer trust roots or identities, or enforce with the native engine";

    // Kubewarden, OpenShift, Flux.
    NotRun => Operational, "what is rendered follows the engine's documentation and source, and was not run on it",
        "try it on a cluster of no importance first: an image known to be signed and one known not to be";
    KubewardenReadsRawText => Wider, "images are matched by the text of the pod, so another spelling of an image slips past",
        "enforce with the native engine; Kubewarden is rendered to monitor only";
    KubewardenAdmitsUnmatched => Wider, "images that no setting matches are accepted, image volumes among them",
        "enforce with the native engine; Kubewarden is rendered to monitor only";
    KubewardenEvidenceNotChecked => Wider, "of the required evidence the module checks a log's promise at most",
        "require nothing it does not check, or enforce with the native engine";
    KubewardenStatementsNotChecked => Wider, "the module knows image signatures only, and no other statements",
        "declare no `require.attestations`, or enforce with the native engine";
    KubewardenOneIdentity => Stricter, "what is listed is demanded of all signers together, so only a policy with one identity that can be expressed is rendered",
        "give each identity a policy of its own";
    KubewardenExactSubjects => NotExpressible, "subjects are compared exactly: expressions are left out",
        "name the subject exactly";
    KubewardenModuleAbsent => NotExpressible, "where the module is inside the cluster's reach is not declared, so nothing is rendered",
        "mirror the module and name it as `engines.kubewarden.module`";
    KubewardenTrustByServer => Operational, "trust is given to the policy server as a whole, without validity, and whoever writes that ConfigMap can pass anything",
        "set `sigstoreTrustConfig` of the PolicyServer, accept one trust root in all its policies, and guard its ConfigMap";
    KubewardenLegacyOnly => Stricter, "signatures are looked for in the legacy form only",
        "sign with cosign 2 besides, or enforce with another engine";
    KubewardenExemptJudged => Stricter, "exempt images that a pattern matches are reported all the same",
        "move them out of the patterns' reach, or sign them";
    OpenShiftNoAudit => NotExpressible, "nodes either enforce or do not look, so nothing is rendered for audit",
        "read holdfast's own coverage for what is in audit";
    OpenShiftWholeCluster => Stricter, "nodes enforce in every namespace, those of the platform among them",
        "use it for registries that hold nothing of the platform";
    OpenShiftAdmitsUnmatched => Wider, "images outside all scopes are pulled without a signature, another spelling of a host among them",
        "set `registrySources.allowedRegistries` in image.config.openshift.io/cluster, to scopes alone where `otherImages` is Deny";
    OpenShiftScopesOnly => Wider, "a scope is a host and a path prefix: a pattern that is not cannot be expressed exactly",
        "write patterns as `registry.corp.internal/apps/**`";
    OpenShiftScopeHoldsMore => Stricter, "a scope also holds the repository of its own name and all below it",
        "keep no other images at or below the paths a policy names";
    OpenShiftExemptJudged => Stricter, "exempt images that a scope holds need a signature all the same",
        "move them out of the scopes' reach, or sign them";
    OpenShiftMostSpecificScope => Wider, "of several policies whose scopes hold an image only the most specific counts, where all should",
        "let no two policies for OpenShift name scopes that contain each other";
    OpenShiftEvidenceNotChecked => Wider, "of the required evidence nodes check a log's promise at most",
        "require nothing they do not check, or enforce with the native engine";
    OpenShiftStatementsNotChecked => Wider, "nodes know image signatures only, and no other statements",
        "declare no `require.attestations`, or enforce with the native engine";
    OpenShiftIdentityLeftOut => Stricter, "a certificate is named by an e-mail address only, so workflow identities and expressions are left out",
        "sign with an e-mail identity or a key, or enforce with the native engine";
    OpenShiftOneIdentity => Stricter, "a policy has one root of trust, so only a policy with one identity that can be expressed is rendered",
        "give each identity a policy of its own";
    OpenShiftLogUnusable => Stricter, "a certificate needs one ECDSA log of one certificate authority beside it, and the trust roots do not come down to that",
        "accept one trust root with one authority and one Rekor v1 log";
    OpenShiftLosesWindows => Wider, "authorities and logs are given without validity: one that has ended goes on counting",
        "accept a trust root whose windows are those of its certificates";
    OpenShiftLegacyOnly => Stricter, "signatures are looked for in the legacy form only",
        "sign with cosign 2 besides, or enforce with another engine";
    FluxGuardsSources => Wider, "what Flux applies is verified, and what pods run is not",
        "enforce images with another engine; the rendered blocks are for sources";
    FluxEvidenceNotChecked => Wider, "signed timestamps and certificate timestamps are not demanded as the policy does",
        "enforce images with another engine; the rendered blocks are for sources";
    FluxStatementsNotChecked => Wider, "sources are verified by their signature only, and no other statements",
        "declare no `require.attestations` where it is meant for sources";
    FluxOneRoot => Stricter, "a source takes one trust root, so a block is rendered for each and a person chooses",
        "accept one trust root in policies for Flux";
    FluxChartsUseThePublicRoot => NotExpressible, "HelmChart and HelmRelease know no trust root of their own and would dial the public one, so no block is rendered for certificates",
        "keep charts in an OCIRepository, or sign them with a key";
    FluxNoTrustRoot => NotExpressible, "this Flux knows no `trustedRootSecretRef` and would dial the public trust root, so no block is rendered for certificates",
        "upgrade source-controller to 1.9 or later, or sign sources with a key";
    FluxDialsLog => Operational, "with certificates Flux builds a client for the log named in the trust root",
        "keep the log's address out of reach, or sign sources with a key";
    FluxBlockIsAPart => Operational, "what is rendered is a block for sources you own, in a ConfigMap, and no whole source",
        "copy the block into the source, as a patch or by hand";
}

impl fmt::Display for LossKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for LossKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// One loss of one engine, for one policy or for all.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Loss {
    /// The policy; none where it concerns all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// The engine.
    pub engine: EngineKind,
    /// Which loss.
    pub kind: LossKind,
    /// The field of the policy, as `require.sct`.
    pub field: String,
    /// The versions of the engine it is known of, as `>= 1.19, < 1.20`.
    pub versions: &'static str,
    /// What it means for this very policy.
    pub detail: String,
}

impl Loss {
    /// What it does to what was declared.
    pub const fn effect(&self) -> Effect {
        self.kind.effect()
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, `{}`): {}; {}", self.kind, self.effect(), self.field, self.detail, self.kind.cure())
    }
}
