#![allow(clippy::needless_pass_by_value)] // JSON is made where it is given

use std::collections::BTreeMap;

use holdfast_core::coverage::Image;
use kube::runtime::watcher::Event;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const A: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

fn pod(value: Value) -> SlimPod {
    serde_json::from_value(value).unwrap()
}

fn simple(name: &str, image: &str, owner: Value) -> SlimPod {
    pod(json!({"metadata": {"name": name, "namespace": "shop", "uid": name, "ownerReferences": owner},
        "spec": {"containers": [{"name": "c", "image": image}]}}))
}

fn owner(kind: &str, name: &str, api_version: &str) -> Value {
    json!([{"apiVersion": api_version, "kind": kind, "name": name, "uid": format!("uid-{name}"), "controller": true}])
}

fn template(kind: &str, name: &str, images: &[&str], owner: Value) -> (Kind, Event<SlimTemplate>) {
    let kind = Kind::ALL.into_iter().find(|known| known.kind == kind).unwrap();
    let containers: Vec<Value> = images.iter().map(|image| json!({"name": "c", "image": image})).collect();
    let template = json!({"spec": {"containers": containers}});
    let metadata = json!({"name": name, "namespace": "shop", "uid": format!("uid-{name}"), "ownerReferences": owner});
    let object = match kind.kind {
        "CronJob" => json!({"metadata": metadata, "spec": {"jobTemplate": {"spec": {"template": template}}}}),
        "ControllerRevision" => json!({"metadata": metadata, "data": {"spec": {"template": template}}, "revision": 1}),
        _ => json!({"metadata": metadata, "spec": {"template": template}}),
    };
    (kind, Event::Apply(serde_json::from_value(object).unwrap()))
}

fn seen(live: &Live) -> Vec<String> {
    let snapshot = live.snapshot(true, &|_| true);
    let inventory = &snapshot.inventory;
    let mut lines: Vec<String> = inventory
        .usages()
        .iter()
        .map(|usage| {
            let image = &inventory.images()[usage.image];
            let runs = image.runs.map(|runs| format!(" runs {runs}")).unwrap_or_default();
            format!("{} {} {}{runs}", inventory.workloads()[usage.workload], usage.container, image.written)
        })
        .collect();
    lines.sort();
    lines
}

#[test]
fn every_way_to_bring_in_an_image_is_seen_with_what_runs() {
    let mut live = Live::new();
    let status = |name: &str, id: &str| json!({"name": name, "imageID": id});
    live.pod(Event::Apply(pod(json!({
        "metadata": {"name": "p", "namespace": "shop"},
        "spec": {
            "initContainers": [{"name": "init", "image": "r.corp/init:1"}],
            "containers": [{"name": "main", "image": format!("r.corp/main@{A}")}, {"name": "later"}],
            "ephemeralContainers": [{"name": "debug", "image": "r.corp/debug:1"}],
            "volumes": [{"name": "models", "image": {"reference": "r.corp/models:1"}}, {"name": "tmp", "emptyDir": {}}],
        },
        "status": {
            "initContainerStatuses": [status("init", &format!("r.corp/init@{B}"))],
            "containerStatuses": [{"name": "main", "imageID": format!("r.corp/main@{A}"), "volumeMounts": [
                {"name": "models", "mountPath": "/m", "volumeStatus": {"image": {"imageRef": format!("r.corp/models@{B}")}}}]}],
            "ephemeralContainerStatuses": null,
        },
    }))));
    assert_eq!(
        seen(&live),
        [
            "shop/Pod/p debug r.corp/debug:1".to_owned(),
            format!("shop/Pod/p init r.corp/init:1 runs {B}"),
            format!("shop/Pod/p main r.corp/main@{A}"),
            format!("shop/Pod/p models r.corp/models:1 runs {B}"),
        ]
    );
}

