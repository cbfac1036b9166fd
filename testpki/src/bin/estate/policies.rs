//! What the platform team commits: mirrors and policies.

use holdfast_testpki::example::{indented, mirror};

/// The manifests of one mirror.
pub(crate) fn trust(name: &str, root: &[u8]) -> String {
    let (about, rest) = match name {
        "sigstore-public" => (
            "The public Sigstore, for what projects publish. A second pair of eyes looks at every rotation.",
            r"interval: 30m
freshness: {grace: 72h, maxAge: 336h}
rotation: {approval: Required, removalGrace: 168h}
distribution:
  tufRepository: {timestampValidity: 24h}
  policyController: {trustRootName: sigstore-public}
  configMaps: {namespaceSelector: {matchLabels: {tier: system}}, name: sigstore-trusted-root}",
        ),
        "github" => (
            "GitHub's Sigstore, for private repositories: it has no log and proves by timestamps.",
            r"freshness: {maxAge: 720h}
rotation: {approval: Automatic, maxNewlyFailing: 0}
distribution:
  tufRepository: {timestampValidity: 24h}",
        ),
        _ => (
            "The bank's own Sigstore.",
            r"freshness: {maxAge: 336h, onStale: FailClosed}
rotation: {approval: Required}
distribution:
  tufRepository: {timestampValidity: 12h}
  policyController: {trustRootName: corp}",
        ),
    };
    mirror(name, about, root, rest)
}

/// The policies; `pause` is the digest of the image that is exempt, the keys are those of two vendors.
pub(crate) fn text(pause: &str, corebank: &str, scanner: &str) -> String {
    POLICIES
        .replace("$PAUSE", pause)
        .replace("$CORE_IN_LIST", indented(corebank, 8).trim_start())
        .replace("$SCANNER", indented(scanner, 4).trim_start())
}

const POLICIES: &str = r#"---
# Everything that runs here was signed by somebody we know. Only watched for now.
apiVersion: holdfast.dev/v1alpha1
kind: SigningIdentityPolicy
metadata: {name: baseline}
spec:
  images: ["registry.corp.internal/**"]
  otherImages: Allow
  exemptImages:
  - {image: "registry.corp.internal/base/pause@$PAUSE", reason: "node image, signed by nobody and pinned"}
  trustRoots: [corp, github, sigstore-public]
  identities:
  - {name: pipelines, issuer: "https://gitlab.corp.internal", subjectRegExp: 'https://gitlab\.corp\.internal/(?:payments|cards|lending|onboarding|platform|data|ci|legacy)/[^/]+//\.gitlab-ci\.yml@refs/(?:heads/main|tags/v.*)'}
  - {name: developers, issuer: "https://sso.corp.internal", subjectRegExp: '[a-z.]+@corp\.example'}
  - {name: workflows, issuer: "https://token.actions.githubusercontent.com", subjectRegExp: 'https://github\.com/acme-bank/[^/]+/\.github/workflows/release\.yaml@refs/tags/v.*'}
  - {name: projects, issuer: "https://token.actions.githubusercontent.com", subjectRegExp: 'https://github\.com/projects/[^/]+/\.github/workflows/release\.yaml@refs/tags/v.*'}
  - name: corebank-vendor
    key:
      pem: |
        $CORE_IN_LIST
  - name: scanner-vendor
    optional: true
    key: {secretRef: {name: scanner-vendor}}
  require: {transparencyLog: false, sct: false}
  engines:
    native: {}
  enforcement: {desired: Audit}
---
# Money moves here: what it was built from and what is in it has to be known.
apiVersion: holdfast.dev/v1alpha1
kind: SigningIdentityPolicy
metadata: {name: payments}
spec:
  images: ["registry.corp.internal/payments/**"]
  otherImages: Deny
  namespaceSelector: {matchLabels: {team: payments}}
  trustRoots: [corp]
  identities:
  - {name: payments, issuer: "https://gitlab.corp.internal", subjectRegExp: 'https://gitlab\.corp\.internal/payments/[^/]+//\.gitlab-ci\.yml@refs/heads/main'}
  require:
    attestations: ["https://slsa.dev/provenance/v1", "https://spdx.dev/Document"]
    signedTimestamp: true
    sct: false
  engines:
    native: {}
    kyverno: {}
  enforcement:
    desired: Enforce
    soak: 168h
    waves:
    - {name: canary, namespaceSelector: {matchLabels: {wave: canary}}, soak: 24h}
    - {name: main, namespaceSelector: {matchLabels: {wave: main}}}
    - {name: everything}
