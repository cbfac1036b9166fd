//! Every rule of the API says yes to what is meant and no to what is not, in words that help, without an API server.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::needless_pass_by_value)] // a test that cannot go on fails

use holdfast_core::api::crds;
use holdfast_core::api::strict::{ApiError, Object, decode};
use serde_json::{Value, json};

fn object(kind: &str, spec: Value) -> Value {
    json!({"apiVersion": "holdfast.dev/v1alpha1", "kind": kind, "metadata": {"name": "x"}, "spec": spec})
}

fn mirror() -> Value {
    object(
        "TrustRootMirror",
        json!({
            "source": {"http": {"url": "https://mirror.corp.internal/tuf/"}},
            "bootstrap": {"rootSHA256": "f".repeat(64), "configMap": {"namespace": "holdfast-system", "name": "bootstrap", "key": "root.json"}},
        }),
    )
}

fn policy() -> Value {
    object(
        "SigningIdentityPolicy",
        json!({
            "images": ["registry.corp.internal/apps/**"],
            "trustRoots": ["corp"],
            "identities": [{"name": "web", "issuer": "https://issuer.example", "subject": "https://ci.example/web"}],
        }),
    )
}

fn report() -> Value {
    object("BundleCoverageReport", json!({"registries": [{"prefix": "registry.corp.internal"}]}))
}

fn break_glass() -> Value {
    object(
        "TrustBreakGlass",
        json!({
            "reason": "INC-4711", "requestedBy": "alice", "until": "2026-11-25T06:00:00Z", "loosen": {"acceptStale": {"trustRoot": "corp"}},
        }),
    )
}

fn approval() -> Value {
    object(
        "TrustApproval",
        json!({
            "approver": "bob", "for": {"kind": "TrustBreakGlass", "name": "inc", "digest": format!("sha256:{}", "0".repeat(64))},
        }),
    )
}

fn with(mut document: Value, pointer: &str, value: Value) -> Value {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = document.pointer_mut(parent).unwrap_or_else(|| panic!("{pointer}"));
    match name.parse::<usize>() {
        Ok(index) => parent[index] = value,
        Err(_) => parent[name] = value,
    }
    document
}

fn without(mut document: Value, pointer: &str) -> Value {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    document.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name).unwrap();
    document
}

#[test]
fn what_is_meant_is_accepted_and_defaults_are_filled_in() {
    for document in [mirror(), policy(), report(), break_glass(), approval()] {
        decode(&document).unwrap_or_else(|e| panic!("{document}: {e:?}"));
    }
    let oci = json!({
        "ref": "r.corp.internal/x", "tokenUrl": "https://auth.corp.internal/token",
        "redirectHosts": ["s3.corp.internal", "10.0.0.7:9000"], "plainHttp": true,
    });
    decode(&with(mirror(), "/spec/source", json!({"oci": oci}))).unwrap();
    let Object::SigningIdentityPolicy(policy) = decode(&policy()).unwrap() else { panic!("another kind") };
    assert!(policy.spec.require.transparency_log && policy.spec.require.sct);
    assert_eq!(policy.spec.enforcement.minimum_coverage, 100);
    assert_eq!(policy.spec.enforcement.soak.to_string(), "72h");
    let Object::TrustRootMirror(mirror) = decode(&mirror()).unwrap() else { panic!("another kind") };
    assert_eq!(mirror.spec.interval.to_string(), "10m");
    assert_eq!(mirror.spec.freshness.warn_before.to_string(), "336h");
}

