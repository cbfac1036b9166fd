//! Other forms of the same verified digests: what each costs a pod, the API server and etcd.
//!
//! They are made from what is rendered, so that nothing else differs; one that wins is to be rendered so.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::{Map, Value, json};

use crate::cluster::{Cluster, path_of};
use crate::create::{AIM, median};
use crate::estate::{CALM, Size, World, clear, settled};
use crate::memory::Held;
use crate::percentile;

/// How digests are packed into shards that all policies share.
#[derive(Clone, Copy)]
struct Form {
    /// Objects.
    shards: usize,
    /// Leading digits that share a list.
    digits: usize,
    /// Digits of a digest that are kept.
    kept: usize,
}

const SMALL: Size = Size { digests: 12_000, policies: 10, matching: 2 };
const ONE: Size = Size { digests: 100_000, policies: 1, matching: 1 };

pub(crate) fn forms(cluster: &Cluster, every: bool) {
    let form = |shards, digits, kept| Form { shards, digits, kept };
    for (size, forms) in [
        (AIM, vec![form(8, 2, 64), form(16, 2, 64), form(8, 3, 64), form(4, 2, 32)]),
        (SMALL, vec![form(1, 2, 64), form(2, 2, 64), form(4, 2, 64), form(8, 2, 64), form(16, 2, 64)]),
        (ONE, vec![form(8, 3, 64), form(16, 2, 64), form(4, 2, 32)]),
    ] {
        if size != AIM && !every {
            continue;
        }
        let world = World::new(size);
        println!("{} digests, {} policies, {} matching", size.digests, size.policies, size.matching);
        try_form(cluster, &world, "as rendered", &world.objects(), true);
        for form in forms {
            let Form { shards, digits, kept } = form;
            let what = format!("{shards} shared shards, lists by {digits} digits, {kept} kept");
            try_form(cluster, &world, &what, &packed(&world, form), true);
        }
        try_form(cluster, &world, "messages that are fixed", &fixed(world.objects()), true);
        if size != SMALL {
            try_form(cluster, &world, "created, not applied", &world.objects(), false);
            try_form(cluster, &world, "in the policies themselves", &inline(&world), true);
        }
    }
    writes(cluster);
}

fn try_form(cluster: &Cluster, world: &World, what: &str, objects: &[Value], apply: bool) {
    clear(cluster);
    let before = Held::of(cluster, 0);
    let start = Instant::now();
    for kind in ["VerifiedImages", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"] {
        let of: Vec<Value> = objects.iter().filter(|object| object["kind"] == kind).cloned().collect();
        if apply {
            cluster.apply_all(&of);
        } else {
            for object in &of {
                let path = path_of(object);
                cluster.call("POST", path.rsplit_once('/').unwrap().0, Some(object));
            }
        }
    }
    let written = start.elapsed();
    settled(cluster, world);
    let took = start.elapsed().saturating_sub(CALM);
    let half = median(cluster, &world.good());
    let held = Held::of(cluster, 0);
    println!(
        "  {what:<48} p50 {:>6.2} ms; {:>4} objects; +{:.0} MiB alive, +{:.1} MiB in etcd; written in {written:.1?}, in force after {took:.1?}",
        half.as_secs_f64() * 1000.0,
        objects.len(),
        held.alive - before.alive,
        held.etcd - before.etcd,
    );
}

/// The same digests in shards that all policies share, and bindings of every policy to each.
fn packed(world: &World, form: Form) -> Vec<Value> {
    let mut shards: BTreeMap<usize, BTreeMap<String, Vec<String>>> = BTreeMap::new();
    let width = 256 / form.shards;
    for (policy, hex) in world.digests() {
        let first = usize::from_str_radix(&hex[..2], 16).unwrap();
        let list =
            shards.entry(first / width).or_default().entry(format!("{}.{policy}", &hex[..form.digits])).or_default();
        list.push(hex[..form.kept].to_owned());
    }
    let rendered = world.objects();
    let shard = rendered.iter().find(|object| object["kind"] == "VerifiedImages").unwrap();
    let mut objects = Vec::new();
    let range = |at: usize| format!("{:02x}-{:02x}", at * width, (at + 1) * width - 1);
    for at in 0..form.shards {
        let lists = shards.remove(&at).unwrap_or_default();
        let lists: Map<String, Value> = lists.into_iter().map(|(key, list)| (key, json!(list.join(";")))).collect();
        let mut object = shard.clone();
        object["metadata"]["name"] = json!(format!("holdfast-verified-{}", range(at)));
        object["spec"]["data"] = Value::Object(lists);
        objects.push(object);
    }
    let mut done = Vec::new();
    for object in &rendered {
        if object["kind"] == "VerifiedImages" {
            continue;
        }
        if object["spec"]["paramRef"].is_null() {
            let text = object.to_string();
            let short = text.replace("contains(x.hex)", &format!("contains(x.hex.substring(0, {}))", form.kept));
            objects.push(serde_json::from_str(if form.kept == 64 { &text } else { &short }).unwrap());
        } else if !done.contains(&&object["spec"]["policyName"]) {
            done.push(&object["spec"]["policyName"]);
            let name = object["spec"]["policyName"].as_str().unwrap();
            for at in 0..form.shards {
                let mut binding = object.clone();
                binding["metadata"]["name"] = json!(format!("{name}-{}", range(at)));
                binding["spec"]["paramRef"]["name"] = json!(format!("holdfast-verified-{}", range(at)));
                objects.push(binding);
            }
        }
    }
    objects
}

/// Without message expressions: the API server evaluates each of them, with all variables anew, also where nothing is denied.
fn fixed(mut objects: Vec<Value>) -> Vec<Value> {
    for object in &mut objects {
        for validation in object.pointer_mut("/spec/validations").and_then(Value::as_array_mut).into_iter().flatten() {
            validation.as_object_mut().unwrap().remove("messageExpression");
        }
    }
    objects
}

