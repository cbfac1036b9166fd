//! What holdfast alone writes: what decides admission, what was seen, and what is remembered.

use super::{Guard, GuardSettings, MEMORY, ours, says};
use crate::engines::native::expressions::{text, texts};
use crate::engines::native::objects::rule;

pub(super) fn parameters() -> Guard {
    Guard {
        name: "parameters",
        rules: vec![
            ours(&["CREATE", "UPDATE", "DELETE"], &["verifiedimages"]),
            ours(
                &["UPDATE"],
                &[
                    "bundlecoveragereports/status",
                    "signingidentitypolicies/status",
                    "trustbreakglasses/status",
                    "trustrootmirrors/status",
                ],
            ),
        ],
        namespace: None,
        conditions: Vec::new(),
        variables: Vec::new(),
        validations: vec![says(
            "variables.isHoldfast",
            "verified digests and status are written by holdfast alone: they decide what is admitted and when it is enforced",
        )],
    }
}

/// What ConfigMaps are called in which holdfast remembers something, or how their names begin. It reads them by their names, so those are guarded whatever
/// their labels say.
pub const REMEMBERED: [&str; 5] =
    ["holdfast-enforced-", "holdfast-policy-", "holdfast-trust-memory-", "holdfast-trust-record-", "holdfast-verified"];

pub(super) fn memory(settings: &GuardSettings) -> Guard {
    let labelled =
        |object: &str| format!("has({object}.metadata.labels) && {} in {object}.metadata.labels", text(MEMORY));
    let named = |object: &str| {
        format!(
            "request.resource.resource == 'configmaps' && {}.exists(n, {object}.metadata.name.startsWith(n))",
            texts(REMEMBERED)
        )
    };
    let holds = |object: &str| format!("({object} != null && ({} || {}))", labelled(object), named(object));
    Guard {
        name: "memory",
        rules: vec![rule(&[""], &["v1"], &["CREATE", "UPDATE", "DELETE"], &["configmaps", "secrets"], "Namespaced")],
        namespace: Some(settings.namespace.clone()),
        conditions: vec![("holds-memory", format!("{} || {}", holds("object"), holds("oldObject")))],
        variables: Vec::new(),
        validations: vec![says(
            "variables.isHoldfast",
            "what holdfast remembers is written by holdfast alone: without it, old and withdrawn trust could come back",
        )],
    }
}
