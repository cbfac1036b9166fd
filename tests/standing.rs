//! What engines deny stays denied: whatever happens to a policy that is enforced, what `holdfast plan --render` leaves in its directory still denies it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)] // a test that cannot go on fails

mod support;

use std::collections::BTreeSet;
use std::fs;

use holdfast_testpki::Key;
use proptest::prelude::*;
use serde_json::{Value, json};
use support::place::{ISSUER, Place, files};

/// Enforced in `shop`, rendered into `out`, at the hour that comes next.
fn enforced(place: &Place) -> u32 {
    for hour in 1..=8 {
        place.plan_hour(hour, &["--render", "out"]);
    }
    assert_eq!(denies_in(place), ["shop"].map(str::to_owned).into());
    9
}

/// The namespaces in which a binding of those in `out` denies what is not verified for `apps`.
fn denies_in(place: &Place) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for bytes in files(&place.path("out")).into_values() {
        let object: Value = serde_saphyr::from_slice(&bytes).unwrap();
        let is_binding = object["kind"] == "ValidatingAdmissionPolicyBinding";
        let denies = object["spec"]["validationActions"].to_string().contains("Deny");
        if is_binding && denies && object["metadata"]["labels"]["holdfast.dev/policy"] == "apps" {
            let names = object["spec"]["matchResources"]["namespaceSelector"]["matchExpressions"][0]["values"].clone();
            found.extend(names.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()));
        }
    }
    found
}

/// The digests listed for `apps`.
fn listed(place: &Place) -> String {
    files(&place.path("out"))
        .into_iter()
        .filter(|(name, _)| name.contains("verifiedimages"))
        .map(|(_, bytes)| String::from_utf8(bytes).unwrap())
        .collect()
}

fn removed(plan: &Value) -> Vec<&Value> {
    plan["changes"].as_array().unwrap().iter().filter(|change| change["change"] == "removed").collect()
}

fn held(plan: &Value) -> Vec<&str> {
    plan["policies"][0]["held"].as_array().unwrap().iter().map(|held| held["kind"].as_str().unwrap()).collect()
}

#[test]
fn a_held_loosening_is_rendered_in_the_form_in_force() {
    let place = Place::new();
    let hour = enforced(&place);
    let before = files(&place.path("out"));
    place.policy(&json!({"require": {"sct": false}, "images": ["registry.corp.internal/apps/web"]}));
    let plan = place.plan_hour(hour, &["--render", "out", "--applied", "out"]);
    assert!(!held(&plan).is_empty());
    assert_eq!(removed(&plan), Vec::<&Value>::new());
    assert_eq!(files(&place.path("out")), before, "not a byte of what denies changes");
}

#[test]
fn who_comes_in_by_a_held_form_is_not_listed() {
    let place = Place::new();
    let hour = enforced(&place);
    let (image, digest) = place.image("intruder", "https://ci.example/intruder");
    place.workload("intruder", &image);
    let signers = json!([
        {"name": "web", "issuer": ISSUER, "subject": "https://ci.example/web"},
        {"name": "intruder", "issuer": ISSUER, "subject": "https://ci.example/intruder"},
    ]);
    place.policy(&json!({"identities": signers}));
    let plan = place.plan_hour(hour, &["--render", "out"]);
    assert_eq!(held(&plan), ["IdentityWidened"]);
    assert!(!listed(&place).contains(&digest), "{}", listed(&place));
    assert_eq!(denies_in(&place).len(), 1);
}

#[test]
fn another_key_in_the_secret_waits_and_the_old_one_goes_on() {
    let place = Place::new();
    let (old, new) = (Key::p256(), Key::p256());
    let secret =
        |key: &Key| {
            place.declare("secret", &json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "vendor", "namespace": "holdfast-system"},
            "stringData": {"cosign.pub": key.pem()},
        }));
        };
    secret(&old);
    place.policy(&json!({"identities": [
        {"name": "web", "issuer": ISSUER, "subject": "https://ci.example/web"},
        {"name": "vendor", "key": {"secretRef": {"name": "vendor"}}, "optional": true},
    ]}));
    let hour = enforced(&place);
    let before = files(&place.path("out"));
    secret(&new);
    let plan = place.plan_hour(hour, &["--render", "out"]);
    assert_eq!(held(&plan), ["IdentityWidened"]);
    assert_eq!(files(&place.path("out")), before);
    fs::remove_file(place.path("git").join("secret.json")).unwrap();
    let plan = place.plan_hour(hour + 1, &["--render", "out"]);
    assert!(held(&plan).contains(&"Unusable"), "{:?}", held(&plan));
    assert_eq!(files(&place.path("out")), before, "a Secret that is gone takes no denial with it");
}

