//! What people ask of a cluster between the first policy and the last: what happened, what an edit would do, one image ahead, and the way out.

use holdfast_core::Digest;
use holdfast_core::api::SigningIdentityPolicySpec;
use holdfast_core::gate::loosening::deletion_digest;
use holdfast_core::gate::{Enforced, Event, History, Standing, WaveStanding};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

use crate::attacks::may;
use crate::break_glass::{approve, until};
use crate::chart_support::NAMESPACE;
use crate::coverage::shop::Shop;
use crate::enforce::estate::Estate;
use crate::lab::{HOLDFAST, Lab, config_map_path};
use crate::registry_support::Registry;

const POLICY: &str = "/apis/holdfast.dev/v1alpha1/signingidentitypolicies/apps";
const VERIFIED: &str = "/apis/holdfast.dev/v1alpha1/verifiedimages";

/// A policy that is enforced by all that is remembered of it, where no operator runs.
fn enforced_by_memory(lab: &Lab, spec: &Value) -> Digest {
    lab.apply(&json!({
        "apiVersion": "holdfast.dev/v1alpha1", "kind": "SigningIdentityPolicy", "metadata": {"name": "apps"}, "spec": spec,
    }));
    let declared = lab.get(POLICY).unwrap();
    let spec: SigningIdentityPolicySpec = serde_json::from_value(declared["spec"].clone()).unwrap();
    let at = crate::courier::now();
    let names = BTreeSet::from(["shop".to_owned()]);
    let standing = Standing { observed: Some(at), ..Standing::new("everything", at) };
    let wave = WaveStanding { promoted: at, observed: Some(at) };
    let enforced = Enforced {
        spec,
        keys: BTreeMap::new(),
        namespaces: names.iter().map(|name| (name.clone(), standing.clone())).collect(),
        waves: BTreeMap::from([("everything".to_owned(), wave)]),
        counted: None,
    };
    let form = enforced.form("apps").digest();
    let mut history = History::default();
    let wave = || "everything".to_owned();
    history.append(at, Event::Promoted { wave: wave(), namespaces: names.clone(), form }, 512);
    let head = history.append(at, Event::Observed { wave: wave() }, 512);
    let progress = json!({
        "phase": "Enforcing", "since": at, "at": at, "enforced": names, "form": form, "checks": [], "head": head,
    });
    let journal = json!({"gate": {"enforced": enforced, "progress": progress, "history": history}});
    remember(lab, "policy", &journal);
    remember(lab, "enforced", &serde_json::to_value(&enforced).unwrap());
    form
}

/// As holdfast writes it, over what is there.
fn remember(lab: &Lab, sort: &str, document: &Value) {
    let name = format!("holdfast-{sort}-apps");
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {
            "app.kubernetes.io/managed-by": "holdfast", "holdfast.dev/memory": sort, "holdfast.dev/policy": "apps",
        }},
        "data": {"document.json": document.to_string(), "revision": "1"},
    });
    let path = config_map_path(NAMESPACE, &name);
    if lab.get(&path).is_some() {
        lab.call_as(HOLDFAST, "PUT", &path, &object).unwrap();
    } else {
        let all = format!("/api/v1/namespaces/{NAMESPACE}/configmaps");
        lab.call_as(HOLDFAST, "POST", &all, &object).unwrap();
    }
}

fn spec() -> Value {
    json!({
        "images": ["registry.corp.internal/**"], "trustRoots": ["corp"], "engines": {"native": {}},
        "identities": [{"name": "ci", "issuer": "https://issuer.example", "subject": "https://ci.example/web"}],
        "enforcement": {"desired": "Enforce"},
    })
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Somebody who may look at what `view` shows, and at no Secret.
fn reads_all_but_secrets(lab: &Lab, user: &str) {
    lab.apply(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "looks"},
        "rules": [{"apiGroups": ["", "holdfast.dev"], "verbs": ["get", "list"],
                   "resources": ["configmaps", "namespaces", "signingidentitypolicies"]}],
    }));
    may(lab, user, "looks");
}

/// The manifests that a command printed to be made.
fn manifests(text: &str) -> Vec<Value> {
    let parts = text.split("<<'EOF'\n").skip(1);
    parts.map(|part| serde_saphyr::from_str(part.split_once("\nEOF").unwrap().0).unwrap()).collect()
}

