//! Trust without TUF: a bare trusted root, and keys one by one.

use holdfast_core::Digest;
use holdfast_testpki::{Authority, Key, Sigstore, Validity, pem};
use serde_json::{Value, json};

use super::{fails, forget, text, warned};
use crate::chart_support::NAMESPACE;
use crate::lab::{Lab, mirror_path};

fn mirror(name: &str, source: &Value) -> Value {
    json!({
        "apiVersion": "holdfast.dev/v1alpha1", "kind": "TrustRootMirror", "metadata": {"name": name},
        "spec": {"source": source, "interval": "1m"},
    })
}

#[test]
fn a_bare_trusted_root_is_in_force_by_its_digest() {
    let Some(lab) = Lab::enter() else { return };
    let operator = lab.operator();
    let root = Sigstore::new().trusted_root().to_string();
    let digest = Digest::of(root.as_bytes());
    let source = |digest: Digest| json!({"trustedRoot": {"configMap": {"namespace": NAMESPACE, "name": "bare", "key": "root"}, "sha256": digest.hex()}});
    lab.apply(&mirror("bare", &source(Digest::of(b"another"))));
    fails(&lab, &operator, "bare", "SourceUnusable", "Stalled");
    text(&lab, "bare", "root", &root);
    let refused = fails(&lab, &operator, "bare", "SourceUnacceptable", "");
    let message = refused.message("Ready");
    assert!(
        message.contains(&digest.to_string()) && message.contains("is declared"),
        "it says what is there: {message}"
    );

    lab.apply(&mirror("bare", &source(digest)));
    let good = lab.reason("bare", "Ready", "AsDeclared");
    assert_eq!(good.at("/adopted/digest"), &json!(digest));
    assert_eq!((good.is("Fresh"), good.reason("Fresh")), ("Unknown", "WithoutTuf"), "{}", good.text());

    // Somebody changes the file: it is not what was declared.
    text(&lab, "bare", "root", &Sigstore::new().trusted_root().to_string());
    let changed = fails(&lab, &operator, "bare", "SourceUnacceptable", "");
    assert_eq!(changed.at("/adopted/digest"), &json!(digest));
    // A renewal: file and digest. Whoever may write `source` may let key material in: the guards ask that of them, so nobody is asked again.
    let next = Sigstore::new().trusted_root().to_string();
    let next_digest = Digest::of(next.as_bytes());
    text(&lab, "bare", "root", &next);
    lab.apply(&mirror("bare", &source(next_digest)));
    let renewed = lab.reason("bare", "Ready", "AsDeclared");
    assert_eq!(renewed.at("/adopted/digest"), &json!(next_digest), "{}", renewed.text());
    assert_eq!(renewed.at("/adopted/approvedBy"), &json!("the mirror's declaration"));
    // What is in force outlives its file.
    forget(&lab, "bare");
    let gone = fails(&lab, &operator, "bare", "SourceUnusable", "Stalled");
    assert_eq!(gone.at("/adopted/digest"), &json!(next_digest));
}

#[test]
fn keys_are_in_force_as_they_are_declared() {
    let Some(lab) = Lab::enter() else { return };
    let operator = lab.operator();
    let validity = Validity { from: jiff::Timestamp::UNIX_EPOCH, until: "2049-01-01T00:00:00Z".parse().unwrap() };
    let authority = Authority::for_timestamps("corp", validity);
    let chain: String = authority.chain.iter().map(|certificate| pem("CERTIFICATE", certificate)).collect();
    let keys = |log: &str| {
        json!({"keys": {
            "transparencyLogs": [{"publicKey": log, "baseUrl": "https://log.corp.internal"}],
            "timestampAuthorities": [{"certificateChain": chain}],
            "publicKeys": [{"name": "vendor", "publicKey": Key::p256().pem()}],
        }})
    };
    lab.apply(&mirror("keys", &keys("no key")));
    let refused = fails(&lab, &operator, "keys", "SpecInvalid", "Stalled");
    assert!(refused.message("Ready").contains("source.keys.transparencyLogs[0]"), "{}", refused.text());
    warned(&lab, "keys", "SpecInvalid");
    let declared = keys(&Key::p256().pem());
    lab.apply(&mirror("keys", &declared));
    let good = lab.reason("keys", "Ready", "AsDeclared");
    let digest = good.at("/adopted/digest").clone();
    lab.apply(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "erin-edits"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "holdfast-edit"},
        "subjects": [{"kind": "User", "name": "erin", "apiGroup": "rbac.authorization.k8s.io"}],
    }));
    // Others: by whoever may write `source`, and by nobody else.
    let others = keys(&Key::p256().pem());
    lab.until("somebody without the verb may not", |lab| {
        let change = json!({"spec": {"source": others}});
        match lab.call_as("erin", "PATCH", &mirror_path("keys"), &change) {
            Err(error) if error.contains("`source` is where key material comes from") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    lab.patch(&mirror_path("keys"), &json!({"spec": {"source": others}}));
    lab.until("other keys are in force", |lab| {
        let status = lab.status("keys");
        if status.at("/adopted/digest") == &digest { Err(status.text()) } else { Ok(()) }
    });
    assert_eq!(lab.status("keys").at("/adopted/approvedBy"), &json!("the mirror's declaration"));
}
