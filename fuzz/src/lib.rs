//! What the fuzz targets share: one Sigstore, one policy, one instant.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use holdfast_core::trust::root::TrustRoot;
use holdfast_core::verify::pattern::IdentityPattern;
use holdfast_core::verify::{
    Accept, Artifact, Evidence, EvidenceRequirements, Limits, Matcher, Outcome, Policy, PreparedRoot, Signer, judge,
};
use holdfast_testpki::Sigstore;

/// The artefact all evidence is about.
pub const ARTIFACT: &[u8] = b"artefact";

static ROOT: LazyLock<PreparedRoot> = LazyLock::new(|| {
    let document = Sigstore::new().trusted_root().to_string();
    PreparedRoot::new(TrustRoot::from_json("fuzz", document.as_bytes()).expect("a root")).expect("a root")
});

/// Judges evidence under a root that signed none of it: whatever it is, it must neither crash nor pass.
pub fn never_passes(evidence: Evidence) {
    let any = || Matcher::Pattern(IdentityPattern::any(".*").expect("a pattern"));
    let policy = Policy {
        signers: vec![Signer::Certificate { name: "anyone".to_owned(), subject: any(), issuer: any() }],
        evidence: EvidenceRequirements::DEFAULT,
        accept: Accept::Either,
        limits: Limits::default(),
    };
    let now = jiff::Timestamp::from_second(1_790_000_000).expect("an instant");
    let verdict = judge(&Artifact::of_bytes(ARTIFACT.to_vec()), &[evidence], &policy, &[&ROOT], now);
    assert_ne!(verdict.outcome(), Outcome::Covered, "{verdict:?}");
}

/// A directory of this process, with just these files.
pub fn scratch(files: &[(&str, &[u8])]) -> &'static Path {
    static DIR: LazyLock<PathBuf> =
        LazyLock::new(|| std::env::temp_dir().join(format!("holdfast-fuzz-{}", std::process::id())));
    let _ = fs::remove_dir_all(&*DIR);
    for (name, bytes) in files {
        let path = DIR.join(name);
        fs::create_dir_all(path.parent().expect("a directory")).expect("room");
        fs::write(path, bytes).expect("room");
    }
    &DIR
}

/// The document with every word replaced by what it stands for: digests are beyond what a fuzzer finds.
pub fn with_words(document: &[u8], words: &[(String, String)]) -> Vec<u8> {
    let mut text = Vec::with_capacity(document.len());
    let mut rest = document;
    while let Some((first, tail)) = rest.split_first() {
        match words.iter().find(|(word, _)| rest.starts_with(word.as_bytes())) {
            Some((word, meaning)) => {
                text.extend_from_slice(meaning.as_bytes());
                rest = &rest[word.len()..];
            }
            None => {
                text.push(*first);
                rest = tail;
            }
        }
    }
    text
}
