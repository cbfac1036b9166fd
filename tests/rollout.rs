//! `holdfast plan`: what engines would be given, what would change of it, and a gate that is planned from run to run.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test that cannot go on fails

mod support;

use std::fs;

use serde_json::{Value, json};
use support::place::{Place, files};

fn phase(plan: &Value) -> &str {
    plan["policies"][0]["enforcement"]["phase"].as_str().unwrap()
}

#[test]
fn a_soak_is_planned_from_run_to_run_and_ends_in_enforcement() {
    let place = Place::new();
    let phases: Vec<String> = (1..8).map(|hour| phase(&place.plan_hour(hour, &[])).to_owned()).collect();
    assert_eq!(phases, ["Soaking", "Soaking", "Soaking", "Soaking", "Soaking", "Promoting", "Enforcing"]);
    let plan = place.plan_hour(8, &[]);
    assert_eq!(plan["policies"][0]["enforced"], json!(["shop"]));
}

#[test]
fn an_image_that_is_not_signed_starts_the_soak_again() {
    let place = Place::new();
    for hour in 1..5 {
        place.plan_hour(hour, &[]);
    }
    place.declare("other", &json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "other", "namespace": "shop"},
        "spec": {"containers": [{"name": "x", "image": format!("registry.corp.internal/apps/other@sha256:{}", "ab".repeat(32))}]},
    }));
    let plan = place.plan_hour(5, &[]);
    assert_eq!((phase(&plan), &plan["policies"][0]["enforcement"]["blockedBy"]), ("Soaking", &json!("CoverageMet")));
    assert_eq!(plan["policies"][0]["soak"], Value::Null);
}

#[test]
fn a_looser_edit_of_what_is_enforced_is_held_and_said() {
    let place = Place::new();
    for hour in 1..8 {
        place.plan_hour(hour, &[]);
    }
    place.policy(&json!({"require": {"sct": false}}));
    let plan = place.plan_hour(8, &[]);
    let held = &plan["policies"][0]["held"][0];
    assert_eq!((phase(&plan), held["field"].as_str()), ("Enforcing", Some("require.sct")), "{held}");
    assert_eq!(plan["policies"][0]["enforced"], json!(["shop"]));
}

#[test]
fn rendering_twice_changes_nothing_and_leaves_what_is_not_ours_alone() {
    let place = Place::new();
    let rendered = place.path("rendered");
    let args = ["--now", "2026-07-01T00:00:00Z", "--render", "rendered"];
    assert_eq!(place.plan(&args).code, 0);
    let first = files(&rendered);
    assert!(first.len() > 3, "{:?}", first.keys());
    fs::write(rendered.join("notes.yaml"), "kind: Note\n").unwrap();
    let again = place.plan(&args);
    assert!(
        again.err.contains(&format!("0 written anew, 0 changed, {} unchanged, 0 removed", first.len())),
        "{}",
        again.err
    );
    place.policy(&json!({"engines": {}}));
    let removed = place.plan(&args);
    assert!(removed.err.contains(&format!("{} removed", first.len())), "{}", removed.err);
    assert_eq!(files(&rendered).into_keys().collect::<Vec<_>>(), ["notes.yaml"]);
}

