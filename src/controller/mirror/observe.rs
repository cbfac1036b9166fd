//! What is there: what is remembered, what the source offers, what was agreed to, and what is distributed.

use std::sync::atomic::Ordering;

use holdfast_core::Digest;
use holdfast_core::api::{TrustRootMirror, TrustRootMirrorSpec};
use holdfast_core::engines::object::{INTENT, MANAGED_BY, TRUST_ROOT};
use holdfast_core::gate::break_glass::ActiveBreakGlass;
use holdfast_core::operate::mirror::distribution::{self, Existing, Namespace, ObjectVersion};
use holdfast_core::operate::mirror::memory::{MemoryFault, Seen, Stored, Witness, check};
use holdfast_core::operate::mirror::status::{Accepted, Failure, Import, Mend};
use holdfast_core::operate::mirror::{Decision, Facts, Judged, MirrorReason, ReadRoot, Record, Rehearsal};
use holdfast_core::operate::reconcile_at;
use holdfast_core::trust::freshness::Freshness;
use holdfast_core::trust::held::Held;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use tokio::time::Instant;

use super::super::agreements::Glasses;
use super::super::context::Context;
use super::super::failure::Failed;
use super::super::guards::Guarding;
use super::super::store::Lookup;
use super::agreements::{agreements, break_glasses};
use super::source::{self, Looked, Start};
use super::{Known, Read, validate};
use crate::clock;

/// Everything a pass knows.
pub(crate) struct Observed {
    /// The memory, as it was read.
    pub(crate) memory: Lookup<Held>,
    /// The record, as it was read.
    pub(crate) record: Lookup<Record>,
    /// What is wrong with either.
    pub(crate) fault: Option<MemoryFault>,
    /// What is held after the import; it may be newer than the memory.
    pub(crate) held: Option<Held>,
    /// What became of the import.
    pub(crate) import: Import,
    /// The verified trust that is offered.
    pub(crate) offered: Option<ReadRoot>,
    /// What stands behind approvals; it is asked only where something hangs on it.
    pub(crate) guarding: Option<Guarding>,
    /// What was agreed to and counts.
    pub(crate) agreed: Vec<(Digest, String)>,
    /// When the trust in force was last agreed to.
    pub(super) last_agreed: Option<Timestamp>,
    /// Whether what is offered was agreed to at a time from which no agreement counts.
    pub(crate) too_early: bool,
    /// Whether what the mirror itself says of new key material counts.
    pub(super) declaration_counts: bool,
    pub(super) judged: Vec<Judged>,
    /// The form that is operated: without what nobody may say while the guards are not there.
    pub(crate) spec: TrustRootMirrorSpec,
    /// The namespaces.
    pub(crate) namespaces: Vec<Namespace>,
    /// What is distributed.
    pub(crate) existing: Vec<Existing>,
    pub(super) consumers_current: bool,
    /// The break-glasses about it that are in force.
    pub(super) glasses: Glasses,
    pub(super) name: String,
}

impl Observed {
    /// What is decided on, but for what scans say of it.
    pub(crate) fn facts<'a>(&'a self, mirror: &TrustRootMirror) -> Facts<'a> {
        Facts {
            name: &self.name,
            spec: &self.spec,
            held: self.held.as_ref(),
            record: self.record.kept().map(|kept| &kept.value),
            offered: self.offered.as_ref().filter(|_| self.fault.is_none() && !mirror.spec.suspend),
            agreed: &self.agreed,
            last_agreed: self.last_agreed,
            declaration_counts: self.declaration_counts,
            judged: &self.judged,
            rehearsal: Rehearsal::Awaited,
            consumers_current: self.consumers_current && !mirror.spec.suspend && self.fault.is_none(),
        }
    }

    /// The break-glass that lets the trust count past its limit, where it is past one that may be passed: the last to end.
    pub(super) fn accepted(&self, decision: &Decision) -> Option<Accepted<'_>> {
        let may_be = decision.freshness.as_ref().is_some_and(Freshness::may_be_accepted);
        let accepting = self.glasses.active.iter().filter(|glass| may_be && glass.loosen.accept_stale.is_some());
        let last = accepting.max_by_key(|glass| glass.until)?;
        Some(Accepted { by: &last.name, until: last.until })
    }
}

