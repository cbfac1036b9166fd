//! Any bytes as a memory beside genuine objects: what is restored holds nothing but those, can be judged and stored, and reads back as it is. `DIGEST:root` is
//! the digest of the root, and so on.
#![no_main]
use std::sync::LazyLock;

use holdfast::sources::state::{HeldRoot, StateDir};
use holdfast_core::Digest;
use holdfast_core::trust::freshness::{Freshness, Settings};
use holdfast_core::trust::tuf::{Grace, Refresh};
use holdfast_testpki::Sigstore;
use holdfast_testpki::tuf::Repository;

/// Word, name of the object, bytes.
static OBJECTS: LazyLock<Vec<(String, String, Vec<u8>)>> = LazyLock::new(|| {
    let mut repository = Repository::new(jiff::Timestamp::UNIX_EPOCH);
    let root = Sigstore::new().trusted_root().to_string().into_bytes();
    repository.files.insert("trusted_root.json".to_owned(), root.clone());
    let files = repository.files();
    let object = |word: &str, bytes: &[u8]| {
        (format!("DIGEST:{word}"), format!("objects/{}", Digest::of(bytes).hex()), bytes.to_vec())
    };
    vec![
        object("root", &files["1.root.json"]),
        object("timestamp", &files["timestamp.json"]),
        object("snapshot", &files["1.snapshot.json"]),
        object("targets", &files["1.targets.json"]),
        object("trusted", &root),
    ]
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let words: Vec<(String, String)> =
        OBJECTS.iter().map(|(word, _, bytes)| (word.clone(), Digest::of(bytes).to_string())).collect();
    let memory = holdfast_fuzz::with_words(data, &words);
    let mut files: Vec<(&str, &[u8])> =
        OBJECTS.iter().map(|(_, name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    files.push(("memory.json", &memory));
    let path = holdfast_fuzz::scratch(&files);
    let Ok((dir, held)) = StateDir::open(path) else { return };
    let genuine = |bytes: &Vec<u8>| OBJECTS.iter().any(|(_, _, object)| object == bytes);
    assert!(held.state.held().values().all(genuine));
    let now = jiff::Timestamp::UNIX_EPOCH;
    let _ = held.state.roles();
    let _ = Freshness::judge(&held.state, held.trusted_root.as_ref().map(HeldRoot::imported), Settings::default(), now);
    let _ = Refresh::begin(&held.state, now, Grace::NONE);
    dir.commit(&held).expect("what was read can be stored");
    assert_eq!(StateDir::look(path).expect("what was stored reads back"), held);
});
