//! Who runs what, and how it was signed.

use holdfast_testpki::Flaw;

/// A team with its namespaces and the images it builds or brings in.
pub(crate) struct Team {
    pub(crate) name: &'static str,
    pub(crate) namespaces: &'static [Namespace],
    /// The repositories of its images, up to the last segment.
    pub(crate) repositories: &'static str,
    pub(crate) signer: Signer,
    /// Predicate types of the statements its pipeline makes besides.
    pub(crate) statements: &'static [&'static str],
    /// Whether every service runs in every namespace, or each in one of them.
    pub(crate) everywhere: bool,
    pub(crate) services: &'static [(&'static str, Story)],
}

/// A namespace and its labels; `wave` may be empty.
pub(crate) struct Namespace {
    pub(crate) name: &'static str,
    pub(crate) tier: &'static str,
    pub(crate) wave: &'static str,
}

/// Who signs for a team.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signer {
    /// Its pipeline, on the organisation's own Sigstore.
    Pipeline,
    /// Its pipeline, and the release board besides.
    PipelineAndBoard,
    /// A developer by hand, on the organisation's own Sigstore.
    Developer,
    /// A workflow in the organisation's private repositories at GitHub.
    Workflow,
    /// A project's public workflow, on the public Sigstore.
    Project,
    /// The vendor of the core banking system, with a key.
    CoreBankVendor,
    /// The vendor of the scanner, with a key.
    ScannerVendor,
}

/// What is particular about one image.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Story {
    /// Signed as it should be.
    Good,
    /// The same, stored under the fallback tag.
    ByTag,
    /// The same, in cosign's legacy form.
    Legacy,
    /// Nothing is stored.
    Unsigned,
    /// What is listed did not arrive.
    Lost,
    /// Signed by a fork's pipeline.
    Stranger,
    /// Signed with the other vendor's key.
    OtherKey,
    /// Without the entry in a log.
    NoLog,
    /// Without a signed timestamp.
    NoTimestamp,
    /// Without a proof of certificate transparency.
    NoSct,
    /// Without the last of the statements.
    StatementMissing,
    /// In the log and with the timestamp of the generation to come.
    NextLog,
    /// In the old log, after the rotation ends it.
    LateEntry,
    /// One thing is wrong.
    With(Flaw),
}

pub(crate) const PROVENANCE: &str = "https://slsa.dev/provenance/v1";
pub(crate) const SPDX: &str = "https://spdx.dev/Document";
pub(crate) const CYCLONEDX: &str = "https://cyclonedx.org/bom";

const fn namespace(name: &'static str, tier: &'static str, wave: &'static str) -> Namespace {
    Namespace { name, tier, wave }
}

use Story::{
    ByTag, Good, LateEntry, Legacy, Lost, NextLog, NoLog, NoSct, NoTimestamp, OtherKey, StatementMissing, Stranger,
    Unsigned, With,
};

