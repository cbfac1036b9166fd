//! Where policies count: a ClusterImagePolicy names no namespaces, and the webhook judges every labelled one by all of them.

use std::collections::BTreeSet;

use super::Draft;
use super::report::Report;
use crate::api::policy::OtherImages;
use crate::engines::LossKind;
use crate::engines::ledger::list;

/// The namespaces that have to be labelled: all that any of these policies is enforced in.
pub(super) fn labelled<'a>(enforced: &[&Draft<'a>]) -> BTreeSet<&'a str> {
    enforced.iter().flat_map(|draft| draft.enforced.iter().copied()).collect()
}

/// Says where a policy's namespace would let in images of another that is not enforced there. To deny others is declared by any policy of a namespace.
pub(super) fn mixing(candidates: &[&Draft<'_>], report: &mut Report) {
    for draft in candidates.iter().filter(|draft| draft.others == OtherImages::Deny) {
        for other in candidates {
            let open: Vec<&str> = draft.enforced.difference(&other.enforced).copied().collect();
            if !open.is_empty() {
                let why = format!(
                    "in {} images of the policy `{}` would pass, which is not enforced there",
                    list(open),
                    other.name
                );
                report.loss(draft.name, LossKind::PolicyControllerMixesNamespaces, "namespaceSelector", why);
            }
        }
    }
}

/// What the one scope for all means for a policy that is rendered for enforcement.
pub(super) fn losses(draft: &Draft<'_>, labelled: &BTreeSet<&str>, report: &mut Report) {
    let label = format!("label {}, and no other namespace", list(labelled.iter().copied()));
    report.loss(draft.name, LossKind::PolicyControllerNeedsNamespaceLabel, "namespaceSelector", label);
    let besides: Vec<&str> = labelled.difference(&draft.enforced).copied().collect();
    if !besides.is_empty() {
        let why = format!("it also denies in {}", list(besides));
        report.loss(draft.name, LossKind::PolicyControllerTakesEveryNamespace, "namespaceSelector", why);
    }
    if !draft.audited.is_empty() {
        let why = format!("in {} nothing is reported by the engine", list(draft.audited.iter().copied()));
        report.loss(draft.name, LossKind::PolicyControllerAuditLeftOut, "enforcement", why);
    }
}
