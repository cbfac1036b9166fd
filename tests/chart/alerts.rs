//! Alerts ask for what the operator really tells, and lead somewhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use holdfast_core::api::condition::ConditionType;
use holdfast_core::gate::AlarmKind;
use holdfast_core::verify::Reason;
use serde_json::Value;

use crate::chart_support::{chart, helm, rendered};

struct Alert {
    name: String,
    expr: String,
    rule: Value,
}

fn alerts() -> Vec<Alert> {
    let text = fs::read_to_string(chart().join("files/alerts.yaml")).unwrap();
    let file: Value = serde_saphyr::from_str(&text).unwrap();
    let rules = file["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap());
    let text = |rule: &Value, field: &str| rule[field].as_str().unwrap_or_else(|| panic!("{field}: {rule}")).to_owned();
    rules.map(|rule| Alert { name: text(rule, "alert"), expr: text(rule, "expr"), rule: rule.clone() }).collect()
}

/// The values a label is held against, alternatives apart.
fn asked_for(expr: &str, label: &str) -> Vec<String> {
    let parts = expr.split([',', '{', '}']).filter_map(|part| {
        let rest = part.trim().strip_prefix(label)?.trim_start_matches('!');
        rest.strip_prefix("=~").or_else(|| rest.strip_prefix('='))
    });
    parts.flat_map(|values| values.trim_matches('"').split('|').map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// Everything under a folder of the tree.
fn sources(of: &str) -> String {
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(of)];
    let mut all = String::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            all += &fs::read_to_string(&path).unwrap();
        }
    }
    all
}

#[test]
fn every_alert_says_what_how_bad_and_what_next() {
    let mut names = BTreeSet::new();
    for Alert { name, rule, .. } in alerts() {
        assert!(name.starts_with("Holdfast") && names.insert(name.clone()), "{name}");
        let severity = rule["labels"]["severity"].as_str().unwrap();
        assert!(["critical", "warning"].contains(&severity), "{name}: {severity}");
        for field in ["summary", "description"] {
            let said = rule["annotations"][field].as_str().unwrap();
            assert!(said.len() > 20 && !said.contains('\n'), "{name}: {field}: {said}");
        }
    }
}

#[test]
fn alerts_ask_for_metrics_and_values_that_there_are() {
    let told = sources("src/serve") + &sources("src/controller");
    for Alert { name, expr, .. } in alerts() {
        let words = expr.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for metric in words.filter(|word| word.starts_with("holdfast_")) {
            // The format gives counters, and what has a unit, an end of their own.
            let bare = ["_total", "_seconds"].iter().find_map(|end| metric.strip_suffix(end));
            let is_told = [Some(metric), bare].into_iter().flatten().any(|of| told.contains(&format!("\"{of}\"")));
            assert!(is_told, "{name}: nothing tells {metric}");
        }
        for alarm in asked_for(&expr, "alarm") {
            assert!(AlarmKind::ALL.iter().any(|kind| kind.as_str() == alarm), "{name}: {alarm}");
        }
        for condition in asked_for(&expr, "condition") {
            assert!(ConditionType::ALL.iter().any(|kind| kind.as_str() == condition), "{name}: {condition}");
        }
        for reason in asked_for(&expr, "reason") {
            assert!(Reason::ALL.iter().any(|known| known.as_str() == reason), "{name}: {reason}");
        }
        for controller in asked_for(&expr, "controller") {
            assert!(told.contains(&format!("CONTROLLER: &str = \"{controller}\"")), "{name}: {controller}");
        }
    }
}

/// What somebody has to look at is looked at by somebody.
#[test]
fn every_alarm_of_a_policy_has_an_alert() {
    let alerts = alerts();
    let asked: BTreeSet<String> = alerts.iter().flat_map(|alert| asked_for(&alert.expr, "alarm")).collect();
    // These have metrics of their own.
    let otherwise = [
        (AlarmKind::LooseningHeld, "holdfast_policy_held_changes"),
        (AlarmKind::PromotionHeld, "holdfast_policy_held_changes"),
        (AlarmKind::BreakGlassOpen, "holdfast_break_glass_active"),
    ];
    for kind in AlarmKind::ALL {
        let by_metric =
            otherwise.iter().any(|(of, metric)| of == kind && alerts.iter().any(|a| a.expr.contains(metric)));
        assert!(asked.contains(kind.as_str()) || by_metric, "{kind} has no alert");
    }
}

#[test]
fn alerts_are_rendered_as_they_are_written() {
    let Some(helm) = helm() else { return };
    let all = rendered(&helm, "everything");
    let rule = all.iter().find(|object| object["kind"] == "PrometheusRule").unwrap();
    let rules = rule["spec"]["groups"][0]["rules"].as_array().unwrap();
    let written = alerts();
    assert_eq!(rules.len(), written.len());
    for (rendered, Alert { name, rule, .. }) in rules.iter().zip(&written) {
        assert_eq!(rendered["alert"], name.as_str());
        // Prometheus fills these in, and Helm must not.
        assert_eq!(rendered["annotations"]["summary"], rule["annotations"]["summary"], "{name}");
        assert!(!rendered["expr"].as_str().unwrap().contains('@'), "{name}: {}", rendered["expr"]);
    }
}
