//! Which form of authority holds a signature to the evidence that is required, under one trust root.
//!
//! | form | holds for | checks |
//! |---|---|---|
//! | by timestamp | bundles | a signed timestamp; log entries are not looked at |
//! | by log | bundles, direct entries | a log entry, and a time by its promise or a signed timestamp |
//! | legacy | `.sig` objects | a signed timestamp where there is one; else the certificate has to be valid now |
//!
//! Asking for a signed timestamp switches the log off, so both cannot be asked of one bundle; where every log is Rekor v2, though, the form by log needs a
//! signed timestamp for its time. Signed certificate timestamps are checked unless told otherwise, and found only under raw log ids.

use super::capability::PolicyControllerCapability;
use super::trust_root;
use crate::engines::LossKind;
use crate::trust::root::TrustRoot;
use crate::verify::EvidenceRequirements;

/// How authorities refer to a trust root, and what they ask of a signature under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Form {
    /// Where the trust is.
    pub(super) place: Place,
    /// Bundles, or the legacy format.
    pub(super) bundle: bool,
    /// A signed timestamp is asked for, and no log entry.
    pub(super) by_timestamp: bool,
    /// Signed certificate timestamps are not looked at.
    pub(super) ignore_sct: bool,
}

/// Where the trust is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In a TrustRoot object.
    Object,
    /// In a TrustRoot object that also has logs.
    ObjectWithLogs,
    /// Straight in `config-sigstore-keys`.
    Direct,
}

/// A form, and what it loses: kind, field and words.
#[derive(Debug, Default)]
pub(super) struct Choice {
    /// None where nothing signed under the trust root can pass.
    pub(super) form: Option<Form>,
    /// What is lost.
    pub(super) losses: Vec<(LossKind, &'static str, String)>,
}

/// The form for a trust root.
pub(super) fn choose(
    root: &TrustRoot,
    required: EvidenceRequirements,
    capability: &PolicyControllerCapability,
) -> Choice {
    let mut choice = Choice::default();
    let name = &root.name;
    if !capability.signature_format {
        legacy(root, required, &mut choice);
        return choice;
    }
    if root.certificate_authorities.is_empty() {
        return choice;
    }
    let has_timestamps = !root.timestamp_authorities.is_empty();
    let by_log = required.transparency_log || !has_timestamps && !required.signed_timestamp;
    let place = place(root, required, by_log, capability);
    if place != Some(Place::Direct) && !object_suffices(root, by_log) {
        lost_with(root, Place::Object, &mut choice);
        return choice;
    }
    match (by_log, place) {
        (true, Some(place)) => {
            if logs(root, place).next().is_none() {
                return choice;
            }
            if !required.transparency_log {
                let why = format!("`{name}` has no timestamp authority");
                choice.losses.push((LossKind::PolicyControllerLogDemanded, "require.transparencyLog", why));
            }
            if let Some(log) = logs(root, place).find(|log| required.signed_timestamp && trust_root::gives_times(log)) {
                let why = format!("{} of `{name}` gives times of its own", log.name());
                choice.losses.push((LossKind::PolicyControllerTimestampNotChecked, "require.signedTimestamp", why));
            }
        }
        (false, _) | (true, None) if !has_timestamps => return choice,
        (false, Some(_)) => {
            if !required.signed_timestamp {
                let why = format!("bundles under `{name}` with a log entry alone are denied");
                choice.losses.push((LossKind::PolicyControllerTimestampDemanded, "require.signedTimestamp", why));
            }
        }
        (_, None) => {
            for (wanted, kind, field) in [
                (required.transparency_log, LossKind::PolicyControllerLogNotChecked, "require.transparencyLog"),
                (required.sct, LossKind::PolicyControllerSctNotChecked, "require.sct"),
            ] {
                if wanted {
                    choice.losses.push((kind, field, format!("under `{name}` it would not be looked at")));
                }
            }
        }
    }
    if let (Some(_), true) = (place, required.sct) {
        let why = format!("under `{name}` it is asked for, with the certificate transparency logs of the trust root");
        choice.losses.push((LossKind::PolicyControllerSctNotRun, "require.sct", why));
    }
    lost_with(root, place.unwrap_or(Place::Object), &mut choice);
    choice.form = Some(Form {
        place: place.unwrap_or(Place::Object),
        bundle: true,
        by_timestamp: !by_log || place.is_none(),
        ignore_sct: place.is_none() || !required.sct,
    });
    choice
}

/// Where the trust has to be for the evidence to be checked; none where the engine cannot.
fn place(
    root: &TrustRoot,
    required: EvidenceRequirements,
    by_log: bool,
    capability: &PolicyControllerCapability,
) -> Option<Place> {
    let by_id = by_log || required.sct;
    if !by_id && !trust_root::needs_windows(root) {
        Some(Place::Object)
    } else if capability.direct_entries {
        Some(Place::Direct)
    } else if !by_id {
        Some(Place::Object)
    } else {
        capability.raw_log_ids.then_some(Place::ObjectWithLogs)
    }
}

/// Whether a TrustRoot object still holds what a signature is verified with, once authorities with windows of their own are left out.
fn object_suffices(root: &TrustRoot, by_log: bool) -> bool {
    !trust_root::whole(&root.certificate_authorities).is_empty()
        && (by_log || !trust_root::whole(&root.timestamp_authorities).is_empty())
}

fn logs(root: &TrustRoot, place: Place) -> Box<dyn Iterator<Item = &crate::trust::root::Log> + '_> {
    match place {
        Place::Direct => Box::new(trust_root::logs(root)),
        Place::Object | Place::ObjectWithLogs => Box::new(trust_root::object_logs(&root.logs)),
    }
}

