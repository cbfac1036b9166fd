//! A shop whose policy is to be enforced, and what its API server says of pods.

use std::collections::BTreeMap;
use std::ops::Deref;

use holdfast_core::Digest;
use holdfast_core::engines::Verified;
use holdfast_core::engines::native::Shards;
use holdfast_core::verify::{Reason, Verdict};
use serde_json::{Value, json};

use crate::chart_support::NAMESPACE;
use crate::coverage::shop::Shop;
use crate::lab::{HOLDFAST, Lab, Status, config_map_path};
use crate::registry_support::Registry;

const GROUP: &str = "/apis/holdfast.dev/v1alpha1";
const SHARDS: &str = "/apis/holdfast.dev/v1alpha1/verifiedimages";
const BINDINGS: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings";

/// The shop.
pub(crate) struct Estate<'a>(pub(crate) Shop<'a>);

impl<'a> Deref for Estate<'a> {
    type Target = Shop<'a>;

    fn deref(&self) -> &Shop<'a> {
        &self.0
    }
}

impl<'a> Estate<'a> {
    /// One with a report over everything, and a policy that is to be enforced in `shop` as soon as every check holds.
    pub(crate) fn open(lab: &'a Lab, registry: Registry) -> Self {
        let estate = Self(Shop::open(lab, registry));
        estate.report(&json!({"namespaceSelector": {}}));
        estate
    }

