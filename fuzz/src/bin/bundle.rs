//! Any bytes as a bundle.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    holdfast_fuzz::never_passes(holdfast_core::verify::Evidence::bundle("fuzz", data.to_vec()));
});
