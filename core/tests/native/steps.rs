//! The order of writes.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_core::engines::native::{Changes, Native, NativeCapability, Step, changes, steps};
use holdfast_core::engines::object::INTENT;
use holdfast_core::engines::{Engine, EngineKind, Object, Verified};
use serde_json::{Value, json};

use crate::vap::ApiServer;
use crate::world::{Case, NEW, case_in, digest, names, world};

/// Applies steps to what there is, and gives what there is at each settling.
fn applied(current: &[Object], wanted: &[Object]) -> Vec<Vec<Object>> {
    let mut there: BTreeMap<(String, String), Object> =
        current.iter().map(|o| ((o.kind().to_owned(), o.name().to_owned()), o.clone())).collect();
    let mut moments = Vec::new();
    for step in steps(current, wanted) {
        match step {
            Step::Write(object) => _ = there.insert((object.kind().to_owned(), object.name().to_owned()), object),
            Step::Delete { kind, name } => assert!(there.remove(&(kind, name)).is_some()),
            Step::Settle => {}
        }
        moments.push(there.values().cloned().collect());
    }
    moments
}

#[test]
fn nothing_is_written_where_nothing_changes() {
    let objects = world().render().objects;
    assert!(steps(&objects, &objects).is_empty());
}

#[test]
fn at_no_step_is_less_denied_or_a_verified_image_refused() {
    changes_over_to(0);
}

#[test]
fn nor_when_one_shard_becomes_two() {
    changes_over_to(14_500);
}

/// The steps up to each settling.
fn phases(current: &[Object], wanted: &[Object]) -> Vec<Vec<Step>> {
    let steps = steps(current, wanted);
    assert_eq!(steps.last(), Some(&Step::Settle), "the last of them is waited for, too");
    let mut phases: Vec<Vec<Step>> = steps.split(|step| *step == Step::Settle).map(<[_]>::to_vec).collect();
    phases.pop();
    phases
}

fn deleted(phase: &[Step]) -> BTreeSet<&str> {
    let kind = |step: &'_ Step| match step {
        Step::Delete { kind, .. } => Some(kind.clone()),
        Step::Write(_) | Step::Settle => None,
    };
    let all = ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "VerifiedImages"];
    let found: BTreeSet<String> = phase.iter().filter_map(kind).collect();
    all.into_iter().filter(|kind| found.contains(*kind)).collect()
}

/// The lists that shards get in a phase.
fn lists(phase: &[Step]) -> String {
    let written = |step: &'_ Step| match step {
        Step::Write(object) if object.kind() == "VerifiedImages" => Some(object.body()["spec"]["data"].to_string()),
        _ => None,
    };
    phase.iter().filter_map(written).collect()
}

/// `tools` goes, another policy comes, and an image of `apps` is verified no longer.
#[test]
fn what_opens_is_written_when_what_closes_is_in_force() {
    let (before, mut after) = (world(), world());
    after.policies.retain(|(_, policy, _)| policy.name != "tools");
    after.policy("new", &json!({"images": ["quay.io/**"], "namespaceSelector": names(&["free"])}), &["free"]);
    after.verified = Verified::default();
    after.verify("apps", digest("both"));
    let phases = phases(&before.render().objects, &after.render().objects);
    let [closing, opening, unused] = &phases[..] else { panic!("{phases:#?}") };
    assert_eq!(deleted(closing), BTreeSet::new());
    assert_eq!(deleted(opening), BTreeSet::from(["ValidatingAdmissionPolicyBinding"]));
    assert_eq!(deleted(unused), BTreeSet::from(["ValidatingAdmissionPolicy", "VerifiedImages"]));
    // What is verified no longer leaves first; what only a policy looks for that goes, last.
    let withdrawn = digest("good").hex();
    assert!(!lists(closing).is_empty() && !lists(closing).contains(&withdrawn));
    let of_leaving = "holdfast-verified-00-ff.tools";
    assert!(!touched(closing).contains(of_leaving) && lists(opening).is_empty());
    assert!(lists(unused).is_empty() && touched(unused).contains(of_leaving));
}

