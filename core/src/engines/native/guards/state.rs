//! What holdfast alone writes: what decides admission, what was seen, and what is remembered.

use super::{Guard, GuardSettings, MEMORY, ours, says};
use crate::engines::native::expressions::text;
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
        validations: vec![says(
            "variables.isHoldfast",
            "verified digests and status are written by holdfast alone: they decide what is admitted and when it is enforced",
        )],
    }
}

pub(super) fn memory(settings: &GuardSettings) -> Guard {
    let labelled = |object: &str| {
        format!("{object} != null && has({object}.metadata.labels) && {} in {object}.metadata.labels", text(MEMORY))
    };
    Guard {
        name: "memory",
        rules: vec![rule(&[""], &["v1"], &["CREATE", "UPDATE", "DELETE"], &["configmaps", "secrets"], "Namespaced")],
        namespace: Some(settings.namespace.clone()),
        conditions: vec![("holds-memory", format!("({}) || ({})", labelled("object"), labelled("oldObject")))],
        validations: vec![says(
            "variables.isHoldfast",
            "what holdfast remembers is written by holdfast alone: without it, old and withdrawn trust could come back",
        )],
    }
}
