//! Artifacts in registries.

use std::time::Instant;

use holdfast_core::Digest;
use holdfast_testpki::base64;
use serde_json::{Value, json};

use super::server::{MANIFEST, Server, packed};
use super::{declare, fails, text, version};
use crate::chart_support::NAMESPACE;
use crate::courier::{Courier, ask_now};
use crate::lab::Lab;

/// Pushes an artifact of one layer to a real registry.
fn push(lab: &Lab, repository: &str, tag: &str, layer: &[u8]) {
    let (host, http) = (lab.registry(), reqwest::Client::builder().no_proxy().build().unwrap());
    lab.wait(async {
        let mut descriptors = Vec::new();
        for bytes in [b"{}".as_slice(), layer] {
            let digest = Digest::of(bytes);
            let begun = http.post(format!("http://{host}/v2/{repository}/blobs/uploads/")).send().await.unwrap();
            let to = begun.headers()["location"].to_str().unwrap().to_owned();
            let to = if to.starts_with('/') { format!("http://{host}{to}") } else { to };
            let put = http.put(format!("{to}?digest={digest}")).body(bytes.to_vec()).send().await.unwrap();
            assert!(put.status().is_success(), "{}", put.status());
            descriptors.push(json!({"mediaType": "application/octet-stream", "digest": digest, "size": bytes.len()}));
        }
        let manifest =
            json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": descriptors[0], "layers": [descriptors[1]]});
        let url = format!("http://{host}/v2/{repository}/manifests/{tag}");
        let put = http.put(url).header("content-type", MANIFEST).body(manifest.to_string()).send().await.unwrap();
        assert!(put.status().is_success(), "{}", put.status());
    });
}

/// The repository in an image layout in an archive, as tools that copy images write one.
fn layout(courier: &Courier) -> Vec<u8> {
    let mut files = std::collections::BTreeMap::new();
    let mut blob = |bytes: Vec<u8>| {
        let digest = Digest::of(&bytes);
        let descriptor = json!({"mediaType": MANIFEST, "digest": digest, "size": bytes.len()});
        files.insert(format!("blobs/sha256/{}", digest.hex()), bytes);
        descriptor
    };
    let layer = |mut descriptor: Value| {
        descriptor["mediaType"] = json!("application/vnd.oci.image.layer.v1.tar+gzip");
        descriptor
    };
    let (config, content) = (layer(blob(b"{}".to_vec())), layer(blob(packed(&courier.repository.files()))));
    let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [content]});
    let listed = blob(manifest.to_string().into_bytes());
    let index = json!({"schemaVersion": 2, "manifests": [listed]}).to_string().into_bytes();
    files.insert("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec());
    files.insert("index.json".to_owned(), index);
    packed(&files)
}

#[test]
fn an_artifact_of_the_clusters_registry_is_read_and_renewed() {
    let Some(lab) = Lab::enter() else { return };
    let operator = lab.operator();
    let mut courier = Courier::new("oci");
    push(&lab, "trust/root", "current", &packed(&courier.repository.files()));
    let source = json!({"oci": {"ref": format!("{}/trust/root:current", lab.registry()), "plainHttp": true}});
    declare(&lab, &courier, "oci", &source);
    version(&lab, "oci", 1);
    courier.refresh();
    push(&lab, "trust/root", "current", &packed(&courier.repository.files()));
    ask_now(&lab, "oci");
    version(&lab, "oci", 2);
    // The same, packed as an image layout.
    courier.refresh();
    push(&lab, "trust/root", "current", &layout(&courier));
    ask_now(&lab, "oci");
    version(&lab, "oci", 3);
    // A tag that is not there.
    lab.apply(&courier.mirror_from(
        "oci",
        &json!({"oci": {"ref": format!("{}/trust/root:other", lab.registry()), "plainHttp": true}}),
    ));
    let missing = fails(&lab, &operator, "oci", "SourceUnusable", "Stalled");
    assert!(missing.message("Ready").contains("there is no"), "{}", missing.text());
    lab.apply(&courier.mirror_from("oci", &source));
    version(&lab, "oci", 3);
    // Over TLS, which that registry does not speak.
    lab.apply(&courier.mirror_from("oci", &json!({"oci": {"ref": format!("{}/trust/root:current", lab.registry())}})));
    fails(&lab, &operator, "oci", "SourceUnavailable", "Reconciling");
}

