//! What was observed of each binding, and what is to be tried next.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use holdfast_core::engines::native::Holding;
use holdfast_core::engines::native::canary::{Canary, canary};
use tokio::time::Instant;

use super::live::{Kind, There, Version};

/// How long an observation counts before it is made again: an API server may have been replaced by one that has not read everything.
const COUNTS_FOR: Duration = Duration::from_secs(600);
/// How many observations that still count are made again in one pass.
const ANEW: usize = 4;
/// The longest wait before what was not seen in force is tried again.
const PATIENT: Duration = Duration::from_secs(10);

/// What one canary said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// This rule objected to the bad image, and not to the good one: it denied it, or told of it.
    InForce,
    /// The bad image was let through.
    Open,
    /// The good image was denied; what was said.
    Denies(String),
    /// Nobody knows: something else stood in the way.
    Unclear(String),
    /// Nobody asks: where it judges, a break-glass lets in what a canary would have denied.
    Excepted,
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::InForce => f.write_str("it is"),
            Self::Open => f.write_str("it lets an image in that nobody verified"),
            Self::Denies(said) => write!(f, "it denies an image that is verified: {said}"),
            Self::Unclear(said) => write!(f, "no canary can tell, for something else: {said}"),
            Self::Excepted => f.write_str("no canary can tell, for a break-glass"),
        }
    }
}

#[derive(Debug)]
struct Observation {
    binding: Version,
    rule: Version,
    /// Where it was tried.
    place: String,
    at: Instant,
    /// Since when it is tried in this form.
    since: Instant,
    said: Said,
    namespaces: BTreeSet<String>,
    /// When it was last tried, also where that showed nothing.
    tried: Instant,
    /// Where something else stood in the way since it was seen in force.
    vain: BTreeSet<String>,
    /// Since when nobody answers, where it was seen in force before.
    silent: Option<Instant>,
}

/// What there is to try.
pub(super) struct Trial {
    pub(super) canary: Canary,
    binding: Version,
    rule: Version,
    pub(super) namespace: String,
    /// Whether every other namespace was tried in vain.
    is_last: bool,
}

/// Whether something can be tried in a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// It can.
    Usable,
    /// A break-glass stands in the way.
    Excepted,
    /// It is not there, or on its way out.
    Gone,
}

/// What was observed of each binding, by its name.
#[derive(Debug, Default)]
pub(super) struct Observations {
    seen: BTreeMap<String, Observation>,
    /// What could not be tried at the last look, because a break-glass stands in the way wherever it judges.
    excepted: BTreeSet<String>,
}

impl Observation {
    fn is_of(&self, binding: &There, rule: &There) -> bool {
        self.binding == binding.version && self.rule == rule.version
    }

    /// Whether it is too early to try again: what does not come to be in force is tried less and less often.
    fn rests(&self) -> bool {
        let rest = if self.said == Said::InForce { COUNTS_FOR } else { (self.since.elapsed() / 8).min(PATIENT) };
        self.at.elapsed() < rest
    }
}

