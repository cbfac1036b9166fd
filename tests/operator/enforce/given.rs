//! What engines beside the native one are given, where they are there.

use std::time::Duration;

use serde_json::{Value, json};

use super::estate::Estate;
use crate::coverage::published::serve;
use crate::engines::{Brought, kyverno_is_there};
use crate::lab::{HOLDFAST, Lab};
use crate::registry_support::Registry;

const KEY: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE6QsNef3SKYhJVYSVj+ZfbPwJd0pv
DLYNHXITZkhIzfE+apcxDjCCkDPcJ3A3zvhPATYOIsCxYPch7Q2JdJLsDQ==
-----END PUBLIC KEY-----
";
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

fn engine(estate: &Estate<'_>) -> Value {
    let status = estate.policy_status("vendor");
    let engines = status.at("/engines").as_array().cloned().unwrap_or_default();
    engines.into_iter().find(|engine| engine["name"] == "kyverno").unwrap_or_default()
}

/// A policy about images that somebody signs with a key, which takes no trust to tell an engine of.
pub(super) fn vendor(estate: &Estate<'_>, engines: &Value) {
    estate.policy(
        "vendor",
        &json!({
            "images": [format!("{}/vendor/**", estate.host())], "otherImages": "Allow", "trustRoots": [], "engines": engines,
            "identities": [{"name": "vendor", "key": {"pem": KEY}, "optional": true}],
            "require": {"transparencyLog": false, "sct": false}, "namespaceSelector": {"matchLabels": {"tier": "apps"}},
            "enforcement": {"desired": "Audit"},
        }),
    );
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
    estate.enforced();
    // Without the right it is said which value of the chart gives it, and the native engine goes on.
    vendor(&estate, &json!({"kyverno": {}}));
    lab.until("the right that is missing is named", |_| {
        let status = estate.policy_status("vendor");
        if status.text().contains("set `engines.kyverno` in the chart's values") { Ok(()) } else { Err(status.text()) }
    });
    assert_eq!(engine(&estate)["applied"], false);
    assert_eq!(given(&lab).len(), 0);

    let right = Right::give(&lab);
    lab.within(Duration::from_secs(60), "it is given its policy", |lab| {
        let is_it = !given(lab).is_empty() && engine(&estate)["applied"] == true;
        if is_it { Ok(()) } else { Err(estate.policy_status("vendor").text()) }
    });
    let policy = given(&lab).remove(0);
    let name = policy["metadata"]["name"].as_str().unwrap().to_owned();
    let path = format!("{GIVEN}/{name}");
    assert_eq!(policy["metadata"]["labels"]["app.kubernetes.io/managed-by"], "holdfast");
    assert_eq!(engine(&estate)["object"], json!(format!("ImageValidatingPolicy/{name}")));
    // What says what is wanted already is not written again: every write flushes a cache.
    let version = |lab: &Lab| lab.call("GET", &path, None)["metadata"]["resourceVersion"].clone();
    let before = version(&lab);
    std::thread::sleep(Duration::from_secs(35));
    assert_eq!(version(&lab), before);
    // What somebody changes is put back, and told.
    lab.patch(
        &path,
        &json!({"spec": {"failurePolicy": "Fail", "validations": [{"expression": "true", "message": "x"}]}}),
    );
    lab.within(Duration::from_secs(100), "it is put back", |lab| {
        let now = lab.call("GET", &path, None);
        if now["spec"] == policy["spec"] { Ok(()) } else { Err(now["spec"].to_string()) }
    });
    let edits = &["kind=\"ImageValidatingPolicy\""];
    operator.until_metric("holdfast_foreign_edits_total", edits, |edits| edits == Some(1.0));
    // An object of somebody else stays.
    let mut other = policy.clone();
    other["metadata"] = json!({"name": "somebodys"});
    lab.apply(&other);
    vendor(&estate, &json!({"native": {}}));
    lab.within(Duration::from_secs(60), "what is no longer wanted goes", |lab| {
        let names: Vec<Value> = given(lab).iter().map(|one| one["metadata"]["name"].clone()).collect();
        if names == [json!("somebodys")] { Ok(()) } else { Err(format!("{names:?}")) }
    });
    estate.until_phase("Enforcing");
    drop((right, brought, operator));
}
