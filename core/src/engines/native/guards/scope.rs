//! The labels by which namespaces are chosen.

use super::{Guard, GuardSettings, may_approve_all, says};
use crate::engines::native::expressions::texts;
use crate::engines::native::objects::rule;

pub(super) fn scope(settings: &GuardSettings) -> Guard {
    let labels = texts(settings.scope_labels.iter().map(String::as_str));
    let value = |object: &str| {
        format!("(has({object}.metadata.labels) && l in {object}.metadata.labels ? {object}.metadata.labels[l] : '')")
    };
    let has = |object: &str| format!("(has({object}.metadata.labels) && l in {object}.metadata.labels)");
    let same = format!(
        "{labels}.all(l, {} == {} && {} == {})",
        has("object"),
        has("oldObject"),
        value("object"),
        value("oldObject")
    );
    Guard {
        name: "scope",
        rules: vec![rule(&[""], &["v1"], &["UPDATE"], &["namespaces"], "Cluster")],
        namespace: None,
        conditions: vec![(
            "enforced",
            format!("request.name in {}", texts(settings.enforced.iter().map(String::as_str))),
        )],
        validations: vec![says(
            format!("{same} || variables.isHoldfast || {}", may_approve_all()),
            "something is enforced in this namespace, and this label is one by which it is chosen: RBAC has to give you the verb `approve` on signingidentitypolicies",
        )],
    }
}
