//! Registries that want to know who asks, from whom, and over TLS.

use serde_json::{Value, json};

use super::shop::{ISSUER, SUBJECT, of_reason};
use crate::chart_support::NAMESPACE;
use crate::lab::Lab;
use crate::registry_support::Registry;
use holdfast_core::Digest;
use holdfast_testpki::{Recipe, SIGNATURE_PREDICATE, Sigstore};

/// What a registry is asked with, in holdfast's namespace.
fn declare(lab: &Lab, registry: &Registry, more: &Value) -> Value {
    lab.apply(&json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "corp-ca", "namespace": NAMESPACE},
        "data": {"ca.crt": registry.ca().unwrap()},
    }));
    let mut declared = json!({"prefix": registry.host(), "caBundleRef": {"name": "corp-ca", "key": "ca.crt"}});
    for (key, value) in more.as_object().into_iter().flatten() {
        declared[key] = value.clone();
    }
    if let Some(url) = registry.token_url() {
        declared["tokenUrl"] = json!(url);
    }
    json!([declared])
}

fn secret(lab: &Lab, namespace: &str, name: &str, config: &str) {
    let _ = lab.try_call("DELETE", &format!("/api/v1/namespaces/{namespace}/secrets/{name}"), None);
    lab.apply(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace},
        "type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": config},
    }));
}

fn signed(sigstore: &Sigstore, registry: &Registry) -> (String, Digest) {
    let digest = registry.push_image("apps/good", "1", b"good");
    let manifest = registry.manifest("apps/good", &digest.to_string()).unwrap();
    let bundle = sigstore.bundle(&manifest, &Recipe::image(SUBJECT, ISSUER)).to_string();
    registry.attach("apps/good", digest, bundle.as_bytes(), SIGNATURE_PREDICATE);
    (registry.image("apps/good", digest), digest)
}

#[test]
fn passwords_tokens_and_private_authorities_are_used_and_changed() {
    let Some(lab) = Lab::enter() else { return };
    for registry in [Registry::with_auth_and_tls(), Registry::with_tokens()] {
        let Some(registry) = registry else { return };
        let shop = super::shop::Shop::open(&lab, registry);
        shop.policy("apps", &json!({"images": [format!("{}/**", shop.registry.host())]}));
        let (image, _) = signed(&shop.sigstore, &shop.registry);
        shop.pod("good", &image);
        let operator = lab.operator();
        // Without anything.
        shop.report(&json!({"registries": declare(&lab, &shop.registry, &json!({}))}));
        let status = shop.until(0, 0, 1);
        assert_eq!(of_reason(&status, "Unauthorized"), 1, "{}", status.text());
        assert!(status.message("Complete").contains("pull secret"), "{}", status.text());
        // With a secret that is not there, that is wrong, and that is right: what changed is read at the next look.
        let with_secret = declare(&lab, &shop.registry, &json!({"pullSecretRef": {"name": "registry"}}));
        shop.report(&json!({"registries": with_secret}));
        lab.until("the absent secret is named", |_| {
            let status = shop.status();
            let message = status.message("Complete");
            if message.contains("Secret holdfast-system/registry") { Ok(()) } else { Err(status.text()) }
        });
        let right = shop.registry.docker_config().unwrap();
        let wrong = right.replace("auth\": \"", "auth\": \"eDp5\", \"x\": \"");
        secret(&lab, NAMESPACE, "registry", &wrong);
        shop.scan_now("wrong");
        lab.until("the wrong secret is refused", |_| {
            let status = shop.status();
            if status.message("Complete").contains("check the pull secret") { Ok(()) } else { Err(status.text()) }
        });
        secret(&lab, NAMESPACE, "registry", &right);
        shop.scan_now("right");
        shop.until(1, 0, 0);
        // Another authority is not theirs.
        lab.patch(
            &format!("/api/v1/namespaces/{NAMESPACE}/configmaps/corp-ca"),
            &json!({"data": {"ca.crt": holdfast_testpki_ca()}}),
        );
        shop.scan_now("another authority");
        let status = shop.until(0, 0, 1);
        assert!(status.message("Complete").contains("CA bundle"), "{}", status.text());
        let _ = lab.try_call("DELETE", &format!("/api/v1/namespaces/{NAMESPACE}/secrets/registry"), None);
        drop(operator);
        lab.clear();
    }
}

/// The certificate of an authority that vouches for nobody here.
fn holdfast_testpki_ca() -> String {
    let root = Sigstore::new().trusted_root();
    let der = root.pointer("/certificateAuthorities/0/certChain/certificates/0/rawBytes").unwrap();
    let text = der.as_str().unwrap();
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

#[test]
fn pods_own_secrets_are_used_where_that_is_declared_and_allowed() {
    let Some(lab) = Lab::enter() else { return };
    let Some(registry) = Registry::with_auth_and_tls() else { return };
    let shop = super::shop::Shop::open(&lab, registry);
    shop.policy("apps", &json!({"images": [format!("{}/**", shop.registry.host())]}));
    let (image, _) = signed(&shop.sigstore, &shop.registry);
    secret(&lab, "shop", "pull", &shop.registry.docker_config().unwrap());
    shop.pod_of(
        "good",
        &json!({"imagePullSecrets": [{"name": "pull"}], "containers": [{"name": "main", "image": image}]}),
    );
    let _operator = lab.operator();
    shop.report(&json!({"registries": declare(&lab, &shop.registry, &json!({"usePodPullSecrets": true}))}));
    let status = shop.until(0, 0, 1);
    assert_eq!(of_reason(&status, "Unauthorized"), 1, "without the right to read it");
    let rule = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "pull-secrets"},
        "rules": [{"apiGroups": [""], "resources": ["secrets", "serviceaccounts"], "verbs": ["get"]}],
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "pull-secrets"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "pull-secrets"},
        "subjects": [{"kind": "ServiceAccount", "name": "holdfast", "namespace": NAMESPACE}],
    });
    lab.apply(&rule);
    lab.apply(&binding);
    std::thread::sleep(std::time::Duration::from_secs(1));
    shop.scan_now("with the right");
    shop.until(1, 0, 0);
    // Declared again without: nobody reads them.
    shop.report(&json!({"registries": declare(&lab, &shop.registry, &json!({"usePodPullSecrets": false}))}));
    shop.until(0, 0, 1);
    lab.delete("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/pull-secrets");
    lab.delete("/apis/rbac.authorization.k8s.io/v1/clusterroles/pull-secrets");
}
