//! Whether what is written is in force: canaries, sent once for each form of a binding and its rule.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use holdfast_core::engines::native::Holding;
use holdfast_core::engines::native::canary::{self, Canary, canary};
use k8s_openapi::api::core::v1::Pod;
use kube::api::PostParams;
use kube::client::Body;
use kube::core::Request;
use kube::{Client, Resource};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::super::MANAGER;
use super::super::failure::{Failed, within};
use super::live::{Kind, There, Version};

/// How many canaries are on their way at once.
const AT_ONCE: usize = 8;
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
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::InForce => f.write_str("it is"),
            Self::Open => f.write_str("it lets an image in that nobody verified"),
            Self::Denies(said) => write!(f, "it denies an image that is verified: {said}"),
            Self::Unclear(said) => write!(f, "no canary can tell, for something else: {said}"),
        }
    }
}

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
}

/// What was observed of each binding.
pub(crate) struct Observing {
    client: Client,
    seen: Mutex<BTreeMap<String, Observation>>,
    /// When this began: at the start, or when everything was doubted.
    since: Mutex<Instant>,
}

/// What there is to try.
pub(super) struct Trial {
    canary: Canary,
    binding: Version,
    rule: Version,
    namespace: String,
}

impl Observation {
    fn is_of(&self, binding: &There, rule: &There) -> bool {
        self.binding == binding.version && self.rule == rule.version
    }

    /// Whether it is too early to try again: what does not come to be in force is tried less and less often.
    fn rests(&self) -> bool {
        self.said != Said::InForce && self.at.elapsed() < (self.since.elapsed() / 8).min(PATIENT)
    }
}

impl Observing {
    /// Nothing observed yet.
    pub(crate) fn new(client: Client) -> Self {
        Self { client, seen: Mutex::default(), since: Mutex::new(Instant::now()) }
    }

    /// Everything is observed anew.
    pub(crate) fn doubt(&self) {
        self.seen.lock().clear();
        *self.since.lock() = Instant::now();
    }

    /// For how long it has been observed.
    pub(super) fn looking(&self) -> Duration {
        self.since.lock().elapsed()
    }

