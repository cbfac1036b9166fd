//! Any bytes as an image layout: blobs, then the index, apart by a zero byte. `DIGEST1` in a later part is the digest of the first blob, and so on.
#![no_main]
use holdfast::registry::EvidenceStore;
use holdfast::registry::layout::Layout;
use holdfast_core::Digest;
use holdfast_core::coverage::Found;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut words = Vec::new();
    let mut parts: Vec<(String, Vec<u8>)> = Vec::new();
    for part in data.split(|byte| *byte == 0).take(8) {
        let bytes = holdfast_fuzz::with_words(part, &words);
        let digest = Digest::of(&bytes);
        words.push((format!("DIGEST{}", words.len() + 1), digest.to_string()));
        parts.push((format!("blobs/sha256/{}", digest.hex()), bytes));
    }
    let Some((_, index)) = parts.pop() else { return };
    let mut files: Vec<(&str, &[u8])> = parts.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    files.push(("oci-layout", b"{\"imageLayoutVersion\": \"1.0.0\"}"));
    files.push(("index.json", &index));
    let Ok(layout) = Layout::open(holdfast_fuzz::scratch(&files)) else { return };
    for name in layout.names() {
        let digests = layout.tagged(name);
        assert!(!digests.is_empty(), "{name}");
        for digest in digests {
            if let Found::Image { evidence, .. } = layout.image(digest) {
                evidence.into_iter().for_each(holdfast_fuzz::never_passes);
            }
        }
    }
});
