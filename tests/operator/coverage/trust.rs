//! What scans judge by changes: trust, policies, and keys.

use holdfast_testpki::{Recipe, Sigstore};
use jiff::SignedDuration;
use serde_json::json;

use super::shop::{ISSUER, SUBJECT, Shop, of_reason};
use crate::courier::{Courier, approve, ask_now, now};
use crate::faults::faketime;
use crate::lab::{Lab, mirror_path};
use crate::proxy::{Asked, Fate};
use crate::registry_support::Registry;

#[test]
fn another_trust_judges_what_is_kept_and_asks_no_registry() {
    let Some(lab) = Lab::enter() else { return };
    let Some(registry) = Registry::plain(true) else { return };
    let shop = Shop::open(&lab, registry);
    let other = Sigstore::of("other.example", "2026-01-01T00:00:00Z".parse().unwrap());
    for name in ["one", "two", "three"] {
        let digest = shop.signed(name);
        shop.sign_by(&other, name, digest, &Recipe::image(SUBJECT, ISSUER));
        shop.pod(name, &shop.image(name, digest));
    }
    let operator = lab.operator();
    shop.report(&json!({}));
    shop.until(3, 0, 0);
    let asked = operator.metric("holdfast_registry_requests_total", &[]).unwrap();
    let judged = operator.metric("holdfast_verification_seconds_count", &[]).unwrap();
    shop.trust("next", &other);
    lab.until("the next trust is in force", |lab| match lab.get(&mirror_path("next")) {
        Some(mirror) if mirror["status"]["adopted"]["digest"].is_string() => Ok(()),
        _ => Err(String::new()),
    });
    shop.policy("apps", &json!({"trustRoots": ["next"]}));
    lab.until("all is judged anew", |_| {
        let now = operator.metric("holdfast_verification_seconds_count", &[]).unwrap();
        if now >= judged + 3.0 { Ok(()) } else { Err(now.to_string()) }
    });
    shop.until(3, 0, 0);
    assert_eq!(operator.metric("holdfast_registry_requests_total", &[]), Some(asked));

    // Trust that goes takes its verdicts along: nothing is known then, and nothing is covered.
    lab.delete(&mirror_path("next"));
    let status = shop.until(0, 0, 3);
    assert_eq!(of_reason(&status, "StaleTrustRoot"), 3);
}

#[test]
fn a_policy_that_cannot_be_used_leaves_the_scan_incomplete() {
    let Some(lab) = Lab::enter() else { return };
    let Some(registry) = Registry::plain(true) else { return };
    let shop = Shop::open(&lab, registry);
    shop.pod("good", &shop.image("good", shop.signed("good")));
    let _operator = lab.operator();
    shop.report(&json!({}));
    shop.until(1, 0, 0);
    let identities = json!([{"name": "vendor", "key": {"secretRef": {"name": "vendor"}}}]);
    shop.policy("vendors", &json!({"identities": identities}));
    let status = shop.until_reason("Complete", "PolicyUnusable");
    assert!(status.message("Complete").contains("vendor"), "{}", status.text());
    assert_eq!(status.reason("Ready"), "PolicyUnusable");
    // The key comes, and says no.
    lab.apply(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "vendor", "namespace": crate::chart_support::NAMESPACE},
        "stringData": {"cosign.pub": shop.sigstore.managed_key.pem()},
    }));
    lab.patch(
        "/apis/holdfast.dev/v1alpha1/signingidentitypolicies/vendors",
        &json!({"metadata": {"annotations": {"a": "b"}}}),
    );
    let status = shop.until(0, 1, 0);
    assert_eq!(of_reason(&status, "KeyMismatch"), 1);
    lab.delete(&format!("/api/v1/namespaces/{}/secrets/vendor", crate::chart_support::NAMESPACE));
}