#[test]
fn of_what_is_larger_than_anything_that_runs_little_is_kept() {
    let long = "x".repeat(1 << 20);
    let mut live = Live::new();
    let owner = owner(&format!("K{long}"), &long, &format!("{long}/v1"));
    let containers: Vec<Value> =
        (0..1000).map(|at| json!({"name": format!("c-{at}"), "image": format!("r.corp/{at}/{long}")})).collect();
    live.pod(Event::Apply(pod(json!({
        "metadata": {"name": "p", "namespace": "shop", "ownerReferences": owner},
        "spec": {"containers": containers, "imagePullSecrets": [{"name": long}]},
    }))));
    let seen = seen(&live);
    assert!(seen.len() <= 300 && seen.iter().all(|line| line.len() < 2000), "{} lines", seen.len());
    assert!(
        seen.iter().any(|line| line.contains("(left out: 744 images of a pod with more than 256)")),
        "what is left out is said"
    );
    assert!(live.snapshot(true, &|_| true).inventory.workloads()[0].to_string().len() < 500);
}

#[test]
fn a_workload_is_what_a_person_knows_it_by() {
    let mut live = Live::new();
    for (kind, event) in [
        template("ReplicaSet", "web-1", &["r.corp/web:1"], owner("Deployment", "web", "apps/v1")),
        template("ReplicaSet", "roll-1", &[], owner("Rollout", "roll", "argoproj.io/v1alpha1")),
        template("Job", "night-1", &[], owner("CronJob", "night", "batch/v1")),
        template("Deployment", "web", &["r.corp/web:1"], owner("Kafka", "k", "kafka.strimzi.io/v1")),
    ] {
        live.template(kind, event);
    }
    for (name, made_by) in [
        ("web-1-x", owner("ReplicaSet", "web-1", "apps/v1")),
        ("roll-1-x", owner("ReplicaSet", "roll-1", "apps/v1")),
        ("night-1-x", owner("Job", "night-1", "batch/v1")),
        ("run-x", owner("TaskRun", "run", "tekton.dev/v1")),
        ("lost", owner("ReplicaSet", "gone", "apps/v1")),
        ("bare", json!([])),
    ] {
        live.pod(Event::Apply(simple(name, "r.corp/a:1", made_by)));
    }
    let static_pod = json!({"metadata": {"name": "etcd-n1", "namespace": "shop", "annotations": {"kubernetes.io/config.mirror": "x"},
        "ownerReferences": owner("Node", "n1", "v1")}, "spec": {"containers": [{"name": "c", "image": "r.corp/a:1"}]}});
    live.pod(Event::Apply(pod(static_pod)));
    // The annotation alone is anybody's to write.
    let forged = json!({"metadata": {"name": "forged", "namespace": "shop", "annotations": {"kubernetes.io/config.mirror": "x"}},
        "spec": {"containers": [{"name": "c", "image": "r.corp/a:1"}]}});
    live.pod(Event::Apply(pod(forged)));
    let snapshot = live.snapshot(true, &|_| true);
    let mut workloads: Vec<String> = snapshot.inventory.workloads().iter().map(ToString::to_string).collect();
    workloads.sort();
    assert_eq!(
        workloads,
        [
            "shop/CronJob/night",
            "shop/Deployment/web",
            "shop/Pod/bare",
            "shop/Pod/forged",
            "shop/ReplicaSet/gone",
            "shop/Rollout/roll",
            "shop/StaticPod/etcd-n1",
            "shop/TaskRun/run",
        ]
    );
    let known =
        |name: &str| snapshot.objects.iter().find(|(workload, _)| workload.name == name).map(|(_, id)| id.clone());
    assert_eq!(known("web").unwrap().uid, "uid-web");
    assert_eq!(known("roll").unwrap().api_version, "argoproj.io/v1alpha1");
}

