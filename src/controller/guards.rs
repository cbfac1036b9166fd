//! Are the admission policies there that make an approval mean something?
//!
//! A name in an object proves nothing by itself. It does where admission ties names to requesters; so the policies are read, held against what holdfast would
//! install, and asked: an approval in somebody else's name and a mirror that approves its own rotation, both as dry runs, have to be denied. What was approved
//! before the policies were last changed does not count, since it may have been made while they were not there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use holdfast_core::Digest;
use holdfast_core::engines::native::{GuardSettings, guards};
use holdfast_core::engines::object::Object;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use kube::api::{ObjectMeta, Patch, PatchParams};
use kube::{Api, Client, Resource};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::MANAGER;
use super::failure::{Failed, within};
use super::settings::Settings;
use crate::clock;
use crate::serve::metrics::Metrics;

/// The object that is only ever made in a dry run.
const PROBE: &str = "holdfast-probe";
/// How long an answer is taken for the next question, too, where nothing comes into force by it.
const REMEMBERED: Duration = Duration::from_secs(2);
/// How long after a guard was made or changed it is certainly in force on every API server: up to a second was measured on one.
const SETTLES: SignedDuration = SignedDuration::from_secs(5);

/// What stands behind approvals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Guarding {
    /// All is there, since this instant.
    Since(Timestamp),
    /// Something is not.
    Absent(String),
    /// They stand as they were installed, and something else was in the way of asking them: nothing counts, and nothing is judged for good.
    Unclear(String),
}

impl Guarding {
    /// Why no approval counts.
    pub(crate) fn why_not(&self) -> Option<&str> {
        match self {
            Self::Since(_) => None,
            Self::Absent(why) | Self::Unclear(why) => Some(why),
        }
    }

    /// Whether what was made at `at` counts: the guards were in force then. Kubernetes keeps whole seconds: what was made in the same one does not.
    pub(crate) fn covers(&self, at: Option<Timestamp>) -> bool {
        let settled = |since: Timestamp| since.saturating_add(SETTLES).unwrap_or(Timestamp::MAX);
        matches!((self, at), (Self::Since(since), Some(at)) if at > settled(*since))
    }
}

/// Asks, and remembers the answer for a moment.
pub(crate) struct Guards {
    client: Client,
    expected: Vec<Object>,
    last: Mutex<Option<(Instant, Guarding)>>,
    /// Each guard as this process saw it last, and when it found it changed.
    seen: Mutex<BTreeMap<String, Version>>,
    metrics: Arc<Metrics>,
}

/// An object in one form: nobody but the API server writes either.
#[derive(PartialEq, Eq)]
struct Form {
    uid: Option<String>,
    generation: Option<i64>,
}

struct Version {
    form: Form,
    changed: Option<Timestamp>,
}

impl Guards {
    /// The guards that belong to these settings.
    pub(crate) fn new(client: Client, namespace: &str, settings: &Settings, metrics: Arc<Metrics>) -> Self {
        let expected = guards(&GuardSettings {
            namespace: namespace.to_owned(),
            service_account: settings.service_account.clone(),
            approving_service_accounts: settings.approving_service_accounts.iter().cloned().collect(),
            enforced: BTreeSet::new(),
            scope_labels: BTreeSet::new(),
            release: settings.release_digests.iter().copied().collect::<BTreeSet<Digest>>(),
        });
        Self { client, expected, last: Mutex::default(), seen: Mutex::default(), metrics }
    }

    /// Whether they are there and answer; what it says may be a moment old. Fails only where one could not ask.
    ///
    /// # Errors
    /// [`Failed`].
    pub(crate) async fn look(&self) -> Result<Guarding, Failed> {
        if let Some((at, known)) = self.last.lock().clone()
            && at.elapsed() < REMEMBERED
        {
            return Ok(known);
        }
        self.look_now().await
    }

