//! What stays closed while something beside it changes: the chart, another engine, the guards, another policy.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use holdfast_core::Digest;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::estate::Estate;
use super::given::vendor;
use crate::break_glass::{self, approve, ask, from_now};
use crate::chart_support::{NAMESPACE, chart, helm, named, objects, template, values};
use crate::courier::now;
use crate::coverage::published::serve;
use crate::coverage::shop::{ISSUER, SUBJECT};
use crate::engines::Brought;
use crate::lab::{Lab, NAME, SOURCES, path_of};
use crate::registry_support::Registry;

const ADMISSION: &str = "/apis/admissionregistration.k8s.io/v1";
const CLUSTER_IMAGE_POLICIES: &str = "/apis/policy.sigstore.dev/v1beta1/clusterimagepolicies";
const OTHER: &str = "https://ci.example/other";

/// What the lab's cluster is installed with, and more.
fn with_values(more: &[&str]) -> Vec<String> {
    let names = format!("distributionNames={{{NAME}}}");
    let sources = format!("sourceNamespaces={{{SOURCES}}}");
    let values = values("minimal");
    let all = ["--values", &values, "--set", &names, "--set", &sources, "--set", "replicas=0"];
    all.iter().chain(more).map(|&said| said.to_owned()).collect()
}

/// The chart's objects with the lab's values, and more.
fn rendered(helm: &Path, more: &[&str]) -> Vec<Value> {
    let all = with_values(more);
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    objects(&template(helm, &all).unwrap())
}

/// A release of the chart over what the lab installed, with Helm; what the lab installed is there again at the end.
struct Release<'a> {
    lab: &'a Lab,
    helm: PathBuf,
    home: tempfile::TempDir,
    before: Vec<Value>,
}

impl<'a> Release<'a> {
    fn over(lab: &'a Lab, helm: PathBuf) -> Self {
        let before = rendered(&helm, &[]);
        Self { lab, helm, home: tempfile::tempdir().unwrap(), before }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.helm);
        command
            .args(["--namespace", NAMESPACE, "--kubeconfig"])
            .arg(self.lab.kubeconfig())
            .args(arguments)
            .env("HELM_CACHE_HOME", self.home.path())
            .env("HELM_CONFIG_HOME", self.home.path())
            .env("HELM_DATA_HOME", self.home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command
    }

    /// Helm does something, and something has to hold all the while: how often it was looked at.
    #[track_caller]
    fn while_it(&self, arguments: &[&str], holds: impl Fn() -> Result<(), String>) -> usize {
        let mut child = self.command(arguments).spawn().unwrap();
        let (mut looks, mut wrong) = (0, Vec::new());
        while child.try_wait().unwrap().is_none() {
            wrong.extend(holds().err());
            looks += 1;
        }
        let ended = child.wait_with_output().unwrap();
        assert!(ended.status.success(), "helm {arguments:?}: {}", String::from_utf8_lossy(&ended.stderr));
        wrong.extend(holds().err());
        assert!(wrong.is_empty(), "while helm {arguments:?}: {} of {looks} looks: {wrong:?}", wrong.len());
        looks
    }

    /// The same with the chart. The account stays the lab's: the token of another one would be none of the operator's.
    #[track_caller]
    fn while_it_takes(&self, more: &[&str], holds: impl Fn() -> Result<(), String>) -> usize {
        let chart = chart().display().to_string();
        let account = ["--set", "serviceAccount.create=false", "--set", "serviceAccount.name=holdfast"];
        let values = with_values(&[&account[..], more].concat());
        let mut all = vec!["upgrade", "holdfast", &chart, "--install", "--take-ownership", "--force-conflicts"];
        all.extend(values.iter().map(String::as_str));
        self.while_it(&all, holds)
    }
}

