//! What goes wrong around the operator: the API server, the network to it, its clock, and what others put into the cluster.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::courier::{Courier, approve, ask_now, distributed};
use crate::lab::{Lab, NAME, Operator, config_map_path, mirror_path};
use crate::proxy::{Asked, Fate};

fn passes(operator: &Operator<'_>) -> f64 {
    operator.metric("controller_runtime_reconcile_total", &["controller=\"trustrootmirror\""]).unwrap_or(0.0)
}

/// Passes made in the two seconds that come.
fn passes_in_two_seconds(operator: &Operator<'_>) -> f64 {
    let before = passes(operator);
    std::thread::sleep(Duration::from_secs(2));
    passes(operator) - before
}

/// No more than a few passes in two seconds: nothing spins.
fn is_calm(operator: &Operator<'_>, most: f64) {
    let made = passes_in_two_seconds(operator);
    assert!(made <= most, "{made} passes in two seconds\n{}", operator.said());
}

/// Nothing spins, and it is calm soon: until every watch is begun again, each list asks for a pass, and what is decided by an older one is refused and
/// decided anew.
fn becomes_calm(operator: &Operator<'_>) {
    let start = Instant::now();
    loop {
        let made = passes_in_two_seconds(operator);
        if made <= 4.0 {
            return;
        }
        let late = start.elapsed() > Duration::from_secs(20);
        assert!(made <= 16.0 && !late, "{made} passes in two seconds\n{}", operator.said());
    }
}

#[test]
fn an_api_server_that_restarts_in_mid_pass_is_gone_on_with() {
    let Some(lab) = Lab::enter() else { return };
    let operator = lab.operator_with(&["--lease-duration", "120s"]);
    let mut courier = Courier::new("restart");
    courier.deliver(&lab);
    lab.apply(&courier.mirror("restart"));
    lab.reason("restart", "Ready", "AsDeclared");
    let second = courier.rotate();
    courier.deliver(&lab);
    lab.reason("restart", "RotationPending", "AwaitingApproval");
    lab.proxy().on(1, Fate::Hold, |asked| asked.is_write() && asked.path.contains("holdfast-trust-record"));
    approve(&lab, "bob", "restart", second).unwrap();
    lab.until("the adoption is on its way", |lab| if lab.proxy().met() == 1 { Ok(()) } else { Err(operator.said()) });
    lab.cluster("stop", "kube-apiserver");
    lab.proxy().release();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(operator.ask("/healthz").0, 200);
    lab.cluster("start", "kube-apiserver");
    lab.within(Duration::from_secs(60), "the rotation came to its end", |lab| {
        let object = lab.try_call("GET", &mirror_path("restart"), None)?;
        if object["status"]["adopted"]["digest"] == json!(second) { Ok(()) } else { Err(object["status"].to_string()) }
    });
    lab.within(Duration::from_secs(30), "it is ready again", |_| match operator.ask("/readyz") {
        (200, _) => Ok(()),
        (_, text) => Err(text),
    });
    becomes_calm(&operator);
}

#[test]
fn an_etcd_that_is_gone_for_a_minute_is_waited_for() {
    let Some(lab) = Lab::enter() else { return };
    let operator = lab.operator_with(&["--lease-duration", "300s"]);
    let mut courier = Courier::new("etcd");
    courier.deliver(&lab);
    lab.apply(&courier.mirror("etcd"));
    lab.reason("etcd", "Ready", "AsDeclared");
    lab.cluster("stop", "etcd");
    std::thread::sleep(Duration::from_secs(60));
    assert_eq!(operator.ask("/healthz").0, 200);
    lab.cluster("start", "etcd");
    courier.refresh();
    lab.within(Duration::from_secs(60), "the API server is back", |lab| {
        lab.try_call("GET", "/readyz/etcd", None).or_else(|error| {
            // The probe answers a word, not an object.
            if error.contains("expected value") { Ok(Value::Null) } else { Err(error) }
        })
    });
    lab.within(Duration::from_secs(30), "the courier comes in", |lab| {
        lab.try_call("GET", "/api/v1/namespaces/default", None)
    });
    courier.deliver(&lab);
    lab.within(Duration::from_secs(60), "it goes on", |lab| {
        let object = lab.try_call("GET", &mirror_path("etcd"), None)?;
        if object["status"]["roles"]["timestamp"]["version"] == json!(2) { Ok(()) } else { Err(operator.said()) }
    });
    becomes_calm(&operator);
}

