//! Estates that hide what they run, or who may sign for it: a plan says so, or says that it does not know.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test that cannot go on fails

mod support;

use holdfast_testpki::layout::Layout;
use holdfast_testpki::{Recipe, Sigstore};
use serde_json::{Value, json};
use support::estate::{Estate, first, pod};

const GOOD: &str = "registry.corp.internal/web:1";
const EVIL: &str = "registry.corp.internal/evil:1";

/// An estate that runs a signed image, and the layout that holds it and an unsigned one.
fn estate() -> (Estate, Layout) {
    let estate = Estate::new(json!({}));
    let mut layout = Layout::new();
    estate.signed(&mut layout, "good", GOOD);
    layout.image("evil", EVIL);
    estate.pod("pod.json", &[GOOD]);
    (estate, layout)
}

/// `kubectl apply --recursive` takes whatever ends in `.json`, `.yaml` or `.yml`.
#[test]
fn a_manifest_is_read_whatever_its_file_is_named() {
    for file in [
        "index.json",
        "web.targets.json",
        "memory.json",
        "trusted_root.json",
        "web.sigstore.json",
        ".web.json",
        ".hidden/web.yaml",
        ".github/deep/web.yml",
    ] {
        let (estate, layout) = estate();
        assert_eq!(estate.plan(&layout).0, 0);
        estate.pod(file, &[EVIL]);
        assert_eq!(first(&estate.plan(&layout)), (1, "MissingBundle"), "{file}");
    }
}

/// Files of other tools lie beside manifests; they are told by what they say.
#[test]
fn what_is_no_manifest_is_passed_by_for_what_it_says() {
    let (estate, layout) = estate();
    let bundle = estate.sigstore.bundle(b"x", &Recipe::key()).to_string();
    for (file, content) in [
        ("1.root.json", r#"{"signed": {}, "signatures": []}"#),
        ("anything.json", r#"{"schemaVersion": 2, "manifests": []}"#),
        ("root.json", &estate.sigstore.trusted_root().to_string()),
        ("b.json", &bundle),
        (".github/workflows/ci.yaml", "on: push\njobs: {}\n"),
        (".git/refs/heads/x.yaml", "{{"),
        ("state/.lock", ""),
    ] {
        estate.write(file, content);
        let (code, plan) = estate.plan(&layout);
        assert_eq!((code, &plan["unread"]), (0, &Value::Null), "{file}: {plan:#}");
    }
    for stand_in in [
        r#"{"signed": {}, "kind": "Pod"}"#,
        r#"{"mediaType": "application/vnd.oci.image.index.v1+json", "kind": "Pod"}"#,
    ] {
        estate.write("1.root.json", stand_in);
        let args = ["plan", "git", "--exit-code"];
        assert_eq!(support::holdfast_in(estate.dir.path(), &args).code, 2, "{stand_in}");
    }
}

#[test]
fn what_is_not_read_is_said_and_no_yes() {
    let (estate, layout) = estate();
    let outside = estate.dir.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("evil.json"), pod("evil", &[EVIL]).to_string()).unwrap();
    for (link, target) in [("evil.json", "../outside/evil.json"), ("evil", "../outside"), ("gone.yaml", "../nowhere")] {
        std::os::unix::fs::symlink(target, estate.path(link)).unwrap();
        let (code, plan) = estate.plan(&layout);
        assert_eq!(code, 3, "{link}");
        assert!(plan["unread"][0].as_str().unwrap().contains("is a link"), "{link}: {plan:#}");
        std::fs::remove_file(estate.path(link)).unwrap();
    }
    estate.write(".hidden/template.yaml", "{{ if }}\n");
    assert_eq!(estate.plan(&layout).0, 3);
}

/// Which of two objects of one name a cluster ends up with hangs on the order in which they are applied.
#[test]
fn two_objects_of_one_name_are_an_error_that_names_both_places() {
    let estate = Estate::new(json!({}));
    let stranger = Sigstore::new();
    let refused = |file: &str, words: &[&str]| {
        let answer = support::holdfast_in(estate.dir.path(), &["plan", "git"]);
        assert_eq!(answer.code, 2, "{answer:?}");
        for words in words {
            assert!(answer.err.contains(words), "{words}: {}", answer.err);
        }
        std::fs::remove_file(estate.path(file)).unwrap();
    };
    estate.trust("zzz.json", "corp", &stranger);
    refused("zzz.json", &["git/zzz.json", "TrustRootMirror `corp` is declared before, in git/trust.json"]);
    let object = |kind: &str, more: Value| {
        let mut object = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "one", "namespace": "shop"}});
        object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        object
    };
    for (kind, first, second) in [
        ("Secret", json!({"stringData": {"cosign.pub": "a"}}), json!({"stringData": {"cosign.pub": "b"}})),
        ("ConfigMap", json!({"data": {}}), json!({"data": {}})),
        ("Pod", json!({"spec": {}}), json!({"spec": {}})),
        (
            "Namespace",
            json!({"metadata": {"name": "n", "labels": {"tier": "apps"}}}),
            json!({"metadata": {"name": "n"}}),
        ),
    ] {
        estate.write("a.json", &object(kind, first).to_string());
        estate.write("b.json", &object(kind, second).to_string());
        refused("b.json", &["git/b.json", &format!("{kind} `"), "before, in git/a.json"]);
    }
    // The same name in another group is another object, and one namespace may be declared by several teams.
    for (file, object) in [
        (
            "a.json",
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "one"}, "spec": {"containers": [{"image": "x/y"}]}}),
        ),
        (
            "b.json",
            json!({"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {"name": "one"}, "spec": {"containers": [{"image": "x/y"}]}}),
        ),
        (
            "c.json",
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n", "labels": {"tier": "apps"}}}),
        ),
        (
            "d.json",
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n", "labels": {"tier": "apps"}}}),
        ),
    ] {
        estate.write(file, &object.to_string());
    }
    assert_eq!(support::holdfast_in(estate.dir.path(), &["plan", "git"]).code, 0);
}

