//! Estates to render: policies from a few fields, and trust roots of every sort.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test that cannot go on fails

use std::collections::{BTreeMap, BTreeSet};

use holdfast_core::api::SigningIdentityPolicy;
use holdfast_core::coverage::{CompiledPolicy, compile};
use holdfast_core::engines::estate::{Exception, HOLDFAST_NAMESPACE};
use holdfast_core::engines::{Estate, EstatePolicy, EstateRoot, LocalRepository, Rollout};
use holdfast_core::trust::root::TrustRoot;
use serde_json::{Value, json};
use sigstore_verify::trust_root::{SIGSTORE_GITHUB_TRUSTED_ROOT, SIGSTORE_PRODUCTION_TRUSTED_ROOT};

pub(crate) const ISSUER: &str = "https://token.actions.githubusercontent.com";
pub(crate) const SUBJECT: &str = "https://github.com/acme/web/.github/workflows/release.yaml@refs/heads/main";

/// The trust roots there are: with logs of Rekor v2 only, with one of v1 as well, without logs, and without timestamp authorities.
pub(crate) const ROOTS: [&str; 4] = ["v2", "v1", "logless", "untimed"];

/// What an estate borrows from.
pub(crate) struct World {
    pub(crate) policies: Vec<(SigningIdentityPolicy, CompiledPolicy, BTreeSet<String>)>,
    pub(crate) roots: BTreeMap<&'static str, (TrustRoot, String, bool)>,
    pub(crate) namespaces: BTreeMap<String, BTreeMap<String, String>>,
    pub(crate) exceptions: Vec<(&'static str, &'static str)>,
}

impl World {
    /// The roots by these names are served by a repository of their own.
    pub(crate) fn new(served: &[&str]) -> Self {
        let production: Value = serde_json::from_str(SIGSTORE_PRODUCTION_TRUSTED_ROOT).unwrap();
        let v2 = || {
            let mut root = production.clone();
            root["tlogs"].as_array_mut().unwrap().retain(|log| log["publicKey"]["keyDetails"] == "PKIX_ED25519");
            root
        };
        let untimed = || {
            let mut root = v2();
            root["timestampAuthorities"] = json!([]);
            root
        };
        let mut roots = BTreeMap::new();
        for name in ROOTS {
            let document = match name {
                "v2" => v2().to_string(),
                "v1" => production.to_string(),
                "untimed" => untimed().to_string(),
                _ => serde_json::from_str::<Value>(SIGSTORE_GITHUB_TRUSTED_ROOT).unwrap().to_string(),
            };
            let root = TrustRoot::from_json(name, document.as_bytes()).unwrap();
            // Snapshots are read by people: one of them has the whole document, the others its name.
            roots.insert(name, (root, json!({ "trustRoot": name }).to_string(), served.contains(&name)));
        }
        let labels = |name: &str, tier: &str| {
            let labels = [("kubernetes.io/metadata.name", name), ("tier", tier)];
            (name.to_owned(), labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
        };
        let namespaces = [
            ("shop", "apps"),
            ("billing", "apps"),
            ("tools", "tools"),
            ("kube-system", "system"),
            ("kyverno", "system"),
            ("holdfast-system", "system"),
        ];
        Self {
            policies: Vec::new(),
            roots,
            namespaces: namespaces.iter().map(|(name, tier)| labels(name, tier)).collect(),
            exceptions: Vec::new(),
        }
    }

    /// Adds a policy that is enforced in these namespaces.
    pub(crate) fn policy(&mut self, name: &str, spec: Value, enforced: &[&str]) -> &mut Self {
        let mut whole = json!({
            "images": ["registry.corp.internal/apps/**"],
            "trustRoots": ["v2"],
            "identities": [{ "name": "web-release", "issuer": ISSUER, "subject": SUBJECT }],
            "require": { "sct": false, "signedTimestamp": true },
            "engines": { "kyverno": {} },
        });
        whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let declared: SigningIdentityPolicy = serde_json::from_value(json!({
            "apiVersion": "holdfast.dev/v1alpha1", "kind": "SigningIdentityPolicy", "metadata": { "name": name }, "spec": whole,
        }))
        .unwrap();
        let compiled = compile(&declared, &|_| Err("none".to_owned())).unwrap();
        self.policies.push((declared, compiled, enforced.iter().map(|name| (*name).to_owned()).collect()));
        self
    }

    pub(crate) fn estate(&self) -> Estate<'_> {
        Estate {
            policies: self
                .policies
                .iter()
                .map(|(declared, compiled, enforced)| {
                    let rollout = Rollout { enforced: enforced.clone() };
                    (compiled.name.as_str(), EstatePolicy { declared, compiled, rollout })
                })
                .collect(),
            roots: self
                .roots
                .iter()
                .map(|(name, (root, document, served))| {
                    let repository = served.then(|| LocalRepository {
                        url: format!("http://holdfast-tuf.holdfast-system.svc/{name}/"),
                        root: format!("{{\"root\":\"{name}\"}}").into_bytes(),
                    });
                    (*name, EstateRoot { root, document: document.clone(), repository })
                })
                .collect(),
            namespaces: self.namespaces.clone(),
            left_out: ["kube-system", "kyverno"].map(str::to_owned).into(),
            holdfast_namespace: HOLDFAST_NAMESPACE,
            verified: holdfast_core::engines::Verified::default(),
            exceptions: self
                .exceptions
                .iter()
                .map(|(policy, namespace)| Exception {
                    break_glass: "inc-4711",
                    policy,
                    namespaces: BTreeSet::from([(*namespace).to_owned()]),
                    until: "2026-11-25T06:00:00Z".parse().unwrap(),
                })
                .collect(),
        }
    }
}