pub(crate) const TEAMS: &[Team] = &[
    Team {
        name: "payments",
        namespaces: &[
            namespace("payments-canary", "prod", "canary"),
            namespace("payments", "prod", "main"),
            namespace("payments-batch", "prod", "late"),
        ],
        repositories: "registry.corp.internal/payments",
        signer: Signer::PipelineAndBoard,
        statements: &[PROVENANCE, SPDX],
        everywhere: true,
        services: &[
            ("gateway", Good),
            ("router", Good),
            ("ledger", Good),
            ("sepa", Good),
            ("swift", Good),
            ("instant", Good),
            ("settlement", Good),
            ("fees", Good),
            ("reconcile", ByTag),
        ],
    },
    Team {
        name: "cards",
        namespaces: &[namespace("cards-canary", "prod", "canary"), namespace("cards", "prod", "main")],
        repositories: "registry.corp.internal/cards",
        signer: Signer::PipelineAndBoard,
        statements: &[PROVENANCE],
        everywhere: true,
        services: &[
            ("authoriser", Good),
            ("issuing", Good),
            ("disputes", Good),
            ("limits", Good),
            ("tokens", Good),
            ("statements", ByTag),
            ("rewards", Stranger),
        ],
    },
    Team {
        name: "lending",
        namespaces: &[namespace("lending-canary", "prod", "canary"), namespace("lending", "prod", "main")],
        repositories: "registry.corp.internal/lending",
        signer: Signer::Pipeline,
        statements: &[PROVENANCE],
        everywhere: true,
        services: &[
            ("scoring", Good),
            ("rates", Good),
            ("mortgages", Good),
            ("collateral", With(Flaw::InclusionProof)),
            ("offers", Good),
            ("documents", Good),
        ],
    },
    Team {
        name: "onboarding",
        namespaces: &[namespace("onboarding", "prod", "main")],
        repositories: "registry.corp.internal/onboarding",
        signer: Signer::Pipeline,
        statements: &[PROVENANCE],
        everywhere: true,
        services: &[("kyc", Good), ("forms", Good), ("video", NoLog), ("consent", Good), ("mail", Good)],
    },
    Team {
        name: "web",
        namespaces: &[namespace("web-canary", "prod", "canary"), namespace("web", "prod", "main")],
        repositories: "registry.corp.internal/web",
        signer: Signer::Workflow,
        statements: &[PROVENANCE],
        everywhere: true,
        services: &[
            ("portal", Good),
            ("login", Good),
            ("search", Good),
            ("mobile-api", Good),
            ("branches", With(Flaw::TimestampOverOther)),
            ("content", Good),
            ("charts", Good),
            ("feedback", NoTimestamp),
        ],
    },
    Team {
        name: "platform",
        namespaces: &[
            namespace("platform-ingress", "platform", ""),
            namespace("platform-observability", "platform", ""),
            namespace("platform-secrets", "platform", ""),
        ],
        repositories: "registry.corp.internal/platform",
        signer: Signer::Pipeline,
        statements: &[],
        everywhere: false,
        services: &[
            ("ingress", Good),
            ("mesh-init", Good),
            ("log-shipper", Good),
            ("dns", Good),
            ("metrics", With(Flaw::UnknownAuthority)),
            ("vault", Good),
            ("backup", With(Flaw::ExpiredCertificate)),
            ("quota", ByTag),
            ("certificates", Good),
            ("node-tuner", Good),
        ],
    },
    Team {
        name: "upstream",
        namespaces: &[
            namespace("monitoring", "system", ""),
            namespace("kyverno", "system", ""),
            namespace("cosign-system", "system", ""),
            namespace("kube-system", "system", ""),
        ],
        repositories: "registry.corp.internal/mirror",
        signer: Signer::Project,
        statements: &[],
        everywhere: false,
        services: &[
            ("prometheus", Good),
            ("kyverno", Legacy),
            ("policy-controller", Good),
            ("csi-driver", With(Flaw::Sct)),
            ("loki", NextLog),
            ("reports-controller", Legacy),
            ("policy-tester", LateEntry),
            ("coredns", Good),
            ("alertmanager", NoSct),
            ("cleanup-controller", Good),
        ],
    },
    Team {
        name: "caches",
        namespaces: &[namespace("shared-caches", "prod", "main")],
        repositories: "docker.io/library",
        signer: Signer::Project,
        statements: &[],
        everywhere: true,
        services: &[("redis", Good), ("postgres", Good), ("nginx", Good), ("rabbitmq", Lost)],
    },
    Team {
        name: "corebank",
        namespaces: &[namespace("corebank-canary", "vendor", "canary"), namespace("corebank", "vendor", "main")],
        repositories: "registry.corp.internal/vendor/corebank",
        signer: Signer::CoreBankVendor,
        statements: &[],
        everywhere: true,
        services: &[("engine", Good), ("batch", Good), ("teller", Good), ("adapter", OtherKey), ("archive", Good)],
    },
    Team {
        name: "security",
        namespaces: &[namespace("security", "vendor", "main")],
        repositories: "registry.corp.internal/vendor/scanner",
        signer: Signer::ScannerVendor,
        statements: &[],
        everywhere: true,
        services: &[("agent", Good), ("console", Good), ("feeds", Good)],
    },
    Team {
        name: "data",
        namespaces: &[
            namespace("data-lake", "data", ""),
            namespace("data-jobs", "data", ""),
            namespace("models", "data", ""),
        ],
        repositories: "registry.corp.internal/data",
        signer: Signer::Pipeline,
        statements: &[CYCLONEDX],
        everywhere: false,
        services: &[
            ("ingest", Good),
            ("spark", Good),
            ("weights", Good),
            ("catalog", Good),
            ("risk-report", With(Flaw::OtherArtifact)),
            ("fraud-model", Good),
            ("lineage", Good),
            ("quality", StatementMissing),
            ("features", Good),
            ("notebook", Good),
        ],
    },
    Team {
        name: "sandbox",
        namespaces: &[namespace("sandbox-one", "sandbox", ""), namespace("sandbox-two", "sandbox", "")],
        repositories: "registry.corp.internal/sandbox",
        signer: Signer::Developer,
        statements: &[],
        everywhere: false,
        services: &[
            ("hackday", Good),
            ("prototype", Good),
            ("chatbot", Good),
            ("geo", Good),
            ("loadtest", Good),
            ("mock-swift", Good),
            ("graph", Good),
            ("demo", Good),
        ],
    },
    Team {
        name: "ci",
        namespaces: &[namespace("ci", "build", "")],
        repositories: "registry.corp.internal/ci",
        signer: Signer::Pipeline,
        statements: &[],
        everywhere: true,
        services: &[("runner", Good), ("helper", Good), ("cache", Good), ("rust", Good), ("java", Good)],
    },
    Team {
        name: "legacy",
        namespaces: &[namespace("legacy", "prod", "late")],
        repositories: "registry.corp.internal/legacy",
        signer: Signer::Pipeline,
        statements: &[],
        everywhere: true,
        services: &[("mainframe-bridge", Unsigned), ("fax", With(Flaw::ForeignEntry))],
    },
];

