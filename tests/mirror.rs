//! `holdfast mirror`, as a person and a mirror that lies use it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test that cannot go on fails

mod support;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use holdfast_testpki::Sigstore;
use holdfast_testpki::tuf::{Repository, RoleKeys};
use jiff::Timestamp;
use serde_json::Value;
use support::{Answer, holdfast, real_data};

const DAY1: &str = "2026-06-02T00:00:00Z";

struct Place {
    dir: tempfile::TempDir,
    repository: Repository,
}

impl Place {
    fn new() -> Self {
        let mut repository = Repository::new("2026-06-01T00:00:00Z".parse::<Timestamp>().unwrap());
        let root = Sigstore::new().trusted_root().to_string().into_bytes();
        repository.files.insert("trusted_root.json".to_owned(), root);
        let place = Self { dir: tempfile::tempdir().unwrap(), repository };
        place.repository.write(&place.path("repository")).unwrap();
        let answer = place.run("init", &["--bootstrap", &place.text("repository/1.root.json"), "--now", DAY1]);
        assert_eq!(answer.code, 0, "{answer:?}");
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn run(&self, verb: &str, args: &[&str]) -> Answer {
        let state = self.text("state");
        let mut all = vec!["mirror", verb, "--state", &state];
        all.extend(args);
        holdfast(&all)
    }

    fn import(&self, from: &str) -> Answer {
        self.import_with(from, &[])
    }

    fn import_with(&self, from: &str, more: &[&str]) -> Answer {
        self.run("import", &[&["--from", from, "--now", DAY1], more].concat())
    }

    /// Every file of the state that counts, with its bytes.
    fn state(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        files(&self.path("state"))
    }
}

fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            found.extend(files(&entry));
        } else if !entry.ends_with(".lock") {
            found.insert(entry.clone(), std::fs::read(&entry).unwrap());
        }
    }
    found
}

#[test]
fn what_was_accepted_is_held_byte_for_byte() {
    let place = Place::new();
    let answer = place.import(&place.text("repository"));
    assert_eq!(answer.code, 0, "{answer:?}");
    for (held, published) in
        [("timestamp", "timestamp"), ("snapshot", "1.snapshot"), ("targets", "1.targets"), ("root", "1.root")]
    {
        let held = std::fs::read(place.path(&format!("state/metadata/{held}.json"))).unwrap();
        assert_eq!(held, std::fs::read(place.path(&format!("repository/{published}.json"))).unwrap());
    }
    assert_eq!(
        std::fs::read(place.path("state/trusted_root.json")).unwrap(),
        place.repository.files["trusted_root.json"]
    );
    let shown: Value = serde_json::from_str(&place.run("show", &["-o", "json", "--now", DAY1]).out).unwrap();
    assert_eq!(shown["freshness"]["state"], "fresh");
    assert_eq!(shown["roles"][0]["role"], "root");
}

#[test]
fn a_state_is_never_started_over() {
    let place = Place::new();
    let answer = place.run("init", &["--bootstrap", &place.text("repository/1.root.json")]);
    assert_eq!(answer.code, 2);
    assert!(answer.err.contains("holds a state already"), "{}", answer.err);
    let absent = holdfast(&["mirror", "show", "--state", &place.text("nowhere")]);
    assert_eq!(absent.code, 2);
    assert!(absent.err.contains("mirror init"), "{}", absent.err);
}

