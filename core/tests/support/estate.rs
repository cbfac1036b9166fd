//! Estates made of a few lines of JSON.
#![allow(dead_code, clippy::unwrap_used)] // each file uses its part; a test that cannot go on fails

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use holdfast_core::api::SigningIdentityPolicy;
use holdfast_core::coverage::{CompiledPolicy, compile};
use holdfast_core::engines::estate::{Exception, HOLDFAST_NAMESPACE};
use holdfast_core::engines::{Estate, EstatePolicy, EstateRoot, Rollout};
use holdfast_core::trust::root::TrustRoot;
use serde_json::{Value, json};
use sigstore_verify::trust_root::{SIGSTORE_GITHUB_TRUSTED_ROOT, SIGSTORE_PRODUCTION_TRUSTED_ROOT};

/// Issuer and subject most policies name.
pub(crate) const ISSUER: &str = "https://token.actions.githubusercontent.com";
pub(crate) const SUBJECT: &str = "https://github.com/acme/web/.github/workflows/release.yaml@refs/heads/main";
/// A public key on P-256.
pub(crate) const KEY: &str = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE+BRpI7CqWLf76nc6wMrTUypFsq/t\n1Fs75MwEHl5cG7oF/hkPJwiFHUHG8sZ4YpAqJxmhbS9Zjwn81C4l7e0fQQ==\n-----END PUBLIC KEY-----\n";

/// What an estate borrows from.
pub(crate) struct Owned {
    pub(crate) policies: Vec<(SigningIdentityPolicy, CompiledPolicy, Rollout)>,
    pub(crate) roots: Vec<TrustRoot>,
    pub(crate) namespaces: BTreeMap<String, BTreeMap<String, String>>,
    pub(crate) exceptions: Vec<(String, String, Vec<String>)>,
}

impl Owned {
    /// The namespaces shop and billing, with nothing in them.
    pub(crate) fn new() -> Self {
        let labels = |name: &str| BTreeMap::from([("kubernetes.io/metadata.name".to_owned(), name.to_owned())]);
        let namespaces =
            ["shop", "billing", "kube-system"].iter().map(|name| ((*name).to_owned(), labels(name))).collect();
        Self { policies: Vec::new(), roots: roots(), namespaces, exceptions: Vec::new() }
    }

    /// A policy; `spec` overrides what is usual.
    pub(crate) fn policy(mut self, name: &str, enforced: &[&str], spec: &Value) -> Self {
        let mut whole = json!({
            "images": ["registry.corp.internal/apps/**"],
            "trustRoots": ["corp"],
            "identities": [{ "name": "web", "issuer": ISSUER, "subject": SUBJECT }],
            "namespaceSelector": { "matchExpressions": [
                { "key": "kubernetes.io/metadata.name", "operator": "In", "values": ["shop", "billing"] },
            ]},
            "engines": { "policyController": {}, "kubewarden": {}, "openShift": {}, "flux": {} },
        });
        whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let declared: SigningIdentityPolicy = serde_json::from_value(json!({
            "apiVersion": "holdfast.dev/v1alpha1", "kind": "SigningIdentityPolicy", "metadata": { "name": name }, "spec": whole,
        }))
        .unwrap();
        let compiled = compile(&declared, &|_| Err("no Secret is at hand".to_owned())).unwrap();
        let enforced = enforced.iter().map(|name| (*name).to_owned()).collect();
        self.policies.push((declared, compiled, Rollout { enforced }));
        self
    }

    /// The estate.
    pub(crate) fn estate(&self) -> Estate<'_> {
        Estate {
            policies: self
                .policies
                .iter()
                .map(|(declared, compiled, rollout)| {
                    (compiled.name.as_str(), EstatePolicy { declared, compiled, rollout: rollout.clone() })
                })
                .collect(),
            roots: self
                .roots
                .iter()
                .map(|root| (root.name.as_str(), EstateRoot { root, document: document(&root.name), repository: None }))
                .collect(),
            namespaces: self.namespaces.clone(),
            left_out: BTreeSet::from(["kube-system".to_owned()]),
            holdfast_namespace: HOLDFAST_NAMESPACE,
            verified: holdfast_core::engines::Verified::default(),
            exceptions: self
                .exceptions
                .iter()
                .map(|(break_glass, policy, namespaces)| Exception {
                    break_glass,
                    policy,
                    namespaces: namespaces.iter().cloned().collect(),
                    until: "2026-11-25T06:00:00Z".parse().unwrap(),
                })
                .collect(),
        }
    }
}

/// `public` and `github` are the real ones; `corp` has one authority each, without windows and logs; `ctlogs` has those and certificate transparency logs;
/// `rekor1` and `rekor2` have one log of that version besides.
pub(crate) fn roots() -> Vec<TrustRoot> {
    static ROOTS: OnceLock<Vec<TrustRoot>> = OnceLock::new();
    let read = || documents().iter().map(|(name, text)| TrustRoot::from_json(name, text.as_bytes()).unwrap()).collect();
    ROOTS.get_or_init(read).clone()
}

/// The document of a root; one of another name is like `corp`.
pub(crate) fn document(name: &str) -> String {
    let of = |name: &str| documents().iter().find(|(other, _)| *other == name).map(|(_, text)| text.clone());
    of(name).or_else(|| of("corp")).unwrap()
}

/// A root like `corp` of another name.
pub(crate) fn another_root(name: &str) -> TrustRoot {
    TrustRoot::from_json(name, document(name).as_bytes()).unwrap()
}

fn documents() -> &'static [(&'static str, String)] {
    static DOCUMENTS: OnceLock<Vec<(&str, String)>> = OnceLock::new();
    DOCUMENTS.get_or_init(make)
}

fn make() -> Vec<(&'static str, String)> {
    let public: Value = serde_json::from_str(SIGSTORE_PRODUCTION_TRUSTED_ROOT).unwrap();
    let mut corp = public.clone();
    for field in ["certificateAuthorities", "timestampAuthorities"] {
        let newest = corp[field].as_array().unwrap().last().unwrap().clone();
        corp[field] = json!([newest]);
        corp[field][0]["validFor"] = json!({ "start": "1970-01-01T00:00:00Z" });
    }
    corp["tlogs"] = json!([]);
    let mut rekor2 = corp.clone();
    rekor2["tlogs"] = json!([public["tlogs"].as_array().unwrap().last().unwrap().clone()]);
    let mut rekor1 = corp.clone();
    rekor1["tlogs"] = json!([public["tlogs"][0]]);
    let ct_logs = corp.clone();
    corp["ctlogs"] = json!([]);
    let github: Value = serde_json::from_str(SIGSTORE_GITHUB_TRUSTED_ROOT).unwrap();
    let all = [
        ("corp", corp),
        ("ctlogs", ct_logs),
        ("github", github),
        ("public", public),
        ("rekor1", rekor1),
        ("rekor2", rekor2),
    ];
    all.map(|(name, document)| (name, document.to_string())).to_vec()
}
