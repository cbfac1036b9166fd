//! Writes seeds for every fuzz target into the given directory: genuine evidence, roots, repositories and manifests.
#![allow(clippy::expect_used)] // a generator that cannot go on stops

use std::fs;
use std::path::PathBuf;

use holdfast_testpki::tuf::Repository;
use holdfast_testpki::{Flaw, LogForm, Recipe, Sigstore};

const ARTIFACT: &[u8] = b"artefact";
const SUBJECT: &str = "https://ci.example/release";
const ISSUER: &str = "https://issuer.example";

fn main() -> std::io::Result<()> {
    let corpus: PathBuf = std::env::args().nth(1).expect("a directory").into();
    let write = |target: &str, name: &str, bytes: &[u8]| -> std::io::Result<()> {
        let dir = corpus.join(target);
        fs::create_dir_all(&dir)?;
        fs::write(dir.join(name), bytes)
    };
    let sigstore = Sigstore::new();
    let image = || Recipe::image(SUBJECT, ISSUER);
    for (name, recipe) in [
        ("image", image()),
        ("blob", Recipe::blob(SUBJECT, ISSUER)),
        ("v2", Recipe { log: LogForm::V2, ..image() }),
        ("intoto", Recipe { intoto_entry: true, ..image() }),
        ("key", Recipe::key()),
        ("proof", image().with(Flaw::InclusionProof)),
    ] {
        write("bundle", name, sigstore.bundle(ARTIFACT, &recipe).to_string().as_bytes())?;
    }
    let legacy = sigstore.legacy_signature("sha256:0", &Recipe::blob(SUBJECT, ISSUER));
    let annotations: Vec<String> = legacy.annotations.iter().map(|(key, value)| format!("{key}={value}")).collect();
    write("legacy", "sig", &[legacy.payload.as_slice(), b"\0", annotations.join("\u{1}").as_bytes()].concat())?;
    write("trusted_root", "whole", sigstore.trusted_root().to_string().as_bytes())?;
    for (name, bytes) in Repository::new(jiff::Timestamp::UNIX_EPOCH).files() {
        write("tuf", &name.replace('/', "_"), &bytes)?;
    }
    for entry in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/first-look/clusters/prod"))? {
        let entry = entry?;
        write("manifest", &entry.file_name().to_string_lossy(), &fs::read(entry.path())?)?;
    }
    write(
        "pattern",
        "one",
        b"https://github\\.com/acme/[^/]+/.*@refs/tags/v.*\nhttps://github.com/acme/web/x@refs/tags/v1",
    )?;
    write("image", "one", b"Registry.Corp.Internal.:443/a/b:1\nregistry.corp.internal/**")
}