#[test]
fn a_policy_that_is_gone_or_renamed_goes_on_denying() {
    let place = Place::new();
    let hour = enforced(&place);
    let before = files(&place.path("out"));
    let declared = fs::read_to_string(place.path("git").join("policy.json")).unwrap();
    fs::remove_file(place.path("git").join("policy.json")).unwrap();
    let plan = place.plan_hour(hour, &["--render", "out", "--applied", "out"]);
    assert_eq!((held(&plan), removed(&plan)), (vec!["PolicyDeleted"], Vec::new()));
    assert_eq!(files(&place.path("out")), before);
    let plan = place.plan_hour(hour + 1, &["--render", "out"]);
    assert_eq!(held(&plan), ["PolicyDeleted"], "and is remembered from run to run");

    fs::write(place.path("git").join("policy.json"), declared.replace("\"apps\"", "\"apps-2\"")).unwrap();
    let plan = place.plan_hour(hour + 2, &["--render", "out"]);
    assert_eq!(plan["policies"].as_array().unwrap().len(), 2);
    assert_eq!(denies_in(&place).len(), 1);
}

#[test]
fn a_policy_that_cannot_be_read_any_more_goes_on_denying() {
    let place = Place::new();
    let hour = enforced(&place);
    let before = files(&place.path("out"));
    place.policy(&json!({"identities": [{"name": "x", "issuer": ISSUER, "subjectRegExp": "(unclosed"}]}));
    let plan = place.plan_hour(hour, &["--render", "out", "--applied", "out"]);
    assert!(held(&plan).contains(&"Unusable"), "{:?}", held(&plan));
    assert_eq!(files(&place.path("out")), before);
}

#[test]
fn an_engine_that_cannot_take_it_is_left_as_it_is() {
    let place = Place::new();
    let hour = enforced(&place);
    let before = files(&place.path("out"));
    let plan = place.plan_hour_any(hour, &["--render", "out", "--applied", "out", "--engine", "native=1.29.0"]);
    assert_eq!(plan["leftAlone"]["engines"], json!(["native"]));
    assert_eq!(removed(&plan), Vec::<&Value>::new());
    assert_eq!(files(&place.path("out")), before);
    let answer = place.plan(&[
        "--as-of",
        "gate.json",
        "--now",
        "2026-07-01T09:00:00Z",
        "--engine",
        "native=1.29.0",
        "--assume-ready",
        "--exit-code",
    ]);
    assert_eq!(answer.code, 1, "{answer:?}");
    assert!(answer.out.contains("left alone"), "{}", answer.out);
}

#[test]
fn a_stricter_form_that_an_engine_cannot_take_is_held() {
    let place = Place::new();
    place.policy(&json!({"require": {"sct": false, "transparencyLog": false, "signedTimestamp": true}, "engines": {"native": {}, "policyController": {}}}));
    let hour = enforced(&place);
    let before = files(&place.path("out"));
    assert!(before.keys().any(|name| name.starts_with("policy-controller-")), "{:?}", before.keys());
    // A type that is no address means something of its own to this engine.
    place.policy(&json!({
        "require": {"sct": true, "transparencyLog": true, "signedTimestamp": true, "attestations": ["custom"]},
        "engines": {"native": {}, "policyController": {}},
    }));
    let plan = place.plan_hour(hour, &["--render", "out"]);
    assert_eq!(held(&plan), ["CannotBeEnforced"], "{plan:#}");
    assert_eq!(files(&place.path("out")), before);
}

type Edit = fn(&mut Value);

