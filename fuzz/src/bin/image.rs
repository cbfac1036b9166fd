//! Any text as an image reference and as a pattern: a reference reads back as itself, and a pattern matches one registry only.
#![no_main]
use holdfast_core::image::{ImagePattern, ImageRef};

libfuzzer_sys::fuzz_target!(|data: &str| {
    let (image, pattern) = data.split_once('\n').unwrap_or((data, ""));
    if let Ok(image) = ImageRef::parse(image) {
        let again = ImageRef::parse(&image.to_string()).expect("what is printed reads back");
        assert_eq!(
            (again.registry(), again.repository(), again.digest()),
            (image.registry(), image.repository(), image.digest())
        );
        if let Ok(pattern) = ImagePattern::parse(pattern) {
            let _ = pattern.matches(&image);
        }
    }
});
