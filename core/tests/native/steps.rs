//! The order of writes.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_core::engines::Object;
use holdfast_core::engines::native::{Step, steps};
use serde_json::json;

use crate::vap::ApiServer;
use crate::world::{Case, case_in, digest, names, world};

/// Applies steps to what there is, and gives what there is at each settling.
fn applied(current: &[Object], wanted: &[Object]) -> Vec<Vec<Object>> {
    let mut there: BTreeMap<(String, String), Object> =
        current.iter().map(|o| ((o.kind().to_owned(), o.name().to_owned()), o.clone())).collect();
    let mut moments = Vec::new();
    for step in steps(current, wanted) {
        match step {
            Step::Write(object) => _ = there.insert((object.kind().to_owned(), object.name().to_owned()), object),
            Step::Delete { kind, name } => assert!(there.remove(&(kind, name)).is_some()),
            Step::Settle => {}
        }
        moments.push(there.values().cloned().collect());
    }
    moments
}

#[test]
fn nothing_is_written_where_nothing_changes() {
    let objects = world().render().objects;
    assert!(steps(&objects, &objects).is_empty());
}

#[test]
fn at_no_step_is_less_denied_or_a_verified_image_refused() {
    changes_over_to(0);
}

#[test]
fn nor_when_one_shard_becomes_two() {
    changes_over_to(14_500);
}

/// Promotion, a policy that goes, one that is narrowed while another takes over, and so many more digests.
fn changes_over_to(more: usize) {
    let before = world();
    let mut after = world();
    after.exceptions.clear();
    after.policies.clear();
    after.policy(
        "apps",
        &json!({"images": ["registry.corp.internal/apps/web/**"], "namespaceSelector": names(&["billing", "shop"])}),
        &["billing", "shop"],
    );
    after.policy("rest", &json!({"images": ["registry.corp.internal/apps/**", "docker.io/library/*"], "namespaceSelector": names(&["billing", "shop", "free"])}), &["billing", "shop", "free"]);
    for name in ["good", "both", "tool"] {
        after.verify("rest", digest(name));
    }
    for number in 0..more {
        after.verify("apps", digest(&format!("{number}")));
    }
    let (old, new) = (before.render().objects, after.render().objects);
    let moments = applied(&old, &new);
    let last: BTreeSet<String> = moments.last().unwrap().iter().map(|o| o.body().to_string()).collect();
    assert_eq!(last, new.iter().map(|o| o.body().to_string()).collect());
    let servers = |objects: &[Object]| ApiServer::new(objects.iter().map(Object::body));
    let (first, end) = (servers(&old), servers(&new));
    let between: Vec<ApiServer> = moments.iter().map(|moment| servers(moment)).collect();
    let pods = [
        ("billing", format!("registry.corp.internal/apps/web@{}", digest("good"))),
        ("billing", format!("registry.corp.internal/apps/tools/cli@{}", digest("both"))),
        ("billing", format!("registry.corp.internal/apps/tools/cli@{}", digest("other"))),
        ("billing", format!("registry.corp.internal/apps/web/a@{}", digest("good"))),
        ("billing", format!("nginx@{}", digest("tool"))),
        ("billing", format!("nginx@{}", digest("other"))),
        ("shop", format!("registry.corp.internal/apps/web@{}", digest("other"))),
        ("billing", format!("quay.io/any/thing@{}", digest("good"))),
        ("billing", "registry.corp.internal/apps/web:1".to_owned()),
    ];
    for (namespace, image) in pods {
        let request = Case { images: vec![image.clone()], ..case_in(namespace) }.request();
        let (was, will) = (first.review(&request).denied.is_empty(), end.review(&request).denied.is_empty());
        for (at, server) in between.iter().enumerate().filter(|_| was == will) {
            let admitted = server.review(&request).denied.is_empty();
            assert_eq!(admitted, was, "{image} in {namespace} after {at} steps");
        }
    }
}
