//! An observation held against every check.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use jiff::{SignedDuration, Timestamp};

use super::check::{Check, CheckResult, Fault};
use super::loosening::PolicyForm;
use super::observation::{Canaries, EngineState, Observation, Scan, subject_digest, used_in};
use crate::api::break_glass::Loosen;
use crate::engines::{Effect, EngineKind};
use crate::trust::clock::Sanity;
use crate::trust::freshness::Freshness;
use crate::verify::{Outcome, Owner, Reason};

/// A sentence without an end: that it passed, or why not.
type Found = Result<String, Fault>;

/// Evaluates every check. `in_scope` says which namespaces are enforced, or would be by the next promotion; `before` holds the results of last time.
pub fn evaluate(
    form: PolicyForm<'_>,
    observed: &Observation,
    in_scope: &dyn Fn(&str) -> bool,
    before: &[CheckResult],
    now: Timestamp,
) -> Vec<CheckResult> {
    Check::ALL
        .iter()
        .map(|check| {
            let found = match check {
                Check::TrustRootReady => trust_ready(form, observed),
                Check::TrustRootFresh => trust_fresh(form, observed, now),
                Check::NoPendingRotation => no_rotation(form, observed),
                Check::ScanComplete => scan_complete(form, observed),
                Check::ScanFresh => scan_fresh(observed, now),
                Check::CoverageMet => coverage_met(form, observed, in_scope),
                Check::EveryIdentitySeen => identities_seen(form, observed, in_scope),
                Check::EngineReady => engines_ready(form, observed),
                Check::AdmissibleAsDeclared => admissible(observed, in_scope),
                Check::NoWideningLoss => no_widening(form, observed),
                Check::ClockSane => clock_sane(form, observed),
                Check::NoBreakGlass => no_break_glass(form, observed, now),
            };
            CheckResult::new(*check, found, before, now)
        })
        .collect()
}

/// The engines a policy declares.
pub(super) fn declared_engines(form: PolicyForm<'_>) -> Vec<EngineKind> {
    let engines = &form.spec.engines;
    [
        (EngineKind::Native, engines.native.is_some()),
        (EngineKind::Kyverno, engines.kyverno.is_some()),
        (EngineKind::PolicyController, engines.policy_controller.is_some()),
    ]
    .into_iter()
    .filter_map(|(kind, declared)| declared.then_some(kind))
    .collect()
}

/// All faults in one sentence, or the words for none.
fn all(faults: &[String], good: impl FnOnce() -> String) -> Found {
    if faults.is_empty() { Ok(good()) } else { Err(faults.join("; ").into()) }
}

fn accepted(form: PolicyForm<'_>) -> String {
    match form.spec.trust_roots.as_slice() {
        [] => "no trust root is accepted: keys alone decide".to_owned(),
        [one] => format!("the trust root `{one}`"),
        many => format!("all {} trust roots", many.len()),
    }
}

fn trust_ready(form: PolicyForm<'_>, observed: &Observation) -> Found {
    let fault = |name: &String| match observed.trust_roots.get(name) {
        None => Some(format!("the trust root `{name}` is not there")),
        Some(root) => match &root.unready {
            Some(why) => Some(format!("nothing of the trust root `{name}` is in force: {why}")),
            None => (!root.memory_intact).then(|| format!("the memory of the trust root `{name}` was lost or changed")),
        },
    };
    let faults: Vec<String> = form.spec.trust_roots.iter().filter_map(fault).collect();
    all(&faults, || match form.spec.trust_roots.len() {
        0 => accepted(form),
        _ => format!("{} in force, with memory", accepted(form)),
    })
}

