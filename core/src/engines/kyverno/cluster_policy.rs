//! ClusterPolicy, for images that have legacy signatures alone. On request, up to 1.19, and for reports only.
//!
//! Of its two types, `Cosign` is rendered: everything it trusts stands in the object. `SigstoreBundle` would see bundles, but trusts whatever root the flags
//! of the process name, never checks an SCT, and gives `ignoreSCT` another meaning.

use serde_json::{Value, json};

use super::Task;
use super::attestors::{armoured, pem};
use super::capability::Installed;
use super::evidence::NO_LOG;
use super::report::Report;
use crate::engines::object::{For, Type};
use crate::engines::{EngineKind, EstateRoot, LossKind, Object, names};
use crate::trust::root::{KeyAlgorithm, Log};
use crate::verify::{EvidenceRequirements, Matcher, Signer};

/// Renders the object that reports, and says what it loses.
pub(super) fn render(task: &Task<'_>, installed: &Installed, report: &mut Report) {
    const KIND: &str = "engines.kyverno.kind";
    let name = task.name;
    let version = installed.version;
    if version.is_at_least(1, 20) || !installed.cluster_policy {
        let detail = format!("Kyverno {version} would not act on it, so nothing is rendered");
        report.loss(name, LossKind::ClusterPolicyRemoved, KIND, detail);
        report.refuse_for_losses(task);
        return;
    }
    let mut say = |kind, field: &str, detail: &str| report.loss(name, kind, field, detail.to_owned());
    say(LossKind::ClusterPolicyNotRun, KIND, "it is rendered for reports only");
    say(LossKind::ClusterPolicySeesNoBundles, KIND, "only legacy signatures of its images are seen");
    if !task.roots.is_empty() {
        say(LossKind::ClusterPolicyLosesWindows, "trustRoots", "keys that ended would go on counting");
    }
    if task.policy.compiled.policy.signers.iter().any(|signer| matches!(signer, Signer::Certificate { .. })) {
        say(LossKind::ClusterPolicyReadsWildcards, "identities", "plain names are written as anchored expressions");
    }
    for (root, _) in task.roots.iter().filter(|(_, root)| root.root.logs.iter().any(|log| !is_ecdsa(log))) {
        let detail = format!("`{root}` holds logs with other keys");
        report.loss(name, LossKind::ClusterPolicyReadsEcdsaLogsOnly, "trustRoots", detail);
    }
    for root in task.policy.compiled.trust_roots.iter().filter(|root| !task.estate.roots.contains_key(root.as_str())) {
        let detail = format!("the trust root `{root}` is not at hand");
        report.loss(name, LossKind::TrustRootAbsent, "trustRoots", detail);
    }
    report.rendering.objects.push(object(task));
    report.refuse_for_losses(task);
}

fn object(task: &Task<'_>) -> Object {
    let spec = &task.policy.declared.spec;
    let attestors = json!([{ "count": 1, "entries": entries(task) }]);
    let attestations: Vec<Value> = spec
        .require
        .attestations
        .iter()
        .map(|predicate| json!({ "type": predicate, "attestors": attestors }))
        .collect();
    let mut selector = json!(spec.namespace_selector);
    let mut requirements = selector.get("matchExpressions").and_then(Value::as_array).cloned().unwrap_or_default();
    requirements.push(json!({ "key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": task.left_out }));
    if let Some(selector) = selector.as_object_mut() {
        selector.insert("matchExpressions".to_owned(), json!(requirements));
    }
    let mut rule = json!({
        "type": "Cosign",
        "failureAction": "Audit",
        "mutateDigest": false,
        "verifyDigest": false,
        "required": false,
        "useCache": true,
        "imageReferences": spec.images.iter().map(|pattern| glob(pattern)).collect::<Vec<_>>(),
        "skipImageReferences": spec.exempt_images.iter().map(|exempt| &exempt.image).collect::<Vec<_>>(),
        "attestors": attestors,
    });
    if let (Some(rule), false) = (rule.as_object_mut(), attestations.is_empty()) {
        rule.insert("attestations".to_owned(), json!(attestations));
    }
    Object::new(
        EngineKind::Kyverno,
        Type { api_version: "kyverno.io/v1", kind: "ClusterPolicy" },
        None,
        &names::name(&format!("audit-{}", task.name), names::MAX_NAME),
        For::Policy(task.name),
        json!({ "spec": {
            "background": false,
            "webhookConfiguration": { "failurePolicy": "Ignore", "timeoutSeconds": 10 },
            "rules": [{
                "name": "signed",
                "match": { "any": [{ "resources": { "kinds": ["Pod"], "namespaceSelector": selector } }] },
                "verifyImages": [rule],
            }],
        } }),
    )
}

