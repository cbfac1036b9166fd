//! A Sigstore in one process, for tests, examples and benchmarks.
//!
//! [`Sigstore`] is a whole instance: a certificate authority, a certificate transparency log, transparency logs of both generations with real Merkle
//! trees, and a timestamp authority. [`Sigstore::bundle`] makes evidence by a [`Recipe`]: every good form there is, or one with a single [`Flaw`].
//! [`tuf::Repository`] makes signed TUF repositories whose every file can be bent, [`layout::Layout`] OCI image layouts with evidence attached.
//!
//! ```
//! use holdfast_testpki::{Recipe, Sigstore};
//!
//! let sigstore = Sigstore::new();
//! let bundle = sigstore.bundle(b"artefact", &Recipe::image("https://ci.example/release", "https://issuer.example"));
//! assert_eq!(bundle["mediaType"], "application/vnd.dev.sigstore.bundle.v0.3+json");
//! assert!(sigstore.trusted_root()["tlogs"].is_array());
//! ```
//!
//! Nothing here is fit for production: keys live in memory and nothing is checked.
#![allow(clippy::expect_used, clippy::missing_panics_doc, clippy::indexing_slicing, clippy::must_use_candidate)] // what is made here is made from our own parts

pub mod asn1;
mod bundle;
mod certificate;
pub mod example;
mod key;
pub mod layout;
mod log;
mod timestamp;
pub mod tuf;

pub use bundle::{Flaw, Legacy, LogForm, Recipe, SIGNATURE_PREDICATE, SignerForm, Sigstore};
pub use certificate::{Authority, Subject, Validity, extension};
pub use key::Key;

/// SHA-256 of `bytes`.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// Standard base64.
pub fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// A PEM block.
pub fn pem(label: &str, der: &[u8]) -> String {
    let text = base64(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("base64 is ASCII")).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