#[test]
fn every_rule_refuses_in_words_that_help() {
    let key = |name: &str| json!({"name": name, "key": {"pem": "-----BEGIN PUBLIC KEY-----"}});
    let oci =
        |field: &str, value| with(mirror(), "/spec/source", json!({"oci": {"ref": "r.corp.internal/x", field: value}}));
    for (document, words) in [
        (with(mirror(), "/spec/source/volume", json!({"path": "/mirror"})), "exactly one of oci"),
        (with(mirror(), "/spec/source", json!({})), "exactly one of oci"),
        (without(mirror(), "/spec/bootstrap"), "needs `bootstrap`"),
        (
            with(mirror(), "/spec/source", json!({"keys": {"publicKeys": [{"name": "a", "publicKey": "x"}]}})),
            "trustedRoot and keys have none",
        ),
        (with(mirror(), "/spec/source", json!({"volume": {"path": "mirror"}})), "absolute"),
        (with(mirror(), "/spec/source", json!({"volume": {"path": "/a/../b"}})), "no `..`"),
        (with(mirror(), "/spec/source/http/url", json!("ftp://x")), "starts with https://"),
        (with(mirror(), "/spec/source/http/url", json!("https://a:b@x")), "credentials"),
        (with(mirror(), "/spec/source", json!({"oci": {"ref": "https://registry/x"}})), "without https://"),
        (oci("tokenUrl", json!("auth.corp.internal/token")), "`tokenUrl` starts with https://"),
        (oci("tokenUrl", json!("https://a:b@auth.corp.internal/token")), "belong into pull secrets"),
        (oci("tokenUrl", json!("https://auth.corp.internal/token?service=x")), "without credentials, query"),
        (oci("redirectHosts", json!(["https://s3.corp.internal"])), "neither addresses nor patterns"),
        (oci("redirectHosts", json!(["*.corp.internal"])), "neither addresses nor patterns"),
        (oci("redirectHosts", json!(vec!["s3.corp.internal"; 9])), "8"),
        (with(mirror(), "/spec/interval", json!("10s")), "at least 1m"),
        (with(mirror(), "/spec/freshness", json!({"grace": "337h"})), "at most 336h"),
        (with(mirror(), "/spec/freshness", json!({"grace": "14d"})), "days are written in hours"),
        (with(mirror(), "/spec/bootstrap/rootSHA256", json!("F".repeat(64))), "64 lower-case hex digits"),
        (with(mirror(), "/metadata/name", json!("x".repeat(64))), "at most 63"),
        (with(policy(), "/spec/images", json!([])), "at least 1"),
        (with(policy(), "/spec/images", json!(["**"])), "never a wildcard"),
        (with(policy(), "/spec/images", json!(["https://registry/x"])), "no https://"),
        (with(policy(), "/spec/images", json!(["docker.io/nginx"])), "write `docker.io/library/nginx`"),
        (with(policy(), "/spec/images", json!(["r.corp/**", "Holdfast-Canary.invalid.:443/**"])), "which are nobody's"),
        (
            with(
                policy(),
                "/spec/exemptImages",
                json!([{"image": format!("holdfast-canary.invalid/canary@sha256:{}", "0".repeat(64)), "reason": "y"}]),
            ),
            "which are nobody's",
        ),
        (with(policy(), "/spec/images", json!(["index.docker.io/*"])), "write `docker.io/library/nginx`"),
        (with(policy(), "/spec/trustRoots", json!([])), "names at least one TrustRootMirror"),
        (without(policy(), "/spec/identities/0/issuer"), "give `issuer`"),
        (without(policy(), "/spec/identities/0/subject"), "exactly one of `subject` and `subjectRegExp`"),
        (
            with(policy(), "/spec/identities/0/subjectRegExp", json!("a.*")),
            "exactly one of `subject` and `subjectRegExp`",
        ),
        (with(policy(), "/spec/identities/0/key", json!({"pem": "x"})), "give `issuer`"),
        (with(policy(), "/spec/identities/0", json!({"name": "k", "key": {}})), "exactly one of `secretRef` and `pem`"),
        (with(policy(), "/spec/identities", json!([key("a"), key("a")])), "a name of its own"),
        (with(policy(), "/spec/exemptImages", json!([{"image": "registry/x:1", "reason": "y"}])), "named by digest"),
        (with(policy(), "/spec/enforcement", json!({"minimumCoverage": 101})), "from 0 to 100"),
        (with(policy(), "/spec/enforcement", json!({"waves": [{"name": "a"}, {"name": "a"}]})), "a name of its own"),
        (
            with(policy(), "/spec/namespaceSelector", json!({"matchExpressions": [{"key": "a", "operator": "In"}]})),
            "In and NotIn",
        ),
        (with(policy(), "/spec/otherImages", json!("Maybe")), "is one of `Deny`, `Allow`"),
        (with(report(), "/spec/registries/0/prefix", json!("https://x")), "without https://"),
        (with(report(), "/spec/registries", json!([{"prefix": "a"}, {"prefix": "a"}])), "declared once"),
        (with(report(), "/spec/registries/0/maxInFlight", json!(0)), "from 1 to 64"),
        (with(break_glass(), "/spec/loosen", json!({})), "exactly one of acceptStale"),
        (with(break_glass(), "/spec/until", json!("tomorrow")), "is a time as"),
        (with(approval(), "/spec/for/kind", json!("Pod")), "TrustRootMirror, SigningIdentityPolicy or TrustBreakGlass"),
        (with(approval(), "/spec/for/digest", json!("sha256:abc")), "64 lower-case hex digits"),
    ] {
        let errors = decode(&document).expect_err(words);
        let said: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert!(said.iter().any(|text| text.contains(words)), "{words}: {said:?}");
    }
}

#[test]
fn keys_need_no_trust_root() {
    let document = with(policy(), "/spec/identities", json!([{"name": "k", "key": {"pem": "x"}}]));
    decode(&without(document, "/spec/trustRoots")).unwrap();
}

