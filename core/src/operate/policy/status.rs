//! What people read of a policy.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::decided::Decided;
use super::decided::Step;
use super::reason::PolicyReason;
use crate::api::common::CoverageCounts;
use crate::api::condition::ConditionType;
use crate::api::policy::{BypassStatus, EngineStatus, LossStatus, OtherImages, SigningIdentityPolicyStatus};
use crate::api::{SigningIdentityPolicy, SigningIdentityPolicySpec};
use crate::coverage::Coverage;
use crate::engines::all::asks;
use crate::engines::{Effect, EngineKind, Loss, Object, Rendering, Version};
use crate::gate::rollout::Phase;
use crate::gate::{Alarm, AlarmKind, Check, Enforced, Intent, Namespace};
use crate::operate::said::{self, Change, Said, second, short};
use crate::verify::Outcome;

const MAX_LOSSES: usize = 32;
const MAX_NAMESPACES: usize = 64;

/// What was found of an engine when the status is written.
#[derive(Debug, Clone, Default)]
pub struct EngineTold {
    /// Its version.
    pub version: Option<Version>,
    /// Whether it is there.
    pub present: bool,
    /// Whether it acts on what it was given, as canaries say.
    pub ready: bool,
    /// Why its objects are not as they should be, if so.
    pub unwritten: Option<String>,
}

/// What is told beside the decision.
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    /// The policy as it is declared, with the status it has.
    pub policy: &'a SigningIdentityPolicy,
    /// What runs, judged by the forms in force.
    pub coverage: &'a Coverage,
    /// What is known of engines.
    pub engines: &'a BTreeMap<EngineKind, EngineTold>,
    /// What is wrong with where things are remembered, if so.
    pub fault: Option<&'a str>,
    /// The namespaces that are known, with their labels.
    pub namespaces: &'a BTreeMap<String, Namespace>,
    /// Those in which nothing is ever enforced.
    pub left_out: &'a BTreeSet<String>,
    /// Who could get round what is enforced, and how many more.
    pub can_bypass: &'a [BypassStatus],
    /// How many more.
    pub can_bypass_beyond: Option<u32>,
}

/// The status of a policy at `now`.
pub fn status(step: &Step<'_>, decided: &Decided<'_>, told: &Told<'_>, now: Timestamp) -> SigningIdentityPolicyStatus {
    let name = step.standing.name();
    let old = told.policy.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
    let spec = step.decision.form.as_ref().map_or(&told.policy.spec, |form| &form.spec);
    let kinds: Vec<EngineKind> = EngineKind::ALL.iter().copied().filter(|kind| asks(&spec.engines, *kind)).collect();
    let engines: Vec<EngineStatus> = kinds.iter().map(|kind| engine(*kind, name, decided, told)).collect();
    let mut enforcement = step.decision.status();
    if let Some(since) = &mut enforcement.since {
        *since = seconds(since);
    }
    for check in &mut enforcement.checks {
        check.since = check.since.as_deref().map(seconds);
        check.message = short(&check.message);
    }
    enforcement.left_out = left_out(step, told);
    let generation = told.policy.metadata.generation;
    let said = said(step, decided, told, &kinds);
    SigningIdentityPolicyStatus {
        observed_generation: generation,
        enforcement: Some(enforcement),
        engine_names: Some(kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(",")),
        engines,
        coverage: Some(counts(name, told.coverage)),
        bypasses: bypasses(spec),
        can_bypass: told.can_bypass.to_vec(),
        can_bypass_beyond: told.can_bypass_beyond,
        conditions: said.into_iter().map(|said| said.condition(&old, generation, now)).collect(),
    }
}

/// Namespaces that the policy selects, and in which it is never enforced.
fn left_out(step: &Step<'_>, told: &Told<'_>) -> Vec<String> {
    let Some(ready) = &step.standing.ready else { return Vec::new() };
    let selected = |name: &&String| {
        let known = told.namespaces.get(*name);
        known.is_some_and(|known| ready.compiled.selects(&known.labels)) && !step.decision.namespaces.contains(*name)
    };
    told.left_out.iter().filter(selected).take(MAX_NAMESPACES).cloned().collect()
}

fn bypasses(spec: &SigningIdentityPolicySpec) -> Vec<String> {
    let others = (spec.other_images == OtherImages::Allow).then(|| {
        "`otherImages: Allow`: images that no policy is about pass, unless another policy of the namespace denies them"
            .to_owned()
    });
    let exempt = spec.exempt_images.iter().map(|exempt| format!("{}: {}", exempt.image, exempt.reason));
    others.into_iter().chain(exempt).collect()
}

