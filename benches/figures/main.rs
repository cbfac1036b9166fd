//! The figures of `docs/performance.md`: ratios to a limit or a peer, taken in one process on a quiet machine.
//!
//! `cargo bench` prints them; nothing here fails for being slow.
#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::cast_precision_loss, missing_docs)] // a figure, not a product

mod index;
mod render;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ED25519, UnparsedPublicKey, VerificationAlgorithm,
};
use holdfast::sources::{self, Directory};
use holdfast_core::Digest;
use holdfast_core::api::SigningIdentityPolicy;
use holdfast_core::coverage::{Found, Inventory, Memo, Workload, assess, compile};
use holdfast_core::engines::Verified;
use holdfast_core::engines::native::Shards;
use holdfast_core::trust::root::TrustRoot;
use holdfast_core::trust::tuf::{Grace, Refresh, State};
use holdfast_core::verify::{
    Accept, Artifact, Evidence, EvidenceRequirements, Limits, Matcher, Policy, PreparedRoot, Reason, Signer, Verdict,
    judge,
};
use holdfast_testpki::{Key, LogForm, Recipe, Sigstore};
use jiff::Timestamp;

const SUBJECT: &str = "https://ci.example/release";
const ISSUER: &str = "https://issuer.example";
const IMAGE: &[u8] = b"an image manifest";

fn main() {
    let all: [(&str, fn()); 7] = [
        ("verification", verification),
        ("import", import),
        ("plan", plan),
        ("digest-maps", digest_maps),
        ("render", render::render),
        ("index", index::index),
        ("start-up", start_up),
    ];
    // Cargo adds options of its own; a name asks for one figure.
    let asked: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    for (name, figure) in all {
        if asked.is_empty() || asked.iter().any(|asked| asked == name) {
            figure();
        }
    }
}

/// The median time of one call, over rounds of calls.
fn time(mut call: impl FnMut()) -> Duration {
    let mut rounds: Vec<Duration> = (0..15)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..20 {
                call();
            }
            start.elapsed() / 20
        })
        .collect();
    rounds.sort();
    rounds[rounds.len() / 2]
}

/// How many times the work of one thread several threads do in the same time: the median of rounds, each of which measures both, so that a machine
/// which slows down meanwhile slows both.
fn speedup(threads: u32, call: impl Fn() + Sync) -> f64 {
    let round = |threads: u32| {
        let start = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| (0..100).for_each(|_| call()));
            }
        });
        start.elapsed().as_secs_f64() / f64::from(threads)
    };
    let mut rounds: Vec<f64> = (0..15).map(|_| round(1) / round(threads)).collect();
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}

fn raw(key: &Key, algorithm: &'static dyn VerificationAlgorithm) -> Duration {
    let message = [7; 300];
    let (public, signature) = (key.raw(), key.sign(&message));
    time(|| UnparsedPublicKey::new(algorithm, black_box(&public)).verify(&message, &signature).unwrap())
}

fn policy() -> Policy {
    Policy {
        signers: vec![Signer::Certificate {
            name: "release".to_owned(),
            subject: Matcher::Exact(SUBJECT.to_owned()),
            issuer: Matcher::Exact(ISSUER.to_owned()),
        }],
        evidence: EvidenceRequirements::DEFAULT,
        accept: Accept::Signature { attestations: Vec::new() },
        limits: Limits::default(),
    }
}

fn now() -> Timestamp {
    "2026-07-01T00:00:00Z".parse().unwrap()
}