#[test]
fn memory_that_was_edited_or_lost_never_reads_as_audit() {
    let place = Place::new();
    let hour = enforced(&place);
    let before = files(&place.path("out"));
    let whole: Value = serde_json::from_slice(&fs::read(place.path("gate.json")).unwrap()).unwrap();
    let gone: Edit = |apps| _ = apps.as_object_mut().unwrap().remove("enforced");
    let edits: [(&str, Edit); 6] = [
        ("the record is gone", gone),
        ("the record and the history are gone", |apps| {
            apps.as_object_mut().unwrap().remove("enforced");
            apps["history"] = json!([]);
        }),
        ("a namespace is gone", |apps| _ = apps["enforced"]["namespaces"].as_object_mut().unwrap().remove("shop")),
        ("another namespace stands there", |apps| {
            let standing = apps["enforced"]["namespaces"].as_object_mut().unwrap().remove("shop").unwrap();
            apps["enforced"]["namespaces"]["other"] = standing;
        }),
        ("the form is looser", |apps| apps["enforced"]["spec"]["require"] = json!({"sct": false})),
        ("the history is cut", |apps| {
            apps["history"].as_array_mut().unwrap().remove(0);
            apps.as_object_mut().unwrap().remove("enforced");
        }),
    ];
    for (what, edit) in edits {
        let mut memory = whole.clone();
        edit(&mut memory["policies"]["apps"]);
        fs::write(place.path("gate.json"), memory.to_string()).unwrap();
        let plan = place.plan_hour_any(hour, &["--render", "out"]);
        assert_ne!(plan["policies"][0]["enforcement"]["phase"], "Audit", "{what}");
        assert_ne!(plan["policies"][0]["enforcement"]["phase"], "Soaking", "{what}");
        assert!(plan["policies"][0]["alarms"].to_string().contains("RecordLost"), "{what}: {plan:#}");
        assert!(denies_in(&place).contains("shop"), "{what}");
        assert_eq!(files(&place.path("out")).len(), before.len(), "{what}");
        let kept: Value = serde_json::from_slice(&fs::read(place.path("gate.json")).unwrap()).unwrap();
        let progress = &kept["policies"]["apps"]["progress"]["enforced"];
        assert!(progress.to_string().contains("shop"), "{what}: {progress}");
    }
}

#[test]
fn an_engine_another_policy_names_takes_no_namespace_out() {
    let place = Place::new();
    place.declare(
        "namespace",
        &json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "cosign-system", "labels": {"tier": "apps"}},
        }),
    );
    place.workload_in("web", "cosign-system", &place.image);
    for hour in 1..=8 {
        place.plan_hour(hour, &["--render", "out"]);
    }
    assert!(denies_in(&place).contains("cosign-system"));
    place.declare("other", &json!({
        "apiVersion": "holdfast.dev/v1alpha1", "kind": "SigningIdentityPolicy", "metadata": {"name": "zz"}, "spec": {
            "images": ["elsewhere.example/**"], "namespaceSelector": {"matchLabels": {"tier": "none"}}, "trustRoots": ["corp"],
            "identities": [{"name": "web", "issuer": ISSUER, "subject": "https://ci.example/web"}], "engines": {"policyController": {}},
        },
    }));
    place.plan_hour(8, &["--render", "out"]);
    assert!(denies_in(&place).contains("cosign-system"));
}

#[test]
fn a_namespace_that_is_labelled_out_keeps_its_digests() {
    let place = Place::new();
    let hour = enforced(&place);
    let before = listed(&place);
    assert!(before.contains(place.image.rsplit(':').next().unwrap()));
    place.declare(
        "namespace",
        &json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {"tier": "none"}},
        }),
    );
    let plan = place.plan_hour(hour, &["--render", "out"]);
    assert_eq!(held(&plan), ["NamespaceLeft"]);
    assert_eq!(denies_in(&place).len(), 1);
    assert_eq!(listed(&place), before, "what runs there is still judged");
}

#[test]
fn a_namespace_without_manifest_is_enforced_where_its_name_is_what_counts() {
    let place = Place::new();
    fs::remove_file(place.path("git").join("namespace.json")).unwrap();
    place.policy(&json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "shop"}}}));
    enforced(&place);
}