#[test]
fn what_cannot_be_used_is_one_clear_line_and_changes_nothing() {
    let place = Place::new();
    assert_eq!(place.import(&place.text("repository")).code, 0);
    let before = place.state();
    let bent = |name: &str, bytes: &[u8]| {
        let dir = place.path("bent");
        let _ = std::fs::remove_dir_all(&dir);
        let mut repository = place.repository.clone();
        repository.publish(DAY1.parse().unwrap());
        repository.write(&dir).unwrap();
        std::fs::write(dir.join(name), bytes).unwrap();
        place.import(&dir.display().to_string())
    };
    let large = vec![b' '; 20_000];
    for (name, bytes, words) in [
        ("timestamp.json", b"".as_slice(), "it is empty"),
        ("timestamp.json", b"{\"signed\":", "cut off"),
        ("timestamp.json", b"\xff\xfe", "not UTF-8"),
        ("timestamp.json", b"{\"a\":1,\"a\":2}", "`a` twice"),
        ("timestamp.json", &large, "more than the 16384 bytes"),
        ("timestamp.json", b"{\"signed\": 1, \"signatures\": []}", "Bring it anew"),
        ("timestamp.json", b"holdfast", "it is not JSON"),
        ("2.root.json", b"[]", "not a JSON object"),
    ] {
        let answer = bent(name, bytes);
        assert_eq!(answer.code, 1, "{name}: {answer:?}");
        assert!(answer.err.contains(words) && answer.err.contains(name), "{words}: {}", answer.err);
        assert_eq!(answer.err.trim_end().lines().count(), 1, "{}", answer.err);
        for leak in ["struct ", "JSON error", "EOF", "invalid type", "parsing"] {
            assert!(!answer.err.contains(leak), "{leak}: {}", answer.err);
        }
        assert_eq!(place.state(), before, "{name}");
    }
    let nowhere = place.import(&place.text("nowhere"));
    assert_eq!(nowhere.code, 2, "{nowhere:?}");
    assert!(nowhere.err.contains("there is no such directory"), "{nowhere:?}");
    for from in ["ftp://x/y", "file:///tmp", &place.text("repository/timestamp.json")] {
        let answer = place.import(from);
        assert_eq!(answer.code, 2, "{answer:?}");
    }
    let mixed = place.import_with(&place.text("repository"), &["--targets-from", "http://127.0.0.1:1/"]);
    assert_eq!(mixed.code, 2, "{mixed:?}");
    assert_eq!(place.state(), before);
}

#[test]
fn links_and_names_do_not_lead_out() {
    let place = Place::new();
    let secret = place.path("secret.json");
    std::fs::copy(place.path("repository/timestamp.json"), &secret).unwrap();
    std::fs::remove_file(place.path("repository/timestamp.json")).unwrap();
    std::os::unix::fs::symlink(&secret, place.path("repository/timestamp.json")).unwrap();
    let answer = place.import(&place.text("repository"));
    assert_eq!(answer.code, 1);
    assert!(answer.err.contains("leads out of the repository"), "{}", answer.err);
    for name in ["../secret.json", "/etc/passwd", "a/../../secret.json"] {
        let place = Place::new();
        let answer = place
            .run("target", &[name, "--from", &place.text("repository"), "--out", &place.text("out"), "--now", DAY1]);
        assert_eq!(answer.code, 1, "{answer:?}");
        assert!(answer.err.contains("UnsafeTargetName"), "{}", answer.err);
        assert!(!place.path("out").exists());
    }
}

/// The document with the members of one object in an array.
fn list(document: &str, pointer: &str) -> String {
    let mut document: Value = serde_json::from_str(document).unwrap();
    let object = document.pointer_mut(pointer).unwrap();
    *object = object.as_object().unwrap().values().cloned().collect();
    document.to_string()
}

#[test]
fn a_damaged_state_is_a_fault_and_not_a_fresh_start() {
    let place = Place::new();
    assert_eq!(place.import(&place.text("repository")).code, 0);
    let memory = place.path("state/memory.json");
    let good = std::fs::read_to_string(&memory).unwrap();
    for bad in [
        good[..good.len() / 2].to_owned(),
        String::new(),
        good.replace("\"version\": 1", "\"version\": 0"),
        good.replace("floors", "flaws"),
        list(&good, "/tuf"),
        list(&good, "/tuf/floors/root"),
        list(&good, "/acceptedAs"),
        list(&good, ""),
    ] {
        std::fs::write(&memory, &bad).unwrap();
        let answer = place.import(&place.text("repository"));
        assert_eq!(answer.code, 2, "{answer:?}");
        assert!(answer.err.contains("Restore it from a backup"), "{}", answer.err);
    }
    std::fs::write(&memory, &good).unwrap();
    for entry in std::fs::read_dir(place.path("state/objects")).unwrap().map(|e| e.unwrap().path()) {
        let bytes = std::fs::read(&entry).unwrap();
        std::fs::write(&entry, b"{}").unwrap();
        let answer = place.run("show", &[]);
        assert_eq!(answer.code, 2, "{answer:?}");
        std::fs::write(&entry, bytes).unwrap();
    }
    std::fs::write(place.path("state/metadata/root.json"), b"changed by hand").unwrap();
    assert_eq!(place.import(&place.text("repository")).code, 0, "copies for people are never read back");
}