#[test]
fn templates_tell_what_would_run_where_nothing_does() {
    let mut live = Live::new();
    for (kind, event) in [
        template("Deployment", "web", &["r.corp/web:2"], json!([])),
        template("ReplicaSet", "web-2", &["r.corp/web:2"], owner("Deployment", "web", "apps/v1")),
        template("ReplicaSet", "web-1", &["r.corp/web:1"], owner("Deployment", "web", "apps/v1")),
        template("CronJob", "night", &["r.corp/night:1"], json!([])),
        template("ControllerRevision", "db-1", &["r.corp/db:1"], owner("StatefulSet", "db", "apps/v1")),
        template("StatefulSet", "db", &["r.corp/db:2"], json!([])),
    ] {
        live.template(kind, event);
    }
    let running = json!({"metadata": {"name": "web-2-x", "namespace": "shop", "ownerReferences": owner("ReplicaSet", "web-2", "apps/v1")},
        "spec": {"containers": [{"name": "c", "image": "r.corp/web:2"}]},
        "status": {"containerStatuses": [{"name": "c", "imageID": format!("r.corp/web@{A}")}]}});
    live.pod(Event::Apply(pod(running)));
    assert_eq!(
        seen(&live),
        [
            "shop/CronJob/night c r.corp/night:1".to_owned(),
            "shop/Deployment/web c r.corp/web:1".to_owned(),
            // Once, by what runs: its templates say less.
            format!("shop/Deployment/web c r.corp/web:2 runs {A}"),
            "shop/StatefulSet/db c r.corp/db:1".to_owned(),
            "shop/StatefulSet/db c r.corp/db:2".to_owned(),
        ]
    );
    assert_eq!(live.snapshot(false, &|_| true).inventory.images().len(), 1, "without templates");
    assert_eq!(live.snapshot(true, &|namespace| namespace != "shop").inventory.images().len(), 0);
}

#[test]
fn a_job_that_ended_brings_in_nothing_and_an_odd_revision_stops_nobody() {
    let mut live = Live::new();
    let (kind, _) = template("Job", "j", &[], json!([]));
    let job = |condition: &str| {
        json!({"metadata": {"name": "j", "namespace": "shop"}, "spec": {"template": {"spec": {"containers": [{"name": "c", "image": "r.corp/j:1"}]}}},
            "status": {"conditions": [{"type": condition, "status": "True"}]}})
    };
    live.template(kind, Event::Apply(serde_json::from_value(job("Suspended")).unwrap()));
    assert_eq!(seen(&live).len(), 1);
    live.template(kind, Event::Apply(serde_json::from_value(job("Complete")).unwrap()));
    assert!(seen(&live).is_empty());
    // Of another kind, it is whatever somebody wrote there.
    let (deployment, _) = template("Deployment", "d", &[], json!([]));
    live.template(deployment, Event::Apply(serde_json::from_value(job("Complete")).unwrap()));
    assert_eq!(seen(&live).len(), 1);
    live.template(deployment, Event::Delete(serde_json::from_value(job("Complete")).unwrap()));
    let (kind, _) = template("ControllerRevision", "r", &[], json!([]));
    for data in
        [json!("text"), json!({"spec": 1}), json!(null), json!({"spec": {"template": {"spec": {"containers": "x"}}}})]
    {
        let odd = json!({"metadata": {"name": "r", "namespace": "shop"}, "data": data});
        live.template(kind, Event::Apply(serde_json::from_value(odd).unwrap()));
    }
    assert!(seen(&live).is_empty());
}

#[test]
fn what_was_not_listed_to_the_end_is_no_empty_cluster() {
    let mut live = Live::new();
    assert!(live.wanting(false).unwrap().contains("Pod"));
    live.pod(Event::Init);
    live.pod(Event::InitApply(simple("a", "r.corp/a:1", json!([]))));
    assert!(live.wanting(false).is_some());
    live.pod(Event::InitDone);
    assert!(live.wanting(false).is_none());
    assert!(live.wanting(true).unwrap().contains("not all listed"));
    live.failed(None, Some("forbidden".to_owned()));
    assert!(live.wanting(false).unwrap().contains("forbidden"));
    assert_eq!(live.pods(), 1, "what was seen is kept");
    live.failed(None, None);
    assert!(live.wanting(false).is_none());
}