---
# The same images once more: besides its pipeline, the release board signs what goes beyond the canaries.
apiVersion: holdfast.dev/v1alpha1
kind: SigningIdentityPolicy
metadata: {name: release-board}
spec:
  images: ["registry.corp.internal/payments/**", "registry.corp.internal/cards/**"]
  otherImages: Allow
  namespaceSelector:
    matchExpressions:
    - {key: team, operator: In, values: [payments, cards]}
    - {key: wave, operator: NotIn, values: [canary]}
  trustRoots: [corp]
  identities:
  - {name: board, issuer: "https://sso.corp.internal", subject: release-board@corp.example}
  require: {signedTimestamp: true, sct: false}
  engines:
    native: {}
  enforcement: {desired: Enforce, soak: 72h}
---
apiVersion: holdfast.dev/v1alpha1
kind: SigningIdentityPolicy
metadata: {name: retail}
spec:
  images: ["registry.corp.internal/cards/*", "registry.corp.internal/lending/*", "registry.corp.internal/onboarding/*"]
  namespaceSelector:
    matchExpressions:
    - {key: team, operator: In, values: [cards, lending, onboarding]}
  trustRoots: [corp]
  identities:
  - {name: cards, issuer: "https://gitlab.corp.internal", subjectRegExp: 'https://gitlab\.corp\.internal/cards/[^/]+//\.gitlab-ci\.yml@refs/heads/main'}
  - {name: lending, issuer: "https://gitlab.corp.internal", subjectRegExp: 'https://gitlab\.corp\.internal/lending/[^/]+//\.gitlab-ci\.yml@refs/heads/main'}
  - {name: onboarding, issuer: "https://gitlab.corp.internal", subjectRegExp: 'https://gitlab\.corp\.internal/onboarding/[^/]+//\.gitlab-ci\.yml@refs/heads/main'}
  require: {attestations: ["https://slsa.dev/provenance/v1"], sct: false}
  engines:
    native: {}
  enforcement:
    desired: Enforce
    waves:
    - {name: canary, namespaceSelector: {matchLabels: {wave: canary}}, soak: 24h}
    - {name: everything}
---
# Built at GitHub in private repositories, whose Sigstore has no log.
apiVersion: holdfast.dev/v1alpha1
kind: SigningIdentityPolicy
metadata: {name: web}
spec:
  images: ["registry.corp.internal/web/**"]
  namespaceSelector: {matchLabels: {team: web}}
  trustRoots: [github]
  identities:
  - {name: portal, issuer: "https://token.actions.githubusercontent.com", subject: "https://github.com/acme-bank/portal/.github/workflows/release.yaml@refs/tags/v2.3.1"}
  - {name: workflows, issuer: "https://token.actions.githubusercontent.com", subjectRegExp: 'https://github\.com/acme-bank/[a-z-]+/\.github/workflows/release\.yaml@refs/tags/v[0-9.]+'}
  require: {attestations: ["https://slsa.dev/provenance/v1"], transparencyLog: false, signedTimestamp: true, sct: false}
  engines:
    kyverno: {}
  enforcement:
    desired: Enforce
    minimumCoverage: 95
    waves:
    - {name: canary, namespaceSelector: {matchLabels: {wave: canary}}}
    - {name: everything}
---
apiVersion: holdfast.dev/v1alpha1
kind: SigningIdentityPolicy
metadata: {name: platform}
spec:
  images: ["registry.corp.internal/platform/**", "registry.corp.internal/base/**"]
  otherImages: Deny
  exemptImages:
  - {image: "registry.corp.internal/base/pause@$PAUSE", reason: "node image, signed by nobody and pinned"}
  namespaceSelector: {matchLabels: {tier: platform}}
  trustRoots: [corp]
  identities:
  - {name: platform, issuer: "https://gitlab.corp.internal", subjectRegExp: 'https://gitlab\.corp\.internal/platform/[^/]+//\.gitlab-ci\.yml@refs/heads/main'}
  require: {sct: false}
  engines:
    native: {}
    policyController: {}
  enforcement: {desired: Enforce, soak: 120h}