    /// The same, asked now: what was made before it was asked, and after the guards were last changed, was made under them.
    ///
    /// # Errors
    /// [`Failed`].
    pub(crate) async fn look_now(&self) -> Result<Guarding, Failed> {
        let found = self.ask().await?;
        self.metrics.guarded(found.why_not().is_none());
        *self.last.lock() = Some((Instant::now(), found.clone()));
        Ok(found)
    }

    async fn ask(&self) -> Result<Guarding, Failed> {
        let mut since = Timestamp::UNIX_EPOCH;
        for expected in &self.expected {
            let found = match expected.kind() {
                "ValidatingAdmissionPolicy" => self.compare::<ValidatingAdmissionPolicy>(expected).await?,
                _ => self.compare::<ValidatingAdmissionPolicyBinding>(expected).await?,
            };
            match found {
                Ok(changed) => since = since.max(changed),
                Err(why) => return Ok(Guarding::Absent(why)),
            }
        }
        for (what, kind, spec) in probes() {
            match self.probe(what, kind, &spec).await? {
                Answer::Denied => {}
                Answer::Admitted(why) => return Ok(Guarding::Absent(why)),
                Answer::Refused(why) => return Ok(Guarding::Unclear(why)),
            }
        }
        Ok(Guarding::Since(since))
    }

    /// When the object was last changed, where it says what it should.
    async fn compare<K>(&self, expected: &Object) -> Result<Result<Timestamp, String>, Failed>
    where
        K: Resource<DynamicType = ()> + DeserializeOwned + Clone + std::fmt::Debug + serde::Serialize,
    {
        let name = expected.name();
        let api: Api<K> = Api::all(self.client.clone());
        let kind = expected.kind();
        let Some(found) = within("read", name, api.get_opt(name)).await? else {
            return Ok(Err(format!("{kind} `{name}` is not there; install the chart's admission policies")));
        };
        let changed =
            last_changed(found.meta()).map(|told| self.noticed(&format!("{kind}/{name}"), found.meta(), told));
        let found = serde_json::to_value(&found).map_err(|error| Failed::stuck("read", name, &error))?;
        let same = says_no_more(expected.body().get("spec"), found.get("spec"));
        Ok(match (same, changed) {
            (true, Some(changed)) => Ok(changed),
            (true, None) => Err(format!("{kind} `{name}` does not say when it was made")),
            (false, _) => Err(format!("{kind} `{name}` is not as it was installed; apply the chart again")),
        })
    }

    /// When a guard was last changed, by what it tells and by what this process saw: who may change it may also change what it tells.
    fn noticed(&self, name: &str, metadata: &ObjectMeta, told: Timestamp) -> Timestamp {
        let form = Form { uid: metadata.uid.clone(), generation: metadata.generation };
        let mut seen = self.seen.lock();
        let changed = match seen.get(name) {
            None => None,
            Some(version) if version.form == form => version.changed,
            // As it was made: of that, the API server alone says when.
            Some(_) if form.generation == Some(1) => metadata.creation_timestamp.as_ref().map(|created| created.0),
            Some(_) => Some(clock::now()),
        };
        seen.insert(name.to_owned(), Version { form, changed });
        changed.map_or(told, |changed| changed.max(told))
    }

    async fn probe(&self, what: &'static str, kind: &str, spec: &Value) -> Result<Answer, Failed> {
        let resource = kube::api::ApiResource {
            group: holdfast_core::api::GROUP.to_owned(),
            version: holdfast_core::api::VERSION.to_owned(),
            api_version: format!("{}/{}", holdfast_core::api::GROUP, holdfast_core::api::VERSION),
            kind: kind.to_owned(),
            plural: format!("{}s", kind.to_ascii_lowercase()),
        };
        let api: Api<kube::api::DynamicObject> = Api::all_with(self.client.clone(), &resource);
        let object =
            json!({"apiVersion": resource.api_version, "kind": kind, "metadata": {"name": PROBE}, "spec": spec});
        let params = PatchParams { dry_run: true, ..PatchParams::apply(MANAGER) };
        let answer = within("ask the guards with", PROBE, api.patch(PROBE, &params, &Patch::Apply(&object))).await;
        Ok(match answer {
            Err(Failed::Api { error, .. }) if denied_by_guard(&error) => Answer::Denied,
            Err(Failed::Api { error, .. }) if matches!(&*error, kube::Error::Api(_)) => {
                Answer::Refused(format!("{what} was refused for another reason than by the guards: {error}"))
            }
            Err(failed) => return Err(failed),
            Ok(_) => Answer::Admitted(format!("{what} was let through in a dry run")),
        })
    }
}

