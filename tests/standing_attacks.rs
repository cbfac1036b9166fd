//! What attacks on standing enforcement tried: through git, the memory, the rendered directory, flags, and other policies.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)] // a test that cannot go on fails

mod support;

use std::collections::BTreeSet;
use std::fs;

use holdfast_core::Digest;
use holdfast_testpki::layout::Layout;
use holdfast_testpki::{LogForm, Recipe, Sigstore};
use serde_json::{Value, json};
use support::place::{ISSUER, Place, files};

const SUBJECT: &str = "https://ci.example/web";

fn enforced(place: &Place) -> u32 {
    for hour in 1..=8 {
        place.plan_hour(hour, &["--render", "out"]);
    }
    9
}

/// The namespaces in which a binding in `out` denies what is not verified for `policy`.
fn denies(place: &Place, policy: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for object in objects(place) {
        let denies = object["spec"]["validationActions"].to_string().contains("Deny");
        if object["kind"] == "ValidatingAdmissionPolicyBinding"
            && denies
            && object["metadata"]["labels"]["holdfast.dev/policy"] == policy
        {
            let names = object["spec"]["matchResources"]["namespaceSelector"]["matchExpressions"][0]["values"].clone();
            found.extend(names.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()));
        }
    }
    found
}

fn objects(place: &Place) -> Vec<Value> {
    files(&place.path("out")).into_values().map(|bytes| serde_saphyr::from_slice(&bytes).unwrap()).collect()
}

/// What the objects whose name holds `part` say.
fn text_of(place: &Place, part: &str) -> String {
    let of = objects(place).into_iter().filter(|object| object["metadata"]["name"].as_str().unwrap().contains(part));
    of.map(|object| object.to_string()).collect()
}

/// The namespaces of the object by which Kyverno denies for `apps`.
fn kyverno_denies(place: &Place) -> String {
    let is_it = |object: &Value| object["metadata"]["name"] == "holdfast-enforce-apps";
    let of = objects(place).into_iter().filter(is_it);
    of.map(|object| object["spec"]["matchConstraints"]["namespaceSelector"].to_string()).collect()
}

fn memory(place: &Place) -> Value {
    serde_json::from_slice(&fs::read(place.path("gate.json")).unwrap()).unwrap()
}

fn edit(place: &Place, change: impl FnOnce(&mut Value)) {
    let mut memory = memory(place);
    change(&mut memory);
    fs::write(place.path("gate.json"), memory.to_string()).unwrap();
}

fn digits(place: &Place) -> String {
    place.image.rsplit(':').next().unwrap().to_owned()
}

fn nobody_can_look(place: &Place) {
    fs::remove_dir_all(place.path("images")).unwrap();
    Layout::new().write(&place.path("images")).unwrap();
}

fn other_policy(place: &Place, name: &str, spec: &Value) {
    let mut whole = json!({
        "trustRoots": ["corp"], "namespaceSelector": {"matchLabels": {"tier": "apps"}},
        "identities": [{"name": "any", "issuer": ISSUER, "subject": SUBJECT, "optional": true}],
        "engines": {"native": {}}, "enforcement": {"desired": "Enforce", "soak": "3h"},
    });
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    place.declare(&format!("policy-{name}"), &json!({
        "apiVersion": "holdfast.dev/v1alpha1", "kind": "SigningIdentityPolicy", "metadata": {"name": name}, "spec": whole,
    }));
}

fn root(place: &Place, name: &str, root: &str) {
    place.declare(&format!("root-{name}"), &json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("root-{name}"), "namespace": "holdfast-system"},
        "data": {"trusted_root.json": root},
    }));
    let file = if name == "corp" { "mirror".to_owned() } else { format!("mirror-{name}") };
    let reference = json!({"namespace": "holdfast-system", "name": format!("root-{name}")});
    place.declare(
        &file,
        &json!({
            "apiVersion": "holdfast.dev/v1alpha1", "kind": "TrustRootMirror", "metadata": {"name": name},
            "spec": {
                "source": {"trustedRoot": {"configMap": reference, "sha256": Digest::of(root.as_bytes()).hex()}},
                "distribution": {"tufRepository": {}},
            },
        }),
    );
}

