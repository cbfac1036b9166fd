//! Writes the material of `examples/estate`: the manifests of a bank's cluster, an image layout, and three trust repositories as they were imported and
//! as the courier brings them.
//!
//! Keys are new each time; what `holdfast plan` says of the result is not.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic)] // a generator that cannot go on stops

mod policies;
mod teams;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use holdfast_testpki::example::{Evidence, Pod, Workload, at};
use holdfast_testpki::layout::{Image, Layout};
use holdfast_testpki::tuf::{Repository, write_all};
use holdfast_testpki::{LogForm, Recipe, SignerForm, Sigstore, Subject, sha256};
use serde_json::{Value, json};

use teams::{BY_HAND, Namespace, Signer, Story, TEAMS, Team};

const GITLAB: &str = "https://gitlab.corp.internal";
const SSO: &str = "https://sso.corp.internal";
const GITHUB: &str = "https://token.actions.githubusercontent.com";
const PAUSE: &str = "registry.corp.internal/base/pause";

/// The Sigstores that sign for this estate. The keys of the first two stand for those of two vendors.
struct Sigstores {
    public: Sigstore,
    github: Sigstore,
    corp: Sigstore,
}

fn main() -> std::io::Result<()> {
    let out: PathBuf = std::env::args().nth(1).expect("a directory to write to").into();
    let founded = at("2025-06-01T00:00:00Z");
    let sigstores = Sigstores {
        public: Sigstore::of("sigstore.example", founded),
        github: Sigstore::of("github.example", founded),
        corp: Sigstore::of("corp.internal", founded),
    };
    let mut layout = Layout::new();
    let mut images = BTreeMap::new();
    for team in TEAMS {
        for (service, story) in team.services {
            let repository = format!("{}/{service}", team.repositories);
            let image = layout.image(&repository, &format!("{repository}:1.0"));
            for (sigstore, evidence) in sigstores.evidence(team, service, *story) {
                evidence.store(&mut layout, &image, sigstore);
            }
            images.insert(repository, image);
        }
    }
    images.insert(PAUSE.to_owned(), layout.image(PAUSE, &format!("{PAUSE}:3.10")));
    layout.write(&out.join("images"))?;
    let mut files = BTreeMap::new();
    files.insert("holdfast/trust.yaml".to_owned(), trust(&out, &sigstores)?);
    let (corebank, scanner) = (sigstores.public.managed_key.pem(), sigstores.github.managed_key.pem());
    files.insert("holdfast/policies.yaml".to_owned(), policies::text(&images[PAUSE].digest, &corebank, &scanner));
    files.insert("namespaces.yaml".to_owned(), TEAMS.iter().map(namespaces).collect());
    for team in TEAMS {
        let workloads: String = declared(team, &images).iter().map(ToString::to_string).collect();
        files.insert(format!("apps/{}.yaml", team.name), workloads);
    }
    files.insert("apps/by-hand.yaml".to_owned(), by_hand(&images).iter().map(ToString::to_string).collect());
    let files = files.into_iter().map(|(name, text)| (name, text.into_bytes())).collect();
    write_all(&out.join("clusters/prod"), &files)
}

impl Sigstores {
    /// What is stored for one image, and whose Sigstore signs it.
    fn evidence(&self, team: &Team, service: &str, story: Story) -> Vec<(&Sigstore, Evidence)> {
        let (sigstore, recipe) = self.recipe(team, service);
        let recipe = |story: Story| match story {
            Story::Stranger => Recipe { signer: by_uri("intern/fork"), ..recipe.clone() },
            Story::NoLog => Recipe { log: LogForm::None, ..recipe.clone() },
            Story::NoTimestamp => Recipe { timestamp: false, ..recipe.clone() },
            Story::NoSct => Recipe { sct: false, ..recipe.clone() },
            Story::NextLog => Recipe { log: LogForm::V2, timestamp: true, ..recipe.clone() },
            Story::LateEntry => Recipe { at: at("2026-06-11T09:00:00Z"), ..recipe.clone() },
            Story::With(flaw) => recipe.clone().with(flaw),
            _ => recipe.clone(),
        };
        let signature = recipe(story);
        let mut evidence = vec![match story {
            Story::Unsigned => return Vec::new(),
            Story::OtherKey => (&self.github, Evidence::Bundle(signature)),
            Story::Lost => (sigstore, Evidence::Lost(signature)),
            Story::ByTag => (sigstore, Evidence::ByTag(signature)),
            Story::Legacy => (sigstore, Evidence::Legacy(signature)),
            _ => (sigstore, Evidence::Bundle(signature)),
        }];
        let count = team.statements.len() - usize::from(story == Story::StatementMissing);
        for predicate in team.statements.iter().take(count) {
            let statement = Recipe { predicate: Some((*predicate).to_owned()), ..recipe(Story::Good) };
            evidence.push((sigstore, Evidence::Bundle(statement)));
        }
        if team.signer == Signer::PipelineAndBoard && story != Story::Stranger {
            let board = Recipe { signer: by_mail("release-board@corp.example"), ..recipe(Story::Good) };
            evidence.push((sigstore, Evidence::Bundle(board)));
        }
        evidence
    }

