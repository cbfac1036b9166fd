//! What is measured: read as a scraper reads it, and held to what Prometheus asks of names and labels.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::courier::{Courier, distributed};
use crate::lab::Lab;

const UNITS: [&str; 2] = ["seconds", "bytes"];
/// Labels there may be, each with a bounded set of values.
const LABELS: [&str; 26] = [
    "policy",
    "phase",
    "check",
    "alarm",
    "report",
    "outcome",
    "namespace",
    "what",
    "controller",
    "result",
    "category",
    "le",
    "code",
    "method",
    "host",
    "name",
    "trust_root",
    "end",
    "condition",
    "role",
    "state",
    "kind",
    "version",
    "quantile",
    "reason",
    "type",
];

#[test]
fn metrics_are_as_a_scraper_wants_them() {
    let Some(lab) = Lab::enter() else { return };
    let operator = lab.operator();
    let courier = Courier::new("measured");
    courier.deliver(&lab);
    lab.namespace("measured-a", &json!({"trust": "measured"}));
    lab.apply(&distributed(courier.mirror("measured"), "measured", "0s"));
    lab.reason("measured", "Distributed", "Distributed");
    lab.namespace("shop", &json!({"tier": "apps"}));
    lab.apply(&json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "measured", "namespace": "shop"},
        "spec": {"containers": [{"name": "main", "image": "registry.example/a:1"}]},
    }));
    lab.apply(&json!({
        "apiVersion": "holdfast.dev/v1alpha1", "kind": "SigningIdentityPolicy", "metadata": {"name": "measured"},
        "spec": {"images": ["registry.example/**"], "trustRoots": ["measured"], "engines": {"native": {}},
                 "identities": [{"name": "ci", "issuer": "https://i.example", "subject": "s"}]},
    }));
    lab.apply(&json!({
        "apiVersion": "holdfast.dev/v1alpha1", "kind": "BundleCoverageReport", "metadata": {"name": "measured"},
        "spec": {"publish": {"openReports": false}},
    }));
    let text = lab.until("a pass has come to its end", |_| match operator.ask("/metrics") {
        (200, text)
            if text.contains("controller_runtime_reconcile_total")
                && text.contains("holdfast_coverage_namespace_images")
                && text.contains("holdfast_policy_phase{") =>
        {
            Ok(text)
        }
        (_, text) => Err(text),
    });
    assert!(text.ends_with("# EOF\n"), "OpenMetrics ends so");
    let mut kinds = BTreeMap::new();
    let mut described = BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(kinds.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} is typed twice");
        } else if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(help.len() > 10, "{name} says what it is");
            described.insert(name.to_owned());
        }
    }
    assert_eq!(kinds.keys().cloned().collect::<BTreeSet<_>>(), described, "each is typed and described");
    let mut series = BTreeSet::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (key, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
        assert!(series.insert(key.to_owned()), "{key} is there twice");
        let (name, labels) = key.split_once('{').unwrap_or((key, "}"));
        let family = kinds
            .keys()
            .filter(|family| name.starts_with(family.as_str()))
            .max_by_key(|family| family.len())
            .unwrap_or_else(|| panic!("{name} has no family"));
        let suffix = name.strip_prefix(family.as_str()).unwrap();
        let allowed: &[&str] = match kinds[family].as_str() {
            "counter" => &["_total"],
            "gauge" => &[""],
            "histogram" => &["_bucket", "_count", "_sum"],
            "info" => &["_info"],
            other => panic!("{family} is a {other}"),
        };
        assert!(allowed.contains(&suffix), "{name} is a {}", kinds[family]);
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'), "{name}");
        for label in labels.trim_end_matches('}').split("\",").filter(|label| !label.is_empty()) {
            let (label, value) = label.split_once("=\"").unwrap();
            assert!(LABELS.contains(&label), "{name} has the label {label}");
            assert!(!value.contains("sha256:") && value.len() <= 120, "{name}: {label}={value}");
        }
    }
    for family in kinds.keys().filter(|family| family.contains("seconds") || family.contains("bytes")) {
        assert!(UNITS.iter().any(|unit| family.ends_with(unit)), "{family} ends in its unit");
    }
    for wanted in [
        "holdfast_trust_root_expires_in_seconds",
        "holdfast_trust_root_expiry_timestamp_seconds",
        "holdfast_trust_root_freshness_age_seconds",
        "holdfast_trust_root_imports",
        "holdfast_trust_root_rotation_pending",
        "holdfast_trust_root_memory_intact",
        "holdfast_trust_root_clock_sane",
        "holdfast_policy_phase",
        "holdfast_policy_check",
        "holdfast_policy_alarms",
        "holdfast_policy_held_changes",
        "holdfast_build",
        "leader_election_master_status",
        "controller_runtime_reconcile",
        "controller_runtime_reconcile_errors",
        "controller_runtime_reconcile_time_seconds",
        "rest_client_requests",
        "process_resident_memory_bytes",
        "process_cpu_seconds",
    ] {
        assert!(kinds.contains_key(wanted), "there is no {wanted}:\n{text}");
    }
    let left = operator
        .metric("holdfast_trust_root_expires_in_seconds", &["trust_root=\"measured\"", "TUF timestamp"])
        .unwrap();
    assert!((6.0 * 86400.0..7.0 * 86400.0).contains(&left), "{left}");
    // A mirror that goes takes its series along.
    lab.delete(&crate::lab::mirror_path("measured"));
    lab.until("it is no longer measured", |_| {
        let (_, text) = operator.ask("/metrics");
        if text.contains("trust_root=\"measured\"") { Err(text) } else { Ok(()) }
    });
}
