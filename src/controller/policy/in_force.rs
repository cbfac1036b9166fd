//! Where the native engine was seen to deny.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::live::{Kind, There};
use super::observations::Said;

/// How long what was just written may take to come into force before something is amiss.
const TAKES_A_MOMENT: Duration = Duration::from_secs(10);
/// How long it may take until every rule was asked once, after a start.
const LOOKS_AROUND: Duration = Duration::from_secs(60);

/// What there is, and what was seen of it.
#[derive(Clone, Copy)]
pub(super) struct Rules<'a> {
    pub(super) there: &'a BTreeMap<(Kind, String), There>,
    pub(super) said: &'a BTreeMap<String, (Said, BTreeSet<String>)>,
    /// For how long this process has been looking.
    pub(super) looking: Duration,
}

impl Rules<'_> {
    /// Whether every rule there is over a namespace that concerns the policy was seen in force; `before` says whether it was before this process looked.
    pub(super) fn deny_in(&self, policy: &str, namespace: &str, before: bool) -> bool {
        let over = |binding: &There| super::namespaces_of(&binding.object).any(|name| name == namespace);
        let concerns = |binding: &There| super::policy_of(&binding.object).is_none_or(|of| of == policy);
        let bindings = self.there.iter().filter(|((kind, _), binding)| {
            *kind == Kind::Binding && super::denies(&binding.object) && over(binding) && concerns(binding)
        });
        let mut seen = 0;
        for ((_, name), binding) in bindings {
            let rule = self.there.get(&(Kind::Policy, super::rule_of(&binding.object).to_owned()));
            let is_there = rule.is_some();
            let is_new = rule.is_some_and(|rule| rule.since.max(binding.since).elapsed() <= TAKES_A_MOMENT);
            let in_force = match self.said.get(name) {
                Some((Said::InForce, over)) => over.contains(namespace),
                // It cannot be asked as long as that lasts, and says nothing against what was seen before.
                Some((Said::Excepted, _)) => before,
                // Not in force yet: what was seen before stands for as long as that takes.
                Some(_) => is_new && before,
                // Not asked yet in the form it has. Where nobody comes to ask, nobody knows.
                None => (is_new || self.looking <= LOOKS_AROUND) && before,
            };
            if !is_there || !in_force {
                return false;
            }
            seen += 1;
        }
        // The form of images, and the policy itself: one rule alone is not all of it.
        seen >= 2
    }
}

#[cfg(test)]
mod tests {
    use holdfast_core::engines::{EngineKind, Object};
    use serde_json::{Value, json};
    use tokio::time::Instant;

    use super::super::live::Version;
    use super::*;

    fn there(kind: Kind, name: &str, spec: &Value, age: Duration) -> ((Kind, String), There) {
        let body = json!({"kind": kind.name(), "metadata": {"name": name}, "spec": spec});
        let version = Version { uid: "1".to_owned(), resource_version: "1".to_owned() };
        let since = Instant::now().checked_sub(age).expect("the machine runs for longer");
        let object = Object::found(EngineKind::Native, body);
        (
            (kind, name.to_owned()),
            There { version, since, digest: object.digest(), object: std::sync::Arc::new(object) },
        )
    }

    fn world(age: Duration) -> BTreeMap<(Kind, String), There> {
        let over = json!({"matchExpressions": [{"values": ["shop"]}]});
        let binding = |rule: &str| {
            let spec = json!({
                "policyName": rule, "validationActions": ["Deny"], "matchResources": {"namespaceSelector": over},
            });
            there(Kind::Binding, rule, &spec, age)
        };
        let rule = |name: &str| there(Kind::Policy, name, &json!({}), age);
        BTreeMap::from([binding("form"), binding("judge"), rule("form"), rule("judge")])
    }

    #[test]
    fn what_was_seen_before_stands_until_somebody_should_have_asked() {
        let (old, new) = (Duration::from_secs(90), Duration::ZERO);
        let both = |said: &Said| {
            let over = BTreeSet::from(["shop".to_owned()]);
            ["form", "judge"].into_iter().map(|name| (name.to_owned(), (said.clone(), over.clone()))).collect()
        };
        let (unasked, seen, open) = (BTreeMap::new(), both(&Said::InForce), both(&Said::Open));
        let excepted = both(&Said::Excepted);
        for (age, looking, said, before, want) in [
            (old, old, &seen, false, true),
            (old, old, &seen, true, true),
            // Just started: not asked yet.
            (new, new, &unasked, true, true),
            (new, new, &unasked, false, false),
            (old, Duration::from_secs(50), &unasked, true, true),
            // Nobody asked for as long as it could take.
            (old, old, &unasked, true, false),
            // Written anew a moment ago.
            (new, old, &unasked, true, true),
            (new, old, &open, true, true),
            (old, new, &open, true, false),
            // What cannot be asked, for a break-glass.
            (old, old, &excepted, true, true),
            (old, old, &excepted, false, false),
        ] {
            let there = world(age);
            let rules = Rules { there: &there, said, looking };
            assert_eq!(rules.deny_in("apps", "shop", before), want, "{age:?} {looking:?} {said:?} {before}");
        }
    }
}
