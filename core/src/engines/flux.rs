//! Flux: `verify` blocks for the sources it applies, with the trust they need.
//!
//! Not run: written from fluxcd/source-controller, `api/v1/ociverification_types.go`, 1.7 to 1.9. Flux verifies what it fetches, not what pods run; the blocks
//! hold a policy's identities to manifests and charts. Sources belong to people, so a block is a patch in a ConfigMap beside the Secrets it names.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use super::ledger::{Ledger, list};
use super::object::{For, Type};
use super::{Engine, EngineKind, Estate, EstatePolicy, LossKind, Object, Rendering, Stage, names};
use crate::pem::pem;
use crate::verify::{Accept, Matcher, Signer};

/// Flux.
#[derive(Debug, Clone, Copy)]
pub struct Flux;

/// What is known of Flux in a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FluxCapability {
    /// Whether it is there.
    pub present: bool,
    /// Whether OCIRepository knows `verify.trustedRootSecretRef`, which source-controller has from 1.9 on.
    pub trusted_root_ref: bool,
}

const VERSIONS: &str = "any";
/// The longest name of a patch, without its ending: a key of a ConfigMap has at most 253 characters.
const MAX_FILE: usize = 240;

impl Engine for Flux {
    type Capability = FluxCapability;

    const KIND: EngineKind = EngineKind::Flux;

    fn render(estate: &Estate<'_>, capability: &FluxCapability) -> Rendering {
        let mut ledger = Ledger::new(Self::KIND);
        for (name, policy) in &estate.policies {
            if policy.declared.spec.engines.flux.is_none() {
                continue;
            }
            if capability.present {
                render(estate, name, policy, *capability, &mut ledger);
            } else {
                ledger.loss(
                    name,
                    LossKind::EngineAbsent,
                    "engines.flux",
                    VERSIONS,
                    "Flux is not in the cluster".to_owned(),
                );
            }
            if !estate.namespaces_of(policy, Stage::Enforce).is_empty() {
                ledger.refuse(name, "Flux is not in the cluster");
            }
        }
        // Policies that accept the same trust root want the same Secret.
        ledger.rendering.objects.sort_by(|a, b| a.key().cmp(&b.key()));
        ledger.rendering.objects.dedup();
        ledger.rendering.sorted()
    }
}

