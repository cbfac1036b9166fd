//! Changes that would admit more.

use serde_json::{Value, json};

use super::estate::Estate;
use crate::break_glass::{self, ask, from_now};
use crate::courier::{Courier, ask_now};
use crate::coverage::trust::asks_nobody;
use crate::lab::Lab;
use crate::proxy::Fate;
use crate::registry_support::Registry;

const APPS: &str = "/apis/holdfast.dev/v1alpha1/signingidentitypolicies/apps";

/// The digest that a held change asks for.
fn asked_for(message: &str) -> String {
    let at = message.find("sha256:").unwrap_or_else(|| panic!("no digest in: {message}"));
    message[at..at + 71].to_owned()
}

fn held(estate: &Estate<'_>, kind: &str) -> String {
    estate.lab.until(&format!("it is held for {kind}"), |_| {
        let status = estate.policy_status("apps");
        if status.is("LooseningHeld") == "True" && status.message("LooseningHeld").contains(kind) {
            Ok(status.message("LooseningHeld").to_owned())
        } else {
            Err(status.text())
        }
    })
}

fn approve(lab: &Lab, who: &str, kind: &str, name: &str, digest: &str) -> Result<Value, String> {
    let approval = json!({
        "apiVersion": "holdfast.dev/v1alpha1", "kind": "TrustApproval", "metadata": {"generateName": format!("{who}-")},
        "spec": {"approver": who, "for": {"kind": kind, "name": name, "digest": digest}},
    });
    lab.call_as(who, "POST", "/apis/holdfast.dev/v1alpha1/trustapprovals", &approval)
}

#[test]
fn what_admits_more_waits_until_somebody_approves_its_digest() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let estate = Estate::open(&lab, registry);
    let _operator = lab.operator();
    estate.enforced();
    let other = estate.unsigned("other");
    estate.sign("other", other, "https://ci.example/other");
    let other = estate.image("other", other);
    estate.denied("shop", &other, "is not verified");

    let both = json!([
        {"name": "ci", "issuer": crate::coverage::shop::ISSUER, "subject": crate::coverage::shop::SUBJECT},
        {"name": "other", "issuer": crate::coverage::shop::ISSUER, "subject": "https://ci.example/other", "optional": true},
    ]);
    let wider = json!({"identities": both, "engines": {"native": {"intake": {"images": [other]}}}});
    estate.enforce(&wider);
    let message = held(&estate, "IdentityWidened");
    std::thread::sleep(std::time::Duration::from_secs(2));
    estate.denied("shop", &other, "is not verified");
    let digest = asked_for(&message);
    // Who may not approve, and a digest that is another one's, change nothing.
    assert!(approve(&lab, "mallory", "SigningIdentityPolicy", "apps", &digest).is_err());
    approve(&lab, "bob", "SigningIdentityPolicy", "apps", &format!("sha256:{}", "0".repeat(64))).unwrap();
    std::thread::sleep(std::time::Duration::from_secs(2));
    estate.denied("shop", &other, "is not verified");
    approve(&lab, "bob", "SigningIdentityPolicy", "apps", &digest).unwrap();
    lab.until("it is in force", |_| {
        let tried = estate.try_pod("shop", "other", &other);
        tried.map_err(|said| format!("{said}\n{}", estate.policy_status("apps").text()))
    });
    lab.until("nothing waits any more", |_| {
        let status = estate.policy_status("apps");
        if status.condition("LooseningHeld").is_none() { Ok(()) } else { Err(status.text()) }
    });
}

/// Two people agree to the deletion of the policy; it goes.
fn two_agree(lab: &Lab, digest: &str) {
    let change = json!({"allowChange": {"kind": "SigningIdentityPolicy", "name": "apps", "digest": digest}});
    let glass = ask(lab, "alice", "bye", from_now(600), &change);
    for who in ["bob", "dora"] {
        break_glass::approve(lab, who, "bye", glass).unwrap();
    }
    lab.until("the policy goes", |lab| match lab.get(APPS) {
        None => Ok(()),
        Some(policy) => Err(policy["status"].to_string()),
    });
}

/// The enforced policy is deleted, and two people agree.
pub(crate) fn deleted(lab: &Lab, estate: &Estate<'_>) {
    lab.delete(APPS);
    let digest = asked_for(&held(estate, "PolicyDeleted"));
    two_agree(lab, &digest);
}

#[test]
fn an_enforced_policy_that_is_deleted_stays_until_two_people_agreed() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let estate = Estate::open(&lab, registry);
    let operator = lab.operator();
    estate.enforced();
    let bad = estate.image("rogue", estate.unsigned("rogue"));
    lab.delete(APPS);
    let digest = asked_for(&held(&estate, "PolicyDeleted"));
    estate.denied("shop", &bad, "is not verified");
    // One person's approval is not enough for that.
    approve(&lab, "bob", "SigningIdentityPolicy", "apps", &digest).unwrap();
    std::thread::sleep(std::time::Duration::from_secs(2));
    estate.denied("shop", &bad, "is not verified");
    operator.until_metric("holdfast_policy_held_changes", &["policy=\"apps\""], |held| held == Some(1.0));

    two_agree(&lab, &digest);
    lab.until("nothing is denied any more", |_| estate.try_pod("shop", "rogue", &bad));
    let left = lab.call("GET", "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings?labelSelector=holdfast.dev/policy=apps", None);
    assert_eq!(left["items"].as_array().map(Vec::len), Some(0));
}

