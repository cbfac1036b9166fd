//! An operator that is killed between any two writes of a promotion, and one that goes on after it; and two that lead in turn.

use std::time::Duration;

use serde_json::{Value, json};

use super::estate::Estate;
use crate::break_glass::{approve, ask, from_now};
use crate::chart_support::NAMESPACE;
use crate::coverage::shop::{ISSUER, SUBJECT};
use crate::lab::{Lab, config_map_path};
use crate::proxy::{Asked, Fate};
use crate::registry_support::Registry;

/// From where on a policy comes to be enforced.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Comes {
    /// It reports, and nothing is written any more.
    Calm,
    /// It reports, and every check holds.
    Reporting,
    /// It is declared, and nothing of it was ever written.
    New,
}

/// A write at which the operator is killed: of those that have this in their method and path, the one after as many others. It is held before it reaches the
/// API server, or after it did.
struct Cut {
    step: &'static str,
    part: &'static str,
    after: usize,
    fate: Fate,
    comes: Comes,
}

const fn first(step: &'static str, part: &'static str, fate: Fate) -> Cut {
    Cut { step, part, after: 0, fate, comes: Comes::Calm }
}

const fn nth(step: &'static str, part: &'static str, after: usize) -> Cut {
    Cut { step, part, after, fate: Fate::Hold, comes: Comes::Reporting }
}

const fn new(step: &'static str, part: &'static str, fate: Fate) -> Cut {
    Cut { step, part, after: 0, fate, comes: Comes::New }
}

/// The writes of a promotion, in their order.
const STEPS: [Cut; 10] = [
    first("the journal", "holdfast-policy-", Fate::Hold),
    first("the journal", "holdfast-policy-", Fate::HoldAnswer),
    first("what is enforced", "/configmaps", Fate::Hold),
    first("the finalizer", "/signingidentitypolicies/", Fate::HoldAnswer),
    first("a rule", "/validatingadmissionpolicies", Fate::Hold),
    first("a rule", "/validatingadmissionpolicies", Fate::HoldAnswer),
    first("a binding", "/validatingadmissionpolicybindings", Fate::Hold),
    first("a binding", "/validatingadmissionpolicybindings", Fate::HoldAnswer),
    first("what nothing refers to", "DELETE", Fate::Hold),
    first("the status", "/status", Fate::HoldAnswer),
];

/// Those between them, and those of what is verified. The first promotion of all makes a rule over the form of images and a guard, too.
const BETWEEN: [Cut; 8] = [
    nth("the third binding of four", "POST /apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings", 2),
    nth("the second rule", "POST /apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies", 1),
    nth(
        "the second binding",
        "PUT /apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/holdfast-form-enforce",
        0,
    ),
    nth("the third binding", "POST /apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings", 1),
    nth(
        "the guard over labels",
        "PUT /apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/holdfast-guard-scope",
        0,
    ),
    new("what is verified", "/configmaps/holdfast-verified", Fate::Hold),
    new("what is verified", "/configmaps/holdfast-verified", Fate::HoldAnswer),
    new("the list", "/verifiedimages", Fate::HoldAnswer),
];

pub(super) fn records(lab: &Lab, policy: &str) -> Vec<Value> {
    let journal =
        lab.get(&config_map_path(NAMESPACE, &format!("holdfast-policy-{policy}"))).expect("there is a journal");
    let document: Value = serde_json::from_str(journal["data"]["document.json"].as_str().unwrap()).unwrap();
    document["gate"]["history"].as_array().unwrap().clone()
}

fn phase(estate: &Estate<'_>, policy: &str, phase: &str) {
    estate.lab.until(&format!("{policy} is in the phase {phase}"), |_| {
        let status = estate.policy_status(policy);
        if status.at("/enforcement/phase") == phase { Ok(()) } else { Err(status.text()) }
    });
}

#[test]
fn a_promotion_that_is_cut_off_anywhere_comes_to_its_end_once() {
    each_comes_to_its_end_once("cut", STEPS);
}

#[test]
fn a_promotion_that_is_cut_off_between_two_rules_or_bindings_comes_to_its_end_once() {
    each_comes_to_its_end_once("between", BETWEEN);
}