fn trust_fresh(form: PolicyForm<'_>, observed: &Observation, now: Timestamp) -> Found {
    let mut notes = Vec::new();
    let mut faults = Vec::new();
    for name in &form.spec.trust_roots {
        let Some(root) = observed.trust_roots.get(name) else {
            faults.push(format!("nothing is known of the age of the trust root `{name}`"));
            continue;
        };
        let accepted = active(observed, now)
            .find(|glass| glass.loosen.accept_stale.as_ref().is_some_and(|target| target.trust_root == *name));
        match (&root.freshness, accepted) {
            (None, _) => notes.push(format!("the source of `{name}` says nothing of its age")),
            (Some(Freshness::Fresh { until } | Freshness::InGrace { until }), None)
                if was_not_looked_at(*until, now) =>
            {
                faults
                    .push(format!("the trust root `{name}` was current until {until}, and could not be judged since"));
            }
            (Some(Freshness::Fresh { until }), _) => notes.push(format!("`{name}` is fresh until {until}")),
            (Some(Freshness::InGrace { until }), _) => notes.push(format!("`{name}` is in its grace until {until}")),
            (Some(Freshness::Stale { .. }), Some(glass)) => {
                notes.push(format!(
                    "`{name}` is stale and accepted by the break-glass `{}` until {}",
                    glass.name, glass.until
                ));
            }
            (Some(Freshness::Stale { since, limit }), None) => {
                faults.push(format!("the trust root `{name}` is past its limit since {}: {limit}", second(*since)));
            }
        }
    }
    all(&faults, || if notes.is_empty() { accepted(form) } else { notes.join("; ") })
}

/// Whether what was said until `until` should have been said anew. Who looks does so at that instant, and may take a moment.
fn was_not_looked_at(until: Timestamp, now: Timestamp) -> bool {
    now.duration_since(until) > SignedDuration::from_mins(5)
}

fn no_rotation(form: PolicyForm<'_>, observed: &Observation) -> Found {
    let fault = |name: &String| {
        let pending = observed.trust_roots.get(name)?.pending?;
        Some(format!("the trust root `{name}` has the candidate {pending}, which waits for approval"))
    };
    let faults: Vec<String> = form.spec.trust_roots.iter().filter_map(fault).collect();
    all(&faults, || "no candidate waits".to_owned())
}

/// As a person reads it, and as it is kept in a status.
fn second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

fn scan(observed: &Observation) -> Result<&Scan, String> {
    let unscanned = || observed.unscanned.as_ref().map_or("nothing was scanned yet".to_owned(), ToString::to_string);
    observed.scan.as_ref().ok_or_else(unscanned)
}

fn scan_complete(form: PolicyForm<'_>, observed: &Observation) -> Found {
    let scan = scan(observed)?;
    if let Some(why) = &scan.incomplete {
        return Err(format!("the scan of {} is not complete: {why}", second(scan.time.finished)).into());
    }
    if scan.subject != subject_digest(form) {
        return Err(
            format!("the scan of {} judged by another version of this policy", second(scan.time.finished)).into()
        );
    }
    Ok(format!("the scan of {} looked at everything", second(scan.time.finished)))
}

fn scan_fresh(observed: &Observation, now: Timestamp) -> Found {
    let time = scan(observed)?.time;
    let limit = time.interval.saturating_mul(2);
    let age = now.duration_since(time.finished);
    if age > limit {
        return Err(format!("the last scan finished at {}, more than {limit:#} ago", second(time.finished)).into());
    }
    if age < -time.interval {
        return Err(format!(
            "the last scan finished at {}, ahead of the clock, which has gone back",
            second(time.finished)
        )
        .into());
    }
    // An instant, not an age: what is said every minute anew would be written every minute anew.
    Ok(format!("the last scan finished at {}; one is made every {:#}", second(time.finished), time.interval))
}

fn coverage_met(form: PolicyForm<'_>, observed: &Observation, in_scope: &dyn Fn(&str) -> bool) -> Found {
    let scan = scan(observed)?;
    let tally = scan.tally(in_scope);
    let wanted = usize::from(form.spec.enforcement.minimum_coverage);
    if scan.images.is_empty() {
        return Err("no image that the policy is about was seen, so nothing is proven".to_owned().into());
    }
    let covered = format!("{} of {} images covered", tally.covered, tally.total());
    let open = scan.images.iter().filter(|image| image.reason.outcome() != Outcome::Covered);
    let worst = Scan::worst(open.map(|image| &image.users), in_scope);
    let worst = worst.map_or_else(String::new, |(owner, count)| format!("; the worst owner is {owner} with {count}"));
    let counts = format!("{covered} ({} uncovered, {} unknown)", tally.uncovered, tally.unknown);
    let fault = |text: String| Err(Fault { text, because: not_of_pipelines(scan, in_scope) });
    if tally.unknown > 0 {
        return fault(format!("{counts}, and none may be unknown{worst}"));
    }
    if tally.covered.saturating_mul(100) >= wanted.saturating_mul(tally.total()) {
        return Ok(format!("{covered}{worst}"));
    }
    fault(format!("{counts}, and {wanted} per cent are asked for{worst}"))
}

