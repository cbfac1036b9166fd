//! Attacks with fresh eyes. Each asserts what was expected; those that fail are findings.

use std::time::Duration;

use serde_json::{Value, json};

use super::estate::Estate;
use crate::attacks::may;
use crate::break_glass::{self, GLASSES, ask, from_now, glass, path};
use crate::lab::Lab;
use crate::registry_support::Registry;

const POLICIES: &str = "/apis/holdfast.dev/v1alpha1/signingidentitypolicies";

/// Erin writes policies, break-glasses and namespaces, and may approve nothing.
fn erin(lab: &Lab) {
    lab.apply(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "erin-writes"},
        "rules": [
            {"apiGroups": ["holdfast.dev"], "resources": ["signingidentitypolicies", "trustbreakglasses", "bundlecoveragereports"], "verbs": ["create", "update", "patch", "delete", "get"]},
            {"apiGroups": [""], "resources": ["namespaces", "namespaces/status", "namespaces/finalize"], "verbs": ["create", "get", "patch", "update"]},
            {"apiGroups": [""], "resources": ["pods", "pods/ephemeralcontainers"], "verbs": ["create", "get", "patch", "update", "delete"]},
        ],
    }));
    may(lab, "erin", "erin-writes");
    lab.until("erin may", |lab| lab.call_as("erin", "GET", &format!("{POLICIES}/apps"), &json!(null)));
}

fn audit(estate: &Estate<'_>, name: &str, more: &Value) -> Value {
    let mut spec = json!({
        "images": [format!("{}/**", estate.host())], "otherImages": "Deny", "trustRoots": ["corp"],
        "namespaceSelector": {"matchLabels": {"tier": "apps"}},
        "identities": [{"name": "ci", "issuer": crate::coverage::shop::ISSUER, "subject": crate::coverage::shop::SUBJECT}],
        "engines": {"native": {}},
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    json!({"apiVersion": "holdfast.dev/v1alpha1", "kind": "SigningIdentityPolicy", "metadata": {"name": name}, "spec": spec})
}

fn said(estate: &Estate<'_>) -> String {
    let status = estate.policy_status("apps");
    format!(
        "phase {} ready {} ({}) enforcing {} degraded {} namespaces {} blockedBy {}",
        status.at("/enforcement/phase"),
        status.is("Ready"),
        status.message("Ready"),
        status.is("Enforcing"),
        status.is("Degraded"),
        status.at("/enforcement/namespaces"),
        status.at("/enforcement/blockedBy"),
    )
}

fn remove_namespace(lab: &Lab, name: &str) {
    let _ = lab.try_call("DELETE", &format!("/api/v1/namespaces/{name}/pods?gracePeriodSeconds=0"), None);
    let _ = lab.try_patch(
        &format!("/api/v1/namespaces/{name}"),
        &json!({"metadata": {"labels": {"tier": null, "evil": null, "team": null, "only": null}}}),
    );
    let _ = lab.try_call("DELETE", &format!("/api/v1/namespaces/{name}"), None);
}

/// No namespace of an earlier test is selected.
fn swept(lab: &Lab) {
    let all = lab.call("GET", "/api/v1/namespaces", None);
    for one in all["items"].as_array().unwrap() {
        let name = one["metadata"]["name"].as_str().unwrap();
        if name != "shop" && ["tier", "evil", "team", "only"].iter().any(|l| !one["metadata"]["labels"][*l].is_null()) {
            remove_namespace(lab, name);
        }
    }
}

/// A new namespace in scope: whether pods are denied there within so many seconds.
fn new_namespace_closes(
    lab: &Lab,
    estate: &Estate<'_>,
    name: &str,
    labels: &Value,
    bad: &str,
    seconds: u64,
) -> Result<(), String> {
    let _ = lab.try_call("DELETE", &format!("/api/v1/namespaces/{name}"), None);
    std::thread::sleep(Duration::from_secs(1));
    let unique = format!("{name}-{}", seconds_now());
    lab.call_as(
        "erin",
        "POST",
        "/api/v1/namespaces",
        &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": unique, "labels": labels}}),
    )
    .map_err(|e| format!("cannot make: {e}"))?;
    let started = std::time::Instant::now();
    loop {
        match estate.would_admit(&unique, bad) {
            Err(said) if said.contains("holdfast") => {
                remove_namespace(lab, &unique);
                return Ok(());
            }
            other if started.elapsed() > Duration::from_secs(seconds) => {
                let persisted = estate.try_pod(&unique, "rogue", bad);
                remove_namespace(lab, &unique);
                return Err(format!("after {seconds} s still {other:?}; persisted: {}", persisted.is_ok()));
            }
            _ => std::thread::sleep(Duration::from_millis(200)),
        }
    }
}

fn seconds_now() -> i64 {
    crate::courier::now().as_second()
}

#[test]
fn f01_a_forged_finalizer_stops_nothing() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    swept(&lab);
    let estate = Estate::open(&lab, registry);
    let operator = lab.operator();
    estate.enforced();
    erin(&lab);
    let bad = estate.image("rogue", estate.unsigned("rogue"));
    let good = new_namespace_closes(&lab, &estate, "before", &json!({"tier": "apps"}), &bad, 15);
    assert!(good.is_ok(), "control: {good:?}");
    let mut policy =
        audit(&estate, "zz", &json!({"namespaceSelector": {"matchLabels": {"no": "where"}}, "otherImages": "Allow"}));
    policy["metadata"]["finalizers"] = json!(["holdfast.dev/enforced"]);
    lab.call_as("erin", "POST", POLICIES, &policy).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    let later = new_namespace_closes(&lab, &estate, "after", &json!({"tier": "apps"}), &bad, 15);
    let news = estate.image("news", estate.signed("news"));
    estate.enforce(&json!({"engines": {"native": {"intake": {"images": [news]}}}}));
    std::thread::sleep(Duration::from_secs(6));
    let listed = estate.try_pod("shop", "news", &news);
    eprintln!("F01 new namespace closes: {}; news admitted: {:?}; {}", later.is_ok(), listed.is_ok(), said(&estate));
    eprintln!(
        "F01 {}",
        later
            .as_ref()
            .err()
            .map(|e| e.chars().rev().take(40).collect::<String>().chars().rev().collect::<String>())
            .unwrap_or_default()
    );
    eprintln!("F01 metric unknown: {:?}", operator.metric("holdfast_policy_enforced_namespaces", &["policy=\"apps\""]));
    lab.patch(&format!("{POLICIES}/zz"), &json!({"metadata": {"finalizers": null}}));
    assert!(later.is_ok(), "a forged finalizer on an audit policy opens new namespaces: {later:?}");
    assert!(listed.is_ok(), "and keeps new releases out");
}

#[test]
fn f02_an_audit_policy_about_canaries_holds_up_nothing() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    swept(&lab);
    let estate = Estate::open(&lab, registry);
    lab.namespace("billing", &json!({"tier": "apps"}));
    let _operator = lab.operator();
    let pause = format!("registry.k8s.io/pause@sha256:{}", "7".repeat(64));
    estate.enforce(&json!({"exemptImages": [{"image": pause, "reason": "node image"}]}));
    let web = estate.signed("web");
    estate.pod("web", &estate.image("web", web));
    estate.until_phase("Enforcing");
    erin(&lab);
    let bad = estate.image("rogue", estate.unsigned("rogue"));
    assert!(estate.would_admit("shop", &pause).is_ok());
    lab.call_as("erin", "POST", POLICIES, &audit(&estate, "zz", &json!({"images": ["holdfast-canary.invalid/**"]})))
        .unwrap();
    std::thread::sleep(Duration::from_secs(4));
    // Stricter: comes into force at once.
    estate.enforce(&json!({}));
    std::thread::sleep(Duration::from_secs(15));
    let still = estate.would_admit("shop", &pause);
    eprintln!("F02 after the exemption was taken away for 15 s: admitted {}; {}", still.is_ok(), said(&estate));
    // A break-glass opens, and is closed early.
    let loosen = json!({"returnToAudit": {"policy": "apps", "namespaces": ["billing"]}});
    let digest = ask(&lab, "alice", "inc", from_now(600), &loosen);
    for who in ["bob", "dora"] {
        break_glass::approve(&lab, who, "inc", digest).unwrap();
    }
    std::thread::sleep(Duration::from_secs(15));
    let opened = estate.would_admit("billing", &bad);
    eprintln!(
        "F02 break-glass approved 15 s ago: open {}; {}",
        opened.is_ok(),
        break_glass::status(&lab, "inc").text()
    );
    remove_namespace(&lab, "billing");
    assert!(still.is_err(), "an audit policy of somebody else keeps a stricter form out of force");
    assert!(opened.is_ok(), "and break-glasses shut");
}