impl Drop for Release<'_> {
    fn drop(&mut self) {
        let _ = self.command(&["uninstall", "holdfast", "--ignore-not-found"]).status();
        for object in &self.before {
            if let Err(error) = self.lab.try_apply(object) {
                eprintln!("{}: {error}", path_of(object));
            }
        }
        // Guards that Helm touched count from then on.
        std::thread::sleep(Duration::from_secs(7));
    }
}

/// Each rule that denies and each binding of one, by name, with what tells one from another of its name.
fn enforcing(lab: &Lab) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for kind in ["validatingadmissionpolicies", "validatingadmissionpolicybindings"] {
        let all = lab.call("GET", &format!("{ADMISSION}/{kind}"), None);
        for one in all["items"].as_array().unwrap() {
            let text = |field: &str| one["metadata"][field].as_str().unwrap().to_owned();
            if text("name").starts_with("holdfast-enforce-") {
                found.insert(format!("{kind}/{}", text("name")), text("uid"));
            }
        }
    }
    found
}

/// Whether the one image is denied by what enforces, and the other one admitted.
fn is_held(estate: &Estate<'_>, good: &str, bad: &str) -> Result<(), String> {
    match estate.would_admit("shop", bad) {
        Err(said) if said.contains("ValidatingAdmissionPolicy 'holdfast-enforce-") => {}
        other => return Err(format!("unsigned: {other:?}")),
    }
    estate.would_admit("shop", good).map(|_| ()).map_err(|said| format!("verified: {said}"))
}

#[test]
fn what_is_enforced_stays_so_while_the_chart_is_upgraded_and_rolled_back() {
    let Some(helm) = helm() else { return };
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let estate = Estate::open(&lab, registry);
    let release = Release::over(&lab, helm);
    let operator = lab.operator();
    let good = estate.image("web", estate.enforced());
    let bad = estate.image("rogue", estate.unsigned("rogue"));
    estate.until_nothing_is_written();
    let rules = enforcing(&lab);
    assert!(rules.len() >= 2, "{rules:?}");
    let holds = || is_held(&estate, &good, &bad);
    assert_eq!(holds(), Ok(()));

    let mut looks = release.while_it_takes(&[], holds);
    let account = "approvingServiceAccounts={system:serviceaccount:ci:bot}";
    let others = ["log.level=debug", "podDisruptionBudget.enabled=false", "engines.kyverno=true", account];
    let others: Vec<&str> = others.iter().flat_map(|&value| ["--set", value]).collect();
    looks += release.while_it_takes(&others, holds);
    looks += release.while_it(&["rollback", "holdfast", "1", "--force-conflicts"], holds);
    assert_eq!(enforcing(&lab), rules);
    let edits = operator.metric("holdfast_foreign_edits_total", &[]);
    assert!(edits.is_none_or(|edits| edits < 1.0), "{edits:?}");
    let status = estate.until_phase("Enforcing");
    assert_eq!(status.is("Enforcing"), "True", "{}", status.text());

    looks += release.while_it(&["uninstall", "holdfast"], holds);
    assert!(lab.get("/apis/rbac.authorization.k8s.io/v1/clusterroles/holdfast-controller").is_none());
    drop(operator);
    assert_eq!((holds(), enforcing(&lab)), (Ok(()), rules.clone()));
    looks += release.while_it_takes(&[], holds);
    assert!(looks >= 10, "{looks} looks");
    let _operator = lab.operator();
    lab.until("it goes on where it was", |_| {
        holds()?;
        let status = estate.policy_status("apps");
        if status.is("Enforcing") == "True" { Ok(()) } else { Err(status.text()) }
    });
    estate.until_nothing_is_written();
    assert_eq!((holds(), enforcing(&lab)), (Ok(()), rules));
}

/// The right over policy-controller's objects, as the chart gives it; it is taken away at the end.
struct Right<'a>(&'a Lab, Value);

impl<'a> Right<'a> {
    fn give(lab: &'a Lab, helm: &Path) -> Self {
        let role = |more: &[&str]| named(&rendered(helm, more), "ClusterRole", "holdfast-controller").clone();
        lab.apply(&role(&["--set", "engines.policyController=true"]));
        Self(lab, role(&[]))
    }
}

