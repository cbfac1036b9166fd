//! What was agreed to and counts: break-glasses, approvals, and what a mirror says by itself.

use std::sync::Arc;

use holdfast_core::Digest;
use holdfast_core::api::mirror::{RotationApproval, TrustSource};
use holdfast_core::api::{TrustApproval, TrustRootMirror, TrustRootMirrorSpec};
use holdfast_core::gate::break_glass::{self, ActiveBreakGlass, Activity, Caps};
use holdfast_core::operate::mirror::{Agrees, Judged, ReadRoot, Record};
use holdfast_core::trust::clock::TOLERANCE;
use holdfast_core::trust::keys;
use jiff::Timestamp;
use kube::ResourceExt;

use super::super::context::Context;
use super::super::failure::Failed;
use super::super::guards::{Guarding, set_at, while_guarded};
use super::observe::Observed;
use crate::clock;

/// The break-glasses in force, and the answer of the guards, where there was a question.
pub(super) struct Glasses {
    pub(super) active: Vec<ActiveBreakGlass>,
    pub(super) guarding: Option<Guarding>,
}

pub(super) async fn break_glasses(context: &Context, mirror: &TrustRootMirror) -> Result<Glasses, Failed> {
    let name = mirror.name_any();
    let declared: Vec<_> = context.caches.break_glasses.state();
    let ours: Vec<_> = declared
        .iter()
        .filter_map(|glass| glass.0.as_ref().ok())
        .filter(|glass| {
            let loosen = &glass.spec.loosen;
            let targets = [&loosen.accept_stale, &loosen.restore_memory, &loosen.lower_clock_floor];
            targets.into_iter().flatten().any(|of| of.trust_root == name)
                || loosen.adopt_without_approval.as_ref().is_some_and(|of| of.trust_root == name)
        })
        .collect();
    if ours.is_empty() {
        return Ok(Glasses { active: Vec::new(), guarding: None });
    }
    let guarding = context.guards.look_now().await?;
    let approvals = while_guarded(&approvals(context), &guarding);
    let (caps, now) = (caps(context), clock::now());
    let guarded = |made: Option<Timestamp>| guarding.covers(made);
    let active = ours.into_iter().filter_map(|glass| {
        let made = glass.metadata.creation_timestamp.as_ref().map(|time| time.0);
        match break_glass::activity(glass, &approvals, &caps, guarded(made), now) {
            Activity::Active(active) => Some(*active),
            Activity::Pending { .. } | Activity::Expired { .. } | Activity::Refused { .. } => None,
        }
    });
    Ok(Glasses { active: active.collect(), guarding: Some(guarding) })
}

fn caps(context: &Context) -> Caps {
    Caps { service_accounts: context.settings.approving_service_accounts.iter().cloned().collect(), ..Caps::default() }
}

fn approvals(context: &Context) -> Vec<Arc<TrustApproval>> {
    let all = context.caches.approvals.state();
    all.iter().filter_map(|approval| approval.0.as_ref().ok()).map(|approval| Arc::new(approval.clone())).collect()
}

/// What was agreed to and counts. Where trust other than the one in force is offered, something hangs on it, and the guards are asked.
pub(super) async fn agreements(
    context: &Context,
    mirror: &TrustRootMirror,
    glasses: &Glasses,
    observed: &mut Observed,
) -> Result<(), Failed> {
    let record = observed.record.kept().map(|kept| kept.value.clone());
    let in_force = record.as_ref().and_then(|record| record.read(&observed.name).ok());
    let waits = match (&in_force, &observed.offered) {
        (Some(in_force), Some(offered)) => in_force.root.digest != offered.root.digest,
        _ => false,
    };
    let says = declarations(&observed.name, &mirror.spec, in_force.as_ref());
    // What is no longer said is judged anew once it is said again.
    observed.judged.retain(|judged| says.contains(&judged.agrees));
    let is_new = |agrees: &Agrees| record.as_ref().and_then(|record| record.judged(*agrees)).is_none();
    if !waits && !says.iter().any(is_new) {
        observed.guarding.clone_from(&glasses.guarding);
        return Ok(());
    }
    let mut guarding = match &glasses.guarding {
        Some(guarding) => guarding.clone(),
        None => context.guards.look().await?,
    };
    let mut agreed = agreed(context, mirror, glasses, record.as_ref(), &says, &guarding);
    let offered = observed.offered.as_ref().map(|offered| offered.root.digest);
    let adopts = agreed.declaration || agreed.digests.iter().any(|(digest, _)| Some(*digest) == offered);
    if (adopts || says.iter().any(is_new)) && glasses.guarding.is_none() {
        // An answer from before something was written says nothing of it.
        guarding = context.guards.look_now().await?;
        agreed = self::agreed(context, mirror, glasses, record.as_ref(), &says, &guarding);
    }
    observed.too_early = offered.is_some_and(|offered| {
        let names_it = |approval: &Arc<TrustApproval>| {
            let of = &approval.spec.r#for;
            of.kind == "TrustRootMirror" && of.name == observed.name && of.digest == offered
        };
        mirror.spec.rotation.approved_digest == Some(offered) || approvals(context).iter().any(names_it)
    });
    observed.agreed = agreed.digests;
    observed.declaration_counts = agreed.declaration;
    observed.judged = agreed.judged;
    observed.guarding = Some(guarding);
    Ok(())
}

