//! Writes what a courier brings to a cluster, time after time: `courier OUT MADE STALE` makes `OUT/bootstrap/root.json`, the root that everything starts from;
//! `OUT/first`, a TUF repository made at MADE whose timestamp expires at STALE; `OUT/second`, the same repository two hours after MADE, in whose trusted root
//! a transparency log has ended and another one has come. With `courier OUT MADE STALE ROOT`, the trusted root in both is the file ROOT: the second copy is
//! newer, and holds nothing new.
#![allow(clippy::expect_used, clippy::indexing_slicing)] // a generator that cannot go on stops

use std::path::PathBuf;

use holdfast_testpki::Sigstore;
use holdfast_testpki::tuf::Repository;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |what: &str| arguments.next().expect(what);
    let out: PathBuf = next("a directory to write to").into();
    let mut instant = |what: &str| next(what).parse::<Timestamp>().expect("an instant as 2026-11-24T06:00:00Z");
    let (made, stale) = (instant("when the first copy was made"), instant("when it becomes stale"));
    let later = made + SignedDuration::from_hours(2);
    let (before, after) = match arguments.next() {
        Some(given) => {
            let root = std::fs::read(given)?;
            (root.clone(), root)
        }
        None => rotated(made, later)?,
    };

    let mut repository = Repository::new(made);
    repository.files.insert("trusted_root.json".to_owned(), before);
    repository.timestamp["expires"] = json!(stale.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    let bootstrap = out.join("bootstrap");
    std::fs::create_dir_all(&bootstrap)?;
    std::fs::write(bootstrap.join("root.json"), &repository.files()["1.root.json"])?;
    repository.write(&out.join("first"))?;
    repository.files.insert("trusted_root.json".to_owned(), after);
    repository.publish(later);
    repository.write(&out.join("second"))
}

/// A trusted root, and what becomes of it.
fn rotated(made: Timestamp, later: Timestamp) -> std::io::Result<(Vec<u8>, Vec<u8>)> {
    let whole = Sigstore::of("corp.internal", made).trusted_root();
    let mut before = whole.clone();
    before["tlogs"].as_array_mut().expect("logs").truncate(2);
    let mut after = whole;
    after["tlogs"][1]["publicKey"]["validFor"]["end"] = json!(later.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    Ok((serde_json::to_vec_pretty(&before)?, serde_json::to_vec_pretty(&after)?))
}