impl Observations {
    /// What has to be tried: bindings over pods, in a form that was not seen in force. `places` says in which namespaces pods of a rule can be made at all;
    /// `but` names what is about to change.
    pub(super) fn trials<'p>(
        &mut self,
        there: &BTreeMap<(Kind, String), There>,
        patterns: &dyn Fn(&str) -> Option<&'p [String]>,
        holdings: &BTreeMap<String, Holding>,
        places: &dyn Fn(&str, &str) -> Place,
        but: &BTreeSet<&str>,
    ) -> Vec<Trial> {
        let (seen, excepted) = (&mut self.seen, &mut self.excepted);
        excepted.clear();
        seen.retain(|name, _| there.contains_key(&(Kind::Binding, name.clone())));
        let (mut trials, mut anew) = (Vec::new(), Vec::new());
        let shards = there.iter().filter(|((kind, _), _)| *kind == Kind::Shard).map(|(_, there)| &*there.object);
        for ((_, name), binding) in there.iter().filter(|((kind, _), _)| *kind == Kind::Binding) {
            let Some(canary) = canary(&binding.object, patterns, holdings, shards.clone()) else { continue };
            let Some(rule) = there.get(&(Kind::Policy, canary.rule.clone())) else { continue };
            if but.contains(name.as_str()) || but.contains(canary.rule.as_str()) {
                continue;
            }
            let known = seen.get(name).filter(|known| known.is_of(binding, rule));
            if known.is_some_and(Observation::rests) {
                continue;
            }
            let of: Vec<(&str, Place)> =
                canary.namespaces.iter().map(|at| (at.as_str(), places(&canary.rule, at))).collect();
            let candidates: Vec<&str> =
                of.iter().filter(|(_, place)| *place == Place::Usable).map(|(at, _)| *at).collect();
            if candidates.is_empty() && of.iter().any(|(_, place)| *place == Place::Excepted) {
                excepted.insert(name.clone());
            }
            let Some(namespace) = place(&candidates, known, seen.get(name)).map(str::to_owned) else { continue };
            let was_vain = |at: &str| known.is_some_and(|known| known.vain.contains(at));
            let is_last = candidates.iter().all(|at| *at == namespace || was_vain(at));
            let (binding, rule) = (binding.version.clone(), rule.version.clone());
            let trial = Trial { canary, binding, rule, namespace, is_last };
            match known.filter(|known| known.said == Said::InForce) {
                Some(known) => anew.push((known.tried, trial)),
                None => trials.push(trial),
            }
        }
        anew.sort_by_key(|(tried, _)| *tried);
        trials.extend(anew.into_iter().take(ANEW).map(|(_, trial)| trial));
        trials
    }

    /// Whether something stood in the way of trying anew what was seen in force, and another namespace is still to be asked.
    pub(super) fn asks_on(&self) -> bool {
        self.seen.values().any(|known| !known.vain.is_empty() && known.tried.elapsed() < PATIENT)
    }

    /// Takes note of what a trial showed. What something else stood in the way of contradicts nothing while there are namespaces to ask: whoever may limit
    /// what is made in one of them could end what was seen in all.
    pub(super) fn note(&mut self, trial: Trial, said: Said) {
        let Trial { canary, binding, rule, namespace: place, is_last } = trial;
        if said != Said::InForce {
            tracing::debug!(binding = canary.binding, ?said, "not seen in force");
        }
        let tried = Instant::now();
        let known = self.seen.get_mut(&canary.binding).filter(|known| known.binding == binding && known.rule == rule);
        let since = known.as_ref().map_or(tried, |known| known.since);
        let known = known.filter(|known| known.said == Said::InForce);
        if let Some(known) = known.filter(|_| matches!(said, Said::Unclear(_)) && !is_last) {
            known.vain.insert(place);
            known.tried = tried;
            return;
        }
        let (namespaces, vain) = (canary.namespaces.into_iter().collect(), BTreeSet::new());
        let seen = Observation { binding, rule, place, at: tried, since, said, namespaces, tried, vain, silent: None };
        self.seen.insert(canary.binding, seen);
    }

    /// Takes note that a trial was not answered. It contradicts nothing that was seen, for a while.
    pub(super) fn note_silence(&mut self, trial: Trial) {
        let known = self.seen.get_mut(&trial.canary.binding);
        let known = known.filter(|known| known.binding == trial.binding && known.rule == trial.rule);
        let is_short = |since: Option<Instant>| since.is_none_or(|since| since.elapsed() < COUNTS_FOR);
        let stands = known.filter(|known| known.said == Said::InForce && is_short(known.silent));
        let Some(known) = stands else {
            let why = "the API server did not answer in time, or not as it should".to_owned();
            // Each namespace was tried, or there was time enough for it.
            return self.note(Trial { is_last: true, ..trial }, Said::Unclear(why));
        };
        known.tried = Instant::now();
        known.silent.get_or_insert(known.tried);
        if trial.is_last { known.vain.clear() } else { _ = known.vain.insert(trial.namespace) }
    }

    /// What was tried and is not seen in force, in the form it has; `but` names what is about to change.
    pub(super) fn unseen<'t>(
        &self,
        there: &'t BTreeMap<(Kind, String), There>,
        but: &BTreeSet<&str>,
    ) -> Vec<(&'t There, Said)> {
        let seen = &self.seen;
        let bindings = there.iter().filter(|((kind, name), _)| *kind == Kind::Binding && !but.contains(name.as_str()));
        let unseen = bindings.filter_map(|((_, name), binding)| {
            let known = seen.get(name).filter(|known| known.said != Said::InForce)?;
            let rule = there.get(&(Kind::Policy, super::rule_of(&binding.object).to_owned()))?;
            let is_it = known.is_of(binding, rule) && !but.contains(rule.object.name());
            is_it.then(|| (binding, known.said.clone()))
        });
        unseen.collect()
    }

    /// What is known of each binding and its rule in the form that is there.
    pub(super) fn known(&self, there: &BTreeMap<(Kind, String), There>) -> BTreeMap<String, (Said, BTreeSet<String>)> {
        let bindings = there.iter().filter(|((kind, _), _)| *kind == Kind::Binding);
        let known = bindings.filter_map(|((_, name), binding)| {
            let rule = there.get(&(Kind::Policy, super::rule_of(&binding.object).to_owned()))?;
            let is_excepted = self.excepted.contains(name);
            // What cannot be asked anew stands as it was, where a break-glass changed the rule.
            let stands =
                |known: &Observation| known.is_of(binding, rule) || (is_excepted && known.binding == binding.version);
            match self.seen.get(name).filter(|known| stands(known)) {
                Some(known) => Some((name.clone(), (known.said.clone(), known.namespaces.clone()))),
                None => is_excepted.then(|| (name.clone(), (Said::Excepted, BTreeSet::new()))),
            }
        });
        known.collect()
    }
}

