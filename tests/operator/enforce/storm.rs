//! Whatever happens, in any order: what is not verified does not come in, and what is verified does.

use std::time::{Duration, Instant};

use holdfast_testpki::Sigstore;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::estate::Estate;
use crate::break_glass::{approve, ask, from_now};
use crate::lab::{HOLDFAST, Lab, Operator};
use crate::proxy::Fate;
use crate::registry_support::Registry;

const ADMISSION: &str = "/apis/admissionregistration.k8s.io/v1";
const APPS: &str = "/apis/holdfast.dev/v1alpha1/signingidentitypolicies/apps";
const SHARDS: &str = "/apis/holdfast.dev/v1alpha1/verifiedimages";

/// What may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Happens {
    OperatorKilled,
    OperatorBack,
    OperatorReplaced,
    BindingDeleted,
    BindingAudits,
    RuleEdited,
    ListDeleted,
    ListEmptied,
    PolicyWidened,
    PolicyNarrowed,
    PolicyAsItWas,
    NamespaceLeaves,
    NamespaceComesBack,
    NamespaceMade,
    RegistryAway,
    RegistryBack,
    Deployed,
    Scanned,
    ApiServerRestarted,
    GlassOpened,
    AuditBeside,
    Rotated,
}

const ALL: [Happens; 22] = [
    Happens::OperatorKilled,
    Happens::OperatorBack,
    Happens::OperatorReplaced,
    Happens::BindingDeleted,
    Happens::BindingAudits,
    Happens::RuleEdited,
    Happens::ListDeleted,
    Happens::ListEmptied,
    Happens::PolicyWidened,
    Happens::PolicyNarrowed,
    Happens::PolicyAsItWas,
    Happens::NamespaceLeaves,
    Happens::NamespaceComesBack,
    Happens::NamespaceMade,
    Happens::RegistryAway,
    Happens::RegistryBack,
    Happens::Deployed,
    Happens::Scanned,
    Happens::ApiServerRestarted,
    Happens::GlassOpened,
    Happens::AuditBeside,
    Happens::Rotated,
];

impl Happens {
    /// Whether an administrator opens it by hand until holdfast puts it back: admission cannot guard its own rules.
    fn opens(self) -> bool {
        matches!(self, Self::BindingDeleted | Self::BindingAudits | Self::RuleEdited)
    }

    /// Whether it closes to what is verified, until holdfast puts it back.
    fn closes(self) -> bool {
        matches!(self, Self::ListDeleted | Self::ListEmptied | Self::BindingDeleted | Self::RuleEdited)
    }

    /// How long what is verified may be denied: until what was closed is put back, or an API server that starts has read its lists.
    fn denies_for(self) -> Duration {
        let is_long = self.closes() || self == Self::ApiServerRestarted;
        Duration::from_secs(if is_long { 45 } else { 5 })
    }
}

fn first(lab: &Lab, kind: &str) -> Option<String> {
    let all = lab.call("GET", &format!("{ADMISSION}/{kind}?labelSelector=holdfast.dev/policy=apps"), None);
    let mut names =
        all["items"].as_array().unwrap().iter().map(|one| one["metadata"]["name"].as_str().unwrap().to_owned());
    names.find(|name| name.starts_with("holdfast-enforce-apps"))
}

/// What happens, by a seed: everything once in each round, each time in another order.
fn storm(seed: u64, rounds: usize) -> Vec<Happens> {
    let mut state = seed | 1;
    let mut below = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % bound as u64).unwrap()
    };
    let mut all = Vec::new();
    for _ in 0..rounds {
        let mut round = ALL.to_vec();
        for at in (1..round.len()).rev() {
            round.swap(at, below(at + 1));
        }
        all.extend(round);
    }
    all
}

