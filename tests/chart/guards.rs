//! The guards of the chart, as the API server is given them, against those of the code.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_core::engines::Object;
use holdfast_core::engines::native::{GuardSettings, guards};
use serde_json::Value;

use crate::chart_support::{NAMESPACE, helm, objects, rendered, template, values};

fn by_key(objects: impl IntoIterator<Item = Value>) -> BTreeMap<String, Value> {
    objects.into_iter().map(|object| (format!("{} {}", object["kind"], object["metadata"]["name"]), object)).collect()
}

fn settings(account: &str, approving: &[&str], release: &[char]) -> GuardSettings {
    GuardSettings {
        namespace: NAMESPACE.to_owned(),
        service_account: account.to_owned(),
        approving_service_accounts: approving.iter().map(|name| (*name).to_owned()).collect(),
        enforced: BTreeSet::new(),
        scope_labels: BTreeSet::new(),
        release: release.iter().map(|c| format!("sha256:{}", c.to_string().repeat(64)).parse().unwrap()).collect(),
    }
}

#[test]
fn the_rendered_guards_are_those_of_the_code() {
    let Some(helm) = helm() else { return };
    let approving = ["system:serviceaccount:gitops:flux", "system:serviceaccount:courier:robot"];
    for (case, settings) in [
        ("minimal", settings("holdfast", &[], &[])),
        ("pinned", settings("holdfast", &[], &['0', '1', '2'])),
        ("everything", settings("trust-operator", &approving, &['1'])),
    ] {
        let is_guard = |object: &Value| object["kind"].as_str().unwrap().starts_with("ValidatingAdmissionPolicy");
        let without = template(&helm, &["--values", &values(case), "--set", "guards.keep=false"]).unwrap();
        let without = by_key(objects(&without).into_iter().filter(is_guard));
        let rendered = by_key(rendered(&helm, case).into_iter().filter(is_guard));
        let ours = by_key(guards(&settings).iter().map(Object::body).cloned());
        assert_eq!(rendered.keys().collect::<Vec<_>>(), ours.keys().collect::<Vec<_>>(), "{case}");
        for (key, object) in &ours {
            assert_eq!(&without[key], object, "{case}: {key}");
            let mut kept = object.clone();
            kept["metadata"]["annotations"]["helm.sh/resource-policy"] = "keep".into();
            assert_eq!(rendered[key], kept, "{case}: {key}");
        }
    }
}

/// A name may be what YAML reads as a number or a truth.
#[test]
fn a_name_that_looks_like_something_else_stays_a_text() {
    let Some(helm) = helm() else { return };
    for name in ["123", "true", "1e3"] {
        let names = format!("fullnameOverride={name},nameOverride={name},serviceAccount.name={name}");
        let arguments = ["--values", &values("minimal"), "--namespace", name, "--set-string", &names];
        let text = template(&helm, &arguments).unwrap();
        let objects = objects(&text);
        let binding =
            crate::chart_support::named(&objects, "ValidatingAdmissionPolicyBinding", "holdfast-guard-memory");
        let selector = &binding["spec"]["matchResources"]["namespaceSelector"];
        assert_eq!(selector["matchExpressions"][0]["values"], serde_json::json!([name]));
        for object in &objects {
            let (kind, metadata) = (&object["kind"], &object["metadata"]);
            assert!(metadata["namespace"].is_string() || metadata["namespace"].is_null(), "{kind}");
            assert!(metadata["name"].is_string(), "{kind}");
            assert!(metadata["labels"].as_object().into_iter().flatten().all(|(_, label)| label.is_string()), "{kind}");
        }
        let deployment = &crate::chart_support::of_kind(&objects, "Deployment")[0]["spec"];
        assert!(deployment["template"]["spec"]["serviceAccountName"].is_string());
        assert!(deployment["selector"]["matchLabels"]["app.kubernetes.io/name"].is_string());
    }
}
