//! Every right the chart gives is used, and no other is asked for.
//!
//! What the operator asks in a run through everything it does is written down. Each of its requests is then held against the rules the chart renders: one
//! that no rule allows was refused, and a rule that allows none is one too many. Then each verb of each rule is taken away on the API server itself, which has
//! to say of a request that was made that it may not be made any more.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::chart_support::NAMESPACE;
use crate::courier::{Courier, approve, ask_now, distributed};
use crate::coverage::published::every_kind;
use crate::enforce::estate::Estate;
use crate::engines::every_engine;
use crate::lab::{HOLDFAST, Lab, NAME, SOURCES, config_map_path, mirror_path};
use crate::proxy::{Asked, Fate};
use crate::registry_support::Registry;
use crate::subjects::everybody;
use holdfast::inventory::live::Kind;

/// What RBAC sees of a request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Attributes {
    verb: String,
    group: String,
    resource: String,
    name: String,
    namespace: String,
}

impl Attributes {
    /// As the API server reads a request; nothing where it is about no resource.
    fn of(asked: &Asked) -> Vec<Self> {
        let parts: Vec<&str> = asked.path.trim_matches('/').split('/').collect();
        let (group, rest) = match parts.as_slice() {
            ["api", "v1", rest @ ..] => (String::new(), rest),
            ["apis", group, _, rest @ ..] => ((*group).to_owned(), rest),
            _ => return Vec::new(),
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => ((*namespace).to_owned(), rest),
            rest => (String::new(), rest),
        };
        let (resource, mut name) = match rest {
            [resource] => ((*resource).to_owned(), String::new()),
            [resource, name] => ((*resource).to_owned(), (*name).to_owned()),
            [resource, name, sub] => (format!("{resource}/{sub}"), (*name).to_owned()),
            _ => return Vec::new(),
        };
        let watches = asked.query.contains("watch=true");
        if let Some(selected) = asked.query.split('&').find_map(|field| field.strip_prefix("fieldSelector=")) {
            selected.trim_start_matches("metadata.name%3D").trim_start_matches("metadata.name=").clone_into(&mut name);
        }
        let verbs: &[&str] = match asked.method.as_str() {
            "GET" if watches => &["watch"],
            "GET" if rest.len() == 1 => &["list"],
            "GET" => &["get"],
            "POST" => &["create"],
            "PUT" => &["update"],
            // An apply may make the object.
            "PATCH" if !resource.contains('/') && asked.query.contains("fieldManager") => &["patch", "create"],
            "PATCH" => &["patch"],
            "DELETE" => &["delete"],
            other => panic!("{other}"),
        };
        let of = |verb: &&str| Self {
            verb: (*verb).to_owned(),
            group: group.clone(),
            resource: resource.clone(),
            name: name.clone(),
            namespace: namespace.clone(),
        };
        verbs.iter().map(of).collect()
    }

    fn allowed_by(&self, rule: &Value) -> bool {
        let has =
            |field: &str, value: &str| rule[field].as_array().is_some_and(|all| all.iter().any(|one| one == value));
        let named = rule["resourceNames"].as_array().is_none_or(|names| names.iter().any(|name| *name == self.name));
        has("verbs", &self.verb) && has("apiGroups", &self.group) && has("resources", &self.resource) && named
    }
}

/// One rule, and where it counts.
struct Given {
    object: Value,
    rule: usize,
}

impl Given {
    fn rule(&self) -> &Value {
        &self.object["rules"][self.rule]
    }

    fn allows(&self, asked: &Attributes) -> bool {
        let everywhere = self.object["kind"] == "ClusterRole";
        (everywhere || self.object["metadata"]["namespace"] == asked.namespace) && asked.allowed_by(self.rule())
    }
}

