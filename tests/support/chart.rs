//! The chart: rendered with Helm, and what of it comes from the code.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // each file uses its part; a test that cannot go on fails

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use holdfast_core::Digest;
use holdfast_core::engines::Object;
use holdfast_core::engines::native::{GuardSettings, guards};
use serde_json::Value;

pub(crate) const NAMESPACE: &str = "holdfast-system";

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn chart() -> PathBuf {
    root().join("charts/holdfast")
}

/// Helm, or a word of why there is none.
pub(crate) fn helm() -> Option<PathBuf> {
    let helm = std::env::var_os("HOLDFAST_HELM").map(PathBuf::from);
    if helm.is_none() {
        eprintln!("skipped: there is no Helm (set HOLDFAST_HELM to what hack/helm prints)");
    }
    helm
}

/// What `helm template` says, or why it does not.
pub(crate) fn template(helm: &Path, arguments: &[&str]) -> Result<String, String> {
    let home = tempfile::tempdir().unwrap();
    let output = Command::new(helm)
        .args(["template", "holdfast"])
        .arg(chart())
        .args(["--namespace", NAMESPACE])
        .args(arguments)
        .env("HELM_CACHE_HOME", home.path())
        .env("HELM_CONFIG_HOME", home.path())
        .env("HELM_DATA_HOME", home.path())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

/// The path of a values file of `ci/`.
pub(crate) fn values(name: &str) -> String {
    chart().join(format!("ci/{name}-values.yaml")).display().to_string()
}

/// The objects of a text of several documents.
pub(crate) fn objects(text: &str) -> Vec<Value> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
    documents.into_iter().filter(|document| !document.is_null()).collect()
}

/// The objects rendered with a values file of `ci/`.
pub(crate) fn rendered(helm: &Path, name: &str) -> Vec<Value> {
    objects(&template(helm, &["--values", &values(name)]).unwrap())
}

pub(crate) fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

pub(crate) fn named<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found = of_kind(objects, kind).into_iter().find(|object| object["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("there is no {kind} {name}"))
}

/// Stand for what a release decides.
const NAMESPACE_SAID: &str = "sentinel-namespace";
const ACCOUNT_SAID: &str = "sentinel-account";
const APPROVER_SAID: &str = "system:serviceaccount:sentinel:approver";

fn sentinel(release: BTreeSet<Digest>) -> GuardSettings {
    GuardSettings {
        namespace: NAMESPACE_SAID.to_owned(),
        service_account: ACCOUNT_SAID.to_owned(),
        approving_service_accounts: BTreeSet::from([APPROVER_SAID.to_owned()]),
        // What is enforced, and by which labels, is known to a running holdfast alone.
        enforced: BTreeSet::new(),
        scope_labels: BTreeSet::new(),
        release,
    }
}

/// The chart's template of the guards: the objects of the code, with what a release decides as Helm's expressions.
pub(crate) fn guards_template() -> String {
    let release = Digest::of(b"sentinel");
    let pinned = guards(&sentinel(BTreeSet::from([release])));
    let loose = guards(&sentinel(BTreeSet::new()));
    let mut text = String::from(
        "{{- /* Written from the code by `UPDATE_CHART=1 cargo test --test chart`: not to be edited. */ -}}\n{{- define \"holdfast.guards\" -}}\n",
    );
    for (pinned, loose) in pinned.iter().zip(&loose) {
        assert_eq!(pinned.key(), loose.key());
        let (with, without) = (item(pinned, &release), item(loose, &release));
        if with == without {
            text.push_str(&with);
        } else {
            text.push_str("{{- if include \"holdfast.releaseDigests\" . | fromJsonArray }}\n");
            text.push_str(&with);
            text.push_str("{{- else }}\n");
            text.push_str(&without);
            text.push_str("{{- end }}\n");
        }
    }
    text.push_str("{{- end }}\n");
    assert!(!text.contains("sentinel"), "something a release decides is left as it is");
    text
}

fn item(object: &Object, release: &Digest) -> String {
    let mut body = object.body().clone();
    // Depends on what a release decides: the chart computes it.
    body["metadata"]["annotations"].as_object_mut().unwrap().remove("holdfast.dev/intent");
    let yaml = serde_saphyr::to_string(&[body]).unwrap();
    assert!(!yaml.contains("{{"), "Helm would read this: {yaml}");
    [
        (format!("- {NAMESPACE_SAID}\n"), "- {{ .Release.Namespace | quote }}\n"),
        (NAMESPACE_SAID.to_owned(), "{{ .Release.Namespace }}"),
        (ACCOUNT_SAID.to_owned(), "{{ include \"holdfast.serviceAccountName\" . }}"),
        (format!("['{APPROVER_SAID}']"), "{{ include \"holdfast.cel.approving\" . }}"),
        (format!("['@{release}']"), "{{ include \"holdfast.cel.release\" . }}"),
    ]
    .iter()
    .fold(yaml, |yaml, (said, expression)| yaml.replace(said, expression))
}
