//! TrustRootMirrors: what is declared against what is in force.

use super::{Finder, Loosening, LooseningKind, approval_digest, change_digest, deletion_digest};
use crate::api::TrustRootMirrorSpec;
use crate::api::duration::GoDuration;
use crate::api::mirror::{Freshness, KeysSource, OnStale, Rotation, RotationApproval, TrustSource};
use crate::trust::diff::RootDiff;
use crate::trust::keys;
use crate::trust::root::TrustRoot;

const KIND: &str = "TrustRootMirror";

/// Every way in which the declared mirror is looser than the one in force. Nothing where it admits nothing more.
///
/// Not looser: a pull secret (it opens a door and vouches for nothing), `interval`, `warnBefore` and `suspend` (nothing new arrives; what is held goes on
/// ageing), `approvedDigest` (who may write it is asked at admission), and what is distributed where (engines without trust deny).
pub fn mirror(name: &str, enforced: &TrustRootMirrorSpec, declared: &TrustRootMirrorSpec) -> Vec<Loosening> {
    let [from, to] = [enforced, declared].map(|spec| approval_digest(KIND, name, spec));
    let mut found = Finder::new(KIND, name, change_digest(KIND, name, from, to));
    source(&enforced.source, &declared.source, &mut found);
    let pin = |spec: &TrustRootMirrorSpec| spec.bootstrap.as_ref().map(|bootstrap| bootstrap.root_sha256);
    found.add_if(pin(enforced) != pin(declared), LooseningKind::PinChanged, "bootstrap.rootSHA256", || {
        let words = |pin: Option<_>| {
            pin.map_or_else(|| "none".to_owned(), |pin: crate::api::common::HexDigest| pin.to_string())
        };
        format!(
            "the pinned root is {} where it was {}; a new pin is a candidate like any other",
            words(pin(declared)),
            words(pin(enforced))
        )
    });
    freshness(&enforced.freshness, &declared.freshness, &mut found);
    rotation(&enforced.rotation, &declared.rotation, &mut found);
    local_repository(enforced, declared, &mut found);
    found.finish()
}

/// The deletion of a mirror that an enforced policy accepts.
pub fn mirror_deletion(name: &str, enforced: &TrustRootMirrorSpec) -> Loosening {
    let digest = deletion_digest(KIND, name, approval_digest(KIND, name, enforced));
    Finder::new(KIND, name, digest).one(
        LooseningKind::MirrorDeleted,
        "",
        "the mirror is to be deleted while an enforced policy accepts its trust",
    )
}

/// What trust that is to come into force vouches for and the trust in force does not: the digest to approve is that of the trust itself.
pub fn content(name: &str, enforced: &TrustRoot, candidate: &TrustRoot) -> Vec<Loosening> {
    let mut found = Finder::new(KIND, name, candidate.digest);
    for change in RootDiff::between(enforced, candidate).changes.iter().filter(|change| change.admits_more) {
        found.add(
            LooseningKind::AuthorityAdded,
            "",
            format!("{} `{}`: {}", change.entry.kind.words(), change.entry.name, change.meaning),
        );
    }
    found.finish()
}

fn source(old: &TrustSource, new: &TrustSource, found: &mut Finder) {
    match (&old.keys, &new.keys) {
        (Some(old), Some(new)) => return declared_keys(old, new, found),
        (Some(_), None) | (None, Some(_)) => {
            found.add(LooseningKind::SourceChanged, "source", "trust is read from a source of another kind");
            return;
        }
        (None, None) => {}
    }
    let place = |source: &TrustSource| {
        let mut source = source.clone();
        if let Some(oci) = &mut source.oci {
            oci.pull_secret_ref = None;
        }
        source
    };
    found.add_if(place(old) != place(new), LooseningKind::SourceChanged, "source", || {
        "trust is read from another place, or another one vouches for that place".to_owned()
    });
}

/// Keys written in the spec: what is added or widened is named. Where either cannot be read, any change is looser.
fn declared_keys(old: &KeysSource, new: &KeysSource, found: &mut Finder) {
    if old == new {
        return;
    }
    match (keys::trust_root("enforced", old), keys::trust_root("declared", new)) {
        (Ok(old), Ok(new)) => {
            for change in RootDiff::between(&old, &new).changes.iter().filter(|change| change.admits_more) {
                found.add(
                    LooseningKind::AuthorityAdded,
                    "source.keys",
                    format!("{} `{}`: {}", change.entry.kind.words(), change.entry.name, change.meaning),
                );
            }
        }
        _ => found.add(
            LooseningKind::SourceChanged,
            "source.keys",
            "the keys changed, and they cannot be read to tell what they admit",
        ),
    }
}

fn freshness(old: &Freshness, new: &Freshness, found: &mut Finder) {
    raised(old.grace, new.grace, LooseningKind::StaleAccepted, "freshness.grace", found);
    let words = |age: Option<GoDuration>| age.map_or_else(|| "no limit".to_owned(), |age| age.to_string());
    let longer = match (old.max_age, new.max_age) {
        (Some(old), Some(new)) => new > old,
        (Some(_), None) => true,
        (None, _) => false,
    };
    found.add_if(longer, LooseningKind::StaleAccepted, "freshness.maxAge", || {
        format!("`maxAge` rises from {} to {}", words(old.max_age), words(new.max_age))
    });
    found.add_if(
        old.on_stale == OnStale::FailClosed && new.on_stale == OnStale::Alert,
        LooseningKind::StaleOpen,
        "freshness.onStale",
        || "`onStale` is Alert, and FailClosed is in force".to_owned(),
    );
}

fn rotation(old: &Rotation, new: &Rotation, found: &mut Finder) {
    found.add_if(
        old.approval == RotationApproval::Required && new.approval == RotationApproval::Automatic,
        LooseningKind::RotationUnapproved,
        "rotation.approval",
        || "`approval` is Automatic, and Required is in force".to_owned(),
    );
    found.add_if(
        new.max_newly_failing > old.max_newly_failing,
        LooseningKind::MoreMayFail,
        "rotation.maxNewlyFailing",
        || format!("`maxNewlyFailing` rises from {} to {}", old.max_newly_failing, new.max_newly_failing),
    );
    raised(old.removal_grace, new.removal_grace, LooseningKind::RemovalDelayed, "rotation.removalGrace", found);
}

fn local_repository(enforced: &TrustRootMirrorSpec, declared: &TrustRootMirrorSpec, found: &mut Finder) {
    let repository = |spec: &TrustRootMirrorSpec| {
        spec.distribution.tuf_repository.as_ref().map(|r| (r.timestamp_validity, r.root_validity))
    };
    if let (Some(old), Some(new)) = (repository(enforced), repository(declared)) {
        let kind = LooseningKind::LocalValidityRaised;
        raised(old.0, new.0, kind, "distribution.tufRepository.timestampValidity", found);
        raised(old.1, new.1, kind, "distribution.tufRepository.rootValidity", found);
    }
}

fn raised(old: GoDuration, new: GoDuration, kind: LooseningKind, path: &str, found: &mut Finder) {
    let field = path.rsplit('.').next().unwrap_or(path);
    found.add_if(new > old, kind, path, || format!("`{field}` rises from {old} to {new}"));
}
