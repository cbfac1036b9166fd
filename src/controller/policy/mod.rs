//! `SigningIdentityPolicy` on the API server: observe, validate, decide, apply, report; one pass over all policies at once.
//!
//! Policies are not independent: what no policy is about is denied by the union of all, and what one may admit hangs on all that are enforced. So there is one
//! pass at a time, over everything, however many ask for one.

mod altered;
mod apply;
mod foreign;
mod in_force;
mod live;
mod memory;
mod observations;
mod observe;
mod observing;
mod passes;
mod report;
mod scope;
mod settling;
mod stood;
mod verified;
mod watches;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use holdfast_core::Digest;
use holdfast_core::engines::object::POLICY;
use holdfast_core::engines::{EngineKind, Object};
use holdfast_core::gate::Intent;
use holdfast_core::operate::policy::{self, Decided, Evidence, Facts, decide, forms_in_force};
use kube::Client;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::time::Instant;

use super::context::Context;
use super::coverage::{Policies as Forms, sight};
use super::failure::Failed;
use super::store::Store;
use crate::clock;

pub(crate) use memory::{Recalled, written_down};
pub(crate) use passes::{Wake, start};
pub(crate) use watches::watch;

/// The name of the controller in metrics and logs.
pub(crate) const CONTROLLER: &str = "signingidentitypolicy";
/// Holds an enforced policy until its objects may go.
const FINALIZER: &str = "holdfast.dev/enforced";
/// The longest wait without a look: checks hang on the clock.
const LONGEST: Duration = Duration::from_secs(60);
/// Instants are of the wall clock and timers are not: a moment later, the instant has passed by both.
const A_MOMENT: Duration = Duration::from_millis(50);

/// What this process knows of policies.
pub(crate) struct Policies {
    /// Asks for a pass.
    pub(crate) wake: Wake,
    /// What is remembered of each.
    pub(crate) memory: memory::Memory,
    verified: verified::VerifiedDigests,
    live: live::NativeObjects,
    observing: observing::Observing,
    foreign: foreign::Foreign,
    /// The form each object had when this process wrote it.
    written: Mutex<BTreeMap<(live::Kind, String), Digest>>,
    /// The form each rule had, before anybody changed it.
    stood: stood::Stood,
    /// What was written and came back as something else.
    altered: altered::Altered,
    /// Since when everything that closes is seen in force, while something that may open waits.
    settling: Mutex<Option<Instant>>,
    /// Since when something that may open waits for what closes.
    waits: Mutex<Option<Instant>>,
    /// Engines whose objects could not be written, and why.
    unwritten: Mutex<BTreeMap<EngineKind, String>>,
    /// Policies that are enforced and no longer declared, as far as that was said.
    missing: Mutex<BTreeSet<String>>,
    /// The namespaces that were there, and when each was made, at the last look after which everything was written down.
    looked: Mutex<Option<BTreeMap<String, Option<jiff::Timestamp>>>>,
    /// When each status was last written.
    told: Mutex<BTreeMap<String, Instant>>,
}

impl Policies {
    /// Nothing known yet.
    pub(crate) fn new(client: Client, store: &Store) -> Self {
        Self {
            wake: Wake::default(),
            memory: memory::Memory::new(store.clone()),
            verified: verified::VerifiedDigests::new(store.clone()),
            live: live::NativeObjects::default(),
            observing: observing::Observing::new(client),
            foreign: foreign::Foreign::default(),
            written: Mutex::default(),
            stood: stood::Stood::default(),
            altered: altered::Altered::default(),
            settling: Mutex::default(),
            waits: Mutex::default(),
            unwritten: Mutex::default(),
            missing: Mutex::default(),
            looked: Mutex::default(),
            told: Mutex::default(),
        }
    }

    /// Another replica may have written meanwhile: everything is read and seen anew.
    pub(crate) fn doubt(&self) {
        self.memory.doubt_all();
        self.verified.doubt();
        self.observing.doubt();
        self.looked.lock().take();
        self.written.lock().clear();
        self.stood.doubt();
    }
}

