//! ConfigMaps, as a courier without any storage brings a repository.

use std::io::Write;

use holdfast_testpki::base64;
use serde_json::{Value, json};

use super::server::{gzip, packed};
use super::{declare, fails, version};
use crate::chart_support::NAMESPACE;
use crate::courier::Courier;
use crate::lab::{Lab, SOURCES, config_map_path, mirror_path};

fn put(lab: &Lab, namespace: &str, name: &str, files: &[(String, Vec<u8>)]) {
    let data: serde_json::Map<String, Value> =
        files.iter().map(|(key, bytes)| (key.clone(), json!(base64(bytes)))).collect();
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "binaryData": data});
    match lab.get(&config_map_path(namespace, name)) {
        Some(_) => lab.call("PUT", &config_map_path(namespace, name), Some(&object)),
        None => lab.call("POST", &format!("/api/v1/namespaces/{namespace}/configmaps"), Some(&object)),
    };
}

fn files(courier: &Courier, gzipped: bool) -> Vec<(String, Vec<u8>)> {
    let all = courier.repository.files();
    let named = all.into_iter().map(|(path, bytes)| (path.rsplit('/').next().unwrap().to_owned(), bytes));
    let pack = |(name, bytes): (String, Vec<u8>)| {
        let mut packed = gzip();
        packed.write_all(&bytes).unwrap();
        (format!("{name}.gz"), packed.finish().unwrap())
    };
    if gzipped { named.map(pack).collect() } else { named.collect() }
}

#[test]
fn a_repository_is_read_however_it_was_put_into_a_config_map() {
    let Some(lab) = Lab::enter() else { return };
    let operator = lab.operator();
    let mut courier = Courier::new("mapped");
    let source = json!({"configMap": {"namespace": SOURCES, "name": "trust"}});
    put(&lab, SOURCES, "trust", &files(&courier, false));
    declare(&lab, &courier, "mapped", &source);
    version(&lab, "mapped", 1);
    // Noticed at once, in a namespace that is declared, and however it is packed.
    courier.refresh();
    put(&lab, SOURCES, "trust", &files(&courier, true));
    version(&lab, "mapped", 2);
    courier.refresh();
    put(&lab, SOURCES, "trust", &[("repository.tar.gz".to_owned(), packed(&courier.repository.files()))]);
    version(&lab, "mapped", 3);
    // Almost as large as an object may be: bytes that no compression makes smaller.
    courier.refresh();
    let mut all = courier.repository.files();
    let noise: Vec<u8> = (0_u32..23_000).flat_map(|number| holdfast_testpki::sha256(&number.to_be_bytes())).collect();
    all.insert("targets/noise".to_owned(), noise);
    let large = packed(&all);
    assert!((736_000..786_000).contains(&large.len()), "as base64, just below a mebibyte: {}", large.len());
    put(&lab, SOURCES, "trust", &[("repository.tar.gz".to_owned(), large)]);
    version(&lab, "mapped", 4);
    // Twice, so that either could be meant.
    let mut both = files(&courier, false);
    both.extend(files(&courier, true));
    put(&lab, SOURCES, "trust", &both);
    let twice = fails(&lab, &operator, "mapped", "SourceUnacceptable", "");
    assert!(twice.message("Ready").contains("remove one"), "{}", twice.text());
    courier.refresh();
    put(&lab, SOURCES, "trust", &files(&courier, false));
    version(&lab, "mapped", 5);
    // Gone: what is in force stays, and it is taken up when it is back.
    lab.delete(&config_map_path(SOURCES, "trust"));
    let gone = fails(&lab, &operator, "mapped", "SourceUnusable", "Stalled");
    assert!(gone.message("Ready").contains("ConfigMap trust-sources/trust is not there"), "{}", gone.text());
    courier.refresh();
    put(&lab, SOURCES, "trust", &files(&courier, false));
    version(&lab, "mapped", 6);
}

#[test]
fn a_namespace_that_is_not_declared_is_not_read() {
    let Some(lab) = Lab::enter() else { return };
    let operator = lab.operator();
    lab.namespace("elsewhere", &json!({}));
    let courier = Courier::new("elsewhere");
    put(&lab, "elsewhere", "trust", &files(&courier, false));
    declare(&lab, &courier, "elsewhere", &json!({"configMap": {"namespace": "elsewhere", "name": "trust"}}));
    let refused = fails(&lab, &operator, "elsewhere", "SourceUnusable", "Stalled");
    assert!(refused.message("Stalled").contains("sourceNamespaces"), "{}", refused.text());
    // Corrected in the mirror, it is read at once.
    courier.deliver(&lab);
    lab.patch(
        &mirror_path("elsewhere"),
        &json!({"spec": {"source": {"configMap": {"namespace": NAMESPACE, "name": courier.config_map}}}}),
    );
    version(&lab, "elsewhere", 1);
}

#[test]
fn the_root_that_everything_starts_from_may_come_later() {
    let Some(lab) = Lab::enter() else { return };
    let operator = lab.operator();
    let courier = Courier::new("rootless");
    put(&lab, SOURCES, "trust", &files(&courier, false));
    lab.apply(&courier.mirror_from("rootless", &json!({"configMap": {"namespace": SOURCES, "name": "trust"}})));
    let missing = fails(&lab, &operator, "rootless", "SourceUnusable", "Stalled");
    assert!(missing.message("Stalled").contains("tuf-rootless-bootstrap is not there"), "{}", missing.text());
    courier.deliver_bootstrap(&lab);
    version(&lab, "rootless", 1);
}

#[test]
fn a_pin_that_is_not_of_the_root_stops_it() {
    let Some(lab) = Lab::enter() else { return };
    let operator = lab.operator();
    let courier = Courier::new("pinned");
    courier.deliver(&lab);
    let good = courier.mirror("pinned");
    let mut wrong = good.clone();
    wrong["spec"]["bootstrap"]["rootSHA256"] = json!("0".repeat(64));
    lab.apply(&wrong);
    let refused = fails(&lab, &operator, "pinned", "PinMismatch", "Stalled");
    assert!(refused.at("/adopted").is_null(), "{}", refused.text());
    lab.apply(&good);
    version(&lab, "pinned", 1);
}

#[test]
fn two_mirrors_may_have_one_source() {
    let Some(lab) = Lab::enter() else { return };
    let _operator = lab.operator();
    let mut courier = Courier::new("shared");
    courier.deliver(&lab);
    lab.apply(&courier.mirror("one"));
    lab.apply(&courier.mirror("two"));
    version(&lab, "one", 1);
    version(&lab, "two", 1);
    courier.refresh();
    courier.deliver(&lab);
    version(&lab, "one", 2);
    version(&lab, "two", 2);
}
