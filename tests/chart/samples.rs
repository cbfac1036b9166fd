//! What is in config/: rendered from the chart, and samples that are taken.

use std::fs;
use std::process::Command;

use holdfast_core::api::strict::{Object, decode};
use serde_json::Value;

use crate::chart_support::{helm, objects, root};

#[test]
fn the_manifests_are_those_of_the_chart() {
    let Some(helm) = helm() else { return };
    let script = root().join("hack/manifests");
    let output = Command::new(script).arg("--check").env("HOLDFAST_HELM", helm).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn samples() -> Vec<(String, Vec<Value>)> {
    let read = |name: &str| objects(&fs::read_to_string(root().join("config/samples").join(name)).unwrap());
    let listed: Value = read("kustomization.yaml").remove(0);
    let mut names: Vec<String> =
        listed["resources"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect();
    names.sort();
    let mut found: Vec<String> = fs::read_dir(root().join("config/samples"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "kustomization.yaml")
        .collect();
    found.sort();
    assert_eq!(names, found);
    names.into_iter().map(|name| (name.clone(), read(&name))).collect()
}

#[test]
fn samples_are_taken_as_they_are() {
    let (mut sources, mut kinds) = (Vec::new(), Vec::new());
    for (name, documents) in samples() {
        assert_eq!(documents.len(), 1, "{name}");
        let object = decode(&documents[0]).unwrap_or_else(|errors| panic!("{name}: {errors:?}"));
        kinds.push(documents[0]["kind"].as_str().unwrap().to_owned());
        if let Object::TrustRootMirror(mirror) = object {
            let source = serde_json::to_value(mirror.spec.source).unwrap();
            sources.extend(source.as_object().unwrap().keys().cloned());
        }
    }
    sources.sort();
    assert_eq!(sources, ["configMap", "http", "keys", "oci", "trustedRoot", "volume"], "one of each source");
    kinds.dedup();
    assert_eq!(kinds, ["TrustApproval", "TrustBreakGlass", "TrustRootMirror"]);
}