#[test]
fn f03_too_many_patterns_in_audit_hold_up_nothing() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    swept(&lab);
    let estate = Estate::open(&lab, registry);
    let operator = lab.operator();
    estate.enforced();
    erin(&lab);
    let bad = estate.image("rogue", estate.unsigned("rogue"));
    for at in 0..4 {
        let images: Vec<String> =
            (0..128).map(|n| format!("r{at}.example/{}{n}", "abcdefghijklmno/".repeat(29))).collect();
        lab.call_as("erin", "POST", POLICIES, &audit(&estate, &format!("z{at}"), &json!({"images": images}))).unwrap();
    }
    std::thread::sleep(Duration::from_secs(4));
    let later = new_namespace_closes(&lab, &estate, "after", &json!({"tier": "apps"}), &bad, 15);
    let log = operator.said();
    let failed: Vec<&str> = log.lines().filter(|line| line.contains("the pass failed")).collect();
    eprintln!(
        "F03 new namespace closes: {} {}; {}",
        later.is_ok(),
        later
            .as_ref()
            .err()
            .map(|e| e.chars().rev().take(40).collect::<String>().chars().rev().collect::<String>())
            .unwrap_or_default(),
        said(&estate)
    );
    eprintln!(
        "F03 {} failures, last {:?}",
        failed.len(),
        failed.last().map(|line| {
            let c: Vec<char> = line.chars().collect();
            c[c.len().saturating_sub(500)..].iter().collect::<String>()
        })
    );
    assert!(later.is_ok(), "{later:?}");
}