#[test]
fn what_is_held_comes_into_force_when_it_is_approved_by_its_digest() {
    let place = Place::new();
    let hour = enforced(&place);
    let before = files(&place.path("out"));
    let (image, digits) = place.image("intruder", "https://ci.example/second");
    place.workload("second", &image);
    let signers = json!([
        {"name": "web", "issuer": ISSUER, "subject": "https://ci.example/web"},
        {"name": "second", "issuer": ISSUER, "subject": "https://ci.example/second"},
    ]);
    place.policy(&json!({"identities": signers}));
    let plan = place.plan_hour(hour, &["--render", "out"]);
    let digest = plan["policies"][0]["held"][0]["digest"].as_str().unwrap().to_owned();
    assert_eq!(files(&place.path("out")), before);
    let plan = place.plan_hour(hour + 1, &["--render", "out", "--approve", &digest]);
    assert_eq!(held(&plan), Vec::<&str>::new());
    assert!(listed(&place).contains(&digits));
    assert!(fs::read_to_string(place.path("gate.json")).unwrap().contains("--approve"), "and the history says by whom");

    // A deletion takes two people, and none of them is a flag.
    fs::remove_file(place.path("git").join("policy.json")).unwrap();
    let plan = place.plan_hour(hour + 2, &["--render", "out"]);
    let digest = plan["policies"][0]["held"][0]["digest"].as_str().unwrap().to_owned();
    let plan = place.plan_hour(hour + 3, &["--render", "out", "--approve", &digest]);
    assert_eq!(held(&plan), ["PolicyDeleted"]);
    let stray = place.plan(&["--approve", &"sha256:".chars().chain("ab".repeat(32).chars()).collect::<String>()]);
    assert!(stray.err.contains("nothing waits for it"), "{}", stray.err);
}

#[test]
fn a_record_that_is_lost_is_made_anew_when_the_declared_form_is_approved() {
    let place = Place::new();
    let hour = enforced(&place);
    let mut memory: Value = serde_json::from_slice(&fs::read(place.path("gate.json")).unwrap()).unwrap();
    memory["policies"]["apps"].as_object_mut().unwrap().remove("enforced");
    fs::write(place.path("gate.json"), memory.to_string()).unwrap();
    place.policy(&json!({"require": {"sct": false}}));
    let before = files(&place.path("out"));
    let plan = place.plan_hour_any(hour, &["--render", "out"]);
    let alarm = plan["policies"][0]["alarms"].to_string();
    let digest = alarm.split_once("by the digest ").unwrap().1.split('"').next().unwrap().to_owned();
    assert_eq!(files(&place.path("out")), before);
    let plan = place.plan_hour(hour + 1, &["--render", "out", "--approve", &digest]);
    assert_eq!(plan["policies"][0]["enforced"], json!(["shop"]));
    assert!(plan.get("leftAlone").is_none());
    let plan = place.plan_hour(hour + 2, &["--render", "out"]);
    assert!(plan.get("leftAlone").is_none());
    assert!(plan["policies"][0]["alarms"].to_string().contains("it was set right"), "said for three days");
}

#[test]
fn what_was_verified_stays_listed_until_it_is_proven_bad_outdated_or_unused() {
    let place = Place::new();
    let digits = place.image.rsplit(':').next().unwrap().to_owned();
    enforced(&place);
    let render = |args: &[&str]| {
        let usual = ["--as-of", "gate.json", "--remember", "gate.json", "--assume-ready", "--render", "out"];
        assert_eq!(place.plan(&[&usual, args].concat()).code, 0);
        listed(&place).contains(&digits)
    };
    let rename = |from: &str, to: &str| fs::rename(place.path(from), place.path(to)).unwrap();

    // Nobody can look: no layout with the image in it, no trust root at hand.
    rename("images", "elsewhere");
    holdfast_testpki::layout::Layout::new().write(&place.path("images")).unwrap();
    assert!(render(&["--now", "2026-07-01T09:00:00Z"]), "an image that cannot be looked at stays");
    rename("git/root.json", "root.json");
    assert!(render(&["--now", "2026-07-01T10:00:00Z"]), "and so without its root");
    rename("root.json", "git/root.json");

    // Nothing uses it, for a while and for too long.
    fs::remove_dir_all(place.path("images")).unwrap();
    rename("elsewhere", "images");
    fs::rename(place.path("git/web.json"), place.path("web.json")).unwrap();
    assert!(render(&["--now", "2026-07-20T00:00:00Z"]), "somebody may want to go back to it");
    let memory = fs::read(place.path("gate.json")).unwrap();
    assert!(!render(&["--now", "2026-08-20T00:00:00Z"]));

    // It is looked at, and what signed it is gone: that proves nothing against it.
    fs::write(place.path("gate.json"), &memory).unwrap();
    fs::rename(place.path("web.json"), place.path("git/web.json")).unwrap();
    assert!(render(&["--now", "2026-07-20T01:00:00Z"]));
    place.unsign();
    assert!(render(&["--now", "2026-07-20T02:00:00Z"]));
    // It is proven bad: somebody else signed it.
    place.sign_as("https://ci.example/other");
    assert!(!render(&["--now", "2026-07-20T03:00:00Z"]));

    // The policy asks for more, and nobody can look.
    fs::write(place.path("gate.json"), &memory).unwrap();
    fs::remove_dir_all(place.path("images")).unwrap();
    holdfast_testpki::layout::Layout::new().write(&place.path("images")).unwrap();
    place.policy(&json!({"require": {"attestations": ["https://slsa.dev/provenance/v1"]}}));
    assert!(!render(&["--now", "2026-07-20T01:00:00Z"]), "what was proven was proven of another form");
}