#[test]
fn watches_that_break_or_are_too_old_are_begun_again() {
    let Some(lab) = Lab::enter() else { return };
    let operator = lab.operator();
    let mut courier = Courier::new("watch");
    courier.deliver(&lab);
    lab.apply(&courier.mirror("watch"));
    lab.reason("watch", "Ready", "AsDeclared");
    // Every watch is cut, and the next ones are told that they ask for what is forgotten.
    lab.proxy().on(8, Fate::Refuse(410, None), |asked| asked.query.contains("watch=true"));
    lab.proxy().cut();
    courier.refresh();
    courier.deliver(&lab);
    lab.within(Duration::from_secs(20), "what changed meanwhile is seen", |lab| {
        let status = lab.status("watch");
        if status.at("/roles/timestamp/version") == &json!(2) { Ok(()) } else { Err(operator.said()) }
    });
    assert!(lab.proxy().met() > 0);
    becomes_calm(&operator);
}

#[test]
fn a_busy_api_server_is_not_pressed() {
    let Some(lab) = Lab::enter() else { return };
    let operator = lab.operator();
    let courier = Courier::new("busy");
    courier.deliver(&lab);
    lab.proxy().on(5, Fate::Refuse(429, Some(1)), Asked::is_write);
    lab.apply(&courier.mirror("busy"));
    is_calm(&operator, 6.0);
    lab.reason("busy", "Ready", "AsDeclared");
    assert!(operator.metric("holdfast_reconcile_failures_total", &["category=\"refused\""]).unwrap() >= 5.0);
    assert!(operator.metric("rest_client_requests_total", &["code=\"429\""]).unwrap() >= 5.0);
}

#[test]
fn a_connection_that_breaks_in_the_answer_is_asked_again() {
    let Some(lab) = Lab::enter() else { return };
    let _operator = lab.operator();
    let courier = Courier::new("broken");
    courier.deliver(&lab);
    lab.proxy().on(4, Fate::Break, |asked| !asked.query.contains("watch=true") && asked.path.contains("configmaps"));
    lab.apply(&courier.mirror("broken"));
    lab.reason("broken", "Ready", "AsDeclared");
}

#[test]
fn somebody_else_who_writes_at_the_same_time_is_not_written_over() {
    let Some(lab) = Lab::enter() else { return };
    let operator = lab.operator();
    let courier = Courier::new("conflict");
    courier.deliver(&lab);
    lab.proxy().on(1, Fate::Hold, |asked| asked.is_write() && asked.path.ends_with("/status"));
    lab.apply(&courier.mirror("conflict"));
    lab.until("the status is on its way", |lab| if lab.proxy().met() == 1 { Ok(()) } else { Err(operator.said()) });
    // The mirror is another one meanwhile.
    lab.patch(&mirror_path("conflict"), &json!({"spec": {"interval": "2m"}}));
    lab.proxy().release();
    let status = lab.until("the status is of what is declared now", |lab| {
        let status = lab.status("conflict");
        let current = status.object["status"]["observedGeneration"] == status.object["metadata"]["generation"]
            && status.is("Ready") == "True";
        if current { Ok(status) } else { Err(status.text()) }
    });
    assert_eq!(status.object["metadata"]["generation"], json!(2));
    let refused = lab.proxy().asked().into_iter().find(|asked| asked.path.ends_with("/status")).unwrap();
    assert_eq!(refused.status, Some(409), "what was decided on another form is refused");
}