#[test]
fn a_memory_that_is_gone_is_a_fault_and_not_a_fresh_start() {
    let place = Place::new();
    assert_eq!(place.import(&place.text("repository")).code, 0);
    let kept = ["objects", "metadata", "trusted_root.json"];
    std::fs::remove_file(place.path("state/memory.json")).unwrap();
    let bootstrap = place.text("repository/1.root.json");
    for last in kept {
        for answer in [
            place.run("init", &["--bootstrap", &bootstrap]),
            place.import(&place.text("repository")),
            place.run("show", &[]),
        ] {
            assert_eq!(answer.code, 2, "{last}: {answer:?}");
            assert!(answer.err.contains("memory.json is gone"), "{}", answer.err);
            assert!(answer.err.contains("Restore it from a backup"), "{}", answer.err);
        }
        assert!(!place.path("state/memory.json").exists());
        let path = place.path("state").join(last);
        if path.is_dir() { std::fs::remove_dir_all(path).unwrap() } else { std::fs::remove_file(path).unwrap() }
    }
    let answer = place.run("init", &["--bootstrap", &bootstrap, "--now", DAY1]);
    assert_eq!(answer.code, 0, "nothing is left that it was the memory of: {answer:?}");
}

/// A tiny disk of its own; `None`, said aloud, where none can be mounted.
struct Disk(PathBuf);

impl Disk {
    fn mount(path: PathBuf) -> Option<Self> {
        std::fs::create_dir_all(&path).unwrap();
        let mount =
            std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"]).arg(&path).output();
        match mount {
            Ok(output) if output.status.success() => Some(Self(path)),
            _ => {
                println!("skipped: a tmpfs cannot be mounted here; run as root to test a full disk");
                None
            }
        }
    }

    /// Fills the disk but for so many bytes.
    fn leave(&self, free: usize) {
        let filler = self.0.join("filler");
        let _ = std::fs::remove_file(&filler);
        let mut file = std::fs::File::create(&filler).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
        file.set_len(file.metadata().unwrap().len() - free as u64).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(&self.0).status();
    }
}

/// However little room there is, an import that fails changes nothing, and one that does not is whole.
#[test]
fn a_disk_that_fills_up_at_any_moment_leaves_the_state_as_it_was() {
    let mut place = Place::new();
    let Some(disk) = Disk::mount(place.path("disk")) else { return };
    let state = place.text("disk/state");
    let run =
        |verb: &str, args: &[&str]| holdfast(&[&["mirror", verb, "--state", &state, "--now", DAY1], args].concat());
    let bootstrap = place.text("repository/1.root.json");
    disk.leave(0);
    let mut failed = 0;
    for pages in 0.. {
        disk.leave(pages * 4096);
        let answer = run("init", &["--bootstrap", &bootstrap]);
        if answer.code == 0 {
            break;
        }
        assert!(answer.code == 2 && answer.err.contains("as it was before"), "{answer:?}");
        failed += 1;
    }
    assert!(failed > 1, "a first init that fails blocks no other");
    std::fs::remove_file(place.path("disk/filler")).unwrap();
    assert_eq!(run("import", &["--from", &place.text("repository")]).code, 0);
    place.repository.publish(DAY1.parse().unwrap());
    let mut root: Value = serde_json::from_slice(&place.repository.files["trusted_root.json"]).unwrap();
    root["tlogs"].as_array_mut().unwrap().remove(0);
    place.repository.files.insert("trusted_root.json".to_owned(), root.to_string().into_bytes());
    place.repository.write(&place.path("newer")).unwrap();
    let before = files(&place.path("disk/state"));
    for pages in 0.. {
        disk.leave(pages * 4096);
        let answer = run("import", &["--from", &place.text("newer")]);
        if answer.code == 0 {
            break;
        }
        assert!(answer.code == 2 && answer.err.contains("as it was before"), "{pages}: {answer:?}");
        assert_eq!(files(&place.path("disk/state")), before, "{pages} pages were left");
        failed += 1;
    }
    assert!(failed > 6, "{failed}");
    let held = std::fs::read(place.path("disk/state/trusted_root.json")).unwrap();
    assert_eq!(held, place.repository.files["trusted_root.json"]);
}