#[test]
fn what_changes_nothing_for_a_scan_is_no_change() {
    let mut live = Live::new();
    let made = || owner("ReplicaSet", "web-1", "apps/v1");
    let mut seen = live.version();
    let mut changes = |live: &Live| {
        let changed = live.version() != seen;
        seen = live.version();
        changed
    };
    live.pod(Event::Apply(simple("a", "r.corp/a:1", made())));
    assert!(changes(&live));
    live.pod(Event::Apply(simple("b", "r.corp/a:1", made())));
    assert!(!changes(&live), "another pod of the same form");
    live.pod(Event::Delete(simple("b", "r.corp/a:1", made())));
    assert!(!changes(&live));
    let (kind, deployment) = template("Deployment", "web", &["r.corp/a:1"], json!([]));
    live.template(kind, deployment.clone());
    assert!(changes(&live));
    live.template(kind, deployment);
    assert!(!changes(&live), "its status changed");
    live.pod(Event::Delete(simple("a", "r.corp/a:1", made())));
    assert!(changes(&live), "the last one");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    /// Whatever comes and goes, what is kept is what a fresh look would show, and nothing is left of what went.
    #[test]
    fn the_index_is_what_a_fresh_look_shows(steps in prop::collection::vec((0_u8..4, 0_u8..6, 0_u8..4), 0..60)) {
        let mut live = Live::new();
        let mut truth: BTreeMap<u8, u8> = BTreeMap::new();
        let object = |name: u8, image: u8| {
            let containers: Vec<Value> = (0..=image % 2).map(|n| json!({"name": format!("c{n}"), "image": format!("r.corp/i{image}:1")})).collect();
            pod(json!({"metadata": {"name": format!("p{name}"), "namespace": format!("n{}", name % 2)}, "spec": {"containers": containers}}))
        };
        for (step, name, image) in steps {
            match step {
                0 | 1 => { live.pod(Event::Apply(object(name, image))); truth.insert(name, image); }
                2 => { live.pod(Event::Delete(object(name, image))); truth.remove(&name); }
                _ => {
                    // A list that no longer has one of them.
                    live.pod(Event::Init);
                    truth.remove(&name);
                    for (name, image) in &truth { live.pod(Event::InitApply(object(*name, *image))); }
                    live.pod(Event::InitDone);
                }
            }
        }
        let mut fresh = Live::new();
        for (name, image) in &truth { fresh.pod(Event::Apply(object(*name, *image))); }
        prop_assert_eq!(seen(&live), seen(&fresh));
        prop_assert_eq!((live.pods(), live.images(), live.shapes()), (fresh.pods(), fresh.images(), fresh.shapes()));
        for name in truth.keys() { live.pod(Event::Delete(object(*name, 0))); }
        prop_assert_eq!((live.pods(), live.images(), live.shapes()), (0, 0, 0));
    }
}

#[test]
fn the_same_image_many_times_hides_no_other() {
    let mut live = Live::new();
    let mut containers = vec![json!({"name": "c", "image": "r.corp/a:1"}); 300];
    containers.push(json!({"name": "last", "image": "r.corp/b:1"}));
    live.pod(Event::Apply(pod(
        json!({"metadata": {"name": "a", "namespace": "shop"}, "spec": {"containers": containers}}),
    )));
    let snapshot = live.snapshot(false, &|_| true);
    let images: Vec<&str> = snapshot.inventory.images().iter().map(|image| image.written.as_str()).collect();
    assert_eq!(images, ["r.corp/a:1", "r.corp/b:1"]);
}

#[test]
fn pull_secrets_are_known_by_image_and_namespace() {
    let mut live = Live::new();
    live.pod(Event::Apply(pod(json!({"metadata": {"name": "a", "namespace": "shop"},
        "spec": {"serviceAccountName": "web", "imagePullSecrets": [{"name": "s"}], "containers": [{"name": "c", "image": "r.corp/a:1"}]}}))));
    let snapshot = live.snapshot(false, &|_| true);
    let with = &snapshot.pulled_with[&Image::written("r.corp/a:1")]["shop"];
    assert_eq!((with.0.iter().next().unwrap().as_str(), with.1.iter().next().unwrap().as_str()), ("s", "web"));
}

#[test]
fn what_goes_while_a_scan_holds_a_snapshot_is_not_kept_for_ever() {
    let mut live = Live::new();
    let of = |at: u32| {
        pod(json!({"metadata": {"name": "a", "namespace": "shop"},
            "spec": {"serviceAccountName": "default", "containers": [{"name": "c", "image": format!("r.corp/a:{at}")}]}}))
    };
    let mut scanned = live.snapshot(false, &|_| true);
    for at in 0..100 {
        live.pod(Event::Apply(of(at)));
        let next = live.snapshot(false, &|_| true);
        live.pod(Event::Delete(of(at)));
        drop(std::mem::replace(&mut scanned, next));
    }
    drop(scanned);
    assert_eq!((live.pods(), live.images(), live.shapes()), (0, 0, 0));
}