fn act<'a>(estate: &Estate<'a>, operator: &mut Option<Operator<'a>>, what: Happens, at: usize) {
    let lab = estate.lab;
    match what {
        Happens::OperatorKilled => {
            if let Some(mut running) = operator.take() {
                running.signal("-KILL");
                running.ended(Duration::from_secs(5));
            }
        }
        Happens::OperatorBack => {
            if operator.is_none() {
                *operator = Some(lab.operator_with(&["--leader-elect=false"]));
            }
        }
        // Two of them write for a while.
        Happens::OperatorReplaced => {
            let before = operator.replace(lab.operator_with(&["--leader-elect=false"]));
            std::thread::sleep(Duration::from_secs(2));
            if let Some(mut before) = before {
                before.signal("-KILL");
                before.ended(Duration::from_secs(5));
            }
        }
        Happens::BindingDeleted | Happens::BindingAudits | Happens::RuleEdited => {
            let kind = if what == Happens::RuleEdited {
                "validatingadmissionpolicies"
            } else {
                "validatingadmissionpolicybindings"
            };
            let Some(name) = first(lab, kind) else { return };
            let path = format!("{ADMISSION}/{kind}/{name}");
            match what {
                Happens::BindingDeleted => _ = lab.try_call("DELETE", &path, None),
                Happens::BindingAudits => _ = lab.patch(&path, &json!({"spec": {"validationActions": ["Audit"]}})),
                _ => _ = lab.patch(&path, &json!({"spec": {"validations": [{"expression": "true"}]}})),
            }
        }
        Happens::ListDeleted => _ = lab.clean(SHARDS),
        Happens::ListEmptied => {
            let all = lab.call("GET", SHARDS, None);
            for shard in all["items"].as_array().unwrap() {
                let path = format!("{SHARDS}/{}", shard["metadata"]["name"].as_str().unwrap());
                let keys = shard["spec"]["data"].as_object().unwrap().keys();
                let nothing: serde_json::Map<String, Value> = keys.map(|key| (key.clone(), Value::Null)).collect();
                _ = lab.call_as(HOLDFAST, "PATCH", &path, &json!({"spec": {"data": nothing}}));
            }
        }
        Happens::PolicyWidened => {
            let anybody = json!([{"name": "ci", "issuer": crate::coverage::shop::ISSUER, "subjectRegExp": "https://ci.example/.*"}]);
            estate.enforce(&json!({"identities": anybody}));
        }
        Happens::PolicyNarrowed => estate.enforce(&json!({"images": [format!("{}/none/**", estate.host())]})),
        Happens::PolicyAsItWas => estate.enforce(&json!({})),
        Happens::NamespaceLeaves => {
            _ = lab.patch("/api/v1/namespaces/shop", &json!({"metadata": {"labels": {"tier": null}}}));
        }
        Happens::NamespaceComesBack => lab.namespace("shop", &json!({"tier": "apps"})),
        Happens::NamespaceMade => lab.namespace(&format!("made-{at}"), &json!({"tier": "apps"})),
        Happens::RegistryAway => estate.network.on(100_000, Fate::Refuse(503, None), |_| true),
        Happens::RegistryBack => estate.network.reset(),
        Happens::Deployed => {
            let image = estate.image(&format!("new-{at}"), estate.signed(&format!("new-{at}")));
            lab.apply(&json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "storm", "namespace": "shop"},
                "spec": {
                    "replicas": 0, "selector": {"matchLabels": {"app": "storm"}},
                    "template": {"metadata": {"labels": {"app": "storm"}}, "spec": {"containers": [{"name": "main", "image": image}]}},
                },
            }));
        }
        Happens::Scanned => estate.scan_now(&format!("storm-{at}")),
        Happens::ApiServerRestarted => {
            lab.cluster("stop", "kube-apiserver");
            lab.cluster("start", "kube-apiserver");
            lab.within(Duration::from_secs(60), "it answers again", |lab| lab.try_call("GET", "/version", None));
        }
        Happens::GlassOpened => {}
        Happens::AuditBeside => {
            let about = json!({"images": [format!("{}/**", estate.host()), "docker.io/**"], "otherImages": "Allow"});
            estate.policy("beside", &about);
        }
        // Key material beside what there is: what was signed under that stays verified.
        Happens::Rotated => {
            let mut root = estate.sigstore.trusted_root();
            let more = Sigstore::new().trusted_root();
            for list in ["certificateAuthorities", "tlogs", "ctlogs", "timestampAuthorities"] {
                let more = more[list].as_array().cloned().unwrap_or_default();
                root[list].as_array_mut().unwrap().extend(more);
            }
            estate.trust_root("corp", &root.to_string());
        }
    }
}

/// Two people let everything into the namespace for a few seconds; until when.
fn open_a_glass(lab: &Lab, at: usize) -> Timestamp {
    let (name, end) = (format!("storm-{at}"), from_now(12));
    let loosen = json!({"returnToAudit": {"policy": "apps", "namespaces": ["shop"]}});
    let digest = ask(lab, "alice", &name, end, &loosen);
    for who in ["bob", "dora"] {
        approve(lab, who, &name, digest).unwrap();
    }
    end
}