/// A courier who brings in the trust of the shop's own Sigstore, and policies that accept that.
fn carried(shop: &Shop<'_>, name: &str) -> Courier {
    let mut courier = Courier::new(name);
    let root = shop.sigstore.trusted_root().to_string().into_bytes();
    courier.repository.files.insert("trusted_root.json".to_owned(), root);
    courier.refresh();
    courier.deliver(shop.lab);
    shop.lab.apply(&courier.mirror(name));
    shop.policy("apps", &json!({"trustRoots": [name]}));
    courier
}

#[test]
fn a_rotation_that_waits_says_what_it_would_change() {
    let Some(lab) = Lab::enter() else { return };
    let Some(registry) = Registry::plain(true) else { return };
    let shop = Shop::open(&lab, registry);
    let mut courier = carried(&shop, "rotates");
    let other = Sigstore::of("other.example", "2026-01-01T00:00:00Z".parse().unwrap());
    let by_other = |name: &str, digest| shop.sign_by(&other, name, digest, &Recipe::image(SUBJECT, ISSUER));
    let old = shop.image("old", shop.signed("old"));
    let next = shop.unsigned("next");
    by_other("next", next);
    shop.pod("old", &old);
    shop.pod("next", &shop.image("next", next));
    shop.pod("nobody", &shop.image("nobody", shop.unsigned("nobody")));
    let _operator = lab.operator();
    shop.report(&json!({}));
    shop.until(1, 2, 0);

    courier.repository.files.insert("trusted_root.json".to_owned(), other.trusted_root().to_string().into_bytes());
    courier.refresh();
    courier.deliver(&lab);
    ask_now(&lab, "rotates");
    let told = |wanted: serde_json::Value| {
        lab.until("it is said what it would change", |lab| {
            let status = lab.status("rotates");
            if status.at("/candidate/impact") == &wanted { Ok(status) } else { Err(status.text()) }
        })
    };
    let status = told(json!({"checked": 3, "unjudged": 0, "newlyFailing": 1, "newlyPassing": 1, "examples": [old]}));
    assert_eq!(status.reason("RotationPending"), "AwaitingApproval");
    // What comes meanwhile is judged by it as well.
    let late = shop.signed("late");
    by_other("late", late);
    shop.pod("late", &shop.image("late", late));
    shop.until(2, 2, 0);
    shop.scan_now("again");
    told(json!({"checked": 4, "unjudged": 0, "newlyFailing": 1, "newlyPassing": 1, "examples": [old]}));
    // And so it comes.
    approve(&lab, "bob", "rotates", courier.root()).unwrap();
    lab.until("nothing waits", |lab| {
        let status = lab.status("rotates");
        if status.at("/candidate").is_null() { Ok(()) } else { Err(status.text()) }
    });
    shop.until(2, 2, 0);
}

#[test]
fn what_scans_saw_signed_has_passed_whatever_the_clock_says() {
    let Some(faketime) = faketime() else { return };
    let Some(lab) = Lab::enter() else { return };
    let Some(registry) = Registry::plain(true) else { return };
    let shop = Shop::open(&lab, registry);
    let _courier = carried(&shop, "dated");
    let digest = shop.unsigned("fresh");
    let signed = now() - SignedDuration::from_mins(10);
    shop.sign_by(&shop.sigstore, "fresh", digest, &Recipe { at: signed, ..Recipe::image(SUBJECT, ISSUER) });
    shop.pod("fresh", &shop.image("fresh", digest));
    let operator = lab.operator();
    shop.report(&json!({}));
    shop.until(1, 0, 0);
    ask_now(&lab, "dated");
    assert_eq!(lab.status("dated").is("ClockSane"), "True");
    operator.stop();
    // By a clock that was set back, something was signed tomorrow.
    let wrong = lab.start_operator(&[("LD_PRELOAD", &faketime), ("FAKETIME", "-1d")], &[]);
    wrong.ready();
    ask_now(&lab, "dated");
    let status = lab.status("dated");
    assert_eq!((status.is("ClockSane"), status.reason("ClockSane")), ("False", "ClockBehind"), "{}", status.text());
    let floor = signed.strftime("%Y-%m-%dT%H:%M").to_string();
    assert!(status.message("ClockSane").contains(&floor), "{}", status.text());
    wrong.stop();
    let _operator = lab.operator();
    ask_now(&lab, "dated");
    assert_eq!(lab.status("dated").is("ClockSane"), "True");
}

