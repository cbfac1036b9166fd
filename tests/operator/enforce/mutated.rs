//! What somebody changes in what holdfast writes, on its way and in its name.

use std::time::Duration;

use serde_json::{Value, json};

use super::estate::Estate;
use crate::lab::{Lab, path_of};
use crate::registry_support::Registry;

const ADMISSION: &str = "admissionregistration.k8s.io/v1";
const SHARD: &str = "/apis/holdfast.dev/v1alpha1/verifiedimages/holdfast-verified-00-ff.apps";
const RULE: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/holdfast-enforce-apps";

/// A MutatingAdmissionPolicy with its binding; both go with this.
struct Mutates<'a> {
    lab: &'a Lab,
    objects: [Value; 2],
}

impl<'a> Mutates<'a> {
    /// Adds a list to every VerifiedImages object that is written.
    fn adding(lab: &'a Lab, key: &str, list: &str) -> Self {
        let expression =
            format!("[JSONPatch{{op: 'add', path: '/spec/data/' + jsonpatch.escapeKey('{key}'), value: '{list}'}}]");
        Self::of(lab, ["holdfast.dev", "v1alpha1", "verifiedimages"], "true", &expression)
    }

    /// Adds a text to every ConfigMap of holdfast's that is written.
    fn adding_to_memory(lab: &'a Lab) -> Self {
        let expression = "[JSONPatch{op: 'add', path: '/data/more', value: 'text'}]";
        Self::of(lab, ["", "v1", "configmaps"], "object.metadata.name.startsWith('holdfast-')", expression)
    }

    fn of(lab: &'a Lab, [group, version, resource]: [&str; 3], which: &str, expression: &str) -> Self {
        let policy = json!({
            "apiVersion": ADMISSION, "kind": "MutatingAdmissionPolicy", "metadata": {"name": "adds-a-digest"},
            "spec": {
                "failurePolicy": "Fail", "reinvocationPolicy": "Never",
                "matchConstraints": {"resourceRules": [{
                    "apiGroups": [group], "apiVersions": [version], "operations": ["CREATE", "UPDATE"],
                    "resources": [resource],
                }]},
                "matchConditions": [{"name": "which", "expression": which}],
                "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}],
            },
        });
        let binding = json!({
            "apiVersion": ADMISSION, "kind": "MutatingAdmissionPolicyBinding", "metadata": {"name": "adds-a-digest"},
            "spec": {"policyName": "adds-a-digest"},
        });
        let mutates = Self { lab, objects: [policy, binding] };
        mutates.objects.iter().for_each(|object| _ = lab.apply(object));
        mutates
    }
}

impl Drop for Mutates<'_> {
    fn drop(&mut self) {
        for object in self.objects.iter().rev() {
            let _ = self.lab.try_call("DELETE", &path_of(object), None);
        }
    }
}

/// A rule that somebody opens while nothing that may open is written.
fn opened_it_is_put_back(lab: &Lab) {
    let spec = lab.get(RULE).unwrap()["spec"].clone();
    let nothing_said = json!({"annotations": {"holdfast.dev/intent": null}});
    lab.patch(RULE, &json!({"metadata": nothing_said, "spec": {"validations": [{"expression": "true"}]}}));
    lab.within(Duration::from_secs(10), "the rule is put back", |lab| {
        let now = lab.get(RULE).unwrap()["spec"].clone();
        if now == spec { Ok(()) } else { Err(now["validations"].to_string()) }
    });
}

#[test]
fn a_list_that_comes_back_with_more_than_was_written_is_told_and_not_written_in_a_rush() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let estate = Estate::open(&lab, registry);
    let operator = lab.operator();
    estate.enforced();
    let rogue = estate.unsigned("rogue");
    let (key, bad) = (format!("{}.apps", &rogue.hex()[..2]), estate.image("rogue", rogue));
    estate.denied("shop", &bad, "is not verified");
    let mutates = Mutates::adding(&lab, &key, &rogue.hex());
    // It takes a moment to be in force.
    std::thread::sleep(Duration::from_secs(3));
    let news = estate.image("news", estate.signed("news"));
    estate.enforce(&json!({"engines": {"native": {"intake": {"images": [news]}}}}));
    let status = lab.until("it is told", |_| {
        let status = estate.policy_status("apps");
        let checks = status.at("/enforcement/checks").to_string();
        let is_told = status.reason("Rendered") == "NotWritten" && checks.contains("comes back as something else");
        if is_told { Ok(status) } else { Err(status.text()) }
    });
    let (said, words) = (status.message("Rendered"), "a mutating webhook or MutatingAdmissionPolicy changes it");
    assert!(said.contains("VerifiedImages `holdfast-verified-00-ff.apps`") && said.contains(words), "{said}");
    assert!(operator.says(words), "it is logged");
    assert!(lab.get(SHARD).unwrap()["spec"]["data"].get(&key).is_some(), "nothing else would be told here");
    opened_it_is_put_back(&lab);
    let before = lab.proxy().writes().len();
    std::thread::sleep(Duration::from_secs(6));
    let written = lab.proxy().writes().len() - before;
    assert!(written <= 8, "{written} writes in six seconds");
    // Taken out, it heals.
    drop(mutates);
    estate.until_denied("shop", &bad);
    lab.until("nothing is amiss", |_| {
        let status = estate.policy_status("apps");
        if status.reason("Rendered") == "EngineRendered" { Ok(()) } else { Err(status.text()) }
    });
    assert!(estate.would_admit("shop", &news).is_ok());
}

#[test]
fn what_is_remembered_and_comes_back_with_more_is_told_and_not_written_in_a_rush() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let estate = Estate::open(&lab, registry);
    let operator = lab.operator();
    estate.enforced();
    let mutates = Mutates::adding_to_memory(&lab);
    // It takes a moment to be in force.
    std::thread::sleep(Duration::from_secs(3));
    let news = estate.image("news", estate.signed("news"));
    let before = lab.proxy().writes().len();
    estate.enforce(&json!({"engines": {"native": {"intake": {"images": [news]}}}}));
    lab.until("it is told", |_| {
        let told = operator.says("ConfigMap `holdfast-") && operator.says("comes back as something else");
        if told { Ok(()) } else { Err(estate.policy_status("apps").text()) }
    });
    // What it was read from is there, so nothing stands in the way of what hangs on it.
    lab.within(Duration::from_secs(30), "the image is admitted", |_| estate.would_admit("shop", &news));
    let written = lab.proxy().writes().len() - before;
    assert!(written <= 20, "{written} writes");
    drop(mutates);
}
