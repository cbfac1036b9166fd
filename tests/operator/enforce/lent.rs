//! Whatever would admit more is held by its name; what is lent comes back; and nothing is promoted meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_core::Digest;
use holdfast_testpki::Recipe;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::estate::Estate;
use crate::break_glass::{self, approve, ask, from_now};
use crate::chart_support::NAMESPACE;
use crate::courier::now;
use crate::coverage::shop::{ISSUER, SUBJECT};
use crate::lab::{Lab, Status, config_map_path};
use crate::registry_support::Registry;

const RULES: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies?labelSelector=app.kubernetes.io/managed-by=holdfast";
const PROVENANCE: &str = "https://slsa.dev/provenance/v1";

/// What is written down as enforced.
fn enforced(lab: &Lab) -> Value {
    lab.get(&config_map_path(NAMESPACE, "holdfast-enforced-apps")).expect("something is enforced")["data"].clone()
}

/// Every rule that holdfast made, by its name.
fn rules(lab: &Lab) -> BTreeMap<String, Value> {
    let all = lab.call("GET", RULES, None);
    let rules = all["items"].as_array().unwrap().iter();
    rules.map(|rule| (rule["metadata"]["name"].as_str().unwrap().to_owned(), rule["spec"].clone())).collect()
}

fn held(estate: &Estate<'_>, field: &str, kind: &str) -> String {
    let words = [format!("`{field}`"), format!("({kind})")];
    estate.lab.until(&format!("`{field}` is held for {kind}"), |_| {
        let status = estate.policy_status("apps");
        let message = status.message("LooseningHeld");
        let is_it = status.is("LooseningHeld") == "True" && words.iter().all(|words| message.contains(words));
        if is_it { Ok(message.to_owned()) } else { Err(status.text()) }
    })
}

fn nothing_waits(estate: &Estate<'_>) {
    estate.lab.until("nothing waits any more", |_| {
        let status = estate.policy_status("apps");
        if status.condition("LooseningHeld").is_none() { Ok(()) } else { Err(status.text()) }
    });
}

/// Asserts something from now on until shortly before an end.
fn always_until(end: Timestamp, holds: impl Fn()) {
    let last = end - SignedDuration::from_secs(2);
    assert!(now() < last, "there is time to look");
    while now() < last {
        holds();
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn failing(status: &Status) -> Vec<&str> {
    let checks = status.at("/enforcement/checks").as_array().into_iter().flatten();
    checks.filter(|check| check["passed"] == false).map(|check| check["name"].as_str().unwrap()).collect()
}

fn attest(estate: &Estate<'_>, name: &str, image: Digest) {
    let repository = format!("apps/{name}");
    let manifest = estate.registry.manifest(&repository, &image.to_string()).unwrap();
    let recipe = Recipe { predicate: Some(PROVENANCE.to_owned()), ..Recipe::image(SUBJECT, ISSUER) };
    let bundle = estate.sigstore.bundle(&manifest, &recipe).to_string();
    estate.registry.attach(&repository, image, bundle.as_bytes(), PROVENANCE);
}

#[test]
fn every_loosening_of_what_is_enforced_is_held_by_its_name() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let estate = Estate::open(&lab, registry);
    let _operator = lab.operator();
    let web = estate.signed("web");
    attest(&estate, "web", web);
    let (web, rogue) = (estate.image("web", web), estate.image("rogue", estate.unsigned("rogue")));
    let stranger = format!("docker.io/library/nginx@sha256:{}", "1".repeat(64));
    let canary = json!({"name": "canary", "namespaceSelector": {"matchLabels": {"tier": "apps"}}});
    let rollout = |desired: &str, waves: &[&Value]| json!({"desired": desired, "soak": "0s", "waves": waves});
    let require = |but: &str| {
        let mut all =
            json!({"transparencyLog": true, "signedTimestamp": true, "sct": true, "attestations": [PROVENANCE]});
        match but {
            "" => {}
            "attestations" => all[but] = json!([]),
            _ => all[but] = json!(false),
        }
        all
    };
    let everything = json!({"name": "everything"});
    let strict = json!({
        "require": require(""), "engines": {"native": {}, "openShift": {}},
        "enforcement": rollout("Enforce", &[&canary, &everything]),
    });
    estate.pod("web", &web);
    estate.enforce(&strict);
    estate.until_phase("Enforcing");
    estate.until_nothing_is_written();
    let before = enforced(&lab);
    let exempt = json!([{"image": rogue, "reason": "it is urgent"}]);
    let changes = [
        ("images", json!([format!("{}/none/**", estate.host())]), "images", "ImagesNarrowed"),
        ("require", require("transparencyLog"), "require.transparencyLog", "EvidenceDropped"),
        ("require", require("signedTimestamp"), "require.signedTimestamp", "EvidenceDropped"),
        ("require", require("sct"), "require.sct", "EvidenceDropped"),
        ("require", require("attestations"), "require.attestations", "AttestationDropped"),
        ("engines", json!({"openShift": {}}), "engines.native", "EngineDropped"),
        ("engines", json!({"native": {}}), "engines.openShift", "EngineDropped"),
        ("enforcement", rollout("Audit", &[&canary, &everything]), "enforcement.desired", "ReturnToAudit"),
        ("otherImages", json!("Allow"), "otherImages", "OtherImagesAllowed"),
        ("exemptImages", exempt, "exemptImages", "ImageExempted"),
        ("enforcement", rollout("Enforce", &[&everything]), "enforcement.waves", "WaveDropped"),
    ];
    for (key, value, field, kind) in changes {
        let mut looser = strict.clone();
        looser[key] = value;
        estate.enforce(&looser);
        held(&estate, field, kind);
        std::thread::sleep(Duration::from_secs(1));
        estate.denied("shop", &rogue, "is not verified");
        estate.denied("shop", &stranger, "no policy of this namespace is about");
        estate.enforce(&strict);
        nothing_waits(&estate);
    }
    assert_eq!(enforced(&lab), before);
    assert!(estate.would_admit("shop", &web).is_ok());
}

#[test]
fn what_a_change_lends_is_taken_back_at_its_end() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let estate = Estate::open(&lab, registry);
    let _operator = lab.operator();
    let web = estate.enforced();
    let other = estate.unsigned("other");
    estate.sign("other", other, "https://ci.example/other");
    let (web, other) = (estate.image("web", web), estate.image("other", other));
    let rogue = estate.image("rogue", estate.unsigned("rogue"));
    estate.until_nothing_is_written();
    let before = (enforced(&lab), rules(&lab));
    let anybody = json!([{"name": "ci", "issuer": ISSUER, "subjectRegExp": "https://ci.example/.*"}]);
    estate.enforce(&json!({"identities": anybody, "engines": {"native": {"intake": {"images": [other, rogue]}}}}));
    let message = held(&estate, "identities", "IdentityWidened");
    estate.denied("shop", &other, "is not verified");
    let at = message.find("sha256:").unwrap();
    let digest = &message[at..at + 71];
    let change = json!({"allowChange": {"kind": "SigningIdentityPolicy", "name": "apps", "digest": digest}});
    let end = from_now(16);
    let glass = ask(&lab, "alice", "lends", end, &change);
    for who in ["bob", "dora"] {
        approve(&lab, who, "lends", glass).unwrap();
    }
    lab.until("it is lent", |_| estate.would_admit("shop", &other));
    nothing_waits(&estate);
    always_until(end, || {
        let tried = estate.would_admit("shop", &other);
        assert!(tried.is_ok(), "{tried:?}");
        estate.denied("shop", &rogue, "is not verified");
        assert_eq!(enforced(&lab), before.0, "what is lent is not what is enforced");
    });
    estate.until_denied("shop", &other);
    let late = now().duration_since(end);
    let soon = SignedDuration::ZERO..SignedDuration::from_secs(10);
    assert!(soon.contains(&late), "it is taken back {late:#} after its end");
    lab.until("the rules are what they were", |lab| {
        let rules = rules(lab);
        if rules == before.1 { Ok(()) } else { Err(format!("{rules:?}")) }
    });
    held(&estate, "identities", "IdentityWidened");
    break_glass::until(&lab, "lends", "Expired", "Ended");
    assert_eq!((enforced(&lab), rules(&lab)), before);
    estate.denied("shop", &other, "is not verified");
    estate.denied("shop", &rogue, "is not verified");
    assert!(estate.would_admit("shop", &web).is_ok());
}

