//! Whatever happens, in any order: what is not verified does not come in, and what is verified does.

use std::time::{Duration, Instant};

use holdfast_testpki::Sigstore;
use jiff::Timestamp;
use serde_json::json;

use super::estate::Estate;
use crate::break_glass::{approve, ask, from_now};
use crate::lab::{Lab, Operator};
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
    BindingDeleted,
    BindingAudits,
    RuleEdited,
    ListDeleted,
    PolicyWidened,
    PolicyNarrowed,
    PolicyAsItWas,
    NamespaceLeaves,
    NamespaceComesBack,
    RegistryAway,
    RegistryBack,
    Deployed,
    Scanned,
    ApiServerRestarted,
    GlassOpened,
    AuditBeside,
    Rotated,
}

const ALL: [Happens; 19] = [
    Happens::OperatorKilled,
    Happens::OperatorBack,
    Happens::BindingDeleted,
    Happens::BindingAudits,
    Happens::RuleEdited,
    Happens::ListDeleted,
    Happens::PolicyWidened,
    Happens::PolicyNarrowed,
    Happens::PolicyAsItWas,
    Happens::NamespaceLeaves,
    Happens::NamespaceComesBack,
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
        matches!(self, Self::ListDeleted | Self::BindingDeleted | Self::RuleEdited)
    }
}

fn first(lab: &Lab, kind: &str) -> Option<String> {
    let all = lab.call("GET", &format!("{ADMISSION}/{kind}?labelSelector=holdfast.dev/policy=apps"), None);
    let mut names =
        all["items"].as_array().unwrap().iter().map(|one| one["metadata"]["name"].as_str().unwrap().to_owned());
    names.find(|name| name.starts_with("holdfast-enforce-apps"))
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
    let (mut state, mut done) = (seed | 1, Vec::new());
    let (mut open, mut lent) = (false, Timestamp::UNIX_EPOCH);
    for at in 0..40 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let what = ALL[usize::try_from(state % ALL.len() as u64).unwrap()];
        act(&estate, &mut operator, what, at);
        done.push(what);
        open |= what.opens();
        if what == Happens::GlassOpened {
            lent = open_a_glass(&lab, at);
        }
        if open && operator.is_none() {
            // Nobody is there to put it back: what an administrator opened stays open until somebody is.
            continue;
        }
        let told = || format!("seed {seed}, after {done:?}");
        if open {
            // What somebody changes is in force a moment later, as what is put back is.
            std::thread::sleep(Duration::from_millis(2500));
            lab.within(Duration::from_secs(35), &format!("it is closed again; {}", told()), |_| {
                bad.iter().try_for_each(|image| match estate.would_admit("shop", image) {
                    Err(said) if said.contains("ValidatingAdmissionPolicy 'holdfast-") => Ok(()),
                    other => Err(format!("{image}: {other:?}")),
                })
            });
            open = false;
        }
        // From here on, always, but for what was lent.
        let until = Instant::now() + Duration::from_millis(600);
        while Instant::now() < until && crate::courier::now() > lent {
            for image in &bad {
                let admitted = estate.try_pod("shop", "uncovered", image);
                assert!(admitted.is_err(), "{image} was admitted; {}", told());
            }
        }
        if operator.is_some() || !done.iter().any(|what| what.closes()) {
            lab.within(Duration::from_secs(45), &format!("what is verified comes in; {}", told()), |_| {
                estate.would_admit("shop", &good).map(drop)
            });
        }
    }
}
