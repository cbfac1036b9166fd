//! What somebody else declares, or does, holds up nothing: new namespaces close, new releases come in, break-glasses open and close.

use std::time::Duration;

use serde_json::{Value, json};

use super::author::{Author, declared, without};
use super::estate::Estate;
use crate::break_glass::{approve, ask, from_now, path};
use crate::lab::Lab;
use crate::proxy::{Asked, Fate};
use crate::registry_support::Registry;

/// A namespace that is made now, in the scope of `apps`, closes.
#[track_caller]
fn a_new_namespace_closes(estate: &Estate<'_>, name: &str) {
    let bad = estate.image("rogue", estate.unsigned("rogue"));
    estate.lab.namespace(name, &json!({"tier": "apps"}));
    estate.until_denied(name, &bad);
    without(estate.lab, name);
}

fn opens(estate: &Estate<'_>, name: &str, namespace: &str) {
    let bad = estate.image("rogue", estate.unsigned("rogue"));
    let loosen = json!({"returnToAudit": {"policy": "apps", "namespaces": [namespace]}});
    let digest = ask(estate.lab, "alice", name, from_now(600), &loosen);
    for who in ["bob", "dora"] {
        approve(estate.lab, who, name, digest).unwrap();
    }
    estate.lab.until(&format!("{name} opens {namespace}"), |_| estate.would_admit(namespace, &bad));
}

#[test]
fn by_a_policy_that_cannot_be_used_written_or_believed() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let estate = Estate::open(&lab, registry);
    let operator = lab.operator();
    estate.enforced();
    let erin = Author::of_policies(&lab);
    // One that carries the mark of an enforced one, as a restored copy does.
    let mut marked = declared(&estate, "marked", &json!({"namespaceSelector": {"matchLabels": {"no": "where"}}}));
    marked["metadata"]["finalizers"] = json!(["holdfast.dev/enforced"]);
    erin.declares(&marked);
    // One whose key is in a Secret that no Secret can be; where the API server takes it at all.
    let key = json!([{"name": "k", "key": {"secretRef": {"name": "a b", "key": "cosign.pub"}}}]);
    let odd =
        declared(&estate, "odd", &json!({"namespaceSelector": {"matchLabels": {"no": "where"}}, "identities": key}));
    let _ = erin.tries(&odd);
    // Four about so many images that one expression cannot name them.
    for at in 0..4 {
        let long = "abcdefghijklmno/".repeat(29);
        let images: Vec<String> = (0..128).map(|number| format!("r{at}.example/{long}{number}")).collect();
        erin.declares(&declared(&estate, &format!("wide-{at}"), &json!({"images": images})));
    }
    std::thread::sleep(Duration::from_secs(3));
    a_new_namespace_closes(&estate, "annex");
    let news = estate.image("news", estate.signed("news"));
    estate.enforce(&json!({"engines": {"native": {"intake": {"images": [news]}}}}));
    lab.until("a new release comes in", |_| estate.would_admit("shop", &news));
    assert!(!operator.said().contains("the pass failed"), "{}", operator.said());
    lab.patch("/apis/holdfast.dev/v1alpha1/signingidentitypolicies/marked", &json!({"metadata": {"finalizers": null}}));
}

#[test]
fn by_a_policy_about_canaries() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let estate = Estate::open(&lab, registry);
    lab.namespace("side", &json!({"side": "yes"}));
    let _operator = lab.operator();
    let pause = format!("registry.k8s.io/pause@sha256:{}", "7".repeat(64));
    estate.pod("web", &estate.image("web", estate.signed("web")));
    estate.enforce(&json!({"exemptImages": [{"image": pause, "reason": "node image"}]}));
    estate.until_phase("Enforcing");
    let bad = estate.image("rogue", estate.unsigned("rogue"));
    opens(&estate, "inc", "shop");
    let erin = Author::of_policies(&lab);
    for (name, selector) in [("here", json!({"tier": "apps"})), ("beside", json!({"side": "yes"}))] {
        let about = json!({"images": ["holdfast-canary.invalid/**"], "namespaceSelector": {"matchLabels": selector}});
        let _ = erin.tries(&declared(&estate, name, &about));
    }
    std::thread::sleep(Duration::from_secs(3));
    // Closed early, and opened for an exemption less.
    lab.delete(&path("inc"));
    estate.until_denied("shop", &bad);
    estate.enforce(&json!({}));
    lab.until("the exemption is gone", |_| match estate.would_admit("shop", &pause) {
        Err(_) => Ok(()),
        Ok(_) => Err(estate.policy_status("apps").text()),
    });
    opens(&estate, "again", "shop");
    lab.delete(&path("again"));
    without(&lab, "side");
}

#[test]
fn by_a_namespace_that_does_not_end() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let estate = Estate::open(&lab, registry);
    lab.namespace("stuck", &json!({"only": "me"}));
    lab.apply(&json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "stays", "namespace": "stuck", "finalizers": ["x.example/stay"]},
    }));
    let operator = lab.operator();
    estate.enforced();
    estate.policy("b", &json!({"namespaceSelector": {"matchLabels": {"only": "me"}}}));
    estate.until_nothing_is_written();
    operator.stop();
    lab.delete("/api/v1/namespaces/stuck");
    let _operator = lab.operator();
    opens(&estate, "inc", "shop");
    lab.delete(&path("inc"));
    lab.patch("/api/v1/namespaces/stuck/configmaps/stays", &json!({"metadata": {"finalizers": null}}));
    without(&lab, "stuck");
}