/// The most frequent reason for which images are not covered, where signing would mend none of them: for stale trust, no pipeline is called.
fn not_of_pipelines(scan: &Scan, in_scope: &dyn Fn(&str) -> bool) -> Option<Reason> {
    let mut counts: BTreeMap<Reason, usize> = BTreeMap::new();
    let open = scan.images.iter().filter(|image| image.reason.outcome() != Outcome::Covered);
    for image in open.filter(|image| used_in(&image.users, in_scope)) {
        *counts.entry(image.reason).or_default() += 1;
    }
    if counts.keys().any(|reason| reason.owner() == Owner::Pipeline) {
        return None;
    }
    counts.into_iter().max_by_key(|(_, count)| *count).map(|(reason, _)| reason)
}

fn identities_seen(form: PolicyForm<'_>, observed: &Observation, in_scope: &dyn Fn(&str) -> bool) -> Found {
    let scan = scan(observed)?;
    let waited_for: Vec<&str> = form
        .spec
        .identities
        .iter()
        .filter(|identity| !identity.optional)
        .map(|identity| identity.name.as_str())
        .collect();
    let missing: Vec<&str> = waited_for.iter().filter(|name| !scan.identities_seen.contains(**name)).copied().collect();
    if missing.is_empty() {
        return Ok(format!("a verified bundle of each of {} identities was seen", waited_for.len()));
    }
    let text = format!(
        "of {} of {} identities no verified bundle was seen: `{}`",
        missing.len(),
        waited_for.len(),
        missing.join("`, `")
    );
    Err(Fault { text, because: not_of_pipelines(scan, in_scope) })
}

fn engines_ready(form: PolicyForm<'_>, observed: &Observation) -> Found {
    let declared = declared_engines(form);
    if declared.is_empty() {
        return Err("no engine is declared, so nothing would be enforced; name one in `engines`".to_owned().into());
    }
    let fault = |kind: &EngineKind| match observed.engines.iter().find(|engine| engine.kind == *kind) {
        None => Some(format!("nothing is known of {kind}")),
        Some(engine) => engine_fault(engine).map(|fault| format!("{kind} {fault}")),
    };
    let faults: Vec<String> = declared.iter().filter_map(fault).collect();
    all(&faults, || {
        let names: Vec<&str> = declared.iter().map(|kind| kind.as_str()).collect();
        format!("{} ready for this version, canaries right", names.join(", "))
    })
}

fn engine_fault(engine: &EngineState) -> Option<String> {
    if !engine.present {
        return Some("is not there".to_owned());
    }
    if !engine.ready {
        return Some("does not act on this version of the policy yet".to_owned());
    }
    if let Some(fault) = engine.faults.first() {
        return Some(format!("cannot be relied on: {fault}"));
    }
    match engine.canaries {
        Canaries::Right => None,
        Canaries::Unknown => Some("answered no canary".to_owned()),
        Canaries::SignedDenied => Some("denied the canary that is signed".to_owned()),
        Canaries::UnsignedAdmitted => Some("admitted the canary that is not signed".to_owned()),
    }
}