/// What is worth an event.
pub fn changes(old: Option<&SigningIdentityPolicyStatus>, new: &SigningIdentityPolicyStatus) -> Vec<Change> {
    let phase = |status: &SigningIdentityPolicyStatus| {
        status.enforcement.as_ref().map(|of| (of.phase.clone(), of.wave.clone()))
    };
    let mut moved = Vec::new();
    if let (before, Some((now, wave))) = (old.and_then(phase), phase(new))
        && before.as_ref() != Some(&(now.clone(), wave.clone()))
        && (before.is_some() || now != Phase::Audit.as_str())
    {
        let wave = wave.map_or_else(String::new, |wave| format!(", wave `{wave}`"));
        let from = before.map_or_else(String::new, |(phase, _)| format!(" from {phase}"));
        moved.push(Change::good("PhaseChanged", &format!("{now}{from}{wave}")));
    }
    let conditions = old.map(|old| old.conditions.as_slice()).unwrap_or_default();
    let denied = conditions.iter().any(|of| of.type_ == ConditionType::Enforcing.as_str() && of.status == "True");
    let mut all = said::changes(conditions, &new.conditions, moved);
    // On the way there it denies nowhere yet, or not everywhere: that is no fault of anything. Where it lasts, there is an alarm.
    let on_the_way = |change: &Change| {
        change.reason == PolicyReason::NotObserved.as_str()
            || (change.reason == PolicyReason::ReportsOnly.as_str() && !denied)
    };
    for change in all.iter_mut().filter(|change| on_the_way(change)) {
        change.warns = false;
    }
    all
}

fn seconds(instant: &str) -> String {
    instant.parse::<Timestamp>().map_or_else(|_| instant.to_owned(), |at| second(at).to_string())
}

fn counts(policy: &str, coverage: &Coverage) -> CoverageCounts {
    let mut counts = CoverageCounts::default();
    for verdict in coverage.images.iter().flat_map(|image| &image.policies).filter(|of| of.policy == policy) {
        match verdict.reason.outcome() {
            Outcome::Covered => counts.covered += 1,
            Outcome::Uncovered => counts.uncovered += 1,
            Outcome::Unknown => counts.unknown += 1,
        }
    }
    counts
}

fn engine(kind: EngineKind, policy: &str, decided: &Decided<'_>, told: &Told<'_>) -> EngineStatus {
    let nothing = EngineTold::default();
    let of = told.engines.get(&kind).unwrap_or(&nothing);
    let wanted = decided.wanted.get(&kind);
    let own = wanted.and_then(|rendering| principal(rendering, policy));
    let losses = decided.promoted.get(&kind).into_iter().flat_map(|rendering| &rendering.losses);
    let losses = losses.filter(|loss| loss.policy.as_deref().is_none_or(|of| of == policy));
    EngineStatus {
        name: kind.to_string(),
        version: of.version.map(|version| version.to_string()),
        object: own.map(|object| format!("{}/{}", object.kind(), object.name())),
        digest: own.map(Object::digest),
        applied: of.present && of.unwritten.is_none() && own.is_some(),
        ready: of.present && of.ready,
        losses: losses.take(MAX_LOSSES).map(loss).collect(),
    }
}

/// The object that says most of a policy: one that denies before one that reports.
fn principal<'r>(rendering: &'r Rendering, policy: &str) -> Option<&'r Object> {
    let of_policy = rendering.objects.iter().filter(|object| {
        let labels = object.body().pointer("/metadata/labels");
        labels.and_then(|labels| labels.get(crate::engines::object::POLICY)?.as_str()) == Some(policy)
    });
    let says_something = |object: &&Object| !object.kind().ends_with("Binding") && object.kind() != "VerifiedImages";
    of_policy.filter(says_something).max_by_key(|object| {
        let name = object.name();
        (name == format!("holdfast-enforce-{policy}"), name == format!("holdfast-audit-{policy}"))
    })
}

fn loss(loss: &Loss) -> LossStatus {
    LossStatus { what: loss.field.clone(), effect: loss.effect().to_string(), message: short(&loss.to_string()) }
}