impl Observed {
    /// What was read does not fit into what remembers it: nothing of it counts.
    pub(crate) fn forget(&mut self, context: &Context, why: &Failed) {
        self.held = self.memory.kept().map(|kept| kept.value.clone());
        self.offered = None;
        self.import = Import::Failed(Failure { reason: MirrorReason::MemoryTooLarge, message: why.to_string() });
        context.known.lock().entry(self.name.clone()).or_default().import = Some(self.import.clone());
    }
}

/// What a look is for.
#[derive(Clone, Copy)]
pub(crate) enum Look<'o> {
    /// To see what is new: a repository is read where that is due.
    Wide,
    /// To see again what a decision hangs on: what was read of a repository stands.
    Again(&'o Observed),
}

/// Looks.
///
/// # Errors
/// [`Failed`], where one could not look.
pub(crate) async fn observe(context: &Context, mirror: &TrustRootMirror, of: Look<'_>) -> Result<Observed, Failed> {
    let name = mirror.name_any();
    let pin = mirror.spec.bootstrap.as_ref().map(|bootstrap| bootstrap.root_sha256.0);
    let mut known = context.known.lock().entry(name.clone()).or_default().of(mirror.metadata.uid.as_ref()).clone();
    let record = context.store.record(&name).await?;
    let memory = match pin {
        Some(pin) => context.store.memory(&name, pin).await?,
        None => Lookup::Absent,
    };
    let glasses = break_glasses(context, mirror).await?;
    let restores =
        glasses.active.iter().any(|glass| glass.loosen.restore_memory.as_ref().is_some_and(|of| of.trust_root == name));
    let seen = seen(mirror, &known, pin, &record);
    let fault = fault(&known, &seen, &memory, &record).filter(|_| !restores);
    // One that nobody saw may have been planted: it has to be led to.
    let believed = restores || seen.memory().iter().any(|seen| seen.stored.is_some());
    let mut observed = Observed {
        glasses: glasses.clone(),
        spec: mirror.spec.clone(),
        namespaces: namespaces(context),
        existing: existing(context),
        held: memory.kept().filter(|_| believed).map(|kept| kept.value.clone()),
        import: known.import.clone().unwrap_or(Import::NotTried),
        offered: None,
        guarding: None,
        agreed: Vec::new(),
        last_agreed: None,
        too_early: false,
        declaration_counts: false,
        judged: record.kept().map(|kept| kept.value.judged.clone()).unwrap_or_default(),
        consumers_current: false,
        name: name.clone(),
        memory,
        record,
        fault,
    };
    if let Err(why) = validate::validate(mirror, &mut known) {
        observed.import = Import::Failed(Failure { reason: MirrorReason::SpecInvalid, message: why });
        remember(context, &name, known);
        return Ok(observed);
    }
    if observed.fault.is_none() && !mirror.spec.suspend {
        look(context, mirror, (of, pin), &glasses, &mut known, &mut observed).await?;
    }
    if !mirror.spec.suspend {
        raise_clock_floor(context, &mut observed);
    }
    observed.offered = observed.offered.take().or_else(|| {
        let held = observed.held.as_ref()?.trusted_root.as_ref()?;
        ReadRoot::from_text(&name, std::str::from_utf8(&held.bytes).ok()?).ok()
    });
    agreements(context, mirror, &glasses, &mut observed).await?;
    observed.consumers_current = consumers_current(context, &observed);
    remember(context, &name, known);
    Ok(observed)
}

