//! Any bytes as cosign's legacy form: the payload, then one annotation a line.
#![no_main]
use holdfast_core::verify::{Evidence, EvidenceForm};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let payload = parts.next().unwrap_or_default().to_vec();
    let annotations: std::collections::BTreeMap<String, String> =
        String::from_utf8_lossy(parts.next().unwrap_or_default())
            .split('\u{1}')
            .filter_map(|line| line.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
    let signature = EvidenceForm::LegacySignature { payload: payload.clone(), annotations: annotations.clone() };
    let attestation = EvidenceForm::LegacyAttestation { envelope: payload, annotations };
    for form in [signature, attestation] {
        holdfast_fuzz::never_passes(Evidence { source: "fuzz".to_owned(), form });
    }
});