#[test]
fn an_admission_policy_that_refuses_what_is_written_is_named() {
    let Some(lab) = Lab::enter() else { return };
    let operator = lab.operator();
    let courier = Courier::new("denied");
    courier.deliver(&lab);
    lab.namespace("denied-a", &json!({"trust": "denied"}));
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": {"name": "no-trust"},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"]}]},
            "validations": [{"expression": format!("object.metadata.name != '{NAME}'"), "message": "no trust may come in here"}],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": "no-trust"},
        "spec": {"policyName": "no-trust", "validationActions": ["Deny"]},
    });
    lab.apply(&policy);
    lab.apply(&binding);
    lab.until("the policy is in force", |lab| {
        let probe =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME, "namespace": "denied-a"}});
        match lab.try_call("POST", "/api/v1/namespaces/denied-a/configmaps?dryRun=All", Some(&probe)) {
            Err(error) if error.contains("no trust may come in here") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    lab.apply(&distributed(courier.mirror("denied"), "denied", "0s"));
    let status = lab.until("it is said who refuses", |lab| {
        let status = lab.status("denied");
        if status.message("Distributed").contains("no trust may come in here") {
            Ok(status)
        } else {
            Err(status.text())
        }
    });
    assert_eq!(status.is("Ready"), "False");
    assert_eq!(status.at("/adopted/digest"), &json!(courier.root()), "it is in force all the same");
    is_calm(&operator, 6.0);
    lab.delete("/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/no-trust");
    lab.delete("/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/no-trust");
    lab.until("the policy is no longer in force", |lab| {
        let probe =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME, "namespace": "denied-a"}});
        lab.try_call("POST", "/api/v1/namespaces/denied-a/configmaps?dryRun=All", Some(&probe))
    });
    ask_now(&lab, "denied");
    lab.within(Duration::from_secs(60), "it is distributed", |lab| {
        if lab.get(&config_map_path("denied-a", NAME)).is_some() { Ok(()) } else { Err(lab.status("denied").text()) }
    });
}

#[test]
fn nothing_is_taken_away_before_everything_was_seen() {
    let Some(lab) = Lab::enter() else { return };
    let operator = lab.operator();
    let courier = Courier::new("seen");
    courier.deliver(&lab);
    lab.namespace("seen-a", &json!({"trust": "seen"}));
    lab.apply(&distributed(courier.mirror("seen"), "seen", "0s"));
    lab.reason("seen", "Distributed", "Distributed");
    operator.stop();
    let before = lab.get(&config_map_path("seen-a", NAME)).unwrap();
    for late in ["/api/v1/namespaces", "/api/v1/configmaps", "/apis/holdfast.dev/v1alpha1/trustapprovals"] {
        lab.proxy().reset();
        lab.proxy().on(100, Fate::Hold, move |asked| asked.method == "GET" && asked.path == late);
        let operator = lab.start_operator(&[], &[]);
        lab.until("the list is asked for", |lab| if lab.proxy().met() > 0 { Ok(()) } else { Err(operator.said()) });
        lab.until("it leads", |_| if operator.says("this replica leads") { Ok(()) } else { Err(operator.said()) });
        std::thread::sleep(Duration::from_secs(1));
        assert_eq!(operator.ask("/readyz").0, 503, "{late}");
        assert!(lab.proxy().writes().is_empty(), "{late}: {:?}", lab.proxy().writes());
        lab.proxy().reset();
        operator.ready();
        ask_now(&lab, "seen");
        assert_eq!(lab.get(&config_map_path("seen-a", NAME)).unwrap(), before, "{late}");
        operator.stop();
    }
}

#[test]
fn an_instant_at_which_something_ends_is_noticed_then() {
    let Some(lab) = Lab::enter() else { return };
    let _operator = lab.operator();
    let mut courier = Courier::new("instant");
    let end = crate::courier::now() + jiff::SignedDuration::from_secs(8);
    let end = jiff::Timestamp::from_second(end.as_second()).unwrap();
    courier.repository.timestamp["expires"] = json!(end.to_string());
    courier.deliver(&lab);
    lab.apply(&courier.mirror("instant"));
    let fresh = lab.reason("instant", "Ready", "AsDeclared");
    assert_eq!(fresh.is("Fresh"), "True");
    // Warned of in the last third of its time, which is long before the next look is due.
    lab.reason("instant", "ExpiringSoon", "EndsSoon");
    assert!(crate::courier::now() < end);
    let stale = lab.reason("instant", "Fresh", "Stale");
    let late = crate::courier::now().duration_since(end);
    assert!(late >= jiff::SignedDuration::ZERO && late < jiff::SignedDuration::from_secs(2), "{late:#}");
    assert_eq!((stale.is("Ready"), stale.reason("Ready")), ("False", "Stale"));
    assert_eq!(stale.at("/adopted/digest"), &json!(courier.root()), "nothing steps down");
}

