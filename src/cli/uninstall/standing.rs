//! Which policies are enforced: by their status, by what is remembered, or by what engines hold. Whatever one of them says is taken to be so.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_core::api::SigningIdentityPolicy;
use holdfast_core::engines::denial::Denial;
use holdfast_core::gate::Phase;
use holdfast_core::gate::loosening::{Loosening, policy_deletion};
use kube::ResourceExt;

use crate::controller::reading::Recalled;

/// A policy that is enforced.
#[derive(Debug)]
pub(super) struct Enforcing {
    pub(super) policy: String,
    /// What its status says.
    pub(super) phase: Option<String>,
    /// Where it denies, by anybody's word.
    pub(super) namespaces: BTreeSet<String>,
    /// Whether it is there to be deleted.
    pub(super) is_declared: bool,
    /// Its going, which has to be agreed to; or why nobody can say what that is.
    pub(super) deletion: Result<Loosening, String>,
}

/// Every policy that is enforced.
pub(super) fn enforcing(
    declared: &[SigningIdentityPolicy],
    remembered: &BTreeMap<String, Recalled>,
    denials: &[Denial],
) -> Vec<Enforcing> {
    let names: BTreeSet<String> = declared
        .iter()
        .map(ResourceExt::name_any)
        .chain(remembered.keys().cloned())
        .chain(denials.iter().map(|denial| denial.policy.clone()))
        .collect();
    names
        .into_iter()
        .filter_map(|name| {
            let policy = declared.iter().find(|policy| policy.name_any() == name);
            of_one(&name, policy, remembered.get(&name), denials)
        })
        .collect()
}

fn of_one(
    name: &str,
    declared: Option<&SigningIdentityPolicy>,
    kept: Option<&Recalled>,
    denials: &[Denial],
) -> Option<Enforcing> {
    let phase = declared.and_then(|policy| Some(policy.status.as_ref()?.enforcement.as_ref()?.phase.clone()));
    let denies = [Phase::Promoting, Phase::Enforcing].map(|phase| phase.to_string());
    let mut namespaces: BTreeSet<String> = denials
        .iter()
        .filter(|denial| denial.policy == name)
        .flat_map(|denial| denial.namespaces.iter().cloned())
        .collect();
    let gate = kept.map(|kept| &kept.gate);
    if let Some(gate) = gate.filter(|gate| gate.is_enforced()) {
        namespaces.extend(gate.enforced.iter().flat_map(holdfast_core::gate::Enforced::names));
        namespaces.extend(gate.history.in_force().enforced.into_keys());
        namespaces.extend(gate.progress.iter().flat_map(|progress| progress.enforced.iter().cloned()));
    }
    let fault = kept.and_then(|kept| kept.fault.as_ref());
    let is_enforced =
        !namespaces.is_empty() || fault.is_some() || phase.as_ref().is_some_and(|phase| denies.contains(phase));
    is_enforced.then(|| Enforcing {
        policy: name.to_owned(),
        phase,
        namespaces,
        is_declared: declared.is_some(),
        deletion: match (fault, gate.and_then(|gate| gate.enforced.as_ref())) {
            (Some(fault), _) => Err(format!("what is remembered of it cannot be read: {fault}")),
            (None, Some(enforced)) => Ok(policy_deletion(enforced.form(name))),
            (None, None) => Err("nobody knows in which form: the record of what is enforced is lost".to_owned()),
        },
    })
}

#[cfg(test)]
mod tests {
    use holdfast_core::engines::EngineKind;
    use holdfast_core::gate::{Enforced, Event, Standing};
    use holdfast_core::operate::policy::Remembered;
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;

    fn policy(phase: &str) -> SigningIdentityPolicy {
        serde_json::from_value(json!({
            "apiVersion": "holdfast.dev/v1alpha1", "kind": "SigningIdentityPolicy", "metadata": {"name": "apps"},
            "spec": {"images": ["registry.corp.internal/**"], "identities": []},
            "status": {"enforcement": {"phase": phase}},
        }))
        .unwrap()
    }

    fn kept(namespaces: &[&str]) -> Recalled {
        let at = Timestamp::UNIX_EPOCH;
        let standing =
            |name: &&str| ((*name).to_owned(), Standing { observed: Some(at), ..Standing::new("everything", at) });
        let enforced = Enforced {
            spec: policy("Audit").spec,
            keys: BTreeMap::new(),
            namespaces: namespaces.iter().map(standing).collect(),
            waves: BTreeMap::new(),
            counted: None,
        };
        Recalled { gate: Remembered { enforced: Some(enforced), ..Remembered::default() }, fault: None }
    }

    fn one(phase: &str, kept: Option<Recalled>, denials: &[Denial]) -> Option<Enforcing> {
        let remembered = kept.map(|kept| ("apps".to_owned(), kept)).into_iter().collect();
        enforcing(&[policy(phase)], &remembered, denials).pop()
    }

    #[test]
    fn any_witness_is_enough() {
        assert!(one("Audit", None, &[]).is_none() && one("Soaking", Some(kept(&[])), &[]).is_none());
        for phase in ["Promoting", "Enforcing"] {
            let found = one(phase, None, &[]).unwrap();
            assert!(found.deletion.is_err(), "the form is not known");
        }
        let found = one("Soaking", Some(kept(&["shop"])), &[]).unwrap();
        assert_eq!((found.namespaces.len(), found.deletion.is_ok()), (1, true));
        let engine = EngineKind::Native;
        let denial = Denial { policy: "apps".to_owned(), engine, namespaces: BTreeSet::from(["shop".to_owned()]) };
        assert!(one("Audit", None, &[denial]).is_some(), "an engine denies");
        let mut history = kept(&[]);
        let (wave, namespaces) = ("all".to_owned(), BTreeSet::from(["shop".to_owned()]));
        let form = holdfast_core::Digest::of(b"form");
        history.gate.history.append(Timestamp::UNIX_EPOCH, Event::Promoted { wave, namespaces, form }, 512);
        assert!(one("Audit", Some(history), &[]).is_some(), "the history says so");
        let unread = Recalled { fault: Some("it has no revision".to_owned()), ..Recalled::default() };
        assert!(one("Audit", Some(unread), &[]).unwrap().deletion.is_err(), "it may say so");
    }

    #[test]
    fn one_that_is_gone_and_goes_on_denying_is_named() {
        let remembered = BTreeMap::from([("apps".to_owned(), kept(&["shop"]))]);
        let found = enforcing(&[], &remembered, &[]).pop().unwrap();
        assert!(!found.is_declared && found.deletion.is_ok());
    }
}