fn render(estate: &Estate<'_>, name: &str, policy: &EstatePolicy<'_>, capability: FluxCapability, ledger: &mut Ledger) {
    let mut loss = |kind, field: &str, why: &str| ledger.loss(name, kind, field, VERSIONS, why.to_owned());
    let judged = &policy.compiled.policy;
    loss(LossKind::NotRun, "engines.flux", "written from source-controller's types");
    loss(LossKind::FluxGuardsSources, "images", "pods are not looked at");
    loss(LossKind::FluxBlockIsAPart, "engines.flux", "sources belong to people");
    if judged.evidence.signed_timestamp || judged.evidence.sct {
        loss(LossKind::FluxEvidenceNotChecked, "require", "a source has no field for it");
    }
    if matches!(&judged.accept, Accept::Signature { attestations } | Accept::Statements(attestations) if !attestations.is_empty())
    {
        loss(LossKind::FluxStatementsNotChecked, "require.attestations", "a source has no field for it");
    }
    let namespaces: BTreeSet<&str> =
        [Stage::Audit, Stage::Enforce].iter().flat_map(|stage| estate.namespaces_of(policy, *stage)).collect();
    let mut patches: BTreeMap<String, Value> = BTreeMap::new();
    let mut secrets: Vec<(String, For<'_>, Map<String, Value>)> = Vec::new();
    let keys: Map<String, Value> = judged
        .signers
        .iter()
        .filter_map(|signer| match signer {
            Signer::Key { key, .. } => {
                // Flux takes every file that ends so; a person's name for the key may not be one of a file.
                let digits: String = key.key_digest.hex().chars().take(16).collect();
                Some((format!("{digits}.pub"), json!(STANDARD.encode(pem("PUBLIC KEY", &key.key)))))
            }
            Signer::Certificate { .. } => None,
        })
        .collect();
    if !keys.is_empty() {
        let secret = names::of("keys", name, names::MAX_NAME);
        let verify = json!({ "spec": { "verify": { "provider": "cosign", "secretRef": { "name": secret } } } });
        patches.insert("ocirepository-keys.json".to_owned(), verify.clone());
        patches.insert("helmchart-keys.json".to_owned(), verify);
        secrets.push((secret, For::Policy(name), keys));
    }
    let identities: Vec<Value> = judged.signers.iter().filter_map(identity).collect();
    if !identities.is_empty() {
        loss(LossKind::FluxDialsLog, "trustRoots", "the client is built from the trust root's address of the log");
        loss(LossKind::FluxChartsUseThePublicRoot, "engines.flux", "only OCIRepository takes a trust root");
        let at_hand: Vec<&str> = policy
            .compiled
            .trust_roots
            .iter()
            .map(String::as_str)
            .filter(|root| estate.roots.contains_key(root))
            .collect();
        let absent: Vec<&str> = policy
            .compiled
            .trust_roots
            .iter()
            .map(String::as_str)
            .filter(|root| !estate.roots.contains_key(root))
            .collect();
        if !absent.is_empty() {
            loss(LossKind::TrustRootAbsent, "trustRoots", &format!("{} is not at hand", list(absent)));
        }
        if at_hand.len() > 1 {
            loss(LossKind::FluxOneRoot, "trustRoots", &format!("one of {}", list(at_hand.iter().copied())));
        }
        if !capability.trusted_root_ref {
            loss(LossKind::FluxNoTrustRoot, "trustRoots", "no block is rendered for certificates");
        }
        for root in at_hand.into_iter().filter(|_| capability.trusted_root_ref) {
            let Some(document) = estate.roots.get(root).map(|root| &root.document) else { continue };
            let secret = names::of("trusted-root", root, names::MAX_NAME);
            let verify = json!({ "spec": { "verify": {
                "provider": "cosign",
                "trustedRootSecretRef": { "name": secret },
                "matchOIDCIdentity": identities,
            }}});
            // A root may be called `keys`.
            let file = names::bounded(&format!("ocirepository-root.{root}"), MAX_FILE);
            patches.insert(format!("{file}.json"), verify);
            let data = Map::from_iter([("trusted_root.json".to_owned(), json!(STANDARD.encode(document)))]);
            secrets.push((secret, For::TrustRoot(root), data));
        }
    }
    if patches.is_empty() {
        return;
    }
    let data: Map<String, Value> =
        patches.into_iter().map(|(file, patch)| (file, json!(format!("{patch:#}\n")))).collect();
    for namespace in namespaces {
        for (secret, why, data) in &secrets {
            let of = Type { api_version: "v1", kind: "Secret" };
            let rest = json!({ "type": "Opaque", "data": data });
            ledger.rendering.objects.push(Object::new(EngineKind::Flux, of, Some(namespace), secret, *why, rest));
        }
        let of = Type { api_version: "v1", kind: "ConfigMap" };
        let name_of_map = names::of("verify", name, names::MAX_NAME);
        let rest = json!({ "data": data });
        ledger.rendering.objects.push(Object::new(
            EngineKind::Flux,
            of,
            Some(namespace),
            &name_of_map,
            For::Policy(name),
            rest,
        ));
    }
}

/// Issuer and subject are expressions there, and Go's are not anchored.
fn identity(signer: &Signer) -> Option<Value> {
    let expression = |matcher: &Matcher| match matcher {
        Matcher::Exact(text) => format!("^{}$", regex::escape(text)),
        Matcher::Pattern(pattern) => pattern.anchored(),
    };
    match signer {
        Signer::Certificate { subject, issuer, .. } => {
            Some(json!({ "issuer": expression(issuer), "subject": expression(subject) }))
        }
        Signer::Key { .. } => None,
    }
}
