//! The chart: what comes from the code is that of the code, and what is rendered is no more than is needed.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // a test that cannot go on fails

#[path = "chart/alerts.rs"]
mod alerts;
#[path = "support/chart.rs"]
mod chart_support;
#[path = "chart/guards.rs"]
mod guards;
#[path = "chart/pods.rs"]
mod pods;
#[path = "chart/rbac.rs"]
mod rbac;
#[path = "chart/samples.rs"]
mod samples;
#[path = "chart/written.rs"]
mod written;

use chart_support::{helm, objects, rendered, template, values};
use serde_json::Value;

pub(crate) const CASES: [&str; 4] = ["minimal", "pinned", "everything", "bare"];

#[test]
fn an_image_without_a_registry_is_refused_with_a_way_on() {
    let Some(helm) = helm() else { return };
    let said = template(&helm, &[]).unwrap_err();
    assert!(said.contains("--set global.imageRegistry=registry.corp.internal"), "{said}");
    assert!(template(&helm, &["--set", "image.repository=acme/holdfast"]).is_err(), "a path is no registry");
    assert!(template(&helm, &["--set", "image.repository="]).is_err());
    for registry in ["registry.corp.internal", "localhost", "registry:5000"] {
        let repository = format!("image.repository={registry}/acme/holdfast");
        assert!(template(&helm, &["--set", &repository]).is_ok(), "{registry}");
        let prefix = format!("global.imageRegistry={registry}");
        assert!(template(&helm, &["--set", &prefix]).is_ok(), "{registry}");
    }
}

#[test]
fn what_is_not_known_or_does_not_fit_is_refused() {
    let Some(helm) = helm() else { return };
    for wrong in [
        "replica=3",
        "image.name=x",
        "resources.limits.gpu=1",
        "networkPolicy.enable=true",
        "port=80",
        "image.digest=latest",
        "distributionNames={holdfast-memory}",
        "distributionNames={a b}",
        "approvingServiceAccounts={flux}",
        "approvingServiceAccounts={system:serviceaccount:a:b'}",
        "releaseDigests={sha256:1}",
        "serviceAccount.name=default",
        "serviceAccount.create=false",
        "networkPolicy.enabled=true",
    ] {
        let said = template(&helm, &["--values", &values("minimal"), "--set", wrong]);
        assert!(said.is_err(), "{wrong} was taken");
    }
    // Other charts of a release have fields of their own there.
    assert!(template(&helm, &["--values", &values("minimal"), "--set", "global.other=x"]).is_ok());
}

/// Fields of our own are closed; what is Kubernetes' own is its own to check.
#[test]
fn the_schema_of_the_values_is_closed_and_complete() {
    fn walk(schema: &Value, path: &str) {
        if schema.get("properties").is_some() && path != "/global" {
            assert_eq!(schema["additionalProperties"], false, "{path} takes any field");
        }
        for (name, part) in schema["properties"].as_object().into_iter().flatten() {
            walk(part, &format!("{path}/{name}"));
        }
        if let Some(items) = schema.get("items") {
            walk(items, &format!("{path}[]"));
        }
    }
    fn same(schema: &Value, values: &Value, path: &str) {
        let (Some(declared), Some(values)) = (schema.get("properties"), values.as_object()) else { return };
        for (name, declared) in declared.as_object().unwrap() {
            // What need not be requested or limited, and kinds of affinity, have no default.
            let optional = path.starts_with("/resources") || path == "/affinity";
            assert!(optional || values.contains_key(name), "{path}/{name} has no default");
            if let Some(value) = values.get(name) {
                same(declared, value, &format!("{path}/{name}"));
            }
        }
        for name in values.keys() {
            assert!(declared.get(name).is_some(), "{path}/{name} is not in the schema");
        }
    }
    let read = |name: &str| std::fs::read_to_string(chart_support::chart().join(name)).unwrap();
    let schema: Value = serde_json::from_str(&read("values.schema.json")).unwrap();
    let values: Value = serde_saphyr::from_str(&read("values.yaml")).unwrap();
    walk(&schema, "");
    same(&schema, &values, "");
}

#[test]
fn rendering_is_the_same_each_time() {
    let Some(helm) = helm() else { return };
    let (one, other) = (values("everything"), values("pinned"));
    let arguments = ["--values", one.as_str(), "--values", other.as_str()];
    assert_eq!(template(&helm, &arguments).unwrap(), template(&helm, &arguments).unwrap());
}

#[test]
fn what_is_rendered_by_default() {
    let Some(helm) = helm() else { return };
    let text = template(
        &helm,
        &["--values", &values("minimal"), "--set", "crds.install=false", "--set", "guards.install=false"],
    )
    .unwrap();
    insta::assert_snapshot!(text);
}

/// An object is rendered once, and where nothing else is asked for, in the release's namespace or in none.
#[test]
fn objects_are_there_once() {
    let Some(helm) = helm() else { return };
    for case in CASES {
        let objects = rendered(&helm, case);
        let mut keys: Vec<String> = objects
            .iter()
            .map(|o| format!("{} {} {}", o["kind"], o["metadata"]["namespace"], o["metadata"]["name"]))
            .collect();
        keys.sort();
        let all = keys.len();
        keys.dedup();
        assert_eq!(keys.len(), all, "{case}");
    }
}

#[test]
fn features_that_are_off_are_not_there() {
    let Some(helm) = helm() else { return };
    let kinds = |case: &str| -> std::collections::BTreeSet<String> {
        rendered(&helm, case).iter().map(|object| object["kind"].as_str().unwrap().to_owned()).collect()
    };
    let optional = ["ServiceMonitor", "PrometheusRule", "NetworkPolicy"];
    let (minimal, everything, bare) = (kinds("minimal"), kinds("everything"), kinds("bare"));
    for kind in optional {
        assert!(!minimal.contains(kind) && everything.contains(kind), "{kind}");
    }
    for kind in ["CustomResourceDefinition", "ValidatingAdmissionPolicy", "ServiceAccount", "PodDisruptionBudget"] {
        assert!(minimal.contains(kind) && !bare.contains(kind), "{kind}");
    }
}

#[test]
fn definitions_are_those_of_the_code_and_are_kept() {
    let Some(helm) = helm() else { return };
    let render = |keep: &str| {
        let keep = format!("crds.keep={keep}");
        let text = template(&helm, &["--values", &values("minimal"), "--set", &keep]).unwrap();
        let mut found: Vec<Value> =
            objects(&text).into_iter().filter(|object| object["kind"] == "CustomResourceDefinition").collect();
        found.sort_by_key(|object| object["metadata"]["name"].to_string());
        found
    };
    let mut ours: Vec<Value> =
        holdfast_core::api::crds().iter().map(|crd| serde_json::to_value(crd).unwrap()).collect();
    ours.sort_by_key(|object| object["metadata"]["name"].to_string());
    assert_eq!(render("false"), ours);
    for crd in &mut ours {
        crd["metadata"]["annotations"] = serde_json::json!({"helm.sh/resource-policy": "keep"});
    }
    assert_eq!(render("true"), ours);
}