/// What may happen to a place between two plans.
#[derive(Debug, Clone)]
enum Happens {
    Declare(usize),
    PolicyGone,
    Label(bool),
    NamespaceGone,
    OldApiServer,
    Unsigned,
    RootGone,
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        4 => (0..7_usize).prop_map(Happens::Declare),
        1 => Just(Happens::PolicyGone),
        1 => any::<bool>().prop_map(Happens::Label),
        1 => Just(Happens::NamespaceGone),
        1 => Just(Happens::OldApiServer),
        1 => Just(Happens::Unsigned),
        1 => Just(Happens::RootGone),
    ]
}

fn happen(place: &Place, event: &Happens) {
    let gone = |name: &str| _ = fs::remove_file(place.path("git").join(format!("{name}.json")));
    match event {
        Happens::Declare(0) => place.policy(&json!({})),
        Happens::Declare(1) => place.policy(&json!({"enforcement": {"desired": "Audit"}})),
        Happens::Declare(2) => place.policy(&json!({"engines": {"kyverno": {}}})),
        Happens::Declare(3) => place.policy(&json!({"engines": {"native": {}, "policyController": {}, "kyverno": {}}, "otherImages": "Allow"})),
        Happens::Declare(4) => place.policy(&json!({"namespaceSelector": {"matchLabels": {"tier": "other"}}})),
        Happens::Declare(5) => place.policy(&json!({"identities": [{"name": "x", "issuer": ISSUER, "subjectRegExp": "(unclosed"}]})),
        Happens::Declare(_) => place.policy(&json!({"require": {"attestations": ["https://slsa.dev/provenance/v1"]}})),
        Happens::PolicyGone => gone("policy"),
        Happens::Label(inside) => place.declare("namespace", &json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {"tier": if *inside { "apps" } else { "none" }}},
        })),
        Happens::NamespaceGone => gone("namespace"),
        Happens::Unsigned => place.workload("other", &format!("registry.corp.internal/apps/other@sha256:{}", "ab".repeat(32))),
        Happens::RootGone => gone("root"),
        Happens::OldApiServer => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Whatever is declared, deleted, mislabelled or missing: where the policy is enforced, a rendered binding denies, from run to run.
    #[test]
    fn what_is_enforced_is_rendered(events in prop::collection::vec(happens(), 1..8)) {
        let place = Place::new();
        for (hour, event) in (enforced(&place)..).zip(&events) {
            happen(&place, event);
            let old: &[&str] = if matches!(event, Happens::OldApiServer) { &["--engine", "native=1.29.0"] } else { &[] };
            let plan = place.plan_hour_any(hour, &[&["--render", "out"], old].concat());
            let policy = plan["policies"].as_array().unwrap().iter().find(|policy| policy["name"] == "apps").unwrap();
            prop_assert_eq!(&policy["enforced"], &json!(["shop"]), "{:?}", event);
            prop_assert!(denies_in(&place).contains("shop"), "{:?}", event);
        }
    }
}
