//! Estates to render, and the rows of `cases/native.yaml`.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_core::Digest;
use holdfast_core::api::SigningIdentityPolicy;
use holdfast_core::coverage::{CompiledPolicy, compile};
use holdfast_core::engines::native::{Native, NativeCapability};
use holdfast_core::engines::{Engine, Estate, EstatePolicy, Exception, Object, Rendering, Rollout, Verified, Version};
use holdfast_core::verify::{Reason, Verdict};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::vap::{Answer, ApiServer, Request};

pub(crate) const NEW: NativeCapability =
    NativeCapability { version: Some(Version::new(1, 36, 3)), shards: BTreeMap::new() };

/// What an estate is made of.
#[derive(Debug, Clone, Default)]
pub(crate) struct World {
    pub(crate) policies: Vec<(SigningIdentityPolicy, CompiledPolicy, BTreeSet<String>)>,
    pub(crate) namespaces: BTreeMap<String, BTreeMap<String, String>>,
    pub(crate) left_out: BTreeSet<String>,
    pub(crate) verified: Verified,
    pub(crate) exceptions: Vec<(String, String, BTreeSet<String>, String)>,
}

impl World {
    pub(crate) fn new(namespaces: &[&str]) -> Self {
        let labels = |name: &str| BTreeMap::from([("kubernetes.io/metadata.name".to_owned(), name.to_owned())]);
        Self {
            namespaces: namespaces.iter().map(|name| ((*name).to_owned(), labels(name))).collect(),
            left_out: BTreeSet::from(["kube-system".to_owned()]),
            ..Self::default()
        }
    }

    pub(crate) fn policy(&mut self, name: &str, spec: &Value, enforced: &[&str]) {
        let mut whole = json!({
            "trustRoots": ["corp"], "engines": {"native": {}},
            "identities": [{"name": "ci", "issuer": "https://issuer.example", "subject": "https://ci.example/release"}],
        });
        whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let declared: SigningIdentityPolicy = serde_json::from_value(
            json!({"apiVersion": "holdfast.dev/v1alpha1", "kind": "SigningIdentityPolicy", "metadata": {"name": name}, "spec": whole}),
        )
        .unwrap();
        let compiled = compile(&declared, &|_| Err("no Secret is at hand".to_owned())).unwrap();
        self.policies.push((declared, compiled, enforced.iter().map(|name| (*name).to_owned()).collect()));
    }

    pub(crate) fn verify(&mut self, policy: &str, digest: Digest) {
        assert!(self.verified.admit(policy, &Verdict::without_evidence(digest, Reason::Verified, "")));
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
            roots: BTreeMap::new(),
            namespaces: self.namespaces.clone(),
            left_out: self.left_out.clone(),
            holdfast_namespace: "holdfast-system",
            verified: self.verified.clone(),
            exceptions: self
                .exceptions
                .iter()
                .map(|(break_glass, policy, namespaces, until)| Exception {
                    break_glass,
                    policy,
                    namespaces: namespaces.clone(),
                    until: until.parse().unwrap(),
                })
                .collect(),
        }
    }

    pub(crate) fn render(&self) -> Rendering {
        Native::render(&self.estate(), &NEW)
    }

    pub(crate) fn server(&self) -> ApiServer {
        let rendering = self.render();
        let mut server = ApiServer::new(rendering.objects.iter().map(Object::body));
        server.namespaces.clone_from(&self.namespaces);
        server
    }
}

pub(crate) fn digest(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

/// The estate of `cases/native.yaml`.
pub(crate) fn world() -> World {
    let mut world = World::new(&["billing", "shop", "lab", "free", "kube-system"]);
    let exempt = format!("registry.corp.internal/base/pause@{}", digest("exempt"));
    world.policy(
        "apps",
        &json!({"images": ["registry.corp.internal/apps/**"], "exemptImages": [{"image": exempt, "reason": "node image"}],
                "namespaceSelector": names(&["billing", "shop"])}),
        &["billing", "shop"],
    );
    world.policy(
        "tools",
        &json!({"images": ["registry.corp.internal/apps/tools/**", "docker.io/library/*"], "namespaceSelector": names(&["billing"])}),
        &["billing"],
    );
    world.policy(
        "open",
        &json!({"images": ["registry.corp.internal/lab/**"], "otherImages": "Allow", "namespaceSelector": names(&["lab"])}),
        &["lab"],
    );
    world.policy("watch", &json!({"images": ["registry.corp.internal/**", "docker.io/**"]}), &[]);
    for (policy, name) in
        [("apps", "good"), ("tools", "tool"), ("apps", "both"), ("tools", "both"), ("open", "lab"), ("watch", "other")]
    {
        world.verify(policy, digest(name));
    }
    let shop = BTreeSet::from(["shop".to_owned()]);
    world.exceptions.push(("inc-1".to_owned(), "apps".to_owned(), shop, "2026-11-25T06:00:00Z".to_owned()));
    world
}

pub(crate) fn names(names: &[&str]) -> Value {
    json!({"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": names}]})
}