    /// What has to be tried: bindings over pods, in a form that was not seen in force. `usable` says in which namespaces pods can be made at all; `but`
    /// names what is about to change.
    pub(super) fn trials<'p>(
        &self,
        there: &BTreeMap<(Kind, String), There>,
        patterns: &dyn Fn(&str) -> Option<&'p [String]>,
        holdings: &BTreeMap<String, Holding>,
        usable: &dyn Fn(&str, &str) -> bool,
        but: &BTreeSet<&str>,
    ) -> Vec<Trial> {
        let mut seen = self.seen.lock();
        seen.retain(|name, _| there.contains_key(&(Kind::Binding, name.clone())));
        let (mut trials, mut anew) = (Vec::new(), 0);
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
            if let Some(known) = known.filter(|known| known.said == Said::InForce) {
                if known.at.elapsed() < COUNTS_FOR || anew >= ANEW {
                    continue;
                }
                anew += 1;
            }
            // What the binding gained shows whether this form of it is in force.
            let before = seen.get(name).filter(|known| known.said == Said::InForce).map(|known| &known.namespaces);
            let candidates = || canary.namespaces.iter().filter(|namespace| usable(&canary.rule, namespace));
            let gained = candidates().find(|namespace| !before.is_some_and(|before| before.contains(*namespace)));
            // Where something else stands in the way, another namespace tells as much.
            let next = known
                .filter(|known| matches!(known.said, Said::Unclear(_)))
                .and_then(|known| candidates().find(|namespace| **namespace > known.place));
            let chosen = next.or(gained).or_else(|| candidates().next());
            let Some(namespace) = chosen.cloned() else { continue };
            let (binding, rule) = (binding.version.clone(), rule.version.clone());
            trials.push(Trial { canary, binding, rule, namespace });
        }
        trials
    }

    /// Tries, and takes note.
    pub(super) async fn try_all(&self, trials: Vec<Trial>) -> Result<(), Failed> {
        let tried = stream::iter(trials).map(|trial| async {
            let said = self.say(&trial).await?;
            Ok::<_, Failed>((trial, said))
        });
        let tried: Vec<Result<(Trial, Said), Failed>> = tried.buffer_unordered(AT_ONCE).collect().await;
        for tried in tried {
            let (trial, said) = tried?;
            let Trial { canary, binding, rule, namespace: place } = trial;
            if said != Said::InForce {
                tracing::debug!(binding = canary.binding, ?said, "not seen in force");
            }
            let (namespaces, at) = (canary.namespaces.into_iter().collect(), Instant::now());
            let mut seen = self.seen.lock();
            let before = seen.get(&canary.binding);
            let since = before
                .filter(|before| before.binding == binding && before.rule == rule)
                .map_or(at, |before| before.since);
            let observation = Observation { binding, rule, place, at, since, said, namespaces };
            seen.insert(canary.binding, observation);
        }
        Ok(())
    }

    /// What was tried and is not seen in force, in the form it has; `but` names what is about to change.
    pub(super) fn unseen<'t>(
        &self,
        there: &'t BTreeMap<(Kind, String), There>,
        but: &BTreeSet<&str>,
    ) -> Vec<(&'t There, Said)> {
        let seen = self.seen.lock();
        let bindings = there.iter().filter(|((kind, name), _)| *kind == Kind::Binding && !but.contains(name.as_str()));
        let unseen = bindings.filter_map(|((_, name), binding)| {
            let known = seen.get(name).filter(|known| known.said != Said::InForce)?;
            let rule = there.get(&(Kind::Policy, super::rule_of(&binding.object).to_owned()))?;
            let is_it = known.is_of(binding, rule) && !but.contains(rule.object.name());
            is_it.then(|| (binding, known.said.clone()))
        });
        unseen.collect()
    }

    /// What is known of each binding in the form that is there.
    pub(super) fn known(&self, there: &BTreeMap<(Kind, String), There>) -> BTreeMap<String, (Said, BTreeSet<String>)> {
        let seen = self.seen.lock();
        let is_current = |name: &String, known: &Observation| {
            there.get(&(Kind::Binding, name.clone())).is_some_and(|binding| binding.version == known.binding)
        };
        seen.iter()
            .filter(|(name, known)| is_current(name, known))
            .map(|(name, known)| (name.clone(), (known.said.clone(), known.namespaces.clone())))
            .collect()
    }

    async fn say(&self, trial: &Trial) -> Result<Said, Failed> {
        let Canary { rule, bad, good, .. } = &trial.canary;
        match self.ask(&trial.namespace, rule, bad).await? {
            Answer { objects: Some(_), .. } => {}
            Answer { taken: true, .. } => return Ok(Said::Open),
            Answer { why, .. } => return Ok(Said::Unclear(why)),
        }
        let Some(good) = good else { return Ok(Said::InForce) };
        Ok(match self.ask(&trial.namespace, rule, good).await? {
            // What something else says of it is another matter: this rule let it pass.
            Answer { objects: None, .. } => Said::InForce,
            Answer { objects: Some(why), .. } => Said::Denies(why),
        })
    }

    async fn ask(&self, namespace: &str, rule: &str, image: &str) -> Result<Answer, Failed> {
        let place = format!("a canary in {namespace}");
        let stuck = |error: &dyn std::fmt::Display| Failed::stuck("make", canary::NAME, error);
        let params = PostParams { dry_run: true, field_manager: Some(MANAGER.to_owned()) };
        let pod = serde_json::to_vec(&canary::pod(namespace, rule, image)).map_err(|error| stuck(&error))?;
        let path = Request::new(Pod::url_path(&(), Some(namespace)));
        let request = path.create(&params, pod).map_err(|error| stuck(&error))?;
        let answered = within("send", &place, self.client.send(request.map(Body::from))).await?;
        let taken = answered.status().is_success();
        let by_rule = format!("ValidatingAdmissionPolicy '{rule}'");
        let warnings = answered.headers().get_all(http::header::WARNING).iter().filter_map(|value| value.to_str().ok());
        let warned = warnings.filter(|warning| warning.contains(&by_rule)).map(str::to_owned).next();
        let body = within("read", &place, answered.into_body().collect_bytes()).await?;
        let said = if taken { None } else { serde_json::from_slice::<kube::core::Status>(&body).ok() };
        let message = said.as_ref().map(|status| status.message.clone()).unwrap_or_default();
        let is_there = said.is_some_and(|status| status.reason == "AlreadyExists");
        let denied = (!taken && message.contains(&by_rule)).then(|| message.clone());
        Ok(Answer { objects: denied.or(warned), taken: taken || is_there, why: message })
    }
}

/// What became of a canary.
struct Answer {
    /// What the rule that was tried said against it.
    objects: Option<String>,
    /// It would have been made.
    taken: bool,
    /// What something else said.
    why: String,
}
