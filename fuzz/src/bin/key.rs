//! Any bytes as a public key: what is read is what it was read from.
#![no_main]
use holdfast_core::Digest;
use holdfast_core::trust::root::{ManagedKey, Window};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(key) = ManagedKey::from_bytes("fuzz", data, Window::ALWAYS) {
        assert_eq!(key.key_digest, Digest::of(&key.key));
        let again = ManagedKey::from_bytes("fuzz", &key.key, Window::ALWAYS).expect("what was read reads back");
        assert_eq!(again, key);
    }
});