impl Drop for Right<'_> {
    fn drop(&mut self) {
        let _ = self.0.try_apply(&self.1);
    }
}

/// All of policy-controller 0.15.1 but who answers for it: its controller sleeps, so nobody converts its objects.
fn policy_controller_is_there(lab: &Lab) -> Option<()> {
    serve(lab, "policy-controller-v0.15.1")?;
    lab.patch(
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/clusterimagepolicies.policy.sigstore.dev",
        &json!({"spec": {"conversion": {"strategy": "None", "webhook": null}}}),
    );
    lab.namespace("cosign-system", &json!({}));
    let container = json!({"name": "main", "image": "ghcr.io/sigstore/policy-controller/policy-controller:v0.15.1"});
    lab.apply(&json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "webhook", "namespace": "cosign-system"},
        "spec": {
            "replicas": 0, "selector": {"matchLabels": {"app": "webhook"}},
            "template": {"metadata": {"labels": {"app": "webhook"}}, "spec": {"containers": [container]}},
        },
    }));
    let pods = json!({"operations": ["CREATE", "UPDATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods", "pods/ephemeralcontainers"]});
    lab.apply(&json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration", "metadata": {"name": "policy.sigstore.dev"},
        "webhooks": [{
            "name": "policy.sigstore.dev", "rules": [pods], "failurePolicy": "Fail", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "no-such-namespace"}},
            "clientConfig": {"service": {"namespace": "no-such-namespace", "name": "nobody"}},
        }],
    }));
    Some(())
}

fn given(lab: &Lab) -> Vec<Value> {
    let all = lab.try_call("GET", CLUSTER_IMAGE_POLICIES, None).unwrap_or_default();
    all["items"].as_array().cloned().unwrap_or_default()
}

fn is_applied(estate: &Estate<'_>) -> bool {
    let status = estate.policy_status("vendor");
    let engines = status.at("/engines").as_array().cloned().unwrap_or_default();
    engines.iter().any(|engine| engine["name"] == "policy-controller" && engine["applied"] == true)
}