/// Throughput of verdicts against the limit that the signatures a bundle needs set by themselves.
fn verification() {
    let p256 = raw(&Key::p256(), &ECDSA_P256_SHA256_ASN1);
    let p384 = raw(&Key::p384(), &ECDSA_P384_SHA384_ASN1);
    let ed25519 = raw(&Key::ed25519(), &ED25519);
    println!("raw signatures: P-256 {p256:.1?}, P-384 {p384:.1?}, Ed25519 {ed25519:.1?}");
    let sigstore = Sigstore::new();
    let root =
        PreparedRoot::new(TrustRoot::from_json("bench", sigstore.trusted_root().to_string().as_bytes()).unwrap())
            .unwrap();
    let image = || Recipe::image(SUBJECT, ISSUER);
    let cases = [
        // Promise, SCT, checkpoint and artefact by P-256; the leaf by P-384.
        ("Rekor v1", Recipe { timestamp: false, ..image() }, p256 * 4 + p384),
        // SCT and artefact by P-256, checkpoint by Ed25519; the leaf, the timestamp and its certificate by P-384.
        ("Rekor v2", Recipe { log: LogForm::V2, ..image() }, p256 * 2 + ed25519 + p384 * 3),
        // As Rekor v1, and a timestamp with its certificate by P-384.
        ("cosign v3 image", image(), p256 * 4 + p384 * 3),
    ];
    for (name, recipe, limit) in cases {
        let evidence = [Evidence::bundle("bench", sigstore.bundle(IMAGE, &recipe).to_string().into_bytes())];
        let (artifact, policy) = (Artifact::of_bytes(IMAGE.to_vec()), policy());
        let one = || assert_eq!(judge(&artifact, &evidence, &policy, &[&root], now()).reason, Reason::Verified);
        let took = time(one);
        let two_threads = speedup(2, one);
        println!(
            "verdict, {name}: {took:.1?}, {:.0}% of the raw-signature limit {limit:.1?}; two threads {two_threads:.2}x",
            100.0 * limit.as_secs_f64() / took.as_secs_f64(),
        );
    }
}

/// A warm import of a real repository, all files read and verified.
fn import() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("shared/real");
    let real = std::env::var_os("HOLDFAST_REAL_DATA").map_or(beside, Into::into).join("sigstore-tuf-2026-08-21");
    if !real.is_dir() {
        println!("import: skipped, there is no real data in {}", real.display());
        return;
    }
    let at: Timestamp = "2026-08-22T00:00:00Z".parse().unwrap();
    let root = std::fs::read(real.join("5.root.json")).unwrap();
    let source = Directory::open(&real, None).unwrap();
    let took = time(|| {
        let state = State::bootstrap(&root, None, at).unwrap();
        let mut refresh = Refresh::begin(&state, at, Grace::NONE).unwrap();
        sources::refresh(&source, &mut refresh).unwrap();
        let target = sources::target(&source, &mut refresh, "trusted_root.json", &|| None).unwrap();
        black_box(TrustRoot::from_json("public", target.bytes()).unwrap());
    });
    println!("import of the public repository from root v5, ten roots on: {took:.1?} (limit 30 ms)");
}

/// A plan over many images and five times as many pods, with verdicts memoised.
fn plan() {
    let sigstore = Sigstore::new();
    let document = sigstore.trusted_root().to_string();
    let roots = BTreeMap::from([(
        "corp".to_owned(),
        Arc::new(PreparedRoot::new(TrustRoot::from_json("corp", document.as_bytes()).unwrap()).unwrap()),
    )]);
    let declared: SigningIdentityPolicy = serde_json::from_value(serde_json::json!({
        "apiVersion": "holdfast.dev/v1alpha1", "kind": "SigningIdentityPolicy", "metadata": {"name": "apps"},
        "spec": {"images": ["registry.corp.internal/**"], "trustRoots": ["corp"],
                 "identities": [{"name": "ci", "issuer": ISSUER, "subject": SUBJECT}]},
    }))
    .unwrap();
    let policies = [compile(&declared, &|_| Err("none".to_owned())).unwrap()];
    for count in [1_000, 10_000, 100_000] {
        let before = resident();
        let (inventory, found) = estate(&sigstore, count);
        let (held, mut memo) = (resident(), Memo::default());
        let start = Instant::now();
        assess(&inventory, &policies, &found, &roots, &mut memo, now());
        let cold = start.elapsed();
        assert_eq!(memo.len(), count, "every image has a verdict of its own");
        let start = Instant::now();
        let coverage = assess(&inventory, &policies, &found, &roots, &mut memo, now());
        let warm = start.elapsed();
        assert_eq!(coverage.totals.covered, count);
        println!(
            "plan over {count} images and {} pods: {warm:.1?} with verdicts memoised, {cold:.1?} without; {} MiB of inventory and evidence, {} MiB of verdicts",
            count * 5,
            held.saturating_sub(before),
            resident().saturating_sub(held)
        );
    }
}

