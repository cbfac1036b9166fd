//! `holdfast why` from files: each policy, each piece of evidence, whose it is, what would cure it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test that cannot go on fails

mod support;

use serde_json::{Value, json};
use support::holdfast_in;

use support::place::Place;

fn why(place: &Place, args: &[&str]) -> support::Answer {
    let usual = ["--manifests", "git", "--images", "oci:images", "--now", "2026-07-01T00:00:00Z"];
    holdfast_in(&place.path("."), &[&["why"], args, &usual].concat())
}

#[test]
fn what_passes_says_who_signed_it_and_what_was_authenticated() {
    let place = Place::new();
    let answer = why(&place, &[&place.image]);
    assert_eq!(answer.code, 0, "{answer:?}");
    for words in [
        "covered  under policy `apps`",
        "used by shop/Deployment/web",
        "identity   https://ci.example/web",
        "signed at",
    ] {
        assert!(answer.out.contains(words), "{words}: {}", answer.out);
    }
    // The same by its digest, by a part of its name, and as JSON.
    let digest = place.image.split_once('@').unwrap().1;
    for asked in [digest, "apps/web"] {
        let answer = why(&place, &[asked, "-o", "json"]);
        let said: Value = serde_json::from_str(&answer.out).unwrap();
        assert_eq!(said["images"][0]["image"], place.image.as_str(), "{said}");
        assert_eq!(said["images"][0]["policies"][0]["outcome"], "covered");
        assert_eq!(
            said["images"][0]["policies"][0]["evidence"][0]["authenticated"]["identity"],
            "https://ci.example/web"
        );
    }
}

#[test]
fn what_does_not_pass_says_why_whose_it_is_and_what_to_do() {
    let place = Place::new();
    let (other, _) = place.image("other", "https://ci.example/somebody");
    place.workload("other", &other);
    let answer = why(&place, &[&other]);
    assert_eq!(answer.code, 1, "{answer:?}");
    for words in [
        "uncovered  under policy `apps`",
        "IdentityMismatch",
        "owner: security",
        "to cure it:",
        "https://ci.example/somebody",
    ] {
        assert!(answer.out.contains(words), "{words}: {}", answer.out);
    }
    place.workload("tag", "registry.corp.internal/apps/tag:1");
    let answer = why(&place, &["registry.corp.internal/apps/tag:1"]);
    assert_eq!(answer.code, 3, "{answer:?}");
    assert!(answer.out.contains("DigestUnresolved") && answer.out.contains("declare it by digest"), "{}", answer.out);
    place.workload("elsewhere", &format!("docker.io/library/x@sha256:{}", "0".repeat(64)));
    let answer = why(&place, &["docker.io/library/x"]);
    assert!(answer.code == 3 && answer.out.contains("no policy is about it"), "{answer:?}");
    let answer = why(&place, &["nobody-has-this"]);
    assert!(answer.code == 2 && answer.err.contains("nobody uses an image"), "{answer:?}");
}

#[test]
fn one_that_nobody_uses_is_judged_all_the_same() {
    let place = Place::new();
    let (image, _) = place.image("new", "https://ci.example/web");
    let answer = why(&place, &[&image]);
    assert_eq!(answer.code, 0, "{answer:?}");
    assert!(answer.out.contains("nobody is seen to use it"), "{}", answer.out);
    // A policy that cannot be used is told of.
    place.declare(
        "broken",
        &json!({
            "apiVersion": "holdfast.dev/v1alpha1", "kind": "SigningIdentityPolicy", "metadata": {"name": "broken"},
            "spec": {"images": ["registry.corp.internal/**"], "trustRoots": ["corp"], "engines": {"native": {}},
                     "identities": [{"name": "k", "key": {"secretRef": {"name": "nowhere"}}}]},
        }),
    );
    let answer = why(&place, &[&image]);
    assert!(answer.out.contains("note:") && answer.out.contains("nowhere"), "{}", answer.out);
    assert_eq!(answer.code, 3, "what it would say is not known");
}
