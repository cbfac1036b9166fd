//! The pods: restricted, and told what the values say.

use serde_json::{Value, json};

use crate::CASES;
use crate::chart_support::{helm, named, of_kind, rendered};

#[test]
fn pods_keep_to_the_restricted_standard() {
    let Some(helm) = helm() else { return };
    for case in CASES {
        let objects = rendered(&helm, case);
        let deployments = of_kind(&objects, "Deployment");
        assert_eq!(deployments.len(), 1, "{case}");
        let pod = &deployments[0]["spec"]["template"]["spec"];
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{case}");
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault", "{case}");
        for field in ["hostNetwork", "hostPID", "hostIPC"] {
            assert!(pod[field].is_null(), "{case}: {field}");
        }
        for container in pod["containers"].as_array().unwrap() {
            let context = &container["securityContext"];
            assert_eq!(context["allowPrivilegeEscalation"], false, "{case}");
            assert_eq!(context["readOnlyRootFilesystem"], true, "{case}");
            assert_eq!(context["capabilities"], json!({"drop": ["ALL"]}), "{case}");
            assert_eq!(context["seccompProfile"]["type"], "RuntimeDefault", "{case}");
            let (requests, limits) = (&container["resources"]["requests"], &container["resources"]["limits"]);
            assert_eq!(requests["memory"], limits["memory"], "{case}");
            assert!(limits["cpu"].is_null(), "{case}");
            assert_eq!(container["livenessProbe"]["httpGet"]["path"], "/healthz", "{case}");
            assert_eq!(container["readinessProbe"]["httpGet"]["path"], "/readyz", "{case}");
        }
        assert_eq!(pod["terminationGracePeriodSeconds"], 10, "{case}");
    }
}

#[test]
fn the_account_is_mounted_by_the_pod_alone() {
    let Some(helm) = helm() else { return };
    let objects = rendered(&helm, "minimal");
    assert_eq!(named(&objects, "ServiceAccount", "holdfast")["automountServiceAccountToken"], false);
    let pod = &named(&objects, "Deployment", "holdfast")["spec"]["template"]["spec"];
    assert_eq!(pod["automountServiceAccountToken"], true);
    assert_eq!(pod["serviceAccountName"], "holdfast");
}

fn image(objects: &[Value], deployment: &str) -> Value {
    named(objects, "Deployment", deployment)["spec"]["template"]["spec"]["containers"][0]["image"].clone()
}

#[test]
fn images_are_named_by_registry_and_by_digest_or_tag() {
    let Some(helm) = helm() else { return };
    let digest = format!("sha256:{}", "1".repeat(64));
    assert_eq!(image(&rendered(&helm, "minimal"), "holdfast"), "registry.corp.internal/holdfast:0.1.0");
    let pinned = rendered(&helm, "pinned");
    assert_eq!(image(&pinned, "holdfast"), format!("registry.corp.internal:5000/mirror/holdfast@{digest}"));
    assert_eq!(
        image(&rendered(&helm, "everything"), "holdfast"),
        format!("registry.corp.internal/holdfast:v0.1.0@{digest}")
    );
    let pod = &named(&pinned, "Deployment", "holdfast")["spec"]["template"]["spec"];
    assert_eq!(pod["imagePullSecrets"], json!([{"name": "corp"}, {"name": "team"}]));
}

#[test]
fn settings_are_given_as_a_file() {
    let Some(helm) = helm() else { return };
    let config = |case: &str, name: &str| -> Value {
        let objects = rendered(&helm, case);
        let text = named(&objects, "ConfigMap", name)["data"]["config.yaml"].as_str().unwrap().to_owned();
        serde_saphyr::from_str(&text).unwrap()
    };
    assert_eq!(
        config("everything", "holdfast-config"),
        json!({
            "serviceAccount": "trust-operator", "listen": "[::]:9090", "logFormat": "text", "logLevel": "info,holdfast=debug", "leaseName": "trust",
            "distributionNames": ["corp-trusted-root", "sigstore-trusted-root"],
            "sourceNamespaces": ["courier", "holdfast-system", "trust-sources"],
            "approvingServiceAccounts": ["system:serviceaccount:courier:robot", "system:serviceaccount:gitops:flux"],
            "releaseDigests": [format!("sha256:{}", "1".repeat(64))],
            "evidenceDir": "/var/lib/holdfast/evidence", "evidenceMebibytes": 256,
        })
    );
    assert_eq!(
        config("bare", "trust-config"),
        json!({
            "serviceAccount": "shared", "listen": "0.0.0.0:8080", "logFormat": "json", "logLevel": "info", "leaseName": "holdfast-controller",
            "distributionNames": [], "sourceNamespaces": [], "approvingServiceAccounts": [], "releaseDigests": [],
            "evidenceDir": "/var/lib/holdfast/evidence", "evidenceMebibytes": 256,
        })
    );
}

/// What is not ready is what one wants to see the metrics of.
#[test]
fn metrics_are_read_of_what_is_not_ready() {
    let Some(helm) = helm() else { return };
    let objects = rendered(&helm, "everything");
    let service = named(&objects, "Service", "holdfast");
    assert_eq!(service["spec"]["publishNotReadyAddresses"], true);
    assert_eq!(service["spec"]["ports"][0]["port"], 9090);
}
