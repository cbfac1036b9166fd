//! `holdfast plan --applied`: what is applied is compared as a whole, and nothing of it is passed over in silence.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test that cannot go on fails

mod support;

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use support::estate::Estate;
use support::{Answer, holdfast_in};

/// What is applied: what is wanted, and then changed.
struct Applied {
    estate: Estate,
}

impl Applied {
    fn new() -> Self {
        Self::of(json!({"engines": {"native": {}}, "otherImages": "Deny"}))
    }

    fn of(policy: Value) -> Self {
        let estate = Estate::new(policy);
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
        estate.write("namespace.json", &namespace.to_string());
        let place = Self { estate };
        assert_eq!(place.plan(&["--render", "applied"]).code, 0);
        assert_eq!(place.changes(), json!([]));
        place
    }

    fn plan(&self, args: &[&str]) -> Answer {
        let always = ["plan", "git", "--now", "2026-06-15T12:00:00Z", "-o", "json"];
        holdfast_in(self.estate.dir.path(), &[&always[..], args].concat())
    }

    fn changes(&self) -> Value {
        let answer = self.plan(&["--applied", "applied"]);
        assert_eq!(answer.code, 0, "{}", answer.err);
        serde_json::from_str::<Value>(&answer.out).unwrap()["changes"].clone()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.estate.dir.path().join("applied").join(name)
    }

    /// The file whose name has this in it, and the object in it.
    fn one(&self, part: &str) -> (PathBuf, Value) {
        let mut names: Vec<PathBuf> = fs::read_dir(self.path("")).unwrap().map(|entry| entry.unwrap().path()).collect();
        names.sort();
        let path = names.into_iter().find(|path| path.to_str().unwrap().contains(part)).unwrap();
        let object = serde_saphyr::from_slice(&fs::read(&path).unwrap()).unwrap();
        (path, object)
    }

    /// Changes that one object, and gives what is said of it: kind of change, object, and fields.
    fn changed(&self, part: &str, change: impl FnOnce(&mut Value)) -> Vec<(String, String, Vec<String>)> {
        let (path, before) = self.one(part);
        let mut object = before.clone();
        change(&mut object);
        fs::write(&path, object.to_string()).unwrap();
        let said = said(&self.changes());
        fs::write(&path, before.to_string()).unwrap();
        said
    }
}

fn said(changes: &Value) -> Vec<(String, String, Vec<String>)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let fields = |change: &Value| -> Vec<String> {
        change["fields"].as_array().into_iter().flatten().map(|field| text(&field["path"])).collect()
    };
    changes.as_array().unwrap().iter().map(|c| (text(&c["change"]), text(&c["object"]), fields(c))).collect()
}

/// A change, and what it is.
type Change<'a> = (&'a str, &'a dyn Fn(&mut Value));

const BINDING: &str = "policybinding";
const NAME: &str = "ValidatingAdmissionPolicyBinding/holdfast-audit-apps-00-ff";

#[test]
fn one_object_in_two_forms_is_said_and_none_is_picked() {
    let place = Applied::new();
    let (_, mut other) = place.one(BINDING);
    // The same again, also as the API server would give it, is no contradiction.
    other["status"] = json!({"x": 1});
    other["metadata"]["uid"] = json!("u");
    other["metadata"]["resourceVersion"] = json!("7");
    for name in ["a-first.json", "z-last.json"] {
        fs::write(place.path(name), other.to_string()).unwrap();
    }
    assert_eq!(place.changes(), json!([]));
    // Whichever comes first.
    other["spec"]["validationActions"] = json!(["Audit"]);
    for name in ["a-first.json", "z-last.json"] {
        fs::write(place.path(name), other.to_string()).unwrap();
        let expected = ("duplicate".to_owned(), NAME.to_owned(), vec!["spec.validationActions".to_owned()]);
        assert_eq!(said(&place.changes()), [expected], "{name}");
    }
    let human = holdfast_in(place.estate.dir.path(), &["plan", "git", "--applied", "applied"]);
    assert!(human.out.contains("twice"), "{}", human.out);
    // Of one that is no longer wanted, too; what is not ours is nobody's business.
    other["metadata"]["name"] = json!("holdfast-gone");
    let mut less = other.clone();
    less["spec"]["validationActions"] = json!(["Warn"]);
    fs::write(place.path("a-first.json"), other.to_string()).unwrap();
    fs::write(place.path("z-last.json"), less.to_string()).unwrap();
    assert!(said(&place.changes()).iter().any(|(kind, name, _)| kind == "duplicate" && name.contains("gone")));
    for (name, n) in [("a-first.json", 1), ("z-last.json", 2)] {
        let theirs =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"n": n.to_string()}});
        fs::write(place.path(name), theirs.to_string()).unwrap();
    }
    assert_eq!(place.changes(), json!([]));
}

#[test]
fn what_is_going_away_is_not_there_to_stay() {
    let place = Applied::new();
    let going = place.changed(BINDING, |object| {
        object["metadata"]["deletionTimestamp"] = json!("2026-06-15T11:00:00Z");
        object["metadata"]["deletionGracePeriodSeconds"] = json!(0);
    });
    assert_eq!(going, [("deleting".to_owned(), NAME.to_owned(), vec!["metadata.deletionTimestamp".to_owned()])]);
    // Of one that is not wanted it is what should happen.
    let gone = place.changed(BINDING, |object| {
        object["metadata"]["name"] = json!("holdfast-gone");
        object["metadata"]["deletionTimestamp"] = json!("2026-06-15T11:00:00Z");
    });
    assert!(gone.iter().any(|(kind, name, fields)| kind == "removed"
        && name.contains("gone")
        && fields == &["metadata.deletionTimestamp"]));
}