/// How a probe was answered.
enum Answer {
    /// By the guards, as it should be.
    Denied,
    /// Nobody said no.
    Admitted(String),
    /// Somebody else said no.
    Refused(String),
}

fn probes() -> [(&'static str, &'static str, Value); 2] {
    let nobody = "holdfast-probe:nobody";
    let digest = Digest::of(PROBE.as_bytes());
    let approval = json!({"approver": nobody, "for": {"kind": "TrustRootMirror", "name": PROBE, "digest": digest}});
    let mirror = json!({
        "source": {"trustedRoot": {"configMap": {"namespace": PROBE, "name": PROBE}, "sha256": digest.hex()}},
        "rotation": {"approvedDigest": digest},
    });
    [
        ("an approval in another's name", "TrustApproval", approval),
        ("a mirror that approves its own rotation", "TrustRootMirror", mirror),
    ]
}

/// Whether it was an admission policy of holdfast's that said no.
fn denied_by_guard(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else { return false };
    status.message.contains("ValidatingAdmissionPolicy 'holdfast-guard-") && status.message.contains("denied request")
}

/// When an object was made or last changed, as its managed fields tell; nothing where somebody took those away.
fn last_changed(metadata: &ObjectMeta) -> Option<Timestamp> {
    let created = metadata.creation_timestamp.as_ref()?.0;
    let changes = metadata.managed_fields.iter().flatten();
    // What the API server says of the object in its status is no change of it.
    let changes = changes.filter(|entry| entry.subresource.as_deref() != Some("status"));
    let last = changes.filter_map(|entry| entry.time.as_ref()).map(|time| time.0).max()?;
    Some(last.max(created))
}

/// When a field of an object was set, by the first who says so: whoever applies the same value later owns it, too, and did not set it. `path` as managed
/// fields write it. It is what the object tells: whoever may edit it may have it tell something else.
pub(crate) fn set_at(metadata: &ObjectMeta, path: &[&str]) -> Option<Timestamp> {
    let names_it = |fields: &Value| path.iter().try_fold(fields, |fields, step| fields.get(step)).is_some();
    let entries = metadata.managed_fields.iter().flatten();
    entries
        .filter(|entry| entry.fields_v1.as_ref().is_some_and(|fields| names_it(&fields.0)))
        .filter_map(|entry| Some(entry.time.as_ref()?.0))
        .min()
}

/// Whether what was found says what is expected and nothing else but what the API server fills in.
fn says_no_more(expected: Option<&Value>, found: Option<&Value>) -> bool {
    match (expected, found) {
        (Some(Value::Object(expected)), Some(Value::Object(found))) => {
            let of_expected = expected.iter().all(|(key, value)| match found.get(key) {
                Some(there) => says_no_more(Some(value), Some(there)),
                None => is_nothing(value),
            });
            of_expected && found.iter().all(|(key, value)| expected.contains_key(key) || is_default(key, value))
        }
        (Some(Value::Array(expected)), Some(Value::Array(found))) => {
            expected.len() == found.len() && expected.iter().zip(found).all(|(a, b)| says_no_more(Some(a), Some(b)))
        }
        (expected, found) => expected == found,
    }
}