#[test]
fn copies_that_are_missing_or_foreign_are_set_right_by_the_next_import() {
    let place = Place::new();
    let from = place.text("repository");
    assert_eq!(place.import(&from).code, 0);
    let before = place.state();
    std::fs::remove_file(place.path("state/metadata/root.json")).unwrap();
    std::fs::write(place.path("state/metadata/timestamp.json"), b"changed by hand").unwrap();
    std::fs::write(place.path("state/metadata/other.json"), b"put there").unwrap();
    std::fs::write(place.path("state/trusted_root.json"), b"changed by hand").unwrap();
    std::fs::write(place.path("state/.memory.json.1.tmp"), b"cut off").unwrap();
    assert_eq!(place.run("show", &["--now", DAY1]).code, 0);
    assert_eq!(place.import(&from).code, 0);
    assert_eq!(place.state(), before);
}

/// What was accepted is stored before a target is written; where that fails, it is not said that nothing changed.
#[test]
fn a_target_is_written_after_the_state() {
    let place = Place::new();
    let from = place.text("repository");
    let target =
        |args: &[&str]| place.run("target", &[&["trusted_root.json", "--from", &from, "--now", DAY1], args].concat());
    let lost = target(&["--out", &place.text("nowhere/root.json")]);
    assert!(lost.code == 2 && lost.err.contains("make it first"), "{lost:?}");
    assert!(!lost.err.contains("as it was before"), "{lost:?}");
    assert!(place.path("state/metadata/timestamp.json").exists());
    let kept = target(&["--out-dir", &place.text("made/anew")]);
    assert_eq!(kept.code, 0, "{kept:?}");
    let written = std::fs::read(place.path("made/anew/trusted_root.json")).unwrap();
    assert_eq!(written, place.repository.files["trusted_root.json"]);
    let crds = holdfast(&["crds", "--dir", &place.text("made/crds")]);
    assert!(crds.code == 0 && place.path("made/crds/trustrootmirrors.yaml").exists(), "{crds:?}");
}

