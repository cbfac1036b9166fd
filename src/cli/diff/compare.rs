//! A policy as it is declared, or its going, against what is enforced.

use std::collections::BTreeMap;

use holdfast_core::Digest;
use holdfast_core::api::policy::OtherImages;
use holdfast_core::gate::Enforced;
use holdfast_core::gate::loosening::{
    AllowedBy, Loosening, Standing, gate_weakened, left_scope, policy, policy_deletion, unusable,
};
use holdfast_core::operate::policy::Member;
use serde::Serialize;

use crate::controller::reading::Recalled;

/// What declared policies are held against.
pub(super) struct Ground<'a> {
    pub(super) remembered: &'a BTreeMap<String, Recalled>,
    /// The labels of namespaces, where they could be seen.
    pub(super) labels: Option<&'a BTreeMap<String, BTreeMap<String, String>>>,
}

/// What came of it for one policy.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Compared {
    pub(super) policy: String,
    /// Where it is enforced.
    pub(super) enforced_in: Vec<String>,
    /// The digest of the form in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) in_force: Option<Digest>,
    /// The digest of the declared form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) declared: Option<Digest>,
    /// What admits more.
    pub(super) loosenings: Vec<Looser>,
    /// What weakens the gate in front of later waves and admits nothing.
    pub(super) weaker: Vec<String>,
    /// Why it could not be compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unknown: Option<String>,
}

/// One way of being looser, and what allows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Looser {
    #[serde(flatten)]
    pub(super) what: Loosening,
    pub(super) allowed_by: AllowedBy,
}

impl Compared {
    pub(super) fn is_looser(&self) -> bool {
        !self.loosenings.is_empty()
    }

    pub(super) fn unknown(policy: &str, why: impl Into<String>) -> Self {
        Self { policy: policy.to_owned(), unknown: Some(why.into()), ..Self::default() }
    }

    fn add(&mut self, what: impl IntoIterator<Item = Loosening>) {
        let looser = |what: Loosening| Looser { allowed_by: what.kind.allowed_by(), what };
        self.loosenings.extend(what.into_iter().map(looser));
    }
}

impl Ground<'_> {
    /// The declared form of a policy; `is_declared` where the cluster has it, so that what left its scope waits, too.
    pub(super) fn edited(&self, member: &Member, is_declared: bool) -> Compared {
        let name = member.name.as_str();
        let enforced = match self.enforced(name) {
            Ok(Some(enforced)) => enforced,
            Ok(None) => return Self::of_one_that_is_not_enforced(member),
            Err(why) => return Compared::unknown(name, why),
        };
        let mut compared = Self::of(name, enforced);
        let declared = member.declares();
        if let Some(why) = &member.unusable {
            // Without its keys, the digest of the form is not known.
            compared.add([unusable(declared, why)]);
            return compared;
        }
        compared.declared = Some(declared.digest());
        compared.weaker = gate_weakened(&enforced.spec, &member.form.spec);
        compared.add(policy(enforced.form(name), declared, &self.standing(name, enforced)));
        if let Some(labels) = self.labels.filter(|_| is_declared) {
            compared.add(left_scope(enforced.form(name), &enforced.names(), labels));
        }
        compared
    }

    /// The going of a policy.
    pub(super) fn deleted(&self, name: &str) -> Compared {
        match self.enforced(name) {
            Ok(Some(enforced)) => {
                let mut compared = Self::of(name, enforced);
                compared.add([policy_deletion(enforced.form(name))]);
                compared
            }
            Ok(None) => Compared { policy: name.to_owned(), ..Compared::default() },
            Err(why) => Compared::unknown(name, why),
        }
    }

    fn of_one_that_is_not_enforced(member: &Member) -> Compared {
        let policy = member.name.clone();
        match &member.unusable {
            Some(why) => Compared::unknown(&policy, format!("it cannot be used: {why}")),
            None => Compared { policy, declared: Some(member.declares().digest()), ..Compared::default() },
        }
    }

    fn of(name: &str, enforced: &Enforced) -> Compared {
        Compared {
            policy: name.to_owned(),
            enforced_in: enforced.namespaces.keys().cloned().collect(),
            in_force: Some(enforced.form(name).digest()),
            ..Compared::default()
        }
    }

    /// What is enforced of a policy; nothing where it denies nowhere.
    fn enforced(&self, name: &str) -> Result<Option<&Enforced>, String> {
        let Some(kept) = self.remembered.get(name) else { return Ok(None) };
        if let Some(fault) = &kept.fault {
            return Err(format!("what is remembered of it cannot be read: {fault}"));
        }
        let enforced = kept.gate.enforced.as_ref().filter(|enforced| !enforced.namespaces.is_empty());
        if enforced.is_none() && kept.gate.is_enforced() {
            return Err("it is enforced, and nobody knows in which form: the record was lost".to_owned());
        }
        Ok(enforced)
    }

    fn standing<'s>(&'s self, name: &str, enforced: &'s Enforced) -> Standing<'s> {
        let labels = |namespace: &String| self.labels.and_then(|labels| labels.get(namespace));
        let denies_beside = |other: &Enforced| {
            other.spec.other_images == OtherImages::Deny
                && other.namespaces.keys().any(|namespace| enforced.namespaces.contains_key(namespace))
        };
        let mut others = self.remembered.iter().filter(|(other, _)| *other != name);
        Standing {
            waves: enforced.waves.keys().map(String::as_str).collect(),
            namespaces: enforced.namespaces.keys().map(|name| (name.as_str(), labels(name))).collect(),
            others_deny: others.any(|(_, kept)| kept.gate.enforced.as_ref().is_some_and(denies_beside)),
        }
    }
}