#[test]
fn f04_a_break_glass_that_was_closed_is_not_opened_again_by_its_old_approvals() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    swept(&lab);
    let estate = Estate::open(&lab, registry);
    let _operator = lab.operator();
    estate.enforced();
    let bad = estate.image("rogue", estate.unsigned("rogue"));
    let loosen = json!({"returnToAudit": {"policy": "apps", "namespaces": ["shop"]}});
    let until = from_now(600);
    let digest = ask(&lab, "alice", "inc", until, &loosen);
    for who in ["bob", "dora"] {
        break_glass::approve(&lab, who, "inc", digest).unwrap();
    }
    lab.until("open", |_| estate.would_admit("shop", &bad));
    lab.delete(&path("inc"));
    lab.until("closed", |_| match estate.would_admit("shop", &bad) {
        Err(_) => Ok(()),
        Ok(_) => Err("open".to_owned()),
    });
    // Alice alone makes it anew.
    lab.call_as("alice", "POST", GLASSES, &glass("inc", "alice", until, &loosen)).unwrap();
    std::thread::sleep(Duration::from_secs(6));
    let again = estate.would_admit("shop", &bad);
    eprintln!("F04 reopened: {}; {}", again.is_ok(), break_glass::status(&lab, "inc").text());
    assert!(again.is_err(), "a closed break-glass was opened again by its requester alone");
}

#[test]
fn f05_a_namespace_that_was_seen_out_of_scope_soaks() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    swept(&lab);
    let estate = Estate::open(&lab, registry);
    let _operator = lab.operator();
    estate.enforced();
    estate.enforce(&json!({"enforcement": {"desired": "Enforce", "soak": "1h"}}));
    let bad = estate.image("rogue", estate.unsigned("rogue"));
    estate.until_nothing_is_written();
    let name = format!("old-{}", seconds_now());
    lab.namespace(&name, &json!({}));
    estate.try_pod(&name, "unsigned", &bad).unwrap();
    std::thread::sleep(Duration::from_secs(8));
    lab.namespace(&name, &json!({"tier": "apps"}));
    std::thread::sleep(Duration::from_secs(8));
    let tried = estate.would_admit(&name, &bad);
    eprintln!("F05 labelled in after 8 s: {tried:?}; {}", said(&estate));
    remove_namespace(&lab, &name);
    assert!(tried.is_ok(), "a namespace that was there before, with unsigned pods, was enforced without a soak");
}

#[test]
fn f06_a_new_namespace_of_two_policies_does_not_evade_the_approval_of_claims() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    swept(&lab);
    let estate = Estate::open(&lab, registry);
    let side = format!("side-{}", seconds_now());
    lab.namespace(&side, &json!({"evil": "yes"}));
    let _operator = lab.operator();
    estate.enforced();
    erin(&lab);
    let web = estate.image("web", estate.signed("web"));
    estate.try_pod(&side, "web", &web).unwrap();
    // Erin's policy is about other images, exempts one, and is enforced in a namespace of its own.
    let nginx = format!("docker.io/library/nginx@sha256:{}", "1".repeat(64));
    let mut policy = audit(
        &estate,
        "evil",
        &json!({
            "images": ["docker.io/**", format!("{}/**", estate.host())], "namespaceSelector": {"matchLabels": {"evil": "yes"}},
            "exemptImages": [{"image": nginx, "reason": "mine"}],
            "identities": [{"name": "me", "issuer": "https://evil.example", "subject": "me", "optional": true}, {"name": "ci", "issuer": crate::coverage::shop::ISSUER, "subject": crate::coverage::shop::SUBJECT, "optional": true}],
            "enforcement": {"desired": "Enforce", "soak": "0s"},
        }),
    );
    lab.call_as("erin", "POST", POLICIES, &policy).unwrap();
    lab.until("evil is enforced", |_| {
        let status = estate.policy_status("evil");
        if status.at("/enforcement/phase") == "Enforcing" { Ok(()) } else { Err(status.text()) }
    });
    // Control: where `apps` denies already, it is held.
    estate.denied("shop", &nginx, "no policy of this namespace is about");
    let new = format!("both-{}", seconds_now());
    lab.call_as("erin", "POST", "/api/v1/namespaces", &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": new, "labels": {"tier": "apps", "evil": "yes"}}})).unwrap();
    std::thread::sleep(Duration::from_secs(6));
    let bad = estate.image("rogue", estate.unsigned("rogue"));
    let tried = estate.try_pod(&new, "nginx", &nginx);
    let control = estate.would_admit(&new, &bad);
    eprintln!(
        "F06 nginx in a namespace of both: {:?}; rogue: {control:?}; {}",
        tried.as_ref().map(|_| "admitted"),
        said(&estate)
    );
    eprintln!(
        "F06 evil in {}; held: {}",
        estate.policy_status("evil").at("/enforcement/namespaces"),
        estate.policy_status("evil").message("LooseningHeld")
    );
    remove_namespace(&lab, &new);
    remove_namespace(&lab, &side);
    policy["metadata"]["finalizers"] = json!(null);
    assert!(tried.is_err(), "an image nobody approved passes in a namespace where `apps` denies other images");
}