#[test]
fn a_state_in_use_is_left_alone() {
    let place = Place::new();
    let lock = std::fs::File::options().write(true).open(place.path("state/.lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let answer = place.import(&place.text("repository"));
    assert_eq!(answer.code, 2);
    assert!(answer.err.contains("in use by another process"), "{}", answer.err);
    assert_eq!(place.run("show", &["--now", DAY1]).code, 0, "looking needs no lock");
}

#[test]
fn a_full_or_read_only_disk_leaves_the_state_as_it_was() {
    let place = Place::new();
    assert_eq!(place.import(&place.text("repository")).code, 0);
    let before = place.state();
    let mut newer = place.repository.clone();
    newer.publish(DAY1.parse().unwrap());
    newer.write(&place.path("newer")).unwrap();
    // Root may write everywhere, so the directory of objects is made unusable in a way that holds for root as well.
    std::fs::rename(place.path("state/objects"), place.path("kept")).unwrap();
    std::os::unix::fs::symlink("/proc/self", place.path("state/objects")).unwrap();
    let answer = place.import(&place.text("newer"));
    assert_eq!(answer.code, 2, "{answer:?}");
    std::fs::remove_file(place.path("state/objects")).unwrap();
    std::fs::rename(place.path("kept"), place.path("state/objects")).unwrap();
    assert_eq!(place.state(), before);
    std::fs::set_permissions(place.path("state"), std::fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(place.import(&place.text("newer")).code, 0);
}

#[test]
fn older_trust_is_refused_and_a_rotation_is_shown() {
    let mut place = Place::new();
    assert_eq!(place.import(&place.text("repository")).code, 0);
    place.repository.publish(DAY1.parse().unwrap());
    let mut root: Value = serde_json::from_slice(&place.repository.files["trusted_root.json"]).unwrap();
    root["tlogs"].as_array_mut().unwrap().remove(0);
    place.repository.files.insert("trusted_root.json".to_owned(), root.to_string().into_bytes());
    place.repository.write(&place.path("newer")).unwrap();
    let answer = place.import(&place.text("newer"));
    assert_eq!(answer.code, 0, "{answer:?}");
    assert!(answer.out.contains("- removed transparency log rekor.test"), "{}", answer.out);
    assert!(answer.out.contains("no longer verify"), "{}", answer.out);
    let answer = place.import(&place.text("repository"));
    assert_eq!(answer.code, 1);
    assert!(answer.err.contains("refused, Rollback"), "{}", answer.err);
}

/// A program reads the refusal where it reads the result, and a person what was accepted before it.
#[test]
fn a_refusal_is_typed_and_says_what_is_kept() {
    let mut place = Place::new();
    let old = place.text("repository");
    place.repository.publish(DAY1.parse().unwrap());
    place.repository.write(&place.path("newer")).unwrap();
    std::fs::remove_file(place.path("newer/2.snapshot.json")).unwrap();
    let withheld = place.import_with(&place.text("newer"), &["-o", "json"]);
    let refused: Value = serde_json::from_str(&withheld.out).unwrap();
    assert_eq!((withheld.code, &refused["result"], &refused["refusal"]), (1, &"Refused".into(), &"MissingFile".into()));
    assert!(withheld.err.contains("What was accepted before that is kept: timestamp version 2"), "{}", withheld.err);
    let rollback = place.import_with(&old, &["-o", "json"]);
    let refused: Value = serde_json::from_str(&rollback.out).unwrap();
    assert_eq!(refused["refusal"], "Rollback");
    assert_eq!((&refused["had"], &refused["got"]), (&2.into(), &1.into()));
    assert!(!rollback.err.contains("is kept"), "nothing was accepted: {}", rollback.err);
    assert!(place.import(&old).out.is_empty(), "a person reads it as an error");
}

/// What a root's new keys made fall is shown to people, and staleness after it says what is true.
#[test]
fn recoveries_are_shown() {
    let mut place = Place::new();
    assert_eq!(place.import(&place.text("repository")).code, 0);
    place.repository.publish(DAY1.parse().unwrap());
    place.repository.rotate(DAY1.parse().unwrap(), |keys| {
        keys.insert("timestamp".to_owned(), RoleKeys::new(1, 1));
    });
    place.repository.write(&place.path("newer")).unwrap();
    std::fs::rename(place.path("newer/timestamp.json"), place.path("withheld")).unwrap();
    assert_eq!(place.import(&place.text("newer")).code, 1);
    let shown = place.run("show", &["--now", DAY1]);
    assert!(
        shown.out.starts_with("stale: root version 2 replaced keys, so that timestamp version 1 no longer counts"),
        "{}",
        shown.out
    );
    assert!(
        shown.out.contains("recovery: root v2 replaced keys on 2026-06-02: timestamp was held at v1 and started over"),
        "{}",
        shown.out
    );
    std::fs::rename(place.path("withheld"), place.path("newer/timestamp.json")).unwrap();
    let whole = place.import(&place.text("newer"));
    assert!(whole.code == 0 && whole.out.contains("recovery: root v2"), "{whole:?}");
    let ended = place.run("show", &["--now", "2026-08-02T00:00:00Z"]);
    assert!(ended.out.contains("ended 2026-06-0"), "{}", ended.out);
}

#[test]
fn init_and_target_print_for_programs() {
    let place = Place::new();
    let state = place.text("other");
    let bootstrap = place.text("repository/1.root.json");
    let init = holdfast(&["mirror", "init", "--state", &state, "--bootstrap", &bootstrap, "-o", "json"]);
    let report: Value = serde_json::from_str(&init.out).unwrap();
    assert_eq!((&report["state"], &report["pinned"]), (&Value::from(state), &Value::from(false)));
    assert!(report["root"].as_str().unwrap().starts_with("sha256:"));
    let from = place.text("repository");
    let target = place.run(
        "target",
        &["trusted_root.json", "--from", &from, "--now", DAY1, "--out-dir", &place.text("out"), "-o", "json"],
    );
    let report: Value = serde_json::from_str(&target.out).unwrap();
    assert_eq!((&report[0]["name"], &report[0]["role"]), (&Value::from("trusted_root.json"), &Value::from("targets")));
}

/// The run with the fast clock is refused, and the next one with the right clock must not be.
#[test]
fn one_fast_clock_blocks_nothing() {
    let place = Place::new();
    let from = place.text("repository");
    let fast = place.run("import", &["--from", &from, "--now", "2027-06-01T00:00:01Z"]);
    assert!(fast.code == 1 && fast.err.contains("Expired"), "{fast:?}");
    let right = place.import(&from);
    assert_eq!(right.code, 0, "{right:?}");
}

/// A server that answers each request by one function of its path, and stops with the test.
fn serve(answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().take(200) {
            let Ok(mut stream) = stream else { continue };
            let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
            let mut request = [0; 4096];
            let count = stream.read(&mut request).unwrap_or(0);
            let request = String::from_utf8_lossy(&request[..count]).into_owned();
            let path = request.split(' ').nth(1).unwrap_or("/").to_owned();
            let _ = stream.write_all(&answer(&path));
        }
    });
    address
}

fn ok(body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len()).as_bytes(), body]
        .concat()
}

