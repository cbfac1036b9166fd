//! Where the native engine was seen to deny.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use holdfast_core::engines::Object;
use holdfast_core::engines::native::shards::hold_all;

use super::live::{Kind, There};
use super::observations::Said;

/// How long what was just written may take to come into force before something is amiss.
const TAKES_A_MOMENT: Duration = Duration::from_secs(10);
/// How long it may take until every rule was asked once, after a start.
pub(super) const LOOKS_AROUND: Duration = Duration::from_secs(60);

/// What the name of a rule over the form of images begins with.
const FORM: &str = "holdfast-form-";

/// What there is, and what was seen of it.
#[derive(Clone, Copy)]
pub(super) struct Rules<'a> {
    pub(super) there: &'a BTreeMap<(Kind, String), There>,
    pub(super) said: &'a BTreeMap<String, (Said, BTreeSet<String>)>,
    /// For how long this process has been looking.
    pub(super) looking: Duration,
}

impl Rules<'_> {
    /// Whether every rule there is over a namespace that concerns the policy was seen in force, and together they judge every image; `before` says whether
    /// they did before this process looked.
    pub(super) fn deny_in(&self, policy: &str, namespace: &str, before: bool) -> bool {
        let over = |binding: &There| super::namespaces_of(&binding.object).any(|name| name == namespace);
        let concerns = |binding: &There| super::policy_of(&binding.object).is_none_or(|of| of == policy);
        let bindings = self.there.iter().filter(|((kind, _), binding)| {
            *kind == Kind::Binding && super::denies(&binding.object) && over(binding) && concerns(binding)
        });
        let (mut has_form, mut judged) = (false, Vec::new());
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
            match super::policy_of(&binding.object) {
                Some(_) => judged.extend(shard_of(&binding.object)),
                None => has_form |= super::rule_of(&binding.object).starts_with(FORM),
            }
        }
        // A binding that is missing denies nothing, and nobody asks for it: what is left has to judge every digest.
        has_form && hold_all(judged, policy)
    }
}

/// The parameter that a binding looks into.
fn shard_of(binding: &Object) -> Option<&str> {
    binding.body().pointer("/spec/paramRef/name")?.as_str()
}

#[cfg(test)]
mod tests {
    use holdfast_core::engines::EngineKind;
    use serde_json::{Value, json};
    use tokio::time::Instant;

    use super::super::live::Version;
    use super::*;

    fn there(kind: Kind, body: Value, age: Duration) -> ((Kind, String), There) {
        let version = Version { uid: "1".to_owned(), resource_version: "1".to_owned() };
        let since = Instant::now().checked_sub(age).expect("the machine runs for longer");
        let object = Object::found(EngineKind::Native, body);
        let name = object.name().to_owned();
        ((kind, name), There { version, since, digest: object.digest(), object: std::sync::Arc::new(object) })
    }

    fn binding(rule: &str, policy: Option<&str>, shard: Option<&str>, age: Duration) -> ((Kind, String), There) {
        let over = json!({"matchExpressions": [{"values": ["shop"]}]});
        let body = json!({
            "kind": Kind::Binding.name(),
            "metadata": {"name": shard.unwrap_or(rule), "labels": {"holdfast.dev/policy": policy}},
            "spec": {
                "policyName": rule, "validationActions": ["Deny"], "matchResources": {"namespaceSelector": over},
                "paramRef": shard.map(|name| json!({"name": name})),
            },
        });
        there(Kind::Binding, body, age)
    }

    /// The form of images, and the policy's own rule over these parameters.
    fn world(shards: &[&str], age: Duration) -> BTreeMap<(Kind, String), There> {
        let rule =
            |name: &str| there(Kind::Policy, json!({"kind": Kind::Policy.name(), "metadata": {"name": name}}), age);
        let judges = shards.iter().map(|shard| binding("judge", Some("apps"), Some(shard), age));
        judges
            .chain([binding("holdfast-form-enforce", None, None, age), rule("holdfast-form-enforce"), rule("judge")])
            .collect()
    }

    fn deny_in(there: &BTreeMap<(Kind, String), There>, said: &BTreeMap<String, (Said, BTreeSet<String>)>) -> bool {
        Rules { there, said, looking: OLD }.deny_in("apps", "shop", true)
    }

    const OLD: Duration = Duration::from_secs(90);
    const WHOLE: &str = "holdfast-verified-00-ff.apps";
    const HALVES: [&str; 2] = ["holdfast-verified-00-7f.apps", "holdfast-verified-80-ff.apps"];

    fn all_in_force(there: &BTreeMap<(Kind, String), There>) -> BTreeMap<String, (Said, BTreeSet<String>)> {
        let over = BTreeSet::from(["shop".to_owned()]);
        there.keys().map(|(_, name)| (name.clone(), (Said::InForce, over.clone()))).collect()
    }

    #[test]
    fn a_policy_denies_where_its_rules_judge_every_digest() {
        let [first, second] = HALVES;
        for (shards, want) in [
            (&[WHOLE][..], true),
            (&[], false),
            (&[first, second], true),
            (&[first], false),
            (&[second], false),
            // While one is split, the old one is enough.
            (&[WHOLE, second], true),
            (&["holdfast-verified-00-ff.other"], false),
        ] {
            let there = world(shards, OLD);
            let said = all_in_force(&there);
            assert_eq!(deny_in(&there, &said), want, "{shards:?}");
            let without_form = there.into_iter().filter(|((_, name), _)| !name.starts_with(FORM)).collect();
            assert!(!deny_in(&without_form, &said), "{shards:?}");
        }
    }

    #[test]
    fn what_was_seen_before_stands_until_somebody_should_have_asked() {
        let (old, new) = (OLD, Duration::ZERO);
        let both = |said: &Said| {
            let over = BTreeSet::from(["shop".to_owned()]);
            ["holdfast-form-enforce", WHOLE]
                .into_iter()
                .map(|name| (name.to_owned(), (said.clone(), over.clone())))
                .collect()
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
            let there = world(&[WHOLE], age);
            let rules = Rules { there: &there, said, looking };
            assert_eq!(rules.deny_in("apps", "shop", before), want, "{age:?} {looking:?} {said:?} {before}");
        }
    }
}