#[test]
fn what_says_something_beside_what_is_wanted_is_a_change() {
    let place = Applied::new();
    let one = |change: &dyn Fn(&mut Value)| place.changed(BINDING, |object| change(object));
    let field = |path: &str| vec![("changed".to_owned(), NAME.to_owned(), vec![path.to_owned()])];
    assert_eq!(one(&|o| o["specs"] = json!({"x": 1})), field("specs"));
    assert_eq!(one(&|o| o["webhooks"] = json!([1])), field("webhooks"));
    assert_eq!(
        one(&|o| o["metadata"]["labels"]["holdfast.dev/memory"] = json!("")),
        field("metadata.labels.holdfast.dev/memory")
    );
    assert_eq!(
        one(&|o| o["metadata"]["annotations"]["holdfast.dev/part-of-another"] = json!("true")),
        field("metadata.annotations.holdfast.dev/part-of-another")
    );
    let owner = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "u"}]);
    assert_eq!(one(&|o| o["metadata"]["ownerReferences"] = owner.clone()), field("metadata.ownerReferences"));
    assert_eq!(one(&|o| o["metadata"]["finalizers"] = json!(["x.example/hold"])), field("metadata.finalizers"));
    assert_eq!(
        one(&|o| o["metadata"]["annotations"]["holdfast.dev/intent"] = json!("sha256:00")),
        field("metadata.annotations.holdfast.dev/intent")
    );
    // Others' words on our objects, what the API server keeps, and what says nothing.
    let nothing: &[Change<'_>] = &[
        ("status", &|o| o["status"] = json!({"observedGeneration": 1})),
        ("managed fields", &|o| o["metadata"]["managedFields"] = json!([{"manager": "x"}])),
        ("labels of tools", &|o| o["metadata"]["labels"]["argocd.argoproj.io/instance"] = json!("x")),
        ("empty", &|o| o["metadata"]["finalizers"] = json!([])),
        ("null", &|o| o["data"] = Value::Null),
    ];
    for (what, change) in nothing {
        assert_eq!(one(change), [], "{what}");
    }
}

#[test]
fn an_engine_may_hold_its_own_objects_back() {
    let engines = json!({"engines": {"policyController": {}}, "require": {"transparencyLog": false, "signedTimestamp": true, "sct": false}});
    let place = Applied::of(engines);
    let with = |finalizer: &str| {
        let finalizers = json!([finalizer]);
        place.changed("clusterimagepolicy", |object| object["metadata"]["finalizers"] = finalizers)
    };
    assert_eq!(with("clusterimagepolicies.policy.sigstore.dev"), []);
    assert_eq!(with("policy.sigstore.dev/x"), []);
    assert_eq!(with("notpolicy.sigstore.dev/x").len(), 1);
}

#[test]
fn what_others_hold_beside_a_part_of_ours_is_theirs() {
    let require = json!({"transparencyLog": true, "signedTimestamp": false, "sct": false});
    let place = Applied::of(json!({"engines": {"policyController": {}}, "require": require}));
    let theirs = place.changed("configmap", |object| {
        object["data"]["theirs"] = json!("x");
        object["metadata"]["ownerReferences"] = json!([{"kind": "ConfigMap", "name": "x"}]);
        object["metadata"]["finalizers"] = json!(["x.example/hold"]);
        object["binaryData"] = json!({"x": "eA=="});
    });
    assert_eq!(theirs, []);
    let going = place.changed("configmap", |o| o["metadata"]["deletionTimestamp"] = json!("2026-06-15T11:00:00Z"));
    assert_eq!(going[0].0, "deleting", "{going:?}");
    let ours = place.changed("configmap", |object| {
        for value in object["data"].as_object_mut().unwrap().values_mut() {
            *value = json!("other");
        }
    });
    assert_eq!((ours.len(), ours[0].0.as_str()), (1, "changed"), "{ours:?}");
}

#[test]
fn lists_in_lists_are_looked_into() {
    let place = Applied::new();
    let list = |items: Value| json!({"apiVersion": "v1", "kind": "List", "items": items});
    let mut all = Vec::new();
    for entry in fs::read_dir(place.path("")).unwrap().map(Result::unwrap) {
        all.push(serde_saphyr::from_slice::<Value>(&fs::read(entry.path()).unwrap()).unwrap());
        fs::remove_file(entry.path()).unwrap();
    }
    let nested = list(json!([list(json!([list(json!(all))]))]));
    fs::write(place.path("all.json"), nested.to_string()).unwrap();
    assert_eq!(place.changes(), json!([]));
    let mut deep = nested;
    for _ in 0..20 {
        deep = list(json!([deep]));
    }
    fs::write(place.path("all.json"), deep.to_string()).unwrap();
    let answer = place.plan(&["--applied", "applied"]);
    assert_eq!(answer.code, 2, "{}", answer.err);
    assert!(answer.err.contains("all.json") && answer.err.contains("nest"), "{}", answer.err);
}

#[test]
fn what_is_not_read_is_said() {
    let place = Applied::new();
    let (path, _) = place.one(BINDING);
    let outside = place.estate.dir.path().join("outside.yaml");
    fs::rename(&path, &outside).unwrap();
    std::os::unix::fs::symlink(&outside, &path).unwrap();
    let answer = place.plan(&["--applied", "applied"]);
    assert_eq!(answer.code, 2, "{}", answer.err);
    assert!(answer.err.contains("link"), "{}", answer.err);
}
