//! What is written from the code into the tree: `UPDATE_CHART=1 cargo test --test chart` writes it anew.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use crate::chart_support::{chart, guards_template};

fn is_current(path: &Path, text: &str) {
    if std::env::var_os("UPDATE_CHART").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let written = fs::read_to_string(path).unwrap_or_default();
    assert!(written == text, "{} is stale: run `UPDATE_CHART=1 cargo test --test chart`", path.display());
}

#[test]
fn the_charts_guards_are_those_of_the_code() {
    is_current(&chart().join("templates/_guards.tpl"), &guards_template());
}

#[test]
fn the_charts_definitions_are_those_of_the_code() {
    let files = holdfast::cli::crds::files().unwrap();
    for (name, text) in &files {
        is_current(&chart().join("files/crds").join(name), text);
    }
    assert_eq!(fs::read_dir(chart().join("files/crds")).unwrap().count(), files.len(), "a file of no kind");
}

/// The table of the chart's README, from the comments of its values.
#[test]
fn every_value_is_explained_once() {
    let path = chart().join("README.md");
    let readme = fs::read_to_string(&path).unwrap();
    let (begin, end) = ("<!-- values -->\n", "<!-- /values -->");
    let (before, rest) = readme.split_once(begin).unwrap();
    let (_, after) = rest.split_once(end).unwrap();
    is_current(&path, &format!("{before}{begin}{}{end}{after}", table()));
}

fn table() -> String {
    let mut table = String::from("| value | default | what it does |\n|---|---|---|\n");
    let mut block = String::new();
    let mut said: Option<String> = None;
    let values = fs::read_to_string(chart().join("values.yaml")).unwrap();
    for line in values.lines() {
        let inner = line.starts_with("  ");
        let text = line.trim();
        if let Some(comment) = text.strip_prefix("# -- ") {
            assert!(said.replace(comment.to_owned()).is_none(), "two comments before {line}");
        } else if let Some((name, default)) = text.split_once(':') {
            let default = default.trim();
            let Some(said) = said.take() else {
                // Either the name of a block, or a field of a value that was explained as a whole.
                if !inner {
                    assert!(default.is_empty(), "{name} is not explained");
                    name.clone_into(&mut block);
                }
                assert!(!inner || block == "resources", "{block}.{name} is not explained");
                continue;
            };
            let shown = if default.is_empty() { "see `values.yaml`".to_owned() } else { format!("`{default}`") };
            if !inner {
                name.clone_into(&mut block);
            }
            let path = if inner { format!("{block}.{name}") } else { name.to_owned() };
            writeln!(table, "| `{path}` | {shown} | {} |", said.replace('|', "\\|")).unwrap();
        }
    }
    table
}