fn status(line: &str, headers: &str) -> Vec<u8> {
    format!("HTTP/1.1 {line}\r\n{headers}Content-Length: 0\r\nConnection: close\r\n\r\n").into_bytes()
}

#[test]
fn a_mirror_over_http_is_read() {
    let place = Place::new();
    let files = place.repository.files();
    let address = serve(move |path| {
        files.get(path.trim_start_matches('/')).map_or_else(|| status("404 Not Found", ""), |bytes| ok(bytes))
    });
    let answer = place.import(&address);
    // The served files were signed anew, so the held timestamp of another import would differ; this is the first.
    assert_eq!(answer.code, 0, "{answer:?}");
}

/// A publisher may name a role as it likes: what was accepted is stored, and its copy as well.
#[test]
fn a_role_whose_name_is_too_long_for_a_file_is_held() {
    let place = Place::new();
    let mut repository = place.repository.clone();
    let role = "team".repeat(75);
    let target = format!("{role}/keys.json");
    repository.delegate(&role, &["*/keys.json"], DAY1.parse().unwrap());
    repository.files.insert(target.clone(), b"{}".to_vec());
    let files = repository.files();
    let address = serve(move |path| {
        files.get(path.trim_start_matches('/')).map_or_else(|| status("404 Not Found", ""), |bytes| ok(bytes))
    });
    for _ in 0..2 {
        let args = [&target, "--from", &address, "--out", &place.text("keys.json"), "--now", DAY1];
        let answer = place.run("target", &args);
        assert_eq!(answer.code, 0, "{answer:?}");
        assert!(answer.out.contains(&format!("listed by {role}")), "{}", answer.out);
    }
    let entries = std::fs::read_dir(place.path("state/metadata")).unwrap();
    let copies = entries.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("team"));
    assert_eq!(copies.count(), 1);
}

