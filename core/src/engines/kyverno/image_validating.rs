//! ImageValidatingPolicies, in the form that worked on the real engine.
//!
//! Two objects a policy: one that reports, in every namespace that is selected and not enforced, and one that denies, in the enforced namespaces by name.
//! Neither leaves anything to a default: Kyverno's are Deny, Fail, and to rewrite pods, also where a policy only reports.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::attestors::Attestor;
use super::capability::ServedVersion;
use super::cel::{self, About, IMAGES};
use crate::api::common::NamespaceSelector;
use crate::engines::object::{For, Type, fields};
use crate::engines::{EngineKind, Object, Stage, names};
use crate::verify::policy::SIGNATURE_PREDICATE;

/// The longest names rendered: Kyverno makes the name of a webhook of it.
const MAX_NAME: usize = 200;
/// The largest object, in bytes: the API server stores no more than 1.5 MiB, in which it keeps its own notes on every field.
const MAX_BYTES: usize = 1_000_000;
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";
const SIGNATURE: &str = "signature";

/// What one object is rendered from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts<'a> {
    /// The policy.
    pub(super) policy: &'a str,
    /// Which images it is about.
    pub(super) about: &'a About,
    /// Who may sign, one of them.
    pub(super) attestors: &'a [Attestor<'a>],
    /// Predicate types of statements that have to be there besides.
    pub(super) attestations: &'a [String],
    /// The version to write.
    pub(super) served: ServedVersion,
}

/// An object that is larger than the API server stores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TooLarge {
    /// Its size, in bytes.
    pub(super) bytes: usize,
}

/// The object that reports: where the policy selects, but not in these namespaces.
pub(super) fn audit(parts: Parts<'_>, selector: &NamespaceSelector, but: &BTreeSet<&str>) -> Result<Object, TooLarge> {
    let mut selector = json!(selector);
    let mut requirements = selector.get("matchExpressions").and_then(Value::as_array).cloned().unwrap_or_default();
    requirements.push(json!({ "key": NAMESPACE_NAME, "operator": "NotIn", "values": but }));
    if let Some(selector) = selector.as_object_mut() {
        selector.insert("matchExpressions".to_owned(), Value::Array(requirements));
    }
    object(parts, Stage::Audit, &selector)
}

/// The object that denies, in these namespaces.
pub(super) fn enforce(parts: Parts<'_>, namespaces: &BTreeSet<&str>) -> Result<Object, TooLarge> {
    object(parts, Stage::Enforce, &by_name(namespaces))
}

fn by_name(namespaces: &BTreeSet<&str>) -> Value {
    json!({ "matchExpressions": [{ "key": NAMESPACE_NAME, "operator": "In", "values": namespaces }] })
}

fn object(parts: Parts<'_>, stage: Stage, selector: &Value) -> Result<Object, TooLarge> {
    let named = |name: &str, predicate: &str| json!({ "name": name, "intoto": { "type": predicate } });
    let attestations: Vec<Value> = std::iter::once(named(SIGNATURE, SIGNATURE_PREDICATE))
        .chain(parts.attestations.iter().enumerate().map(|(at, predicate)| named(&required(at), predicate)))
        .collect();
    let attestors: Vec<Value> = parts.attestors.iter().map(|attestor| attestor.body.clone()).collect();
    let mut spec = common(stage, selector);
    spec.extend([
        ("matchImageReferences".to_owned(), matching(parts.about.concerns("ref"))),
        // Kyverno's own look at the digest; before 1.19 it has none, so there is an expression as well.
        (
            "validationConfigurations".to_owned(),
            json!({ "mutateDigest": false, "verifyDigest": stage == Stage::Enforce, "required": false }),
        ),
        ("attestors".to_owned(), Value::Array(attestors)),
        ("attestations".to_owned(), Value::Array(attestations)),
        ("validations".to_owned(), Value::Array(validations(parts, stage))),
    ]);
    let name = match stage {
        Stage::Audit => format!("audit-{}", parts.policy),
        Stage::Enforce => format!("enforce-{}", parts.policy),
    };
    sized(Object::new(
        EngineKind::Kyverno,
        Type { api_version: parts.served.api_version(), kind: "ImageValidatingPolicy" },
        None,
        &names::name(&name, MAX_NAME),
        For::Policy(parts.policy),
        fields([("spec", Value::Object(spec))]),
    ))
}