#[test]
fn f07_an_approval_of_a_selector_lets_only_those_namespaces_go_that_it_spoke_of() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    swept(&lab);
    let estate = Estate::open(&lab, registry);
    let labels = json!({"tier": "apps", "team": "blue"});
    lab.namespace("shop", &labels);
    lab.namespace("billing", &labels);
    let _operator = lab.operator();
    estate.enforced();
    erin(&lab);
    let bad = estate.image("rogue", estate.unsigned("rogue"));
    estate.denied("billing", &bad, "is not verified");
    estate.enforce(&json!({"namespaceSelector": {"matchLabels": labels}}));
    let message = lab.until("held", |_| {
        let status = estate.policy_status("apps");
        if status.message("LooseningHeld").contains("NamespacesNarrowed") {
            Ok(status.message("LooseningHeld").to_owned())
        } else {
            Err(status.text())
        }
    });
    eprintln!("F07 what Bob reads: {message}");
    let at = message.find("sha256:").unwrap();
    let digest = &message[at..at + 71];
    let patched =
        lab.call_as("erin", "PATCH", "/api/v1/namespaces/billing", &json!({"metadata": {"labels": {"team": "red"}}}));
    eprintln!("F07 relabelled: {}", patched.is_ok());
    let approval = json!({
        "apiVersion": "holdfast.dev/v1alpha1", "kind": "TrustApproval", "metadata": {"generateName": "bob-"},
        "spec": {"approver": "bob", "for": {"kind": "SigningIdentityPolicy", "name": "apps", "digest": digest}},
    });
    lab.call_as("bob", "POST", "/apis/holdfast.dev/v1alpha1/trustapprovals", &approval).unwrap();
    std::thread::sleep(Duration::from_secs(10));
    let tried = estate.would_admit("billing", &bad);
    eprintln!("F07 billing after the approval: {:?}; {}", tried.is_ok(), said(&estate));
    remove_namespace(&lab, "billing");
    assert!(tried.is_err(), "billing was let go by an approval that said it would stay");
}

#[test]
fn f08_a_lent_form_ends_without_holdfast() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    swept(&lab);
    let estate = Estate::open(&lab, registry);
    let operator = lab.operator();
    estate.enforced();
    let nginx = format!("docker.io/library/nginx@sha256:{}", "1".repeat(64));
    estate.denied("shop", &nginx, "no policy of this namespace is about");
    estate.enforce(&json!({"exemptImages": [{"image": nginx, "reason": "hotfix"}]}));
    let message = lab.until("held", |_| {
        let status = estate.policy_status("apps");
        if status.is("LooseningHeld") == "True" {
            Ok(status.message("LooseningHeld").to_owned())
        } else {
            Err(status.text())
        }
    });
    let at = message.find("the digest sha256:").unwrap() + "the digest ".len();
    let loosen =
        json!({"allowChange": {"kind": "SigningIdentityPolicy", "name": "apps", "digest": &message[at..at + 71]}});
    lab.guards_are_settled();
    let until = from_now(45);
    let digest = ask(&lab, "alice", "lent", until, &loosen);
    for who in ["bob", "dora"] {
        break_glass::approve(&lab, who, "lent", digest).unwrap();
    }
    lab.until("it is lent", |_| {
        estate.would_admit("shop", &nginx).map_err(|said| {
            format!("{said}\n{}\n{}", break_glass::status(&lab, "lent").text(), estate.policy_status("apps").text())
        })
    });
    operator.stop();
    while crate::courier::now() < until {
        std::thread::sleep(Duration::from_millis(500));
    }
    std::thread::sleep(Duration::from_secs(5));
    let tried = estate.try_pod("shop", "late", &nginx);
    eprintln!("F08 5 s after its end, holdfast down: admitted {}", tried.is_ok());
    assert!(tried.is_err(), "a lent form is still in force after its end while holdfast is down");
}

#[test]
fn f09_labels_are_guarded_by_every_way_of_writing_a_namespace() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    swept(&lab);
    let estate = Estate::open(&lab, registry);
    let _operator = lab.operator();
    estate.enforced();
    erin(&lab);
    let out = json!({"metadata": {"labels": {"tier": null}}});
    lab.until("the labels are guarded", |lab| match lab.call_as("erin", "PATCH", "/api/v1/namespaces/shop", &out) {
        Err(said) if said.contains("something is enforced in this namespace") => Ok(()),
        other => {
            lab.namespace("shop", &json!({"tier": "apps"}));
            Err(format!("{other:?}"))
        }
    });
    let by_status = lab.call_as("erin", "PATCH", "/api/v1/namespaces/shop/status", &out);
    let tier = lab.get("/api/v1/namespaces/shop").unwrap()["metadata"]["labels"]["tier"].clone();
    let mut whole = lab.get("/api/v1/namespaces/shop").unwrap();
    whole["metadata"]["labels"]["tier"] = json!("none");
    let by_finalize = lab.call_as("erin", "PUT", "/api/v1/namespaces/shop/finalize", &whole);
    let tier2 = lab.get("/api/v1/namespaces/shop").unwrap()["metadata"]["labels"]["tier"].clone();
    eprintln!("F09 by status: {:?} -> {tier}; by finalize: {:?} -> {tier2}", by_status.is_ok(), by_finalize.is_ok());
    lab.namespace("shop", &json!({"tier": "apps"}));
    assert!(tier == "apps" && tier2 != "none", "the label was changed by a subresource");
}

