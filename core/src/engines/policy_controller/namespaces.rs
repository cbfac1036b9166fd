//! Where policies count: a ClusterImagePolicy names no namespaces, and the webhook judges every labelled one by all of them.

use std::collections::{BTreeMap, BTreeSet};

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
        let mut open: BTreeMap<Vec<&str>, Vec<&str>> = BTreeMap::new();
        for other in candidates {
            let places: Vec<&str> = draft.enforced.difference(&other.enforced).copied().collect();
            if !places.is_empty() {
                open.entry(places).or_default().push(other.name);
            }
        }
        for (places, others) in open {
            let (policies, are) = if others.len() == 1 { ("policy", "is") } else { ("policies", "are") };
            let why = format!(
                "in {} images of the {policies} {} would pass, which {are} not enforced there",
                list(places),
                list(others)
            );
            report.loss(draft.name, LossKind::PolicyControllerMixesNamespaces, "namespaceSelector", why);
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