    /// Wants the policy enforced; `more` is laid over its spec.
    pub(crate) fn enforce(&self, more: &Value) {
        let mut spec = json!({
            "otherImages": "Deny", "namespaceSelector": {"matchLabels": {"tier": "apps"}},
            "enforcement": {"desired": "Enforce", "soak": "0s"},
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            spec[key] = value.clone();
        }
        self.policy("apps", &spec);
    }

    /// What the policy says.
    pub(crate) fn policy_status(&self, name: &str) -> Status {
        Status::of(self.lab.get(&format!("{GROUP}/signingidentitypolicies/{name}")).expect("there is a policy"))
    }

    /// Waits until the policy is in a phase.
    #[track_caller]
    pub(crate) fn until_phase(&self, phase: &str) -> Status {
        self.lab.until(&format!("the policy is in the phase {phase}"), |_| {
            let status = self.policy_status("apps");
            if status.at("/enforcement/phase") == phase { Ok(status) } else { Err(status.text()) }
        })
    }

    /// A signed image that runs, enforced: the digest.
    #[track_caller]
    pub(crate) fn enforced(&self) -> Digest {
        let web = self.signed("web");
        self.pod("web", &self.image("web", web));
        self.enforce(&json!({}));
        self.until_phase("Enforcing");
        web
    }

    /// Waits until the operator writes nothing more.
    pub(crate) fn until_nothing_is_written(&self) {
        let before = std::cell::Cell::new(self.lab.proxy().writes().len());
        self.lab.until("nothing is written", |lab| {
            std::thread::sleep(std::time::Duration::from_secs(4));
            let now = lab.proxy().writes().len();
            if before.replace(now) == now { Ok(()) } else { Err(format!("{now} writes")) }
        });
    }

    /// So many digests that were verified for the policy before, by all that is remembered, while no operator runs: as if each had run here once.
    pub(crate) fn ran_once(&self, count: usize) -> Vec<Digest> {
        let digests: Vec<Digest> = (0..count).map(|at| Digest::of(format!("ran once: {at}").as_bytes())).collect();
        let all = self.lab.call("GET", SHARDS, None);
        let mut there: BTreeMap<String, Value> = BTreeMap::new();
        for shard in all["items"].as_array().unwrap() {
            there.insert(shard["metadata"]["name"].as_str().unwrap().to_owned(), shard.clone());
        }
        let lists = there.values().flat_map(|shard| shard["spec"]["data"].as_object().unwrap().values());
        let known: Vec<&str> = lists.flat_map(|list| list.as_str().unwrap().split(';')).collect();
        let known = known.into_iter().map(|hex| Digest::from_hex(hex).unwrap());
        let mut verified = Verified::default();
        for digest in known.chain(digests.iter().copied()) {
            verified.admit("apps", &Verdict::without_evidence(digest, Reason::Verified, ""));
        }
        let path = config_map_path(NAMESPACE, "holdfast-verified");
        let mut listed = self.lab.get(&path).expect("it is written down what is verified");
        let mut document: Value = serde_json::from_str(listed["data"]["document.json"].as_str().unwrap()).unwrap();
        let basis = document["shards"].as_object().unwrap().values().next().unwrap()[0]["basis"].clone();
        document["shards"] = json!({});
        for object in Shards::pack(&verified, "apps", None).objects() {
            document["shards"][object.name()] = json!([{"object": object.digest(), "basis": basis}]);
            let mut body = object.body().clone();
            match there.remove(object.name()) {
                None => self.lab.call_as(HOLDFAST, "POST", SHARDS, &body),
                Some(known) => {
                    body["metadata"]["resourceVersion"] = known["metadata"]["resourceVersion"].clone();
                    self.lab.call_as(HOLDFAST, "PUT", &format!("{SHARDS}/{}", object.name()), &body)
                }
            }
            .unwrap();
        }
        // What no longer is among them goes with its bindings: those would deny what it did not list.
        let bindings = self.lab.call("GET", BINDINGS, None);
        let gone = bindings["items"].as_array().unwrap().iter().filter(|binding| {
            binding["spec"]["paramRef"]["name"].as_str().is_some_and(|parameter| there.contains_key(parameter))
        });
        for binding in gone {
            let path = format!("{BINDINGS}/{}", binding["metadata"]["name"].as_str().unwrap());
            self.lab.call_as(HOLDFAST, "DELETE", &path, &json!({})).unwrap();
        }
        for name in there.keys() {
            self.lab.clean(&format!("{SHARDS}/{name}")).unwrap();
        }
        listed["data"]["document.json"] = json!(document.to_string());
        self.lab.call_as(HOLDFAST, "PUT", &path, &listed).unwrap();
        digests
    }

    /// Tries to make a pod of one image, for real.
    pub(crate) fn try_pod(&self, namespace: &str, name: &str, image: &str) -> Result<Value, String> {
        self.try_pod_of(namespace, name, &json!({"containers": [{"name": "main", "image": image}]}))
    }

    /// What would become of a pod of one image.
    pub(crate) fn would_admit(&self, namespace: &str, image: &str) -> Result<Value, String> {
        let spec = json!({"containers": [{"name": "main", "image": image}]});
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "tried", "namespace": namespace}, "spec": spec});
        self.lab.try_call("POST", &format!("/api/v1/namespaces/{namespace}/pods?dryRun=All"), Some(&pod))
    }

    /// Tries to make a pod of this specification.
    pub(crate) fn try_pod_of(&self, namespace: &str, name: &str, spec: &Value) -> Result<Value, String> {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace}, "spec": spec});
        self.lab.try_call("POST", &format!("/api/v1/namespaces/{namespace}/pods"), Some(&pod))
    }

    /// Waits until a pod of this image is denied as not verified.
    #[track_caller]
    pub(crate) fn until_denied(&self, namespace: &str, image: &str) {
        self.lab.until(&format!("it is denied in {namespace}"), |_| match self.would_admit(namespace, image) {
            Err(said) if said.contains("is not verified") => Ok(()),
            other => Err(format!("{other:?}\n{}", self.policy_status("apps").text())),
        });
    }

    /// Asserts that a pod is denied by holdfast, with these words.
    #[track_caller]
    pub(crate) fn denied(&self, namespace: &str, image: &str, words: &str) {
        match self.try_pod(namespace, "denied", image) {
            Ok(_) => panic!("{image} was admitted"),
            Err(said) => {
                assert!(said.contains("ValidatingAdmissionPolicy 'holdfast-") && said.contains(words), "{said}");
            }
        }
    }
}
