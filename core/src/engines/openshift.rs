//! OpenShift: `ClusterImagePolicy` (`config.openshift.io/v1`), which nodes enforce when they pull.
//!
//! Not run: written from openshift/api, `config/v1/types_image_policy.go` (2026-08), and from the documentation of `containers-policy.json`. Nodes know no
//! audit and no namespaces; of several scopes that hold an image only the most specific counts; an image outside all scopes is pulled. So what is outside
//! has to be closed by the list of allowed registries of the cluster's image configuration, which is part of the capability.

use std::collections::BTreeSet;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use super::ledger::{Ledger, list};
use super::object::{For, Type};
use super::{Engine, EngineKind, Estate, EstatePolicy, LossKind, Object, Rendering, Stage, names};
use crate::api::policy::OtherImages;
use crate::image::ImageRef;
use crate::pem::pem;
use crate::trust::root::{Authority, KeyAlgorithm, Log, TrustRoot, Window};
use crate::verify::{Accept, Matcher, Signer};

/// OpenShift's ClusterImagePolicy.
#[derive(Debug, Clone, Copy)]
pub struct OpenShift;

/// What is known of OpenShift's image policies in a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenShiftCapability {
    /// Whether `config.openshift.io/v1` serves ClusterImagePolicy.
    pub present: bool,
    /// `registrySources.allowedRegistries` of the cluster's image configuration, where set: nothing else is pulled, another spelling of a host included.
    pub allowed_registries: Option<BTreeSet<String>>,
}

const VERSIONS: &str = "any";
/// The most characters of a key or certificate (openshift/api).
const MAX_DATA: usize = 8192;
/// The longest issuer, in characters.
const MAX_ISSUER: usize = 2048;
/// The most scopes of a policy (openshift/api).
const MAX_SCOPES: usize = 256;

impl Engine for OpenShift {
    type Capability = OpenShiftCapability;

    const KIND: EngineKind = EngineKind::OpenShift;

