//! What was agreed to of a mirror and counts: by break-glasses, by approvals, and by what the mirror says itself.

use std::sync::Arc;

use holdfast_core::Digest;
use holdfast_core::api::mirror::{RotationApproval, TrustSource};
use holdfast_core::api::{TrustApproval, TrustRootMirror, TrustRootMirrorSpec};
use holdfast_core::operate::mirror::{Agrees, Judged, ReadRoot, Record, Terms};
use holdfast_core::trust::clock::TOLERANCE;
use holdfast_core::trust::keys;
use jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;

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
    observed.last_agreed =
        in_force.as_ref().and_then(|in_force| last_agreed(context, &observed.name, in_force.root.digest));
    let waits = match (&in_force, &observed.offered) {
        (Some(in_force), Some(offered)) => in_force.root.digest != offered.root.digest,
        _ => false,
    };
    let says = declarations(&observed.name, &mirror.spec, in_force.as_ref());
    // What is no longer said is judged anew once it is said again.
    observed.judged.retain(|judged| says.contains(&judged.agrees));
    let is_new = |agrees: &Agrees| {
        let judged = record.as_ref().and_then(|record| record.judged(*agrees));
        judged.is_none_or(|judged| judged.terms != terms(&mirror.spec, *agrees))
    };
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
        let names_it = |approval: &Arc<TrustApproval>| is_of(approval, &observed.name, offered);
        mirror.spec.rotation.approved_digest == Some(offered) || declared_approvals(context).iter().any(names_it)
    });
    observed.agreed = agreed.digests;
    observed.declaration_counts = agreed.declaration;
    observed.judged = agreed.judged;
    observed.guarding = Some(guarding);
    Ok(())
}

/// When anybody last made an approval of this trust, or a break-glass that adopts it.
fn last_agreed(context: &Context, mirror: &str, digest: Digest) -> Option<Timestamp> {
    let approvals = declared_approvals(context);
    let approved = approvals
        .iter()
        .filter(|approval| is_of(approval, mirror, digest))
        .filter_map(|of| agreements::made(of.as_ref()));
    let opened = context.caches.break_glasses.state();
    let adopting = opened.iter().filter_map(|glass| {
        let of = glass.0.as_ref().ok()?.spec.loosen.adopt_without_approval.as_ref()?;
        (of.trust_root == mirror && of.digest == digest).then(|| agreements::made(glass.as_ref())).flatten()
    });
    approved.chain(adopting).max()
}