#[cfg(test)]
mod tests {
    use holdfast_core::api::SigningIdentityPolicySpec;
    use holdfast_core::gate::Standing as OfNamespace;
    use holdfast_core::gate::loosening::{Form, LooseningKind};
    use holdfast_core::operate::policy::Remembered;
    use jiff::Timestamp;
    use serde_json::{Value, json};

    use super::*;

    fn spec(more: &Value) -> SigningIdentityPolicySpec {
        let mut spec = json!({
            "images": ["registry.corp.internal/**"], "trustRoots": ["corp"], "engines": {"native": {}},
            "identities": [{"name": "ci", "issuer": "https://issuer.example", "subject": "https://ci.example/web"}],
            "enforcement": {"desired": "Enforce"},
        });
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        serde_json::from_value(spec).unwrap()
    }

    fn member(more: &Value) -> Member {
        let form = Form { spec: spec(more), keys: BTreeMap::new() };
        Member { name: "apps".to_owned(), form, unusable: None, leaves: false, is_gone: false }
    }

    fn kept() -> BTreeMap<String, Recalled> {
        let at = Timestamp::UNIX_EPOCH;
        let standing = OfNamespace { observed: Some(at), ..OfNamespace::new("everything", at) };
        let enforced = Enforced {
            spec: spec(&json!({})),
            keys: BTreeMap::new(),
            namespaces: BTreeMap::from([("shop".to_owned(), standing)]),
            waves: BTreeMap::new(),
            counted: None,
        };
        let gate = Remembered { enforced: Some(enforced), ..Remembered::default() };
        BTreeMap::from([("apps".to_owned(), Recalled { gate, fault: None })])
    }

    fn kinds(compared: &Compared) -> Vec<LooseningKind> {
        compared.loosenings.iter().map(|looser| looser.what.kind).collect()
    }

    #[test]
    fn what_admits_more_is_named_and_what_admits_less_is_not() {
        let kept = kept();
        let ground = Ground { remembered: &kept, labels: None };
        assert!(!ground.edited(&member(&json!({})), true).is_looser());
        let stricter = ground.edited(&member(&json!({"require": {"signedTimestamp": true}})), true);
        assert!(!stricter.is_looser() && stricter.in_force != stricter.declared);
        let audit = ground.edited(&member(&json!({"enforcement": {"desired": "Audit"}})), true);
        assert_eq!(kinds(&audit), [LooseningKind::ReturnToAudit]);
        assert_eq!(audit.loosenings[0].allowed_by, AllowedBy::BreakGlass);
        let deleted = ground.deleted("apps");
        assert_eq!(kinds(&deleted), [LooseningKind::PolicyDeleted]);
        let nobody = ground.deleted("other");
        assert!(!nobody.is_looser() && nobody.unknown.is_none());
    }

    #[test]
    fn what_left_the_scope_waits_only_where_the_cluster_has_the_policy() {
        let kept = kept();
        let labels = BTreeMap::from([("shop".to_owned(), BTreeMap::new())]);
        let ground = Ground { remembered: &kept, labels: Some(&labels) };
        let selects = json!({"namespaceSelector": {"matchLabels": {"tier": "apps"}}});
        assert!(ground.edited(&member(&selects), false).is_looser());
        let mut selecting = kept.clone();
        let form = &mut selecting.get_mut("apps").unwrap().gate.enforced.as_mut().unwrap().spec;
        *form = spec(&selects);
        let ground = Ground { remembered: &selecting, labels: Some(&labels) };
        assert_eq!(kinds(&ground.edited(&member(&selects), true)), [LooseningKind::NamespaceLeft]);
        assert_eq!(kinds(&ground.edited(&member(&selects), false)), []);
    }

    #[test]
    fn a_form_that_is_not_known_is_not_compared() {
        let mut kept = kept();
        kept.get_mut("apps").unwrap().fault = Some("it has no revision".to_owned());
        let ground = Ground { remembered: &kept, labels: None };
        assert!(ground.edited(&member(&json!({})), true).unknown.is_some());
        assert!(ground.deleted("apps").unknown.is_some());
        let mut broken = member(&json!({}));
        broken.unusable = Some("its key is not at hand".to_owned());
        kept.get_mut("apps").unwrap().fault = None;
        let ground = Ground { remembered: &kept, labels: None };
        assert_eq!(kinds(&ground.edited(&broken, true)), [LooseningKind::Unusable]);
    }
}