    fn render(estate: &Estate<'_>, capability: &OpenShiftCapability) -> Rendering {
        let mut ledger = Ledger::new(Self::KIND);
        let asked: Vec<(&str, &EstatePolicy<'_>)> = estate
            .policies
            .iter()
            .filter(|(_, policy)| policy.declared.spec.engines.open_shift.is_some())
            .map(|(name, policy)| (*name, policy))
            .collect();
        let enforced = |policy: &EstatePolicy<'_>| !estate.namespaces_of(policy, Stage::Enforce).is_empty();
        let all: Vec<(&str, BTreeSet<String>)> = asked
            .iter()
            .filter(|(_, policy)| enforced(policy))
            .map(|(name, policy)| {
                (*name, policy.declared.spec.images.iter().filter_map(|pattern| scope(pattern)).collect())
            })
            .collect();
        for (name, policy) in asked {
            let mut loss = |kind, field: &str, why: &str| ledger.loss(name, kind, field, VERSIONS, why.to_owned());
            if !capability.present {
                loss(
                    LossKind::EngineAbsent,
                    "engines.openShift",
                    "OpenShift's ClusterImagePolicy is not in the cluster",
                );
            } else if enforced(policy) {
                let object = render(estate, name, policy, &all, capability, &mut ledger);
                if !ledger.widens(name)
                    && let Some(object) = object
                {
                    ledger.rendering.objects.push(object);
                    continue;
                }
            } else {
                loss(LossKind::OpenShiftNoAudit, "enforcement", "it is enforced nowhere");
                continue;
            }
            if enforced(policy) {
                ledger.refuse(name, "no identity of it can be expressed for nodes; see its losses");
            }
        }
        ledger.rendering.sorted()
    }
}

fn render(
    estate: &Estate<'_>,
    name: &str,
    policy: &EstatePolicy<'_>,
    all: &[(&str, BTreeSet<String>)],
    capability: &OpenShiftCapability,
    ledger: &mut Ledger,
) -> Option<Object> {
    let mut loss = |kind, field: &str, why: String| ledger.loss(name, kind, field, VERSIONS, why);
    let judged = &policy.compiled.policy;
    loss(LossKind::NotRun, "engines.openShift", "written from openshift/api and its documentation".to_owned());
    loss(LossKind::OpenShiftWholeCluster, "namespaceSelector", "nodes know no namespaces".to_owned());
    loss(LossKind::OpenShiftLegacyOnly, "identities", "bundles were not seen to be read".to_owned());
    if !estate.namespaces_of(policy, Stage::Audit).is_empty() {
        loss(LossKind::OpenShiftNoAudit, "enforcement", "what is in audit is enforced with the rest".to_owned());
    }
    let scopes = scopes(policy, &mut loss);
    let mine: BTreeSet<&str> = scopes.iter().map(String::as_str).collect();
    for (other, theirs) in all.iter().filter(|(other, _)| *other != name) {
        if mine.iter().any(|one| theirs.iter().any(|two| holds(one, two) || holds(two, one))) {
            loss(
                LossKind::OpenShiftMostSpecificScope,
                "images",
                format!("the policy `{other}` has scopes in common with it"),
            );
        }
    }
    match &capability.allowed_registries {
        None => loss(
            LossKind::OpenShiftAdmitsUnmatched,
            "otherImages",
            "no list of allowed registries is set, so another spelling of a host passes".to_owned(),
        ),
        Some(allowed) if policy.compiled.other_images == OtherImages::Deny => {
            let inside =
                |registry: &&String| all.iter().flat_map(|(_, scopes)| scopes).any(|scope| holds(scope, registry));
            let open: Vec<&str> = allowed.iter().filter(|registry| !inside(registry)).map(String::as_str).collect();
            if !open.is_empty() {
                loss(
                    LossKind::OpenShiftAdmitsUnmatched,
                    "otherImages",
                    format!("{} may be pulled from without a signature", list(open)),
                );
            }
        }
        Some(_) => {}
    }
    if !policy.declared.spec.exempt_images.is_empty() {
        loss(LossKind::OpenShiftExemptJudged, "exemptImages", "no scope can be left unsigned".to_owned());
    }
    if matches!(&judged.accept, Accept::Signature { attestations } | Accept::Statements(attestations) if !attestations.is_empty())
    {
        loss(LossKind::OpenShiftStatementsNotChecked, "require.attestations", "they are not looked at".to_owned());
    }
    let root_of_trust = root_of_trust(estate, policy, &mut loss)?;
    if scopes.is_empty() || scopes.len() > MAX_SCOPES {
        loss(
            LossKind::OpenShiftScopesOnly,
            "images",
            format!("{} patterns are scopes, and from 1 to {MAX_SCOPES} are stored", scopes.len()),
        );
        return None;
    }
    let of = Type { api_version: "config.openshift.io/v1", kind: "ClusterImagePolicy" };
    let spec = json!({ "spec": {
        "scopes": scopes,
        "policy": { "rootOfTrust": root_of_trust, "signedIdentity": { "matchPolicy": "MatchRepoDigestOrExact" } },
    }});
    Some(Object::new(EngineKind::OpenShift, of, None, &names::name(name, names::MAX_NAME), For::Policy(name), spec))
}

fn scopes(policy: &EstatePolicy<'_>, loss: &mut impl FnMut(LossKind, &str, String)) -> BTreeSet<String> {
    let mut scopes = BTreeSet::new();
    for pattern in &policy.declared.spec.images {
        if let Some(scope) = scope(pattern) {
            loss(LossKind::OpenShiftScopeHoldsMore, "images", format!("`{scope}` itself, and all below it"));
            scopes.insert(scope);
        } else {
            loss(LossKind::OpenShiftScopesOnly, "images", format!("`{pattern}` is no prefix"));
        }
    }
    scopes
}

/// A pattern as a scope: a registry, or a registry and a path without `*`.
fn scope(pattern: &str) -> Option<String> {
    let prefix = pattern.strip_suffix("/**").unwrap_or(pattern);
    let (host, path) = prefix.split_once('/').map_or((prefix, None), |(host, path)| (host, Some(path)));
    let registry = ImageRef::parse(&format!("{host}/any")).ok()?.registry().to_owned();
    let is_literal = !prefix.contains('*') && (registry.contains('.') || registry.starts_with("localhost"));
    is_literal.then(|| path.map_or_else(|| registry.clone(), |path| format!("{registry}/{path}")))
}

/// Whether every image of `inner` is one of `outer`.
fn holds(outer: &str, inner: &str) -> bool {
    inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The one root of trust a policy has.
fn root_of_trust(
    estate: &Estate<'_>,
    policy: &EstatePolicy<'_>,
    loss: &mut impl FnMut(LossKind, &str, String),
) -> Option<Value> {
    let judged = &policy.compiled.policy;
    let mut expressible = Vec::new();
    for signer in &judged.signers {
        match signer {
            Signer::Key { .. } => expressible.push(signer),
            Signer::Certificate { subject: Matcher::Exact(subject), issuer: Matcher::Exact(issuer), .. }
                if is_email(subject) && is_address(issuer) =>
            {
                expressible.push(signer);
            }
            Signer::Certificate { name, subject: Matcher::Exact(subject), .. } if is_email(subject) => {
                loss(
                    LossKind::OpenShiftIdentityLeftOut,
                    "identities",
                    format!("the issuer of `{name}` is not an address of at most {MAX_ISSUER} characters"),
                );
            }
            Signer::Certificate { name, .. } => {
                loss(LossKind::OpenShiftIdentityLeftOut, "identities", format!("`{name}` is not an e-mail address"));
            }
        }
    }
    let [signer] = expressible.as_slice() else {
        loss(LossKind::OpenShiftOneIdentity, "identities", format!("{} of them can be expressed", expressible.len()));
        return None;
    };
    let required = judged.evidence;
    let by_key = matches!(signer, Signer::Key { .. });
    if required.signed_timestamp || required.sct && !by_key {
        loss(
            LossKind::OpenShiftEvidenceNotChecked,
            "require",
            "neither signed timestamps nor certificate timestamps are".to_owned(),
        );
    }
    let mut roots = Vec::new();
    for name in &policy.compiled.trust_roots {
        match estate.roots.get(name.as_str()) {
            Some(root) => roots.push(root.root),
            None if by_key && !required.transparency_log => {}
            None => loss(LossKind::TrustRootAbsent, "trustRoots", format!("`{name}` is not at hand")),
        }
    }
    match signer {
        Signer::Key { key, .. } => {
            let mut data =
                Map::from_iter([("keyData".to_owned(), json!(STANDARD.encode(pem("PUBLIC KEY", &key.key))))]);
            if required.transparency_log {
                let log = one_log(&roots, loss)?;
                data.insert("rekorKeyData".to_owned(), json!(STANDARD.encode(pem("PUBLIC KEY", &log.key))));
            }
            Some(json!({ "policyType": "PublicKey", "publicKey": data }))
        }
        Signer::Certificate { subject: Matcher::Exact(email), issuer: Matcher::Exact(issuer), .. } => {
            let log = one_log(&roots, loss)?;
            let authority = one_authority(&roots, loss)?;
            let chain: String = authority.chain.iter().map(|c| pem("CERTIFICATE", &c.der)).collect();
            // The bound is on what is written.
            let chain = STANDARD.encode(chain);
            if chain.len() > MAX_DATA {
                loss(
                    LossKind::OpenShiftLogUnusable,
                    "trustRoots",
                    format!("the authority's certificates have {} characters, of {MAX_DATA}", chain.len()),
                );
                return None;
            }
            Some(json!({ "policyType": "FulcioCAWithRekor", "fulcioCAWithRekor": {
                "fulcioCAData": chain,
                "rekorKeyData": STANDARD.encode(pem("PUBLIC KEY", &log.key)),
                "fulcioSubject": { "oidcIssuer": issuer, "signedEmail": email },
            }}))
        }
        Signer::Certificate { .. } => None,
    }
}

/// A subject OpenShift takes for an e-mail address (openshift/api), and no URI.
fn is_email(subject: &str) -> bool {
    let around = subject.split_once('@').is_some_and(|(before, after)| !before.is_empty() && !after.is_empty());
    around && subject.len() <= 320 && !subject.contains(char::is_whitespace) && !subject.contains("://")
}

/// An issuer OpenShift takes for an address (its schema asks for one), without anything two readers of addresses may differ on.
fn is_address(issuer: &str) -> bool {
    let after = issuer.strip_prefix("https://").or_else(|| issuer.strip_prefix("http://"));
    let (authority, path) =
        after.map(|after| after.split_at(after.find('/').unwrap_or(after.len()))).unwrap_or_default();
    let (host, port) = authority.split_once(':').unwrap_or((authority, "443"));
    let in_host = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
    let in_path = |c: char| c.is_ascii_alphanumeric() || "-._~/=&+,@:".contains(c);
    issuer.len() <= MAX_ISSUER
        && !host.is_empty()
        && host.chars().all(in_host)
        && port.parse::<u16>().is_ok()
        && path.chars().all(in_path)
}

/// The one log whose promises nodes can check: ECDSA, of Rekor v1.
fn one_log<'a>(roots: &[&'a TrustRoot], loss: &mut impl FnMut(LossKind, &str, String)) -> Option<&'a Log> {
    let known: Vec<&Log> = roots.iter().flat_map(|root| &root.logs).collect();
    let [log] = known.as_slice() else {
        loss(LossKind::OpenShiftLogUnusable, "trustRoots", format!("they have {} logs", known.len()));
        return None;
    };
    let ecdsa = matches!(log.algorithm, KeyAlgorithm::EcdsaP256 | KeyAlgorithm::EcdsaP384 | KeyAlgorithm::EcdsaP521);
    if !ecdsa {
        loss(LossKind::OpenShiftLogUnusable, "trustRoots", format!("the key of {} is {}", log.name(), log.algorithm));
        return None;
    }
    if log.window.end().is_some() {
        loss(LossKind::OpenShiftLosesWindows, "trustRoots", format!("{} counts {}", log.name(), log.window));
    }
    Some(log)
}

fn one_authority<'a>(roots: &[&'a TrustRoot], loss: &mut impl FnMut(LossKind, &str, String)) -> Option<&'a Authority> {
    let authorities: Vec<&Authority> = roots.iter().flat_map(|root| &root.certificate_authorities).collect();
    let [authority] = authorities.as_slice() else {
        loss(
            LossKind::OpenShiftLogUnusable,
            "trustRoots",
            format!("they have {} certificate authorities", authorities.len()),
        );
        return None;
    };
    let certified = authority.chain.iter().try_fold(Window::ALWAYS, |window, c| window.intersection(c.validity));
    if authority.effective_window() != certified {
        loss(
            LossKind::OpenShiftLosesWindows,
            "trustRoots",
            format!("`{}` counts {}", authority.name(), authority.window),
        );
    }
    Some(authority)
}
