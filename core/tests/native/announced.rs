//! What is known of parameters after a crash between any two writes.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_core::Digest;
use holdfast_core::engines::native::announced::Announced;
use holdfast_core::engines::native::{Basis, Holding, Proof, Shards};
use holdfast_core::engines::{Object, Verified};
use holdfast_core::verify::{Reason, Verdict};
use jiff::Timestamp;
use proptest::prelude::*;

use crate::world::digest;

const POLICIES: [&str; 2] = ["apps", "apps.two"];

fn basis(number: u8) -> Basis {
    Basis { trust: BTreeMap::new(), policy: digest(&format!("basis {number}")) }
}

fn image(number: u8) -> Digest {
    digest(&format!("image {number}"))
}

/// What one pass decides: for each policy a basis, the digests that are verified on it, and into how many parameters they are packed.
#[derive(Debug, Clone)]
struct Pass {
    policies: Vec<(u8, BTreeSet<u8>, u16)>,
    /// How many of its writes are made before the process is killed; all, where that is more than there are.
    writes: usize,
    /// Whether what is no longer wanted is deleted, too, where all is written.
    deletes: bool,
}

fn pass() -> impl Strategy<Value = Pass> {
    let digests = prop::collection::btree_set(0_u8..12, 0..8);
    let policy = (0_u8..3, digests, prop::sample::select(vec![1_u16, 2, 4]));
    let writes = prop_oneof![0_usize..9, Just(usize::MAX)];
    (prop::collection::vec(policy, POLICIES.len()), writes, any::<bool>())
        .prop_map(|(policies, writes, deletes)| Pass { policies, writes, deletes })
}

/// The parameters and what they rest on, of digests as they are decided; every parameter is made, however few digests there are.
fn wanted(pass: &Pass) -> (Vec<Object>, BTreeMap<String, Holding>) {
    let (mut objects, mut holdings) = (Vec::new(), BTreeMap::new());
    for (policy, (on, images, count)) in POLICIES.into_iter().zip(&pass.policies) {
        let mut verified = Verified::default();
        for number in images {
            verified.admit(policy, &Verdict::without_evidence(image(*number), Reason::Verified, ""));
        }
        let shards = Shards::pack(&verified, policy, Some(1));
        let whole = shards.objects().next().unwrap();
        objects.extend(split(&whole, policy, *count));
        let proof = Proof { last_seen: Timestamp::UNIX_EPOCH, evidence: None };
        let digests = images.iter().map(|number| (image(*number), proof)).collect();
        holdings.insert(policy.to_owned(), Holding { basis: Some(basis(*on)), digests });
    }
    (objects, holdings)
}

