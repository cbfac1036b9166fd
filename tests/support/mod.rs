//! Running the command line as a person does.
#![allow(dead_code, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::needless_pass_by_value)] // each file uses its part; a test that cannot go on fails

pub(crate) mod estate;
pub(crate) mod place;

use std::path::{Path, PathBuf};
use std::process::Command;

/// What a command answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs `holdfast` with these arguments.
pub(crate) fn holdfast(args: &[&str]) -> Answer {
    holdfast_in(Path::new(env!("CARGO_MANIFEST_DIR")), args)
}

/// Runs `holdfast` in a directory.
pub(crate) fn holdfast_in(dir: &Path, args: &[&str]) -> Answer {
    let output = Command::new(env!("CARGO_BIN_EXE_holdfast")).args(args).current_dir(dir).output().unwrap();
    Answer {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The exit code of `holdfast` whose output nobody reads to its end.
pub(crate) fn holdfast_unread(args: &[&str]) -> i32 {
    let mut child = Command::new(env!("CARGO_BIN_EXE_holdfast"))
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    child.wait().unwrap().code().unwrap_or(-1)
}

/// Real data beside the repository, or in `HOLDFAST_REAL_DATA`; where it is absent, says so.
pub(crate) fn real_data() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("shared/real");
    let dir = std::env::var_os("HOLDFAST_REAL_DATA").map_or(beside, PathBuf::from);
    if dir.is_dir() {
        return Some(dir);
    }
    println!("skipped: there is no real data in {} (set HOLDFAST_REAL_DATA)", dir.display());
    None
}

/// Digests are new whenever an example is made anew; what is said of them is not.
pub(crate) fn without_digests(text: &str) -> String {
    let other = |c: char| !c.is_ascii_hexdigit();
    let part = |part: &str| match part.trim_end_matches(other) {
        run if run.len() == 64 => part.replacen(run, "…", 1),
        _ => part.to_owned(),
    };
    text.split_inclusive(other).map(part).collect()
}