#[test]
fn nothing_is_promoted_while_a_break_glass_is_open() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let estate = Estate::open(&lab, registry);
    let _operator = lab.operator();
    lab.namespace("shop", &json!({"tier": "apps", "wave": "canary"}));
    lab.namespace("billing", &json!({"tier": "apps"}));
    let (web, invoices) = (estate.signed("web"), estate.unsigned("invoices"));
    let rogue = estate.image("rogue", estate.unsigned("rogue"));
    estate.pod("web", &estate.image("web", web));
    estate.try_pod("billing", "invoices", &estate.image("invoices", invoices)).unwrap();
    let waves =
        json!([{"name": "canary", "namespaceSelector": {"matchLabels": {"wave": "canary"}}}, {"name": "everything"}]);
    estate.enforce(&json!({"enforcement": {"desired": "Enforce", "soak": "0s", "waves": waves}}));
    estate.until_denied("shop", &rogue);
    let waits_for = |check: &str| {
        lab.until(&format!("the second wave waits for {check} alone"), |_| {
            let status = estate.policy_status("apps");
            let waits = status.at("/enforcement/wave") == "everything" && failing(&status) == [check];
            if waits { Ok(status) } else { Err(status.text()) }
        })
    };
    waits_for("CoverageMet");

    let end = from_now(20);
    let loosen = json!({"returnToAudit": {"policy": "apps", "namespaces": ["shop"]}});
    let glass = ask(&lab, "alice", "inc", end, &loosen);
    for who in ["bob", "dora"] {
        approve(&lab, who, "inc", glass).unwrap();
    }
    lab.until("it is open", |_| estate.would_admit("shop", &rogue));
    estate.sign("invoices", invoices, SUBJECT);
    estate.scan_now("signed");
    let status = waits_for("NoBreakGlass");
    assert_eq!(status.at("/enforcement/blockedBy"), "NoBreakGlass");
    always_until(end, || {
        let status = estate.policy_status("apps");
        assert_eq!((status.at("/enforcement/phase"), failing(&status)), (&json!("Soaking"), vec!["NoBreakGlass"]));
        assert!(estate.would_admit("billing", &rogue).is_ok(), "{}", status.text());
    });
    estate.until_denied("billing", &rogue);
    assert!(now() >= end, "it was promoted before the end");
    assert_eq!(failing(&estate.until_phase("Enforcing")), Vec::<&str>::new());
    estate.denied("shop", &rogue, "is not verified");
    lab.namespace("billing", &json!({}));
    let _ = lab.try_call("DELETE", "/api/v1/namespaces/billing/pods?gracePeriodSeconds=0", None);
}