/// Letters as an archive cannot shorten them.
fn noise(count: usize, mut state: u64) -> String {
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'a' + u8::try_from(state % 26).unwrap())
    };
    (0..count).map(|_| next()).collect()
}

fn replicas(name: &str, image: &str, owners: &Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": name, "namespace": "dev", "ownerReferences": owners},
        "spec": {
            "replicas": 0, "selector": {"matchLabels": {"app": "x"}},
            "template": {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "main", "image": image}]}},
        },
    })
}

#[test]
fn by_a_workload_whose_images_or_owners_are_long() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let estate = Estate::open(&lab, registry);
    lab.namespace("dev", &json!({"only": "me"}));
    let operator = lab.operator();
    estate.enforced();
    estate.policy("b", &json!({"namespaceSelector": {"matchLabels": {"only": "me"}}, "otherImages": "Deny"}));
    for at in 0..8_u64 {
        let noise = noise(1_300_000, 7 + at);
        let image = if at % 2 == 0 {
            format!("{}/apps/{noise}@sha256:{}", estate.host(), "1".repeat(64))
        } else {
            format!("elsewhere.example/{noise}")
        };
        lab.apply(&replicas(&format!("big-{at}"), &image, &json!([])));
        let owner = json!([{"apiVersion": "x.example/v1", "kind": "K", "name": noise, "uid": "1", "controller": true}]);
        lab.apply(&replicas(&format!("owned-{at}"), "elsewhere.example/x:1", &owner));
    }
    estate.scan_now("long");
    lab.until("they would be denied", |_| {
        let status = estate.policy_status("b");
        if status.at("/enforcement/wouldHaveDenied").as_u64() >= Some(16) { Ok(()) } else { Err(status.text()) }
    });
    a_new_namespace_closes(&estate, "annex");
    assert!(!operator.said().contains("the pass failed"), "{}", operator.said());
    let _ = lab.try_call("DELETE", "/apis/apps/v1/namespaces/dev/replicasets", None);
    without(&lab, "dev");
}

#[test]
fn by_a_rule_of_somebody_else_that_canaries_do_not_meet() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let estate = Estate::open(&lab, registry);
    let _operator = lab.operator();
    estate.enforced();
    estate.until_nothing_is_written();
    let bad = estate.image("rogue", estate.unsigned("rogue"));
    let admission = "/apis/admissionregistration.k8s.io/v1";
    let pods = json!([{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]);
    lab.apply(&json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": {"name": "aaa-team"},
        "spec": {"matchConstraints": {"resourceRules": pods}, "validations": [{
            "expression": "has(object.metadata.labels) && 'team' in object.metadata.labels", "message": "every pod has a team",
        }]},
    }));
    lab.apply(&json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": "aaa-team"},
        "spec": {"policyName": "aaa-team", "validationActions": ["Deny"]},
    }));
    std::thread::sleep(Duration::from_secs(2));
    let loosen = json!({"returnToAudit": {"policy": "apps", "namespaces": ["shop"]}});
    let digest = ask(&lab, "alice", "inc", from_now(600), &loosen);
    for who in ["bob", "dora"] {
        approve(&lab, who, "inc", digest).unwrap();
    }
    let pod: Value = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "tried", "namespace": "shop", "labels": {"team": "x"}},
        "spec": {"containers": [{"name": "main", "image": bad}]},
    });
    lab.until("it opens", |lab| lab.try_call("POST", "/api/v1/namespaces/shop/pods?dryRun=All", Some(&pod)));
    for kind in ["validatingadmissionpolicybindings", "validatingadmissionpolicies"] {
        lab.delete(&format!("{admission}/{kind}/aaa-team"));
    }
    lab.delete(&path("inc"));
}

#[test]
fn by_many_namespaces_with_long_names() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let estate = Estate::open(&lab, registry);
    let _operator = lab.operator();
    let names: Vec<String> = (0..1_700).map(|at| format!("{}-{at:04}", "n".repeat(55))).collect();
    for name in &names {
        lab.namespace(name, &json!({"tier": "apps"}));
    }
    estate.pod("web", &estate.image("web", estate.signed("web")));
    estate.enforce(&json!({}));
    let bad = estate.image("rogue", estate.unsigned("rogue"));
    estate.until_denied("shop", &bad);
    estate.until_denied(&names[1_699], &bad);
    estate.until_phase("Enforcing");
    for name in &names {
        without(&lab, name);
    }
}

#[test]
fn by_a_policy_that_takes_no_mark() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let estate = Estate::open(&lab, registry);
    let _operator = lab.operator();
    estate.enforced();
    let marks = |asked: &Asked| asked.method == "PATCH" && asked.path.ends_with("/signingidentitypolicies/full");
    lab.proxy().on(usize::MAX, Fate::Refuse(422, None), marks);
    let spec = json!({"namespaceSelector": {"matchLabels": {"tier": "apps"}}, "enforcement": {"desired": "Enforce", "soak": "0s"}});
    estate.policy("full", &spec);
    lab.until("its mark is refused", |lab| {
        if lab.proxy().met() > 0 { Ok(()) } else { Err(estate.policy_status("full").text()) }
    });
    a_new_namespace_closes(&estate, "annex");
}