#[test]
fn another_root_under_the_same_mirror_waits() {
    let place = Place::new();
    let hour = enforced(&place);
    let other = Sigstore::new();
    let mut layout = Layout::new();
    let image = layout.image("evil", "registry.corp.internal/apps/evil:1");
    layout.attach(&image, &other.bundle(&image.manifest, &Recipe::image(SUBJECT, ISSUER)));
    layout.write(&place.path("evil")).unwrap();
    place.workload("evil", &format!("registry.corp.internal/apps/evil@{}", image.digest));
    root(&place, "corp", &other.trusted_root().to_string());
    place.plan_hour(hour, &["--render", "out", "--images", "oci:evil"]);
    let listed = text_of(&place, "holdfast-verified");
    assert!(!listed.contains(image.digest.trim_start_matches("sha256:")), "nobody approved that root");
    assert!(listed.contains(&digits(&place)));
}

type Happening<'a> = &'a dyn Fn(&Place);

#[test]
fn memory_that_is_empty_old_or_not_given_takes_no_denial_out_of_the_directory() {
    let early = |place: &Place| {
        let fresh = Place::new();
        fresh.plan_hour(1, &[]);
        fs::copy(fresh.path("gate.json"), place.path("gate.json")).unwrap();
    };
    let cases: [(&str, Happening<'_>); 3] = [
        ("emptied", &|place| fs::write(place.path("gate.json"), r#"{"policies": {}}"#).unwrap()),
        ("not given", &|place| fs::remove_file(place.path("gate.json")).unwrap()),
        ("set back", &early),
    ];
    for (what, happen) in cases {
        let place = Place::new();
        let hour = enforced(&place);
        happen(&place);
        place.plan_hour_any(hour, &["--render", "out"]);
        assert!(denies(&place, "apps").contains("shop"), "{what}");
    }
}

#[test]
fn a_changed_record_beside_a_broken_history_is_not_believed() {
    let place = Place::new();
    let hour = enforced(&place);
    place.policy(&json!({"images": ["registry.corp.internal/apps/web"]}));
    place.plan_hour(hour, &["--render", "out"]);
    assert!(text_of(&place, "holdfast-enforce-apps").contains("registry.corp.internal/apps/'"));
    edit(&place, |memory| {
        memory["policies"]["apps"]["enforced"]["spec"]["images"] = json!(["registry.corp.internal/apps/web"]);
        memory["policies"]["apps"]["history"] = json!([]);
    });
    place.plan_hour_any(hour + 1, &["--render", "out"]);
    assert!(text_of(&place, "holdfast-enforce-apps").contains("registry.corp.internal/apps/'"));
}

#[test]
fn what_was_lost_twice_is_not_forgotten() {
    let place = Place::new();
    let hour = enforced(&place);
    edit(&place, |memory| memory["policies"]["apps"]["history"] = json!([]));
    place.plan_hour(hour, &["--render", "out"]);
    place.policy(&json!({"enforcement": {"desired": "Enforce", "soak": "4h"}}));
    place.plan_hour(hour + 1, &["--render", "out"]);
    edit(&place, |memory| _ = memory["policies"]["apps"].as_object_mut().unwrap().remove("enforced"));
    place.plan_hour_any(hour + 2, &["--render", "out"]);
    assert!(denies(&place, "apps").contains("shop"));
}

#[test]
fn while_one_record_is_lost_no_other_policy_moves() {
    let place = Place::new();
    other_policy(&place, "b", &json!({"images": ["registry.corp.internal/b/**"], "otherImages": "Allow"}));
    let hour = enforced(&place);
    let whole = memory(&place);
    edit(&place, |memory| {
        memory["policies"]["apps"].as_object_mut().unwrap().remove("enforced");
        memory["policies"]["apps"]["history"] = json!([]);
    });
    let claims = json!({"images": ["registry.corp.internal/b/**", "docker.io/evil/**"], "otherImages": "Allow"});
    other_policy(&place, "b", &claims);
    place.plan_hour_any(hour, &["--render", "out"]);
    assert!(memory(&place)["verified"].to_string().contains(&digits(&place)), "what was proven stays remembered");
    edit(&place, |memory| memory["policies"]["apps"] = whole["policies"]["apps"].clone());
    place.plan_hour_any(hour + 1, &["--render", "out"]);
    assert!(!text_of(&place, "others-enforce").contains("docker.io/evil"), "nobody approved the claim");
}

#[test]
fn a_claim_is_not_approved_by_an_edit_of_the_record() {
    let place = Place::new();
    let hour = enforced(&place);
    other_policy(&place, "b", &json!({"images": ["docker.io/evil/**"], "otherImages": "Allow"}));
    let plan = (0..8).map(|more| place.plan_hour(hour + more, &["--render", "out"])).last().unwrap();
    let held = plan["policies"][1]["held"][0]["digest"].clone();
    let declared: Value = serde_json::from_slice(&fs::read(place.path("git/policy-b.json")).unwrap()).unwrap();
    edit(&place, |memory| {
        memory["policies"]["b"]["enforced"] =
            json!({"spec": declared["spec"], "namespaces": {}, "waves": {}, "claimsApproved": [held]});
    });
    place.plan_hour_any(hour + 8, &["--render", "out"]);
    assert!(!text_of(&place, "others-enforce").contains("docker.io/evil"));
}

#[test]
fn what_admits_nothing_else_outdates_no_proof() {
    let enforcement = |rest: Value| {
        let mut whole = json!({"desired": "Enforce", "soak": "3h"});
        whole.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        json!({"enforcement": whole})
    };
    for spec in [
        enforcement(json!({"soak": "4h"})),
        enforcement(json!({"minimumCoverage": 90})),
        enforcement(json!({"waves": [{"name": "everything"}, {"name": "later"}]})),
        json!({"identities": [{"name": "web", "issuer": ISSUER, "subject": SUBJECT, "optional": true}]}),
        json!({"identities": [{"name": "renamed", "issuer": ISSUER, "subject": SUBJECT}]}),
    ] {
        let place = Place::new();
        let hour = enforced(&place);
        nobody_can_look(&place);
        place.policy(&spec);
        place.plan_hour(hour, &["--render", "out"]);
        assert!(text_of(&place, "holdfast-verified").contains(&digits(&place)), "{spec}");
    }
}

#[test]
fn a_root_that_is_away_hides_no_root_that_was_replaced() {
    let place = Place::new();
    root(&place, "second", &Sigstore::new().trusted_root().to_string());
    place.policy(&json!({"trustRoots": ["corp", "second"]}));
    let hour = enforced(&place);
    nobody_can_look(&place);
    root(&place, "corp", &Sigstore::new().trusted_root().to_string());
    fs::remove_file(place.path("git/root-second.json")).unwrap();
    let plan = place.plan_hour(hour, &["--render", "out"]);
    assert!(text_of(&place, "holdfast-verified").contains(&digits(&place)), "another root waits for an approval");
    let digest = plan["trust"][0]["held"][0]["digest"].as_str().unwrap().to_owned();
    place.plan_hour(hour + 1, &["--render", "out", "--approve", &digest]);
    assert!(!text_of(&place, "holdfast-verified").contains(&digits(&place)), "what proved it counts no more");
}

#[test]
fn a_revocation_is_not_held_by_an_engine_that_refuses_either_form() {
    let place = Place::new();
    let (image, leaked) = place.image("bad", "https://ci.example/leaked");
    place.workload("bad", &image);
    let web = json!({"name": "web", "issuer": ISSUER, "subject": SUBJECT});
    let other = json!({"name": "leaked", "issuer": ISSUER, "subject": "https://ci.example/leaked"});
    place.policy(&json!({"engines": {"native": {}, "openShift": {}}, "identities": [web, other]}));
    let hour = enforced(&place);
    assert!(text_of(&place, "holdfast-verified").contains(&leaked));
    place.policy(&json!({"engines": {"native": {}, "openShift": {}}, "identities": [web]}));
    place.plan_hour(hour, &["--render", "out"]);
    assert!(!text_of(&place, "holdfast-verified").contains(&leaked));
}

const ONE_ENGINE: fn() -> Value = || {
    json!({
        "require": {"sct": false, "transparencyLog": false, "signedTimestamp": true}, "engines": {"policyController": {}},
    })
};

/// `apps` in `shop`, and another policy in `bee` that would make policy-controller refuse `apps`.
fn two_that_mix(place: &Place) -> u32 {
    place.policy(&ONE_ENGINE());
    let hour = enforced(place);
    let (image, _) = place.image("b", SUBJECT);
    place.declare(
        "bee",
        &json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "bee", "labels": {"tier": "bee"}},
        }),
    );
    place.workload_in("b", "bee", &image);
    let mut spec = ONE_ENGINE();
    spec["images"] = json!(["registry.corp.internal/apps/b"]);
    spec["namespaceSelector"] = json!({"matchLabels": {"tier": "bee"}});
    spec["otherImages"] = json!("Allow");
    other_policy(place, "b", &spec);
    hour
}

