//! What a scan found, as the objects that dashboards and auditors already read: OpenReports, or PolicyReports where a cluster has only those.
//!
//! One result is one image of one workload under one policy. What holds passes, what was proven not to hold fails, and what could not be judged is an error:
//! never a pass, and never left out while something that passes is told. Equal findings give equal intents, whenever they were scanned: the time of a result is
//! that of the scan after which its report was written, and is no part of the intent.

mod entry;
mod object;
mod read;
mod settle;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::BuildHasher;

use jiff::Timestamp;
use serde_json::Value;

use self::entry::{Entry, Reference};
use self::object::{Place, write};
use super::assess::{Coverage, ImageResult};
use super::inventory::{ObjectId, Workload};
use crate::Digest;
use crate::api::BundleCoverageReport;

pub use self::entry::{Severity, Told, severity};
pub use self::object::{MAX_RESULTS, MAX_SIZE};
pub use self::read::{Line, Read, read};
pub use self::settle::{Settling, There, Write, settle};

/// What the results call their source.
pub const SOURCE: &str = "holdfast";
/// How many hex digits stand for a workload whose uid is not known.
const DIGITS: usize = 32;

/// Which kinds results are written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReportKind {
    /// `Report` and `ClusterReport` of openreports.io.
    OpenReports,
    /// `PolicyReport` and `ClusterPolicyReport` of wgpolicyk8s.io.
    PolicyReport,
}

impl ReportKind {
    /// Both, the preferred one first.
    pub const ALL: [Self; 2] = [Self::OpenReports, Self::PolicyReport];

    /// The API group.
    pub const fn group(self) -> &'static str {
        match self {
            Self::OpenReports => "openreports.io",
            Self::PolicyReport => "wgpolicyk8s.io",
        }
    }

    /// The version that is written.
    pub const fn version(self) -> &'static str {
        match self {
            Self::OpenReports => "v1alpha1",
            Self::PolicyReport => "v1alpha2",
        }
    }

    /// Group and version.
    pub const fn api_version(self) -> &'static str {
        match self {
            Self::OpenReports => "openreports.io/v1alpha1",
            Self::PolicyReport => "wgpolicyk8s.io/v1alpha2",
        }
    }

    /// The kind, of a namespace or of the cluster.
    pub const fn kind(self, namespaced: bool) -> &'static str {
        match (self, namespaced) {
            (Self::OpenReports, true) => "Report",
            (Self::OpenReports, false) => "ClusterReport",
            (Self::PolicyReport, true) => "PolicyReport",
            (Self::PolicyReport, false) => "ClusterPolicyReport",
        }
    }

    /// The kind as it stands in an address of the API server.
    pub const fn plural(self, namespaced: bool) -> &'static str {
        match (self, namespaced) {
            (Self::OpenReports, true) => "reports",
            (Self::OpenReports, false) => "clusterreports",
            (Self::PolicyReport, true) => "policyreports",
            (Self::PolicyReport, false) => "clusterpolicyreports",
        }
    }
}

/// A report as it is to be there.
#[derive(Debug, Clone, PartialEq)]
pub struct ReportObject {
    /// As which kind.
    pub kind: ReportKind,
    /// Its namespace; none where it is the cluster's.
    pub namespace: Option<String>,
    /// Its name, which no other one of its kind and place has.
    pub name: String,
    /// The digest of the intent: of the object without its annotation and without times.
    pub intent: Digest,
    /// The whole object.
    pub body: Value,
}

/// What one report is about: a namespace, or one workload in it.
type About<'a> = (&'a str, Option<&'a Workload>);

/// What `coverage` says, as report objects of `report`, sorted by namespace and workload or by namespace.
///
/// With `publish.perNamespace` there is one in the namespace of each workload, about that workload and owned by it where its uid is known: it goes when the
/// workload goes. Else there is one of the cluster for each namespace, owned by `report`. `objects` are the objects that workloads are, where they are known.
pub fn reports<S: BuildHasher>(
    report: &BundleCoverageReport,
    coverage: &Coverage,
    objects: &HashMap<Workload, ObjectId, S>,
    kind: ReportKind,
    scanned_at: Timestamp,
) -> Vec<ReportObject> {
    let mut members: BTreeMap<About<'_>, Vec<(&Workload, &ImageResult)>> = BTreeMap::new();
    for image in &coverage.images {
        for workload in &image.workloads {
            let of = report.spec.publish.per_namespace.then_some(workload);
            members.entry((workload.namespace.as_str(), of)).or_default().push((workload, image));
        }
    }
    let known = |workload: &Workload| objects.get(workload).filter(|id| is_uid(&id.uid));
    let of_report = report.metadata.name.as_deref().unwrap_or_default();
    let mut taken = BTreeSet::new();
    let mut written = Vec::with_capacity(members.len());
    for ((namespace, workload), members) in members {
        let owner = workload.and_then(|workload| Some((workload, known(workload)?)));
        let unique = match (workload, owner) {
            (None, _) => namespace.to_owned(),
            // Whoever makes pods says who owns them: two workloads may claim one uid.
            (Some(_), Some((_, id))) if taken.insert((namespace, id.uid.as_str())) => id.uid.clone(),
            (Some(workload), _) => digits(workload),
        };
        let entries = members.into_iter().flat_map(|(of, image)| {
            let resource = workload.is_none().then(|| Reference::of(of, known(of)));
            image.policies.iter().map(move |verdict| Entry::of(of_report, of, image, verdict, resource.clone()))
        });
        let place = Place {
            report,
            kind,
            namespace: workload.map(|workload| workload.namespace.as_str()),
            // Neither a uid, nor digits, nor a namespace has a dot: where it ends, the name of the report begins. Other engines name theirs by the bare uid.
            name: format!("holdfast.{unique}.{of_report}"),
            owner,
            scope: workload.map(|workload| Reference::of(workload, known(workload))),
        };
        written.push(write(place, entries.collect(), scanned_at));
    }
    written
}

/// Whether a text has the form of a uid: names are made of it.
fn is_uid(text: &str) -> bool {
    let is_of_uids = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f' | b'-');
    text.len() == 36 && text.bytes().all(is_of_uids) && !text.starts_with('-') && !text.ends_with('-')
}

fn digits(workload: &Workload) -> String {
    Digest::of(workload.to_string().as_bytes()).hex().chars().take(DIGITS).collect()
}