fn each_comes_to_its_end_once(name: &str, cuts: impl IntoIterator<Item = Cut>) {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let estate = Estate::open(&lab, registry);
    lab.delete("/apis/holdfast.dev/v1alpha1/signingidentitypolicies/apps");
    let (web, rogue) = (estate.signed("web"), estate.unsigned("rogue"));
    let (good, bad) = (estate.image("web", web), estate.image("rogue", rogue));
    for (at, Cut { step, part, after, fate, comes }) in cuts.into_iter().enumerate() {
        let (policy, namespace) = (format!("{name}-{at}"), format!("{name}-{at}"));
        let place = format!("{at}: {step}, {fate:?}");
        lab.namespace(&namespace, &json!({"cut": policy}));
        lab.until("there is a pod", |_| estate.try_pod(&namespace, "web", &good).map(drop));
        let spec = |desired: &str| {
            json!({
                "otherImages": "Deny", "namespaceSelector": {"matchLabels": {"cut": policy}},
                "enforcement": {"desired": desired, "soak": "0s"},
            })
        };
        let start = || lab.operator_with(&["--leader-elect=false"]);
        let reporting = (comes != Comes::New).then(|| {
            estate.policy(&policy, &spec("Audit"));
            let operator = start();
            lab.until("every check holds", |_| {
                let status = estate.policy_status(&policy);
                let checks = status.at("/enforcement/checks").as_array().cloned().unwrap_or_default();
                let hold = checks.len() > 10 && checks.iter().all(|check| check["passed"] == true);
                if hold { Ok(()) } else { Err(status.text()) }
            });
            operator
        });
        if comes == Comes::Calm {
            estate.until_nothing_is_written();
        }
        let means = move |asked: &Asked| asked.is_write() && format!("{} {}", asked.method, asked.path).contains(part);
        lab.proxy().on_nth(after, fate, means);
        estate.policy(&policy, &spec("Enforce"));
        let mut operator = reporting.unwrap_or_else(start);
        lab.until(&format!("{place}: the write is on its way"), |lab| {
            if lab.proxy().met() >= 1 { Ok(()) } else { Err(operator.said()) }
        });
        std::thread::sleep(Duration::from_millis(100));
        operator.signal("-KILL");
        operator.ended(Duration::from_secs(5));
        let was_denied = estate.would_admit(&namespace, &bad).is_err();
        let operator = start();
        // What was on its way arrives late, or never.
        lab.proxy().release();
        if was_denied {
            assert!(estate.would_admit(&namespace, &bad).is_err(), "{place}: it was denied before");
        }
        phase(&estate, &policy, "Enforcing");
        estate.denied(&namespace, &bad, "is not verified");
        assert!(estate.try_pod(&namespace, "good", &good).is_ok(), "{place}");
        lab.until(&format!("{place}: its labels are guarded"), |lab| {
            let guard = |kind: &str| {
                lab.get(&format!(
                    "/apis/admissionregistration.k8s.io/v1/validatingadmission{kind}/holdfast-guard-scope"
                ))
            };
            let (rule, binding) = guard("policies").zip(guard("policybindings")).ok_or("there is no guard")?;
            let said = format!("{}{}", rule["spec"], binding["spec"]);
            if said.contains(&namespace) { Ok(()) } else { Err(said) }
        });
        let records = records(&lab, &policy);
        let promoted = records.iter().filter(|record| record["event"] == "promoted").count();
        assert_eq!(promoted, 1, "{place}: {records:?}");
        assert!(!records.iter().any(|record| record["event"] == "recovered"), "{place}: nothing was lost: {records:?}");
        operator.stop();
        lab.proxy().reset();
    }
}

/// The writes in which one that leads is frozen.
const STALE: [(&str, &str); 3] = [
    ("what is verified", "/verifiedimages"),
    ("the journal", "/configmaps/holdfast-policy-apps"),
    ("a binding", "/validatingadmissionpolicybindings"),
];