/// One pass over all policies; how long until the next, if nothing asks for one before.
///
/// # Errors
/// [`Failed`], where a step could not be carried out; the next pass begins anew.
async fn over(context: &Context) -> Result<Duration, Failed> {
    let now = clock::now();
    let observed = observe::observe(context, now).await?;
    let intake = context.forms.now().unwrap_or_default();
    let sight = sight(context, &intake.usable);
    let trust = context.trusts.at(now);
    let (nothing, engines) = (Evidence::new(), |kind, policy: &str| observed.engine(kind, policy));
    let facts = observed.facts(context, &sight, &nothing, &engines);
    let forms = forms_in_force(&facts, now);
    let news = publish(context, &forms);
    let (coverage, evidence) = sight.assess(context, forms.policies(), trust);
    let mut decided = decide(&Facts { evidence: &evidence, ..facts }, forms, &coverage, now);
    if news {
        // Scans judge by what is in force, and this one did not yet.
        context.scanning.queue.all();
    }
    let applied = match apply::apply(context, &observed, &mut decided, now).await {
        Err(failed) if !failed.is_conflict() && !matches!(failed, Failed::NotLeading) => {
            // Somebody has to know, also where nothing can be written but statuses.
            let applied = apply::Applied::failed(&failed);
            report::report(context, &observed, &decided, &coverage, &applied, now).await?;
            return Err(failed);
        }
        applied => applied?,
    };
    context.policies.unwritten.lock().clone_from(&applied.unwritten);
    let told = report::report(context, &observed, &decided, &coverage, &applied, now).await?;
    let ends = observed.break_glasses.iter().map(|glass| glass.until).min();
    let ends = ends.and_then(|until| Duration::try_from(until.duration_since(now)).ok()).map(|left| left + A_MOMENT);
    let wait = [applied.again, told, ends].into_iter().flatten().min().unwrap_or(LONGEST);
    Ok(wait.min(LONGEST))
}

/// Tells scans by which forms to judge; whether that is news.
fn publish(context: &Context, forms: &policy::Forms<'_>) -> bool {
    let unusable = forms.standings.iter().filter(|standing| standing.ready.is_none()).map(|standing| {
        let why = standing.member.unusable.as_deref().unwrap_or("nobody knows which form of it is in force");
        format!("SigningIdentityPolicy `{}`: {why}", standing.name())
    });
    context.forms.publish(Forms { usable: forms.policies(), unusable: unusable.collect() })
}

/// The policy an object was rendered for.
fn policy_of(object: &Object) -> Option<&str> {
    object.body().pointer("/metadata/labels").and_then(|labels| labels.get(POLICY)?.as_str())
}

/// Whether a binding denies.
fn denies(binding: &Object) -> bool {
    let actions = binding.body().pointer("/spec/validationActions").and_then(Value::as_array);
    actions.into_iter().flatten().any(|action| action == "Deny")
}

/// The rule that a binding puts in force.
fn rule_of(binding: &Object) -> &str {
    binding.body().pointer("/spec/policyName").and_then(Value::as_str).unwrap_or_default()
}

/// The namespaces a binding is about, by name.
fn namespaces_of(binding: &Object) -> impl Iterator<Item = &str> {
    let pointer = "/spec/matchResources/namespaceSelector/matchExpressions/0/values";
    binding.body().pointer(pointer).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// Where a policy does not deny for a while.
fn excepted(decided: &Decided<'_>) -> BTreeSet<(String, String)> {
    let of_step = decided.steps.iter().flat_map(|step| {
        let name = step.standing.name();
        step.decision.intents.iter().filter_map(move |intent| match intent {
            Intent::Except { namespaces, .. } => Some(namespaces.iter().map(move |at| (name.to_owned(), at.clone()))),
            _ => None,
        })
    });
    of_step.flatten().collect()
}
