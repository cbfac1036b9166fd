//! Somebody who may write policies, reports, break-glasses, namespaces and pods, and may approve nothing.

use serde_json::{Value, json};

use super::estate::Estate;
use crate::attacks::may;
use crate::coverage::shop::{ISSUER, SUBJECT};
use crate::lab::{Lab, path_of};

/// Erin.
pub(crate) struct Author<'a>(&'a Lab);

impl<'a> Author<'a> {
    /// Gives her her rights.
    pub(crate) fn of_policies(lab: &'a Lab) -> Self {
        lab.apply(&json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "writes-policies"},
            "rules": [
                {
                    "apiGroups": ["holdfast.dev"], "resources": ["signingidentitypolicies", "bundlecoveragereports"],
                    "verbs": ["get", "create", "update", "patch", "delete"],
                },
                {
                    "apiGroups": [""], "resources": ["namespaces", "namespaces/status", "namespaces/finalize", "configmaps"],
                    "verbs": ["get", "create", "update", "patch"],
                },
            ],
        }));
        may(lab, "erin", "writes-policies");
        let apps = "/apis/holdfast.dev/v1alpha1/signingidentitypolicies/apps";
        lab.until("erin may", |lab| lab.call_as("erin", "GET", apps, &json!(null)));
        Self(lab)
    }

    /// Makes an object.
    pub(crate) fn tries(&self, object: &Value) -> Result<Value, String> {
        let whole = path_of(object);
        let all = whole.rsplit_once('/').map_or("", |(all, _)| all);
        self.0.call_as("erin", "POST", all, object)
    }

    /// Makes an object, and is let.
    #[track_caller]
    pub(crate) fn declares(&self, object: &Value) {
        self.tries(object).unwrap();
    }

    /// Changes an object.
    pub(crate) fn changes(&self, path: &str, change: &Value) -> Result<Value, String> {
        self.0.call_as("erin", "PATCH", path, change)
    }
}

/// A policy as `apps` is, about the same namespaces, that only reports; `more` is laid over its spec.
pub(crate) fn declared(estate: &Estate<'_>, name: &str, more: &Value) -> Value {
    let mut spec = json!({
        "images": [format!("{}/**", estate.host())], "otherImages": "Deny", "trustRoots": ["corp"],
        "namespaceSelector": {"matchLabels": {"tier": "apps"}}, "engines": {"native": {}},
        "identities": [{"name": "ci", "issuer": ISSUER, "subject": SUBJECT}],
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    json!({"apiVersion": "holdfast.dev/v1alpha1", "kind": "SigningIdentityPolicy", "metadata": {"name": name}, "spec": spec})
}

/// Takes a namespace away, for the tests that follow.
pub(crate) fn without(lab: &Lab, name: &str) {
    let _ = lab.try_call("DELETE", &format!("/api/v1/namespaces/{name}/pods?gracePeriodSeconds=0"), None);
    lab.namespace(name, &json!({}));
    let _ = lab.try_call("DELETE", &format!("/api/v1/namespaces/{name}"), None);
}
