//! Scan after scan of a registry that fails in every way: what is covered is what is stored, signed, and was seen to be so in the last scan.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use holdfast_core::Digest;
use holdfast_core::api::SigningIdentityPolicy;
use holdfast_core::api::report::Registry;
use holdfast_core::coverage::{DeclaredRegistries, Image, Inventory, Memo, Roots, Workload, compile};
use holdfast_core::trust::root::TrustRoot;
use holdfast_core::verify::{Outcome, PreparedRoot};
use holdfast_testpki::{Recipe, Sigstore};
use parking_lot::Mutex;
use proptest::prelude::*;
use serde_json::json;
use tokio::sync::Semaphore;

use super::*;
use crate::registry::blobs::Blobs;
use crate::registry::client::fake::{Asked, Body, Fake, Reply};
use crate::registry::client::{Credentials, Settings};
use crate::registry::remote::{Remote, unobserved};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const IMAGES: usize = 3;

/// One image, and the bundle that there is for it.
struct Shelved {
    manifest: Vec<u8>,
    bundle: Vec<u8>,
    referrer: Vec<u8>,
}

impl Shelved {
    fn new(sigstore: &Sigstore, at: usize) -> Self {
        let manifest =
            json!({"schemaVersion": 2, "mediaType": MANIFEST, "layers": [], "annotations": {"n": at.to_string()}});
        let manifest = manifest.to_string().into_bytes();
        let recipe = Recipe::image("https://ci.example/web", "https://issuer.example");
        let bundle = sigstore.bundle(&manifest, &recipe).to_string().into_bytes();
        let layer = json!({"mediaType": BUNDLE, "digest": Digest::of(&bundle), "size": bundle.len()});
        let subject = json!({"mediaType": MANIFEST, "digest": Digest::of(&manifest), "size": manifest.len()});
        let referrer = json!({"schemaVersion": 2, "mediaType": MANIFEST, "layers": [layer], "subject": subject});
        Self { manifest, bundle, referrer: referrer.to_string().into_bytes() }
    }

    fn digest(&self) -> Digest {
        Digest::of(&self.manifest)
    }
}

/// What is so during one scan.
#[derive(Debug, Clone, Default)]
struct Weather {
    /// Images of which the bundle is stored.
    signed: BTreeSet<usize>,
    /// What becomes of an image's requests: of its listing, and of what is fetched.
    listing: BTreeMap<usize, u8>,
    fetching: BTreeMap<usize, u8>,
}

fn broken(kind: u8) -> Reply {
    match kind {
        0 => Reply::new(500, b""),
        1 => Reply::new(403, b""),
        2 => Reply::new(404, b"not here"),
        3 => Reply { body: Body::Whole(b"{}".to_vec()), ..Reply::manifest(MANIFEST, b"") },
        4 => Reply { body: Body::CutOff(100, b"{".to_vec()), ..Reply::manifest(INDEX, b"") },
        _ => Reply::new(302, b"").with("Location", "http://169.254.169.254/"),
    }
}

fn answer(shelf: &[Shelved], weather: &Weather, asked: &Asked) -> Reply {
    let Some(at) = (0..shelf.len()).find(|at| asked.path.contains(&format!("/a{at}/"))) else {
        return Reply::new(404, b"");
    };
    let of = &shelf[at];
    let is_signed = weather.signed.contains(&at);
    if asked.path.contains("/referrers/") {
        if let Some(kind) = weather.listing.get(&at) {
            return broken(*kind);
        }
        let listed = json!([{"mediaType": MANIFEST, "digest": Digest::of(&of.referrer), "size": of.referrer.len()}]);
        let index =
            json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": if is_signed { listed } else { json!([]) }});
        return Reply::manifest(INDEX, index.to_string().as_bytes());
    }
    if let Some(kind) = weather.fetching.get(&at) {
        return broken(*kind);
    }
    if asked.path.ends_with(&of.digest().to_string()) {
        return Reply::manifest(MANIFEST, &of.manifest);
    }
    if is_signed && asked.path.ends_with(&Digest::of(&of.referrer).to_string()) {
        return Reply::manifest(MANIFEST, &of.referrer);
    }
    if is_signed && asked.path.ends_with(&Digest::of(&of.bundle).to_string()) {
        return Reply::new(200, &of.bundle);
    }
    Reply::new(404, b"")
}

struct Nobody;

impl PullCredentials for Nobody {
    fn of(&self, _: &Want) -> Pin<Box<dyn Future<Output = Vec<Credentials>> + Send + '_>> {
        Box::pin(std::future::ready(Vec::new()))
    }
}

/// A registry, a policy, and an inventory of every image.
struct World {
    shelf: Arc<Vec<Shelved>>,
    weather: Arc<Mutex<Weather>>,
    fake: Fake,
    inventory: Inventory,
    judge: Arc<Judge>,
    ledger: Arc<Mutex<Ledger>>,
    ca: Vec<u8>,
}

