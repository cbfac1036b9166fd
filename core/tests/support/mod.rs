//! What several test files share.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)] // each file uses its part; a test that cannot go on fails

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use holdfast_core::trust::root::TrustRoot;
use holdfast_core::verify::{
    Accept, EvidenceRequirements, Limits, Matcher, Policy, PreparedRoot, Signer, pattern::IdentityPattern,
};
use jiff::Timestamp;

/// The directory of a dependency's sources, as Cargo resolved it: real bundles and roots ship there.
pub(crate) fn dependency(name: &str) -> PathBuf {
    static METADATA: OnceLock<serde_json::Value> = OnceLock::new();
    let metadata = METADATA.get_or_init(|| {
        // Of this platform alone: a build fetches no packages of others.
        let version = Command::new("rustc").arg("-vV").output().expect("rustc runs");
        let version = String::from_utf8(version.stdout).unwrap();
        let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("a host");
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--format-version", "1", "--offline", "--filter-platform", host, "--manifest-path"])
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
            .output()
            .expect("cargo runs");
        serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON")
    });
    let package = metadata["packages"].as_array().unwrap().iter().find(|p| p["name"] == name).expect("a dependency");
    PathBuf::from(package["manifest_path"].as_str().unwrap()).parent().unwrap().to_owned()
}

/// A root made ready.
pub(crate) fn prepared(name: &str, json: &str) -> PreparedRoot {
    PreparedRoot::new(TrustRoot::from_json(name, json.as_bytes()).unwrap()).unwrap()
}

/// A policy that accepts any certificate identity.
pub(crate) fn anyone(evidence: EvidenceRequirements) -> Policy {
    Policy { signers: vec![any_signer()], evidence, accept: Accept::Either, limits: Limits::default() }
}

/// A signer that every certificate satisfies.
pub(crate) fn any_signer() -> Signer {
    let any = || Matcher::Pattern(IdentityPattern::any(".*").unwrap());
    Signer::Certificate { name: "anyone".to_owned(), subject: any(), issuer: any() }
}

/// An instant.
pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}