/// A row of `cases/native.yaml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) name: String,
    #[serde(default = "billing")]
    pub(crate) namespace: String,
    #[serde(default = "create")]
    pub(crate) operation: String,
    #[serde(default)]
    pub(crate) subresource: String,
    #[serde(default)]
    pub(crate) images: Vec<String>,
    #[serde(default)]
    pub(crate) init: Vec<String>,
    #[serde(default)]
    pub(crate) ephemeral: Vec<String>,
    #[serde(default)]
    pub(crate) volumes: Vec<String>,
    #[serde(default)]
    pub(crate) old: Vec<String>,
    /// How many containers the first image has.
    #[serde(default)]
    pub(crate) copies: usize,
    #[serde(default)]
    pub(crate) deleting: bool,
    #[serde(default)]
    pub(crate) mirror: bool,
    #[serde(default = "noon")]
    pub(crate) created: String,
    #[serde(default = "person")]
    pub(crate) user: String,
    #[serde(default)]
    pub(crate) groups: Vec<String>,
    #[serde(default)]
    pub(crate) missing: Vec<(String, String)>,
    pub(crate) want: String,
    #[serde(default)]
    pub(crate) says: String,
}

pub(crate) fn billing() -> String {
    "billing".to_owned()
}

pub(crate) fn create() -> String {
    "CREATE".to_owned()
}

pub(crate) fn noon() -> String {
    "2026-11-25T12:00:00Z".to_owned()
}

pub(crate) fn person() -> String {
    "alice".to_owned()
}

impl Case {
    pub(crate) fn request(&self) -> Request {
        let copies: Vec<String> =
            std::iter::repeat_n(self.images.first().cloned().unwrap_or_default(), self.copies).collect();
        let images = if self.copies > 0 { &copies } else { &self.images };
        let mut object = pod(images, &self.init, &self.ephemeral, &self.volumes);
        object["metadata"] = json!({"name": "p", "namespace": self.namespace, "creationTimestamp": self.created});
        let mut old = if self.operation == "UPDATE" { pod(&self.old, &[], &[], &[]) } else { Value::Null };
        if self.operation == "UPDATE" {
            old["metadata"] = object["metadata"].clone();
        }
        if self.deleting {
            object["metadata"]["deletionTimestamp"] = json!(self.created);
            if self.operation == "UPDATE" {
                old["metadata"]["deletionTimestamp"] = json!(self.created);
            }
        }
        if self.mirror {
            object["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
        }
        Request {
            operation: if self.operation == "UPDATE" { "UPDATE" } else { "CREATE" },
            group: String::new(),
            version: "v1".to_owned(),
            resource: "pods".to_owned(),
            subresource: self.subresource.clone(),
            kind: "Pod".to_owned(),
            namespace: Some(self.namespace.clone()),
            name: "p".to_owned(),
            object,
            old,
            user: self.user.clone(),
            groups: self.groups.clone(),
        }
    }
}

pub(crate) fn pod(images: &[String], init: &[String], ephemeral: &[String], volumes: &[String]) -> Value {
    let containers = |list: &[String], prefix: &str| -> Vec<Value> {
        list.iter()
            .enumerate()
            .map(|(at, image)| {
                let mut container = json!({"name": format!("{prefix}{at}")});
                // An empty field is left out of what admission sees.
                if !image.is_empty() {
                    container["image"] = json!(image);
                }
                container
            })
            .collect()
    };
    let mut spec = json!({"containers": containers(images, "c")});
    if !init.is_empty() {
        spec["initContainers"] = json!(containers(init, "i"));
    }
    if !ephemeral.is_empty() {
        spec["ephemeralContainers"] = json!(containers(ephemeral, "e"));
    }
    if !volumes.is_empty() {
        let mut list = vec![json!({"name": "tmp", "emptyDir": {}})];
        list.extend(
            volumes
                .iter()
                .enumerate()
                .map(|(at, image)| json!({"name": format!("v{at}"), "image": {"reference": image}})),
        );
        spec["volumes"] = json!(list);
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"creationTimestamp": noon()}, "spec": spec})
}

pub(crate) fn cases() -> Vec<Case> {
    let mut text = include_str!("../cases/native.yaml").to_owned();
    for name in ["good", "tool", "both", "lab", "other", "exempt"] {
        text = text.replace(&format!("{{{name}}}"), &digest(name).to_string());
    }
    let upper = format!("sha256:{}", digest("good").hex().to_uppercase());
    let text = text.replace("{GOOD}", &upper).replace("{long}", &"a".repeat(1000));
    // With a digest, 1,012 and 999 characters; in their one spelling 18 more.
    let text = text.replace("{nearly}", &"a".repeat(940)).replace("{fits}", &"a".repeat(927));
    serde_saphyr::from_str(&text).unwrap()
}

pub(crate) fn review(world: &World, namespace: &str, images: &[&str]) -> Answer {
    let case = Case { images: images.iter().map(|image| (*image).to_owned()).collect(), ..case_in(namespace) };
    world.server().review(&case.request())
}

pub(crate) fn case_in(namespace: &str) -> Case {
    serde_json::from_value(json!({"name": "x", "want": "admit", "namespace": namespace})).unwrap()
}