/// The library that gives a program another clock.
pub(crate) fn faketime() -> Option<String> {
    let directories =
        std::fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path().join("faketime/libfaketime.so.1"));
    let found = directories.filter(|path| path.exists()).map(|path| path.display().to_string()).next();
    if found.is_none() {
        eprintln!("skipped: there is no libfaketime to set a clock with");
    }
    found
}

#[test]
fn a_clock_that_is_wrong_by_days_takes_nothing_away() {
    let Some(faketime) = faketime() else { return };
    let Some(lab) = Lab::enter() else { return };
    let operator = lab.operator();
    let mut courier = Courier::new("clock");
    courier.deliver(&lab);
    lab.namespace("clock-a", &json!({"trust": "clock"}));
    lab.apply(&distributed(courier.mirror("clock"), "clock", "0s"));
    lab.reason("clock", "Distributed", "Distributed");
    let text = lab.get(&config_map_path("clock-a", NAME)).unwrap()["data"].clone();
    operator.stop();
    for (offset, fresh) in [("+10d", "False"), ("-10d", "True")] {
        let wrong = lab.start_operator(&[("LD_PRELOAD", &faketime), ("FAKETIME", offset)], &[]);
        wrong.ready();
        ask_now(&lab, "clock");
        let status = lab.status("clock");
        assert_eq!(status.is("Fresh"), fresh, "{offset}: {}", status.text());
        assert_eq!(status.is("MemoryIntact"), "True", "{offset}: {}", status.text());
        assert_eq!(status.at("/adopted/digest"), &json!(courier.root()), "{offset}");
        assert_eq!(lab.get(&config_map_path("clock-a", NAME)).unwrap()["data"], text, "{offset}");
        becomes_calm(&wrong);
        wrong.stop();
    }
    let _operator = lab.operator();
    courier.refresh();
    courier.deliver(&lab);
    lab.until("it goes on by the right clock", |lab| {
        let status = lab.status("clock");
        if status.at("/roles/timestamp/version") == &json!(2) && status.is("Ready") == "True" {
            Ok(())
        } else {
            Err(status.text())
        }
    });
}

