//! One parameter that becomes two while pods come and go.

use std::time::{Duration, Instant};

use holdfast_core::Digest;
use serde_json::json;

use super::estate::Estate;
use crate::lab::{Lab, Operator};
use crate::proxy::{Asked, Fate};
use crate::registry_support::Registry;

const SHARDS: &str = "/apis/holdfast.dev/v1alpha1/verifiedimages";
const WHOLE: &str = "holdfast-verified-00-ff.apps";
/// As many as one parameter takes, but for a few.
const MANY: usize = 14_115;

/// Where the split is cut off, in the order of its writes: of those that begin so, the one after as many others.
const CUTS: [(&str, usize, Fate, &str); 5] = [
    ("the second one is about to be made", 1, Fate::Hold, "POST /apis/holdfast.dev/v1alpha1/verifiedimages"),
    ("both were made", 0, Fate::HoldAnswer, "POST /apis/holdfast.dev/v1alpha1/verifiedimages"),
    (
        "the first binding gains",
        0,
        Fate::Hold,
        "POST /apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
    ),
    (
        "the first binding loses",
        0,
        Fate::Hold,
        "DELETE /apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
    ),
    ("the whole one goes", 0, Fate::Hold, "DELETE /apis/holdfast.dev/v1alpha1/verifiedimages"),
];

/// What is to be admitted at every moment, and what is not at any.
struct Load<'e> {
    estate: &'e Estate<'e>,
    good: Vec<String>,
    bad: String,
}

impl Load<'_> {
    fn look(&self) {
        for image in &self.good {
            let tried = self.estate.would_admit("shop", image);
            assert!(tried.is_ok(), "{image}: {tried:?}");
        }
        let tried = self.estate.would_admit("shop", &self.bad);
        assert!(tried.is_err(), "{tried:?}");
    }

    /// Looks on for as long, and until it is done.
    fn until(&self, least: Duration, what: &str, done: impl Fn(&Lab) -> Result<(), String>) {
        let start = Instant::now();
        loop {
            self.look();
            match done(self.estate.lab) {
                Ok(()) if start.elapsed() > least => return,
                Err(said) if start.elapsed() > Duration::from_secs(60) => panic!("{what}: {said}"),
                _ => {}
            }
        }
    }
}

fn shards(lab: &Lab) -> Vec<String> {
    let all = lab.call("GET", SHARDS, None);
    let names = all["items"].as_array().unwrap().iter().filter_map(|one| one["metadata"]["name"].as_str());
    names.filter(|name| name.split_once('.').is_some_and(|(_, policy)| policy == "apps")).map(str::to_owned).collect()
}

fn are_two(lab: &Lab) -> Result<(), String> {
    let names = shards(lab);
    let two = ["holdfast-verified-00-7f.apps", "holdfast-verified-80-ff.apps"];
    if names == two { Ok(()) } else { Err(names.join(", ")) }
}

fn deploy(estate: &Estate<'_>, count: usize) {
    for at in 0..count {
        let name = format!("more-{at}");
        let image = estate.image(&name, estate.signed(&name));
        estate.lab.apply(&json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "shop"},
            "spec": {
                "replicas": 0, "selector": {"matchLabels": {"app": name}},
                "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "main", "image": image}]}},
            },
        }));
    }
}

/// Holds the next write at which the split is cut off, where there is one.
fn hold(lab: &Lab, at: usize) {
    let Some((_, after, fate, means)) = CUTS.get(at).cloned() else { return };
    let is_meant = move |asked: &Asked| format!("{} {}", asked.method, asked.path).starts_with(means);
    lab.proxy().on_nth(after, fate, is_meant);
}

fn kill(operator: &mut Operator<'_>) {
    operator.signal("-KILL");
    operator.ended(Duration::from_secs(5));
}

#[test]
fn a_parameter_that_is_split_is_never_open_and_never_wrongly_closed() {
    let Some((lab, registry)) = Lab::enter().zip(Registry::plain(true)) else { return };
    let estate = Estate::open(&lab, registry);
    let mut operator = lab.operator_with(&["--leader-elect=false"]);
    let web = estate.enforced();
    estate.until_nothing_is_written();
    kill(&mut operator);
    let ran_once = estate.ran_once(MANY);
    let images = ran_once
        .iter()
        .step_by(MANY / 8)
        .map(|digest| estate.image("ran-once", *digest))
        .chain([estate.image("web", web)]);
    let load = Load { estate: &estate, good: images.collect(), bad: estate.image("rogue", estate.unsigned("rogue")) };
    let mut operator = lab.operator_with(&["--leader-elect=false"]);
    load.until(Duration::from_secs(5), "it is one", |lab| {
        if shards(lab) == [WHOLE] { Ok(()) } else { Err(shards(lab).join(", ")) }
    });

    hold(&lab, 0);
    deploy(&estate, 70);
    for (at, (step, ..)) in CUTS.into_iter().enumerate() {
        load.until(
            Duration::ZERO,
            step,
            |lab| {
                if lab.proxy().met() >= 1 { Ok(()) } else { Err(shards(lab).join(", ")) }
            },
        );
        kill(&mut operator);
        load.look();
        lab.proxy().reset();
        hold(&lab, at + 1);
        // When it is back for the first time, the registry cannot be asked.
        if at == 0 {
            estate.network.on(100_000, Fate::Refuse(503, None), |_| true);
        }
        operator = lab.operator_with(&["--leader-elect=false"]);
        if at == 0 {
            load.until(Duration::from_secs(8), "it goes on", |_| Ok(()));
            estate.network.reset();
            estate.scan_now("back");
        }
        assert!(estate.try_pod("shop", &format!("after-{at}"), &load.good[at]).is_ok(), "{step}");
    }
    load.until(Duration::from_secs(5), "there are two", are_two);
    for at in [0, 69] {
        let name = format!("more-{at}");
        let digest = Digest::of(&estate.registry.manifest(&format!("apps/{name}"), "1").unwrap());
        lab.until("what was deployed is admitted", |_| estate.would_admit("shop", &estate.image(&name, digest)));
    }
    load.until(Duration::from_secs(3), "it stays so", are_two);
    assert!(operator.says("written"));
    estate.until_phase("Enforcing");
}