fn admissible(observed: &Observation, in_scope: &dyn Fn(&str) -> bool) -> Found {
    let scan = scan(observed)?;
    let inadmissible = || scan.images.iter().filter(|i| i.inadmissible.is_some() && used_in(&i.users, in_scope));
    let others = || scan.others.iter().filter(|other| used_in(&other.users, in_scope));
    let mut faults = Vec::new();
    if let Some(first) = inadmissible().next() {
        faults.push(format!(
            "{} would be denied for the form declared, as `{}`: {}",
            count_of(inadmissible().count()),
            first.image,
            first.inadmissible.unwrap_or_default()
        ));
    }
    if let Some(first) = others().next() {
        faults.push(format!(
            "{} would be denied because no policy in force is about it, as `{}`",
            count_of(others().count()),
            first.image
        ));
    }
    let users = inadmissible().map(|i| &i.users).chain(others().map(|other| &other.users));
    if let (Some((owner, count)), Some(last)) = (Scan::worst(users, in_scope), faults.last_mut()) {
        let _ = write!(last, "; the worst owner is {owner} with {count}");
    }
    all(&faults, || "every image is declared by digest, and a policy is about it".to_owned())
}

fn count_of(images: usize) -> String {
    if images == 1 { "1 image".to_owned() } else { format!("{images} images") }
}

fn no_widening(form: PolicyForm<'_>, observed: &Observation) -> Found {
    let declared = declared_engines(form);
    let losses = observed.engines.iter().filter(|engine| declared.contains(&engine.kind)).flat_map(|e| &e.losses);
    let widening = losses.filter(|loss| loss.effect() == Effect::Wider);
    let faults: Vec<String> = widening.map(|loss| format!("{}: {loss}", loss.engine)).collect();
    all(&faults, || "no loss widens".to_owned())
}

fn clock_sane(form: PolicyForm<'_>, observed: &Observation) -> Found {
    let Some(clock) = &observed.clock else { return Err("the clock was not judged".to_owned().into()) };
    let roots = form.spec.trust_roots.iter().filter_map(|name| observed.trust_roots.get(name));
    let faults = std::iter::once(clock).chain(roots.map(|root| &root.clock)).filter_map(behind);
    let latest = faults.max_by_key(|(floor, _)| *floor);
    match latest {
        Some((floor, said)) => Err(format!("the clock said {said}, and {floor} has certainly passed").into()),
        None => Ok("nothing speaks against the clock".to_owned()),
    }
}

/// What has passed, and what the clock said instead.
fn behind(sanity: &Sanity) -> Option<(Timestamp, Timestamp)> {
    match sanity {
        Sanity::Sane => None,
        Sanity::Behind { floor, now } => Some((*floor, *now)),
    }
}

fn no_break_glass(form: PolicyForm<'_>, observed: &Observation, now: Timestamp) -> Found {
    let open = active(observed, now).filter(|glass| concerns(&glass.loosen, form));
    let faults: Vec<String> =
        open.map(|glass| format!("the break-glass `{}` is open until {}", glass.name, glass.until)).collect();
    all(&faults, || "none is open".to_owned())
}

/// Break-glasses whose end has not come: an observation may be older than the instant judged at.
pub(super) fn active(
    observed: &Observation,
    now: Timestamp,
) -> impl Iterator<Item = &super::break_glass::ActiveBreakGlass> {
    observed.break_glasses.iter().filter(move |glass| glass.until > now)
}

/// Whether a break-glass is about this policy or about trust that it accepts.
pub(super) fn concerns(loosen: &Loosen, form: PolicyForm<'_>) -> bool {
    let roots: BTreeSet<&str> = form.spec.trust_roots.iter().map(String::as_str).collect();
    let targets = [&loosen.accept_stale, &loosen.restore_memory, &loosen.lower_clock_floor];
    let of_trust = targets.into_iter().flatten().any(|target| roots.contains(target.trust_root.as_str()));
    let adopts = loosen.adopt_without_approval.as_ref().is_some_and(|c| roots.contains(c.trust_root.as_str()));
    let of_policy = loosen.return_to_audit.as_ref().is_some_and(|target| target.policy == form.name);
    let change = loosen.allow_change.as_ref().is_some_and(|change| match change.kind.as_str() {
        "SigningIdentityPolicy" => change.name == form.name,
        "TrustRootMirror" => roots.contains(change.name.as_str()),
        _ => false,
    });
    of_trust || adopts || of_policy || change
}