fn crd() -> Value {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("crds/trustrootmirrors.yaml");
    serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

const CRD: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/trustrootmirrors.holdfast.dev";

#[test]
fn objects_that_are_none_of_their_kind_stop_nobody_else() {
    let Some(lab) = Lab::enter() else { return };
    // As if they had been written by an older version, or while validation was off.
    let mut open = crd();
    open["spec"]["versions"][0]["schema"]["openAPIV3Schema"] =
        json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    lab.apply(&open);
    let mirror = |name: &str, spec: Value| json!({"apiVersion": "holdfast.dev/v1alpha1", "kind": "TrustRootMirror", "metadata": {"name": name}, "spec": spec});
    lab.until("anything is taken", |lab| lab.try_apply(&mirror("odd-0", json!({"source": 1}))));
    for number in 1..1000 {
        let spec = match number % 4 {
            0 => json!({"source": {"volume": {"path": 7}}}),
            1 => json!({"source": {"http": {"url": "ftp://x"}, "oci": {"ref": "x"}}}),
            2 => json!({"sources": []}),
            _ => json!({"source": {"trustedRoot": {"configMap": {"namespace": "x", "name": "y"}, "sha256": "short"}}}),
        };
        lab.apply(&mirror(&format!("odd-{number}"), spec));
    }
    // An older form: without what has a default today, with a field that is gone.
    let courier = Courier::new("older-form");
    courier.deliver(&lab);
    let mut older = courier.mirror("older-form");
    older["spec"].as_object_mut().unwrap().remove("interval");
    older["spec"]["pollEvery"] = json!("5m");
    lab.apply(&older);
    lab.apply(&crd());

    let operator = lab.operator();
    lab.within(Duration::from_secs(60), "the others are served", |lab| {
        let status = lab.status("older-form");
        if status.is("Ready") == "True" { Ok(()) } else { Err(status.text()) }
    });
    // The API server itself writes no status of what its kind does not allow.
    lab.within(Duration::from_secs(120), "of each it is said what is wrong", |lab| {
        let all = lab.call("GET", "/apis/events.k8s.io/v1/namespaces/default/events", None);
        let odd = all["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|event| event["reason"] == "SpecInvalid" && event["type"] == "Warning");
        let said: std::collections::BTreeSet<&str> = odd
            .filter_map(|event| event["regarding"]["name"].as_str())
            .filter(|name| name.starts_with("odd-"))
            .collect();
        if said.len() == 1000 {
            Ok(())
        } else {
            Err(format!("{}\n{}", said.len(), operator.said().lines().last().unwrap_or_default()))
        }
    });
    let why = lab.events("odd-4")[0]["note"].as_str().unwrap().to_owned();
    assert!(why.contains("integer `7`"), "{why}");
    // The others are read, and refused.
    operator.until_metric("holdfast_malformed_objects", &["kind=\"TrustRootMirror\""], |odd| odd == Some(750.0));
    is_calm(&operator, 10.0);
    assert_eq!(operator.ask("/healthz").0, 200);
}

#[test]
fn kinds_that_are_missing_or_go_away_are_waited_for() {
    let Some(lab) = Lab::enter() else { return };
    let courier = Courier::new("kinds");
    courier.deliver(&lab);
    lab.delete(CRD);
    lab.until("the kind is gone", |lab| if lab.get(CRD).is_none() { Ok(()) } else { Err(String::new()) });
    let operator = lab.start_operator(&[], &[]);
    lab.until("it lives, and is not ready", |_| match (operator.ask("/healthz"), operator.ask("/readyz")) {
        ((200, _), (503, text)) if text.contains("kinds") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    lab.apply(&crd());
    operator.ready();
    lab.until("the kind is served", |lab| lab.try_apply(&courier.mirror("kinds")));
    lab.reason("kinds", "Ready", "AsDeclared");

    // With the kind, everything that is declared goes, and nothing that is remembered.
    lab.delete(CRD);
    lab.until("the kind is gone", |lab| if lab.get(CRD).is_none() { Ok(()) } else { Err(String::new()) });
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(operator.ask("/healthz").0, 200);
    becomes_calm(&operator);
    lab.apply(&crd());
    lab.until("the kind is served", |lab| lab.try_apply(&courier.mirror("kinds")));
    let status = lab.reason("kinds", "Ready", "AsDeclared");
    assert_eq!(status.at("/memory/metadata/revision"), &json!(1), "it is the memory there was");
}

#[test]
fn a_mirror_that_is_deleted_while_it_is_read_leaves_nothing_half() {
    let Some(lab) = Lab::enter() else { return };
    let operator = lab.operator();
    let courier = Courier::new("vanishing");
    courier.deliver(&lab);
    lab.namespace("vanishing-a", &json!({"trust": "vanishing"}));
    lab.proxy().on(1, Fate::HoldAnswer, |asked| asked.method == "GET" && asked.path.ends_with("/tuf-vanishing"));
    lab.apply(&distributed(courier.mirror("vanishing"), "vanishing", "0s"));
    lab.until("the source is being read", |lab| if lab.proxy().met() == 1 { Ok(()) } else { Err(operator.said()) });
    lab.delete(&mirror_path("vanishing"));
    lab.proxy().release();
    is_calm(&operator, 8.0);
    // Nothing is measured of what is gone.
    operator.until_metric("holdfast_trust_root_condition", &["trust_root=\"vanishing\""], |all| all.is_none());
    // Owned by what is gone, it goes too.
    lab.until("nothing is distributed", |lab| {
        if lab.get(&config_map_path("vanishing-a", NAME)).is_none() { Ok(()) } else { Err(operator.said()) }
    });
    lab.apply(&distributed(courier.mirror("vanishing"), "vanishing", "0s"));
    lab.reason("vanishing", "Distributed", "Distributed");
}