/// Pods are made of objects of any kind; what has the form of a pod is looked at, in whatever kind.
#[test]
fn an_image_in_a_kind_that_is_not_built_in_is_found() {
    let with = |version: &str, kind: &str, spec: &str| {
        format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{name: x, namespace: shop}}\n{spec}\n")
    };
    let container = format!("{{name: c, image: '{EVIL}'}}");
    for (version, kind, spec) in [
        ("argoproj.io/v1alpha1", "Rollout", format!("spec: {{template: {{spec: {{containers: [{container}]}}}}}}")),
        ("serving.knative.dev/v1", "Service", format!("spec: {{template: {{spec: {{containers: [{container}]}}}}}}")),
        (
            "batch.volcano.sh/v1alpha1",
            "Job",
            format!("spec: {{tasks: [{{template: {{spec: {{initContainers: [{container}]}}}}}}]}}"),
        ),
        ("score.dev/v1b1", "Workload", format!("containers: {{main: {container}}}")),
        ("x.example/v1", "One", format!("spec: {{containers: {container}}}")),
        (
            "x.example/v1",
            "Volumes",
            format!("spec: {{pod: {{volumes: [{{name: v, image: {{reference: '{EVIL}'}}}}]}}}}"),
        ),
        (
            "apps/v1",
            "ControllerRevision",
            format!("data: {{spec: {{template: {{spec: {{containers: [{container}]}}}}}}}}"),
        ),
        ("v1", "Pod", format!("spec: {{containers: [&c {container}, {{<<: *c, name: d}}]}}")),
    ] {
        let (estate, layout) = estate();
        estate.write("x.yaml", &with(version, kind, &spec));
        let planned = estate.plan(&layout);
        assert_eq!(first(&planned), (1, "MissingBundle"), "{kind}");
        assert_eq!(planned.1["coverage"]["images"][0]["workloads"], json!([format!("shop/{kind}/x")]));
    }
    let (estate, layout) = estate();
    // What is no text is no image that can be read; what is a pattern is none that can be pulled.
    estate.write("x.yaml", &with("x.example/v1", "Odd", "spec: {containers: [{name: c, image: {repository: x}}]}"));
    assert_eq!(first(&estate.plan(&layout)), (3, "DigestUnresolved"));
    estate.write(
        "x.yaml",
        &with(
            "kyverno.io/v1",
            "ClusterPolicy",
            "spec: {rules: [{validate: {pattern: {spec: {containers: [{image: '!*:latest'}]}}}}]}",
        ),
    );
    assert_eq!(estate.plan(&layout).0, 0);
    let crd = format!("spec: {{versions: [{{schema: {{containers: [{container}]}}}}]}}");
    estate.write("x.yaml", &with("apiextensions.k8s.io/v1", "CustomResourceDefinition", &crd));
    assert_eq!(estate.plan(&layout).0, 0);
    let merged = "x: &c {containers: [{name: c, image: 'registry.corp.internal/evil:1'}]}\napiVersion: v1\nkind: Pod\nmetadata: {name: x, namespace: shop}\nspec:\n  <<: *c\n";
    estate.write("x.yaml", merged);
    assert_eq!(first(&estate.plan(&layout)), (1, "MissingBundle"), "merge keys are read as `kubectl` reads them");
    estate.write("x.yaml", &with("v1", "Pod", &format!("spec: {{containers: {container}}}")));
    let answer = support::holdfast_in(estate.dir.path(), &["plan", "git"]);
    assert!(answer.code == 2 && answer.err.contains("shop/Pod/x: `containers` is not a list"), "{answer:?}");
}

