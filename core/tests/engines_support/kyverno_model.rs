//! What Kyverno 1.19 does with an object, written from what was seen of it (and, where that is silent, from its source), not from the renderer.
//!
//! The object's CEL is evaluated by an interpreter of CEL; the functions Kyverno brings are modelled here.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test that cannot go on fails

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, OnceLock};

use cel::extractors::This;
use cel::{Context, Program};
use regex::Regex;
use serde_json::{Value, json};

/// Who signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum By {
    Certificate { issuer: String, subject: String },
    Key { pem: String },
}

/// The log entry of a signed statement, where it has a true one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    None,
    V1,
    V2,
}

/// One signed thing stored for an image.
#[derive(Debug, Clone)]
pub(crate) struct Signed {
    /// The predicate type; nothing for a plain signature.
    pub predicate: Option<String>,
    pub by: By,
    /// The trust root whose authorities vouch for it.
    pub root: &'static str,
    pub entry: Entry,
    pub timestamp: bool,
    pub sct: bool,
    /// Stored in cosign's old form.
    pub legacy: bool,
}

/// A pod, as far as it matters: the images of its containers and of its volumes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pod {
    pub containers: Vec<String>,
    pub volumes: Vec<String>,
}

/// What is stored, by the text of the image.
pub(crate) type Stored = BTreeMap<String, Vec<Signed>>;

/// The engine over one object.
pub(crate) struct Model {
    object: Value,
    matches: Program,
    validations: Vec<Program>,
    /// The name of the trust root, by its inline document.
    documents: BTreeMap<String, &'static str>,
}

impl Model {
    pub(crate) fn new(object: &Value, documents: BTreeMap<String, &'static str>) -> Self {
        let spec = &object["spec"];
        let matches = spec["matchImageReferences"].as_array().unwrap();
        assert_eq!(matches.len(), 1);
        Self {
            matches: Program::compile(matches[0]["expression"].as_str().unwrap()).unwrap(),
            validations: spec["validations"]
                .as_array()
                .unwrap()
                .iter()
                .map(|validation| Program::compile(validation["expression"].as_str().unwrap()).unwrap())
                .collect(),
            object: object.clone(),
            documents,
        }
    }

    /// Whether the webhook is called for a pod in a namespace with these labels.
    pub(crate) fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        let selector = &self.object["spec"]["matchConstraints"]["namespaceSelector"];
        let labelled = |(key, value): (&String, &Value)| labels.get(key).map(String::as_str) == value.as_str();
        let all_labels = selector["matchLabels"].as_object().is_none_or(|wanted| wanted.iter().all(labelled));
        all_labels
            && selector["matchExpressions"].as_array().unwrap().iter().all(|requirement| {
                let value = labels.get(requirement["key"].as_str().unwrap());
                let listed =
                    value.is_some_and(|value| requirement["values"].as_array().unwrap().contains(&json!(value)));
                match requirement["operator"].as_str().unwrap() {
                    "In" => listed,
                    "NotIn" => !listed,
                    "Exists" => value.is_some(),
                    _ => value.is_none(),
                }
            })
    }

    /// Whether a pod is admitted in a namespace. What only reports admits.
    pub(crate) fn admits(&self, namespace: &str, pod: &Pod, stored: &Stored) -> bool {
        let labels = BTreeMap::from([("kubernetes.io/metadata.name".to_owned(), namespace.to_owned())]);
        if !self.selects(&labels) {
            return true;
        }
        let spec = &self.object["spec"];
        if !spec["validationActions"].as_array().unwrap().contains(&json!("Deny")) {
            return true;
        }
        let matched: Vec<String> = pod.containers.iter().filter(|image| self.is_matched(image)).cloned().collect();
        // Kyverno's own look at digests; then it fetches the manifests, and an error denies. What it cannot parse it cannot fetch: here the worst case, that
        // it can fetch anything.
        if spec["validationConfigurations"]["verifyDigest"] == true
            && matched.iter().any(|image| !image.contains("@sha256:"))
        {
            return false;
        }
        let context = self.context(namespace, pod, &matched, stored);
        // An error in an expression denies.
        self.validations.iter().all(|validation| validation.execute(&context).is_ok_and(|value| value == true.into()))
    }

    fn is_matched(&self, image: &str) -> bool {
        let mut context = functions();
        context.add_variable("ref", image).unwrap();
        self.matches.execute(&context).unwrap() == true.into()
    }

    fn context(&self, namespace: &str, pod: &Pod, matched: &[String], stored: &Stored) -> Context<'static> {
        let mut context = functions();
        let images = json!({ "containers": matched, "initContainers": [], "ephemeralContainers": [] });
        context.add_variable("images", cel::to_value(images).unwrap()).unwrap();
        let volumes: Vec<Value> =
            pod.volumes.iter().map(|image| json!({ "name": "v", "image": { "reference": image } })).collect();
        let containers: Vec<Value> = pod.containers.iter().map(|image| json!({ "image": image })).collect();
        let object = if volumes.is_empty() {
            json!({ "spec": { "containers": containers } })
        } else {
            json!({ "spec": { "containers": containers, "volumes": volumes } })
        };
        context.add_variable("object", cel::to_value(object).unwrap()).unwrap();
        context.add_variable("request", cel::to_value(json!({ "namespace": namespace })).unwrap()).unwrap();
        let names = |list: &Value| -> HashMap<String, String> {
            let items = list.as_array().map(Vec::as_slice).unwrap_or_default();
            items
                .iter()
                .map(|item| item["name"].as_str().unwrap().to_owned())
                .map(|name| (name.clone(), name))
                .collect()
        };
        let spec = &self.object["spec"];
        context.add_variable("attestors", cel::to_value(names(&spec["attestors"])).unwrap()).unwrap();
        context.add_variable("attestations", cel::to_value(names(&spec["attestations"])).unwrap()).unwrap();
        let (spec, documents, stored, seen) = (spec.clone(), self.documents.clone(), stored.clone(), matched.to_vec());
        context.add_function(
            "verifyAttestationSignatures",
            move |image: Arc<String>, attestation: Arc<String>, attestors: Arc<Vec<cel::Value>>| -> i64 {
                if !seen.contains(&*image) {
                    return 0;
                }
                let find = |list: &Value, name: &str| {
                    list.as_array().unwrap().iter().find(|item| item["name"] == name).unwrap().clone()
                };
                let wanted = find(&spec["attestations"], &attestation);
                let evidence = stored.get(&*image).map(Vec::as_slice).unwrap_or_default();
                let passes = |name: &cel::Value| {
                    let cel::Value::String(name) = name else { return false };
                    let attestor = find(&spec["attestors"], name);
                    verifies(&attestor["cosign"], wanted["intoto"]["type"].as_str().unwrap(), evidence, &documents)
                };
                i64::try_from(attestors.iter().filter(|name| passes(name)).count()).unwrap()
            },
        );
        context
    }
}