#[test]
fn a_history_says_what_happened_and_whether_it_holds() {
    let Some(lab) = Lab::enter() else { return };
    let (code, text, _) = lab.holdfast(&["history"]);
    assert!(code == 0 && text.contains("nothing is remembered"), "{text}");
    let (code, _, said) = lab.holdfast(&["history", "apps"]);
    assert!(code == 2 && said.contains("nothing is remembered of a SigningIdentityPolicy `apps`"), "{said}");

    let form = enforced_by_memory(&lab, &spec());
    let (code, text, said) = lab.holdfast(&["history", "apps"]);
    assert_eq!(code, 0, "{text}{said}");
    let words = [
        "Enforcing",
        "shop (everything)",
        &form.to_string(),
        "they hold, 2 of them",
        "was promoted",
        "was seen in force everywhere",
    ];
    assert!(words.iter().all(|words| text.contains(words)), "{text}");

    // Taken away as a file, it is checked without a cluster, and a changed record is found.
    let (code, exported, _) = lab.holdfast(&["history", "-o", "json"]);
    assert_eq!(code, 0);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("history.json");
    std::fs::write(&file, &exported).unwrap();
    let verify = ["history", "--verify", file.to_str().unwrap()];
    assert_eq!(lab.holdfast(&verify).0, 0);
    let forged = exported.replacen(r#""shop""#, r#""shoq""#, 1);
    assert_ne!(exported, forged);
    std::fs::write(&file, forged).unwrap();
    let (code, text, _) = lab.holdfast(&verify);
    assert!(code == 1 && text.contains("they do not hold"), "{text}");
    let (code, text, _) = lab.holdfast(&["history", "-o", "csv"]);
    assert!(code == 0 && text.lines().count() == 3 && text.contains("apps,0,"), "{text}");

    // Whoever takes a namespace out of what is enforced contradicts the records.
    let path = config_map_path(NAMESPACE, "holdfast-enforced-apps");
    let mut enforced = json_of(lab.get(&path).unwrap()["data"]["document.json"].as_str().unwrap());
    enforced["namespaces"] = json!({});
    remember(&lab, "enforced", &enforced);
    let (code, text, _) = lab.holdfast(&["history", "apps"]);
    assert!(code == 1 && text.contains("do not agree"), "{text}");
    remember(&lab, "policy", &json!("no journal"));
    let (code, text, _) = lab.holdfast(&["history", "apps"]);
    assert!(code == 3 && text.contains("not known"), "{text}");
    // Somebody who may not read it is told so.
    let (code, _, said) = lab.holdfast_as("stranger", &["history"]);
    assert!(code == 3 && said.contains("ask for the right"), "{said}");
}

#[test]
fn an_edit_says_before_it_is_made_what_it_admits_more_and_what_allows_it() {
    let Some(lab) = Lab::enter() else { return };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("policy.yaml");
    let diff = |edited: &Value| {
        let object = json!({
            "apiVersion": "holdfast.dev/v1alpha1", "kind": "SigningIdentityPolicy", "metadata": {"name": "apps"}, "spec": edited,
        });
        std::fs::write(&file, object.to_string()).unwrap();
        lab.holdfast(&["diff", file.to_str().unwrap(), "-o", "json"])
    };
    let (code, text, said) = diff(&spec());
    assert_eq!(code, 0, "{said}");
    assert!(json_of(&text)["policies"][0].get("inForce").is_none(), "nothing is enforced yet");

    let form = enforced_by_memory(&lab, &spec());
    let (code, text, _) = diff(&spec());
    let answer = json_of(&text);
    assert_eq!((code, &answer["policies"][0]["inForce"]), (0, &json!(form)), "{text}");
    assert_eq!(answer["policies"][0]["declared"], json!(form), "what the API server fills in is no change");

    let mut wider = spec();
    wider["identities"][0]["subject"] = json!("https://ci.example/other");
    wider["namespaceSelector"] = json!({"matchLabels": {"tier": "apps"}});
    let (code, text, _) = diff(&wider);
    let kinds: Vec<Value> =
        json_of(&text)["policies"][0]["loosenings"].as_array().unwrap().iter().map(|one| one["kind"].clone()).collect();
    assert_eq!((code, kinds), (1, vec![json!("NamespacesNarrowed"), json!("IdentityWidened")]), "{text}");
    let (code, text, said) = lab.holdfast(&["diff", file.to_str().unwrap()]);
    assert_eq!(code, 1, "{said}");
    let [approval] = <[Value; 1]>::try_from(manifests(&text)).unwrap();
    assert_eq!(approval["kind"], "TrustApproval");
    assert!(
        text.contains(&format!("the digest to approve is {}", approval["spec"]["for"]["digest"].as_str().unwrap()))
    );
    // It is what holdfast would wait for.
    lab.patch(POLICY, &json!({"spec": wider}));
    let (_, declared, _) = lab.holdfast(&["diff", "-o", "json"]);
    let waits = &json_of(&declared)["policies"][0]["loosenings"][0]["digest"];
    assert_eq!(waits, &approval["spec"]["for"]["digest"]);

    let (code, text, _) = lab.holdfast(&["diff", "--delete", "apps"]);
    let [glass, of_glass] = <[Value; 2]>::try_from(manifests(&text)).unwrap();
    let deletion = deletion_digest("SigningIdentityPolicy", "apps", form);
    assert_eq!((code, &glass["spec"]["loosen"]["allowChange"]["digest"]), (1, &json!(deletion)), "{text}");
    assert_eq!(of_glass["spec"]["for"]["name"], glass["metadata"]["name"]);
    // A key that whoever asks may not see leaves the digest unknown; nobody is told that the policy is broken.
    let mut by_key = spec();
    by_key["identities"] = json!([{"name": "k", "key": {"secretRef": {"name": "key"}}}]);
    assert_eq!(diff(&by_key).0, 1, "there is no such key");
    reads_all_but_secrets(&lab, "erin");
    let (code, text, said) = lab.until("erin may look", |lab| {
        match lab.holdfast_as("erin", &["diff", file.to_str().unwrap(), "-o", "json"]) {
            (3, text, said) if text.is_empty() => Err(said),
            answer => Ok(answer),
        }
    });
    let unknown = json_of(&text)["policies"][0]["unknown"].clone();
    assert!(code == 3 && unknown.as_str().unwrap().contains("Secret"), "{text}{said}");
    let (code, _, said) = lab.holdfast(&["diff", "/nowhere"]);
    assert!(code == 2 && !said.is_empty());
}

#[test]
fn nothing_goes_while_something_is_enforced() {
    let Some(lab) = Lab::enter() else { return };
    let form = enforced_by_memory(&lab, &spec());
    for arguments in [&["uninstall"][..], &["uninstall", "--yes"]] {
        let (code, text, said) = lab.holdfast(arguments);
        assert_eq!(code, 1, "{said}");
        assert!(text.contains("denies in shop") && text.contains("nothing was deleted"), "{text}");
        let [glass, approval] = <[Value; 2]>::try_from(manifests(&text)).unwrap();
        let deletion = deletion_digest("SigningIdentityPolicy", "apps", form);
        assert_eq!(glass["spec"]["loosen"]["allowChange"]["digest"], json!(deletion));
        // What is printed can be made as it is.
        let made = lab.kubectl(&["auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"]);
        assert_eq!(glass["spec"]["requestedBy"], json!(made));
        lab.call("POST", &format!("{}?dryRun=All", crate::break_glass::GLASSES), Some(&glass));
        assert_eq!(approval["spec"]["for"]["digest"], json!(crate::break_glass::digest_of(&glass)));
    }
    assert!(lab.get(POLICY).is_some_and(|policy| policy["metadata"]["deletionTimestamp"].is_null()));
    // What cannot be read might say that something is enforced.
    remember(&lab, "enforced", &json!("nothing"));
    remember(&lab, "policy", &json!("nothing"));
    let (code, text, _) = lab.holdfast(&["uninstall", "--yes"]);
    assert!(code == 1 && text.contains("cannot be proposed"), "{text}");
    assert!(lab.get(POLICY).is_some());
}

#[test]
fn what_denies_nowhere_goes_in_order_and_what_is_kept_is_said() {
    let Some(lab) = Lab::enter() else { return };
    let Some(registry) = Registry::plain(true) else { return };
    let shop = Shop::open(&lab, registry);
    let good = shop.signed("good");
    shop.pod("good", &shop.image("good", good));
    let operator = lab.operator();
    shop.report(&json!({}));
    shop.until(1, 0, 0);
    lab.until("the native engine holds something", |lab| {
        let all = lab.call("GET", VERIFIED, None);
        if all["items"].as_array().unwrap().is_empty() { Err(all.to_string()) } else { Ok(()) }
    });
    let (code, text, said) = lab.holdfast(&["uninstall"]);
    assert_eq!(code, 0, "{said}");
    let order = [
        "SigningIdentityPolicy: apps",
        "BundleCoverageReport: cluster",
        "TrustRootMirror: corp",
        "VerifiedImages/",
        "helm uninstall",
    ];
    let places: Vec<usize> =
        order.iter().map(|words| text.find(words).unwrap_or_else(|| panic!("{words}: {text}"))).collect();
    assert!(places.is_sorted(), "{text}");
    assert!(lab.get(POLICY).is_some(), "it only said so");

    let (code, text, said) = lab.holdfast(&["uninstall", "--yes", "--wait", "30s"]);
    assert_eq!(code, 0, "{text}{said}\n{}", operator.said());
    assert!(
        text.contains("deleted SigningIdentityPolicy apps") && text.contains("holdfast-trust-record-corp"),
        "{text}"
    );
    assert!(lab.get(POLICY).is_none());
    for path in [VERIFIED, "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"] {
        let all = lab.call("GET", path, None);
        let names = all["items"].as_array().unwrap().iter().map(|one| one["metadata"]["name"].as_str().unwrap());
        let ours: Vec<&str> =
            names.filter(|name| name.starts_with("holdfast-") && !name.starts_with("holdfast-guard-")).collect();
        assert!(ours.is_empty(), "{path}: {ours:?}");
    }
    let memory = lab.get(&config_map_path(NAMESPACE, "holdfast-trust-record-corp"));
    assert!(memory.is_some(), "what is remembered stays");
    drop(operator);
}

/// An operator that does not run takes nothing away.
#[test]
fn what_nobody_takes_away_is_said() {
    let Some(lab) = Lab::enter() else { return };
    let Some(registry) = Registry::plain(true) else { return };
    let shop = Shop::open(&lab, registry);
    let operator = lab.operator();
    shop.report(&json!({}));
    lab.until("the native engine holds something", |lab| {
        let all = lab.call("GET", VERIFIED, None);
        if all["items"].as_array().unwrap().is_empty() { Err(all.to_string()) } else { Ok(()) }
    });
    drop(operator);
    let (code, text, _) = lab.holdfast(&["uninstall", "--yes", "--wait", "2s"]);
    assert!(code == 3 && text.contains("still there are") && text.contains("VerifiedImages/"), "{text}");
    let _operator = lab.operator();
    let (code, text, _) = lab.holdfast(&["uninstall", "--yes", "--wait", "30s"]);
    assert_eq!(code, 0, "{text}");
}

fn intake(lab: &Lab) -> BTreeSet<String> {
    let policy = lab.get(POLICY).unwrap();
    let images = policy.pointer("/spec/engines/native/intake/images").and_then(Value::as_array).cloned();
    images.into_iter().flatten().map(|image| image.as_str().unwrap().to_owned()).collect()
}

fn is_verified(lab: &Lab, digest: Digest) -> bool {
    lab.call("GET", VERIFIED, None).to_string().contains(&digest.hex())
}

#[test]
fn an_image_that_nothing_runs_is_admitted_once_it_is_verified() {
    let Some(lab) = Lab::enter() else { return };
    let Some(registry) = Registry::plain(true) else { return };
    let shop = Shop::open(&lab, registry);
    let (build, other, bare) = (shop.signed("build"), shop.signed("other"), shop.unsigned("bare"));
    let git = shop.image("git", shop.signed("git"));
    shop.policy("apps", &json!({"engines": {"native": {"intake": {"images": [git]}}}}));
    shop.pod("git", &git);
    let operator = lab.operator();
    shop.report(&json!({"namespaceSelector": {}}));
    lab.until("the trust is in force", |_| {
        let status = shop.status();
        if status.at("/totals/covered").as_u64() > Some(0) { Ok(()) } else { Err(status.text()) }
    });
    let image = |name: &str, digest| shop.image(name, digest);

    let (code, text, said) = lab.holdfast(&["admit", &image("build", build), "--dry-run"]);
    assert!(code == 0 && text.contains("would be added"), "{text}{said}");
    assert_eq!(intake(&lab), BTreeSet::from([git.clone()]));
    let (code, text, said) = lab.holdfast(&["admit", &image("build", build)]);
    assert_eq!(code, 0, "{text}{said}\n{}", operator.said());
    assert!(text.contains("will be admitted") && is_verified(&lab, build), "{text}");
    // Two at once add up.
    let others: Vec<(String, Digest)> =
        (0..4).map(|number| format!("task-{number}")).map(|name| (name.clone(), shop.signed(&name))).collect();
    std::thread::scope(|scope| {
        let admit = |name: &str, digest| lab.holdfast(&["admit", &image(name, digest), "--wait", "0s"]);
        let running: Vec<_> = others.iter().map(|(name, digest)| scope.spawn(move || admit(name, *digest))).collect();
        for running in running {
            let (code, text, said) = running.join().unwrap();
            assert!(code == 0 || code == 3, "{text}{said}");
        }
    });
    let mut all: BTreeSet<String> = others.iter().map(|(name, digest)| image(name, *digest)).collect();
    all.extend([git.clone(), image("build", build)]);
    assert_eq!(intake(&lab), all);
    // Who declares the policy anew, as git does, takes away nothing of it and has no conflict.
    shop.policy("apps", &json!({"engines": {"native": {"intake": {"images": [git]}}}}));
    assert_eq!(intake(&lab), all);

    let (code, text, _) = lab.holdfast(&["admit", &image("bare", bare)]);
    assert!(code == 1 && text.contains("MissingBundle") && text.contains("owner: pipeline"), "{text}");
    assert_eq!(intake(&lab), all);
    let (code, text, _) = lab.holdfast(&["admit", &format!("elsewhere.example/x@{other}")]);
    assert!(code == 3 && text.contains("no policy is about"), "{text}");
    let (code, _, said) = lab.holdfast(&["admit", &format!("{}/apps/build:1", shop.host())]);
    assert!(code == 2 && said.contains("has no digest"), "{said}");
    let (code, _, said) = lab.holdfast(&["admit", &image("build", build), "--policy", "nobody"]);
    assert!(code == 2 && said.contains("there is no such"), "{said}");

    let (code, text, _) = lab.holdfast(&["admit", "--remove", &image("build", build)]);
    assert!(code == 0 && text.contains("taken out of the intake"), "{text}");
    let (code, text, _) = lab.holdfast(&["admit", "--remove", &git]);
    assert!(code == 1 && text.contains("by test"), "{text}");
    for (name, digest) in &others {
        assert_eq!(lab.holdfast(&["admit", "--remove", &image(name, *digest)]).0, 0);
    }
    assert_eq!(intake(&lab), BTreeSet::from([git]));
    let (code, text, _) = lab.holdfast(&["admit", "--remove", &image("build", build)]);
    assert!(code == 0 && text.contains("is in no intake"), "{text}");
    drop(operator);
    // Nobody lists it while no operator runs, and it is said whose that is.
    let (code, text, _) = lab.holdfast(&["admit", &image("other", other), "--wait", "1s"]);
    assert!(code == 3 && text.contains("not admitted yet") && text.contains("owner: platform"), "{text}");
}

/// Enforced for real, with one image admitted ahead; agreed to as the command says, and gone.
#[test]
fn the_way_out_of_enforcement_is_the_one_that_is_printed() {
    let Some(lab) = Lab::enter() else { return };
    let Some(registry) = Registry::plain(true) else { return };
    let estate = Estate::open(&lab, registry);
    let operator = lab.operator();
    estate.enforced();
    lab.guards_are_settled();
    // A pod that no template names is let in once its image is admitted, and that is no other form of the policy.
    let task = estate.image("task", estate.signed("task"));
    estate.denied("shop", &task, "is not verified");
    let (code, text, said) = lab.holdfast(&["admit", &task]);
    assert_eq!(code, 0, "{text}{said}");
    lab.until("it is let in", |_| estate.try_pod("shop", "task", &task));
    let (_, text, _) = lab.holdfast(&["history", "apps"]);
    assert!(!text.contains("another form"), "{text}");
    let (code, text, _) = lab.holdfast(&["history", "apps"]);
    assert!(code == 0 && text.contains("was promoted") && text.contains("they hold"), "{text}");
    let (code, text, _) = lab.holdfast(&["uninstall", "--yes"]);
    assert_eq!(code, 1, "{text}");
    let [glass, approval] = <[Value; 2]>::try_from(manifests(&text)).unwrap();
    lab.call("POST", crate::break_glass::GLASSES, Some(&glass));
    let digest: Digest = approval["spec"]["for"]["digest"].as_str().unwrap().parse().unwrap();
    let name = glass["metadata"]["name"].as_str().unwrap();
    for person in ["bob", "dora"] {
        approve(&lab, person, name, digest).unwrap();
    }
    until(&lab, name, "Active", "InForce");
    lab.delete(POLICY);
    lab.until("the policy is let go", |lab| match lab.get(POLICY) {
        None => Ok(()),
        Some(policy) => Err(policy.to_string()),
    });
    let (code, text, _) = lab.holdfast(&["history", "apps"]);
    assert!(code == 0 && text.contains("no longer denies in"), "{text}");
    let (code, text, said) = lab.holdfast(&["uninstall", "--yes", "--wait", "30s"]);
    assert_eq!(code, 0, "{text}{said}");
    drop(operator);
}
