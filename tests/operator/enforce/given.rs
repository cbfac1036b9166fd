//! What engines beside the native one are given, where they are there.

use std::time::Duration;

use serde_json::{Value, json};

use super::estate::Estate;
use crate::coverage::published::serve;
use crate::engines::{Brought, kyverno_is_there};
use crate::lab::{HOLDFAST, Lab};
use crate::registry_support::Registry;

const GIVEN: &str = "/apis/policies.kyverno.io/v1/imagevalidatingpolicies";

/// The right over Kyverno's policies, as the chart's `engines.kyverno` gives it; it is taken away at the end.
struct Right<'a>(&'a Lab);

impl<'a> Right<'a> {
    fn give(lab: &'a Lab) -> Self {
        let verbs = json!(["list", "create", "patch", "delete"]);
        lab.apply(&json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "gives-kyverno"},
            "rules": [{"apiGroups": ["kyverno.io", "policies.kyverno.io"], "resources": ["clusterpolicies", "imagevalidatingpolicies"], "verbs": verbs}],
        }));
        crate::attacks::may(lab, HOLDFAST, "gives-kyverno");
        Self(lab)
    }
}

impl Drop for Right<'_> {
    fn drop(&mut self) {
        let _ = self.0.try_call("DELETE", "/apis/rbac.authorization.k8s.io/v1/clusterroles/gives-kyverno", None);
    }
}

fn given(lab: &Lab) -> Vec<Value> {
    let all = lab.try_call("GET", GIVEN, None).unwrap_or_default();
    all["items"].as_array().cloned().unwrap_or_default()
}

fn engine(estate: &Estate<'_>, name: &str) -> Value {
    let status = estate.policy_status("apps");
    let engines = status.at("/engines").as_array().cloned().unwrap_or_default();
    engines.into_iter().find(|engine| engine["name"] == name).unwrap_or_default()
}

#[test]
fn kyverno_is_given_its_policy_where_it_is_there_and_may_be_given_it() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let brought = Brought(&lab);
    if serve(&lab, "kyverno-v1.19.1").is_none() {
        return;
    }
    kyverno_is_there(&lab);
    let estate = Estate::open(&lab, registry);
    let operator = lab.operator();
    let web = estate.image("web", estate.signed("web"));
    estate.pod("web", &web);
    // Without the right it is said which value of the chart gives it, and the native engine goes on.
    estate.enforce(&json!({"engines": {"native": {}, "kyverno": {}}}));
    lab.until("the right that is missing is named", |_| {
        let status = estate.policy_status("apps");
        if status.text().contains("set `engines.kyverno` in the chart's values") { Ok(()) } else { Err(status.text()) }
    });
    assert_eq!(engine(&estate, "kyverno")["applied"], false);
    assert_eq!(given(&lab).len(), 0);

    let right = Right::give(&lab);
    lab.within(Duration::from_secs(60), "it is given its policy", |lab| {
        let applied = engine(&estate, "kyverno");
        if !given(lab).is_empty() && applied["applied"] == true {
            Ok(())
        } else {
            Err(estate.policy_status("apps").text())
        }
    });
    let policy = given(&lab).remove(0);
    let name = policy["metadata"]["name"].as_str().unwrap().to_owned();
    let path = format!("{GIVEN}/{name}");
    assert_eq!(policy["metadata"]["labels"]["app.kubernetes.io/managed-by"], "holdfast");
    assert_eq!(engine(&estate, "kyverno")["object"], json!(format!("ImageValidatingPolicy/{name}")));
    // What it denies nobody has seen yet, so nothing is promoted by its word.
    let status = estate.policy_status("apps");
    assert_eq!(status.at("/enforcement/phase"), "Soaking", "{}", status.text());
    assert!(estate.would_admit("shop", &estate.image("rogue", estate.unsigned("rogue"))).is_ok());

    // What says what is wanted already is not written again: every write flushes a cache.
    let version = |lab: &Lab| lab.call("GET", &path, None)["metadata"]["resourceVersion"].clone();
    let before = version(&lab);
    std::thread::sleep(Duration::from_secs(35));
    assert_eq!(version(&lab), before);
    // What somebody changes is put back, and told.
    lab.patch(&path, &json!({"spec": {"failurePolicy": "Ignore"}}));
    lab.within(Duration::from_secs(60), "it is put back", |lab| {
        let now = lab.call("GET", &path, None);
        if now["spec"] == policy["spec"] { Ok(()) } else { Err(now["spec"].to_string()) }
    });
    let edits = operator.metric("holdfast_foreign_edits_total", &["kind=\"ImageValidatingPolicy\""]);
    assert_eq!(edits, Some(1.0));
    // An object of somebody else stays, whatever it says of itself but for the label.
    let mut other = policy.clone();
    other["metadata"] = json!({"name": "somebodys"});
    lab.apply(&other);
    estate.enforce(&json!({"engines": {"native": {}}}));
    lab.within(Duration::from_secs(60), "what is no longer wanted goes", |lab| {
        let names: Vec<Value> = given(lab).iter().map(|one| one["metadata"]["name"].clone()).collect();
        if names == [json!("somebodys")] { Ok(()) } else { Err(format!("{names:?}")) }
    });
    estate.until_phase("Enforcing");
    drop((right, brought, operator));
}