/// What the mirror itself agrees to, read or not: what waits for its source waits under the guards.
fn declarations(name: &str, spec: &TrustRootMirrorSpec, in_force: Option<&ReadRoot>) -> Vec<Agrees> {
    let by_key = || spec.source.keys.as_ref().and_then(|keys| Some(keys::trust_root(name, keys).ok()?.digest));
    let declared = spec.source.trusted_root.as_ref().map(|bare| bare.sha256.0).or_else(by_key);
    let declared = declared.filter(|digest| in_force.is_some_and(|in_force| in_force.root.digest != *digest));
    let automatic = (spec.rotation.approval == RotationApproval::Automatic).then_some(Agrees::Automatic);
    let approved = spec.rotation.approved_digest.map(Agrees::Approved);
    declared.map(Agrees::Declared).into_iter().chain(approved).chain(automatic).collect()
}

/// What was agreed to, as the guards answer.
struct Agreed {
    digests: Vec<(Digest, String)>,
    /// Whether what the mirror itself says of new key material counts.
    declaration: bool,
    judged: Vec<Judged>,
}

fn agreed(
    context: &Context,
    mirror: &TrustRootMirror,
    glasses: &Glasses,
    record: Option<&Record>,
    says: &[Agrees],
    guarding: &Guarding,
) -> Agreed {
    let name = mirror.name_any();
    // What brought trust into force that was replaced since does not bring it back.
    let honoured = |digest: Digest, at: Option<Timestamp>| {
        record.is_none_or(|record| at.is_some_and(|at| record.honours(digest, at)))
    };
    let made = |approval: &TrustApproval| approval.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let mut approved = while_guarded(&approvals(context), guarding);
    approved.retain(|approval| honoured(approval.spec.r#for.digest, made(approval)));
    let counted = break_glass::counted(&approved, &caps(context), guarding.why_not().is_none());
    let of_mirror = counted.into_iter().filter(|approval| approval.kind == "TrustRootMirror" && approval.name == name);
    let mut digests: Vec<(Digest, String)> = of_mirror.map(|approval| (approval.digest, approval.by)).collect();
    digests.extend(glasses.active.iter().filter_map(|glass| {
        let of = glass.loosen.adopt_without_approval.as_ref().filter(|of| of.trust_root == name)?;
        Some((of.digest, format!("break-glass {}", glass.name)))
    }));
    let judged: Vec<Judged> = says
        .iter()
        .map(|agrees| {
            let before = record.and_then(|record| record.judged(*agrees));
            let counts = before.unwrap_or_else(|| written_under(mirror, record, *agrees, guarding));
            Judged { agrees: *agrees, counts }
        })
        .collect();
    let there = guarding.why_not().is_none();
    let mut declaration = false;
    for Judged { agrees, .. } in judged.iter().filter(|judged| judged.counts && there) {
        match agrees {
            Agrees::Approved(digest) => digests.push((*digest, "rotation.approvedDigest".to_owned())),
            Agrees::Declared(_) | Agrees::Automatic => declaration = true,
        }
    }
    Agreed { digests, declaration, judged }
}

/// Whether the guards were in force when the mirror's declaration was written, as the object tells.
fn written_under(mirror: &TrustRootMirror, record: Option<&Record>, agrees: Agrees, guarding: &Guarding) -> bool {
    // What is said to have been set at a time that has not come was not set by the API server's clock.
    let latest = clock::now().saturating_add(TOLERANCE).unwrap_or(Timestamp::MAX);
    let set = |path: &[&str]| set_at(&mirror.metadata, path).filter(|at| *at <= latest);
    match agrees {
        Agrees::Automatic => guarding.covers(set(&["f:spec", "f:rotation", "f:approval"])),
        Agrees::Approved(digest) => {
            let at = set(&["f:spec", "f:rotation", "f:approvedDigest"]);
            let honoured = record.is_none_or(|record| at.is_some_and(|at| record.honours(digest, at)));
            guarding.covers(at) && honoured
        }
        Agrees::Declared(_) => declared_anew(&mirror.spec.source, record.map(|record| &record.spec.source))
            .iter()
            .all(|path| guarding.covers(set(&[&["f:spec", "f:source"], path.as_slice()].concat()))),
    }
}

/// The fields of a declaration that say other key material than was declared before.
fn declared_anew(source: &TrustSource, before: Option<&TrustSource>) -> Vec<[&'static str; 2]> {
    let Some(keys) = &source.keys else { return vec![["f:trustedRoot", "f:sha256"]] };
    let before = before.and_then(|before| before.keys.clone()).unwrap_or_default();
    let lists = [
        ("f:certificateAuthorities", keys.certificate_authorities != before.certificate_authorities),
        ("f:transparencyLogs", keys.transparency_logs != before.transparency_logs),
        ("f:ctLogs", keys.ct_logs != before.ct_logs),
        ("f:timestampAuthorities", keys.timestamp_authorities != before.timestamp_authorities),
        ("f:publicKeys", keys.public_keys != before.public_keys),
    ];
    lists.into_iter().filter(|(_, differs)| *differs).map(|(list, _)| ["f:keys", list]).collect()
}