/// The shards that a phase writes or deletes.
fn touched(phase: &[Step]) -> BTreeSet<String> {
    let name = |step: &'_ Step| match step {
        Step::Write(object) => (object.kind() == "VerifiedImages").then(|| object.name().to_owned()),
        Step::Delete { kind, name } => (kind == "VerifiedImages").then(|| name.clone()),
        Step::Settle => None,
    };
    phase.iter().filter_map(name).collect()
}

/// `tools` is there still and judges nowhere, and nothing is verified for it.
#[test]
fn what_a_policy_looks_for_stays_until_it_no_longer_judges() {
    let (before, mut after) = (world(), world());
    after.namespaces.insert("other".to_owned(), BTreeMap::new());
    after.policies.retain(|(_, policy, _)| policy.name != "tools");
    let images = ["registry.corp.internal/apps/tools/**", "docker.io/library/*"];
    after.policy("tools", &json!({"images": images, "namespaceSelector": names(&["none"])}), &[]);
    after.verified = Verified::default();
    for name in ["good", "both"] {
        after.verify("apps", digest(name));
    }
    let phases = phases(&before.render().objects, &after.render().objects);
    let [closing, opening, unused] = &phases[..] else { panic!("{phases:#?}") };
    let of_leaving = "holdfast-verified-00-ff.tools";
    assert!(!touched(closing).contains(of_leaving) && !touched(opening).contains(of_leaving));
    assert!(touched(unused).contains(of_leaving) && !deleted(unused).contains("VerifiedImages"));
    assert!(touched(closing).contains("holdfast-verified-00-ff.open"), "what judges still is closed first");
}

/// A rule with one field of it changed by somebody.
fn edited(rule: &Object, pointer: &str, value: Value) -> Object {
    let mut body = rule.body().clone();
    *body.pointer_mut(pointer).unwrap() = value;
    Object::found(EngineKind::Native, body)
}

/// What was opened by hand waits for nothing: what is written over it was there before.
#[test]
fn a_rule_that_somebody_changed_is_put_back_with_what_closes() {
    let wanted = world().render().objects;
    let rule = wanted.iter().find(|object| object.name() == "holdfast-enforce-apps").unwrap();
    let over = |there: &Object| changes([there], [rule]);
    let opened = edited(rule, "/spec/validations", json!([{"expression": "true"}]));
    let put_back = Changes { closing: vec![Step::Write(rule.clone())], ..Changes::default() };
    assert_eq!(over(&opened), put_back);
    // In a form of its own, it may be one that denies more than what is wanted.
    let waits = Changes { opening: vec![Step::Write(rule.clone())], ..Changes::default() };
    let said = format!("/metadata/annotations/{}", INTENT.replace('/', "~1"));
    for other in [json!("sha256:00"), json!(null)] {
        assert_eq!(over(&edited(&opened, &said, other)), waits);
    }
}

/// One policy gets another number of shards, and no object of another one is touched.
#[test]
fn a_policy_is_resharded_alone() {
    let mut world = world();
    for number in 0..8_000 {
        world.verify("apps", digest(&format!("{number}")));
    }
    let two = NativeCapability { shards: BTreeMap::from([("apps".to_owned(), 2)]), ..NEW };
    let [one, two] = [&NEW, &two].map(|capability| Native::render(&world.estate(), capability).objects);
    for (from, to) in [(&one, &two), (&two, &one)] {
        let phases = phases(from, to);
        let [closing, opening, unused] = &phases[..] else { panic!("{phases:#?}") };
        assert!(
            touched(closing).iter().chain(&touched(unused)).all(|name| name.rsplit('.').next() == Some("apps")),
            "{phases:#?}"
        );
        assert_eq!(deleted(closing), BTreeSet::new());
        assert_eq!(deleted(opening), BTreeSet::from(["ValidatingAdmissionPolicyBinding"]));
        assert_eq!(deleted(unused), BTreeSet::from(["VerifiedImages"]));
        let servers = |objects: &[Object]| ApiServer::new(objects.iter().map(Object::body));
        for moment in applied(from, to) {
            let server = servers(&moment);
            for number in [0, 1, 2, 3] {
                let image = |name: &str| format!("registry.corp.internal/apps/web@{}", digest(name));
                let pod = |name: &str| Case { images: vec![image(name)], ..case_in("billing") }.request();
                assert!(server.review(&pod(&number.to_string())).denied.is_empty());
                assert!(!server.review(&pod(&format!("bad{number}"))).denied.is_empty());
            }
        }
    }
}

