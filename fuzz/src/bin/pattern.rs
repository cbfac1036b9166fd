//! Any text as an identity expression and a subject, half and half.
#![no_main]
use holdfast_core::verify::pattern::IdentityPattern;

libfuzzer_sys::fuzz_target!(|data: &str| {
    let (pattern, subject) = data.split_once('\n').unwrap_or((data, ""));
    if let Ok(pattern) = IdentityPattern::any(pattern) {
        let _ = pattern.matches(subject);
    }
});