    /// How a team's images are signed where nothing is particular about them.
    fn recipe(&self, team: &Team, service: &str) -> (&Sigstore, Recipe) {
        let own = |signer: SignerForm| Recipe { signer, log: LogForm::V2, sct: false, ..Recipe::image("", "") };
        let workflow = |organisation: &str, tag: &str| {
            let subject =
                format!("https://github.com/{organisation}/{service}/.github/workflows/release.yaml@refs/tags/{tag}");
            Recipe::image(&subject, GITHUB)
        };
        let vendor = Recipe { log: LogForm::None, ..Recipe::key() };
        match team.signer {
            Signer::Pipeline | Signer::PipelineAndBoard => {
                (&self.corp, own(by_uri(&format!("{}/{service}", team.name))))
            }
            Signer::Developer => (&self.corp, own(by_mail("dana@corp.example"))),
            Signer::Workflow => {
                (&self.github, Recipe { log: LogForm::None, sct: false, ..workflow("acme-bank", "v2.3.1") })
            }
            Signer::Project => (&self.public, Recipe { timestamp: false, ..workflow("projects", "v1.0.0") }),
            Signer::CoreBankVendor => (&self.public, vendor),
            Signer::ScannerVendor => (&self.github, vendor),
        }
    }
}

fn by_uri(project: &str) -> SignerForm {
    let subject = format!("{GITLAB}/{project}//.gitlab-ci.yml@refs/heads/main");
    SignerForm::Certificate { subject: Subject::Uri(subject), issuer: GITLAB.to_owned() }
}

fn by_mail(address: &str) -> SignerForm {
    SignerForm::Certificate { subject: Subject::Email(address.to_owned()), issuer: SSO.to_owned() }
}

/// Writes the repositories before and after the courier came, and gives the manifests of their mirrors.
fn trust(out: &Path, sigstores: &Sigstores) -> std::io::Result<String> {
    let public = |rotated: bool| {
        let mut root = sigstores.public.trusted_root();
        let logs = root["tlogs"].as_array_mut().expect("logs");
        logs.remove(1);
        if rotated {
            logs[0]["publicKey"]["validFor"]["end"] = json!("2026-06-10T00:00:00Z");
        } else {
            logs.truncate(1);
            root["timestampAuthorities"] = json!([]);
        }
        root
    };
    let without = |sigstore: &Sigstore, logs: &[usize]| {
        let mut root = sigstore.trusted_root();
        root["ctlogs"] = json!([]);
        root["tlogs"] = logs.iter().map(|log| root["tlogs"][*log].clone()).collect();
        root
    };
    let (github, corp) = (without(&sigstores.github, &[]), without(&sigstores.corp, &[2]));
    let carried = [
        Carried {
            name: "sigstore-public",
            made: "2026-06-01",
            expires: "2026-06-08",
            held: public(false),
            next: Some(("2026-06-19", public(true))),
        },
        // Nothing new came for a year: all but the timestamp runs out within days.
        Carried { name: "github", made: "2025-06-24", expires: "2026-07-01", held: github, next: None },
        Carried {
            name: "corp",
            made: "2026-06-01",
            expires: "2026-06-08",
            next: Some(("2026-07-14", corp.clone())),
            held: corp,
        },
    ];
    let mut text = String::new();
    let mut local = BTreeMap::new();
    for repository in &carried {
        text += &policies::trust(repository.name, &repository.write(out)?);
        // The cluster serves each root anew, signed with keys of its own; engines start from this root.
        let own = Repository::new(at("2026-06-02T00:00:00Z"));
        local.insert(format!("{}.root.json", repository.name), own.files()["1.root.json"].clone());
    }
    write_all(&out.join("local"), &local)?;
    Ok(text)
}