/// A glob that matches whatever the pattern matches, and more: here `*` crosses segments and stands for nothing, too.
fn glob(pattern: &str) -> String {
    format!("{}*", pattern.replace("**/", "*").replace("**", "*")).replace("**", "*")
}

/// One entry for every signer, root, log and CT log: each takes one key of a kind.
fn entries(task: &Task<'_>) -> Vec<Value> {
    let required = task.policy.compiled.policy.evidence;
    let mut entries = Vec::new();
    for signer in &task.policy.compiled.policy.signers {
        match signer {
            Signer::Key { key, .. } if !required.transparency_log => entries.push(json!({ "keys": {
                "publicKeys": pem(key), "rekor": { "ignoreTlog": true }, "ctlog": { "ignoreSCT": true },
            } })),
            Signer::Key { key, .. } => {
                for rekor in task.roots.iter().flat_map(|(_, root)| rekor(root, required)) {
                    entries.push(json!({ "keys": {
                        "publicKeys": pem(key), "rekor": rekor, "ctlog": { "ignoreSCT": true },
                    } }));
                }
            }
            Signer::Certificate { subject, issuer, .. } => {
                for (_, root) in &task.roots {
                    for rekor in rekor(root, required) {
                        for ctlog in ctlog(root, required) {
                            entries.push(json!({ "keyless": {
                                "issuerRegExp": expression(issuer), "subjectRegExp": expression(subject),
                                "roots": chains(root), "rekor": rekor, "ctlog": ctlog,
                            } }));
                        }
                    }
                }
            }
        }
    }
    entries
}

fn expression(matcher: &Matcher) -> String {
    match matcher {
        Matcher::Exact(name) => format!("^{}$", regex::escape(name)),
        Matcher::Pattern(pattern) => pattern.anchored(),
    }
}

fn is_ecdsa(log: &Log) -> bool {
    matches!(log.algorithm, KeyAlgorithm::EcdsaP256 | KeyAlgorithm::EcdsaP384 | KeyAlgorithm::EcdsaP521)
}

fn rekor(root: &EstateRoot<'_>, required: EvidenceRequirements) -> Vec<Value> {
    if !required.transparency_log {
        return vec![json!({ "ignoreTlog": true })];
    }
    let logs = root.root.logs.iter().filter(|log| is_ecdsa(log));
    logs.map(|log| json!({ "url": NO_LOG, "pubkey": armoured("PUBLIC KEY", &log.key) })).collect()
}

fn ctlog(root: &EstateRoot<'_>, required: EvidenceRequirements) -> Vec<Value> {
    let with_timestamps = |block: Value| -> Vec<Value> {
        if !required.signed_timestamp {
            return vec![block];
        }
        let authorities = root.root.timestamp_authorities.iter().map(|authority| {
            let chain: String =
                authority.chain.iter().map(|certificate| armoured("CERTIFICATE", &certificate.der)).collect();
            let mut block = block.clone();
            if let Some(block) = block.as_object_mut() {
                block.insert("tsaCertChain".to_owned(), json!(chain));
            }
            block
        });
        authorities.collect()
    };
    if !required.sct {
        return with_timestamps(json!({ "ignoreSCT": true }));
    }
    let logs = root.root.ct_logs.iter();
    logs.flat_map(|log| with_timestamps(json!({ "pubkey": armoured("PUBLIC KEY", &log.key) }))).collect()
}

fn chains(root: &EstateRoot<'_>) -> String {
    let certificates = root.root.certificate_authorities.iter().flat_map(|authority| &authority.chain);
    certificates.map(|certificate| armoured("CERTIFICATE", &certificate.der)).collect()
}