#[test]
fn in_any_order_what_is_not_verified_stays_out_and_what_is_verified_comes_in() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let estate = Estate::open(&lab, registry);
    let mut operator = Some(lab.operator_with(&["--leader-elect=false"]));
    let web = estate.enforced();
    let other = estate.unsigned("other");
    estate.sign("other", other, "https://ci.example/other");
    let good = estate.image("web", web);
    let bad = [
        estate.image("rogue", estate.unsigned("rogue")),
        estate.image("other", other),
        format!("{}/apps/web:1", estate.host()),
    ];
    let seed: u64 = std::env::var("HOLDFAST_STORM").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_126);
    let (mut done, mut made, mut lent) = (Vec::new(), Vec::new(), Timestamp::UNIX_EPOCH);
    let (mut away, mut closed, mut patience) = (false, false, Duration::ZERO);
    for (at, what) in storm(seed, 2).into_iter().enumerate() {
        act(&estate, &mut operator, what, at);
        done.push(what);
        if what == Happens::GlassOpened {
            lent = open_a_glass(&lab, at);
        }
        let told = || format!("seed {seed}, after {done:?}");
        if what == Happens::NamespaceMade {
            made.push(format!("made-{at}"));
        }
        for namespace in made.iter().filter(|_| operator.is_some()) {
            lab.within(Duration::from_secs(30), &format!("{namespace} is enforced; {}", told()), |_| {
                match estate.would_admit(namespace, &bad[0]) {
                    Err(said) if said.contains("ValidatingAdmissionPolicy 'holdfast-") => Ok(()),
                    other => Err(format!("{other:?}")),
                }
            });
        }
        if what.opens() {
            // Whoever puts it back has to be there.
            act(&estate, &mut operator, Happens::OperatorBack, at);
            // What somebody changes is in force a moment later, as what is put back is.
            std::thread::sleep(Duration::from_millis(2500));
            lab.within(Duration::from_secs(35), &format!("it is closed again; {}", told()), |_| {
                bad.iter().try_for_each(|image| match estate.would_admit("shop", image) {
                    Err(said) if said.contains("ValidatingAdmissionPolicy 'holdfast-") => Ok(()),
                    _ if crate::courier::now() <= lent => Ok(()),
                    other => Err(format!("{image}: {other:?}")),
                })
            });
        }
        // From here on, always, but for what was lent.
        let until = Instant::now() + Duration::from_millis(600);
        while Instant::now() < until && crate::courier::now() > lent {
            for (door, spec) in bad.iter().flat_map(|image| doors(image, &good)) {
                let admitted = estate.try_pod_of("shop", "uncovered", &spec);
                assert!(admitted.is_err(), "{spec} was admitted as {door}; {}", told());
            }
        }
        // What was closed is put back by whoever is there and can look at the evidence, and else stays closed.
        (closed, patience) = (closed || what.closes(), patience.max(what.denies_for()));
        match what {
            Happens::RegistryAway => away = true,
            Happens::RegistryBack => away = false,
            _ => {}
        }
        if !closed || operator.is_some() && !away {
            lab.within(patience, &format!("what is verified comes in; {}", told()), |_| {
                estate.would_admit("shop", &good).map(drop)
            });
            (closed, patience) = (false, Duration::ZERO);
        }
    }
    // Once it is over, everything is as it was.
    estate.network.reset();
    lab.namespace("shop", &json!({"tier": "apps"}));
    estate.enforce(&json!({}));
    act(&estate, &mut operator, Happens::OperatorBack, done.len());
    while crate::courier::now() <= lent {
        std::thread::sleep(Duration::from_secs(1));
    }
    lab.within(Duration::from_secs(60), "it is enforced as it was declared", |_| {
        let status = estate.policy_status("apps");
        let is_so = status.at("/enforcement/phase") == "Enforcing" && status.is("LooseningHeld") != "True";
        if is_so { Ok(()) } else { Err(status.text()) }
    });
    for image in &bad {
        assert!(estate.try_pod("shop", "uncovered", image).is_err(), "{image} was admitted; seed {seed}");
    }
    estate.try_pod("shop", "covered", &good).expect("what is verified comes in");
    for namespace in &made {
        lab.namespace(namespace, &json!({}));
    }
}

/// A pod that has an image where pods have images.
fn doors(bad: &str, good: &str) -> [(&'static str, Value); 3] {
    let one = |image: &str| json!([{"name": "main", "image": image}]);
    [
        ("a container", json!({"containers": one(bad)})),
        ("an init container", json!({"initContainers": [{"name": "first", "image": bad}], "containers": one(good)})),
        (
            "an image volume",
            json!({"containers": one(good), "volumes": [{"name": "data", "image": {"reference": bad}}]}),
        ),
    ]
}