/// A repository as it is held, and what the courier brings.
struct Carried {
    name: &'static str,
    made: &'static str,
    /// The day the timestamp ends.
    expires: &'static str,
    held: Value,
    next: Option<(&'static str, Value)>,
}

impl Carried {
    /// Writes both; gives the root everything starts from.
    fn write(&self, out: &Path) -> std::io::Result<Vec<u8>> {
        let midnight = |day: &str| format!("{day}T00:00:00Z");
        let mut repository = Repository::new(at(&midnight(self.made)));
        repository.timestamp["expires"] = json!(midnight(self.expires));
        repository.files.insert("trusted_root.json".to_owned(), serde_json::to_vec_pretty(&self.held)?);
        // Signed once: the same version with other bytes would be an equivocation.
        let held = repository.files();
        write_all(&out.join("before").join(self.name), &held)?;
        let mirror = out.join("mirror").join(self.name);
        match &self.next {
            Some((expires, next)) => {
                repository.publish(at("2026-06-12T00:00:00Z"));
                repository.timestamp["expires"] = json!(midnight(expires));
                repository.files.insert("trusted_root.json".to_owned(), serde_json::to_vec_pretty(next)?);
                repository.write(&mirror)?;
            }
            None => write_all(&mirror, &held)?,
        }
        Ok(held["1.root.json"].clone())
    }
}

fn namespaces(team: &Team) -> String {
    let manifest = |namespace: &Namespace| {
        let Namespace { name, tier, wave } = namespace;
        let wave = if wave.is_empty() { String::new() } else { format!("    wave: {wave}\n") };
        format!(
            "---\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: {name}\n  labels:\n    tier: {tier}\n    team: {}\n{wave}",
            team.name
        )
    };
    team.namespaces.iter().map(manifest).collect()
}

/// The workloads of a team: each service, and what commonly stands beside it.
fn declared(team: &Team, images: &BTreeMap<String, Image>) -> Vec<Workload> {
    let by_digest = |repository: &str| format!("{repository}@{}", images[repository].digest);
    let mut workloads = Vec::new();
    for (place, namespace) in team.namespaces.iter().enumerate() {
        for (number, (service, _)) in team.services.iter().enumerate() {
            if !team.everywhere && number % team.namespaces.len() != place {
                continue;
            }
            let image = by_digest(&format!("{}/{service}", team.repositories));
            let mut pod = Pod::of(&image);
            if namespace.tier == "prod" && number % 3 == 0 {
                let init = by_digest("registry.corp.internal/platform/mesh-init");
                pod.init.push(("mesh-init".to_owned(), init));
            }
            if namespace.tier != "sandbox" && number % 4 == 1 {
                let shipper = by_digest("registry.corp.internal/platform/log-shipper");
                pod.containers.push(("log-shipper".to_owned(), shipper));
            }
            if namespace.name == "models" {
                let weights = by_digest("registry.corp.internal/data/weights");
                pod.volumes.push(("weights".to_owned(), weights));
            }
            let kind = match (namespace.tier, number % 5) {
                ("platform" | "system", 1 | 4) => "DaemonSet",
                (_, 2) => "StatefulSet",
                _ => "Deployment",
            };
            let mut add = |kind: &'static str, suffix: &str, pod: Pod| {
                let name = format!("{service}{suffix}");
                workloads.push(Workload { namespace: namespace.name.to_owned(), kind, name, pod });
            };
            add(kind, "", pod);
            // Canaries are not cleaned up after, and in a sandbox nothing stands beside anything.
            let alone = namespace.tier == "sandbox";
            for (wanted, kind, suffix) in [
                (!alone && number % 2 == 0, "Deployment", "-worker"),
                (!alone && namespace.wave != "canary" && number % 3 == 0, "CronJob", "-cleanup"),
                (!alone && number % 4 == 1, "Job", "-migrate"),
            ] {
                if wanted {
                    add(kind, suffix, Pod::of(&image));
                }
            }
        }
    }
    workloads
}

fn by_hand(images: &BTreeMap<String, Image>) -> Vec<Workload> {
    let image = |text: &str| match text.split_once('{') {
        Some((before, repository)) => {
            let repository = repository.trim_end_matches('}');
            let digest = images.get(repository).map_or_else(
                || format!("sha256:{}", hex::encode(sha256(repository.as_bytes()))),
                |image| image.digest.clone(),
            );
            format!("{before}{digest}")
        }
        None => text.to_owned(),
    };
    let workload = |line: &'static str| {
        let [namespace, kind, name, text] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("four words: {line}")
        };
        Workload { namespace: namespace.to_owned(), kind, name: name.to_owned(), pod: Pod::of(&image(text)) }
    };
    BY_HAND.trim().lines().map(workload).collect()
}