/// A courier whose rotations ask nobody.
fn automatic(shop: &Shop<'_>, name: &str) -> Courier {
    let courier = carried(shop, name);
    shop.lab.apply(&asks_nobody(&courier, name));
    courier
}

/// A mirror whose rotations ask nobody, and that is not looked at again without a reason.
pub(crate) fn asks_nobody(courier: &Courier, name: &str) -> serde_json::Value {
    let mut mirror = courier.mirror(name);
    mirror["spec"]["rotation"] = json!({"approval": "Automatic"});
    mirror["spec"]["interval"] = json!("24h");
    mirror
}

/// A report over everything that may ask no registry, and therefore fears the worst.
fn report_that_asks_nobody(shop: &Shop<'_>, name: &str) {
    let mut report = shop.lab.get("/apis/holdfast.dev/v1alpha1/bundlecoveragereports/cluster").unwrap();
    report["metadata"] = json!({"name": name});
    report["spec"]["registries"] = json!([]);
    report.as_object_mut().unwrap().remove("status");
    shop.lab.apply(&report);
}

/// Brings in other trust.
fn rotate(shop: &Shop<'_>, courier: &mut Courier, to: &Sigstore) {
    courier.repository.files.insert("trusted_root.json".to_owned(), to.trusted_root().to_string().into_bytes());
    courier.refresh();
    courier.deliver(shop.lab);
}

const WOULD_BREAK: &str =
    "1 images would stop verifying and 0 could not be judged, and `rotation.maxNewlyFailing` is 0";

#[test]
fn a_rotation_that_needs_nobody_waits_until_it_breaks_no_more_than_it_may() {
    let Some(lab) = Lab::enter() else { return };
    let Some(registry) = Registry::plain(true) else { return };
    let shop = Shop::open(&lab, registry);
    let mut courier = automatic(&shop, "by-itself");
    shop.pod("old", &shop.image("old", shop.signed("old")));
    // What another policy finds wanting anyway, or a report that asks nobody, makes none of it harmless.
    let require = json!({"attestations": ["https://slsa.dev/provenance/v1"]});
    shop.policy("attested", &json!({"trustRoots": ["by-itself"], "require": require}));
    let _operator = lab.operator();
    shop.report(&json!({"namespaceSelector": {}}));
    report_that_asks_nobody(&shop, "nowhere");
    let status = shop.until(0, 1, 0);
    assert_eq!(of_reason(&status, "PredicateMissing"), 1, "{}", status.text());
    rotate(&shop, &mut courier, &Sigstore::of("other.example", "2026-01-01T00:00:00Z".parse().unwrap()));
    ask_now(&lab, "by-itself");
    lab.until("it waits, and says why", |lab| {
        let status = lab.status("by-itself");
        if status.message("RotationPending").contains(WOULD_BREAK) { Ok(()) } else { Err(status.text()) }
    });
    // What it would break goes.
    lab.delete("/api/v1/namespaces/shop/pods/old?gracePeriodSeconds=0");
    shop.scan_now("without");
    lab.within(std::time::Duration::from_secs(90), "it comes into force by itself", |lab| {
        let status = lab.status("by-itself");
        if status.at("/adopted/digest") == &json!(courier.root()) { Ok(()) } else { Err(status.text()) }
    });
    assert_eq!(lab.status("by-itself").at("/adopted/approvedBy"), &json!("rotation.approval: Automatic"));
}