impl World {
    fn new(store: u64) -> Self {
        let sigstore = Sigstore::new();
        let shelf: Arc<Vec<Shelved>> = Arc::new((0..IMAGES).map(|at| Shelved::new(&sigstore, at)).collect());
        let weather = Arc::new(Mutex::new(Weather::default()));
        let (of, by) = (shelf.clone(), weather.clone());
        let fake = Fake::new(move |asked| answer(&of, &by.lock(), asked));
        let mut inventory = Inventory::default();
        let workload = Workload { namespace: "shop".to_owned(), kind: "Pod".to_owned(), name: "p".to_owned() };
        for (at, of) in shelf.iter().enumerate() {
            inventory.add(&workload, "c", &format!("{}/a{at}/x@{}", fake.host, of.digest()));
        }
        inventory.add_namespace("shop", BTreeMap::new());
        let policy: SigningIdentityPolicy = serde_json::from_value(json!({
            "apiVersion": "holdfast.dev/v1alpha1", "kind": "SigningIdentityPolicy", "metadata": {"name": "apps"},
            "spec": {"images": [format!("{}/**", fake.host)], "trustRoots": ["corp"], "engines": {"native": {}},
                     "identities": [{"name": "ci", "issuer": "https://issuer.example", "subject": "https://ci.example/web"}]},
        }))
        .unwrap();
        let root = TrustRoot::from_json("corp", sigstore.trusted_root().to_string().as_bytes()).unwrap();
        let registry: Registry = serde_json::from_value(json!({"prefix": fake.host, "plainHttp": true})).unwrap();
        let judge = Arc::new(Judge {
            policies: vec![compile(&policy, &|_| Err(String::new())).unwrap()],
            roots: Roots::from([("corp".to_owned(), Arc::new(PreparedRoot::new(root).unwrap()))]),
            registries: DeclaredRegistries::new(&[registry]).unwrap(),
            memo: Arc::new(Mutex::new(Memo::default())),
            blobs: Arc::new(Blobs::in_memory(store)),
            heavy: Arc::default(),
            timed: Arc::new(|_| ()),
        });
        let ca = Fake::with_tls(|_| Reply::new(404, b"")).1;
        Self { shelf, weather, fake, inventory, judge, ledger: Arc::default(), ca }
    }

    /// By somebody who remembers no pause and no failure.
    async fn scan(&self, weather: Weather) {
        *self.weather.lock() = weather;
        let settings = Settings { ca_bundle: Some(self.ca.clone()), ..self.fake.settings() };
        let wants = self.judge.wants(&self.inventory);
        let scan = Arc::new(Scan {
            remotes: vec![Ok(Arc::new(Remote::new(settings, 8, unobserved()).unwrap()))],
            at_once: vec![1],
            judge: self.judge.clone(),
            ledger: self.ledger.clone(),
            blobs: self.judge.blobs.clone(),
            credentials: Arc::new(Nobody),
            processors: Arc::new(Semaphore::new(1)),
            heavy: Arc::new(Semaphore::new(1)),
        });
        let progress = Arc::new(Progress::of(wants.len()));
        scan.run(wants, progress.clone()).await;
        assert_eq!(progress.now(), (IMAGES, IMAGES));
    }

    fn says(&self, at: usize) -> Outcome {
        let image: &Image = &self.inventory.images()[at];
        let (verdict, _) = self.judge.judged(&self.ledger.lock(), image, &self.judge.policies[0]);
        verdict.reason.outcome()
    }
}

fn faults() -> impl Strategy<Value = BTreeMap<usize, u8>> {
    prop::collection::btree_map(0..IMAGES, 0..6_u8, 0..3)
}

fn weather() -> impl Strategy<Value = Weather> {
    (prop::collection::btree_set(0..IMAGES, 0..=IMAGES), faults(), faults())
        .prop_map(|(signed, listing, fetching)| Weather { signed, listing, fetching })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_covered_is_stored_signed_and_was_seen(
        scans in prop::collection::vec(weather(), 1..5),
        store in prop::sample::select(vec![0_u64, 20_000, 1 << 20]),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let world = World::new(store);
        for weather in scans {
            runtime.block_on(world.scan(weather.clone()));
            for at in 0..world.shelf.len() {
                let says = world.says(at);
                let is_signed = weather.signed.contains(&at);
                // 404 of a listing says that there is no such API: what is stored is then looked for elsewhere, and is not there.
                let is_listed = !weather.listing.contains_key(&at);
                if says == Outcome::Covered {
                    prop_assert!(is_signed && is_listed, "image {at} is covered by {weather:?}");
                }
                if is_listed && !weather.fetching.contains_key(&at) {
                    let want = if is_signed { Outcome::Covered } else { Outcome::Uncovered };
                    // What a store that is too small did not keep is remembered by what was found out.
                    prop_assert_eq!(says, want, "image {} by {:?}", at, weather);
                }
            }
        }
    }
}