#[test]
fn f10_odd_references_and_a_pod_on_its_way_out() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    swept(&lab);
    let estate = Estate::open(&lab, registry);
    let _operator = lab.operator();
    let web = estate.enforced();
    let (host, rogue) = (estate.host().to_owned(), estate.unsigned("rogue"));
    let (good, bad) = (estate.image("web", web), estate.image("rogue", rogue));
    let hex = rogue.hex();
    let (name, port) = host.split_once(':').unwrap();
    let mut admitted = Vec::new();
    for image in [
        format!("{good}\n"),
        format!("{bad}\n{good}"),
        format!("{bad}#@{web}"),
        format!("{host}/apps/rogue%40{web}@sha256:{hex}"),
        format!("{host}/apps%2frogue@sha256:{hex}"),
        format!("{host}/apps/rogu\u{435}@sha256:{hex}"),
        format!("{host}/apps/rogue\u{200b}@sha256:{hex}"),
        format!("{name}.:{port}/apps/rogue@sha256:{hex}"),
        format!("{name}:0{port}/apps/rogue@sha256:{hex}"),
        format!("{name}:00{port}/apps/web@{web}"),
        format!("[::ffff:{name}]:{port}/apps/web@{web}"),
        format!("http://{host}/apps/web@{web}"),
        format!("docker://{host}/apps/web@{web}"),
        format!("{host}/apps/rogue:latest@sha256:{hex}@{web}"),
        format!("{host}/apps/rogue@{web}@sha256:{hex}"),
        format!("{host}/apps/rogue:@{web}"),
        format!("{host}/apps/rogue@sha512:{}{}", hex, hex),
        format!("{host}/apps/rogue@sha256:{}@", hex),
        format!("@{web}"),
        format!("sha256:{}", web.hex()),
        format!("user:pw@{host}/apps/rogue@sha256:{hex}"),
        format!("{host}/APPS/rogue@sha256:{hex}"),
        format!("oci:{host}/apps/rogue@sha256:{hex}"),
        web.hex(),
        format!("k8s.gcr.io/pause@{web}"),
        format!("{host}/apps/web@{web}?x={bad}"),
    ] {
        if estate.would_admit("shop", &image).is_ok() {
            admitted.push(image);
        }
    }
    eprintln!("F10 admitted: {admitted:?}");
    // A pod on its way out, kept by a finalizer.
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "going", "namespace": "shop", "finalizers": ["x.example/stay"]}, "spec": {"containers": [{"name": "main", "image": good}]}});
    lab.call("POST", "/api/v1/namespaces/shop/pods", Some(&pod));
    let _ = lab.try_call("DELETE", "/api/v1/namespaces/shop/pods/going?gracePeriodSeconds=0", None);
    let patch = json!([{"op": "replace", "path": "/spec/containers/0/image", "value": bad}]);
    let _ = patch;
    let changed = lab.call_as(
        "admin",
        "PATCH",
        "/api/v1/namespaces/shop/pods/going",
        &json!({"spec": {"containers": [{"name": "main", "image": bad}]}}),
    );
    let changed2 = lab.try_patch(
        "/api/v1/namespaces/shop/pods/going",
        &json!({"spec": {"containers": [{"name": "main", "image": bad}]}}),
    );
    let there = lab.get("/api/v1/namespaces/shop/pods/going").map(|pod| pod["spec"]["containers"][0]["image"].clone());
    eprintln!("F10 pod on its way out: {:?} {:?} -> {there:?}", changed.is_ok(), changed2.as_ref().map(|_| ()));
    let _ = lab.try_patch("/api/v1/namespaces/shop/pods/going", &json!({"metadata": {"finalizers": null}}));
    assert!(admitted.is_empty());
}

#[test]
fn f11_a_report_of_somebody_else_takes_no_digest_out() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    swept(&lab);
    let estate = Estate::open(&lab, registry);
    let _operator = lab.operator();
    let web = estate.enforced();
    erin(&lab);
    let good = estate.image("web", web);
    assert!(estate.would_admit("shop", &good).is_ok());
    // The very image, elsewhere, without its signature.
    assert_eq!(estate.registry.push_image("nothing/apps/web", "1", b"web"), web);
    let report = json!({
        "apiVersion": "holdfast.dev/v1alpha1", "kind": "BundleCoverageReport", "metadata": {"name": "aaa"},
        "spec": {"interval": "1h", "namespaceSelector": {}, "registries": [{"prefix": estate.host(), "mirror": format!("{}/nothing", estate.host()), "plainHttp": true}]},
    });
    lab.call_as("erin", "POST", "/apis/holdfast.dev/v1alpha1/bundlecoveragereports", &report).unwrap();
    std::thread::sleep(Duration::from_secs(12));
    let tried = estate.would_admit("shop", &good);
    eprintln!(
        "F11 what was verified is admitted: {} {}; {}",
        tried.is_ok(),
        tried.as_ref().err().cloned().unwrap_or_default().chars().take(300).collect::<String>(),
        said(&estate)
    );
    eprintln!(
        "F11 aaa {}",
        lab.get("/apis/holdfast.dev/v1alpha1/bundlecoveragereports/aaa").unwrap()["status"]["byReason"]
    );
    lab.delete("/apis/holdfast.dev/v1alpha1/bundlecoveragereports/aaa");
    assert!(tried.is_ok(), "a report that looks elsewhere took a verified digest out");
}