#[test]
fn who_led_before_writes_over_nothing() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let estate = Estate::open(&lab, registry);
    let mut old = lab.operator();
    let web = estate.image("web", estate.enforced());
    let bad = estate.image("rogue", estate.unsigned("rogue"));
    for (at, (step, part)) in STALE.into_iter().enumerate() {
        estate.until_nothing_is_written();
        lab.proxy().reset();
        // The one that leads is frozen in the middle of a change; the other one takes over and goes on.
        let means = move |asked: &Asked| asked.is_write() && asked.path.contains(part);
        lab.proxy().on_nth(0, Fate::Hold, means);
        let (name, namespace) = (format!("api-{at}"), format!("stale-{at}"));
        let api = estate.image(&name, estate.signed(&name));
        lab.namespace(&namespace, &json!({"tier": "apps"}));
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "shop"},
            "spec": {
                "replicas": 0, "selector": {"matchLabels": {"app": name}},
                "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "main", "image": api}]}},
            },
        });
        lab.apply(&deployment);
        lab.until(&format!("{step}: the write is on its way"), |lab| {
            if lab.proxy().met() >= 1 { Ok(()) } else { Err(old.said()) }
        });
        old.signal("-STOP");
        let next = lab.start_operator(&[], &[]);
        lab.until("the other one goes on", |_| estate.try_pod("shop", &name, &api).map(drop));
        estate.until_denied(&namespace, &bad);
        estate.until_nothing_is_written();
        let held = || lab.proxy().asked().into_iter().find(means).unwrap();
        let before = lab.get(&held().path).unwrap();
        // What was held arrives now: what it was to be written over is another one by then, and it is refused.
        lab.proxy().release();
        let status =
            lab.until(&format!("{step}: it is answered"), |_| held().status.ok_or_else(|| "not yet".to_owned()));
        assert_eq!(status, 409, "{step}: the stale write is refused: {:?}", held());
        old.signal("-CONT");
        let (code, _) = old.ended(Duration::from_secs(10));
        assert_eq!(code, Some(3), "{step}: who lost its leadership ends");
        assert_eq!(lab.get(&held().path).unwrap(), before, "{step}");
        assert!(estate.try_pod("shop", &format!("web-{at}"), &web).is_ok(), "{step}");
        estate.denied("shop", &bad, "is not verified");
        lab.namespace(&namespace, &json!({}));
        old = next;
    }
}

