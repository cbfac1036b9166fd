//! Policies that are decided in one pass, and what each of them makes of the others.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test that cannot go on fails

mod support;

use std::collections::{BTreeMap, BTreeSet};

use holdfast_core::Digest;
use holdfast_core::api::SigningIdentityPolicy;
use holdfast_core::api::policy::Desired;
use holdfast_core::coverage::Coverage;
use holdfast_core::engines::all::Capabilities;
use holdfast_core::gate::break_glass::ActiveBreakGlass;
use holdfast_core::gate::loosening::{Approval, Form, LooseningKind};
use holdfast_core::gate::{Canaries, Decision, Enforced, Event, History, Namespace, Seen, Unscanned};
use holdfast_core::operate::policy::{
    Decided, EngineSeen, Facts, Member, RETENTION, Remembered, Told, decide, forms_in_force, status,
};
use holdfast_core::trust::clock::Sanity;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use support::at;

const NOW: &str = "2026-07-01T00:00:00Z";
const BOTH: &str = "both";

fn policy(name: &str, images: &[&str], label: &str, more: &Value) -> Member {
    let mut spec = json!({
        "images": images, "otherImages": "Deny", "trustRoots": ["corp"],
        "namespaceSelector": {"matchLabels": {label: "yes"}},
        "identities": [{"name": "ci", "issuer": "https://i.example", "subject": "https://ci.example/web"}],
        "engines": {"native": {}}, "enforcement": {"desired": "Enforce", "soak": "0s"},
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    let form = Form { spec: serde_json::from_value(spec).unwrap(), keys: BTreeMap::new() };
    Member { name: name.to_owned(), form, unusable: None, leaves: false, is_gone: false }
}

/// What is remembered of a policy that is enforced in one namespace.
fn enforced(member: &Member, namespace: &str, since: &str) -> Remembered {
    let wave = json!({"promoted": since, "observed": since});
    let kept = json!({
        "spec": member.form.spec, "waves": {"everything": wave},
        "namespaces": {namespace: {"wave": "everything", "written": since, "observed": since}},
    });
    let mut history = History::default();
    let (form, wave) = (member.declares().digest(), "everything".to_owned());
    let namespaces = BTreeSet::from([namespace.to_owned()]);
    history.append(at(since), Event::Promoted { wave: wave.clone(), namespaces, form }, 512);
    history.append(at(since), Event::Observed { wave }, 512);
    Remembered { enforced: Some(serde_json::from_value(kept).unwrap()), progress: None, history }
}

struct World {
    members: Vec<Member>,
    remembered: BTreeMap<String, Remembered>,
    namespaces: BTreeMap<String, Namespace>,
    approvals: Vec<Approval>,
    glasses: Vec<ActiveBreakGlass>,
    /// Namespaces in which an image was let in that nobody verified.
    open: BTreeSet<String>,
}

impl World {
    /// `apps` is enforced in a namespace of its own, and `other` in one of its; a namespace is made that both select.
    fn new(other: Member, since: &str) -> Self {
        let apps = policy("apps", &["r.example/**"], "apps", &json!({}));
        let remembered = BTreeMap::from([
            ("apps".to_owned(), enforced(&apps, "shop", "2026-03-01T00:00:00Z")),
            (other.name.clone(), enforced(&other, "side", since)),
        ]);
        let labels = |of: &[&str]| of.iter().map(|label| ((*label).to_owned(), "yes".to_owned())).collect();
        let of = |created: &str, seen, on: &[&str]| Namespace { labels: labels(on), created: Some(at(created)), seen };
        let namespaces = BTreeMap::from([
            ("shop".to_owned(), of("2026-01-01T00:00:00Z", Seen::Before, &["apps"])),
            ("side".to_owned(), of("2026-01-01T00:00:00Z", Seen::Before, &["other"])),
            (BOTH.to_owned(), of(NOW, Seen::Never, &["apps", "other"])),
        ]);
        let mut members = vec![apps, other];
        members.sort_by(|a, b| a.name.cmp(&b.name));
        Self { members, remembered, namespaces, approvals: Vec::new(), glasses: Vec::new(), open: BTreeSet::new() }
    }

    /// What is decided of each policy.
    fn pass(&self, now: Timestamp) -> BTreeMap<String, Decision> {
        self.decided(now, |decided| {
            decided.steps.into_iter().map(|step| (step.standing.name().to_owned(), step.decision)).collect()
        })
    }

    /// What is made of all that is decided.
    fn decided<T>(&self, now: Timestamp, made: impl FnOnce(Decided<'_>) -> T) -> T {
        let (lost, left_out, holdings, trust) = Default::default();
        let (repositories, inventory, evidence) = Default::default();
        let unscanned = Unscanned::Never("there was none".to_owned());
        let capabilities = Capabilities::assumed(&BTreeMap::new());
        let seen = |_, policy: &str| {
            let kept = self.remembered.get(policy).and_then(|kept| kept.enforced.as_ref());
            let names = kept.map(Enforced::names).unwrap_or_default();
            let (canaries, faults) = (Canaries::Right, Vec::new());
            let in_force = &names - &self.open;
            EngineSeen { present: true, ready: true, canaries, faults, told: names, in_force }
        };
        let facts = Facts {
            members: &self.members,
            lost: &lost,
            remembered: &self.remembered,
            holdings: &holdings,
            trust: &trust,
            repositories: &repositories,
            inventory: &inventory,
            namespaces: &self.namespaces,
            sees_all_namespaces: true,
            left_out: &left_out,
            holdfast_namespace: "holdfast-system",
            capabilities: &capabilities,
            engines: &seen,
            evidence: &evidence,
            scan: Err(&unscanned),
            looks_around: false,
            clock: Sanity::Sane,
            approvals: &self.approvals,
            break_glasses: &self.glasses,
            retention: RETENTION,
        };
        made(decide(&facts, forms_in_force(&facts, now), &Coverage::default(), now))
    }

    /// What is said of whether `apps` denies: the status, the reason and the message; and the phase it is in.
    fn enforcing(&self) -> (String, String, String, String) {
        let now = at(NOW);
        let apps = self.members.iter().find(|member| member.name == "apps").unwrap();
        let policy = SigningIdentityPolicy::new("apps", apps.form.spec.clone());
        let namespaces = &self.namespaces;
        let (coverage, engines, left_out) = (Coverage::default(), BTreeMap::new(), BTreeSet::new());
        let told = Told {
            policy: &policy,
            coverage: &coverage,
            engines: &engines,
            fault: None,
            namespaces,
            left_out: &left_out,
            can_bypass: &[],
            can_bypass_beyond: None,
        };
        let status = self.decided(now, |decided| {
            let step = decided.steps.iter().find(|step| step.standing.name() == "apps").unwrap();
            status(step, &decided, &told, now)
        });
        let said = status.conditions.iter().find(|condition| condition.type_ == "Enforcing").unwrap();
        let phase = status.enforcement.unwrap().phase;
        (said.status.clone(), said.reason.clone(), said.message.clone(), phase)
    }

    /// What would be written down once somebody agreed to what a policy takes in the new namespace.
    fn agrees(&mut self, policy: &str) -> Vec<Event> {
        let soon = at(NOW) + SignedDuration::from_secs(1);
        let digests: BTreeSet<Digest> = self.pass(soon)[policy].held.iter().map(|held| held.digest).collect();
        for digest in digests {
            let (kind, by) = ("SigningIdentityPolicy".to_owned(), "bob".to_owned());
            self.approvals.push(Approval { kind, name: policy.to_owned(), digest, by, made: None });
        }
        let records = self.pass(soon)[policy].history.records().to_vec();
        self.approvals.clear();
        let events = records.into_iter().map(|record| record.event);
        events.filter(|event| matches!(event, Event::ClaimsAllowed { .. })).collect()
    }

    /// Which policies come to be enforced in the new namespace.
    fn promoted(&self) -> Vec<String> {
        let decided = self.pass(at(NOW) + SignedDuration::from_secs(1));
        decided.into_iter().filter(|(_, decision)| decision.namespaces.contains(BOTH)).map(|(name, _)| name).collect()
    }
}

/// A policy that takes in what `apps` is about, and lets one image through that nobody signed.
fn exempting(name: &str) -> Member {
    let nginx = format!("docker.io/library/nginx@{}", Digest::of(b"nginx"));
    let exempt = json!([{"image": nginx, "reason": "mine"}]);
    policy(name, &["docker.io/**", "r.example/**"], "other", &json!({ "exemptImages": exempt }))
}

#[test]
fn of_policies_that_come_into_force_together_the_newcomer_asks() {
    let later = "2026-05-01T00:00:00Z";
    for name in ["aaa", "evil"] {
        let mut world = World::new(exempting(name), later);
        assert_eq!(world.promoted(), ["apps"], "{name}: it would take nginx out of what `apps` denies");
        let decided = world.pass(at(NOW));
        let held = &decided[name].held;
        assert!(held.iter().all(|held| held.kind == LooseningKind::PromotionClaims) && !held.is_empty(), "{held:?}");
        let approves = Approval {
            kind: "SigningIdentityPolicy".to_owned(),
            name: name.to_owned(),
            digest: held[0].digest,
            by: "bob".to_owned(),
            made: None,
        };
        world.approvals.push(approves);
        assert_eq!(world.promoted().len(), 2, "{name}: once somebody agreed");
    }
}

/// It was enforced before `apps` was, in another form.
fn was_about_less(world: &mut World, name: &str, before: &Member) {
    let mut remembered = enforced(before, "side", "2026-01-01T00:00:00Z");
    if let Some(declared) = world.members.iter().find(|of| of.name == name).filter(|of| of.form != before.form) {
        let (form, by) = (declared.declares().digest(), Vec::new());
        remembered.history.append(at("2026-05-01T00:00:00Z"), Event::FormChanged { form, by, further: true }, 512);
        remembered.enforced.as_mut().unwrap().spec = declared.form.spec.clone();
    }
    world.remembered.insert(name.to_owned(), remembered);
}

#[test]
fn who_was_there_first_and_came_to_be_about_more_is_the_newcomer() {
    let mine = json!({"otherImages": "Allow"});
    let both = policy("mine", &["r.example/**", "m.example/**"], "other", &mine);
    let less = policy("mine", &["r.example/**"], "other", &mine);
    for (what, before, wanted) in [("as it was", &both, vec!["apps", "mine"]), ("about more", &less, vec!["apps"])] {
        let mut world = World::new(both.clone(), "2026-01-01T00:00:00Z");
        was_about_less(&mut world, "mine", before);
        assert_eq!(world.promoted(), wanted, "{what}");
    }
    // In the very step in which it comes to be so, too.
    let mut world = World::new(both, "2026-01-01T00:00:00Z");
    world.remembered.insert("mine".to_owned(), enforced(&less, "side", "2026-01-01T00:00:00Z"));
    assert_eq!(world.promoted(), ["apps"]);
    let decided = world.pass(at(NOW) + SignedDuration::from_secs(1));
    assert!(decided["mine"].held.iter().all(|held| held.kind == LooseningKind::PromotionClaims));
    let images = &decided["mine"].enforced.as_ref().unwrap().spec.images;
    assert!(images.contains(&"m.example/**".to_owned()) && !decided["mine"].held.is_empty());
}

/// What `mine` was agreed to take from `apps` in a namespace in which that one is enforced already.
fn agreed_beside(both: &Member) -> Event {
    let mut world = World::new(both.clone(), "2026-01-01T00:00:00Z");
    let apps = world.members.iter().find(|of| of.name == "apps").unwrap().clone();
    let mut remembered = enforced(&apps, BOTH, NOW);
    remembered.history = world.remembered["apps"].history.clone();
    let (wave, namespaces) = ("everything".to_owned(), BTreeSet::from([BOTH.to_owned()]));
    remembered.history.append(at(NOW), Event::Promoted { wave, namespaces, form: apps.declares().digest() }, 512);
    world.remembered.insert("apps".to_owned(), remembered);
    world.agrees("mine").pop().unwrap()
}

#[test]
fn what_a_newcomer_was_agreed_to_take_it_takes_in_every_new_namespace() {
    let mine = json!({"otherImages": "Allow"});
    let less = policy("mine", &["r.example/**"], "other", &mine);
    let both = policy("mine", &["r.example/**", "m.example/**"], "other", &mine);
    let mut world = World::new(both.clone(), "2026-01-01T00:00:00Z");
    was_about_less(&mut world, "mine", &less);
    assert_eq!(world.promoted(), ["apps"], "nobody agreed yet");
    let agreed = agreed_beside(&both);
    world.remembered.get_mut("mine").unwrap().history.append(at("2026-06-01T00:00:00Z"), agreed, 512);
    assert_eq!(world.promoted(), ["apps", "mine"]);
    // What the other one is about anyway is not taken from it.
    let within = policy("mine", &["r.example/a", "r.example/b"], "other", &mine);
    let mut world = World::new(within, "2026-01-01T00:00:00Z");
    was_about_less(&mut world, "mine", &policy("mine", &["r.example/a"], "other", &mine));
    assert_eq!(world.promoted(), ["apps", "mine"]);
}

#[test]
fn a_later_wave_makes_a_newcomer_of_who_was_there_first() {
    let mine = |waves: &Value| {
        let enforcement = json!({"desired": "Enforce", "soak": "0s", "waves": waves});
        policy("mine", &["m.example/**"], "other", &json!({"otherImages": "Allow", "enforcement": enforcement}))
    };
    let everything = json!([{"name": "everything"}]);
    let in_two =
        json!([{"name": "first", "namespaceSelector": {"matchLabels": {"first": "yes"}}}, {"name": "everything"}]);
    for (what, waves, first, wanted) in [
        ("its only wave came before the other policy", &everything, false, vec!["apps", "mine"]),
        ("its wave for the rest came after it", &in_two, false, vec!["apps"]),
        ("its wave for the rest came after it, and this is of the first", &in_two, true, vec!["apps", "mine"]),
    ] {
        let mut world = World::new(mine(waves), "2026-01-01T00:00:00Z");
        let remembered = &mut world.remembered.get_mut("mine").unwrap().enforced.as_mut().unwrap().waves;
        let standing = remembered["everything"].clone();
        if *waves == in_two {
            remembered.insert("first".to_owned(), standing);
            remembered.get_mut("everything").unwrap().promoted = at("2026-04-01T00:00:00Z");
        }
        if first {
            world.namespaces.get_mut(BOTH).unwrap().labels.insert("first".to_owned(), "yes".to_owned());
        }
        assert_eq!(world.promoted(), wanted, "{what}");
    }
}

/// Both are enforced from the start of a namespace, and holdfast ends before the second one is written down.
#[test]
fn who_was_not_written_down_with_the_other_is_as_new_as_that_one() {
    let claims = policy("mine", &["m.example/**"], "other", &json!({"otherImages": "Allow"}));
    let soon = at(NOW) + SignedDuration::from_secs(1);
    for (written, wanted) in [("2026-07-01T00:00:01Z", 2), ("2026-06-01T00:00:00Z", 1)] {
        let mut world = World::new(claims.clone(), "2026-05-01T00:00:00Z");
        assert_eq!(world.promoted(), ["apps"], "it asks for what it would take");
        let (kind, by) = ("SigningIdentityPolicy".to_owned(), "bob".to_owned());
        let digest = world.pass(soon)["mine"].held[0].digest;
        world.approvals.push(Approval { kind, name: "mine".to_owned(), digest, by, made: None });
        let allowed = world.pass(soon)["mine"].history.records().iter().find_map(|record| match &record.event {
            Event::ClaimsAllowed { of_newborn, by, .. } => Some((of_newborn.clone(), by.clone())),
            _ => None,
        });
        let (of_newborn, by) = allowed.unwrap();
        world.approvals.clear();
        // It was agreed to in a namespace that was made like this one.
        let (claims, namespaces) = (Digest::of(b"elsewhere"), BTreeSet::from(["elsewhere".to_owned()]));
        let event = Event::ClaimsAllowed { claims, namespaces, of_newborn, by };
        world.remembered.get_mut("mine").unwrap().history.append(at("2026-05-02T00:00:00Z"), event, 512);
        assert_eq!(world.promoted().len(), 2);
        let (wave, namespaces) = ("everything".to_owned(), BTreeSet::from([BOTH.to_owned()]));
        let form = world.members[0].declares().digest();
        let standing = json!({"wave": wave, "written": written, "observed": written});
        let apps = world.remembered.get_mut("apps").unwrap();
        apps.history.append(at(NOW), Event::Promoted { wave, namespaces, form }, 512);
        let standing = serde_json::from_value(standing).unwrap();
        apps.enforced.as_mut().unwrap().namespaces.insert(BOTH.to_owned(), standing);
        assert_eq!(world.promoted().len(), wanted, "written down {written}");
    }
}

#[test]
fn who_was_there_first_stays_so_when_the_names_it_came_with_are_forgotten() {
    let mut world = World::new(exempting("aaa"), "2026-05-01T00:00:00Z");
    // `apps` is enforced since March, and of what was there then nothing is left.
    let apps = world.remembered.get_mut("apps").unwrap();
    let shop = BTreeSet::from(["shop".to_owned()]);
    let old = BTreeSet::from(["old".to_owned()]);
    let (form, wave) = (world.members.iter().find(|of| of.name == "apps").unwrap().declares().digest(), "everything");
    let mut history = History::default();
    for (at_, namespaces) in [("2026-03-01T00:00:00Z", &old), ("2026-06-01T00:00:00Z", &shop)] {
        let promoted = Event::Promoted { wave: wave.to_owned(), namespaces: namespaces.clone(), form };
        history.append(at(at_), promoted, 512);
    }
    history.append(at("2026-06-02T00:00:00Z"), Event::Forgotten { namespaces: old }, 512);
    apps.history = history;
    apps.enforced.as_mut().unwrap().namespaces.get_mut("shop").unwrap().written = at("2026-06-01T00:00:00Z");
    let decided = world.pass(at(NOW) + SignedDuration::from_secs(1));
    assert!(decided["apps"].namespaces.contains(BOTH) && !decided["aaa"].namespaces.contains(BOTH));
    assert!(decided["aaa"].held.iter().any(|held| held.kind == LooseningKind::PromotionClaims));
}

#[test]
fn policies_that_take_nothing_from_one_another_come_into_force_together() {
    let within = policy("web", &["r.example/web"], "other", &json!({}));
    assert_eq!(World::new(within, "2026-05-01T00:00:00Z").promoted(), ["apps", "web"]);
}

/// Seventeen policies that are all to be enforced about sixty-four namespaces: eleven that list much, and six that make of each namespace a set of its own.
fn combined() -> World {
    let much = |policy: usize| -> Vec<String> {
        (0..128).map(|number| format!("r{policy}.example/{number}{}", "/abcdefgh".repeat(48))).collect()
    };
    let large = (0..11).map(|at| {
        let images = much(at);
        policy(&format!("large-{at:02}"), &images.iter().map(String::as_str).collect::<Vec<_>>(), "all", &json!({}))
    });
    let small = (0..6).map(|at| policy(&format!("small-{at}"), &["s.example/**"], &format!("bit-{at}"), &json!({})));
    let namespaces = (0..64_usize).map(|number| {
        let bits = (0..6).filter(|bit| number >> bit & 1 == 1).map(|bit| format!("bit-{bit}"));
        let labels = bits.chain(["all".to_owned()]).map(|label| (label, "yes".to_owned())).collect();
        let (created, seen) = (Some(at("2026-01-01T00:00:00Z")), Seen::Before);
        (format!("n{number:02}"), Namespace { labels, created, seen })
    });
    World {
        members: large.chain(small).collect(),
        remembered: BTreeMap::new(),
        namespaces: namespaces.collect(),
        approvals: Vec::new(),
        glasses: Vec::new(),
        open: BTreeSet::new(),
    }
}

/// The policies that are told that there is no room for them.
fn kept_out(world: &World) -> BTreeSet<String> {
    let decided = world.pass(at(NOW));
    let is_kept_out = |decision: &Decision| {
        let checks = decision.status().checks;
        checks.iter().any(|check| check.name == "EngineReady" && check.message.contains("16 MiB of admission rules"))
    };
    decided.into_iter().filter(|(_, decision)| is_kept_out(decision)).map(|(name, _)| name).collect()
}

#[test]
fn no_promotion_goes_beyond_what_admission_rules_may_come_to() {
    let mut world = combined();
    let beyond = kept_out(&world);
    assert!(!beyond.is_empty() && beyond.len() < 11, "{beyond:?}");
    assert!(beyond.iter().all(|name| name.starts_with("large-")), "who lists little comes in: {beyond:?}");
    world.members.reverse();
    assert_eq!(kept_out(&world), beyond, "in whatever order they are declared");
    // What is only to report keeps nobody out.
    for member in world.members.iter_mut().filter(|member| beyond.contains(&member.name)) {
        member.form.spec.enforcement.desired = Desired::Audit;
    }
    assert_eq!(kept_out(&world), beyond);
    world.members.retain(|member| !beyond.contains(&member.name));
    assert!(kept_out(&world).is_empty());
}

#[test]
fn it_is_not_said_to_deny_where_a_break_glass_is_open_or_it_was_seen_not_to() {
    let other = policy("other", &["o.example/**"], "other", &json!({}));
    let mut world = World::new(other, "2026-03-02T00:00:00Z");
    world.namespaces.remove(BOTH);
    let said = |world: &World| {
        let (status, reason, message, phase) = world.enforcing();
        assert_eq!(phase, "Enforcing", "what is remembered stays: {message}");
        (status, reason, message)
    };
    let (status, reason, _) = said(&world);
    assert_eq!((status.as_str(), reason.as_str()), ("True", "Denies"));
    let glass = |policy: &str| ActiveBreakGlass {
        name: "inc".to_owned(),
        loosen: serde_json::from_value(json!({"returnToAudit": {"policy": policy, "namespaces": ["shop"]}})).unwrap(),
        until: at("2026-07-01T02:00:00Z"),
        approved_by: Vec::new(),
    };
    world.glasses = vec![glass("apps")];
    let (status, reason, message) = said(&world);
    assert_eq!((status.as_str(), reason.as_str()), ("False", "Excepted"), "{message}");
    for word in ["`inc`", "`shop`", "2026-07-01T02:00:00Z"] {
        assert!(message.contains(word), "{message}");
    }
    world.glasses = vec![glass("other")];
    assert_eq!(said(&world).0, "True");
    world.glasses.clear();
    world.open.insert("shop".to_owned());
    let (status, reason, message) = said(&world);
    assert_eq!((status.as_str(), reason.as_str()), ("False", "NotInForce"), "{message}");
    assert!(message.contains("`shop`"), "{message}");
}
