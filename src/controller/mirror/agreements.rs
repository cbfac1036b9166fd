//! What was agreed to of a mirror and counts: by break-glasses, by approvals, and by what the mirror says itself.

use std::sync::Arc;

use holdfast_core::Digest;
use holdfast_core::api::mirror::{RotationApproval, TrustSource};
use holdfast_core::api::{TrustApproval, TrustRootMirror, TrustRootMirrorSpec};
use holdfast_core::operate::mirror::{Agrees, Judged, ReadRoot, Record};
use holdfast_core::trust::clock::TOLERANCE;
use holdfast_core::trust::keys;
use jiff::Timestamp;
use kube::ResourceExt;

use super::super::agreements::{self, Glasses, declared_approvals};
use super::super::context::Context;
use super::super::failure::Failed;
use super::super::guards::{Guarding, set_at};
use super::observe::Observed;
use crate::clock;

/// The break-glasses in force that are about a mirror.
///
/// # Errors
/// [`Failed`], where the guards cannot be asked.
pub(super) async fn break_glasses(context: &Context, mirror: &TrustRootMirror) -> Result<Glasses, Failed> {
    let name = mirror.name_any();
    agreements::active(context, |loosen| loosen.trust_root() == Some(&name)).await
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
        mirror.spec.rotation.approved_digest == Some(offered) || declared_approvals(context).iter().any(names_it)
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
    let approved = agreements::approvals_that(context, "TrustRootMirror", &name, guarding, |approval| {
        honoured(approval.spec.r#for.digest, made(approval))
    });
    let mut digests: Vec<(Digest, String)> =
        approved.into_iter().map(|approval| (approval.digest, approval.by)).collect();
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