/// Where to try, of these namespaces: `known` is what was observed of what is there, `before` the last observation of what may be another form of it.
fn place<'c>(candidates: &[&'c str], known: Option<&Observation>, before: Option<&Observation>) -> Option<&'c str> {
    let find = |which: &dyn Fn(&str) -> bool| candidates.iter().copied().find(|at| which(at));
    let chosen = match known {
        // Where something else stands in the way, another namespace tells as much.
        Some(known) if matches!(known.said, Said::Unclear(_)) => find(&|at| at > known.place.as_str()),
        Some(known) => {
            let was_vain = |at: &str| known.vain.contains(at);
            find(&|at| at == known.place && !was_vain(at)).or_else(|| find(&|at| !was_vain(at)))
        }
        // What the binding gained shows whether this form of it is in force.
        None => {
            let before = before.filter(|before| before.said == Said::InForce);
            let gained = find(&|at| !before.is_some_and(|before| before.namespaces.contains(at)));
            gained.or_else(|| find(&|at| before.is_some_and(|before| before.place == at)))
        }
    };
    chosen.or_else(|| candidates.first().copied())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use holdfast_core::engines::{EngineKind, Object};
    use serde_json::{Value, json};

    use super::*;

    const RULE: &str = "holdfast-form-enforce";

    fn there(kind: Kind, version: &str, spec: &Value) -> ((Kind, String), There) {
        let body = json!({"kind": kind.name(), "metadata": {"name": RULE}, "spec": spec});
        let version = Version { uid: "1".to_owned(), resource_version: version.to_owned() };
        let object = Object::found(EngineKind::Native, body);
        let there = There { version, since: Instant::now(), digest: object.digest(), object: Arc::new(object) };
        ((kind, RULE.to_owned()), there)
    }

    /// A rule and its binding, each in a version, over namespaces.
    fn world(rule: &str, binding: &str, namespaces: &[&str]) -> BTreeMap<(Kind, String), There> {
        let over = json!({"matchExpressions": [{"values": namespaces}]});
        let spec = json!({
            "policyName": RULE, "validationActions": ["Deny"], "matchResources": {"namespaceSelector": over},
        });
        BTreeMap::from([there(Kind::Binding, binding, &spec), there(Kind::Policy, rule, &json!({}))])
    }

    impl Observations {
        /// Tries what is to be tried, and gives where.
        fn step(&mut self, there: &BTreeMap<(Kind, String), There>, answer: impl Fn(&str) -> Said) -> Vec<String> {
            let trials = self.trials(there, &|_| None, &BTreeMap::new(), &|_, at| place_of(at), &BTreeSet::new());
            let places = trials.iter().map(|trial| trial.namespace.clone()).collect();
            for trial in trials {
                let said = answer(&trial.namespace);
                self.note(trial, said);
            }
            places
        }

        fn says(&self, there: &BTreeMap<(Kind, String), There>) -> Option<Said> {
            self.known(there).remove(RULE).map(|(said, _)| said)
        }

        /// What was observed was so long ago that it is to be made again.
        fn age(&mut self) {
            let long_ago = Instant::now().checked_sub(COUNTS_FOR * 2).unwrap();
            for known in self.seen.values_mut() {
                (known.at, known.since) = (long_ago, long_ago);
            }
        }
    }

    fn refused_in_a(place: &str) -> Said {
        if place == "a" { Said::Unclear("a limit".to_owned()) } else { Said::InForce }
    }

    fn place_of(namespace: &str) -> Place {
        match namespace {
            "excepted" => Place::Excepted,
            "gone" => Place::Gone,
            _ => Place::Usable,
        }
    }

    #[test]
    fn what_a_break_glass_stands_in_the_way_of_is_no_answer() {
        let mut seen = Observations::default();
        for (over, said) in [
            (&["excepted", "gone"][..], Some(Said::Excepted)),
            (&["gone"], None),
            (&["a", "excepted"], Some(Said::InForce)),
        ] {
            let there = world("1", said.as_ref().map_or("none", |_| over[0]), over);
            seen.step(&there, |_| Said::InForce);
            assert_eq!(seen.says(&there), said, "{over:?}");
        }
    }

    #[test]
    fn what_refuses_canaries_in_one_namespace_ends_no_observation() {
        let there = world("1", "1", &["a", "b", "c"]);
        let mut seen = Observations::default();
        assert_eq!(seen.step(&there, refused_in_a), ["a"]);
        assert_eq!(seen.step(&there, refused_in_a), ["b"]);
        assert_eq!(seen.says(&there), Some(Said::InForce));
        // It is tried again where it was seen.
        seen.age();
        assert_eq!(seen.step(&there, refused_in_a), ["b"]);
        // Another one comes to refuse: what was seen stands while there is a namespace that was not asked.
        let all_but_c = |place: &str| if place == "c" { Said::InForce } else { refused_in_a("a") };
        seen.age();
        for place in ["b", "a"] {
            assert_eq!(seen.step(&there, all_but_c), [place]);
            assert_eq!(seen.says(&there), Some(Said::InForce), "{place}");
        }
        assert!(seen.asks_on());
        assert_eq!(seen.step(&there, all_but_c), ["c"]);
        assert_eq!(seen.says(&there), Some(Said::InForce));
        assert!(!seen.asks_on() && seen.step(&there, all_but_c).is_empty());
    }

    #[test]
    fn what_no_namespace_tells_any_more_or_one_contradicts_is_not_seen_in_force() {
        let there = world("1", "1", &["a", "b"]);
        for said in [Said::Open, Said::Denies("it".to_owned())] {
            let mut seen = Observations::default();
            seen.step(&there, |_| Said::InForce);
            seen.age();
            assert_eq!(seen.step(&there, |_| refused_in_a("a")), ["a"]);
            assert_eq!(seen.step(&there, |_| said.clone()), ["b"]);
            assert_eq!(seen.says(&there), Some(said));
        }
        let mut seen = Observations::default();
        seen.step(&there, |_| Said::InForce);
        seen.age();
        for _ in 0..2 {
            seen.step(&there, |_| refused_in_a("a"));
        }
        assert_eq!(seen.says(&there), Some(refused_in_a("a")));
    }

    #[test]
    fn who_does_not_answer_contradicts_nothing_for_a_while() {
        let there = world("1", "1", &["a", "b"]);
        let silent = |seen: &mut Observations| -> Vec<String> {
            let trials = seen.trials(&there, &|_| None, &BTreeMap::new(), &|_, at| place_of(at), &BTreeSet::new());
            let places = trials.iter().map(|trial| trial.namespace.clone()).collect();
            for trial in trials {
                seen.note_silence(trial);
            }
            places
        };
        let ago = |seen: &mut Observations, ago: Duration| {
            let then = Instant::now().checked_sub(ago).unwrap();
            for known in seen.seen.values_mut() {
                (known.at, known.since, known.silent) = (then, then, known.silent.map(|_| then));
            }
        };
        // Before anything was seen, nothing is in force; another namespace is asked next.
        let mut seen = Observations::default();
        assert_eq!(silent(&mut seen), ["a"]);
        assert!(matches!(seen.says(&there), Some(Said::Unclear(_))));
        assert_eq!(seen.step(&there, |_| Said::InForce), ["b"]);
        // However long ago it was seen: many are asked one after another.
        ago(&mut seen, COUNTS_FOR * 3);
        for place in ["b", "a", "b"] {
            assert_eq!(silent(&mut seen), [place]);
            assert_eq!(seen.says(&there), Some(Said::InForce));
        }
        // Not for ever.
        ago(&mut seen, COUNTS_FOR);
        silent(&mut seen);
        assert!(matches!(seen.says(&there), Some(Said::Unclear(_))), "however many namespaces are left to ask");
    }

    #[test]
    fn what_was_seen_of_a_rule_is_not_known_of_another_form_of_it() {
        let mut seen = Observations::default();
        seen.step(&world("1", "1", &["b"]), |_| Said::InForce);
        assert_eq!(seen.says(&world("1", "1", &["b"])), Some(Said::InForce));
        for other in [world("2", "1", &["b"]), world("1", "2", &["b"])] {
            assert_eq!(seen.says(&other), None);
        }
    }

    #[test]
    fn what_a_binding_gained_is_asked_again_there() {
        let mut seen = Observations::default();
        seen.step(&world("1", "1", &["a"]), |_| Said::InForce);
        let gained = world("1", "2", &["a", "b"]);
        for said in [Said::Open, Said::InForce] {
            assert_eq!(seen.step(&gained, |_| said.clone()), ["b"]);
        }
    }
}
