//! `holdfast plan --render`: what lies in the directory already is somebody's. Nothing of it is lost, and nothing outside of it is written.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test that cannot go on fails

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use serde_json::json;
use support::estate::Estate;
use support::{Answer, holdfast_in};

/// A directory that objects are rendered into.
struct Rendered {
    estate: Estate,
}

impl Rendered {
    /// Rendered once.
    fn new() -> Self {
        let place = Self { estate: Estate::new(json!({"engines": {"native": {}}, "otherImages": "Deny"})) };
        place.estate.write(
            "namespace.json",
            &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}).to_string(),
        );
        let answer = place.render();
        assert_eq!(answer.code, 0, "{}", answer.err);
        assert!(place.files().len() > 3, "{:?}", place.files().keys());
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.estate.dir.path().join("rendered").join(name)
    }

    fn render(&self) -> Answer {
        holdfast_in(
            self.estate.dir.path(),
            &["plan", "git", "--now", "2026-06-15T12:00:00Z", "--render", "rendered", "-o", "json"],
        )
    }

    /// Plain files, by name.
    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let entries = fs::read_dir(self.path("")).unwrap().map(Result::unwrap);
        let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
        files
            .filter_map(|entry| Some((entry.file_name().into_string().unwrap(), fs::read(entry.path()).ok()?)))
            .collect()
    }

    /// The name of a rendered file.
    fn one(&self) -> String {
        self.files().into_keys().find(|name| name.contains("policybinding")).unwrap()
    }

    /// Rendering is refused, names the file, says what to do, and changes nothing.
    fn refuses(&self, name: &str, says: &str) {
        // Another is missing, so that something would be written.
        let missing = self.files().into_keys().find(|name| name.contains("verifiedimages"));
        if let Some(missing) = missing.filter(|missing| missing != name) {
            fs::remove_file(self.path(&missing)).unwrap();
        }
        let before = self.files();
        let answer = self.render();
        assert_eq!(answer.code, 2, "{}", answer.err);
        assert!(answer.err.contains(name) && answer.err.contains(says), "{}", answer.err);
        assert!(answer.err.contains("nothing was written"), "{}", answer.err);
        assert_eq!(self.files(), before);
    }
}

const FOREIGN: &str =
    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: notes}\ndata: {about: 'holdfast.dev/intent'}\n";

#[test]
fn what_only_mentions_us_is_never_deleted() {
    let place = Rendered::new();
    let ours = String::from_utf8(place.files().remove(&place.one()).unwrap()).unwrap();
    let renamed = ours.replace("holdfast-", "other-");
    let foreign = [
        ("mentions.yaml", FOREIGN.to_owned()),
        // Named as ours would be, and not ours by what they say.
        ("native-configmap-notes.yaml", FOREIGN.to_owned()),
        ("native-x.yaml", "# holdfast.dev/intent\n".to_owned()),
        // Marked as ours, and somebody's copy: under a name no object of ours is written to.
        ("copy.yaml", ours.clone()),
        ("native-copy.yaml", ours.clone()),
        // Two documents of which one is ours.
        ("native-validatingadmissionpolicybinding-two.yaml", format!("{renamed}---\n{FOREIGN}")),
        // No YAML at all.
        ("native-broken.yaml", "holdfast.dev/intent: [".to_owned()),
        ("native-twice.yaml", format!("{ours}{ours}")),
    ];
    for (name, text) in &foreign {
        fs::write(place.path(name), text).unwrap();
    }
    let answer = place.render();
    assert_eq!(answer.code, 0, "{}", answer.err);
    assert!(answer.err.contains(" 0 removed"), "{}", answer.err);
    for (name, text) in &foreign {
        assert_eq!(fs::read_to_string(place.path(name)).unwrap(), *text, "{name}");
    }
}