#[test]
fn f02b_an_audit_policy_about_canaries_elsewhere_holds_up_nothing() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    swept(&lab);
    let estate = Estate::open(&lab, registry);
    let side = format!("side-{}", seconds_now());
    lab.namespace(&side, &json!({"evil": "yes"}));
    let _operator = lab.operator();
    let pause = format!("registry.k8s.io/pause@sha256:{}", "7".repeat(64));
    estate.enforce(&json!({"exemptImages": [{"image": pause, "reason": "node image"}]}));
    let web = estate.signed("web");
    estate.pod("web", &estate.image("web", web));
    estate.until_phase("Enforcing");
    erin(&lab);
    assert!(estate.would_admit("shop", &pause).is_ok());
    lab.call_as(
        "erin",
        "POST",
        POLICIES,
        &audit(
            &estate,
            "zz",
            &json!({"images": ["holdfast-canary.invalid/**"], "namespaceSelector": {"matchLabels": {"evil": "yes"}}}),
        ),
    )
    .unwrap();
    std::thread::sleep(Duration::from_secs(4));
    estate.enforce(&json!({}));
    std::thread::sleep(Duration::from_secs(15));
    let still = estate.would_admit("shop", &pause);
    eprintln!("F02b after the exemption was taken away for 15 s: admitted {}; {}", still.is_ok(), said(&estate));
    remove_namespace(&lab, &side);
    assert!(still.is_err(), "an audit policy of somebody else keeps a stricter form out of force");
}

#[test]
fn f12_a_namespace_that_does_not_end_holds_up_no_break_glass() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    swept(&lab);
    let estate = Estate::open(&lab, registry);
    let stuck = format!("stuck-{}", seconds_now());
    lab.namespace(&stuck, &json!({"only": "me"}));
    lab.apply(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "stays", "namespace": stuck, "finalizers": ["x.example/stay"]}}));
    let operator = lab.operator();
    estate.enforced();
    estate.policy("b", &json!({"namespaceSelector": {"matchLabels": {"only": "me"}}}));
    estate.until_nothing_is_written();
    operator.stop();
    lab.delete(&format!("/api/v1/namespaces/{stuck}"));
    let _operator = lab.operator();
    let bad = estate.image("rogue", estate.unsigned("rogue"));
    let loosen = json!({"returnToAudit": {"policy": "apps", "namespaces": ["shop"]}});
    let digest = ask(&lab, "alice", "inc", from_now(600), &loosen);
    for who in ["bob", "dora"] {
        break_glass::approve(&lab, who, "inc", digest).unwrap();
    }
    std::thread::sleep(Duration::from_secs(20));
    let opened = estate.would_admit("shop", &bad);
    eprintln!("F12 approved 20 s ago: open {}; {}", opened.is_ok(), said(&estate));
    let _ = lab
        .try_patch(&format!("/api/v1/namespaces/{stuck}/configmaps/stays"), &json!({"metadata": {"finalizers": null}}));
    assert!(opened.is_ok(), "a namespace that does not end keeps break-glasses shut");
}

#[test]
fn f14_a_foreign_rule_that_canaries_do_not_meet_holds_up_no_break_glass() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    swept(&lab);
    let estate = Estate::open(&lab, registry);
    let _operator = lab.operator();
    estate.enforced();
    estate.until_nothing_is_written();
    let bad = estate.image("rogue", estate.unsigned("rogue"));
    lab.apply(&json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": {"name": "aaa-team"}, "spec": {
        "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]},
        "validations": [{"expression": "has(object.metadata.labels) && 'team' in object.metadata.labels", "message": "every pod has a team"}],
    }}));
    lab.apply(&json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": "aaa-team"}, "spec": {"policyName": "aaa-team", "validationActions": ["Deny"]}}));
    std::thread::sleep(Duration::from_secs(2));
    let loosen = json!({"returnToAudit": {"policy": "apps", "namespaces": ["shop"]}});
    let digest = ask(&lab, "alice", "inc", from_now(600), &loosen);
    for who in ["bob", "dora"] {
        break_glass::approve(&lab, who, "inc", digest).unwrap();
    }
    std::thread::sleep(Duration::from_secs(15));
    let pod = |name: &str| json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "shop", "labels": {"team": "x"}}, "spec": {"containers": [{"name": "main", "image": bad}]}});
    let opened = lab.try_call("POST", "/api/v1/namespaces/shop/pods?dryRun=All", Some(&pod("tried")));
    eprintln!("F14 approved 15 s ago: open {}; {}", opened.is_ok(), said(&estate));
    // And the next namespace.
    let mut annex = json!(null);
    let name = format!("annex-{}", seconds_now());
    lab.namespace(&name, &json!({"tier": "apps"}));
    std::thread::sleep(Duration::from_secs(8));
    let status = estate.policy_status("apps");
    if let Some(names) = status.at("/enforcement/namespaces").as_array() {
        annex = json!(names);
    }
    eprintln!("F14 annex: {annex} phase {} {}", status.at("/enforcement/phase"), status.message("Degraded"));
    for kind in ["validatingadmissionpolicybindings", "validatingadmissionpolicies"] {
        let _ = lab.try_call("DELETE", &format!("/apis/admissionregistration.k8s.io/v1/{kind}/aaa-team"), None);
    }
    remove_namespace(&lab, &name);
    assert!(opened.is_ok(), "a rule of somebody else keeps break-glasses shut");
}