/// A key is read from holdfast's own namespace: whoever may write Secrets elsewhere signs for nobody.
#[test]
fn a_secret_of_another_namespace_is_not_the_policys_key() {
    let key = json!({"name": "release", "key": {"secretRef": {"name": "release"}}});
    let estate = Estate::new(json!({"identities": [key], "require": {"transparencyLog": true, "sct": false}}));
    let stranger = Sigstore::new();
    let secret = |namespace: &str, sigstore: &Sigstore| {
        let metadata = json!({"name": "release", "namespace": namespace});
        let data = json!({"cosign.pub": sigstore.managed_key.pem()});
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data});
        estate.write(&format!("{namespace}.json"), &secret.to_string());
    };
    let mut layout = Layout::new();
    let image = layout.image("good", GOOD);
    layout.attach(&image, &estate.sigstore.bundle(&image.manifest, &Recipe::key()));
    estate.pod("pod.json", &[GOOD]);
    let problem = |words: &str| {
        let (code, plan) = estate.plan(&layout);
        assert!(code == 1 && plan["problems"][0].as_str().unwrap().contains(words), "{words}: {plan:#}");
    };
    problem("give the Secret holdfast-system/release beside it");
    secret("aaa-team", &estate.sigstore);
    problem("a Secret `release` is in aaa-team, and holdfast reads those of its own namespace `holdfast-system` alone");
    let here = estate.plan_with(&["--images", "oci:images", "--namespace", "aaa-team"]);
    assert_eq!(first(&here), (0, "Verified"));
    secret("holdfast-system", &stranger);
    assert_eq!(first(&estate.plan(&layout)), (1, "KeyMismatch"));
    secret("holdfast-system", &estate.sigstore);
    secret("aaa-team", &stranger);
    assert_eq!(first(&estate.plan(&layout)), (0, "Verified"));
}

#[test]
fn a_trust_root_that_nobody_declares_is_a_problem_and_covers_nothing() {
    let estate = Estate::new(json!({"trustRoots": ["corpp"]}));
    let key = json!({"name": "release", "key": {"pem": estate.sigstore.managed_key.pem()}});
    let keyed = Estate::new(
        json!({"trustRoots": ["corpp"], "identities": [key], "require": {"transparencyLog": false, "sct": false}}),
    );
    let mut layout = Layout::new();
    let image = layout.image("good", GOOD);
    layout.attach(&image, &estate.sigstore.bundle(&image.manifest, &Recipe::key()));
    for estate in [estate, keyed] {
        estate.pod("pod.json", &[GOOD]);
        let planned = estate.plan(&layout);
        assert_eq!(first(&planned), (1, "StaleTrustRoot"));
        let problem = planned.1["problems"][0].as_str().unwrap();
        assert!(problem.ends_with("trustRoots: no TrustRootMirror `corpp` is among the manifests"), "{problem}");
    }
}

#[test]
fn a_namespace_without_a_manifest_is_not_out_of_scope() {
    let (labelled, layout) = (Estate::new(json!({"namespaceSelector": {"matchLabels": {"tier": "apps"}}})), estate().1);
    labelled.pod("pod.json", &[EVIL]);
    assert_eq!(first(&labelled.plan(&layout)), (3, "ListingTruncated"));
    for (tier, expected) in [("apps", (1, "MissingBundle")), ("system", (0, "none in scope"))] {
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {"tier": tier}}});
        labelled.write("namespace.json", &namespace.to_string());
        assert_eq!(first(&labelled.plan(&layout)), expected);
    }
}

#[test]
fn an_image_that_would_be_denied_is_no_yes() {
    let denying = json!({"otherImages": "Deny"});
    for (policy, code) in [(denying.clone(), 1), (json!({"otherImages": "Allow"}), 0)] {
        let estate = Estate::new(policy);
        estate.pod("pod.json", &["docker.io/library/busybox:1"]);
        assert_eq!(estate.plan(&Layout::new()).0, code);
    }
    let mut labelled = denying;
    labelled["namespaceSelector"] = json!({"matchLabels": {"tier": "apps"}});
    let estate = Estate::new(labelled);
    estate.pod("pod.json", &["docker.io/library/busybox:1"]);
    assert_eq!(estate.plan(&Layout::new()).0, 3);
}