---
# What projects publish, as it was carried in.
apiVersion: holdfast.dev/v1alpha1
kind: SigningIdentityPolicy
metadata: {name: upstream}
spec:
  images: ["registry.corp.internal/mirror/**", "docker.io/library/*"]
  otherImages: Allow
  trustRoots: [sigstore-public]
  identities:
  - {name: projects, issuer: "https://token.actions.githubusercontent.com", subjectRegExp: 'https://github\.com/projects/[^/]+/\.github/workflows/release\.yaml@refs/tags/v.*'}
  engines:
    kyverno: {}
    policyController: {}
  enforcement: {desired: Audit}
---
# The vendor signs with a key and uses no log.
apiVersion: holdfast.dev/v1alpha1
kind: SigningIdentityPolicy
metadata: {name: corebank}
spec:
  images: ["registry.corp.internal/vendor/corebank/**"]
  otherImages: Deny
  namespaceSelector: {matchLabels: {team: corebank}}
  identities:
  - name: vendor
    key:
      pem: |
        $CORE_IN_LIST
  require: {transparencyLog: false, sct: false}
  engines:
    native: {}
    policyController: {}
  enforcement:
    desired: Enforce
    waves:
    - {name: canary, namespaceSelector: {matchLabels: {wave: canary}}}
    - {name: everything}
---
# Another vendor, on its way from a key to a pipeline.
apiVersion: holdfast.dev/v1alpha1
kind: SigningIdentityPolicy
metadata: {name: scanner}
spec:
  images: ["registry.corp.internal/vendor/scanner/*"]
  otherImages: Allow
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: security}}
  trustRoots: [sigstore-public]
  identities:
  - name: key
    key: {secretRef: {name: scanner-vendor, key: cosign.pub}}
  - {name: pipeline, issuer: "https://token.actions.githubusercontent.com", subjectRegExp: 'https://github\.com/scanner-vendor/[^/]+/\.github/workflows/release\.yaml@refs/tags/v.*', optional: true}
  require: {transparencyLog: false, sct: false}
  engines:
    kyverno: {kind: ClusterPolicy}
  enforcement: {desired: Audit}
---
apiVersion: holdfast.dev/v1alpha1
kind: SigningIdentityPolicy
metadata: {name: data}
spec:
  images: ["registry.corp.internal/data/**"]
  otherImages: Deny
  namespaceSelector: {matchLabels: {tier: data}}
  trustRoots: [corp, sigstore-public]
  identities:
  - {name: data, issuer: "https://gitlab.corp.internal", subjectRegExp: 'https://gitlab\.corp\.internal/data/[^/]+//\.gitlab-ci\.yml@refs/(?:heads/main|tags/v.*)'}
  require: {attestations: ["https://cyclonedx.org/bom"], sct: false}
  engines:
    native: {}
    kyverno: {}
    policyController: {}
  enforcement: {desired: Audit, minimumCoverage: 98}
---
apiVersion: holdfast.dev/v1alpha1
kind: SigningIdentityPolicy
metadata: {name: sandbox}
spec:
  images: ["registry.corp.internal/sandbox/**"]
  otherImages: Allow
  namespaceSelector: {matchLabels: {tier: sandbox}}
  trustRoots: [corp]
  identities:
  - {name: developers, issuer: "https://sso.corp.internal", subjectRegExp: '[a-z.]+@corp\.example', optional: true}
  require: {sct: false}
  engines:
    policyController: {}
  enforcement: {desired: Audit}
---
# Runners have no template: what they may run is taken in by repository.
apiVersion: holdfast.dev/v1alpha1
kind: SigningIdentityPolicy
metadata: {name: ci}
spec:
  images: ["registry.corp.internal/ci/*"]
  namespaceSelector: {matchLabels: {team: ci}}
  trustRoots: [corp]
  identities:
  - {name: ci, issuer: "https://gitlab.corp.internal", subjectRegExp: 'https://gitlab\.corp\.internal/ci/[^/]+//\.gitlab-ci\.yml@refs/heads/main'}
  require: {signedTimestamp: true, sct: false}
  engines:
    native: {}
  enforcement: {desired: Enforce, soak: 24h}
---
apiVersion: v1
kind: Secret
metadata: {name: scanner-vendor, namespace: holdfast-system}
stringData:
  cosign.pub: |
    $SCANNER
"#;
