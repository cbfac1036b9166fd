//! Time, once something is enforced: trust that goes stale, and clocks that jump.

use std::time::Duration;

use serde_json::{Value, json};

use super::estate::Estate;
use crate::courier::Courier;
use crate::faults::faketime;
use crate::lab::{Lab, mirror_path};
use crate::registry_support::Registry;

/// An estate whose policies accept what a courier brings.
fn carried<'a>(lab: &'a Lab, registry: Registry, name: &str) -> (Estate<'a>, Courier) {
    let estate = Estate::open(lab, registry);
    let mut courier = Courier::new(name);
    let root = estate.sigstore.trusted_root().to_string().into_bytes();
    courier.repository.files.insert("trusted_root.json".to_owned(), root);
    courier.refresh();
    courier.deliver(lab);
    lab.apply(&courier.mirror(name));
    (estate, courier)
}

fn deployment(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "replicas": 0, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "main", "image": image}]}},
        },
    })
}

#[test]
fn trust_that_goes_stale_closes_nothing_and_proves_nothing_new() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let (estate, mut courier) = carried(&lab, registry, "ages");
    let operator = lab.operator();
    lab.namespace("annex", &json!({"tier": "more"}));
    let (web, next) = (estate.image("web", estate.signed("web")), estate.image("next", estate.signed("next")));
    let bad = estate.image("rogue", estate.unsigned("rogue"));
    estate.pod("web", &web);
    estate.try_pod("annex", "web", &web).unwrap();
    let more = |desired: &str| {
        estate.policy(
            "more",
            &json!({
                "trustRoots": ["ages"], "otherImages": "Deny", "namespaceSelector": {"matchLabels": {"tier": "more"}},
                "enforcement": {"desired": desired, "soak": "0s"},
            }),
        );
    };
    more("Audit");
    estate.enforce(&json!({"trustRoots": ["ages"]}));
    estate.until_phase("Enforcing");
    estate.denied("shop", &bad, "is not verified");

    lab.patch(&mirror_path("ages"), &json!({"spec": {"freshness": {"maxAge": "1s"}}}));
    lab.reason("ages", "Fresh", "Stale");
    more("Enforce");
    lab.apply(&deployment("next", &next));
    lab.until("the next policy waits for fresh trust", |_| {
        let status = estate.policy_status("more");
        if status.at("/enforcement/blockedBy") == "TrustRootFresh" { Ok(()) } else { Err(status.text()) }
    });
    estate.scan_now("stale");
    std::thread::sleep(Duration::from_secs(4));
    let status = estate.policy_status("apps");
    assert_eq!(
        (status.at("/enforcement/phase"), status.is("Enforcing")),
        (&json!("Enforcing"), "True"),
        "{}",
        status.text()
    );
    assert!(status.text().contains("TrustRootFresh"), "it is said: {}", status.text());
    assert!(estate.would_admit("shop", &web).is_ok(), "what was verified is admitted");
    estate.denied("shop", &bad, "is not verified");
    estate.denied("shop", &next, "is not verified");
    assert!(estate.would_admit("annex", &bad).is_ok(), "nothing new is enforced");
    // Another process knows as much.
    operator.stop();
    let _operator = lab.operator();
    std::thread::sleep(Duration::from_secs(4));
    assert!(estate.would_admit("shop", &web).is_ok());
    estate.denied("shop", &next, "is not verified");

    courier.refresh();
    courier.deliver(&lab);
    lab.patch(&mirror_path("ages"), &json!({"spec": {"freshness": null}}));
    lab.until("what was deployed meanwhile is admitted", |_| estate.would_admit("shop", &next));
    lab.until("the next policy is enforced", |_| match estate.would_admit("annex", &bad) {
        Err(said) if said.contains("is not verified for the policy `more`") => Ok(()),
        other => Err(format!("{other:?}\n{}", estate.policy_status("more").text())),
    });
    lab.namespace("annex", &json!({}));
    let _ = lab.try_call("DELETE", "/api/v1/namespaces/annex/pods?gracePeriodSeconds=0", None);
}

#[test]
fn a_clock_that_jumps_opens_nothing_and_closes_nothing() {
    let Some(faketime) = faketime() else { return };
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let (estate, _courier) = carried(&lab, registry, "jumps");
    let operator = lab.operator();
    let web = estate.image("web", estate.signed("web"));
    let gone = estate.image("gone", estate.signed("gone"));
    let bad = estate.image("rogue", estate.unsigned("rogue"));
    estate.pod("web", &web);
    estate.pod("gone", &gone);
    estate.enforce(&json!({"trustRoots": ["jumps"]}));
    estate.until_phase("Enforcing");
    // Nothing runs it any more; somebody may want to go back to it.
    lab.delete("/api/v1/namespaces/shop/pods/gone?gracePeriodSeconds=0");
    estate.scan_now("gone");
    estate.until_nothing_is_written();
    operator.stop();
    let admitted = |offset: &str| {
        for image in [&web, &gone] {
            let tried = estate.would_admit("shop", image);
            assert!(tried.is_ok(), "{offset}: {image}: {tried:?}");
        }
        estate.denied("shop", &bad, "is not verified");
        let status = estate.policy_status("apps");
        assert_eq!(status.at("/enforcement/phase"), "Enforcing", "{offset}: {}", status.text());
    };
    for offset in ["+10d", "-10d"] {
        let wrong = lab.start_operator(&[("LD_PRELOAD", &faketime), ("FAKETIME", offset)], &[]);
        wrong.ready();
        estate.scan_now(offset);
        let until = std::time::Instant::now() + Duration::from_secs(8);
        while std::time::Instant::now() < until {
            admitted(offset);
            std::thread::sleep(Duration::from_millis(200));
        }
        wrong.stop();
    }
    let _operator = lab.operator();
    estate.scan_now("right");
    std::thread::sleep(Duration::from_secs(4));
    admitted("right");
    let status = estate.policy_status("apps");
    assert_eq!(status.is("Enforcing"), "True", "{}", status.text());
}