/// The longest text of an expression that CEL reads is 100,000 characters.
const LONGEST: usize = 90_000;
const LARGEST: usize = 900 * 1024;

/// Without parameters: each policy with its own digests in variables, in as many objects as that takes.
pub(crate) fn inline(world: &World) -> Vec<Value> {
    let mut by_policy: BTreeMap<String, BTreeMap<String, Vec<String>>> = BTreeMap::new();
    for (policy, hex) in world.digests() {
        by_policy.entry(policy.to_owned()).or_default().entry(hex[..2].to_owned()).or_default().push(hex);
    }
    let rendered = world.objects();
    let mut objects = Vec::new();
    let mut parts_of: BTreeMap<String, usize> = BTreeMap::new();
    for object in &rendered {
        if object["kind"] != "ValidatingAdmissionPolicy" {
            continue;
        }
        if object["spec"]["paramKind"].is_null() {
            objects.push(object.clone());
            continue;
        }
        let name = object["metadata"]["name"].as_str().unwrap();
        let policy = name.split_once('-').and_then(|(_, rest)| rest.split_once('-')).unwrap().1;
        let lists = &by_policy[policy];
        let total: usize = lists.values().map(|list| list.len() * 65).sum();
        let parts = total.div_ceil(LARGEST).next_power_of_two();
        parts_of.insert(name.to_owned(), parts);
        let width = 256 / parts;
        for at in 0..parts {
            let (from, to) = (format!("{:02x}", at * width), format!("{:02x}", (at + 1) * width - 1));
            objects.push(inlined(object, lists.range(from.clone()..=to.clone()), (&from, &to, policy)));
        }
    }
    let mut done = Vec::new();
    for object in rendered.iter().filter(|object| object["kind"] == "ValidatingAdmissionPolicyBinding") {
        let of = object["spec"]["policyName"].as_str().unwrap();
        if object["spec"]["paramRef"].is_null() {
            objects.push(object.clone());
        } else if !done.contains(&of) {
            done.push(of);
            let width = 256 / parts_of[of];
            for at in 0..parts_of[of] {
                let mut binding = object.clone();
                let name = format!("{of}-{:02x}-{:02x}", at * width, (at + 1) * width - 1);
                binding["spec"].as_object_mut().unwrap().remove("paramRef");
                binding["spec"]["policyName"] = json!(name);
                binding["metadata"]["name"] = json!(name);
                objects.push(binding);
            }
        }
    }
    objects
}

fn inlined<'a>(
    object: &Value,
    lists: impl Iterator<Item = (&'a String, &'a Vec<String>)>,
    (from, to, policy): (&str, &str, &str),
) -> Value {
    let mut variables: Vec<(String, String)> = Vec::new();
    for (digits, list) in lists {
        let entry = format!("'{digits}': '{}'", list.join(";"));
        match variables.last_mut() {
            Some((_, text)) if text.len() + entry.len() < LONGEST => *text = format!("{text}, {entry}"),
            _ => variables.push((digits.clone(), entry)),
        }
    }
    let mut which = format!("variables.d{}", variables.len() - 1);
    for at in (0..variables.len() - 1).rev() {
        which = format!("(x.hex < '{}' ? variables.d{at} : {which})", variables[at + 1].0);
    }
    let key = format!("'.{policy}'");
    let listed = format!(
        "[x.hex.substring(0, 2), x.hex.substring(0, 3)].exists(d, (d + {key}) in params.spec.data && params.spec.data[d + {key}].contains(x.hex))"
    );
    let mut object = object.clone();
    object["metadata"]["name"] = json!(format!("{}-{from}-{to}", object["metadata"]["name"].as_str().unwrap()));
    object["spec"].as_object_mut().unwrap().remove("paramKind");
    let all = object["spec"]["variables"].as_array_mut().unwrap();
    for variable in all.iter_mut() {
        let text = variable["expression"].as_str().unwrap();
        let text =
            text.replace("params.metadata.name.split('.')[0].split('-')", &format!("['', '', '{from}', '{to}']"));
        let text = text.replace(&listed, &format!("{which}[?x.hex.substring(0, 2)].orValue('').contains(x.hex)"));
        variable["expression"] = json!(text);
    }
    for (at, (_, text)) in variables.into_iter().enumerate() {
        all.insert(at, json!({"name": format!("d{at}"), "expression": format!("{{{text}}}")}));
    }
    assert!(!object["spec"].to_string().contains("params."), "nothing asks for parameters");
    object
}

/// A shard written over by apply and by replacing it.
fn writes(cluster: &Cluster) {
    let mut world = World::new(AIM);
    let shard = |world: &World| world.objects()[0].clone();
    cluster.apply(&shard(&world));
    let (mut applied, mut replaced) = (Vec::new(), Vec::new());
    for number in 0..20 {
        world.verify(&format!("again {number}"));
        let mut object = shard(&world);
        object["metadata"]["annotations"]["try"] = json!(format!("{number}"));
        let start = Instant::now();
        let written = cluster.apply(&object);
        applied.push(start.elapsed());
        object["metadata"]["annotations"]["try"] = json!(format!("{number}, again"));
        object["metadata"]["resourceVersion"] = written["metadata"]["resourceVersion"].clone();
        let start = Instant::now();
        cluster.call("PUT", &path_of(&object), Some(&object));
        replaced.push(start.elapsed());
    }
    println!(
        "a shard written over: applied {:.1?}, replaced {:.1?} (medians)",
        percentile(&mut applied, 0.5),
        percentile(&mut replaced, 0.5)
    );
}