/// The one object for images that no policy matches. `allowed` gives, for namespaces, the policies that count there.
pub(super) fn other_images(
    served: ServedVersion,
    allowed: &[(BTreeSet<&str>, Vec<&About>)],
) -> Result<Object, TooLarge> {
    let names_it = |abouts: &[&About], text: &str| {
        let any: Vec<String> = abouts.iter().map(|about| about.names(text)).collect();
        format!("({})", any.join(" || "))
    };
    // Only what some namespace would not allow is looked at, so that Kyverno fetches nothing for the others.
    let foreign: Vec<String> = std::iter::once(format!("!({})", cel::readable("ref")))
        .chain(allowed.iter().map(|(_, abouts)| format!("!{}", names_it(abouts, "ref"))))
        .collect();
    let unreadable = "an image is not written in the one form that is read alike everywhere";
    let mut validations = vec![
        validation(format!("{IMAGES}.all(i, {})", cel::readable("i")), unreadable),
        validation(cel::volumes(cel::readable), unreadable),
    ];
    for (namespaces, abouts) in allowed {
        let here = if allowed.len() == 1 {
            String::new()
        } else {
            let quoted: Vec<String> = namespaces.iter().map(|name| cel::literal(name)).collect();
            format!("!(request.namespace in [{}]) || ", quoted.join(", "))
        };
        let message = "no SigningIdentityPolicy that is enforced here names this image";
        validations.push(validation(format!("{here}{IMAGES}.all(i, {})", names_it(abouts, "i")), message));
        let volumes = cel::volumes(|volume| names_it(abouts, volume));
        validations.push(validation(format!("{here}{volumes}"), &format!("{message} (a volume)")));
    }
    let everywhere: BTreeSet<&str> = allowed.iter().flat_map(|(namespaces, _)| namespaces.iter().copied()).collect();
    let mut spec = common(Stage::Enforce, &by_name(&everywhere));
    spec.extend([
        ("matchImageReferences".to_owned(), matching(foreign.join(" || "))),
        (
            "validationConfigurations".to_owned(),
            json!({ "mutateDigest": false, "verifyDigest": false, "required": false }),
        ),
        ("attestors".to_owned(), json!([])),
        ("validations".to_owned(), Value::Array(validations)),
    ]);
    sized(Object::new(
        EngineKind::Kyverno,
        Type { api_version: served.api_version(), kind: "ImageValidatingPolicy" },
        None,
        "holdfast-other-images",
        For::Cluster,
        fields([("spec", Value::Object(spec))]),
    ))
}

fn matching(expression: String) -> Value {
    Value::Array(vec![fields([("expression", expression.into())])])
}

fn validation(expression: String, message: &str) -> Value {
    fields([("expression", expression.into()), ("message", message.into())])
}

fn sized(object: Object) -> Result<Object, TooLarge> {
    let bytes = object.size();
    if bytes > MAX_BYTES { Err(TooLarge { bytes }) } else { Ok(object) }
}

/// What every object says, whatever it is about.
fn common(stage: Stage, selector: &Value) -> serde_json::Map<String, Value> {
    // The time-out gives the object a webhook of its own, without which a report would be evaluated behind the webhook that fails. A report waits less: a
    // repository that never answers holds up every pod for as long.
    let (action, failure, seconds) = match stage {
        Stage::Audit => ("Audit", "Ignore", 10),
        Stage::Enforce => ("Deny", "Fail", 20),
    };
    serde_json::Map::from_iter([
        ("validationActions".to_owned(), json!([action])),
        ("failurePolicy".to_owned(), json!(failure)),
        ("webhookConfiguration".to_owned(), json!({ "timeoutSeconds": seconds })),
        ("evaluation".to_owned(), json!({ "admission": { "enabled": true }, "background": { "enabled": false } })),
        ("autogen".to_owned(), json!({ "podControllers": { "controllers": [] } })),
        (
            "matchConstraints".to_owned(),
            json!({
                "namespaceSelector": selector,
                "resourceRules": [{
                    "apiGroups": [""],
                    "apiVersions": ["v1"],
                    "operations": ["CREATE", "UPDATE"],
                    "resources": ["pods", "pods/ephemeralcontainers"],
                }],
            }),
        ),
    ])
}

fn validations(parts: Parts<'_>, stage: Stage) -> Vec<Value> {
    let policy = parts.policy;
    let says =
        |expression: String, what: &str| validation(expression, &format!("SigningIdentityPolicy {policy}: {what}"));
    let mut all = vec![says(
        format!("{IMAGES}.all(i, {})", cel::readable("i")),
        "an image is not written in the one form that is read alike everywhere",
    )];
    if stage == Stage::Enforce {
        all.push(says(format!("{IMAGES}.all(i, {})", cel::by_digest("i")), "an image is not declared by digest"));
    }
    // A volume the policy is about cannot be verified; what it is not about is none of its business.
    all.push(says(
        cel::volumes(|volume| format!("!({})", parts.about.concerns(volume))),
        "an image volume cannot be verified by Kyverno",
    ));
    all.push(says(signed(parts, SIGNATURE), "an image is not signed by any identity of the policy"));
    for (at, predicate) in parts.attestations.iter().enumerate() {
        all.push(says(
            signed(parts, &required(at)),
            &format!("an image has no statement of type {predicate} by any identity of the policy"),
        ));
    }
    all
}

fn required(at: usize) -> String {
    format!("required_{}", at + 1)
}

/// Any of the attestors; each in a call of its own, because a result is remembered only where all attestors of a call passed.
fn signed(parts: Parts<'_>, attestation: &str) -> String {
    let any: Vec<String> = parts
        .attestors
        .iter()
        .map(|attestor| {
            format!("verifyAttestationSignatures(i, attestations.{attestation}, [attestors.{}]) > 0", attestor.name)
        })
        .collect();
    let any = if any.is_empty() { "false".to_owned() } else { any.join(" || ") };
    format!("{IMAGES}.all(i, {any})")
}