/// What the place of the trust leaves out.
fn lost_with(root: &TrustRoot, place: Place, choice: &mut Choice) {
    let name = &root.name;
    match place {
        Place::Direct => {
            let why = format!("the entry `{}` holds the trust root `{name}`", trust_root::direct_name(name));
            choice.losses.push((LossKind::PolicyControllerDirectEntry, "trustRoots", why));
            for what in trust_root::left_out_of_direct(root) {
                choice.losses.push((LossKind::PolicyControllerLogLeftOut, "trustRoots", what));
            }
        }
        Place::Object | Place::ObjectWithLogs => {
            for what in trust_root::object(root, false).1 {
                choice.losses.push((LossKind::PolicyControllerAuthorityLeftOut, "trustRoots", what));
            }
        }
    }
}

/// The only form without `signatureFormat`. It is never enforced: no time is demanded, and a certificate that is valid now passes without one.
fn legacy(root: &TrustRoot, required: EvidenceRequirements, choice: &mut Choice) {
    if trust_root::whole(&root.certificate_authorities).is_empty() {
        return;
    }
    let why = format!("under `{}` a legacy signature is asked for, which a timestamp may be missing from", root.name);
    choice.losses.push((LossKind::PolicyControllerLegacyOnly, "engines.policyController", why));
    lost_with(root, Place::Object, choice);
    choice.form = Some(Form {
        place: Place::Object,
        bundle: false,
        by_timestamp: !trust_root::whole(&root.timestamp_authorities).is_empty(),
        ignore_sct: true,
    });
    for (wanted, kind, field) in [
        (required.transparency_log, LossKind::PolicyControllerLogNotChecked, "require.transparencyLog"),
        (required.sct, LossKind::PolicyControllerSctNotChecked, "require.sct"),
        (required.signed_timestamp, LossKind::PolicyControllerTimestampNotChecked, "require.signedTimestamp"),
    ] {
        if wanted {
            choice.losses.push((kind, field, format!("under `{}` it would not be looked at", root.name)));
        }
    }
}
