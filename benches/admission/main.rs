//! What the native engine costs an API server, and how fast what is written is in force: `cargo bench --bench admission`.
//!
//! A word asks for one part: `create`, `memory`, `force`, `restart`; `forms` only where it is asked for. `--restarts N` and `--tries N` for other numbers,
//! `--sizes all` for every size of an estate, `--sizes more` for those alone that are not measured otherwise, `--sizes 200/5,50/5` for these
//! (policies, and how many of them match). Of restarts: `--policies N`, `--kinds N` for other people's custom kinds beside ours, `--inline` for digests in
//! the policies themselves, and `--flag FLAG` for one more flag of the API server.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss
)] // a measure that cannot go on fails

mod cluster;
mod create;
mod estate;
mod force;
mod forms;
mod memory;
mod restart;

use std::time::Duration;

use cluster::Cluster;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let all =
        |flag: &str| words.windows(2).filter(|pair| pair[0] == flag).map(|pair| pair[1].clone()).collect::<Vec<_>>();
    let number = |flag: &str, default: usize| all(flag).first().and_then(|text| text.parse().ok()).unwrap_or(default);
    let parts = ["create", "memory", "force", "restart", "forms"];
    let asked: Vec<&str> = parts.into_iter().filter(|part| words.iter().any(|word| word == part)).collect();
    let wants = |part: &str| if asked.is_empty() { part != "forms" } else { asked.contains(&part) };
    let Some(mut native) = Cluster::start("native") else { return };
    // First, while nothing else was ever written.
    if wants("memory") {
        memory::memory(&mut native);
    }
    if wants("create") {
        let Some(bare) = Cluster::start("bare") else { return };
        create::create(&bare, &native, all("--sizes").first().map(String::as_str));
    }
    if wants("force") {
        force::force(&native, number("--tries", 20));
    }
    if wants("forms") {
        forms::forms(&native, !all("--sizes").is_empty());
    }
    if wants("restart") {
        restart::restart(
            &mut native,
            number("--restarts", 6),
            number("--policies", 50),
            number("--kinds", 0),
            words.iter().any(|word| word == "--inline"),
            &all("--flag"),
        );
    }
}

fn show(what: &str, value: &str, aim: &str) {
    println!("{what:<74} {value:>22}   aim {aim}");
}

fn percentile(times: &mut [Duration], part: f64) -> Duration {
    times.sort_unstable();
    times[((times.len() - 1) as f64 * part).round() as usize]
}

/// Least, median, nine of ten and most.
fn spread(times: &mut [Duration]) -> String {
    let of = [0.0, 0.5, 0.9, 1.0].map(|part| format!("{:.2?}", percentile(times, part)));
    of.join(", ")
}
