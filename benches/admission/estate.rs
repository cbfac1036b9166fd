//! What is enforced: policies with their verified digests, and pods that they judge.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use holdfast_core::Digest;
use holdfast_core::api::SigningIdentityPolicy;
use holdfast_core::coverage::{CompiledPolicy, compile};
use holdfast_core::engines::native::{Native, NativeCapability};
use holdfast_core::engines::{Engine, Estate, EstatePolicy, Rollout, Verified, Version};
use holdfast_core::verify::{Reason, Verdict};
use serde_json::{Value, json};

use crate::cluster::{Cluster, path_of};

/// The namespace that is judged.
pub(crate) const SHOP: &str = "shop";
/// A namespace that no policy is about.
pub(crate) const FREE: &str = "free";

/// A number of policies, of which the first few are enforced in one namespace, and the others in one of their own each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) digests: usize,
    pub(crate) policies: usize,
    pub(crate) matching: usize,
}

pub(crate) struct World {
    pub(crate) size: Size,
    policies: Vec<(SigningIdentityPolicy, CompiledPolicy)>,
    verified: Verified,
    /// Namespaces where the first policy is enforced besides [`SHOP`].
    pub(crate) more: Vec<String>,
}

impl World {
    pub(crate) fn new(size: Size) -> Self {
        let mut verified = Verified::default();
        for number in 0..size.digests {
            verify(&mut verified, number % size.policies, &format!("{number}"));
        }
        let policies = (0..size.policies).map(|number| policy(number, size.matching, &json!([]))).collect();
        Self { size, policies, verified, more: Vec::new() }
    }

    pub(crate) fn verify(&mut self, what: &str) {
        verify(&mut self.verified, 0, what);
    }

    /// Every verified digest with its policy.
    pub(crate) fn digests(&self) -> Vec<(&str, String)> {
        let of = |(_, compiled): &'_ (SigningIdentityPolicy, CompiledPolicy)| {
            self.verified.of(&compiled.name).map(|digest| digest.hex()).collect::<Vec<_>>()
        };
        self.policies.iter().flat_map(|one| of(one).into_iter().map(move |hex| (one.1.name.as_str(), hex))).collect()
    }

    /// Exempts images from the first policy, and nothing else.
    pub(crate) fn exempt(&mut self, images: &Value) {
        self.policies[0] = policy(0, self.size.matching, images);
    }

    /// The objects, in the order they are written in.
    pub(crate) fn objects(&self) -> Vec<Value> {
        let mut namespaces: BTreeSet<String> = (self.size.matching..self.size.policies).map(own).collect();
        namespaces.extend([SHOP.to_owned(), FREE.to_owned()]);
        namespaces.extend(self.more.iter().cloned());
        let labels = |name: String| {
            let label = ("kubernetes.io/metadata.name".to_owned(), name.clone());
            (name, BTreeMap::from([label]))
        };
        let policies = self.policies.iter().enumerate().map(|(number, (declared, compiled))| {
            let shop = number < self.size.matching;
            let mut enforced = BTreeSet::from([if shop { SHOP.to_owned() } else { own(number) }]);
            enforced.extend(self.more.iter().filter(|_| number == 0).cloned());
            (compiled.name.as_str(), EstatePolicy { declared, compiled, rollout: Rollout { enforced } })
        });
        let estate = Estate {
            policies: policies.collect(),
            roots: BTreeMap::new(),
            namespaces: namespaces.into_iter().map(labels).collect(),
            left_out: BTreeSet::new(),
            holdfast_namespace: "holdfast-system",
            verified: self.verified.clone(),
            exceptions: Vec::new(),
        };
        let capability = NativeCapability { version: Some(Version::new(1, 36, 3)), ..NativeCapability::default() };
        let rendering = Native::render(&estate, &capability);
        assert!(rendering.refused.is_empty());
        let mut objects: Vec<Value> =
            rendering.objects.iter().map(|object| serde_json::to_value(object).unwrap()).collect();
        objects.sort_by_key(|object| match object["kind"].as_str() {
            Some("VerifiedImages") => 0,
            Some("ValidatingAdmissionPolicy") => 1,
            _ => 2,
        });
        objects
    }

    /// A pod whose images are verified, for the first two of the policies that match.
    pub(crate) fn good(&self) -> Value {
        let second = 1 % self.size.matching;
        pod(&[image(0, "0"), image(second, &second.to_string())])
    }
}

/// A pod with an image that is verified for nothing.
pub(crate) fn bad() -> Value {
    pod(&[image(0, "never verified")])
}

