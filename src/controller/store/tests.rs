//! What comes back from a write.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Request, Response};
use kube::client::Body;
use serde_json::{Value, json};

use super::*;

/// An API server that merges something into what is written; and how often something was.
fn altering(with: Value) -> (Store, Arc<AtomicUsize>) {
    let written = Arc::new(AtomicUsize::new(0));
    let counted = written.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let (with, counted) = (with.clone(), counted.clone());
        async move {
            counted.fetch_add(1, Ordering::Relaxed);
            let body = request.into_body().collect_bytes().await.unwrap();
            let mut object: Value = serde_json::from_slice(&body).unwrap();
            for (part, fields) in with.as_object().unwrap() {
                let part = object[part].as_object_mut().unwrap();
                part.extend(fields.as_object().unwrap().clone());
            }
            Ok::<_, Infallible>(Response::new(Body::from(object.to_string().into_bytes())))
        }
    });
    (Store::new(Client::new(service, "holdfast-system"), "holdfast-system"), written)
}

#[tokio::test]
async fn what_comes_back_as_something_else_is_not_believed_and_not_written_in_a_rush() {
    let nothing = json!({"metadata": {"uid": "1", "resourceVersion": "7", "annotations": {"a": "b"}}});
    let more = json!({"metadata": {"labels": {MANAGED_BY: "holdfast", MEMORY: "policy", "team": "platform"}}});
    let labels = json!({"metadata": {"labels": {MEMORY: "other"}}});
    let cases = [(nothing, true), (more, true), (json!({"data": {TEXT: "{}"}}), false), (labels, false)];
    for (with, is_taken) in cases {
        let (store, written) = altering(with.clone());
        let (labels, document) = ([(MEMORY, "policy")], json!({"a": 1}));
        let write = || store.write_document("holdfast-policy-apps", &labels, None, &document);
        let Err(failed) = write().await else {
            assert!(is_taken, "{with}");
            continue;
        };
        assert!(!is_taken && failed.to_string().contains("ConfigMap `holdfast-policy-apps` comes back"), "{failed}");
        assert!(matches!(write().await, Err(Failed::Altered { .. })));
        assert_eq!(written.load(Ordering::Relaxed), 1);
    }
}