#[test]
fn a_promotion_that_makes_an_engine_refuse_another_policy_waits() {
    let place = Place::new();
    let hour = two_that_mix(&place);
    let plan = (0..8).map(|more| place.plan_hour(hour + more, &["--render", "out"])).last().unwrap();
    assert_eq!(plan["leftAlone"], Value::Null, "the engine goes on being written");
    assert_eq!(plan["policies"][1]["enforced"], json!([]), "and nothing is called enforced that was never given to it");
}

#[test]
fn an_engine_that_is_added_is_proven_first() {
    let place = Place::new();
    place.policy(&json!({"otherImages": "Allow"}));
    place.workload("sidecar", &format!("quay.io/other/thing@sha256:{}", "ab".repeat(32)));
    let hour = enforced(&place);
    // It denies whatever no policy of its own is about, so the sidecar would go.
    place.policy(&json!({"otherImages": "Allow", "engines": {"native": {}, "policyController": {}}}));
    place.plan_hour(hour, &["--render", "out"]);
    assert!(!files(&place.path("out")).keys().any(|name| name.starts_with("policy-controller-")));
}

#[test]
fn a_slip_that_denies_what_runs_is_taken_back_by_approval() {
    let place = Place::new();
    let hour = enforced(&place);
    place.policy(&json!({"require": {"attestations": ["https://slsa.dev/provenance/v2"]}}));
    place.plan_hour(hour, &["--render", "out"]);
    assert!(!text_of(&place, "holdfast-verified").contains(&digits(&place)));
    place.policy(&json!({}));
    let plan = place.plan_hour(hour + 1, &["--render", "out"]);
    let digest = plan["policies"][0]["held"][0]["digest"].as_str().unwrap().to_owned();
    place.plan_hour(hour + 2, &["--render", "out", "--approve", &digest]);
    assert!(text_of(&place, "holdfast-verified").contains(&digits(&place)));
}