fn said(step: &Step<'_>, decided: &Decided<'_>, told: &Told<'_>, kinds: &[EngineKind]) -> Vec<Said> {
    use ConditionType::{LooseningHeld, Ready, Stalled};
    let (rendered, enforcing) = (rendered(step, decided, told, kinds), enforcing(step));
    let degraded = degraded(step, told);
    let held = step.decision.held.first().map(|loosening| {
        let more = more(step.decision.held.len());
        Said::new(LooseningHeld, true, PolicyReason::LooserHeld, format!("{loosening}{more}"))
    });
    let invalid = step.standing.member.unusable.as_deref();
    let first_ill =
        [&degraded, &rendered].into_iter().find(|said| said.status == if said.of.healthy() { "False" } else { "True" });
    let ready = match (invalid, first_ill) {
        (Some(why), _) => Said::new(Ready, false, PolicyReason::PolicyInvalid, why),
        (None, Some(ill)) => Said { of: Ready, status: "False", ..ill.clone() },
        (None, None) if step.decision.held.is_empty() => {
            let wants = told.policy.spec.enforcement.desired == crate::api::policy::Desired::Enforce;
            let reason = if wants { PolicyReason::AsDeclared } else { PolicyReason::Auditing };
            Said::new(Ready, true, reason, summary(step))
        }
        (None, None) => {
            let first = step.decision.held.first().map(ToString::to_string).unwrap_or_default();
            Said::new(Ready, false, PolicyReason::LooserHeld, first)
        }
    };
    let stalled = invalid.map(|why| Said::new(Stalled, true, PolicyReason::PolicyInvalid, why));
    let all = [Some(ready), stalled, Some(rendered), Some(enforcing), Some(degraded), held];
    all.into_iter().flatten().collect()
}

fn more(count: usize) -> String {
    match count.saturating_sub(1) {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    }
}

fn summary(step: &Step<'_>) -> String {
    let (decision, count) = (&step.decision, step.decision.namespaces.len());
    let namespaces = if count == 1 { "1 namespace".to_owned() } else { format!("{count} namespaces") };
    let waits = decision.blocked_by.as_ref().map_or_else(String::new, |by| format!("; the next wave waits for {by}"));
    match decision.progress.phase {
        Phase::Audit => "it reports what it would deny, and denies nothing".to_owned(),
        Phase::Soaking if count == 0 => {
            let by = decision.blocked_by.as_deref().unwrap_or("the soak");
            format!("it denies nowhere yet, and waits for {by}")
        }
        Phase::Soaking => format!("it denies in {namespaces}{waits}"),
        Phase::Promoting => format!("it is being put in force in {namespaces}"),
        Phase::Enforcing => format!("it denies in {namespaces}"),
    }
}

fn rendered(step: &Step<'_>, decided: &Decided<'_>, told: &Told<'_>, kinds: &[EngineKind]) -> Said {
    let name = step.standing.name();
    let no = |reason: PolicyReason, message: String| Said::new(ConditionType::Rendered, false, reason, message);
    if let Some(why) = &decided.unknown {
        return no(PolicyReason::FormUnknown, format!("{why}; nothing is written to any engine until it is"));
    }
    if kinds.is_empty() {
        return no(PolicyReason::NoEngine, "no engine is declared, so nothing would be enforced".to_owned());
    }
    for kind in kinds {
        let refused = |renderings: &BTreeMap<EngineKind, Rendering>| {
            let refused = renderings.get(kind)?.refused.iter().find(|refused| refused.policy == name)?;
            Some(no(PolicyReason::Refused, format!("{kind}: {}", refused.why)))
        };
        let unwritten = told.engines.get(kind).and_then(|engine| engine.unwritten.as_ref());
        let unwritten = unwritten.map(|why| no(PolicyReason::NotWritten, format!("{kind}: {why}")));
        // What is amiss now, before what would be.
        if let Some(said) = refused(&decided.wanted).or(unwritten).or_else(|| refused(&decided.promoted)) {
            return said;
        }
        let losses = decided.promoted.get(kind).into_iter().flat_map(|rendering| &rendering.losses);
        let of_policy = |loss: &&Loss| loss.effect() == Effect::Wider && loss.policy.as_deref() == Some(name);
        if let Some(wider) = losses.clone().find(of_policy) {
            return no(PolicyReason::Widens, format!("{kind}: {wider}"));
        }
    }
    Said::new(ConditionType::Rendered, true, PolicyReason::EngineRendered, "every engine has its objects")
}

