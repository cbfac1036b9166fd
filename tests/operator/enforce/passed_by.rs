//! Ways past what somebody has to agree to.

use std::time::Duration;

use serde_json::{Value, json};

use super::author::{Author, declared, without};
use super::estate::Estate;
use crate::break_glass::{GLASSES, approve, ask, from_now, glass, path};
use crate::chart_support::NAMESPACE;
use crate::lab::{Lab, config_map_path};
use crate::registry_support::Registry;

fn nginx() -> String {
    format!("docker.io/library/nginx@sha256:{}", "1".repeat(64))
}

/// A policy that is about other images as well, and lets one in that nobody signed.
fn exempting(estate: &Estate<'_>, name: &str, labels: &Value) -> Value {
    let ci = json!({"name": "ci", "issuer": crate::coverage::shop::ISSUER, "subject": crate::coverage::shop::SUBJECT, "optional": true});
    declared(
        estate,
        name,
        &json!({
            "images": ["docker.io/**", format!("{}/**", estate.host())], "namespaceSelector": {"matchLabels": labels},
            "exemptImages": [{"image": nginx(), "reason": "mine"}], "identities": [ci],
            "enforcement": {"desired": "Enforce", "soak": "0s"},
        }),
    )
}

fn until_enforced(estate: &Estate<'_>, policy: &str) {
    estate.lab.until(&format!("{policy} is enforced"), |_| {
        let status = estate.policy_status(policy);
        if status.at("/enforcement/phase") == "Enforcing" { Ok(()) } else { Err(status.text()) }
    });
}

#[test]
fn a_break_glass_that_was_closed_is_not_opened_by_its_old_approvals() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let estate = Estate::open(&lab, registry);
    let _operator = lab.operator();
    estate.enforced();
    let bad = estate.image("rogue", estate.unsigned("rogue"));
    let loosen = json!({"returnToAudit": {"policy": "apps", "namespaces": ["shop"]}});
    let until = from_now(600);
    let digest = ask(&lab, "alice", "inc", until, &loosen);
    for who in ["bob", "dora"] {
        approve(&lab, who, "inc", digest).unwrap();
    }
    lab.until("it is open", |_| estate.would_admit("shop", &bad));
    lab.delete(&path("inc"));
    estate.until_denied("shop", &bad);
    // Made anew by who asked for it: two people have to agree anew.
    std::thread::sleep(Duration::from_secs(1));
    lab.call_as("alice", "POST", GLASSES, &glass("inc", "alice", until, &loosen)).unwrap();
    std::thread::sleep(Duration::from_secs(5));
    estate.denied("shop", &bad, "is not verified");
    for who in ["bob", "dora"] {
        approve(&lab, who, "inc", digest).unwrap();
    }
    lab.until("it is open again", |_| estate.would_admit("shop", &bad));
    lab.delete(&path("inc"));
}

#[test]
fn a_namespace_that_comes_into_scope_with_what_runs_in_it_soaks() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let estate = Estate::open(&lab, registry);
    let _operator = lab.operator();
    estate.enforced();
    estate.enforce(&json!({"enforcement": {"desired": "Enforce", "soak": "1h"}}));
    let bad = estate.image("rogue", estate.unsigned("rogue"));
    estate.until_nothing_is_written();
    lab.namespace("comes", &json!({}));
    estate.try_pod("comes", "unsigned", &bad).unwrap();
    std::thread::sleep(Duration::from_secs(8));
    lab.namespace("comes", &json!({"tier": "apps"}));
    std::thread::sleep(Duration::from_secs(6));
    let tried = estate.would_admit("comes", &bad);
    assert!(tried.is_ok(), "{tried:?}");
    without(&lab, "comes");
}

#[test]
fn a_namespace_that_is_new_to_two_policies_gives_neither_what_it_has_to_ask_for() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let estate = Estate::open(&lab, registry);
    lab.namespace("side", &json!({"side": "yes"}));
    let _operator = lab.operator();
    estate.enforced();
    let erin = Author::of_policies(&lab);
    estate.try_pod("side", "web", &estate.image("web", estate.signed("web"))).unwrap();
    erin.declares(&exempting(&estate, "beside", &json!({"side": "yes"})));
    until_enforced(&estate, "beside");
    estate.denied("shop", &nginx(), "no policy of this namespace is about");
    lab.namespace("both", &json!({"tier": "apps", "side": "yes"}));
    estate.until_denied("both", &estate.image("rogue", estate.unsigned("rogue")));
    std::thread::sleep(Duration::from_secs(3));
    let tried = estate.would_admit("both", &nginx());
    assert!(tried.is_err(), "nobody agreed that it comes in where `apps` denies what no policy is about");
    for name in ["both", "side"] {
        without(&lab, name);
    }
}

