//! Kubewarden: a `ClusterAdmissionPolicy` with the module `verify-image-signatures`, to monitor only.
//!
//! Not run: written from the module's source (`src/lib.rs`, `src/settings.rs` of kubewarden/verify-image-signatures) and from Kubewarden's documentation.
//! What it lets pass keeps it from ever being rendered to protect: images are matched by their text, and what nothing matches is accepted. Everything the
//! settings list for an image is demanded together, so a policy with several identities cannot be written.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::ledger::{Ledger, list};
use super::object::{For, Type};
use super::{Engine, EngineKind, Estate, EstatePolicy, LossKind, Object, Rendering, Stage, names};
use crate::pem::pem;
use crate::verify::{Accept, Matcher, Signer};

/// Kubewarden.
#[derive(Debug, Clone, Copy)]
pub struct Kubewarden;

/// What is known of Kubewarden in a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KubewardenCapability {
    /// Whether it is there.
    pub present: bool,
}

const VERSIONS: &str = "any";

impl Engine for Kubewarden {
    type Capability = KubewardenCapability;

    const KIND: EngineKind = EngineKind::Kubewarden;

    fn render(estate: &Estate<'_>, capability: &KubewardenCapability) -> Rendering {
        let mut ledger = Ledger::new(Self::KIND);
        for (name, policy) in &estate.policies {
            let Some(engine) = &policy.declared.spec.engines.kubewarden else { continue };
            if capability.present {
                render(estate, name, policy, engine.module.as_deref(), &mut ledger);
            } else {
                let why = "Kubewarden is not in the cluster".to_owned();
                ledger.loss(name, LossKind::EngineAbsent, "engines.kubewarden", VERSIONS, why);
            }
            if !estate.namespaces_of(policy, Stage::Enforce).is_empty() {
                ledger.refuse(name, "Kubewarden is not in the cluster");
            }
        }
        ledger.rendering.sorted()
    }
}

fn render(estate: &Estate<'_>, name: &str, policy: &EstatePolicy<'_>, module: Option<&str>, ledger: &mut Ledger) {
    let mut loss = |kind, field: &str, why: &str| ledger.loss(name, kind, field, VERSIONS, why.to_owned());
    let judged = &policy.compiled.policy;
    let required = judged.evidence;
    loss(LossKind::NotRun, "engines.kubewarden", "written from the module's source and documentation");
    loss(
        LossKind::KubewardenReadsRawText,
        "images",
        "as a short name, with upper case or with a default port, an image is not matched",
    );
    loss(LossKind::KubewardenAdmitsUnmatched, "otherImages", "a pod whose images match nothing is accepted");
    loss(LossKind::KubewardenTrustByServer, "trustRoots", "the trust is that of the policy server");
    loss(LossKind::KubewardenLegacyOnly, "identities", "bundles were not seen to be read");
    let by_key = judged.signers.iter().any(|signer| matches!(signer, Signer::Key { .. }));
    if required.signed_timestamp || required.sct || required.transparency_log && by_key {
        loss(LossKind::KubewardenEvidenceNotChecked, "require", "some of it is not looked at");
    }
    if matches!(&judged.accept, Accept::Signature { attestations } | Accept::Statements(attestations) if !attestations.is_empty())
    {
        loss(LossKind::KubewardenStatementsNotChecked, "require.attestations", "they are not looked at");
    }
    if !policy.declared.spec.exempt_images.is_empty() {
        loss(LossKind::KubewardenExemptJudged, "exemptImages", "the module knows no exceptions");
    }
    let left_out = estate.left_out_of(policy);
    if !left_out.is_empty() {
        loss(LossKind::NamespacesLeftOut, "namespaceSelector", &format!("left out: {}", list(left_out)));
    }
    let mut expressible = Vec::new();
    for signer in &judged.signers {
        match signer {
            Signer::Key { key, .. } => expressible.push(("pubKeys", json!([pem("PUBLIC KEY", &key.key)]))),
            Signer::Certificate { subject: Matcher::Exact(subject), issuer: Matcher::Exact(issuer), .. } => {
                expressible.push(("keyless", json!([{ "issuer": issuer, "subject": subject }])));
            }
            Signer::Certificate { name, .. } => {
                loss(LossKind::KubewardenExactSubjects, "identities", &format!("`{name}` is an expression"));
            }
        }
    }
    let Some(module) = module else {
        loss(LossKind::KubewardenModuleAbsent, "engines.kubewarden.module", "none is declared, so nothing is rendered");
        return;
    };
    let [(field, signer)] = expressible.as_slice() else {
        let why = format!("{} of them can be expressed, so nothing is rendered", expressible.len());
        loss(LossKind::KubewardenOneIdentity, "identities", &why);
        return;
    };
    let signatures: Vec<Value> = policy
        .declared
        .spec
        .images
        .iter()
        .flat_map(|pattern| wildcards(pattern))
        .collect::<BTreeSet<String>>()
        .into_iter()
        .map(|image| {
            Value::Object(Map::from_iter([("image".to_owned(), json!(image)), ((*field).to_owned(), signer.clone())]))
        })
        .collect();
    let namespaces: BTreeSet<&str> =
        [Stage::Audit, Stage::Enforce].iter().flat_map(|stage| estate.namespaces_of(policy, *stage)).collect();
    let of = Type { api_version: "policies.kubewarden.io/v1", kind: "ClusterAdmissionPolicy" };
    let spec = json!({ "spec": {
        "module": module,
        "mode": "monitor",
        // A monitor must not rewrite images either.
        "mutating": false,
        "rules": [{ "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE", "UPDATE"] }],
        "namespaceSelector": { "matchExpressions": [
            { "key": "kubernetes.io/metadata.name", "operator": "In", "values": namespaces },
        ]},
        "settings": { "modifyImagesWithDigest": false, "signatures": signatures },
    }});
    ledger.rendering.objects.push(Object::new(
        EngineKind::Kubewarden,
        of,
        None,
        &names::name(name, names::MAX_NAME),
        For::Policy(name),
        spec,
    ));
}

/// A pattern as wildcards over the text of a pod, where `*` stands for anything, `/` included: never less than the pattern, which is enough to monitor.
fn wildcards(pattern: &str) -> Vec<String> {
    let text = pattern.replace("**", "*");
    if pattern.ends_with("**") { vec![text] } else { vec![text.clone(), format!("{text}:*"), format!("{text}@*")] }
}