#[test]
fn an_unknown_field_is_named_with_the_nearest_known_one() {
    let document = with(policy(), "/spec/identities/0/subjectRegexp", json!("a"));
    let errors = decode(&document).unwrap_err();
    assert_eq!(
        errors,
        [ApiError::UnknownField {
            path: "spec.identities[0].subjectRegexp".to_owned(),
            nearest: Some("subjectRegExp".to_owned())
        }]
    );
    let errors = decode(&with(mirror(), "/spec/wholly", json!(1))).unwrap_err();
    assert_eq!(errors, [ApiError::UnknownField { path: "spec.wholly".to_owned(), nearest: None }]);
    let misspelt = json!({"apiVersion": "holdfast.dev/v1alpha1", "kind": "TrustRootMirror", "metadata": {"name": "x"}, "sepc": {}});
    assert!(decode(&misspelt).unwrap_err().iter().any(|e| e.to_string().contains("did you mean `spec`")));
}

#[test]
fn other_kinds_and_versions_are_named() {
    for (pointer, value) in [("/kind", "TrustRoot"), ("/apiVersion", "holdfast.dev/v1"), ("/kind", "")] {
        let errors = decode(&with(mirror(), pointer, json!(value))).unwrap_err();
        assert!(matches!(errors[..], [ApiError::UnknownKind { .. }]), "{errors:?}");
    }
}

#[test]
fn wrong_types_are_named_with_their_place() {
    let errors = decode(&with(policy(), "/spec/images", json!("one"))).unwrap_err();
    assert_eq!(errors[0].to_string(), "`spec.images` is a list, and text was given");
    let errors = decode(&json!({"apiVersion": "holdfast.dev/v1alpha1", "kind": "TrustRootMirror", "metadata": {"name": "x"}, "spec": 3})).unwrap_err();
    assert_eq!(errors[0].to_string(), "`spec` is a mapping, and a number was given");
}

#[test]
fn immutable_kinds_refuse_any_change() {
    let read = |document: &Value| decode(document).unwrap();
    let (Object::TrustBreakGlass(old), Object::TrustBreakGlass(new)) =
        (read(&break_glass()), read(&with(break_glass(), "/spec/reason", json!("another"))))
    else {
        panic!("another kind")
    };
    assert!(old.validate_cel_update(&old).is_ok());
    assert!(new.validate_cel_update(&old).unwrap_err().to_string().contains("never changed"));
    let (Object::TrustApproval(old), Object::TrustApproval(new)) =
        (read(&approval()), read(&with(approval(), "/spec/approver", json!("eve"))))
    else {
        panic!("another kind")
    };
    assert!(new.validate_cel_update(&old).unwrap_err().to_string().contains("never changed"));
}

/// An unbounded list or string makes the API server refuse a rule for its estimated cost, and etcd grow.
#[test]
fn everything_a_user_writes_is_bounded_and_every_rule_has_words() {
    fn walk(schema: &Value, path: &str, faults: &mut Vec<String>) {
        let has = |name: &str| schema.get(name).is_some();
        match schema.get("type").and_then(Value::as_str) {
            Some("array") if !has("maxItems") => faults.push(format!("{path}: no maxItems")),
            Some("string") if !has("maxLength") && !has("enum") && !has("pattern") && !path.contains("matchLabels") => {
                faults.push(format!("{path}: no bound"));
            }
            Some("object")
                if !has("properties")
                    && !has("additionalProperties")
                    && schema.get("x-kubernetes-preserve-unknown-fields").is_some() =>
            {
                faults.push(format!("{path}: keeps unknown fields"));
            }
            _ => {}
        }
        for rule in schema.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten() {
            if rule.get("message").and_then(Value::as_str).is_none_or(str::is_empty) {
                faults.push(format!("{path}: a rule without words"));
            }
        }
        for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            walk(property, &format!("{path}.{name}"), faults);
        }
        if let Some(items) = schema.get("items") {
            walk(items, &format!("{path}[]"), faults);
        }
    }
    // An API server warns of every other one, each time the definitions are applied.
    fn formats(schema: &Value, path: &str, faults: &mut Vec<String>) {
        match schema {
            Value::Object(fields) => {
                if let Some(format) = fields.get("format").and_then(Value::as_str)
                    && !["int32", "int64", "double", "date-time"].contains(&format)
                {
                    faults.push(format!("{path}: no API server knows the format {format}"));
                }
                fields.iter().for_each(|(name, field)| formats(field, &format!("{path}.{name}"), faults));
            }
            Value::Array(items) => items.iter().for_each(|item| formats(item, path, faults)),
            _ => {}
        }
    }
    for crd in crds() {
        let version = &crd.spec.versions[0];
        let schema =
            serde_json::to_value(version.schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap()).unwrap();
        let mut faults = Vec::new();
        walk(&schema["properties"]["spec"], &crd.spec.names.kind, &mut faults);
        formats(&schema, &crd.spec.names.kind, &mut faults);
        assert_eq!(faults, Vec::<String>::new());
        assert_eq!(crd.spec.scope, "Cluster");
        // Parameters of admission policies are not something a person looks at.
        let category = (crd.spec.names.kind != "VerifiedImages").then(|| vec!["holdfast".to_owned()]);
        assert_eq!(crd.spec.names.categories, category);
    }
}
