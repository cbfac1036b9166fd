//! `TrustBreakGlass` on the API server: observe, validate, decide, apply, report.
//!
//! There is nothing to apply: those whom it loosens something for ask by themselves what is in force, and each status that is written has them ask again.

mod observe;
mod report;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use holdfast_core::api::TrustBreakGlass;
use holdfast_core::api::break_glass::Loosen;
use holdfast_core::operate::break_glass::{Standing, closed_early, decide, open};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt};
use parking_lot::Mutex;

use super::context::Context;
use super::failure::Failed;
use super::{jitter, malformed, pass};
use crate::clock;

/// The name of the controller in metrics and logs.
pub(crate) const CONTROLLER: &str = "trustbreakglass";
/// How many break-glasses are looked at at once.
pub(crate) const CONCURRENCY: u16 = 2;
/// How often the guards are looked at while one is in force, or would be with them: nothing tells that one of them is gone, or back.
const WATCHES: Duration = Duration::from_secs(10);
/// How often while one waits for people.
const WAITS: Duration = Duration::from_secs(60);

/// What this process knows of break-glasses, by name.
#[derive(Default)]
pub(crate) struct Known(Mutex<HashMap<String, One>>);

/// What it knows of one.
#[derive(Debug, Clone, Default)]
struct One {
    uid: Option<String>,
    /// Passes in a row that failed.
    failed: u32,
    /// Where it is in force.
    open: Option<Opened>,
}

/// One in force, for when it is gone.
#[derive(Debug, Clone)]
struct Opened {
    of: ObjectReference,
    loosen: Loosen,
    until: Timestamp,
}

impl Known {
    /// Does something with what is known of this object; of another one of its name nothing is.
    fn of<T>(&self, glass: &impl Resource, act: impl FnOnce(&mut One) -> T) -> T {
        let mut all = self.0.lock();
        let one = all.entry(glass.name_any()).or_default();
        if one.uid != glass.meta().uid {
            *one = One { uid: glass.meta().uid.clone(), ..One::default() };
        }
        act(one)
    }

    fn failures(&self, name: &str) -> u32 {
        self.0.lock().get(name).map_or(1, |one| one.failed)
    }
}

/// One pass over one break-glass.
///
/// # Errors
/// [`Failed`], where a step could not be carried out; the next pass begins anew.
pub(crate) async fn reconcile(
    object: Arc<DeserializeGuard<TrustBreakGlass>>,
    context: Arc<Context>,
) -> Result<Action, Failed> {
    let failures = |done: bool| {
        context.break_glasses.of(&*object, |one| {
            one.failed = if done { 0 } else { one.failed.saturating_add(1) };
            one.failed
        })
    };
    pass::one(&context, CONTROLLER, &object, |glass| over(&context, glass), failures).await
}

/// When a pass that failed is tried again.
#[allow(clippy::needless_pass_by_value)] // the runtime's signature
pub(crate) fn on_error(object: Arc<DeserializeGuard<TrustBreakGlass>>, _: &Failed, context: Arc<Context>) -> Action {
    let failures = context.break_glasses.failures(&object.name_any());
    Action::requeue(jitter(pass::retry_after(failures.saturating_sub(1))))
}

async fn over(context: &Context, glass: &TrustBreakGlass) -> Result<Action, Failed> {
    let observed = observe::observe(context, glass).await?;
    let now = clock::now();
    let facts = observed.facts(glass);
    let standing = decide(&facts, now);
    let ends = open(&facts, now);
    context.break_glasses.of(glass, |one| {
        one.open = match &standing {
            Standing::Active(active) => {
                Some(Opened { of: glass.object_ref(&()), loosen: active.loosen.clone(), until: active.until })
            }
            _ => None,
        };
    });
    report::report(context, glass, &standing, now).await?;

    // Once it is over, there is nothing left to ask.
    let Some(ends) = ends else { return Ok(Action::await_change()) };
    // Instants are of the wall clock and timers are not: a moment later, the instant has passed by both.
    let until = Duration::try_from(ends.duration_since(now)).unwrap_or_default() + Duration::from_millis(50);
    let again = match standing {
        Standing::Active(_) | Standing::Unguarded { .. } => WATCHES,
        _ => WAITS,
    };
    Ok(Action::requeue(until.min(jitter(again))))
}

/// A break-glass is gone: who relied on it in this process hears of it.
pub(crate) fn gone(context: &Arc<Context>, name: &str) {
    malformed::forget::<TrustBreakGlass>(context, name);
    let known = context.break_glasses.0.lock().remove(name);
    let Some(opened) = known.and_then(|one| one.open).filter(|opened| opened.until > clock::now()) else { return };
    if !context.leadership.holds() {
        return;
    }
    let context = context.clone();
    tokio::spawn(async move {
        let change = closed_early(&opened.loosen, opened.until);
        context.event(&opened.of, change.warns, &change.reason, &change.note).await;
    });
}