#[test]
fn of_two_rotations_that_break_nothing_alone_one_waits() {
    let Some(lab) = Lab::enter() else { return };
    let Some(registry) = Registry::plain(true) else { return };
    let shop = Shop::open(&lab, registry);
    let names = ["one", "other"];
    let mut couriers = names.map(|name| automatic(&shop, name));
    shop.policy("apps", &json!({"trustRoots": names}));
    shop.pod("old", &shop.image("old", shop.signed("old")));
    let _operator = lab.operator();
    shop.report(&json!({"namespaceSelector": {}}));
    shop.until(1, 0, 0);
    let to = Sigstore::of("other.example", "2026-01-01T00:00:00Z".parse().unwrap());
    for courier in &mut couriers {
        rotate(&shop, courier, &to);
    }
    for name in names {
        ask_now(&lab, name);
    }
    let new = json!(couriers.first().unwrap().root());
    lab.within(std::time::Duration::from_secs(60), "one comes into force, and the other waits", |lab| {
        let [one, other] = names.map(|name| lab.status(name));
        let is_new = |status: &crate::lab::Status| status.at("/adopted/digest") == &new;
        let waits = |status: &crate::lab::Status| status.message("RotationPending").contains(WOULD_BREAK);
        if is_new(&one) && waits(&other) || is_new(&other) && waits(&one) {
            Ok(())
        } else {
            Err(format!("{}\n{}", one.text(), other.text()))
        }
    });
    shop.until(1, 0, 0);
}

#[test]
fn a_report_that_is_gone_speaks_against_nothing_any_more() {
    let Some(lab) = Lab::enter() else { return };
    let Some(registry) = Registry::plain(true) else { return };
    let shop = Shop::open(&lab, registry);
    let mut courier = automatic(&shop, "feared");
    let other = Sigstore::of("other.example", "2026-01-01T00:00:00Z".parse().unwrap());
    let digest = shop.signed("both");
    shop.sign_by(&other, "both", digest, &Recipe::image(SUBJECT, ISSUER));
    shop.pod("both", &shop.image("both", digest));
    let _operator = lab.operator();
    shop.report(&json!({"namespaceSelector": {}}));
    report_that_asks_nobody(&shop, "nowhere");
    shop.until(1, 0, 0);
    rotate(&shop, &mut courier, &other);
    ask_now(&lab, "feared");
    let fears = "0 images would stop verifying and 1 could not be judged";
    lab.until("one of two reports speaks against it", |lab| {
        let status = lab.status("feared");
        if status.message("RotationPending").contains(fears) { Ok(()) } else { Err(status.text()) }
    });
    lab.delete("/apis/holdfast.dev/v1alpha1/bundlecoveragereports/nowhere");
    lab.until("it comes into force without being asked for", |lab| {
        let status = lab.status("feared");
        if status.at("/adopted/digest") == &json!(courier.root()) { Ok(()) } else { Err(status.text()) }
    });
}

#[test]
fn trust_of_a_mirror_that_went_unseen_counts_no_more() {
    let Some(lab) = Lab::enter() else { return };
    let Some(registry) = Registry::plain(true) else { return };
    let shop = Shop::open(&lab, registry);
    shop.pod("good", &shop.image("good", shop.signed("good")));
    let _operator = lab.operator();
    shop.report(&json!({}));
    shop.until(1, 0, 0);
    // What the watch goes on from is forgotten, and the list it begins anew with comes only after the mirror went.
    let of_mirrors = |asked: &Asked| asked.method == "GET" && asked.path.ends_with("/trustrootmirrors");
    let watches = |asked: &Asked| asked.query.contains("watch=");
    lab.proxy().reset();
    lab.proxy().on(usize::MAX, Fate::Expire, move |asked| of_mirrors(asked) && watches(asked));
    lab.proxy().on(usize::MAX, Fate::Refuse(503, None), move |asked| of_mirrors(asked) && !watches(asked));
    lab.proxy().cut();
    lab.until("its list is asked for", |lab| {
        let asked = lab.proxy().asked();
        if asked.iter().any(|asked| of_mirrors(asked) && !watches(asked)) { Ok(()) } else { Err(format!("{asked:?}")) }
    });
    lab.delete(&mirror_path("corp"));
    lab.proxy().reset();
    let status = shop.until(0, 0, 1);
    assert_eq!(of_reason(&status, "StaleTrustRoot"), 1);
}