#[test]
fn nothing_is_waited_for_where_nothing_closes() {
    let all = world().render().objects;
    let phases = phases(&all, &[]);
    let kinds: Vec<BTreeSet<&str>> = phases.iter().map(|phase| deleted(phase)).collect();
    assert_eq!(
        kinds,
        [
            BTreeSet::from(["ValidatingAdmissionPolicyBinding"]),
            BTreeSet::from(["ValidatingAdmissionPolicy", "VerifiedImages"])
        ]
    );
    let made = steps(&[], &all);
    assert_eq!(made.iter().filter(|step| **step == Step::Settle).count(), 1, "there is nothing that could be open");
}

/// Promotion, a policy that goes, one that is narrowed while another takes over, and so many more digests.
fn changes_over_to(more: usize) {
    let before = world();
    let mut after = world();
    after.exceptions.clear();
    after.policies.clear();
    after.policy(
        "apps",
        &json!({"images": ["registry.corp.internal/apps/web/**"], "namespaceSelector": names(&["billing", "shop"])}),
        &["billing", "shop"],
    );
    after.policy("rest", &json!({"images": ["registry.corp.internal/apps/**", "docker.io/library/*"], "namespaceSelector": names(&["billing", "shop", "free"])}), &["billing", "shop", "free"]);
    for name in ["good", "both", "tool"] {
        after.verify("rest", digest(name));
    }
    for number in 0..more {
        after.verify("apps", digest(&format!("{number}")));
    }
    let (old, new) = (before.render().objects, after.render().objects);
    let moments = applied(&old, &new);
    let last: BTreeSet<String> = moments.last().unwrap().iter().map(|o| o.body().to_string()).collect();
    assert_eq!(last, new.iter().map(|o| o.body().to_string()).collect());
    let servers = |objects: &[Object]| ApiServer::new(objects.iter().map(Object::body));
    let (first, end) = (servers(&old), servers(&new));
    let between: Vec<ApiServer> = moments.iter().map(|moment| servers(moment)).collect();
    let pods = [
        ("billing", format!("registry.corp.internal/apps/web@{}", digest("good"))),
        ("billing", format!("registry.corp.internal/apps/tools/cli@{}", digest("both"))),
        ("billing", format!("registry.corp.internal/apps/tools/cli@{}", digest("other"))),
        ("billing", format!("registry.corp.internal/apps/web/a@{}", digest("good"))),
        ("billing", format!("nginx@{}", digest("tool"))),
        ("billing", format!("nginx@{}", digest("other"))),
        ("shop", format!("registry.corp.internal/apps/web@{}", digest("other"))),
        ("billing", format!("quay.io/any/thing@{}", digest("good"))),
        ("billing", "registry.corp.internal/apps/web:1".to_owned()),
    ];
    for (namespace, image) in pods {
        let request = Case { images: vec![image.clone()], ..case_in(namespace) }.request();
        let (was, will) = (first.review(&request).denied.is_empty(), end.review(&request).denied.is_empty());
        for (at, server) in between.iter().enumerate().filter(|_| was == will) {
            let admitted = server.review(&request).denied.is_empty();
            assert_eq!(admitted, was, "{image} in {namespace} after {at} steps");
        }
    }
}
