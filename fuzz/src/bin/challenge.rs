//! Any lines as the headers in which a registry says what it wants: read or refused, and no more of them than are read.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let values: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
    if let Ok(found) = holdfast::registry::client::count_challenges(&values) {
        assert!(found <= 8, "{found} challenges");
    }
});
