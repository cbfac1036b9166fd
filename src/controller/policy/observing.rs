//! Whether what is written is in force: canaries, sent once for each form of a binding and its rule.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use holdfast_core::engines::native::Holding;
use holdfast_core::engines::native::canary::{self, Canary};
use k8s_openapi::api::core::v1::Pod;
use kube::api::PostParams;
use kube::client::Body;
use kube::core::Request;
use kube::{Client, Resource};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::super::MANAGER;
use super::super::failure::{Failed, within};
use super::live::{Kind, There};
use super::observations::{Observations, Place, Said, Trial};

/// How many canaries are on their way at once.
const AT_ONCE: usize = 8;

/// What was observed of each binding.
pub(crate) struct Observing {
    client: Client,
    seen: Mutex<Observations>,
    /// When this began: at the start, or when everything was doubted.
    since: Mutex<Instant>,
}

impl Observing {
    /// Nothing observed yet.
    pub(crate) fn new(client: Client) -> Self {
        Self { client, seen: Mutex::default(), since: Mutex::new(Instant::now()) }
    }

    /// Everything is observed anew.
    pub(crate) fn doubt(&self) {
        *self.seen.lock() = Observations::default();
        *self.since.lock() = Instant::now();
    }

    /// For how long it has been observed.
    pub(super) fn looking(&self) -> Duration {
        self.since.lock().elapsed()
    }

    /// What has to be tried; see [`Observations::trials`].
    pub(super) fn trials<'p>(
        &self,
        there: &BTreeMap<(Kind, String), There>,
        patterns: &dyn Fn(&str) -> Option<&'p [String]>,
        holdings: &BTreeMap<String, Holding>,
        places: &dyn Fn(&str, &str) -> Place,
        but: &BTreeSet<&str>,
    ) -> Vec<Trial> {
        self.seen.lock().trials(there, patterns, holdings, places, but)
    }

    /// Tries, and takes note.
    pub(super) async fn try_all(&self, trials: Vec<Trial>) -> Result<(), Failed> {
        let tried = stream::iter(trials).map(|trial| async {
            let said = match self.say(&trial).await {
                // A webhook that hangs in one namespace says nothing of what is asked in another.
                Err(Failed::Silent { .. }) => None,
                said => said?,
            };
            Ok::<_, Failed>((trial, said))
        });
        let tried: Vec<Result<(Trial, Option<Said>), Failed>> = tried.buffer_unordered(AT_ONCE).collect().await;
        for tried in tried {
            let (trial, said) = tried?;
            match said {
                Some(said) => self.seen.lock().note(trial, said),
                None => self.seen.lock().note_silence(trial),
            }
        }
        Ok(())
    }

    /// What was tried and is not seen in force, in the form it has; `but` names what is about to change.
    pub(super) fn unseen<'t>(
        &self,
        there: &'t BTreeMap<(Kind, String), There>,
        but: &BTreeSet<&str>,
    ) -> Vec<(&'t There, Said)> {
        self.seen.lock().unseen(there, but)
    }

    /// What is known of each binding in the form that is there.
    pub(super) fn known(&self, there: &BTreeMap<(Kind, String), There>) -> BTreeMap<String, (Said, BTreeSet<String>)> {
        self.seen.lock().known(there)
    }

    /// Whether there is more to ask at once: see [`Observations::asks_on`].
    pub(super) fn asks_on(&self) -> bool {
        self.seen.lock().asks_on()
    }

    /// What a canary says; nothing, where the API server did not get to judge it.
    async fn say(&self, trial: &Trial) -> Result<Option<Said>, Failed> {
        let Canary { rule, bad, good, .. } = &trial.canary;
        match self.ask(&trial.namespace, rule, bad).await? {
            Answer { objects: Some(_), .. } => {}
            Answer { taken: true, .. } => return Ok(Some(Said::Open)),
            Answer { is_busy: true, .. } => return Ok(None),
            Answer { why, .. } => return Ok(Some(Said::Unclear(why))),
        }
        let Some(good) = good else { return Ok(Some(Said::InForce)) };
        Ok(match self.ask(&trial.namespace, rule, good).await? {
            Answer { objects: Some(why), .. } => Some(Said::Denies(why)),
            Answer { is_busy: true, .. } => None,
            // What something else says of it is another matter: this rule let it pass.
            Answer { .. } => Some(Said::InForce),
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
        let status = answered.status();
        let (taken, is_busy) =
            (status.is_success(), status.is_server_error() || status == http::StatusCode::TOO_MANY_REQUESTS);
        let by_rule = format!("ValidatingAdmissionPolicy '{rule}'");
        let warnings = answered.headers().get_all(http::header::WARNING).iter().filter_map(|value| value.to_str().ok());
        let warned = warnings.filter(|warning| warning.contains(&by_rule)).map(str::to_owned).next();
        let body = within("read", &place, answered.into_body().collect_bytes()).await?;
        let said = if taken { None } else { serde_json::from_slice::<kube::core::Status>(&body).ok() };
        let message = said.as_ref().map(|status| status.message.clone()).unwrap_or_default();
        let is_there = said.is_some_and(|status| status.reason == "AlreadyExists");
        let denied = (!taken && message.contains(&by_rule)).then(|| message.clone());
        Ok(Answer { objects: denied.or(warned), taken: taken || is_there, is_busy, why: message })
    }
}

/// What became of a canary.
struct Answer {
    /// What the rule that was tried said against it.
    objects: Option<String>,
    /// It would have been made.
    taken: bool,
    /// The API server, or what it asks, had no time or broke.
    is_busy: bool,
    /// What something else said.
    why: String,
}