#[test]
fn nothing_is_promoted_that_nothing_was_proven_of() {
    let place = Place::new();
    fs::remove_file(place.path("git/web.json")).unwrap();
    place.policy(&json!({"identities": [{"name": "web", "issuer": ISSUER, "subject": SUBJECT, "optional": true}]}));
    enforced(&place);
    assert_eq!(denies(&place, "apps"), BTreeSet::new(), "no image was ever seen: 0 of 0 proves nothing");
}

#[test]
fn an_engine_that_is_left_alone_is_not_said_to_hold_what_is_wanted() {
    let place = Place::new();
    let hour = enforced(&place);
    for name in files(&place.path("out")).into_keys().filter(|name| name.contains("binding")) {
        fs::remove_file(place.path("out").join(name)).unwrap();
    }
    let now = format!("2026-07-01T{hour:02}:00:00Z");
    let old = ["--engine", "native=1.29.0", "--as-of", "gate.json", "--assume-ready", "--now", &now];
    let answer = place.plan(&[&old[..], &["--applied", "out"]].concat());
    assert!(!answer.out.contains("none: what is applied is what is wanted"), "nobody compared: {}", answer.out);
    let answer = place.plan(&[&old[..], &["--render", "fresh"]].concat());
    assert_ne!(answer.code, 0, "a fresh directory without any denial is no success: {}", answer.err);
}