/// Somebody takes its finalizer while what denies by it is still being taken away.
#[test]
fn one_that_is_let_go_and_gone_at_once_holds_up_nothing() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let estate = Estate::open(&lab, registry);
    let mut operator = lab.operator_with(&["--leader-elect=false"]);
    estate.enforced();
    let bad = estate.image("rogue", estate.unsigned("rogue"));
    estate.enforce(&json!({"namespaceSelector": {"matchLabels": {"tier": "nobody"}}}));
    let digest = asked_for(&held(&estate, "NamespacesNarrowed"));
    estate.until_nothing_is_written();
    lab.proxy()
        .on_nth(0, Fate::Hold, |asked| asked.is_write() && asked.path.contains("/validatingadmissionpolicybindings"));
    approve(&lab, "bob", "SigningIdentityPolicy", "apps", &digest).unwrap();
    lab.until("the write is on its way", |lab| if lab.proxy().met() >= 1 { Ok(()) } else { Err(operator.said()) });
    lab.patch(APPS, &json!({"metadata": {"finalizers": null}}));
    lab.delete(APPS);
    operator.signal("-KILL");
    operator.ended(std::time::Duration::from_secs(5));
    lab.proxy().reset();
    estate.denied("shop", &bad, "is not verified");
    let _operator = lab.operator_with(&["--leader-elect=false"]);
    lab.until("nothing of it is left", |lab| {
        let left = lab.call("GET", "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings?labelSelector=holdfast.dev/policy=apps", None);
        let left = left["items"].as_array().map_or(0, Vec::len);
        if left == 0 { Ok(()) } else { Err(format!("{left} bindings")) }
    });
    lab.until("nothing is denied any more", |_| estate.would_admit("shop", &bad));
}

#[test]
fn a_namespace_stays_enforced_whatever_its_labels_say() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let estate = Estate::open(&lab, registry);
    let _operator = lab.operator();
    estate.enforced();
    let bad = estate.image("rogue", estate.unsigned("rogue"));
    lab.apply(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "edits-namespaces"},
        "rules": [{"apiGroups": [""], "resources": ["namespaces"], "verbs": ["patch"]}],
    }));
    crate::attacks::may(&lab, "erin", "edits-namespaces");
    let out = json!({"metadata": {"labels": {"tier": null}}});
    lab.until("the labels are guarded", |lab| match lab.call_as("erin", "PATCH", "/api/v1/namespaces/shop", &out) {
        Err(said) if said.contains("something is enforced in this namespace") => Ok(()),
        other => {
            lab.namespace("shop", &json!({"tier": "apps"}));
            Err(format!("{other:?}"))
        }
    });
    // Who may approve every policy may change them, and what is enforced stays so.
    lab.patch("/api/v1/namespaces/shop", &out);
    held(&estate, "NamespaceLeft");
    estate.denied("shop", &bad, "is not verified");
    lab.namespace("shop", &json!({"tier": "apps"}));
    // One that is made, and carries the label from its start, is enforced from its start.
    lab.namespace("annex", &json!({"tier": "apps"}));
    lab.until("the new namespace is enforced", |_| match estate.try_pod("annex", "rogue", &bad) {
        Err(said) if said.contains("is not verified") => Ok(()),
        Err(said) => Err(said),
        Ok(_) => {
            let _ = lab.try_call("DELETE", "/api/v1/namespaces/annex/pods/rogue?gracePeriodSeconds=0", None);
            Err("it was admitted".to_owned())
        }
    });
    lab.namespace("annex", &json!({}));
}

/// Nothing in force accepts the trust, so nothing can stop verifying by it.
#[test]
fn trust_that_only_a_held_change_would_accept_rotates_by_itself() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let estate = Estate::open(&lab, registry);
    let _operator = lab.operator();
    estate.enforced();
    let mut courier = Courier::new("second");
    courier.deliver(&lab);
    lab.apply(&asks_nobody(&courier, "second"));
    estate.enforce(&json!({"trustRoots": ["corp", "second"]}));
    held(&estate, "TrustRootAdded");
    let rotated = courier.rotate();
    courier.deliver(&lab);
    ask_now(&lab, "second");
    lab.until("it comes into force", |lab| {
        let status = lab.status("second");
        if status.at("/adopted/digest") == &json!(rotated) { Ok(()) } else { Err(status.text()) }
    });
    held(&estate, "TrustRootAdded");
}