/// One parameter in as many parts: as the engine does where one is full, which takes 14,000 digests.
fn split(whole: &Object, policy: &str, count: u16) -> Vec<Object> {
    let data = whole.body()["spec"]["data"].as_object().unwrap();
    let width = 256 / count;
    (0..count)
        .map(|at| {
            let (from, to) = (at * width, (at + 1) * width - 1);
            let holds = |key: &str| (from..=to).contains(&u16::from_str_radix(&key[..2], 16).unwrap());
            let mut body = whole.body().clone();
            body["metadata"]["name"] = format!("holdfast-verified-{from:02x}-{to:02x}.{policy}").into();
            let of_part = data.iter().filter(|(key, _)| holds(key)).map(|(key, list)| (key.clone(), list.clone()));
            body["spec"]["data"] = serde_json::Value::Object(of_part.collect());
            Object::found(whole.engine(), body)
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever was cut off: what is recalled rests on what was decided last, and was not decided against; and what no decision was against is not forgotten.
    #[test]
    fn what_is_recalled_was_decided_last_and_what_always_was_is_recalled(passes in prop::collection::vec(pass(), 1..7)) {
        let (mut announced, mut there) = (Announced::default(), BTreeMap::<String, Object>::new());
        let mut always: Option<Vec<BTreeSet<Digest>>> = None;
        for pass in &passes {
            let (objects, holdings) = wanted(pass);
            let is_there = |name: &str| there.get(name);
            let next = announced.followed_by(&objects, &holdings, &is_there);
            if !next.wants_the_same(&announced) {
                announced = next;
            }
            let decided: Vec<BTreeSet<Digest>> =
                pass.policies.iter().map(|(_, images, _)| images.iter().map(|number| image(*number)).collect()).collect();
            let is_whole = pass.writes == usize::MAX;
            always = match always {
                Some(before) => Some(before.iter().zip(&decided).map(|(before, now)| before & now).collect()),
                None => is_whole.then(|| decided.clone()),
            };
            for object in objects.iter().take(pass.writes) {
                there.insert(object.name().to_owned(), object.clone());
            }
            if pass.deletes && is_whole {
                let names: BTreeSet<&str> = objects.iter().map(Object::name).collect();
                there.retain(|name, _| names.contains(name.as_str()));
            }
            let recalled = announced.recall(there.values());
            for (at, policy) in POLICIES.into_iter().enumerate() {
                let found = recalled.get(policy);
                if let Some(found) = found {
                    prop_assert_eq!(&found.basis, &basis(pass.policies[at].0));
                    prop_assert!(found.digests.is_subset(&decided[at]), "{policy}: {found:?}");
                }
                if let Some(always) = &always {
                    let found = found.map(|found| found.digests.clone()).unwrap_or_default();
                    prop_assert!(always[at].is_subset(&found), "{policy} forgot some of {:?}", always[at]);
                }
            }
        }
    }
}

/// What is decided against is named one by one, as far as there is room; beyond that, what is there proves nothing on another basis.
#[test]
fn more_than_there_is_room_for_proves_nothing_anew() {
    let policy = |count: u32, on: u8| {
        let digests = (0..count).map(|number| Digest::of(&number.to_be_bytes()));
        let proof = Proof { last_seen: Timestamp::UNIX_EPOCH, evidence: None };
        let holding =
            Holding { basis: Some(basis(on)), digests: digests.clone().map(|digest| (digest, proof)).collect() };
        let mut verified = Verified::default();
        digests.for_each(|digest| _ = verified.admit("apps", &Verdict::without_evidence(digest, Reason::Verified, "")));
        let objects: Vec<Object> = Shards::pack(&verified, "apps", None).objects().collect();
        (objects, BTreeMap::from([("apps".to_owned(), holding)]))
    };
    for (left, known) in [(4_000, 4_000), (1_000, 0)] {
        let (before, holdings) = policy(12_000, 0);
        let announced = Announced::default().followed_by(&before, &holdings, &|_| None);
        let (after, fewer) = policy(left, 1);
        let is_there = |name: &str| before.iter().find(|object| object.name() == name);
        let announced = announced.followed_by(&after, &fewer, &is_there);
        assert!(serde_json::to_vec(&announced).unwrap().len() < 200 * 1024);
        let recalled = &announced.recall(&before)["apps"];
        let on_it = if recalled.basis == basis(1) { recalled.digests.len() } else { 0 };
        assert_eq!(on_it, known);
        assert_eq!(announced.recall(&after)["apps"].digests.len(), usize::try_from(left).unwrap());
    }
}

#[test]
fn what_nobody_announced_says_nothing() {
    let pass =
        Pass { policies: vec![(0, BTreeSet::from([1, 2]), 1), (0, BTreeSet::new(), 1)], writes: 9, deletes: true };
    let (objects, holdings) = wanted(&pass);
    let announced = Announced::default().followed_by(&objects, &holdings, &|_| None);
    assert_eq!(announced.recall(&objects)["apps"].digests, BTreeSet::from([image(1), image(2)]));
    assert_eq!(Announced::default().recall(&objects), BTreeMap::new());
    let forged: Vec<Object> = objects
        .iter()
        .map(|object| {
            let mut body = object.body().clone();
            body["metadata"]["labels"]["more"] = "x".into();
            Object::found(object.engine(), body)
        })
        .collect();
    assert_eq!(announced.recall(&forged), BTreeMap::new());
    assert!(announced.followed_by(&objects, &holdings, &|_| None).wants_the_same(&announced));
}