fn verify(verified: &mut Verified, policy: usize, what: &str) {
    let digest = Digest::of(what.as_bytes());
    assert!(verified.admit(&name(policy), &Verdict::without_evidence(digest, Reason::Verified, "")));
}

fn name(policy: usize) -> String {
    format!("team-{policy}")
}

fn own(policy: usize) -> String {
    format!("own-{policy}")
}

fn policy(number: usize, matching: usize, exempt: &Value) -> (SigningIdentityPolicy, CompiledPolicy) {
    let name = name(number);
    let place = if number < matching { SHOP.to_owned() } else { own(number) };
    let declared: SigningIdentityPolicy = serde_json::from_value(json!({
        "apiVersion": "holdfast.dev/v1alpha1", "kind": "SigningIdentityPolicy", "metadata": {"name": name},
        "spec": {
            "images": [format!("registry.corp.internal/{name}/**"), format!("registry.corp.internal/base/{name}-*")],
            "exemptImages": exempt,
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": place}},
            "trustRoots": ["corp"],
            "identities": [{"name": "ci", "issuer": "https://issuer.example", "subject": "https://ci.example/release"}],
            "engines": {"native": {}},
        },
    }))
    .unwrap();
    let compiled = compile(&declared, &|_| Err("none".to_owned())).unwrap();
    (declared, compiled)
}

/// An image that a policy is about.
pub(crate) fn image(policy: usize, what: &str) -> String {
    format!("registry.corp.internal/{}/web@{}", name(policy), Digest::of(what.as_bytes()))
}

/// A pod as ordinary ones are.
pub(crate) fn pod(images: &[String]) -> Value {
    let env: Vec<Value> = (0..8)
        .map(|n| json!({"name": format!("SETTING_{n}"), "value": format!("a value of ordinary length, {n}")}))
        .collect();
    let container = |(at, image): (usize, &String)| {
        json!({
            "name": format!("c{at}"), "image": image, "env": env, "ports": [{"containerPort": 8080}],
            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
            "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}},
        })
    };
    let containers: Vec<Value> = images.iter().enumerate().map(container).collect();
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "web-", "labels": {"app": "web"}},
        "spec": {"automountServiceAccountToken": false, "containers": containers},
    })
}

/// Whether the pod would be let in; the reason where it would not.
pub(crate) fn ask(cluster: &Cluster, namespace: &str, pod: &Value) -> Result<(), String> {
    let path = format!("/api/v1/namespaces/{namespace}/pods?dryRun=All");
    cluster.try_call("POST", &path, Some(pod)).map(|_| ())
}

/// Puts a world in force, in place of what was there, and waits until it is.
pub(crate) fn enforce(cluster: &Cluster, world: &World, objects: &[Value]) -> Duration {
    clear(cluster);
    let start = Instant::now();
    for kind in ["VerifiedImages", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"] {
        let of: Vec<Value> = objects.iter().filter(|object| object["kind"] == kind).cloned().collect();
        cluster.apply_all(&of);
    }
    let written = start.elapsed();
    settled(cluster, world);
    written
}

/// How long everything has to be right, until it counts as in force.
pub(crate) const CALM: Duration = Duration::from_secs(3);

/// Waits until what is verified is let in and what is not is not, for a while.
pub(crate) fn settled(cluster: &Cluster, world: &World) {
    let (good, start, mut right) = (world.good(), Instant::now(), Instant::now());
    while right.elapsed() < CALM {
        let (good, bad) = (ask(cluster, SHOP, &good), ask(cluster, SHOP, &bad()));
        let judged = bad.as_ref().is_err_and(|why| why.contains("not verified for the policy"));
        if good.is_err() || !judged {
            assert!(start.elapsed() < Duration::from_secs(120), "never in force: {good:?}, {bad:?}");
            right = Instant::now();
        }
        std::thread::sleep(Duration::from_millis(25));
    }
}

/// Takes away everything that is enforced, and every pod.
pub(crate) fn clear(cluster: &Cluster) {
    let admission = "/apis/admissionregistration.k8s.io/v1";
    for path in [
        &format!("{admission}/validatingadmissionpolicybindings"),
        &format!("{admission}/validatingadmissionpolicies"),
        "/apis/holdfast.dev/v1alpha1/verifiedimages",
    ] {
        cluster.call("DELETE", path, None);
    }
    for name in [SHOP, FREE] {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        if cluster.try_call("GET", &path_of(&namespace), None).is_err() {
            cluster.apply(&namespace);
        }
        cluster.call("DELETE", &format!("/api/v1/namespaces/{name}/pods?gracePeriodSeconds=0"), None);
    }
}