#[test]
fn policy_controllers_objects_are_applied_put_back_and_taken_away() {
    let Some(helm) = helm() else { return };
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let brought = Brought(&lab);
    if policy_controller_is_there(&lab).is_none() {
        return;
    }
    let estate = Estate::open(&lab, registry);
    let operator = lab.operator();
    let good = estate.image("web", estate.enforced());
    let bad = estate.image("rogue", estate.unsigned("rogue"));
    let rules = enforcing(&lab);
    vendor(&estate, &json!({"policyController": {}}));
    lab.until("the right that is missing is named", |_| {
        let status = estate.policy_status("vendor");
        let is_named = status.text().contains("set `engines.policyController` in the chart's values");
        if is_named { Ok(()) } else { Err(status.text()) }
    });
    assert!(!is_applied(&estate) && given(&lab).is_empty());

    let right = Right::give(&lab, &helm);
    lab.within(Duration::from_secs(60), "it is given its policy", |lab| {
        let is_given = !given(lab).is_empty() && is_applied(&estate);
        if is_given { Ok(()) } else { Err(estate.policy_status("vendor").text()) }
    });
    let [policy] = <[Value; 1]>::try_from(given(&lab)).unwrap();
    assert_eq!(policy["metadata"]["labels"]["app.kubernetes.io/managed-by"], "holdfast");
    assert_eq!(
        (&policy["metadata"]["labels"]["holdfast.dev/policy"], &policy["spec"]["mode"]),
        (&json!("vendor"), &json!("warn"))
    );
    assert!(policy["spec"]["authorities"][0]["key"]["data"].as_str().unwrap().contains("BEGIN PUBLIC KEY"), "{policy}");
    let path = format!("{CLUSTER_IMAGE_POLICIES}/{}", policy["metadata"]["name"].as_str().unwrap());
    let anybody = json!([{"name": "anybody", "static": {"action": "pass"}}]);
    lab.patch(&path, &json!({"spec": {"authorities": anybody}}));
    // It is looked every thirty seconds, but nothing may have begun a pass for a minute.
    lab.within(Duration::from_secs(100), "it is put back", |lab| {
        let now = lab.call("GET", &path, None);
        if now["spec"] == policy["spec"] { Ok(()) } else { Err(now["spec"].to_string()) }
    });
    let edits = &["kind=\"ClusterImagePolicy\""];
    operator.until_metric("holdfast_foreign_edits_total", edits, |edits| edits == Some(1.0));
    // What is added beside what was given would leave it nothing to judge.
    lab.patch(
        &path,
        &json!({"spec": {"match": [{"group": "nobody.example", "version": "v1", "resource": "nothings"}]}}),
    );
    lab.within(Duration::from_secs(100), "it is taken out", |lab| {
        let now = lab.call("GET", &path, None);
        if now["spec"] == policy["spec"] { Ok(()) } else { Err(now["spec"].to_string()) }
    });
    operator.until_metric("holdfast_foreign_edits_total", edits, |edits| edits == Some(2.0));
    let mut other = policy.clone();
    other["metadata"] = json!({"name": "somebodys"});
    lab.apply(&other);
    vendor(&estate, &json!({"native": {}}));
    lab.within(Duration::from_secs(60), "what is no longer wanted goes", |lab| {
        let names: Vec<Value> = given(lab).iter().map(|one| one["metadata"]["name"].clone()).collect();
        if names == [json!("somebodys")] { Ok(()) } else { Err(format!("{names:?}")) }
    });
    assert_eq!((is_held(&estate, &good, &bad), enforcing(&lab)), (Ok(()), rules));
    drop((right, brought, operator));
}

/// The guards behind names: rules and bindings are taken away, and put back at the end.
struct Taken<'a>(&'a Lab, Vec<Value>);

impl<'a> Taken<'a> {
    fn away(lab: &'a Lab) -> Self {
        let mut taken = Self(lab, Vec::new());
        for kind in ["validatingadmissionpolicies", "validatingadmissionpolicybindings"] {
            for guard in ["approval", "break-glass"] {
                let mut found = lab.get(&format!("{ADMISSION}/{kind}/holdfast-guard-{guard}")).unwrap();
                let metadata = found["metadata"].as_object_mut().unwrap();
                metadata.retain(|field, _| matches!(field.as_str(), "name" | "labels" | "annotations"));
                found.as_object_mut().unwrap().remove("status");
                taken.1.push(found);
            }
        }
        for object in taken.1.iter().rev() {
            lab.delete(&path_of(object));
        }
        taken
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        for object in &self.1 {
            let _ = self.0.try_apply(object);
        }
    }
}

fn wait_for(end: Timestamp) {
    std::thread::sleep(Duration::try_from(end.duration_since(now())).unwrap_or_default());
}

#[test]
fn a_namespace_lent_to_audit_is_closed_when_the_guards_go() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let estate = Estate::open(&lab, registry);
    let _operator = lab.operator();
    let good = estate.image("web", estate.enforced());
    let bad = estate.image("rogue", estate.unsigned("rogue"));
    let loosen = json!({"returnToAudit": {"policy": "apps", "namespaces": ["shop"]}});
    let end = from_now(75);
    let digest = ask(&lab, "alice", "inc", end, &loosen);
    for who in ["bob", "dora"] {
        approve(&lab, who, "inc", digest).unwrap();
    }
    lab.until("shop is let through", |_| estate.would_admit("shop", &bad));
    let taken = Taken::away(&lab);
    lab.within(Duration::from_secs(20), "it is denied again", |_| is_held(&estate, &good, &bad));
    assert!(now() < end, "its end is what closed it");
    break_glass::until(&lab, "inc", "Pending", "Unguarded");
    drop(taken);
    break_glass::until(&lab, "inc", "Refused", "MadeUnguarded");
    assert!(now() < end, "its end has come");
    assert_eq!(is_held(&estate, &good, &bad), Ok(()));
    wait_for(end);
    assert_eq!(is_held(&estate, &good, &bad), Ok(()));
    estate.denied("shop", &bad, "is not verified for the policy `apps`");
}

