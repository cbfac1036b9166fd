//! The labels by which namespaces are chosen.

use std::collections::BTreeSet;

use super::{Guard, GuardSettings, may_approve_all, says};
use crate::engines::native::expressions::texts;
use crate::engines::native::length::{POLICY_LENGTH, lists};
use crate::engines::native::objects::rule;

/// A status and a finalization carry the whole namespace, and the API server takes labels from them, too. Who finalizes changes no labels.
pub(super) fn scope(settings: &GuardSettings) -> Guard {
    let (named, enforced) = variables("enforced", &settings.enforced, |list| format!("request.name in {list}"));
    let (compared, same) = variables("same", &settings.scope_labels, |list| format!("{list}.all(l, {})", same_label()));
    let length: usize = named.iter().chain(&compared).map(|(_, expression)| expression.len()).sum();
    // More names than one policy takes: it is about every namespace then, as there is no other way to be about all that are enforced.
    let (variables, elsewhere) = if length > POLICY_LENGTH {
        (compared, String::new())
    } else {
        (named.into_iter().chain(compared).collect(), format!("!({}) || ", enforced.join(" || ")))
    };
    Guard {
        name: "scope",
        rules: vec![rule(
            &[""],
            &["v1"],
            &["UPDATE"],
            &["namespaces", "namespaces/finalize", "namespaces/status"],
            "Cluster",
        )],
        namespace: None,
        conditions: vec![(
            "changes-labels",
            "!(has(object.metadata.labels) && has(oldObject.metadata.labels) && object.metadata.labels == oldObject.metadata.labels)".to_owned(),
        )],
        variables,
        validations: vec![says(
            format!("{elsewhere}({}) || variables.isHoldfast || {}", same.join(" && "), may_approve_all()),
            "something is enforced in this namespace, and this label is one by which it is chosen: RBAC has to give you the verb `approve` on signingidentitypolicies",
        )],
    }
}

/// Variables over lists of texts that each fit one expression, which match conditions could not refer to; and what refers to them.
fn variables(
    name: &str,
    items: &BTreeSet<String>,
    over: impl Fn(&str) -> String,
) -> (Vec<(String, String)>, Vec<String>) {
    let lists = lists(items.iter().map(String::as_str));
    let variables = lists.into_iter().enumerate().map(|(at, list)| (format!("{name}{at}"), over(&texts(list))));
    variables.map(|variable| (variable.clone(), format!("variables.{}", variable.0))).unzip()
}

fn same_label() -> String {
    let has = |object: &str| format!("(has({object}.metadata.labels) && l in {object}.metadata.labels)");
    let value = |object: &str| format!("({} ? {object}.metadata.labels[l] : '')", has(object));
    let same = |of: &dyn Fn(&str) -> String| format!("{} == {}", of("object"), of("oldObject"));
    format!("{} && {}", same(&has), same(&value))
}