fn given(lab: &Lab) -> Vec<Given> {
    let mut objects = vec![lab.get("/apis/rbac.authorization.k8s.io/v1/clusterroles/holdfast-controller").unwrap()];
    objects[0]["apiVersion"] = json!("rbac.authorization.k8s.io/v1");
    objects[0]["kind"] = json!("ClusterRole");
    for namespace in [NAMESPACE, SOURCES, "default"] {
        let roles = lab.call("GET", &format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles?labelSelector=app.kubernetes.io/name=holdfast"), None);
        for role in roles["items"].as_array().unwrap() {
            let mut role = role.clone();
            role["apiVersion"] = json!("rbac.authorization.k8s.io/v1");
            role["kind"] = json!("Role");
            objects.push(role);
        }
    }
    assert!(objects.len() >= 4, "the chart's roles are found: {}", objects.len());
    let rules = objects.into_iter().flat_map(|object| {
        let count = object["rules"].as_array().unwrap().len();
        (0..count).map(move |rule| Given { object: object.clone(), rule })
    });
    rules.collect()
}

/// An API server that streams no lists: whoever asks for one is told so, and gets pages.
fn in_pages(lab: &Lab) {
    let probes = |asked: &Asked| asked.path == "/api/v1/pods" && asked.query.contains("holdfast-probe");
    lab.proxy().on(1 + Kind::ALL.len(), Fate::Refuse(422, None), probes);
    let operator = lab.operator();
    lab.until("every kind is listed in pages", |lab| {
        let asked = lab.proxy().asked();
        let listed = |plural: &str| {
            asked.iter().any(|asked| asked.path.ends_with(&format!("/{plural}")) && asked.query.contains("limit=250"))
        };
        let missing: Vec<&str> =
            Kind::ALL.iter().map(|kind| kind.plural).chain(["pods"]).filter(|plural| !listed(plural)).collect();
        if missing.is_empty() { Ok(()) } else { Err(missing.join(", ")) }
    });
    operator.stop();
}

/// Everything the operator does; nothing where there are no definitions of reports to try it with.
fn everything(lab: &Lab) -> Option<BTreeSet<Attributes>> {
    in_pages(lab);
    let operator = lab.operator();
    every_kind(lab)?;
    every_engine(lab)?;
    everybody(lab);
    let mut courier = Courier::new("rights");
    courier.deliver(lab);
    lab.namespace("rights-a", &json!({"trust": "rights"}));
    lab.apply(&distributed(courier.mirror("rights"), "rights", "0s"));
    lab.reason("rights", "Distributed", "Distributed");
    // Another form of what is distributed, one that goes, and one that was changed.
    let second = courier.rotate();
    courier.deliver(lab);
    lab.reason("rights", "RotationPending", "AwaitingApproval");
    approve(lab, "bob", "rights", second).unwrap();
    lab.until("the rotation is over", |lab| {
        let status = lab.status("rights");
        if status.at("/adopted/digest") == &json!(second) && status.reason("Distributed") == "Distributed" {
            Ok(())
        } else {
            Err(status.text())
        }
    });
    for _ in 0..2 {
        lab.patch(&config_map_path("rights-a", NAME), &json!({"data": {"trusted_root.json": "{}"}}));
        lab.until("it is put back", |lab| {
            let text = lab.get(&config_map_path("rights-a", NAME)).unwrap()["data"]["trusted_root.json"]
                .as_str()
                .unwrap()
                .to_owned();
            if text.len() > 10 { Ok(()) } else { Err(text) }
        });
    }
    lab.namespace("rights-a", &json!({"trust": "none"}));
    lab.until("it is taken away", |lab| {
        if lab.get(&config_map_path("rights-a", NAME)).is_none() { Ok(()) } else { Err(String::new()) }
    });
    // A source in another namespace, and one with a pull secret.
    lab.apply(
        &courier.mirror_from("rights-elsewhere", &json!({"configMap": {"namespace": SOURCES, "name": "nothing"}})),
    );
    lab.reason("rights-elsewhere", "Verified", "SourceUnusable");
    lab.apply(&courier.mirror_from("rights-oci", &json!({"oci": {"ref": format!("{}/trust/root:1", lab.registry()), "plainHttp": true, "pullSecretRef": {"name": "nothing"}}})));
    lab.reason("rights-oci", "Verified", "SourceUnusable");
    // What becomes of a break-glass.
    crate::break_glass::ask(
        lab,
        "alice",
        "rights",
        crate::break_glass::from_now(3600),
        &crate::break_glass::accept_stale("rights"),
    );
    crate::break_glass::until(lab, "rights", "Pending", "AwaitingApprovals");
    enforced(lab)?;
    // What cannot be read.
    ask_now(lab, "rights");
    lab.delete(&mirror_path("rights"));
    operator.stop();
    let asked = lab.proxy().asked();
    // What is tried in a dry run is to be refused: by the guards.
    let refused: Vec<&Asked> =
        asked.iter().filter(|asked| asked.status == Some(403) && !asked.query.contains("dryRun")).collect();
    assert!(refused.is_empty(), "{refused:?}");
    Some(asked.iter().flat_map(Attributes::of).collect())
}

/// A policy that is promoted, changed and let go.
fn enforced(lab: &Lab) -> Option<()> {
    let estate = Estate::open(lab, Registry::plain(true)?);
    estate.enforced();
    let late = estate.image("late", estate.signed("late"));
    let exempt = json!([{"image": format!("registry.k8s.io/pause@sha256:{}", "7".repeat(64)), "reason": "node image"}]);
    estate.enforce(&json!({"exemptImages": exempt, "engines": {"native": {"intake": {"images": [late]}}}}));
    let digest = lab.until("the change is held", |_| {
        let status = estate.policy_status("apps");
        let message = status.message("LooseningHeld").to_owned();
        message.find("digest sha256:").map(|at| message[at + 7..at + 78].to_owned()).ok_or(status.text())
    });
    let approval = json!({
        "apiVersion": "holdfast.dev/v1alpha1", "kind": "TrustApproval", "metadata": {"generateName": "bob-"},
        "spec": {"approver": "bob", "for": {"kind": "SigningIdentityPolicy", "name": "apps", "digest": digest}},
    });
    lab.call_as("bob", "POST", "/apis/holdfast.dev/v1alpha1/trustapprovals", &approval).unwrap();
    lab.until("it is admitted", |_| estate.would_admit("shop", &late).map(drop));
    crate::enforce::deleted(lab, &estate);
    Some(())
}

#[test]
fn every_right_is_used_and_no_other_is_asked_for() {
    let Some(lab) = Lab::enter() else { return };
    let Some(asked) = everything(&lab) else { return };
    let rules = given(&lab);
    for one in &asked {
        // Discovery is for everybody.
        assert!(rules.iter().any(|given| given.allows(one)), "nothing allows {one:?}");
    }
    for given in &rules {
        let rule = given.rule();
        for verb in rule["verbs"].as_array().unwrap() {
            for resource in rule["resources"].as_array().unwrap() {
                // The API server itself asks whether whoever binds parameters may read them: tests/operator/enforce.
                if verb == "get" && resource == "verifiedimages" {
                    continue;
                }
                // Objects that cannot be read are read again as what they are: tests/operator/faults.rs.
                let alone: Vec<&Attributes> = asked
                    .iter()
                    .filter(|one| *verb == one.verb && *resource == one.resource && given.allows(one))
                    .filter(|one| rules.iter().filter(|other| other.allows(one)).count() == 1)
                    .collect();
                let what =
                    format!("{verb} {resource} of {} {}", given.object["kind"], given.object["metadata"]["name"]);
                let Some(needs) = alone.first() else { panic!("nothing needs {what}: {rule}") };
                taken_away(&lab, given, verb.as_str().unwrap(), needs, &what);
            }
        }
    }
}

/// Takes one verb of one rule away, asks the API server, and gives it back.
fn taken_away(lab: &Lab, given: &Given, verb: &str, needs: &Attributes, what: &str) {
    let bare = |object: &Value| {
        let mut object = object.clone();
        object["metadata"].as_object_mut().unwrap().remove("managedFields");
        object["metadata"].as_object_mut().unwrap().remove("resourceVersion");
        object
    };
    let mut less = bare(&given.object);
    less["rules"][given.rule]["verbs"].as_array_mut().unwrap().retain(|one| one != verb);
    if less["rules"][given.rule]["verbs"].as_array().unwrap().is_empty() {
        less["rules"].as_array_mut().unwrap().remove(given.rule);
    }
    let path = crate::lab::path_of(&given.object);
    let may = |lab: &Lab| {
        let (resource, sub) = needs.resource.split_once('/').unwrap_or((&needs.resource, ""));
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "spec": {"user": HOLDFAST, "groups": ["system:serviceaccounts", format!("system:serviceaccounts:{NAMESPACE}"), "system:authenticated"], "resourceAttributes": {
                "verb": needs.verb, "group": needs.group, "resource": resource, "subresource": sub, "name": needs.name, "namespace": needs.namespace,
            }},
        });
        lab.call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", Some(&review))["status"]["allowed"]
            == json!(true)
    };
    assert!(may(lab), "{what}: it may");
    lab.call("PUT", &path, Some(&less));
    lab.until(&format!("{what} is needed by {needs:?}"), |lab| {
        if may(lab) { Err("it may all the same".to_owned()) } else { Ok(()) }
    });
    lab.call("PUT", &path, Some(&bare(&given.object)));
    lab.until(&format!("{what} is given back"), |lab| if may(lab) { Ok(()) } else { Err(String::new()) });
}
