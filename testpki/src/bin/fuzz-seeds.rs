//! Writes seeds for every fuzz target into the given directory: genuine evidence, roots, repositories and manifests.
#![allow(clippy::expect_used, clippy::indexing_slicing)] // a generator that cannot go on stops

use std::fs;
use std::path::PathBuf;

use holdfast_testpki::tuf::Repository;
use holdfast_testpki::{Flaw, Key, LogForm, Recipe, Sigstore};
use serde_json::{Value, json};

const ARTIFACT: &[u8] = b"artefact";
const SUBJECT: &str = "https://ci.example/release";
const ISSUER: &str = "https://issuer.example";

/// The memory of a first import; the words stand for digests that each run of the target makes anew.
fn memory() -> Value {
    let floor = |role: &str| json!({"version": 1, "digest": format!("DIGEST:{role}"), "expires": "2026-06-08T00:00:00Z", "accepted": "2026-06-01T00:00:00Z"});
    let roles = ["root", "timestamp", "snapshot", "targets"];
    let floors: serde_json::Map<String, Value> = roles.iter().map(|role| ((*role).to_owned(), floor(role))).collect();
    json!({
        "tuf": {
            "schema": 1, "pin": "DIGEST:root", "floors": floors, "pins": {"targets.json": 1},
            "recoveries": [{"role": "timestamp", "had": 9, "rootVersion": 2, "at": "2026-06-01T00:00:00Z"}],
            "clockFloor": "1970-01-01T00:00:00Z",
            "clockLowerings": [{"had": "2026-06-02T00:00:00Z", "to": "2026-06-01T00:00:00Z"}],
            "lastImport": "1970-01-01T00:00:00Z",
        },
        "trustedRoot": "DIGEST:trusted",
        "acceptedAs": {"target": "trusted_root.json", "role": "targets", "digest": "DIGEST:trusted"},
    })
}

/// A layout with an image and one piece of evidence: blobs, then the index.
fn layout(media_type: &str, evidence: &[u8], annotations: &Value) -> Vec<u8> {
    let manifest = "application/vnd.oci.image.manifest.v1+json";
    let image = json!({"schemaVersion": 2, "mediaType": manifest, "layers": []});
    let layer =
        json!({"mediaType": media_type, "digest": "DIGEST2", "size": evidence.len(), "annotations": annotations});
    let subject = json!({"mediaType": manifest, "digest": "DIGEST1", "size": 1});
    let referrer = json!({"schemaVersion": 2, "mediaType": manifest, "layers": [layer], "subject": subject});
    let name = json!({"org.opencontainers.image.ref.name": "registry.corp.internal/a:1"});
    let index = json!({"schemaVersion": 2, "manifests": [
        {"mediaType": manifest, "digest": "DIGEST1", "size": 1, "annotations": name},
        {"mediaType": manifest, "digest": "DIGEST3", "size": 1},
    ]});
    let parts = [
        image.to_string().into_bytes(),
        evidence.to_vec(),
        referrer.to_string().into_bytes(),
        index.to_string().into_bytes(),
    ];
    parts.join(&0)
}

/// Files as a tar archive (POSIX.1-1988, section 10.1.1).
fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, bytes) in files {
        let mut header = [0_u8; 512];
        let size = format!("{:011o}", bytes.len());
        for (at, text) in [
            (0, *name),
            (100, "0000644"),
            (124, size.as_str()),
            (148, "        "),
            (156, "0"),
            (257, "ustar"),
            (263, "00"),
        ] {
            header[at..at + text.len()].copy_from_slice(text.as_bytes());
        }
        let sum: u32 = header.iter().copied().map(u32::from).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        archive.extend_from_slice(&header);
        archive.extend_from_slice(bytes);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.resize(archive.len() + 1024, 0);
    archive
}

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
    write("memory", "whole", memory().to_string().as_bytes())?;
    for (name, key) in [("p256", Key::p256()), ("p384", Key::p384()), ("ed25519", Key::ed25519())] {
        write("key", &format!("{name}.pem"), key.pem().as_bytes())?;
        write("key", &format!("{name}.der"), &key.spki())?;
    }
    let bundle = sigstore.bundle(ARTIFACT, &image()).to_string();
    write("layout", "bundle", &layout("application/vnd.dev.sigstore.bundle.v0.3+json", bundle.as_bytes(), &json!({})))?;
    let simple = "application/vnd.dev.cosign.simplesigning.v1+json";
    write("layout", "legacy", &layout(simple, &legacy.payload, &json!(legacy.annotations)))?;
    for entry in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/first-look/clusters/prod"))? {
        let entry = entry?;
        write("manifest", &entry.file_name().to_string_lossy(), &fs::read(entry.path())?)?;
    }
    write(
        "pattern",
        "one",
        b"https://github\\.com/acme/[^/]+/.*@refs/tags/v.*\nhttps://github.com/acme/web/x@refs/tags/v1",
    )?;
    let files =
        [("tuf/timestamp.json", b"{}".as_slice()), ("tuf/1.root.json", b"{\"signed\": {}}"), ("tuf/targets/a", b"a")];
    write("archive", "tar", &archive(&files))?;
    write(
        "challenge",
        "bearer",
        b"Bearer realm=\"https://a/token\",service=\"a, \\\"b\\\"\",scope=\"repository:x:pull\"\nBasic realm=a",
    )?;
    write("challenge", "others", b"Negotiate YWJj==, Digest realm=\"a\", nonce=\"x\"")?;
    write("image", "one", b"Registry.Corp.Internal.:443/a/b:1\nregistry.corp.internal/**")
}