#[test]
fn what_was_rendered_and_is_no_longer_wanted_goes() {
    let place = Rendered::new();
    let name = place.one();
    let ours = String::from_utf8(place.files().remove(&name).unwrap()).unwrap();
    let gone = "native-validatingadmissionpolicybinding-holdfast-gone.yaml";
    let named = serde_saphyr::from_str::<serde_json::Value>(&ours).unwrap()["metadata"]["name"].clone();
    fs::write(place.path(gone), ours.replace(&format!("name: {}", named.as_str().unwrap()), "name: holdfast-gone"))
        .unwrap();
    let answer = place.render();
    assert!(answer.err.contains(" 1 removed"), "{}", answer.err);
    assert!(!place.path(gone).exists());
}

#[test]
fn a_foreign_file_is_not_overwritten() {
    for foreign in [FOREIGN.to_owned(), String::new(), format!("{FOREIGN}---\n{FOREIGN}"), "[".to_owned()] {
        let place = Rendered::new();
        let name = place.one();
        fs::write(place.path(&name), foreign).unwrap();
        place.refuses(&name, "move it away");
    }
}

#[test]
fn ours_that_was_edited_is_written_anew() {
    let place = Rendered::new();
    let name = place.one();
    let before = place.files();
    let edited = String::from_utf8(before[&name].clone()).unwrap().replace("Deny", "Audit") + "# edited\n";
    fs::write(place.path(&name), edited).unwrap();
    assert!(place.render().err.contains(" 1 changed"));
    assert_eq!(place.files(), before);
}

#[test]
fn links_directories_and_what_cannot_be_read_are_refused() {
    let place = Rendered::new();
    let name = place.one();
    let outside = place.estate.dir.path().join("outside.yaml");
    fs::copy(place.path(&name), &outside).unwrap();
    let held = fs::read(&outside).unwrap();

    fs::remove_file(place.path(&name)).unwrap();
    symlink(&outside, place.path(&name)).unwrap();
    place.refuses(&name, "a link");
    assert_eq!(fs::read(&outside).unwrap(), held);

    // A link that leads nowhere is one, too: writing through it would make a file elsewhere.
    fs::remove_file(place.path(&name)).unwrap();
    symlink(place.estate.dir.path().join("nowhere.yaml"), place.path(&name)).unwrap();
    place.refuses(&name, "a link");
    assert!(!place.estate.dir.path().join("nowhere.yaml").exists());

    fs::remove_file(place.path(&name)).unwrap();
    fs::create_dir(place.path(&name)).unwrap();
    place.refuses(&name, "a directory");
    fs::remove_dir(place.path(&name)).unwrap();

    let large = fs::File::create(place.path(&name)).unwrap();
    large.set_len(17 * 1024 * 1024).unwrap();
    place.refuses(&name, "more than");
    fs::remove_file(place.path(&name)).unwrap();

    fs::write(place.path(&name), &held).unwrap();
    fs::set_permissions(place.path(&name), fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read(place.path(&name)).is_err() {
        place.refuses(&name, "cannot read");
    }
}

#[test]
fn what_may_be_of_an_earlier_plan_and_cannot_be_looked_at_is_refused() {
    let place = Rendered::new();
    let name = "native-validatingadmissionpolicy-holdfast-old.yaml";
    symlink(place.path(&place.one()), place.path(name)).unwrap();
    place.refuses(name, "a link");
    fs::remove_file(place.path(name)).unwrap();
    // What has no name of ours is nobody's business here.
    symlink("/nowhere", place.path("notes.yaml")).unwrap();
    fs::create_dir(place.path("dir.yaml")).unwrap();
    assert_eq!(place.render().code, 0);
    assert!(place.path("notes.yaml").is_symlink());
}

#[test]
fn a_link_that_waits_where_a_file_is_put_together_is_not_written_through() {
    let place = Rendered::new();
    let outside = place.estate.dir.path().join("outside");
    fs::write(&outside, "theirs").unwrap();
    let name = place.one();
    fs::remove_file(place.path(&name)).unwrap();
    // The number of the process that renders is not known beforehand, so every one that comes next is waited for.
    let next = std::process::id();
    for pid in next..next + 300 {
        symlink(&outside, place.path(&format!(".{name}.{pid}.tmp"))).unwrap();
    }
    assert_eq!(place.render().code, 0);
    assert_eq!(fs::read_to_string(&outside).unwrap(), "theirs");
    assert!(place.path(&name).is_file() && !place.path(&name).is_symlink());
}
