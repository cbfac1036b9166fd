//! One result: an image of a workload under a policy.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::SOURCE;
use crate::Digest;
use crate::coverage::assess::{ImageResult, PolicyVerdict};
use crate::coverage::inventory::{ObjectId, STATIC_POD, Workload};
use crate::text::shortened;
use crate::verify::{Outcome, Reason};

/// What dashboards group results by.
const CATEGORY: &str = "Software Supply Chain Security";
/// The longest text of a result, in bytes.
const MAX_TEXT: usize = 1024;

/// The rule of the one result that says that others are left out.
pub(super) const LEFT_OUT: &str = "ResultsLeftOut";
/// What a property says that is there where something is so.
pub(super) const YES: &str = "true";

/// The names of a result's properties.
pub(super) mod property {
    pub(crate) const BCR: &str = "bcr";
    pub(crate) const CURE: &str = "cure";
    pub(crate) const DIGEST: &str = "digest";
    pub(crate) const IMAGE: &str = "image";
    pub(crate) const LEFT_OUT: &str = "leftOut";
    pub(crate) const NOT_ADMISSIBLE: &str = "notAdmissibleAsDeclared";
    pub(crate) const NOT_CONTROLLED: &str = "notAdmissionControlled";
    pub(crate) const OWNER: &str = "owner";
    pub(crate) const REASON: &str = "reason";
    pub(crate) const RUNS: &str = "runs";
    pub(crate) const SIGNERS: &str = "signers";
}

/// What a result says, in the words of the kinds of reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Told {
    /// Proven not to hold.
    Fail,
    /// Could not be judged.
    Error,
    /// Something about the report, and not about an image.
    Warn,
    /// Holds.
    Pass,
}

impl From<Outcome> for Told {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Covered => Self::Pass,
            Outcome::Uncovered => Self::Fail,
            Outcome::Unknown => Self::Error,
        }
    }
}

/// How bad a result is, in the words of the kinds of reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Evidence is there and is wrong: something was altered, or belongs to something else.
    Critical,
    /// Signed by somebody the policy does not name.
    High,
    /// Evidence, or trust in it, is missing.
    Medium,
    /// Not judged: nothing is known to be wrong.
    Low,
    /// Passes.
    Info,
}

/// How bad a reason is.
pub const fn severity(reason: Reason) -> Severity {
    match reason {
        Reason::Verified => Severity::Info,
        Reason::SignatureInvalid
        | Reason::DigestMismatch
        | Reason::InclusionProofMismatch
        | Reason::EntryMismatch
        | Reason::SctInvalid
        | Reason::TimestampInvalid => Severity::Critical,
        Reason::IdentityMismatch | Reason::KeyMismatch => Severity::High,
        Reason::MissingBundle
        | Reason::ReferrersLost
        | Reason::PredicateMissing
        | Reason::UntrustedAuthority
        | Reason::UnknownLog
        | Reason::UnknownTimestampAuthority
        | Reason::OutsideValidity
        | Reason::LogEntryMissing
        | Reason::TimestampMissing
        | Reason::SctMissing
        | Reason::UnsupportedFormat
        | Reason::Malformed => Severity::Medium,
        Reason::StaleTrustRoot
        | Reason::NotScanned
        | Reason::RegistryUnavailable
        | Reason::Unauthorized
        | Reason::ListingTruncated
        | Reason::RegistryNotDeclared
        | Reason::ClockSuspect
        | Reason::DigestUnresolved => Severity::Low,
    }
}

/// The object a report or a result is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Reference {
    #[serde(skip_serializing_if = "Option::is_none")]
    api_version: Option<String>,
    kind: String,
    name: String,
    namespace: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<String>,
}

impl Reference {
    /// To a workload, as the API server knows it.
    pub(super) fn of(workload: &Workload, id: Option<&ObjectId>) -> Self {
        let is_static = workload.kind == STATIC_POD;
        Self {
            api_version: id.map(|id| id.api_version.clone()).or_else(|| is_static.then(|| "v1".to_owned())),
            kind: if is_static { "Pod".to_owned() } else { workload.kind.clone() },
            name: workload.name.clone(),
            namespace: workload.namespace.clone(),
            uid: id.map(|id| id.uid.clone()),
        }
    }
}

