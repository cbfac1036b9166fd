//! What is said of a policy's history.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_core::Digest;
use holdfast_core::gate::{Enforced, History, Phase, Standing as OfNamespace, WaveStanding};
use holdfast_core::operate::policy::Remembered;
use serde::{Deserialize, Serialize};

/// Every policy of which something is remembered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Told {
    pub(super) policies: Vec<PolicyHistory>,
}

/// One policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PolicyHistory {
    pub(super) policy: String,
    /// How far it has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) phase: Option<Phase>,
    /// What is enforced of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) enforced: Option<EnforcedNow>,
    /// The newest record, as the last step wrote it down beside the records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) head: Option<Digest>,
    /// Whether the records can be relied on. Found anew whenever a file is read.
    #[serde(skip_deserializing, default)]
    pub(super) standing: Standing,
    pub(super) records: History,
}

/// What is enforced.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EnforcedNow {
    /// The digest of the form.
    pub(super) form: Digest,
    pub(super) namespaces: BTreeMap<String, OfNamespace>,
    pub(super) waves: BTreeMap<String, WaveStanding>,
}

/// Whether records can be relied on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "chain")]
pub(super) enum Standing {
    /// Each follows the one before it, the last one is there, and they say what is enforced.
    #[default]
    Holds,
    /// They do not.
    Broken {
        /// Why.
        why: String,
    },
    /// What is written down could not be read.
    Unknown {
        /// Why.
        why: String,
    },
}

impl PolicyHistory {
    /// What is remembered of a policy; `fault` is what is wrong with where it is written.
    pub(super) fn of(policy: &str, gate: &Remembered, fault: Option<&str>) -> Self {
        let enforced = gate.enforced.as_ref().map(|enforced| EnforcedNow::of(policy, enforced));
        let mut told = Self {
            policy: policy.to_owned(),
            phase: gate.progress.as_ref().map(|progress| progress.phase),
            head: gate.progress.as_ref().and_then(|progress| progress.head),
            enforced,
            standing: Standing::Holds,
            records: gate.history.clone(),
        };
        told.standing = match fault {
            Some(why) => Standing::Unknown { why: why.to_owned() },
            None => told.found(),
        };
        told
    }

    /// Whether the records hold.
    pub(super) fn found(&self) -> Standing {
        if let Err(broken) = self.records.verify(self.head) {
            return Standing::Broken { why: broken.to_string() };
        }
        self.disagreement().map_or(Standing::Holds, |why| Standing::Broken { why })
    }

    /// What is enforced has to be what the records amount to.
    fn disagreement(&self) -> Option<String> {
        let in_force = self.records.in_force();
        let told: BTreeSet<&String> = in_force.enforced.keys().collect();
        let is: BTreeSet<&String> = self.enforced.iter().flat_map(|enforced| enforced.namespaces.keys()).collect();
        if told != is {
            let only = |of: &BTreeSet<&String>, other: &BTreeSet<&String>| of.difference(other).count();
            return Some(format!(
                "the records and what is enforced do not agree: {} namespaces are enforced by the records alone, and {} without a record",
                only(&told, &is),
                only(&is, &told)
            ));
        }
        let form = self.enforced.as_ref().map(|enforced| enforced.form).filter(|_| !is.is_empty());
        (form.is_some() && form != in_force.form)
            .then(|| "the policy is enforced in another form than the records say".to_owned())
    }
}

impl EnforcedNow {
    fn of(policy: &str, enforced: &Enforced) -> Self {
        Self {
            form: enforced.form(policy).digest(),
            namespaces: enforced.namespaces.clone(),
            waves: enforced.waves.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use holdfast_core::gate::Event;
    use jiff::Timestamp;

    use super::*;

    pub(crate) fn promoted(namespaces: &[&str]) -> PolicyHistory {
        let at = Timestamp::UNIX_EPOCH;
        let form = Digest::of(b"form");
        let names: BTreeSet<String> = namespaces.iter().map(|name| (*name).to_owned()).collect();
        let mut records = History::default();
        records.append(at, Event::Promoted { wave: "all".to_owned(), namespaces: names.clone(), form }, 512);
        let head = Some(records.append(at, Event::Observed { wave: "all".to_owned() }, 512));
        let standing = OfNamespace { observed: Some(at), ..OfNamespace::new("all", at) };
        let namespaces = names.into_iter().map(|name| (name, standing.clone())).collect();
        let waves = BTreeMap::from([("all".to_owned(), WaveStanding { promoted: at, observed: Some(at) })]);
        let enforced = Some(EnforcedNow { form, namespaces, waves });
        let policy = "apps".to_owned();
        PolicyHistory { policy, phase: Some(Phase::Enforcing), enforced, head, standing: Standing::Holds, records }
    }

    #[test]
    fn a_record_that_was_changed_set_back_or_contradicted_does_not_hold() {
        let whole = promoted(&["a", "b"]);
        assert_eq!(whole.found(), Standing::Holds);

        let text = serde_json::to_string(&whole).unwrap();
        let read: PolicyHistory = serde_json::from_str(&text).unwrap();
        assert_eq!((read.found(), &read), (Standing::Holds, &whole), "what is exported is read back");
        let broken = |text: &str| {
            let read: PolicyHistory = serde_json::from_str(text).unwrap();
            matches!(read.found(), Standing::Broken { .. })
        };
        assert!(broken(&text.replace(r#""event":"observed","wave":"all""#, r#""event":"observed","wave":"al""#)));

        let mut back = whole.clone();
        back.head = Some(Digest::of(b"a record that is gone"));
        assert!(matches!(back.found(), Standing::Broken { why } if why.contains("set back")));
        let mut more = whole.clone();
        more.enforced.as_mut().unwrap().namespaces.remove("b");
        assert!(matches!(more.found(), Standing::Broken { why } if why.contains("1 namespaces")));
        let mut other = whole.clone();
        other.enforced.as_mut().unwrap().form = Digest::of(b"another");
        assert!(matches!(other.found(), Standing::Broken { .. }));
        let mut gone = whole;
        gone.enforced = None;
        assert!(matches!(gone.found(), Standing::Broken { .. }));
    }
}