fn enforcing(step: &Step<'_>) -> Said {
    let decision = &step.decision;
    let enforced = decision.enforced.as_ref().filter(|_| !decision.namespaces.is_empty());
    let Some(enforced) = enforced else {
        return Said::new(ConditionType::Enforcing, false, PolicyReason::ReportsOnly, summary(step));
    };
    let no = |reason: PolicyReason, message: String| Said::new(ConditionType::Enforcing, false, reason, message);
    if let Some(alarm) = decision.alarms.iter().find(|alarm| alarm.kind == AlarmKind::NotInForce) {
        return no(PolicyReason::NotInForce, alarm.message.clone());
    }
    let open: Vec<String> = decision.intents.iter().filter_map(|intent| opens(intent, enforced)).collect();
    if !open.is_empty() {
        return no(PolicyReason::Excepted, open.join("; "));
    }
    let unseen = enforced.namespaces.iter().filter(|(_, standing)| standing.observed.is_none());
    let unseen: Vec<&str> = unseen.map(|(name, _)| name.as_str()).collect();
    if unseen.is_empty() {
        return Said::new(ConditionType::Enforcing, true, PolicyReason::Denies, summary(step));
    }
    no(PolicyReason::NotObserved, format!("it is being put in force in `{}`", unseen.join("`, `")))
}

/// What a break-glass opens of the namespaces that are enforced, and until when.
fn opens(intent: &Intent, enforced: &Enforced) -> Option<String> {
    let Intent::Except { break_glass, namespaces, until } = intent else { return None };
    let named = namespaces.iter().filter(|name| enforced.namespaces.contains_key(*name));
    let named: Vec<&str> = named.map(String::as_str).collect();
    let until = second(*until);
    (!named.is_empty()).then(|| {
        let all = enforced.namespaces.len();
        format!("break-glass `{break_glass}` opens `{}` until {until}, of {all} in which it denies", named.join("`, `"))
    })
}

fn degraded(step: &Step<'_>, told: &Told<'_>) -> Said {
    let decision = &step.decision;
    if let Some(fault) = told.fault {
        return Said::new(ConditionType::Degraded, true, PolicyReason::Alarmed, fault);
    }
    if decision.form.is_none() {
        let message = decision.alarms.first().map_or("nobody knows which form is in force", |alarm| &alarm.message);
        return Said::new(ConditionType::Degraded, true, PolicyReason::FormUnknown, message);
    }
    let harmless = [AlarmKind::WaveEmpty, AlarmKind::PromotionHeld, AlarmKind::LooseningHeld];
    let is_open = decision.alarms.iter().any(|alarm| alarm.kind == AlarmKind::BreakGlassOpen);
    let says_it_twice = |alarm: &Alarm| is_open && is_of(alarm, Check::NoBreakGlass);
    let tells = |alarm: &&Alarm| !harmless.contains(&alarm.kind) && !says_it_twice(alarm);
    let alarms: Vec<&Alarm> = decision.alarms.iter().filter(tells).collect();
    // An engine acts on what it was just given a moment later; where it does not, `NotObserved` says so in time.
    let settles =
        decision.progress.phase == Phase::Promoting && alarms.iter().all(|alarm| is_of(alarm, Check::EngineReady));
    if !decision.is_degraded() || settles {
        return Said::new(ConditionType::Degraded, false, PolicyReason::ChecksHold, "every check holds that led to it");
    }
    // What is not as it was enforced comes before what no longer led there; of checks, the first, since what is behind it often follows from it.
    let order = |alarm: &Alarm| Check::ALL.iter().position(|check| is_of(alarm, *check));
    let worst = alarms.iter().min_by_key(|alarm| (alarm.kind == AlarmKind::CheckFailing, order(alarm)));
    let reason = match worst.map(|alarm| alarm.kind) {
        Some(AlarmKind::CheckFailing) | None => PolicyReason::CheckFails,
        Some(_) => PolicyReason::Alarmed,
    };
    let message = worst.map(|alarm| format!("{}: {}{}", alarm.kind, alarm.message, more(alarms.len())));
    Said::new(ConditionType::Degraded, true, reason, message.unwrap_or_default())
}

/// Whether it is a check that fails, and this one.
fn is_of(alarm: &Alarm, check: Check) -> bool {
    let said = alarm.message.strip_prefix(check.as_str());
    alarm.kind == AlarmKind::CheckFailing && said.is_some_and(|rest| rest.starts_with(": "))
}