fn intake(images: &[&str]) -> Value {
    json!({"native": {"intake": {"images": images}}})
}

/// Waits until a digest is listed as verified for a policy.
fn until_listed(lab: &Lab, policy: &str, digest: Digest) {
    lab.until(&format!("{digest} is listed for {policy}"), |lab| {
        let all = lab.call("GET", "/apis/holdfast.dev/v1alpha1/verifiedimages", None);
        let of_policy = |one: &&Value| one["metadata"]["name"].as_str().unwrap().ends_with(&format!(".{policy}"));
        let mut lists = all["items"].as_array().unwrap().iter().filter(of_policy);
        let is_listed = lists.any(|one| one["spec"]["data"].to_string().contains(&digest.hex()));
        if is_listed { Ok(()) } else { Err(all.to_string()) }
    });
}

#[test]
fn an_image_that_two_policies_are_about_needs_both() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let estate = Estate::open(&lab, registry);
    let _operator = lab.operator();
    let [web, half, rest] = ["web", "half", "rest"].map(|name| estate.unsigned(name));
    for (name, digest, subject) in
        [("web", web, SUBJECT), ("web", web, OTHER), ("half", half, SUBJECT), ("rest", rest, OTHER)]
    {
        estate.sign(name, digest, subject);
    }
    let [web, half_image, rest_image] =
        [("web", web), ("half", half), ("rest", rest)].map(|(name, of)| estate.image(name, of));
    estate.pod("web", &web);
    estate.enforce(&json!({"engines": intake(&[&half_image])}));
    estate.until_phase("Enforcing");
    lab.until("one policy alone admits it", |_| estate.would_admit("shop", &half_image));
    // What is listed stays so; what nothing names any more holds up no promotion.
    estate.enforce(&json!({"engines": intake(&[&web])}));
    estate.scan_now("nothing names it");
    estate.until(1, 0, 0);

    let strict = |images: &[&str]| {
        let identities = json!([{"name": "other", "issuer": ISSUER, "subject": OTHER}]);
        let enforced = json!({
            "otherImages": "Deny", "namespaceSelector": {"matchLabels": {"tier": "apps"}}, "identities": identities,
            "enforcement": {"desired": "Enforce", "soak": "0s"}, "engines": intake(images),
        });
        estate.policy("strict", &enforced);
    };
    assert!(estate.would_admit("shop", &half_image).is_ok());
    strict(&[&web]);
    lab.until("both are enforced", |_| {
        let status = estate.policy_status("strict");
        if status.at("/enforcement/phase") == "Enforcing" { Ok(()) } else { Err(status.text()) }
    });
    estate.denied("shop", &half_image, "is not verified for the policy `strict`");
    strict(&[&web, &rest_image]);
    until_listed(&lab, "strict", rest);
    until_listed(&lab, "apps", half);
    std::thread::sleep(Duration::from_secs(2));
    estate.denied("shop", &rest_image, "is not verified for the policy `apps`");
    estate.denied("shop", &half_image, "is not verified for the policy `strict`");
    assert!(estate.would_admit("shop", &web).is_ok(), "both verified it");

    estate.sign("half", half, OTHER);
    strict(&[&rest_image, &half_image]);
    estate.scan_now("the other one signed it, too");
    lab.until("both verified it", |_| estate.would_admit("shop", &half_image));
    estate.denied("shop", &rest_image, "is not verified for the policy `apps`");
}
