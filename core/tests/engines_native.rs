//! The native engine: what it renders, and what an API server would make of that.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)] // a test that cannot go on fails

#[path = "support/vap.rs"]
mod vap;

use std::collections::{BTreeMap, BTreeSet};

use holdfast_core::Digest;
use holdfast_core::api::SigningIdentityPolicy;
use holdfast_core::coverage::{CompiledPolicy, compile};
use holdfast_core::engines::native::cost::Pod;
use holdfast_core::engines::native::{GuardSettings, Native, NativeCapability, Shards, Step, costs, guards, steps};
use holdfast_core::engines::{
    Effect, Engine, Estate, EstatePolicy, Exception, LossKind, Object, Rendering, Rollout, Verified, Version,
};
use holdfast_core::image::{ImagePattern, ImageRef};
use holdfast_core::verify::{Reason, Verdict};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};
use vap::{Answer, ApiServer, Request};

const NEW: NativeCapability = NativeCapability { version: Some(Version::new(1, 36, 3)), shards: None };

/// What an estate is made of.
#[derive(Debug, Clone, Default)]
struct World {
    policies: Vec<(SigningIdentityPolicy, CompiledPolicy, BTreeSet<String>)>,
    namespaces: BTreeMap<String, BTreeMap<String, String>>,
    left_out: BTreeSet<String>,
    verified: Verified,
    exceptions: Vec<(String, String, BTreeSet<String>, String)>,
}

impl World {
    fn new(namespaces: &[&str]) -> Self {
        let labels = |name: &str| BTreeMap::from([("kubernetes.io/metadata.name".to_owned(), name.to_owned())]);
        Self {
            namespaces: namespaces.iter().map(|name| ((*name).to_owned(), labels(name))).collect(),
            left_out: BTreeSet::from(["kube-system".to_owned()]),
            ..Self::default()
        }
    }

    fn policy(&mut self, name: &str, spec: &Value, enforced: &[&str]) {
        let mut whole = json!({
            "trustRoots": ["corp"], "engines": {"native": {}},
            "identities": [{"name": "ci", "issuer": "https://issuer.example", "subject": "https://ci.example/release"}],
        });
        whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let declared: SigningIdentityPolicy = serde_json::from_value(
            json!({"apiVersion": "holdfast.dev/v1alpha1", "kind": "SigningIdentityPolicy", "metadata": {"name": name}, "spec": whole}),
        )
        .unwrap();
        let compiled = compile(&declared, &|_| None).unwrap();
        self.policies.push((declared, compiled, enforced.iter().map(|name| (*name).to_owned()).collect()));
    }

    fn verify(&mut self, policy: &str, digest: Digest) {
        assert!(self.verified.admit(policy, &Verdict::without_evidence(digest, Reason::Verified, "")));
    }

    fn estate(&self) -> Estate<'_> {
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

    fn render(&self) -> Rendering {
        Native::render(&self.estate(), &NEW)
    }

    fn server(&self) -> ApiServer {
        let rendering = self.render();
        let mut server = ApiServer::new(rendering.objects.iter().map(Object::body));
        server.namespaces.clone_from(&self.namespaces);
        server
    }
}

fn digest(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

/// The estate of `cases/native.yaml`.
fn world() -> World {
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

fn names(names: &[&str]) -> Value {
    json!({"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": names}]})
}

/// A row of `cases/native.yaml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default = "billing")]
    namespace: String,
    #[serde(default = "create")]
    operation: String,
    #[serde(default)]
    subresource: String,
    #[serde(default)]
    images: Vec<String>,
    #[serde(default)]
    init: Vec<String>,
    #[serde(default)]
    ephemeral: Vec<String>,
    #[serde(default)]
    volumes: Vec<String>,
    #[serde(default)]
    old: Vec<String>,
    /// How many containers the first image has.
    #[serde(default)]
    copies: usize,
    #[serde(default)]
    deleting: bool,
    #[serde(default)]
    mirror: bool,
    #[serde(default = "noon")]
    created: String,
    #[serde(default = "person")]
    user: String,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    missing: Vec<(String, String)>,
    want: String,
    #[serde(default)]
    says: String,
}

fn billing() -> String {
    "billing".to_owned()
}

fn create() -> String {
    "CREATE".to_owned()
}

fn noon() -> String {
    "2026-11-25T12:00:00Z".to_owned()
}

fn person() -> String {
    "alice".to_owned()
}