/// So many images, each with a digest and a bundle of its own, and five pods of each.
fn estate(sigstore: &Sigstore, count: usize) -> (Inventory, BTreeMap<String, Found>) {
    let manifests: Vec<String> = (0..count).map(|image| format!("the manifest of image {image}")).collect();
    let bundles: Vec<Vec<u8>> = std::thread::scope(|scope| {
        let halves = manifests.chunks(count.div_ceil(2)).map(|half| {
            scope.spawn(|| {
                let bundle = |manifest: &String| sigstore.bundle(manifest.as_bytes(), &Recipe::image(SUBJECT, ISSUER));
                half.iter().map(|manifest| bundle(manifest).to_string().into_bytes()).collect::<Vec<_>>()
            })
        });
        let halves: Vec<_> = halves.collect();
        halves.into_iter().flat_map(|half| half.join().unwrap()).collect()
    });
    let mut inventory = Inventory::default();
    let mut found = BTreeMap::new();
    for (image, (manifest, bundle)) in manifests.iter().zip(bundles).enumerate() {
        let digest = holdfast_core::Digest::of(manifest.as_bytes());
        let team = format!("team-{}", image % 50);
        let name = format!("registry.corp.internal/{team}/app-{image}@{digest}");
        for pod in 0..5 {
            let name_of_pod = format!("app-{image}-{pod}");
            let workload = Workload { namespace: team.clone(), kind: "Pod".to_owned(), name: name_of_pod };
            inventory.add(&workload, "main", &name);
        }
        let evidence = vec![Evidence::bundle("b", bundle)];
        found.insert(name, Found::Image { artifact: Artifact::of_digest(digest), evidence, incomplete: None });
    }
    (inventory, found)
}

/// The shards of verified digests against a plain sort of the same digests.
fn digest_maps() {
    for count in [1_000_u32, 10_000, 100_000] {
        let digests: Vec<Digest> = (0..count).map(|number| Digest::of(&number.to_be_bytes())).collect();
        let before = resident();
        let mut verified = Verified::default();
        for digest in &digests {
            verified.admit("apps", &Verdict::without_evidence(*digest, Reason::Verified, ""));
        }
        let mut sorts: Vec<Duration> = Vec::new();
        let mut packs: Vec<Duration> = Vec::new();
        for _ in 0..9 {
            let mut plain = digests.clone();
            let start = Instant::now();
            plain.sort();
            sorts.push(start.elapsed());
            black_box(plain);
            let start = Instant::now();
            let objects = Shards::pack(&verified, "apps", None).objects().collect::<Vec<_>>();
            packs.push(start.elapsed());
            black_box(objects);
        }
        sorts.sort();
        packs.sort();
        let objects: Vec<_> = Shards::pack(&verified, "apps", None).objects().collect();
        let bytes: usize = objects.iter().map(|object| object.body().to_string().len()).sum();
        println!(
            "digest maps of {count}: {:.1?}, {:.1}x a plain sort (limit 5x); {} objects of {} KiB in all, {} MiB resident more than before (limit 60 MiB)",
            packs[4],
            packs[4].as_secs_f64() / sorts[4].as_secs_f64(),
            objects.len(),
            bytes / 1024,
            resident().saturating_sub(before)
        );
    }
}

/// Resident memory in MiB.
fn resident() -> u64 {
    resident_bytes() / (1024 * 1024)
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default() * 1024
}

/// Start-up of the command line beside its neighbours, where they are on the path.
fn start_up() {
    let ours = env!("CARGO_BIN_EXE_holdfast");
    for (program, args) in [(ours, &["--help"][..]), ("cosign", &["version"]), ("kubectl", &["version", "--client"])] {
        let run = || Command::new(program).args(args).output();
        if run().is_err() {
            println!("start-up of {program}: not on the path");
            continue;
        }
        let took = time(|| drop(run()));
        println!(
            "start-up of {} {}: {took:.1?}",
            Path::new(program).file_name().unwrap().to_string_lossy(),
            args.join(" ")
        );
    }
}