#[test]
fn f15_a_policy_with_an_odd_secret_holds_up_nothing() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    swept(&lab);
    let estate = Estate::open(&lab, registry);
    let operator = lab.operator();
    estate.enforced();
    erin(&lab);
    let bad = estate.image("rogue", estate.unsigned("rogue"));
    for (at, name) in ["a b"].iter().enumerate() {
        let tried = lab.call_as("erin", "POST", POLICIES, &audit(&estate, &format!("k{at}"), &json!({"namespaceSelector": {"matchLabels": {"no": "where"}}, "identities": [{"name": "k", "key": {"secretRef": {"name": name, "key": "cosign.pub"}}}]})));
        eprintln!(
            "F15 {name:?}: {}",
            tried.map(|_| "made".to_owned()).unwrap_or_else(|e| e.chars().take(160).collect())
        );
    }
    std::thread::sleep(Duration::from_secs(3));
    let later = new_namespace_closes(&lab, &estate, "after", &json!({"tier": "apps"}), &bad, 15);
    let log = operator.said();
    let failed: Vec<&str> = log.lines().filter(|line| line.contains("the pass failed")).collect();
    eprintln!("F15 closes {}; {} failures {:?}", later.is_ok(), failed.len(), failed.last());
    assert!(later.is_ok());
}

#[test]
fn f16_many_namespaces_are_enforced() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    swept(&lab);
    let estate = Estate::open(&lab, registry);
    let operator = lab.operator();
    let mut names = Vec::new();
    for at in 0..1700 {
        let name = format!("{}-{at:04}-{}", "n".repeat(46), seconds_now());
        lab.call("POST", "/api/v1/namespaces", Some(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"tier": "apps"}}})));
        names.push(name);
    }
    let web = estate.signed("web");
    estate.pod("web", &estate.image("web", web));
    estate.enforce(&json!({}));
    std::thread::sleep(Duration::from_secs(25));
    let bad = estate.image("rogue", estate.unsigned("rogue"));
    let tried = estate.would_admit("shop", &bad);
    let log = operator.said();
    let failed: Vec<&str> = log.lines().filter(|line| line.contains("the pass failed")).collect();
    eprintln!(
        "F16 rogue in shop: {:?}; {} failures {:?}",
        tried.is_ok(),
        failed.len(),
        failed.last().map(|line| {
            let c: Vec<char> = line.chars().collect();
            format!(
                "{} … {}",
                c[..300.min(c.len())].iter().collect::<String>(),
                c[c.len().saturating_sub(300)..].iter().collect::<String>()
            )
        })
    );
    let status = estate.policy_status("apps");
    eprintln!(
        "F16 phase {} count {} ready {} {}",
        status.at("/enforcement/phase"),
        status.at("/enforcement/namespaces").as_array().map_or(0, Vec::len),
        status.is("Ready"),
        status.message("Ready")
    );
    drop(operator);
    for name in names {
        let _ = lab.try_call("DELETE", &format!("/api/v1/namespaces/{name}"), None);
    }
    assert!(tried.is_err(), "nothing is denied");
}

#[test]
fn f17_a_break_glass_is_closed_early_whatever_else_is_declared() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    swept(&lab);
    let estate = Estate::open(&lab, registry);
    let side = format!("side-{}", seconds_now());
    lab.namespace(&side, &json!({"evil": "yes"}));
    let _operator = lab.operator();
    estate.enforced();
    erin(&lab);
    let bad = estate.image("rogue", estate.unsigned("rogue"));
    let loosen = json!({"returnToAudit": {"policy": "apps", "namespaces": ["shop"]}});
    let digest = ask(&lab, "alice", "inc", from_now(600), &loosen);
    for who in ["bob", "dora"] {
        break_glass::approve(&lab, who, "inc", digest).unwrap();
    }
    lab.until("open", |_| estate.would_admit("shop", &bad));
    lab.call_as(
        "erin",
        "POST",
        POLICIES,
        &audit(
            &estate,
            "zz",
            &json!({"images": ["holdfast-canary.invalid/**"], "namespaceSelector": {"matchLabels": {"evil": "yes"}}}),
        ),
    )
    .unwrap();
    std::thread::sleep(Duration::from_secs(4));
    lab.delete(&path("inc"));
    std::thread::sleep(Duration::from_secs(20));
    let still = estate.try_pod("shop", "late", &bad);
    eprintln!("F17 20 s after it was closed: open {}; {}", still.is_ok(), said(&estate));
    remove_namespace(&lab, &side);
    assert!(still.is_err(), "a break-glass that was closed is still open");
}

