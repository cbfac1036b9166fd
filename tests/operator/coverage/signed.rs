//! Images that the real cosign signed against a private Sigstore.

use serde_json::json;

use super::shop::{Shop, of_reason};
use crate::chart_support::NAMESPACE;
use crate::lab::Lab;
use crate::registry_support::Registry;
use crate::sigstore_support::Sigstore;

#[test]
fn what_cosign_signed_is_covered_and_what_it_did_not_is_not() {
    let Some(lab) = Lab::enter() else { return };
    let (Some(registry), Some(sigstore)) = (Registry::plain(true), Sigstore::up()) else { return };
    let shop = Shop::open(&lab, registry);
    let root = sigstore.trusted_root();
    lab.apply(&json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "private-root", "namespace": NAMESPACE},
        "data": {"trusted_root.json": root},
    }));
    lab.apply(&json!({
        "apiVersion": "holdfast.dev/v1alpha1", "kind": "TrustRootMirror", "metadata": {"name": "private"},
        "spec": {"source": {"trustedRoot": {
            "configMap": {"namespace": NAMESPACE, "name": "private-root"},
            "sha256": holdfast_core::Digest::of(root.as_bytes()).hex(),
        }}},
    }));
    let host = shop.registry.host().to_owned();
    shop.policy(
        "apps",
        &json!({
            "images": [format!("{host}/**")], "trustRoots": ["private"],
            "identities": [{"name": "dev", "issuer": sigstore.issuer(), "subject": "dev@corp.example"}],
            "require": {"transparencyLog": true, "signedTimestamp": true, "sct": true},
        }),
    );
    for name in ["good", "other", "bare"] {
        let digest = shop.registry.push_image(&format!("apps/{name}"), "1", name.as_bytes());
        let image = shop.registry.image(&format!("apps/{name}"), digest);
        match name {
            "good" => sigstore.sign(&image, "dev@corp.example"),
            "other" => sigstore.sign(&image, "somebody@corp.example"),
            _ => {}
        }
        shop.pod(name, &image);
    }
    let _operator = lab.operator();
    shop.report(&json!({"registries": [{"prefix": host, "plainHttp": true}]}));
    let status = shop.until(1, 2, 0);
    assert_eq!((of_reason(&status, "IdentityMismatch"), of_reason(&status, "MissingBundle")), (1, 1));
}
