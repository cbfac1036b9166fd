//! Who may ask for a break-glass, and who may approve.

use super::{Guard, GuardSettings, may_approve, ours, says};
use crate::engines::native::expressions::texts;

pub(super) fn break_glass() -> Guard {
    Guard {
        name: "break-glass",
        rules: vec![ours(&["CREATE"], &["trustbreakglasses"])],
        namespace: None,
        conditions: Vec::new(),
        variables: Vec::new(),
        validations: vec![
            says(
                "object.spec.requestedBy == request.userInfo.username",
                "`requestedBy` is not you: a break-glass is asked for in one's own name",
            ),
            says(
                "timestamp(object.spec.until) > timestamp(object.metadata.creationTimestamp)",
                "`until` is in the past: give an end that is still to come",
            ),
            says(
                "timestamp(object.spec.until) <= timestamp(object.metadata.creationTimestamp) + duration('72h')",
                "`until` is more than 72 hours ahead: give an earlier end, and a new break-glass when it is not enough",
            ),
        ],
    }
}

pub(super) fn approval(settings: &GuardSettings) -> Guard {
    let listed = texts(settings.approving_service_accounts.iter().map(String::as_str));
    // `for` is a word of CEL: the compiler knows no field of that name, the object has it.
    let plural = "dyn(object.spec)['for'].kind == 'TrustRootMirror' ? 'trustrootmirrors' : dyn(object.spec)['for'].kind == 'SigningIdentityPolicy' ? 'signingidentitypolicies' : 'trustbreakglasses'";
    Guard {
        name: "approval",
        rules: vec![ours(&["CREATE", "UPDATE"], &["trustapprovals"])],
        namespace: None,
        conditions: vec![(
            "not-holdfast-at-its-own",
            "request.operation == 'CREATE' || object.spec != oldObject.spec".to_owned(),
        )],
        variables: Vec::new(),
        validations: vec![
            says("request.operation == 'CREATE'", "an approval is never changed: make a new one"),
            says(
                "object.spec.approver == request.userInfo.username",
                "`approver` is not you: one approves in one's own name",
            ),
            says(
                format!(
                    "!request.userInfo.username.startsWith('system:serviceaccount:') || request.userInfo.username in {listed}"
                ),
                "a service account does not approve, unless the chart's values list it",
            ),
            says(
                may_approve(&format!("({plural})"), "dyn(object.spec)['for'].name"),
                "you may not approve this: RBAC has to give you the verb `approve` on the object",
            ),
        ],
    }
}