#[test]
fn a_memory_that_was_written_can_be_read() {
    let place = Place::new();
    enforced(&place);
    edit(&place, |memory| {
        let held = memory["verified"].as_object_mut().unwrap().values_mut().next().unwrap();
        let digests = held["digests"].as_object_mut().unwrap();
        let one = digests.values().next().unwrap().clone();
        digests.extend((0_u64..135_000).map(|at| (Digest::of(&at.to_be_bytes()).to_string(), one.clone())));
    });
    place.plan_hour(9, &["--render", "out"]);
    place.plan_hour(10, &["--render", "out"]);
}

/// Enforced by Kyverno in `shop` and in `holdfast-system`.
fn with_kyverno(spec: &Value) -> (Place, [&'static str; 4]) {
    let place = Place::new();
    let sigstore = Sigstore::new();
    let mut trusted = sigstore.trusted_root();
    trusted["tlogs"] = json!([trusted["tlogs"][2]]);
    root(&place, "corp", &trusted.to_string());
    let mut layout = Layout::new();
    let image = layout.image("web", "registry.corp.internal/apps/web:1");
    let recipe = Recipe { log: LogForm::V2, ..Recipe::image(SUBJECT, ISSUER) };
    layout.attach(&image, &sigstore.bundle(&image.manifest, &recipe));
    fs::remove_dir_all(place.path("images")).unwrap();
    layout.write(&place.path("images")).unwrap();
    place.workload("web", &format!("registry.corp.internal/apps/web@{}", image.digest));
    place.declare("own", &json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "holdfast-system", "labels": {"tier": "apps"}},
    }));
    fs::write(place.path("tuf-root.json"), "{}").unwrap();
    let mut whole = json!({"engines": {"kyverno": {}}, "require": {"sct": false, "signedTimestamp": true}});
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    place.policy(&whole);
    let args = ["--render", "out", "--tuf-root", "corp=tuf-root.json"];
    for hour in 1..=8 {
        place.plan_hour(hour, &args);
    }
    (place, args)
}

#[test]
fn kyverno_denies_wherever_the_plan_says_so() {
    let (place, args) = with_kyverno(&json!({}));
    let plan = place.plan_hour(9, &args);
    let said = plan["policies"][0]["enforced"].to_string();
    for name in ["shop", "holdfast-system"].iter().filter(|name| said.contains(**name)) {
        assert!(kyverno_denies(&place).contains(name), "`{name}` is said to be enforced");
    }
}

#[test]
fn another_namespace_for_holdfast_takes_none_out_of_kyverno() {
    let (place, args) = with_kyverno(&json!({}));
    assert!(kyverno_denies(&place).contains("shop"));
    place.plan_hour_any(9, &[&args[..], &["--namespace", "shop"]].concat());
    assert!(kyverno_denies(&place).contains("shop"));
}

#[test]
fn a_mirror_that_is_gone_or_laxer_goes_on_as_it_was() {
    let place = Place::new();
    let hour = enforced(&place);
    let before = files(&place.path("out"));
    let declared = fs::read_to_string(place.path("git/mirror.json")).unwrap();
    fs::remove_file(place.path("git/mirror.json")).unwrap();
    let plan = place.plan_hour(hour, &["--render", "out"]);
    assert_eq!(plan["trust"][0]["held"][0]["kind"], "MirrorDeleted");
    assert_eq!(files(&place.path("out")), before);
    // Nor does what is remembered of it, once somebody bends that, make room for another root.
    edit(&place, |memory| memory["trust"]["corp"]["root"] = json!("{}"));
    fs::write(place.path("git/mirror.json"), declared).unwrap();
    let plan = place.plan_hour(hour + 1, &["--render", "out"]);
    assert!(plan["trust"][0]["refused"].as_str().unwrap().contains("restore the memory"));
    assert_eq!(files(&place.path("out")), before, "and what was proven stays");
}
