//! Writes the material of `examples/first-look`: manifests, an image layout, and a trust repository before and after a rotation.
//!
//! Keys are new each time; what `holdfast plan` says of the result is not.
#![allow(clippy::expect_used, clippy::indexing_slicing)] // a generator that cannot go on stops

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use holdfast_testpki::layout::{Image, Layout};
use holdfast_testpki::tuf::{Repository, RoleKeys};
use holdfast_testpki::{Flaw, LogForm, Recipe, Sigstore};
use jiff::Timestamp;
use serde_json::{Value, json};

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
    let at = |text: &str| -> Timestamp { text.parse().expect("an instant") };
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
    fs::write(manifests.join("trust.yaml"), mirror(&root))
}

/// What runs, by team, and what is wrong with its evidence.
fn estate() -> Vec<(&'static str, &'static str, &'static str, Vec<Evidence>)> {
    use Evidence::{Bundle, ByTag, Legacy, Lost, None, Stranger};
    let image = |team: &str, name: &str| Recipe::image(&subject(team, name), ISSUER);
    let good = |team: &str, name: &str| vec![Bundle(image(team, name))];
    let flawed = |team: &str, name: &str, flaw: Flaw| vec![Bundle(image(team, name).with(flaw))];
    let provenance =
        |team: &str, name: &str| Bundle(Recipe { predicate: Some(PROVENANCE.to_owned()), ..image(team, name) });
    vec![
        ("shop", "Deployment", "web", good("shop", "web")),
        ("shop", "Deployment", "cart", vec![ByTag(image("shop", "cart"))]),
        ("shop", "StatefulSet", "search", vec![Legacy(Recipe { timestamp: false, ..image("shop", "search") })]),
        ("shop", "CronJob", "sitemap", vec![None]),
        ("shop", "Deployment", "reviews", vec![Bundle(Recipe { log: LogForm::V2, ..image("shop", "reviews") })]),
        ("shop", "Job", "migrate", vec![Lost(image("shop", "migrate"))]),
        ("billing", "Deployment", "api", vec![Bundle(image("billing", "api")), provenance("billing", "api")]),
        ("billing", "Deployment", "invoices", good("billing", "invoices")),
        ("billing", "StatefulSet", "ledger", vec![Stranger]),
        ("billing", "CronJob", "dunning", flawed("billing", "dunning", Flaw::InclusionProof)),
        ("billing", "Deployment", "export", flawed("billing", "export", Flaw::OtherArtifact)),
        ("platform", "Deployment", "ingress", good("platform", "ingress")),
        ("platform", "DaemonSet", "logs", flawed("platform", "logs", Flaw::ExpiredCertificate)),
        ("platform", "Deployment", "dns", vec![Bundle(Recipe { log: LogForm::None, ..image("platform", "dns") })]),
        ("platform", "Deployment", "metrics", flawed("platform", "metrics", Flaw::UnknownAuthority)),
        ("platform", "Deployment", "vault", vec![Bundle(Recipe { sct: false, ..image("platform", "vault") })]),
    ]
}

/// One piece of evidence, and how it is stored.
enum Evidence {
    Bundle(Recipe),
    ByTag(Recipe),
    Legacy(Recipe),
    Lost(Recipe),
    Stranger,
    None,
}

fn subject(team: &str, name: &str) -> String {
    format!("https://gitlab.corp.internal/{team}/{name}//.gitlab-ci.yml@refs/heads/main")
}

/// Stores an image with its evidence and gives the reference a workload uses.
fn stored(layout: &mut Layout, sigstore: &Sigstore, team: &str, name: &str, evidence: &[Evidence]) -> String {
    let repository = format!("registry.corp.internal/{team}/{name}");
    let image: Image = layout.image(&format!("{team}/{name}"), &format!("{repository}:1.0"));
    let bundle = |recipe: &Recipe| -> Value { sigstore.bundle(&image.manifest, recipe) };
    for piece in evidence {
        match piece {
            Evidence::Bundle(recipe) => {
                layout.attach(&image, &bundle(recipe));
            }
            Evidence::ByTag(recipe) => layout.attach_by_tag(&image, &bundle(recipe)),
            Evidence::Legacy(recipe) => {
                layout.attach_legacy(&image, &sigstore.legacy_signature(&image.digest, recipe), "sig");
            }
            Evidence::Lost(recipe) => {
                let bundle = bundle(recipe);
                layout.attach(&image, &bundle);
                let blob = layout.blob(bundle.to_string().as_bytes());
                layout.lose(&blob);
            }
            Evidence::Stranger => {
                let stranger = Recipe::image(
                    "https://github.com/someone/fork/.github/workflows/build.yaml@refs/heads/main",
                    ISSUER,
                );
                layout.attach(&image, &bundle(&stranger));
            }
            Evidence::None => {}
        }
    }
    format!("{repository}@{}", image.digest)
}

fn workload(namespace: &str, kind: &str, name: &str, image: &str) -> String {
    let pod = |indent: usize| {
        let pad = " ".repeat(indent);
        format!("{pad}containers:\n{pad}- name: main\n{pad}  image: {image}\n")
    };
    let template = |indent: usize| {
        let pad = " ".repeat(indent);
        format!(
            "{pad}template:\n{pad}  metadata:\n{pad}    labels:\n{pad}      app: {name}\n{pad}  spec:\n{}",
            pod(indent + 4)
        )
    };
    let (version, spec) = match kind {
        "Pod" => ("v1", pod(2)),
        "Job" => ("batch/v1", template(2)),
        "CronJob" => ("batch/v1", format!("  schedule: \"0 3 * * *\"\n  jobTemplate:\n    spec:\n{}", template(6))),
        _ => ("apps/v1", format!("  selector:\n    matchLabels:\n      app: {name}\n{}", template(2))),
    };
    format!(
        "---\napiVersion: {version}\nkind: {kind}\nmetadata:\n  name: {name}\n  namespace: {namespace}\nspec:\n{spec}"
    )
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

fn mirror(root: &[u8]) -> String {
    let digest = hex::encode(holdfast_testpki::sha256(root));
    let root = String::from_utf8_lossy(root);
    let indented = root.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n");
    format!(
        r#"---
# The organisation's own Sigstore, carried in by courier.
apiVersion: holdfast.dev/v1alpha1
kind: TrustRootMirror
metadata:
  name: corp
spec:
  source:
    volume:
      path: /mirror/corp
  bootstrap:
    rootSHA256: "{digest}"
    configMap: {{namespace: holdfast-system, name: corp-bootstrap, key: root.json}}
  freshness:
    grace: 72h
    maxAge: 240h
  rotation:
    approval: Required
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: corp-bootstrap
  namespace: holdfast-system
data:
  root.json: |-
{indented}
"#
    )
}
