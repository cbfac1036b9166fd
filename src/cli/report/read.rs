//! The reports of a cluster, and the report objects with their details.

use std::time::Duration;

use holdfast_core::api::BundleCoverageReport;
use holdfast_core::api::common::{HOLDFAST, MANAGED_BY, REPORT};
use holdfast_core::api::report::BundleCoverageReportStatus;
use holdfast_core::coverage::results::{Read, ReportKind, read as read_object};
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::core::{DeserializeGuard, GroupVersionKind};
use kube::{Api, Client, ResourceExt};

use crate::cli::output::CliError;

/// How many objects are read at once: one may have a megabyte.
const PAGE: u32 = 50;
/// How long one answer is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// A report, and what details there are.
pub(super) struct Gathered {
    /// Its name.
    pub(super) name: String,
    /// What its status says.
    pub(super) status: BundleCoverageReportStatus,
    /// As which kind details are there.
    pub(super) kind: Option<String>,
    /// Why there are none.
    pub(super) missing: Option<String>,
    /// What they say.
    pub(super) details: Read,
}

/// Reads every report, or the one of a name.
///
/// # Errors
/// [`CliError`]: the cluster cannot be asked, or has no report of the name.
pub(super) async fn read(client: &Client, name: Option<&str>) -> Result<Vec<Gathered>, CliError> {
    let api: Api<DeserializeGuard<BundleCoverageReport>> = Api::all(client.clone());
    let all = match within(api.list(&ListParams::default())).await {
        Ok(all) => all.items,
        Err(error) if is(&error, 404) => {
            return Err(CliError::Unknown(
                "the cluster does not have the kinds of holdfast: install them with the chart, or use another --context".to_owned(),
            ));
        }
        Err(error) => return Err(CliError::Unknown(format!("cannot list BundleCoverageReports: {}", said(&error)))),
    };
    let names: Vec<String> = all.iter().map(ResourceExt::name_any).collect();
    let mut gathered = Vec::new();
    for report in all {
        if name.is_none_or(|name| name == report.name_any()) {
            gathered.push(match report.0 {
                Ok(report) => gather(client, report).await?,
                Err(invalid) => Gathered {
                    name: invalid.metadata.name.unwrap_or_default(),
                    status: BundleCoverageReportStatus::default(),
                    kind: None,
                    missing: Some(format!("it cannot be read: {}", invalid.error)),
                    details: Read::default(),
                },
            });
        }
    }
    match name {
        Some(name) if gathered.is_empty() => {
            let there = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            Err(CliError::usage(format!("--report {name}: there is no such BundleCoverageReport (there are: {there})")))
        }
        _ => Ok(gathered),
    }
}

/// The details are taken as one kind: where the kind changes, both are there for a while.
async fn gather(client: &Client, report: BundleCoverageReport) -> Result<Gathered, CliError> {
    let (name, publish, status) = (report.name_any(), report.spec.publish.clone(), report.status.unwrap_or_default());
    let mut missing =
        "the cluster serves neither OpenReports nor PolicyReports, so details are written nowhere".to_owned();
    for namespaced in [publish.per_namespace, !publish.per_namespace] {
        for kind in ReportKind::ALL {
            let of = format!("{}.{}", kind.plural(namespaced), kind.group());
            match details(client, &name, kind, namespaced).await {
                Ok(None) => missing = format!("no report objects of it are there as {of}"),
                Ok(Some(details)) => {
                    let kind = Some(format!("{}.{}", kind.kind(namespaced), kind.group()));
                    return Ok(Gathered { name, status, kind, missing: None, details });
                }
                Err(error) if is(&error, 404) => {}
                Err(error) if is(&error, 403) => missing = format!("you may not list {of}: {}", said(&error)),
                Err(error) => return Err(CliError::Unknown(format!("cannot list {of}: {}", said(&error)))),
            }
        }
    }
    if !publish.open_reports {
        "it publishes no details (`publish.openReports: false`)".clone_into(&mut missing);
    }
    Ok(Gathered { name, status, kind: None, missing: Some(missing), details: Read::default() })
}

async fn details(client: &Client, name: &str, kind: ReportKind, namespaced: bool) -> kube::Result<Option<Read>> {
    let of = GroupVersionKind::gvk(kind.group(), kind.version(), kind.kind(namespaced));
    let resource = ApiResource::from_gvk_with_plural(&of, kind.plural(namespaced));
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    let mut params = ListParams::default().labels(&format!("{MANAGED_BY}={HOLDFAST},{REPORT}={name}")).limit(PAGE);
    let (mut all, mut count) = (Read::default(), 0_usize);
    loop {
        let page = within(api.list(&params)).await?;
        count += page.items.len();
        for object in page.items {
            let one = read_object(&serde_json::to_value(object).map_err(kube::Error::SerdeError)?);
            all.lines.extend(one.lines);
            all.left_out += one.left_out;
            all.unreadable += one.unreadable;
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params.continue_token = Some(token),
            None => return Ok((count > 0).then_some(all)),
        }
    }
}

async fn within<T>(call: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
    let silent =
        || kube::Error::Service(format!("the API server did not answer within {} seconds", PATIENCE.as_secs()).into());
    tokio::time::timeout(PATIENCE, call).await.unwrap_or_else(|_| Err(silent()))
}

fn is(error: &kube::Error, code: u16) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == code)
}

fn said(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => format!("{} ({})", status.message, status.code),
        other => other.to_string(),
    }
}