/// A tightening takes out what no longer passes, also where the process dies after it announced that and before it did it.
#[test]
fn what_a_looser_form_had_verified_does_not_outlive_a_crash() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let estate = Estate::open(&lab, registry);
    let both = json!({"identities": [
        {"name": "ci", "issuer": ISSUER, "subject": SUBJECT},
        {"name": "other", "issuer": ISSUER, "subject": "https://ci.example/other", "optional": true},
    ]});
    let mut operator = lab.operator_with(&["--leader-elect=false"]);
    let (web, old) = (estate.signed("web"), estate.unsigned("old"));
    estate.sign("old", old, "https://ci.example/other");
    let (web, old) = (estate.image("web", web), estate.image("old", old));
    estate.pod("web", &web);
    estate.pod("old", &old);
    estate.enforce(&both);
    estate.until_phase("Enforcing");
    // Nothing runs it any more; it stays verified, for whoever wants to go back to it.
    lab.delete("/api/v1/namespaces/shop/pods/old?gracePeriodSeconds=0");
    estate.scan_now("gone");
    estate.until_nothing_is_written();
    assert!(estate.would_admit("shop", &old).is_ok());
    lab.proxy().on_nth(0, Fate::Hold, |asked| asked.is_write() && asked.path.contains("verifiedimages"));
    estate.enforce(&json!({}));
    lab.until("the write is on its way", |lab| if lab.proxy().met() >= 1 { Ok(()) } else { Err(operator.said()) });
    operator.signal("-KILL");
    operator.ended(Duration::from_secs(5));
    // It never arrives.
    let _operator = lab.operator_with(&["--leader-elect=false"]);
    lab.until("what a looser form had verified is denied", |_| match estate.would_admit("shop", &old) {
        Err(said) if said.contains("is not verified for the policy `apps`") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    assert!(estate.would_admit("shop", &web).is_ok());
}

/// The writes by which a break-glass opens and is reverted.
const REVERTS: [(&str, &str, Fate); 6] = [
    ("the journal", "holdfast-policy-", Fate::Hold),
    ("the journal", "holdfast-policy-", Fate::HoldAnswer),
    ("a rule", "/validatingadmissionpolicies", Fate::Hold),
    ("a rule", "/validatingadmissionpolicies", Fate::HoldAnswer),
    ("the status", "/signingidentitypolicies/apps/status", Fate::Hold),
    ("the status of the break-glass", "/trustbreakglasses/", Fate::Hold),
];

#[test]
fn a_way_back_that_is_cut_off_anywhere_ends_at_its_end() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let estate = Estate::open(&lab, registry);
    let mut operator = lab.operator_with(&["--leader-elect=false"]);
    let web = estate.enforced();
    let (good, bad) = (estate.image("web", web), estate.image("rogue", estate.unsigned("rogue")));
    let rule = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/holdfast-enforce-apps";
    estate.until_nothing_is_written();
    let before = lab.get(rule).unwrap()["spec"].clone();
    for (at, (step, part, fate)) in REVERTS.into_iter().enumerate() {
        let (place, name) = (format!("{at}: {step}, {fate:?}"), format!("inc-{at}"));
        let end = from_now(25);
        let loosen = json!({"returnToAudit": {"policy": "apps", "namespaces": ["shop"]}});
        let digest = ask(&lab, "alice", &name, end, &loosen);
        for who in ["bob", "dora"] {
            approve(&lab, who, &name, digest).unwrap();
        }
        lab.until("it is open", |_| estate.would_admit("shop", &bad));
        estate.until_nothing_is_written();
        lab.proxy().reset();
        let means = move |asked: &Asked| asked.is_write() && format!("{} {}", asked.method, asked.path).contains(part);
        lab.proxy().on_nth(0, fate, means);
        lab.within(Duration::from_secs(40), &format!("{place}: the write is on its way"), |lab| {
            if lab.proxy().met() >= 1 { Ok(()) } else { Err(operator.said()) }
        });
        std::thread::sleep(Duration::from_millis(100));
        operator.signal("-KILL");
        operator.ended(Duration::from_secs(5));
        assert!(crate::courier::now() >= end, "{place}: nothing is reverted before its end");
        lab.proxy().reset();
        // Nobody is there, and it is over all the same.
        lab.within(Duration::from_secs(10), &format!("{place}: it is denied"), |_| {
            match estate.would_admit("shop", &bad) {
                Err(said) if said.contains("is not verified") => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
        operator = lab.operator_with(&["--leader-elect=false"]);
        lab.until(&format!("{place}: the rule is what it was"), |lab| {
            let now = lab.get(rule).ok_or("it is gone")?["spec"].clone();
            if now == before { Ok(()) } else { Err(now["matchConditions"].to_string()) }
        });
        crate::break_glass::until(&lab, &name, "Expired", "Ended");
        estate.denied("shop", &bad, "is not verified");
        assert!(estate.would_admit("shop", &good).is_ok(), "{place}");
        let closed = records(&lab, "apps").iter().filter(|record| record.to_string().contains(&name)).count();
        assert!(closed >= 2, "{place}: the history has its beginning and its end: {:?}", records(&lab, "apps"));
        lab.delete(&crate::break_glass::path(&name));
    }
}

#[test]
fn an_api_server_that_restarts_in_the_flip_lets_nothing_in() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let estate = Estate::open(&lab, registry);
    let operator = lab.operator_with(&["--lease-duration", "120s"]);
    let (web, rogue) = (estate.signed("web"), estate.unsigned("rogue"));
    let (good, bad) = (estate.image("web", web), estate.image("rogue", rogue));
    estate.pod("web", &good);
    for (at, part) in ["/validatingadmissionpolicies", "/validatingadmissionpolicybindings"].into_iter().enumerate() {
        let (policy, namespace) = (format!("flip-{at}"), format!("flip-{at}"));
        lab.namespace(&namespace, &json!({"flip": policy}));
        lab.until("there is a pod", |_| estate.try_pod(&namespace, "web", &good).map(drop));
        lab.proxy().on_nth(0, Fate::HoldAnswer, move |asked| {
            asked.is_write() && asked.path.contains(part) && asked.path.contains("enforce")
        });
        lab.proxy().on_nth(0, Fate::HoldAnswer, move |asked| asked.method == "POST" && asked.path.ends_with(part));
        estate.policy(
            &policy,
            &json!({
                "otherImages": "Deny", "namespaceSelector": {"matchLabels": {"flip": policy}},
                "enforcement": {"desired": "Enforce", "soak": "0s"},
            }),
        );
        lab.until("the write was made", |lab| if lab.proxy().met() >= 1 { Ok(()) } else { Err(operator.said()) });
        lab.cluster("stop", "kube-apiserver");
        lab.proxy().reset();
        lab.cluster("start", "kube-apiserver");
        lab.within(Duration::from_secs(60), "the policy comes to be enforced", |lab| {
            let object =
                lab.try_call("GET", &format!("/apis/holdfast.dev/v1alpha1/signingidentitypolicies/{policy}"), None)?;
            let phase = &object["status"]["enforcement"]["phase"];
            if phase == "Enforcing" { Ok(()) } else { Err(object["status"].to_string()) }
        });
        estate.denied(&namespace, &bad, "is not verified");
        lab.until("what is verified comes in", |_| estate.would_admit(&namespace, &good));
        // Again, now that it denies: from its first answer on it lets nothing in.
        lab.cluster("stop", "kube-apiserver");
        lab.cluster("start", "kube-apiserver");
        let until = std::time::Instant::now() + Duration::from_secs(5);
        while std::time::Instant::now() < until {
            let tried = estate.try_pod(&namespace, "rogue", &bad);
            assert!(tried.is_err(), "{tried:?}");
        }
        lab.within(Duration::from_secs(45), "what is verified comes in", |_| estate.would_admit(&namespace, &good));
        let promoted = records(&lab, &policy).iter().filter(|record| record["event"] == "promoted").count();
        assert_eq!(promoted, 1);
    }
}