#[test]
fn an_approval_of_what_a_promotion_takes_is_of_the_namespaces_it_named() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let estate = Estate::open(&lab, registry);
    lab.namespace("both", &json!({"tier": "apps", "side": "yes"}));
    let _operator = lab.operator();
    estate.enforced();
    let erin = Author::of_policies(&lab);
    estate.until_denied("both", &estate.image("rogue", estate.unsigned("rogue")));
    estate.try_pod("both", "web", &estate.image("web", estate.signed("web"))).unwrap();
    erin.declares(&exempting(&estate, "beside", &json!({"side": "yes"})));
    let digest = lab.until("it asks", |_| {
        let status = estate.policy_status("beside");
        let conditions = status.at("/conditions").as_array().cloned().unwrap_or_default();
        let said = conditions.iter().filter_map(|one| one["message"].as_str()).find(|said| said.contains("exempts it"));
        said.and_then(|said| said.get(said.find("sha256:")?..)?.get(..71))
            .map(str::to_owned)
            .ok_or_else(|| status.text())
    });
    // A namespace that nobody named comes into its scope.
    erin.changes("/api/v1/namespaces/shop", &json!({"metadata": {"labels": {"side": "yes"}}})).unwrap();
    let approval = json!({
        "apiVersion": "holdfast.dev/v1alpha1", "kind": "TrustApproval", "metadata": {"generateName": "bob-"},
        "spec": {"approver": "bob", "for": {"kind": "SigningIdentityPolicy", "name": "beside", "digest": digest}},
    });
    lab.call_as("bob", "POST", "/apis/holdfast.dev/v1alpha1/trustapprovals", &approval).unwrap();
    std::thread::sleep(Duration::from_secs(10));
    estate.denied("shop", &nginx(), "no policy of this namespace is about");
    without(&lab, "both");
    lab.namespace("shop", &json!({"tier": "apps", "side": null}));
}

#[test]
fn an_approval_lets_no_namespace_go_that_it_did_not_name() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let estate = Estate::open(&lab, registry);
    let labels = json!({"tier": "apps", "team": "blue"});
    for name in ["shop", "billing"] {
        lab.namespace(name, &labels);
    }
    let _operator = lab.operator();
    estate.enforced();
    let erin = Author::of_policies(&lab);
    let bad = estate.image("rogue", estate.unsigned("rogue"));
    estate.until_denied("billing", &bad);
    estate.enforce(&json!({"namespaceSelector": {"matchLabels": labels}}));
    let message = lab.until("it is held", |_| {
        let message = estate.policy_status("apps").message("LooseningHeld").to_owned();
        if message.contains("NamespacesNarrowed") { Ok(message) } else { Err(message) }
    });
    let at = message.find("sha256:").unwrap();
    let digest = &message[at..at + 71];
    // A label that nothing enforced hangs on yet.
    let _ = erin.changes("/api/v1/namespaces/billing", &json!({"metadata": {"labels": {"team": "red"}}}));
    let approval = json!({
        "apiVersion": "holdfast.dev/v1alpha1", "kind": "TrustApproval", "metadata": {"generateName": "bob-"},
        "spec": {"approver": "bob", "for": {"kind": "SigningIdentityPolicy", "name": "apps", "digest": digest}},
    });
    lab.call_as("bob", "POST", "/apis/holdfast.dev/v1alpha1/trustapprovals", &approval).unwrap();
    std::thread::sleep(Duration::from_secs(8));
    estate.denied("billing", &bad, "is not verified");
    without(&lab, "billing");
    lab.namespace("shop", &json!({"tier": "apps", "team": null}));
}