/// Whether an approval is one of this trust of a mirror.
fn is_of(approval: &TrustApproval, mirror: &str, digest: Digest) -> bool {
    let of = &approval.spec.r#for;
    of.kind == "TrustRootMirror" && of.name == mirror && of.digest == digest
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
    let approved = agreements::approvals_that(context, "TrustRootMirror", &name, guarding, |approval| {
        honoured(approval.spec.r#for.digest, agreements::made(approval))
    });
    let mut digests: Vec<(Digest, String)> =
        approved.into_iter().map(|approval| (approval.digest, approval.by)).collect();
    digests.extend(glasses.active.iter().filter_map(|glass| {
        let of = glass.loosen.adopt_without_approval.as_ref().filter(|of| of.trust_root == name)?;
        let opened = context.caches.break_glasses.get(&ObjectRef::new(&glass.name));
        honoured(of.digest, opened.and_then(|opened| agreements::made(opened.as_ref()))).then_some(())?;
        Some((of.digest, format!("break-glass {}", glass.name)))
    }));
    let judged: Vec<Judged> = match guarding {
        Guarding::Unclear(_) => says.iter().filter_map(|agrees| record?.judged(*agrees)).collect(),
        _ => says.iter().map(|agrees| judge(mirror, record, *agrees, guarding)).collect(),
    };
    let there = guarding.why_not().is_none();
    let mut declaration = false;
    for Judged { agrees, .. } in judged.iter().filter(|judged| judged.counts && there) {
        match agrees {
            Agrees::Approved(digest) => digests.push((*digest, "rotation.approvedDigest".to_owned())),
            // What is declared is agreed to one by one; `Automatic` is about what a repository offers.
            Agrees::Declared(_) => declaration |= mirror.spec.bootstrap.is_none(),
            Agrees::Automatic => declaration |= mirror.spec.bootstrap.is_some(),
        }
    }
    Agreed { digests, declaration, judged }
}

/// By which terms an agreement is known again: with others, another one was made.
fn terms(spec: &TrustRootMirrorSpec, agrees: Agrees) -> Option<Digest> {
    (agrees == Agrees::Automatic).then(|| Terms::of(spec).digest())
}

/// Judges what the mirror itself agrees to: as it was judged before, but for what was changed since.
fn judge(mirror: &TrustRootMirror, record: Option<&Record>, agrees: Agrees, guarding: &Guarding) -> Judged {
    let terms = terms(&mirror.spec, agrees);
    let counts = match record.and_then(|record| Some((record, record.judged(agrees)?))) {
        None => written_under(mirror, record, agrees, guarding),
        Some((_, before)) if before.terms == terms => before.counts,
        // What is remembered is held against only where it is what was judged, since nobody looked at what came between; or what is in force, which stays
        // remembered while keys are, so that all that differs is looked at.
        Some((record, before)) => {
            let is_what_was_judged = before.terms.is_none_or(|of| of == Terms::of(&record.spec).digest());
            let says_what_differs = is_what_was_judged || record.root.is_none();
            before.counts && says_what_differs && changed_under(mirror, &record.spec, guarding)
        }
    };
    Judged { agrees, terms, counts }
}

/// Whether the guards were in force when the terms of `Automatic` were changed into what they are. Each change is judged by itself: what stays as it was may be older
/// than the guards.
fn changed_under(mirror: &TrustRootMirror, before: &TrustRootMirrorSpec, guarding: &Guarding) -> bool {
    let changed = Terms::of(&mirror.spec).beyond(&Terms::of(before));
    changed.iter().all(|path| {
        let fields: Vec<String> = path.iter().map(|step| format!("f:{step}")).collect();
        let path: Vec<&str> = std::iter::once("f:spec").chain(fields.iter().map(String::as_str)).collect();
        // What was taken out is nobody's any more: it is as old as what it was taken out of.
        let set = (1..=path.len()).rev().find_map(|len| set_at(&mirror.metadata, path.get(..len)?));
        guarding.covers(set.filter(|at| *at <= latest()))
    })
}

/// What is said to have been set at a time that has not come was not set by the API server's clock.
fn latest() -> Timestamp {
    clock::now().saturating_add(TOLERANCE).unwrap_or(Timestamp::MAX)
}

/// Whether the guards were in force when the mirror's declaration was written, as the object tells.
fn written_under(mirror: &TrustRootMirror, record: Option<&Record>, agrees: Agrees, guarding: &Guarding) -> bool {
    let set = |path: &[&str]| set_at(&mirror.metadata, path).filter(|at| *at <= latest());
    match agrees {
        // Whoever lets it adopt by itself under the guards agrees to its terms as they stand.
        Agrees::Automatic => guarding.covers(set(&["f:spec", "f:rotation", "f:approval"])),
        Agrees::Approved(digest) => {
            let at = set(&["f:spec", "f:rotation", "f:approvedDigest"]);
            let honoured = record.is_none_or(|record| at.is_some_and(|at| record.honours(digest, at)));
            guarding.covers(at) && honoured
        }
        Agrees::Declared(_) => declared_anew(&mirror.spec.source, keys_in_force(record))
            .iter()
            .all(|path| guarding.covers(set(&[&["f:spec", "f:source"], path.as_slice()].concat()))),
    }
}

/// Where keys are in force that were declared, the declaration of those: what was only ever declared, nobody may have asked for.
fn keys_in_force(record: Option<&Record>) -> Option<&TrustSource> {
    record.filter(|record| record.root.is_none()).map(|record| &record.spec.source)
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const BEFORE: &str = "2026-01-01T00:00:00Z";
    const WITHOUT: &str = "2026-02-01T00:00:00Z";
    const GUARDS: &str = "2026-02-01T01:00:00Z";
    const AFTER: &str = "2026-03-01T00:00:00Z";

    fn spec(pin: &str, oci: &Value, most: u32) -> Value {
        let map = json!({"namespace": "n", "name": "m"});
        json!({
            "source": {"oci": oci},
            "bootstrap": {"rootSHA256": Digest::of(pin.as_bytes()).hex(), "configMap": map},
            "rotation": {"approval": "Automatic", "maxNewlyFailing": most},
        })
    }

    /// A mirror, made before the guards were changed last, and what somebody else wrote at another time.
    fn mirror(spec: &Value, at: &str, written: &Value) -> TrustRootMirror {
        let mut made = json!({
            "f:source": {"f:oci": {".": {}, "f:ref": {}, "f:tokenUrl": {}}},
            "f:bootstrap": {"f:rootSHA256": {}},
            "f:rotation": {"f:approval": {}, "f:maxNewlyFailing": {}},
        });
        for path in ["/f:source/f:oci/f:ref", "/f:bootstrap/f:rootSHA256", "/f:rotation/f:maxNewlyFailing"] {
            let (parent, leaf) = path.rsplit_once('/').unwrap();
            if written.pointer(path).is_some() {
                made.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(leaf);
            }
        }
        let entry = |manager: &str, time: &str, fields: &Value| {
            json!({
                "manager": manager, "operation": "Update", "apiVersion": "holdfast.dev/v1alpha1", "time": time,
                "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": fields},
            })
        };
        let entries = [entry("made", BEFORE, &made), entry("wrote", at, written)];
        serde_json::from_value(json!({
            "apiVersion": "holdfast.dev/v1alpha1", "kind": "TrustRootMirror",
            "metadata": {"name": "m", "managedFields": entries}, "spec": spec,
        }))
        .unwrap()
    }

    fn record(spec: &Value, judged: &[Judged]) -> Record {
        serde_json::from_value(json!({"spec": spec, "root": "{}", "judged": judged})).unwrap()
    }

    #[test]
    fn what_is_adopted_by_itself_is_judged_anew_with_other_terms() {
        let good = json!({"ref": "r.example/trust:1", "tokenUrl": "https://a.example"});
        let evil = json!({"ref": "r.example/evil:1", "tokenUrl": "https://a.example"});
        let guards = Guarding::Since(GUARDS.parse().unwrap());
        let made = mirror(&spec("a", &good, 0), BEFORE, &json!({}));
        let since = Guarding::Since("2025-01-01T00:00:00Z".parse().unwrap());
        let judged = judge(&made, None, Agrees::Automatic, &since);
        assert!(judged.counts);
        let remembered = record(&spec("a", &good, 0), &[judged]);
        let counts =
            |mirror: &TrustRootMirror, record: &Record| judge(mirror, Some(record), Agrees::Automatic, &guards).counts;
        assert!(counts(&made, &remembered), "the guards were only made anew since");
        for (changed, written) in [
            (spec("a", &evil, 0), json!({"f:source": {"f:oci": {"f:ref": {}}}})),
            (spec("b", &good, 0), json!({"f:bootstrap": {"f:rootSHA256": {}}})),
            (spec("a", &good, 9), json!({"f:rotation": {"f:maxNewlyFailing": {}}})),
        ] {
            let without = mirror(&changed, WITHOUT, &written);
            assert!(!counts(&without, &remembered), "{written}");
            assert!(counts(&mirror(&changed, AFTER, &written), &remembered), "{written}");
            // Once judged, it stays so, whatever the object says later; and what was put back is not what was agreed to.
            let refused = record(&changed, &[judge(&without, Some(&remembered), Agrees::Automatic, &guards)]);
            assert!(!counts(&mirror(&changed, AFTER, &written), &refused), "{written}");
            assert!(!counts(&mirror(&spec("a", &good, 0), AFTER, &written), &refused), "{written}");
        }
        // What is remembered says nothing of how its like was judged, where another one was.
        let drifted = record(&spec("a", &evil, 0), &[judged]);
        let written = json!({"f:rotation": {"f:maxNewlyFailing": {}}});
        let more = mirror(&spec("a", &evil, 9), AFTER, &written);
        let more_of = |at: &str| mirror(&spec("a", &good, 9), at, &written);
        assert!(!counts(&more, &drifted));
        // Where keys are in force, what is remembered stays, and all that differs from it is looked at.
        let of_keys = Record {
            root: None,
            ..record(&spec("a", &good, 0), &[Judged { terms: Some(Digest::of(b"between")), ..judged }])
        };
        assert!(counts(&more_of(AFTER), &of_keys) && !counts(&more_of(WITHOUT), &of_keys));
        let taken_out = mirror(&spec("a", &json!({"ref": "r.example/trust:1"}), 0), WITHOUT, &json!({}));
        assert!(!counts(&taken_out, &remembered));
    }

    #[test]
    fn what_was_only_declared_is_no_key_in_force() {
        let declared = record(&spec("a", &json!({"ref": "r.example/trust:1"}), 0), &[]);
        assert!(
            keys_in_force(Some(&declared)).is_none(),
            "the trust in force is of a file, and what is declared was never adopted"
        );
        let adopted = Record { root: None, ..declared };
        assert!(keys_in_force(Some(&adopted)).is_some());
    }

    #[test]
    fn a_verdict_without_terms_holds_for_what_was_there_then() {
        let good = json!({"ref": "r.example/trust:1", "tokenUrl": "https://a.example"});
        let guards = Guarding::Since(GUARDS.parse().unwrap());
        let old = record(&spec("a", &good, 0), &[Judged { agrees: Agrees::Automatic, terms: None, counts: true }]);
        let same = judge(&mirror(&spec("a", &good, 0), BEFORE, &json!({})), Some(&old), Agrees::Automatic, &guards);
        assert!(same.counts && same.terms.is_some());
        let raised = mirror(&spec("a", &good, 9), WITHOUT, &json!({"f:rotation": {"f:maxNewlyFailing": {}}}));
        assert!(!judge(&raised, Some(&old), Agrees::Automatic, &guards).counts);
    }
}