/// What was signed has passed: scans saw when. Not while a break-glass lowers the floor.
fn raise_clock_floor(context: &Context, observed: &mut Observed) {
    let lowers = lowers_clock_floor(&observed.glasses, &observed.name);
    let Some(held) = observed.held.as_mut().filter(|_| observed.fault.is_none() && !lowers) else { return };
    if let Some(at) = context.vouched.worth(&observed.name, held.state.memory().clock_floor.floor()) {
        held.state.observe_time(at, clock::now());
    }
}

fn lowers_clock_floor(glasses: &Glasses, name: &str) -> bool {
    let lowers =
        |glass: &ActiveBreakGlass| glass.loosen.lower_clock_floor.as_ref().is_some_and(|of| of.trust_root == name);
    glasses.active.iter().any(lowers)
}

fn remember(context: &Context, name: &str, known: Known) {
    let mut all = context.known.lock();
    let there = all.entry(name.to_owned()).or_default();
    // It may be gone, or another one, since this pass began.
    if there.uid != known.uid {
        return;
    }
    *there = Known { failed: there.failed, changed: there.changed.clone(), ..known };
}

/// Reads the source where that is due.
async fn look(
    context: &Context,
    mirror: &TrustRootMirror,
    (of, pin): (Look<'_>, Option<Digest>),
    glasses: &Glasses,
    known: &mut Known,
    observed: &mut Observed,
) -> Result<(), Failed> {
    let declared = mirror.spec.source.keys.is_some() || mirror.spec.source.trusted_root.is_some();
    // What verified and was not remembered, because the pass was cut off, is read again.
    let is_lost = pin.is_some()
        && observed.held.is_none()
        && matches!(known.import, Some(Import::Accepted(_) | Import::Unchanged(_)));
    let is_due = matches!(of, Look::Wide) && (known.due(mirror).is_ok() || is_lost);
    if !is_due && !declared {
        // What nobody had seen before it was read is not believed by itself, and was verified in this very pass.
        if let Look::Again(before) = of {
            observed.held = observed.held.take().or_else(|| before.held.clone());
        }
        return Ok(());
    }
    let name = mirror.name_any();
    let lowers = lowers_clock_floor(glasses, &name);
    // What is noticed from here on is for the next look.
    known.changed.store(false, Ordering::Relaxed);
    let start = match (&observed.held, observed.memory.kept(), pin) {
        (Some(held), _, _) => Start::Held(held.clone()),
        (None, Some(kept), _) => Start::Found(kept.value.clone()),
        (None, None, Some(pin)) => context.store.furthest(pin).await?.map_or(Start::Bootstrap, Start::Found),
        (None, None, None) => Start::Bootstrap,
    };
    let artifact = known.artifact.filter(|_| {
        matches!(known.import, Some(Import::Accepted(_) | Import::Unchanged(_))) && observed.held.is_some()
    });
    let looked = source::look(context, mirror, start, artifact, lowers).await?;
    let Looked { held, import, offered, artifact } = looked;
    let was_read = known.read.is_some();
    known.read = Some(Read {
        at: Instant::now(),
        generation: mirror.metadata.generation,
        asked: reconcile_at(&mirror.metadata).map(str::to_owned),
    });
    known.unreached = match &import {
        Import::Failed(Failure { reason: MirrorReason::SourceUnavailable, .. }) => known.unreached.saturating_add(1),
        _ => 0,
    };
    if !declared || !was_read || known.import.as_ref() != Some(&import) {
        count(context, &name, &import);
    }
    known.import = Some(import.clone());
    known.artifact = artifact;
    // What is only remembered of another mirror is not taken up for a source that nobody could look at.
    let unread = matches!(&import, Import::Failed(failure) if failure.mend() != Mend::Source);
    observed.held = match observed.held.take() {
        Some(own) => held.or(Some(own)),
        None => held.filter(|_| !unread),
    };
    observed.import = import;
    observed.offered = offered;
    Ok(())
}

fn count(context: &Context, name: &str, import: &Import) {
    let result = match import {
        Import::NotTried => return,
        Import::Accepted(_) => "Accepted",
        Import::Unchanged(_) => "Unchanged",
        Import::Failed(failure) => failure.reason.as_str(),
    };
    context.metrics.imported(name, result);
    if let Import::Failed(failure) = import {
        tracing::warn!(mirror = name, result, message = failure.message, "the source was read");
    } else {
        tracing::info!(mirror = name, result, "the source was read");
    }
}

/// The memory and the record, as they were seen before.
struct SeenBefore {
    in_status: Option<Stored>,
    in_record: Option<Stored>,
    in_process: Option<Stored>,
    record_in_status: Option<Stored>,
}

impl SeenBefore {
    fn memory(&self) -> [Seen<'_>; 3] {
        [
            Seen { by: "the status", stored: self.in_status.as_ref() },
            Seen { by: "the record of what is in force", stored: self.in_record.as_ref() },
            Seen { by: "this process", stored: self.in_process.as_ref() },
        ]
    }
}

fn seen(mirror: &TrustRootMirror, known: &Known, pin: Option<Digest>, record: &Lookup<Record>) -> SeenBefore {
    let status = mirror.status.as_ref().and_then(|status| status.memory.as_ref());
    let of_pin = |witness: Option<&Witness>| {
        witness.filter(|witness| Some(witness.pin) == pin).map(|witness| witness.stored.clone())
    };
    SeenBefore {
        in_status: status
            .filter(|status| status.pin == pin)
            .and_then(|status| status.metadata.as_ref())
            .map(Stored::from),
        in_record: of_pin(record.kept().and_then(|kept| kept.value.memory.as_ref())),
        in_process: of_pin(known.memory.as_ref()),
        record_in_status: status.and_then(|status| status.record.as_ref()).map(Stored::from),
    }
}

/// What is wrong with what is remembered, by everybody who saw it.
fn fault(known: &Known, seen: &SeenBefore, memory: &Lookup<Held>, record: &Lookup<Record>) -> Option<MemoryFault> {
    let record_seen = [
        Seen { by: "the status", stored: seen.record_in_status.as_ref() },
        Seen { by: "this process", stored: known.record.as_ref() },
    ];
    check("the memory of the repository", &memory.found(), &seen.memory())
        .and_then(|()| check("the record of what is in force", &record.found(), &record_seen))
        .err()
}

fn namespaces(context: &Context) -> Vec<Namespace> {
    let all = context.caches.namespaces.state();
    all.iter()
        .map(|namespace| Namespace {
            name: namespace.name_any(),
            labels: namespace.labels().clone(),
            terminating: namespace.metadata.deletion_timestamp.is_some(),
        })
        .collect()
}

fn existing(context: &Context) -> Vec<Existing> {
    let all = context.caches.distributed.iter().flat_map(kube::runtime::reflector::Store::state);
    all.filter_map(|object| as_existing(&object)).collect()
}

fn as_existing(object: &ConfigMap) -> Option<Existing> {
    let labels = object.labels();
    let ours = labels.get(MANAGED_BY).is_some_and(|by| by == "holdfast");
    Some(Existing {
        namespace: object.namespace()?,
        name: object.name_any(),
        version: ObjectVersion { uid: object.uid()?, resource_version: object.resource_version()? },
        mirror: labels.get(TRUST_ROOT).filter(|_| ours).cloned(),
        // The cache holds the digest in the text's place.
        text: object.data.as_ref().and_then(|data| data.get(distribution::KEY)).and_then(|digest| digest.parse().ok()),
        written: object.annotations().get(INTENT).and_then(|digest| digest.parse().ok()),
    })
}

/// Whether everybody has what the record says is distributed.
fn consumers_current(context: &Context, observed: &Observed) -> bool {
    let Some(declared) = &observed.spec.distribution.config_maps else { return true };
    let Some(trust) = observed.record.kept().and_then(|kept| kept.value.distributed(&observed.name).ok()) else {
        return false;
    };
    super::apply::distribution(context, &observed.name, declared, &trust, observed)
        .is_some_and(|distribution| distribution.is_current())
}