#[test]
fn labels_of_scope_are_guarded_whichever_way_a_namespace_is_written() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let estate = Estate::open(&lab, registry);
    let _operator = lab.operator();
    estate.enforced();
    let erin = Author::of_policies(&lab);
    let out = json!({"metadata": {"labels": {"tier": null}}});
    lab.until("they are guarded", |lab| match erin.changes("/api/v1/namespaces/shop", &out) {
        Err(said) if said.contains("something is enforced in this namespace") => Ok(()),
        other => {
            lab.namespace("shop", &json!({"tier": "apps"}));
            Err(format!("{other:?}"))
        }
    });
    let said = erin.changes("/api/v1/namespaces/shop/status", &out).expect_err("by its status");
    assert!(said.contains("something is enforced in this namespace"), "{said}");
    let mut whole = lab.get("/api/v1/namespaces/shop").unwrap();
    whole["metadata"]["labels"]["tier"] = json!("none");
    let said = lab.call_as("erin", "PUT", "/api/v1/namespaces/shop/finalize", &whole).expect_err("by its end");
    assert!(said.contains("something is enforced in this namespace"), "{said}");
}

#[test]
fn a_report_that_looks_elsewhere_takes_nothing_out() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let estate = Estate::open(&lab, registry);
    let _operator = lab.operator();
    let web = estate.enforced();
    let erin = Author::of_policies(&lab);
    // The very image, elsewhere, without its signature.
    assert_eq!(estate.registry.push_image("nothing/apps/web", "1", b"web"), web);
    let elsewhere =
        json!([{"prefix": estate.host(), "mirror": format!("{}/nothing", estate.host()), "plainHttp": true}]);
    erin.declares(&json!({
        "apiVersion": "holdfast.dev/v1alpha1", "kind": "BundleCoverageReport", "metadata": {"name": "aaa"},
        "spec": {"interval": "1h", "namespaceSelector": {}, "registries": elsewhere},
    }));
    let report = "/apis/holdfast.dev/v1alpha1/bundlecoveragereports/aaa";
    lab.until("it has looked", |lab| {
        let status = lab.call("GET", report, None)["status"].clone();
        if status["totals"]["uncovered"] == 1 { Ok(()) } else { Err(status.to_string()) }
    });
    std::thread::sleep(Duration::from_secs(4));
    assert!(estate.would_admit("shop", &estate.image("web", web)).is_ok());
    // Nor does the one that counts, where its registry lost the evidence.
    lab.delete(report);
    lab.delete("/apis/holdfast.dev/v1alpha1/bundlecoveragereports/cluster");
    estate.report(&json!({"namespaceSelector": {}, "registries": elsewhere}));
    estate.until(0, 1, 0);
    std::thread::sleep(Duration::from_secs(3));
    assert!(estate.would_admit("shop", &estate.image("web", web)).is_ok());
    estate.denied("shop", &estate.image("rogue", estate.unsigned("rogue")), "is not verified");
}

#[test]
fn memory_that_somebody_planted_is_not_believed() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    // Somebody's own cluster, where a policy is enforced by all the rules.
    let (planted, policy) = {
        let estate = Estate::open(&lab, registry);
        let operator = lab.operator();
        estate.pod("web", &estate.image("web", estate.signed("web")));
        let policy = exempting(&estate, "fresh", &json!({"tier": "apps"}));
        lab.apply(&policy);
        until_enforced(&estate, "fresh");
        estate.until_nothing_is_written();
        operator.stop();
        let planted = ["holdfast-policy-fresh", "holdfast-enforced-fresh"].map(|name| {
            let found = lab.get(&config_map_path(NAMESPACE, name)).unwrap();
            json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": NAMESPACE}, "data": found["data"],
            })
        });
        (planted, policy)
    };
    lab.clear();
    // Another one, in which `apps` denies what no policy is about.
    let estate = Estate::open(&lab, Registry::plain(true).unwrap());
    let _operator = lab.operator();
    estate.enforced();
    let erin = Author::of_policies(&lab);
    for object in &planted {
        let said = erin.tries(object).expect_err("the guard");
        assert!(said.contains("written by holdfast alone"), "{said}");
    }
    // Where no guard was there, it is known by what it lacks.
    lab.without_guard("memory", |lab| planted.iter().for_each(|object| _ = lab.apply(object)));
    erin.declares(&policy);
    std::thread::sleep(Duration::from_secs(6));
    estate.denied("shop", &nginx(), "no policy of this namespace is about");
    let status = estate.policy_status("fresh");
    assert_ne!(status.at("/enforcement/phase"), "Enforcing", "{}", status.text());
}
