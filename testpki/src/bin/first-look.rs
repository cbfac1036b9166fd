//! Writes the material of `examples/first-look`: manifests, an image layout, and a trust repository before and after a rotation.
//!
//! Keys are new each time; what `holdfast plan` says of the result is not.
#![allow(clippy::expect_used, clippy::indexing_slicing)] // a generator that cannot go on stops

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use holdfast_testpki::example::{Evidence, Pod, Workload, at, mirror};
use holdfast_testpki::layout::Layout;
use holdfast_testpki::tuf::{Repository, RoleKeys};
use holdfast_testpki::{Flaw, LogForm, Recipe, Sigstore};
use serde_json::json;

const ISSUER: &str = "https://gitlab.corp.internal";
const PROVENANCE: &str = "https://slsa.dev/provenance/v1";

fn main() -> std::io::Result<()> {
    let out: PathBuf = std::env::args().nth(1).expect("a directory to write to").into();
    let sigstore = Sigstore::new();
    trust(&out, &sigstore)?;
    let manifests = out.join("clusters/prod");
    fs::create_dir_all(&manifests)?;
    let mut layout = Layout::new();
    let mut workloads = String::new();
    for (team, kind, name, recipe) in estate() {
        let image = stored(&mut layout, &sigstore, team, name, &recipe);
        let _ = write!(workloads, "{}", workload(team, kind, name, &image));
    }
    let base = layout.image("base image", "registry.corp.internal/base/pause:3.10");
    let exempt = format!("registry.corp.internal/base/pause@{}", base.digest);
    let _ = write!(workloads, "{}", workload("platform", "DaemonSet", "node-agent", &exempt));
    let _ = write!(workloads, "{}", workload("platform", "Pod", "debug", "docker.io/library/busybox:1.37"));
    fs::write(manifests.join("workloads.yaml"), workloads)?;
    fs::write(manifests.join("policies.yaml"), policies(&exempt))?;
    layout.write(&out.join("images"))
}

/// The trust repository as it was imported, and as the courier brings it after a rotation.
fn trust(out: &std::path::Path, sigstore: &Sigstore) -> std::io::Result<()> {
    let mut held = sigstore.trusted_root();
    held["tlogs"].as_array_mut().expect("logs").truncate(2);
    let mut next = sigstore.trusted_root();
    next["tlogs"][1]["publicKey"]["validFor"]["end"] = json!("2026-06-10T00:00:00Z");
    let mut repository = Repository::new(at("2026-06-01T00:00:00Z"));
    repository.files.insert("trusted_root.json".to_owned(), serde_json::to_vec_pretty(&held)?);
    repository.write(&out.join("before"))?;
    let root = repository.files()["1.root.json"].clone();
    repository.rotate(at("2026-06-12T00:00:00Z"), |keys| {
        keys.insert("timestamp".to_owned(), RoleKeys::new(1, 1));
    });
    repository.publish(at("2026-06-12T00:00:00Z"));
    repository.files.insert("trusted_root.json".to_owned(), serde_json::to_vec_pretty(&next)?);
    repository.write(&out.join("mirror/corp"))?;
    let manifests = out.join("clusters/prod");
    fs::create_dir_all(&manifests)?;
    let rest = "freshness:\n  grace: 72h\n  maxAge: 240h\nrotation:\n  approval: Required";
    let mirror = mirror("corp", "The organisation's own Sigstore, carried in by courier.", &root, rest);
    fs::write(manifests.join("trust.yaml"), mirror)
}