/// One result, and what it is sorted by: what does not pass comes first, and is left out last.
pub(super) struct Entry {
    pub(super) told: Told,
    order: (Option<Reason>, String),
    pub(super) value: Value,
}

impl Entry {
    /// What a policy says of an image of a workload; `resource` is that workload where the report is not about it alone.
    pub(super) fn of(
        report: &str,
        workload: &Workload,
        image: &ImageResult,
        verdict: &PolicyVerdict,
        resource: Option<Reference>,
    ) -> Self {
        let reason = verdict.reason;
        let runs = image.runs.as_ref().map(Digest::to_string);
        let order = format!("{}\0{}\0{}\0{workload}", image.image, runs.as_deref().unwrap_or_default(), verdict.policy);
        let is_open = reason.outcome() != Outcome::Covered;
        let properties = [
            (property::BCR, Some(report.to_owned())),
            (property::IMAGE, Some(shortened(&image.image, MAX_TEXT))),
            (property::DIGEST, image.digest.as_ref().map(Digest::to_string)),
            (property::RUNS, runs),
            (property::REASON, Some(reason.to_string())),
            (property::OWNER, is_open.then(|| reason.owner().to_string())),
            (property::CURE, is_open.then(|| reason.cure().to_owned())),
            (
                property::SIGNERS,
                (!verdict.signers.is_empty()).then(|| shortened(&verdict.signers.join(", "), MAX_TEXT)),
            ),
            (property::NOT_ADMISSIBLE, image.by_tag.then(|| YES.to_owned())),
            (property::NOT_CONTROLLED, (!workload.is_admission_controlled()).then(|| YES.to_owned())),
        ];
        let told = Told::from(reason.outcome());
        let value = value(&Fields {
            policy: &verdict.policy,
            rule: reason.as_str(),
            told,
            severity: severity(reason),
            scored: true,
            message: &shortened(&verdict.message, MAX_TEXT),
            properties: properties.into_iter().filter_map(|(name, text)| Some((name, text?))).collect(),
            resources: resource.into_iter().collect(),
        });
        Self { told, order: (Some(reason), order), value }
    }

    /// That results are left out.
    pub(super) fn left_out(report: &str, left_out: &[Self]) -> Self {
        let of = |told| left_out.iter().filter(|entry| entry.told == told).count();
        let message = format!(
            "{} further results do not fit into one object and are left out: {} fail, {} error, {} pass; the status of BundleCoverageReport `{report}` counts them all",
            left_out.len(),
            of(Told::Fail),
            of(Told::Error),
            of(Told::Pass)
        );
        let properties = [(property::BCR, report.to_owned()), (property::LEFT_OUT, left_out.len().to_string())];
        let value = value(&Fields {
            policy: SOURCE,
            rule: LEFT_OUT,
            told: Told::Warn,
            severity: Severity::Low,
            scored: false,
            message: &message,
            properties: properties.into_iter().collect(),
            resources: Vec::new(),
        });
        Self { told: Told::Warn, order: (None, String::new()), value }
    }

    /// By what results are sorted.
    pub(super) fn order(&self) -> impl Ord + '_ {
        (self.told, &self.order)
    }
}

#[derive(Serialize)]
struct Fields<'a> {
    policy: &'a str,
    rule: &'a str,
    #[serde(rename = "result")]
    told: Told,
    severity: Severity,
    scored: bool,
    message: &'a str,
    properties: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    resources: Vec<Reference>,
}

fn value(fields: &Fields<'_>) -> Value {
    // Nothing in them can fail to be JSON: every name is a text.
    let mut value = serde_json::to_value(fields).unwrap_or_default();
    if let Some(value) = value.as_object_mut() {
        value.insert("source".to_owned(), json!(SOURCE));
        value.insert("category".to_owned(), json!(CATEGORY));
    }
    value
}