#[test]
fn a_mirror_that_lies_is_refused_or_unknown_and_changes_nothing() {
    let place = Place::new();
    let before = place.state();
    let huge = || {
        let mut answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec();
        answer.extend(vec![b' '; 1 << 20]);
        answer
    };
    for (name, timestamp, code, words) in [
        ("redirects", status("302 Found", "Location: http://127.0.0.1:1/\r\n"), 1, "redirects are not followed"),
        ("refuses", status("403 Forbidden", ""), 3, "403"),
        ("fails", status("503 Service Unavailable", ""), 3, "503"),
        ("has nothing", status("404 Not Found", ""), 1, "MissingFile"),
        (
            "says more than it sends",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\nConnection: close\r\n\r\n{".to_vec(),
            3,
            "timestamp.json",
        ),
        (
            "says it is huge",
            b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\nConnection: close\r\n\r\n".to_vec(),
            1,
            "more than the 16384",
        ),
        ("is endless", huge(), 1, "more than the 16384"),
        ("is no server", b"SSH-2.0-x\r\n".to_vec(), 3, "timestamp.json"),
    ] {
        let address =
            serve(move |path| if path == "/timestamp.json" { timestamp.clone() } else { status("404 Not Found", "") });
        let answer = place.import(&address);
        assert_eq!(answer.code, code, "{name}: {answer:?}");
        assert!(answer.err.contains(words), "{name}: {}", answer.err);
        for leak in ["error sending request", "client error", "error decoding", "body error"] {
            assert!(!answer.err.contains(leak), "{name}: {}", answer.err);
        }
        assert_eq!(place.state(), before, "{name}");
    }
    let closed = place.import("http://127.0.0.1:1/");
    assert_eq!(closed.code, 3, "{closed:?}");
    assert!(closed.err.contains("no connection (Connection refused"), "{closed:?}");
    for address in ["http://user:pw@127.0.0.1/", "http://127.0.0.1/?x=1", "ftp://user:pw@127.0.0.1/"] {
        let answer = place.import(address);
        assert_eq!(answer.code, 2, "{answer:?}");
        assert!(!answer.err.contains("pw@"), "credentials are printed: {}", answer.err);
    }
}

#[test]
fn the_public_repositories_import_in_their_time() {
    let Some(real) = real_data() else { return };
    let (older, newer) = (real.join("sigstore-tuf-2025-08-25"), real.join("sigstore-tuf-2026-08-21"));
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("public").display().to_string();
    let bootstrap = older.join("5.root.json").display().to_string();
    assert_eq!(holdfast(&["mirror", "init", "--state", &state, "--bootstrap", &bootstrap]).code, 0);
    let import = |from: &Path, now: &str| {
        holdfast(&["mirror", "import", "--state", &state, "--from", &from.display().to_string(), "--now", now])
    };
    let first = import(&older, "2025-08-26T00:00:00Z");
    assert_eq!(first.code, 0, "{first:?}");
    let second = import(&newer, "2026-08-22T00:00:00Z");
    assert_eq!(second.code, 0, "{second:?}");
    assert!(
        second.out.contains("rotation, 1 change\n  + added   transparency log log2025-1.rekor.sigstore.dev (Ed25519)"),
        "{}",
        second.out
    );
    let back = import(&older, "2026-08-22T00:00:00Z");
    assert_eq!(back.code, 1);
    assert!(back.err.contains("Rollback: timestamp is version 443, and 762 was already accepted"), "{}", back.err);
    let today = import(&newer, "2026-11-24T00:00:00Z");
    assert_eq!(today.code, 1);
    assert!(today.err.contains("Expired: root version 15 expired at 2026-11-20T13:58:18Z"), "{}", today.err);
    let keys = dir.path().join("keys.json").display().to_string();
    let args = [
        "mirror",
        "target",
        "registry.npmjs.org/keys.json",
        "--state",
        &state,
        "--out",
        &keys,
        "--now",
        "2026-08-22T00:00:00Z",
        "--from",
    ];
    assert_eq!(holdfast(&[&args[..], &[&newer.display().to_string()]].concat()).code, 0);
    assert_eq!(std::fs::metadata(keys).unwrap().len(), 2121);
}
