//! Rendering for several engines against writing down what is rendered.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use holdfast_core::Digest;
use holdfast_core::api::SigningIdentityPolicy;
use holdfast_core::coverage::{CompiledPolicy, compile};
use holdfast_core::engines::all::Capabilities;
use holdfast_core::engines::estate::HOLDFAST_NAMESPACE;
use holdfast_core::engines::kyverno::Kyverno;
use holdfast_core::engines::native::Native;
use holdfast_core::engines::policy_controller::PolicyController;
use holdfast_core::engines::{
    Engine, EngineKind, Estate, EstatePolicy, EstateRoot, LocalRepository, Object, Rendering, Rollout, Verified,
};
use holdfast_core::trust::root::TrustRoot;
use holdfast_core::verify::{Reason, Verdict};
use holdfast_testpki::Sigstore;
use serde_json::{Value, json};

use crate::{ISSUER, SUBJECT};

/// How many policies; the aim is for the most of them.
const POLICIES: [usize; 3] = [50, 100, 200];

/// In audit all three engines have objects. Where policies are enforced in namespaces of their own, policy-controller has none: each would let in images of
/// the others there, and every pair is a loss.
pub(super) fn render() {
    let document = root_of_run_evidence().to_string();
    let root = TrustRoot::from_json("corp", document.as_bytes()).unwrap();
    let repository = LocalRepository { url: "http://trust.example".to_owned(), root: b"{}".to_vec() };
    let root = EstateRoot { root: &root, document, repository: Some(repository) };
    for count in POLICIES {
        let policies: Vec<_> = (0..count).map(policy).collect();
        measure("in audit", &estate(&policies, &root, |_| false));
        measure("of which every second is enforced", &estate(&policies, &root, |number| number % 2 == 0));
    }
}

/// One policy for all three engines.
fn policy(number: usize) -> (SigningIdentityPolicy, CompiledPolicy) {
    let name = format!("team-{number}");
    let declared: SigningIdentityPolicy = serde_json::from_value(json!({
        "apiVersion": "holdfast.dev/v1alpha1", "kind": "SigningIdentityPolicy", "metadata": {"name": name},
        "spec": {
            "images": [format!("registry.corp.internal/{name}/**"), "registry.corp.internal/base/*"],
            "namespaceSelector": {"matchLabels": {"team": name}},
            "trustRoots": ["corp"],
            "identities": [
                {"name": "ci", "issuer": ISSUER, "subject": format!("{SUBJECT}/{name}")},
                {"name": "tools", "issuer": ISSUER, "subjectRegExp": format!("https://ci\\.example/{name}/[^/]+")},
            ],
            "require": {"transparencyLog": false, "signedTimestamp": true, "sct": false},
            "engines": {"native": {}, "kyverno": {}, "policyController": {}},
        },
    }))
    .unwrap();
    let compiled = compile(&declared, &|_| Err("none".to_owned())).unwrap();
    (declared, compiled)
}

/// A trust root whose only log is of Rekor v2, as Kyverno was run with.
fn root_of_run_evidence() -> Value {
    let mut root = Sigstore::new().trusted_root();
    root["tlogs"].as_array_mut().unwrap().drain(..2);
    root
}

/// Two namespaces and fifty verified images for each policy; where it is enforced, then in the first of them.
fn estate<'a>(
    policies: &'a [(SigningIdentityPolicy, CompiledPolicy)],
    root: &EstateRoot<'a>,
    is_enforced: impl Fn(usize) -> bool,
) -> Estate<'a> {
    let mut verified = Verified::default();
    let mut estate_policies = BTreeMap::new();
    let mut namespaces = BTreeMap::new();
    for (number, (declared, compiled)) in policies.iter().enumerate() {
        let name = compiled.name.as_str();
        for image in 0..50 {
            let digest = Digest::of(format!("{number}/{image}").as_bytes());
            verified.admit(name, &Verdict::without_evidence(digest, Reason::Verified, ""));
        }
        let enforced: BTreeSet<String> = is_enforced(number).then(|| format!("{name}-a")).into_iter().collect();
        estate_policies.insert(name, EstatePolicy { declared, compiled, rollout: Rollout { enforced } });
        for namespace in ["a", "b"].map(|end| format!("{name}-{end}")) {
            let labels = [("kubernetes.io/metadata.name", namespace.as_str()), ("team", name)];
            let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
            namespaces.insert(namespace, labels);
        }
    }
    Estate {
        policies: estate_policies,
        roots: BTreeMap::from([("corp", root.clone())]),
        namespaces,
        left_out: BTreeSet::new(),
        holdfast_namespace: HOLDFAST_NAMESPACE,
        verified,
        exceptions: Vec::new(),
    }
}

/// How long something took in several rounds.
#[derive(Default)]
struct Rounds(Vec<Duration>);

impl Rounds {
    /// Takes the time of one more round; what it gives is dropped by the caller, outside it.
    fn time<T>(&mut self, call: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let given = call();
        self.0.push(start.elapsed());
        given
    }

    fn median(&mut self) -> Duration {
        self.0.sort();
        self.0[self.0.len() / 2]
    }
}

fn written<'a>(objects: impl IntoIterator<Item = &'a Object>) -> Vec<String> {
    objects.into_iter().map(|object| serde_json::to_string(object).unwrap()).collect()
}

/// All engines together, and each alone; always against writing the same objects once.
fn measure(how: &str, estate: &Estate<'_>) {
    let capabilities = Capabilities::assumed(&BTreeMap::new());
    let (mut renders, mut writes, mut sizes) = (Rounds::default(), Rounds::default(), Vec::new());
    for _ in 0..9 {
        let renderings = renders.time(|| capabilities.render(estate));
        let all = writes.time(|| written(renderings.values().flat_map(|rendering| &rendering.objects)));
        sizes = all.iter().map(String::len).collect();
    }
    let (render, write) = (renders.median(), writes.median());
    println!(
        "rendering {} policies {how} for three engines: {render:.1?}, {:.1}x writing the {} objects of {} KiB down, {write:.1?} (limit 3x)",
        estate.policies.len(),
        render.as_secs_f64() / write.as_secs_f64(),
        sizes.len(),
        sizes.iter().sum::<usize>() / 1024
    );
    alone(EngineKind::Native, || Native::render(estate, &capabilities.native));
    alone(EngineKind::Kyverno, || Kyverno::render(estate, &capabilities.kyverno));
    alone(EngineKind::PolicyController, || PolicyController::render(estate, &capabilities.policy_controller));
}

fn alone(engine: EngineKind, render: impl Fn() -> Rendering) {
    let (mut renders, mut writes, mut counts) = (Rounds::default(), Rounds::default(), (0, 0));
    for _ in 0..9 {
        let rendering = renders.time(&render);
        let all = writes.time(|| written(&rendering.objects));
        counts = (all.len(), rendering.losses.len());
    }
    let (objects, losses) = counts;
    let (render, write) = (renders.median(), writes.median());
    println!(
        "  {engine} alone: {render:.1?}; writing its {objects} objects down {write:.1?}, and it tells {losses} losses"
    );
}