#[test]
fn f18_long_images_in_templates_stop_nothing() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    swept(&lab);
    let estate = Estate::open(&lab, registry);
    let dev = format!("dev-{}", seconds_now());
    lab.namespace(&dev, &json!({"only": "me"}));
    let operator = lab.operator();
    estate.enforced();
    erin(&lab);
    let bad = estate.image("rogue", estate.unsigned("rogue"));
    // Another policy reports in the developer's namespace.
    estate.policy("b", &json!({"namespaceSelector": {"matchLabels": {"only": "me"}}, "otherImages": "Deny"}));
    std::thread::sleep(Duration::from_secs(3));
    let mut state: u64 = 88172645463325252;
    let mut letters = |count: usize| -> String {
        (0..count)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                char::from(b"abcdefghijklmnopqrstuvwxyz0123456789"[(state % 36) as usize])
            })
            .collect()
    };
    for at in 0..8 {
        let image = if at % 2 == 0 {
            format!("{}/apps/{}@sha256:{}", estate.host(), letters(200_000), "1".repeat(64))
        } else {
            format!("elsewhere.example/{}", letters(200_000))
        };
        let made = lab.try_apply(&json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": format!("big-{at}"), "namespace": dev},
            "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "x"}}, "template": {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "main", "image": image}]}}},
        }));
        if let Err(said) = made {
            eprintln!("F18 {at}: {}", said.chars().take(200).collect::<String>());
        }
    }
    std::thread::sleep(Duration::from_secs(3));
    estate.scan_now("again");
    std::thread::sleep(Duration::from_secs(12));
    let later = new_namespace_closes(&lab, &estate, "after", &json!({"tier": "apps"}), &bad, 15);
    let log = operator.said();
    let failed: Vec<&str> =
        log.lines().filter(|line| line.contains("the pass failed") || line.contains("ERROR")).collect();
    eprintln!(
        "F18 closes {}; {} failures {:?}",
        later.is_ok(),
        failed.len(),
        failed.last().map(|line| line.chars().take(500).collect::<String>())
    );
    let b = estate.policy_status("b");
    eprintln!(
        "F18 b: would {} examples {}",
        b.at("/enforcement/wouldHaveDenied"),
        b.at("/enforcement/wouldHaveDeniedExamples").to_string().len()
    );
    for name in ["holdfast-policy-b", "holdfast-policy-apps"] {
        let size =
            lab.get(&crate::lab::config_map_path(crate::chart_support::NAMESPACE, name)).map(|o| o.to_string().len());
        eprintln!("F18 {name}: {size:?} bytes");
    }
    let _ = lab.try_call("DELETE", &format!("/apis/apps/v1/namespaces/{dev}/deployments"), None);
    remove_namespace(&lab, &dev);
    assert!(later.is_ok());
}

#[test]
fn f19_memory_that_somebody_planted_is_not_believed() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    swept(&lab);
    let nginx = format!("docker.io/library/nginx@sha256:{}", "1".repeat(64));
    // Mallory's own cluster: her policy is enforced there by all the rules.
    let (planted, spec) = {
        let estate = Estate::open(&lab, registry);
        let operator = lab.operator();
        let web = estate.signed("web");
        estate.pod("web", &estate.image("web", web));
        let policy = audit(
            &estate,
            "fresh",
            &json!({
                "exemptImages": [{"image": nginx, "reason": "mine"}], "images": ["docker.io/**", format!("{}/**", estate.host())],
                "enforcement": {"desired": "Enforce", "soak": "0s"},
            }),
        );
        lab.apply(&policy);
        lab.until("fresh is enforced", |_| {
            let status = estate.policy_status("fresh");
            if status.at("/enforcement/phase") == "Enforcing" { Ok(()) } else { Err(status.text()) }
        });
        estate.until_nothing_is_written();
        operator.stop();
        let planted = ["holdfast-policy-fresh", "holdfast-enforced-fresh"].map(|name| {
            let found = lab.get(&crate::lab::config_map_path(crate::chart_support::NAMESPACE, name)).unwrap();
            let mut object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": crate::chart_support::NAMESPACE}});
            for part in ["data", "binaryData"] {
                if !found[part].is_null() { object[part] = found[part].clone(); }
            }
            object
        });
        (planted, policy)
    };
    lab.clear();
    // Another cluster, in which `apps` denies other images.
    let estate = Estate::open(&lab, Registry::plain(true).unwrap());
    let _operator = lab.operator();
    estate.enforced();
    erin(&lab);
    estate.denied("shop", &nginx, "no policy of this namespace is about");
    lab.apply(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "makes-config-maps", "namespace": crate::chart_support::NAMESPACE},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]}],
    }));
    lab.apply(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "makes-config-maps", "namespace": crate::chart_support::NAMESPACE},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "makes-config-maps"},
        "subjects": [{"kind": "User", "name": "erin", "apiGroup": "rbac.authorization.k8s.io"}],
    }));
    let maps = format!("/api/v1/namespaces/{}/configmaps", crate::chart_support::NAMESPACE);
    for object in &planted {
        lab.until("erin plants it", |lab| lab.call_as("erin", "POST", &maps, object));
    }
    lab.call_as("erin", "POST", POLICIES, &spec).unwrap();
    std::thread::sleep(Duration::from_secs(8));
    let tried = estate.try_pod("shop", "nginx", &nginx);
    let fresh = estate.policy_status("fresh");
    eprintln!(
        "F19 nginx: {}; fresh {} in {} degraded {} {}",
        tried.is_ok(),
        fresh.at("/enforcement/phase"),
        fresh.at("/enforcement/namespaces"),
        fresh.is("Degraded"),
        fresh.message("Degraded")
    );
    eprintln!("F19 {}", said(&estate));
    assert!(tried.is_err(), "planted memory was believed, and an image passes that nobody approved");
}