/// What teams declared by hand, in spellings of their own, one a line: namespace, kind, name, and the image, in which `{repository}` stands for the
/// digest of the image stored for it.
pub(crate) const BY_HAND: &str = "
web Deployment portal-blue Registry.Corp.Internal/web/portal@{registry.corp.internal/web/portal}
web Deployment portal-green registry.corp.internal:443/web/portal@{registry.corp.internal/web/portal}
web StatefulSet session-cache redis@{docker.io/library/redis}
web DaemonSet edge-probe ghcr.io/acme/edge-probe:3
cards Deployment authoriser-old registry.corp.internal/cards/authoriser:1.4@{registry.corp.internal/cards/authoriser}
cards CronJob limits-nightly registry.corp.internal/cards/limits:nightly
lending Job rates-import registry.corp.internal./lending/rates@{registry.corp.internal/lending/rates}
lending Deployment scoring-next registry.corp.internal/lending/scoring@{absent}
onboarding Deployment kyc-preview registry.corp.internal/onboarding/kyc:1.0
onboarding Deployment forms-preview REGISTRY.corp.internal:443/onboarding/forms:1.0
payments Deployment pool index.docker.io/library/nginx@{docker.io/library/nginx}
payments Pod debug quay.io/netshoot/netshoot:v0.13
payments-batch Job replay registry.corp.internal.evil.example/payments/gateway@{registry.corp.internal/payments/gateway}
data-lake StatefulSet metastore postgres:17@{docker.io/library/postgres}
models Pod training registry.corp.internal:0443/data/fraud-model:1.0@{registry.corp.internal/data/fraud-model}
sandbox-one Pod scratchpad nginx:1.0
sandbox-two Pod try-out registry.corp.internal/sandbox/geo:1.0
legacy Deployment printing registry.corp.internal/Legacy/Printing:7
kube-system DaemonSet pause registry.corp.internal/base/pause@{registry.corp.internal/base/pause}
platform-secrets DaemonSet pause registry.corp.internal/base/pause:3.10@{registry.corp.internal/base/pause}
monitoring Deployment query-cache docker.io/redis@{docker.io/library/redis}
shared-caches StatefulSet replica registry-1.docker.io/library/redis:1.0@{docker.io/library/redis}
security Job feeds-once registry.corp.internal./vendor/scanner/feeds@{registry.corp.internal/vendor/scanner/feeds}
ad-hoc Pod one-off registry.corp.internal/data/ingest@{registry.corp.internal/data/ingest}
ad-hoc Job export registry.corp.internal/ci/helper@{registry.corp.internal/ci/helper}
";