/// `verifyAttestationSignatures` with one attestor.
fn verifies(cosign: &Value, predicate: &str, evidence: &[Signed], documents: &BTreeMap<String, &'static str>) -> bool {
    let ctlog = &cosign["ctlog"];
    let flag = |name: &str| ctlog[name] == true;
    let (ignore_log, ignore_sct) = (flag("insecureIgnoreTlog"), flag("insecureIgnoreSCT"));
    let keyless = cosign.get("keyless");
    let skips_infrastructure = keyless.is_none() && ignore_log;
    if !skips_infrastructure {
        // Without a repository the public one is dialled, which does not answer here.
        let Some(mirror) = cosign["tuf"]["mirror"].as_str() else { return false };
        assert!(mirror.starts_with("http") && cosign["tuf"]["root"]["data"].is_string());
        if !ctlog.is_null() && !ignore_log && ctlog["url"].as_str().is_none_or(str::is_empty) {
            return false;
        }
    }
    let root = cosign["trustedRoot"]["value"].as_str().map(|document| documents[document]);
    // Bundles, if there are any; the old form only where there are none.
    let bundles = evidence.iter().any(|signed| !signed.legacy && signed.predicate.is_some());
    let good = |signed: &&Signed| {
        let by = match (keyless, &signed.by) {
            (Some(keyless), By::Certificate { issuer, subject }) => {
                let identities = keyless["identities"].as_array().unwrap();
                identities.len() == 1
                    && names(&identities[0], "issuer", "issuerRegExp", issuer)
                    && names(&identities[0], "subject", "subjectRegExp", subject)
            }
            (None, By::Key { pem }) => cosign["key"]["data"] == json!(pem),
            _ => false,
        };
        let is_certificate = keyless.is_some();
        let logged = !matches!(signed.entry, Entry::None);
        let evidence = if signed.legacy {
            // An ignored log counts as not verified; otherwise the entry has to be Rekor v1's, which is a time as well.
            !ignore_log && signed.entry == Entry::V1
        } else if ignore_log {
            !is_certificate || signed.timestamp
        } else {
            logged && (!is_certificate || signed.entry == Entry::V1 || signed.timestamp)
        };
        by && signed.predicate.as_deref() == Some(predicate)
            && (skips_infrastructure || root == Some(signed.root))
            && evidence
            && (!is_certificate || ignore_sct || signed.sct)
    };
    evidence.iter().filter(|signed| signed.legacy != bundles).any(|signed| good(&signed))
}

/// An identity's criterion: plain text is compared, an expression is searched for anywhere. No criterion matches any name.
fn names(identity: &Value, plain: &str, expression: &str, name: &str) -> bool {
    match (identity[plain].as_str(), identity[expression].as_str()) {
        (Some(plain), _) => plain == name,
        (None, Some(expression)) => compiled(expression).is_match(name),
        (None, None) => true,
    }
}

fn functions() -> Context<'static> {
    let mut context = Context::default();
    // As the interpreter's own, but each expression is compiled once.
    context.add_function("matches", |This(text): This<Arc<String>>, expression: Arc<String>| -> bool {
        compiled(&expression).is_match(&text)
    });
    context
}

fn compiled(expression: &str) -> Regex {
    static CACHE: OnceLock<Mutex<HashMap<String, Regex>>> = OnceLock::new();
    let mut cache = CACHE.get_or_init(Mutex::default).lock().unwrap();
    cache.entry(expression.to_owned()).or_insert_with(|| Regex::new(expression).unwrap()).clone()
}
