//! The API server itself.

use super::Presence;
use crate::engines::Version;
use crate::engines::native::NativeCapability;

/// What was seen of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// The version: of the oldest API server that was seen; none where what it says is none.
    pub version: Option<Version>,
    /// Whether ValidatingAdmissionPolicy and its binding are served, as `admissionregistration.k8s.io/v1`.
    pub policies: bool,
    /// Whether holdfast's VerifiedImages is.
    pub parameters: bool,
}

/// What is known of it.
pub fn found(seen: Seen) -> (NativeCapability, Presence) {
    let mut faults = Vec::new();
    if seen.version.is_none() {
        faults.push("the API server does not say which version it has".to_owned());
    }
    let usable = NativeCapability { version: seen.version.filter(|_| seen.policies), ..NativeCapability::default() };
    match seen.version {
        Some(version) if seen.policies && !usable.has_admission_policies() => {
            faults.push(format!("the API server is {version}, and ValidatingAdmissionPolicy with all that is used of it came with 1.30"));
        }
        Some(_) if !seen.policies => faults.push(
            "the API server does not serve ValidatingAdmissionPolicy of admissionregistration.k8s.io/v1: it is older than 1.30, or it is switched off"
                .to_owned(),
        ),
        _ => {}
    }
    if !seen.parameters {
        faults.push("the definition of VerifiedImages is not there; install holdfast's definitions".to_owned());
    }
    let present = usable.has_admission_policies() && seen.parameters;
    (usable, Presence { present, version: seen.version, faults, ..Presence::default() })
}
