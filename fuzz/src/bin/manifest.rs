//! Any bytes as manifests.
#![no_main]
use std::path::Path;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    for name in ["fuzz.yaml", "fuzz.json"] {
        let _ = holdfast::inventory::take_bytes(Path::new(name), data, &mut holdfast::inventory::GitOps::default());
    }
});