#[test]
fn what_did_not_change_is_not_read_again() {
    let Some(lab) = Lab::enter() else { return };
    let operator = lab.operator();
    let server = Server::plain();
    let mut courier = Courier::new("once");
    server.push("trust/root", "current", &[packed(&courier.repository.files())]);
    declare(
        &lab,
        &courier,
        "once",
        &json!({"oci": {"ref": format!("{}/trust/root:current", server.host), "plainHttp": true}}),
    );
    version(&lab, "once", 1);
    assert_eq!((server.asked("/manifests/"), server.asked("/blobs/")), (1, 1));
    for _ in 0..3 {
        ask_now(&lab, "once");
    }
    assert_eq!((server.asked("/manifests/"), server.asked("/blobs/")), (4, 1), "the manifest alone");
    courier.refresh();
    server.push("trust/root", "current", &[packed(&courier.repository.files())]);
    ask_now(&lab, "once");
    version(&lab, "once", 2);
    assert_eq!((server.asked("/manifests/"), server.asked("/blobs/")), (5, 2));
    // Another process knows nothing of what this one read.
    operator.stop();
    let _operator = lab.operator();
    ask_now(&lab, "once");
    assert!(server.asked("/blobs/") <= 3, "{}", server.asked("/blobs/"));
    version(&lab, "once", 2);
}

#[test]
fn a_registry_over_tls_wants_an_authority_and_credentials() {
    let Some(lab) = Lab::enter() else { return };
    let operator = lab.operator();
    let server = Server::secure(Some("reader:secret"));
    let mut courier = Courier::new("guarded");
    server.push("trust/root", "current", &[packed(&courier.repository.files())]);
    let reference = format!("{}/trust/root:current", server.host);
    let bundle = json!({"name": "corp-ca", "key": "ca.crt"});
    text(&lab, "corp-ca", "ca.crt", &Server::secure(None).ca.clone().unwrap());
    declare(&lab, &courier, "guarded", &json!({"oci": {"ref": reference, "caBundleRef": bundle}}));
    let wrong = fails(&lab, &operator, "guarded", "SourceUnavailable", "Reconciling");
    assert!(wrong.message("Ready").contains("CA bundle"), "it says what to do: {}", wrong.text());
    // The right authority is noticed at once; and then the registry wants to know who asks.
    text(&lab, "corp-ca", "ca.crt", server.ca.as_deref().unwrap());
    lab.until("the registry asks for credentials", |lab| {
        let status = lab.status("guarded");
        if status.message("Ready").contains("give a pull secret") { Ok(()) } else { Err(status.text()) }
    });
    fails(&lab, &operator, "guarded", "SourceUnavailable", "Reconciling");

    let secret = |lab: &Lab, password: &str| {
        let auths = json!({"auths": {server.host.as_str(): {"auth": base64(format!("reader:{password}").as_bytes())}}});
        let object = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pull", "namespace": NAMESPACE},
            "type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": base64(auths.to_string().as_bytes())},
        });
        lab.apply(&object);
    };
    let full = json!({"oci": {"ref": reference, "caBundleRef": bundle, "pullSecretRef": {"name": "pull"}}});
    let _ = lab.try_call("DELETE", &format!("/api/v1/namespaces/{NAMESPACE}/secrets/pull"), None);
    lab.apply(&courier.mirror_from("guarded", &full));
    let absent = fails(&lab, &operator, "guarded", "SourceUnusable", "Stalled");
    assert!(absent.message("Stalled").contains("Secret holdfast-system/pull is not there"), "{}", absent.text());
    // Secrets are not watched, so that no list of them is asked for: one that comes is taken up at the next interval, or when somebody asks.
    secret(&lab, "wrong");
    ask_now(&lab, "guarded");
    let refused = fails(&lab, &operator, "guarded", "SourceUnavailable", "Reconciling");
    assert!(refused.message("Ready").contains("check the pull secret"), "{}", refused.text());
    assert!(!refused.text().contains("secret:") && !operator.says("cmVhZGVy"), "no credentials are printed");
    secret(&lab, "secret");
    let start = Instant::now();
    version(&lab, "guarded", 1);
    println!("a corrected secret was taken up after {:?}", start.elapsed());
    courier.refresh();
    server.push("trust/root", "current", &[packed(&courier.repository.files())]);
    ask_now(&lab, "guarded");
    version(&lab, "guarded", 2);
}