/// What runs, by team, and what is wrong with its evidence.
fn estate() -> Vec<(&'static str, &'static str, &'static str, Vec<Evidence>)> {
    use Evidence::{Bundle, ByTag, Legacy, Lost};
    let image = |team: &str, name: &str| Recipe::image(&subject(team, name), ISSUER);
    let good = |team: &str, name: &str| vec![Bundle(image(team, name))];
    let flawed = |team: &str, name: &str, flaw: Flaw| vec![Bundle(image(team, name).with(flaw))];
    let stranger =
        Recipe::image("https://github.com/someone/fork/.github/workflows/build.yaml@refs/heads/main", ISSUER);
    let provenance =
        |team: &str, name: &str| Bundle(Recipe { predicate: Some(PROVENANCE.to_owned()), ..image(team, name) });
    vec![
        ("shop", "Deployment", "web", good("shop", "web")),
        ("shop", "Deployment", "cart", vec![ByTag(image("shop", "cart"))]),
        ("shop", "StatefulSet", "search", vec![Legacy(Recipe { timestamp: false, ..image("shop", "search") })]),
        ("shop", "CronJob", "sitemap", vec![]),
        ("shop", "Deployment", "reviews", vec![Bundle(Recipe { log: LogForm::V2, ..image("shop", "reviews") })]),
        ("shop", "Job", "migrate", vec![Lost(image("shop", "migrate"))]),
        ("billing", "Deployment", "api", vec![Bundle(image("billing", "api")), provenance("billing", "api")]),
        ("billing", "Deployment", "invoices", good("billing", "invoices")),
        ("billing", "StatefulSet", "ledger", vec![Bundle(stranger)]),
        ("billing", "CronJob", "dunning", flawed("billing", "dunning", Flaw::InclusionProof)),
        ("billing", "Deployment", "export", flawed("billing", "export", Flaw::OtherArtifact)),
        ("platform", "Deployment", "ingress", good("platform", "ingress")),
        ("platform", "DaemonSet", "logs", flawed("platform", "logs", Flaw::ExpiredCertificate)),
        ("platform", "Deployment", "dns", vec![Bundle(Recipe { log: LogForm::None, ..image("platform", "dns") })]),
        ("platform", "Deployment", "metrics", flawed("platform", "metrics", Flaw::UnknownAuthority)),
        ("platform", "Deployment", "vault", vec![Bundle(Recipe { sct: false, ..image("platform", "vault") })]),
    ]
}

fn subject(team: &str, name: &str) -> String {
    format!("https://gitlab.corp.internal/{team}/{name}//.gitlab-ci.yml@refs/heads/main")
}

/// Stores an image with its evidence and gives the reference a workload uses.
fn stored(layout: &mut Layout, sigstore: &Sigstore, team: &str, name: &str, evidence: &[Evidence]) -> String {
    let repository = format!("registry.corp.internal/{team}/{name}");
    let image = layout.image(&format!("{team}/{name}"), &format!("{repository}:1.0"));
    for piece in evidence {
        piece.store(layout, &image, sigstore);
    }
    format!("{repository}@{}", image.digest)
}

fn workload(namespace: &str, kind: &'static str, name: &str, image: &str) -> Workload {
    Workload { namespace: namespace.to_owned(), kind, name: name.to_owned(), pod: Pod::of(image) }
}

fn policies(exempt: &str) -> String {
    let namespaces = ["shop", "billing", "platform"]
        .map(|name| {
            format!("---\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: {name}\n  labels:\n    tier: apps\n")
        })
        .concat();
    format!(
        r#"{namespaces}---
# Whatever runs in a namespace of this tier was built by the pipeline of its team.
apiVersion: holdfast.dev/v1alpha1
kind: SigningIdentityPolicy
metadata:
  name: apps
spec:
  images:
  - registry.corp.internal/shop/**
  - registry.corp.internal/billing/**
  - registry.corp.internal/platform/**
  - registry.corp.internal/base/**
  exemptImages:
  - image: {exempt}
    reason: node image, signed by the platform key and pinned
  namespaceSelector:
    matchLabels:
      tier: apps
  trustRoots: [corp]
  identities:
  - name: pipelines
    issuer: {ISSUER}
    subjectRegExp: https://gitlab\.corp\.internal/(?:shop|billing|platform)/[^/]+//\.gitlab-ci\.yml@refs/heads/main
  engines:
    native: {{}}
---
# Money moves here: where an image was built from has to be known as well.
apiVersion: holdfast.dev/v1alpha1
kind: SigningIdentityPolicy
metadata:
  name: payments
spec:
  images: [registry.corp.internal/billing/**]
  namespaceSelector:
    matchLabels:
      kubernetes.io/metadata.name: billing
  trustRoots: [corp]
  identities:
  - name: billing
    issuer: {ISSUER}
    subjectRegExp: https://gitlab\.corp\.internal/billing/[^/]+//\.gitlab-ci\.yml@refs/heads/main
  require:
    attestations: ["{PROVENANCE}"]
  engines:
    native: {{}}
"#
    )
}