impl Case {
    fn request(&self) -> Request {
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

fn pod(images: &[String], init: &[String], ephemeral: &[String], volumes: &[String]) -> Value {
    let containers = |list: &[String], prefix: &str| -> Vec<Value> {
        list.iter()
            .enumerate()
            .map(|(at, image)| match image.is_empty() {
                // An empty field is left out of what admission sees.
                true => json!({"name": format!("{prefix}{at}")}),
                false => json!({"name": format!("{prefix}{at}"), "image": image}),
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

fn cases() -> Vec<Case> {
    let mut text = include_str!("cases/native.yaml").to_owned();
    for name in ["good", "tool", "both", "lab", "other", "exempt"] {
        text = text.replace(&format!("{{{name}}}"), &digest(name).to_string());
    }
    let upper = format!("sha256:{}", digest("good").hex().to_uppercase());
    let text = text.replace("{GOOD}", &upper).replace("{long}", &"a".repeat(1000));
    serde_saphyr::from_str(&text).unwrap()
}

#[test]
fn every_case_is_decided_as_the_table_says() {
    let server = world().server();
    let mut wrong = Vec::new();
    for case in cases() {
        let server = case.missing.iter().fold(server.clone(), |server, (kind, name)| server.without(kind, name));
        let answer = server.review(&case.request());
        let said: Vec<&str> = answer.denied.iter().map(|(_, message)| message.as_str()).collect();
        let as_wanted = match case.want.as_str() {
            "admit" => said.is_empty(),
            "deny" => said.iter().any(|message| message.contains(&case.says)),
            other => panic!("{other}"),
        };
        if !as_wanted {
            wrong.push(format!("{}: wanted {} `{}`, got {said:?}", case.name, case.want, case.says));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn review(world: &World, namespace: &str, images: &[&str]) -> Answer {
    let case = Case { images: images.iter().map(|image| (*image).to_owned()).collect(), ..case_in(namespace) };
    world.server().review(&case.request())
}

fn case_in(namespace: &str) -> Case {
    serde_json::from_value(json!({"name": "x", "want": "admit", "namespace": namespace})).unwrap()
}

#[test]
fn audit_reports_and_a_break_glass_is_reported_too() {
    let world = world();
    let answer = review(&world, "free", &["registry.corp.internal/apps/web:1"]);
    assert!(answer.denied.is_empty());
    assert!(answer.warned.iter().any(|(_, message)| message.contains("digest")), "{answer:?}");
    assert_eq!(answer.audited, answer.warned);
    let bad = format!("registry.corp.internal/apps/web@{}", digest("none"));
    let case = Case { images: vec![bad], created: "2026-11-25T05:00:00Z".to_owned(), ..case_in("shop") };
    let answer = world.server().review(&case.request());
    assert!(answer.denied.is_empty(), "{answer:?}");
    assert!(answer.warned.iter().any(|(_, message)| message.contains("`apps`")), "{answer:?}");
}

#[test]
fn workloads_are_warned_of_what_their_pods_will_meet() {
    let server = world().server();
    let bad = format!("registry.corp.internal/apps/web@{}", digest("none"));
    let template = |image: &str| json!({"spec": pod(&[image.to_owned()], &[], &[], &[])["spec"]});
    for (group, resource, kind, of) in [
        ("apps", "deployments", "Deployment", "spec"),
        ("apps", "statefulsets", "StatefulSet", "spec"),
        ("apps", "daemonsets", "DaemonSet", "spec"),
        ("apps", "replicasets", "ReplicaSet", "spec"),
        ("batch", "jobs", "Job", "spec"),
        ("batch", "cronjobs", "CronJob", "cron"),
        ("", "replicationcontrollers", "ReplicationController", "spec"),
        ("", "podtemplates", "PodTemplate", ""),
    ] {
        let object = |image: &str| {
            let mut object = match of {
                "cron" => json!({"spec": {"jobTemplate": {"spec": {"template": template(image)}}}}),
                "spec" => json!({"spec": {"template": template(image)}}),
                _ => json!({"template": template(image)}),
            };
            object["metadata"] = json!({"name": "w", "creationTimestamp": noon()});
            object
        };
        let request = |operation: &'static str, image: &str, old: Value| Request {
            operation,
            group: group.to_owned(),
            version: "v1".to_owned(),
            resource: resource.to_owned(),
            subresource: String::new(),
            kind: kind.to_owned(),
            namespace: Some("billing".to_owned()),
            name: "w".to_owned(),
            object: object(image),
            old,
            user: "alice".to_owned(),
            groups: Vec::new(),
        };
        let answer = server.review(&request("CREATE", &bad, Value::Null));
        assert!(answer.denied.is_empty(), "{kind}: {answer:?}");
        assert!(answer.warned.iter().any(|(_, message)| message.contains("`apps`")), "{kind}: {answer:?}");
        let answer = server.review(&request("UPDATE", &bad, object(&bad)));
        assert_eq!(answer, Answer::default(), "{kind}: nothing new");
    }
}

#[test]
fn messages_name_only_the_images_of_their_own_shard() {
    let mut world = world();
    // More digests than one shard holds, so that there are several.
    for number in 0..30_000 {
        world.verify("apps", digest(&format!("{number}")));
    }
    let server = world.server();
    let first = |hex: fn(&str) -> bool| (0..).map(|n| digest(&format!("bad{n}"))).find(|d| hex(&d.hex())).unwrap();
    let (low, high) = (first(|hex| hex.starts_with('0')), first(|hex| hex.starts_with('f')));
    let image = |digest: Digest| format!("registry.corp.internal/apps/web@{digest}");
    let case = Case {
        images: vec![image(low), image(high), "registry.corp.internal/apps/tagged".to_owned()],
        ..case_in("billing")
    };
    let answer = server.review(&case.request());
    let by = |suffix: &str| -> Vec<&str> {
        let of = answer
            .denied
            .iter()
            .filter(|(binding, _)| binding.starts_with("holdfast-enforce-apps-") && binding.ends_with(suffix));
        of.map(|(_, message)| message.as_str()).collect()
    };
    let (of_low, of_high) = (by("-00-3f").join(""), by("-c0-ff").join(""));
    assert!(of_low.contains(&low.to_string()) && !of_low.contains(&high.to_string()), "{answer:?}");
    assert!(of_low.contains("apps/tagged"), "what has no digest belongs to the first shard: {answer:?}");
    assert!(of_high.contains(&high.to_string()) && !of_high.contains(&low.to_string()), "{answer:?}");
    assert!(by("-40-7f").is_empty() && by("-80-bf").is_empty(), "{answer:?}");
    let lost = server.without("VerifiedImages", "holdfast-verified-40-7f");
    let good = (0..30_000).map(|n| digest(&format!("{n}"))).find(|d| d.hex().starts_with('f')).unwrap();
    let answer = lost.review(&Case { images: vec![image(good)], ..case_in("shop") }.request());
    assert!(answer.denied.iter().all(|(_, message)| message.contains("no params found")), "closed: {answer:?}");
    assert!(!answer.denied.is_empty());
}

fn documents(objects: &[Object]) -> String {
    objects.iter().map(|object| format!("---\n{}", serde_saphyr::to_string(object).unwrap())).collect()
}

/// Documents as a person applies them, with the digits of digests kept short enough to read.
#[test]
fn golden_objects() {
    let mut small = World::new(&["billing", "shop", "new"]);
    small.policy(
        "apps",
        &json!({"images": ["registry.corp.internal/apps/**", "docker.io/library/nginx", "registry.corp.internal/*/web-*"],
                "exemptImages": [{"image": format!("registry.corp.internal/base/pause@{}", digest("exempt")), "reason": "node image"}]}),
        &["billing", "shop"],
    );
    small.verify("apps", digest("good"));
    small.verify("apps", digest("other"));
    let billing = BTreeSet::from(["billing".to_owned()]);
    small.exceptions.push(("inc-1".to_owned(), "apps".to_owned(), billing, "2026-11-25T06:00:00Z".to_owned()));
    insta::assert_snapshot!("native_objects", documents(&small.render().objects));
    insta::assert_yaml_snapshot!("native_losses", small.render().losses);
    insta::assert_snapshot!("native_guards", documents(&guards(&settings())));
    insta::assert_yaml_snapshot!("native_names", {
        let name = |object: &Object| format!("{} {}", object.kind(), object.name());
        world().render().objects.iter().map(name).collect::<Vec<_>>()
    });
}

#[test]
fn every_expression_is_written_out_for_the_real_compiler() {
    let Some(dir) = std::env::var_os("HOLDFAST_DUMP") else { return };
    let mut all = world().render().objects;
    all.extend(guards(&settings()));
    std::fs::write(std::path::Path::new(&dir).join("objects.json"), serde_json::to_string(&all).unwrap()).unwrap();
    let of = |case: &Case| {
        let request = case.request();
        json!({"name": case.name, "missing": case.missing, "want": case.want, "says": case.says, "operation": request.operation,
               "subresource": request.subresource, "namespace": request.namespace, "object": request.object, "old": request.old,
               "user": request.user, "groups": request.groups})
    };
    let rows: Vec<Value> = cases().iter().map(of).collect();
    std::fs::write(std::path::Path::new(&dir).join("cases.json"), serde_json::to_string(&rows).unwrap()).unwrap();
    let (worst, _) = two_hundred();
    let objects = serde_json::to_string(&worst.render().objects).unwrap();
    std::fs::write(std::path::Path::new(&dir).join("worst.json"), objects).unwrap();
}

#[test]
fn rendering_is_idempotent_and_free_of_order() {
    let world = world();
    let once = serde_json::to_string(&world.render()).unwrap();
    assert_eq!(once, serde_json::to_string(&world.render()).unwrap());
    let mut turned = world.clone();
    turned.policies.reverse();
    turned.exceptions.reverse();
    assert_eq!(once, serde_json::to_string(&turned.render()).unwrap());
    let keys: BTreeSet<_> = world.render().objects.iter().map(|o| (o.kind().to_owned(), o.name().to_owned())).collect();
    assert_eq!(keys.len(), world.render().objects.len(), "every name is used once");
}

#[test]
fn one_digest_rewrites_one_shard_and_another_policy_renumbers_nothing() {
    let mut world = world();
    for number in 0..30_000 {
        world.verify("apps", digest(&format!("{number}")));
    }
    let before = world.render().objects;
    world.verify("apps", digest("one more"));
    let capability = NativeCapability { shards: Some(4), ..NEW };
    let after = Native::render(&world.estate(), &capability).objects;
    let changed: Vec<_> = before.iter().zip(&after).filter(|(a, b)| a != b).map(|(a, _)| a.name().to_owned()).collect();
    assert_eq!(changed.len(), 1, "{changed:?}");
    world.policy(
        "zero",
        &json!({"images": ["registry.corp.internal/zero/**"], "namespaceSelector": names(&["free"])}),
        &[],
    );
    let with = Native::render(&world.estate(), &capability).objects;
    let shards = |objects: &[Object]| -> Vec<Object> {
        objects.iter().filter(|object| object.kind() == "VerifiedImages").cloned().collect()
    };
    assert_eq!(shards(&after), shards(&with));
}

#[test]
fn shards_stay_within_their_size() {
    let mut verified = Verified::default();
    for number in 0..100_000_u32 {
        verified.admit("apps", &Verdict::without_evidence(digest(&number.to_string()), Reason::Verified, ""));
    }
    let shards = Shards::pack(&verified, ["apps"], None);
    assert_eq!(shards.count(), 8);
    for object in shards.objects() {
        let size = object.body().to_string().len();
        assert!(size < 1024 * 1024, "{}: {size}", object.name());
        let data = object.body()["spec"]["data"].as_object().unwrap();
        assert_eq!(data.len(), 32);
        assert!(data.values().all(|list| list.as_str().unwrap().len() <= holdfast_core::api::verified::MAX_LIST));
    }
    assert!(shards.largest() < 900 * 1024);
}

/// 200 policies that are all enforced in one namespace, and one of them over 100,000 digests.
fn two_hundred() -> (World, Pod) {
    let mut world = World::new(&["billing"]);
    for number in 0..200 {
        let images = json!([
            format!("registry.corp.internal/team-{number:03}/**"),
            format!("registry.corp.internal/shared/app-{number:03}-*")
        ]);
        world.policy(&format!("team-{number:03}"), &json!({"images": images}), &["billing"]);
    }
    for number in 0..100_000_u32 {
        world.verify("team-000", digest(&number.to_string()));
    }
    (world, Pod::WORST)
}

#[test]
fn two_hundred_policies_cost_less_than_the_api_server_allows() {
    let (world, worst) = two_hundred();
    let all = costs(&world.estate(), &NEW);
    assert!(all.len() > 200);
    for cost in &all {
        assert!(cost.is_within_limits(worst), "dearest {}, all {}", cost.dearest(worst), cost.total(worst));
    }
    assert!(!world.render().losses.iter().any(|loss| loss.kind == LossKind::CostLimit));
    let (dearest, total) = (all.iter().map(|c| c.dearest(worst)).max(), all.iter().map(|c| c.total(worst)).max());
    insta::assert_snapshot!("native_costs", format!("dearest expression {dearest:?}, dearest binding {total:?}"));
}

#[test]
fn a_policy_that_costs_too_much_says_so() {
    let mut world = World::new(&["billing"]);
    let images: Vec<String> =
        (0..120).map(|n| format!("registry.corp.internal/{}*-{n}/*/**/x-*", "a*".repeat(60))).collect();
    world.policy("apps", &json!({"images": images}), &["billing"]);
    let losses = world.render().losses;
    let loss = losses.iter().find(|loss| loss.kind == LossKind::CostLimit).expect("a loss");
    assert_eq!(loss.effect(), Effect::Stricter);
}

#[test]
fn an_api_server_that_is_too_old_gets_nothing_and_says_so() {
    let world = world();
    for version in [None, Some(Version::new(1, 29, 9))] {
        let rendering = Native::render(&world.estate(), &NativeCapability { version, shards: None });
        assert!(rendering.objects.is_empty());
        assert_eq!(rendering.losses.len(), 4);
        assert_eq!(rendering.refused.len(), 3, "of the three that are enforced");
    }
    let old = NativeCapability { version: Some(Version::new(1, 30, 0)), shards: None };
    let unseen = |capability| {
        Native::render(&world.estate(), &capability).losses.iter().any(|loss| loss.kind == LossKind::ImageVolumesUnseen)
    };
    assert!(unseen(old) && !unseen(NEW));
}

fn settings() -> GuardSettings {
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    GuardSettings {
        namespace: "holdfast-system".to_owned(),
        service_account: "holdfast".to_owned(),
        approving_service_accounts: set(&["system:serviceaccount:gitops:flux"]),
        enforced: set(&["billing", "shop"]),
        scope_labels: set(&["tier", "policy.sigstore.dev/include"]),
    }
}

const HOLDFAST: &str = "system:serviceaccount:holdfast-system:holdfast";

/// A request about one of our kinds.
fn ours(operation: &'static str, resource: &str, object: Value, old: Value, user: &str) -> Request {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let core = matches!(resource, "configmaps" | "secrets" | "serviceaccounts" | "namespaces");
    let named = if object.is_null() { &old } else { &object };
    Request {
        operation,
        group: if core { String::new() } else { "holdfast.dev".to_owned() },
        version: if core { "v1".to_owned() } else { "v1alpha1".to_owned() },
        resource: resource.to_owned(),
        subresource: subresource.to_owned(),
        kind: String::new(),
        namespace: named["metadata"]["namespace"].as_str().map(str::to_owned),
        name: named["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
        object,
        old,
        user: user.to_owned(),
        groups: Vec::new(),
    }
}

#[test]
fn guards_let_holdfast_and_approvers_through_and_nobody_else() {
    let objects = guards(&settings());
    let mut server = ApiServer::new(objects.iter().map(Object::body));
    let grant =
        |user: &str, resource: &str, name: &str| [user, "approve", "holdfast.dev", resource, name].map(str::to_owned);
    server.grants = BTreeSet::from([
        grant("bob", "trustbreakglasses", ""),
        grant("system:serviceaccount:gitops:flux", "signingidentitypolicies", "apps"),
        grant("system:serviceaccount:ci:robot", "signingidentitypolicies", "apps"),
        grant("carol", "trustrootmirrors", "public"),
        grant("dave", "signingidentitypolicies", ""),
    ]);
    let denied = |request: Request| -> String {
        server.review(&request).denied.iter().map(|(_, message)| format!("{message}\n")).collect()
    };
    let shard = json!({"metadata": {"name": "holdfast-verified-00-ff"}, "spec": {"data": {}}});
    for operation in ["CREATE", "UPDATE", "DELETE"] {
        let object = |there: bool| if there { shard.clone() } else { Value::Null };
        let request = |user| {
            ours(operation, "verifiedimages", object(operation != "DELETE"), object(operation != "CREATE"), user)
        };
        assert!(denied(request("alice")).contains("written by holdfast alone"), "{operation}");
        assert_eq!(denied(request(HOLDFAST)), "", "{operation}");
    }
    let policy = json!({"metadata": {"name": "apps"}, "status": {}});
    assert_ne!(denied(ours("UPDATE", "signingidentitypolicies/status", policy.clone(), policy.clone(), "alice")), "");
    assert_eq!(denied(ours("UPDATE", "signingidentitypolicies", policy.clone(), policy, "alice")), "");

    let map =
        |labels: Value, namespace: &str| json!({"metadata": {"name": "m", "namespace": namespace, "labels": labels}});
    let (ours_labelled, plain) =
        (map(json!({"holdfast.dev/memory": "x"}), "holdfast-system"), map(json!({}), "holdfast-system"));
    assert_ne!(denied(ours("CREATE", "configmaps", ours_labelled.clone(), Value::Null, "alice")), "");
    assert_ne!(
        denied(ours("UPDATE", "configmaps", plain.clone(), ours_labelled.clone(), "alice")),
        "",
        "taking the label off"
    );
    assert_ne!(denied(ours("DELETE", "secrets", Value::Null, ours_labelled.clone(), "alice")), "");
    assert_eq!(denied(ours("DELETE", "secrets", Value::Null, ours_labelled, HOLDFAST)), "");
    assert_eq!(denied(ours("CREATE", "configmaps", plain, Value::Null, "alice")), "");
    assert_eq!(
        denied(ours("CREATE", "configmaps", map(json!({"holdfast.dev/memory": "x"}), "other"), Value::Null, "alice")),
        ""
    );

    let glass = |by: &str, until: &str| json!({"metadata": {"name": "inc", "creationTimestamp": "2026-11-25T00:00:00Z"}, "spec": {"requestedBy": by, "until": until}});
    let asked =
        |by: &str, until: &str| denied(ours("CREATE", "trustbreakglasses", glass(by, until), Value::Null, "alice"));
    assert_eq!(asked("alice", "2026-11-28T00:00:00Z"), "");
    assert!(asked("bob", "2026-11-26T00:00:00Z").contains("not you"));
    assert!(asked("alice", "2026-11-28T00:00:01Z").contains("72 hours"));
    assert!(asked("alice", "2026-11-25T00:00:00Z").contains("past"));
    assert!(asked("alice", "2026-11-28T02:00:00+02:00").is_empty());

    let approval = |kind: &str, name: &str, approver: &str| json!({"metadata": {"name": "a"}, "spec": {"approver": approver, "for": {"kind": kind, "name": name}}});
    let approves = |kind: &str, name: &str, approver: &str, user: &str| {
        denied(ours("CREATE", "trustapprovals", approval(kind, name, approver), Value::Null, user))
    };
    assert_eq!(approves("TrustBreakGlass", "inc", "bob", "bob"), "");
    assert!(approves("TrustBreakGlass", "inc", "bob", "alice").contains("not you"));
    assert!(approves("TrustBreakGlass", "inc", "alice", "alice").contains("verb `approve`"));
    assert!(approves("SigningIdentityPolicy", "apps", "bob", "bob").contains("verb `approve`"));
    let (flux, robot) = ("system:serviceaccount:gitops:flux", "system:serviceaccount:ci:robot");
    assert_eq!(approves("SigningIdentityPolicy", "apps", flux, flux), "");
    assert!(approves("SigningIdentityPolicy", "other", flux, flux).contains("verb `approve`"));
    assert!(approves("SigningIdentityPolicy", "apps", robot, robot).contains("service account"));
    let made = approval("TrustBreakGlass", "inc", "bob");
    let changed = approval("TrustBreakGlass", "other", "bob");
    assert_ne!(denied(ours("UPDATE", "trustapprovals", changed, made.clone(), "bob")), "");
    assert_eq!(denied(ours("UPDATE", "trustapprovals", made.clone(), made, HOLDFAST)), "", "a finalizer");

    let mirror = |rotation: Value| json!({"metadata": {"name": "public"}, "spec": {"rotation": rotation}});
    let turns =
        |new: Value, old: Value, user: &str| denied(ours("UPDATE", "trustrootmirrors", mirror(new), mirror(old), user));
    let strict = || json!({"approval": "Required"});
    for weaker in [
        json!({"approval": "Automatic"}),
        json!({"approvedDigest": "sha256:1"}),
        json!({"approval": "Required", "maxNewlyFailing": 1}),
    ] {
        assert!(turns(weaker.clone(), strict(), "alice").contains("verb `approve`"), "{weaker}");
        assert_eq!(turns(weaker.clone(), strict(), "carol"), "", "{weaker}");
        assert_eq!(
            turns(weaker.clone(), weaker.clone(), "alice"),
            "{weaker} was there".replace("{weaker} was there", "")
        );
        assert_eq!(turns(strict(), weaker.clone(), "alice"), "", "{weaker} taken back");
        assert_ne!(denied(ours("CREATE", "trustrootmirrors", mirror(weaker), Value::Null, "alice")), "");
    }
    assert_eq!(
        denied(ours(
            "CREATE",
            "trustrootmirrors",
            json!({"metadata": {"name": "x"}, "spec": {}}),
            Value::Null,
            "alice"
        )),
        ""
    );

    let token = json!({"metadata": {"name": "holdfast", "namespace": "holdfast-system"}});
    let mut of_node = ours("CREATE", "serviceaccounts/token", token.clone(), Value::Null, "system:node:n1");
    of_node.groups = vec!["system:nodes".to_owned()];
    assert_eq!(denied(of_node), "");
    assert_ne!(denied(ours("CREATE", "serviceaccounts/token", token, Value::Null, "alice")), "");

    let place = |name: &str, labels: Value| json!({"metadata": {"name": name, "labels": labels}});
    let relabels = |name: &str, new: Value, user: &str| {
        denied(ours("UPDATE", "namespaces", place(name, new), place(name, json!({"tier": "apps", "x": "1"})), user))
    };
    assert_ne!(relabels("billing", json!({"x": "1"}), "alice"), "");
    assert_ne!(relabels("billing", json!({"tier": "none", "x": "1"}), "alice"), "");
    assert_ne!(relabels("billing", json!({"tier": "apps", "policy.sigstore.dev/include": ""}), "alice"), "");
    assert_eq!(relabels("billing", json!({"tier": "apps", "x": "2"}), "alice"), "");
    assert_eq!(relabels("free", json!({}), "alice"), "");
    assert_eq!(relabels("billing", json!({}), "dave"), "");
    assert_eq!(relabels("billing", json!({}), HOLDFAST), "");
}

/// Applies steps to what there is, and gives what there is at each settling.
fn applied(current: &[Object], wanted: &[Object]) -> Vec<Vec<Object>> {
    let mut there: BTreeMap<(String, String), Object> =
        current.iter().map(|o| ((o.kind().to_owned(), o.name().to_owned()), o.clone())).collect();
    let mut moments = Vec::new();
    for step in steps(current, wanted) {
        match step {
            Step::Write(object) => _ = there.insert((object.kind().to_owned(), object.name().to_owned()), object),
            Step::Delete { kind, name } => assert!(there.remove(&(kind, name)).is_some()),
            Step::Settle => {}
        }
        moments.push(there.values().cloned().collect());
    }
    moments
}

#[test]
fn nothing_is_written_where_nothing_changes() {
    let objects = world().render().objects;
    assert!(steps(&objects, &objects).is_empty());
}

#[test]
fn at_no_step_is_less_denied_or_a_verified_image_refused() {
    let before = world();
    // Promotion, a policy that goes, one that is narrowed while another takes over, more digests than one shard holds.
    let mut after = world();
    after.exceptions.clear();
    after.policies.clear();
    after.policy(
        "apps",
        &json!({"images": ["registry.corp.internal/apps/web/**"], "namespaceSelector": names(&["billing", "shop"])}),
        &["billing", "shop"],
    );
    after.policy("rest", &json!({"images": ["registry.corp.internal/apps/**", "docker.io/library/*"], "namespaceSelector": names(&["billing", "shop", "free"])}), &["billing", "shop", "free"]);
    for name in ["good", "both", "tool"] {
        after.verify("rest", digest(name));
    }
    for number in 0..15_000 {
        after.verify("apps", digest(&format!("{number}")));
    }
    let (old, new) = (before.render().objects, after.render().objects);
    let moments = applied(&old, &new);
    let last: BTreeSet<String> = moments.last().unwrap().iter().map(|o| o.body().to_string()).collect();
    assert_eq!(last, new.iter().map(|o| o.body().to_string()).collect());
    let servers = |objects: &[Object]| ApiServer::new(objects.iter().map(Object::body));
    let (first, end) = (servers(&old), servers(&new));
    let pods = [
        ("billing", format!("registry.corp.internal/apps/web@{}", digest("good"))),
        ("billing", format!("registry.corp.internal/apps/tools/cli@{}", digest("both"))),
        ("billing", format!("registry.corp.internal/apps/tools/cli@{}", digest("other"))),
        ("billing", format!("registry.corp.internal/apps/web/a@{}", digest("good"))),
        ("billing", format!("nginx@{}", digest("tool"))),
        ("billing", format!("nginx@{}", digest("other"))),
        ("shop", format!("registry.corp.internal/apps/web@{}", digest("other"))),
        ("billing", format!("quay.io/any/thing@{}", digest("good"))),
        ("billing", "registry.corp.internal/apps/web:1".to_owned()),
    ];
    for (namespace, image) in pods {
        let request = Case { images: vec![image.clone()], ..case_in(namespace) }.request();
        let (was, will) = (first.review(&request).denied.is_empty(), end.review(&request).denied.is_empty());
        for (at, moment) in moments.iter().enumerate() {
            let admitted = servers(moment).review(&request).denied.is_empty();
            if was == will {
                assert_eq!(admitted, was, "{image} in {namespace} after {at} steps");
            }
        }
    }
}

/// What the declared policies say of an image in a namespace where something is enforced.
fn declared_admits(world: &World, namespace: &str, image: &str) -> bool {
    let Ok(image) = ImageRef::parse(image) else { return false };
    let enforced: Vec<&CompiledPolicy> = world
        .policies
        .iter()
        .filter(|(_, _, enforced)| enforced.contains(namespace) && !world.left_out.contains(namespace))
        .map(|(_, compiled, _)| compiled)
        .collect();
    let judges: Vec<_> = enforced.iter().filter(|policy| policy.matches(&image) && !policy.exempts(&image)).collect();
    let verified = judges.iter().all(|policy| image.digest().is_some_and(|d| world.verified.contains(&policy.name, d)));
    let known = enforced.iter().any(|policy| policy.matches(&image) || policy.exempts(&image));
    let denies = enforced.iter().any(|policy| policy.other_images == holdfast_core::api::policy::OtherImages::Deny);
    verified && (known || !denies)
}

fn some_policies() -> impl Strategy<Value = World> {
    let pattern = prop::sample::select(vec![
        "registry.corp.internal/apps/**",
        "registry.corp.internal/**",
        "registry.corp.internal/apps/web",
        "registry.corp.internal/*/web",
        "registry.corp.internal/apps/w*b",
        "registry.corp.internal:5000/**",
        "docker.io/library/*",
        "docker.io/**/nginx",
        "docker.io/**",
        "localhost/apps/*",
        "registry:443/apps/**",
    ]);
    let place = prop::sample::subsequence(vec!["a", "b", "kube-system"], 0..=3);
    let verified = prop::sample::subsequence(vec!["d0", "d1", "d2"], 0..=3);
    let one = (prop::collection::vec(pattern, 1..4), place.clone(), place, any::<bool>(), verified, any::<bool>());
    prop::collection::vec(one, 1..4).prop_map(|policies| {
        let mut world = World::new(&["a", "b", "kube-system"]);
        for (at, (images, selected, enforced, allow, verified, exempt)) in policies.into_iter().enumerate() {
            let name = format!("p{at}");
            let exempt: Vec<Value> = exempt
                .then(|| json!({"image": format!("registry.corp.internal/apps/web@{}", digest("d2")), "reason": "x"}))
                .into_iter()
                .collect();
            let other = if allow { "Allow" } else { "Deny" };
            let spec = json!({"images": images, "otherImages": other, "exemptImages": exempt, "namespaceSelector": names(&["none"])});
            let mut spec = spec;
            if !selected.is_empty() {
                spec["namespaceSelector"] = names(&selected);
            }
            world.policy(&name, &spec, &enforced);
            for digit in verified {
                world.verify(&name, digest(digit));
            }
        }
        world
    })
}

fn some_image() -> impl Strategy<Value = String> {
    let host = prop::sample::select(vec![
        "",
        "docker.io/",
        "Index.Docker.io./",
        "registry-1.docker.io:0443/",
        "evilindex.docker.io/",
        "localhost/",
        "localhost:443/",
        "LOCALHOST/",
        "registry/",
        "registry.:0443/",
        "registry:443/",
        "registry.corp.internal/",
        "REGISTRY.corp.internal.:00443/",
        "registry.corp.internal:05000/",
        "registry.corp.internal:0/",
        "registry.corp.internal.evil.example/",
    ]);
    let path = prop::sample::select(vec![
        "apps/web",
        "apps/wxyzb",
        "apps/a/web",
        "other/web",
        "nginx",
        "library/nginx",
        "acme/nginx",
        "web",
        "apps-evil/web",
        "Apps/web",
        "apps//web",
    ]);
    let mut ends: Vec<String> = ["", ":1", ":1@", "@sha256:zzz"].map(str::to_owned).to_vec();
    for name in ["d0", "d1", "d2", "d3"] {
        ends.push(format!("@{}", digest(name)));
        ends.push(format!(":1@{}", digest(name)));
    }
    ends.push(format!("@{}@{}", digest("d3"), digest("d0")));
    ends.push(format!("@sha256:{}", digest("d0").hex().to_uppercase()));
    (host, path, prop::sample::select(ends)).prop_map(|(host, path, end)| format!("{host}{path}{end}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// Never wider than declared; and not stricter than announced: what is declared good and named by digest is admitted.
    #[test]
    fn what_is_rendered_admits_what_is_declared(
        world in some_policies(),
        pods in prop::collection::vec((prop::sample::select(vec!["a", "b"]), prop::collection::vec(some_image(), 1..4)), 12),
    ) {
        let server = world.server();
        for (namespace, images) in pods {
            let is_enforced = world.policies.iter().any(|(_, _, enforced)| enforced.contains(namespace));
            let case = Case { images: images.clone(), ..case_in(namespace) };
            let answer = server.review(&case.request());
            let admitted = answer.denied.is_empty();
            let declared = images.iter().all(|image| declared_admits(&world, namespace, image));
            if is_enforced {
                prop_assert!(!admitted || declared, "wider: {images:?} in {namespace}");
                let by_digest = images.iter().all(|image| image.contains('@'));
                prop_assert!(!(declared && by_digest) || admitted, "stricter: {images:?} in {namespace}: {answer:?}");
            } else {
                prop_assert!(admitted, "not enforced: {images:?} in {namespace}: {answer:?}");
            }
        }
    }

    /// Names in one spelling are those of the pure function, and tests of them are the pattern's.
    #[test]
    fn images_are_matched_as_the_pure_function_matches_them(image in some_image()) {
        for pattern in ["registry.corp.internal/apps/**", "docker.io/library/*", "localhost/apps/*", "registry:443/apps/**", "registry.corp.internal:5000/**"] {
            let mut world = World::new(&["a"]);
            world.policy("p", &json!({"images": [pattern], "otherImages": "Allow"}), &["a"]);
            let answer = review(&world, "a", &[&image]);
            let judged = answer.denied.iter().any(|(binding, _)| binding.starts_with("holdfast-enforce-p-"));
            if let Ok(read) = ImageRef::parse(&image) {
                prop_assert_eq!(judged, ImagePattern::parse(pattern).unwrap().matches(&read), "{} {}", pattern, image);
            } else {
                prop_assert!(!answer.denied.is_empty(), "what cannot be read is denied: {}", image);
            }
        }
    }
}