fn is_nothing(value: &Value) -> bool {
    value.is_null()
        || value.as_array().is_some_and(Vec::is_empty)
        || value.as_object().is_some_and(serde_json::Map::is_empty)
}

fn is_default(key: &str, value: &Value) -> bool {
    let defaults: BTreeMap<&str, Value> = BTreeMap::from([
        ("failurePolicy", json!("Fail")),
        ("matchPolicy", json!("Equivalent")),
        ("scope", json!("*")),
        ("namespaceSelector", json!({})),
        ("objectSelector", json!({})),
    ]);
    is_nothing(value) || defaults.get(key) == Some(value)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry, Time};

    use super::*;

    fn entry(time: &str, fields: Value) -> ManagedFieldsEntry {
        let fields_v1 = Some(FieldsV1(fields));
        ManagedFieldsEntry { time: Some(Time(time.parse().unwrap())), fields_v1, ..ManagedFieldsEntry::default() }
    }

    #[test]
    fn who_applies_the_same_value_again_did_not_set_it() {
        let fields = json!({"f:spec": {"f:rotation": {"f:approvedDigest": {}}}});
        let entries = [
            entry("2026-01-01T00:00:00Z", fields.clone()),
            entry("2026-01-02T00:00:00Z", fields),
            entry("2025-01-01T00:00:00Z", json!({"f:spec": {"f:interval": {}}})),
        ];
        let metadata = ObjectMeta { managed_fields: Some(entries.into()), ..ObjectMeta::default() };
        let set = set_at(&metadata, &["f:spec", "f:rotation", "f:approvedDigest"]);
        assert_eq!(set.map(|at| at.to_string()).as_deref(), Some("2026-01-01T00:00:00Z"));
        let guarding = Guarding::Since("2026-01-01T12:00:00Z".parse().unwrap());
        assert!(!guarding.covers(set));
        assert!(!guarding.covers("2026-01-01T12:00:05Z".parse().ok()), "a guard takes a moment to be in force");
        assert!(guarding.covers("2026-01-01T12:00:06Z".parse().ok()));
    }

    #[test]
    fn a_guard_that_does_not_say_when_it_was_changed_is_none() {
        let created = Some(Time("2026-01-01T00:00:00Z".parse().unwrap()));
        let stripped = ObjectMeta { creation_timestamp: created.clone(), ..ObjectMeta::default() };
        assert_eq!(last_changed(&stripped), None);
        let entries = vec![entry("2026-01-02T00:00:00Z", json!({"f:spec": {}}))];
        let told = ObjectMeta { creation_timestamp: created, managed_fields: Some(entries), ..ObjectMeta::default() };
        assert_eq!(last_changed(&told).map(|at| at.to_string()).as_deref(), Some("2026-01-02T00:00:00Z"));
    }

    #[test]
    fn a_guard_that_was_weakened_is_not_the_guard() {
        let expected = json!({"validations": [{"expression": "a"}], "matchConditions": [], "failurePolicy": "Fail"});
        let same = json!({"validations": [{"expression": "a"}], "failurePolicy": "Fail", "matchPolicy": "Equivalent"});
        assert!(says_no_more(Some(&expected), Some(&same)));
        for weaker in [
            json!({"validations": [{"expression": "a || true"}], "failurePolicy": "Fail"}),
            json!({"validations": [], "failurePolicy": "Fail"}),
            json!({"validations": [{"expression": "a"}], "failurePolicy": "Ignore"}),
            json!({"validations": [{"expression": "a"}], "failurePolicy": "Fail", "matchConditions": [{"expression": "false"}]}),
            json!({"validations": [{"expression": "a"}], "failurePolicy": "Fail", "paramKind": {}, "excludeResourceRules": [{"resources": ["*"]}]}),
        ] {
            assert!(!says_no_more(Some(&expected), Some(&weaker)), "{weaker}");
        }
        assert!(!says_no_more(Some(&expected), None));
    }
}