#[test]
fn what_is_applied_is_compared_with_what_is_wanted() {
    let place = Place::new();
    let args = ["--now", "2026-07-01T00:00:00Z", "-o", "json"];
    assert_eq!(place.plan(&[&args[..], &["--render", "applied"]].concat()).code, 0);
    let changes = |place: &Place| -> Value {
        let answer = place.plan(&[&args[..], &["--applied", "applied"]].concat());
        serde_json::from_str::<Value>(&answer.out).unwrap()["changes"].clone()
    };
    assert_eq!(changes(&place), json!([]));

    // Somebody adds a digest to what is verified, and takes the teeth out of a binding.
    let applied = files(&place.path("applied"));
    let (name, bytes) = applied.iter().find(|(name, _)| name.contains("verifiedimages")).unwrap();
    let mut shard: Value = serde_saphyr::from_slice(bytes).unwrap();
    let before = shard["spec"]["data"].clone();
    shard["spec"]["data"]["ff.apps"] = json!("f".repeat(64));
    fs::write(place.path("applied").join(name), shard.to_string().replace('\t', " ")).unwrap();
    let (name, _) = applied.iter().find(|(name, _)| name.contains("policybinding")).unwrap();
    fs::remove_file(place.path("applied").join(name)).unwrap();
    let found = changes(&place);
    let kinds: Vec<&str> = found.as_array().unwrap().iter().map(|change| change["change"].as_str().unwrap()).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == "added").count(), 1, "{found}");
    assert!(before.get("ff.apps").is_none());
    assert!(found.to_string().contains("spec.data.ff.apps"), "a surplus digest is a change: {found}");

    // What the API server adds is none; a condition under which nothing is judged is one.
    assert_eq!(place.plan(&[&args[..], &["--render", "applied"]].concat()).code, 0);
    let (name, bytes) = applied.iter().find(|(name, _)| name.contains("policy-holdfast-audit")).unwrap();
    let mut policy: Value = serde_saphyr::from_slice(bytes).unwrap();
    policy["metadata"]["uid"] = json!("x");
    policy["status"] = json!({"observedGeneration": 1});
    policy["spec"]["matchConstraints"]["matchPolicy"] = json!("Equivalent");
    policy["spec"]["matchConstraints"]["objectSelector"] = json!({});
    fs::write(place.path("applied").join(name), policy.to_string()).unwrap();
    assert_eq!(changes(&place), json!([]));
    policy["spec"]["matchConstraints"]["excludeResourceRules"] = json!([{"resources": ["pods"]}]);
    fs::write(place.path("applied").join(name), policy.to_string()).unwrap();
    assert!(changes(&place).to_string().contains("spec.matchConstraints.excludeResourceRules"));
}

#[test]
fn an_engine_that_is_too_old_or_unknown_is_said() {
    let place = Place::new();
    let old = place.plan(&["--engine", "native=1.29.0", "-o", "json"]);
    assert!(old.out.contains("AdmissionPoliciesAbsent"), "{}", old.out);
    for wrong in ["nativ=1.30", "native", "native=new"] {
        let answer = place.plan(&["--engine", wrong]);
        assert_eq!(answer.code, 2, "{answer:?}");
    }
    let garbage = place.path("garbage.json");
    for bytes in ["", "[]", "{\"policies\": 1}", "{\"policies\": {}, \"policies\": {}}"] {
        fs::write(&garbage, bytes).unwrap();
        let answer = place.plan(&["--as-of", "garbage.json"]);
        assert_eq!(answer.code, 2, "{answer:?}");
        assert!(answer.err.contains("garbage.json"), "{}", answer.err);
    }
}

#[test]
fn policies_that_do_not_go_together_are_both_named() {
    let place = Place::new();
    place.declare("other", &json!({
        "apiVersion": "holdfast.dev/v1alpha1", "kind": "SigningIdentityPolicy", "metadata": {"name": "strangers"}, "spec": {
            "images": ["registry.corp.internal/apps/web"], "namespaceSelector": {"matchLabels": {"tier": "apps"}}, "trustRoots": ["corp"],
            "identities": [{"name": "other", "issuer": "https://issuer.example", "subject": "https://ci.example/other"}], "engines": {"native": {}},
        },
    }));
    let plan: Value = serde_json::from_str(&place.plan(&["-o", "json"]).out).unwrap();
    let named = |field: &str| plan["conflicts"][0][field].as_str().unwrap().to_owned();
    assert_eq!(
        (named("kind"), named("policy"), named("by")),
        ("TwoSignaturesNeeded".into(), "apps".into(), "strangers".into())
    );
    let text = place.plan(&[]).out;
    assert!(text.contains("conflict TwoSignaturesNeeded: `apps` and `strangers`"), "{text}");
}
